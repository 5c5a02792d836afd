"""The two forms before RFC 3820, and mixtures: the draft's own extension (GT3), and a mere name (GT2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import (
    EEC_BITS,
    FULL,
    INDEPENDENT,
    LIMITED,
    Entity,
    Info,
    basic_constraints,
    extension,
    issue,
    proxy,
    serial_of,
)
from builder.model import accept, refuse
from builder.names import BMP, UTF8, attribute, name, rdn, rdns
from builder.world import ALICE, ALICE_NAME, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case, Option

__all__ = ["cases"]

_GT3: Final[dict[str, Option]] = {"accept_gt3": True}
_GT2: Final[dict[str, Option]] = {"accept_gt2": True}
_BOTH: Final[dict[str, Option]] = {"accept_gt2": True, "accept_gt3": True}
_DRAFT: Final = "draft-ietf-pkix-proxy (GT3)"
_LEGACY: Final = "Globus legacy proxies (GT2)"


def _gt3(above: Entity, info: Info | bytes = FULL) -> Entity:
    return proxy(above, info, form="gt3")


def _gt2(above: Entity, cn: str = "proxy") -> Entity:
    return proxy(above, None, form="gt2", cn=cn, serial=serial_of(above.certificate))


def cases() -> Iterator[Case]:
    """Yield the draft's, the legacy ones, then the mixtures."""
    yield from _draft()
    yield from _legacy()
    yield from _names()
    yield from _mixtures()


def _draft() -> Iterator[Case]:
    good = {
        "full": ("A full proxy", _gt3(ALICE)),
        "limited": ("A limited proxy", _gt3(ALICE, LIMITED)),
        "independent": ("An independent proxy", _gt3(ALICE, INDEPENDENT)),
        "path-length-2": ("A full proxy with path length 2", _gt3(ALICE, FULL.at_most(2))),
        "two-levels": ("Two full proxies", _gt3(_gt3(ALICE))),
        "path-length-1-then-one": ("Path length 1, then one more", _gt3(_gt3(ALICE, FULL.at_most(1)))),
        "full-then-limited": ("Full, then limited", _gt3(_gt3(ALICE), LIMITED)),
        "limited-then-limited": ("Limited, then limited", _gt3(_gt3(ALICE, LIMITED), LIMITED)),
    }
    for label, (words, entity) in good.items():
        yield accept(
            f"gt3::{label}", f"{words} of the draft's form.", entity, spec=_DRAFT, options=_GT3, features=["gt3"]
        )
    yield refuse(
        "gt3::switched-off",
        "The draft's form where it is not accepted.",
        _gt3(ALICE),
        "proxy-format",
        spec=_DRAFT,
        features=["gt3-switch"],
        importance="medium",
    )
    bad = {
        "limited-then-full": ("Limited, then full", _gt3(_gt3(ALICE, LIMITED)), "proxy-limited", 0),
        "path-length-0-then-one": (
            "Path length 0, then one",
            _gt3(_gt3(ALICE, FULL.at_most(0))),
            "proxy-path-length",
            0,
        ),
        "restricted": (
            "A language that nobody knows",
            _gt3(ALICE, Info("1.2.3.4", policy=b"x")),
            "proxy-restriction",
            0,
        ),
        "inherit-all-with-policy": (
            "inheritAll with a policy",
            _gt3(ALICE, Info(FULL.language, policy=b"x")),
            "proxy-policy-present",
            0,
        ),
        "negative-path-length": (
            "A path length of -1",
            _gt3(ALICE, der.sequence(FULL.policy_der, der.explicit(1, der.integer(-1)))),
            "proxy-info-malformed",
            0,
        ),
        "path-length-in-front": (
            "The path length where RFC 3820 has it, under the draft's identifier",
            _gt3(ALICE, FULL.at_most(1).encode()),
            "proxy-info-malformed",
            0,
        ),
        "path-length-implicit": (
            "The path length with an implicit tag",
            _gt3(ALICE, der.sequence(FULL.policy_der, b"\x81\x01\x01")),
            "proxy-info-malformed",
            0,
        ),
        "trailing-bytes": (
            "Bytes behind the value",
            _gt3(ALICE, FULL.encode("gt3") + der.NULL),
            "proxy-info-malformed",
            0,
        ),
        "not-critical": (
            "An extension that is not critical",
            proxy(ALICE, form="gt3", critical=False),
            "proxy-info-not-critical",
            0,
        ),
        "key-cert-sign": (
            "keyCertSign",
            proxy(ALICE, form="gt3", usage=(*EEC_BITS, "keyCertSign")),
            "key-usage",
            0,
        ),
    }
    for label, (words, entity, reason, position) in bad.items():
        yield refuse(
            f"gt3::{label}",
            f"{words}, in the draft's form.",
            entity,
            reason,
            position,
            spec=_DRAFT,
            options=_GT3,
            features=["gt3"],
        )


