"""Pass phrases judged by a directory: the account's entry is bound to with it; not how a directory is asked.

    method = LDAPMethod(LDAPPlace(("ldaps://ldap.example.org",)), DNTemplate("uid=%u,ou=people,dc=example,dc=org"))
    method = LDAPMethod(place, EntrySearch("ou=people,dc=example,dc=org", "(uid=%u)"))
    method.check("alice", passphrase)

`%u` stands for the user name, escaped for where it stands, and `%%` for a percent sign. A search is made anonymously or
as an entry of its own and has to find exactly one entry. An empty password is refused unasked, because directories take
it for a wish to be nobody and say yes (RFC 4513 section 5.1.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi.errors import AuthenticationError, ConfigError, GridError
from gsi.ldap import LDAPPlace, connect, escape_dn, escape_filter
from myproxy.auth.base import Method, UnjudgedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.ldap import LDAPDirectory
    from gsi.secret import Passphrase

__all__ = ["DNTemplate", "EntrySearch", "LDAPMethod"]

_REFUSED: Final = "LDAP authentication failed"
_DECOY_DN: Final = "cn=nobody"


def _fill(template: str, username: str, escape: Callable[[str], str]) -> str:
    """Put a user name into a template.

    Raises:
        ConfigError: There is no place for it, or something else behind a percent sign.
    """
    out: list[str] = []
    parts = iter(template.split("%"))
    out.append(next(parts))
    count = 0
    for part in parts:
        if part.startswith("u"):
            out += [escape(username), part[1:]]
            count += 1
        elif not part:  # %%: the text after the second sign follows
            out += ["%", next(parts, "")]
        else:
            raise ConfigError(f"{template!r}: %{part[:1]} means nothing; %u is the user name, %% a percent sign")
    if not count:
        raise ConfigError(f"{template!r} has no %u, so everybody would be the same")
    return "".join(out)


@dataclass(frozen=True, slots=True)
class DNTemplate:
    """Accounts whose names can be written down.

    Attributes:
        template: The entry's name, with `%u`.

    Raises:
        ConfigError: It has no `%u`.
    """

    template: str

    def __post_init__(self) -> None:
        """Try it."""
        self.find("x")

    def find(self, username: str) -> str:
        """Return the name of a user's entry."""
        return _fill(self.template, username, escape_dn)


@dataclass(frozen=True, slots=True)
class EntrySearch:
    """Accounts that have to be looked for.

    Attributes:
        base: Below which entry.
        template: The filter, with `%u`.
        bind_dn: Who looks, or None for nobody.
        passphrase: The password of that entry.

    Raises:
        ConfigError: The filter has no `%u`, or only one of the last two is there.
    """

    base: str
    template: str
    bind_dn: str | None = None
    passphrase: Passphrase | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Try it."""
        _fill(self.template, "x", escape_filter)
        if (self.bind_dn is None) != (not self.passphrase):
            raise ConfigError("who looks for LDAP entries needs both a name and a password")

    def find(self, directory: LDAPDirectory, username: str) -> str | None:
        """Return the name of a user's entry, None when there is none.

        Raises:
            GridError: There are several, or the directory does not answer.
        """
        if self.bind_dn is not None and self.passphrase is not None:
            directory.bind(self.bind_dn, self.passphrase)
        entry = directory.find_entry(self.base, _fill(self.template, username, escape_filter))
        return None if entry is None else entry.dn


Lookup: TypeAlias = DNTemplate | EntrySearch


class LDAPMethod:
    """A `PasswordMethod`. Safe for use by several threads; every check has connections of its own."""

    method = Method.LDAP

    def __init__(self, place: LDAPPlace, lookup: Lookup) -> None:
        """Say where and how.

        Args:
            place: The directory. Passwords go there only over TLS or a socket of this machine.
            lookup: How the account's entry is found.

        Raises:
            ConfigError: Others could read what is said to the directory.
        """
        if not place.is_private:
            raise ConfigError(
                f"{place.uris[0]}: pass phrases would cross the network in clear",
                hint="use ldaps://, or ldap_start_tls true, or ldapi://",
            )
        self._place = place
        self._lookup = lookup

    def check(self, username: str, passphrase: Passphrase) -> None:
        """See `PasswordMethod.check`."""
        if not passphrase or not username or "\0" in username:
            raise AuthenticationError(_REFUSED)
        try:
            dn = self._find(username)
            # On a connection of its own, so that a search's identity never stands in for the account's.
            found = connect(self._place)
        except GridError as error:  # whatever it is, nobody has seen the pass phrase; the reader's own, perhaps
            raise UnjudgedError(_REFUSED, asked=False) from error
        with found as directory:
            try:
                directory.bind(dn or _DECOY_DN, passphrase)
            except AuthenticationError as error:
                raise AuthenticationError(_REFUSED) from error
        if dn is None:
            raise AuthenticationError(_REFUSED)

    def _find(self, username: str) -> str | None:
        if isinstance(self._lookup, DNTemplate):
            return self._lookup.find(username)
        with connect(self._place) as directory:
            return self._lookup.find(directory, username)
