"""Which questions a file operation amounts to, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gsi.authz.callout.fileops import (
    MAX_REMEMBERED,
    MAX_REMEMBERED_CHARS,
    FileRules,
    Kind,
    Question,
    Renames,
    SessionMemory,
    plan_operation,
    split_object,
)
from gsi.authz.callout.messages import Fact, OperationRequest
from gsi.errors import RemoteProtocolError

R, E, D, S, EMPTY = Fact.RESOLVED, Fact.EXISTS, Fact.DIRECTORY, Fact.SYMLINK, Fact.EMPTY
FOLLOWED = Fact.FOLLOWED
RULES = FileRules()


def _request(action: str, path: str, facts: Fact = R | E, *, real: str = "", link: str = "") -> OperationRequest:
    if action == "write":
        facts |= FOLLOWED
    return OperationRequest(
        action=action, object=f"ftp://host{path}", facts=facts, real_path=real or path, link_path=link or path
    )


def _asked(request: OperationRequest, rules: FileRules = RULES, memory: SessionMemory | None = None) -> set[str]:
    plan = plan_operation(request, memory or SessionMemory(), rules)
    assert not plan.refusal, plan.refusal
    return {f"{question.action} {question.path}" for question in plan.questions}


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (_request("read", "/a"), {"read /a"}),
        (_request("read", "/a", real="/b"), {"read /a", "read /b"}),
        (_request("lookup", "/a", R | E | D), {"lookup /a"}),
        (_request("lookup", "/a", R | E | S, real="/b"), {"lookup /a", "lookup /b"}),
        (_request("delete", "/a"), {"delete /a"}),
        (_request("delete", "/d/a", R | E | S, real="/b", link="/e/a"), {"delete /d/a", "delete /e/a"}),
        (_request("delete", "/a", R | E | D | EMPTY), {"delete /a"}),
        (_request("delete", "/a", R | E | D | S, real="/b"), {"delete /a"}),
        (_request("create", "/a", R), {"create /a"}),
        (_request("create", "/d/a", R, real="/e/a", link="/e/a"), {"create /d/a", "create /e/a"}),
        (_request("create", "/a", R | S, real="/b"), {"create /a", "create /b"}),
        (_request("create", "/a", R | E | D), {"lookup /a"}),
        (_request("create", "/a", R | E), {"create /a", "write /a"}),
        (_request("write", "/a"), {"write /a"}),
        (_request("write", "/a", R | E | S, real="/b"), {"write /a", "write /b"}),
        (_request("write", "/a", R), {"create /a"}),
        (_request("write", "/d/a", R | S, real="/b", link="/e/a"), {"create /d/a", "create /b", "create /e/a"}),
    ],
)
def test_questions(request_: OperationRequest, asked: set[str]) -> None:
    assert _asked(request_) == asked


def test_real_paths_can_be_left_out() -> None:
    assert _asked(_request("read", "/a", real="/b"), FileRules(real_paths=False)) == {"read /a"}


@pytest.mark.parametrize(
    "request_",
    [
        _request("read", "/a", Fact(0)),
        _request("read", "/a", E),
        OperationRequest(action="read", object="ftp://host/a", facts=R | E, real_path="/a"),
        OperationRequest(action="read", object="ftp://host/a", facts=R | E, link_path="/a"),
        _request("delete", "/a", R | E | D),
        _request("chdir", "/a"),
        _request("", "/a"),
        _request("READ", "/a"),
    ],
)
def test_refused_whatever_the_policy_says(request_: OperationRequest) -> None:
    plan = plan_operation(request_, SessionMemory(), RULES)
    assert plan.refusal
    assert not plan.questions
    assert not plan.sources


def test_recursive_deletes_can_be_allowed() -> None:
    rules = FileRules(recursive_deletes=True)
    assert _asked(_request("delete", "/a", R | E | D), rules) == {"delete /a"}


@pytest.mark.parametrize(
    "text", ["", "/a", "ftp:/a", "ftp://", "ftp://host", "gsiftp://host/a", "file:///a", "ftp:///"]
)
def test_objects(text: str) -> None:
    if text == "ftp:///":
        assert split_object(text) == ("ftp://", "/")
        return
    with pytest.raises(RemoteProtocolError):
        split_object(text)
    with pytest.raises(RemoteProtocolError):
        plan_operation(OperationRequest(action="read", object=text, facts=R), SessionMemory(), RULES)


# --- renames ----------------------------------------------------------------------------------------------------------


def _seen(*paths: str) -> SessionMemory:
    """A session in which files, and with a slash at the end directories, were looked up."""
    memory = SessionMemory()
    for path in paths:
        facts = R | E | D if path.endswith("/") else R | E
        memory.remember(_request("lookup", path.rstrip("/") or "/", facts))
    return memory


@pytest.mark.parametrize(
    ("seen", "target", "sources"),
    [
        # a new name: anything that was looked up may come to stand there
        (("/a",), _request("write", "/new", R), ("/a",)),
        (("/a", "/b"), _request("write", "/new", R), ("/a", "/b")),
        # an existing file, or a link whatever it leads to: only files
        (("/a", "/d/"), _request("write", "/old"), ("/a",)),
        (("/a", "/d/"), _request("write", "/old", R | E | D | S, real="/x"), ("/a",)),
        (("/a", "/d/"), _request("write", "/old", R | S, real="/x"), ("/a",)),
        # an existing directory: only directories, and only if it is empty
        (("/a",), _request("write", "/old", R | E | D | EMPTY), ()),
        (("/a", "/d/"), _request("write", "/old", R | E | D), ()),
        # nothing is moved onto itself, nor a directory into itself
        (("/a",), _request("write", "/a"), ()),
        (("/", "/d/", "/d/e/"), _request("write", "/d/e/new", R), ()),
        # what was not looked up, or was not there, cannot be moved
        ((), _request("write", "/new", R), ()),
    ],
)
def test_sources(seen: tuple[str, ...], target: OperationRequest, sources: tuple[str, ...]) -> None:
    plan = plan_operation(target, _seen(*seen), FileRules(directory_renames=True))
    assert plan.sources == sources
    assert not plan_operation(target, _seen(*seen), FileRules(renames=Renames.DISABLED)).sources


def test_directories_are_not_renamed_unless_allowed() -> None:
    target = _request("write", "/new", R)
    assert "rename of a directory" in plan_operation(target, _seen("/d/"), RULES).refusal
    assert (
        "rename of a directory"
        in plan_operation(_request("write", "/e", R | E | D | EMPTY), _seen("/d/"), RULES).refusal
    )
    assert plan_operation(target, _seen("/d/"), FileRules(directory_renames=True)).sources == ("/d",)


def test_a_link_to_a_directory_is_a_file_to_rename() -> None:
    memory = SessionMemory()
    memory.remember(_request("lookup", "/link", R | E | D | S, real="/d"))
    assert plan_operation(_request("write", "/old"), memory, RULES).sources == ("/link",)


def test_what_is_remembered() -> None:
    memory = SessionMemory()
    memory.remember(_request("lookup", "/gone", R))
    memory.remember(_request("read", "/read"))
    memory.remember(_request("create", "/made", R))
    assert memory.objects == {}
    memory.remember(_request("lookup", "/d/a", R | E, link="/e/a"))
    memory.remember(_request("lookup", "/dangling", R | S, real="/x"))
    assert memory.objects == {"/e/a": Kind.FILE, "/dangling": Kind.FILE}


def test_cleared_objects_are_not_asked_again_until_they_change() -> None:
    memory = _seen("/a")
    memory.cleared.add("/a")
    assert plan_operation(_request("write", "/new", R), memory, RULES).sources == ()
    memory.remember(_request("lookup", "/a", R | E))
    assert plan_operation(_request("write", "/new", R), memory, RULES).sources == ()
    memory.remember(_request("lookup", "/a", R | E | D))  # a directory has taken its place
    assert "directory" in plan_operation(_request("write", "/new", R), memory, RULES).refusal


def test_cleared_objects_are_asked_again_when_that_no_longer_holds() -> None:
    """One permit that ends, another basis, or a clock that was set back ends them all."""
    memory = _seen("/a", "/b", "/c")
    now, basis = datetime(2026, 11, 20, 12, tzinfo=UTC), object()
    ends = now + timedelta(seconds=9)

    def left(moment: datetime, by: object = basis) -> tuple[str, ...]:
        memory.settle(by, moment)
        return plan_operation(_request("write", "/new", R), memory, RULES).sources

    for other in ((ends, basis), (now - timedelta(seconds=1), basis), (now, object())):
        assert left(now) == ("/a", "/b", "/c")
        memory.clear("/a", now, None)
        memory.clear("/b", now, ends)
        memory.clear("/c", now, ends + timedelta(seconds=9))
        assert left(ends - timedelta(seconds=1)) == ()
        assert left(*other) == ("/a", "/b", "/c")


def test_names_are_judged_by_what_they_mean_by_now() -> None:
    memory = _seen("/a", "/b")
    memory.cleared.update({"/a", "/b"})
    plan = plan_operation(_request("write", "/old")._replace(files_now=("/x", "/a")), memory, RULES)
    assert plan.sources == ("/x",)
    memory.cleared.add("/x")
    plan = plan_operation(_request("write", "/old")._replace(files_now=("/x",)), memory, RULES)
    assert plan.sources == ()
    new = _request("write", "/new", R)._replace(directories_now=("/a",))
    assert "rename of a directory" in plan_operation(new, memory, RULES).refusal
    assert plan_operation(new, memory, FileRules(directory_renames=True)).sources == ("/a",)
    # what it was before still counts
    assert "rename of a directory" in plan_operation(_request("write", "/new", R), memory, RULES).refusal
    ignoring = FileRules(renames=Renames.DISABLED)
    assert not plan_operation(new, SessionMemory(), ignoring).refusal


def test_a_write_whose_names_were_not_followed_again() -> None:
    """A library of an earlier version, or one that could not follow a name."""
    blind = _request("write", "/old")._replace(facts=R | E)
    assert "new connection" in plan_operation(blind, _seen("/a"), RULES).refusal
    assert not plan_operation(blind, SessionMemory(), RULES).refusal
    assert not plan_operation(blind, _seen("/a"), FileRules(renames=Renames.DISABLED)).refusal


def test_names_followed_again_are_bounded() -> None:
    memory = _seen("/a")
    many = tuple(f"/{number}" for number in range(MAX_REMEMBERED))
    assert "new connection" in plan_operation(_request("write", "/old")._replace(files_now=many), memory, RULES).refusal


@pytest.mark.parametrize("facts", [R, R | E, R | E | D | EMPTY], ids=["new", "file", "directory"])
def test_a_session_that_knows_too_little_writes_nothing_ambiguous(facts: Fact) -> None:
    memory = SessionMemory(lost=True)
    assert "new connection" in plan_operation(_request("write", "/a", facts), memory, RULES).refusal
    assert plan_operation(_request("create", "/a", R), memory, RULES).questions == (Question("create", "/a"),)
    assert not plan_operation(_request("write", "/a", facts), memory, FileRules(renames=Renames.DISABLED)).refusal


def test_memory_is_bounded() -> None:
    memory = SessionMemory()
    for number in range(MAX_REMEMBERED):
        memory.remember(_request("lookup", f"/{number}"))
    assert not memory.lost
    memory.remember(_request("lookup", "/0"))
    assert not memory.lost
    memory.remember(_request("lookup", "/more"))
    lost: bool = memory.lost  # read anew
    assert lost
    assert not memory.objects
    memory.remember(_request("lookup", "/0"))
    assert not memory.objects


def test_memory_of_long_paths_is_bounded() -> None:
    memory = SessionMemory()
    for number in range(MAX_REMEMBERED_CHARS // 1000):
        memory.remember(_request("lookup", f"/{number}".ljust(1000, "x")))
    assert not memory.lost
    memory.cleared.update(memory.objects)
    memory.remember(_request("lookup", "/more".ljust(1000, "x")))
    lost: bool = memory.lost  # read anew
    assert lost
    assert not memory.objects
    assert not memory.cleared
    assert "new connection" in plan_operation(_request("write", "/new", R), memory, RULES).refusal
