"""Certificate requests for users, hosts and services (PKCS#10, RFC 2986): made here, judged by CAs; reads no file.

    subject_der = encode_subject([(oids.ORGANIZATION, "Grid"), (oids.COMMON_NAME, "Alice")])
    request_der = make_request(key, subject_der, dns_names=("www.example.org",))

Requests within a delegation, whose subject nobody believes, are `gsi.delegation`'s.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gsi import der, keys, names, oids
from gsi.errors import ConfigError
from gsi.nametypes import short_name
from gsi.pem import encode_pem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MAX_ALTERNATIVE_NAMES", "check_host_name", "encode_request_pem", "encode_subject", "make_request"]

MAX_ALTERNATIVE_NAMES: Final = 100  # what public CAs allow in one certificate
_ATTRIBUTES: Final = der.context(0)
_DNS: Final = der.context(2, constructed=False)  # GeneralName, RFC 5280 section 4.2.1.6
_IP: Final = der.context(7, constructed=False)
_PRINTABLE_ALWAYS: Final = frozenset({oids.COUNTRY, oids.SERIAL_NUMBER, oids.DN_QUALIFIER})
_IA5_ALWAYS: Final = frozenset({oids.DOMAIN_COMPONENT, oids.EMAIL_ADDRESS})
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_MAX_HOST_NAME: Final = 253  # RFC 1035 section 2.3.4, without the length bytes at both ends
_MAX_LENGTHS: Final = {  # RFC 5280 appendix A.1, as OpenSSL enforces them
    oids.COMMON_NAME: 64,
    oids.ORGANIZATION: 64,
    oids.ORGANIZATIONAL_UNIT: 64,
    oids.COUNTRY: 2,
    oids.LOCALITY: 128,
    oids.STATE: 128,
    oids.EMAIL_ADDRESS: 128,
    oids.SERIAL_NUMBER: 64,
}


def encode_subject(attributes: Iterable[tuple[str, str]], *, printable: bool = False) -> bytes:
    """Return the DER of a name of single-valued parts, in this order.

    The string types are those of `openssl req`, because a CA that runs `openssl ca` compares them with its own:
    PrintableString for countries and serial numbers, IA5String for DC and mail addresses, UTF8String for all else.

    Args:
        attributes: Pairs of type (dotted) and value.
        printable: PrintableString wherever it fits (OpenSSL's `string_mask = default` or `nombstr`).

    Raises:
        ConfigError: No attributes, an empty or too long value, or characters that its type does not have.
        ParseError: The name is too long as a whole.
    """
    parts = [
        der.encode_set(der.encode_sequence(der.encode_oid(oid), _encode_value(oid, value, printable=printable)))
        for oid, value in attributes
    ]
    if not parts:
        raise ConfigError("a certificate request needs a subject")
    name_der = names.name_from_rdns(parts)
    names.attributes(name_der)  # the bounds hold for what we make, too
    return name_der


def _encode_value(oid: str, value: str, *, printable: bool) -> bytes:
    title = short_name(oid) or oid
    limit = _MAX_LENGTHS.get(oid, names.MAX_NAME_BYTES)
    if not value or not value.isprintable() or value != value.strip():
        raise ConfigError(f"{title}: {value!r} is no value for a name: empty, odd characters, or blanks at an end")
    if len(value) > limit or (oid == oids.COUNTRY and len(value) != limit):
        raise ConfigError(f"{title}: '{value}' has {len(value)} characters, limit {limit}")
    fits = _PRINTABLE.fullmatch(value) is not None
    if oid in _IA5_ALWAYS or oid in _PRINTABLE_ALWAYS:
        if not (value.isascii() if oid in _IA5_ALWAYS else fits):
            raise ConfigError(f"{title}: '{value}' has characters that cannot stand there")
        return der.encode_tlv(der.IA5_STRING if oid in _IA5_ALWAYS else der.PRINTABLE_STRING, value.encode())
    tag = der.PRINTABLE_STRING if printable and fits else der.UTF8_STRING
    return der.encode_tlv(tag, value.encode("utf-8"))


def check_host_name(text: str) -> str:
    """Return a host name that may stand as a DNS name in a certificate, in lower case.

    Raises:
        ConfigError: It is none: not letters, digits and hyphens in labels of at most 63, `*` but as its first label.
    """
    if len(text) > _MAX_HOST_NAME or not _HOST_NAME.fullmatch(text):
        hint = None if text.isascii() else "write an international name in its ASCII form, xn--..."
        raise ConfigError(f"'{text}' is no host name", hint=hint)
    return text.lower()


def make_request(
    key: keys.PrivateKey, subject_der: bytes, *, dns_names: Sequence[str] = (), ip_addresses: Sequence[bytes] = ()
) -> bytes:
    """Return a request in DER, signed with its key: SHA-256, or what the key's kind asks for.

    Args:
        key: The key pair to be certified.
        subject_der: The name asked for.
        dns_names: Host names to ask for as alternative names.
        ip_addresses: Addresses likewise, of four or sixteen bytes.

    Raises:
        ConfigError: A name or an address is none, or there are more than `MAX_ALTERNATIVE_NAMES`.
        CredentialError: The key is of a kind that is not supported.
    """
    body = der.encode_sequence(
        der.encode_integer(0),
        subject_der,
        keys.spki_der(key),
        der.encode_tlv(_ATTRIBUTES, _encode_extension_request(dns_names, ip_addresses)),
    )
    signature, algorithm = keys.sign(key, body)
    return der.encode_sequence(body, algorithm, der.encode_bit_string(signature))


def _encode_extension_request(dns_names: Sequence[str], ip_addresses: Sequence[bytes]) -> bytes:
    if len(dns_names) + len(ip_addresses) > MAX_ALTERNATIVE_NAMES:
        raise ConfigError(f"more than {MAX_ALTERNATIVE_NAMES} alternative names")
    if any(len(address) not in {4, 16} for address in ip_addresses):
        raise ConfigError("an IP address has four or sixteen bytes")
    general_names = [
        *(der.encode_tlv(_DNS, check_host_name(name).encode("ascii")) for name in dns_names),
        *(der.encode_tlv(_IP, address) for address in ip_addresses),
    ]
    if not general_names:
        return b""
    extension = der.encode_sequence(
        der.encode_oid(oids.SUBJECT_ALT_NAME), der.encode_octet_string(der.encode_sequence(*general_names))
    )
    return der.encode_sequence(der.encode_oid(oids.EXTENSION_REQUEST), der.encode_set(der.encode_sequence(extension)))


def encode_request_pem(request_der: bytes) -> bytes:
    """Return a request as one PEM block."""
    return encode_pem("CERTIFICATE REQUEST", request_der)
