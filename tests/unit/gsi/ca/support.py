"""Requests and a recorder for the suites of this room; pyca makes the requests, so that ours is not its own judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.harness.ca import KeyKind, PrivateKey, parse_name, pooled_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.ca import IssuanceRecord
    from gsi.errors import GridError

__all__ = ["Books", "make_csr"]


class Books:
    """A recorder in memory; with `error` it refuses."""

    def __init__(self, error: GridError | None = None) -> None:
        self.records: list[IssuanceRecord] = []
        self.error = error

    def record(self, record: IssuanceRecord) -> None:
        if self.error is not None:
            raise self.error
        self.records.append(record)


def make_csr(
    key: KeyKind | PrivateKey = "p256",
    subject: str = "/O=Anyone/CN=Mallory",
    *,
    extensions: Sequence[x509.ExtensionType] = (),
) -> bytes:
    """A PKCS#10 request in DER."""
    private = pooled_key(key) if isinstance(key, str) else key
    builder = x509.CertificateSigningRequestBuilder().subject_name(parse_name(subject))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    digest = None if isinstance(private, Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(private, digest).public_bytes(Encoding.DER)
