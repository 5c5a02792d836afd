"""A proxy's names: its issuer's subject plus one common name, in any string type (RFC 3820 sections 3.1 and 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import Entity, proxy
from builder.model import accept, refuse
from builder.names import (
    BMP,
    IA5,
    NUMERIC,
    PRINTABLE,
    TELETEX,
    UNIVERSAL,
    UTF8,
    VISIBLE,
    attribute,
    name,
    rdn,
    rdns,
)
from builder.world import ALICE, ALICE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_SUBJECT: Final = "RFC 3820 s. 3.4"
_ISSUER: Final = ("RFC 3820 s. 3.1", "RFC 3820 s. 4.1.3 (a) (3)")
_CN: Final = rdn(attribute("CN", "1001"))


def _under_alice(*more: bytes) -> bytes:
    return der.sequence(*rdns(ALICE.subject), *more)


def _pair(*attributes: bytes, in_order: bool = True) -> bytes:
    return _under_alice(rdn(*attributes, in_order=in_order))


def cases() -> Iterator[Case]:
    """Yield wrong subjects, odd but right ones, and wrong issuers."""
    yield from _subjects()
    yield from _string_types()
    yield from _issuers()


def _subjects() -> Iterator[Case]:
    wrong = {
        "other-base": ("Another user's name plus a common name.", name("/O=Grid/OU=Test/CN=Mallory/CN=1001")),
        "no-common-name": ("The signer's own name.", ALICE.subject),
        "two-common-names": ("Two common names more.", _under_alice(_CN, rdn(attribute("CN", "1002")))),
        "last-is-ou": ("An organizationalUnit more.", _under_alice(rdn(attribute("OU", "1001")))),
        "last-is-uid": ("A userid more.", _under_alice(rdn(attribute("UID", "1001")))),
        "last-is-surname": ("A surname more.", _under_alice(rdn(attribute("2.5.4.4", "1001")))),
        "common-name-replaced": ("The last common name changed, none added.", name("/O=Grid/OU=Test/CN=1001")),
        "common-name-in-front": ("The common name before the signer's.", name("/O=Grid/OU=Test/CN=1001/CN=Alice")),
        "common-name-first": ("The common name at the very front.", name("/CN=1001/O=Grid/OU=Test/CN=Alice")),
        "shorter": ("A part of the signer's name left out.", name("/O=Grid/CN=Alice/CN=1001")),
        "common-name-alone": ("A common name and nothing else.", der.sequence(_CN)),
        "empty": ("No subject at all.", der.sequence()),
        "two-values-cn-ou": (
            "A part of two values, a common name and an organizationalUnit.",
            _pair(attribute("CN", "1001"), attribute("OU", "x")),
        ),
        "two-values-cn-cn": (
            "A part of two values, both common names.",
            _pair(attribute("CN", "1001"), attribute("CN", "1002")),
        ),
        "joined-to-last": (
            "The common name joined to the signer's last part as a second value.",
            der.sequence(*rdns(ALICE.subject)[:-1], rdn(attribute("CN", "Alice"), attribute("CN", "1001"))),
        ),
        "part-twice": (
            "The signer's last part twice, then a common name.",
            _under_alice(rdns(ALICE.subject)[-1], _CN),
        ),
    }
    for label, (words, subject) in wrong.items():
        yield refuse(
            f"rfc3820::subject::{label}",
            words,
            proxy(ALICE, subject=subject),
            "proxy-name",
            spec=_SUBJECT,
        )
    above = proxy(ALICE)
    yield refuse(
        "rfc3820::subject::skips-a-level",
        "A second proxy named after the end entity, not after the proxy that signed it.",
        proxy(above, subject=_under_alice(rdn(attribute("CN", "1002")))),
        "proxy-name",
        spec=_SUBJECT,
    )
    yield refuse(
        "rfc3820::subject::empty-part",
        "A part without any value behind the signer's name.",
        proxy(ALICE, subject=_under_alice(der.set_of())),
        "malformed",
        spec=("RFC 5280 s. 4.1.2.4", _SUBJECT),
    )
    yield refuse(
        "rfc3820::subject::part-is-sequence",
        "The last part as a SEQUENCE in place of a SET.",
        proxy(ALICE, subject=_under_alice(der.sequence(attribute("CN", "1001")))),
        "malformed",
        spec=("RFC 5280 s. 4.1.2.4", _SUBJECT),
    )
    yield refuse(
        "rfc3820::subject::value-is-integer",
        "The common name as an INTEGER.",
        proxy(ALICE, subject=_pair(der.sequence(der.oid("2.5.4.3"), der.integer(1001)))),
        "malformed",
        spec=("RFC 5280 s. 4.1.2.4", _SUBJECT),
    )
    yield accept(
        "rfc3820::subject::same-common-name",
        "Two proxies one below the other with one and the same common name: unique below each signer.",
        proxy(proxy(ALICE, cn="1001"), cn="1001"),
        spec=_SUBJECT,
    )
    yield accept(
        "rfc3820::subject::looks-like-a-name",
        "A common name that reads as more of a name: `x/CN=y`.",
        proxy(ALICE, cn="x/CN=y"),
        spec=_SUBJECT,
        importance="medium",
    )
    yield accept(
        "rfc3820::subject::long-common-name",
        "A common name of 4000 characters; the upper bound of 64 is not asked for in proxies' names by anybody.",
        proxy(ALICE, cn="1" * 4000),
        spec=(_SUBJECT, "RFC 5280 appendix A.1"),
        importance="low",
    )
    yield accept(
        "rfc3820::subject::empty-common-name",
        "A common name without characters. RFC 5280 asks for one at least; nobody checks it.",
        proxy(ALICE, cn=""),
        spec=(_SUBJECT, "RFC 5280 appendix A.1"),
        importance="low",
    )
    yield accept(
        "rfc3820::subject::nul",
        "A common name with a zero byte in it.",
        proxy(ALICE, subject=_pair(attribute("CN", "10\x0001", UTF8))),
        spec=_SUBJECT,
        importance="medium",
    )


def _string_types() -> Iterator[Case]:
    types = {
        "utf8": UTF8,
        "numeric": NUMERIC,
        "printable": PRINTABLE,
        "teletex": TELETEX,
        "ia5": IA5,
        "universal": UNIVERSAL,
        "bmp": BMP,
    }
    for label, tag in types.items():
        yield accept(
            f"rfc3820::subject::common-name-{label}",
            f"The common name that is added in the string type {label}.",
            proxy(ALICE, subject=_pair(attribute("CN", "1001", tag))),
            spec=(_SUBJECT, "RFC 5280 appendix A.1"),
            importance="medium",
        )
    yield refuse(
        "rfc3820::subject::common-name-visible",
        "The common name in a VisibleString, which DirectoryString does not have.",
        proxy(ALICE, subject=_pair(attribute("CN", "1001", VISIBLE))),
        "malformed",
        spec="RFC 5280 s. 4.1.2.4",
        importance="low",
    )
    yield refuse(
        "rfc3820::subject::broken-utf8",
        "A common name in a UTF8String that is no UTF-8.",
        proxy(ALICE, subject=_pair(attribute("CN", b"10\xff01", UTF8))),
        "malformed",
        spec="RFC 5280 s. 4.1.2.4",
        importance="medium",
    )
    yield refuse(
        "rfc3820::subject::broken-bmp",
        "A common name in a BMPString of an odd number of bytes.",
        proxy(ALICE, subject=_pair(attribute("CN", b"\x001\x000\x00", BMP))),
        "malformed",
        spec="RFC 5280 s. 4.1.2.4",
        importance="medium",
    )
    copies = {
        "base-in-utf8": ("in UTF8String where the signer has PrintableString", _alice_as(UTF8)),
        "base-in-bmp": ("in BMPString", _alice_as(BMP)),
        "base-in-capitals": ("in capitals", name(ALICE_NAME.replace("Alice", "ALICE").replace("Test", "TEST"))),
        "base-with-blanks": ("with blanks around the value", name(ALICE_NAME.replace("Alice", "  Alice "))),
    }
    for label, (words, base) in copies.items():
        yield accept(
            f"rfc3820::subject::{label}",
            f"The signer's name is repeated {words}: the same name by RFC 5280's comparison.",
            proxy(ALICE, subject=der.sequence(*rdns(base), _CN)),
            spec=(_SUBJECT, "RFC 5280 s. 7.1"),
            importance="medium",
        )


def _alice_as(tag: int) -> bytes:
    return der.sequence(
        rdn(attribute("O", "Grid", tag)), rdn(attribute("OU", "Test", tag)), rdn(attribute("CN", "Alice", tag))
    )


def _issuers() -> Iterator[Case]:
    mallory = name("/O=Grid/OU=Test/CN=Mallory")
    wrong: dict[str, tuple[str, Entity]] = {
        "other-user": (
            "Issuer and subject after another user, signed by this one.",
            proxy(ALICE, issuer=mallory, subject=der.sequence(*rdns(mallory), _CN)),
        ),
        "other-issuer-own-subject": ("Issuer another user, subject in order.", proxy(ALICE, issuer=mallory)),
        "ca-as-issuer": (
            "The CA as the issuer's name, signed by the end entity.",
            proxy(ALICE, issuer=name("/O=Grid/CN=Test CA")),
        ),
        "empty": ("No issuer at all.", proxy(ALICE, issuer=der.sequence())),
        "itself": ("The proxy names itself as its issuer.", proxy(ALICE, issuer=_under_alice(_CN))),
        "parts-swapped": (
            "The issuer's parts in another order.",
            proxy(ALICE, issuer=name("/OU=Test/O=Grid/CN=Alice")),
        ),
    }
    for label, (words, entity) in wrong.items():
        yield refuse(f"rfc3820::issuer::{label}", words, entity, "chain-broken", spec=_ISSUER)
    yield accept(
        "rfc3820::issuer::in-utf8",
        "The issuer in UTF8String where the signer's subject has PrintableString.",
        proxy(ALICE, issuer=_alice_as(UTF8)),
        spec=(*_ISSUER, "RFC 5280 s. 7.1"),
        importance="medium",
    )
    yield accept(
        "rfc3820::issuer::in-capitals",
        "The issuer in capitals.",
        proxy(ALICE, issuer=name("/O=GRID/OU=TEST/CN=ALICE")),
        spec=(*_ISSUER, "RFC 5280 s. 7.1"),
        importance="medium",
    )
