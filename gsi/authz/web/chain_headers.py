"""Certificates in the text forms in which TLS front ends hand them on in headers; believes none of them.

    parse_certificates("-----BEGIN%20CERTIFICATE-----%0A...")

| form | who writes it |
|---|---|
| PEM, percent-escaped | nginx `$ssl_client_escaped_cert`, Envoy `Chain=` |
| PEM with blanks or tabs for its line feeds | Apache `%{SSL_CLIENT_CERT}s`, nginx `$ssl_client_cert` |
| `:base64:`, several separated by commas | RFC 9440 `Client-Cert` and `Client-Cert-Chain` |
| base64 of DER, one or several one behind the other | HAProxy `ssl_c_der,base64` and `ssl_c_chain_der,base64` |

They tell themselves apart by their first character. Reading is strict: what is not wholly one of these is none.
"""

from __future__ import annotations

import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from gsi import der
from gsi.errors import ParseError

__all__ = ["MAX_CERTIFICATES", "MAX_TEXT_CHARS", "encode_client_cert_chain", "parse_certificates"]

MAX_TEXT_CHARS: Final = 1 << 16
"""The longest header value: a chain of ten certificates, escaped, has half of it; servers take some kilobytes."""

MAX_CERTIFICATES: Final = 32
"""In one value; no real chain has ten."""

_WHAT: Final = "certificate header"
_NONE: Final = frozenset({"", "(null)", "-"})
"""What front ends write when there is nothing: nginx and HAProxy nothing, Apache the word."""

_ESCAPED: Final = re.compile(r"(?:[A-Za-z0-9\-._~+/=]|%[0-9A-Fa-f]{2})+\Z", re.ASCII)
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_BLANKS: Final = re.compile(r"[ \t\r\n]+")


def parse_certificates(text: str) -> tuple[bytes, ...]:
    """Return the certificates of a header value in DER, in its order; none where the front end says that there is none.

    Args:
        text: The value, of a single header.

    Raises:
        ParseError: It is no such text, or too long.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise ParseError(f"{len(text)} characters of certificates, limit {MAX_TEXT_CHARS}", what=_WHAT)
    text = text.strip(" \t")
    if text in _NONE:
        return ()
    if text.startswith("-----"):
        found = _parse_pem(_unescape(text) if "%" in text else text)
    elif text.startswith(":"):
        found = [_decode(_between_colons(item.strip(" \t"))) for item in text.split(",", MAX_CERTIFICATES)]
    else:
        found = _split(_decode(text))
    if len(found) > MAX_CERTIFICATES:
        raise ParseError(f"more than {MAX_CERTIFICATES} certificates", what=_WHAT)
    return tuple(found)


def encode_client_cert_chain(certificates: tuple[bytes, ...]) -> str:
    """Return certificates as the value of `Client-Cert-Chain` (RFC 9440 section 2.3)."""
    return ", ".join(f":{binascii.b2a_base64(each, newline=False).decode('ascii')}:" for each in certificates)


def _unescape(text: str) -> str:
    if not _ESCAPED.match(text):
        raise ParseError("PEM that is escaped in parts only", what=_WHAT)
    return unquote_to_bytes(text).decode("latin-1")


def _parse_pem(text: str) -> list[bytes]:
    found: list[bytes] = []
    rest = text.strip(" \t\r\n")
    while rest:
        if not rest.startswith(_BEGIN) or len(found) > MAX_CERTIFICATES:
            raise ParseError("PEM with something else than certificates", what=_WHAT)
        body, end, rest = rest.removeprefix(_BEGIN).partition(_END)
        if not end:
            raise ParseError("PEM that is cut off", what=_WHAT)
        found.append(_decode(_BLANKS.sub("", body)))
        rest = rest.lstrip(" \t\r\n")
    return found


def _between_colons(item: str) -> str:
    if len(item) < 2 or item[0] != ":" or item[-1] != ":":
        raise ParseError("a list of certificates with something else in it", what=_WHAT)
    return item[1:-1]


def _decode(text: str) -> bytes:
    try:
        found = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ParseError("a certificate that is not base64", what=_WHAT) from error
    if not found:
        raise ParseError("an empty certificate", what=_WHAT)
    return found


def _split(data: bytes) -> list[bytes]:
    reader = der.Reader(data, what=_WHAT)
    found: list[bytes] = []
    while not reader.at_end():
        found.append(reader.take_raw(der.SEQUENCE))
        if len(found) > MAX_CERTIFICATES:
            break
    return found
