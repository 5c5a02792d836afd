"""The callout library itself, in a small host program of ours: what it sends, and what it makes of answers."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gsi.authz.callout.messages import (
    Answer,
    Code,
    Fact,
    JobRequest,
    MapRequest,
    OperationRequest,
    Request,
    SessionRequest,
    Verdict,
    encode_answer,
    parse_answer,
)
from gsi.errors import RemoteProtocolError
from tests.harness.callout import CalloutSite, Driver, FakeDaemon, callout_site, permit, service_account

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def site() -> Iterator[CalloutSite]:
    with callout_site() as made:
        yield made


@pytest.fixture
def fake(site: CalloutSite) -> Iterator[FakeDaemon]:
    with FakeDaemon(site.socket) as daemon:
        yield daemon


@pytest.fixture
def driver(site: CalloutSite) -> Iterator[Driver]:
    with Driver(site) as made:
        yield made


# --- what it sends ----------------------------------------------------------------------------------------------------


def test_mapping(fake: FakeDaemon, driver: Driver) -> None:
    driver.show_chain([b"leaf", b"root"])
    assert driver.call("map", "file", "-", 64) == f"ok {service_account()}"
    (request,) = fake.of(MapRequest)
    assert request == MapRequest(
        service="file",
        buffer_bytes=64,
        chain=(b"leaf", b"root"),
        source="/O=Grid/CN=Alice",
        target="/O=Grid/CN=localhost",
    )
    driver.call("map", "jobmanager", "games", 256)
    asked = fake.of(MapRequest)[1]
    assert isinstance(asked, MapRequest)
    assert (asked.service, asked.desired, asked.buffer_bytes) == ("jobmanager", "games", 256)


def test_job(fake: FakeDaemon, driver: Driver) -> None:
    assert driver.call("job", "1.2", "signal 3 x", '&("a" = "b" )') == "ok"
    (request,) = fake.of(JobRequest)
    assert isinstance(request, JobRequest)
    assert (request.job_id, request.query, request.rsl) == ("1.2", "signal 3 x", '&("a" = "b" )')
    assert driver.call("job", "1.2", "start", "-") == "ok"


def test_one_connection_per_session(fake: FakeDaemon, driver: Driver) -> None:
    assert driver.call("init", "file") == "ok"
    for _ in range(5):
        assert driver.call("op", "read", "ftp://h/etc/passwd") == "ok"
    assert fake.connections == 1
    assert driver.call("destroy") == "ok"
    descriptors = {os.readlink(path) for path in Path(f"/proc/{driver.pid}/fd").iterdir()}
    assert not [name for name in descriptors if name.startswith("socket:")]


def test_descriptors_are_not_inherited(fake: FakeDaemon, driver: Driver) -> None:
    driver.call("init", "file")
    for path in Path(f"/proc/{driver.pid}/fd").iterdir():
        if os.readlink(path).startswith("socket:"):
            flags = Path(f"/proc/{driver.pid}/fdinfo/{path.name}").read_text()
            assert int(flags.partition("flags:")[2].split()[0], 8) & os.O_CLOEXEC


def test_a_forked_copy_does_not_ask(fake: FakeDaemon, driver: Driver) -> None:
    driver.call("init", "file")
    assert "this session was refused" in driver.call("fork", "read", "ftp://h/etc/passwd")
    assert driver.call("op", "read", "ftp://h/etc/passwd") == "ok"
    assert len(fake.of(OperationRequest)) == 1


# --- paths ------------------------------------------------------------------------------------------------------------


def _ask(fake: FakeDaemon, driver: Driver, path: object, action: str = "write") -> OperationRequest:
    fake.requests.clear()
    driver.call("op", action, f"ftp://host{path}")
    request = fake.of(OperationRequest)[-1]
    assert isinstance(request, OperationRequest)
    assert request.object == f"ftp://host{path}"
    return request


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files, directories and links of every kind."""
    root = tmp_path.resolve()
    (root / "directory" / "empty").mkdir(parents=True)
    (root / "directory" / "file").write_bytes(b"")
    (root / "to-file").symlink_to("directory/file")
    (root / "to-directory").symlink_to(root / "directory")
    (root / "to-link").symlink_to("to-file")
    (root / "dangling").symlink_to("directory/missing")
    (root / "dangling-far").symlink_to(root / "missing" / "deep")
    (root / "dangling-up").symlink_to("directory/../other")
    (root / "to-dangling").symlink_to("dangling")
    (root / "loop").symlink_to("loop")
    return root


