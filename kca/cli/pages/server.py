"""The prose of kca-server(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from kca.cli.pages.kerberos import KRB5_CONFIG

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`kca-server` issues certificates to whom a Kerberos ticket names, by KX.509 (RFC 6717) over UDP and TCP, IPv4 and IPv6.
It serves Michigan's clients, Heimdal's, and kx509(1). Who gets what is said by the configuration and the site's policy:
see kca-admin(8), which reads the same file.

It stays in the foreground and logs to standard error. SIGTERM and SIGINT let what is in hand be answered. SIGHUP reads
configuration, policy and the CA's key anew and reopens the audit; what is broken leaves the old ones in force, and the
log says so. A service manager is told about its state (sd_notify(3)). A worker that dies is replaced. Sockets of a
service manager (sd_listen_fds(3)) are taken, each for the place of the configuration that it is bound to.

Table `[server]` of the configuration: `listen` (`["*:9878"]`), `keytab`, `service` (`kca_service`: tickets for this
service on any host whose key is in the keytab are taken, and no others), `workers`, `threads`, `response_mac`,
`requests_per_second` (of one address, by UDP and by TCP each; what is beyond is dropped), `realm_tickets` (tickets for
`krbtgt/`*REALM*, which Heimdal 8's client sends unless `kx509_hostname` is set in krb5.conf; their key is the realm's,
so only on a KDC),
`metrics` (*ADDRESS*`:`*PORT* on the loopback interface, where monitors get
`/metrics` in Prometheus's format, and `/health`, which is 503 with the parts that fail: `store`, `keytab`,
`certificate`).

The key for the keytab is made by the KDC's administrator: `ktadd -k /etc/kca/kca.keytab kca_service/`*HOST*. A new one
may be added while the server runs.

`response_mac` is `auto`, `rfc` or `heimdal8`: how the seal of a reply is made. Clients of RFC 6717 and of Heimdal 8 do
not understand one another's; `auto` tells them apart by the request.

Nothing is answered to what is no request. Before a ticket is verified no answer is longer than the question. A request
that comes again, because its answer was lost, is answered from memory for a minute; the same ticket message from
anywhere else is a replay, of which Kerberos's replay cache (`replay.rcache2` in the store) knows across all workers.
Every certificate, and every request that failed, is in the audit before the answer leaves; of requests without a good
ticket no more than 20 a second for each worker.
""",
    exit_status=(
        ("0", "Stopped as asked; with `-check`, all can be used."),
        ("1", "It could not start; the error says why."),
    ),
    environment=(
        ("KCA_CONFIG", "The configuration, where `-config` names none."),
        KRB5_CONFIG,
        ("KRB5RCACHENAME", "The replay cache, in place of the one in the store."),
    ),
    files=(
        ("/etc/kca/kca.toml", "The configuration."),
        ("/etc/kca/kca.keytab", "The key of `kca_service/`*HOST*."),
        ("/var/lib/kca", "The store: books, audit, replay cache."),
    ),
    examples=(
        ("Check before a restart:", "kca-server -check"),
        ("On a free port, for a try:", "kca-server -c my.toml -listen '*:0' -workers 1 -portfile port -v"),
    ),
    see_also=("kca-admin(8)", "kca-http(8)", "kx509(1)"),
)
