"""The prose of cas-withdraw(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-withdraw` puts a capability into the list of withdrawn ones, which the server signs and publishes; who enforces
capabilities learns of it within ten minutes. Superusers alone withdraw, with a full proxy. It takes no right away:
take somebody out of a group, or revoke, lest they fetch the next one.
"""
    "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(("A stolen token:", 'cas-withdraw -reason "laptop stolen" 4f0c3a5be9d27f1805c1b0dd3c6a9e11'),),
    see_also=(
        "cas-group-remove-entry(1)",
        "cas-rights-admin(1)",
        "cas-token(1)",
    ),
)
