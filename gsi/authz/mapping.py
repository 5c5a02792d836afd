"""Accounts for subjects: the grid-mapfile and the VOMS map as authorizers; `gsi.authz.gridmap` reads their lines.

    [authorizer.map]
    type = "gridmap"                              # file = "/etc/grid-security/grid-mapfile"

    [authorizer.vo-map]
    type = "voms-map"
    file = "voms-grid-mapfile"                    # "/atlas/Role=production" atlasprd

A mapping permits, bound to the obligation to be the account. It speaks of the actions in `actions` only, by default of
`login`: whoever has an account is let in, and what may be done then is for other authorizers to say. `actions = ["*"]`
leaves all of it to the operating system's permissions, as the C services do.

- The account that the client asks for is given if it is among those of its line; if not, there is no answer.
- Only distinguished names that were proven are looked up, never a token's subject that looks like one.
- The VOMS map has the syntax of a grid-mapfile with FQAN patterns in the place of names (`gsi.authz.principals`). The
  subject's FQANs are tried in its order, each against the lines in theirs; the first line that fits counts.
- `.pool` stands for any free account of a pool, leased from then on (`gsi.authz.pool`): under the subject's name, and
  for the VOMS map under name and FQAN, so that another role is another account. Put mappings behind what can deny:
  whoever is denied after having been mapped keeps the lease.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gsi import names
from gsi.authz.decision import Account, Decision, PoolLease, not_applicable, permit
from gsi.authz.gridmap import MAX_GRIDMAP_BYTES, Gridmap, parse_gridmap
from gsi.authz.gridmap_lines import POOL_MARK, parse_line
from gsi.authz.lines import MAX_POLICY_BYTES
from gsi.authz.pool import PoolDirectory
from gsi.authz.principals import FqanPattern, rights_fqans
from gsi.authz.registry import Place, Plugin, is_settled
from gsi.errors import ConfigError, ParseError
from gsi.system.environ import read_locations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.authz.decision import AuthorizationRequest

__all__ = [
    "GRIDMAP_PLUGIN",
    "VOMS_MAP_PLUGIN",
    "GridmapAuthorizer",
    "MapSettings",
    "VomsMapAuthorizer",
    "VomsMapSettings",
    "parse_voms_map",
]

_SHOWN_PROBLEMS: Final = 5
_ACTION: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9_.-]*):)?(\*|[A-Za-z][A-Za-z0-9_.-]*)\Z", re.ASCII)


@lru_cache(maxsize=8192)
def _oneline(name_der: bytes) -> str:
    return names.oneline(name_der)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSettings:
    """What a policy file says of a grid-mapfile.

    Attributes:
        file: The file, relative to the policy file; empty for the place that GRIDMAP or the system's default names.
        actions: For what it speaks: "login", "job:start", "file:*", "*".
        strict: Whether a line that does not mean what it seems to makes the whole file an error.
        gridmap_dir: Directory of pool account leases; empty for GRIDMAPDIR, without which `.pool` maps nobody.
    """

    file: str = ""
    actions: tuple[str, ...] = ("login",)
    strict: bool = False
    gridmap_dir: str = ""

    def __post_init__(self) -> None:
        _parse_actions(self.actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class VomsMapSettings:
    """What a policy file says of a VOMS map.

    Attributes:
        file: The file, relative to the policy file.
        actions: As for `MapSettings`.
        primary_only: Whether only the subject's first FQAN counts.
        gridmap_dir: As for `MapSettings`.
    """

    file: str
    actions: tuple[str, ...] = ("login",)
    primary_only: bool = False
    gridmap_dir: str = ""

    def __post_init__(self) -> None:
        _parse_actions(self.actions)


_Actions = tuple[tuple[str | None, str | None], ...]


def _parse_actions(words: tuple[str, ...]) -> _Actions:
    found: list[tuple[str | None, str | None]] = []
    for word in words:
        match = _ACTION.match(word)
        if match is None:
            raise ParseError(f"{word[:80]!r} is no action", what="action", hint="login, job:start, file:* or *")
        found.append((match[1], None if match[2] == "*" else match[2]))
    if not found:
        raise ParseError("without actions it would never speak", what="action")
    return tuple(found)


class _Mapper:
    """What both authorizers share: the actions they speak of, and the choice of an account."""

    def __init__(self, name: str, actions: tuple[str, ...], pool: PoolDirectory | None) -> None:
        self._name = name
        self._actions = _parse_actions(actions)
        self._pool = pool
        self.may_block = pool is not None
        self._other_action = not_applicable(name, "it maps accounts, and speaks of other actions")

    @property
    def name(self) -> str:
        """What the policy calls it."""
        return self._name

    def _speaks_of(self, request: AuthorizationRequest) -> bool:
        action, kind = request.action.name, request.action.service
        return any((own is None or own == action) and (of is None or of == kind) for of, own in self._actions)

    def _choose(
        self, accounts: tuple[str, ...], request: AuthorizationRequest, who: str, key: str, *, preview: bool
    ) -> Decision:
        """Return the permit for an account out of these, or no answer where the one asked for is none of them."""
        desired = request.environment.desired_account
        if not accounts:
            return not_applicable(self._name, f"{who} maps to nobody")
        if accounts[0].startswith(POOL_MARK):
            return self._choose_leased(accounts[0], desired, who, key, preview=preview)
        if desired is None:
            account = accounts[0]
        elif desired in accounts and not desired.startswith(POOL_MARK):
            account = desired
        else:
            return not_applicable(self._name, f"{who} may not be {desired!r}")
        return permit(self._name, f"{who} is {account}", Account(account))

    def _choose_leased(self, pool: str, desired: str | None, who: str, key: str, *, preview: bool) -> Decision:
        if self._pool is None:
            return not_applicable(self._name, f"{who} maps to the pool {pool}, but there is no gridmap_dir")
        lease = self._pool.find(key)
        if lease is None and desired is not None:
            return not_applicable(self._name, f"{who} has no account of the pool {pool}, so it cannot be {desired!r}")
        if lease is not None and desired not in {None, lease.account}:
            return not_applicable(self._name, f"{who} has {lease.account} of the pool {pool}, not {desired!r}")
        if preview:
            if lease is None:
                return permit(self._name, f"{who} would lease an account of the pool {pool}")
        else:
            lease = self._pool.take(key, pool)
        return permit(self._name, f"{who} has {lease.account} of the pool {pool}", PoolLease(lease.account, lease.name))


class GridmapAuthorizer(_Mapper):
    """Maps names by a grid-mapfile. Safe for several threads."""

    def __init__(
        self, name: str, gridmap: Gridmap, *, actions: tuple[str, ...] = ("login",), pool: PoolDirectory | None = None
    ) -> None:
        """Make it.

        Args:
            name: What the policy calls it.
            gridmap: The grid-mapfile.
            actions: For what it speaks.
            pool: The directory of pool accounts, or None.
        """
        super().__init__(name, actions, pool)
        self._gridmap = gridmap

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Map the subject's name."""
        return self._map(request, preview=False)

    def preview(self, request: AuthorizationRequest) -> Decision:
        """Say what `decide` would, without a new lease."""
        return self._map(request, preview=True)

    def _map(self, request: AuthorizationRequest, *, preview: bool) -> Decision:
        if not self._speaks_of(request):
            return self._other_action
        subject = request.subject
        if not subject.identity_der:
            return not_applicable(self._name, "the subject has no distinguished name")
        dn = _oneline(subject.identity_der)
        return self._choose(self._gridmap.accounts(dn), request, dn, dn, preview=preview)

    def subjects(self) -> Iterator[str]:
        """Yield every name of the file, for `gsi-authz who-can`."""
        for entry in self._gridmap.entries():
            yield entry.dn


