"""The certificate's own frame: version, serial number, lengths, and what DER forbids (RFC 5280 section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import EEC_BITS, FULL, PCI, Entity, extension, issue, key_usage, proxy, with_chain
from builder.model import accept, refuse
from builder.world import ALICE, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_DER: Final = "X.690 s. 10"
_PLAIN: Final = proxy(ALICE)


def cases() -> Iterator[Case]:
    """Yield versions, serial numbers, other fields, and lengths."""
    yield from _versions()
    yield from _serials()
    yield from _fields()
    yield from _lengths()


def _version(number: int) -> bytes:
    return der.explicit(0, der.integer(number))


def _plain_eec(version: bytes) -> Entity:
    return issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, extensions=None, version=version)


def _versions() -> Iterator[Case]:
    spec = "RFC 5280 s. 4.1.2.1"
    for label, version in (("v1", b""), ("v2", _version(1)), ("v4", _version(3))):
        yield refuse(
            f"encoding::version::proxy-{label}",
            f"A proxy of version {label[1]} with extensions.",
            proxy(ALICE, version=version),
            "unsupported-version",
            spec=spec,
        )
        yield refuse(
            f"encoding::version::proxy-above-{label}",
            f"A proxy below one of version {label[1]} with extensions.",
            proxy(proxy(ALICE, version=version)),
            "unsupported-version",
            1,
            spec=spec,
            importance="medium",
        )
        yield refuse(
            f"encoding::version::end-entity-{label}",
            f"An end entity of version {label[1]} with extensions.",
            proxy(issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, version=version)),
            "unsupported-version",
            1,
            spec=spec,
        )
    yield accept(
        "encoding::version::end-entity-v1-plain",
        "A proxy of an end entity of version 1, which has no extensions.",
        proxy(_plain_eec(b"")),
        spec=spec,
        importance="medium",
    )
    yield refuse(
        "encoding::version::v1-written-out",
        "Version 1 written out, which DER leaves out as the default.",
        proxy(_plain_eec(_version(0))),
        "malformed",
        1,
        spec=(spec, "X.690 s. 11.5"),
        importance="low",
    )
    yield refuse(
        "encoding::version::huge",
        "A version number of 2**64.",
        proxy(ALICE, version=_version(1 << 64)),
        "unsupported-version",
        spec=spec,
        importance="medium",
    )
    yield refuse(
        "encoding::version::negative",
        "A version number of -1.",
        proxy(ALICE, version=_version(-1)),
        "unsupported-version",
        spec=spec,
        importance="medium",
    )


def _serials() -> Iterator[Case]:
    spec = "RFC 5280 s. 4.1.2.2"
    fine = {
        "zero": ("0; old CAs have it, and RFC 5280 asks to handle it", 0),
        "negative": ("-5; RFC 5280 asks to handle it gracefully", -5),
        "one": ("1", 1),
        "20-bytes": ("20 bytes long, the most that RFC 5280 allows", (1 << 158) + 1),
        "21-bytes": ("21 bytes long, one more than RFC 5280 allows; CAs have gone beyond", (1 << 166) + 1),
        "as-end-entity": ("that of its issuer's certificate; only pairs of issuer and number are unique", 77),
    }
    for label, (words, serial) in fine.items():
        above = ALICE
        if label == "as-end-entity":
            above = issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, serial=serial)
        yield accept(
            f"encoding::serial::{label}",
            f"A proxy whose serial number is {words}.",
            proxy(above, serial=serial),
            spec=spec,
            importance="low",
        )
    wrong = {
        "empty": ("an INTEGER of no bytes", b"\x02\x00"),
        "padded": ("padded with a zero byte", b"\x02\x02\x00\x01"),
        "padded-negative": ("negative and padded", b"\x02\x02\xff\xff"),
        "octet-string": ("an OCTET STRING", der.octets(b"\x01")),
        "missing": ("missing", b""),
    }
    for label, (words, encoded) in wrong.items():
        yield refuse(
            f"encoding::serial::{label}",
            f"A proxy whose serial number is {words}.",
            proxy(ALICE, serial=encoded),
            "malformed",
            spec=(spec, "X.690 s. 8.3"),
            importance="medium",
        )


def _fields() -> Iterator[Case]:
    yield accept(
        "encoding::unique-ids::both",
        "A proxy with issuerUniqueID and subjectUniqueID; RFC 5280 asks not to write but to read them.",
        proxy(ALICE, ids=der.tlv(0x81, b"\x00\x01") + der.tlv(0x82, b"\x00\x02")),
        spec="RFC 5280 s. 4.1.2.8",
        importance="low",
    )
    yield refuse(
        "encoding::unique-ids::swapped",
        "The two unique identifiers in the wrong order.",
        proxy(ALICE, ids=der.tlv(0x82, b"\x00\x01") + der.tlv(0x81, b"\x00\x02")),
        "malformed",
        spec="RFC 5280 s. 4.1",
        importance="low",
    )
    listed = der.sequence(key_usage(*EEC_BITS), extension(PCI, FULL.encode(), critical=True))
    wrong = {
        "extensions-empty": ("An empty list of extensions", der.explicit(3, der.sequence())),
        "extensions-twice": ("Two lists of extensions", der.explicit(3, listed) * 2),
        "extensions-two-inside": ("Two lists within the tag of extensions", der.explicit(3, listed + listed)),
        "extensions-set": ("Extensions as a SET", der.explicit(3, der.tlv(0x31, listed[2:]))),
        "extensions-untagged": ("Extensions without their tag", listed),
        "extensions-as-4": ("Extensions under another tag", der.explicit(4, listed)),
        "null-behind-extensions": ("A NULL behind the extensions", der.explicit(3, listed) + der.NULL),
        "extension-without-value": (
            "An extension without a value",
            der.explicit(3, der.sequence(*der.items(listed[2:]), der.sequence(der.oid("1.2.3.4")))),
        ),
        "extension-with-more": (
            "An extension with a NULL behind its value",
            der.explicit(
                3, der.sequence(*der.items(listed[2:]), der.sequence(der.oid("1.2.3.4"), der.octets(b""), der.NULL))
            ),
        ),
        "extension-value-bit-string": (
            "An extension whose value is a BIT STRING",
            der.explicit(
                3, der.sequence(*der.items(listed[2:]), der.sequence(der.oid("1.2.3.4"), der.bit_string(b"")))
            ),
        ),
    }
    for label, (words, extensions) in wrong.items():
        yield refuse(
            f"encoding::{label}",
            f"{words}.",
            proxy(ALICE, extensions_der=extensions),
            "malformed",
            spec="RFC 5280 s. 4.1",
            importance="medium",
        )
    yield accept(
        "encoding::extension-value-empty",
        "An unknown extension, not critical, whose value has no bytes.",
        proxy(ALICE, more=[extension("1.2.3.4", b"")]),
        spec="RFC 5280 s. 4.2",
        importance="low",
    )
    yield refuse(
        "encoding::algorithms-differ",
        "One signature algorithm inside, another outside.",
        proxy(ALICE, inner=der.sequence(der.oid("1.2.840.113549.1.1.12"), der.NULL)),
        "malformed",
        spec="RFC 5280 s. 4.1.1.2",
    )
    yield refuse(
        "encoding::algorithms-differ-in-end-entity",
        "The same in the end entity.",
        proxy(
            issue(
                ROOT,
                ALICE.subject,
                ALICE.key,
                text=ALICE.text,
                inner=der.sequence(der.oid("1.2.840.113549.1.1.12"), der.NULL),
            )
        ),
        "malformed",
        1,
        spec="RFC 5280 s. 4.1.1.2",
    )


def _lengths() -> Iterator[Case]:
    good = _PLAIN.certificate
    start, _ = der.body(good)
    inner_start, inner_end = der.body(good, start)
    content = good[start:]
    wrong = {
        "long-length": (
            "The outer length in three bytes where two suffice (BER)",
            b"\x30\x83\x00" + good[2:4] + content,
        ),
        "indefinite-length": ("The outer SEQUENCE of indefinite length (BER)", b"\x30\x80" + content + b"\x00\x00"),
        "outer-set": ("The certificate as a SET", b"\x31" + good[1:]),
        "tbs-indefinite-length": (
            "The signed part of indefinite length (BER)",
            der.sequence(b"\x30\x80" + good[inner_start:inner_end] + b"\x00\x00", good[inner_end:]),
        ),
        "signature-missing": ("No signature", der.sequence(*der.items(content)[:2])),
        "something-behind-signature": ("A NULL behind the signature", der.sequence(content, der.NULL)),
        "tbs-alone": ("The signed part alone", good[start:inner_end]),
    }
    for label, (words, encoded) in wrong.items():
        yield refuse(
            f"encoding::frame::{label}",
            f"{words}.",
            with_chain(Entity(encoded, _PLAIN.subject, _PLAIN.key, "", _PLAIN.facts), ALICE.certificate),
            "malformed",
            spec=(_DER, "RFC 5280 s. 4.1"),
            importance="medium",
        )
