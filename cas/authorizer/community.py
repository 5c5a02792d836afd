"""A community as a site knows it: who signs for it, what it may speak of here, under which account; judges nothing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cas.assertion.revocations import identifier_of, parse_revocations

if TYPE_CHECKING:
    from datetime import datetime

    from cas.assertion.revocations import RevocationList
    from cas.authorizer.rights import GroupGrant, Names, SiteRights
    from gsi.authz.decision import Account
    from gsi.certificate import Certificate
    from gsi.saml.trust import AssertionIssuer
    from gsi.tokens.keys import KeySource

__all__ = ["Community", "Withdrawn"]

_MAX_LISTS: Final = 256  # a file for each community


class NewestLists:
    """The newest list of each issuer that was verified, so that an older one is not taken back. Safe for threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], RevocationList] = OrderedDict()
        self._lock = threading.Lock()

    def newest(self, place: tuple[str, str], found: RevocationList) -> RevocationList:
        """Return the newer one of a list and what is known of its place; of the same second, what both withdraw."""
        with self._lock:
            known = self._known.get(place)
            if known is not None and known.issued_at > found.issued_at:
                found = known
            elif known is not None and known.issued_at == found.issued_at:
                found = found._replace(
                    revoked={**known.revoked, **found.revoked}, next_update=min(known.next_update, found.next_update)
                )
            self._known[place] = found
            self._known.move_to_end(place)
            while len(self._known) > _MAX_LISTS:
                self._known.popitem(last=False)
        return found


_NEWEST: Final = NewestLists()
"""Of this process: policies are read again and again, and what was withdrawn stays so."""


class Withdrawn:
    """A community's list of withdrawn capabilities, as a file had it; it is verified when it is first asked.

    One that is older than what the same file had before does not count: the newer one does, as long as it is good.

    Args:
        text: The published list (`cas.assertion.revocations`).
        keys: The keys of the community's tokens.
        issuer: The `iss` of its tokens.
        path: The file.
    """

    __slots__ = ("_issuer", "_keys", "_known", "_path", "_text")

    def __init__(self, text: str, keys: KeySource, issuer: str, path: str = "") -> None:
        self._text = text
        self._keys = keys
        self._issuer = issuer
        self._path = path
        self._known: RevocationList | None = None

    def check(self, name: str | int, *, now: datetime) -> None:
        """Check that a capability is not withdrawn.

        Args:
            name: An assertion's id, a serial number, or a `jti`.
            now: The present time (aware UTC).

        Raises:
            CapabilityError: It is, or the list is not the community's, or proves nothing any more.
        """
        if self._known is None:
            found = parse_revocations(self._text, self._keys, issuer=self._issuer, now=now)
            self._known = _NEWEST.newest((self._path, self._issuer), found) if self._path else found
        self._known.check(identifier_of(name), now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    """What a site says of one community.

    Attributes:
        name: What the site calls it.
        identity: The name of the community's server, in one-line form: who signs.
        identity_der: The same in DER.
        issuer: Whose assertions are its own.
        certificates: Those that alone may sign for it; none for any of its name with a path to a trusted CA.
        account: Under which its members work, or None.
        site: What it may speak of here.
        names: How it calls what services call otherwise.
        vo: The VO of its attribute certificates, or empty for none.
        groups: What its groups and roles may do here: attribute certificates say nothing of rights themselves.
        token_issuer: The `iss` of its tokens, or empty for none.
        base_path: What stands before the paths of its tokens.
        certified_tokens: Whether its tokens count only while a certificate of their key is known and trusted.
        withdrawn: Its list of withdrawn capabilities, or None where nobody looks at one.
    """

    name: str
    identity: str
    identity_der: bytes
    issuer: AssertionIssuer
    certificates: tuple[Certificate, ...]
    account: Account | None
    site: SiteRights
    names: Names
    vo: str
    groups: tuple[GroupGrant, ...]
    token_issuer: str
    base_path: tuple[str, ...]
    withdrawn: Withdrawn | None
    certified_tokens: bool = False
