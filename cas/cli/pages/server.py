"""The prose of cas-server(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-server` serves a community: capabilities over HTTPS with JSON, as SAML assertions, VOMS attribute certificates and
tokens, and attribute certificates to `voms-proxy-init` on a port of its own. Clients show a certificate or a proxy.
cas-server-bootstrap(8) begins the policy, which is then administered through the server. Its OpenAPI document is at
`/openapi.json`.

It stays in the foreground and logs to standard error. SIGTERM and SIGINT let what is in hand be answered. SIGHUP reads
configuration, policy and keys anew and goes on in a new audit file; what is broken leaves the old ones in force, and
the log says so, as do `/health` and `/metrics`. A service manager is told about its state (sd_notify(3)). Connections
that bring no whole request in time are ended, and take no thread until then; one address has 256 in each worker.
Sockets of a service manager (sd_listen_fds(3)) are taken, each for the place of the configuration that it is bound to.

The configuration is TOML: `community`, the community's name; `metrics`, *ADDRESS*`:`*PORT* on the loopback interface,
where monitors get `/metrics` and `/health`, which is 503 with the parts that fail (`store`, `trust`, `key`,
`certificate`), for balancers on the server's port as well; `policy`, the site's authorization policy (`cas`), which is
asked before the community's own. Tables:

- `[http]`: `listen` (`"*:8443"`), `certificate`, `key`, `workers`, `threads`, `max_request_bytes`,
  `requests_per_minute` of one identity.
- `[voms]`, without which there is no listener for VOMS: `listen` (`"*:15000"`), `place` (*HOST*`:`*PORT* as in users'
  vomses), `certificate`, `key`, `workers`.
- `[[key]]`, once for each key that signs: `place` (a file or a `pkcs11:` URI), `certificates`, `begins`, `ends`. A key
  is published six hours before it signs; add the next one in time, and send SIGHUP.
- `[tokens]`, without which there are none: `issuer`, `profile`, `content`, `max_lifetime`, `[[tokens.base]]`
  (`namespace`, `prefix`, `audiences`, `single_files`), `[[tokens.rule]]`, `[[tokens.role]]`, `[[tokens.key]]`.
- `[store]`: `directory` (`/var/lib/cas`), `database`, `connections`, `patience`, `audit`.
- `[trust]`: `directory`, `crl`, `vomsdir`.
- `[capability]`: `default_lifetime`, `max_lifetime`.

Every capability is in the audit before it is signed. Withdrawn capabilities are in a signed list at
`/cas/v1/withdrawn`, which proves something for ten minutes.
""",
    exit_status=(
        ("0", "Stopped as asked; with `-check`, all can be used."),
        ("1", "It could not start, or a part of it ended unasked; the log says why."),
    ),
    environment=(("CAS_CONFIG", "The configuration, where `-config` names none."),),
    files=(
        ("/etc/cas/cas.toml", "The configuration."),
        ("/var/lib/cas", "The store: policy, withdrawn capabilities, audit, names of keys."),
    ),
    examples=(("Check before a restart:", "cas-server -check"),),
    see_also=("cas-server-bootstrap(8)", "cas-proxy-init(1)", "voms-proxy-init(1)"),
)
