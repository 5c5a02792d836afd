"""Whatever comes over HTTPS, the community's server answers it, and never with an error of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cas.server.operation import Operation
from cas.server.operations import OPERATIONS
from tests.harness.cas_web import Web, open_web

PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
WORDS = st.sampled_from(
    [
        "enrol",
        "grant",
        "user",
        "object",
        "file/read",
        "FTPDirectoryTree",
        "ftp://se/data/*",
        "alice",
        "readers",
        "jwt",
        "",
        "\ud800",
        "a\0",
    ]
)
NAMES = st.lists(WORDS, max_size=4)
VALUES = st.recursive(
    PLAIN | WORDS | NAMES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.sampled_from(["do", "entity", "kind"]), inner)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with open_web(tmp_path_factory.mktemp("web")) as found:
        yield found


@given(operation=st.sampled_from([one for one in OPERATIONS if one.method == "POST"]), data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_members(web: Web, operation: Operation, data: st.DataObject) -> None:
    names = st.sampled_from([one.name for one in operation.fields])
    body = data.draw(st.dictionaries(names, VALUES, max_size=4))
    status, answer = web.ask("admin", "POST", operation.path, body)
    assert status in {200, 400, 403, 404, 409}, (body, answer)


@given(data=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(web: Web, data: bytes) -> None:
    status, _ = web.ask("alice", "POST", "/cas/v1/list", data=data, content_type="application/json")
    assert status in {200, 400, 403}


@given(
    form=st.dictionaries(
        st.sampled_from(
            ["grant_type", "scope", "audience", "subject_token", "subject_token_type", "lifetime", "profile", "bound"]
        ),
        st.text(max_size=30)
        | st.sampled_from(
            [
                "client_credentials",
                "urn:ietf:params:oauth:grant-type:token-exchange",
                "urn:ietf:params:oauth:token-type:jwt",
                "storage.read:/data",
                "storage.read:/%2e%2e",
                "https://se.example.org",
                "a.b.c",
            ]
        ),
    )
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_form(web: Web, form: dict[str, str]) -> None:
    status, answer = web.token("alice", **form)
    assert status in {200, 400}, (form, answer)
