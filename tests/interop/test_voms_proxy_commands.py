"""The voms-proxy-* commands beside those of C and Java: what ours write is read by them, and the other way round."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509

from tests.harness.ca import Issued, KeyKind, TestCA, write_file
from tests.harness.run import Done, c_program, our_program, run
from tests.harness.voms import VO, VOMSServer, ac_extension, extension, target_list
from tests.harness.voms_daemon import VOMSDaemon
from tests.harness.voms_site import OTHER, VOMSSite

pytestmark = pytest.mark.interop

FQANS = (f"/{VO}/Role=NULL/Capability=NULL", f"/{VO}/prod/Role=pilot/Capability=NULL")
INFO = "voms-proxy-info"
INIT = "voms-proxy-init"


@pytest.fixture
def site(tmp_path: Path) -> VOMSSite:
    return VOMSSite(tmp_path)


def _legacy_only(daemon: VOMSDaemon) -> None:
    daemon.rest, daemon.status = b"<html>no such page</html>", "404 Not Found"


def _plain(text: str) -> str:
    """Take out the seconds that went by."""
    return re.sub(r"^(timeleft  : ).*$", r"\1", text, flags=re.MULTILINE).strip()


# --- ours, read by theirs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True], ids=["rest", "legacy"])
@pytest.mark.parametrize(("key", "named"), [("rsa2048", True), ("rsa2048", False), ("p256", True), ("p256", False)])
def test_ours_is_read_by_all(tmp_path: Path, key: KeyKind, named: bool, legacy: bool) -> None:
    """Whatever the user's key, and without a subjectKeyIdentifier, too."""
    site = VOMSSite(tmp_path, key=key, named=named)
    with site.daemon() as daemon:
        daemon.fqans = FQANS
        if legacy:
            _legacy_only(daemon)
        site.write_vomses(daemon.vomses)
        done = site.ours(INIT, "-voms", f"{VO}:/{VO}/prod/Role=pilot").check()
    assert done.stderr == ""
    assert done.stdout.startswith(
        f'Your identity: /O=Grid/CN=Alice\nContacting  localhost:{daemon.port} [/O=Grid/CN=localhost] "{VO}" Done\n'
        "Creating proxy  Done\n\nYour proxy is valid until "
    )
    assert daemon.requests[-1].startswith(b"0<?xml" if legacy else b"GET ")
    assert site.proxy.stat().st_mode & 0o777 == 0o600
    verdict = site.judge()
    assert verdict.fqans == (FQANS,), verdict
    for tool in ("voms-proxy-info2", "voms-proxy-info3"):
        shown = run([c_program(tool), "-all"], env=site.environment).check().stdout
        for fqan in FQANS:
            assert f"attribute : {fqan}\n" in shown
    run([c_program("grid-proxy-info"), "-exists", "-valid", "11:58"], env=site.environment).check()


@pytest.mark.parametrize("key", ["rsa", "p256", "ed25519"])
def test_keys_of_the_proxy(site: VOMSSite, key: str) -> None:
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        site.ours(INIT, "-voms", VO, "-key-type", key, "-ignorewarn").check()
    assert site.judge().accepted
    assert site.ours(INFO, "-all").check().stdout.count("=== VO ") == 1


def test_several_vos_in_one_proxy(site: VOMSSite) -> None:
    with site.daemon() as first, site.daemon(OTHER) as second:
        second.fqans = (f"/{OTHER}/Role=x/Capability=NULL",)
        site.write_vomses(first.vomses, second.vomses)
        site.ours(
            INIT, "-voms", VO, "-voms", f"{OTHER}:/{OTHER}/Role=x", "-voms", f"{VO}:/{VO}", "-order", f"/{VO}"
        ).check()
        assert (len(first.requests), len(second.requests)) == (1, 1)
        assert b"order=" not in second.requests[0]
    assert site.judge().fqans == (first.fqans, second.fqans)
    assert site.ours(INFO, "-vo").check().stdout.split() == [VO, OTHER]
    assert site.ours(INFO, "-acexists", VO, "-acexists", OTHER).check().output == ""
    theirs = site.theirs(INFO, "-all")
    assert _plain(site.ours(INFO, "-all").check().stdout) == _plain(theirs.check().stdout)


