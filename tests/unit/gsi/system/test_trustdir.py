"""The trust directory on disk: followed without a restart, never half old and half new."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Final

import pytest

from gsi.errors import ConfigError, Reason, VerificationError
from gsi.system import trustdir
from gsi.system.clock import now
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import verify_chain
from tests.harness.ca import Issued, TestCA, subject_hash, write_trust_dir

ONE: Final = TestCA("/O=Grid/CN=One")
TWO: Final = TestCA("/O=Grid/CN=Two")
ALICE: Final = ONE.issue("/O=Grid/CN=Alice")
STEM: Final = subject_hash(ONE.certificate)


def subjects(directory: TrustDirectory) -> list[str]:
    return sorted(one.subject for one in directory.anchors().authorities)


def verdict(directory: TrustDirectory, issued: Issued = ALICE) -> Reason | None:
    try:
        verify_chain(issued.chain_der, directory.anchors(), now=now())
    except VerificationError as error:
        return error.reason
    return None


def empty(path: Path) -> None:
    """Truncate in place."""
    path.write_bytes(b"")


def replace(path: Path, data: bytes) -> None:
    """Write as fetch-crl does: a new file, renamed over the old one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    os.replace(fresh, path)


def test_reads(tmp_path: Path) -> None:
    directory = TrustDirectory(str(write_trust_dir(tmp_path, ONE, TWO, crl=True)))
    assert (directory.loaded_at, directory.age) == (None, None)
    before = now()
    assert subjects(directory) == ["/O=Grid/CN=One", "/O=Grid/CN=Two"]
    assert directory.problems == ()
    assert directory.loaded_at is not None
    assert before <= directory.loaded_at <= now()
    assert directory.age is not None


def test_links_within_the_directory(tmp_path: Path) -> None:
    (tmp_path / "One.pem").write_bytes(ONE.pem)
    (tmp_path / "One.signing_policy").write_text(ONE.signing_policy())
    for hashed in (STEM, subject_hash(ONE.certificate, old=True)):
        (tmp_path / f"{hashed}.0").symlink_to("One.pem")
        (tmp_path / f"{hashed}.signing_policy").symlink_to("One.signing_policy")
    directory = TrustDirectory(str(tmp_path))
    assert subjects(directory) == ["/O=Grid/CN=One"]
    assert verdict(directory) is None


