"""A VOMS server's signing side for tests, encoded by hand: it imports nothing of the project.

Every rule can be broken. What libvomsapi thinks of the result is asked in a process of its own, through ctypes.

Workflow:
    server = VOMSServer(ca)
    ac = server.attribute_certificate(alice)
    proxy = alice.proxy(extensions=[ac_extension(ac)])
    server.write_lsc(vomsdir)
    verdict = libvomsapi(proxy, vomsdir, trust_dir)
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from tests.harness.ca import Extra, Issued, TestCA, encoded_oid, one_line, raw_extension, tlv, write_file

__all__ = [
    "AC_SEQUENCE",
    "CERTIFICATES",
    "HOST",
    "PORT",
    "VO",
    "VOMSServer",
    "Verdict",
    "ac_extension",
    "extension",
    "libvomsapi",
    "target_list",
    "user_extensions",
]

VO: Final = "testvo"
HOST: Final = "voms.example.org"
PORT: Final = 15000
AC_SEQUENCE: Final = "1.3.6.1.4.1.8005.100.100.5"
CERTIFICATES: Final = "1.3.6.1.4.1.8005.100.100.10"
_FQAN: Final = "1.3.6.1.4.1.8005.100.100.4"
_NULL: Final = b"\x05\x00"
_serials = itertools.count(0x2000)


def _integer(number: int) -> bytes:
    return tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def _names(name: x509.Name) -> bytes:
    return tlv(0x30, tlv(0xA4, name.public_bytes()))


def _time(moment: datetime) -> bytes:
    return tlv(0x18, f"{moment:%Y%m%d%H%M%SZ}".encode())


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """One extension of an attribute certificate."""
    return tlv(0x30, encoded_oid(oid) + (b"\x01\x01\xff" if critical else b"") + tlv(0x04, value))


def target_list(*hosts: str) -> bytes:
    """The value of a target list, in the form that VOMS reads."""
    targets = b"".join(tlv(0x30, tlv(0xA0, tlv(0x86, host.encode()))) for host in hosts)
    return tlv(0x30, tlv(0x30, targets))


def ac_extension(*acs: bytes, critical: bool = False) -> Extra:
    """The extension of a proxy that carries attribute certificates."""
    return raw_extension(AC_SEQUENCE, tlv(0x30, tlv(0x30, b"".join(acs))), critical=critical)


def user_extensions(seed: bytes = b"user") -> list[Extra]:
    """A subjectKeyIdentifier, without which the C voms-proxy-init writes no proxy."""
    return [(x509.SubjectKeyIdentifier(hashlib.sha1(seed).digest()), False)]


def sign_ac(key: object, data: bytes, digest: hashes.HashAlgorithm | None = None) -> tuple[bytes, bytes]:
    """Return (AlgorithmIdentifier, signature)."""
    digest = digest or hashes.SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        number = {"sha1": 5, "sha256": 11, "sha384": 12, "sha512": 13}[digest.name]
        return tlv(0x30, encoded_oid(f"1.2.840.113549.1.1.{number}") + _NULL), b"" if not data else key.sign(
            data, padding.PKCS1v15(), digest
        )
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return tlv(0x30, encoded_oid("1.3.101.112")), b"" if not data else key.sign(data)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return tlv(0x30, encoded_oid("1.2.840.10045.4.3.2")), b"" if not data else key.sign(data, ec.ECDSA(digest))


@dataclass
class VOMSServer:
    """A VOMS server's credential and what it says of itself.

    Attributes:
        ca: The authority of its certificate.
        given: That certificate and its key; made by the authority where they are not given.
    """

    ca: TestCA
    given: Issued | None = None
    vo: str = VO
    host: str = HOST
    port: int = PORT

    @functools.cached_property
    def credential(self) -> Issued:
        """The server's certificate and key."""
        return self.given or self.ca.issue(f"/O=Grid/CN={self.host}", san=[f"DNS:{self.host}"])

    def attribute_certificate(
        self,
        holder: Issued | x509.Certificate,
        *,
        fqans: Sequence[str | bytes] = (f"/{VO}/Role=NULL/Capability=NULL",),
        uri: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        serial: int | None = None,
        holder_serial: int | None = None,
        holder_issuer: x509.Name | None = None,
        issuer: x509.Name | None = None,
        certificates: Sequence[x509.Certificate] | None = None,
        leave_out: Sequence[str] = (),
        extensions: Sequence[bytes] = (),
        key: object | None = None,
        digest: hashes.HashAlgorithm | None = None,
        inner_algorithm: bytes | None = None,
        spoil: bool = False,
        attributes: bytes | None = None,
    ) -> bytes:
        """Sign an attribute certificate.

        Args:
            holder: Whose it is: the end entity certificate.
            fqans: The attributes.
            uri: The policy authority.
            not_before: Start of validity; five minutes ago by default.
            not_after: End of validity; twelve hours from now by default.
            serial: The serial number.
            holder_serial: Another serial number than the holder's.
            holder_issuer: Another issuer than the holder's.
            issuer: Another issuer than the server.
            certificates: The list of issuer certificates; none leave the extension out.
            leave_out: Any of "noRevAvail" and "aki".
            extensions: More of them, encoded.
            key: The signing key.
            digest: The digest of the signature.
            inner_algorithm: Another AlgorithmIdentifier within than beside the signature.
            spoil: Change the signature.
            attributes: The whole list of attributes, encoded.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        eec = holder.certificate if isinstance(holder, Issued) else holder
        own = self.credential.certificate
        key = key or self.credential.key
        algorithm, _ = sign_ac(key, b"", digest)
        authority = tlv(0xA0, tlv(0x86, (uri or f"{self.vo}://{self.host}:{self.port}").encode()))
        values = tlv(0x30, b"".join(tlv(0x04, fqan.encode() if isinstance(fqan, str) else fqan) for fqan in fqans))
        if attributes is None:
            attributes = tlv(0x30, encoded_oid(_FQAN) + tlv(0x31, tlv(0x30, authority + values)))
        listed = [own] if certificates is None else certificates
        more = b""
        if listed:
            ders = b"".join(one.public_bytes(serialization.Encoding.DER) for one in listed)
            more += extension(CERTIFICATES, tlv(0x30, tlv(0x30, ders)))
        if "noRevAvail" not in leave_out:
            more += extension("2.5.29.56", _NULL)
        if "aki" not in leave_out:
            key_id = x509.SubjectKeyIdentifier.from_public_key(own.public_key()).digest
            more += extension("2.5.29.35", tlv(0x30, tlv(0x80, key_id)))
        more += b"".join(extensions)
        base = _names(holder_issuer or eec.issuer) + _integer(
            eec.serial_number if holder_serial is None else holder_serial
        )
        info = tlv(
            0x30,
            _integer(1)
            + tlv(0x30, tlv(0xA0, base))
            + tlv(0xA0, _names(issuer or own.subject))
            + (inner_algorithm or algorithm)
            + _integer(next(_serials) if serial is None else serial)
            + tlv(
                0x30,
                _time(not_before or now - timedelta(minutes=5)) + _time(not_after or now + timedelta(hours=12)),
            )
            + tlv(0x30, attributes)
            + (tlv(0x30, more) if more else b""),
        )
        _, signature = sign_ac(key, info, digest)
        if spoil:
            signature = signature[:-1] + bytes((signature[-1] ^ 1,))
        return tlv(0x30, info + algorithm + tlv(0x03, b"\0" + signature))

    def lsc(self) -> str:
        """The text of the LSC file."""
        own = self.credential.certificate
        return f"{one_line(own.subject)}\n{one_line(own.issuer)}\n"

    def write_lsc(self, vomsdir: Path, text: str | None = None) -> Path:
        """Write the LSC file into a directory of trusted servers; return the directory."""
        write_file(vomsdir / self.vo / f"{self.host}.lsc", (self.lsc() if text is None else text).encode(), 0o644)
        return vomsdir

    def write_certificate(self, vomsdir: Path) -> Path:
        """Write the server's certificate there, the older way."""
        write_file(vomsdir / self.vo / f"{self.host}.pem", self.credential.pem, 0o644)
        return vomsdir


