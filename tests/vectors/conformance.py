"""The cases of `certs-test/manifest.json` as values, and ours asked about them; holds no tests.

case = CASES["rfc3820::basic::end-entity"]
verdict = judge(case)
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi.errors import ParseError, Reason, VerificationError
from gsi.pem import split_pem
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import CRLPolicy, Purpose, ValidationOptions, VerifiedPeer, verify_chain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsi.trust.anchors import TrustAnchors

__all__ = ["CASES", "REASON_OF", "ROOT", "Case", "Verdict", "judge"]

ROOT: Final = Path(__file__).resolve().parents[2] / "certs-test"

# The suite's words for why a chain must be refused, and ours.
REASON_OF: Final[Mapping[str, Reason]] = {
    "chain-too-long": Reason.CHAIN_TOO_LONG,
    "malformed": Reason.MALFORMED,
    "unsupported-version": Reason.UNSUPPORTED_VERSION,
    "duplicate-extension": Reason.DUPLICATE_EXTENSION,
    "unknown-critical-extension": Reason.UNKNOWN_CRITICAL_EXTENSION,
    "no-end-entity": Reason.NO_END_ENTITY,
    "untrusted": Reason.UNTRUSTED,
    "chain-broken": Reason.CHAIN_BROKEN,
    "bad-signature": Reason.BAD_SIGNATURE,
    "weak-signature": Reason.WEAK_SIGNATURE,
    "weak-key": Reason.WEAK_KEY,
    "unsupported-algorithm": Reason.UNSUPPORTED_ALGORITHM,
    "not-yet-valid": Reason.NOT_YET_VALID,
    "expired": Reason.EXPIRED,
    "not-a-ca": Reason.NOT_A_CA,
    "is-a-ca": Reason.IS_A_CA,
    "ca-path-length": Reason.CA_PATH_LENGTH,
    "path-too-complex": Reason.PATH_TOO_COMPLEX,
    "name-constraints": Reason.NAME_CONSTRAINTS,
    "key-usage": Reason.KEY_USAGE,
    "extended-key-usage": Reason.EXTENDED_KEY_USAGE,
    "certificate-policy": Reason.CERTIFICATE_POLICY,
    "signing-policy-missing": Reason.SIGNING_POLICY_MISSING,
    "signing-policy-broken": Reason.SIGNING_POLICY_BROKEN,
    "signing-policy": Reason.SIGNING_POLICY,
    "namespaces": Reason.NAMESPACES,
    "crl-missing": Reason.CRL_MISSING,
    "crl-broken": Reason.CRL_BROKEN,
    "crl-expired": Reason.CRL_EXPIRED,
    "crl-not-yet-valid": Reason.CRL_NOT_YET_VALID,
    "crl-bad-signature": Reason.CRL_BAD_SIGNATURE,
    "crl-signer": Reason.CRL_SIGNER,
    "revoked": Reason.REVOKED,
    "proxy-name": Reason.PROXY_NAME,
    "proxy-info-not-critical": Reason.PROXY_INFO_NOT_CRITICAL,
    "proxy-info-malformed": Reason.PROXY_INFO_MALFORMED,
    "proxy-is-ca": Reason.PROXY_IS_CA,
    "proxy-alt-name": Reason.PROXY_ALT_NAME,
    "proxy-path-length": Reason.PROXY_PATH_LENGTH,
    "proxy-policy-present": Reason.PROXY_POLICY_PRESENT,
    "proxy-limited": Reason.PROXY_LIMITED,
    "proxy-restriction": Reason.PROXY_RESTRICTION,
    "proxy-mixed-formats": Reason.PROXY_MIXED_FORMATS,
    "proxy-format": Reason.PROXY_FORMAT,
}

Fact: TypeAlias = str | bool | int | list[str] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a case expects, or what a validator said: facts when accepted, a reason and an index when refused."""

    reason: Reason | None
    position: int | None = None
    facts: tuple[tuple[str, Fact], ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One entry of the manifest."""

    chain: Path
    trust_directory: Path
    time: datetime
    options: ValidationOptions
    expected: Verdict


def _words(policy: bytes) -> frozenset[str]:
    """Read the suite's own policy language: each word is a grant."""
    return frozenset(policy.decode("ascii").split())


def _load() -> dict[str, Case]:
    document = json.loads((ROOT / "manifest.json").read_text("utf-8"))
    found: dict[str, Case] = {}
    for entry in document["testcases"]:
        chosen = dict(entry["options"])
        languages = chosen.pop("policy_languages", [])
        if "crl" in chosen:
            chosen["crl"] = CRLPolicy(chosen["crl"])
        options = ValidationOptions(
            purpose=Purpose(entry["validation_kind"].lower()), handlers=dict.fromkeys(languages, _words), **chosen
        )
        if entry["expected_result"] == "SUCCESS":
            expected = Verdict(None, facts=tuple(sorted(entry["expected_facts"].items())))
        else:
            expected = Verdict(REASON_OF[entry["expected_reason"]], entry["expected_position"])
        found[entry["id"]] = Case(
            ROOT / entry["chain"],
            ROOT / entry["trust_directory"],
            datetime.fromisoformat(entry["validation_time"]),
            options,
            expected,
        )
    return found


CASES: Final[Mapping[str, Case]] = _load()


@functools.lru_cache(maxsize=16)
def _anchors(directory: Path) -> TrustAnchors:
    return TrustDirectory(str(directory)).anchors()


def judge(case: Case) -> Verdict:
    """Ask ours, as a program would that has the chain in a file and the trust directory on disk."""
    try:
        blocks = split_pem(case.chain.read_bytes(), what="chain")
        chain = [block.data for block in blocks if block.label == "CERTIFICATE"]
        peer = verify_chain(chain, _anchors(case.trust_directory), now=case.time, options=case.options)
    except ParseError:
        return Verdict(Reason.MALFORMED)
    except VerificationError as error:
        return Verdict(error.reason, error.position)
    return Verdict(None, facts=_facts(peer))


def _facts(peer: VerifiedPeer) -> tuple[tuple[str, Fact], ...]:
    facts: dict[str, Fact] = {
        "identity": peer.identity,
        "kind": None if peer.kind is None else peer.kind.value,
        "format": None if peer.format is None else peer.format.value,
        "limited": peer.limited,
        "independent": peer.independent,
        "depth_left": peer.depth_left,
        "not_after": peer.not_after.isoformat(),
        "grants": None if peer.grants is None else sorted(peer.grants),
    }
    return tuple(sorted(facts.items()))
