"""What the man pages of the commands for administrators have in common."""

from __future__ import annotations

from typing import Final

__all__ = ["CHANGES", "ENVIRONMENT", "EXIT_STATUS", "NAMES", "SERVER"]

SERVER: Final = """\
The server has to be who is meant: with `host` (the default) its certificate names the host of the URL, with or without
`cas/` or `host/` before it; with `self` it is you; else it has exactly the name that is given.
"""

CHANGES: Final = """\
Nothing is changed halfway. With `-dry-run` nothing is changed at all: it is said who would gain and who would lose
what, and at which revision of the policy. What a line says of an object is about all in it that is in no smaller one
with statements of its own; a line that holds at some time or for some peers only says so. The same command with
`-revision` and that number does what was said, or is refused when another administrator has been faster. What is so
already is no error.
"""

NAMES: Final = """\
An object is named by two words, `NAMESPACE NAME`, or by one, `NAMESPACE|NAME`; an action by `TYPE ACTION` or
`TYPE/ACTION`. Everything else is named by one word, put in quotes where it has blanks.
"""

EXIT_STATUS: Final = (
    ("0", "Done."),
    ("1", "Not done; the error says what, where and why."),
)

ENVIRONMENT: Final = (
    ("CAS_SERVER_URL", "The server, where no option names it."),
    ("CAS_SERVER_IDENTITY", "Who it has to be, where `-z` does not say."),
    ("X509_USER_PROXY", "The proxy to ask with, where `-x` names none."),
    ("X509_CERT_DIR", "The trust directory."),
)
