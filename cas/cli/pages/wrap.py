"""The prose of cas-wrap(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-wrap` runs a program with the proxy that cas-proxy-init(1) has written as its proxy (X509_USER_PROXY). What stands
behind the program's name is the program's own, whatever it looks like. X509_USER_CERT and X509_USER_KEY are taken out
of its environment, since C programs prefer them to a proxy.
""",
    exit_status=(("1", "The proxy cannot be used, or the program not be run; else the program's own."),),
    environment=(("X509_USER_PROXY", "The default proxy, behind whose name `.cas` or `-t` stands."),),
    examples=(
        (
            "Copy a file with the community's rights:",
            "cas-wrap globus-url-copy gsiftp://se.example.org/data/f file:///tmp/f",
        ),
    ),
    see_also=("cas-proxy-init(1)",),
)
