"""Verifying capabilities, the issuer known: a VOMS attribute certificate, a token, an assertion; beside bare libraries.

The peers do less than we do, and that is the point of the ratio: joserfc checks the signature of a token and reads no
claim, signxml that of an assertion and reads no statement. For attribute certificates it is libvomsapi with full
verification, in this process through ctypes, reading the proxy from a file each time, as it must.

    python bench/capabilities.py
"""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from gsi.saml.trust import AssertionIssuer
from gsi.saml.verify import AssertionVerifier
from gsi.system.trustdir import TrustDirectory
from gsi.system.vomsdir import VOMSDirectory
from gsi.tokens.keys import StaticKeys, parse_key_set
from gsi.tokens.rules import IssuerRules, TokenRules
from gsi.tokens.verify import TokenVerifier
from gsi.trust.verify import verify_chain
from gsi.voms.verify import AttributeVerifier
from tests.harness.ca import TestCA, write_trust_dir
from tests.harness.saml import SAMLIssuer
from tests.harness.tokens import AUDIENCE, TokenIssuer
from tests.harness.voms import VOMSServer, ac_extension

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.trust.peer import VerifiedPeer

BATCH = 20
LIMIT_TOKEN = 0.15
LIMIT_ATTRIBUTES = 0.3
LIMIT_ASSERTION = 1.0


def figures(rounds: int = 15) -> list[Figure]:
    """Measure and return the figures."""
    with tempfile.TemporaryDirectory() as name:
        return _measure(Path(name), rounds)


def _measure(directory: Path, rounds: int) -> list[Figure]:
    ca = TestCA()
    trust_dir = write_trust_dir(directory / "certificates", ca, crl=True)
    anchors = TrustDirectory(str(trust_dir))
    alice = ca.issue("/O=Grid/CN=Alice")
    server = VOMSServer(ca)
    vomsdir = server.write_lsc(directory / "vomsdir")
    proxy = alice.proxy(extensions=[ac_extension(server.attribute_certificate(alice))])
    proxy.write_bundle(directory / "proxy.pem")
    now = datetime.now(UTC)
    peer = verify_chain(proxy.chain_der, anchors.anchors(), now=now)
    attributes = AttributeVerifier(VOMSDirectory(str(vomsdir)), anchors.anchors)

    def ours() -> None:
        (found,) = attributes.verify_chain(peer, now=now)
        assert found.attributes is not None

    theirs = _libvomsapi(directory / "proxy.pem", vomsdir, trust_dir)
    found = [_figure("verify a VOMS attribute certificate, vs libvomsapi", LIMIT_ATTRIBUTES, rounds, ours, theirs)]
    found += [_tokens(datetime.now(UTC), rounds), _assertions(ca, peer, anchors, now, rounds)]
    return found


def _tokens(now: datetime, rounds: int) -> Figure:
    from joserfc import jws
    from joserfc.jwk import ECKey

    issuer = TokenIssuer()
    rules = TokenRules(issuers=(IssuerRules(issuer=issuer.url),), audiences=frozenset({AUDIENCE}))
    keys = parse_key_set(issuer.key_set())
    verifier = TokenVerifier(rules, StaticKeys({issuer.url: keys}))
    text, bare = issuer.token(), ECKey.import_key(json.loads(issuer.key_set())["keys"][0])
    return _figure(
        "verify a token, ES256, vs joserfc's signature alone",
        LIMIT_TOKEN,
        rounds,
        lambda: verifier.verify(text, now=now),
        lambda: jws.deserialize_compact(text, bare, algorithms=["ES256"]),
    )


def _assertions(ca: TestCA, peer: VerifiedPeer, anchors: TrustDirectory, now: datetime, rounds: int) -> Figure:
    from signxml.verifier import XMLVerifier

    issuer = SAMLIssuer(ca.issue("/O=Grid/CN=cas"))
    holder = ca.issue("/O=Grid/CN=Alice")
    xml = issuer.sign(issuer.cas_assertion(holder))
    verifier = AssertionVerifier((AssertionIssuer(subject="/O=Grid/CN=cas"),), anchors.anchors)
    certificate = issuer.credential.certificate
    return _figure(
        "verify a SAML assertion, RSA 2048, vs signxml's signature alone",
        LIMIT_ASSERTION,
        rounds,
        lambda: verifier.verify(xml, peer, now=now),
        lambda: XMLVerifier().verify(xml, x509_cert=certificate, id_attribute="AssertionID"),
    )


def _figure(name: str, limit: float, rounds: int, ours: Callable[[], object], theirs: Callable[[], object]) -> Figure:
    """Measure both in turn, in processor time: the limits are for one core, whoever else is on the machine."""
    taken: list[list[float]] = [[], []]
    for number in range(rounds + 1):
        for body, times in zip((ours, theirs), taken, strict=True):
            begin = time.process_time()
            for _ in range(BATCH):
                body()
            if number:
                times.append((time.process_time() - begin) / BATCH * 1000)
    own, other = (statistics.median(times) for times in taken)
    return Figure(name, own, other, f"<= {limit} ms", own <= limit)


def _libvomsapi(proxy: Path, vomsdir: Path, trust_dir: Path) -> Callable[[], object]:
    """Return a body that has libvomsapi verify the proxy's attributes in full."""
    lib, libc = ctypes.CDLL("libvomsapi.so.1"), ctypes.CDLL(None)
    lib.VOMS_Init.restype = ctypes.c_void_p
    lib.VOMS_Init.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    libc.fopen.restype = ctypes.c_void_p

    def run() -> None:
        error = ctypes.c_int(0)
        data = ctypes.c_void_p(lib.VOMS_Init(str(vomsdir).encode(), str(trust_dir).encode()))
        lib.VOMS_SetVerificationType(ctypes.c_uint(0xFFFFFFFF), data, ctypes.byref(error))
        file = ctypes.c_void_p(libc.fopen(str(proxy).encode(), b"r"))
        assert lib.VOMS_RetrieveFromFile(file, 0, data, ctypes.byref(error)), error
        libc.fclose(file)
        lib.VOMS_Destroy(data)

    return run


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    return 0 if show(figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
