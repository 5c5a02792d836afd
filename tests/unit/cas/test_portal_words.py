"""What administrators' forms in the portal say, as changes; anything else is refused with words for a person."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cas.policy.changes import AddMember, Enrol, Grant, Remove, RemoveMember, Revoke, encode_change, encode_statement
from cas.policy.model import Effect, Kind, Ref, Statement, User, UserGroup
from cas.portal.desk import _difference
from cas.portal.words import MAX_CHANGE_CHARS, read_change
from gsi.errors import ParseError

READERS = Ref(Kind.USER_GROUP, "readers")
ALICE = Ref(Kind.USER, "alice")
STATEMENT = Statement(
    "readers", Effect.DENY, Ref(Kind.SERVICE_ACTION, "read", "file"), Ref(Kind.OBJECT, "ftp://h/d/*", "Names")
)
GRANT = {"do": "grant", "group": "readers", "effect": "deny", "action": "file/read", "namespace": "Names"}
FORMS = [
    ({"do": "add-member", "group": "readers", "member": " alice "}, AddMember(READERS, ALICE)),
    (
        {"do": "remove-member", "group": "readers", "member": "alice", "member_kind": "userGroup"},
        RemoveMember(READERS, Ref(Kind.USER_GROUP, "alice")),
    ),
    (
        {"do": "enrol-user", "nickname": "alice", "subject": "/O=Grid/CN=Alice", "anchor": "ca", "owner": "admins"},
        Enrol(User("alice", "/O=Grid/CN=Alice", "ca"), "admins"),
    ),
    ({"do": "remove-user", "nickname": "alice"}, Remove(ALICE)),
    ({"do": "create-group", "group": "readers", "owner": "admins"}, Enrol(UserGroup("readers"), "admins")),
    ({"do": "remove-group", "group": "readers"}, Remove(READERS)),
    (GRANT | {"name": "ftp://h/d/*"}, Grant(STATEMENT)),
    ({"do": "revoke", "statement": json.dumps(encode_statement(STATEMENT))}, Revoke(STATEMENT)),
]


@pytest.mark.parametrize(("form", "change"), FORMS)
def test_every_form_is_a_change_and_comes_through_the_trial_unchanged(form: dict[str, str], change: object) -> None:
    (read,) = read_change(form)
    assert read == change
    assert read_change({"do": "same", "changes": json.dumps([encode_change(read)])}) == (read,)
    for name in set(form) - {"do", "effect", "member_kind"}:
        with pytest.raises(ParseError):
            read_change(form | {name: "  "})


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"do": "everything"},
        {"do": "same", "changes": "[]"},
        {"do": "same", "changes": "[1, 2]"},
        {"do": "same", "changes": "{"},
        {"do": "same", "changes": "[" * 10_000},
        {"do": "same", "changes": " " * MAX_CHANGE_CHARS + "[1]"},
        GRANT | {"name": "ftp://h/d/*", "action": "read"},
    ],
)
def test_what_is_none(form: dict[str, str]) -> None:
    with pytest.raises(ParseError):
        read_change(form)


@given(
    st.sampled_from([form["do"] for form, _ in FORMS] + ["same"]),
    st.dictionaries(
        st.sampled_from(
            [
                "group",
                "member",
                "nickname",
                "subject",
                "anchor",
                "owner",
                "action",
                "namespace",
                "name",
                "statement",
                "changes",
            ]
        ),
        st.text(min_size=1),
    ),
)
def test_any_text_is_a_change_or_an_error_of_ours(do: str, fields: dict[str, str]) -> None:
    with contextlib.suppress(ParseError):
        assert read_change(fields | {"do": do})


def test_attributes_and_fqans_of_a_trial() -> None:
    """As the server says it of a dry run."""
    common = {"loses": [], "feeds_lose": [["ldap", "night shift"]], "before": 1, "after": 2, "when": "now"}
    gains = {"gains": ["alice"], "feeds_gain": [["voms", "/climate"]]}
    told = _difference({"fqan": "/climate/prod", **gains, **common})
    assert told[:3] == (
        "FQAN /climate/prod, now",
        ("alice", "whoever proves voms /climate"),
        ("whoever proves ldap night shift",),
    )
    right = {"action": ["serviceAction", "file", "read"], "on": ["server", "casServer"]}
    assert _difference({**right, **gains, **common}).what == "file/read on server casServer, now"
