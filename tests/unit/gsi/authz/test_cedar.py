"""Cedar policies: what a request is in Cedar's terms, what answers amount to, and what is found in reading them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gsi.authz.cedar import CedarAuthorizer, load_policies
from gsi.authz.cedar_model import ACTIONS, questions, schema_text
from gsi.authz.decision import Account, Decision, Effect, Subject
from gsi.authz.lint import lint_policy
from gsi.authz.policyfile import parse_policy
from gsi.authz.registry import Place
from gsi.errors import ConfigError, ParseError
from gsi.proxy.kinds import ProxyKind
from tests.harness.authz import decide, request_of, user

ALICE, BOB = "/O=Grid/CN=Alice", "/O=Grid/CN=Bob"
PERMIT, DENY, SILENT = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE
SCHEMA = schema_text(ACTIONS)


def authorizer(text: str) -> CedarAuthorizer:
    return CedarAuthorizer("cedar", load_policies(text, SCHEMA))


def ask(text: str, subject: Subject, action: str = "read", resource: str = "", **more: object) -> Decision:
    return decide(authorizer(text), subject, action, resource, **more)


BASIC = """
@id("alice") permit(principal == User::"/O=Grid/CN=Alice", action in [Action::"file:read"],
                    resource in Directory::"/data/alice");
