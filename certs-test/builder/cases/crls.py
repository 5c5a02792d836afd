"""Revocation: CRLs in the trust directory, good ones and those that must not be taken for none (RFC 5280 section 5)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from builder import der
from builder.certificates import (
    CA_END,
    Entity,
    authority,
    basic_constraints,
    crl,
    crl_entry,
    extension,
    issue,
    key_usage,
    proxy,
    serial_of,
)
from builder.keys import load
from builder.model import accept, refuse
from builder.names import name, subject_hash
from builder.world import (
    ALICE,
    ALICE_NAME,
    OTHER_CA,
    PLAIN,
    ROOT,
    STEM,
    SUB,
    SUB_ALICE,
    SUB_POLICY,
    TrustDir,
    authority_files,
    pem,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_SPEC: Final = "RFC 5280 s. 5"
_ALICE: Final = crl_entry(serial_of(ALICE.certificate))
_OTHER: Final = crl_entry(4711)
_REASON: Final = extension("2.5.29.21", b"\x0a\x01\x01")


def _text(content: bytes) -> bytes:
    return pem("X509 CRL", content)


def _trust(label: str, **files: bytes) -> TrustDir:
    return TrustDir(f"crl-{label}", {**PLAIN.files, **{f"{STEM}.{kind}": content for kind, content in files.items()}})


def _at(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def cases() -> Iterator[Case]:
    """Yield lists that are good, lists that revoke, lists that fail, then switches and CAs between."""
    yield from _good()
    yield from _revoked()
    yield from _failing()
    yield from _switches()
    yield from _keys()
    yield from _intermediates()


def _good() -> Iterator[Case]:
    good = {
        "empty-list": ("names nobody", _trust("empty-list", r0=_text(crl(ROOT)))),
        "others-revoked": ("names somebody else", _trust("others", r0=_text(crl(ROOT, [_OTHER])))),
        "in-der": ("is in DER", _trust("der", r0=crl(ROOT, [_OTHER]))),
        "with-text": (
            "has text before it",
            _trust("with-text", r0=b"Certificate Revocation List:\n" + _text(crl(ROOT))),
        ),
        "two-good": ("has a second beside it", _trust("two", r0=_text(crl(ROOT)), r1=_text(crl(ROOT, [_OTHER])))),
        "version-1": ("is of version 1", _trust("v1", r0=_text(crl(ROOT, version=b"", extensions=())))),
        "without-number": ("has no number", _trust("no-number", r0=_text(crl(ROOT, extensions=())))),
        "entry-with-reason": (
            "gives a reason with an entry",
            _trust("reason", r0=_text(crl(ROOT, [crl_entry(4711, _REASON)]))),
        ),
        "after-2049": ("ends after 2049", _trust("after-2049", r0=_text(crl(ROOT, next_update=_at(2055))))),
        "of-others-broken": (
            "is in order, while another CA's is not",
            TrustDir("crl-of-others-broken", {**PLAIN.files, f"{STEM}.r0": _text(crl(ROOT)), "12345678.r0": b"x"}),
        ),
    }
    for label, (words, trust) in good.items():
        yield accept(f"grid::crl::{label}", f"The CA's CRL {words}.", proxy(ALICE), spec=_SPEC, trust=trust)
    yield accept("grid::crl::absent", "No CRL of the CA.", proxy(ALICE), spec=_SPEC, features=["crl-if-present"])
    yield accept(
        "grid::crl::serial-of-proxy",
        "The CRL names the serial number of a proxy, which no CA has issued.",
        proxy(ALICE, serial=4711),
        spec="proxies are not looked up in CRLs",
        trust=_trust("others", r0=_text(crl(ROOT, [_OTHER]))),
    )


def _revoked() -> Iterator[Case]:
    revoked = crl(ROOT, [_OTHER, _ALICE])
    places = {
        "in-r0": ("The user is revoked.", _trust("revoked", r0=_text(revoked))),
        "in-r1-alone": ("The user is revoked in .r1, and there is no .r0.", _trust("revoked-r1", r1=_text(revoked))),
        "in-r1-beside-r0": (
            "The user is revoked in .r1 beside an .r0 that names nobody.",
            _trust("revoked-r0-r1", r0=_text(crl(ROOT)), r1=_text(revoked)),
        ),
        "in-r7": ("The user is revoked in .r7, the only one.", _trust("revoked-r7", r7=_text(revoked))),
        "second-in-file": (
            "The user is revoked in the second CRL of one file.",
            _trust("revoked-second", r0=_text(crl(ROOT)) + _text(revoked)),
        ),
        "in-der": ("The user is revoked by a CRL in DER.", _trust("revoked-der", r0=revoked)),
        "with-reason": (
            "The user is revoked, with a reason.",
            _trust("revoked-reason", r0=_text(crl(ROOT, [crl_entry(serial_of(ALICE.certificate), _REASON)]))),
        ),
        "on-hold": (
            "The user's certificate is on hold.",
            _trust(
                "revoked-hold",
                r0=_text(crl(ROOT, [crl_entry(serial_of(ALICE.certificate), extension("2.5.29.21", b"\x0a\x01\x06"))])),
            ),
        ),
    }
    for label, (words, trust) in places.items():
        yield refuse(f"grid::crl::revoked-{label}", words, proxy(ALICE), "revoked", 1, spec=_SPEC, trust=trust)
    yield refuse(
        "grid::crl::revoked-end-entity",
        "The user is revoked, and comes without a proxy.",
        ALICE,
        "revoked",
        spec=_SPEC,
        trust=_trust("revoked", r0=_text(revoked)),
    )
    yield refuse(
        "grid::crl::revoked-two-levels",
        "The user is revoked, below whom stand two proxies.",
        proxy(proxy(ALICE)),
        "revoked",
        2,
        spec=_SPEC,
        trust=_trust("revoked", r0=_text(revoked)),
    )
    yield refuse(
        "grid::crl::root-on-its-own-list",
        "The root is on its own CRL.",
        proxy(ALICE),
        "revoked",
        2,
        spec="a root that says it must not be trusted",
        trust=_trust("revoked-root", r0=_text(crl(ROOT, [crl_entry(serial_of(ROOT.certificate))]))),
        importance="medium",
    )


def _failing() -> Iterator[Case]:
    good = _text(crl(ROOT))
    unknown = extension("1.2.3.4", der.NULL, critical=True)
    failing = {
        "expired": ("has expired", crl(ROOT, next_update=_at(2025)), "crl-expired"),
        "not-yet-valid": ("is not yet valid", crl(ROOT, this_update=_at(2046)), "crl-not-yet-valid"),
        "wrong-signer": ("was signed with another key", crl(ROOT, signer=OTHER_CA.key), "crl-bad-signature"),
        "signed-by-user": ("was signed by a user", crl(ROOT, signer=ALICE.key), "crl-bad-signature"),
        "of-other-ca": ("is another CA's", crl(OTHER_CA), "crl-signer"),
        "other-name": ("names another issuer, signed by the CA", crl(ROOT, name=OTHER_CA.subject), "crl-signer"),
        "unknown-critical": (
            "has a critical extension that nobody knows",
            crl(ROOT, extensions=[unknown]),
            "crl-broken",
        ),
        "unknown-critical-in-entry": (
            "has an entry with a critical extension that nobody knows",
            crl(ROOT, [crl_entry(4711, unknown)]),
            "crl-broken",
        ),
        "delta": (
            "is a delta CRL",
            crl(ROOT, extensions=[extension("2.5.29.27", der.integer(1), critical=True)]),
            "crl-broken",
        ),
        "partial": (
            "covers user certificates of one kind alone (issuing distribution point)",
            crl(ROOT, extensions=[extension("2.5.29.28", der.sequence(b"\x81\x01\xff"), critical=True)]),
            "crl-broken",
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
        ),
        "no-next-update": ("does not say when the next one comes", crl(ROOT, next_update=None), "crl-broken"),
        "v1-with-extensions": ("is of version 1 with extensions", crl(ROOT, version=b""), "crl-broken"),
        "extension-twice": (
            "has an extension twice",
            crl(ROOT, extensions=[extension("2.5.29.20", der.integer(1))] * 2),
            "crl-broken",
        ),
        "sha1": ("was signed with SHA-1", crl(ROOT, digest="sha1"), "weak-signature"),
        "algorithms-differ": (
            "names two signature algorithms",
            crl(ROOT, outer=der.sequence(der.oid("1.2.840.113549.1.1.12"), der.NULL)),
            "crl-broken",
        ),
        "trailing-bytes": ("has bytes behind it", crl(ROOT) + b"\x00\x00", "crl-broken"),
    }
    for label, (words, content, reason) in failing.items():
        yield refuse(
            f"grid::crl::{label}",
            f"The CA's CRL {words}.",
            proxy(ALICE),
            reason,
            1,
            spec=_SPEC,
            trust=_trust(label, r0=_text(content)),
        )
    damaged = {
        "garbage": ("is garbage", b"garbage\n"),
        "garbage-in-pem": ("is garbage within a good frame", _text(b"\xde\xad\xbe\xef")),
        "cut-off": ("is cut off", good[:-100]),
        "empty-file": ("is an empty file", b""),
        "certificate-in-place": ("is a certificate", pem("CERTIFICATE", ROOT.certificate)),
        "second-in-file-broken": ("is in order, but a second one in its file is not", good + _text(b"\xde\xad")),
    }
    for label, (words, text) in damaged.items():
        yield refuse(
            f"grid::crl::{label}",
            f"The CA's CRL {words}.",
            proxy(ALICE),
            "crl-broken",
            1,
            spec="fail closed: what it would have said is not known",
            trust=_trust(label, r0=text),
        )
    yield refuse(
        "grid::crl::good-beside-expired",
        "A good .r0 and an expired .r1.",
        proxy(ALICE),
        "crl-expired",
        1,
        spec="each CRL that is there must hold",
        trust=_trust("good-beside-expired", r0=good, r1=_text(crl(ROOT, next_update=_at(2025)))),
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
        spec=_SPEC,
        trust=_trust("last-second", r0=_text(crl(ROOT, next_update=last))),
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
        spec="policy switch",
        options=dict(required),
        features=["crl", "crl-require"],
    )
    yield accept(
        "grid::crl::required-and-there",
        "A CRL of the CA where one is required.",
        proxy(ALICE),
        spec="policy switch",
        trust=_trust("empty-list", r0=_text(crl(ROOT))),
        options=dict(required),
        features=["crl-require"],
    )
    for label, trust in (
        ("revoked", _trust("revoked", r0=_text(crl(ROOT, [_OTHER, _ALICE])))),
        ("garbage", _trust("garbage", r0=b"garbage\n")),
    ):
        yield accept(
            f"grid::crl::off-{label}",
            f"A CRL ({label}) where none is looked at.",
            proxy(ALICE),
            spec="policy switch",
            trust=trust,
            options=dict(off),
            features=["crl-off"],
            importance="low",
        )


def _keys() -> Iterator[Case]:
    """CAs that may not sign CRLs, and CAs that have changed their keys."""
    mute = authority(
        ROOT.subject, ROOT.key, text=ROOT.text, extensions=[basic_constraints(ca=True), key_usage("keyCertSign")]
    )
    alice = issue(mute, ALICE.subject, ALICE.key, text=ALICE.text)
    yield refuse(
        "grid::crl::without-crl-sign",
        "A CRL of a CA whose key usage lacks cRLSign.",
        proxy(alice),
        "crl-signer",
        1,
        spec="RFC 5280 s. 6.3.3 (f)",
        trust=TrustDir("crl-without-crl-sign", {**authority_files(mute), f"{STEM}.r0": _text(crl(mute))}),
    )
    yield accept(
        "grid::crl::without-crl-sign-and-crl",
        "A CA whose key usage lacks cRLSign, and which has no CRL.",
        proxy(alice),
        spec="RFC 5280 s. 6.3.3 (f)",
        trust=TrustDir("crl-without-crl-sign-and-crl", authority_files(mute)),
        importance="medium",
    )
    rolled = authority(ROOT.subject, OTHER_CA.key, text=ROOT.text)
    both = {**PLAIN.files, f"{STEM}.1": pem("CERTIFICATE", rolled.certificate)}
    yield accept(
        "grid::crl::rolled-both",
        "A CA with an old and a new key, and a CRL by each.",
        proxy(ALICE),
        spec=_SPEC,
        trust=TrustDir("crl-rolled-both", {**both, f"{STEM}.r0": _text(crl(ROOT)), f"{STEM}.r1": _text(crl(rolled))}),
    )
    yield refuse(
        "grid::crl::rolled-new-alone",
        "A CA with two keys, and a CRL by the one that did not sign the user's certificate.",
        proxy(ALICE),
        "crl-signer",
        1,
        spec=_SPEC,
        trust=TrustDir("crl-rolled-new", {**both, f"{STEM}.r0": _text(crl(rolled))}),
    )
    yield refuse(
        "grid::crl::rolled-revoked-by-other",
        "A CA with two keys; the CRL by the one that did not sign the user's certificate revokes it.",
        proxy(ALICE),
        "revoked",
        1,
        spec="RFC 5280 s. 4.1.2.2",
        trust=TrustDir(
            "crl-rolled-revoked",
            {**both, f"{STEM}.r0": _text(crl(ROOT)), f"{STEM}.r1": _text(crl(rolled, [_ALICE]))},
        ),
    )
    ec = authority(ROOT.subject, load("p256-root"), text=ROOT.text)
    bob = issue(ec, name(ALICE_NAME), ALICE.key, text=ALICE_NAME)
    for label, entries in (("good", ()), ("revoked", (crl_entry(serial_of(bob.certificate)),))):
        trust = TrustDir(
            f"crl-ecdsa-{label}", {**authority_files(ec), f"{STEM}.r0": _text(crl(ec, entries, next_update=CA_END))}
        )
        if entries:
            yield refuse(
                "grid::crl::ecdsa-revoked", "A CRL signed with ECDSA revokes the user.", proxy(bob), "revoked", 1,
                spec=_SPEC, trust=trust, features=["ecdsa"],
            )  # fmt: skip
        else:
            yield accept(
                "grid::crl::ecdsa", "A CRL signed with ECDSA.", proxy(bob), spec=_SPEC, trust=trust, features=["ecdsa"]
            )


def _intermediates() -> Iterator[Case]:
    stem = subject_hash(SUB.subject)
    chain: Entity = proxy(SUB_ALICE)
    sub_entry = crl_entry(serial_of(SUB.certificate))
    user_entry = crl_entry(serial_of(SUB_ALICE.certificate))

    def trust(label: str, **files: bytes) -> TrustDir:
        listed = {kind.replace("sub", stem).replace("root", STEM).replace("_", "."): c for kind, c in files.items()}
        return TrustDir(f"crl-sub-{label}", {**SUB_POLICY.files, **listed})

    good_root, good_sub = _text(crl(ROOT)), _text(crl(SUB))
    yield accept(
        "grid::crl::both-cas",
        "CRLs of root and intermediate CA, both required.",
        chain,
        spec=_SPEC,
        trust=trust("both", root_r0=good_root, sub_r0=good_sub),
        options={"crl": "require"},
        features=["crl-require"],
    )
    yield accept(
        "grid::crl::both-cas-presented",
        "CRLs of root and intermediate CA, the latter presented and not in the trust directory. GSI's C library finds "
        "no signer for its CRL then.",
        chain,
        spec=_SPEC,
        trust=trust("both", root_r0=good_root, sub_r0=good_sub),
    )
    in_directory = {"sub_0": pem("CERTIFICATE", SUB.certificate)}
    yield accept(
        "grid::crl::both-cas-in-directory",
        "CRLs of root and intermediate CA, both of which are in the trust directory.",
        chain,
        spec=_SPEC,
        trust=trust("both-in-directory", root_r0=good_root, sub_r0=good_sub, **in_directory),
    )
    yield refuse(
        "grid::crl::user-revoked-both-cas-in-directory",
        "The same, and the intermediate CA has revoked the user.",
        chain,
        "revoked",
        1,
        spec=_SPEC,
        trust=trust(
            "user-revoked-in-directory", root_r0=good_root, sub_r0=_text(crl(SUB, [user_entry])), **in_directory
        ),
    )
    yield refuse(
        "grid::crl::intermediate-revoked",
        "The root has revoked the intermediate CA.",
        chain,
        "revoked",
        2,
        spec=_SPEC,
        trust=trust("revoked", root_r0=_text(crl(ROOT, [sub_entry])), sub_r0=good_sub),
    )
    yield refuse(
        "grid::crl::user-of-intermediate-revoked",
        "The intermediate CA has revoked the user.",
        chain,
        "revoked",
        1,
        spec=_SPEC,
        trust=trust("user-revoked", root_r0=good_root, sub_r0=_text(crl(SUB, [user_entry]))),
    )
    yield refuse(
        "grid::crl::of-intermediate-expired",
        "The intermediate CA's CRL has expired.",
        chain,
        "crl-expired",
        1,
        spec=_SPEC,
        trust=trust("expired", root_r0=good_root, sub_r0=_text(crl(SUB, next_update=_at(2025)))),
    )
    yield refuse(
        "grid::crl::of-root-expired",
        "The root's CRL has expired, below which an intermediate CA's is good.",
        chain,
        "crl-expired",
        2,
        spec=_SPEC,
        trust=trust("root-expired", root_r0=_text(crl(ROOT, next_update=_at(2025))), sub_r0=good_sub),
    )
    yield refuse(
        "grid::crl::of-intermediate-required",
        "CRLs are required, and the intermediate CA has none.",
        chain,
        "crl-missing",
        1,
        spec="policy switch",
        trust=trust("required", root_r0=good_root),
        options={"crl": "require"},
        features=["crl-require"],
    )
    yield accept(
        "grid::crl::same-serial-of-other-ca",
        "The root has revoked a certificate with the serial number that the intermediate CA gave to the user.",
        chain,
        spec="RFC 5280 s. 4.1.2.2",
        trust=trust("other-serial", root_r0=_text(crl(ROOT, [user_entry])), sub_r0=good_sub),
    )
