"""The prose of cas-token(1)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`cas-token` asks a community's server for a capability as a token (JWT) of the WLCG profile, of SciTokens or of RFC
9068, and prints it. Whoever has a token can use it, unless it is bound (`-bind`): keep it as a proxy is kept. What a
token cannot say is left out, with a warning.

The server has to be who is meant: with `host` (the default) its certificate names the host of the URL, with or without
`cas/` or `host/` before it; with `self` it is you; else it has exactly the name that is given.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "There is no token; the error says why."),
    ),
    environment=(
        ("CAS_SERVER_URL", "The server, where no option names it."),
        ("CAS_SERVER_IDENTITY", "Who it has to be, where `-z` does not say."),
        ("X509_USER_PROXY", "The proxy to ask with, where `-x` names none."),
        ("X509_CERT_DIR", "The trust directory."),
    ),
    examples=(("A token for one storage:", "cas-token -audience https://se.example.org -minutes 30 -o token"),),
    see_also=("cas-proxy-init(1)",),
)
