"""Kerberos to X.509: a ticket goes in, a short-lived certificate comes out (RFC 6717).

The package reserves its place and its name; nothing is offered yet.
"""

from __future__ import annotations

__all__: list[str] = []
