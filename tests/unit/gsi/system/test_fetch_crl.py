"""Fetching the lists of whole trust directories from a scripted server."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from gsi.errors import ConfigError, CredentialError, CredentialProblem, VerificationError
from gsi.system import fetch_crl, files
from gsi.system.clock import now
from gsi.system.crl_plan import Plan, plan_jobs
from gsi.system.fetch_crl import FetchReport, FetchResult, FetchSettings, FetchStatus, fetch_crls
from gsi.system.files import FileLock
from gsi.system.trustdir import TrustDirectory
from gsi.trust.crl import MAX_CRL_BYTES, parse_crl_file
from gsi.trust.verify import verify_chain
from tests.harness.ca import Extra, Issued, TestCA, subject_hash, write_file, write_trust_dir
from tests.harness.trust import weak_crl
from tests.harness.web import Answer, Drip, Hang, Raw, Script, WebServer

if TYPE_CHECKING:
    from collections.abc import Callable

SAME_HASH = ("/O=Grid/CN=C83890", "/O=Grid/CN=C99700")
"""Two names with one hash, found by trying."""
UPDATED, UNCHANGED, KEPT = FetchStatus.UPDATED, FetchStatus.UNCHANGED, FetchStatus.KEPT
FAILED, NO_SOURCE = FetchStatus.FAILED, FetchStatus.NO_SOURCE
LONG_AGO = 1_000_000_000
LOCK = ".grid-fetch-crl.lock"


def cdp(*urls: str) -> list[Extra]:
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    return [(x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)]), False)]


def new_ca(name: str = "/O=Grid/CN=CA", *, extensions: list[Extra] | None = None) -> TestCA:
    return TestCA(name, key="p256", extensions=extensions or ())


def digest(ca: TestCA) -> str:
    return subject_hash(ca.certificate)


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    return tmp_path / "certificates"


def plan(trust: Path, **options: object) -> Plan:
    return plan_jobs(str(trust), TrustDirectory(str(trust)).anchors(), **options)  # type: ignore[arg-type]  # of tests


def fetch(trust: Path, **options: object) -> FetchReport:
    chosen = {"timeout": 20.0, "retries": 0, "tolerance_hours": 0.0} | options
    return fetch_crls(FetchSettings(directory=str(trust), **chosen))  # type: ignore[arg-type]  # of tests


def statuses(report: FetchReport) -> dict[str, FetchStatus]:
    return {result.job.subject: result.status for result in report.results}


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_sources_in_order(trust: Path) -> None:
    ca = new_ca(extensions=cdp("http://cdp/", "ldap://cdp/"))
    write_trust_dir(trust, ca)
    (job,) = plan(trust).jobs
    assert job.urls == ("http://cdp/",)
    assert (job.name, job.hash, job.subject) == (digest(ca), digest(ca), "/O=Grid/CN=CA")
    (trust / f"{digest(ca)}.crl_url").write_text("http://crl_url/\n")
    assert plan(trust).jobs[0].urls == ("http://crl_url/", "http://cdp/")
    (trust / f"{digest(ca)}.info").write_text("alias = Grid\ncrl_url = http://info/\ncrl_url.1 = http://info/1\n")
    jobs = plan(trust).jobs
    assert [job.urls for job in jobs] == [("http://info/", "http://cdp/"), ("http://info/1",)]
    assert [(job.name, job.position) for job in jobs] == [("Grid", 0), ("Grid", 1)]
    (job,) = plan(trust, base="file:///srv/").jobs
    assert job.urls == (f"file:///srv/{digest(ca)}.r0",)


@pytest.mark.parametrize("how", ["link", "pem", "zero", "subject"])
def test_an_alias_is_known(trust: Path, how: str) -> None:
    ca = new_ca()
    write_trust_dir(trust, ca)
    anchor = trust / f"{digest(ca)}.0"
    info = "alias = MyGrid\ncrl_url = http://info/\n"
    if how == "link":
        anchor.rename(trust / "MyGrid.cer")
        anchor.symlink_to("MyGrid.cer")
    elif how == "pem":
        write_file(trust / "MyGrid.pem", ca.pem, 0o644)
    elif how == "zero":
        write_file(trust / "MyGrid.0", ca.pem, 0o644)
    else:
        info += 'subjectdn = "/O=Grid/CN=CA"\n'
    (trust / "MyGrid.info").write_text(info)
    (job,) = plan(trust).jobs
    assert (job.name, job.urls) == ("MyGrid", ("http://info/",))


def test_a_point_in_a_subordinates_certificate_is_about_its_parent(trust: Path) -> None:
    root = new_ca("/O=Grid/CN=Root")
    sub = TestCA("/O=Grid/CN=Sub", key="p256", parent=root, extensions=cdp("http://root/"))
    write_trust_dir(trust, root, sub)
    found = plan(trust)
    assert [(job.subject, job.urls) for job in found.jobs] == [("/O=Grid/CN=Root", ("http://root/",))]
    assert [job.subject for job in found.without_source] == ["/O=Grid/CN=Sub"]


def test_only_some(trust: Path) -> None:
    one, two = new_ca("/O=Grid/CN=One"), new_ca("/O=Grid/CN=Two")
    write_trust_dir(trust, one, two)
    (trust / "Second.info").write_text('alias = Second\ncrl_url = http://two/\nsubjectdn = "/O=Grid/CN=Two"\n')
    for word in ("Second", "second", digest(two), subject_hash(two.certificate, old=True), "/O=Grid/CN=Two"):
        assert [job.name for job in plan(trust, only=[word]).jobs] == ["Second"]
    for ca, name in ((one, "/O=Grid/CN=One"), (two, "/O=Grid/CN=Two")):  # whichever of them comes first
        found = plan(trust, only=[digest(ca)])
        assert [job.subject for job in (*found.jobs, *found.without_source)] == [name]
    with pytest.raises(ConfigError, match="no CA called nobody"):
        plan(trust, only=["nobody", "Second"])


def test_files_that_cannot_be_read_are_told(trust: Path) -> None:
    ca = new_ca(extensions=cdp("http://cdp/"))
    write_trust_dir(trust, ca)
    (trust / f"{digest(ca)}.crl_url").write_text("not a url\n")
    (trust / "other.info").write_text("nonsense\n")
    (trust / "stranger.crl_url").write_text("http://stranger/\n")
    found = plan(trust)
    assert [problem.partition(":")[0] for problem in found.problems] == ["other.info", f"{digest(ca)}.crl_url"]
    assert found.jobs[0].urls == ("http://cdp/",)


# --- fetching ---------------------------------------------------------------------------------------------------------


def serve(trust: Path, routes: dict[TestCA, Script]) -> WebServer:
    """A trust directory whose CAs publish on a server what the script says."""
    paths: dict[str, Script] = {f"/{digest(ca)}": script for ca, script in routes.items()}
    web = WebServer(paths)
    write_trust_dir(trust, *routes)
    for ca in routes:
        (trust / f"{digest(ca)}.crl_url").write_text(web.url(f"/{digest(ca)}\n"))
    return web


def test_lists_are_installed_as_pem(trust: Path) -> None:
    pem_ca, der_ca = new_ca("/O=Grid/CN=P"), new_ca("/O=Grid/CN=D")
    der = x509.load_pem_x509_crl(der_ca.crl()).public_bytes(Encoding.DER)
    with serve(trust, {pem_ca: Answer(pem_ca.crl()), der_ca: Answer(der)}):
        report = fetch(trust)
        assert statuses(report) == {"/O=Grid/CN=P": UPDATED, "/O=Grid/CN=D": UPDATED}
        assert not report.has_failed
        again = fetch(trust)
        assert set(statuses(again).values()) == {UNCHANGED}
    for ca in (pem_ca, der_ca):
        path = trust / f"{digest(ca)}.r0"
        assert path.read_bytes().startswith(b"-----BEGIN X509 CRL-----\n")
        assert path.stat().st_mode & 0o777 == 0o644
    assert not TrustDirectory(str(trust)).problems
    assert [name for name in os.listdir(trust) if name.startswith(".")] == [LOCK]


def test_one_failure_leaves_all_others_and_its_own_list(trust: Path) -> None:
    good, changed = new_ca("/O=Grid/CN=Good"), new_ca("/O=Grid/CN=Changed")
    bad: dict[TestCA, Script] = {
        new_ca("/O=Grid/CN=Bad 0"): Answer(b"", "500 Oops"),
        new_ca("/O=Grid/CN=Bad 1"): Answer(b"<html>not a list</html>"),
        new_ca("/O=Grid/CN=Bad 2"): Answer(good.crl()),
        new_ca("/O=Grid/CN=Bad 3"): Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n-----BEGIN X509 CRL-----"),
        new_ca("/O=Grid/CN=Bad 4"): Hang(),
        new_ca("/O=Grid/CN=Bad 5"): Drip(b"HTTP/1.1 200 OK\r\n\r\n"),
    }
    with serve(trust, {good: Answer(good.crl()), changed: Answer(changed.crl(number=2)), **bad}):
        before = {}
        for ca in (changed, *bad):
            write_file(trust / f"{digest(ca)}.r0", ca.crl(this_update=datetime.now(UTC) - timedelta(hours=5)), 0o644)
            before[ca] = (trust / f"{digest(ca)}.r0").read_bytes()
        report = fetch(trust, timeout=2.0)
    found = statuses(report)
    assert found.pop("/O=Grid/CN=Good") is UPDATED
    assert found.pop("/O=Grid/CN=Changed") is UPDATED
    assert set(found.values()) == {FAILED}
    assert all(result.message for result in report.results if result.status is FAILED)
    assert report.has_failed
    for ca in bad:
        assert (trust / f"{digest(ca)}.r0").read_bytes() == before[ca]


def test_an_older_list_does_not_replace_a_newer_one(trust: Path) -> None:
    ca = new_ca()
    old = ca.crl(number=1, this_update=datetime.now(UTC) - timedelta(hours=9))
    with serve(trust, {ca: Answer(old)}):
        newer = ca.crl(number=2, revoked=[77])
        write_file(trust / f"{digest(ca)}.r0", newer, 0o644)
        report = fetch(trust)
        assert "older" in report.results[0].message
        assert (trust / f"{digest(ca)}.r0").read_bytes() == newer


def test_a_newer_list_that_came_meanwhile_stays(trust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program installs the newest list while an older one is on its way: it is not overwritten."""
    ca = new_ca()
    older = ca.crl(number=5, this_update=datetime.now(UTC) - timedelta(hours=2))
    newer = ca.crl([77], number=9)
    load = fetch_crl._load

    def overtaken(url: str, *rest: object) -> bytes:
        data = load(url, *rest)  # type: ignore[arg-type]  # passed on as they came
        write_file(trust / "x", newer, 0o644)
        (trust / "x").rename(trust / f"{digest(ca)}.r0")
        return data

    monkeypatch.setattr(fetch_crl, "_load", overtaken)
    with serve(trust, {ca: Answer(older)}):
        for before in (None, ca.crl(number=1, this_update=datetime.now(UTC) - timedelta(hours=9))):
            if before is not None:
                write_file(trust / f"{digest(ca)}.r0", before, 0o644)
            (result,) = fetch(trust).results
            assert result.status is FAILED
            assert "older than the installed one" in result.message
            assert (trust / f"{digest(ca)}.r0").read_bytes() == newer
            assert sorted(name for name in os.listdir(trust) if ".r" in name) == [f"{digest(ca)}.r0"]
            (trust / f"{digest(ca)}.r0").unlink()


