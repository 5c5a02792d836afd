"""The prose of cas-whoami(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-whoami` prints the nickname under which a community knows the holder of a proxy.

The server has to be who is meant: with `host` (the default) its certificate names the host of the URL, with or without
`cas/` or `host/` before it; with `self` it is you; else it has exactly the name that is given.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "You are not enrolled, or the server cannot be asked; the error says why."),
    ),
    environment=(
        ("CAS_SERVER_URL", "The server, where no option names it."),
        ("CAS_SERVER_IDENTITY", "Who it has to be, where `-z` does not say."),
        ("X509_USER_PROXY", "The proxy to ask with, where `-x` names none."),
        ("X509_CERT_DIR", "The trust directory."),
    ),
    examples=(("Ask:", "cas-whoami -c https://cas.example.org:8443"),),
    see_also=("cas-proxy-init(1)",),
)