@pytest.mark.parametrize(
    ("words", "words_of_c"),
    [
        (["-old"], ["-type"]),
        (["-old", "-limited"], ["-type"]),
        (["-proxyver", "3"], ["-type"]),
        (["-proxyver", "4"], ["-type"]),
        (["-rfc", "-bits", "4096"], ["-strength"]),
        (["-bits", "0", "-path-length", "0"], ["-strength"]),
        (["-valid", "1:30"], ["-exists", "-valid", "1:29"]),
        (["-hours", "2"], ["-exists", "-valid", "1:59"]),
    ],
    ids=" ".join,
)
def test_forms(site: VOMSSite, words: list[str], words_of_c: list[str]) -> None:
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        site.ours(INIT, "-voms", VO, *words).check()
    theirs = site.theirs(INFO, *words_of_c).check()
    assert site.ours(INFO, *words_of_c).check().stdout.strip() == theirs.stdout.strip()
    assert site.judge().accepted


def test_noregen_signs_with_the_proxy_that_is_there(site: VOMSSite) -> None:
    site.ours(INIT, "-valid", "2:0").check()
    site.key.unlink()
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        done = site.ours(INIT, "-noregen", "-voms", VO, "-valid", "1:00")
    assert done.check().stdout.startswith("Your identity: /O=Grid/CN=Alice\n")
    assert site.judge().accepted
    assert site.ours(INFO, "-identity").check().stdout == "/O=Grid/CN=Alice\n"
    assert site.ours(INFO, "-subject").stdout.count("/CN=") == 3
    ours, theirs = site.ours(INFO, "-all", "-chain").check(), site.theirs(INFO, "-all", "-chain").check()
    # The C program takes the proxy's issuer for the identity.
    assert _plain(re.sub("identity.*", "", ours.stdout)) == _plain(re.sub("identity.*", "", theirs.stdout))


def test_files_of_attributes_go_both_ways(site: VOMSSite) -> None:
    ours, theirs = site.directory / "ours.pem", site.directory / "theirs.pem"
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        assert f"Wrote ACs to {ours}\n" in site.ours(INIT, "-voms", VO, "-separate", ours).check().stdout
        site.theirs(INIT, "-voms", VO, "-separate", theirs).check()
        assert not site.proxy.exists()
    site.theirs(INIT, "-includeac", ours)
    assert site.judge().accepted
    site.ours(INIT, "-includeac", theirs).check()
    assert site.judge().fqans == (daemon.fqans,)
    site.ours(INIT, "-includeac", theirs, "-includeac", ours, "-include", site.vomses).check()
    assert site.judge().fqans == (daemon.fqans, daemon.fqans)
    for word in ("-included-file", "-all"):
        assert _plain(site.ours(INFO, word).check().stdout) == _plain(
            re.sub(r'(included .*"\n)\n', r"\1", site.theirs(INFO, word).check().stdout)
        )


def test_targets(site: VOMSSite) -> None:
    """What is meant for others is shown, as the holder has to carry it there; the C program reads no targets at all."""
    for host, good in ((socket.gethostname(), True), ("ce.example.org", False)):
        targets = extension("2.5.29.55", target_list(host), critical=True)
        ac = site.servers[VO].attribute_certificate(site.alice, extensions=[targets])
        site.alice.proxy(extensions=[ac_extension(ac)]).write_bundle(site.proxy)
        assert site.judge().accepted is good
        assert f"target    : {host}\n" in site.ours(INFO, "-all").check().stdout
        assert site.ours(INFO, "-targets").check().stdout == f"target    : {host}\n"
        assert site.theirs(INFO, "-targets").check().stdout.strip() == ""


# --- theirs, read by ours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["voms-proxy-init2", "voms-proxy-init3"])
def test_theirs_is_read(site: VOMSSite, tool: str) -> None:
    with site.daemon() as daemon:
        daemon.fqans = FQANS
        site.write_vomses(daemon.vomses)
        run([c_program(tool), "-rfc", "-voms", VO, "-vomses", site.vomses], env=site.environment).check()
    ours, theirs = site.ours(INFO, "-all").check(), site.theirs(INFO, "-all").check()
    assert _plain(ours.stdout) == _plain(theirs.stdout)
    assert ours.stderr == ""


