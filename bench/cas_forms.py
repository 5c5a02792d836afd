"""Issuing capabilities: a token, an attribute certificate, an assertion, each signed by RSA 2048 and by P-256.

What is measured is the making of one form from a capability that is there, as often as two cores can do it: processor
time, so that it is fair whoever else is on the machine. The peers make less: joserfc a token of the same claims,
signxml the signature of a finished document with a loaded key; beside the attribute certificate, which no other library
writes, stands its bare signature.

    python bench/cas_forms.py
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from cas.assertion.attribute_cert import AttributeIssuer
from cas.assertion.saml import AssertionWriter, SAMLOptions, SAMLVersion
from cas.assertion.scopes import ScopeBase, ScopeMapping
from cas.assertion.token import TokenIssuer, TokenOptions
from gsi.tokens.compact import CompactToken
from tests.harness.ca import TestCA
from tests.harness.capabilities import VO, file_right, make_capability, signing_key
from tests.harness.saml import SAMLIssuer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.ca import Issued, KeyKind

CORES = 2
BATCH = 20
LIMIT_TOKEN = 500
LIMIT_ATTRIBUTES = 300
LIMIT_ASSERTION = 200
SE = "https://se.example.org"


def figures(rounds: int = 15) -> list[Figure]:
    """Measure and return the figures."""
    found: list[Figure] = []
    ca = TestCA()
    for kind in ("rsa2048", "p256"):
        found += _measure(ca, ca.issue("/O=Grid/CN=cas", kind), kind, rounds)
    return found


def _measure(ca: TestCA, cas: Issued, kind: KeyKind, rounds: int) -> list[Figure]:
    now = datetime.now(UTC)
    key = signing_key(cas)
    capability = make_capability(
        ca.issue("/O=Grid/CN=Alice"),
        rights=[file_right(f"ftp://se.example.org/{name}/*", "read", "lookup") for name in ("data", "raw", "out")],
        fqans=[f"/{VO}/Role=NULL/Capability=NULL", f"/{VO}/prod/Role=NULL/Capability=NULL"],
        audience=(SE,),
        lifetime=timedelta(hours=12),
        now=now,
    )
    base = ScopeBase(namespace="FTPDirectoryTree", prefix="ftp://se.example.org", audiences=frozenset({SE}))
    tokens = TokenIssuer(key, TokenOptions(issuer="https://cas.example.org", mapping=ScopeMapping(bases=(base,))))
    attributes = AttributeIssuer(key, VO, "cas.example.org:15000")
    old, new = (AssertionWriter(key, SAMLOptions(version=version)) for version in SAMLVersion)
    info = attributes.issue(capability, now=now).info_der
    return [
        _figure(
            f"issue a token, {kind}, vs joserfc", LIMIT_TOKEN, rounds, lambda: tokens.issue(capability, now=now),
            _joserfc(cas, kind, dict(CompactToken.parse(tokens.issue(capability, now=now).text).claims)),
        ),
        _figure(
            f"issue an attribute certificate, {kind}, vs its signature", LIMIT_ATTRIBUTES, rounds,
            lambda: attributes.issue(capability, now=now), lambda: key.signer.sign(info),
        ),
        _figure(
            f"issue a SAML 1.1 assertion, {kind}, vs signxml", LIMIT_ASSERTION, rounds,
            lambda: old.issue(capability, now=now), _signxml(cas, kind),
        ),
        _figure(
            f"issue a SAML 2.0 assertion, {kind}, vs signxml", LIMIT_ASSERTION, rounds,
            lambda: new.issue(capability, now=now), _signxml(cas, kind),
        ),
    ]  # fmt: skip


def _joserfc(cas: Issued, kind: KeyKind, claims: dict[str, object]) -> Callable[[], object]:
    from joserfc import jwt
    from joserfc.jwk import ECKey, RSAKey

    algorithm = "RS256" if kind == "rsa2048" else "ES256"
    key: RSAKey | ECKey = (RSAKey if kind == "rsa2048" else ECKey).import_key(cas.key_pem())
    header = {"alg": algorithm, "kid": "k1", "typ": "JWT"}
    return lambda: jwt.encode(header, dict(claims), key, algorithms=[algorithm])


def _signxml(cas: Issued, kind: KeyKind) -> Callable[[], object]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from lxml import etree
    from signxml.algorithms import CanonicalizationMethod
    from signxml.signer import XMLSigner

    assert not isinstance(cas.key, Ed25519PrivateKey)  # for which there is no XML signature
    own = cas.key
    document = etree.fromstring(SAMLIssuer(cas).cas_assertion(cas))
    signer = XMLSigner(
        signature_algorithm="rsa-sha256" if kind == "rsa2048" else "ecdsa-sha256",
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    reference = document.get("AssertionID")
    return lambda: signer.sign(
        document, key=own, cert=[cas.certificate], reference_uri=reference, id_attribute="AssertionID"
    )


def _figure(name: str, limit: int, rounds: int, ours: Callable[[], object], theirs: Callable[[], object]) -> Figure:
    """Measure both in turn; the rate of one core, times the cores."""
    taken: list[list[float]] = [[], []]
    for number in range(rounds + 1):
        for body, times in zip((ours, theirs), taken, strict=True):
            begin = time.process_time()
            for _ in range(BATCH):
                body()
            if number:
                times.append((time.process_time() - begin) / BATCH)
    own, other = (CORES / statistics.median(times) for times in taken)
    return Figure(name, own, other, f">= {limit} /s on {CORES} cores", own >= limit, "/s")


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    return 0 if show(figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