def _legacy() -> Iterator[Case]:
    plain = issue(ROOT, name(ALICE_NAME), ALICE.key, text=ALICE_NAME, extensions=None)
    good = {
        "full": ("A full proxy", _gt2(ALICE)),
        "limited": ("A limited proxy", _gt2(ALICE, "limited proxy")),
        "two-levels": ("Two full proxies", _gt2(_gt2(ALICE))),
        "full-then-limited": ("Full, then limited", _gt2(_gt2(ALICE), "limited proxy")),
        "limited-then-limited": ("Limited, then limited", _gt2(_gt2(ALICE, "limited proxy"), "limited proxy")),
        "without-key-usages": (
            "A full proxy without extensions below an end entity without extensions",
            proxy(plain, None, form="gt2", usage=None, serial=serial_of(plain.certificate)),
        ),
        "other-serial": ("A full proxy with a serial number of its own", proxy(ALICE, None, form="gt2")),
    }
    for label, (words, entity) in good.items():
        yield accept(
            f"gt2::{label}", f"{words} of the legacy form.", entity, spec=_LEGACY, options=_GT2, features=["gt2"]
        )
    yield refuse(
        "gt2::switched-off",
        "The legacy form where it is not accepted.",
        _gt2(ALICE),
        "proxy-format",
        spec=_LEGACY,
        features=["gt2-switch"],
        importance="medium",
    )
    bad = {
        "limited-then-full": ("Limited, then full", _gt2(_gt2(ALICE, "limited proxy")), "proxy-limited", 0),
        "ca-true": (
            "CA true",
            proxy(ALICE, None, form="gt2", more=[basic_constraints(ca=True)]),
            "is-a-ca",
            0,
        ),
        "alternative-name": (
            "A SubjectAltName",
            proxy(
                ALICE,
                None,
                form="gt2",
                more=[extension("2.5.29.17", der.sequence(der.tlv(0x82, b"host.example.org")))],
            ),
            "proxy-alt-name",
            0,
        ),
        "other-base": (
            "Another user's name",
            proxy(ALICE, None, form="gt2", subject=name("/O=Grid/OU=Test/CN=Mallory/CN=proxy")),
            "proxy-name",
            0,
        ),
    }
    for label, (words, entity, reason, position) in bad.items():
        yield refuse(
            f"gt2::{label}",
            f"{words}, in the legacy form.",
            entity,
            reason,
            position,
            spec=_LEGACY,
            options=_GT2,
            features=["gt2"],
        )


