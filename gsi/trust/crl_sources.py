"""Where a CA's revocation lists are published: `.crl_url`, IGTF `.info` files and certificates; fetches nothing.

    parse_crl_url(data)                        # ("http://ca.example.org/crl.pem",)
    parse_info(data).crl_urls                  # one tuple of alternatives per list
    distribution_points(certificate)           # URLs of its issuer's list

The two kinds of files are what IGTF distributions bring for fetch-crl (dlgroep/fetch-crl: TrustAnchor.pm). A
distribution point in a certificate (RFC 5280 section 4.2.1.13) names the list on which that certificate itself would
stand: the list of its issuer. So a subordinate CA's certificate tells about its parent, and a root's about the root.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der, oids
from gsi.errors import ParseError

if TYPE_CHECKING:
    from gsi.certificate import Certificate

__all__ = ["MAX_SOURCE_BYTES", "MAX_URLS", "TrustInfo", "distribution_points", "is_url", "parse_crl_url", "parse_info"]

MAX_SOURCE_BYTES: Final = 64 << 10  # IGTF .info files have 1 kB
MAX_URLS: Final = 32  # alternatives for one list; three are much
_MAX_LISTS: Final = 16  # lists of one CA; two are rare
_MAX_URL_CHARS: Final = 2048
_URL: Final = r"[a-z][a-z0-9+.-]*:/[^\x00-\x20\x7f]+"
_KEY: Final = r"\s*([A-Za-z0-9_.-]+)\s*=\s*(.*?)\s*"
_URI_NAME: Final = 0x86  # GeneralName uniformResourceIdentifier


class TrustInfo(NamedTuple):
    """What a `.info` file says that matters here."""

    alias: str | None
    subject: str | None
    """The CA's name in one-line form."""
    crl_urls: tuple[tuple[str, ...], ...]
    """For each list of the CA, alternatives in the order to try them."""


def is_url(text: str) -> bool:
    """Tell whether this has the shape of an absolute URL, of whatever scheme."""
    return len(text) <= _MAX_URL_CHARS and re.fullmatch(_URL, text, re.IGNORECASE) is not None


def parse_crl_url(data: bytes) -> tuple[str, ...]:
    """Return the URLs of a `.crl_url` file: one a line, alternatives for one list; `#` begins a comment.

    Raises:
        ParseError: Too long, or a line is no URL.
    """
    found: list[str] = []
    for number, line in enumerate(_decode(data, "crl_url").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if text:
            found.append(_check(text, f"line {number}"))
    return _bounded(found)


def parse_info(data: bytes) -> TrustInfo:
    """Return what an IGTF `.info` file says: `key = value` lines, where a backslash at the end continues the line.

    Lists are under `crl_url` or `crl_url.0`, `crl_url.1`, ...; alternatives are separated by semicolons or blanks.

    Raises:
        ParseError: Too long, not such lines, or something where a URL should be.
    """
    values: dict[str, str] = {}
    text = re.sub(r"\\\r?\n", " ", _decode(data, "info"))
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(("#", ";", "[")):
            continue
        found = re.fullmatch(_KEY, line)
        if found is None:
            raise ParseError(f"info: line {number} is not 'key = value'", what="info")
        values[found[1]] = found[2]
    if "crl_url" in values:
        values.setdefault("crl_url.0", values["crl_url"])
    lists: list[tuple[str, ...]] = []
    while (key := f"crl_url.{len(lists)}") in values and len(lists) < _MAX_LISTS:
        lists.append(_bounded([_check(url, key) for url in re.split(r"[;\s]+", values[key]) if url]))
    return TrustInfo(
        values.get("alias") or None, values.get("subjectdn", "").strip('"') or None, tuple(one for one in lists if one)
    )


def distribution_points(certificate: Certificate) -> tuple[str, ...]:
    """Return the URLs in a certificate where the complete list of its issuer is published; none when it names none.

    Points that hold for some reasons only, or name another issuer of the list, are passed over.

    Raises:
        ParseError: The extension is malformed.
    """
    extension = certificate.find_extension(oids.CRL_DISTRIBUTION_POINTS)
    if extension is None:
        return ()
    found: list[str] = []
    points = der.parse_one(extension.value, what="CRLDistributionPoints")
    while not points.at_end():
        point = points.sequence()
        names = point.take(der.context(0)) if point.peek() == der.context(0) else b""
        if not point.at_end():
            while not point.at_end():
                point.take_any()
            continue
        found += _full_names(names)
    return _bounded(found)


def _full_names(content: bytes) -> list[str]:
    """Return the URLs of a DistributionPointName's fullName."""
    if not content:
        return []
    reader = der.Reader(content, what="CRLDistributionPoints")
    if reader.peek() != der.context(0):
        return []  # relative to the issuer's name: a directory entry
    names = reader.enter(der.context(0))
    found: list[str] = []
    while not names.at_end():
        tag, value, _ = names.take_any()
        if tag == _URI_NAME:
            text = value.decode("ascii", "replace").strip().replace(" ", "%20")
            if is_url(text):
                found.append(text)
    return found


def _decode(data: bytes, what: str) -> str:
    if len(data) > MAX_SOURCE_BYTES:
        raise ParseError(f"{what}: {len(data)} bytes, limit {MAX_SOURCE_BYTES}", what=what, offset=0)
    return data.decode("utf-8", "replace")


def _check(text: str, where: str) -> str:
    if not is_url(text):
        raise ParseError(f"{where}: '{text[:80]}' is no URL", what="CRL URL")
    return text


def _bounded(urls: list[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(urls))
    if len(found) > MAX_URLS:
        raise ParseError(f"{len(found)} URLs for one list, limit {MAX_URLS}", what="CRL URL")
    return found
