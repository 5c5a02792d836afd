"""Trust directories in memory, and certificates that no builder would make, for tests of judging chains.

anchors = make_anchors(ca, crl=ca.crl([alice]))
twice = forge(proxy.der, alice.key, extensions=[one, one])
"""

from __future__ import annotations

import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gsi import der, keys
from gsi.certificate import Certificate, Extension
from gsi.trust.anchors import TrustAnchors, build_anchors
from tests.harness.ca import TestCA, subject_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.harness.ca import PrivateKey

__all__ = ["SHA1_WITH_RSA", "forge", "make_anchors", "make_files", "reason_of", "utc_now", "weak_crl"]

SHA1_WITH_RSA: Final = bytes.fromhex("300d06092a864886f70d0101050500")


def utc_now() -> datetime:
    """The present time in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def make_files(
    *cas: TestCA, crl: bytes | bool | None = None, policy: str | bool = True, old_hash: bool = False
) -> dict[str, bytes]:
    """The files of a trust directory: as `tests.harness.ca.write_trust_dir`, by name."""
    files: dict[str, bytes] = {}
    for ca in cas:
        stem = subject_hash(ca.certificate, old=old_hash)
        number = sum(name.startswith(stem) and name[9:].isdigit() for name in files)
        files[f"{stem}.{number}"] = ca.pem
        if policy is not False:
            files[f"{stem}.signing_policy"] = (ca.signing_policy() if policy is True else policy).encode()
        if crl:
            files[f"{stem}.r{number}"] = ca.crl() if crl is True else crl
    return files


def make_anchors(
    *cas: TestCA,
    crl: bytes | bool | None = None,
    policy: str | bool = True,
    old_hash: bool = False,
    more: dict[str, bytes] | None = None,
) -> TrustAnchors:
    """The snapshot of such files, with `more` ones beside or instead."""
    files = make_files(*cas, crl=crl, policy=policy, old_hash=old_hash) | (more or {})
    return build_anchors(files, loaded_at=utc_now())


def forge(
    certificate_der: bytes,
    signer: PrivateKey,
    *,
    extensions: Sequence[Extension] | None = None,
    version: int = 3,
    subject_der: bytes | None = None,
    issuer_der: bytes | None = None,
    inner_algorithm: bytes | None = None,
    sha1: bool = False,
    spki_der: bytes | None = None,
) -> bytes:
    """Sign a changed copy of a certificate, field by field, whatever comes of it.

    Args:
        certificate_der: The copy's original.
        signer: The key to sign with.
        extensions: All its extensions in place of the original's; empty for none.
        version: Its version; 1 leaves the field out.
        subject_der: Another subject.
        issuer_der: Another issuer.
        inner_algorithm: Another AlgorithmIdentifier inside.
        sha1: Sign with SHA-1 (the signer must be RSA).
        spki_der: Another public key.
    """
    old = Certificate.parse(certificate_der)
    algorithm = SHA1_WITH_RSA if sha1 else keys.signature_algorithm_der(signer)
    reader = der.parse_one(old.tbs_der, what="test")
    while (validity := reader.take_raw()) != old.issuer_der:
        pass
    validity = reader.take_raw(der.SEQUENCE)
    listed = old.extensions if extensions is None else extensions
    parts = [
        b"" if version == 1 else der.encode_explicit(0, der.encode_integer(version - 1)),
        der.encode_integer(old.serial),
        inner_algorithm or algorithm,
        issuer_der or old.issuer_der,
        validity,
        subject_der or old.subject_der,
        spki_der or old.spki_der,
    ]
    if listed:
        parts.append(der.encode_explicit(3, der.encode_sequence(*map(_encode_extension, listed))))
    tbs = der.encode_sequence(*parts)
    if sha1:
        assert isinstance(signer, rsa.RSAPrivateKey)
        signature = _sign_sha1(signer, tbs)
    else:
        signature, _ = keys.sign(signer, tbs)
    return der.encode_sequence(tbs, algorithm, der.encode_bit_string(signature))


def _sign_sha1(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
    """PKCS#1 v1.5 by hand (RFC 8017 section 8.2.1), for a library that no longer signs certificates with SHA-1."""
    return key.sign(data, padding.PKCS1v15(), hashes.SHA1())


def _encode_extension(extension: Extension) -> bytes:
    critical = der.encode_boolean(True) if extension.critical else b""
    return der.encode_sequence(der.encode_oid(extension.oid), critical, der.encode_octet_string(extension.value))


def reason_of(error: BaseException) -> str:
    """The reason code of a refusal, for comparing tables."""
    return str(getattr(error, "reason", type(error).__name__))


def weak_crl(ca: TestCA, this_update: datetime) -> bytes:
    """A list of number 5 that is signed with SHA-1, by the `openssl` program, since pyca no longer does."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ca.credential.write(directory / "ca.pem", directory / "ca.key")
        (directory / "index.txt").touch()
        (directory / "number").write_text("05\n")
        (directory / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=a\n[a]\ndatabase={directory}/index.txt\ncrlnumber={directory}/number\n"
            "default_md=sha1\ndefault_crl_days=30\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n"
        )
        argv = ["openssl", "ca", "-gencrl", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem"]
        argv += ["-crl_lastupdate", f"{this_update:%Y%m%d%H%M%SZ}"]
        return subprocess.run(argv, cwd=directory, check=True, capture_output=True, timeout=30).stdout
