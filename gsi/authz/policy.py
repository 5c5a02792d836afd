"""A policy as the engine carries it out: authorizers in chains; values without behaviour.

`gsi.authz.policyfile` makes them from a file; a program can put its own together:

    Policy(Chain("policy", Combining.DENY_OVERRIDES, (Member(bans), Member(gridmap))), sources=(Source(groups),))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.authz.combine import Combining
    from gsi.authz.decision import AttributeSource, Authorizer

__all__ = ["DEFAULT_TIME_LIMIT", "MAX_DEPTH", "Chain", "Member", "Policy", "Source"]

DEFAULT_TIME_LIMIT: Final = 5.0
"""Seconds that an authorizer may take: clients wait for a minute, and ten directory look-ups take a tenth of this."""

MAX_DEPTH: Final = 8
"""How deep chains may nest: a policy that needs more than three is not understood by its author."""


@dataclass(frozen=True, slots=True)
class Member:
    """An authorizer in its place.

    Attributes:
        authorizer: Whom to ask.
        time_limit: Seconds after which its answer counts as INDETERMINATE.
        may_block: Whether it can wait for a disk, a server or another program: then it is asked in a thread of its own,
            so that the time limit holds; others are asked in place, and their answer is thrown away when late.
    """

    authorizer: Authorizer
    time_limit: float = DEFAULT_TIME_LIMIT
    may_block: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """An attribute source in its place; time limit and blocking as for `Member`."""

    source: AttributeSource
    time_limit: float = DEFAULT_TIME_LIMIT
    may_block: bool = True


@dataclass(frozen=True, slots=True)
class Chain:
    """Members asked in order, and how their verdicts become one.

    Raises:
        ConfigError: There are no members: nobody would be asked.
    """

    name: str
    combining: Combining
    members: tuple[Member | Chain, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ConfigError(f"the chain {self.name!r} has no members")

    def walk(self) -> Iterator[Member]:
        """Yield every authorizer of the chain and the chains in it, in order."""
        for member in self.members:
            if isinstance(member, Chain):
                yield from member.walk()
            else:
                yield member


@dataclass(frozen=True, slots=True)
class Policy:
    """Whom to ask, in what order.

    Attributes:
        root: The outermost chain.
        sources: Attribute sources, asked first, each seeing what the ones before it added.
        allow_root: Whether a permit may name the account root or the uid 0.
        path: The file it was read from, or empty.
    """

    root: Chain
    sources: tuple[Source, ...] = ()
    allow_root: bool = False
    path: str = ""

    @property
    def may_block(self) -> bool:
        """Whether a decision can wait for anything outside the process."""
        return any(source.may_block for source in self.sources) or any(m.may_block for m in self.root.walk())
