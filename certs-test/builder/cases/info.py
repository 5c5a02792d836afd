"""The ProxyCertInfo extension: its bytes, its criticality, how often it is there (RFC 3820 section 3.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import (
    EEC_BITS,
    FULL,
    GT3,
    LIMITED,
    PCI,
    Info,
    basic_constraints,
    extension,
    issue,
    key_usage,
    proxy,
)
from builder.keys import load
from builder.model import accept, refuse
from builder.names import name
from builder.world import ALICE, ROOT, SUB_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_SPEC: Final = "RFC 3820 s. 3.8"
_FULL: Final = FULL.encode()
_POLICY: Final = FULL.policy_der
_LANGUAGE: Final = der.oid(FULL.language)


def cases() -> Iterator[Case]:
    """Yield malformed contents, then criticality and number."""
    yield from _contents()
    yield from _places()


def _contents() -> Iterator[Case]:
    malformed = {
        "garbage": ("Four bytes that are no DER.", b"\xde\xad\xbe\xef"),
        "empty": ("Nothing at all.", b""),
        "null": ("A NULL.", der.NULL),
        "empty-sequence": ("A SEQUENCE without members.", der.sequence()),
        "policy-missing": ("A path length alone.", der.sequence(der.integer(1))),
        "policy-empty": ("A ProxyPolicy without language.", der.sequence(der.sequence())),
        "set": ("A SET in place of the SEQUENCE.", der.tlv(0x31, _POLICY)),
        "trailing-bytes": ("Two bytes behind the value.", _FULL + der.NULL),
        "trailing-zero-bytes": ("Two zero bytes behind the value.", _FULL + b"\x00\x00"),
        "trailing-in-sequence": ("A NULL behind the policy, within the SEQUENCE.", der.sequence(_POLICY, der.NULL)),
        "trailing-in-policy": (
            "A NULL behind the language, within the ProxyPolicy.",
            der.sequence(der.sequence(_LANGUAGE, der.octets(b""), der.NULL)),
        ),
        "twice-inside": ("Two values one after the other.", _FULL + _FULL),
        "truncated": ("The last byte missing.", _FULL[:-1]),
        "negative-path-length": ("A path length of -1.", der.sequence(der.integer(-1), _POLICY)),
        "negative-path-length-128": ("A path length of -128.", der.sequence(der.integer(-128), _POLICY)),
        "path-length-without-content": ("An INTEGER of no bytes.", der.sequence(b"\x02\x00", _POLICY)),
        "path-length-not-shortest": ("The path length 1 in two bytes.", der.sequence(b"\x02\x02\x00\x01", _POLICY)),
        "path-length-enumerated": ("The path length as ENUMERATED.", der.sequence(b"\x0a\x01\x01", _POLICY)),
        "path-length-boolean": ("The path length as BOOLEAN.", der.sequence(der.TRUE, _POLICY)),
        "path-length-twice": ("Two path lengths.", der.sequence(der.integer(1), der.integer(2), _POLICY)),
        "path-length-behind": ("The path length behind the policy.", der.sequence(_POLICY, der.integer(1))),
        "path-length-tagged": (
            "The path length behind the policy with a tag, as in the draft before RFC 3820.",
            der.sequence(_POLICY, der.explicit(1, der.integer(1))),
        ),
        "long-length": ("A length of two bytes where one suffices (BER).", b"\x30\x81\x0c" + _POLICY),
        "long-length-inside": (
            "The same one level deeper.",
            der.sequence(b"\x30\x81\x0a" + _LANGUAGE),
        ),
        "indefinite-length": ("A SEQUENCE of indefinite length (BER).", b"\x30\x80" + _POLICY + b"\x00\x00"),
        "indefinite-length-inside": (
            "The ProxyPolicy with indefinite length (BER).",
            der.sequence(b"\x30\x80" + _LANGUAGE + b"\x00\x00"),
        ),
        "language-empty": ("A language without content.", der.sequence(der.sequence(b"\x06\x00"))),
        "language-cut-off": (
            "A language whose last arc is not ended.",
            der.sequence(der.sequence(b"\x06\x02\x2b\x86")),
        ),
        "language-padded": (
            "inheritAll with a padded arc: not the shortest form, and not inheritAll.",
            der.sequence(der.sequence(der.tlv(0x06, b"\x2b\x80\x06\x01\x05\x05\x07\x15\x01"))),
        ),
        "language-relative": (
            "inheritAll as RELATIVE-OID.",
            der.sequence(der.sequence(der.tlv(0x0D, _LANGUAGE[2:]))),
        ),
        "language-as-text": (
            "The language as text.",
            der.sequence(der.sequence(der.tlv(0x13, FULL.language.encode()))),
        ),
        "policy-as-utf8": (
            "The policy as UTF8String.",
            der.sequence(der.sequence(der.oid("1.2.3.4"), der.tlv(0x0C, b"hello"))),
        ),
        "policy-constructed": (
            "The policy as a constructed OCTET STRING (BER).",
            der.sequence(der.sequence(der.oid("1.2.3.4"), der.tlv(0x24, der.octets(b"hel") + der.octets(b"lo")))),
        ),
        "wrapped-twice": ("The value within another OCTET STRING.", der.octets(_FULL)),
    }
    for label, (words, content) in malformed.items():
        yield refuse(
            f"rfc3820::info::{label}",
            f"ProxyCertInfo: {words}",
            proxy(ALICE, content),
            "proxy-info-malformed",
            spec=(_SPEC, "X.690 s. 10", "X.690 s. 11"),
        )
    yield refuse(
        "rfc3820::info::trailing-bytes-above",
        "ProxyCertInfo with bytes left over in the proxy that signs.",
        proxy(proxy(ALICE, _FULL + der.NULL)),
        "proxy-info-malformed",
        1,
        spec=(_SPEC, "X.690 s. 10", "X.690 s. 11"),
    )
    yield refuse(
        "rfc3820::info::draft-content",
        "The draft's form with a path length under RFC 3820's identifier.",
        proxy(ALICE, FULL.at_most(2).encode("gt3")),
        "proxy-info-malformed",
        spec=_SPEC,
    )
    yield refuse(
        "rfc3820::info::language-near-inherit-all",
        "A language one arc longer than inheritAll: another language.",
        proxy(ALICE, Info(f"{FULL.language}.0")),
        "proxy-restriction",
        spec=("RFC 3820 s. 4.1.3 (b) (2)", "RFC 3820 s. 3.8.2"),
    )
    yield refuse(
        "rfc3820::info::language-near-limited",
        "The limited language with another last arc: another language.",
        proxy(ALICE, Info("1.3.6.1.4.1.3536.1.1.1.8")),
        "proxy-restriction",
        spec=("RFC 3820 s. 4.1.3 (b) (2)", "RFC 3820 s. 3.8.2"),
    )


def _places() -> Iterator[Case]:
    yield refuse(
        "rfc3820::critical::absent",
        "ProxyCertInfo that is not critical.",
        proxy(ALICE, critical=False),
        "proxy-info-not-critical",
        spec=_SPEC,
    )
    yield refuse(
        "rfc3820::critical::false",
        "ProxyCertInfo whose critical flag says FALSE (which DER leaves out).",
        proxy(ALICE, critical=der.FALSE),
        "malformed",
        spec=(_SPEC, "X.690 s. 11.5"),
    )
    yield refuse(
        "rfc3820::critical::one",
        "ProxyCertInfo whose critical flag is 01: TRUE in BER, nothing in DER.",
        proxy(ALICE, critical=b"\x01\x01\x01"),
        "malformed",
        spec=(_SPEC, "X.690 s. 11.1"),
    )
    yield refuse(
        "rfc3820::critical::above",
        "ProxyCertInfo that is not critical in the proxy that signs.",
        proxy(proxy(ALICE, critical=False)),
        "proxy-info-not-critical",
        1,
        spec=_SPEC,
    )
    yield refuse(
        "rfc3820::critical::in-end-entity",
        "An end entity whose CA put a ProxyCertInfo into it that is not critical.",
        issue(
            ROOT,
            ALICE.subject,
            ALICE.key,
            text=ALICE.text,
            extensions=[key_usage(*EEC_BITS), extension(PCI, _FULL)],
        ),
        "proxy-info-not-critical",
        spec=_SPEC,
    )
    again = extension(PCI, _FULL, critical=True)
    for label, words, second in (
        ("same", "the same", again),
        ("limited", "a limited one behind a full one", extension(PCI, LIMITED.encode(), critical=True)),
        ("not-critical", "one that is not critical behind a critical one", extension(PCI, _FULL)),
    ):
        yield refuse(
            f"rfc3820::twice::{label}",
            f"Two ProxyCertInfo extensions in one proxy: {words}.",
            proxy(ALICE, more=[second]),
            "proxy-info-malformed",
            spec=("RFC 5280 s. 4.2", _SPEC),
        )
    yield refuse(
        "rfc3820::twice::full-behind-limited",
        "Two ProxyCertInfo extensions in one proxy: a full one behind a limited one.",
        proxy(ALICE, LIMITED, more=[again]),
        "proxy-info-malformed",
        spec=("RFC 5280 s. 4.2", _SPEC),
    )
    yield refuse(
        "rfc3820::twice::both-forms",
        "ProxyCertInfo in RFC 3820's form and in the draft's in one proxy.",
        proxy(ALICE, more=[extension(GT3, LIMITED.encode("gt3"), critical=True)]),
        "proxy-info-malformed",
        spec=_SPEC,
        options={"accept_gt3": True},
        features=["gt3"],
    )
    yield refuse(
        "rfc3820::legacy-name::restricted",
        "RFC 3820 with a restriction, but `proxy` as the common name: by the name alone a full legacy proxy.",
        proxy(ALICE, Info("1.2.3.4", policy=b"read"), cn="proxy"),
        "proxy-info-malformed",
        spec="Globus legacy proxies (GT2)",
        options={"accept_gt2": True},
        features=["gt2"],
    )
    yield refuse(
        "rfc3820::ca::in-root-of-path",
        "An intermediate CA that carries a ProxyCertInfo.",
        proxy(
            issue(
                issue(
                    ROOT,
                    name("/O=Grid/CN=Sub CA"),
                    load("rsa2048-sub"),
                    text="/O=Grid/CN=Sub CA",
                    ca=True,
                    extensions=[
                        basic_constraints(ca=True),
                        key_usage("keyCertSign", "cRLSign"),
                        extension(PCI, _FULL, critical=True),
                    ],
                ),
                ALICE.subject,
                ALICE.key,
                text=ALICE.text,
            )
        ),
        "proxy-is-ca",
        2,
        spec=_SPEC,
        trust=SUB_POLICY,
    )
    yield accept(
        "rfc3820::info::first-extension",
        "ProxyCertInfo before all other extensions.",
        proxy(
            ALICE,
            extensions=[extension(PCI, _FULL, critical=True), key_usage(*EEC_BITS)],
        ),
        spec=_SPEC,
        importance="low",
    )
