"""The fields of a certificate as text for people, in the layout of OpenSSL's X509_print; judges nothing.

    sys.stdout.write(certificate_text(certificate))

The lines that people and scripts look for (serial number, names, dates, key size, key usage, proxy information) read
as OpenSSL 3 writes them, except that a path length is in decimal. Of key and signature bits and of extensions without a
rule here, the bytes are shown in hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi import der, names, oids
from gsi.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from gsi.certificate import Certificate, Extension

__all__ = ["certificate_text"]

_BYTES_PER_LINE: Final = 15

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

_KEY_USAGES: Final = (
    "Digital Signature",
    "Non Repudiation",
    "Key Encipherment",
    "Data Encipherment",
    "Key Agreement",
    "Certificate Sign",
    "CRL Sign",
    "Encipher Only",
    "Decipher Only",
)

_PURPOSES: Final[Mapping[str, str]] = {
    "1.3.6.1.5.5.7.3.1": "TLS Web Server Authentication",
    "1.3.6.1.5.5.7.3.2": "TLS Web Client Authentication",
    "1.3.6.1.5.5.7.3.3": "Code Signing",
    "1.3.6.1.5.5.7.3.4": "E-mail Protection",
    "2.5.29.37.0": "Any Extended Key Usage",
}

_LANGUAGES: Final[Mapping[str, str]] = {
    "1.3.6.1.5.5.7.21.0": "Any language",
    oids.INHERIT_ALL: "Inherit all",
    oids.INDEPENDENT: "Independent",
    oids.LIMITED: "Globus limited (1.3.6.1.4.1.3536.1.1.1.9)",
}


def certificate_text(certificate: Certificate) -> str:
    """Return the text, several lines with a final line feed."""
    algorithm = _algorithm(certificate.signature_algorithm_der)
    lines = [
        "Certificate:",
        "    Data:",
        f"        Version: {certificate.version} (0x{certificate.version - 1:x})",
        *_serial(certificate.serial),
        f"        Signature Algorithm: {algorithm}",
        f"        Issuer: {_name(certificate.issuer_der)}",
        "        Validity",
        f"            Not Before: {_time(certificate.not_before)}",
        f"            Not After : {_time(certificate.not_after)}",
        f"        Subject: {_name(certificate.subject_der)}",
        *_public_key(certificate),
    ]
    if certificate.extensions:
        lines.append("        X509v3 extensions:")
        for extension in certificate.extensions:
            lines += _extension(extension)
    lines += [f"    Signature Algorithm: {algorithm}", "    Signature Value:"]
    lines += _hex_lines(certificate.signature, 8, per_line=18)
    return "\n".join(lines) + "\n"


def _algorithm(algorithm_der: bytes) -> str:
    oid = der.Reader(algorithm_der, what="algorithm").sequence().oid()
    return _ALGORITHMS.get(oid, oid)


def _name(name_der: bytes) -> str:
    """Write a name forwards, `O=Grid, CN=Alice`; the one-line form is the same attributes with slashes."""
    parts = [names.rfc4514(names.name_from_rdns([rdn])) for rdn in names.rdns(name_der)]
    return ", ".join(parts)


def _time(moment: datetime) -> str:
    return f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S %Y} GMT"


def _serial(serial: int) -> list[str]:
    sign = "-" if serial < 0 else ""
    if serial.bit_length() <= 63:
        return [f"        Serial Number: {serial} ({sign}0x{abs(serial):x})"]
    data = abs(serial).to_bytes((serial.bit_length() + 7) // 8, "big")
    return ["        Serial Number:", f"            {' (Negative)' if sign else ''}{data.hex(':')}"]


def _number(number: int) -> str:
    """Write a number of any size: in hex from where OpenSSL does, long before Python refuses to make decimals of it."""
    if number.bit_length() < 128:
        return str(number)
    digits = f"{abs(number):X}"
    return f"{'-' if number < 0 else ''}0x{'0' * (len(digits) % 2)}{digits}"


def _public_key(certificate: Certificate) -> list[str]:
    from gsi.keys import key_bits

    spki = der.Reader(certificate.spki_der, what="public key").sequence()
    algorithm = _algorithm(spki.take_raw(der.SEQUENCE))
    try:
        bits = f"({key_bits(certificate.public_key())} bit)"
    except GridError as error:
        bits = f"(unusable: {error.message})"
    return [
        "        Subject Public Key Info:",
        f"            Public Key Algorithm: {algorithm}",
        f"                Public-Key: {bits}",
        *_hex_lines(spki.bit_string(), 20),
    ]


def _extension(extension: Extension) -> list[str]:
    title, describe = _EXTENSIONS.get(extension.oid, (extension.oid, None))
    critical = " critical" if extension.critical else ""
    try:
        body = None if describe is None else describe(extension.value)
    except GridError as error:
        body = [f"malformed: {error.message}"]
    if body is None:
        body = [line.strip() for line in _hex_lines(extension.value, 0)]
    return [f"            {title}:{critical}", *(f"                {line}" for line in body)]


def _key_usage(value: bytes) -> list[str]:
    bits = der.Reader(value, what="KeyUsage").take(der.BIT_STRING)[1:]
    number = int.from_bytes(bits, "big")
    width = 8 * len(bits)
    return [
        ", ".join(name for place, name in enumerate(_KEY_USAGES) if place < width and number >> (width - 1 - place) & 1)
    ]


def _extended_key_usage(value: bytes) -> list[str]:
    listed = der.parse_one(value, what="ExtKeyUsage")
    found: list[str] = []
    while not listed.at_end():
        oid = listed.oid()
        found.append(_PURPOSES.get(oid, oid))
    return [", ".join(found)]


def _basic_constraints(value: bytes) -> list[str]:
    reader = der.parse_one(value, what="BasicConstraints")
    is_ca = reader.boolean() if reader.peek() == der.BOOLEAN else False
    length = "" if reader.at_end() else f", pathlen:{_number(reader.integer())}"
    return [f"CA:{str(is_ca).upper()}{length}"]


def _proxy_info(value: bytes) -> list[str]:
    from gsi.proxy.info import ProxyCertInfo

    return _describe_info(ProxyCertInfo.parse(value))


def _proxy_info_gt3(value: bytes) -> list[str]:
    from gsi.proxy.legacy import parse_gt3

    return _describe_info(parse_gt3(value))


def _describe_info(info: object) -> list[str]:
    from gsi.proxy.info import ProxyCertInfo

    assert isinstance(info, ProxyCertInfo)
    length = "infinite" if info.path_length is None else str(info.path_length)
    lines = [f"Path Length Constraint: {length}", f"Policy Language: {_LANGUAGES.get(info.language, info.language)}"]
    if info.policy is not None:
        lines.append(f"Policy Text: {_policy_text(info.policy)}")
    return lines


def _policy_text(policy: bytes) -> str:
    r"""Show printable ASCII as it is and every other byte as `\xHH`."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte != 0x5C else f"\\x{byte:02X}" for byte in policy)


