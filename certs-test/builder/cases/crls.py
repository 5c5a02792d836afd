"""Revocation: CRLs in the trust directory, good ones and those that must not be taken for none (RFC 5280 section 5)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import (
    crl,
    crl_entry,
    extension,
    proxy,
    serial_of,
)
from builder.model import accept, refuse
from builder.world import (
    ALICE,
    OTHER_CA,
    PLAIN,
    ROOT,
    STEM,
    TrustDir,
    crl_pem,
    pem,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

# CRL processing, and which of its steps decides.
_SPEC: Final = "RFC 5280 s. 6.3.3"
_ISSUER: Final = f"{_SPEC} (b) (1)"
_SIGNATURE: Final = f"{_SPEC} (g)"
_FOUND: Final = f"{_SPEC} (j)"
_FIELDS: Final = "RFC 5280 s. 5.1"
_VERSION: Final = "RFC 5280 s. 5.1.2.1"
_NEXT_UPDATE: Final = "RFC 5280 s. 5.1.2.5"
_REVOKED: Final = "RFC 5280 s. 5.1.2.6"
_EXTENSIONS: Final = "RFC 5280 s. 5.2"
_REASON_CODE: Final = "RFC 5280 s. 5.3.1"
_ALICE: Final = crl_entry(serial_of(ALICE.certificate))
_OTHER: Final = crl_entry(4711)
_REASON: Final = extension("2.5.29.21", b"\x0a\x01\x01")


def _trust(label: str, **files: bytes) -> TrustDir:
    return TrustDir(f"crl-{label}", {**PLAIN.files, **{f"{STEM}.{kind}": content for kind, content in files.items()}})


def _at(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def cases() -> Iterator[Case]:
    """Yield lists that are good, lists that revoke, lists that fail, then switches."""
    yield from _good()
    yield from _revoked()
    yield from _failing()
    yield from _switches()


def _good() -> Iterator[Case]:
    good = {
        "empty-list": ("names nobody", (_REVOKED,), _trust("empty-list", r0=crl_pem(crl(ROOT)))),
        "others-revoked": ("names somebody else", (_FOUND,), _trust("others", r0=crl_pem(crl(ROOT, [_OTHER])))),
        "in-der": ("is in DER", (_FIELDS,), _trust("der", r0=crl(ROOT, [_OTHER]))),
        "with-text": (
            "has text before it",
            ("RFC 7468 s. 2", "RFC 7468 s. 6"),
            _trust("with-text", r0=b"Certificate Revocation List:\n" + crl_pem(crl(ROOT))),
        ),
        "two-good": (
            "has a second beside it",
            (_SPEC,),
            _trust("two", r0=crl_pem(crl(ROOT)), r1=crl_pem(crl(ROOT, [_OTHER]))),
        ),
        "version-1": ("is of version 1", (_VERSION,), _trust("v1", r0=crl_pem(crl(ROOT, version=b"", extensions=())))),
        "without-number": (
            "has no number",
            ("RFC 5280 s. 5.2.3",),
            _trust("no-number", r0=crl_pem(crl(ROOT, extensions=()))),
        ),
        "entry-with-reason": (
            "gives a reason with an entry",
            (_REASON_CODE,),
            _trust("reason", r0=crl_pem(crl(ROOT, [crl_entry(4711, _REASON)]))),
        ),
        "after-2049": (
            "ends after 2049",
            (_NEXT_UPDATE,),
            _trust("after-2049", r0=crl_pem(crl(ROOT, next_update=_at(2055)))),
        ),
        "of-others-broken": (
            "is in order, while another CA's is not",
            (_ISSUER, "each for itself"),
            TrustDir("crl-of-others-broken", {**PLAIN.files, f"{STEM}.r0": crl_pem(crl(ROOT)), "12345678.r0": b"x"}),
        ),
    }
    for label, (words, spec, trust) in good.items():
        yield accept(f"grid::crl::{label}", f"The CA's CRL {words}.", proxy(ALICE), spec=spec, trust=trust)
    yield accept("grid::crl::absent", "No CRL of the CA.", proxy(ALICE), spec="switch", features=["crl-if-present"])
    yield accept(
        "grid::crl::serial-of-proxy",
        "The CRL names the serial number of a proxy, which no CA has issued.",
        proxy(ALICE, serial=4711),
        spec="RFC 3820 s. 4",
        trust=_trust("others", r0=crl_pem(crl(ROOT, [_OTHER]))),
    )


def _revoked() -> Iterator[Case]:
    revoked = crl(ROOT, [_OTHER, _ALICE])
    places = {
        "in-r0": ("The user is revoked.", _FOUND, _trust("revoked", r0=crl_pem(revoked))),
        "in-r1-alone": (
            "The user is revoked in .r1, and there is no .r0.",
            _FOUND,
            _trust("revoked-r1", r1=crl_pem(revoked)),
        ),
        "in-r1-beside-r0": (
            "The user is revoked in .r1 beside an .r0 that names nobody.",
            _FOUND,
            _trust("revoked-r0-r1", r0=crl_pem(crl(ROOT)), r1=crl_pem(revoked)),
        ),
        "in-r7": ("The user is revoked in .r7, the only one.", _FOUND, _trust("revoked-r7", r7=crl_pem(revoked))),
        "second-in-file": (
            "The user is revoked in the second CRL of one file.",
            _FOUND,
            _trust("revoked-second", r0=crl_pem(crl(ROOT)) + crl_pem(revoked)),
        ),
        "in-der": ("The user is revoked by a CRL in DER.", _FIELDS, _trust("revoked-der", r0=revoked)),
        "with-reason": (
            "The user is revoked, with a reason.",
            _REASON_CODE,
            _trust("revoked-reason", r0=crl_pem(crl(ROOT, [crl_entry(serial_of(ALICE.certificate), _REASON)]))),
        ),
        "on-hold": (
            "The user's certificate is on hold.",
            _REASON_CODE,
            _trust(
                "revoked-hold",
                r0=crl_pem(
                    crl(ROOT, [crl_entry(serial_of(ALICE.certificate), extension("2.5.29.21", b"\x0a\x01\x06"))])
                ),
            ),
        ),
    }
    for label, (words, place, trust) in places.items():
        spec = (_REVOKED, place)
        yield refuse(f"grid::crl::revoked-{label}", words, proxy(ALICE), "revoked", 1, spec=spec, trust=trust)
    yield refuse(
        "grid::crl::revoked-end-entity",
        "The user is revoked, and comes without a proxy.",
        ALICE,
        "revoked",
        spec=(_REVOKED, _FOUND),
        trust=_trust("revoked", r0=crl_pem(revoked)),
    )
    yield refuse(
        "grid::crl::revoked-two-levels",
        "The user is revoked, below whom stand two proxies.",
        proxy(proxy(ALICE)),
        "revoked",
        2,
        spec=(_REVOKED, _FOUND),
        trust=_trust("revoked", r0=crl_pem(revoked)),
    )
    yield refuse(
        "grid::crl::root-on-its-own-list",
        "The root is on its own CRL.",
        proxy(ALICE),
        "revoked",
        2,
        spec="a root on its own list",
        trust=_trust("revoked-root", r0=crl_pem(crl(ROOT, [crl_entry(serial_of(ROOT.certificate))]))),
        importance="medium",
    )


def _failing() -> Iterator[Case]:
    good = crl_pem(crl(ROOT))
    unknown = extension("1.2.3.4", der.NULL, critical=True)
    failing = {
        "expired": ("has expired", crl(ROOT, next_update=_at(2025)), "crl-expired", (_NEXT_UPDATE, f"{_SPEC} (a) (1)")),
        "not-yet-valid": (
            "is not yet valid",
            crl(ROOT, this_update=_at(2046)),
            "crl-not-yet-valid",
            "RFC 5280 s. 5.1.2.4",
        ),
        "wrong-signer": (
            "was signed with another key",
            crl(ROOT, signer=OTHER_CA.key),
            "crl-bad-signature",
            _SIGNATURE,
        ),
        "signed-by-user": ("was signed by a user", crl(ROOT, signer=ALICE.key), "crl-bad-signature", _SIGNATURE),
        "of-other-ca": ("is another CA's", crl(OTHER_CA), "crl-signer", _ISSUER),
        "other-name": (
            "names another issuer, signed by the CA",
            crl(ROOT, name=OTHER_CA.subject),
            "crl-signer",
            ("RFC 5280 s. 5.1.2.3", _ISSUER),
        ),
        "unknown-critical": (
            "has a critical extension that nobody knows",
            crl(ROOT, extensions=[unknown]),
            "crl-broken",
            _EXTENSIONS,
        ),
        "unknown-critical-in-entry": (
            "has an entry with a critical extension that nobody knows",
            crl(ROOT, [crl_entry(4711, unknown)]),
            "crl-broken",
            "RFC 5280 s. 5.3",
        ),
        "delta": (
            "is a delta CRL",
            crl(ROOT, extensions=[extension("2.5.29.27", der.integer(1), critical=True)]),
            "crl-broken",
            "RFC 5280 s. 5.2.4",
        ),
        "partial": (
            "covers user certificates of one kind alone (issuing distribution point)",
            crl(ROOT, extensions=[extension("2.5.29.28", der.sequence(b"\x81\x01\xff"), critical=True)]),
            "crl-broken",
            ("RFC 5280 s. 5.2.5", f"{_SPEC} (b) (2)"),
        ),
        "indirect": (
            "has an entry about another CA's certificate",
            crl(
                ROOT,
                [
                    crl_entry(
                        4711,
                        extension("2.5.29.29", der.sequence(der.explicit(4, OTHER_CA.subject)), critical=True),
                    )
                ],
            ),
            "crl-broken",
            ("RFC 5280 s. 5.3.3", "RFC 5280 s. 5.3"),
        ),
        "no-next-update": (
            "does not say when the next one comes",
            crl(ROOT, next_update=None),
            "crl-broken",
            _NEXT_UPDATE,
        ),
        "v1-with-extensions": ("is of version 1 with extensions", crl(ROOT, version=b""), "crl-broken", _VERSION),
        "extension-twice": (
            "has an extension twice",
            crl(ROOT, extensions=[extension("2.5.29.20", der.integer(1))] * 2),
            "crl-broken",
            _EXTENSIONS,
        ),
        "sha1": (
            "was signed with SHA-1",
            crl(ROOT, digest="sha1"),
            "weak-signature",
            ("RFC 8446 s. 4.4.2.4", "NIST SP 800-131A s. 3"),
        ),
        "algorithms-differ": (
            "names two signature algorithms",
            crl(ROOT, outer=der.sequence(der.oid("1.2.840.113549.1.1.12"), der.NULL)),
            "crl-broken",
            ("RFC 5280 s. 5.1.1.2", "RFC 5280 s. 5.1.2.2"),
        ),
        "trailing-bytes": ("has bytes behind it", crl(ROOT) + b"\x00\x00", "crl-broken", _FIELDS),
    }
    for label, (words, content, reason, spec) in failing.items():
        yield refuse(
            f"grid::crl::{label}",
            f"The CA's CRL {words}.",
            proxy(ALICE),
            reason,
            1,
            spec=spec,
            trust=_trust(label, r0=crl_pem(content)),
        )
    damaged = {
        "garbage": ("is garbage", b"garbage\n"),
        "garbage-in-pem": ("is garbage within a good frame", crl_pem(b"\xde\xad\xbe\xef")),
        "cut-off": ("is cut off", good[:-100]),
        "empty-file": ("is an empty file", b""),
        "certificate-in-place": ("is a certificate", pem("CERTIFICATE", ROOT.certificate)),
        "second-in-file-broken": ("is in order, but a second one in its file is not", good + crl_pem(b"\xde\xad")),
    }
    for label, (words, text) in damaged.items():
        yield refuse(
            f"grid::crl::{label}",
            f"The CA's CRL {words}.",
            proxy(ALICE),
            "crl-broken",
            1,
            spec=(_FIELDS, "fail closed"),
            trust=_trust(label, r0=text),
        )
    yield refuse(
        "grid::crl::good-beside-expired",
        "A good .r0 and an expired .r1.",
        proxy(ALICE),
        "crl-expired",
        1,
        spec=(_NEXT_UPDATE, "fail closed"),
        trust=_trust("good-beside-expired", r0=good, r1=crl_pem(crl(ROOT, next_update=_at(2025)))),
        importance="medium",
    )
    last = datetime(2030, 1, 1, tzinfo=UTC)
    clock = {
        "openssl": "takes the last second for past",
        "gsi": "its CRL check reads the clock",
        "grid-proxy-init": "the program reads the clock",
    }
    yield accept(
        "grid::crl::last-second",
        "Judged in the very second of nextUpdate.",
        proxy(ALICE),
        spec=_NEXT_UPDATE,
        trust=_trust("last-second", r0=crl_pem(crl(ROOT, next_update=last))),
        importance="low",
        not_applicable=clock,
    )


def _switches() -> Iterator[Case]:
    required = {"crl": "require"}
    off = {"crl": "off"}
    yield refuse(
        "grid::crl::required-and-absent",
        "No CRL of the CA where one is required.",
        proxy(ALICE),
        "crl-missing",
        1,
        spec=("switch", _SPEC),
        options=dict(required),
        features=["crl", "crl-require"],
    )
    yield accept(
        "grid::crl::required-and-there",
        "A CRL of the CA where one is required.",
        proxy(ALICE),
        spec=("switch", _SPEC),
        trust=_trust("empty-list", r0=crl_pem(crl(ROOT))),
        options=dict(required),
        features=["crl-require"],
    )
    for label, trust in (
        ("revoked", _trust("revoked", r0=crl_pem(crl(ROOT, [_OTHER, _ALICE])))),
        ("garbage", _trust("garbage", r0=b"garbage\n")),
    ):
        yield accept(
            f"grid::crl::off-{label}",
            f"A CRL ({label}) where none is looked at.",
            proxy(ALICE),
            spec=("switch", _SPEC),
            trust=trust,
            options=dict(off),
            features=["crl-off"],
            importance="low",
        )