def test_voms_proxy_fake_is_read(site: VOMSSite) -> None:
    hostcert, hostkey = site.directory / "hostcert.pem", site.directory / "hostkey.pem"
    site.servers[VO].credential.write(hostcert, hostkey, key_mode=0o400)
    site.theirs(
        "voms-proxy-fake", "-rfc", "-cert", site.cert, "-key", site.key, "-certdir", site.trust_dir, "-out", site.proxy,
        "-hostcert", hostcert, "-hostkey", hostkey, "-voms", VO, "-uri", "localhost:15000", "-fqan", FQANS[1],
        "-newformat", "-ga", "mail=alice@example.org", "-hours", "2",
    ).check()  # fmt: skip
    ours, theirs = site.ours(INFO, "-all").check(), site.theirs(INFO, "-all").check()
    assert "attribute : mail = alice@example.org" in ours.stdout
    assert _plain(ours.stdout) == _plain(theirs.stdout)


@pytest.mark.parametrize(
    "words",
    [
        [], ["-all"], ["-all", "-chain"], ["-chain", "-subject"], ["-chain", "-keyusage", "-all"], ["-subject"],
        ["-issuer"], ["-identity"], ["-type"], ["-strength"], ["-path"], ["-vo"], ["-fqan"], ["-acsubject"],
        ["-acissuer"], ["-serial"], ["-uri"], ["-targets"], ["-exists"], ["-exists", "-valid", "3:00"],
        ["-exists", "-hours", "3"], ["-exists", "-bits", "2048"], ["-exists", "-bits", "4096"],
        ["-exists", "-valid", "13:00"], ["-acexists", VO], ["-acexists", "nosuch"],
        ["-acexists", VO, "-acexists", "nosuch"], ["-uri", "-fqan", "-vo", "-path", "-issuer", "-serial"],
        ["-all", "-fqan", "-type"], ["-exists", "-type"], ["-dont-verify-ac", "-fqan"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_info_says_what_the_c_program_says(site: VOMSSite, words: list[str]) -> None:
    ac = site.servers[VO].attribute_certificate(site.alice, fqans=FQANS)
    site.alice.proxy(extensions=[ac_extension(ac)]).write_bundle(site.proxy)
    ours, theirs = site.ours(INFO, *words), site.theirs(INFO, *words)
    assert (ours.returncode, _plain(ours.stdout)) == (theirs.returncode, _plain(theirs.stdout))
    assert ours.stderr == ""


def test_time_left(site: VOMSSite) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    ac = site.servers[VO].attribute_certificate(site.alice, not_after=now + timedelta(hours=5))
    site.alice.proxy(extensions=[ac_extension(ac)], not_after=now + timedelta(hours=7)).write_bundle(site.proxy)
    for word, hours in (("-timeleft", 7), ("-actimeleft", 5)):
        ours, theirs = (int(one.check().stdout) for one in (site.ours(INFO, word), site.theirs(INFO, word)))
        assert (hours - 1) * 3600 < theirs <= ours <= hours * 3600


@pytest.mark.parametrize("word", ["-vo", "-fqan", "-serial", "-uri", "-acissuer", "-all", "-exists", "-type"])
def test_info_of_a_plain_proxy(site: VOMSSite, word: str) -> None:
    """Also without any trust: there is nothing to judge."""
    site.alice.proxy().write_bundle(site.proxy)
    theirs = site.theirs(INFO, word)
    ours = site.ours(INFO, word, environment={"X509_CERT_DIR": "/nonexistent", "X509_VOMS_DIR": "/nonexistent"})
    assert (ours.returncode, _plain(ours.stdout)) == (theirs.returncode, _plain(theirs.stdout))


# --- what must not be believed ----------------------------------------------------------------------------------------

Maker = Callable[[VOMSSite, datetime], Issued]


def _with(**changes: object) -> Maker:
    """A proxy of Alice's with one attribute certificate."""

    def make(site: VOMSSite, _: datetime) -> Issued:
        ac = site.servers[VO].attribute_certificate(site.alice, **changes)  # type: ignore[arg-type]  # named fields
        return site.alice.proxy(extensions=[ac_extension(ac)])

    return make


def _lasting(begin: timedelta, end: timedelta) -> Maker:
    return lambda site, now: _with(not_before=now + begin, not_after=now + end)(site, now)


def _in_bobs(site: VOMSSite, _: datetime) -> Issued:
    ac = site.servers[VO].attribute_certificate(site.alice)
    return site.ca.issue("/O=Grid/CN=Bob").proxy(extensions=[ac_extension(ac)])


def _of_another_server(site: VOMSSite, _: datetime) -> Issued:
    server = VOMSServer(site.ca, site.ca.issue("/O=Grid/CN=voms2"), host="localhost")
    return site.alice.proxy(extensions=[ac_extension(server.attribute_certificate(site.alice))])


def _wrong_list(site: VOMSSite, now: datetime) -> Issued:
    return _with(certificates=[site.ca.issue("/O=Grid/CN=voms2").certificate])(site, now)


def _of_a_stranger(site: VOMSSite, _: datetime) -> Issued:
    """By a server of the right name, of an authority that nobody trusts."""
    stranger = TestCA("/O=Grid/CN=Test CA")
    server = VOMSServer(stranger, stranger.issue("/O=Grid/CN=localhost"), host="localhost")
    return site.alice.proxy(extensions=[ac_extension(server.attribute_certificate(site.alice))])


_HOUR = timedelta(hours=1)
REFUSED: dict[str, tuple[Maker, str]] = {
    "expired": (_lasting(-9 * _HOUR, -2 * _HOUR), "expired at"),
    "not yet valid": (_lasting(_HOUR, 9 * _HOUR), "not valid before"),
    "bad signature": (_with(spoil=True), "signature"),
    "another holder": (_with(holder_serial=4711), "issued to another holder"),
    "Alice's in Bob's proxy": (_in_bobs, "issued to another holder"),
    "unknown VO": (_with(uri="nosuch://localhost:15000", fqans=["/nosuch"]), "of the VO 'nosuch' is trusted here"),
    "unknown server": (_with(uri=f"{VO}://voms.example.org:1"), "no server voms.example.org of the VO"),
    "signer not in the LSC file": (_of_another_server, f"is not what {VO}/localhost.lsc names"),
    "list of another's certificates": (_wrong_list, "not what"),
    "no port": (_with(uri=f"{VO}://localhost"), "is not vo://host:port"),
    "no noRevAvail": (_with(leave_out=["noRevAvail"]), "noRevAvail"),
    "no key identifier": (_with(leave_out=["aki"]), "without an authority key identifier"),
    "unknown critical extension": (_with(extensions=[extension("1.2.3.4", b"\x05\x00", critical=True)]), "critical"),
    "FQAN of another VO": (_with(fqans=["/othervo"]), "does not belong to the VO"),
    "FQAN of a VO with a longer name": (_with(fqans=[f"/{VO}X"]), "does not belong to the VO"),
    "signed by an unknown authority": (_of_a_stranger, "its signer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_info_refuses(site: VOMSSite, name: str) -> None:
    """As libvomsapi does with full verification; the C voms-proxy-info shows most of them and exits with 0."""
    make, words = REFUSED[name]
    make(site, datetime.now(UTC).replace(microsecond=0)).write_bundle(site.proxy)
    assert not site.judge().accepted
    for word in ([], ["-all", "-fqan"], ["-exists", "-acexists", VO], ["-json"]):
        done = site.ours(INFO, *word)
        assert done.returncode == 1, done
        assert "not believed: " in done.stderr
        assert words in done.stderr
        assert "attribute :" not in done.stdout
        assert "/Role=" not in done.stdout
    shown = site.ours(INFO, "-all", "-dont-verify-ac")
    if name == "no port":
        assert shown.returncode == 1
        return
    assert "verified  : no\n" in shown.check().stdout
    assert "attribute : /" in shown.stdout


def test_the_c_program_shows_what_ours_refuses(site: VOMSSite) -> None:
    """Why ours is not like it."""
    now = datetime.now(UTC).replace(microsecond=0)
    for name in ("expired", "bad signature", "another holder", "unknown VO"):
        REFUSED[name][0](site, now).write_bundle(site.proxy)
        assert "attribute :" in site.theirs(INFO, "-all").check().stdout


def test_the_good_one_is_shown_beside_the_bad(site: VOMSSite) -> None:
    good = site.servers[VO].attribute_certificate(site.alice, fqans=FQANS[1:])
    bad = site.servers[OTHER].attribute_certificate(site.alice, fqans=[f"/{OTHER}"], spoil=True)
    site.alice.proxy(extensions=[ac_extension(bad, good)]).write_bundle(site.proxy)
    done = site.ours(INFO, "-vo", "-fqan")
    assert (done.returncode, done.stdout) == (1, f"{VO}\n{FQANS[1]}\n")
    assert f"attributes of {OTHER}://localhost:15000: not believed" in done.stderr


# --- requests ---------------------------------------------------------------------------------------------------------


def _query(request: bytes) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.removeprefix(b"0").split()[1].decode()).query)


@pytest.mark.parametrize(
    "words",
    [
        ["-voms", VO],
        ["-voms", f"{VO}:/{VO}/prod", "-valid", "3:30"],
        ["-voms", VO, "-hours", "5"],
        ["-voms", VO, "-vomslife", "2:15"],
        ["-voms", VO, "-target", "ce.example.org", "-target", "se.example.org"],
        ["-voms", VO, "-order", f"/{VO}/b", "-order", f"/{VO}/a"],
        ["-voms", f"{VO}:all"],
        ["-voms", VO, "-list"],
        ["-voms", f"{VO}:/{VO}/a", "-voms", f"{VO}:/{VO}/b"],
    ],
    ids=" ".join,
)
def test_we_ask_for_what_the_c_program_asks(site: VOMSSite, words: list[str]) -> None:
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        ours, theirs = site.ours(INIT, *words).check(), site.theirs(INIT, *words).check()
        first, second = daemon.requests
    assert _query(first) == _query(second)
    if "-list" in words:
        assert ours.stdout.partition("Available")[2].strip() == theirs.stdout.partition("Available")[2].strip()


def test_roles_are_asked_for(site: VOMSSite) -> None:
    """The C program writes `group:role` in -order, which other servers do not read; ours writes the FQAN."""
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        site.ours(INIT, "-voms", f"{VO}:/Role=a", "-voms", f"{VO}:/{VO}/g:b", "-order", f"/{VO}/g:b").check()
        asked = _query(daemon.requests[0])
    assert asked["fqans"] == [f"/{VO}/Role=a,/{VO}/g/Role=b"]
    assert asked["order"] == [f"/{VO}/g/Role=b"]


def test_list_makes_no_proxy(site: VOMSSite) -> None:
    with site.daemon() as daemon:
        daemon.fqans = FQANS
        site.write_vomses(daemon.vomses)
        listed = site.ours("voms-proxy-list", "-voms", VO).check().stdout
        assert listed.endswith("Available attributes:\n" + "".join(f"{fqan}\n" for fqan in FQANS))
        assert _query(daemon.requests[-1]) == {"fqans": ["all"]}
        theirs: Done = site.theirs(INIT, "-voms", VO, "-list")
    assert theirs.check().stdout.partition("Available")[2].strip() == listed.partition("Available")[2].strip()
    assert not site.proxy.exists()


def test_certificates_without_identifier_where_the_c_program_fails(tmp_path: Path) -> None:
    site = VOMSSite(tmp_path, named=False)
    assert not any(isinstance(one.value, x509.SubjectKeyIdentifier) for one in site.alice.certificate.extensions)
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        site.theirs(INIT, "-voms", VO)
        assert not site.proxy.exists()
        site.ours(INIT, "-voms", VO).check()
    assert site.judge().accepted


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "theirs"])
def test_destroy(site: VOMSSite, ours: bool) -> None:
    """Ours says and does the same as the C program."""
    program = our_program("voms-proxy-destroy") if ours else c_program("voms-proxy-destroy2")
    write_file(site.proxy, b"secret", 0o600)
    dry = run([program, "-dry"], env=site.environment)
    assert (dry.check().stderr.strip(), site.proxy.exists()) == (f"Would remove {site.proxy}", True)
    assert run([program], env=site.environment).check().output.strip() == ""
    assert not site.proxy.exists()
    absent = run([program, "-q"], env=site.environment)
    assert (absent.returncode, absent.output.strip()) == (1, "")
    assert run([program], env=site.environment).returncode == 1
