"""The TOML file that says whom to ask for one service, and its reading into a `Policy`; judges no request.

    order = ["bans", "local"]
    combining = "first-applicable"

    [authorizer.bans]
    type = "ban"
    file = "bans"

    [authorizer.site-rules]
    type = "rules"
    file = "gridftp.rules"

    [authorizer.map]
    type = "gridmap"

    [chain.local]
    order = ["site-rules", "map"]
    combining = "permit-overrides"

It is read as a whole or not at all. What could leave a hole is an error: a name in an order that is not defined, a
table that is in no order (a forgotten ban list), one in two places, a chain without members or within itself.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar, cast

from gsi.authz.combine import Combining
from gsi.authz.policy import DEFAULT_TIME_LIMIT, MAX_DEPTH, Chain, Member, Policy, Source
from gsi.authz.registry import Place, find_authorizer_type, find_source_type, is_settled, stamp_of
from gsi.errors import ConfigError, GridError
from gsi.system.config import Table, bind, nearest, option, parse_table, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gsi.authz.decision import AttributeSource, Authorizer
    from gsi.authz.registry import Plugin, SourcePlugin, Stamp

__all__ = ["LoadedPolicy", "PolicySettings", "load_policy", "parse_policy"]

MAX_MEMBERS: Final = 64
"""The most authorizers of one policy; a site has five."""

T = TypeVar("T")

_LIMIT: Final = timedelta(seconds=DEFAULT_TIME_LIMIT)
_SHORTEST: Final = timedelta(milliseconds=1)
_LONGEST: Final = timedelta(minutes=1)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z", re.ASCII)
_TABLES: Final = frozenset({"authorizer", "chain", "source"})
_OWN_KEYS: Final = frozenset({"type", "time_limit"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """The keys at the top of a policy file.

    Attributes:
        order: Authorizers and chains to ask, by name.
        combining: How their verdicts become one.
        sources: Attribute sources to ask before them, by name.
        time_limit: How long each may take, unless its table says otherwise.
        allow_root: Whether a permit may name the account root or the uid 0.
        record: File of recent decisions for `gsi-authz explain`; empty for none.
        service: The service that the policy is for; when it is given, the one that loads it must be that.
    """

    order: tuple[str, ...]
    combining: Combining = Combining.FIRST_APPLICABLE
    sources: tuple[str, ...] = ()
    time_limit: timedelta = option(_LIMIT, minimum=_SHORTEST, maximum=_LONGEST)
    allow_root: bool = False
    record: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChainSettings:
    order: tuple[str, ...]
    combining: Combining = Combining.FIRST_APPLICABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class _MemberSettings:
    type: str
    time_limit: timedelta | None = option(None, minimum=_SHORTEST, maximum=_LONGEST)


@dataclass(frozen=True, slots=True)
class _Built:
    """An authorizer or source with what it was made of, to be kept when none of that changes."""

    kind: str
    settings: object
    files: Mapping[str, Stamp]
    problems: tuple[str, ...]
    made: Authorizer | AttributeSource
    is_settled: bool

    def is_current(self, kind: str, settings: object) -> bool:
        """Say whether it would be made the same again."""
        if not self.is_settled or (kind, settings) != (self.kind, self.settings):
            return False
        return all(stamp_of(path) == stamp for path, stamp in self.files.items())


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy with what is known about its file.

    Attributes:
        policy: Whom to ask.
        settings: The keys at its top.
        record: The absolute name of the file of recent decisions, or empty.
        files: The policy file and every file that its authorizers read, each as it was before it was read.
        problems: What is odd without being an error.
        built: The authorizers and sources, by name.
    """

    policy: Policy
    settings: PolicySettings
    record: str
    files: Mapping[str, Stamp]
    problems: tuple[str, ...]
    built: Mapping[str, _Built]


def load_policy(place: Place, *, previous: LoadedPolicy | None = None) -> LoadedPolicy:
    """Read a policy file and the files its authorizers name.

    Args:
        place: The file, which must not be writable by others, and who loads it. Its `files` are filled even when this
            fails.
        previous: What was read before: authorizers of which nothing has changed are taken over.

    Raises:
        ConfigError: Anything in it that is not understood; nothing of it is then in force.
    """
    place.resolve(os.path.basename(place.path))
    return _Loader(read_table(place.path, check_writers=True), place, previous).load()


def parse_policy(data: bytes, place: Place) -> LoadedPolicy:
    """Read the bytes of a policy file; the place is for errors and for the files it names.

    Raises:
        ConfigError: As for `load_policy`.
    """
    return _Loader(parse_table(data, path=place.path), place, None).load()


