"""Names of end entities and CAs in every string type, and when two are one (RFC 5280 sections 4.1.2.4 and 7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import Entity, authority, issue, proxy
from builder.model import accept, refuse
from builder.names import BMP, IA5, NUMERIC, TELETEX, UNIVERSAL, UTF8, VISIBLE, attribute, name, rdn
from builder.world import ALICE, ROOT, TrustDir, authority_files, policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_SPEC: Final = "RFC 5280 s. 4.1.2.4"
_SAME: Final = ("RFC 5280 s. 7.1", _SPEC)
_GRID: Final = rdn(attribute("O", "Grid"))


def _named(text: str, *parts: bytes) -> Entity:
    return issue(ROOT, der.sequence(*parts), ALICE.key, text=text)


def cases() -> Iterator[Case]:
    """Yield end entities' names, then CAs'."""
    yield from _string_types()
    yield from _odd_names()
    yield from _issuers()
    yield from _anchors()


def _string_types() -> Iterator[Case]:
    types = {
        "utf8": ("Zoë in UTF8String", UTF8, "Zoë", "Zo\\xC3\\xAB"),
        "teletex": ("Zoë in TeletexString as Latin-1, as old CAs wrote it", TELETEX, "Zoë", "Zo\\xEB"),
        "bmp": ("Zoë in BMPString", BMP, "Zoë", "\\x00Z\\x00o\\x00\\xEB"),
        "universal": ("Zoe in UniversalString", UNIVERSAL, "Zoe", "\\x00\\x00\\x00Z\\x00\\x00\\x00o\\x00\\x00\\x00e"),
        "ia5": ("a common name in IA5String", IA5, "zoe@example.org", "zoe@example.org"),
        "numeric": ("a common name in NumericString", NUMERIC, "007", "007"),
        "utf8-chinese": ("Chinese in UTF8String", UTF8, "李", "\\xE6\\x9D\\x8E"),
        "utf8-astral": ("a character above 16 bits in UTF8String", UTF8, "\U0001d4b5", "\\xF0\\x9D\\x92\\xB5"),
    }
    for label, (words, tag, value, shown) in types.items():
        yield accept(
            f"names::type::{label}",
            f"A proxy of a user with {words}.",
            proxy(_named(f"/O=Grid/CN={shown}", _GRID, rdn(attribute("CN", value, tag)))),
            spec=_SPEC,
            importance="medium",
        )
    broken = {
        "printable-not-printable": ("an at sign in PrintableString, which does not have it", attribute("CN", "a@b")),
        "utf8-latin-1": ("Latin-1 in UTF8String", attribute("CN", b"Zo\xeb", UTF8)),
        "utf8-overlong": ("an overlong form in UTF8String", attribute("CN", b"Zo\xc0\xae", UTF8)),
        "utf8-surrogate": ("a surrogate in UTF8String", attribute("CN", b"Zo\xed\xa0\x80", UTF8)),
        "bmp-odd": ("an odd number of bytes in BMPString", attribute("CN", b"\x00Z\x00", BMP)),
        "universal-too-large": (
            "a number above Unicode's in UniversalString",
            attribute("CN", b"\x00\x11\x00\x00", UNIVERSAL),
        ),
        "visible": ("a VisibleString", attribute("CN", "Zoe", VISIBLE)),
        "octet-string": ("an OCTET STRING", der.sequence(der.oid("2.5.4.3"), der.octets(b"Zoe"))),
        "sequence": ("a SEQUENCE", der.sequence(der.oid("2.5.4.3"), der.sequence(der.octets(b"Zoe")))),
        "value-missing": ("a common name without value", der.sequence(der.oid("2.5.4.3"))),
        "value-twice": (
            "a common name with two values",
            der.sequence(der.oid("2.5.4.3"), der.tlv(0x13, b"a"), der.tlv(0x13, b"b")),
        ),
    }
    for label, (words, pair) in broken.items():
        yield refuse(
            f"names::type::{label}",
            f"An end entity with {words} in its name.",
            _named("", _GRID, rdn(pair)),
            "malformed",
            spec=_SPEC,
            importance="medium",
        )


def _odd_names() -> Iterator[Case]:
    long_part = "x" * 250
    odd = {
        "nul": (
            "a zero byte in its common name",
            _named("/O=Grid/CN=Alice\\x00Mallory", _GRID, rdn(attribute("CN", "Alice\0Mallory", UTF8))),
        ),
        "newline": (
            "a line feed in its common name",
            _named("/O=Grid/CN=Alice\\x0ACN=Bob", _GRID, rdn(attribute("CN", "Alice\nCN=Bob", UTF8))),
        ),
        "slash": (
            "a slash in its common name",
            _named("/O=Grid/CN=host\\/www.example.org", _GRID, rdn(attribute("CN", "host/www.example.org"))),
        ),
        "looks-like-more": (
            "`/CN=` in its common name",
            _named("/O=Grid/CN=Alice\\/CN=Bob", _GRID, rdn(attribute("CN", "Alice/CN=Bob", UTF8))),
        ),
        "two-values": (
            "two values in its last part",
            _named("/O=Grid/CN=Alice+UID=al", _GRID, rdn(attribute("CN", "Alice"), attribute("UID", "al"))),
        ),
        "blanks": (
            "blanks around its common name",
            _named("/O=Grid/CN=  Alice  ", _GRID, rdn(attribute("CN", "  Alice  "))),
        ),
        "unknown-attribute": (
            "an attribute that nobody knows",
            _named("/O=Grid/1.2.3.4=x/CN=Alice", _GRID, rdn(attribute("1.2.3.4", "x")), rdn(attribute("CN", "Alice"))),
        ),
        "mail": (
            "a mail address behind its common name",
            _named(
                "/O=Grid/CN=Alice/emailAddress=a@example.org",
                _GRID,
                rdn(attribute("CN", "Alice")),
                rdn(attribute("emailAddress", "a@example.org")),
            ),
        ),
        "domain-components": (
            "domain components",
            _named(
                "/DC=org/DC=example/CN=Alice",
                rdn(attribute("DC", "org")),
                rdn(attribute("DC", "example")),
                rdn(attribute("CN", "Alice")),
            ),
        ),
        "long": (
            "5,000 characters in twenty parts",
            _named(
                "/O=Grid" + f"/OU={long_part}" * 20 + "/CN=Alice",
                _GRID,
                *[rdn(attribute("OU", long_part))] * 20,
                rdn(attribute("CN", "Alice")),
            ),
        ),
        "200-parts": (
            "200 parts",
            _named("/OU=x" * 199 + "/CN=Alice", *[rdn(attribute("OU", "x"))] * 199, rdn(attribute("CN", "Alice"))),
        ),
    }
    for label, (words, entity) in odd.items():
        yield accept(
            f"names::odd::{label}",
            f"A proxy of a user with {words}.",
            proxy(entity),
            spec=_SPEC,
            importance="medium",
        )
    yield refuse(
        "names::odd::300-parts",
        "A user with 300 parts in its name, more than the limit.",
        _named("", *[rdn(attribute("OU", "x"))] * 300),
        "malformed",
        spec="limits of implementations",
        features=["implementation-limit"],
        importance="low",
    )
    yield refuse(
        "names::odd::empty-part",
        "A user with a part without values.",
        _named("", _GRID, der.set_of()),
        "malformed",
        spec=_SPEC,
        importance="medium",
    )
    yield refuse(
        "names::odd::empty",
        "A user without a name; grids know users by their names, and no signing policy permits it.",
        proxy(_named("")),
        "signing-policy",
        1,
        spec="RFC 5280 s. 4.1.2.6",
        importance="low",
    )


def _issuers() -> Iterator[Case]:
    forms = {
        "utf8": (
            "in UTF8String",
            der.sequence(rdn(attribute("O", "Grid", UTF8)), rdn(attribute("CN", "Test CA", UTF8))),
        ),
        "bmp": ("in BMPString", der.sequence(rdn(attribute("O", "Grid", BMP)), rdn(attribute("CN", "Test CA", BMP)))),
        "capitals": ("in capitals", name("/O=GRID/CN=TEST CA")),
        "blanks": ("with more blanks", name("/O=Grid/CN=  Test   CA ")),
    }
    for label, (words, issuer) in forms.items():
        yield accept(
            f"names::issuer::{label}",
            f"An end entity that writes its CA's name {words}: the same name.",
            proxy(issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, issuer=issuer)),
            spec=_SAME,
            importance="medium",
        )
    others = {
        "inner-blank-missing": name("/O=Grid/CN=TestCA"),
        "part-more": name("/O=Grid/CN=Test CA/CN=x"),
        "part-less": name("/CN=Test CA"),
        "other-order": name("/CN=Test CA/O=Grid"),
        "other-type": der.sequence(_GRID, rdn(attribute("OU", "Test CA"))),
    }
    for label, issuer in others.items():
        yield refuse(
            f"names::issuer::{label}",
            "An end entity whose issuer resembles the CA's name and is another.",
            issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, issuer=issuer),
            "untrusted",
            spec=_SAME,
            importance="medium",
        )


def _anchors() -> Iterator[Case]:
    """CAs whose own names are in other string types: the files' names are hashes of the folded form."""
    types = {"utf8": UTF8, "bmp": BMP, "teletex": TELETEX, "universal": UNIVERSAL}
    for label, tag in types.items():
        shown = "Zürich CA"
        subject = der.sequence(rdn(attribute("O", "Grid", tag)), rdn(attribute("CN", shown, tag)))
        ca = authority(subject, ROOT.key, text="*")
        trust = TrustDir(f"names-{label}", authority_files(ca, signing_policy=_policy(tag)))
        yield accept(
            f"names::anchor::{label}",
            f"A CA with an umlaut in its name, all in the string type {label}.",
            proxy(issue(ca, ALICE.subject, ALICE.key, text=ALICE.text)),
            spec=_SAME,
            trust=trust,
            importance="medium",
        )


def _policy(tag: int) -> str:
    """Return a policy that names the CA as OpenSSL's one-line form shows it, bytes outside ASCII as hex."""
    codec = {UTF8: "utf-8", BMP: "utf-16-be", UNIVERSAL: "utf-32-be"}.get(tag, "latin-1")

    def shown(text: str) -> str:
        return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02X}" for byte in text.encode(codec))

    return policy(f"/O={shown('Grid')}/CN={shown('Zürich CA')}")