class VomsMapAuthorizer(_Mapper):
    """Maps FQANs that were verified. Safe for several threads."""

    def __init__(
        self,
        name: str,
        lines: tuple[tuple[FqanPattern, tuple[str, ...]], ...],
        *,
        actions: tuple[str, ...] = ("login",),
        primary_only: bool = False,
        pool: PoolDirectory | None = None,
    ) -> None:
        """Make it.

        Args:
            name: What the policy calls it.
            lines: Patterns with their accounts, in the order of the file.
            actions: For what it speaks.
            primary_only: Whether only the subject's first FQAN counts.
            pool: The directory of pool accounts, or None.
        """
        super().__init__(name, actions, pool)
        self._lines = lines
        self._primary_only = primary_only

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Map the subject's FQANs.

        Raises:
            ParseError: One of them is none.
        """
        return self._map(request, preview=False)

    def preview(self, request: AuthorizationRequest) -> Decision:
        """Say what `decide` would, without a new lease.

        Raises:
            ParseError: An FQAN of the subject is none.
        """
        return self._map(request, preview=True)

    def _map(self, request: AuthorizationRequest, *, preview: bool) -> Decision:
        if not self._speaks_of(request):
            return self._other_action
        fqans = rights_fqans(request.subject)
        for fqan in fqans[:1] if self._primary_only else fqans:
            for pattern, accounts in self._lines:
                if pattern.matches(fqan):
                    # One lease per user and FQAN, as LCMAPS and Argus: another role is another account.
                    key = f"{request.subject.identity}:{fqan}"
                    return self._choose(accounts, request, f"{fqan} ({pattern.text})", key, preview=preview)
        return not_applicable(
            self._name, "no FQAN of the subject is in the map" if fqans else "the subject has no FQAN"
        )

    def patterns(self) -> Iterator[str]:
        """Yield every pattern of the file, for `gsi-authz who-can`."""
        for pattern, _ in self._lines:
            yield pattern.text


def parse_voms_map(data: bytes, *, path: str) -> Iterator[tuple[FqanPattern, tuple[str, ...]]]:
    """Yield the lines of a VOMS map; `path` is for errors.

    Raises:
        ConfigError: A line does not surely mean what it seems to: unlike a grid-mapfile, none is passed over.
    """
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = parse_line(raw)
        if line is None:
            continue
        if line.dn is None or not line.accounts or line.kind is not None:
            raise ConfigError(line.message or "no account", path=path, line=number)
        try:
            yield FqanPattern(line.dn), line.accounts
        except ParseError as error:
            raise ConfigError(error.message, path=path, line=number, hint=error.hint) from error


def _pool(directory: str, place: Place) -> PoolDirectory | None:
    """Return the directory of pool accounts that is configured, or GRIDMAPDIR's, or None."""
    if directory:
        return PoolDirectory(os.path.join(os.path.dirname(os.path.abspath(place.path)), directory))
    found = read_locations().gridmap_dir
    return PoolDirectory(os.path.abspath(found)) if found else None


