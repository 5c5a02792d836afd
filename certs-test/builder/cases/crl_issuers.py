"""Whose CRL counts: of a CA that may not sign any, of changed keys, of CAs between (RFC 5280 section 6.3.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from builder.certificates import (
    CA_END,
    Entity,
    authority,
    basic_constraints,
    crl,
    crl_entry,
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
    crl_pem,
    pem,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_SPEC: Final = "RFC 5280 s. 6.3.3"
_ISSUER: Final = f"{_SPEC} (b) (1)"
_SIGNER: Final = f"{_SPEC} (f)"
_SIGNATURE: Final = f"{_SPEC} (g)"
_FOUND: Final = f"{_SPEC} (j)"
_SERIAL: Final = "RFC 5280 s. 4.1.2.2"
_ALGORITHM: Final = "RFC 5280 s. 5.1.1.2"
_NEXT_UPDATE: Final = "RFC 5280 s. 5.1.2.5"
# Each certificate of a path is looked up, the intermediate CA's, too.
_PATH: Final = "RFC 5280 s. 6.1.3 (a) (3)"
_PAST: Final = datetime(2025, 1, 1, tzinfo=UTC)
_ALICE: Final = crl_entry(serial_of(ALICE.certificate))


def cases() -> Iterator[Case]:
    """Yield single CAs, then CAs below others."""
    yield from _keys()
    yield from _intermediates()


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
        spec=_SIGNER,
        trust=TrustDir("crl-without-crl-sign", {**authority_files(mute), f"{STEM}.r0": crl_pem(crl(mute))}),
    )
    yield accept(
        "grid::crl::without-crl-sign-and-crl",
        "A CA whose key usage lacks cRLSign, and which has no CRL.",
        proxy(alice),
        spec=_SIGNER,
        trust=TrustDir("crl-without-crl-sign-and-crl", authority_files(mute)),
        importance="medium",
    )
    rolled = authority(ROOT.subject, OTHER_CA.key, text=ROOT.text)
    both = {**PLAIN.files, f"{STEM}.1": pem("CERTIFICATE", rolled.certificate)}
    yield accept(
        "grid::crl::rolled-both",
        "A CA with an old and a new key, and a CRL by each.",
        proxy(ALICE),
        spec=(_SIGNER, _SIGNATURE),
        trust=TrustDir(
            "crl-rolled-both", {**both, f"{STEM}.r0": crl_pem(crl(ROOT)), f"{STEM}.r1": crl_pem(crl(rolled))}
        ),
    )
    yield refuse(
        "grid::crl::rolled-new-alone",
        "A CA with two keys, and a CRL by the one that did not sign the user's certificate.",
        proxy(ALICE),
        "crl-signer",
        1,
        spec=_SIGNER,
        trust=TrustDir("crl-rolled-new", {**both, f"{STEM}.r0": crl_pem(crl(rolled))}),
    )
    yield refuse(
        "grid::crl::rolled-revoked-by-other",
        "A CA with two keys; the CRL by the one that did not sign the user's certificate revokes it.",
        proxy(ALICE),
        "revoked",
        1,
        spec=(_SERIAL, _FOUND),
        trust=TrustDir(
            "crl-rolled-revoked",
            {**both, f"{STEM}.r0": crl_pem(crl(ROOT)), f"{STEM}.r1": crl_pem(crl(rolled, [_ALICE]))},
        ),
    )
    ec = authority(ROOT.subject, load("p256-root"), text=ROOT.text)
    bob = issue(ec, name(ALICE_NAME), ALICE.key, text=ALICE_NAME)
    for label, entries in (("good", ()), ("revoked", (crl_entry(serial_of(bob.certificate)),))):
        trust = TrustDir(
            f"crl-ecdsa-{label}", {**authority_files(ec), f"{STEM}.r0": crl_pem(crl(ec, entries, next_update=CA_END))}
        )
        if entries:
            yield refuse(
                "grid::crl::ecdsa-revoked", "A CRL signed with ECDSA revokes the user.", proxy(bob), "revoked", 1,
                spec=(_ALGORITHM, _FOUND), trust=trust, features=["ecdsa"],
            )  # fmt: skip
        else:
            yield accept(
                "grid::crl::ecdsa",
                "A CRL signed with ECDSA.",
                proxy(bob),
                spec=_ALGORITHM,
                trust=trust,
                features=["ecdsa"],
            )


def _intermediates() -> Iterator[Case]:
    stem = subject_hash(SUB.subject)
    chain: Entity = proxy(SUB_ALICE)
    sub_entry = crl_entry(serial_of(SUB.certificate))
    user_entry = crl_entry(serial_of(SUB_ALICE.certificate))

    def trust(label: str, **files: bytes) -> TrustDir:
        listed = {kind.replace("sub", stem).replace("root", STEM).replace("_", "."): c for kind, c in files.items()}
        return TrustDir(f"crl-sub-{label}", {**SUB_POLICY.files, **listed})

    good_root, good_sub = crl_pem(crl(ROOT)), crl_pem(crl(SUB))
    yield accept(
        "grid::crl::both-cas",
        "CRLs of root and intermediate CA, both required.",
        chain,
        spec=(_PATH, _SPEC),
        trust=trust("both", root_r0=good_root, sub_r0=good_sub),
        options={"crl": "require"},
        features=["crl-require"],
    )
    yield accept(
        "grid::crl::both-cas-presented",
        "CRLs of root and intermediate CA, the latter presented and not in the trust directory. GSI's C library finds "
        "no signer for its CRL then.",
        chain,
        spec=(_PATH, _SPEC),
        trust=trust("both", root_r0=good_root, sub_r0=good_sub),
    )
    in_directory = {"sub_0": pem("CERTIFICATE", SUB.certificate)}
    yield accept(
        "grid::crl::both-cas-in-directory",
        "CRLs of root and intermediate CA, both of which are in the trust directory.",
        chain,
        spec=(_PATH, _SPEC),
        trust=trust("both-in-directory", root_r0=good_root, sub_r0=good_sub, **in_directory),
    )
    yield refuse(
        "grid::crl::user-revoked-both-cas-in-directory",
        "The same, and the intermediate CA has revoked the user.",
        chain,
        "revoked",
        1,
        spec=(_PATH, _FOUND),
        trust=trust(
            "user-revoked-in-directory", root_r0=good_root, sub_r0=crl_pem(crl(SUB, [user_entry])), **in_directory
        ),
    )
    yield refuse(
        "grid::crl::intermediate-revoked",
        "The root has revoked the intermediate CA.",
        chain,
        "revoked",
        2,
        spec=(_PATH, _FOUND),
        trust=trust("revoked", root_r0=crl_pem(crl(ROOT, [sub_entry])), sub_r0=good_sub),
    )
    yield refuse(
        "grid::crl::user-of-intermediate-revoked",
        "The intermediate CA has revoked the user.",
        chain,
        "revoked",
        1,
        spec=(_PATH, _FOUND),
        trust=trust("user-revoked", root_r0=good_root, sub_r0=crl_pem(crl(SUB, [user_entry]))),
    )
    yield refuse(
        "grid::crl::of-intermediate-expired",
        "The intermediate CA's CRL has expired.",
        chain,
        "crl-expired",
        1,
        spec=(_PATH, _NEXT_UPDATE),
        trust=trust("expired", root_r0=good_root, sub_r0=crl_pem(crl(SUB, next_update=_PAST))),
    )
    yield refuse(
        "grid::crl::of-root-expired",
        "The root's CRL has expired, below which an intermediate CA's is good.",
        chain,
        "crl-expired",
        2,
        spec=(_PATH, _NEXT_UPDATE),
        trust=trust("root-expired", root_r0=crl_pem(crl(ROOT, next_update=_PAST)), sub_r0=good_sub),
    )
    yield refuse(
        "grid::crl::of-intermediate-required",
        "CRLs are required, and the intermediate CA has none.",
        chain,
        "crl-missing",
        1,
        spec=("switch", _SPEC),
        trust=trust("required", root_r0=good_root),
        options={"crl": "require"},
        features=["crl-require"],
    )
    yield accept(
        "grid::crl::same-serial-of-other-ca",
        "The root has revoked a certificate with the serial number that the intermediate CA gave to the user.",
        chain,
        spec=(_SERIAL, _ISSUER),
        trust=trust("other-serial", root_r0=crl_pem(crl(ROOT, [user_entry])), sub_r0=good_sub),
    )
