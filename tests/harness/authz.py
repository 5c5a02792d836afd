"""Requests, subjects and authorizers for tests of authorization.

decision = decide(authorizer, user("/O=Grid/CN=Alice"), "read", "/data/f")
engine = Engine(policy_of(Fixed(Effect.PERMIT), Raising(KeyError("x"))))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gsi.authz.combine import Combining
from gsi.authz.decision import (
    Action,
    AuthorizationRequest,
    Authorizer,
    Decision,
    Effect,
    Environment,
    Obligation,
    Resource,
    Subject,
)
from gsi.authz.policy import Chain, Member, Policy
from gsi.authz.principals import parse_dn

if TYPE_CHECKING:
    from gsi.authz.policy import Source

__all__ = ["NOW", "Fixed", "Raising", "decide", "policy_of", "request_of", "user", "write_authz_policies"]

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)  # a Friday


def user(
    dn: str = "",
    *,
    fqans: tuple[str, ...] = (),
    groups: frozenset[str] = frozenset(),
    issuer: str = "/O=Grid/CN=CA",
    **more: object,
) -> Subject:
    """A subject with this name; without one, an anonymous one with attributes."""
    plain = Subject(
        identity=dn,
        identity_der=parse_dn(dn) if dn.startswith("/") else b"",
        issuer=issuer if dn else "",
        authenticated_by="x509" if dn else "anonymous",
        fqans=fqans,
        groups=groups,
    )
    return replace(plain, **more) if more else plain  # type: ignore[arg-type]  # the caller names fields


def request_of(
    subject: Subject,
    action: str = "read",
    resource: str = "",
    *,
    kind: str = "file",
    attributes: Mapping[str, tuple[str, ...]] | None = None,
    **environment: object,
) -> AuthorizationRequest:
    """A request at `NOW`, with further fields of the environment."""
    around = Environment(**({"now": NOW} | environment))  # type: ignore[arg-type]  # the caller names fields
    return AuthorizationRequest(subject, Action(action, kind), Resource(resource, attributes or {}), around)


def decide(
    authorizer: Authorizer, subject: Subject, action: str = "read", resource: str = "", **more: object
) -> Decision:
    """What an authorizer says."""
    return authorizer.decide(request_of(subject, action, resource, **more))  # type: ignore[arg-type]  # values by name


def policy_of(
    *authorizers: Authorizer | Chain,
    combining: Combining = Combining.FIRST_APPLICABLE,
    sources: tuple[Source, ...] = (),
    may_block: bool = False,
    time_limit: float = 5.0,
    allow_root: bool = False,
) -> Policy:
    """A policy that asks these."""
    members = tuple(
        each if isinstance(each, Chain) else Member(each, time_limit=time_limit, may_block=may_block)
        for each in authorizers
    )
    return Policy(Chain("policy", combining, members), sources, allow_root)


@dataclass
class Fixed:
    """Always says the same, and counts how often it was asked."""

    effect: Effect
    obligations: tuple[Obligation, ...] = ()
    name: str = "fixed"
    asked: int = 0
    not_after: datetime | None = None

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Answer."""
        self.asked += 1
        return Decision(self.effect, f"{self.name} says so", self.obligations, self.name, not_after=self.not_after)


@dataclass
class Raising:
    """Fails."""

    error: BaseException
    name: str = "raising"

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Fail."""
        raise self.error


POLICIES: Final = {
    "gridftp.toml": """\
order = ["bans", "local"]
combining = "deny-overrides"
record = "decisions.jsonl"

[authorizer.bans]
type = "ban"
file = "bans"

[authorizer.site-rules]
type = "rules"
file = "gridftp.rules"

[authorizer.map]
type = "gridmap"
file = "grid-mapfile"

[chain.local]
order = ["site-rules", "map"]
""",
    "bans": 'dn "/O=Grid/CN=Mallory" because "stolen key"\n',
    "gridftp.rules": """\
permit dn /O=Grid/CN=Alice  to read, lookup on /data/alice/**
permit fqan /vo/Role=prod   to read, write  on /data/vo/**     as prod
permit authenticated        to lookup       on /pub/**         because "public"
""",
    "grid-mapfile": '"/O=Grid/CN=Alice" alice\n"/O=Grid/CN=Mallory" mallory\n',
}
"""A site: one policy and the files it names."""


def write_authz_policies(directory: Path) -> Path:
    """Write `POLICIES` into a new directory."""
    directory.mkdir(mode=0o755)
    for name, text in POLICIES.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)
    return directory
