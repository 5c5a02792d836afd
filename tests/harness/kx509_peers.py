"""Clients of KX.509 that are not ours: requests of the shapes that Michigan's and Heimdal 8's programs send.

None of the project's code is used: the AP-REQ is made by libkrb5 (`krb5_mk_req`, as Michigan's client calls it, and
`krb5_mk_req_extended` with a subkey, as Heimdal's), the rest by hand. A program of its own, because libkrb5 reads the
real environment:

    python tests/harness/kx509_peers.py SHAPE HOST PORT [udp|tcp] [REPEAT]

Shapes: `umich`, `umich-version` (with the client's name as a fourth field), `heimdal8` (PKCS#10 without the attributes
field), `heimdal8-raw`, `heimdal8-probe`, `probe`. Prints one JSON object: error code, text, the number of certificates,
their subjects, which of the two seals the reply has, and the lengths of request and reply.
"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SHAPES", "ask", "csr_plus", "csr_without_attributes", "tlv"]

SHAPES: Final = ("umich", "umich-version", "heimdal8", "heimdal8-raw", "heimdal8-probe", "probe")
VERSION: Final = bytes((0, 0, 2, 0))
_MUTUAL: Final = 0x20000000
_SUBKEY: Final = 1


class _Data(ctypes.Structure):
    _fields_ = (("magic", ctypes.c_int32), ("length", ctypes.c_uint), ("data", ctypes.c_void_p))


class _Keyblock(ctypes.Structure):
    _fields_ = (
        ("magic", ctypes.c_int32),
        ("enctype", ctypes.c_int32),
        ("length", ctypes.c_uint),
        ("contents", ctypes.c_void_p),
    )


def tlv(tag: bytes, content: bytes) -> bytes:
    """One DER value."""
    if len(content) < 128:
        return tag + bytes((len(content),)) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return tag + bytes((0x80 | len(size),)) + size + content


def csr_without_attributes(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, tampered: bool = False) -> bytes:
    """A PKCS#10 request as Heimdal 8 writes it: CertificationRequestInfo has three fields instead of four."""
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = tlv(b"\x30", bytes.fromhex("020100") + tlv(b"\x30", b"") + spki)
    if isinstance(key, rsa.RSAPrivateKey):
        algorithm = bytes.fromhex("300d06092a864886f70d01010b0500")
        signature = key.sign(body, padding.PKCS1v15(), hashes.SHA256())
    else:
        algorithm = bytes.fromhex("300a06082a8648ce3d040302")
        signature = key.sign(body, ec.ECDSA(hashes.SHA256()))
    if tampered:
        signature = signature[:-1] + bytes((signature[-1] ^ 1,))
    return tlv(b"\x30", body + algorithm + tlv(b"\x03", b"\0" + signature))


def csr_plus(csr: bytes) -> bytes:
    """Kx509CSRPlus."""
    return tlv(b"\x7f\x23", tlv(b"\x30", tlv(b"\x04", csr)))


def _ap_req(host: str, *, heimdal: bool) -> tuple[bytes, bytes]:
    """Return (AP-REQ, key of its ticket)."""
    library = ctypes.CDLL("libkrb5.so.3")
    context, auth, cache = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    out, key = _Data(), ctypes.POINTER(_Keyblock)()
    assert library.krb5_init_context(ctypes.byref(context)) == 0
    assert library.krb5_cc_default(context, ctypes.byref(cache)) == 0
    options = _SUBKEY if heimdal else _MUTUAL
    code = library.krb5_mk_req(
        context,
        ctypes.byref(auth),
        ctypes.c_int32(options),
        b"kca_service",
        host.encode(),
        None,
        cache,
        ctypes.byref(out),
    )
    assert code == 0, code
    assert library.krb5_auth_con_getkey(context, auth, ctypes.byref(key)) == 0
    return (
        ctypes.string_at(out.data, out.length),
        ctypes.string_at(key.contents.contents, key.contents.length),
    )