@id("atlas") permit(principal in Fqan::"/atlas", action, resource in Directory::"/data/atlas");
@id("staff") permit(principal in Group::"staff", action == Action::"file:read", resource);
@id("guests") forbid(principal in Group::"guests", action, resource in Directory::"/data/alice");
"""


@pytest.mark.parametrize(
    ("subject", "action", "resource", "effect"),
    [
        (user(ALICE), "read", "/data/alice/x", PERMIT),
        (user(ALICE), "read", "/data/alice", PERMIT),
        (user(ALICE), "read", "ftp://h:2811//data/./alice/x/", PERMIT),
        (user(ALICE), "write", "/data/alice/x", SILENT),
        (user(ALICE), "read", "/data/alicex", SILENT),
        (user(ALICE), "read", "/data", SILENT),
        (user(ALICE), "read", "data/alice", SILENT),
        (user(ALICE), "read", "", SILENT),
        (user(BOB), "read", "/data/alice/x", SILENT),
        (user("/O=Grid/CN=ALICE"), "read", "/data/alice/x", SILENT),
        (user(ALICE, groups=frozenset({"guests"})), "read", "/data/alice/x", DENY),
        (user(BOB, fqans=("/atlas",)), "write", "/data/atlas/x", PERMIT),
        (user(BOB, fqans=("/atlas/prod/Role=x/Capability=NULL",)), "write", "/data/atlas/x", PERMIT),
        (user(BOB, fqans=("/atlasx",)), "write", "/data/atlas/x", SILENT),
        (user(BOB, groups=frozenset({"staff", "others"})), "read", "/any", PERMIT),
        (Subject(), "read", "/data/alice/x", SILENT),
        (Subject(groups=frozenset({"staff"})), "read", "/any", PERMIT),
    ],
)
def test_decisions(subject: Subject, action: str, resource: str, effect: Effect) -> None:
    assert ask(BASIC, subject, action, resource).effect is effect


def test_reasons() -> None:
    assert ask(BASIC, user(ALICE), "read", "/data/alice/x").reason == "permitted by alice"
    both = user(ALICE, groups=frozenset({"staff", "guests"}))
    assert ask(BASIC, both, "read", "/data/alice/x").reason == "forbidden by guests"
    assert ask("permit(principal, action, resource);", user(ALICE)).reason == "permitted by policy0"


def test_every_reading_of_a_name_counts() -> None:
    assert ask(BASIC, user(ALICE), "read", "/data/%61lice/x").effect is SILENT
    guest = user(ALICE, groups=frozenset({"guests", "staff"}))
    assert ask(BASIC, guest, "read", "/data/%61lice/x").effect is DENY
    real = {"real_path": ("/data/alice/x",)}
    assert ask(BASIC, guest, "read", "/tmp/link", attributes=real).effect is DENY
    assert ask(BASIC, user(ALICE), "read", "/data/alice/l", attributes={"real_path": ("/etc/x",)}).effect is SILENT
    with pytest.raises(ParseError):
        ask(BASIC, user(ALICE), "read", "/data/alice/../x")


def test_a_slash_in_a_value_is_no_part() -> None:
    text = 'permit(principal == User::"/O=Grid/CN=x/CN=Admin", action, resource);'
    assert ask(text, user("/O=Grid/CN=x/CN=Admin")).effect is PERMIT
    sly = user("CN=x")
    sly = replace(sly, identity="/O=Grid/CN=x/CN=Admin")
    assert ask(text, sly).effect is SILENT
    assert ask(text, replace(user(ALICE), identity_der=_one_value(), identity="x")).effect is SILENT
    token = Subject(identity="/O=Grid/CN=x/CN=Admin", authenticated_by="token")
    assert ask(text, token).effect is SILENT
    assert ask(text.replace("User", "Principal"), token).effect is PERMIT


def _one_value() -> bytes:
    from gsi import names

    return names.parse_rfc4514("CN=x/CN=Admin,O=Grid")


def test_attributes_tags_and_context() -> None:
    text = """permit(principal, action, resource) when {
        principal.identity == "/O=Grid/CN=Alice" && principal.issuer == "/O=Grid/CN=CA" &&
        principal.authenticatedBy == "x509" && principal.proxy == "none" && !principal.limited &&
        !principal.independent && principal.groups.contains("a") && principal.fqans.contains("/v/Role=r") &&
        principal.allFqans.contains("/v/Role=r") &&
        principal.hasTag("iss") && principal.getTag("iss").contains("https://i") &&
        principal.getTag("wlcg.groups").containsAll(["/x", "/y"]) && principal.getTag("n").contains("5") &&
        principal.getTag("t").contains("true") && !principal.hasTag("deep") &&
        resource.name == "ftp://h/a/b" && resource.scheme == "ftp" && resource.host == "h" && resource.path == "/a/b" &&
        resource.getTag("exists").contains("true") && resource.getTag("environment.x").contains("y") &&
        context.service == "file" && context.host == "se" && context.desiredAccount == "bo" &&
        context.now > datetime("2026-11-20T11:59:59Z") && context.now < datetime("2026-11-20T12:00:01Z") &&
        context.address.isInRange(ip("192.0.2.0/24"))
    };""".replace("context.address.is", "context has address && context.address.is")
    text = text.replace('principal.getTag("wlcg', 'principal.hasTag("wlcg.groups") && principal.getTag("wlcg')
    for tag in ("n", "t"):
        text = text.replace(f'principal.getTag("{tag}")', f'principal.hasTag("{tag}") && principal.getTag("{tag}")')
    for tag in ("exists", "environment.x"):
        text = text.replace(f'resource.getTag("{tag}")', f'resource.hasTag("{tag}") && resource.getTag("{tag}")')
    claims = {"iss": "https://i", "wlcg.groups": ("/x", "/y"), "n": 5, "t": True, "deep": {"a": 1}, "f": 1.5}
    alice = user(ALICE, groups=frozenset({"a"}), fqans=("/v/Role=r",), claims=claims)
    around = {
        "service": "file",
        "host": "se",
        "desired_account": "bo",
        "peer_address": "::ffff:192.0.2.7",
        "attributes": {"exists": ("true",)},
    }
    asked = request_of(alice, "read", "ftp://h/a/b", **around)  # type: ignore[arg-type]  # values by name
    asked = replace(asked, environment=replace(asked.environment, attributes={"x": ("y",)}))
    assert authorizer(text).decide(asked).effect is PERMIT
    for address in ("", "unknown", "192.0.3.1"):
        other = replace(asked, environment=replace(asked.environment, peer_address=address))
        assert authorizer(text).decide(other).effect is SILENT


def test_a_proxy_of_its_own_has_no_fqans_that_permit() -> None:
    text = 'permit(principal in Fqan::"/v", action, resource);'
    own = user(ALICE, fqans=("/v",), kind=ProxyKind.RESTRICTED)
    assert ask(text, own).effect is SILENT
    forbidding = """permit(principal, action, resource);
    forbid(principal, action, resource) when { principal.allFqans.contains("/v") };"""
    assert ask(forbidding, own).effect is DENY


def test_limited_proxies_start_no_jobs() -> None:
    text = "permit(principal, action, resource);"
    limited = user(ALICE, kind=ProxyKind.LIMITED, limited=True)
    assert ask(text, limited, "start", "", kind="job").effect is SILENT
    assert ask(text, limited, "read").effect is PERMIT
    assert ask('@limited("true") ' + text, limited, "start", kind="job").effect is PERMIT


def test_accounts() -> None:
    text = """
    @account("prd") permit(principal in Fqan::"/v/Role=p", action == Action::"login:login", resource);
    @account("usr") permit(principal in Group::"u", action == Action::"login:login", resource);
    permit(principal in Group::"n", action, resource);
    """
    production = user(ALICE, fqans=("/v/Role=p",))
    assert ask(text, production, "login", kind="login").obligations == (Account("prd"),)
    assert ask(text, replace(production, groups=frozenset({"n"})), "login", kind="login").obligations == (
        Account("prd"),
    )
    assert ask(text, user(ALICE, groups=frozenset({"n"})), "login", kind="login").obligations == ()
    both = ask(text, replace(production, groups=frozenset({"u"})), "login", kind="login")
    assert both.effect is Effect.INDETERMINATE


def test_a_policy_that_fails_refuses() -> None:
    """Cedar itself passes it over, and permits."""
    text = """
    permit(principal, action, resource);
    forbid(principal, action, resource) when { 9223372036854775807 + 1 > 0 };
    """
    assert ask(text, user(ALICE)).effect is Effect.INDETERMINATE


def test_what_cannot_be_told_to_cedar() -> None:
    text = "permit(principal, action, resource);"
    with pytest.raises(ParseError, match="cannot be asked"):
        ask(text, user(ALICE), "read", "/a\udcff")


def test_the_questions() -> None:
    (question,) = questions(request_of(user(ALICE, fqans=("/a/b/Role=r",)), "read", "/x/y"))
    names = [entity["uid"] for entity in question.entities]
    assert {"type": "Fqan", "id": "/a"} in names
    assert {"type": "Directory", "id": "/"} in names
    assert len(names) == len({str(name) for name in names})


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("permit(", "Cedar"),
        ("permit(principal, action, resource) when { principal.fqan.contains(1) };", "fqan"),
        ('permit(principal == Usr::"x", action, resource);', "Usr"),
        ('permit(principal, action == Action::"file:raed", resource);', "raed"),
        ("permit(principal == ?principal, action, resource);", "template"),
        ('@acount("x") permit(principal, action, resource);', "@acount is not known"),
        ('@account("a b") permit(principal, action, resource);', "@account"),
        ('@account("a") forbid(principal, action, resource);', "go with permit"),
        ('@limited("no") permit(principal, action, resource);', "@limited"),
    ],
)
def test_what_is_refused_when_it_is_read(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_policies(text, SCHEMA)


def policy(tmp_path: Path, more: str = "", files: str = '"a.cedar"') -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(f'order = ["c"]\n[authorizer.c]\ntype = "cedar"\nfiles = [{files}]\n{more}')
    path.chmod(0o644)
    return path


def test_in_a_policy(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(BASIC)
    (tmp_path / "b.cedar").write_text('forbid(principal, action == Action::"http:GET", resource);')
    path = policy(tmp_path, 'actions = ["http:GET"]\n', '"a.cedar", "b.cedar"')
    loaded = parse_policy(path.read_bytes(), Place(str(path)))
    (member,) = loaded.policy.root.walk()
    assert decide(member.authorizer, user(ALICE), "read", "/data/alice/x").effect is PERMIT
    assert decide(member.authorizer, user(ALICE), "GET", "/data/alice/x", kind="http").effect is DENY
    assert not member.may_block
    assert lint_policy(str(path)) == []


def test_findings_of_the_check(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(BASIC)
    (tmp_path / "b.cedar").write_text("permit(principal, action, resource) when { principal.fqan == 1 };")
    path = policy(tmp_path, "", '"a.cedar", "b.cedar"')
    (finding,) = lint_policy(str(path))
    assert finding.path == str(tmp_path / "b.cedar")
    assert "fqan" in finding.message
    (tmp_path / "a.cedar").write_text("// none\n")
    (finding,) = lint_policy(str(policy(tmp_path)))
    assert "holds no policy" in finding.message


def test_a_schema_of_the_site(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text("permit(principal, action, resource);")
    path = policy(tmp_path, 'schema = "s.cedarschema"\n')
    (tmp_path / "s.cedarschema").write_text(SCHEMA)
    parse_policy(path.read_bytes(), Place(str(path)))
    (tmp_path / "s.cedarschema").write_text("entity User")
    with pytest.raises(ConfigError, match="schema"):
        parse_policy(path.read_bytes(), Place(str(path)))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('actions = ["GET"]\n', "no action"),
        ('actions = ["http:GET"]\nschema = "s"\n', "another one is given"),
        ("limit = 3\n", "unknown key"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, more: str, words: str) -> None:
    (tmp_path / "a.cedar").write_text(BASIC)
    path = policy(tmp_path, more)
    with pytest.raises(ConfigError, match=words):
        parse_policy(path.read_bytes(), Place(str(path)))
    with pytest.raises(ConfigError, match="empty"):
        parse_policy(policy(tmp_path, "", "").read_bytes(), Place(str(path)))


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cedarpy", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        load_policies(BASIC, SCHEMA)
    assert caught.value.hint is not None