def test_of_two_lists_of_one_key_the_newer_stays(trust: Path) -> None:
    ca = new_ca()
    older = ca.crl(number=5, this_update=datetime.now(UTC) - timedelta(hours=2))
    newer = ca.crl([77], number=9)
    write_trust_dir(trust, ca)
    with WebServer({"/0": Answer(newer), "/1": Answer(older)}) as web:
        (trust / f"{digest(ca)}.info").write_text(f"crl_url.0 = {web.url('/0')}\ncrl_url.1 = {web.url('/1')}\n")
        for order in (("/0", "/1"), ("/1", "/0")):
            (trust / f"{digest(ca)}.info").write_text(
                "".join(f"crl_url.{n} = {web.url(o)}\n" for n, o in enumerate(order))
            )
            fetch(trust, parallel=1)
            assert (trust / f"{digest(ca)}.r0").read_bytes() == newer
            (trust / f"{digest(ca)}.r0").unlink()


DAMAGED = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"


def test_a_whole_list_counts_in_a_damaged_file(trust: Path) -> None:
    ca = new_ca()
    newer = ca.crl([77], number=9)
    path = trust / f"{digest(ca)}.r0"
    with serve(trust, {ca: Answer(ca.crl(number=5, this_update=datetime.now(UTC) - timedelta(hours=2)))}) as web:
        write_file(path, newer + DAMAGED, 0o644)
        report = fetch(trust, tolerance_hours=24)
        assert statuses(report) == {"/O=Grid/CN=CA": FAILED}  # nobody can go by that file, so it is not kept
        assert path.read_bytes() == newer + DAMAGED
        web.routes[f"/{digest(ca)}"] = Answer(newer)
        assert statuses(fetch(trust)) == {"/O=Grid/CN=CA": UPDATED}
        assert path.read_bytes() == newer
        assert statuses(fetch(trust)) == {"/O=Grid/CN=CA": UNCHANGED}


def test_lists_of_other_keys_in_the_file_stay(trust: Path) -> None:
    """Of another CA with the same hash, too, but not of one that is looked for elsewhere."""
    name, other_name = SAME_HASH
    ca, rolled, other = new_ca(name), new_ca(name), new_ca(other_name)
    ago = datetime.now(UTC) - timedelta(hours=9)
    path = trust / f"{digest(ca)}.r0"
    kept = rolled.crl([5]) + other.crl()
    with serve(trust, {ca: Answer(ca.crl(number=2))}):
        write_trust_dir(trust, ca, rolled)
        write_file(path, ca.crl(this_update=ago) + kept + new_ca("/O=Grid/CN=Stranger").crl(), 0o644)
        assert statuses(fetch(trust)) == {name: UPDATED}
    assert path.read_bytes() == ca_list(path, ca) + kept


def ca_list(path: Path, ca: TestCA) -> bytes:
    """The first list of a file, which must be the CA's second."""
    (first, *_) = path.read_bytes().split(b"-----BEGIN X509 CRL-----\n")[1:]
    pem = b"-----BEGIN X509 CRL-----\n" + first
    parsed = x509.load_pem_x509_crl(pem)
    assert parsed.is_signature_valid(ca.key.public_key())
    assert parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2
    return pem


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_a_damaged_list_is_replaced(trust: Path, content: bytes) -> None:
    ca = new_ca()
    with serve(trust, {ca: Answer(ca.crl())}):
        write_file(trust / f"{digest(ca)}.r0", content, 0o644)
        assert statuses(fetch(trust)) == {"/O=Grid/CN=CA": UPDATED}
    assert sorted(name for name in os.listdir(trust) if ".r" in name) == [f"{digest(ca)}.r0"]


def lock_away(path: Path) -> None:
    path.chmod(0)


