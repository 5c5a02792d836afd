"""The fields of a certificate as text for people, in the layout of OpenSSL's X509_print; judges nothing.

    sys.stdout.write(certificate_text(certificate))

Reads line by line as OpenSSL 3 writes it (`gsi.cli.extension_text` for the extensions), except that the language of a
limited proxy is named and that what cannot be read is said to be malformed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi import der, names
from gsi.cli.extension_text import extension_lines
from gsi.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from gsi.certificate import Certificate

__all__ = ["certificate_text", "comma_name"]

_BYTES_PER_LINE: Final = 15
_RSA: Final = "1.2.840.113549.1.1.1"
_EC: Final = "1.2.840.10045.2.1"
_ED25519: Final = "1.3.101.112"
_CURVES: Final[Mapping[str, tuple[str, str]]] = {
    "1.2.840.10045.3.1.7": ("ASN1 OID: prime256v1", "NIST CURVE: P-256"),
    "1.3.132.0.34": ("ASN1 OID: secp384r1", "NIST CURVE: P-384"),
    "1.3.132.0.35": ("ASN1 OID: secp521r1", "NIST CURVE: P-521"),
}

_ALGORITHMS: Final[Mapping[str, str]] = {
    "1.2.840.113549.1.1.1": "rsaEncryption",
    "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
    "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
    "1.2.840.113549.1.1.10": "rsassaPss",
    "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
    "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
    "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
    "1.2.840.10045.2.1": "id-ecPublicKey",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
    "1.3.101.112": "ED25519",
}


def comma_name(name_der: bytes) -> str:
    """Write a name forwards, `O=Grid, CN=Alice`, as `grid-proxy-info -text` does.

    Raises:
        ParseError: Not a Name in DER.
    """
    return ", ".join(names.rfc4514(names.name_from_rdns([rdn])) for rdn in names.rdns(name_der))


def certificate_text(certificate: Certificate, *, name: Callable[[bytes], str] = comma_name) -> str:
    """Return the text, several lines with a final line feed.

    Args:
        certificate: What to show.
        name: Writes issuer and subject; from the DER of a name to text.

    Raises:
        ParseError: A name or the structure of the public key is malformed.
    """
    algorithm = _algorithm(certificate.signature_algorithm_der)
    lines = [
        "Certificate:",
        "    Data:",
        f"        Version: {certificate.version} (0x{certificate.version - 1:x})",
        *_serial(certificate.serial),
        f"        Signature Algorithm: {algorithm}",
        f"        Issuer: {name(certificate.issuer_der)}",
        "        Validity",
        f"            Not Before: {_time(certificate.not_before)}",
        f"            Not After : {_time(certificate.not_after)}",
        f"        Subject: {name(certificate.subject_der)}",
        *_public_key(certificate),
    ]
    if certificate.extensions:
        lines.append("        X509v3 extensions:")
        for extension in certificate.extensions:
            lines += extension_lines(extension)
    lines += [f"    Signature Algorithm: {algorithm}", "    Signature Value:"]
    lines += _hex_lines(certificate.signature, 8, per_line=18)
    return "\n".join(lines) + "\n"


def _algorithm(algorithm_der: bytes) -> str:
    oid = der.Reader(algorithm_der, what="algorithm").sequence().oid()
    return _ALGORITHMS.get(oid, oid)


def _time(moment: datetime) -> str:
    return f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S %Y} GMT"


def _serial(serial: int) -> list[str]:
    sign = "-" if serial < 0 else ""
    if serial.bit_length() <= 63:
        return [f"        Serial Number: {serial} ({sign}0x{abs(serial):x})"]
    data = abs(serial).to_bytes((serial.bit_length() + 7) // 8, "big")
    return ["        Serial Number:", f"            {' (Negative)' if sign else ''}{data.hex(':')}"]


def _public_key(certificate: Certificate) -> list[str]:
    spki = der.Reader(certificate.spki_der, what="public key").sequence()
    algorithm_der = spki.take_raw(der.SEQUENCE)
    return [
        "        Subject Public Key Info:",
        f"            Public Key Algorithm: {_algorithm(algorithm_der)}",
        *(f"                {line}" for line in _key_lines(certificate, algorithm_der, spki.bit_string())),
    ]


def _key_lines(certificate: Certificate, algorithm_der: bytes, content: bytes) -> list[str]:
    """Describe the key by its kind: the numbers of RSA, the point and curve of EC, the bytes of the others."""
    from gsi.keys import key_bits

    algorithm = der.Reader(algorithm_der, what="algorithm").sequence()
    oid = algorithm.oid()
    if oid == _ED25519:
        return ["ED25519 Public-Key:", "pub:", *_hex_lines(content, 4)]
    try:
        title = f"Public-Key: ({key_bits(certificate.public_key())} bit)"
    except GridError as error:
        return [f"Public-Key: (unusable: {error.message})", *_hex_lines(content, 4)]
    if oid == _RSA:
        numbers = der.parse_one(content, what="public key")
        modulus, exponent = numbers.integer(), numbers.integer()
        shown = modulus.to_bytes(modulus.bit_length() // 8 + 1, "big", signed=True)
        return [title, "Modulus:", *_hex_lines(shown, 4), f"Exponent: {exponent} (0x{exponent:x})"]
    lines = [title, "pub:", *_hex_lines(content, 4)]
    if oid == _EC and algorithm.peek() == der.OID:
        lines += _CURVES.get(algorithm.oid(), ())
    return lines


def _hex_lines(data: bytes, indent: int, *, per_line: int = _BYTES_PER_LINE) -> list[str]:
    blank = " " * indent
    pieces = [data[start : start + per_line].hex(":") for start in range(0, len(data), per_line)]
    return [f"{blank}{piece}{':' if number < len(pieces) - 1 else ''}" for number, piece in enumerate(pieces)]
