"""The site's own rules as an authorizer: an index, so that rules which cannot match cost nothing.

    authorizer = RulesAuthorizer("site-rules", parse_rules(data, path=path), path=path)
    authorizer.decide(request)

The order of the lines does not matter for what is allowed: a denial that holds wins, else the first permit that holds
gives its obligations, else the answer is NOT_APPLICABLE. What is doubtful is read against the subject: a permit holds
only if it is certain to, a denial already if it may (gsi.authz.principals on names, gsi.authz.resources on resources;
a client without an address is in no network that permits and in every one that denies). Two rules about proxies:

- A permit of an action of the service type `job` holds for a limited proxy only if the rule has a clause `proxy`.
- `dn-like`, `fqan` and `issuer` never permit a proxy that is an identity of its own (independent or restricted).

The index goes by subject (name, leading parts of a name, FQAN, leading parts of an FQAN, group, issuer), then by the
leading parts of the resource's path, then by action. A request looks only where a rule for it can be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.authz.decision import Decision, Effect, deny, not_applicable, permit
from gsi.authz.lines import MAX_POLICY_BYTES
from gsi.authz.principals import (
    FqanPattern,
    Glob,
    NamePattern,
    dn_key,
    has_own_identity,
    issuer_skeletons,
    name_part_keys,
    normal_fqan,
    parse_dn,
    plain_host,
    rights_fqans,
    skeleton,
    skeleton_text,
    skeletons,
    subject_key,
    text_key,
)
from gsi.authz.registry import Place, Plugin
from gsi.authz.resources import Reading, readings
from gsi.authz.rulefile import Rule, parse_rules
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gsi.authz.decision import AuthorizationRequest, Subject

__all__ = ["PLUGIN", "RulesAuthorizer", "RulesSettings"]

_REMEMBERED_SUBJECTS: Final = 512
"""Subjects whose places in the index are remembered: the sessions that are open at a time."""

_JOB: Final = "job"


class _Keys(NamedTuple):
    """Where in the index rules for a subject can be, and its names as rules compare them."""

    subject: Subject
    places: tuple[str, ...]
    names: frozenset[str]
    fqans: tuple[str, ...]
    groups: tuple[str, ...]
    issuers: frozenset[str]


class _Node:
    """A level of a path in the index: the rules that end here, by action, and the levels below."""

    __slots__ = ("any_action", "by_action", "children")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.by_action: dict[str, list[_Ready]] = {}
        self.any_action: list[_Ready] = []

    def add(self, prefix: Sequence[str], actions: Iterable[str | None], rule: _Ready) -> None:
        node = self
        for part in prefix:
            node = node.children.setdefault(part, _Node())
        for action in actions:
            where = node.any_action if action is None else node.by_action.setdefault(action, [])
            if not where or where[-1] is not rule:
                where.append(rule)

    def find(self, parts: Sequence[str], action: str, found: list[_Ready]) -> None:
        """Collect the rules on the way down a path."""
        node: _Node | None = self
        for part in parts:
            assert node is not None
            if node.by_action and action in node.by_action:
                found += node.by_action[action]
            if node.any_action:
                found += node.any_action
            node = node.children.get(part)
            if node is None:
                return
        assert node is not None
        if node.by_action and action in node.by_action:
            found += node.by_action[action]
        if node.any_action:
            found += node.any_action


class _Ready:
    """A rule made ready: its patterns for its effect, and its answer."""

    __slots__ = ("answer", "denies", "fqans", "groups", "has_conditions", "issuers", "names", "patterns", "rule")

    def __init__(self, rule: Rule, authorizer: str, path: str) -> None:
        self.rule = rule
        self.denies = rule.effect is Effect.DENY
        because = f": {rule.because}" if rule.because else ""
        reason = f"{path}:{rule.line}{because}"
        self.answer = deny(authorizer, reason) if self.denies else permit(authorizer, reason, *rule.obligations)
        if rule.before is not None and not self.denies:
            self.answer = replace(self.answer, not_after=rule.before)
        self.names = frozenset(_name_key(name, denies=self.denies) for name in rule.names)
        self.issuers = frozenset(_name_key(name, denies=self.denies) for name in rule.issuers)
        self.patterns = () if self.denies else tuple(NamePattern(text) for text in rule.name_patterns)
        self.fqans = tuple(_fqan_pattern(text, denies=self.denies) for text in rule.fqans)
        self.groups = tuple(Glob(skeleton_text(text) if self.denies else text) for text in rule.groups)
        self.has_conditions = bool(
            rule.proxies is not None
            or rule.methods
            or rule.services
            or rule.hosts
            or rule.networks
            or rule.windows
            or rule.after
            or rule.before
        )

    def places(self) -> Iterator[str]:
        """Yield the places of the index where the rule must stand: under the clause that tells most subjects apart."""
        rule = self.rule
        if rule.names:
            yield from (f"n{name}" for name in self.names)
        elif rule.fqans:
            yield from (f"f{p.literal}" if p.literal is not None else f"F{p.prefix}" for p in self.fqans)
        elif rule.groups:
            yield from (f"g{glob.text}" if glob.is_literal else "" for glob in self.groups)
        elif rule.name_patterns:
            yield from _denial_prefixes(rule) if self.denies else (f"p{'/'.join(p.literal)}" for p in self.patterns)
        elif rule.issuers:
            yield from (f"i{name}" for name in self.issuers)
        else:
            yield ""

    def holds(self, request: AuthorizationRequest, keys: _Keys, found: tuple[Reading, ...]) -> bool:
        """Say whether the rule holds for a request."""
        rule = self.rule
        if not (
            (rule.anyone or self._holds_subject(keys))
            and (not rule.actions or self._holds_action(request))
            and (not rule.resources or self._holds_resource(found))
        ):
            return False
        if self.has_conditions:
            return self._holds_conditions(request)
        return self.denies or not (request.subject.limited and request.action.service == _JOB)

    def _holds_subject(self, keys: _Keys) -> bool:
        rule, subject = self.rule, keys.subject
        if rule.authenticated and not subject.identity:
            return False
        if rule.names and self.names.isdisjoint(keys.names):
            return False
        if rule.name_patterns and not self._holds_pattern(keys):
            return False
        if rule.fqans and not any(pattern.matches(fqan) for fqan in keys.fqans for pattern in self.fqans):
            return False
        if rule.groups and not any(glob.matches(group) for group in keys.groups for glob in self.groups):
            return False
        return not rule.issuers or not self.issuers.isdisjoint(keys.issuers)

    def _holds_pattern(self, keys: _Keys) -> bool:
        if self.denies:
            globs = _denial_globs(self.rule)
            return any(glob.matches(name) for name in keys.names for glob in globs)
        name = keys.subject.identity_der
        return bool(name) and not has_own_identity(keys.subject) and any(p.matches(name) for p in self.patterns)

    def _holds_action(self, request: AuthorizationRequest) -> bool:
        name, service = request.action.name, request.action.service
        return any(
            (action is None or action == name) and (kind is None or kind == service)
            for kind, action in self.rule.actions
        )

    def _holds_resource(self, found: tuple[Reading, ...]) -> bool:
        patterns = self.rule.resources
        if not found:
            return any(pattern.is_anything for pattern in patterns)
        hits = (any(pattern.matches(reading) for pattern in patterns) for reading in found)
        return any(hits) if self.denies else all(hits)

    def _holds_conditions(self, request: AuthorizationRequest) -> bool:
        rule, subject, environment = self.rule, request.subject, request.environment
        now = environment.now
        if rule.proxies is None:
            if not self.denies and subject.limited and request.action.service == _JOB:
                return False
        elif not _kinds(subject) & rule.proxies if self.denies else not _kinds(subject) <= rule.proxies:
            return False
        return (
            (not rule.methods or subject.authenticated_by in rule.methods)
            and (not rule.services or any(glob.matches(environment.service) for glob in rule.services))
            and (not rule.hosts or self._holds_host(environment.host))
            and (not rule.networks or self._holds_network(environment.peer_address))
            and (not rule.windows or any(window.holds(now) for window in rule.windows))
            and (rule.after is None or now >= rule.after)
            and (rule.before is None or now < rule.before)
        )

    def _holds_host(self, text: str) -> bool:
        """Compare the host; one that is unknown is none that permits, and any that denies."""
        host = plain_host(text)
        if not host:
            return self.denies
        if any(glob.matches(host) for glob in self.rule.hosts):
            return True
        # A name without a domain may be that of any domain.
        return (
            self.denies
            and "." not in host
            and any(Glob(g.text.partition(".")[0]).matches(host) for g in self.rule.hosts)
        )

    def _holds_network(self, address: str) -> bool:
        from ipaddress import IPv6Address, ip_address

        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return self.denies
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self.rule.networks)


def _kinds(subject: Subject) -> frozenset[object]:
    """Return every kind a chain is of: a restricted one may be limited and independent as well."""
    kinds: set[object] = {subject.kind}
    if subject.limited:
        kinds.add("limited")
    if subject.independent:
        kinds.add("independent")
    return frozenset(kinds)


def _name_key(name: bytes | str, *, denies: bool) -> str:
    if isinstance(name, bytes):
        return skeleton(name) if denies else dn_key(name)
    return skeleton_text(name) if denies else text_key(name)


def _fqan_pattern(text: str, *, denies: bool) -> FqanPattern:
    return FqanPattern(text, fold=denies)


def _denial_globs(rule: Rule) -> tuple[Glob, ...]:
    """Return the globs over skeletons of a denial's name patterns."""
    found: list[Glob] = []
    for text in rule.name_patterns:
        base = skeleton(parse_dn(text.removesuffix("/**")))
        found.append(Glob(base))
        if text.endswith("/**"):
            found.append(Glob(f"{base}/*"))
    return tuple(found)


