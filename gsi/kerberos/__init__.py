"""Kerberos: passwords, tickets and tokens; the only importer of gssapi and libkrb5. This front door has no code.

`gsi.kerberos.passwords` checks a password, `gsi.kerberos.ticket` holds what a verified ticket says as values. Below
GSS-API, by MIT's libkrb5 and imported where needed: `gsi.kerberos.accept` verifies tickets for a service,
`gsi.kerberos.initiate` presents them, `gsi.kerberos.ccache` and `gsi.kerberos.profile` read caches and krb5.conf.
"""

from __future__ import annotations

from gsi.kerberos.passwords import check_password, make_principal, require_gssapi
from gsi.kerberos.ticket import Principal, ProvenTicket, TicketFlags

__all__ = ["Principal", "ProvenTicket", "TicketFlags", "check_password", "make_principal", "require_gssapi"]