def make_too_long(path: Path) -> None:
    os.truncate(path, MAX_CRL_BYTES + 1)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        pytest.param(
            lock_away, "Permission denied", marks=pytest.mark.skipif(os.geteuid() == 0, reason="root reads all files")
        ),
        (make_too_long, "longer than"),
        (make_directory, "is a directory"),
    ],
)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_file_that_cannot_be_read_may_hold_a_newer_list(
    trust: Path, spoil: Callable[[Path], None], why: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, other = new_ca(), new_ca("/O=Grid/CN=Other")
    path = trust / f"{digest(ca)}.r0"
    load = fetch_crl._load

    def overtaken(url: str, *rest: object) -> bytes:
        data = load(url, *rest)  # type: ignore[arg-type]  # passed on as they came
        if digest(ca) in url:
            spoil(path)
        return data

    with serve(trust, {ca: Answer(ca.crl(number=5)), other: Answer(other.crl())}) as web:
        write_file(path, ca.crl([77], number=9), 0o644)
        write_file(path.with_suffix(".r1"), aged(ca, 4, OLDER), 0o644)  # for whose sake nothing is "kept"
        if when == "before":
            spoil(path)
        else:
            write_file(path, b"", 0o644)
            monkeypatch.setattr(fetch_crl, "_load", overtaken)
        before = path.lstat()
        report = fetch(trust, tolerance_hours=24)
        assert statuses(report) == {"/O=Grid/CN=CA": FAILED, "/O=Grid/CN=Other": UPDATED}
        (message,) = (result.message for result in report.results if result.status is FAILED)
        assert message.startswith(f"{path.name}: cannot be read: {why}")
        assert "remove the file" in message
        if when == "before":
            after = path.lstat()
            assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
            assert [request.split()[1] for request in web.requests] == [f"/{digest(other)}"]
    assert {name for name in os.listdir(trust) if ".r" in name} == {
        path.name,
        path.with_suffix(".r1").name,
        f"{digest(other)}.r0",
    }


def test_a_link_is_replaced_and_not_followed(trust: Path, tmp_path: Path) -> None:
    ca = new_ca()
    elsewhere = tmp_path / "precious"
    elsewhere.write_bytes(b"precious")
    with serve(trust, {ca: Answer(ca.crl())}):
        (trust / f"{digest(ca)}.r0").symlink_to(elsewhere)
        assert statuses(fetch(trust)) == {"/O=Grid/CN=CA": UPDATED}
    assert elsewhere.read_bytes() == b"precious"
    assert not (trust / f"{digest(ca)}.r0").is_symlink()


def test_the_next_source_is_tried(trust: Path) -> None:
    ca = new_ca()
    routes: dict[str, Script] = {
        "/bad": Answer(b"no list"), "/hang": Hang(), "/good": Answer(ca.crl()),
    }  # fmt: skip
    write_trust_dir(trust, ca)
    with WebServer(routes) as web:
        lines = [web.url(path) for path in ("/none", "/bad", "/hang", "/good")]
        (trust / f"{digest(ca)}.crl_url").write_text("\n".join(lines) + "\n")
        (result,) = fetch(trust, timeout=2.0).results
        assert (result.status, result.url) == (UPDATED, web.url("/good"))
        assert [request.split()[1] for request in web.requests] == ["/none", "/bad", "/hang", "/good"]


def test_what_could_not_be_reached_is_tried_again(trust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_crl, "_RETRY_SECONDS", 0)
    ca = new_ca()
    write_trust_dir(trust, ca)
    with WebServer({"/cut": Raw(b""), "/bad": Answer(b"no list")}) as web:
        (trust / f"{digest(ca)}.crl_url").write_text(f"{web.url('/cut')}\n{web.url('/bad')}\n")
        (result,) = fetch(trust, retries=2).results
        assert result.status is FAILED
        assert [request.split()[1] for request in web.requests] == ["/cut", "/bad", "/cut", "/cut"]
        assert "/cut: " in result.message
        assert "/bad: " in result.message


def test_two_cas_of_one_name(trust: Path) -> None:
    """After a change of keys the CA publishes a list for each; both are kept, and each replaces its own."""
    old, new = new_ca(), new_ca()
    stem = digest(old)
    write_trust_dir(trust, old, new)
    routes: dict[str, Script] = {"/old": Answer(old.crl(number=500)), "/new": Answer(new.crl(number=1))}
    with WebServer(routes) as web:
        (trust / f"{stem}.info").write_text(f"crl_url.0 = {web.url('/new')}\ncrl_url.1 = {web.url('/old')}\n")
        assert {result.file for result in fetch(trust).results} == {f"{stem}.r0", f"{stem}.r1"}
        web.routes["/new"] = Answer(new.crl(number=2, revoked=[5]))
        assert [result.status for result in fetch(trust).results] == [UPDATED, UNCHANGED]
    lists = [parse_crl_file((trust / f"{stem}.r{number}").read_bytes())[0] for number in (0, 1)]
    assert sorted(len(one.serials) for one in lists) == [0, 1]
    assert not (trust / f"{stem}.r2").exists()


def test_a_file_of_another_ca_with_the_same_hash_is_left(trust: Path) -> None:
    first, second = map(new_ca, SAME_HASH)
    assert digest(first) == digest(second)
    foreign = first.crl()
    with serve(trust, {second: Answer(second.crl())}):
        write_file(trust / f"{digest(second)}.r0", foreign, 0o644)
        (result,) = fetch(trust).results
    assert result.file == f"{digest(second)}.r1"
    assert (trust / f"{digest(second)}.r0").read_bytes() == foreign


@pytest.mark.parametrize("copy", [False, True])
def test_the_old_hash_has_it_too(trust: Path, copy: bool) -> None:
    ca = new_ca()
    old = subject_hash(ca.certificate, old=True)
    with serve(trust, {ca: Answer(ca.crl())}) as web:
        (trust / f"{old}.0").symlink_to(f"{digest(ca)}.0")
        if copy:
            write_file(trust / f"{old}.r0", b"old copy", 0o644)
        fetch(trust)
        path = trust / f"{old}.r0"
        assert path.is_symlink() != copy
        assert path.read_bytes() == (trust / f"{digest(ca)}.r0").read_bytes()
        web.routes[f"/{digest(ca)}"] = Answer(ca.crl(number=9))
        fetch(trust)
        assert path.read_bytes() == (trust / f"{digest(ca)}.r0").read_bytes()
    assert not TrustDirectory(str(trust)).problems


# --- the old hash -----------------------------------------------------------------------------------------------------

NAME = "/O=Grid/CN=CA"
NEWER, OFFERED, OLDER = (timedelta(hours=hours) for hours in (1, 5, 9))  # ages


def aged(ca: TestCA, number: int, age: timedelta, revoked: tuple[int, ...] = ()) -> bytes:
    return ca.crl(revoked, number=number, this_update=datetime.now(UTC) - age)


def expired(ca: TestCA) -> bytes:
    now = datetime.now(UTC)
    return ca.crl(number=3, this_update=now - timedelta(days=31), next_update=now - timedelta(days=1))


def serve_both(trust: Path, ca: TestCA, data: bytes) -> tuple[WebServer, Path, Path]:
    """As `serve`, with the CA under both hashes, and where its list belongs under each."""
    web = serve(trust, {ca: Answer(data)})
    old = subject_hash(ca.certificate, old=True)
    (trust / f"{old}.0").symlink_to(f"{digest(ca)}.0")
    return web, trust / f"{digest(ca)}.r0", trust / f"{old}.r0"


def check_updated_once(trust: Path) -> None:
    """A dry run says what the first run does; the second has nothing to do."""
    assert statuses(fetch(trust, dry_run=True)) == {NAME: UPDATED}
    assert statuses(fetch(trust)) == {NAME: UPDATED}
    assert statuses(fetch(trust)) == {NAME: UNCHANGED}


def lists(trust: Path) -> list[str]:
    return sorted(name for name in os.listdir(trust) if ".r" in name)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("has_new", [False, True])
def test_an_older_list_does_not_replace_a_newer_one_under_the_old_hash(
    trust: Path, has_new: bool, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = new_ca()
    newest = aged(ca, 5, NEWER, (7, 8))
    web, path, old = serve_both(trust, ca, aged(ca, 4, OFFERED, (7,)))
    load = fetch_crl._load

    def overtaken(url: str, *rest: object) -> bytes:
        write_file(old, newest, 0o644)
        return load(url, *rest)  # type: ignore[arg-type]  # passed on as they came

    with web:
        before = {old.name: newest}
        if has_new:
            write_file(path, aged(ca, 3, OLDER, (7,)), 0o644)
            before[path.name] = path.read_bytes()
        if when == "before":
            write_file(old, newest, 0o644)
        else:
            write_file(old, aged(ca, 3, OLDER, (7,)), 0o644)
            monkeypatch.setattr(fetch_crl, "_load", overtaken)
        (result,) = fetch(trust).results
        assert (result.status, "older than the installed one" in result.message) == (FAILED, True)
        assert {name: (trust / name).read_bytes() for name in lists(trust)} == before
        web.routes[f"/{digest(ca)}"] = Answer(newest)
        assert statuses(fetch(trust)) == {NAME: UPDATED}
        assert statuses(fetch(trust)) == {NAME: UNCHANGED}
    assert {name: (trust / name).read_bytes() for name in lists(trust)} == {path.name: newest, old.name: newest}


def test_a_list_of_higher_number_under_the_old_hash_counts_whatever_its_date(trust: Path) -> None:
    ca = new_ca()
    web, path, old = serve_both(trust, ca, aged(ca, 4, NEWER))
    with web:
        write_file(path, aged(ca, 3, OFFERED), 0o644)
        write_file(old, aged(ca, 5, OLDER, (8,)), 0o644)
        before = path.read_bytes(), old.read_bytes()
        (result,) = fetch(trust).results
        assert (result.status, "has number 4, the installed one number 5" in result.message) == (FAILED, True)
        assert (path.read_bytes(), old.read_bytes()) == before


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        pytest.param(
            lock_away, "Permission denied", marks=pytest.mark.skipif(os.geteuid() == 0, reason="root reads all files")
        ),
        (make_too_long, "longer than"),
        (make_directory, "is a directory"),
    ],
)
@pytest.mark.parametrize("state", ["nothing", "older", "current", "meanwhile"])
def test_nothing_is_installed_beside_an_old_name_that_cannot_be_read(
    trust: Path, spoil: Callable[[Path], None], why: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = new_ca()
    data = aged(ca, 5, OFFERED)
    web, path, old = serve_both(trust, ca, data)
    load = fetch_crl._load

    def overtaken(url: str, *rest: object) -> bytes:
        spoil(old)
        return load(url, *rest)  # type: ignore[arg-type]  # passed on as they came

    with web:
        write_file(old, data, 0o644)
        if state != "nothing":
            write_file(path, data if state == "current" else aged(ca, 4, OLDER), 0o644)
        if state == "meanwhile":
            monkeypatch.setattr(fetch_crl, "_load", overtaken)
        else:
            spoil(old)
        before = path.read_bytes() if path.exists() else None
        (result,) = fetch(trust, tolerance_hours=24).results  # a list that is refused anyway is not "kept"
        assert result.status is FAILED
        assert result.message.startswith(f"{old.name}: cannot be read: {why}")
        assert "remove the file" in result.message
        assert (path.read_bytes() if path.exists() else None) == before
    assert lists(trust) == sorted([old.name] if state == "nothing" else [path.name, old.name])


@pytest.mark.parametrize("kind", ["older", "expired", "damaged", "rubbish", "empty", "dangling", "elsewhere"])
@pytest.mark.parametrize("is_current", [False, True])
def test_a_stale_or_broken_list_under_the_old_hash_is_replaced(
    trust: Path, tmp_path: Path, kind: str, is_current: bool
) -> None:
    ca = new_ca()
    data = aged(ca, 5, OFFERED, (7,))
    web, path, old = serve_both(trust, ca, data)
    stale = {
        "older": aged(ca, 4, OLDER),
        "expired": expired(ca),
        "damaged": data + DAMAGED,
        "rubbish": b"rubbish",
        "empty": b"",
        "elsewhere": aged(ca, 4, OLDER),
    }
    with web:
        if is_current:
            write_file(path, data, 0o644)
        if kind == "dangling":
            old.symlink_to("nowhere")
        elif kind == "elsewhere":
            write_file(tmp_path / "elsewhere", stale[kind], 0o644)
            old.symlink_to(tmp_path / "elsewhere")
        else:
            write_file(old, stale[kind], 0o644)
        check_updated_once(trust)
    assert {name: (trust / name).read_bytes() for name in lists(trust)} == {path.name: data, old.name: data}
    assert old.is_symlink() == (kind in {"dangling", "elsewhere"})
    assert not TrustDirectory(str(trust)).problems
    if kind == "elsewhere":
        assert (tmp_path / "elsewhere").read_bytes() == stale[kind]


def test_every_stale_list_under_the_old_hash_is_replaced(trust: Path) -> None:
    """One that has run out refuses the CA's certificates, whatever its number."""
    ca = new_ca()
    data = aged(ca, 5, OFFERED)
    web, path, old = serve_both(trust, ca, data)
    with web:
        write_file(path, data, 0o644)
        old.symlink_to(path.name)
        write_file(old.with_suffix(".r3"), expired(ca), 0o644)
        write_file(old.with_suffix(".r4"), b"rubbish", 0o644)
        assert statuses(fetch(trust)) == {NAME: UPDATED}
        assert statuses(fetch(trust)) == {NAME: UNCHANGED}
    assert old.readlink() == Path(path.name)
    assert {(trust / name).read_bytes() for name in lists(trust)} == {data}
    assert not TrustDirectory(str(trust)).problems


def test_a_newer_list_replaces_those_under_both_hashes(trust: Path) -> None:
    ca = new_ca()
    data = aged(ca, 6, NEWER)
    web, path, old = serve_both(trust, ca, data)
    with web:
        for path_number, old_number in ((3, 5), (5, 3)):
            write_file(path, aged(ca, path_number, OLDER - timedelta(minutes=path_number)), 0o644)
            write_file(old, aged(ca, old_number, OLDER - timedelta(minutes=old_number)), 0o644)
            assert statuses(fetch(trust)) == {NAME: UPDATED}
            assert {name: (trust / name).read_bytes() for name in lists(trust)} == {path.name: data, old.name: data}


@pytest.mark.parametrize("kind", ["link", "absolute", "copy", "hard"])
def test_what_is_right_under_the_old_hash_stays(trust: Path, kind: str) -> None:
    ca = new_ca()
    data = aged(ca, 5, OFFERED)
    web, path, old = serve_both(trust, ca, data)
    with web:
        write_file(path, data, 0o644)
        if kind == "copy":
            write_file(old, data, 0o644)
        elif kind == "hard":
            old.hardlink_to(path)
        else:
            old.symlink_to(path if kind == "absolute" else path.name)
        before = old.lstat()
        assert statuses(fetch(trust)) == {NAME: UNCHANGED}
        assert old.lstat().st_ino == before.st_ino
        web.routes[f"/{digest(ca)}"] = Answer(aged(ca, 6, NEWER))
        assert statuses(fetch(trust)) == {NAME: UPDATED}
        assert (old.lstat().st_ino == before.st_ino) == old.is_symlink()
    assert old.read_bytes() == path.read_bytes() != data
    assert lists(trust) == sorted([path.name, old.name])


@pytest.mark.parametrize("is_linked", [False, True])
def test_lists_of_other_keys_under_the_old_hash_stay(trust: Path, tmp_path: Path, is_linked: bool) -> None:
    """The files need not have the same numbers under both hashes, nor the same lists in them."""
    ca, rolled = new_ca(), new_ca()
    other = rolled.crl([5])
    data = aged(ca, 2, NEWER)
    web, path, old = serve_both(trust, ca, data)
    with web:
        write_trust_dir(trust, ca, rolled)
        write_file(path, aged(ca, 1, OLDER), 0o644)
        write_file(old, other, 0o644)
        combined = tmp_path / "combined" if is_linked else old.with_suffix(".r1")
        write_file(combined, other + aged(ca, 1, OLDER), 0o644)
        if is_linked:
            old.with_suffix(".r1").symlink_to(combined)
        assert statuses(fetch(trust)) == {NAME: UPDATED}
    assert old.read_bytes() == other
    assert old.with_suffix(".r1").read_bytes() == data + other
    assert path.read_bytes() == data


@pytest.mark.parametrize("is_copied", [False, True])
def test_a_renewed_certificate_of_the_same_key_keeps_no_older_list(trust: Path, is_copied: bool) -> None:
    """The second certificate's key has signed the older list, too, but its list is the new one as well."""
    ca = new_ca()
    renewed = TestCA("/O=Grid/CN=CA", key=ca.key)
    data = aged(ca, 5, NEWER)
    web, path, old = serve_both(trust, ca, data)
    with web:
        write_trust_dir(trust, ca, renewed)
        write_file(path, aged(ca, 4, OLDER), 0o644)
        if is_copied:
            write_file(old, aged(ca, 4, OLDER), 0o644)
        assert statuses(fetch(trust)) == {NAME: UPDATED}
        assert {(trust / name).read_bytes() for name in lists(trust)} == {data}
        assert statuses(fetch(trust)) == {NAME: UNCHANGED}


def test_a_free_number_under_the_old_hash(trust: Path) -> None:
    ca, rolled = new_ca(), new_ca()
    web, path, old = serve_both(trust, ca, ca.crl())
    with web:
        write_trust_dir(trust, ca, rolled)
        write_file(old, rolled.crl([5]), 0o644)
        assert statuses(fetch(trust)) == {NAME: UPDATED}
    assert old.with_suffix(".r1").readlink() == Path(path.name)
    assert lists(trust) == sorted([path.name, old.name, old.with_suffix(".r1").name])


def test_a_copy_that_cannot_be_written_keeps_no_list_out(trust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is revoked is revoked from now on, and the run has failed, whatever is tolerated."""
    ca = new_ca()
    web, path, old = serve_both(trust, ca, aged(ca, 5, NEWER))
    write = files.write_public

    def refuse(name: str, data: bytes, mode: int) -> None:
        if name == str(old):
            raise CredentialError(f"{name}: cannot be written", problem=CredentialProblem.UNWRITABLE, path=name)
        write(name, data, mode)

    with web:
        for file in (path, old):
            write_file(file, aged(ca, 4, OLDER), 0o644)
        before = path.read_bytes()
        for beside in (path.with_suffix(".r1"), path.with_suffix(".r2")):
            write_file(beside, aged(ca, 4, OLDER), 0o644)
        with monkeypatch.context() as patch:
            patch.setattr("gsi.system.crl_store.write_public", refuse)
            for _ in range(2):
                (result,) = fetch(trust, tolerance_hours=24).results
                assert (result.status, result.message) == (FAILED, f"{old}: cannot be written")
                assert path.read_bytes() == beside.read_bytes() != before
        assert statuses(fetch(trust)) == {NAME: UPDATED}
        assert path.read_bytes() == old.read_bytes() != before


def test_a_link_that_cannot_be_made_is_made_the_next_time(trust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = new_ca()
    web, path, old = serve_both(trust, ca, ca.crl())

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with web:
        with monkeypatch.context() as patch:
            patch.setattr(os, "symlink", refuse)
            (result,) = fetch(trust).results
        assert (result.status, result.message) == (FAILED, f"{old.name}: No space left on device")
        assert statuses(fetch(trust)) == {NAME: UPDATED}
    assert old.readlink() == Path(path.name)


@pytest.mark.parametrize("kind", ["link", "copy", "expired", "rubbish"])
def test_tolerance_needs_a_list_under_the_old_hash_that_holds(trust: Path, kind: str) -> None:
    ca = new_ca()
    web, path, old = serve_both(trust, ca, ca.crl())
    with web:
        web.routes.clear()
        write_file(path, ca.crl(), 0o644)
        if kind == "link":
            old.symlink_to(path.name)
        else:
            write_file(old, {"copy": path.read_bytes(), "expired": expired(ca), "rubbish": b"rubbish"}[kind], 0o644)
        assert statuses(fetch(trust, tolerance_hours=24)) == {NAME: KEPT if kind in {"link", "copy"} else FAILED}


# --- several files under one hash -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["older", "expired", "damaged", "rubbish", "dangling"])
@pytest.mark.parametrize("is_current", [False, True])
def test_a_stale_or_broken_list_beside_the_first_is_replaced(trust: Path, kind: str, is_current: bool) -> None:
    """It refuses the CA's certificates, or will when it runs out, as fetched as the first may be."""
    ca = new_ca()
    data = aged(ca, 5, OFFERED, (7,))
    stale = {
        "older": aged(ca, 4, OLDER),
        "expired": expired(ca),
        "damaged": data + DAMAGED,
        "rubbish": b"rubbish",
    }
    with serve(trust, {ca: Answer(data)}):
        path, beside = (trust / f"{digest(ca)}.r{number}" for number in (0, 1))
        write_file(path, data if is_current else aged(ca, 4, OLDER + timedelta(hours=1)), 0o644)
        if kind == "dangling":
            beside.symlink_to("nowhere")
        else:
            write_file(beside, stale[kind], 0o644)
        check_updated_once(trust)
    assert {name: (trust / name).read_bytes() for name in lists(trust)} == {path.name: data, beside.name: data}
    assert not TrustDirectory(str(trust)).problems


def test_lists_of_other_keys_beside_the_first_stay(trust: Path) -> None:
    """Of those in the same file as an older one, too; one that has run out is somebody else's business."""
    ca, rolled = new_ca(), new_ca()
    data, others = aged(ca, 5, OFFERED), rolled.crl()
    with serve(trust, {ca: Answer(data)}):
        write_trust_dir(trust, ca, rolled)
        path = trust / f"{digest(ca)}.r0"
        write_file(path, data, 0o644)
        write_file(path.with_suffix(".r1"), aged(ca, 4, OLDER) + others, 0o644)
        write_file(path.with_suffix(".r2"), expired(rolled), 0o644)
        before = path.with_suffix(".r2").read_bytes()
        assert statuses(fetch(trust)) == {NAME: UPDATED}
        assert statuses(fetch(trust)) == {NAME: UNCHANGED}
    assert path.with_suffix(".r1").read_bytes() == data + others
    assert path.with_suffix(".r2").read_bytes() == before


def serve_two(trust: Path, first: TestCA, second: TestCA, routes: dict[str, Script]) -> WebServer:
    """A CA with two keys that publishes a list for each, at /1 and /2."""
    write_trust_dir(trust, first, second)
    web = WebServer(routes)
    (trust / f"{digest(first)}.info").write_text(f"crl_url = {web.url('/1')}\ncrl_url.1 = {web.url('/2')}\n")
    return web


def with_critical_entry(ca: TestCA) -> bytes:
    """A list with an entry that nobody knows how to take."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    begin = now() - OLDER
    entry = x509.RevokedCertificateBuilder(7, begin).add_extension(unknown, critical=True).build()
    builder = x509.CertificateRevocationListBuilder(
        ca.certificate.subject, begin, begin + timedelta(days=9), [], [entry]
    )
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def is_accepted(trust: Path, issued: Issued) -> bool:
    try:
        verify_chain(issued.chain_der, TrustDirectory(str(trust)).anchors(), now=now())
    except VerificationError:
        return False
    return True


BUSY = Answer(b"", "503 Busy")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "kind", ["cut off", "empty", "critical", "dangling", "leads to another", "leads under the old"]
)
def test_nobody_knows_whose_list_a_broken_one_was(trust: Path, kind: str, order: int) -> None:
    """It refuses the certificates of both keys until both lists have come, lest the revoked one be taken again."""
    ca, rolled = new_ca(), new_ca()
    eve, bob = ca.issue("/O=Grid/CN=Eve", "p256"), rolled.issue("/O=Grid/CN=Bob", "p256")
    first, second = aged(ca, 5, OFFERED, (eve.certificate.serial_number,)), aged(rolled, 5, OFFERED)
    path = trust / f"{digest(ca)}.r0"
    with serve_two(trust, ca, rolled, {}) as web:
        own, other = ("/1", "/2")[::order]
        web.routes |= {own: BUSY, other: Answer(second)}
        told = path
        if kind == "dangling":
            path.symlink_to("nowhere")
        elif kind == "leads to another":
            path.symlink_to(path.with_suffix(".r1").name)
        elif kind == "leads under the old":
            stem = subject_hash(ca.certificate, old=True)
            (trust / f"{stem}.0").symlink_to(f"{digest(ca)}.0")
            told = trust / f"{stem}.r0"
            told.symlink_to(path.name)
        else:
            broken = {"cut off": first[:-60], "empty": b"", "critical": with_critical_entry(ca)}
            write_file(path, broken[kind], 0o644)
        write_file(path.with_suffix(".r2"), aged(ca, 4, OLDER), 0o644)  # in force, and without Eve
        for _ in range(2):
            results = fetch(trust, tolerance_hours=24, retries=0, parallel=1).results
            assert [result.status for result in results] == [FAILED, FAILED]
            assert all(f"{told.name}: " in result.message for result in results)
            assert not is_accepted(trust, eve)
            assert not is_accepted(trust, bob)
            assert fetch(trust, tolerance_hours=24, retries=0, dry_run=True).has_failed
        web.routes[own] = Answer(first)
        assert not fetch(trust, parallel=1, dry_run=True).has_failed
        assert not fetch(trust, parallel=1).has_failed
        assert not is_accepted(trust, eve)
        assert is_accepted(trust, bob)
        assert [result.status for result in fetch(trust, parallel=1).results] == [UNCHANGED, UNCHANGED]


@pytest.mark.parametrize("is_broken", ["list", "certificate"])
def test_a_broken_list_may_be_of_another_ca_with_the_same_hash(trust: Path, is_broken: str) -> None:
    """Or of one whose certificate cannot be read just now."""
    names_ = SAME_HASH if is_broken == "list" else (NAME, NAME)
    ca, other = map(new_ca, names_)
    eve = other.issue("/O=Grid/CN=Eve", "p256")
    theirs = aged(other, 5, OFFERED, (eve.certificate.serial_number,))
    with serve(trust, {ca: Answer(ca.crl())}):
        write_trust_dir(trust, ca, other)
        path, beside = (trust / f"{digest(ca)}.r{number}" for number in (0, 1))
        write_file(path, ca.crl(), 0o644)
        certificate = max(trust.glob(f"{digest(other)}.[0-9]"))
        if is_broken == "list":
            write_file(beside, theirs[:-60], 0o644)
        else:
            write_file(beside, theirs, 0o644)
            write_file(certificate, other.pem[:-60], 0o644)
        before = beside.read_bytes()
        report = fetch(trust, only=(names_[0],), tolerance_hours=24)
        assert statuses(report) == {names_[0]: FAILED}
        assert report.results[0].message.startswith(f"{beside.name}: ")
        assert beside.read_bytes() == before
        write_file(certificate, other.pem, 0o644)
        assert not is_accepted(trust, eve)


def test_a_broken_list_may_be_of_a_key_whose_certificate_has_run_out(trust: Path) -> None:
    """Others may present a newer certificate of that key, as after a renewal."""
    old, rolled = TestCA(NAME, key="p256", not_after=now() - timedelta(days=1)), new_ca()
    with serve_two(trust, rolled, old, {"/1": Answer(rolled.crl()), "/2": BUSY}):
        path = trust / f"{digest(old)}.r0"
        broken = old.crl()[:-60]
        write_file(path, broken, 0o644)
        assert [result.status for result in fetch(trust, tolerance_hours=24).results] == [FAILED, FAILED]
        assert path.read_bytes() == broken


def test_a_key_is_told_from_that_of_another_ca(trust: Path) -> None:
    """A CA that was given another name may go on with its key; its lists are others."""
    ca, rolled = new_ca(), new_ca()
    renamed = TestCA("/O=Grid/CN=A", key=ca.key)
    with serve_two(trust, ca, rolled, {"/1": BUSY, "/2": Answer(rolled.crl()), "/3": Answer(renamed.crl())}) as web:
        write_trust_dir(trust, renamed)
        (trust / f"{digest(renamed)}.crl_url").write_text(web.url("/3"))
        path = trust / f"{digest(ca)}.r0"
        write_file(path, ca.crl()[:-60], 0o644)
        report = fetch(trust, parallel=1)
        assert statuses(report) == {"/O=Grid/CN=A": UPDATED, NAME: FAILED}
        assert path.read_bytes().count(b"-----END") == 0


@pytest.mark.parametrize("order", [1, -1])
def test_an_older_list_of_what_has_come_leaves_a_broken_file(trust: Path, order: int) -> None:
    first, second = new_ca(), new_ca()
    with serve_two(trust, first, second, {"/1": Answer(first.crl()), "/2": Answer(second.crl())}):
        path = trust / f"{digest(first)}.r0"
        write_file(path, expired((first, second)[::order][0]) + DAMAGED, 0o644)
        assert [result.status for result in fetch(trust, parallel=1).results] == [UPDATED, UPDATED]
        assert all(is_accepted(trust, one.issue("/O=Grid/CN=Bob", "p256")) for one in (first, second))
        assert [result.status for result in fetch(trust, parallel=1).results] == [UNCHANGED, UNCHANGED]


def test_a_whole_list_of_an_unknown_key_stays(trust: Path) -> None:
    """It may be of a key to come, whose certificate is not installed yet."""
    ca, coming = new_ca(), new_ca()
    with serve(trust, {ca: Answer(ca.crl())}):
        path = trust / f"{digest(ca)}.r0"
        theirs = coming.crl()
        write_file(path, theirs, 0o644)
        for _ in range(2):
            (result,) = fetch(trust, tolerance_hours=24).results
            assert result.status is FAILED
            assert result.message.startswith(f"{path.name}: a list that none of the CA's known keys has signed")
            assert path.read_bytes() == theirs
        write_trust_dir(trust, coming)
        assert not fetch(trust).has_failed
        assert all(is_accepted(trust, one.issue("/O=Grid/CN=Bob", "p256")) for one in (ca, coming))


def test_two_spellings_of_a_number_are_two_files(trust: Path) -> None:
    ca, rolled = new_ca(), new_ca()
    with serve_two(trust, ca, rolled, {"/1": BUSY, "/2": Answer(rolled.crl())}):
        path = trust / f"{digest(ca)}.r0"
        write_file(path, b"rubbish", 0o644)
        write_file(path.with_suffix(".r00"), new_ca("/O=Grid/CN=Stranger").crl(), 0o644)
        assert fetch(trust).has_failed
        assert path.read_bytes() == b"rubbish"


def test_two_cas_in_one_file_get_no_link_under_an_old_hash(trust: Path) -> None:
    """The old hashes differ, and what is under one must be of its CA alone."""
    first, second = map(new_ca, SAME_HASH)
    write_trust_dir(trust, first, second, signing_policy=first.signing_policy() + second.signing_policy())
    with WebServer({"/0": Answer(first.crl()), "/1": Answer(second.crl())}) as web:
        for number, name in enumerate(SAME_HASH):
            (trust / f"{number}.info").write_text(f'crl_url = {web.url(f"/{number}")}\nsubjectdn = "{name}"\n')
        path = trust / f"{digest(first)}.r0"
        write_file(path, aged(first, 0, OLDER) + aged(second, 0, OLDER), 0o644)
        (trust / f"{subject_hash(first.certificate, old=True)}.0").symlink_to(f"{digest(first)}.0")
        assert set(statuses(fetch(trust, parallel=1)).values()) == {UPDATED}
        assert not TrustDirectory(str(trust)).problems
        assert set(statuses(fetch(trust, parallel=1)).values()) == {UNCHANGED}
        assert all(is_accepted(trust, one.issue("/O=Grid/CN=Bob", "p256")) for one in (first, second))


@pytest.mark.parametrize("kind", ["expired", "weak"])
def test_no_list_is_kept_for_the_sake_of_a_key_that_is_refused_anyway(trust: Path, kind: str) -> None:
    key = rsa.generate_private_key(65537, 1024)
    unfit = TestCA(NAME, key=key) if kind == "weak" else TestCA(NAME, key="p256", not_after=now() - timedelta(days=1))
    ca = new_ca()
    with serve(trust, {ca: BUSY}):
        write_trust_dir(trust, unfit)
        write_file(trust / f"{digest(ca)}.r0", unfit.crl(), 0o644)
        write_file(trust / f"{digest(ca)}.r1", expired(ca), 0o644)
        assert statuses(fetch(trust, tolerance_hours=24)) == {NAME: FAILED}


@pytest.mark.parametrize("kind", ["expired", "weak"])
def test_the_list_of_a_ca_that_is_refused_anyway_is_kept(trust: Path, kind: str) -> None:
    key = rsa.generate_private_key(65537, 1024)
    ca = TestCA(NAME, key=key) if kind == "weak" else TestCA(NAME, key="p256", not_after=now() - timedelta(days=1))
    with serve(trust, {ca: BUSY}):
        write_file(trust / f"{digest(ca)}.r0", ca.crl(), 0o644)
        assert statuses(fetch(trust, tolerance_hours=24)) == {NAME: KEPT}


def test_the_list_of_a_weak_key_is_somebodys(trust: Path) -> None:
    """C programs go by it; and no other can ever take its place."""
    ca, weak = new_ca(), TestCA(NAME, key=rsa.generate_private_key(65537, 1024))
    path = trust / f"{digest(ca)}.r0"
    with serve(trust, {ca: Answer(ca.crl())}):
        write_trust_dir(trust, ca, weak)
        write_file(path, weak.crl(), 0o644)
        before = path.read_bytes()
        assert statuses(fetch(trust)) == {NAME: UPDATED}
        assert statuses(fetch(trust)) == {NAME: UNCHANGED}
    assert path.read_bytes() == before
    assert lists(trust) == [path.name, path.with_suffix(".r1").name]


@pytest.mark.parametrize("place", ["beside", "within"])
def test_a_list_that_belongs_elsewhere_is_replaced(trust: Path, place: str) -> None:
    """It refuses all certificates of the CA whose hash the file has, and serves nobody."""
    ca, stranger = new_ca(), new_ca("/O=Grid/CN=Other")
    data = aged(ca, 5, OFFERED)
    with serve(trust, {ca: Answer(data)}) as web:
        path = trust / f"{digest(ca)}.r0"
        write_file(path, data + (stranger.crl() if place == "within" else b""), 0o644)
        if place == "beside":
            write_file(path.with_suffix(".r1"), stranger.crl(), 0o644)
        web.routes[f"/{digest(ca)}"] = BUSY
        assert statuses(fetch(trust, tolerance_hours=24, retries=0)) == {NAME: FAILED}
        web.routes[f"/{digest(ca)}"] = Answer(data)
        assert statuses(fetch(trust)) == {NAME: UPDATED}
        assert statuses(fetch(trust)) == {NAME: UNCHANGED}
    assert {(trust / name).read_bytes() for name in lists(trust)} == {data}


def test_an_older_list_in_the_same_file_goes(trust: Path) -> None:
    ca = new_ca()
    data = aged(ca, 5, OFFERED)
    with serve(trust, {ca: Answer(data)}):
        path = trust / f"{digest(ca)}.r0"
        write_file(path, data + aged(ca, 4, OLDER), 0o644)
        assert statuses(fetch(trust)) == {NAME: UPDATED}
        assert statuses(fetch(trust)) == {NAME: UNCHANGED}
    assert path.read_bytes() == data


@pytest.mark.parametrize("kind", ["good", "expired", "long ago", "absent"])
def test_each_published_list_is_tolerated_for_itself(trust: Path, kind: str) -> None:
    ca, rolled = new_ca(), new_ca()
    with serve_two(trust, ca, rolled, {"/1": Answer(ca.crl()), "/2": BUSY}):
        path = trust / f"{digest(ca)}.r1"
        if kind != "absent":
            write_file(path, expired(rolled) if kind == "expired" else rolled.crl(), 0o644)
        if kind == "long ago":
            os.utime(path, (LONG_AGO, LONG_AGO))
        results = fetch(trust, tolerance_hours=24, retries=0).results
        assert [result.status for result in results] == [UPDATED, KEPT if kind == "good" else FAILED]


@pytest.mark.parametrize("kind", ["unsigned", "weak"])
def test_no_list_is_kept_whose_signature_refuses_everything(trust: Path, kind: str) -> None:
    ca = TestCA(NAME)
    bad = ca.crl(key=new_ca().key) if kind == "unsigned" else weak_crl(ca, datetime.now(UTC) - OLDER)
    with serve(trust, {ca: BUSY}):
        write_file(trust / f"{digest(ca)}.r0", ca.crl(), 0o644)
        write_file(trust / f"{digest(ca)}.r1", bad, 0o644)
        assert statuses(fetch(trust, tolerance_hours=24, retries=0)) == {NAME: FAILED}
        accepting = fetch(trust, tolerance_hours=24, retries=0, accept_weak=True)
        assert statuses(accepting) == {NAME: KEPT if kind == "weak" else FAILED}


@pytest.mark.parametrize(
    ("kind", "status"), [("copy", KEPT), ("other key", KEPT), ("expired", FAILED), ("future", FAILED)]
)
def test_tolerance_needs_every_list_of_a_key_to_hold(trust: Path, kind: str, status: FetchStatus) -> None:
    ca, rolled = new_ca(), new_ca()
    beside = {
        "copy": ca.crl(),
        "other key": expired(rolled),
        "expired": expired(ca),
        "future": aged(ca, 9, timedelta(hours=-1)),
    }
    with serve(trust, {ca: Answer(b"", "503 Busy")}):
        write_trust_dir(trust, ca, rolled)
        write_file(trust / f"{digest(ca)}.r0", ca.crl(), 0o644)
        write_file(trust / f"{digest(ca)}.r1", beside[kind], 0o644)
        assert statuses(fetch(trust, tolerance_hours=24)) == {NAME: status}


# --- what is no failure, and what is ----------------------------------------------------------------------------------


def test_tolerance(trust: Path) -> None:
    ca = new_ca()
    with serve(trust, {ca: Answer(b"", "503 Busy")}):
        path = trust / f"{digest(ca)}.r0"
        assert statuses(fetch(trust, tolerance_hours=24)) == {"/O=Grid/CN=CA": FAILED}
        write_file(path, ca.crl(), 0o644)
        report = fetch(trust, tolerance_hours=24)
        assert statuses(report) == {"/O=Grid/CN=CA": KEPT}
        assert not report.has_failed
        os.utime(path, (LONG_AGO, LONG_AGO))
        assert statuses(fetch(trust, tolerance_hours=24)) == {"/O=Grid/CN=CA": FAILED}
        hour = timedelta(hours=1)
        now = datetime.now(UTC)
        write_file(path, ca.crl(this_update=now - 9 * hour, next_update=now - hour), 0o644)
        assert statuses(fetch(trust, tolerance_hours=24)) == {"/O=Grid/CN=CA": FAILED}


def test_confirming_renews_the_tolerance(trust: Path) -> None:
    ca = new_ca()
    with serve(trust, {ca: Answer(ca.crl())}) as web:
        fetch(trust)
        path = trust / f"{digest(ca)}.r0"
        os.utime(path, (LONG_AGO, LONG_AGO))
        assert statuses(fetch(trust)) == {"/O=Grid/CN=CA": UNCHANGED}
        web.routes.clear()
        assert statuses(fetch(trust, tolerance_hours=1)) == {"/O=Grid/CN=CA": KEPT}


def test_a_dry_run_writes_nothing(trust: Path) -> None:
    ca = new_ca()
    with serve(trust, {ca: Answer(ca.crl())}):
        before = sorted(os.listdir(trust))
        assert statuses(fetch(trust, dry_run=True)) == {"/O=Grid/CN=CA": UPDATED}
        assert sorted(os.listdir(trust)) == before


def test_another_directory_for_the_lists(trust: Path, tmp_path: Path) -> None:
    ca = new_ca()
    out = tmp_path / "lists"
    out.mkdir()
    with serve(trust, {ca: Answer(ca.crl())}):
        fetch(trust, output=str(out))
    assert sorted(os.listdir(out)) == [LOCK, f"{digest(ca)}.r0"]
    assert not (trust / f"{digest(ca)}.r0").exists()


def test_a_base_on_disk(trust: Path, tmp_path: Path) -> None:
    ca, missing = new_ca(), new_ca("/O=Grid/CN=Missing")
    write_trust_dir(trust, ca, missing)
    mirror = tmp_path / "my mirror"
    write_file(mirror / f"{digest(ca)}.r0", ca.crl(), 0o644)
    report = fetch(trust, base=f"file://{str(mirror).replace(' ', '%20')}")
    assert statuses(report) == {"/O=Grid/CN=CA": UPDATED, "/O=Grid/CN=Missing": FAILED}
    elsewhere = fetch(trust, base=f"file://elsewhere{mirror}".replace(" ", "%20"))
    assert {result.message.rpartition("is ")[2] for result in elsewhere.results} == {"on another machine"}
    for base in ("file://elsewhere/srv", "ftp://127.0.0.1/", "file://[", "gopher:/x"):
        assert set(statuses(fetch(trust, base=base)).values()) == {FAILED}


def test_cas_without_a_source(trust: Path) -> None:
    write_trust_dir(trust, new_ca())
    report = fetch(trust)
    assert statuses(report) == {"/O=Grid/CN=CA": NO_SOURCE}
    assert not report.has_failed


def test_time_for_all(trust: Path) -> None:
    cas = [new_ca(f"/O=Grid/CN={number}") for number in range(4)]
    with serve(trust, dict.fromkeys(cas, Hang())):
        report = fetch(trust, total_timeout=0.3, parallel=2)
    assert set(statuses(report).values()) == {FAILED}
    assert "for all" in report.results[0].message


def test_a_thread_that_hangs_is_replaced(trust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no time-out reaches, a name server for instance, costs its own CA only."""
    stuck, good = new_ca("/O=Grid/CN=Stuck"), new_ca("/O=Grid/CN=Good")
    release = threading.Event()
    load = fetch_crl._load

    def hang(url: str, *rest: object) -> bytes:
        if digest(stuck) in url:
            release.wait(60)
        return load(url, *rest)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(fetch_crl, "_load", hang)
    monkeypatch.setattr(fetch_crl, "_GRACE_SECONDS", 0.1)
    with serve(trust, {stuck: Answer(stuck.crl()), good: Answer(good.crl())}):
        report = fetch(trust, timeout=1.5, parallel=1)
        assert statuses(report) == {"/O=Grid/CN=Stuck": FAILED, "/O=Grid/CN=Good": UPDATED}
        release.set()
        for thread in threading.enumerate():
            if thread.name == "fetch-crl":
                thread.join()
    assert not (trust / f"{digest(stuck)}.r0").exists()  # what comes too late is not installed


def test_a_defect_costs_one_list(trust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = new_ca()

    def fail(*_: object) -> bytes:
        raise RuntimeError("a defect")

    monkeypatch.setattr(fetch_crl, "_load", fail)
    with serve(trust, {ca: Answer(b"")}):
        (result,) = fetch(trust).results
    assert result.status is FAILED
    assert "RuntimeError: a defect" in result.message


def test_progress(trust: Path) -> None:
    cas = [new_ca(f"/O=Grid/CN={number}") for number in range(3)]
    seen: list[tuple[int, int, FetchResult | None]] = []
    with serve(trust, {ca: Answer(ca.crl()) for ca in cas}):
        settings = FetchSettings(directory=str(trust))
        fetch_crls(settings, progress=lambda *one: seen.append(one))
    assert [(done, total) for done, total, _ in seen] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert seen[0][2] is None
    assert {found.job.subject for _, _, found in seen if found} == {f"/O=Grid/CN={number}" for number in range(3)}


def test_two_runs_do_not_mix(trust: Path) -> None:
    write_trust_dir(trust, new_ca())
    with FileLock(str(trust / LOCK)):
        with pytest.raises(CredentialError, match="another process"):
            fetch(trust)
        assert statuses(fetch(trust, dry_run=True)) == {"/O=Grid/CN=CA": NO_SOURCE}


def test_a_lock_that_any_reader_can_take_stops_nothing(trust: Path) -> None:
    write_trust_dir(trust, new_ca())
    directory = os.open(trust, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    try:
        assert statuses(fetch(trust)) == {"/O=Grid/CN=CA": NO_SOURCE}
    finally:
        os.close(directory)


def test_directories_that_cannot_be(trust: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such directory"):
        fetch(trust)
    trust.mkdir()
    with pytest.raises(ConfigError, match="no CA certificates"):
        fetch(trust)
    write_trust_dir(trust, new_ca())
    with pytest.raises(ConfigError, match="no such directory"):
        fetch(trust, output=str(tmp_path / "none"))


def test_a_broken_ca_file_is_told(trust: Path) -> None:
    ca = new_ca()
    with serve(trust, {ca: Answer(ca.crl())}):
        write_file(trust / "aaaaaaaa.0", b"garbage", 0o644)
        report = fetch(trust)
    assert statuses(report) == {"/O=Grid/CN=CA": UPDATED}
    assert report.has_failed
    assert report.problems[0].startswith("aaaaaaaa.0: ")