FILE, DIRECTORY = Fact.RESOLVED | Fact.EXISTS, Fact.RESOLVED | Fact.EXISTS | Fact.DIRECTORY
LINK, NOTHING = Fact.SYMLINK, Fact.RESOLVED


@pytest.mark.parametrize(
    ("path", "facts", "real", "link"),
    [
        ("directory/file", FILE, "directory/file", "directory/file"),
        ("directory", DIRECTORY, "directory", "directory"),
        ("directory/empty", DIRECTORY | Fact.EMPTY, "directory/empty", "directory/empty"),
        ("to-file", FILE | LINK, "directory/file", "to-file"),
        ("to-link", FILE | LINK, "directory/file", "to-link"),
        ("to-directory", DIRECTORY | LINK, "directory", "to-directory"),
        ("to-directory/file", FILE, "directory/file", "directory/file"),
        ("to-directory/empty", DIRECTORY | Fact.EMPTY, "directory/empty", "directory/empty"),
        ("missing", NOTHING, "missing", "missing"),
        ("to-directory/missing", NOTHING, "directory/missing", "directory/missing"),
        ("to-directory/missing/deeper", NOTHING, "directory/missing/deeper", "directory/missing/deeper"),
        ("dangling", NOTHING | LINK, "directory/missing", "dangling"),
        ("dangling/deeper", NOTHING, "directory/missing/deeper", "directory/missing/deeper"),
        ("dangling-far", NOTHING | LINK, "missing/deep", "dangling-far"),
        ("dangling-up", NOTHING | LINK, "other", "dangling-up"),
        ("to-dangling", NOTHING | LINK, "directory/missing", "to-dangling"),
    ],
)
def test_paths(fake: FakeDaemon, driver: Driver, tree: Path, path: str, facts: Fact, real: str, link: str) -> None:
    driver.call("init", "file")
    request = _ask(fake, driver, tree / path)
    assert request.facts == facts | Fact.FOLLOWED
    assert request.real_path == str(tree / real)
    assert request.link_path == str(tree / link)
    if Fact.EXISTS in facts:
        assert request.real_path == os.path.realpath(tree / path)


def test_paths_through_any_maze(fake: FakeDaemon, driver: Driver, tmp_path: Path) -> None:
    """In trees of links at random, what the library resolves is what the system would."""
    generator = random.Random(7)
    names = ["a", "b", "c", "d"]
    resolved = 0
    for number in range(12):
        root = tmp_path.resolve() / str(number)
        root.mkdir()
        places = [root]
        for _ in range(12):
            path = generator.choice(places) / generator.choice(names)
            if os.path.lexists(path):
                continue
            match generator.randrange(4):
                case 0:
                    path.mkdir()
                    places.append(path)
                case 1:
                    path.write_bytes(b"")
                case _:
                    target = "/".join(generator.choices([*names, ".."], k=generator.randint(1, 3)))
                    path.symlink_to(generator.choice([target, f"{root}/{target}"]))
        driver.call("init", "file")
        for _ in range(40):
            path = root / "/".join(generator.choices(names, k=generator.randint(1, 4)))
            request = _ask(fake, driver, path)
            if Fact.RESOLVED in request.facts:
                resolved += 1
                assert request.real_path == os.path.realpath(path), path
                assert request.link_path == os.path.join(os.path.realpath(path.parent), path.name), path
                assert (Fact.EXISTS in request.facts) is path.exists()
                assert (Fact.SYMLINK in request.facts) is path.is_symlink()
            else:
                assert not path.exists()
        driver.call("destroy")
    assert resolved > 200


def test_emptiness_is_looked_up_where_it_matters(fake: FakeDaemon, driver: Driver, tree: Path) -> None:
    driver.call("init", "file")
    for action, counts in (("lookup", False), ("read", False), ("create", False), ("write", True), ("delete", True)):
        assert (Fact.EMPTY in _ask(fake, driver, tree / "directory" / "empty", action).facts) is counts


@pytest.mark.parametrize("path", ["loop", "loop/x", "directory/file/x", "missing/../x", "x" * 300])
def test_paths_that_lead_nowhere(fake: FakeDaemon, driver: Driver, tree: Path, path: str) -> None:
    """What cannot be followed is said to be so, and the daemon then refuses."""
    driver.call("init", "file")
    assert Fact.RESOLVED not in _ask(fake, driver, tree / path).facts


