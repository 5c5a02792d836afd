"""Does a server's proven certificate belong to the host that was meant? The three ways of GCT; resolves no name.

    check_peer_name(peer, "myproxy.example.org", NameMode.STRICT_RFC2818)
    check_peer_name(peer, "", expected_dn="/O=Grid/CN=host/myproxy.example.org")

The host name is the caller's: as the user typed it for STRICT_RFC2818; for HYBRID and STRICT_GT2 the reverse look-up of
the peer's address, or the local host name when the peer is on the loopback. Only the former is safe against who
controls the name service, which is why it is the default. Must agree with gct: gssapi/source/library/compare_name.c,
which it does but where that takes too much: a wildcard in another label than the first one (RFC 6125 section 6.4.3), a
name with characters beyond ASCII or with a dot at its end, and a common name outside of the name constraints of a CA.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi import names, oids
from gsi.errors import ParseError, Reason, VerificationError
from gsi.names import plain_oneline
from gsi.nametext import ASCII_LOWER
from gsi.trust.name_constraints import (
    find_host_fault,
    host_of_common_name,
    parse_general_names,
    parse_name_constraints,
)

if TYPE_CHECKING:
    from gsi.trust.peer import VerifiedPeer

__all__ = ["NameMode", "check_peer_name"]

_DNS: Final = 0x82  # dNSName in GeneralName, RFC 5280 section 4.2.1.6


class NameMode(StrEnum):
    """GLOBUS_GSSAPI_NAME_COMPATIBILITY: where the host name is looked for."""

    STRICT_RFC2818 = "STRICT_RFC2818"
    """A DNS alternative name; the first common name only when the certificate has no DNS alternative name."""
    HYBRID = "HYBRID"
    """A DNS alternative name or the first common name."""
    STRICT_GT2 = "STRICT_GT2"
    """The first common name."""


def check_peer_name(
    peer: VerifiedPeer,
    host: str,
    mode: NameMode = NameMode.STRICT_RFC2818,
    *,
    expected_dn: str | None = None,
) -> None:
    """Check that a server is the one that was meant.

    A service before the host (`host/`, `myproxy/`) in a common name is cut off and not compared. Labels are compared
    one by one without regard to the case of ASCII letters; `*` may end the first label of a DNS alternative name. In
    HYBRID and STRICT_GT2 the first label of the certificate may go on with a hyphen (`node-2.example.org` for
    `node.example.org`, the name of a further interface). IP addresses in the certificate never match. Whatever matched,
    the host must lie within the DNS name constraints of every CA above, also when it was read from a common name.

    Args:
        peer: What the server's chain proved.
        host: The host name.
        mode: Where in the certificate to look.
        expected_dn: When given, the server's identity must be exactly this text, but for the backslashes that newer
            OpenSSL puts before slashes in a value, and nothing else is looked at.

    Raises:
        VerificationError: PEER_NAME; NAME_CONSTRAINTS when a CA above may not vouch for this host; MALFORMED when the
            certificate's names cannot be read.
    """
    if expected_dn is not None:
        if plain_oneline(peer.identity) != plain_oneline(expected_dn):
            raise _mismatch(peer, f"the expected name {expected_dn}")
        return
    if peer.identity_der != peer.eec.subject_der:
        raise _mismatch(peer, "a host: an independent or restricted proxy is not its issuer")
    try:
        dns_names, common_name = _read_names(peer)
    except ParseError as error:
        raise VerificationError(error.message, reason=Reason.MALFORMED, position=0) from error
    wanted = host.removesuffix(".")
    looks_at_alternatives = mode is not NameMode.STRICT_GT2
    looks_at_common_name = mode is not NameMode.STRICT_RFC2818 or not dns_names
    suffixed = mode is not NameMode.STRICT_RFC2818
    matches = (
        looks_at_alternatives and any(_is_match(name, wanted, wildcard=True, suffixed=suffixed) for name in dns_names)
    ) or (
        looks_at_common_name
        and common_name is not None
        and _is_match(host_of_common_name(common_name), wanted, wildcard=False, suffixed=suffixed)
    )
    if not matches:
        raise _mismatch(peer, f"the host {host}")
    _check_constraints(peer, wanted)


def _check_constraints(peer: VerifiedPeer, host: str) -> None:
    """Check that the CAs above may vouch for this very host, whichever name of the certificate it was read from."""
    above = peer.chain.index(peer.eec) + 1
    for position, authority in enumerate(peer.chain[above:], start=above):
        extension = authority.find_extension(oids.NAME_CONSTRAINTS)
        if extension is None:
            continue
        try:
            fault = find_host_fault(
                parse_name_constraints(extension.value, critical=extension.critical), host.translate(ASCII_LOWER)
            )
        except ParseError as error:
            raise VerificationError(error.message, reason=Reason.NAME_CONSTRAINTS, position=position) from error
        if fault is not None:
            raise VerificationError(
                f"the host {host}: {fault}",
                reason=Reason.NAME_CONSTRAINTS,
                position=above - 1,
                hint="its CA may not certify this host; ask the CA that may",
            )


def _read_names(peer: VerifiedPeer) -> tuple[list[str], str | None]:
    """Return the end entity's DNS alternative names and its first common name."""
    extension = peer.eec.find_extension(oids.SUBJECT_ALT_NAME)
    dns_names: list[str] = []
    if extension is not None:
        for kind, content in parse_general_names(extension.value):
            if kind == _DNS:
                dns_names.append(content.decode("latin-1"))
    for group in names.attributes(peer.eec.subject_der):
        for attribute in group:
            if attribute.oid == oids.COMMON_NAME:
                return dns_names, attribute.text()
    return dns_names, None


def _is_match(name: str, wanted: str, *, wildcard: bool, suffixed: bool) -> bool:
    # Only ASCII letters have two cases here: str.lower() would make a K of the Kelvin sign.
    if not name.isascii() or not wanted.isascii():
        return False
    labels, others = (one.translate(ASCII_LOWER).split(".") for one in (name, wanted))
    if len(labels) != len(others) or not all(labels) or not all(others):
        return False
    first = labels[0]
    if suffixed and first.startswith(others[0] + "-"):
        first = others[0]
    return _is_label(first, others[0], wildcard=wildcard) and labels[1:] == others[1:]


def _is_label(pattern: str, label: str, *, wildcard: bool) -> bool:
    if wildcard and pattern.endswith("*"):
        prefix = pattern[:-1]
        return "*" not in prefix and label.startswith(prefix)
    return pattern == label


def _mismatch(peer: VerifiedPeer, wanted: str) -> VerificationError:
    return VerificationError(
        f"server identity {peer.identity} does not match {wanted}",
        reason=Reason.PEER_NAME,
        position=0,
        hint="check the host name; if the server is the right one, name its DN",
    )
