"""Policy files: what is read, what is refused, and that a changed file is in force as a whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gsi.authz import registry, reload
from gsi.authz.combine import Combining
from gsi.authz.decision import AuthorizationRequest, Decision, Effect
from gsi.authz.engine import Engine
from gsi.authz.policy import Chain, Member
from gsi.authz.policyfile import LoadedPolicy, load_policy, parse_policy
from gsi.authz.record import DecisionFile
from gsi.authz.registry import Place, Plugin, SourcePlugin, known_types
from gsi.authz.reload import PolicyEngine, open_engine
from gsi.errors import ConfigError, NotFoundError, StorageError
from tests.harness.authz import Fixed, request_of, user

P, D, N, I = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE, Effect.INDETERMINATE  # noqa: E741
ALICE = user("/O=Grid/CN=Alice")
REQUEST = request_of(ALICE, "read", "/data")

POLICY = """
order = ["bans", "local"]
combining = "deny-overrides"
time_limit = "2s"

[authorizer.bans]
type = "ban"
file = "bans"

[authorizer.site-rules]
type = "rules"
file = "rules"
time_limit = 0.5

[authorizer.map]
type = "gridmap"
file = "gridmap"
actions = ["*"]

[chain.local]
order = ["site-rules", "map"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bans").write_text("dn /O=Grid/CN=Mallory\n")
    (tmp_path / "rules").write_text("permit dn /O=Grid/CN=Alice to read\n")
    (tmp_path / "gridmap").write_text('"/O=Grid/CN=Bob" bob\n')
    (tmp_path / "policy.toml").write_text(POLICY)
    age(tmp_path)
    return tmp_path


def age(folder: Path) -> None:
    """Make every file as old as files usually are when they are read."""
    for path in folder.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))


def load(folder: Path, text: str = POLICY, service: str = "") -> LoadedPolicy:
    return parse_policy(text.encode(), Place(str(folder / "policy.toml"), service))


def test_a_policy(folder: Path) -> None:
    loaded = load_policy(Place(str(folder / "policy.toml")))
    root = loaded.policy.root
    assert root.combining is Combining.DENY_OVERRIDES
    first, local = root.members
    assert isinstance(first, Member)
    assert isinstance(local, Chain)
    assert local.combining is Combining.FIRST_APPLICABLE
    assert first.time_limit == 2.0
    assert [(m.authorizer.name, m.time_limit, m.may_block) for m in local.walk()] == [
        ("site-rules", 0.5, False),
        ("map", 2.0, False),
    ]
    assert not loaded.policy.may_block
    assert sorted(os.path.basename(path) for path in loaded.files) == ["bans", "gridmap", "policy.toml", "rules"]
    engine = Engine(loaded.policy)
    assert engine.authorize(REQUEST).effect is P
    assert engine.authorize(request_of(user("/O=Grid/CN=Bob"))).account == "bob"
    assert engine.authorize(request_of(user("/O=Grid/CN=Mallory"))).effect is D
    assert engine.authorize(request_of(user("/O=Grid/CN=Carol"))).effect is N


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (lambda t: "", None, "'order' is missing"),
        (lambda t: "order = []", 1, "nobody would be asked"),
        (lambda t: t.replace('order = ["bans", "local"]', 'order = ["local"]'), 6, "[authorizer.bans] is defined"),
        (lambda t: t.replace('["bans", "local"]', '["bans"]'), 10, "is defined"),
        (lambda t: t.replace('["bans", "local"]', '["ban", "local"]'), 2, "no [authorizer.ban]"),
        (lambda t: t.replace('["bans", "local"]', '["bans", "local", "map"]'), 2, "more than one place"),
        (lambda t: t.replace('["bans", "local"]', '["bans", "local", "policy"]'), 2, "no [authorizer.policy]"),
        (lambda t: t.replace('["site-rules", "map"]', '["site-rules", "map", "local"]'), 21, "more than one place"),
        (lambda t: t.replace('["site-rules", "map"]', '["site-rules", "map", "bans"]'), 21, "more than one place"),
        (lambda t: t.replace('["site-rules", "map"]', "[]"), 21, "nobody would be asked"),
        (lambda t: t.replace("deny-overrides", "deny-override"), 3, "must be one of"),
        (lambda t: t.replace("combining =", "combine ="), 3, "unknown key 'combine'"),
        (lambda t: t.replace('type = "ban"', 'typ = "ban"'), 6, "'type' is missing"),
        (lambda t: t.replace('type = "ban"', 'type = "bann"'), 6, "unknown type of authorizer 'bann'"),
        (lambda t: t.replace('file = "bans"', 'files = "bans"'), 8, "unknown key 'files'"),
        (lambda t: t.replace('file = "bans"', ""), 6, "'file' is missing"),
        (lambda t: t.replace('file = "bans"', 'file = ""'), None, "empty file name"),
        (lambda t: t.replace('file = "bans"', 'file = "nothing"'), None, "No such file"),
        (lambda t: t.replace("time_limit = 0.5", "time_limit = 0"), 13, "from"),
        (lambda t: t.replace("time_limit = 0.5", 'time_limit = "2m"'), 13, "from"),
        (lambda t: t.replace('actions = ["*"]', 'actions = ["read write"]'), 15, "no action"),
        (lambda t: t.replace("[chain.local]", "[chains.local]"), 20, "unknown key 'chains'"),
        (lambda t: t.replace("[chain.local]", '[chain."lo cal"]'), 20, "is no name"),
        (lambda t: t + '[chain.bans]\norder = ["map"]', 22, "is taken"),
        (lambda t: t + '[source.x]\ntype = "x"', 22, "in sources it is not"),
        (lambda t: t.replace('["bans", "local"]', '["bans", "local"]\nsources = ["x"]'), 3, "no [source.x]"),
        (lambda t: 'service = "gram"\n' + t, 1, "for 'gram', not for 'gridftp'"),
        (lambda t: "authorizer = 3\n" + 'order = ["a"]', 1, "no table"),
        (lambda t: "chain.a = 3\n" + 'order = ["a"]', 1, "no table"),
    ],
)
def test_what_is_refused(folder: Path, change: Callable[[str], str], line: int | None, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, change(POLICY), "gridftp")
    assert says in caught.value.message
    if line is not None:
        assert caught.value.line == line
        assert caught.value.path == str(folder / "policy.toml")


