"""EUGridPMA namespaces: a second file of names that a CA may certify (`<hash>.namespaces`); GSI's C code reads none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder.certificates import proxy
from builder.model import accept, refuse
from builder.world import ALICE, CA_NAME, PLAIN, STEM, TrustDir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_SPEC: Final = "EUGridPMA namespaces format"
_PERMIT: Final = f'TO Issuer "{CA_NAME}" PERMIT Subject "/O=Grid/.*"\n'
_PERMITTED: Final = {
    "permitted": ("permits the organization", _PERMIT),
    "self": ("names its CA SELF", 'TO Issuer SELF PERMIT Subject "/O=Grid/.*"\n'),
    "small-letters": ("has its keywords in small letters", 'to issuer self permit subject "/O=Grid/.*"\n'),
    "capitals": ("has the name in capitals", 'TO Issuer SELF PERMIT Subject "/O=GRID/OU=TEST/.*"\n'),
    "comment": ("begins with a comment", "# namespaces\n\n" + _PERMIT),
    "continued": ("continues a line", 'TO Issuer SELF \\\n PERMIT Subject "/O=Grid/.*"\n'),
    "deny-other": ("denies another name", _PERMIT + 'TO Issuer SELF DENY Subject "/O=Grid/OU=Staff/.*"\n'),
    "other-ca-denies": ("denies for another CA", _PERMIT + 'TO Issuer "/CN=x" DENY Subject ".*"\n'),
    "class": ("uses a class", 'TO Issuer SELF PERMIT Subject "/O=Grid/OU=[A-Z]est/CN=[A-Za-z]+"\n'),
}
_REFUSED: Final = {
    "not-permitted": ("permits another organization", 'TO Issuer SELF PERMIT Subject "/O=Other/.*"\n'),
    "deny": ("denies what it also permits", _PERMIT + 'TO Issuer SELF DENY Subject "/O=Grid/OU=Test/.*"\n'),
    "deny-first": ("denies before it permits", 'TO Issuer SELF DENY Subject "/O=Grid/OU=Test/.*"\n' + _PERMIT),
    "part-of-the-name": (
        "permits a beginning of the name, which is not all of it",
        'TO Issuer SELF PERMIT Subject "/O=Grid"\n',
    ),
    "other-ca": ("is about another CA", 'TO Issuer "/CN=x" PERMIT Subject ".*"\n'),
    "empty": ("is empty", ""),
    "garbage": ("is no namespaces file", "garbage\n"),
    "statement-cut-off": ("ends within a statement", "TO Issuer SELF PERMIT\n"),
    "bad-expression": ("has a malformed expression", 'TO Issuer SELF PERMIT Subject "/O=Grid/[.*"\n'),
    "garbage-behind": ("has garbage behind a good statement", _PERMIT + "garbage\n"),
}


def cases() -> Iterator[Case]:
    """Yield files beside a signing policy that permits all."""
    alice = proxy(ALICE)
    for label, (words, text) in _PERMITTED.items():
        yield accept(
            f"grid::namespaces::{label}",
            f"A namespaces file that {words}.",
            alice,
            spec=_SPEC,
            trust=_trust(label, text),
            features=["namespaces"],
            importance="medium",
        )
    for label, (words, text) in _REFUSED.items():
        yield refuse(
            f"grid::namespaces::{label}",
            f"A namespaces file that {words}.",
            alice,
            "namespaces",
            1,
            spec=_SPEC,
            trust=_trust(label, text),
            features=["namespaces"],
            importance="medium",
        )
    rules = {name: content for name, content in _trust("permitted", _PERMIT).files.items() if "signing" not in name}
    yield refuse(
        "grid::namespaces::alone",
        "A namespaces file that permits the name, and no signing policy.",
        alice,
        "signing-policy-missing",
        1,
        spec=_SPEC,
        trust=TrustDir("namespaces-alone", rules),
        features=["namespaces", "signing-policy"],
        importance="medium",
    )


def _trust(label: str, text: str) -> TrustDir:
    return TrustDir(f"namespaces-{label}", {**PLAIN.files, f"{STEM}.namespaces": text.encode()})