@pytest.mark.parametrize("path", ["/", "//", "/tmp/", "/nosuch"])
def test_paths_at_the_root(fake: FakeDaemon, driver: Driver, path: str) -> None:
    driver.call("init", "file")
    request = _ask(fake, driver, path)
    assert request.real_path == os.path.realpath(path)
    if Fact.RESOLVED in request.facts:
        assert request.link_path == (os.path.normpath(path).replace("//", "/"))


@pytest.mark.parametrize("object_", ["", "/etc/passwd", "ftp://host", "http://host/etc/passwd", "ftp:/etc"])
def test_odd_objects(fake: FakeDaemon, driver: Driver, object_: str) -> None:
    driver.call("init", "file")
    driver.call("op", "read", object_)
    request = fake.of(OperationRequest)[-1]
    assert isinstance(request, OperationRequest)
    assert request.facts == Fact(0)


def test_very_deep_and_long_paths(fake: FakeDaemon, driver: Driver) -> None:
    driver.call("init", "file")
    assert Fact.RESOLVED not in _ask(fake, driver, "/x" * 3000).facts
    assert Fact.RESOLVED not in _ask(fake, driver, "/nosuch" + "/x" * 1000).facts
    assert _ask(fake, driver, "/nosuch" + "/x" * 100).real_path == "/nosuch" + "/x" * 100


def test_assertions_are_no_paths(fake: FakeDaemon, driver: Driver) -> None:
    driver.call("init", "file")
    driver.call("op", "authz_assert", "ftp://host/etc/passwd " + "x" * 200_000)
    request = fake.of(OperationRequest)[-1]
    assert isinstance(request, OperationRequest)
    assert len(request.object) > 200_000
    assert not request.real_path


def test_oversized_question(fake: FakeDaemon, driver: Driver) -> None:
    driver.call("init", "file")
    assert "too large" in driver.call("op", "authz_assert", "x" * 1_100_000)
    assert driver.call("op", "read", "ftp://h/etc/passwd") == "ok"


# --- what it makes of answers -----------------------------------------------------------------------------------------


def test_errors(fake: FakeDaemon, driver: Driver) -> None:
    for verdict, authz, gram in ((Verdict.DENY, 1, 2), (Verdict.FAILURE, 3, 1)):
        fake.answer = lambda _, verdict=verdict: encode_answer(  # type: ignore[misc]  # a default binds the loop's value
            Answer(verdict, reason="because", decision_id="c0ffee")
        )
        assert driver.call("service", "file") == f"authz:{authz} because (decision c0ffee)"
        assert driver.call("map", "file", "-", 64) == f"authz:{authz} because (decision c0ffee)"
        assert driver.call("init", "file") == f"authz:{authz} because (decision c0ffee)"
        assert driver.call("op", "read", "ftp://h/x") == "authz:1 this session was refused"
        driver.call("destroy")
        assert driver.call("job", "1", "status", "-") == f"gram:{gram} because (decision c0ffee)"
    for code, number in ((Code.JOB_ID, 3), (Code.EXECUTABLE, 4)):
        fake.answer = lambda _, code=code: encode_answer(Answer(Verdict.DENY, code=code))  # type: ignore[misc]  # likewise
        assert driver.call("job", "1", "status", "-").startswith(f"gram:{number} ")


def test_a_permit_with_a_reason_is_a_permit(fake: FakeDaemon, driver: Driver) -> None:
    fake.answer = lambda _: encode_answer(Answer(Verdict.PERMIT, reason="fine", decision_id="1"))
    assert driver.call("service", "file") == "ok"


def _mutations(seed: int) -> Iterator[bytes]:
    """Answers, most of them damaged in one place or two."""
    generator = random.Random(seed)
    base = [
        encode_answer(Answer(Verdict.PERMIT, account="nobody", reason="fine", decision_id="c0ffee", code=Code.JOB_ID)),
        encode_answer(Answer(Verdict.PERMIT)),
        encode_answer(Answer(Verdict.DENY, reason="no")),
        encode_answer(Answer(Verdict.PERMIT, reason="")) + b"",
    ]
    yield from base
    for _ in range(400):
        body = bytearray(generator.choice(base)[4:])
        for _ in range(generator.randint(1, 2)):
            place = generator.randrange(len(body) + 1)
            match generator.randrange(4):
                case 0 if place < len(body):
                    body[place] = generator.choice([0, 1, 2, 3, 4, 5, 64, 65, 66, 67, 68, 69, 127, 255])
                case 1 if place < len(body):
                    del body[place]
                case 2:
                    body[place:place] = generator.randbytes(1)
                case _:
                    field = generator.choice([b"\x40\0\0\0\1\1", b"\x41\0\0\0\0", b"\x42\0\0\0\1x", b"\x44\0\0\0\1\0"])
                    body[len(body) :] = field
        yield len(body).to_bytes(4, "big") + bytes(body)