# --- the C library ----------------------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What libvomsapi says of a proxy file with full verification.

    Attributes:
        accepted: Whether it returned attributes.
        fqans: These, by attribute certificate.
        message: Its words otherwise.
    """

    accepted: bool
    fqans: tuple[tuple[str, ...], ...]
    message: str


_SCRIPT: Final = r"""
import ctypes, json, sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_uint, c_void_p

class Voms(Structure):
    _fields_ = [("siglen", c_int), ("signature", c_void_p)] + [
        (name, c_char_p) for name in "user userca server serverca voname uri date1 date2".split()
    ] + [("type", c_int), ("std", c_void_p), ("custom", c_char_p), ("datalen", c_int), ("version", c_int),
         ("fqan", POINTER(c_char_p)), ("serial", c_char_p)]

class Data(Structure):
    _fields_ = [("cdir", c_char_p), ("vdir", c_char_p), ("data", POINTER(POINTER(Voms)))]

lib, libc = ctypes.CDLL("libvomsapi.so.1"), ctypes.CDLL(None)
lib.VOMS_Init.restype = POINTER(Data)
lib.VOMS_Init.argtypes = [c_char_p, c_char_p]
lib.VOMS_ErrorMessage.restype = c_char_p
lib.VOMS_ErrorMessage.argtypes = [c_void_p, c_int, c_char_p, c_int]
libc.fopen.restype = c_void_p
out = []
for path, vomsdir, certdir in json.load(sys.stdin):
    data = lib.VOMS_Init(vomsdir.encode(), certdir.encode())
    error = c_int(0)
    assert lib.VOMS_SetVerificationType(c_uint(0xFFFFFFFF), data, byref(error)), error
    file = libc.fopen(c_char_p(path.encode()), b"r")
    assert file
    ok = lib.VOMS_RetrieveFromFile(c_void_p(file), 0, data, byref(error))
    fqans = []
    if ok:
        i = 0
        while data.contents.data[i]:
            one, each, j = data.contents.data[i].contents, [], 0
            while one.fqan[j]:
                each.append(one.fqan[j].decode("utf-8", "replace"))
                j += 1
            fqans.append(each)
            i += 1
    words = "" if ok else (lib.VOMS_ErrorMessage(data, error, None, 0) or b"").decode("utf-8", "replace")
    out.append([bool(ok), fqans, words])
print(json.dumps(out))
"""


def libvomsapi(*asked: tuple[Path, Path, Path]) -> list[Verdict]:
    """Ask libvomsapi, in one process of its own, about proxy files: (file, vomsdir, certificates directory) each.

    The host name is the machine's, for target lists.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", _SCRIPT],
        input=json.dumps([[str(one) for one in three] for three in asked]),
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
    )
    if done.returncode and "libvomsapi.so.1" in done.stderr:
        pytest.fail("missing interop peer: libvomsapi1v5 (tests/install-peers installs it)", pytrace=False)
    assert done.returncode == 0, done.stderr
    return [Verdict(ok, tuple(tuple(each) for each in fqans), words) for ok, fqans, words in json.loads(done.stdout)]
