r"""The grammar of the rules file, one rule per line; what a rule does to a request is the subject of `gsi.authz.rules`.

    permit dn "/O=Grid/CN=Alice Adams" to read, lookup on /data/alice/**
    permit fqan /atlas/Role=production to read, write, create on ftp://*/data/atlas/** as atlasprd
    permit group staff to job:start service jobmanager-* during "Mon-Fri 08:00-18:00 Europe/Zurich"
    deny   dn-like "/O=Grid/OU=Former/**"       because "left the collaboration"
    deny   anyone to delete on /data/archive/** proxy limited

A rule is `permit` or `deny` and clauses, each a keyword and values separated by commas. Several values of a clause mean
any of them, several clauses all of them.

| clause | holds when |
|---|---|
| `anyone` | always, also for an anonymous subject |
| `authenticated` | the subject has an identity |
| `dn` NAME | the identity is this name |
| `dn-like` PATTERN | the identity fits: `*` within a part, a final `/**` for any further parts |
| `fqan` PATTERN | a VOMS attribute fits: `*` within a part, a final `/*` for one or more further parts, `/**` for any |
| `group` NAME | the subject is in the group; `*` is any text |
| `issuer` NAME | the subject's CA, or token issuer, is this |
| `to` ACTION | the action is `read`, `file:read`, `file:*` or `*` |
| `on` RESOURCE | the resource fits (gsi.authz.resources) |
| `proxy` KIND | the chain is `none`, `full`, `limited`, `restricted`, `independent`; `any` |
| `by` METHOD | the subject was authenticated by `x509`, `token`, `kerberos`, `password`, ... |
| `service` GLOB, `host` GLOB | the service, the host is one of these |
| `from` NETWORK | the client's address is in the network (`192.0.2.0/24`) |
| `during` TIMES | it is within `[DAY[-DAY]] HH:MM-HH:MM [ZONE]`; UTC without a zone |
| `after` TIME, `before` TIME | it is that time or later; earlier |

and for permits, what they are bound to: `as` ACCOUNT, `ids` UID:GID[:GID...], `role` ROLE, `lot` LOT, `quota`
SIZE[:SPACE]. `because` gives the reason that is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import (
    Account,
    DatabaseRole,
    Effect,
    Obligation,
    PosixIds,
    StorageLot,
    StorageQuota,
)
from gsi.authz.lines import Clause, Line, clauses, read_lines
from gsi.authz.principals import FqanPattern, Glob, NamePattern, parse_dn, plain_host
from gsi.authz.resources import ResourcePattern
from gsi.errors import ParseError
from gsi.proxy.kinds import ProxyKind
from gsi.system.config import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import tzinfo
    from ipaddress import IPv4Network, IPv6Network

__all__ = ["KEYWORDS", "Rule", "Window", "parse_rule", "parse_rules"]

_WHO: Final = frozenset({"anyone", "authenticated", "dn", "dn-like", "fqan", "group", "issuer"})
_BOUND: Final = frozenset({"as", "ids", "role", "lot", "quota"})
_CONDITIONS: Final = frozenset(
    {"to", "on", "proxy", "by", "service", "host", "from", "during", "after", "before", "because"}
)
KEYWORDS: Final = _WHO | _BOUND | _CONDITIONS

_WITHOUT_VALUE: Final = frozenset({"anyone", "authenticated"})
_ONE_VALUE: Final = _BOUND - {"quota"} | {"after", "before", "because"}
_ACTION: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9_.-]*):)?(\*|[A-Za-z][A-Za-z0-9_.-]*)\Z", re.ASCII)
_WINDOW: Final = re.compile(
    r"(?:([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))? +)?(\d\d):(\d\d)-(\d\d):(\d\d)(?: +(\S+))?\Z", re.ASCII
)
_SIZE: Final = re.compile(r"(\d{1,15})([KMGTP]?)(?::(.+))?\Z", re.ASCII)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_PROXIES: Final = {"none": None, **{str(kind.value): kind for kind in ProxyKind}}


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of a day on some days of the week. One that ends before it begins goes on into the next day.

    Attributes:
        days: 0 for Monday to 6 for Sunday, of the day on which it begins.
        begin: Included.
        end: Excluded; midnight is the end of the day.
        zone: Whose clock.
    """

    days: frozenset[int]
    begin: time
    end: time
    zone: tzinfo

    def holds(self, now: datetime) -> bool:
        """Say whether the time is within."""
        local = now.astimezone(self.zone)
        clock, day = local.time(), local.weekday()
        if self.begin < self.end or self.end == time():
            return day in self.days and self.begin <= clock and (self.end == time() or clock < self.end)
        return (day in self.days and clock >= self.begin) or ((day - 1) % 7 in self.days and clock < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. An empty tuple, or None, means that the clause is absent.

    Attributes:
        line: Where it stands.
        effect: PERMIT or DENY.
        anyone: Whether it holds for everybody, anonymous or not.
        authenticated: Whether it holds for everybody with an identity.
        names: Identities, as DER, or as text where they are no distinguished names.
        name_patterns: Patterns of names; for a denial they are globs over skeletons.
        fqans: Patterns of VOMS attributes.
        groups: Globs of groups.
        issuers: Names of CAs or issuers, as `names`.
        actions: Pairs of service type (None for any) and action (None for any).
        resources: Patterns of resources.
        proxies: Kinds of chains, None for one without proxy; None for any (but see `gsi.authz.rules`).
        methods: Ways of authentication.
        services: Globs of services.
        hosts: Globs of hosts, as `plain_host` writes them.
        networks: Networks of the client.
        windows: Times of the week.
        after: The first moment.
        before: The moment it ends.
        obligations: What a permit is bound to.
        because: The reason, or empty.
    """

    line: int
    effect: Effect
    anyone: bool = False
    authenticated: bool = False
    names: tuple[bytes | str, ...] = ()
    name_patterns: tuple[str, ...] = ()
    fqans: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    issuers: tuple[bytes | str, ...] = ()
    actions: tuple[tuple[str | None, str | None], ...] = ()
    resources: tuple[ResourcePattern, ...] = ()
    proxies: frozenset[ProxyKind | None] | None = None
    methods: frozenset[str] = frozenset()
    services: tuple[Glob, ...] = ()
    hosts: tuple[Glob, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    windows: tuple[Window, ...] = ()
    after: datetime | None = None
    before: datetime | None = None
    obligations: tuple[Obligation, ...] = ()
    because: str = ""


def parse_rules(data: bytes, *, path: str) -> Iterator[Rule]:
    """Yield the rules of a file; `path` is for errors.

    Raises:
        ConfigError: A line does not follow the grammar.
    """
    for line in read_lines(data, path=path):
        yield parse_rule(line)


def parse_rule(line: Line) -> Rule:
    """Return the rule of one line.

    Raises:
        ConfigError: It does not follow the grammar.
    """
    first = line.words[0]
    if first is None or first.is_quoted or first.text not in {"permit", "deny"}:
        shown = "" if first is None else first.text[:80]
        line.refuse(f"a rule begins with permit or deny, not {shown!r}", hint=nearest(shown, ("permit", "deny")))
    effect = Effect(first.text)
    found: dict[str, object] = {}
    obligations: list[Obligation] = []
    seen: set[str] = set()
    for clause in clauses(line, line.words[1:], KEYWORDS):
        if clause.keyword in seen:
            line.refuse(f"{clause.keyword} is there twice", line=clause.line, hint="separate its values by commas")
        seen.add(clause.keyword)
        _check_count(line, clause)
        try:
            if clause.keyword in _BOUND:
                obligations += _OBLIGATIONS[clause.keyword](clause)
            else:
                name, convert = _CLAUSES[clause.keyword]
                found[name] = convert(clause)
        except (ParseError, ValueError, OverflowError) as error:
            hint = error.hint if isinstance(error, ParseError) else None
            line.refuse(f"{clause.keyword}: {error}", line=clause.line, hint=hint)
    _check_whole(line, effect, seen)
    return Rule(line=line.number, effect=effect, obligations=tuple(obligations), **found)  # type: ignore[arg-type]  # the table below gives each field its type


def _check_count(line: Line, clause: Clause) -> None:
    if clause.keyword in _WITHOUT_VALUE:
        if clause.values:
            line.refuse(f"{clause.keyword} takes no value", line=clause.line)
    elif not clause.values:
        line.refuse(f"{clause.keyword} needs a value", line=clause.line)
    elif len(clause.values) > 1 and clause.keyword in _ONE_VALUE:
        line.refuse(f"{clause.keyword} takes one value", line=clause.line)


def _check_whole(line: Line, effect: Effect, seen: set[str]) -> None:
    if not seen & _WHO:
        hint = "anyone, authenticated, dn, dn-like, fqan, group or issuer"
        line.refuse("the rule does not say for whom it is", hint=hint)
    if "anyone" in seen and seen & (_WHO - {"anyone"}):
        line.refuse("anyone goes with no other subject")
    if effect is Effect.PERMIT and "to" not in seen:
        line.refuse("the permit does not say what for", hint="to read, lookup; or: to *")
    if effect is Effect.DENY and seen & _BOUND:
        line.refuse(f"{min(seen & _BOUND)} goes with permits only")


# --- clauses ----------------------------------------------------------------------------------------------------------


def _identity(text: str) -> bytes | str:
    """Read a name: DER, or the text of an identity of another kind (an issuer's URL, a principal)."""
    if text.startswith("/") or ("=" in text and "://" not in text and "@" not in text.partition("=")[0]):
        return parse_dn(text)
    if not text:
        raise ParseError("an empty name", what="name")
    return text


def _name_pattern(text: str) -> str:
    NamePattern(text)
    return text


def _fqan(text: str) -> str:
    FqanPattern(text)
    return text


def _group(text: str) -> str:
    if not text:
        raise ParseError("an empty name", what="group")
    return text


def _action(text: str) -> tuple[str | None, str | None]:
    found = _ACTION.match(text)
    if found is None:
        raise ParseError(f"{text[:80]!r} is no action", what="action", hint="read, file:read, file:* or *")
    return found[1], None if found[2] == "*" else found[2]


def _proxies(clause: Clause) -> frozenset[ProxyKind | None] | None:
    kinds: set[ProxyKind | None] = set()
    for word in clause.values:
        if word == "any":
            return frozenset({None, *ProxyKind})
        if word not in _PROXIES:
            raise ParseError(f"{word[:80]!r} is no kind of proxy", what="proxy", hint=nearest(word, [*_PROXIES, "any"]))
        kinds.add(_PROXIES[word])
    return frozenset(kinds)


def _network(text: str) -> IPv4Network | IPv6Network:
    from ipaddress import ip_network

    return ip_network(text)


def _moment(clause: Clause) -> datetime:
    found = datetime.fromisoformat(clause.values[0])
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _window(text: str) -> Window:
    found = _WINDOW.match(text)
    if found is None:
        raise ParseError(f"{text[:80]!r} is no time of the week", what="times", hint='"Mon-Fri 08:00-18:00 UTC"')
    first, last, *numbers, zone_name = found.groups()
    days = frozenset(range(7))
    if first is not None:
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        days = frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    hours = [int(number) for number in numbers]
    midnight = hours[2:] == [24, 0]
    start, stop = time(hours[0], hours[1]), time() if midnight else time(hours[2], hours[3])
    if start == stop and not midnight:
        raise ParseError("the times begin and end at once", what="times", hint="00:00-24:00 is the whole day")
    return Window(days, start, stop, _zone(zone_name))


def _zone(name: str | None) -> tzinfo:
    if name in {None, "UTC", "Z"}:
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name or "")
    except (OSError, ValueError, KeyError) as error:
        raise ParseError(f"unknown time zone {name!r}", what="times", hint="UTC, or like Europe/Zurich") from error


def _each(convert: Callable[[str], object]) -> Callable[[Clause], tuple[object, ...]]:
    return lambda clause: tuple(convert(value) for value in clause.values)


_CLAUSES: Final[dict[str, tuple[str, Callable[[Clause], object]]]] = {
    "anyone": ("anyone", lambda _: True),
    "authenticated": ("authenticated", lambda _: True),
    "dn": ("names", _each(_identity)),
    "dn-like": ("name_patterns", _each(_name_pattern)),
    "fqan": ("fqans", _each(_fqan)),
    "group": ("groups", _each(_group)),
    "issuer": ("issuers", _each(_identity)),
    "to": ("actions", _each(_action)),
    "on": ("resources", _each(ResourcePattern)),
    "proxy": ("proxies", _proxies),
    "by": ("methods", lambda clause: frozenset(clause.values)),
    "service": ("services", _each(Glob)),
    "host": ("hosts", _each(lambda text: Glob(plain_host(text)))),
    "from": ("networks", _each(_network)),
    "during": ("windows", _each(_window)),
    "after": ("after", _moment),
    "before": ("before", _moment),
    "because": ("because", lambda clause: clause.values[0]),
}


def _ids(clause: Clause) -> list[Obligation]:
    numbers = clause.values[0].split(":")
    if len(numbers) < 2 or not all(number.isascii() and number.isdigit() and len(number) <= 10 for number in numbers):
        raise ParseError(f"{clause.values[0][:80]!r} is not UID:GID[:GID...]", what="ids")
    uid, gid, *others = (int(number) for number in numbers)
    return [PosixIds(uid, gid, tuple(others))]


def _quotas(clause: Clause) -> list[Obligation]:
    found: list[Obligation] = []
    for value in clause.values:
        match = _SIZE.match(value)
        if match is None:
            raise ParseError(f"{value[:80]!r} is no quota", what="quota", hint="a number with K, M, G, T or P: 500G")
        size = int(match[1]) << (10 * " KMGTP".index(match[2] or " "))
        found.append(StorageQuota(match[3] or "", size))
    return found


_OBLIGATIONS: Final[dict[str, Callable[[Clause], list[Obligation]]]] = {
    "as": lambda clause: [Account(clause.values[0])],
    "ids": _ids,
    "role": lambda clause: [DatabaseRole(clause.values[0])],
    "lot": lambda clause: [StorageLot(clause.values[0])],
    "quota": _quotas,
}
