"""The site's authorization policy over MyProxy: it takes away, never gives; strangers learn nothing of it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsi.authz.decision import Account, Effect, PosixIds
from gsi.authz.engine import Engine
from gsi.authz.policy import Policy
from gsi.errors import AuthenticationError, ConfigError, DeniedError, GridError
from gsi.secret import Passphrase
from gsi.system.audit import Verdict
from myproxy.auth.base import DelayedRefusalError
from myproxy.auth.pace import Pace
from myproxy.authentication import Methods
from myproxy.callouts import SiteRules
from myproxy.grants import IssuanceGrant, Settings
from myproxy.policy import AccessPolicy
from myproxy.protocol.messages import Command, Request, TrustRootFile
from myproxy.repository.seal import INVALID_PASSPHRASE
from myproxy.wiring.authz import EngineRule, make_authorization, resource_name
from tests.harness.authz import Fixed, Raising, policy_of
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import EVERYONE, OPEN, SECRET, World, ask, make_world
from tests.unit.myproxy.test_issuing import People, built_in

SHIPPED = Path(__file__).resolve().parents[3] / "myproxy/policies"
PUT, GET = ask(Command.PUT), ask(Command.GET)
REFUSED = r"^not authorized by the site's policy \(decision [0-9a-f]{24}\)$"


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", "p256")


@pytest.fixture
def world(ca: TestCA, tmp_path: Path) -> Iterator[World]:
    with make_world(ca, tmp_path) as made:
        yield made


def site_policy(directory: Path, *lines: str) -> Path:
    """The policy that is shipped, with denials before its permit."""
    policies = directory / "policies"
    shutil.copytree(SHIPPED, policies, dirs_exist_ok=True)
    rules = policies / "myproxy.rules"
    rules.write_text("\n".join(lines) + "\n" + (SHIPPED / "myproxy.rules").read_text())
    for path in (policies / "myproxy.toml", rules):
        path.chmod(0o644)
    return policies


def tighten(
    world: World, monkeypatch: pytest.MonkeyPatch, *lines: str, access: AccessPolicy = OPEN, **more: object
) -> None:
    """Serve under the policy that is shipped, and these lines."""
    monkeypatch.setenv("GSI_AUTHZ_POLICY_DIR", str(site_policy(world.directory.parent, *lines)))
    rule = make_authorization()
    assert rule is not None
    world.configure(Settings(access=access), site_rules=SiteRules(authorization=rule), **more)  # type: ignore[arg-type]  # by name


def under(world: World, policy: Policy, **more: object) -> None:
    """Serve under another policy."""
    rules = SiteRules(authorization=EngineRule(Engine(policy), clock=lambda: world.now))
    world.configure(Settings(access=OPEN), site_rules=rules, **more)  # type: ignore[arg-type]  # by name


def everything(world: World, alice: Issued) -> dict[str, str]:
    """What becomes of each command, in the order in which they can succeed: "" or the refusal."""
    service, caller = world.service, world.caller(alice)
    told: dict[str, str] = {}

    def tried(name: str, body: object) -> None:
        assert callable(body)
        try:
            body()
        except (DeniedError, AuthenticationError) as error:
            told[name] = error.message.partition(" (decision ")[0]
        else:
            told[name] = ""

    change = ask(Command.CHANGE_PASSPHRASE, new_passphrase=Passphrase("battery staple"))
    tried("PUT", lambda: world.put(alice, PUT))
    tried("INFO", lambda: service.info(caller, ask(Command.INFO)))
    tried("GET", lambda: world.get(alice, GET))
    tried("RETRIEVE", lambda: service.finish_retrieve(service.begin_retrieve(caller, ask(Command.RETRIEVE))))  # type: ignore[arg-type]  # a grant
    tried("CHANGE", lambda: service.change_passphrase(caller, change))
    tried("DESTROY", lambda: service.destroy(caller, ask(Command.DESTROY)))
    store = ask(Command.STORE, passphrase=Passphrase(""), credential_name="stored")
    tried("STORE", lambda: service.finish_store(service.begin_store(caller, store), alice.bundle()))
    tried("GET_TRUSTROOTS", lambda: service.trust_roots(caller, ask(Command.GET_TRUSTROOTS, username="")))
    return told


KEYS = dataclasses.replace(OPEN, authorized_key_retrievers=EVERYONE)
COMMANDS = ["PUT", "INFO", "GET", "RETRIEVE", "CHANGE", "DESTROY", "STORE", "GET_TRUSTROOTS"]


def test_what_is_shipped_changes_nothing(world: World, alice: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    for access in (KEYS, OPEN, AccessPolicy(), AccessPolicy(accepted_credentials=EVERYONE)):
        world.configure(Settings(access=access))
        without = everything(world, alice)
        records = [(record.action, record.verdict, record.reason) for record in world.sink.records]
        world.sink.records.clear()
        tighten(world, monkeypatch, access=access)
        assert everything(world, alice) == without
        assert [(record.action, record.verdict, record.reason) for record in world.sink.records] == records
        world.sink.records.clear()


@pytest.mark.parametrize("denied", COMMANDS)
def test_each_command_can_be_denied(world: World, alice: Issued, monkeypatch: pytest.MonkeyPatch, denied: str) -> None:
    world.configure(Settings(access=KEYS))
    world.put(alice, PUT)
    world.sink.records.clear()
    tighten(world, monkeypatch, f'deny dn /O=Grid/CN=Alice to myproxy:{denied} because "not here"', access=KEYS)
    told = everything(world, alice)
    assert {name for name, words in told.items() if words.startswith("not authorized by the site")} == {denied}
    refusals = [record for record in world.sink.records if record.verdict is Verdict.DENY]
    assert any(": not here" in record.reason and "(decision " in record.reason for record in refusals)


@pytest.mark.parametrize(
    ("line", "username", "name", "is_denied"),
    [
        ("deny anyone to myproxy:GET on alice", "alice", None, True),
        ("deny anyone to myproxy:GET on alice", "alice", "second", False),
        ("deny anyone to myproxy:GET on alice/**", "alice", "second", True),
        ("deny anyone to myproxy:GET on alice/second", "alice", None, False),
        ("deny anyone to myproxy:GET on alice/second", "alice", "second", True),
        ("deny anyone to myproxy:GET on a/b", "a/b", None, True),
        ("deny anyone to myproxy:GET on a/b", "a", "b", True),
        ("deny anyone to myproxy:GET on bob/**", "alice", None, False),
        ("deny anyone to myproxy:GET from 127.0.0.0/8", "alice", None, True),
        ("deny group staff to myproxy:GET", "alice", None, False),
    ],
)
def test_by_user_credential_and_place(
    world: World,
    alice: Issued,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    username: str,
    name: str | None,
    *,
    is_denied: bool,
) -> None:
    request = dataclasses.replace(PUT, username=username, credential_name=name)
    world.put(alice, request)
    tighten(world, monkeypatch, line)
    wanted = dataclasses.replace(GET, username=username, credential_name=name)
    if is_denied:
        with pytest.raises(DeniedError, match=REFUSED):
            world.get(alice, wanted)
    else:
        world.get(alice, wanted)


def test_one_of_several_credentials(world: World, alice: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `check_multiple_credentials` each is asked about by its own name."""
    for name in ("first", "second"):
        world.put(alice, dataclasses.replace(PUT, credential_name=name))
    monkeypatch.setenv(
        "GSI_AUTHZ_POLICY_DIR",
        str(site_policy(world.directory.parent, "deny anyone to myproxy:GET on alice/first")),
    )
    settings = Settings(access=OPEN, check_multiple_credentials=True)
    world.configure(settings, site_rules=SiteRules(authorization=make_authorization()))
    assert world.begin_get(alice, GET).stored.name == "second"
    assert world.begin_get(None, GET).stored.name == "second"


