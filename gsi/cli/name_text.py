r"""Names as `openssl` and the scripts around it show them to people; for policy files and comparisons use `gsi.names`.

spaced_name(certificate.subject_der)     # O = Grid, CN = Alice
slash_name(certificate.subject_der)      # /O=Grid/CN=host/www.example.org, with no backslash before the slash
"""

from __future__ import annotations

from gsi import der, names
from gsi.errors import ParseError
from gsi.nametypes import short_name

__all__ = ["slash_name", "spaced_name"]


def slash_name(name_der: bytes) -> str:
    """Return the name as `grid-cert-info -subject` shows it: the one-line form without backslashes before slashes.

    Raises:
        ParseError: Not a Name in DER.
    """
    return names.oneline(name_der, escaped=False)


def spaced_name(name_der: bytes) -> str:
    r"""Return the name as `openssl x509` shows it (XN_FLAG_ONELINE of OpenSSL 3.0): forwards, odd values in quotes.

    Bytes outside printable ASCII are written `\HH` of their UTF-8 form.

    Raises:
        ParseError: Not a Name in DER.
    """
    return ", ".join(" + ".join(_pair(one) for one in group) for group in names.attributes(name_der))


def _pair(attribute: names.Attribute) -> str:
    title = short_name(attribute.oid) or attribute.oid
    if short_name(attribute.oid) is None or attribute.tag == der.BIT_STRING:
        return f"{title} = #{attribute.raw.hex().upper()}"
    try:
        return f"{title} = {_quoted(attribute.text())}"
    except ParseError:
        return f"{title} = #{attribute.raw.hex().upper()}"


def _quoted(text: str) -> str:
    is_odd = bool(text) and (any(char in ",+<>;" for char in text) or text[0] in " #" or text[-1] == " ")
    shown = "".join(_character(char) for char in text)
    return f'"{shown}"' if is_odd else shown


def _character(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if " " <= char <= "~":
        return char
    return "".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
