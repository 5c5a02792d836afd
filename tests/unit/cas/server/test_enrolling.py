"""Many users over HTTPS, without sockets: parts of a file, those that come again, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.server.enrolling import MAX_LINES
from tests.harness.cas import ADMINS
from tests.harness.cas_web import Web, open_web

PATH = "/cas/v1/enrol-users"
FILE = {"file": "a" * 64, "owner": ADMINS}
LINES = ["# users", *(f"m{number}\t/O=Grid/CN=Many {number}\tca\treaders" for number in range(1, 10))]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with open_web(tmp_path) as found:
        yield found


def send(web: Web, first: int, last: int, **more: object) -> tuple[int, dict[str, object]]:
    body = FILE | {"first": first, "lines": LINES[first - 1 : last]} | more
    status, answer = web.ask("admin", "POST", PATH, body)
    answer.pop("request_id")
    return status, answer


def test_parts_of_a_file(web: Web) -> None:
    assert web.ask("admin", "POST", PATH, FILE)[1]["done"] == 0
    assert send(web, 1, 4, reason="import") == (200, {"done": 4, "enrolled": 3, "refused": []})
    assert web.ask("admin", "POST", PATH, FILE)[1]["done"] == 4
    assert send(web, 1, 4) == (200, {"done": 4, "enrolled": 0, "refused": []})  # its answer was lost
    assert send(web, 3, 7) == (200, {"done": 7, "enrolled": 3, "refused": []})
    status, answer = send(web, 9, 10)
    assert (status, answer["message"]) == (409, "line 8 of the file has not been enrolled yet")
    assert send(web, 8, 10) == (200, {"done": 10, "enrolled": 3, "refused": []})
    _, members = web.ask("admin", "POST", "/cas/v1/members", {"group": ["userGroup", "readers"]})
    assert len(members["members"]) == 10
    _, history = web.ask("admin", "POST", "/cas/v1/history", {"about": ["user", "m1"]})
    assert [(one["change"]["do"], one["reason"]) for one in history["entries"]] == [
        ("enrol", "import"),
        ("add-member", "import"),
    ]
    told = [one["users"] for one in web.records() if one["action"] == "enrol-users"]
    assert told == [3, 3, 3]


def test_lines_that_cannot_be_enrolled_are_all_told(web: Web) -> None:
    lines = ["good\t/O=Grid/CN=Good\tca", "alice\t/O=Grid/CN=Eve\tca", "eve\t/O=Grid/CN=Eve\tnowhere"]
    status, answer = web.ask("admin", "POST", PATH, FILE | {"first": 1, "lines": lines})
    assert (status, answer["done"], answer["enrolled"]) == (200, 0, 0)
    assert answer["refused"] == [
        [2, "user alice is enrolled already, with another subject"],
        [3, "there is no trustAnchor nowhere"],
    ]
    assert web.ask("admin", "POST", "/cas/v1/get", {"name": ["user", "good"]})[0] == 404
    assert web.records()[-1]["verdict"] == "fail"


def test_who_may_not(web: Web) -> None:
    for body in (FILE, FILE | {"first": 1, "lines": LINES[:2]}):
        status, answer = web.ask("alice", "POST", PATH, body)
        assert (status, answer["message"]) == (403, "alice lacks cas/enroll_user on the server")
    assert web.records()[-1]["verdict"] == "deny"


@pytest.mark.parametrize(
    "more",
    [
        {"file": "A" * 64},
        {"file": "a" * 63},
        {"first": 0, "lines": ["x"]},
        {"first": "1", "lines": ["x"]},
        {"first": 1, "lines": "x"},
        {"first": 1, "lines": [1]},
        {"first": 1, "lines": ["x"]},
        {"first": 1, "lines": [""] * (MAX_LINES + 1)},
        {"first": 1, "lines": ["x" * 16385]},
        {"lines": ["x"]},
    ],
)
def test_odd_requests(web: Web, more: dict[str, object]) -> None:
    assert web.ask("admin", "POST", PATH, FILE | more)[0] == 400
