"""Proof by the key of the credential to be renewed: a signed challenge; not who may renew (`myproxy.policy`).

    method = CertificateMethod(AuthorizationMethod.CERTIFICATE_SHA256, verify, clock)
    exchange = method.begin("alice", "192.0.2.7")
    exchange.offer()                     # 32 hexadecimal digits, never used before
    proof = exchange.answer(reply)       # the signer, verified as any peer

What is signed is the challenge's text. The signer need not be who holds the connection: it is the one whose credential
is renewed. Agrees with gct:myproxy/source/myproxy_authorization.c, auth_cert_*.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from gsi.certificate import Certificate
from gsi.errors import AuthenticationError, GridError
from myproxy.auth.base import Method, Proof
from myproxy.protocol.messages import METHOD_NAMES, AuthorizationMethod, AuthorizationOffer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Protocol

    from gsi.trust.peer import VerifiedPeer
    from myproxy.protocol.messages import AuthorizationReply, SignatureBlock

    class ChainVerifier(Protocol):
        """Judges a chain against the trust anchors of the moment."""

        def __call__(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
            """Return the proven identity, or raise VerificationError."""
            ...


__all__ = ["CertificateMethod"]

_HASHES: dict[AuthorizationMethod, type[hashes.HashAlgorithm]] = {
    AuthorizationMethod.CERTIFICATE: hashes.SHA1,
    AuthorizationMethod.CERTIFICATE_SHA256: hashes.SHA256,
}


class CertificateMethod:
    """Makes challenges and judges the signatures over them."""

    def __init__(self, number: AuthorizationMethod, verify: ChainVerifier, clock: Callable[[], datetime]) -> None:
        """Choose the hash.

        Args:
            number: `CERTIFICATE_SHA256`, or `CERTIFICATE` for SHA-1.
            verify: Judges the signer's chain.
            clock: The time of the judgement.
        """
        self.number = number
        self._verify = verify
        self._clock = clock

    def begin(self, username: str, address: str) -> _Exchange:
        """See `RoundMethod.begin`; a challenge is the same for everybody, so neither is looked at."""
        del username, address
        return _Exchange(self.number, self._verify, self._clock)


class _Exchange:
    """One challenge."""

    is_guessable = False

    def __init__(self, number: AuthorizationMethod, verify: ChainVerifier, clock: Callable[[], datetime]) -> None:
        self._number = number
        self._verify = verify
        self._clock = clock
        self._challenge = secrets.token_hex(16)

    def offer(self) -> AuthorizationOffer:
        """See `RoundExchange.offer`."""
        return AuthorizationOffer(METHOD_NAMES[self._number], self._challenge)

    def answer(self, reply: AuthorizationReply) -> Proof:
        """See `RoundExchange.answer`."""
        block = reply.signature
        if block is None:
            raise AuthenticationError("authentication failed\nno signature was sent")
        try:
            chain = tuple(map(Certificate.parse, block.certificates))
            _check_signature(chain[0], block, self._challenge.encode("ascii"), _HASHES[self._number]())
            peer = self._verify(chain, now=self._clock())
        except AuthenticationError:
            raise
        except GridError as error:
            raise AuthenticationError(f"authentication failed\n{error.message}") from error
        return Proof(Method.CERTIFICATE, None, renewer=peer)


def _check_signature(signer: Certificate, block: SignatureBlock, data: bytes, algorithm: hashes.HashAlgorithm) -> None:
    try:
        match signer.public_key():
            case rsa.RSAPublicKey() as key:
                key.verify(block.signature, data, padding.PKCS1v15(), algorithm)
            case ec.EllipticCurvePublicKey() as key:
                key.verify(block.signature, data, ec.ECDSA(algorithm))
            case _:
                raise AuthenticationError("authentication failed\nthe signer's key is neither RSA nor EC")
    except (InvalidSignature, UnsupportedAlgorithm) as error:
        raise AuthenticationError("authentication failed\nthe signature over the challenge is wrong") from error
