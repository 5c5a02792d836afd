"""Name constraints of CAs (RFC 5280 section 4.2.1.10): which names the certificates below may bear.

    constraints = parse_name_constraints(value, critical=True)
    check_names(constraints, certificate.subject_der, profile.subject_alt_name, position=0)
    find_host_fault(constraints, "www.example.org")

Evaluated are directory names, DNS names, mail addresses, IP addresses and URIs. Constraints on another kind refuse the
path when they are critical, and certificates with a name of that kind when they are not. They apply to the end entity
and to CAs below; a proxy's name needs no check of its own, since it extends the end entity's and has no alternative
names (RFC 3820 section 3.4). The C validator refuses every CA with critical name constraints instead.

Two habits of OpenSSL are kept, because names are read from there: emailAddress in the subject counts as a mail
address, and a common name that looks like a host name counts as a DNS name where no DNS name stands beside it. What is
no host name to OpenSSL, or stands beside a DNS name, may still be taken for one where hosts are compared; so
`gsi.trust.peername` asks `find_host_fault` about the very name that it is going to believe.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gsi import der, names, oids
from gsi.errors import ParseError, Reason, VerificationError
from gsi.trust.shapes import check_general_name

__all__ = [
    "MAX_COMPARISONS",
    "NameConstraints",
    "check_names",
    "find_host_fault",
    "host_of_common_name",
    "parse_general_names",
    "parse_name_constraints",
]

MAX_SUBTREES: Final = 1024  # in one extension; constrained public CAs have some dozens
MAX_GENERAL_NAMES: Final = 1024  # in one SubjectAltName; shared hosts have some hundreds
MAX_COMPARISONS: Final = 1 << 17  # names times subtrees of one CA, some 30 ms; hundred by hundred are 10,000
_EMAIL: Final = 0x81  # context tags of GeneralName, RFC 5280 section 4.2.1.6
_DNS: Final = 0x82
_DIRECTORY: Final = 0xA4
_URI: Final = 0x86
_IP: Final = 0x87
_EVALUATED: Final = frozenset({_EMAIL, _DNS, _DIRECTORY, _URI, _IP})
_WHAT: Final = "NameConstraints"
_HOST_NAME: Final = re.compile(r"(?:[A-Za-z0-9_*-]+\.)+[A-Za-z0-9_-]+\.?")
_URI_HOST: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:@\[\]]+)(?::[0-9]*)?(?:[/?#].*)?")
_IPV4: Final = re.compile(rb"[0-9.]+")


class NameConstraints(NamedTuple):
    """One CA's constraints: lists of (kind, base), each base in the form in which names are compared."""

    permitted: tuple[tuple[int, bytes], ...]
    excluded: tuple[tuple[int, bytes], ...]


def parse_name_constraints(value: bytes, *, critical: bool) -> NameConstraints:
    """Return what a NameConstraints extension says.

    Raises:
        ParseError: Malformed, or of a form that is not evaluated although it is critical.
    """
    reader = der.parse_one(value, what=_WHAT)
    lists: list[tuple[tuple[int, bytes], ...]] = []
    for number in (0, 1):
        tag = der.context(number)
        lists.append(_parse_subtrees(reader.enter(tag), critical=critical) if reader.peek() == tag else ())
    reader.finish()
    if not lists[0] and not lists[1]:
        raise ParseError(f"{_WHAT}: empty", what=_WHAT)
    return NameConstraints(*lists)


def _parse_subtrees(listed: der.Reader, *, critical: bool) -> tuple[tuple[int, bytes], ...]:
    found: list[tuple[int, bytes]] = []
    while not listed.at_end():
        subtree = listed.sequence()
        kind, base, _ = subtree.take_any()
        if not subtree.at_end():  # minimum, maximum: RFC 5280 wants 0 and none
            raise ParseError(f"{_WHAT}: a subtree with minimum or maximum", what=_WHAT)
        check_general_name(kind, base, _WHAT)
        if kind not in _EVALUATED and critical:
            raise ParseError(f"{_WHAT}: critical, on a kind of name that is not evaluated ({kind:#x})", what=_WHAT)
        if kind == _IP and len(base) not in {8, 32}:
            raise ParseError(f"{_WHAT}: an IP range of {len(base)} bytes", what=_WHAT)
        found.append((kind, names.canonical(base) if kind == _DIRECTORY else base if kind == _IP else base.lower()))
        if len(found) > MAX_SUBTREES:
            raise ParseError(f"{_WHAT}: more than {MAX_SUBTREES} subtrees", what=_WHAT)
    return tuple(found)


def parse_general_names(value: bytes) -> tuple[tuple[int, bytes], ...]:
    """Return the (tag, content) pairs of a SubjectAltName.

    Raises:
        ParseError: Malformed or too long.
    """
    reader = der.parse_one(value, what="SubjectAltName")
    found: list[tuple[int, bytes]] = []
    while not reader.at_end():
        tag, content, _ = reader.take_any()
        found.append((tag, content))
        if len(found) > MAX_GENERAL_NAMES:
            raise ParseError(f"SubjectAltName: more than {MAX_GENERAL_NAMES} names", what="SubjectAltName")
    return tuple(found)


