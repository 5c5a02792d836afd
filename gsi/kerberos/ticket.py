r"""What a verified Kerberos ticket says, as values; proves nothing and reads no bytes.

    principal = Principal.parse("alice/admin@EXAMPLE.ORG")     # components ("alice", "admin"), realm "EXAMPLE.ORG"

A `ProvenTicket` exists only where a ticket was checked with a service's key, so to hold one is to know who came.
RFC 4120 s.6.2 (names), s.5.3 (tickets); text form as krb5_unparse_name writes it: `\` before `/`, `@`, `\`, and `\n`,
`\t`, `\b`, `\0` for these characters.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import ParseError

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Principal", "ProvenTicket", "TicketFlags"]

MAX_PRINCIPAL_CHARACTERS: Final = 1024
"""Far beyond any name in use; a ticket holds at most a few thousand bytes."""
_ESCAPES: Final = {"n": "\n", "t": "\t", "b": "\b", "0": "\0"}
_WRITTEN: Final = {value: "\\" + key for key, value in _ESCAPES.items()} | {char: "\\" + char for char in "\\/@"}


class TicketFlags(enum.IntFlag):
    """The flags of a ticket that matter here (RFC 4120 s.5.3, bit 0 is the highest of 32)."""

    FORWARDABLE = 0x40000000
    FORWARDED = 0x20000000
    PROXIABLE = 0x10000000
    PROXY = 0x08000000
    MAY_POSTDATE = 0x04000000
    POSTDATED = 0x02000000
    INVALID = 0x01000000
    RENEWABLE = 0x00800000
    INITIAL = 0x00400000
    PREAUTHENTICATED = 0x00200000
    HARDWARE_AUTHENTICATED = 0x00100000
    TRANSIT_CHECKED = 0x00080000
    ANONYMOUS = 0x00008000


class Principal(NamedTuple):
    """A name within a realm."""

    components: tuple[str, ...]
    realm: str

    @classmethod
    def parse(cls, text: str) -> Principal:
        """Read the text form; the realm must be there.

        Raises:
            ParseError: It is none, is too long, or has an empty component.
        """
        if len(text) > MAX_PRINCIPAL_CHARACTERS:
            raise ParseError(
                f"a Kerberos principal of more than {MAX_PRINCIPAL_CHARACTERS} characters", what="Kerberos principal"
            )
        parts, at = [""], None
        position = 0
        while position < len(text):
            char = text[position]
            position += 1
            if char == "\\":
                if position == len(text):
                    raise ParseError(
                        f"a Kerberos principal that ends with a backslash: {text!r}", what="Kerberos principal"
                    )
                escaped = text[position]
                position += 1
                parts[-1] += _ESCAPES.get(escaped, escaped)
            elif char == "/" and at is None:
                parts.append("")
            elif char == "@":
                if at is not None:
                    raise ParseError(f"a Kerberos principal with two realms: {text!r}", what="Kerberos principal")
                at = len(parts)
                parts.append("")
            else:
                parts[-1] += char
        if at is None or not all(parts):
            raise ParseError(
                f"no Kerberos principal with a realm and without empty parts: {text!r}", what="Kerberos principal"
            )
        return cls(tuple(parts[:at]), parts[-1])

    @property
    def text(self) -> str:
        """The text form, which `parse` reads."""
        return f"{self.name}@{''.join(_WRITTEN.get(char, char) for char in self.realm)}"

    @property
    def name(self) -> str:
        """The text form without the realm."""
        return "/".join("".join(_WRITTEN.get(char, char) for char in part) for part in self.components)


class ProvenTicket(NamedTuple):
    """A ticket that was decrypted with a service's key and presented by its owner.

    All times are aware UTC. Whoever cannot see flags (GSS-API does not tell them) gives None.
    """

    client: Principal
    server: Principal
    """The service that the ticket is for."""
    auth_time: datetime
    """When the client last proved who it is to the KDC; tickets got from tickets keep it."""
    start_time: datetime
    end_time: datetime
    flags: TicketFlags | None
    indicators: tuple[str, ...] | None
    """Authentication indicators (RFC 8129), such as `pkinit` where the KDC sets it; None when they cannot be seen."""
    transited: tuple[str, ...] = ()
    """Realms between the client's and ours."""