def _names() -> Iterator[Case]:
    """A CA that certifies somebody called `proxy` makes a legacy proxy; nothing may take it for an end entity."""
    subjects = {
        "proxy": ("`proxy`", name(f"{ALICE_NAME}/CN=proxy")),
        "limited-proxy": ("`limited proxy`", name(f"{ALICE_NAME}/CN=limited proxy")),
        "proxy-alone": ("`proxy` and nothing else", name("/CN=proxy")),
        "proxy-in-utf8": (
            "`proxy` in UTF8String",
            der.sequence(*rdns(ALICE.subject), rdn(attribute("CN", "proxy", UTF8))),
        ),
        "proxy-in-bmp": (
            "`proxy` in BMPString",
            der.sequence(*rdns(ALICE.subject), rdn(attribute("CN", "proxy", BMP))),
        ),
        "proxy-among-two": (
            "`proxy` and a number in one part",
            der.sequence(*rdns(ALICE.subject), rdn(attribute("CN", "proxy"), attribute("CN", "1"))),
        ),
    }
    for label, (words, subject) in subjects.items():
        entity = issue(ROOT, subject, ALICE.key, text="")
        for switch, options in (("", None), ("-switched-on", _GT2)):
            yield refuse(
                f"gt2::ca-issued::{label}{switch}",
                f"A CA's certificate whose last common name is {words}: a legacy proxy without an end entity, and no "
                "end entity.",
                entity,
                "no-end-entity",
                spec=_LEGACY,
                options=options,
                features=["gt2"] if options else (),
                importance="high" if label in {"proxy", "limited-proxy"} else "medium",
            )
    harmless = {
        "proxy-capital": ("`Proxy`", name("/O=Grid/OU=Test/CN=Proxy"), "/O=Grid/OU=Test/CN=Proxy"),
        "proxy-longer": ("`proxy1`", name("/O=Grid/OU=Test/CN=proxy1"), "/O=Grid/OU=Test/CN=proxy1"),
        "proxy-not-last": (
            "`proxy`, but not last",
            name("/O=Grid/CN=proxy/CN=Alice"),
            "/O=Grid/CN=proxy/CN=Alice",
        ),
        "proxy-as-ou": ("`proxy` as an organizationalUnit", name("/O=Grid/OU=proxy"), "/O=Grid/OU=proxy"),
    }
    for label, (words, subject, text) in harmless.items():
        yield accept(
            f"gt2::ca-issued::{label}",
            f"An end entity with {words} in its name is an end entity.",
            issue(ROOT, subject, ALICE.key, text=text),
            spec=_LEGACY,
            importance="medium",
        )


def _mixtures() -> Iterator[Case]:
    rfc = proxy(ALICE)
    mixed = {
        "rfc3820-then-gt3": ("RFC 3820, then the draft", _gt3(rfc)),
        "gt3-then-rfc3820": ("The draft, then RFC 3820", proxy(_gt3(ALICE))),
        "rfc3820-then-gt2": ("RFC 3820, then legacy", _gt2(rfc)),
        "gt2-then-rfc3820": ("Legacy, then RFC 3820", proxy(_gt2(ALICE))),
        "gt3-then-gt2": ("The draft, then legacy", _gt2(_gt3(ALICE))),
        "gt2-then-gt3": ("Legacy, then the draft", _gt3(_gt2(ALICE))),
        "limited-rfc3820-then-limited-gt2": (
            "Limited by RFC 3820, then limited legacy",
            _gt2(proxy(ALICE, LIMITED), "limited proxy"),
        ),
    }
    for label, (words, entity) in mixed.items():
        yield refuse(
            f"mixed::{label}",
            f"{words}: two forms in one chain.",
            entity,
            "proxy-mixed-formats",
            spec=("Globus: one form in a chain",),
            options=_BOTH,
            features=["gt2", "gt3"],
        )
    yield refuse(
        "mixed::rfc3820-twice-then-gt3",
        "RFC 3820 twice, then the draft.",
        _gt3(proxy(rfc)),
        "proxy-mixed-formats",
        spec="Globus: one form in a chain",
        options=_BOTH,
        features=["gt2", "gt3"],
    )
    yield refuse(
        "mixed::gt3-between",
        "The draft between two of RFC 3820.",
        proxy(_gt3(rfc)),
        "proxy-mixed-formats",
        1,
        spec="Globus: one form in a chain",
        options=_BOTH,
        features=["gt2", "gt3"],
    )
    yield refuse(
        "mixed::rfc3820-then-key-usage-only",
        "RFC 3820, then a certificate of a proxy's name without any mark of one.",
        proxy(rfc, None, form="rfc3820"),
        "not-a-ca",
        1,
        spec=("RFC 3820 s. 3.8", "RFC 3820 s. 4.1.3 (b)"),
        options=_BOTH,
        features=["gt2", "gt3"],
    )