def test_a_policy_gives_nothing_that_the_directives_do_not(
    world: World, alice: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    tighten(world, monkeypatch, access=AccessPolicy())
    told = everything(world, alice)
    assert all(told.values())
    assert not any(words.startswith("not authorized by the site") for words in told.values())


# Strangers --------------------------------------------------------------------------------------------------------


def heard(world: World, request: Request) -> tuple[str, float, int]:
    """What a stranger hears, after how long, and how many keys were derived meanwhile."""
    before = world.sealer.count
    with pytest.raises(AuthenticationError) as caught:
        world.begin_get(None, request)
    delay = caught.value.seconds if isinstance(caught.value, DelayedRefusalError) else 0.0
    derivations = world.sealer.count - before
    return caught.value.message, round(delay + derivations * 0.02, 6), derivations


def test_strangers_hear_one_text_after_the_same_work(
    world: World, alice: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    for username in ("barred", "open"):
        world.put(alice, dataclasses.replace(PUT, username=username))
    methods = Methods(pace=Pace(lambda: world.sealer.count * 0.02))
    line = 'deny anyone to myproxy:GET on barred, absent because "barred"'
    tighten(world, monkeypatch, line, methods=methods)
    told = set()
    for username, words in (
        ("barred", SECRET),  # the right one
        ("barred", "wrong words"),
        ("absent", "wrong words"),
        ("open", "wrong words"),
        ("nobody", SECRET),
    ):
        told.add(heard(world, dataclasses.replace(GET, username=username, passphrase=Passphrase(words))))
    assert len(told) == 1
    assert {message for message, _, _ in told} == {INVALID_PASSPHRASE}
    reasons = [record.reason for record in world.sink.records if record.details.get("username") == "barred"]
    assert sum("<- decision " in reason and ": barred" in reason for reason in reasons) == 2
    world.begin_get(None, dataclasses.replace(GET, username="open"))


# What is broken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        policy_of(Raising(RuntimeError("broken"))),
        policy_of(Fixed(Effect.INDETERMINATE)),
        policy_of(Fixed(Effect.NOT_APPLICABLE)),
        policy_of(Fixed(Effect.PERMIT, (PosixIds(1000, 1000),))),
        policy_of(Fixed(Effect.PERMIT, (Account("bob"),))),
    ],
    ids=["raises", "indeterminate", "not-applicable", "ids", "account"],
)
def test_no_clear_permit_is_a_refusal(world: World, alice: Issued, policy: Policy) -> None:
    world.put(alice, PUT)
    world.sink.records.clear()
    under(world, policy)
    told = everything(world, alice)
    told.pop("RETRIEVE")  # which the directives forbid
    assert all(words == "not authorized by the site's policy" for words in told.values()), told
    with pytest.raises(AuthenticationError, match=f"^{INVALID_PASSPHRASE}$"):
        world.begin_get(None, GET)
    assert all(record.verdict is Verdict.DENY for record in world.sink.records)
    assert any(
        "broken" in r.reason or "says so" in r.reason or "bound to" in r.reason or "no rule" in r.reason
        for r in world.sink.records
    )


