"""The prose of gsi-authz-http(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`gsi-authz-http` answers web servers that ask before they serve: nginx with `auth_request`, and whatever else can send
a sub-request. For each it judges the client's certificates by the rules of the grid, asks the engine whether the
client may do that to that path, and answers 200, 401 or 403, with the decision's id, the account that a permit names,
and for a refusal words that the client may see. Whatever goes wrong is a refusal.

Who the client is, and what it wants, the web server says in headers: `X-Original-Method`, `X-Original-URI`, and those
that the configuration names. Only the web server may say it: by default it listens on a Unix socket, and whoever can
connect to that is the web server; on a network address the web server has to know a secret. A question with any other
header is refused: it would be the client's.

It stays in the foreground and logs to standard error; it needs gunicorn. SIGTERM and SIGINT end it. SIGHUP has the
configuration read, and all that it names tried; new workers take over if it can be used, and nothing changes if not,
which `GET /health` and the number in `GET /metrics` say beside the log. `listen`, `socket_mode` and `workers` need a
restart. Policy and trust directory are followed without a signal. Connections that say nothing, or no whole question,
are ended after 15 seconds, and take no thread until then; one address has 256 in each worker. Sockets of a service
manager (sd_listen_fds(3)) are taken, each for the place of the configuration that it is bound to.

The configuration is a TOML file. Table `[server]`: `listen`, `socket_mode` (0o660), `workers` (2), `threads` (8),
`audit` (a file for the audit). Table `[front_end]`: `certificate_header` (`X-SSL-Client-Cert`), `chain_header`
(`Client-Cert-Chain`), `address_header` (`X-Real-IP`), `addresses`, `secret_file`, `secret_header`,
`only_own_headers` (true). Table `[requests]`: `policy` (`web`, in `/etc/grid-security/gsi-authz.d`, or a path),
`service`, `service_type` (`http`), `base_url`, `accounts` (false: a permit that names an account refuses, because the
web server would not carry it out), and `[requests.actions]`, the action of each method. Every key may be left out.
""",
    exit_status=(
        ("0", "Stopped as asked; with `-check`, all can be used."),
        ("1", "It could not start; the error says why."),
    ),
    environment=(
        ("X509_CERT_DIR", "The trust directory; changes to it are noticed without a restart."),
        ("GSI_AUTHZ_POLICY_DIR", "The directory of policies."),
    ),
    files=(
        ("/etc/grid-security/gsi-authz-http.toml", "The configuration."),
        ("/etc/grid-security/gsi-authz.d/web.toml", "The policy."),
        ("/run/gsi-authz/http", "The socket. Whoever can connect to it says who the clients are."),
    ),
    examples=(
        ("Check before a restart:", "gsi-authz-http -check"),
        ("For a try, as an ordinary user:", "gsi-authz-http -listen $PWD/socket -policy $PWD/web.toml -v"),
    ),
    see_also=("gsi-authz(8)", "gsi-authz-server(8)"),
)
