r"""The ban list: who is refused whatever any other rule says. It permits nobody.

    # gsi-authz.d/bans
    dn "/O=Grid/CN=Mallory"                              because "stolen key, ticket 4711"
    dn "/O=Former Lab/**"                                # and all below
    issuer "/O=Grid/CN=Compromised CA"                   # everybody it, or a CA below it, has issued
    serial "/O=Grid/CN=CA" 0x1f4a                        # one certificate: issuer and serial number
    fqan /vo/Role=pilot                                  # patterns as in the rules file
    group suspended
    address 192.0.2.0/24                                 until 2027-01-31T12:00
    "/O=Grid/CN=Old Style"                               # a name alone is a banned dn, as in LCAS' ban_users.db

Names are compared by skeletons (gsi.authz.principals), so that no spelling and no kind of proxy evades a ban; `*`
stands for any characters, slashes included. A client whose address the service does not know is in no network. A
missing or malformed file is an error, not an empty list.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.authz.decision import Decision, deny, not_applicable
from gsi.authz.lines import MAX_POLICY_BYTES, Line, Word, clauses, read_lines
from gsi.authz.principals import (
    FqanPattern,
    Glob,
    issuer_skeletons,
    normal_fqan,
    parse_dn,
    skeleton,
    skeleton_text,
    skeletons,
)
from gsi.authz.registry import Place, Plugin
from gsi.errors import ParseError
from gsi.system.config import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Network, IPv6Network

    from gsi.authz.decision import AuthorizationRequest

__all__ = ["PLUGIN", "Ban", "BanKind", "BanListAuthorizer", "BanSettings", "parse_bans"]

_KINDS: Final = frozenset({"dn", "issuer", "serial", "fqan", "group", "address"})
_OPTIONS: Final = frozenset({"because", "until"})
_MAX_SERIAL: Final = 1 << 256
"""Serial numbers have 160 bits by RFC 5280; some CAs took more."""

BanKind = str


class Ban(NamedTuple):
    """One line of a ban list.

    Attributes:
        line: Where it stands.
        kind: "dn", "issuer", "serial", "fqan", "group" or "address".
        text: What is banned: a skeleton or a glob over such for "dn" and "issuer" and for the issuer of a "serial".
        serial: The number for "serial".
        until: When the ban ends (aware UTC), or None.
        because: The reason, or empty.
    """

    line: int
    kind: BanKind
    text: str
    serial: int = 0
    until: datetime | None = None
    because: str = ""


def parse_bans(data: bytes, *, path: str) -> Iterator[Ban]:
    """Yield the bans of a file; `path` is for errors.

    Raises:
        ConfigError: A line does not follow the grammar.
    """
    for line in read_lines(data, path=path):
        yield from _parse_line(line)


def _parse_line(line: Line) -> Iterator[Ban]:
    first = line.words[0]
    if first is None:
        line.refuse("a comma without a value before it")
    kind, values, rest = first.text, [word for word in line.words[1:2] if word is not None], line.words[2:]
    if first.is_quoted or first.text.startswith("/"):
        kind, values, rest = "dn", [first], line.words[1:]
    if kind not in _KINDS:
        line.refuse(f"{kind[:80]!r} cannot be banned", hint=nearest(kind, _KINDS))
    if not values:
        line.refuse(f"{kind} needs a value")
    serial = 0
    if kind == "serial":
        serial, rest = _serial(line, rest[0] if rest else None), rest[1:]
    until, because = _options(line, rest)
    try:
        for text in _texts(kind, values[0].text):
            yield Ban(line.number, kind, text, serial, until, because)
    except (ParseError, ValueError) as error:
        line.refuse(f"{kind}: {error}", hint=error.hint if isinstance(error, ParseError) else None)


def _serial(line: Line, word: Word | None) -> int:
    try:
        number = int(word.text.replace(":", ""), 0 if word.text.lower().startswith("0x") else 10) if word else -1
    except ValueError:
        number = -1
    if not 0 <= number < _MAX_SERIAL:
        line.refuse("serial needs an issuer and a number", hint='serial "/O=Grid/CN=CA" 0x1f4a')
    return number


def _options(line: Line, words: tuple[Word | None, ...]) -> tuple[datetime | None, str]:
    until, because = None, ""
    for clause in clauses(line, words, _OPTIONS):
        if len(clause.values) != 1:
            line.refuse(f"{clause.keyword} takes one value", line=clause.line)
        if clause.keyword == "because":
            because = clause.values[0]
            continue
        try:
            until = datetime.fromisoformat(clause.values[0])
            until = until.replace(tzinfo=UTC) if until.tzinfo is None else until.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            line.refuse(f"until: {error}", line=clause.line, hint="like 2027-01-31 or 2027-01-31T12:00")
    return until, because


def _texts(kind: BanKind, text: str) -> Iterator[str]:
    match kind:
        case "dn" | "issuer" | "serial":
            deep = text.endswith("/**")
            base = _skeleton_of(text.removesuffix("/**") if deep else text)
            yield base
            if deep:
                yield f"{base}/*"
        case "fqan":
            FqanPattern(text)
            yield text
        case "group":
            if not text:
                raise ParseError("an empty name", what="group")
            yield skeleton_text(text)
        case _:
            from ipaddress import ip_network

            yield str(ip_network(text))


def _skeleton_of(text: str) -> str:
    """Return the skeleton of a name, or of an identity of another kind."""
    is_name = text.startswith("/") or ("=" in text and "://" not in text)
    if not text or text.strip("/*") == "":
        raise ParseError("a ban of everybody", what="ban", hint="an order without any permit refuses everybody")
    return skeleton(parse_dn(text)) if is_name else skeleton_text(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class BanSettings:
    """What a policy file says of a ban list.

    Attributes:
        file: The file, relative to the policy file.
    """

    file: str


class _Names:
    """Banned skeletons: those without `*` by look-up, the others one by one."""

    __slots__ = ("exact", "globs")

    def __init__(self) -> None:
        self.exact: dict[str, list[Ban]] = {}
        self.globs: list[tuple[Glob, Ban]] = []

    def add(self, ban: Ban) -> None:
        glob = Glob(ban.text)
        if glob.is_literal:
            self.exact.setdefault(ban.text, []).append(ban)
        else:
            self.globs.append((glob, ban))

    def __iter__(self) -> Iterator[Ban]:
        """Yield every ban."""
        for bans in self.exact.values():
            yield from bans
        yield from (ban for _, ban in self.globs)

    def find(self, names: Iterable[str]) -> Iterator[Ban]:
        for name in names:
            yield from self.exact.get(name, ())
            for glob, ban in self.globs:
                if glob.matches(name):
                    yield ban


class BanListAuthorizer:
    """Denies whoever is on the list. Immutable; safe for several threads."""

    def __init__(self, name: str, bans: Iterable[Ban], *, path: str = "") -> None:
        """Make the list.

        Args:
            name: What the policy calls it.
            bans: The bans, in the order of the file.
            path: The file, for reasons.
        """
        from ipaddress import ip_network

        self._name = name
        self.path = path
        self._silent = not_applicable(name, "not banned")
        self._dns, self._issuers = _Names(), _Names()
        self._serials: dict[int, list[tuple[Glob, Ban]]] = {}
        self._fqans: list[tuple[FqanPattern, Ban]] = []
        self._groups = _Names()
        self._networks: list[tuple[IPv4Network | IPv6Network, Ban]] = []
        for ban in bans:
            match ban.kind:
                case "dn":
                    self._dns.add(ban)
                case "issuer":
                    self._issuers.add(ban)
                case "serial":
                    self._serials.setdefault(ban.serial, []).append((Glob(ban.text), ban))
                case "fqan":
                    self._fqans.append((FqanPattern(ban.text, fold=True), ban))
                case "group":
                    self._groups.add(ban)
                case _:
                    self._networks.append((ip_network(ban.text), ban))

    @property
    def name(self) -> str:
        """What the policy calls it."""
        return self._name

    @property
    def address_bans(self) -> tuple[Ban, ...]:
        """The bans of networks, which hold only where a service tells the client's address."""
        return tuple(ban for _, ban in self._networks)

    @property
    def group_bans(self) -> tuple[Ban, ...]:
        """The bans of groups."""
        return tuple(self._groups)

    @property
    def capability_bans(self) -> tuple[Ban, ...]:
        """The bans of what a capability can name, or be signed by, and a certificate chain alone does not show."""
        serials = (ban for found in self._serials.values() for _, ban in found)
        return (*self._issuers, *serials, *(ban for _, ban in self._fqans), *self._groups)

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Deny if a ban holds that has not ended.

        Raises:
            ParseError: A name of the subject is odd.
        """
        now = request.environment.now
        for ban in self._find(request):
            if ban.until is None or now < ban.until:
                because = f": {ban.because}" if ban.because else ""
                return deny(self._name, f"{ban.kind} is banned, {self.path}:{ban.line}{because}")
        return self._silent

    def _find(self, request: AuthorizationRequest) -> Iterator[Ban]:
        subject = request.subject
        yield from self._dns.find(skeletons(subject))
        if self._issuers.exact or self._issuers.globs:
            yield from self._issuers.find(issuer_skeletons(subject))
        if self._serials:
            for certificate in subject.chain:
                for glob, ban in self._serials.get(certificate.serial, ()):
                    if glob.matches(skeleton(certificate.issuer_der)):
                        yield ban
        if self._fqans:
            for fqan in subject.fqans:
                folded = normal_fqan(fqan).casefold()
                yield from (ban for pattern, ban in self._fqans if pattern.matches(folded))
        if subject.groups:
            yield from self._groups.find([skeleton_text(group) for group in subject.groups])
        if self._networks:
            yield from self._find_network(request.environment.peer_address)

    def _find_network(self, address: str) -> Iterator[Ban]:
        """Yield the bans of an address; of one that is none, all of them, for it may be any."""
        from ipaddress import IPv6Address, ip_address

        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            if address:
                yield from (ban for _, ban in self._networks)
            return
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        yield from (ban for network, ban in self._networks if (mapped or found) in network)


def _build(name: str, settings: BanSettings, place: Place) -> BanListAuthorizer:
    path, data = place.read(settings.file, max_bytes=MAX_POLICY_BYTES)
    return BanListAuthorizer(name, parse_bans(data, path=path), path=path)


PLUGIN: Final = Plugin(BanSettings, _build, "refuses whoever is on a list", may_block=False)