def test_odd_names_are_refused(world: World, alice: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    tighten(world, monkeypatch, "deny anyone to myproxy:PUT on root")
    for username in ("..", "a\nb", "%25252525252e"):
        with pytest.raises(DeniedError, match=REFUSED):
            world.put(alice, dataclasses.replace(PUT, username=username))
    for username in ("./root", "root/", "%72oot", "%2572oot"):
        with pytest.raises(DeniedError, match=REFUSED):
            world.put(alice, dataclasses.replace(PUT, username=username))


def test_names_of_resources() -> None:
    assert resource_name("", None) == ""
    assert resource_name("alice", None) == "alice"
    assert resource_name("alice", "x") == "alice/x"
    assert resource_name("a/b", "c/d") == "a%2Fb/c%2Fd"
    assert resource_name("a%2Fb\n", None) == "a%252Fb%0A"


def test_a_policy_is_there_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GSI_AUTHZ_POLICY_DIR", str(tmp_path / "none"))
    assert make_authorization() is None
    monkeypatch.setenv("GSI_AUTHZ_POLICY_DIR", str(tmp_path))
    assert make_authorization() is None
    policy = tmp_path / "myproxy.toml"
    policy.write_text("order = []\n")
    with pytest.raises(ConfigError):
        make_authorization()
    policy.unlink()
    policy.symlink_to("myproxy.toml")
    with pytest.raises(ConfigError, match="cannot look for the authorization policy"):
        make_authorization()


# The authority ----------------------------------------------------------------------------------------------------

PORTAL = dataclasses.replace(OPEN, trusted_retrievers=EVERYONE)
LOGON = ask(Command.GET, username="adams", passphrase=Passphrase(""))


def issued_to(world: World, issued: Issued, request: Request = LOGON) -> IssuanceGrant:
    grant = world.service.begin_get(world.caller(issued), request)
    assert isinstance(grant, IssuanceGrant)
    return grant


def test_a_user_is_mapped(world: World, ca: TestCA, monkeypatch: pytest.MonkeyPatch) -> None:
    portal, people = ca.issue("/O=Grid/CN=Portal", "p256"), People()
    lines = ("permit anyone to myproxy:ISSUE on adams as alice", "deny anyone to myproxy:ISSUE on eve")
    tighten(world, monkeypatch, *lines, access=PORTAL, authority=built_in(world, people))
    grant = issued_to(world, portal)
    assert grant.request.username == "alice"
    assert people.asked == ["alice"]
    (record,) = world.sink.records
    assert (record.details["username"], record.details["mapped_to"]) == ("adams", "alice")
    assert issued_to(world, portal, dataclasses.replace(LOGON, username="alice")).request.username == "alice"
    with pytest.raises(DeniedError, match="unknown username: carol"):
        issued_to(world, portal, dataclasses.replace(LOGON, username="carol"))
    people.asked.clear()
    with pytest.raises(DeniedError, match=REFUSED):
        issued_to(world, portal, dataclasses.replace(LOGON, username="eve"))
    assert people.asked == []


def test_trust_roots_of_a_stranger(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    files = (TrustRootFile("1234abcd.0", b"x"),)
    tighten(world, monkeypatch, "deny anyone to myproxy:GET_TRUSTROOTS", trust_roots=files)
    with pytest.raises(GridError, match=REFUSED):
        world.service.trust_roots(world.caller(None), ask(Command.GET_TRUSTROOTS, username=""))