def _hex_lines(data: bytes, indent: int, *, per_line: int = _BYTES_PER_LINE) -> list[str]:
    blank = " " * indent
    pieces = [data[start : start + per_line].hex(":") for start in range(0, len(data), per_line)]
    return [f"{blank}{piece}{':' if number < len(pieces) - 1 else ''}" for number, piece in enumerate(pieces)]


_EXTENSIONS: Final[Mapping[str, tuple[str, Callable[[bytes], list[str]] | None]]] = {
    "2.5.29.14": ("X509v3 Subject Key Identifier", None),
    "2.5.29.15": ("X509v3 Key Usage", _key_usage),
    "2.5.29.17": ("X509v3 Subject Alternative Name", None),
    "2.5.29.19": ("X509v3 Basic Constraints", _basic_constraints),
    "2.5.29.31": ("X509v3 CRL Distribution Points", None),
    "2.5.29.32": ("X509v3 Certificate Policies", None),
    "2.5.29.35": ("X509v3 Authority Key Identifier", None),
    "2.5.29.37": ("X509v3 Extended Key Usage", _extended_key_usage),
    oids.PROXY_CERT_INFO: ("Proxy Certificate Information", _proxy_info),
    oids.PROXY_CERT_INFO_GT3: ("Proxy Certificate Information (pre-RFC)", _proxy_info_gt3),
}
