"""Every case of the conformance suite before OpenSSL and the C validator; each must say what is recorded of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from peers import gsi, openssl, proxy_init
from peers.suite import HERE, Verdict, load
from peers.table import NAMES, PAGE, differs, read_record, render, write_record
from tests.harness.run import require_peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CASES: Final = load()
RECORD: Final = read_record()


@pytest.fixture(scope="session")
def library() -> Iterator[gsi.Library]:
    """The C library in a process of its own, one for each worker."""
    require_peer("openssl", "grid-proxy-init")
    with gsi.Library() as found:
        yield found


@pytest.mark.parametrize("case_id", CASES)
def test_recorded_verdicts(case_id: str, library: gsi.Library) -> None:
    """`certs-test/run_peers.py` records anew, when a peer has changed for a reason that is understood."""
    case = CASES[case_id]
    said = openssl.ask(case), library.ask(case), proxy_init.ask(case)
    assert said == RECORD.verdicts_with(openssl.version())[case_id]


def test_the_page_is_made_from_the_record() -> None:
    assert PAGE.read_text("utf-8") == render(CASES, RECORD), "run certs-test/run_peers.py --page"


def test_no_case_is_recorded_that_is_not_there() -> None:
    assert list(RECORD.verdicts) == list(CASES)
    assert all(RECORD.verdicts[name] != said for name, said in RECORD.earlier.items())


def test_peers_disagree_with_the_suite() -> None:
    """A suite that everybody passes tells nothing; one that nobody passes tells nothing either."""
    for column, name in enumerate(NAMES):
        said = [(case, RECORD.verdicts[case.id][column]) for case in CASES.values()]
        asked = [(case, verdict) for case, verdict in said if verdict is not Verdict.NOT_ASKED]
        assert len(asked) > 900, name
        assert 0 < sum(differs(case, verdict) for case, verdict in asked) < len(asked) / 3, name


def test_the_example_finds_what_is_recorded() -> None:
    """The harness to start from asks fewer cases, and says of each what the one that makes the table says."""
    require_peer("openssl")
    script = HERE / "examples" / "openssl_verify.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=280, check=True)
    *lines, summary = done.stdout.splitlines()
    found = {case_id: verdict for verdict, case_id, _ in (line.split(": ", 2) for line in lines)}
    asked, differences = (int(words.split()[0]) for words in summary.split(","))
    assert asked > 500
    assert differences == len(found) > 10
    words = {Verdict.ACCEPT: "accepted", Verdict.REFUSE: "refused"}
    column = NAMES.index(openssl.NAME)
    verdicts = RECORD.verdicts_with(openssl.version())
    for case_id, verdict in found.items():
        recorded = verdicts[case_id][column]
        if recorded is not Verdict.NOT_ASKED:  # by the other, which tells more cases that OpenSSL cannot judge
            assert words[recorded] == verdict, case_id
            assert differs(CASES[case_id], recorded), case_id


def test_another_openssl_is_recorded_without_losing_what_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peers.table.RECORD", tmp_path / "verdicts.json")
    shutil.copy(HERE / "verdicts.json", tmp_path)
    with_earlier = RECORD.verdicts | RECORD.earlier
    for version, said, expected in (
        ("3.0.22", RECORD.verdicts, "OpenSSL 3.0.20"),
        ("3.0.19", with_earlier, "OpenSSL 3.0.20"),
        ("3.0.21", RECORD.verdicts, "OpenSSL 3.0.20"),
        ("3.0.21-dev", with_earlier, "OpenSSL 3.0.21-dev"),
    ):
        write_record(RECORD.versions | {openssl.NAME: f"OpenSSL {version}"}, said)
        assert read_record() == RECORD._replace(earlier_openssl=expected), version
    for version, said in (("OpenSSL 3.0.10", RECORD.verdicts), ("", with_earlier)):
        with pytest.raises(ValueError, match=r"says neither|is no version"):
            write_record(RECORD.versions | {openssl.NAME: version}, said)
    assert read_record().earlier == RECORD.earlier


def test_a_crash_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    asked = next(case for case in CASES.values() if RECORD.verdicts[case.id][0] is Verdict.ACCEPT)
    assert openssl.ask(asked) is Verdict.CRASH
