"""Alternative names (RFC 5280 section 4.2.1.6): text to DER, checked, and back for people; knows no certificate.

    dns_name("www.example.org"), ip_address("2001:db8::1"), email_address("ca@example.org")
    other_name("1.3.6.1.5.2.2", principal_der)
    parse_alternative_names("DNS:www.example.org, IP:192.0.2.1")

Every function returns one GeneralName in DER. Internationalised host names are taken in their ASCII form (xn--).
"""

from __future__ import annotations

import re
from typing import Final

from gsi import der
from gsi.errors import ParseError

__all__ = [
    "check_general_name",
    "dns_name",
    "email_address",
    "encode_general_names",
    "format_general_name",
    "ip_address",
    "other_name",
    "parse_alternative_names",
    "split_general_names",
    "uri",
]

MAX_NAMES: Final = 256  # of one certificate; the validator takes 1024
_MAX_HOST: Final = 253  # RFC 1035 section 2.3.4, without the dot of the root
_MAX_EMAIL: Final = 254  # RFC 5321 section 4.5.3.1.3
_MAX_URI: Final = 2048  # what browsers and servers agree on
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_LOCAL_PART: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_WHAT: Final = "alternative name"

_OTHER: Final = der.context(0)
_EMAIL: Final = der.context(1, constructed=False)
_DNS: Final = der.context(2, constructed=False)
_DIRECTORY: Final = der.context(4)
_URI_TAG: Final = der.context(6, constructed=False)
_IP: Final = der.context(7, constructed=False)
_REGISTERED: Final = der.context(8, constructed=False)


def _refuse(text: str, why: str, hint: str | None = None) -> ParseError:
    return ParseError(f"{_WHAT}: {text[:80]!r} {why}", what=_WHAT, hint=hint)


def dns_name(text: str) -> bytes:
    """Return a dNSName; `*` is taken as the whole first label only.

    Raises:
        ParseError: Not a host name in ASCII, or an address.
    """
    last = text.rpartition(".")[2]
    if len(text) > _MAX_HOST or not _HOST.fullmatch(text) or last.isdigit():
        raise _refuse(text, "is no host name", "write letters, digits, dots and hyphens; addresses are IP:")
    return der.encode_tlv(_DNS, text.encode("ascii"))


def ip_address(text: str) -> bytes:
    """Return an iPAddress, IPv4 or IPv6.

    Raises:
        ParseError: Not an address.
    """
    import ipaddress

    try:
        return der.encode_tlv(_IP, ipaddress.ip_address(text).packed)
    except ValueError as error:
        raise _refuse(text, "is no IP address") from error


def email_address(text: str) -> bytes:
    """Return an rfc822Name.

    Raises:
        ParseError: Not `local@host` in ASCII.
    """
    local, _, host = text.rpartition("@")
    if len(text) > _MAX_EMAIL or not _LOCAL_PART.fullmatch(local) or not _HOST.fullmatch(host) or host[0] == "*":
        raise _refuse(text, "is no e-mail address")
    return der.encode_tlv(_EMAIL, text.encode("ascii"))


def uri(text: str) -> bytes:
    """Return a uniformResourceIdentifier; it must be absolute.

    Raises:
        ParseError: No scheme, or characters that a URI does not have.
    """
    if len(text) > _MAX_URI or not _URI.fullmatch(text):
        raise _refuse(text, "is no absolute URI")
    return der.encode_tlv(_URI_TAG, text.encode("ascii"))


def other_name(oid: str, value_der: bytes) -> bytes:
    """Return an otherName, such as a Kerberos principal (RFC 4556 appendix A).

    Args:
        oid: The kind, dotted.
        value_der: The value, one DER object.

    Raises:
        ParseError: `oid` is no identifier or `value_der` not one object.
    """
    der.check_bounds(value_der, what=_WHAT)
    return der.encode_tlv(_OTHER, der.encode_oid(oid) + der.encode_explicit(0, value_der))


def encode_general_names(names: tuple[bytes, ...] | list[bytes]) -> bytes:
    """Return the GeneralNames made of these, each whole, as SubjectAltName holds them."""
    return der.encode_sequence(*names)


def split_general_names(value: bytes) -> tuple[bytes, ...]:
    """Return the members of a GeneralNames, each whole.

    Raises:
        ParseError: Not a sequence of them, empty, or more than `MAX_NAMES`.
    """
    reader = der.parse_one(value, what=_WHAT)
    found: list[bytes] = []
    while not reader.at_end():
        if len(found) == MAX_NAMES:
            raise ParseError(f"{_WHAT}: more than {MAX_NAMES}", what=_WHAT)
        found.append(reader.take_raw())
    if not found:
        raise ParseError(f"{_WHAT}: an empty list", what=_WHAT)
    return tuple(found)


def check_general_name(name: bytes) -> None:
    """Insist on what the makers of this room would have made; other kinds of names are let pass.

    Raises:
        ParseError: A host, address, e-mail address or URI that is none.
    """
    tag, content, _ = der.Reader(name, what=_WHAT).take_any()
    maker = {_DNS: dns_name, _EMAIL: email_address, _URI_TAG: uri}.get(tag)
    if maker is not None and maker(content.decode("ascii", "backslashreplace")) != name:
        raise _refuse(content.decode("latin-1"), "is not in its usual form")
    if tag == _IP and len(content) not in {4, 16}:
        raise _refuse(content.hex(), "is an address of neither 4 nor 16 octets")


_KINDS: Final = {"DNS": dns_name, "IP": ip_address, "EMAIL": email_address, "URI": uri}


def parse_alternative_names(text: str) -> tuple[bytes, ...]:
    """Return the names in a list such as `DNS:a.example.org, IP:192.0.2.1, email:ca@example.org, URI:https://a/`.

    Raises:
        ParseError: An unknown kind, or a name that is none.
    """
    found: list[bytes] = []
    for item in text.split(","):
        kind, colon, value = item.strip().partition(":")
        maker = _KINDS.get(kind.upper())
        if not colon or maker is None:
            raise _refuse(item.strip(), "does not begin with its kind", "write DNS:, IP:, email: or URI: before it")
        found.append(maker(value.strip()))
    return tuple(found)


def format_general_name(name: bytes) -> str:
    """Return a GeneralName for a person to read, in the form that `parse_alternative_names` takes where it can.

    Raises:
        ParseError: The bytes are not one DER object.
    """
    reader = der.Reader(name, what=_WHAT)
    tag, content, _ = reader.take_any()
    reader.finish()
    if tag in {_EMAIL, _DNS, _URI_TAG}:
        kind = {_EMAIL: "email", _DNS: "DNS", _URI_TAG: "URI"}[tag]
        return f"{kind}:{content.decode('latin-1')}"
    if tag == _IP and len(content) in {4, 16}:
        import ipaddress

        return f"IP:{ipaddress.ip_address(content)}"
    if tag == _DIRECTORY:
        from gsi.names import oneline

        return f"dirName:{oneline(content)}"
    kind = {_OTHER: "otherName", _REGISTERED: "registeredID"}.get(tag, f"tag {tag:#04x}")
    return f"{kind}:{content.hex()}"
