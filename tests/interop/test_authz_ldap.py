"""Groups and decisions of a real slapd: whose they are, whose they are not, and what happens when it is gone."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gsi.authz.decision import Account, Decision, Effect, Subject
from gsi.authz.engine import Engine
from gsi.authz.ldap_groups import By, DirectorySettings, GroupAuthorizer, GroupSettings, GroupSource, People
from gsi.authz.policy import Source
from gsi.authz.policyfile import parse_policy
from gsi.authz.registry import Place
from gsi.errors import ConfigError, ConflictError, GridError, ParseError, RefusedError, TimeoutExpiredError
from gsi.names import parse_rfc4514
from gsi.proxy.kinds import ProxyKind
from gsi.secret import Passphrase
from tests.harness.authz import Fixed, policy_of, request_of, user
from tests.harness.ca import TestCA
from tests.harness.slapd import BASE, PEOPLE, READER, READER_PASSWORD, Directory, person, slapd

ALICE, BOB, EVE, TWIN = (f"/O=Grid/CN={name}" for name in ("Alice", "Bob", "Eve", "Twin"))
GROUPS = f"ou=groups,{BASE}"
EVES = f"uid=eve,{PEOPLE}"
INJECTIONS = ["*", "a*", "alice)(uid=*", "*)(objectClass=*", "alice)(|(uid=bob", "\\2a", "alice\0", "\\", "(", "é)"]


def group(name: str, *members: str, note: str = "none") -> str:
    lines = [f"dn: cn={name},{GROUPS}", "objectClass: groupOfNames", f"cn: {name}", f"description: {note}"]
    return "\n".join([*lines, *(f"member: uid={member},{PEOPLE}" for member in members)]) + "\n"


ENTRIES = [
    f"dn: {GROUPS}\nobjectClass: organizationalUnit\nou: groups\n",
    person("alice", mail="alice@example.org", description=ALICE, employeeType="physicist", title="alice"),
    person("bob", description=BOB),
    person("eve", description=EVE, title="eve"),
    person("one", description=TWIN),
    person("two", description=TWIN),
    person("wide", description="/O=Grid/CN=W\uff29DE"),
    person("star", description="/O=Grid/CN=*"),
    group("staff", "alice", "bob", note="alice"),
    group("physics", "alice"),
    group("suspended", "eve", note="eve"),
]


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Directory CA")


@pytest.fixture(scope="module")
def server(ca: TestCA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    with slapd(ca, tmp_path_factory.mktemp("slapd") / "one", ENTRIES) as running:
        yield running


def settings(server: Directory, **more: object) -> DirectorySettings:
    common: dict[str, object] = {
        "servers": (server.ldap_uri,),
        "user_base": PEOPLE,
        "user_attribute": "description",
        "group_base": GROUPS,
    }
    return DirectorySettings(**(common | more))  # type: ignore[arg-type]  # the caller names fields


def groups_of(server: Directory, subject: Subject, **more: object) -> set[str]:
    source = GroupSource("directory", People(settings(server, **more)))
    return set(source.collect(request_of(subject)).subject.groups)


# --- whose groups -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["plain", "start_tls", "ldaps"])
def test_groups_and_claims(server: Directory, how: str) -> None:
    uri = server.ldaps_uri if how == "ldaps" else server.ldap_uri
    where = settings(
        server,
        servers=(uri,),
        start_tls=how == "start_tls",
        ca_file="" if how == "plain" else str(server.ca_path),
        groups_from=("employeeType",),
        prefix="ldap:",
        claims={"mail": "mail", "phone": "telephoneNumber"},
    )
    source = GroupSource("directory", People(where))
    for _ in range(2):
        before = request_of(user(ALICE, groups=frozenset({"own"}), claims={"iss": "x"}))
        subject = source.collect(before).subject
        assert subject.groups == {"own", "ldap:staff", "ldap:physics", "ldap:physicist"}
        assert subject.claims == {"iss": "x", "mail": ("alice@example.org",), "phone": ()}


@pytest.mark.parametrize(
    ("dn", "found"),
    [
        (ALICE, {"staff", "physics"}),
        ("/O=Grid/CN=alice", {"staff", "physics"}),  # one name, by RFC 5280
        (BOB, {"staff"}),
        ("/O=Grid/CN=Nobody", set()),
        ("/O=Grid/CN=Alic*", set()),
        ("/O=Grid/CN=WIDE", set()),  # for the directory it is the entry's, but it is another name
        ("/O=Grid/CN=*", set()),  # an entry without groups, and not everybody's
    ],
)
def test_whose_groups(server: Directory, dn: str, found: set[str]) -> None:
    assert groups_of(server, user(dn)) == found


@pytest.mark.parametrize("text", INJECTIONS)
def test_names_are_values_and_no_filters(server: Directory, text: str) -> None:
    """Injection by a common name, and by an account."""
    escaped = "".join(f"\\{char}" if char in '\\,+"<>;=#' else char for char in text).replace("\0", "\\00")
    sly = Subject(identity="x", identity_der=parse_rfc4514(f"CN={escaped},O=Grid"), authenticated_by="x509")
    assert groups_of(server, sly) == set()
    source = GroupSource("directory", People(settings(server, by=By.ACCOUNT, user_attribute="uid")))
    asked = request_of(user(ALICE), attributes={"account": (text,)})
    assert source.collect(asked).subject.groups == frozenset()


def test_who_is_not_looked_up(server: Directory) -> None:
    assert groups_of(server, Subject()) == set()
    assert groups_of(server, Subject(identity=ALICE, authenticated_by="token")) == set()
    for kind in (ProxyKind.RESTRICTED, ProxyKind.INDEPENDENT):
        assert groups_of(server, user(ALICE, kind=kind, independent=kind is ProxyKind.INDEPENDENT)) == set()
    assert groups_of(server, user(ALICE, kind=ProxyKind.LIMITED, limited=True)) == {"staff", "physics"}


def test_by_account(server: Directory) -> None:
    people = People(settings(server, by=By.ACCOUNT, user_attribute="uid"))
    source = GroupSource("directory", people)

    def groups(*accounts: str, desired: str | None = None) -> frozenset[str]:
        asked = request_of(user(EVE), attributes={"account": accounts}, desired_account=desired)
        return source.collect(asked).subject.groups

    assert groups("alice") == {"staff", "physics"}
    assert groups("ALICE") == frozenset()  # for the directory the same, for the system another account
    for accounts in ((), ("",), ("alice", "bob")):
        with pytest.raises(ParseError, match="which account"):
            groups(*accounts, desired="alice")


def test_members_by_an_attribute(server: Directory) -> None:
    found = groups_of(server, user(ALICE), group_members={"description": "title"})
    assert found == {"staff"}


def test_filters_and_actions(server: Directory) -> None:
    assert groups_of(server, user(ALICE), user_filter="(mail=*)") == {"staff", "physics"}
    assert groups_of(server, user(BOB), user_filter="(mail=*)") == set()
    assert groups_of(server, user(ALICE), actions=("job:*", "read")) == {"staff", "physics"}
    assert groups_of(server, user(ALICE), actions=("job:*", "write")) == set()


def test_names_as_ldap_writes_them(ca: TestCA, tmp_path: Path) -> None:
    with slapd(ca, tmp_path / "other", [ENTRIES[0], person("alice", description="CN=Alice,O=Grid")]) as other:
        where = settings(other, group_base="", groups_from=("uid",), dn_form="rfc4514")
        from gsi.authz.ldap_groups import DNForm

        source = GroupSource("d", People(replace(where, dn_form=DNForm.RFC4514)))
        assert source.collect(request_of(user(ALICE))).subject.groups == {"alice"}


# --- failures ---------------------------------------------------------------------------------------------------------


def test_two_entries_are_a_failure(server: Directory) -> None:
    with pytest.raises(ConflictError):
        groups_of(server, user(TWIN))


@pytest.mark.parametrize(
    "more",
    [
        {"user_base": "ou=nowhere," + BASE},
        {"user_filter": "(mail=*))(mail=*)"},
        {"user_filter": "(((mail=*)"},
        {"group_base": "ou=nowhere," + BASE},
        {"servers": ("ldap://127.0.0.1:1",)},
    ],
)
def test_failures_refuse(server: Directory, more: dict[str, object]) -> None:
    with pytest.raises(GridError):
        groups_of(server, user(ALICE), **more)
    source = Source(GroupSource("directory", People(settings(server, **more))))
    engine = Engine(policy_of(Fixed(Effect.PERMIT), sources=(source,)))
    assert engine.authorize(request_of(user(ALICE))).effect is Effect.INDETERMINATE


def test_a_directory_that_says_nothing(server: Directory) -> None:
    from datetime import timedelta

    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimeoutExpiredError):
            groups_of(server, user(ALICE), servers=(uri,), answer_within=timedelta(seconds=0.2))


def test_a_claim_from_elsewhere_is_not_overwritten(server: Directory) -> None:
    source = GroupSource("directory", People(settings(server, claims={"mail": "mail"})))
    with pytest.raises(ParseError, match="elsewhere"):
        source.collect(request_of(user(ALICE, claims={"mail": "x"})))


def test_what_is_kept_and_for_how_long(ca: TestCA, tmp_path: Path) -> None:
    """What was found stays for its time when the directory is gone, what was not found as well; nothing else."""
    from datetime import timedelta

    with slapd(ca, tmp_path / "brief", ENTRIES) as brief:
        kept = People(settings(brief))
        short = People(settings(brief, cache_time=timedelta(0), absent_time=timedelta(0)))
        for people in (kept, short):
            assert people.find(request_of(user(ALICE))) is not None
            assert people.find(request_of(user("/O=Grid/CN=Nobody"))) is None
        os.kill(brief.pid, signal.SIGTERM)
        os.waitid(os.P_PID, brief.pid, os.WEXITED | os.WNOWAIT)
        assert kept.find(request_of(user(ALICE))) is not None
        assert kept.find(request_of(user("/O=Grid/CN=Nobody"))) is None
        for people, dn in ((kept, BOB), (short, ALICE), (short, "/O=Grid/CN=Nobody")):
            with pytest.raises(GridError):
                people.find(request_of(user(dn)))


def test_a_connection_that_the_server_closed_is_made_anew(ca: TestCA, tmp_path: Path) -> None:
    from datetime import timedelta

    with slapd(ca, tmp_path / "closing", ENTRIES) as closing:
        people = People(settings(closing, cache_time=timedelta(0)))
        assert people.find(request_of(user(ALICE))) is not None
        (idle,) = people._idle
        idle.close()
        assert people.find(request_of(user(ALICE))) is not None


# --- the authorizer ---------------------------------------------------------------------------------------------------


def members(server: Directory, **more: object) -> GroupAuthorizer:
    common: dict[str, object] = {
        "servers": (server.ldap_uri,),
        "user_base": PEOPLE,
        "user_attribute": "description",
        "group_base": GROUPS,
        "permit": ("staff",),
        "deny": ("SUSP*",),
        "account_attribute": "uid",
    }
    made = GroupSettings(**(common | more))  # type: ignore[arg-type]  # the caller names fields
    return GroupAuthorizer("members", People(made, account_attribute=made.account_attribute), made)


def login(authorizer: GroupAuthorizer, dn: str, *, desired_account: str | None = None) -> Decision:
    return authorizer.decide(request_of(user(dn), "login", kind="login", desired_account=desired_account))


def test_decisions(server: Directory) -> None:
    authorizer = members(server)
    assert login(authorizer, ALICE).obligations == (Account("alice"),)
    assert login(authorizer, ALICE).reason == f"uid=alice,{PEOPLE} is in staff"
    assert login(authorizer, EVE).effect is Effect.DENY
    assert login(authorizer, "/O=Grid/CN=Nobody").effect is Effect.NOT_APPLICABLE
    assert login(authorizer, ALICE, desired_account="alice").effect is Effect.PERMIT
    assert login(authorizer, ALICE, desired_account="bob").effect is Effect.NOT_APPLICABLE
    assert authorizer.decide(request_of(user(ALICE), "read")).effect is Effect.NOT_APPLICABLE
    assert login(members(server, permit=("physics",)), BOB).effect is Effect.NOT_APPLICABLE
    assert login(members(server, permit=("*",), account_attribute=""), BOB) == replace(
        login(members(server, account_attribute=""), BOB), reason=f"uid=bob,{PEOPLE} is in *"
    )
    assert login(members(server, account_attribute="mail"), BOB).effect is Effect.INDETERMINATE
    with pytest.raises(ConflictError):
        login(authorizer, TWIN)
    with pytest.raises(ParseError):
        login(members(server, account_attribute="description"), ALICE)  # which is no name of an account


def entry(name: str, *lines: str) -> str:
    """A group of another sort."""
    return "\n".join([f"dn: cn={name},{GROUPS}", f"cn: {name}", *lines]) + "\n"


ODD = [
    entry("suspended", "objectClass: groupOfNames", f"member: cn=physics,{GROUPS}", f"member: uid=bob,{PEOPLE}"),
    entry("old", "objectClass: groupOfUniqueNames", f"uniqueMember: uid=eve,{PEOPLE}"),
    entry("posix", "objectClass: posixGroup", "gidNumber: 100", "memberUid: eve", "memberUid: a*"),
    entry("ring", "objectClass: groupOfNames", f"member: cn=knot,{GROUPS}", f"member: uid=star,{PEOPLE}"),
    entry("knot", "objectClass: groupOfNames", f"member: cn=ring,{GROUPS}"),
    *(
        entry(
            f"deep{n}", "objectClass: groupOfNames", f"member: cn=deep{n + 1},{GROUPS}" if n < 8 else f"member: {EVES}"
        )
        for n in range(9)
    ),
]


@pytest.fixture(scope="module")
def odd(ca: TestCA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    """Groups within groups, in circles, and of every class."""
    usual = [one for one in ENTRIES if "cn=suspended" not in one]
    with slapd(ca, tmp_path_factory.mktemp("slapd") / "odd", [*usual, *ODD]) as running:
        yield running


def test_groups_within_groups_and_of_every_class(odd: Directory) -> None:
    assert groups_of(odd, user(ALICE)) == {"staff", "physics", "suspended"}
    assert groups_of(odd, user(ALICE), group_depth=0) == {"staff", "physics"}
    assert groups_of(odd, user("/O=Grid/CN=*")) == {"ring", "knot"}
    every = {"member": "dn", "uniqueMember": "dn", "memberUid": "uid"}
    eve = {f"deep{n}" for n in range(9)} | {"old"}
    assert groups_of(odd, user(EVE), group_depth=8) == eve
    assert groups_of(odd, user(EVE), group_depth=8, group_members=every) == eve | {"posix"}
    assert groups_of(odd, user(EVE), group_members={"uniqueMember": "dn"}) == {"old"}
    assert groups_of(odd, user(EVE), group_members={"memberUid": "uid"}) == {"posix"}
    for depth in (1, 5, 7):
        with pytest.raises(ParseError, match=f"more than {depth} deep"):
            groups_of(odd, user(EVE), group_depth=depth)


def test_denials_hold_through_groups(odd: Directory) -> None:
    strict = members(odd, permit=("staff",), deny=("suspended", "old"), account_attribute="")
    assert login(strict, ALICE).effect is Effect.DENY
    assert login(strict, BOB).effect is Effect.DENY
    engine = Engine(policy_of(strict))
    assert engine.authorize(request_of(user(EVE), "login")).effect is Effect.INDETERMINATE


@pytest.mark.parametrize("where", [GROUPS, PEOPLE])
def test_an_answer_that_goes_on_elsewhere_is_none(ca: TestCA, tmp_path: Path, where: str) -> None:
    elsewhere = (
        f"dn: ou=sub,{where}\nobjectClass: referral\nobjectClass: extensibleObject\nou: sub\n"
        f"ref: ldap://127.0.0.1:1/ou=sub,{where}\n"
    )
    with slapd(ca, tmp_path / "s", [*ENTRIES, elsewhere]) as running:
        with pytest.raises(RefusedError, match=r"a part of the answer is elsewhere, at \'ldap://127\.0\.0\.1:1/"):
            groups_of(running, user(ALICE))
        assert Engine(policy_of(members(running))).authorize(request_of(user(ALICE), "login")).effect is (
            Effect.INDETERMINATE
        )


def test_a_servers_size_limit(ca: TestCA, tmp_path: Path) -> None:
    with slapd(ca, tmp_path / "s", ENTRIES, settings="sizelimit 1") as running:
        with pytest.raises(ConflictError, match="the server's size limit is reached, or there are more than 2048"):
            groups_of(running, user(ALICE))
        assert groups_of(running, user(BOB)) == {"staff"}


def test_denials_are_for_every_action(server: Directory) -> None:
    """Who is suspended is so for web services and files as well, without that the policy says it once more."""

    def effect(authorizer: GroupAuthorizer, dn: str, action: str, kind: str) -> Effect:
        return authorizer.decide(request_of(user(dn), action, kind=kind)).effect

    only = members(server, permit=(), account_attribute="")
    for action, kind in (("read", "http"), ("write", "file"), ("start", "job"), ("login", "login")):
        assert effect(only, EVE, action, kind) is Effect.DENY
        assert effect(only, ALICE, action, kind) is Effect.NOT_APPLICABLE
    both = members(server, actions=("read",))
    assert effect(both, EVE, "write", "file") is Effect.DENY
    assert effect(both, ALICE, "read", "file") is Effect.PERMIT
    assert effect(both, ALICE, "write", "file") is Effect.NOT_APPLICABLE
    narrow = members(server, actions=("*",), deny_actions=("login", "job:*"))
    assert effect(narrow, EVE, "start", "job") is Effect.DENY
    assert effect(narrow, EVE, "read", "file") is Effect.NOT_APPLICABLE
    assert effect(narrow, ALICE, "read", "file") is Effect.PERMIT
    by_account = members(server, by=By.ACCOUNT, user_attribute="uid")
    assert effect(by_account, EVE, "read", "file") is Effect.NOT_APPLICABLE  # nobody says which account that is
    asked = request_of(user(EVE), "login", kind="login", attributes={"account": ("eve",)})
    assert by_account.decide(asked).effect is Effect.DENY


# --- settings ---------------------------------------------------------------------------------------------------------


def test_in_a_policy(ca: TestCA, tmp_path: Path) -> None:
    """As the reader, over TLS, where nobody else may read; source and authorizer together."""
    with slapd(ca, tmp_path / "closed", ENTRIES, anonymous=False, confidential=True) as closed:
        (tmp_path / "password").write_text(READER_PASSWORD + "\n")
        (tmp_path / "password").chmod(0o600)
        (tmp_path / "rules").write_text("permit group dir:physics to read\n")
        common = f"""type = "ldap"
