"""The other extensions of proxies and of end entities that sign them: basic constraints, key usages, names, unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import (
    EEC_BITS,
    LIMITED,
    Entity,
    basic_constraints,
    extension,
    issue,
    key_usage,
    proxy,
    purposes,
)
from builder.model import accept, refuse
from builder.names import name
from builder.world import ALICE, ALICE_NAME, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.model import Case

__all__ = ["cases"]

_SAN: Final = "2.5.29.17"
_IAN: Final = "2.5.29.18"
_SIGNS: Final = {"grid-proxy-init": "the program signs with the leaf"}
_DNS: Final = der.sequence(der.tlv(0x82, b"host.example.org"))
_MAIL: Final = der.sequence(der.tlv(0x81, b"alice@example.org"))
_DIRECTORY: Final = der.sequence(der.tlv(0xA4, name("/O=Grid/CN=Somebody")))


def _alice(*extensions: bytes) -> Entity:
    return issue(ROOT, name(ALICE_NAME), ALICE.key, text=ALICE_NAME, extensions=list(extensions))


def cases() -> Iterator[Case]:
    """Yield each extension in turn."""
    yield from _basic_constraints()
    yield from _key_usages()
    yield from _purposes()
    yield from _alternative_names()
    yield from _unknown()
    yield from _identifiers()


def _basic_constraints() -> Iterator[Case]:
    spec = "RFC 3820 s. 3.7"
    false = basic_constraints(ca=False)
    yield accept("rfc3820::basic-constraints::false", "A proxy with CA false.", proxy(ALICE, more=[false]), spec=spec)
    yield accept(
        "rfc3820::basic-constraints::false-not-critical",
        "A proxy with CA false, not critical.",
        proxy(ALICE, more=[basic_constraints(ca=False, critical=False)]),
        spec=spec,
        importance="medium",
    )
    yield accept(
        "rfc3820::basic-constraints::false-written-out",
        "CA FALSE written out, which DER leaves out; old CAs do it and it takes nothing away.",
        proxy(ALICE, more=[extension("2.5.29.19", der.sequence(der.FALSE), critical=True)]),
        spec=(spec, "X.690 s. 11.5"),
        importance="low",
    )
    true = basic_constraints(ca=True)
    yield refuse(
        "rfc3820::basic-constraints::true", "A proxy with CA true.", proxy(ALICE, more=[true]), "is-a-ca", spec=spec
    )
    yield refuse(
        "rfc3820::basic-constraints::true-not-critical",
        "A proxy with CA true, not critical.",
        proxy(ALICE, more=[basic_constraints(ca=True, critical=False)]),
        "is-a-ca",
        spec=spec,
    )
    yield refuse(
        "rfc3820::basic-constraints::true-above",
        "A proxy signed by a proxy with CA true.",
        proxy(proxy(ALICE, more=[true])),
        "no-end-entity",
        spec=spec,
    )
    yield refuse(
        "rfc3820::basic-constraints::path-length-without-ca",
        "A path length in the basic constraints of a proxy that is no CA.",
        proxy(ALICE, more=[extension("2.5.29.19", der.sequence(der.integer(0)), critical=True)]),
        "malformed",
        spec="RFC 5280 s. 4.2.1.9",
        importance="medium",
    )
    yield refuse(
        "rfc3820::basic-constraints::garbage",
        "Basic constraints that are no DER.",
        proxy(ALICE, more=[extension("2.5.29.19", b"\xde\xad", critical=True)]),
        "malformed",
        spec="RFC 5280 s. 4.2.1.9",
    )
    yield refuse(
        "rfc3820::basic-constraints::empty-value",
        "Basic constraints without content.",
        proxy(ALICE, more=[extension("2.5.29.19", b"", critical=True)]),
        "malformed",
        spec="RFC 5280 s. 4.2.1.9",
    )


def _key_usages() -> Iterator[Case]:
    spec = ("RFC 3820 s. 3.6", "RFC 3820 s. 4.1.4 (f)")
    no_ca = ("RFC 5280 s. 4.2.1.9", "RFC 5280 s. 4.2.1.3")
    yield accept(
        "rfc3820::key-usage::absent",
        "A proxy without key usage below an end entity that has one.",
        proxy(ALICE, usage=None),
        spec=spec,
    )
    yield accept(
        "rfc3820::key-usage::absent-everywhere",
        "Neither the end entity nor the proxy has a key usage.",
        proxy(_alice(basic_constraints(ca=False)), usage=None),
        spec=spec,
    )
    yield accept(
        "rfc3820::key-usage::digital-signature-alone",
        "A proxy with digitalSignature alone.",
        proxy(ALICE, usage=("digitalSignature",)),
        spec=spec,
    )
    yield accept(
        "rfc3820::key-usage::wider-than-signer",
        "A proxy with dataEncipherment, which its signer does not have: RFC 3820 compares no bits.",
        proxy(ALICE, usage=(*EEC_BITS, "dataEncipherment")),
        spec=("RFC 3820 s. 3.6", "RFC 3820 s. 4.2"),
        importance="medium",
    )
    yield accept(
        "rfc3820::key-usage::non-repudiation",
        "A proxy with nonRepudiation, which RFC 3820 leaves open.",
        proxy(ALICE, usage=(*EEC_BITS, "nonRepudiation")),
        spec="RFC 3820 s. 3.6",
        importance="low",
    )
    yield accept(
        "rfc3820::key-usage::not-critical",
        "Key usages that are not critical.",
        proxy(_alice(key_usage(*EEC_BITS, critical=False)), usage=None, more=[key_usage(*EEC_BITS, critical=False)]),
        spec=spec,
        importance="medium",
    )
    yield refuse(
        "rfc3820::key-usage::key-cert-sign",
        "A proxy with keyCertSign.",
        proxy(ALICE, usage=(*EEC_BITS, "keyCertSign")),
        "key-usage",
        spec=no_ca,
        importance="medium",
    )
    yield refuse(
        "rfc3820::key-usage::key-cert-sign-above",
        "A proxy signed by a proxy with keyCertSign.",
        proxy(proxy(ALICE, usage=(*EEC_BITS, "keyCertSign"))),
        "key-usage",
        1,
        spec=no_ca,
        importance="medium",
    )
    yield refuse(
        "rfc3820::key-usage::leaf-cannot-sign",
        "The leaf's key usage lacks digitalSignature: no TLS client can prove its key.",
        proxy(ALICE, usage=("keyEncipherment",)),
        "key-usage",
        spec="RFC 5280 s. 4.2.1.3",
        not_applicable=_SIGNS,
    )
    yield accept(
        "rfc3820::key-usage::leaf-cannot-sign-any-purpose",
        "The same where no purpose is asked for.",
        proxy(ALICE, usage=("keyEncipherment",)),
        spec="RFC 5280 s. 4.2.1.3",
        purpose="ANY",
        importance="medium",
        not_applicable=_SIGNS,
    )
    yield refuse(
        "rfc3820::key-usage::signing-proxy-cannot-sign",
        "A proxy signed by a proxy whose key usage lacks digitalSignature.",
        proxy(proxy(ALICE, usage=("keyEncipherment",))),
        "key-usage",
        1,
        spec=spec,
    )
    for label, bits in (
        ("key-encipherment-alone", ("keyEncipherment",)),
        ("non-repudiation-alone", ("nonRepudiation",)),
    ):
        yield refuse(
            f"rfc3820::key-usage::end-entity-{label}",
            f"A proxy signed by an end entity whose key usage lacks digitalSignature ({label.replace('-', ' ')}).",
            proxy(_alice(key_usage(*bits))),
            "key-usage",
            1,
            spec=("RFC 3820 s. 3.1", "RFC 3820 s. 3.6"),
        )
    yield refuse(
        "rfc3820::key-usage::no-bits",
        "A proxy with a key usage of no bits.",
        proxy(ALICE, usage=()),
        "key-usage",
        spec="RFC 5280 s. 4.2.1.3",
        importance="medium",
        not_applicable=_SIGNS,
    )
    yield refuse(
        "rfc3820::key-usage::bit-among-unused",
        "keyCertSign set among the bits that are said not to count.",
        proxy(ALICE, usage=None, more=[extension("2.5.29.15", b"\x03\x02\x05\xa4", critical=True)]),
        "malformed",
        spec=("RFC 5280 s. 4.2.1.3", "X.690 s. 11.2.1"),
        importance="medium",
    )
    yield refuse(
        "rfc3820::key-usage::octet-string",
        "A key usage as an OCTET STRING.",
        proxy(ALICE, usage=None, more=[extension("2.5.29.15", b"\x04\x01\x80", critical=True)]),
        "malformed",
        spec="RFC 5280 s. 4.2.1.3",
    )


def _purposes() -> Iterator[Case]:
    spec = ("RFC 5280 s. 4.2.1.12", "RFC 3820 s. 4.2")
    usage = key_usage(*EEC_BITS)

    def eec(*names: str) -> Entity:
        return _alice(usage, purposes(*names))

    good: dict[str, tuple[str, Entity, str]] = {
        "client": ("clientAuth in the end entity.", proxy(eec("client")), "CLIENT"),
        "client-in-both": (
            "clientAuth in both.",
            proxy(eec("client"), more=[purposes("client")]),
            "CLIENT",
        ),
        "client-and-server": ("Both usages.", proxy(eec("client", "server")), "SERVER"),
        "server-as-server": ("serverAuth, as a server.", eec("server"), "SERVER"),
        "narrower-proxy": (
            "A proxy with clientAuth alone below an end entity with both.",
            proxy(eec("client", "server"), more=[purposes("client")]),
            "CLIENT",
        ),
        "server-no-purpose": ("serverAuth where no purpose is asked for.", eec("server"), "ANY"),
    }
    for label, (words, entity, purpose) in good.items():
        yield accept(f"rfc3820::purpose::{label}", words, entity, spec=spec, purpose=purpose)
    yield accept(
        "rfc3820::purpose::any",
        "anyExtendedKeyUsage. RFC 5280 lets a validator ask for the very purpose.",
        proxy(eec("any")),
        spec=spec,
        features=["any-extended-key-usage"],
        importance="low",
    )
    bad: dict[str, tuple[str, Entity, str, int]] = {
        "server-as-client": ("serverAuth alone, as a client.", eec("server"), "CLIENT", 0),
        "server-as-client-proxy": (
            "A proxy below an end entity with serverAuth alone.",
            proxy(eec("server")),
            "CLIENT",
            1,
        ),
        "proxy-adds-client": (
            "A proxy that adds clientAuth to an end entity with serverAuth alone: all must agree.",
            proxy(eec("server"), more=[purposes("client")]),
            "CLIENT",
            1,
        ),
        "proxy-adds-server": (
            "A proxy that adds serverAuth to an end entity with clientAuth alone, as a server.",
            proxy(eec("client"), more=[purposes("server")]),
            "SERVER",
            1,
        ),
        "proxy-without-client": (
            "A proxy with serverAuth alone below an end entity with both, as a client.",
            proxy(eec("client", "server"), more=[purposes("server")]),
            "CLIENT",
            0,
        ),
        "proxy-above-without-client": (
            "The same with the narrower proxy in between.",
            proxy(proxy(eec("client", "server"), more=[purposes("server")])),
            "CLIENT",
            1,
        ),
        "other": ("codeSigning alone.", eec("1.3.6.1.5.5.7.3.3"), "CLIENT", 0),
    }
    for label, (words, entity, purpose, position) in bad.items():
        yield refuse(
            f"rfc3820::purpose::{label}", words, entity, "extended-key-usage", position, spec=spec, purpose=purpose
        )
    yield accept(
        "rfc3820::purpose::server-as-client-switch",
        "serverAuth alone, as a client, where extended key usages are not asked about.",
        eec("server"),
        spec=spec,
        options={"ignore_extended_key_usage": True},
        features=["extended-key-usage-switch"],
        importance="medium",
    )
    yield refuse(
        "rfc3820::purpose::empty",
        "An extended key usage without any.",
        proxy(ALICE, more=[extension("2.5.29.37", der.sequence())]),
        "malformed",
        spec="RFC 5280 s. 4.2.1.12",
        importance="medium",
    )


def _alternative_names() -> Iterator[Case]:
    names = (
        ("subject", _SAN, "A SubjectAltName", "RFC 3820 s. 3.5", "RFC 5280 s. 4.2.1.6"),
        ("issuer", _IAN, "An IssuerAltName", "RFC 3820 s. 3.2", "RFC 5280 s. 4.2.1.7"),
    )
    for label, number, text, spec, general in names:
        for kind, value in (("dns", _DNS), ("mail", _MAIL), ("directory", _DIRECTORY)):
            yield refuse(
                f"rfc3820::alt-name::{label}-{kind}",
                f"{text} ({kind}) in a proxy.",
                proxy(ALICE, more=[extension(number, value)]),
                "proxy-alt-name",
                spec=spec,
                importance="high" if kind == "dns" else "medium",
            )
        yield refuse(
            f"rfc3820::alt-name::{label}-above",
            f"{text} in the proxy that signs.",
            proxy(proxy(ALICE, more=[extension(number, _DNS)])),
            "proxy-alt-name",
            1,
            spec=spec,
        )
        yield accept(
            f"rfc3820::alt-name::{label}-in-end-entity",
            f"{text} in the end entity, which may have one.",
            proxy(_alice(key_usage(*EEC_BITS), extension(number, _MAIL))),
            spec=(general, spec),
        )
    yield refuse(
        "rfc3820::alt-name::subject-critical",
        "A critical SubjectAltName in a proxy.",
        proxy(ALICE, more=[extension(_SAN, _DNS, critical=True)]),
        "proxy-alt-name",
        spec="RFC 3820 s. 3.5",
    )
    yield refuse(
        "rfc3820::alt-name::subject-empty",
        "A SubjectAltName without names in a proxy.",
        proxy(ALICE, more=[extension(_SAN, der.sequence())]),
        "malformed",
        spec=("RFC 5280 s. 4.2.1.6", "RFC 3820 s. 3.5"),
        importance="medium",
    )


def _unknown() -> Iterator[Case]:
    spec = "RFC 5280 s. 4.2"
    unknown = extension("1.2.3.4.5", der.NULL, critical=True)
    places: dict[str, tuple[str, Entity, int]] = {
        "proxy": ("in a proxy", proxy(ALICE, more=[unknown]), 0),
        "limited-proxy": ("in a limited proxy", proxy(ALICE, LIMITED, more=[unknown]), 0),
        "proxy-above": ("in the proxy that signs", proxy(proxy(ALICE, more=[unknown])), 1),
        "end-entity": ("in the end entity", proxy(_alice(key_usage(*EEC_BITS), unknown)), 1),
        "end-entity-alone": ("in an end entity without proxy", _alice(key_usage(*EEC_BITS), unknown), 0),
    }
    for label, (words, entity, position) in places.items():
        yield refuse(
            f"rfc5280::unknown-critical::{label}",
            f"A critical extension that nobody knows, {words}.",
            entity,
            "unknown-critical-extension",
            position,
            spec=spec,
        )
    yield accept(
        "rfc5280::unknown-critical::not-critical",
        "An extension that nobody knows and that is not critical, in proxy and end entity.",
        proxy(_alice(key_usage(*EEC_BITS), extension("1.2.3.4.5", der.NULL)), more=[extension("1.2.3.4.5", der.NULL)]),
        spec=spec,
    )
    yield refuse(
        "rfc5280::unknown-critical::policy-constraints",
        "A proxy with critical policyConstraints that require a policy.",
        proxy(ALICE, more=[extension("2.5.29.36", der.sequence(b"\x80\x01\x00"), critical=True)]),
        "unknown-critical-extension",
        spec="RFC 5280 s. 4.2.1.11",
        importance="low",
    )
    yield accept(
        "rfc5280::certificate-policies::critical",
        "Critical certificate policies in the end entity, where no policy is required.",
        proxy(
            _alice(
                key_usage(*EEC_BITS),
                extension("2.5.29.32", der.sequence(der.sequence(der.oid("1.2.3.4"))), critical=True),
            )
        ),
        spec="RFC 5280 s. 4.2.1.4",
        importance="medium",
    )
    for label, words, listed in _doubles():
        yield refuse(
            f"rfc5280::twice::{label}",
            f"{words} twice in a proxy.",
            proxy(ALICE, more=listed),
            "duplicate-extension",
            spec=spec,
        )
    yield refuse(
        "rfc5280::twice::in-end-entity",
        "An unknown extension twice in the end entity.",
        proxy(_alice(key_usage(*EEC_BITS), *[extension("1.2.3.4.5", der.NULL)] * 2)),
        "duplicate-extension",
        1,
        spec=spec,
    )


def _doubles() -> Sequence[tuple[str, str, list[bytes]]]:
    return (
        ("key-usage", "The key usage", [key_usage(*EEC_BITS)]),
        ("key-usage-that-differs", "The key usage, with keyCertSign the second time,", [key_usage("keyCertSign")]),
        ("unknown", "An unknown extension", [extension("1.2.3.4.5", der.NULL)] * 2),
        (
            "unknown-that-differs",
            "An unknown extension with two values",
            [extension("1.2.3.4.5", der.NULL), extension("1.2.3.4.5", der.TRUE)],
        ),
        ("basic-constraints", "CA false", [basic_constraints(ca=False)] * 2),
    )


def _identifiers() -> Iterator[Case]:
    spec = "RFC 5280 s. 4.2.1.1"
    subject_id = extension("2.5.29.14", der.octets(bytes(20)))
    wrong_issuer = extension("2.5.29.35", der.sequence(der.tlv(0x80, b"\x11" * 20)))
    yield accept(
        "rfc5280::identifiers::subject-key",
        "A proxy with a subject key identifier.",
        proxy(ALICE, more=[subject_id]),
        spec="RFC 5280 s. 4.2.1.2",
        importance="medium",
    )
    yield accept(
        "rfc5280::identifiers::authority-key-of-another",
        "An authority key identifier that is not the signer's: it helps to find an issuer, and refuses none.",
        proxy(_alice(key_usage(*EEC_BITS), subject_id), more=[wrong_issuer]),
        spec=spec,
        importance="low",
    )
    yield refuse(
        "rfc5280::identifiers::authority-key-garbage",
        "An authority key identifier that is no DER.",
        proxy(ALICE, more=[extension("2.5.29.35", b"\xde\xad")]),
        "malformed",
        spec=spec,
        importance="low",
    )
    yield accept(
        "rfc5280::identifiers::voms-like",
        "A proxy with a large extension that is not critical, as attribute certificates make it.",
        proxy(ALICE, more=[extension("1.3.6.1.4.1.8005.100.100.5", der.sequence(der.octets(bytes(6000))))]),
        spec="RFC 5280 s. 4.2",
        importance="medium",
    )
