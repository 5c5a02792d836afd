"""The prose of gsi-authz-server(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`gsi-authz-server` decides for unmodified C services: the GridFTP server, the gatekeeper and the GRAM job manager ask
it through the callout library that `gsi-authz-build-callout` makes, and the gatekeeper's service line through
`gsi-authz-gram-gate`. What it answers is the policy's: it judges the client's certificates by its own rules once more
and then asks the engine.

It listens on a Unix socket that every mapped user can reach, because the services ask as the mapped user from the
log-in on. The kernel tells it who asks. Mappings are for the accounts in `service_users` only, and nothing else leases
accounts; a session is opened for those alone who map to the account that asks; and nothing secret is ever answered.
Whatever goes wrong is a refusal, and every refusal is recorded, in the audit and in the policy's record, under the id
that the client is told: also those before any policy is asked, such as refused certificates, and permits that could not
be carried out. Permits are recorded but for sessions and the use of a service, whose operations are. Clients are told
what was refused and not by which rule; but what they have shown that has ended, and when. Each line of the audit has
`uid` and `pid` of who asked, and `proof`: with `none`, for jobs, nothing but that uid is known for sure.

It stays in the foreground and logs to standard error. SIGTERM and SIGINT let questions under way finish; services open
their sessions anew with the daemon that comes next. SIGHUP reads the configuration again; policies are followed without
that. Sessions that are open follow both, and the trust directory within a minute. What is broken leaves the old ones in
force, and the log says so. Sockets of a service manager (sd_listen_fds(3)) are taken, each for the place of the
configuration that it is bound to.

The configuration is a TOML file. Table `[server]`: `socket`, `socket_mode`, `service_users` (`["root"]`), `workers`
(2), `request_time`, `idle_time`, `drain_time`, `audit` (a file for the audit), `host`, `job_owner_manages` (true: the
owner of a job may query and cancel it unless a rule denies); and for each worker `connections` (4096: of all uids that
are not in `service_users`), `per_user` (1024: of one of them), `service_connections` (4096: of those in
`service_users`), `threads` (16: questions that wait for something, of users), `user_threads` (4: of one of them) and
`service_threads` (8). Table `[files]`: `renames`, `directory_renames`, `recursive_deletes`, `real_paths`. Each
`[[services]]` gives a service by the `name` it calls itself, with `*` and `?`, its `policy`: a name in
`/etc/grid-security/gsi-authz.d` without `.toml`, or a path. A service that is not named is refused.

Every key may be left out. Without the file, `file` (GridFTP) is judged by the policy `gridftp` and `jobmanager*` by
`gram`, where these exist.
""",
    exit_status=(
        ("0", "Stopped as asked; with `-check`, all can be used."),
        ("1", "It could not start; the error says why."),
    ),
    environment=(("X509_CERT_DIR", "The trust directory; changes to it are noticed without a restart."),),
    files=(
        ("/etc/grid-security/gsi-authz-server.toml", "The configuration."),
        ("/etc/grid-security/gsi-authz.d", "The policies, one file for each."),
        ("/run/gsi-authz/socket", "The socket. Nobody else may be able to write its directory."),
    ),
    examples=(
        ("Check before a restart:", "gsi-authz-server -check"),
        ("For a try, as an ordinary user:", "gsi-authz-server -c my.toml -socket $PWD/socket -workers 1 -v"),
    ),
    see_also=("gsi-authz-build-callout(8)", "gsi-authz-gram-gate(8)"),
)
