"""Who may do something: candidates out of the policy itself, each put to the engine; grants nothing.

    for answer in who_can(engine, AuthorizationRequest(ANONYMOUS, action, resource, environment)):
        answer.who, answer.decision

A policy does not know every subject there is. It names some (in rules, grid-mapfiles, VOMS maps), and speaks of others
by patterns, groups and attributes. Each of these is tried as a subject that has just that: the name, or one FQAN, or
one group. So the list tells which entries of the policy let somebody in. It cannot tell that somebody who is let in by
one attribute is kept out by another that they also have.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.authz.ban import BanListAuthorizer
from gsi.authz.decision import ANONYMOUS, Effect, Subject
from gsi.authz.mapping import GridmapAuthorizer, VomsMapAuthorizer
from gsi.authz.principals import parse_dn
from gsi.authz.rsl.rulefile import RuleKind
from gsi.authz.rsl.rules import RslAuthorizer
from gsi.authz.rules import RulesAuthorizer
from gsi.errors import ParseError
from gsi.names import oneline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.authz.decision import AuthorizationRequest, Authorizer, Decision
    from gsi.authz.engine import Engine
    from gsi.authz.rulefile import Rule

__all__ = ["Answer", "Candidate", "candidates", "unlisted", "who_can"]

_ANYBODY: Final = "/CN=anybody with a certificate"
_SAMPLE: Final = "any"
"""What stands for `*` in a subject made of a pattern."""


class Candidate(NamedTuple):
    """Somebody to ask about.

    Attributes:
        who: For people: `dn /O=Grid/CN=Alice`, `fqan /vo/*`, `anyone`.
        subject: A subject that is nothing but that.
    """

    who: str
    subject: Subject


class Answer(NamedTuple):
    """Somebody who is permitted, and why."""

    who: str
    decision: Decision


def who_can(engine: Engine, request: AuthorizationRequest) -> Iterator[Answer]:
    """Yield who of the policy's candidates is permitted; the request's subject does not matter.

    Decisions are previews: nothing is leased, recorded or audited.
    """
    asked: set[str] = set()
    for candidate in candidates(engine):
        if candidate.who in asked:
            continue
        asked.add(candidate.who)
        decision = engine.preview(replace(request, subject=candidate.subject))
        if decision.effect is Effect.PERMIT:
            yield Answer(candidate.who, decision)


def candidates(engine: Engine) -> Iterator[Candidate]:
    """Yield everybody a policy speaks of, the general ones first."""
    yield Candidate("anyone", ANONYMOUS)
    yield Candidate("authenticated", _named(parse_dn(_ANYBODY)))
    for member in engine.policy.root.walk():
        yield from _candidates_of(member.authorizer)


def unlisted(engine: Engine) -> tuple[str, ...]:
    """Return the names of the authorizers that may permit somebody whom no list can tell."""
    return tuple(
        member.authorizer.name for member in engine.policy.root.walk() if not isinstance(member.authorizer, _LISTED)
    )


_LISTED: Final = (RulesAuthorizer, RslAuthorizer, GridmapAuthorizer, VomsMapAuthorizer, BanListAuthorizer)
"""Authorizers whose subjects are all known; a ban list permits nobody."""


def _candidates_of(authorizer: Authorizer) -> Iterator[Candidate]:
    match authorizer:
        case RulesAuthorizer():
            for rule in authorizer.rules:
                if rule.effect is Effect.PERMIT:
                    yield from _of_rule(rule)
        case RslAuthorizer():
            for job_rule in authorizer.rules:
                if job_rule.kind is RuleKind.PERMIT:
                    yield from _of_rule(job_rule.rule)
        case GridmapAuthorizer():
            for dn in authorizer.subjects():
                try:
                    yield Candidate(f"dn {dn}", _named(parse_dn(dn)))
                except ParseError:
                    continue  # a name that no certificate can have
        case VomsMapAuthorizer():
            for pattern in authorizer.patterns():
                yield Candidate(f"fqan {pattern}", _with_fqan(ANONYMOUS, pattern))
        case _:
            pass


def _of_rule(rule: Rule) -> Iterator[Candidate]:
    """Yield a candidate for each name of a rule, with one of each other thing that the rule asks for."""
    plain = ANONYMOUS
    extra = ""
    if rule.groups and (rule.names or rule.name_patterns or rule.fqans):
        plain = replace(plain, groups=frozenset({_sample(rule.groups[0])}))
        extra += f" group {rule.groups[0]}"
    if rule.issuers:
        issuer = rule.issuers[0]
        plain = replace(plain, issuer=oneline(issuer) if isinstance(issuer, bytes) else issuer)
        extra += f" issuer {plain.issuer}"
    if rule.methods:
        plain = replace(plain, authenticated_by=min(rule.methods))
        extra += f" by {plain.authenticated_by}"
    if rule.fqans and (rule.names or rule.name_patterns):
        plain = _with_fqan(plain, rule.fqans[0])
        extra += f" fqan {rule.fqans[0]}"
    for name in rule.names:
        if isinstance(name, bytes):
            yield Candidate(f"dn {oneline(name)}{extra}", _named(name, plain))
        else:
            yield Candidate(f"dn {name}{extra}", replace(plain, identity=name, authenticated_by="token"))
    for text in () if rule.names else rule.name_patterns:
        yield Candidate(f"dn-like {text}{extra}", _named(parse_dn(_sample(text.removesuffix("/**"))), plain))
    if not rule.names and not rule.name_patterns:
        for text in rule.fqans:
            yield Candidate(f"fqan {text}{extra}", _with_fqan(plain, text))
        for text in () if rule.fqans else rule.groups:
            yield Candidate(f"group {text}{extra}", replace(plain, groups=frozenset({_sample(text)})))
        if not rule.fqans and not rule.groups and extra:
            yield Candidate(extra.strip(), plain)


def _sample(text: str) -> str:
    return text.replace("*", _SAMPLE)


def _named(name: bytes, plain: Subject = ANONYMOUS) -> Subject:
    method = plain.authenticated_by if plain.authenticated_by != "anonymous" else "x509"
    return replace(plain, identity=oneline(name), identity_der=name, authenticated_by=method)


def _with_fqan(plain: Subject, pattern: str) -> Subject:
    fqan = _sample(pattern.removesuffix("/**")) if pattern.endswith("/**") else _sample(pattern)
    return replace(plain, fqans=(*plain.fqans, fqan))