servers = ["{closed.ldaps_uri}"]
ca_file = "{closed.ca_path}"
user_base = "{PEOPLE}"
user_attribute = "description"
group_base = "{GROUPS}"
"""
        bound = f'bind_dn = "{READER}"\npassword_file = "password"\n'
        text = (
            'order = ["members", "rules"]\nsources = ["directory"]\n'
            '[authorizer.rules]\ntype = "rules"\nfile = "rules"\n'
            f'[source.directory]\n{common}{bound}prefix = "dir:"\n'
            f'[authorizer.members]\n{common}{bound}permit = ["staff"]\naccount_attribute = "uid"\n'
            'deny = ["suspended"]\ndeny_actions = ["*"]\n'
        )
        place = Place(str(tmp_path / "policy.toml"))
        engine = Engine(parse_policy(text.encode(), place).policy)
        assert engine.authorize(request_of(user(ALICE), "login", kind="login")).account == "alice"
        assert engine.authorize(request_of(user(ALICE), "read")).effect is Effect.PERMIT
        assert engine.authorize(request_of(user(BOB), "read")).effect is Effect.NOT_APPLICABLE
        anonymous = Engine(parse_policy(text.replace(bound, "").encode(), place).policy)
        assert anonymous.authorize(request_of(user(ALICE), "read")).effect is Effect.INDETERMINATE
        (tmp_path / "password").write_text("wrong")
        wrong = Engine(parse_policy(text.encode(), place).policy)
        decision = wrong.authorize(request_of(user(ALICE), "read"))
        assert decision.effect is Effect.INDETERMINATE
        assert "does not accept the password" in decision.reason
        (tmp_path / "password").chmod(0o644)
        with pytest.raises(ConfigError):
            parse_policy(text.encode(), place)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"servers": ()}, "no LDAP server"),
        ({"servers": ("http://localhost",)}, "no LDAP server"),
        ({"servers": ("ldap://ldap.example.org",)}, "plain LDAP"),
        ({"servers": ("ldap://localhost", "ldap://ldap.example.org")}, "plain LDAP"),
        ({"user_attribute": "uid)(x"}, "no name of an LDAP attribute"),
        ({"groups_from": ("a b",)}, "no name of an LDAP attribute"),
        ({"claims": {"mail": "*"}}, "no name of an LDAP attribute"),
        ({"claims": {"a b": "mail"}}, "no name of a claim"),
        ({"user_filter": "mail=*"}, "no filter"),
        ({"group_members": {"a b": "dn"}}, "no name of an LDAP attribute"),
        ({"group_members": {"member": "*"}}, "no name of an LDAP attribute"),
        ({"group_base": GROUPS, "group_members": {}}, "nobody would be in a group"),
        ({"bind_dn": "cn=x"}, "go together"),
        ({"password_file": "x"}, "go together"),
        ({"actions": ("a b",)}, "no action"),
        ({"permit": (), "deny": ()}, "never speak"),
        ({"deny": (), "deny_actions": ("*",)}, "goes with deny"),
        ({"deny": ("x",), "deny_actions": ()}, "goes with deny"),
        ({"deny": ("x",), "deny_actions": ("a b",)}, "no action"),
        ({"permit": (), "deny": ("x",), "account_attribute": "uid"}, "goes with permit"),
    ],
)
def test_settings_that_are_refused(more: dict[str, object], words: str) -> None:
    common: dict[str, object] = {
        "servers": ("ldaps://localhost",),
        "user_base": PEOPLE,
        "user_attribute": "uid",
        "permit": ("x",),
    }
    with pytest.raises((ConfigError, ParseError), match=words):
        GroupSettings(**(common | more))  # type: ignore[arg-type]  # the caller names fields


def test_a_wrong_password_is_the_sites_mistake(server: Directory) -> None:
    people = People(settings(server, bind_dn=READER, password_file="x"), passphrase=Passphrase("wrong"))
    with pytest.raises(ConfigError, match="password"):
        people.find(request_of(user(ALICE)))
    assert issubclass(RefusedError, GridError)
