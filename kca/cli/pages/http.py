"""The prose of kca-http(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`kca-http` gives short-lived certificates for Kerberos tickets over HTTP, for clients that have no `kx509`: a web
client sends a certificate request (PKCS#10) and a Negotiate token (SPNEGO), and gets the certificate and what belongs
above it. Rules, limits, policy, books and audit are those of `kca-server`; both read one configuration.

`POST /kca/v1/certificate` takes the request in PEM or DER as its body and answers with the chain in PEM, or in JSON
with `Accept: application/json`; `?lifetime=` asks for less time than one may have (seconds, `30m`, `12h`).
`GET /get-cert?csr=` (and `/bx509`) is the request of Heimdal's bx509d; what it could ask to be put in is refused, since
that is the authority's to say. `GET /health` answers 200, or 503 with the parts that fail: `store`, `keytab`,
`certificate`. Refusals are 401 (the token proves nothing), 400 (the request), 403 (rules, limits or policy), 429 (too
many), 503 (try again) and 500, with a line or two of text.

Clients have to be sure whom they give a token to, and nobody on the way may change a key: TLS ends here where `[http]`
names `certificate` and `key`, else at a front end on this machine, and without either only addresses of this machine
are listened on. A token that is bound to the TLS connection (`tls-server-end-point`, RFC 5929) is taken on no other;
`require_channel_binding` refuses tokens that are not bound. A token is good once. Requests that a browser made are
refused, because a page elsewhere may have had it make them.

It stays in the foreground and logs to standard error; it needs gunicorn, Flask and gssapi (MIT's). SIGTERM and SIGINT
end it. SIGHUP has the configuration read, and all that it names tried; new workers take over if it can be used, and
nothing changes if not, which `/health` and `/metrics` say beside the log. `listen`, `workers`, `certificate` and `key`
of `[http]` and `[store]` need a restart; a certificate that is renewed in its place is noticed without a signal.
Connections that bring no whole request in time are ended, and take no thread until then; one address has 256 in each
worker. Sockets of a service manager (sd_listen_fds(3)) are taken, each for the place of the configuration that it is
bound to.
""",
    exit_status=(
        ("0", "Stopped as asked; with `-check`, all can be used."),
        ("1", "It could not start; the error says why."),
    ),
    environment=(
        ("KCA_CONFIG", "The configuration."),
        ("KRB5_CONFIG", "Kerberos's own configuration."),
        ("GSI_AUTHZ_POLICY_DIR", "The directory of policies."),
    ),
    files=(
        ("/etc/kca/kca.toml", "The configuration."),
        ("/etc/kca/http.keytab", "The key of the service `HTTP/host`."),
        ("/var/lib/kca", "Books and audit."),
    ),
    examples=(
        ("Check before a start:", "kca-http -check"),
        (
            "What a user does:",
            "curl --negotiate -u : --data-binary @request.pem https://kca.example.org/kca/v1/certificate",
        ),
    ),
    see_also=("kca-server(8)", "kca-admin(8)", "kx509(1)"),
)