def test_chains_do_not_nest_without_end(folder: Path) -> None:
    text = 'order = ["c0"]\n' + "".join(f'[chain.c{n}]\norder = ["c{n + 1}"]\n' for n in range(20))
    with pytest.raises(ConfigError, match="deeper"):
        load(folder, text)


def test_the_error_of_a_file_it_names_has_its_line(folder: Path) -> None:
    (folder / "rules").write_text("permit anyone to read\nallow\n")
    with pytest.raises(ConfigError) as caught:
        load(folder)
    assert (caught.value.path, caught.value.line) == (str(folder / "rules"), 2)


@pytest.mark.parametrize("name", ["policy.toml", "bans", "rules", "gridmap"])
def test_files_that_others_can_write_are_refused(folder: Path, name: str) -> None:
    (folder / name).chmod(0o666)
    with pytest.raises(ConfigError, match="others can change it"):
        load_policy(Place(str(folder / "policy.toml")))


def test_a_missing_grid_mapfile_maps_nobody_and_is_told(folder: Path) -> None:
    (folder / "gridmap").unlink()
    loaded = load(folder)
    assert any("does not exist" in problem for problem in loaded.problems)
    assert Engine(loaded.policy).authorize(request_of(user("/O=Grid/CN=Bob"))).effect is N


# --- plug-ins ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    word: str = "x"


@dataclass
class _Adds:
    name: str

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        return request


PLUGIN = Plugin(_Settings, lambda name, settings, place: Fixed(P, name=f"{name}-{settings.word}"), "a test")
SOURCE = SourcePlugin(_Settings, lambda name, settings, place: _Adds(name), "a test")
NO_PLUGIN = object()


def _fail(name: str, settings: _Settings, place: Place) -> Fixed:
    raise ZeroDivisionError(name)


FAILING = Plugin(_Settings, _fail, "a test")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint, EntryPoints

    here = __name__
    points = [
        EntryPoint("mine", f"{here}:PLUGIN", registry.AUTHORIZER_GROUP),
        EntryPoint("ban", f"{here}:PLUGIN", registry.AUTHORIZER_GROUP),
        EntryPoint("odd", f"{here}:NO_PLUGIN", registry.AUTHORIZER_GROUP),
        EntryPoint("failing", f"{here}:FAILING", registry.AUTHORIZER_GROUP),
        EntryPoint("gone", "no_such_module:PLUGIN", registry.AUTHORIZER_GROUP),
        EntryPoint("adds", f"{here}:SOURCE", registry.SOURCE_GROUP),
    ]

    def find(*, group: str, name: str | None = None) -> EntryPoints:
        return EntryPoints(p for p in points if p.group == group and name in {None, p.name})

    monkeypatch.setattr("importlib.metadata.entry_points", find)
    monkeypatch.setitem(__import__("sys").modules, here, __import__("sys").modules[here])


