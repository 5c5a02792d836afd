"""The authorizer for the scopes of tokens: a table of what they allow, and every trick with paths."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType

import pytest

from gsi.authz.decision import Account, Effect, Subject
from gsi.authz.scopes import ScopeAuthorizer, ScopeSettings
from gsi.errors import ParseError
from gsi.tokens.rules import Profile
from gsi.tokens.scopes import parse_scopes
from gsi.tokens.verify import VerifiedToken
from tests.harness.authz import NOW, decide, user

P, D, N = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE
ISSUER = "https://vo.example.org/"


def token(scope: str, *, base: tuple[str, ...] = (), issuer: str = ISSUER) -> VerifiedToken:
    return VerifiedToken(
        issuer=issuer,
        subject="alice",
        profile=Profile.WLCG,
        capabilities=parse_scopes(scope).capabilities,
        base_path=base,
        groups=(),
        not_before=NOW,
        not_after=NOW + timedelta(hours=1),
        token_id="1",
        is_bound=True,
        claims=MappingProxyType({}),
    )


def holder(*tokens: VerifiedToken, limited: bool = False) -> Subject:
    return user("/O=Grid/CN=Alice", assertions=tokens, limited=limited)


@pytest.mark.parametrize(
    ("scope", "action", "resource", "effect"),
    [
        ("storage.read:/data", "read", "/data/f", P),
        ("storage.read:/data", "read", "/data", P),
        ("storage.read:/data", "read", "ftp://se.example.org/data/f", P),
        ("storage.read:/data", "lookup", "/data/f", P),
        ("storage.read:/data", "read", "/database", D),
        ("storage.read:/data", "read", "/dat", D),
        ("storage.read:/data", "read", "/", D),
        ("storage.read:/data", "read", "/data/../etc", D),
        ("storage.read:/data", "read", "/data/%2e%2e/etc", D),
        ("storage.read:/data", "read", "/data/%252e%252e/etc", D),
        ("storage.read:/data", "read", "//data//f", P),
        ("storage.read:/data", "read", "/DATA/f", D),
        ("storage.read:/data", "read", "", D),
        ("storage.read:/data", "read", "data/f", D),
        ("storage.read:/data", "write", "/data/f", D),
        ("storage.read:/data", "delete", "/data/f", D),
        ("storage.read:/data", "chmod", "/data/f", D),
        ("storage.read:/a%2Fb", "read", "/a/b/c", P),
        ("storage.read:/%252e%252e", "read", "/etc", D),
        ("storage.create:/data", "create", "/data/f", P),
        ("storage.create:/data", "write", "/data/f", D),
        ("storage.create:/data", "delete", "/data/f", D),
        ("storage.create:/data", "read", "/data/f", D),
        ("storage.modify:/data", "create", "/data/f", P),
        ("storage.modify:/data", "write", "/data/f", P),
        ("storage.modify:/data", "delete", "/data/f", P),
        ("storage.modify:/data", "read", "/data/f", D),
        ("storage.stage:/data", "read", "/data/f", P),
        ("storage.stage:/data", "stage", "/data/f", P),
        ("storage.read:/data", "stage", "/data/f", D),
        ("storage.read:/a storage.modify:/b", "write", "/a/f", D),
        ("storage.read:/a storage.modify:/b", "write", "/b/f", P),
        ("write:/data", "delete", "/data/f", P),
        ("read:/data", "read", "/data/f", P),
        ("compute.create", "read", "/data/f", D),
        ("openid", "read", "/data/f", N),
    ],
)
def test_files(scope: str, action: str, resource: str, effect: Effect) -> None:
    found = decide(ScopeAuthorizer("scopes"), holder(token(scope)), action, resource)
    assert found.effect is effect
    assert found.not_after == (NOW + timedelta(hours=1) if effect is P else None)
    loose = ScopeAuthorizer("scopes", ScopeSettings(exclusive=False))
    assert decide(loose, holder(token(scope)), action, resource).effect in ({P} if effect is P else {N, D})


def test_every_reading_counts() -> None:
    """A link out of what the token covers, and an encoded name that could be meant in two ways."""
    authorizer, subject = ScopeAuthorizer("scopes"), holder(token("storage.read:/data"))
    outside = {"real_path": ("/etc/passwd",)}
    assert decide(authorizer, subject, "read", "/data/link", attributes=outside).effect is D
    assert decide(authorizer, subject, "read", "/data/f", attributes={"real_path": ("/data/g",)}).effect is P
    assert decide(authorizer, holder(token("storage.read:/data/a%2525")), "read", "/data/a%25").effect is D


def test_below_the_base_path() -> None:
    authorizer, subject = ScopeAuthorizer("scopes"), holder(token("storage.read:/data", base=("vo", "x")))
    table = {"/vo/x/data/f": P, "/data/f": D, "/vo/data": D, "/vo/xdata/f": D, "/vo/x": D}
    for resource, effect in table.items():
        assert decide(authorizer, subject, "read", resource).effect is effect, resource
    whole = holder(token("storage.read:/", base=("vo",)))
    assert decide(authorizer, whole, "read", "/vo").effect is P
    for resource in ("/other", "/other/f", "/other/vo/f", "/vox/f", "/VO/f", "/"):
        assert decide(authorizer, whole, "read", resource).effect is D, resource
    deep = holder(token("storage.read:/data", base=("vo", "x")))
    for resource in ("/other/x/data/f", "/vo/other/data/f", "/a/b/data/f"):
        assert decide(authorizer, deep, "read", resource).effect is D, resource


def test_two_tokens_are_not_mixed() -> None:
    """Each by itself covers what it covers."""
    authorizer = ScopeAuthorizer("scopes")
    both = holder(token("storage.read:/a"), token("storage.modify:/b", base=("vo",), issuer="https://other/"))
    assert decide(authorizer, both, "read", "/a/f").effect is P
    assert decide(authorizer, both, "write", "/vo/b/f").effect is P
    assert decide(authorizer, both, "write", "/b/f").effect is D


@pytest.mark.parametrize(
    ("scope", "action", "effect"),
    [
        ("compute.create", "start", P),
        ("compute.create", "cancel", D),
        ("compute.cancel", "cancel", P),
        ("compute.read", "status", P),
        ("compute.modify", "signal", P),
        ("compute.modify", "reboot", D),
        ("storage.read:/", "start", D),
        ("queue", "start", P),
    ],
)
def test_jobs(scope: str, action: str, effect: Effect) -> None:
    authorizer = ScopeAuthorizer("scopes")
    assert decide(authorizer, holder(token(scope)), action, kind="job").effect is effect
    limited = decide(authorizer, holder(token(scope), limited=True), action, kind="job")
    assert limited.effect is D  # whatever the token says


def test_accounts() -> None:
    authorizer = ScopeAuthorizer("scopes", ScopeSettings(accounts={ISSUER: "vouser"}))
    assert decide(authorizer, holder(token("storage.read:/")), "read", "/f").obligations == (Account("vouser"),)
    other = holder(token("storage.read:/", issuer="https://other/"))
    assert decide(authorizer, other, "read", "/f").obligations == ()
    with pytest.raises(ParseError):
        ScopeAuthorizer("scopes", ScopeSettings(accounts={ISSUER: "a b"}))


def test_nothing_to_say() -> None:
    authorizer = ScopeAuthorizer("scopes")
    assert decide(authorizer, user("/O=Grid/CN=Alice"), "read", "/f").effect is N
    assert decide(authorizer, holder(token("storage.read:/")), "login", kind="login").effect is N
    assert decide(authorizer, holder(token("storage.read:/")), "authz_assert").effect is N
    assert decide(authorizer, user("/O=Grid/CN=Alice", assertions=("text",)), "read", "/f").effect is N