CHANGES: Final[dict[str, tuple[Callable[[Path], None], Reason]]] = {
    "CRL appears": (lambda path: replace(path / f"{STEM}.r0", ONE.crl([ALICE])), Reason.REVOKED),
    "CRL broken": (lambda path: replace(path / f"{STEM}.r0", b"garbage"), Reason.CRL_BROKEN),
    "policy gone": (lambda path: (path / f"{STEM}.signing_policy").unlink(), Reason.SIGNING_POLICY_MISSING),
    "policy emptied in place": (
        lambda path: empty(path / f"{STEM}.signing_policy"),
        Reason.SIGNING_POLICY,
    ),
    "CA gone": (lambda path: (path / f"{STEM}.0").unlink(), Reason.UNTRUSTED),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("settled", [False, True])
def test_follows_changes(tmp_path: Path, name: str, settled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if settled:  # as if the files had been written long ago: only their stamps can tell
        monkeypatch.setattr(trustdir, "_RACY_NS", -(10**18))
    change, reason = CHANGES[name]
    directory = TrustDirectory(str(write_trust_dir(tmp_path, ONE)))
    assert verdict(directory) is None
    change(tmp_path)
    assert verdict(directory) is reason


def test_same_size_same_time_of_change(tmp_path: Path) -> None:
    path = write_trust_dir(tmp_path, ONE) / f"{STEM}.signing_policy"
    directory = TrustDirectory(str(tmp_path))
    assert verdict(directory) is None
    found = path.stat()
    path.write_bytes(path.read_bytes().replace(b"CA:sign", b"CA:none"))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert verdict(directory) is Reason.SIGNING_POLICY


def test_unchanged_is_the_same_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trustdir, "_RACY_NS", -(10**18))
    directory = TrustDirectory(str(write_trust_dir(tmp_path, ONE)))
    assert directory.anchors() is directory.anchors()


def test_read_again_while_fresh_but_with_the_same_generation(tmp_path: Path) -> None:
    directory = TrustDirectory(str(write_trust_dir(tmp_path, ONE)))
    first, second = directory.anchors(), directory.anchors()
    assert first.generation == second.generation
    assert first.authorities == second.authorities


def test_time_in_the_future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_trust_dir(tmp_path, ONE) / f"{STEM}.signing_policy"
    later = time.time_ns() + 10**15
    os.utime(path, ns=(later, later))
    monkeypatch.setattr(trustdir, "_RACY_NS", -(10**14))  # as if all but the one had been written long ago
    directory = TrustDirectory(str(tmp_path))
    first = directory.anchors()
    second = directory.anchors()
    assert second is not first  # read once more, to be sure
    assert directory.anchors() is second
    path.write_bytes(path.read_bytes().replace(b"CA:sign", b"CA:none"))
    os.utime(path, ns=(later, later))
    assert verdict(directory) is Reason.SIGNING_POLICY


def test_recheck_interval(tmp_path: Path) -> None:
    directory = TrustDirectory(str(write_trust_dir(tmp_path, ONE)), recheck_seconds=3600)
    assert verdict(directory) is None
    replace(tmp_path / f"{STEM}.r0", ONE.crl([ALICE]))
    assert verdict(directory) is None


def test_swapped_link(tmp_path: Path) -> None:
    write_trust_dir(tmp_path / "v1", ONE)
    write_trust_dir(tmp_path / "v2", TWO)
    link = tmp_path / "certificates"
    link.symlink_to("v1")
    directory = TrustDirectory(str(link))
    assert subjects(directory) == ["/O=Grid/CN=One"]
    (tmp_path / "next").symlink_to("v2")
    os.replace(tmp_path / "next", link)
    assert subjects(directory) == ["/O=Grid/CN=Two"]


def test_swapped_under_load_is_old_or_new_whole(tmp_path: Path) -> None:
    write_trust_dir(tmp_path / "v0", ONE, crl=True)
    write_trust_dir(tmp_path / "v1", TWO, crl=True)
    link = tmp_path / "certificates"
    link.symlink_to("v0")
    directory = TrustDirectory(str(link))
    done = Event()

    def swap() -> None:
        turn = 0
        while not done.is_set():
            turn = 1 - turn
            (tmp_path / "next").symlink_to(f"v{turn}")
            os.replace(tmp_path / "next", link)

    thread = Thread(target=swap)
    thread.start()
    try:
        seen = {tuple(subjects(directory)) for _ in range(200)}
        assert directory.problems == ()
    finally:
        done.set()
        thread.join()
    assert seen <= {("/O=Grid/CN=One",), ("/O=Grid/CN=Two",)}


def test_one_bad_file_takes_nothing_with_it(tmp_path: Path) -> None:
    write_trust_dir(tmp_path, ONE, TWO)
    bad = subject_hash(TWO.certificate)
    (tmp_path / f"{bad}.0").write_bytes(b"garbage")
    (tmp_path / "0badf00d.0").symlink_to("nowhere")
    (tmp_path / "0badf00d.r0").mkdir()
    os.mkfifo(tmp_path / "0badf00d.signing_policy")
    directory = TrustDirectory(str(tmp_path))
    assert verdict(directory) is None
    assert {one.path for one in directory.problems} == {
        f"{bad}.0",
        "0badf00d.0",
        "0badf00d.r0",
        "0badf00d.signing_policy",
    }


def test_crl_that_is_no_file_refuses_its_ca(tmp_path: Path) -> None:
    write_trust_dir(tmp_path, ONE)
    (tmp_path / f"{STEM}.r0").mkdir()
    assert verdict(TrustDirectory(str(tmp_path))) is Reason.CRL_BROKEN


def test_dangling_crl_refuses_its_ca(tmp_path: Path) -> None:
    write_trust_dir(tmp_path, ONE)
    (tmp_path / f"{STEM}.r0").symlink_to("gone")
    assert verdict(TrustDirectory(str(tmp_path))) is Reason.CRL_BROKEN


def test_long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trustdir, "MAX_FILE_BYTES", 5000)
    write_trust_dir(tmp_path, ONE)
    (tmp_path / f"{STEM}.r0").write_bytes(bytes(5001))
    assert verdict(TrustDirectory(str(tmp_path))) is Reason.CRL_BROKEN


def test_limits_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trust_dir(tmp_path, ONE, TWO)
    with monkeypatch.context() as patch:
        patch.setattr(trustdir, "MAX_ENTRIES", 3)
        with pytest.raises(ConfigError, match="entries"):
            TrustDirectory(str(tmp_path)).anchors()
    monkeypatch.setattr(trustdir, "MAX_TOTAL_BYTES", 100)
    with pytest.raises(ConfigError, match="bytes"):
        TrustDirectory(str(tmp_path)).anchors()


def test_no_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path / "file"):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ConfigError) as caught:
            TrustDirectory(str(path)).anchors()
        assert caught.value.path == str(path)
        assert caught.value.hint is not None


def test_directory_that_vanishes_is_not_remembered(tmp_path: Path) -> None:
    write_trust_dir(tmp_path / "certificates", ONE)
    directory = TrustDirectory(str(tmp_path / "certificates"))
    assert verdict(directory) is None
    os.rename(tmp_path / "certificates", tmp_path / "away")
    with pytest.raises(ConfigError):
        directory.anchors()
    os.rename(tmp_path / "away", tmp_path / "certificates")
    assert verdict(directory) is None


def test_descriptors_are_closed(tmp_path: Path) -> None:
    directory = TrustDirectory(str(write_trust_dir(tmp_path, ONE, TWO, crl=True)))
    directory.anchors()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        directory.anchors()
    assert len(os.listdir("/proc/self/fd")) == before


def test_recent_never_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives what the last look found while that is good, and nothing before the first, after that, or meanwhile."""
    moment = [1_000_000_000_000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: moment[0])
    directory = TrustDirectory(str(write_trust_dir(tmp_path, ONE)), recheck_seconds=1.0)
    assert directory.recent() is None
    found = directory.anchors()
    assert directory.recent() is found
    moment[0] += 1_000_000_000
    assert directory.recent() is None
    directory.anchors()
    with directory._lock:  # as another thread that looks
        assert directory.recent() is None


def test_a_directory_that_is_looked_at_each_time_has_nothing_recent(tmp_path: Path) -> None:
    directory = TrustDirectory(str(write_trust_dir(tmp_path, ONE)))
    directory.anchors()
    assert directory.recent() is None
