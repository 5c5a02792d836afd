"""Who may what: both lists must agree, nobody by default, the C server's words."""

from __future__ import annotations

import pytest

from gsi.errors import DeniedError, ParseError
from myproxy.policy import ANONYMOUS, AccessPolicy, Client, Subject, parse_rule, parse_rules

ALICE = Client("/O=Grid/CN=Alice")
BOB = Client("/O=Grid/CN=Bob")
STRANGER = Client(ANONYMOUS)
EVERYONE = parse_rules(["*"])


def test_prefixes() -> None:
    assert parse_rule("subject:*/CN=Alice").matches(ALICE)
    assert parse_rule("SUBJECT:*/CN=Alice").subject is Subject.NAME
    member = Client("/CN=x", ("/vo/Role=admin/Capability=NULL",))
    assert parse_rule("fqan:/vo/*").matches(member)
    assert not parse_rule("FQAN:/vo/*").matches(ALICE)
    assert not parse_rule("/vo/*").matches(member)


def test_a_broken_pattern_is_an_error() -> None:
    with pytest.raises(ParseError):
        parse_rules(["*", "(("])


def test_empty_lists_permit_nobody() -> None:
    policy = AccessPolicy()
    with pytest.raises(DeniedError, match=r'"/O=Grid/CN=Alice" not authorized to store credentials on this server'):
        policy.permit_storage(ALICE, owner=None)
    with pytest.raises(DeniedError, match=r"not authorized by server's authorized_retrievers policy"):
        policy.permit_retrieval(ALICE, "*")


def test_storage_is_for_the_owner_and_never_for_strangers() -> None:
    policy = AccessPolicy(accepted_credentials=EVERYONE)
    assert "accepted_credentials *" in policy.permit_storage(ALICE, owner=None).server_rule
    policy.permit_storage(ALICE, owner=ALICE.name)
    with pytest.raises(DeniedError, match=r'Credentials not owned by "/O=Grid/CN=Bob"\.'):
        policy.permit_storage(BOB, owner=ALICE.name)
    with pytest.raises(DeniedError):
        policy.permit_storage(STRANGER, owner=None)
    with pytest.raises(DeniedError):
        policy.permit_storage(STRANGER, owner=ANONYMOUS)


@pytest.mark.parametrize(
    ("stored", "default", "client", "allowed"),
    [
        (None, None, STRANGER, True),
        (None, ["*/CN=Alice"], ALICE, True),
        (None, ["*/CN=Alice"], BOB, False),
        ("*/CN=Bob", ["*/CN=Alice"], BOB, True),
        ("*/CN=Bob", ["*"], ALICE, False),
        ("", ["*"], ALICE, False),
        ("((", None, ALICE, False),
        ("<anonymous>", None, STRANGER, True),
    ],
)
def test_retrieval_asks_the_credential_then_the_default(
    stored: str | None, default: list[str] | None, client: Client, allowed: bool
) -> None:
    policy = AccessPolicy(
        authorized_retrievers=EVERYONE, default_retrievers=None if default is None else parse_rules(default)
    )
    if allowed:
        permission = policy.permit_retrieval(client, stored)
        assert permission.client == client
    else:
        whose = "credential's" if stored is not None else "server's default"
        with pytest.raises(DeniedError, match=f"not authorized by {whose} authorized_retrievers policy"):
            policy.permit_retrieval(client, stored)


def test_the_credential_cannot_widen_the_server() -> None:
    policy = AccessPolicy(authorized_retrievers=parse_rules(["*/CN=Alice"]))
    with pytest.raises(DeniedError):
        policy.permit_retrieval(BOB, "*")


def test_owner() -> None:
    policy = AccessPolicy()
    policy.permit_owner(ALICE, owner=ALICE.name)
    for client, owner in ((BOB, ALICE.name), (ALICE, None), (STRANGER, ANONYMOUS)):
        with pytest.raises(DeniedError, match="does not own the credentials"):
            policy.permit_owner(client, owner=owner)


@pytest.mark.parametrize(
    ("rule", "name", "met"),
    [
        ("/O=Grid/CN=host/*", r"/O=Grid/CN=host\/www.example.org", True),
        (r"/O=Grid/CN=a\+b", r"/O=Grid/CN=a\+b", True),
        ("*/CN=Admin", r"/O=Grid/CN=x\/CN=Admin", False),
        ("*/CN=Admin", "/O=Grid/CN=x/CN=Admin", True),
        ("*", r"/O=Grid/CN=x\/CN=Admin", True),
    ],
)
def test_a_slash_in_a_value_is_no_part(rule: str, name: str, met: bool) -> None:
    assert parse_rule(rule).matches(Client(name)) is met


@pytest.mark.parametrize(
    ("rule", "name", "met"),
    [
        (r"*\+CN=Admin", r"/O=Grid/CN=x\+CN=Admin", False),
        (r"*\+CN=Admin", "/O=Grid/CN=x+CN=Admin", True),
        ("*", r"/O=Grid/CN=x\+CN=Admin", True),
    ],
)
def test_a_plus_in_a_value_is_no_part(rule: str, name: str, met: bool) -> None:
    assert parse_rule(rule).matches(Client(name)) is met
