"""When and for whom a statement holds: validity window, limited proxies, strength of authentication; reads no clock.

terms = Terms(not_after=end_of_shift, proxies=Proxies.FULL, strength=Strength.HIGH)
terms.holds(Circumstances(now=now, limited=False, strength=Strength.MEDIUM), is_denial=False)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Final

from gsi.errors import ParseError

__all__ = ["ALWAYS", "Circumstances", "Proxies", "Strength", "Terms"]

_MAX_SECONDS: Final = 253_402_300_799  # the end of the year 9999, behind which datetime cannot go


class Strength(IntEnum):
    """How sure one may be of who somebody is.

    A trust anchor has one for all whom it certifies; a service that knows more of one peer may say so.
    """

    NONE = 0
    """Nothing is asked for."""
    LOW = 1
    """A name that stays the same person's, who was not identified (IGTF DOGWOOD)."""
    MEDIUM = 2
    """A person who was identified (IGTF ASPEN, BIRCH, CEDAR)."""
    HIGH = 3
    """The same, and with a second factor or a key in hardware."""


class Proxies(StrEnum):
    """With what kind of proxy a statement holds."""

    ANY = "any"
    FULL = "full"
    """Only where no limited proxy is in the chain."""
    LIMITED = "limited"
    """Only where one is."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under which somebody asks.

    Attributes:
        now: The time (aware UTC).
        limited: Whether a limited proxy is in the chain.
        strength: How the peer was authenticated.
    """

    now: datetime
    limited: bool = False
    strength: Strength = Strength.MEDIUM


@dataclass(frozen=True, slots=True)
class Terms:
    """When and for whom a statement holds; whole seconds.

    Attributes:
        not_before: From when (aware UTC), or None.
        not_after: Until when, exclusive (aware UTC), or None.
        proxies: With what kind of proxy.
        strength: A permit holds for whoever is authenticated at least so; a denial for whoever is less; NONE for all.
    """

    not_before: datetime | None = None
    not_after: datetime | None = None
    proxies: Proxies = Proxies.ANY
    strength: Strength = Strength.NONE

    def __post_init__(self) -> None:
        for field in ("not_before", "not_after"):
            moment = getattr(self, field)
            if moment is None:
                continue
            if moment.tzinfo is None:
                raise ParseError("a time without time zone", what="validity window")
            object.__setattr__(self, field, moment.astimezone(UTC).replace(microsecond=0))
        if self.not_before is not None and self.not_after is not None and self.not_before >= self.not_after:
            raise ParseError("the validity window ends before it begins", what="validity window")

    def holds(self, circumstances: Circumstances, *, is_denial: bool) -> bool:
        """Say whether a statement holds now and for this peer."""
        return self.is_current(circumstances.now) and self.suits(circumstances, is_denial=is_denial)

    def is_current(self, now: datetime) -> bool:
        """Say whether now is in the window."""
        if self.not_before is not None and now < self.not_before:
            return False
        return self.not_after is None or now < self.not_after

    def suits(self, circumstances: Circumstances, *, is_denial: bool) -> bool:
        """Say whether the peer is one of those for whom it holds, whatever the time."""
        if self.proxies is not Proxies.ANY and (self.proxies is Proxies.LIMITED) is not circumstances.limited:
            return False
        if self.strength is Strength.NONE:
            return True
        return (circumstances.strength >= self.strength) is not is_denial

    def reaches(self, other: Terms) -> bool:
        """Say whether these hold for as long as others, and for all peers for whom they do; of permits."""
        if self.not_after is not None and (other.not_after is None or other.not_after > self.not_after):
            return False
        return self.proxies in {Proxies.ANY, other.proxies} and self.strength <= other.strength

    def encode(self) -> tuple[int | None, int | None, str, int]:
        """Return it as plain values: Unix seconds, words, numbers."""
        return _seconds(self.not_before), _seconds(self.not_after), self.proxies.value, int(self.strength)

    @classmethod
    def decode(cls, not_before: int | None, not_after: int | None, proxies: str, strength: int) -> Terms:
        """Return what `encode` made.

        Raises:
            ParseError: These are no terms.
        """
        try:
            return cls(_moment(not_before), _moment(not_after), Proxies(proxies), Strength(strength))
        except ValueError as error:
            raise ParseError(f"no terms of a statement: {error}", what="statement") from error

    def __str__(self) -> str:
        words = []
        if self.not_before is not None:
            words.append(f"from {self.not_before:%Y-%m-%dT%H:%M:%SZ}")
        if self.not_after is not None:
            words.append(f"until {self.not_after:%Y-%m-%dT%H:%M:%SZ}")
        if self.proxies is not Proxies.ANY:
            words.append(f"with {self.proxies.value} proxies")
        if self.strength is not Strength.NONE:
            words.append(f"at strength {self.strength.name.lower()}")
        return " ".join(words)


ALWAYS: Final = Terms()
"""At any time and for everyone."""


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _moment(seconds: int | None) -> datetime | None:
    if seconds is None:
        return None
    if not 0 <= seconds <= _MAX_SECONDS:
        raise ParseError("a time that is out of range", what="validity window")
    return datetime.fromtimestamp(seconds, UTC)
