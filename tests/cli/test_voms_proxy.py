"""The voms-proxy-* commands and a server that fails, refuses, warns or lies: what is said, what is written."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.harness.ca import Issued, write_file
from tests.harness.run import our_program, run
from tests.harness.voms import VO, VOMSServer, ac_extension
from tests.harness.voms_daemon import VOMSDaemon
from tests.harness.voms_site import OTHER, VOMSSite

INIT, INFO = "voms-proxy-init", "voms-proxy-info"


@pytest.fixture
def site(tmp_path: Path) -> VOMSSite:
    made = VOMSSite(tmp_path)
    write_file(made.proxy, b"the old proxy", 0o600)
    return made


def _is_untouched(site: VOMSSite) -> bool:
    return site.proxy.read_bytes() == b"the old proxy"


# --- servers ----------------------------------------------------------------------------------------------------------


def test_fail_over(site: VOMSSite) -> None:
    """Servers are asked in random order; one that is there is found, whatever the others do."""
    with site.daemon() as daemon:
        site.write_vomses(*(site.dead_line() for _ in range(3)), daemon.vomses)
        done = site.ours(INIT, "-voms", VO).check()
    failed = done.stdout.count(" Failed\n")
    assert done.stdout.count(f"Trying next server for {VO}.\n") == failed == done.stderr.count("\nError: ")
    assert not _is_untouched(site)


def test_no_server_answers(site: VOMSSite) -> None:
    lines = [site.dead_line(), site.dead_line()]
    site.write_vomses(*lines)
    done = site.ours(INIT, "-voms", VO, "-timeout", "5")
    assert done.returncode == 1
    assert f"None of the contacted servers for {VO} were capable of returning a valid AC" in done.stderr
    assert all(line.split('"')[5] in done.output for line in lines)
    assert _is_untouched(site)


def test_one_vo_that_fails_is_a_failure(site: VOMSSite) -> None:
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses, site.dead_line(OTHER))
        assert site.ours(INIT, "-voms", VO, "-voms", OTHER).returncode == 1
    assert _is_untouched(site)


def test_a_server_says_no(site: VOMSSite) -> None:
    with site.daemon() as daemon:
        daemon.status = "403 Forbidden"
        daemon.rest = b"<voms><error><code>NoSuchUser</code><message>who is \x1b[31mthat?</message></error></voms>"
        daemon.rest = daemon.rest.replace(b"\x1b", b"&#xA0;")
        site.write_vomses(daemon.vomses)
        done = site.ours(INIT, "-voms", VO)
        assert len(daemon.requests) == 1
    assert done.returncode == 1
    assert "the VOMS server refused: who is " in done.stderr
    assert "(NoSuchUser)" in done.stderr
    assert _is_untouched(site)


def test_one_says_no_and_another_yes(site: VOMSSite) -> None:
    """As for the C and Java programs: one whose database is away is not the end."""
    with site.daemon() as ill, site.daemon() as well:
        ill.status, ill.rest = "500 Oops", b"<voms><error><code>x</code><message>no database</message></error></voms>"
        site.write_vomses(ill.vomses, well.vomses)
        for _ in range(3):
            done = site.ours(INIT, "-voms", VO).check()
            assert ("no database" in done.stderr) is (" Failed\n" in done.stdout)
        site.write_vomses(ill.vomses, site.dead_line())
        done = site.ours(INIT, "-voms", VO)
    assert done.returncode == 1
    assert "voms-proxy-init: error: the VOMS server refused: no database (x)" in done.stderr


def test_a_server_of_another_name(site: VOMSSite) -> None:
    """It is not told anything."""
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses.replace("/O=Grid/CN=localhost", "/O=Grid/CN=elsewhere"))
        done = site.ours(INIT, "-voms", VO)
        assert daemon.requests == []
    assert done.returncode == 1
    assert "/O=Grid/CN=localhost" in done.stderr
    assert _is_untouched(site)


def _warning(site: VOMSSite, daemon: VOMSDaemon) -> None:
    import base64

    ac = base64.encodebytes(site.servers[VO].attribute_certificate(site.alice))
    daemon.rest = b"<voms><ac>" + ac + b"</ac><warning>lifetime shortened</warning></voms>"


def test_warnings(site: VOMSSite) -> None:
    with site.daemon() as daemon:
        _warning(site, daemon)
        site.write_vomses(daemon.vomses)
        done = site.ours(INIT, "-voms", VO, "-failonwarn")
        assert done.returncode == 1
        assert "lifetime shortened" in done.stderr
        assert _is_untouched(site)
        done = site.ours(INIT, "-voms", VO).check()
        assert f"voms-proxy-init: warning: the server of {VO}: lifetime shortened\n" in done.stderr
        assert not _is_untouched(site)
        for silent in ("-ignorewarn", "-quiet"):
            done = site.ours(INIT, "-voms", VO, silent).check()
            assert done.stderr == ""
            assert (done.stdout == "") is (silent == "-quiet")
        missing = site.ours(INIT, "-voms", f"{VO}:/{VO}/Role=x").check()
        assert f"the server of {VO} did not give /{VO}/Role=x" in missing.stderr


def test_a_lifetime_cut_short(site: VOMSSite) -> None:
    done = site.ours(INIT, "-valid", "9999:00").check()
    assert "your certificate and proxy will expire" in done.stderr
    write_file(site.proxy, b"the old proxy", 0o600)
    assert site.ours(INIT, "-valid", "9999:00", "-failonwarn").returncode == 1
    assert _is_untouched(site)
    assert site.ours(INIT, "-key-type", "p256", "-failonwarn").returncode == 1
    assert _is_untouched(site)
    assert site.ours(INIT, "-valid", "0:0").check().stderr == ""


# --- what is not believed ---------------------------------------------------------------------------------------------


def _answer(daemon: VOMSDaemon, ac: bytes) -> None:
    import base64

    daemon.rest = b"<voms><ac>" + base64.encodebytes(ac) + b"</ac></voms>"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spoil": True}, "signature"),
        ({"holder_serial": 1}, "another holder"),
        ({"not_before": -9, "not_after": -2}, "expired"),
        ({"uri": f"{OTHER}://localhost:15000", "fqans": [f"/{OTHER}"]}, f"attributes of the VO {OTHER}"),
        ({"fqans": [f"/{VO}X"]}, "does not belong"),
        ({"leave_out": ["aki"]}, "key identifier"),
    ],
    ids=["signature", "holder", "expired", "vo", "fqan", "aki"],
)
def test_what_is_not_believed_is_not_written(site: VOMSSite, changes: dict[str, object], words: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    given = {name: now + timedelta(hours=value) if isinstance(value, int) and name.startswith("not_") else value
             for name, value in changes.items()}  # fmt: skip
    ac = site.servers[VO].attribute_certificate(site.alice, **given)  # type: ignore[arg-type]  # named fields
    with site.daemon() as daemon:
        _answer(daemon, ac)
        site.write_vomses(daemon.vomses)
        for more in ([], ["-separate", site.proxy], ["-list"]):
            done = site.ours(INIT, "-voms", VO, *more)
            assert done.returncode == 1
            assert words in done.stderr
            assert "/Role" not in done.stdout
            assert _is_untouched(site)
        done = site.ours(INIT, "-voms", VO, "-dont-verify-ac")
        # Another VO than was asked is no matter of belief.
        assert (done.returncode == 0) is ("uri" not in changes)


def test_without_vomsdir(site: VOMSSite) -> None:
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        nowhere = {"X509_VOMS_DIR": str(site.directory / "nowhere")}
        done = site.ours(INIT, "-voms", VO, environment=nowhere)
        assert done.returncode == 1
        assert f"hint: an LSC file {VO}/localhost.lsc in the vomsdir" in done.stderr
        assert nowhere["X509_VOMS_DIR"] in done.stderr
        assert _is_untouched(site)
        site.ours(INIT, "-voms", VO, "-vomsdir", site.vomsdir, environment=nowhere).check()
        off = {"VOMS_PROXY_INIT_DONT_VERIFY_AC": "1"}
        site.ours(INIT, "-voms", VO, environment=nowhere | off).check()
        assert site.ours(INFO, "-fqan", environment=nowhere).returncode == 1
        site.ours(INFO, "-fqan", "-vomsdir", site.vomsdir, environment=nowhere).check()
        site.ours(INFO, "-fqan", environment=nowhere | {"VOMS_PROXY_INFO_DONT_VERIFY_AC": "1"}).check()


def test_attributes_of_somebody_else_from_a_file(site: VOMSSite) -> None:
    bob = site.ca.issue("/O=Grid/CN=Bob")
    with site.daemon(holder=bob) as daemon:
        site.write_vomses(daemon.vomses)
        bob.write(site.cert, site.key, key_mode=0o400)
        site.ours(INIT, "-voms", VO, "-separate", site.directory / "bob.ac").check()
    site.key.unlink()
    site.alice.write(site.cert, site.key, key_mode=0o400)
    done = site.ours(INIT, "-includeac", site.directory / "bob.ac")
    assert done.returncode == 1
    assert "issued to another holder" in done.stderr
    assert _is_untouched(site)


def test_the_chain_counts(site: VOMSSite) -> None:
    """Good attributes in a proxy that has expired, or whose authority is not trusted, are not believed."""
    now = datetime.now(UTC)
    good = ac_extension(site.servers[VO].attribute_certificate(site.alice))
    expired = site.alice.proxy(
        extensions=[good], not_before=now - timedelta(hours=3), not_after=now - timedelta(hours=1)
    )
    expired.write_bundle(site.proxy)
    done = site.ours(INFO, "-timeleft", "-fqan")
    assert (done.returncode, done.stdout) == (1, "0\n")
    assert "expired" in done.stderr
    site.alice.proxy(extensions=[good]).write_bundle(site.proxy)
    empty = site.directory / "empty"
    empty.mkdir()
    done = site.ours(INFO, "-fqan", "-certdir", empty)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not believed" in done.stderr


def test_malformed_attributes(site: VOMSSite) -> None:
    ac = site.servers[VO].attribute_certificate(site.alice)
    site.alice.proxy(extensions=[ac_extension(ac[:-1])]).write_bundle(site.proxy)
    for more in ([], ["-dont-verify-ac"], ["-json"]):
        done = site.ours(INFO, *more)
        assert done.returncode == 1
        assert "not believed" in done.stderr
    (refused,) = json.loads(done.stdout)["refused"]
    assert refused["authority"] is None


def test_attributes_do_not_drive_the_terminal(site: VOMSSite) -> None:
    """Nor do they look like other lines, when somebody wants to see them unverified."""
    odd = [f"/{VO}/\x1b[31mred", f"/{VO}/a\n/{VO}/Role=admin"]
    ac = site.servers[VO].attribute_certificate(site.alice, fqans=odd)
    site.alice.proxy(extensions=[ac_extension(ac)]).write_bundle(site.proxy)
    assert site.ours(INFO, "-fqan").stdout == ""
    shown = site.ours(INFO, "-fqan", "-dont-verify-ac").check().stdout
    assert shown == f"/{VO}/\\x1b[31mred\n/{VO}/a\\n/{VO}/Role=admin\n"


def test_info_as_json(site: VOMSSite) -> None:
    server: VOMSServer = site.servers[VO]
    good = server.attribute_certificate(site.alice, fqans=[f"/{VO}/Role=x"], serial=0x1F2)
    bad = server.attribute_certificate(site.alice, spoil=True)
    proxy: Issued = site.alice.proxy(extensions=[ac_extension(good, bad)], key="p256")
    proxy.write_bundle(site.proxy)
    done = site.ours(INFO, "-json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["identity"], found["strength"], found["kind"]) == ("/O=Grid/CN=Alice", 256, "full")
    (shown,) = found["attributes"]
    assert (shown["vo"], shown["fqans"], shown["serial"]) == (VO, [f"/{VO}/Role=x"], "01F2")
    assert (shown["verified"], shown["issuer"], shown["uri"]) == (True, "/O=Grid/CN=localhost", "localhost:15000")
    (refused,) = found["refused"]
    assert (refused["problem"], refused["authority"]) == ("bad-signature", f"{VO}://localhost:15000")


# --- who asks, and options --------------------------------------------------------------------------------------------


def test_pass_phrases(site: VOMSSite) -> None:
    cert, key = site.directory / "locked.pem", site.directory / "locked.key"
    site.alice.write(cert, key, passphrase=b"secret")
    done = site.ours(INIT, "-cert", cert, "-key", key, "-pwstdin", stdin="wrong\n")
    assert done.returncode == 3
    assert _is_untouched(site)
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        site.ours(INIT, "-cert", cert, "-key", key, "-pwstdin", "-voms", VO, stdin="secret\n").check()
        bundle = site.directory / "alice.p12"
        write_file(bundle, site.alice.pkcs12(b"secret"), 0o600)
        site.ours(INIT, "-cert", bundle, "-pwstdin", "-voms", VO, stdin="secret\n").check()


def test_options_from_a_file(site: VOMSSite) -> None:
    options = site.directory / "options"
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        write_file(
            options, f'# mine\n-voms {VO}\n-valid="1:30" --limited\n\n-out={site.directory / "a b"}\n'.encode(), 0o644
        )
        assert site.ours(INIT, "-conf", options).returncode == 1  # a blank ends the value
        text = options.read_text("utf-8").replace(f"-out={site.directory / 'a b'}", f"-out '{site.directory / 'a b'}'")
        write_file(options, text.encode(), 0o644)
        site.ours(INIT, "-conf", options, "-valid", "0:45").check()
    shown = site.ours(INFO, "-file", site.directory / "a b", "-type", "-timeleft").check().stdout.split("\n")
    assert shown[0] == "RFC compliant limited proxy"
    assert int(shown[1]) <= 45 * 60
    write_file(options, b"-conf other\n", 0o644)
    done = site.ours(INIT, f"--conf={options}")
    assert done.returncode == 1
    assert "cannot name another one" in done.stderr
    write_file(options, b'-voms "open\n', 0o644)
    assert f"{options}:1: " in site.ours("voms-proxy-destroy", "-conf", options).stderr


def test_places_of_contact_lines(site: VOMSSite) -> None:
    directory = site.directory / "vomses.d"
    elsewhere = {"X509_VOMSES": "/nonexistent"}
    with site.daemon() as daemon, site.daemon(OTHER) as other:
        write_file(directory / "a", daemon.vomses.encode(), 0o644)
        write_file(
            directory / "b", other.vomses.replace(f'"{OTHER}" "localhost"', '"alias" "localhost"').encode(), 0o644
        )
        both = ("-voms", VO, "-voms", "alias:/Role=x")
        site.ours(INIT, *both, "-vomses", directory, "-ignorewarn", environment=elsewhere).check()
        assert b"fqans=/other.example/Role=x&" in other.requests[0]
        site.ours(INIT, *both, "-confile", directory / "a", "-userconf", directory / "b", environment=elsewhere).check()
        done = site.ours(INIT, *both, "-vomses", directory / "a", environment=elsewhere)
        assert (done.returncode, "VOMS Server for alias not known!" in done.stderr) == (1, True)
        done = site.ours(INIT, *both, "-vomses", directory / "c", environment=elsewhere)
        assert (done.returncode, f"Cannot find file or dir: {directory / 'c'}" in done.stderr) == (1, True)


def test_a_policy_and_a_path_length(site: VOMSSite) -> None:
    policy = site.directory / "policy"
    write_file(policy, b"a,b\x00\n", 0o644)
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        site.ours(INIT, "-voms", VO, "-policy", policy, "-pl", "1.2.3.4", "-path_length", "0").check()
    assert site.ours(INFO, "-type", "-fqan").check().stdout.startswith("RFC compliant restricted proxy\n/")
    text = site.ours(INFO, "-text").check().stdout
    assert "1.2.3.4" in text
    assert "Path Length Constraint: 0" in text


def test_list_as_json(site: VOMSSite) -> None:
    with site.daemon() as daemon:
        site.write_vomses(daemon.vomses)
        found = json.loads(site.ours("voms-proxy-list", "-voms", VO, "-json").check().stdout)
    assert found == {"vo": VO, "fqans": list(daemon.fqans)}
    assert _is_untouched(site)


def test_destroy_follows_no_link(site: VOMSSite) -> None:
    victim = site.directory / "victim"
    write_file(victim, b"precious", 0o600)
    site.proxy.unlink()
    site.proxy.symlink_to(victim)
    assert site.ours("voms-proxy-destroy").returncode == 1
    assert victim.read_bytes() == b"precious"


def test_the_howto_runs(site: VOMSSite) -> None:
    """Its lines, as they stand, in one shell."""
    page = Path(__file__).resolve().parents[2] / "docs/howto/voms-proxy.md"
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    home = site.directory / "home"
    site.alice.write(home / ".globus" / "usercert.pem", home / ".globus" / "userkey.pem")
    script = site.directory / "script"
    write_file(script, ("set -eu\n" + "".join(blocks)).encode(), 0o700)
    with site.daemon() as daemon, site.daemon(OTHER) as other:
        daemon.fqans = (f"/{VO}/prod/Role=pilot/Capability=NULL", f"/{VO}/Role=NULL/Capability=NULL")
        write_file(home / ".voms" / "vomses", (daemon.vomses + other.vomses).encode(), 0o644)
        left_out = {"X509_USER_CERT", "X509_USER_KEY", "X509_VOMSES"}
        environment = {name: value for name, value in site.environment.items() if name not in left_out} | {
            "HOME": str(home),
            "PATH": f"{Path(our_program(INIT)).parent}:/usr/bin:/bin",
        }
        done = run(["/bin/bash", script], env=environment, cwd=site.directory).check()
    assert f"\n{VO}\n/{VO}/prod/Role=pilot/Capability=NULL\n" in done.stdout
    assert f"\n{OTHER}\n/{OTHER}/Role=NULL/Capability=NULL\n" in done.stdout
    assert done.stderr == ""
    assert json.loads((site.directory / "proxy.json").read_text("utf-8"))["attributes"]
    assert not site.proxy.exists()
