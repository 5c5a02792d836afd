"""docs/reference/cas-policy.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from cas.assertion.value import Comparison
from cas.policy.bootstrap import FILE_ACTIONS, parse_bootstrap
from cas.policy.conditions import Proxies, Strength
from cas.policy.evaluate import MAX_RIGHTS
from cas.policy.matching import MAX_OBJECT_BYTES, MAX_PARTS, covers
from cas.policy.model import DEFAULT_NAMESPACE, EVERYONE, Kind
from cas.policy.needs import CAS_ACTIONS
from cas.policy.nicknames import _FORBIDDEN, MAX_NICKNAME_CHARS
from cas.policy.request import MAX_REQUEST_BYTES, MAX_WANTED, parse_request
from cas.repository.base import MAX_DEPTH, MAX_GROUPS, MAX_ROWS, MAX_SKEW
from cas.service import BATCH_LINES
from cas.touched import MAX_LOOKS
from cas.trial import MAX_NAMED

PAGE = (Path(__file__).resolve().parents[3] / "docs/reference/cas-policy.md").read_text("utf-8")


def section(title: str) -> str:
    return re.split(r"\n#+ ", PAGE.split(f" {title}\n", 1)[1], maxsplit=1)[0]


def rows(title: str) -> list[list[str]]:
    lines = [line for line in section(title).split("\n") if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").replace("\\|", "/").split("|")] for line in lines[2:]]


def words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_kinds() -> None:
    assert {words(row[0])[0] for row in rows("Things")} == {kind.value for kind in Kind}
    assert f"`{EVERYONE}`" in section("Things")
    assert f"`{DEFAULT_NAMESPACE}`" in section("Things")
    assert f"1 to {MAX_NICKNAME_CHARS} characters" in section("Things")
    (forbidden,) = re.findall(r"`(\| [^`]+)`", section("Things"))
    assert set(forbidden.split()) == _FORBIDDEN


def test_names() -> None:
    for pattern, covered, apart in rows("Names of objects"):
        for name in words(covered):
            assert covers(words(pattern)[0], name, Comparison.WILDCARD), (pattern, name)
        for name in words(apart):
            assert not covers(words(pattern)[0], name, Comparison.WILDCARD), (pattern, name)
    text = section("Names of objects")
    assert f"{MAX_OBJECT_BYTES} bytes" in text
    assert f"{MAX_PARTS} parts" in text


def test_terms() -> None:
    told = {row[0].split()[0]: words(row[0]) for row in rows("Statements")}
    assert told["proxies"] == [one.value for one in Proxies]
    assert told["strength"] == [one.name.lower() for one in Strength]


def test_rights() -> None:
    assert sorted(word for row in rows("CAS's own rights")[:5] for word in words(row[1])) == sorted(CAS_ACTIONS)


def test_files() -> None:
    request, bootstrap = (
        re.findall(r"```\n(.*?)```", section(title), re.DOTALL)[0] for title in ("The policy request file", "Files")
    )
    assert len(parse_request(request.encode()).wanted) == 2
    assert parse_bootstrap(bootstrap.encode()).group.name == "superUserGroup"
    assert " ".join(FILE_ACTIONS) in section("Files")


def test_limits() -> None:
    assert f"{MAX_RIGHTS} rights, of at most {MAX_ROWS} statements" in PAGE
    assert f"At most {MAX_WANTED} resources and {MAX_REQUEST_BYTES} bytes" in PAGE
    assert f"at most {MAX_DEPTH} deep, and nothing in more than {MAX_GROUPS}" in PAGE
    assert f"Up to {MAX_LOOKS} rights" in PAGE
    assert f"above {MAX_NAMED:,} holders" in PAGE
    assert f"more than {MAX_SKEW.seconds // 60} minutes behind" in PAGE
    assert f"{BATCH_LINES} lines at a\ntime" in PAGE