def _denial_prefixes(rule: Rule) -> Iterator[str]:
    for glob in _denial_globs(rule):
        yield f"s{glob.text.partition('*')[0].rpartition('/')[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesSettings:
    """What a policy file says of a rules file.

    Attributes:
        file: The file, relative to the policy file.
    """

    file: str


class RulesAuthorizer:
    """Decides by rules. Immutable; safe for several threads."""

    def __init__(self, name: str, rules: Iterable[Rule], *, path: str = "") -> None:
        """Make the index.

        Args:
            name: What the policy calls it.
            rules: The rules, in the order of the file.
            path: The file, for reasons.
        """
        self._name = name
        self.path = path
        self._silent = not_applicable(name)
        self._permits: dict[str, _Node] = {}
        self._denials: dict[str, _Node] = {}
        self._rules: list[Rule] = []
        self._permit_keys: dict[int, _Keys] = {}
        self._denial_keys: dict[int, _Keys] = {}
        for rule in rules:
            self._rules.append(rule)
            self._add(_Ready(rule, name, path))

    @property
    def name(self) -> str:
        """What the policy calls it."""
        return self._name

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules, in the order of the file."""
        return self._rules

    def _add(self, ready: _Ready) -> None:
        rule = ready.rule
        index = self._denials if ready.denies else self._permits
        actions = [action for _, action in rule.actions] or [None]
        prefixes = [() if p.is_anything else p.prefix for p in rule.resources] or [()]
        for place in dict.fromkeys(ready.places()):
            node = index.setdefault(place, _Node())
            for prefix in dict.fromkeys(prefixes):
                node.add(prefix, actions, ready)

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Judge one request.

        Raises:
            ParseError: A name in the request is odd.
        """
        found = readings(request.resource)
        if self._denials:
            keys = self._keys(request.subject, denies=True)
            for ready in self._candidates(self._denials, keys.places, request.action.name, found):
                if ready.holds(request, keys, found):
                    return ready.answer
        if self._permits:
            keys = self._keys(request.subject, denies=False)
            best: _Ready | None = None
            # A permit must hold for every reading, so it is found on the way of the first.
            for ready in self._candidates(self._permits, keys.places, request.action.name, found[:1]):
                if (best is None or ready.rule.line < best.rule.line) and ready.holds(request, keys, found):
                    best = ready
            if best is not None:
                return best.answer
        return self._silent

    def holding(self, request: AuthorizationRequest) -> Iterator[tuple[Rule, Decision]]:
        """Yield every rule that holds, with what it answers: denials before permits, each in the order of the file.

        Raises:
            ParseError: A name in the request is odd.
        """
        found = readings(request.resource)
        for index, denies in ((self._denials, True), (self._permits, False)):
            if index:
                keys = self._keys(request.subject, denies=denies)
                ways = found if denies else found[:1]
                candidates = self._candidates(index, keys.places, request.action.name, ways)
                for ready in sorted(dict.fromkeys(candidates), key=lambda each: each.rule.line):
                    if ready.holds(request, keys, found):
                        yield ready.rule, ready.answer

    @staticmethod
    def _candidates(
        index: dict[str, _Node], places: tuple[str, ...], action: str, found: tuple[Reading, ...]
    ) -> list[_Ready]:
        candidates: list[_Ready] = []
        for place in places:
            node = index.get(place)
            if node is not None:
                if not found:
                    node.find((), action, candidates)
                for reading in found:
                    node.find(reading.parts, action, candidates)
        return candidates

    def _keys(self, subject: Subject, *, denies: bool) -> _Keys:
        known = self._denial_keys if denies else self._permit_keys
        keys = known.get(id(subject))
        if keys is None or keys.subject is not subject:
            keys = _denial_keys(subject) if denies else _permit_keys(subject)
            if len(known) >= _REMEMBERED_SUBJECTS:
                known.clear()
            known[id(subject)] = keys  # which keeps the subject, so that its number stays its own
        return keys


