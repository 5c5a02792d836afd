"""The prose of query-cas-service(1)."""

from __future__ import annotations

from typing import Final

from cas.cli.pages.common import ENVIRONMENT, EXIT_STATUS, SERVER
from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`query-cas-service` writes what a community asserts of you into a file: a signed SAML assertion with your rights, or
with those of them that a policy request file asks for. With `-user` it writes the rights of somebody else, unsigned,
in the text form of the first CAS; that needs `cas/query` on the server.
"""
    "\n" + SERVER,
    exit_status=EXIT_STATUS,
    environment=ENVIRONMENT,
    examples=(
        ("For globus-url-copy -aa:", "query-cas-service assertion.xml"),
        ("What has alice?", "query-cas-service -user alice -"),
    ),
    differences="""\
GT's command asked over the OGSA authorization interface, for resources that pulled rights. Here resources are handed
what is signed, and nothing is signed for somebody else. New: `-user`, `-b`, `-saml`, `-json`.
""",
    see_also=(
        "cas-proxy-init(1)",
        "cas-token(1)",
        "cas-why(1)",
    ),
)
