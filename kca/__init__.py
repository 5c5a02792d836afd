"""Kerberos to X.509: a ticket goes in, a short-lived certificate comes out (RFC 6717).

`kca.protocol` knows the bytes, `kca.principal` and `kca.limits` the rules, `kca.service` decides and issues,
`kca.repository` keeps the books; `kca.server` and `kca.http` are what clients meet, `kca.client` asks others' services.
This front door has no code.
"""

from __future__ import annotations

__all__: list[str] = []