@pytest.mark.usefixtures("plugins")
def test_a_plugin(folder: Path) -> None:
    text = 'order = ["a"]\nsources = ["s"]\n[authorizer.a]\ntype = "mine"\nword = "y"\n[source.s]\ntype = "adds"\n'
    loaded = load(folder, text)
    (member,) = loaded.policy.root.walk()
    assert member.authorizer.name == "a-y"
    assert member.may_block
    assert loaded.policy.may_block
    assert Engine(loaded.policy).authorize(REQUEST).effect is P
    assert "mine" in known_types()
    assert known_types()["ban"] == "gsi.authz.ban:PLUGIN"


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("odd", "no Plugin"),
        ("gone", "cannot be loaded"),
        ("failing", "ZeroDivisionError"),
        ("ban", "'file' is missing"),
    ],
)
def test_plugins_that_cannot_be_used(folder: Path, kind: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(folder, f'order = ["a"]\n[authorizer.a]\ntype = "{kind}"\n')


# --- reload -----------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_in_force_after_reload(folder: Path) -> None:
    engine = PolicyEngine(str(folder / "policy.toml"))
    assert engine.authorize(REQUEST).effect is P
    (folder / "bans").write_text("dn /O=Grid/CN=Alice\n")
    assert engine.reload()
    assert engine.authorize(REQUEST).effect is D
    assert engine.problems == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [("bans", "dnn /O=x"), ("rules", "permit"), ("policy.toml", "order = ["), ("policy.toml", ""), ("bans", None)],
)
def test_a_broken_file_leaves_the_old_policy_in_force_and_is_told(
    folder: Path, name: str, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    engine = PolicyEngine(str(folder / "policy.toml"), on_problem=told.append)
    good = (folder / name).read_text()
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    assert not engine.reload()
    assert engine.authorize(REQUEST).effect is P
    assert engine.authorize(request_of(user("/O=Grid/CN=Mallory"))).effect is D
    assert len(told) == 1
    assert str(folder) in told[0]
    assert list(engine.problems) == told
    assert "old one stays in force" in caplog.text
    (folder / name).write_text(good)
    assert engine.reload()
    assert not engine.problems
    assert told[1:] == [""]


def test_changes_are_seen_by_themselves(folder: Path) -> None:
    told = threading.Event()
    engine = PolicyEngine(str(folder / "policy.toml"), check_seconds=0.0, on_problem=lambda _: told.set())
    assert engine.authorize(REQUEST).effect is P
    (folder / "bans").write_text("dn /O=Grid/CN=Alice\n")
    wait_for(lambda: engine.authorize(REQUEST).effect is D)
    (folder / "bans").write_text("dnn\n")
    wait_for(lambda: engine.authorize(REQUEST).effect is D and told.is_set())
    assert engine.problems
    (folder / "bans").write_text("")
    wait_for(lambda: engine.authorize(REQUEST).effect is P)
    assert not engine.problems


def change(path: Path, text: str) -> None:
    """Write a file as somebody did a minute ago, so that nobody can still be writing it."""
    path.write_text(text)
    before = time.time() - 60
    os.utime(path, (before, before))


def test_a_change_counts_for_the_next_question(folder: Path) -> None:
    """However long nobody has asked: the first one does not slip through by the old policy."""
    engine = PolicyEngine(str(folder / "policy.toml"), check_seconds=0.0)
    for ask in (engine.authorize, engine.preview, lambda request: asyncio.run(engine.authorize_async(request))):
        for text, effect in (("dn /O=Grid/CN=Alice\n", D), ("", P)):
            change(folder / "bans", text)
            assert ask(REQUEST).effect is effect


def test_reading_that_takes_long_holds_nobody_up_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = PolicyEngine(str(folder / "policy.toml"), check_seconds=0.0)
    go_on = threading.Event()
    read = load_policy

    def slowly(place: Place, *, previous: LoadedPolicy | None) -> LoadedPolicy:
        go_on.wait()
        return read(place, previous=previous)

    monkeypatch.setattr(reload, "load_policy", slowly)
    monkeypatch.setattr(reload, "WAIT_SECONDS", 0.05)
    change(folder / "bans", "dn /O=Grid/CN=Alice\n")
    assert engine.authorize(REQUEST).effect is P
    assert engine.authorize(REQUEST).effect is P
    go_on.set()
    wait_for(lambda: engine.authorize(REQUEST).effect is D)


def test_a_broken_file_is_told_although_nobody_asks(folder: Path) -> None:
    told = threading.Event()
    engine = PolicyEngine(str(folder / "policy.toml"), check_seconds=0.0, on_problem=lambda _: told.set())
    assert engine.authorize(REQUEST).effect is P
    change(folder / "bans", "dnn\n")
    assert told.wait(30)


def test_a_process_that_was_forked_sees_changes_too(folder: Path) -> None:
    engine = PolicyEngine(str(folder / "policy.toml"), check_seconds=0.0)
    assert engine.authorize(REQUEST).effect is P
    engine._reading.acquire()  # what another thread of the parent may hold at that moment
    child = os.fork()
    if child == 0:  # nothing here may raise into the test runner
        status = 1
        with contextlib.suppress(BaseException):
            change(folder / "bans", "dn /O=Grid/CN=Alice\n")
            status = 0 if engine.authorize(REQUEST).effect is D else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    engine._reading.release()


def wait_for(holds: Callable[[], bool]) -> None:
    """Ask until it holds; the test's own time limit ends it."""
    while not holds():
        time.sleep(0.001)


def test_what_did_not_change_is_taken_over(folder: Path) -> None:
    engine = PolicyEngine(str(folder / "policy.toml"))
    before = {member.authorizer.name: member.authorizer for member in engine.policy.root.walk()}
    (folder / "bans").write_text("dn /O=Grid/CN=Alice\n")
    engine.reload()
    after = {member.authorizer.name: member.authorizer for member in engine.policy.root.walk()}
    assert after["map"] is before["map"]
    assert after["site-rules"] is before["site-rules"]
    assert after["bans"] is not before["bans"]
    (folder / "policy.toml").write_text(POLICY.replace('actions = ["*"]', 'actions = ["login"]'))
    engine.reload()
    last = {member.authorizer.name: member.authorizer for member in engine.policy.root.walk()}
    assert last["map"] is not after["map"]


def test_without_a_policy_there_is_no_engine(folder: Path) -> None:
    with pytest.raises(ConfigError):
        open_engine(str(folder / "nothing.toml"))
    (folder / "policy.toml").write_text('service = "gram"\n' + POLICY)
    with pytest.raises(ConfigError, match="for 'gram'"):
        open_engine(str(folder / "policy.toml"), service="gridftp")


# --- the record -------------------------------------------------------------------------------------------------------


def test_decisions_are_recorded(folder: Path) -> None:
    (folder / "policy.toml").write_text(f'record = "decisions.jsonl"\n{POLICY}')
    engine = open_engine(str(folder / "policy.toml"))
    ids = [engine.authorize(REQUEST).decision_id for _ in range(3)]
    record = DecisionFile(str(folder / "decisions.jsonl"))
    found = record.find(ids[1])
    assert found["effect"] == "permit"
    assert found["subject"]["identity"] == "/O=Grid/CN=Alice"  # type: ignore[index]  # JSON
    assert [step["authorizer"] for step in found["trace"]][:2] == ["policy", "bans"]  # type: ignore[attr-defined]  # JSON
    assert (folder / "decisions.jsonl").stat().st_mode & 0o777 == 0o600
    for wrong in ("0" * 24, "", "../x", '","', ids[0][:8]):
        with pytest.raises(NotFoundError):
            record.find(wrong)


def test_the_record_is_bounded_and_private(folder: Path) -> None:
    path = folder / "d.jsonl"
    record = DecisionFile(str(path), max_bytes=3000)
    engine = Engine(load(folder).policy, record=record.append)
    ids = [engine.authorize(REQUEST).decision_id for _ in range(20)]
    assert path.with_suffix(".jsonl.1").stat().st_size < 6000
    assert record.find(ids[-1])["id"] == ids[-1]
    with pytest.raises(NotFoundError):
        record.find(ids[0])
    path.unlink(missing_ok=True)
    path.symlink_to(folder / "rules")
    with pytest.raises(StorageError):
        record.append(REQUEST, Decision(P, ""))
    path.unlink()
    path.write_text("")
    path.chmod(0o644)
    with pytest.raises(StorageError, match="not a regular file that only"):
        record.append(REQUEST, Decision(P, ""))


def test_foreign_text_stays_in_its_line(folder: Path) -> None:
    record = DecisionFile(str(folder / "d.jsonl"))
    odd = request_of(user('x\n{"id":"abcdabcd",'), "read", "/\u2028" + "y" * 5000)
    record.append(odd, Decision(D, "no", decision_id="ab" * 12))
    assert (folder / "d.jsonl").read_bytes().count(b"\n") == 1
    assert len((folder / "d.jsonl").read_bytes()) < 4000
    assert record.find("ab" * 12)["reason"] == "no"
    with pytest.raises(NotFoundError):
        record.find("abcdabcd")