def _message(shape: str, host: str) -> tuple[bytes, bytes]:
    """Return (message, key)."""
    if shape == "probe":
        return VERSION + tlv(b"\x30", tlv(b"\x04", b"") + tlv(b"\x04", bytes(20)) + tlv(b"\x04", b"")), b""
    ap_req, key = _ap_req(host, heimdal=shape.startswith("heimdal8"))
    private = rsa.generate_private_key(65537, 2048)
    raw = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    public = {"heimdal8": csr_plus(csr_without_attributes(private)), "heimdal8-probe": b""}.get(shape, raw)
    seal = hmac.digest(key, VERSION + (public or ap_req), "sha1")
    fields = tlv(b"\x04", ap_req) + tlv(b"\x04", seal) + tlv(b"\x04", public)
    if shape == "umich-version":
        fields += tlv(b"\x80", b"KRB5 1.0")
    return VERSION + tlv(b"\x30", fields), key


def _send(host: str, port: int, message: bytes, way: str) -> bytes:
    if way == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.settimeout(5)
            made.sendto(message, (host, port))
            return made.recv(65535)
    with socket.create_connection((host, port), timeout=5) as made:
        made.sendall(len(message).to_bytes(4, "big") + message)
        data = b""
        while got := made.recv(65536):
            data += got
            if len(data) >= 4 and len(data) - 4 >= int.from_bytes(data[:4], "big"):
                break
        return data[4:]


def _split(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """The (tag, content, whole) of consecutive values with tags of one byte."""
    found, offset = [], 0
    while offset < len(data):
        begin, tag, length, offset = offset, data[offset], data[offset + 1], offset + 2
        if length & 0x80:
            count = length & 0x7F
            length, offset = int.from_bytes(data[offset : offset + count], "big"), offset + count
        found.append((tag, data[offset : offset + length], data[begin : offset + length]))
        offset += length
    return found


def _read(reply: bytes, key: bytes, shape: str) -> dict[str, Any]:
    assert reply[:4] == VERSION, reply[:16].hex()
    fields = {tag & 0x1F: _split(content)[0][1] for tag, content, _ in _split(_split(reply[4:])[0][1])}
    code = fields.get(0, b"")
    rest = fields.get(2, b"") + fields.get(3, b"")
    seals = {
        "rfc": hmac.digest(key, VERSION + code + rest, "sha1"),
        "heimdal8": hmac.digest(key, VERSION + (code or b"\0") + rest, "sha1"),
    }
    # An error has one form in both dialects: DER's.
    names = [name for name, seal in seals.items() if seal == fields.get(1)]
    certificates: list[bytes] = []
    if 2 in fields:
        listed = shape == "heimdal8"
        certificates = [whole for _, _, whole in _split(_split(fields[2])[0][1])] if listed else [fields[2]]
    return {
        "code": int.from_bytes(code, "big", signed=True),
        "text": fields.get(3, b"").decode("ascii"),
        "sealed": names,
        "subjects": [x509.load_der_x509_certificate(one).subject.rfc4514_string() for one in certificates],
        "leaf": certificates[0].hex() if certificates else "",
    }


def _main() -> None:
    shape, host, port, way = sys.argv[1], sys.argv[2], int(sys.argv[3]), (*sys.argv[4:5], "udp")[0]
    repeat = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    message, key = _message(shape, host)
    replies = [_send("127.0.0.1" if host == "localhost" else host, port, message, way) for _ in range(repeat)]
    found = _read(replies[0], key, shape)
    found |= {
        "request": len(message),
        "reply": len(replies[0]),
        "same": len({hashlib.sha256(one).digest() for one in replies}) == 1,
    }
    sys.stdout.write(json.dumps(found))


def ask(
    shape: str, port: int, *, env: Mapping[str, str], host: str = "localhost", way: str = "udp", repeat: int = 1
) -> dict[str, Any]:
    """Run this program for a user of a realm.

    Args:
        shape: One of `SHAPES`.
        port: The service's port on 127.0.0.1.
        env: The variables that name krb5.conf and the credential cache.
        host: The host in the service's principal.
        way: "udp" or "tcp".
        repeat: How often the same message is sent.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), shape, host, str(port), way, str(repeat)],
        env={"PATH": os.environ.get("PATH", "")} | dict(env),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    _main()
