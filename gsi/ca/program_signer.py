"""A signer that is an external program; how its key is kept is its own affair.

    signer = ProgramSigner(("/usr/local/bin/sign-for-ca",), ca_certificate.spki_der)

The contract is that of `openssl dgst -sha256 -sign KEY` (for Ed25519, `openssl pkeyutl -sign -rawin`): the bytes to be
signed on standard input, the bare signature on standard output (ECDSA as a DER SEQUENCE), exit status 0, within
`gsi.ca.program.PROGRAM_SECONDS`. The program is started once for each signature. A wrong signature is found before the
certificate leaves, because the issuer verifies what it has made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from gsi import keys
from gsi.ca.program import PROGRAM_SECONDS, run_program, split_command
from gsi.ca.signer import Digest, signature_scheme
from gsi.errors import IssuanceError, IssuanceStep, TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ProgramSigner"]

MAX_SIGNATURE_BYTES: Final = 2048  # RSA of 16384 bits


class ProgramSigner:
    """A private key behind a program. Thread-safe: each signature is a process of its own.

    Attributes:
        spki_der: The public key.
        algorithm_der: The AlgorithmIdentifier of its signatures.
    """

    __slots__ = ("_argv", "_seconds", "algorithm_der", "spki_der")

    def __init__(
        self,
        argv: Sequence[str],
        spki_der: bytes,
        *,
        digest: Digest | None = None,
        seconds: float = PROGRAM_SECONDS,
    ) -> None:
        """Name the program; it is not run yet.

        Args:
            argv: Its whole path, and arguments.
            spki_der: The public key that its signatures can be verified with.
            digest: The digest that it signs with; None as `gsi.ca.signer.signature_scheme`.
            seconds: How long a signature may take.

        Raises:
            ParseError: `spki_der` is no public key.
            CredentialError: WEAK_KEY or UNSUPPORTED_KEY.
            ConfigError: The digest does not go with the key.
        """
        public_key = keys.parse_public_key(spki_der)
        self._argv = tuple(argv)
        self._seconds = seconds
        self.spki_der = keys.spki_der(public_key)
        self.algorithm_der, _ = signature_scheme(public_key, digest)

    @classmethod
    def from_command(cls, text: str, spki_der: bytes, *, digest: Digest | None = None) -> ProgramSigner:
        """Return the signer for a command line as a configuration holds it; raises as the constructor, too.

        Raises:
            ConfigError: The command line cannot be read, or the program is not named by its whole path.
        """
        return cls(split_command(text), spki_der, digest=digest)

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`; raises as `gsi.ca.signer.Signer.sign`."""
        try:
            signature = run_program(self._argv, stdin=data, seconds=self._seconds, max_bytes=MAX_SIGNATURE_BYTES)
        except TransportError as error:
            raise IssuanceError(f"the signing program failed: {error.message}", step=IssuanceStep.SIGN) from error
        if not signature:
            raise IssuanceError("the signing program wrote no signature", step=IssuanceStep.SIGN)
        return signature

    def probe(self) -> None:
        """See whether the program can be started, which it is not; raises as `gsi.ca.signer.Signer.probe`."""
        if not os.access(self._argv[0], os.X_OK):
            raise IssuanceError(
                f"the signing program {self._argv[0]} is not there or not executable", step=IssuanceStep.SIGN
            )

    def close(self) -> None:
        """Do nothing: no program stays behind."""