def test_reads_answers_as_the_other_side_does(fake: FakeDaemon, driver: Driver) -> None:
    """Whatever comes: what Python takes for a permit is one in C, and nothing else is."""
    permits = 0
    for frame in _mutations(1):
        try:
            expected = parse_answer(frame[4:]).verdict is Verdict.PERMIT
        except RemoteProtocolError:
            expected = False
        fake.answer = lambda _, frame=frame: frame  # type: ignore[misc]  # a default binds the loop's value
        assert (driver.call("service", "file") == "ok") is expected, frame.hex()
        permits += expected
    assert permits > 20


@pytest.mark.parametrize(
    "frame",
    [b"", b"\0\0", b"\0\0\0\x08\1", b"\0\0\x10\1", b"\xff\xff\xff\xff", b"\0\0\0\0"],
    ids=lambda frame: frame.hex(),
)
def test_cut_off(fake: FakeDaemon, driver: Driver, frame: bytes) -> None:
    def answer(request: Request) -> bytes | None:
        if frame:
            return frame
        fake.drop()
        return None

    fake.answer = answer
    assert driver.call("service", "file").startswith("authz:3 the authorization service")


def test_late_answers_are_not_taken_for_the_next(site: CalloutSite, fake: FakeDaemon) -> None:
    """An answer that comes after its time must not answer another question."""
    import threading

    release = threading.Event()

    def answer(request: Request) -> bytes | None:
        if isinstance(request, OperationRequest) and request.object.endswith("slow"):
            release.wait(10)
            return permit(request)
        if isinstance(request, OperationRequest):
            return encode_answer(Answer(Verdict.DENY, reason="no"))
        return permit(request)

    fake.answer = answer
    with Driver(site, timeout_ms=300) as driver:
        driver.call("init", "file")
        assert "too slow" in driver.call("op", "read", "ftp://h/slow")
        release.set()
        assert driver.call("op", "read", "ftp://h/x") == "authz:1 no"
        assert [each.resumed for each in fake.of(SessionRequest) if isinstance(each, SessionRequest)] == [False, True]


def test_drip_fed_answers_end_at_the_time_limit(site: CalloutSite, fake: FakeDaemon) -> None:
    """One byte now and then does not stretch the time: the limit is for the whole answer."""
    import time

    frame = encode_answer(Answer(Verdict.PERMIT, reason="x" * 200))

    def answer(request: Request) -> bytes | None:
        del request
        for byte in frame:
            fake.drip(bytes((byte,)), 0.05)
        return b""

    fake.answer = answer
    with Driver(site, timeout_ms=300) as driver:
        begun = time.monotonic()
        assert "too slow" in driver.call("service", "file")
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "variables",
    [
        {"GSI_AUTHZ_SOCKET": ""},
        {"GSI_AUTHZ_SOCKET": "relative"},
        {"GSI_AUTHZ_SOCKET": "/nonexistent/socket"},
        {"GSI_AUTHZ_SOCKET": "/" + "x" * 200},
        {"GSI_AUTHZ_SOCKET": "/etc/passwd"},
        {"GSI_AUTHZ_TIMEOUT": "soon"},
        {"GSI_AUTHZ_TIMEOUT": "0"},
        {"GSI_AUTHZ_TIMEOUT": "-1"},
        {"GSI_AUTHZ_TIMEOUT": "99999999999999999999"},
        {"GSI_AUTHZ_SERVER_UID": "root"},
        {"GSI_AUTHZ_SERVER_UID": "4711"},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_refuse(site: CalloutSite, fake: FakeDaemon, variables: dict[str, str]) -> None:
    with Driver(site, variables=variables) as driver:
        assert driver.call("service", "file").startswith("authz:3")
        assert driver.call("init", "file").startswith("authz:3")
        assert driver.call("op", "read", "ftp://h/x").startswith("authz:1")
        assert driver.call("job", "1", "status", "-").startswith("gram:1")
    assert not fake.requests


def test_library_alone() -> None:
    """In a host without any Globus function it still loads and still refuses."""
    import ctypes

    with callout_site() as site:
        library = ctypes.CDLL(str(site.library))
        assert library.gsi_authz_system_init(None) == 0