class _Loader:
    """One reading of one file."""

    def __init__(self, table: Table, place: Place, previous: LoadedPolicy | None) -> None:
        self._table = table
        self._place = place
        self._previous = previous.built if previous else {}
        self._built: dict[str, _Built] = {}
        self._chains: dict[str, Table] = {}
        self._authorizers: dict[str, Table] = {}
        self._sources: dict[str, Table] = {}
        self._used: set[str] = set()
        self._time_limit = _LIMIT

    def load(self) -> LoadedPolicy:
        table = self._table
        settings = bind(table, PolicySettings, ignore=_TABLES)
        self._time_limit = settings.time_limit
        self._chains = table.tables("chain")
        self._authorizers = table.tables("authorizer")
        self._sources = table.tables("source")
        if settings.service and self._place.service and settings.service != self._place.service:
            table.refuse(f"the policy is for {settings.service!r}, not for {self._place.service!r}", "service")
        self._check_names()
        root = self._chain("policy", table, settings.order, settings.combining, 0)
        sources = tuple(self._source(name, index) for index, name in enumerate(settings.sources))
        self._check_all_used()
        return LoadedPolicy(
            policy=Policy(root, sources, settings.allow_root, table.path),
            settings=settings,
            record=os.path.join(os.path.dirname(os.path.abspath(table.path)), settings.record)
            if settings.record
            else "",
            files=dict(self._place.files),
            problems=tuple(self._place.problems),
            built=self._built,
        )

    def _check_names(self) -> None:
        seen: set[str] = {"policy", "engine"}
        for kind, tables in (("authorizer", self._authorizers), ("chain", self._chains), ("source", self._sources)):
            for name, table in tables.items():
                if not _NAME.match(name):
                    table.refuse(f"{name[:80]!r} is no name", hint="letters, digits, - and _")
                if name in seen:
                    table.refuse(
                        f"the name {name!r} is taken", hint="authorizers, chains and sources share their names"
                    )
                seen.add(name)
            if len(tables) > MAX_MEMBERS:
                self._table.refuse(f"more than {MAX_MEMBERS} tables [{kind}.*]", kind)

    def _check_all_used(self) -> None:
        for kind, tables in (("authorizer", self._authorizers), ("chain", self._chains), ("source", self._sources)):
            for name, table in tables.items():
                if name not in self._used:
                    where = "sources" if kind == "source" else "an order"
                    table.refuse(f"[{kind}.{name}] is defined, but in {where} it is not", hint="add it, or remove it")

    def _use(self, name: str, table: Table, key: str, index: int) -> None:
        if name in self._used:
            table.refuse(f"{name!r} is in more than one place", key, index)
        self._used.add(name)

    def _chain(self, name: str, table: Table, order: tuple[str, ...], combining: Combining, depth: int) -> Chain:
        if depth >= MAX_DEPTH:
            table.refuse(f"chains nest deeper than {MAX_DEPTH}")
        if not order:
            table.refuse("the order is empty: nobody would be asked", "order")
        members: list[Member | Chain] = []
        for index, each in enumerate(order):
            self._use(each, table, "order", index)
            if each in self._authorizers:
                members.append(self._member(each))
            elif each in self._chains:
                inner = self._chains[each]
                settings = bind(inner, _ChainSettings)
                members.append(self._chain(each, inner, settings.order, settings.combining, depth + 1))
            else:
                known = {*self._authorizers, *self._chains}
                table.refuse(
                    f"there is no [authorizer.{each}] and no [chain.{each}]", "order", index, hint=nearest(each, known)
                )
        return Chain(name, combining, tuple(members))

    def _member(self, name: str) -> Member:
        table = self._authorizers[name]
        own = _own_settings(table)
        plugin = _located(table, lambda: find_authorizer_type(own.type))
        authorizer = cast("Authorizer", self._build(name, table, own.type, plugin))
        return Member(authorizer, (own.time_limit or self._time_limit).total_seconds(), _may_block(authorizer, plugin))

    def _source(self, name: str, index: int) -> Source:
        self._use(name, self._table, "sources", index)
        table = self._sources.get(name)
        if table is None:
            hint = nearest(name, self._sources)
            self._table.refuse(f"there is no [source.{name}]", "sources", index, hint=hint)
        own = _own_settings(table)
        plugin = _located(table, lambda: find_source_type(own.type))
        source = cast("AttributeSource", self._build(name, table, own.type, plugin))
        return Source(source, (own.time_limit or self._time_limit).total_seconds(), _may_block(source, plugin))

    def _build(
        self, name: str, table: Table, kind: str, plugin: Plugin[object] | SourcePlugin[object]
    ) -> Authorizer | AttributeSource:
        """Make an authorizer or source, or take over the one that is there."""
        settings = bind(table, plugin.settings, ignore=_OWN_KEYS)
        old = self._previous.get(name)
        if old is None or not old.is_current(kind, settings):
            place = Place(self._place.path, self._place.service)
            begin = time.time_ns()
            try:
                made = _located(table, lambda: plugin.build(name, settings, place))
            finally:
                self._place.files.update(place.files)
            settled = all(is_settled(stamp, begin) for stamp in place.files.values())
            old = _Built(kind, settings, place.files, tuple(place.problems), made, settled)
        self._place.files.update(old.files)
        self._place.problems.extend(f"{name}: {problem}" for problem in old.problems)
        self._built[name] = old
        return old.made


def _own_settings(table: Table) -> _MemberSettings:
    others = frozenset(table.values) - _OWN_KEYS
    return bind(table, _MemberSettings, ignore=others)


def _may_block(made: object, plugin: Plugin[object] | SourcePlugin[object]) -> bool:
    """Say whether this one can block; some of its kind may and others not."""
    return bool(getattr(made, "may_block", plugin.may_block))


def _located(table: Table, body: Callable[[], T]) -> T:
    """Call what belongs to a table, and give an error without a place the table's.

    Raises:
        ConfigError: The body raised one, or any other error; a plug-in's exceptions never leave this room.
    """
    try:
        return body()
    except ConfigError as error:
        if error.path is None:
            table.refuse(error.message, hint=error.hint)
        raise
    except GridError as error:
        table.refuse(error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001  a plug-in's defect
        table.refuse(f"the plug-in failed with {type(error).__name__}: {error}")
