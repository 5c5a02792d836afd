"""The names of files in a trust directory: OpenSSL subject hashes, new and old; reads no file.

    subject_hash(certificate.subject_der)      # "a37d6494", since OpenSSL 1.0
    subject_hash_old(certificate.subject_der)  # "6ac65880", before

Both must agree with `openssl x509 -subject_hash` and `-subject_hash_old`. They only find files; whether a name is the
right one is decided on the name itself, since 32 bits collide.
"""

from __future__ import annotations

import hashlib

from gsi.names import canonical

__all__ = ["hash_names", "subject_hash", "subject_hash_old"]


def subject_hash(name_der: bytes) -> str:
    """Return the hash of a name as OpenSSL 1.0 and later compute it: eight lower-case hex digits.

    SHA-1 over the canonical encoding (`gsi.names.canonical`); the first four bytes, little endian.

    Raises:
        ParseError: The bytes are not a Name.
    """
    return hashlib.sha1(canonical(name_der), usedforsecurity=False).digest()[3::-1].hex()


def subject_hash_old(name_der: bytes) -> str:
    """Return the hash of a name as OpenSSL before 1.0 computed it: MD5 over the DER, eight lower-case hex digits."""
    return hashlib.md5(name_der, usedforsecurity=False).digest()[3::-1].hex()


def hash_names(name_der: bytes) -> tuple[str, str]:
    """Return the two stems under which files of this CA may lie: the new hash, then the old one.

    Raises:
        ParseError: The bytes are not a Name.
    """
    return subject_hash(name_der), subject_hash_old(name_der)
