"""The proxies before RFC 3820, kept apart because they are dangerous to accept; reading and writing of their bytes.

GT3 ("GSI-3", `grid-proxy-init -draft`) carries a ProxyCertInfo of an early draft under a Globus identifier:

    ProxyCertInfoOld ::= SEQUENCE { proxyPolicy ProxyPolicy, pCPathLenConstraint [1] EXPLICIT INTEGER OPTIONAL }

GT2 ("GSI-2", `-old`) carries nothing: the last common name `proxy` or `limited proxy` is all there is, and the serial
number is the issuer's. To a plain X.509 library such a certificate looks like an end entity's, and a CA that names
somebody `proxy` makes one by accident. Accepting or writing either form needs an explicit switch everywhere.
"""

from __future__ import annotations

from typing import Final

from gsi import der
from gsi.proxy.info import WHAT, ProxyCertInfo, encode_policy, parse_policy, read_path_length

__all__ = ["GT2_FULL_NAME", "GT2_LIMITED_NAME", "encode_gt3", "last_names", "parse_gt3"]

GT2_FULL_NAME: Final = "proxy"
GT2_LIMITED_NAME: Final = "limited proxy"
_PATH_LENGTH: Final = der.context(1)
_COMMON_NAME_DER: Final = bytes.fromhex("0603550403")


def parse_gt3(data: bytes) -> ProxyCertInfo:
    """Return the value of a draft extension's content.

    Raises:
        ParseError: Not exactly one ProxyCertInfo of the draft in DER.
    """
    reader = der.parse_one(data, what=WHAT)
    language, policy = parse_policy(reader)
    path_length = None
    if reader.peek() == _PATH_LENGTH:
        tagged = reader.enter(_PATH_LENGTH)
        path_length = read_path_length(tagged)
        tagged.finish()
    reader.finish()
    return ProxyCertInfo(path_length, language, policy)


def encode_gt3(info: ProxyCertInfo) -> bytes:
    """Return the draft form in DER."""
    length = b"" if info.path_length is None else der.encode_explicit(1, der.encode_integer(info.path_length))
    return der.encode_sequence(encode_policy(info), length)


def last_names(name_der: bytes) -> tuple[bytes, ...]:
    """Return the raw text of every common name in the last RDN of a name; none for an empty name.

    A multi-valued RDN may hold several values. GCT looks at the last one only; here all count, because a certificate
    with `CN=proxy` anywhere in its last RDN must never pass as an end entity's.

    Raises:
        ParseError: The name is not DER.
    """
    rdns = der.parse_one(name_der, what="name")
    last = None
    while not rdns.at_end():
        last = rdns.enter(der.SET)
    found: list[bytes] = []
    while last is not None and not last.at_end():
        attribute = last.sequence()
        is_common_name = attribute.take_raw(der.OID) == _COMMON_NAME_DER
        tag, content, _ = attribute.take_any()
        attribute.finish()
        if is_common_name:
            found.append(_as_ascii(tag, content))
    return tuple(found)


def _as_ascii(tag: int, content: bytes) -> bytes:
    """Return a wide string's text as UTF-8, so that `proxy` is seen in every string type; other types as they are."""
    if tag == der.BMP_STRING:
        return content.decode("utf-16-be", "replace").encode("utf-8")
    if tag == der.UNIVERSAL_STRING:
        return content.decode("utf-32-be", "replace").encode("utf-8")
    return content
