"""The words of the commands for administrators: what they mean in every form of GT, and what is said of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from cas.assertion.value import Comparison
from cas.cli import action, enroll, group_admin, group_entries, remove, rights_admin
from cas.cli.import_policy import MAX_BODY_CHARS, MAX_CHANGES, batches
from cas.cli.words import Words
from cas.policy.changes import AddFeed, AddMember, Change, Enrol, Grant, Remove, RemoveMember, Revoke, SetFqan
from cas.policy.conditions import Proxies, Strength, Terms
from cas.policy.model import (
    SERVER,
    SUPERUSER,
    ActionGroup,
    Effect,
    Feed,
    FeedSource,
    Kind,
    Namespace,
    ObjectGroup,
    ObjectName,
    Ref,
    ServiceAction,
    ServiceType,
    Statement,
    TrustAnchor,
    User,
    UserGroup,
)
from gsi.cli.arguments import CommandParser, UsageError
from gsi.errors import GridError, ParseError

DATA = "ftp://h/d/*"
FTP = "FTPDirectoryTree"
READ = Ref(Kind.SERVICE_ACTION, "read", "file")
OBJECT = Ref(Kind.OBJECT, DATA, FTP)
URL = "http://www.gridforum.org/ops"

Reader = Callable[..., Sequence[Change]]


def read(parser: CommandParser, forms: Sequence[str], reader: Reader, words: Sequence[str]) -> Change:
    arguments = parser.parse_args(list(words))
    line = Words(parser.prog, forms, arguments.words)
    (change,) = reader(line, arguments)
    line.end()
    return change


def enrolled(*words: str) -> Change:
    return read(enroll.build_parser(), enroll.FORMS, enroll._read, words)


def granted(*words: str) -> Change:
    return read(rights_admin.build_parser(), rights_admin.FORMS, rights_admin._read, words)


def added(*words: str) -> Change:
    return read(group_entries.build_parser(), group_entries.FORMS, group_entries._add, words)


@pytest.mark.parametrize(
    ("words", "entity"),
    [
        ("trustAnchor|own|ca|X509|/O=Grid/CN=CA", TrustAnchor("ca", "/O=Grid/CN=CA")),
        ("-strength|high|trustAnchor|own|c a|X509|/CN=CA", TrustAnchor("c a", "/CN=CA", strength=Strength.HIGH)),
        ("user|own|alice|/O=Grid/CN=Alice B|ca", User("alice", "/O=Grid/CN=Alice B", "ca")),
        ("namespace|own|n||ExactComparison", Namespace("n", "", Comparison.EXACT)),
        ("namespace|own|n|ftp://h/|WildCardComparison", Namespace("n", "ftp://h/", Comparison.WILDCARD)),
        (f"object|own|{DATA}|{FTP}", ObjectName(FTP, DATA)),
        (f"serviceType|own|{URL}", ServiceType(URL)),
    ],
)
def test_enrolment(words: str, entity: object) -> None:
    assert enrolled(*words.split("|")) == Enrol(entity, "own")  # type: ignore[arg-type]  # one of them


def test_removal() -> None:
    def removed(*words: str) -> Change:
        return read(remove.build_parser(), remove.FORMS, remove._read, words)

    for kind in ("trustAnchor", "user", "namespace", "serviceType"):
        assert removed(kind, "x y") == Remove(Ref(Kind(kind), "x y"))
    assert removed("object", DATA, FTP) == Remove(OBJECT)


def test_actions() -> None:
    def done(*words: str) -> Change:
        return read(action.build_parser(), action.FORMS, action._read, words)

    assert done("add", URL, "stage") == Enrol(ServiceAction(URL, "stage"))
    assert done("remove", "file", "read") == Remove(READ)


def test_groups() -> None:
    def done(*words: str) -> Change:
        return read(group_admin.build_parser(), group_admin.FORMS, group_admin._read, words)

    assert done("user", "create", "own", "g") == Enrol(UserGroup("g"), "own")
    assert done("object", "create", "own", "g") == Enrol(ObjectGroup("g"), "own")
    assert done("serviceAction", "create", "own", "g") == Enrol(ActionGroup("g"), "own")
    assert done("user", "delete", "g") == Remove(Ref(Kind.USER_GROUP, "g"))
    assert done("object", "delete", "g") == Remove(Ref(Kind.OBJECT_GROUP, "g"))
    assert done("serviceAction", "delete", "g") == Remove(Ref(Kind.SERVICE_ACTION_GROUP, "g"))
    assert done("user", "fqan", "g", "/vo/g") == SetFqan("g", "/vo/g")
    assert done("user", "fqan", "g", "none") == SetFqan("g", None)


@pytest.mark.parametrize(
    ("words", "member"),
    [
        (("object", FTP, DATA), OBJECT),
        (("object", f"{FTP}|{DATA}"), OBJECT),
        (("user", "alice"), Ref(Kind.USER, "alice")),
        (("userGroup", "readers"), Ref(Kind.USER_GROUP, "readers")),
        (("serviceType", "file"), Ref(Kind.SERVICE_TYPE, "file")),
        (("namespace", "n"), Ref(Kind.NAMESPACE, "n")),
        (("trustAnchor", "ca"), Ref(Kind.TRUST_ANCHOR, "ca")),
        (("objectGroup", "o"), Ref(Kind.OBJECT_GROUP, "o")),
    ],
)
def test_entries_of_groups_of_objects(words: tuple[str, ...], member: Ref) -> None:
    assert added("object", "g", *words) == AddMember(Ref(Kind.OBJECT_GROUP, "g"), member)


def test_entries_of_other_groups() -> None:
    users, actions = Ref(Kind.USER_GROUP, "g"), Ref(Kind.SERVICE_ACTION_GROUP, "g")
    assert added("user", "g", "alice") == AddMember(users, Ref(Kind.USER, "alice"))
    assert added("user", "g", "userGroup") == AddMember(users, Ref(Kind.USER, "userGroup"))
    assert added("user", "g", "userGroup", "h") == AddMember(users, Ref(Kind.USER_GROUP, "h"))
    assert added("user", "g", "voms", "/vo/x/Role=NULL") == AddFeed("g", Feed(FeedSource.VOMS, "/vo/x"))
    assert added("user", "g", "ldap", "cn=x") == AddFeed("g", Feed(FeedSource.LDAP, "cn=x"))
    assert added("serviceAction", "g", "file", "read") == AddMember(actions, READ)
    assert added("serviceAction", "g", "file/read") == AddMember(actions, READ)
    assert added("serviceAction", "g", URL, "read") == AddMember(actions, Ref(Kind.SERVICE_ACTION, "read", URL))
    inner = Ref(Kind.SERVICE_ACTION_GROUP, "h")
    assert added("serviceAction", "g", "serviceActionGp", "h") == AddMember(actions, inner)
    gone = read(group_entries.build_remove_parser(), group_entries.FORMS, group_entries._remove, ("user", "g", "alice"))
    assert gone == RemoveMember(users, Ref(Kind.USER, "alice"))


@pytest.mark.parametrize("on", [("object", FTP, DATA), ("object", f"{FTP}|{DATA}")])
@pytest.mark.parametrize("what", [("serviceAction", "file", "read"), ("serviceAction", "file/read")])
def test_rights(on: tuple[str, ...], what: tuple[str, ...]) -> None:
    permit, deny = (Statement("g", effect, READ, OBJECT) for effect in (Effect.PERMIT, Effect.DENY))
    assert granted("grant", "g", *on, *what) == Grant(permit)
    assert granted("revoke", "g", *on, *what) == Revoke(permit)
    assert granted("deny", "g", *on, *what) == Grant(deny)
    assert granted("lift", "g", *on, *what) == Revoke(deny)


def test_rights_on_the_server_and_for_groups_of_actions() -> None:
    assert granted("grant", "g", "server", "serviceAction", "cas", "superuser") == Grant(
        Statement("g", Effect.PERMIT, SUPERUSER, SERVER)
    )
    found = granted("grant", "g", "objectGroup", "o", "serviceActionGp", "a")
    on, what = Ref(Kind.OBJECT_GROUP, "o"), Ref(Kind.SERVICE_ACTION_GROUP, "a")
    assert found == Grant(Statement("g", Effect.PERMIT, what, on))


def test_terms() -> None:
    words = ("grant", "g", "object", FTP, DATA, "serviceAction", "file", "read")
    options = ("-from", "2126-01-01", "-until=2126-02-01T01:00+01:00", "--proxies", "limited", "-strength", "high")
    found = granted(*options, *words)
    assert isinstance(found, Grant)
    moments = [
        moment and moment.isoformat() for moment in (found.statement.terms.not_before, found.statement.terms.not_after)
    ]
    assert moments == ["2126-01-01T00:00:00+00:00", "2126-02-01T00:00:00+00:00"]
    assert found.statement.terms.proxies is Proxies.LIMITED
    assert found.statement.terms.strength is Strength.HIGH
    plain = granted(*words)
    assert isinstance(plain, Grant)
    assert plain.statement.terms == Terms()


@pytest.mark.parametrize(
    ("reader", "words", "said", "hint"),
    [
        (enrolled, (), "KIND is missing", "'cas-enroll -help' lists the forms"),
        (enrolled, ("User", "g"), "'User' is no KIND; it is written user", "'cas-enroll -help' lists the forms"),
        (
            enrolled,
            ("usr",),
            "'usr' is no KIND; one of trustAnchor, user, namespace, object, serviceType",
            "'cas-enroll",
        ),
        (enrolled, ("user", "g", "a", "/CN=A"), "TRUSTANCHOR is missing behind '/CN=A'", "user GROUP NICKNAME SUBJECT"),
        (enrolled, ("user", "g", "a", "/CN=A", "ca", "x"), "'x' is too much", "cas-enroll user GROUP"),
        (enrolled, ("user", "", "a", "/CN=A", "ca"), "GROUP is empty", "cas-enroll user GROUP"),
        (
            enrolled,
            ("namespace", "g", "n", "", "wild"),
            "'wild' is no ALGORITHM; one of ExactComparison",
            "namespace G",
        ),
        (enrolled, ("-strength", "low", "user", "g"), "-strength says something of trust anchors alone", "users have"),
        (granted, ("permit",), "'permit' is no VERB; one of grant, revoke, deny, lift", "'cas-rights-admin -help'"),
        (granted, ("grant", "g", "objekt"), "'objekt' is no KIND; one of trustAnchor, user,", "grant|revoke GROUP"),
        (granted, ("grant", "g", "object", FTP), f"NAME is missing behind '{FTP}'", "cas-rights-admin grant|revoke"),
        (granted, ("grant", "g", "object", FTP, DATA, "file"), "'file' is no KIND of action; one of", "grant|revoke"),
        (granted, ("-until", "soon", "grant"), "-until: needs a time like 2026-01-01T08:00Z, not 'soon'", "-help"),
        (
            added,
            ("user", "g", "group", "x"),
            "'group' is no KIND of member; one of user, userGroup, voms, ldap",
            "cas-",
        ),
        (
            added,
            ("object", "g", "serviceAction", "file/read"),
            "'serviceAction' is no KIND; one of",
            "object GROUP KIND",
        ),
    ],
)
def test_what_is_no_command(reader: Callable[..., Change], words: tuple[str, ...], said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        reader(*words)
    assert said in caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    "words",
    [
        ("user", "g", "al|ce", "/CN=A", "ca"),
        ("user", "g", "alice", "no name", "ca"),
        ("trustAnchor", "g", "ca", "kerberos", "/CN=CA"),
        ("namespace", "g", "n", "ftp://h/../", "WildCardComparison"),
        ("serviceType", "g", "two words"),
    ],
)
def test_names_that_nothing_can_have(words: tuple[str, ...]) -> None:
    with pytest.raises(GridError) as caught:
        enrolled(*words)
    assert isinstance(caught.value, ParseError)


def test_imports_go_in_parts_that_a_server_takes() -> None:
    few: list[Change] = [Enrol(UserGroup(f"g{number}")) for number in range(MAX_CHANGES + 1)]
    assert [len(part) for part in batches(few)] == [MAX_CHANGES, 1]
    long: list[Change] = [Enrol(ObjectName("n", "x" * 1500)) for _ in range(300)]
    parts = list(batches(long))
    assert len(parts) > 1
    assert sum(map(len, parts)) == 300
    assert all(len(str(part)) <= MAX_BODY_CHARS for part in parts)
    assert list(batches([])) == []
