"""Name constraints of CAs against end entities and against proxies' names (RFC 5280 section 4.2.1.10).

The C validator refuses any CA with critical name constraints; RFC 5280 asks to evaluate them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder import der
from builder.cases.path import below, certified_sub
from builder.certificates import (
    CA_BITS,
    EEC_BITS,
    FULL,
    Entity,
    authority,
    basic_constraints,
    extension,
    issue,
    key_usage,
    proxy,
)
from builder.model import accept, refuse
from builder.names import name
from builder.world import ALICE, ALICE_NAME, ROOT, SUB_POLICY, TrustDir, authority_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_NC: Final = "2.5.29.30"


def cases() -> Iterator[Case]:
    """Yield constraints that are met, then others."""
    spec = ("RFC 5280 s. 4.2.1.10", "RFC 3820 s. 3.4")

    def directory(text: str) -> bytes:
        return der.sequence(der.explicit(4, name(text)))

    def permitted(*subtrees: bytes) -> bytes:
        return der.tlv(0xA0, b"".join(subtrees))

    def excluded(*subtrees: bytes) -> bytes:
        return der.tlv(0xA1, b"".join(subtrees))

    def sub(value: bytes, *, critical: bool = True) -> Entity:
        return certified_sub(basic_constraints(ca=True), key_usage(*CA_BITS), extension(_NC, value, critical=critical))

    grid, other = directory("/O=Grid"), directory("/O=Other")
    proxy_name = directory(f"{ALICE_NAME}/CN=1001")
    good = {
        "permitted": ("permits the user's name", sub(der.sequence(permitted(grid)))),
        "permitted-not-critical": (
            "permits the user's name, not critical",
            sub(der.sequence(permitted(grid)), critical=False),
        ),
        "excluded-other": ("excludes another name", sub(der.sequence(excluded(other)))),
        "exactly": ("permits the user's name and nothing else", sub(der.sequence(permitted(directory(ALICE_NAME))))),
        "excluded-proxy": (
            "excludes the very name of the proxy: constraints bind what the CA certifies, proxies it does not",
            sub(der.sequence(excluded(proxy_name))),
        ),
        "mail-without-mail": (
            "permits mail addresses of one host, before a user without any",
            sub(der.sequence(permitted(der.sequence(der.tlv(0x81, b"example.org"))))),
        ),
    }
    for label, (words, ca) in good.items():
        yield accept(
            f"path::constraints::{label}",
            f"A CA that {words}.",
            proxy(below(ca)),
            spec=spec,
            trust=SUB_POLICY,
            features=["name-constraints"],
        )
    bad = {
        "not-permitted": ("permits another name alone", sub(der.sequence(permitted(other)))),
        "not-permitted-not-critical": (
            "permits another name alone, not critical",
            sub(der.sequence(permitted(other)), critical=False),
        ),
        "excluded": ("excludes the user's name", sub(der.sequence(excluded(grid)))),
        "permitted-and-excluded": (
            "permits the organization and excludes the unit",
            sub(der.sequence(permitted(grid), excluded(directory("/O=Grid/OU=Test")))),
        ),
    }
    for label, (words, ca) in bad.items():
        yield refuse(
            f"path::constraints::{label}",
            f"A CA that {words}.",
            proxy(below(ca)),
            "name-constraints",
            1,
            spec=spec,
            trust=SUB_POLICY,
            features=["name-constraints"],
        )
    for label, words, value in (
        ("empty", "An empty NameConstraints.", der.sequence()),
        ("garbage", "A NameConstraints that is no DER.", b"\xde\xad"),
        (
            "unknown-kind",
            "Critical constraints on a kind of name that is not evaluated.",
            der.sequence(permitted(der.sequence(der.tlv(0x88, b"\x2a\x03")))),
        ),
    ):
        yield refuse(
            f"path::constraints::{label}",
            words,
            proxy(below(sub(value))),
            "name-constraints",
            2,
            spec=spec,
            trust=SUB_POLICY,
            features=["name-constraints"],
            importance="medium",
        )
    san = extension("2.5.29.17", der.sequence(der.tlv(0x81, b"alice@other.org")))
    mailed = issue(
        sub(der.sequence(permitted(der.sequence(der.tlv(0x81, b"example.org"))))),
        ALICE.subject,
        ALICE.key,
        text=ALICE.text,
        extensions=[key_usage(*EEC_BITS), san],
    )
    yield refuse(
        "path::constraints::alternative-name",
        "A CA that permits mail addresses of one host, before a user with one of another.",
        proxy(mailed),
        "name-constraints",
        1,
        spec=spec,
        trust=SUB_POLICY,
        features=["name-constraints"],
    )
    root = authority(
        ROOT.subject,
        ROOT.key,
        text=ROOT.text,
        extensions=[
            basic_constraints(ca=True),
            key_usage(*CA_BITS),
            extension(_NC, der.sequence(permitted(other)), critical=True),
        ],
    )
    yield refuse(
        "path::constraints::in-root",
        "A root whose constraints do not permit the user's name.",
        proxy(ALICE, FULL),
        "name-constraints",
        1,
        spec=(*spec, "RFC 5937 s. 3.2"),
        trust=TrustDir("root-constrained", authority_files(root)),
        features=["name-constraints"],
    )