def _build_gridmap(name: str, settings: MapSettings, place: Place) -> GridmapAuthorizer:
    path = place.resolve(settings.file or os.path.abspath(read_locations().gridmap))
    begin = time.time_ns()
    if place.files[path] is None:
        place.problems.append(f"{path} does not exist, so nobody is mapped")
        data = b""
    else:
        data = place.read(path, max_bytes=MAX_GRIDMAP_BYTES)[1]
    if data and not data.endswith(b"\n") and not is_settled(place.files[path], begin):
        data = data[: data.rfind(b"\n") + 1]  # perhaps still being written, and a line cut off may name another account
    try:
        gridmap = parse_gridmap(data, strict=settings.strict)
    except ParseError as error:
        raise ConfigError(error.message, path=path, hint=error.hint) from error
    place.problems.extend(f"{path}: {problem}" for problem in gridmap.problems[:_SHOWN_PROBLEMS])
    if gridmap.problem_count > _SHOWN_PROBLEMS:
        place.problems.append(f"{path}: and {gridmap.problem_count - _SHOWN_PROBLEMS} more lines")
    return GridmapAuthorizer(name, gridmap, actions=settings.actions, pool=_pool(settings.gridmap_dir, place))


def _build_voms_map(name: str, settings: VomsMapSettings, place: Place) -> VomsMapAuthorizer:
    path, data = place.read(settings.file, max_bytes=MAX_POLICY_BYTES)
    return VomsMapAuthorizer(
        name,
        tuple(parse_voms_map(data, path=path)),
        actions=settings.actions,
        primary_only=settings.primary_only,
        pool=_pool(settings.gridmap_dir, place),
    )


GRIDMAP_PLUGIN: Final = Plugin(MapSettings, _build_gridmap, "accounts by a grid-mapfile", may_block=False)
VOMS_MAP_PLUGIN: Final = Plugin(VomsMapSettings, _build_voms_map, "accounts by VOMS attributes", may_block=False)