def _permit_keys(subject: Subject) -> _Keys:
    identity = subject_key(subject)
    fqans = rights_fqans(subject)
    places = ["", *([f"n{identity}"] if identity else [])]
    places += _fqan_places(fqans)
    groups = tuple(subject.groups)
    places += [f"g{group}" for group in groups]
    issuers: frozenset[str] = frozenset()
    if not has_own_identity(subject):
        if subject.identity_der:
            parts = name_part_keys(subject.identity_der)
            places += [f"p{'/'.join(parts[:length])}" for length in range(len(parts) + 1)]
        if subject.issuer:
            issuers = frozenset({_issuer_key(subject)})
            places += [f"i{issuer}" for issuer in issuers]
    names = frozenset({identity}) if identity else frozenset[str]()
    return _Keys(subject, tuple(dict.fromkeys(places)), names, fqans, groups, issuers)


def _issuer_key(subject: Subject) -> str:
    if subject.chain:
        try:
            return dn_key(parse_dn(subject.issuer))
        except ParseError:
            pass
    return text_key(subject.issuer)


def _denial_keys(subject: Subject) -> _Keys:
    names = skeletons(subject)
    fqans = tuple(normal_fqan(fqan).casefold() for fqan in subject.fqans)
    groups = tuple(skeleton_text(group) for group in subject.groups)
    issuers = issuer_skeletons(subject)
    places = ["", *(f"n{name}" for name in names), *_fqan_places(fqans)]
    places += [f"g{group}" for group in groups]
    places += [f"i{issuer}" for issuer in issuers]
    for name in names:
        places += [f"s{name[:at]}" for at, char in enumerate(name) if char == "/"]
    return _Keys(subject, tuple(dict.fromkeys(places)), names, fqans, groups, issuers)


def _fqan_places(fqans: Iterable[str]) -> Iterator[str]:
    for fqan in fqans:
        yield f"f{fqan}"
        parts = fqan.split("/")
        for length in range(2, len(parts) + 1):
            yield f"F{'/'.join(parts[:length])}"


def _build(name: str, settings: RulesSettings, place: Place) -> RulesAuthorizer:
    path, data = place.read(settings.file, max_bytes=MAX_POLICY_BYTES)
    authorizer = RulesAuthorizer(name, parse_rules(data, path=path), path=path)
    if not authorizer.rules:
        place.problems.append(f"{path} holds no rule")
    return authorizer


PLUGIN: Final = Plugin(RulesSettings, _build, "the site's own rules", may_block=False)