def names_of(subject_der: bytes, subject_alt_name: bytes | None) -> tuple[tuple[int, bytes], ...]:
    """Return every name that constraints apply to, as (kind, content).

    Raises:
        ParseError: The subject or the alternative names are malformed.
    """
    found = list(parse_general_names(subject_alt_name)) if subject_alt_name is not None else []
    has_dns = any(kind == _DNS for kind, _ in found)
    groups = names.attributes(subject_der)
    for attribute in (attribute for group in groups for attribute in group):
        if attribute.oid == oids.EMAIL_ADDRESS:
            found.append((_EMAIL, attribute.text().encode()))
        elif attribute.oid == oids.COMMON_NAME and not has_dns:
            host = host_of_common_name(attribute.text())
            if _HOST_NAME.fullmatch(host):
                found.append((_DNS, host.encode()))
    if groups:
        found.append((_DIRECTORY, subject_der))
    return tuple(found)


def check_names(
    constraints: NameConstraints, subject_der: bytes, subject_alt_name: bytes | None, position: int
) -> None:
    """Check the names of one certificate under one CA's constraints.

    Raises:
        VerificationError: NAME_CONSTRAINTS.
    """
    try:
        fault = _find_fault(constraints, names_of(subject_der, subject_alt_name))
    except (ParseError, UnicodeError) as error:
        raise VerificationError(
            f"a name that cannot be compared with name constraints: {error}",
            reason=Reason.NAME_CONSTRAINTS,
            position=position,
        ) from error
    if fault is not None:
        raise VerificationError(fault, reason=Reason.NAME_CONSTRAINTS, position=position)


def host_of_common_name(text: str) -> str:
    """Return the part of a common name that may be compared with a host: what follows the service in `host/name`."""
    return text.rpartition("/")[2]


def find_host_fault(constraints: NameConstraints, host: str) -> str | None:
    """Return why nobody below the CA may be taken for this host, or None."""
    return _find_fault(constraints, ((_DNS, host.encode("utf-8", "replace")),))


def _find_fault(constraints: NameConstraints, listed: tuple[tuple[int, bytes], ...]) -> str | None:
    budget = MAX_COMPARISONS
    for kind in dict.fromkeys(kind for kind, _ in listed):
        permitted = [base for one, base in constraints.permitted if one == kind]
        excluded = [base for one, base in constraints.excluded if one == kind]
        if not permitted and not excluded:
            continue
        if kind not in _EVALUATED:
            return f"a name of a kind ({kind:#x}) that a CA above constrains and that is not evaluated here"
        found = [name for one, name in listed if one == kind]
        budget -= len(found) * (len(permitted) + len(excluded))
        if budget < 0:
            return f"more than {MAX_COMPARISONS} comparisons of names with the constraints of a CA above"
        for name in found:
            folded = _fold(kind, name)
            if any(_is_within(kind, folded, base, widely=True) for base in excluded):
                return f"a name that a CA above excludes: {_show(kind, name)}"
            if permitted and not any(_is_within(kind, folded, base, widely=False) for base in permitted):
                return f"a name outside what a CA above permits: {_show(kind, name)}"
    return None


def _fold(kind: int, name: bytes) -> bytes:
    """Return a name in the form in which it is compared, once for all subtrees."""
    if kind == _DIRECTORY:
        if name[:1] != b"\x30":
            raise ParseError(f"{_WHAT}: a directory name that is no name", what=_WHAT)
        return names.canonical(name)
    if kind == _IP:
        if len(name) not in {4, 16}:
            raise ParseError(f"{_WHAT}: an IP address of {len(name)} bytes", what=_WHAT)
        return name
    if not name.isascii():
        raise ParseError(f"{_WHAT}: a name that is not ASCII: {name[:80]!r}", what=_WHAT)
    name = name.lower()
    if kind == _EMAIL:
        mailbox, at, _ = name.rpartition(b"@")
        if not at or not mailbox:
            raise ParseError(f"{_WHAT}: {name[:80]!r} is no mail address", what=_WHAT)
    elif kind == _URI:
        found = _URI_HOST.fullmatch(name)
        if found is None or _IPV4.fullmatch(found[1]):
            raise ParseError(f"{_WHAT}: a URI without a host name: {name[:80]!r}", what=_WHAT)
        return found[1]
    return name


def _is_within(kind: int, name: bytes, base: bytes, *, widely: bool) -> bool:
    """Tell whether a folded name lies in a subtree; `widely` also when only some of what it stands for does."""
    if kind == _DIRECTORY:
        return name.startswith(base)
    if kind == _IP:
        return _is_ip_within(name, base)
    if kind == _DNS:
        return _is_host_within(name, base) or (widely and _may_reach(name, base))
    host = name
    if kind == _EMAIL:
        if b"@" in base:
            return name == base
        host = name.rpartition(b"@")[2]
    # RFC 5280: for mail and URIs a leading dot means the hosts of a domain, no dot that very host.
    return not base or (host.endswith(base) and host != base if base.startswith(b".") else host == base)


def _is_host_within(host: bytes, limit: bytes) -> bool:
    host = host.rstrip(b".")
    if limit.startswith(b"."):
        return host.endswith(limit)
    return not limit or host == limit or host.endswith(b"." + limit)


def _may_reach(host: bytes, limit: bytes) -> bool:
    """Tell whether a name with a wildcard may stand for one at or below the limit."""
    if b"*" not in host:
        return False
    fixed = host.rpartition(b"*")[2].partition(b".")[2]
    return not fixed or _is_host_within(limit.lstrip(b"."), fixed)


def _is_ip_within(address: bytes, network: bytes) -> bool:
    size = len(network) // 2
    if len(address) != size:
        return False
    base, mask = network[:size], network[size:]
    return all(one & bits == other & bits for one, other, bits in zip(address, base, mask, strict=True))


def _show(kind: int, name: bytes) -> str:
    if kind == _DIRECTORY:
        return names.oneline(name)
    return name.hex() if kind == _IP else repr(name.decode("ascii", "replace")[:80])
