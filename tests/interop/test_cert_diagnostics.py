"""grid-cert-diagnostics against real servers, and beside the C program on broken files: it finds what is wrong."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.harness.ca import TestCA, subject_hash, write_file, write_trust_dir
from tests.harness.daemons import c_myproxy_server, free_port, our_server
from tests.harness.environment import UserEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.harness.ca import Issued
    from tests.harness.daemons import GridFTPServer
    from tests.harness.run import Done
    from tests.interop.conftest import Grid

NOW: Final = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture(scope="module")
def host(ca: TestCA) -> Issued:
    return ca.issue_host("localhost", "p256")


@pytest.fixture
def mine(tmp_path: Path, ca: TestCA) -> UserEnvironment:
    """A user whom nothing is wrong with."""
    made = UserEnvironment(tmp_path)
    made.install_user(ca.issue("/O=Grid/CN=Alice"), passphrase=b"secret")
    made.trust(ca, crl=True)
    del made.variables["GSI_AUTHZ_CONF"]
    return made


def diagnose(user: UserEnvironment, *words: str | Path, stdin: str = "") -> tuple[dict[str, Any], Done]:
    done = user.ours("grid-cert-diagnostics", "-json", *words, stdin=stdin)
    assert done.returncode in {0, 1}, done
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found["counts"]["error"] else 0)
    return found, done


def errors(found: Mapping[str, Any], severity: str = "error") -> list[tuple[str, str]]:
    return [(one["check"], one["where"].rpartition("/")[2]) for one in found["findings"] if one["severity"] == severity]


def checks(found: Mapping[str, Any], severity: str = "ok") -> list[str]:
    return [one["check"] for one in found["findings"] if one["severity"] == severity]


def test_nothing_is_wrong(mine: UserEnvironment, ca: TestCA) -> None:
    alice = ca.issue("/O=Grid/CN=Alice")
    mine.install_user(alice, passphrase=b"secret")
    mine.install_proxy(alice.proxy())
    found, _ = diagnose(mine, "-p", "-passin", "stdin", stdin="secret\n")
    assert not errors(found)
    assert not errors(found, "warning")
    assert checks(found)[-5:] == ["certificate", "key", "chain", "proxy", "chain"]


# --- Servers ---------------------------------------------------------------------------------------------------------


def test_a_gridftp_server(grid: Grid, user: UserEnvironment, gridftp: GridFTPServer) -> None:
    user.variables.pop("GSI_AUTHZ_CONF")
    found, _ = diagnose(user, "-g", f"localhost:{gridftp.port}")
    assert not errors(found)
    assert checks(found)[-6:] == ["connection", "greeting", "tls", "certificate", "chain", "peer-name"]
    told = {one["check"]: one["message"] for one in found["findings"] if one["section"] == "GridFTP service"}
    assert "GridFTP Server" in told["greeting"]
    assert told["tls"].startswith("TLS 1.3, TLS_AES_")
    assert grid.host.subject in told["certificate"]
    found, _ = diagnose(user, "-g", f"127.0.0.1:{gridftp.port}", "-H", "other.example.org", "-m", "STRICT_RFC2818")
    assert errors(found) == [("peer-name", f"127.0.0.1:{gridftp.port}")]


def test_a_gridftp_server_that_is_not_trusted(user: UserEnvironment, gridftp: GridFTPServer, tmp_path: Path) -> None:
    """It sees a TLS hello and nothing more; we see its certificates, and why they are refused."""
    other = write_trust_dir(tmp_path / "other", TestCA("/O=Other/CN=CA", "p256"), crl=True)
    found, _ = diagnose(user, "-certdir", other, "-g", f"localhost:{gridftp.port}")
    assert [check for check, where in errors(found) if where.endswith(str(gridftp.port))] == ["untrusted"]
    assert "certificate" in checks(found)


def test_myproxy_servers(grid: Grid, user: UserEnvironment, tmp_path: Path) -> None:
    user.variables.pop("GSI_AUTHZ_CONF")
    with c_myproxy_server(grid.host, grid.trust_dir) as server:
        found, _ = diagnose(user, "-s", f"localhost:{server.port}")
        assert not errors(found)
        assert checks(found)[-5:] == ["connection", "tls", "certificate", "chain", "peer-name"]
    directory = tmp_path / "server"
    directory.mkdir()
    grid.host.write(directory / "hostcert.pem", directory / "hostkey.pem")
    write_file(directory / "config", b'accepted_credentials "*"\n', 0o600)
    port = free_port()
    variables = user.with_variables(
        X509_USER_CERT=str(directory / "hostcert.pem"), X509_USER_KEY=str(directory / "hostkey.pem")
    )
    words: list[str | Path] = [
        "-c",
        directory / "config",
        "-s",
        directory / "store",
        "-p",
        str(port),
        "-l",
        "127.0.0.1",
        "-foreground",
    ]
    with our_server("myproxy-server", words, env=variables, port=port, directory=directory):
        found, _ = diagnose(user, "-s", f"localhost:{port}")
        assert not errors(found)


@contextlib.contextmanager
def tls_server(
    issued: Issued,
    directory: Path,
    *,
    answer: Callable[[], bytes] = lambda: b"",
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ask: Path | None = None,
) -> Iterator[int]:
    """A server that takes connections, reads once, answers and closes; yields its port."""
    issued.write(directory / "cert.pem", directory / "key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    context.maximum_version = version
    if ask is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ask)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:
                return
            with accepted, contextlib.suppress(OSError):
                accepted.settimeout(20)
                with context.wrap_socket(accepted, server_side=True) as stream:
                    if stream.recv(1000):
                        stream.sendall(answer())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(30)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("good", []),
        ("expired", ["expired"]),
        ("early", ["not-yet-valid"]),
        ("other name", ["peer-name"]),
        ("other CA", ["untrusted"]),
        ("client only", ["extended-key-usage"]),
        ("revoked", ["revoked"]),
        ("proxy", []),
    ],
)
def test_tls_servers(
    case: str, expected: list[str], version: ssl.TLSVersion, ca: TestCA, host: Issued, mine: UserEnvironment
) -> None:
    from tests.harness.ca import CLIENT_AUTH

    shown = {
        "good": lambda: host,
        "expired": lambda: ca.issue("/O=Grid/CN=localhost", "p256", not_after=NOW - timedelta(minutes=1)),
        "early": lambda: ca.issue("/O=Grid/CN=localhost", "p256", not_before=NOW + timedelta(hours=1)),
        "other name": lambda: ca.issue_host("www.example.org", "p256"),
        "other CA": lambda: TestCA("/O=Other/CN=CA", "p256").issue_host("localhost", "p256"),
        "client only": lambda: ca.issue("/O=Grid/CN=localhost", "p256", eku=[CLIENT_AUTH]),
        "revoked": lambda: host,
        "proxy": lambda: host.proxy(key="p256"),
    }[case]()
    if case == "revoked":
        write_file(mine.trust_dir / f"{subject_hash(ca.certificate)}.r0", ca.crl([host]), 0o644)
    with tls_server(shown, mine.home, version=version) as port:
        found, done = diagnose(mine, "-s", f"localhost:{port}", "-m", "STRICT_RFC2818")
    assert [check for check, _ in errors(found)] == expected, done
    assert {"connection", "tls", "certificate"} <= set(checks(found))
    told = next(one["message"] for one in found["findings"] if one["check"] == "tls")
    assert told.startswith("TLS 1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLS 1.3")
    if case == "early":
        assert "clock" in next(one["hint"] for one in found["findings"] if one["severity"] == "error")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_certificates_is_still_seen(
    version: ssl.TLSVersion, ca: TestCA, host: Issued, mine: UserEnvironment
) -> None:
    write_file(mine.home / "ca.pem", ca.pem, 0o644)
    with tls_server(host, mine.home, version=version, ask=mine.home / "ca.pem") as port:
        found, _ = diagnose(mine, "-s", f"localhost:{port}")
    assert not [one for one in errors(found) if one[0] not in {"transport", "authentication"}]
    assert {"chain", "peer-name"} <= set(checks(found))


@pytest.mark.parametrize(
    ("off", "severity"),
    [
        (timedelta(), "ok"),
        (timedelta(seconds=30), "warning"),
        (timedelta(minutes=4), "warning"),
        (timedelta(minutes=6), "error"),
        (-timedelta(minutes=6), "error"),
        (-timedelta(hours=1), "error"),
        (None, "note"),
    ],
)
def test_the_clock_of_a_server_by_http(
    off: timedelta | None, severity: str, host: Issued, mine: UserEnvironment
) -> None:
    def answer() -> bytes:
        if off is None:
            return b"hello\r\n\r\n"
        date = format_datetime(datetime.now(UTC) + off, usegmt=True)
        return f"HTTP/1.1 200 OK\r\nServer: x\r\nDate: {date}\r\n\r\n".encode()

    with tls_server(host, mine.home, answer=answer) as port:
        found, _ = diagnose(mine, "-http", "-s", f"localhost:{port}")
    assert [one["severity"] for one in found["findings"] if one["check"] == "clock-offset"] == [severity]


@pytest.mark.parametrize(
    "said",
    [b"", b"hello\r\n", b"\xff" * 300_000, b"220 x\r\n" + b"120-x\r\n" * 100, b"421 busy\r\n", b"220 x\r\n500 no\r\n"],
)
@pytest.mark.parametrize("option", ["-s", "-g"])
def test_servers_that_speak_something_else(option: str, said: bytes, mine: UserEnvironment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            with accepted, contextlib.suppress(OSError):
                accepted.sendall(said)
                accepted.shutdown(socket.SHUT_WR)
                while accepted.recv(1000):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        found, done = diagnose(mine, option, f"127.0.0.1:{listening.getsockname()[1]}", "-timeout", "5")
        thread.join(30)
    assert len(errors(found)) == 1, done
    assert not done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-s",), b"\x16\x03\x03\x3f\xff\x02"),  # a long TLS record
        (("-g",), b"220-"),
        (("-http", "-s"), b"HTTP/1.1 200 OK\r\nX: "),
    ],
)
def test_a_server_that_never_ends_its_answer(
    words: tuple[str, ...], said: bytes, host: Issued, mine: UserEnvironment
) -> None:
    host.write(mine.home / "cert.pem", mine.home / "key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine.home / "cert.pem", mine.home / "key.pem")
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            with (
                accepted,
                contextlib.suppress(OSError),
                context.wrap_socket(accepted, server_side=True) if "-http" in words else accepted as stream,
            ):
                stream.sendall(said)
                while not over.wait(0.1):
                    stream.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        found, done = diagnose(mine, *words, f"localhost:{listening.getsockname()[1]}", "-timeout", "1")
        over.set()
        thread.join(30)
    assert "did not answer in time" in found["findings"][-1]["message"], done


# --- Clocks ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def time_server(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            data, peer = sock.recvfrom(100)
            sock.sendto(answer(data), peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield sock.getsockname()[1]


def ntp(seconds_off: float, *, stratum: int = 2, first: int = 0x24) -> Callable[[bytes], bytes]:
    def answer(question: bytes) -> bytes:
        at = datetime.now(UTC) - datetime(1900, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds_off)
        stamp = struct.pack(">II", int(at.total_seconds()) % 2**32, int(at.microseconds / 1e6 * 2**32))
        return bytes((first, stratum)) + bytes(22) + question[40:48] + stamp + stamp

    return answer


@pytest.mark.parametrize(
    ("answer", "severity"),
    [
        (ntp(0), "ok"),
        (ntp(0.5), "ok"),
        (ntp(30), "warning"),
        (ntp(-30), "warning"),
        (ntp(240), "warning"),
        (ntp(-360), "error"),
        (ntp(3600), "error"),
        (ntp(-3600), "error"),
        (ntp(0, stratum=0), "error"),
        (ntp(0, first=0xE4), "error"),
        (ntp(0, first=0x23), "error"),
        (lambda _question: b"", "error"),
        (lambda question: ntp(0)(bytes(48)), "error"),
    ],
)
def test_the_clock_by_a_time_server(answer: Callable[[bytes], bytes], severity: str, mine: UserEnvironment) -> None:
    with time_server(answer) as port:
        found, done = diagnose(mine, "-n", "-time-server", f"127.0.0.1:{port}", "-timeout", "5")
    assert [one["severity"] for one in found["findings"] if one["section"] == "Clock"] == [severity], done


# --- Files -----------------------------------------------------------------------------------------------------------


def break_hash(user: UserEnvironment, stem: str, _ca: TestCA) -> None:
    for path in user.trust_dir.iterdir():
        path.rename(path.with_name(path.name.replace(stem, "00000000")))


def without(suffix: str) -> Callable[[UserEnvironment, str, TestCA], None]:
    return lambda user, stem, _ca: (user.trust_dir / f"{stem}.{suffix}").unlink()


def with_mode(suffix: str, mode: int) -> Callable[[UserEnvironment, str, TestCA], None]:
    return lambda user, stem, _ca: (user.trust_dir / f"{stem}.{suffix}").chmod(mode)


def with_content(suffix: str, content: Callable[[TestCA], bytes]) -> Callable[[UserEnvironment, str, TestCA], None]:
    return lambda user, stem, ca: write_file(user.trust_dir / f"{stem}.{suffix}", content(ca), 0o644)


OTHER: Final = "access_id_CA X509 '/O=Else'\npos_rights globus CA:sign\ncond_subjects globus '\"*\"'\n"
TRUST_FAULTS: Final = {
    "misnamed": (break_hash, ["crl-signer", "ca-file", "no-ca"]),
    "no policy": (without("signing_policy"), ["signing-policy-missing"]),
    "broken policy": (with_content("signing_policy", lambda _ca: b"nonsense"), ["signing-policy-broken"]),
    "policy of others": (with_content("signing_policy", lambda _ca: OTHER.encode()), ["signing-policy"]),
    "loose policy": (with_mode("signing_policy", 0o666), ["unsafe-mode"]),
    "loose CA": (with_mode("0", 0o664), ["unsafe-mode"]),
    "broken CA": (with_content("0", lambda _ca: b"-----BEGIN CERTIFICATE-----\n"), ["ca-file", "no-ca"]),
    "empty CRL": (with_content("r0", lambda _ca: b""), ["crl-broken"]),
    "expired CRL": (with_content("r0", lambda ca: ca.crl(next_update=NOW - timedelta(minutes=1))), ["crl-expired"]),
    "early CRL": (
        with_content("r0", lambda ca: ca.crl(this_update=NOW + timedelta(hours=2))),
        ["crl-not-yet-valid"],
    ),
    "forged CRL": (
        with_content("r0", lambda ca: ca.crl(key=TestCA("/O=X/CN=Y").key)),
        ["crl-bad-signature"],
    ),
    "CRL of others": (
        with_content("r0", lambda _ca: TestCA("/O=X/CN=Y", "p256").crl()),
        ["crl-signer"],
    ),
}


@pytest.mark.parametrize("name", TRUST_FAULTS)
def test_faults_of_a_trust_directory(name: str, ca: TestCA, mine: UserEnvironment) -> None:
    fault, expected = TRUST_FAULTS[name]
    fault(mine, subject_hash(ca.certificate), ca)
    found, done = diagnose(mine)
    assert sorted(check for check, _ in errors(found)) == sorted(expected), done
    assert mine.theirs("grid-cert-diagnostics").returncode == 0  # the C program never says so


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o755, []), (0o777, ["error"]), (0o1777, ["error"]), (0o1775, ["error"]), (0o775, ["error"])],
)
def test_a_trust_directory_that_others_can_add_to(mode: int, expected: list[str], mine: UserEnvironment) -> None:
    """Sticky or not: whoever can put a file there puts a CA of his own there."""
    mine.trust_dir.chmod(mode)
    found, _ = diagnose(mine)
    assert [one["severity"] for one in found["findings"] if one["check"] == "unsafe-mode"] == expected
    assert errors(found) == [("unsafe-mode", mine.trust_dir.name) for _ in expected]


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize(
    ("mode", "expected"), [(0o777, ["error"]), (0o1777, []), (0o775, ["warning"]), (0o1775, []), (0o755, [])]
)
def test_a_trust_directory_that_others_can_replace(
    levels: int, mode: int, expected: list[str], tmp_path: Path, ca: TestCA, mine: UserEnvironment
) -> None:
    above = tmp_path / "above"
    inner = write_trust_dir(above / "/".join(["x"] * (levels - 1)) / "trust", ca, crl=True)
    above.chmod(mode)
    (tmp_path / "link").symlink_to(inner)
    for path in (inner, tmp_path / "link"):
        found, _ = diagnose(mine, "-certdir", path)
        told = [one for one in found["findings"] if one["check"] == "unsafe-mode"]
        assert [one["severity"] for one in told] == expected
        assert {one["where"] for one in told} <= {str(above)}


def test_lists_are_required_wherever_chains_are_judged(ca: TestCA, host: Issued, mine: UserEnvironment) -> None:
    alice = ca.issue("/O=Grid/CN=Alice")
    mine.install_user(alice)
    mine.install_proxy(alice.proxy())
    write_file(mine.home / "cert.p12", alice.pkcs12(b"secret"), 0o600)
    write_file(mine.home / "alice.pem", alice.pem, 0o644)
    (mine.trust_dir / f"{subject_hash(ca.certificate)}.r0").unlink()
    places = {"usercert.pem", "proxy.pem", "alice.pem"}
    for policy, expected in (("require", places), ("if-present", set()), ("off", set())):
        found, _ = diagnose(mine, "-crl", policy, "-p", "-c", mine.home / "alice.pem")
        assert {where for check, where in errors(found) if check == "crl-missing"} - {ca_file(ca)} == expected
    mine.variables |= {"X509_USER_CERT": str(mine.home / "cert.p12"), "X509_USER_KEY": str(mine.home / "cert.p12")}
    found, _ = diagnose(mine, "-crl", "require", "-p", "-passin", "stdin", stdin="secret\n")
    assert ("crl-missing", "cert.p12") in errors(found)
    with tls_server(host, mine.home) as port:
        found, _ = diagnose(mine, "-crl", "require", "-s", f"localhost:{port}")
    assert ("crl-missing", f"localhost:{port}") in errors(found)


def ca_file(ca: TestCA) -> str:
    return f"{subject_hash(ca.certificate)}.0"


def test_a_certificate_that_is_for_no_server(ca: TestCA, mine: UserEnvironment) -> None:
    """With -H it is a server's, so one that only clients may show is of no use."""
    from tests.harness.ca import CLIENT_AUTH, SERVER_AUTH

    for eku, expected in (([CLIENT_AUTH], ["extended-key-usage"]), ([CLIENT_AUTH, SERVER_AUTH], [])):
        issued = ca.issue("/O=Grid/CN=www.example.org", "p256", eku=eku, san=["DNS:www.example.org"])
        words = ("-c", "-", "-m", "STRICT_RFC2818")
        assert not errors(diagnose(mine, *words, stdin=issued.pem.decode())[0])
        found, _ = diagnose(mine, *words, "-H", "www.example.org", stdin=issued.pem.decode())
        assert [check for check, _ in errors(found)] == expected


def test_faults_that_are_warnings(ca: TestCA, mine: UserEnvironment) -> None:
    stem = subject_hash(ca.certificate)
    (mine.trust_dir / f"{stem}.r0").rename(mine.trust_dir / f"{stem}.r1")
    found, _ = diagnose(mine)
    assert (errors(found), errors(found, "warning")) == ([], [("file-number", f"{stem}.r1")])
    (mine.trust_dir / f"{stem}.r1").unlink()
    found, _ = diagnose(mine)
    assert (errors(found), errors(found, "warning")) == ([], [("crl-missing", f"{stem}.0")])
    assert errors(diagnose(mine, "-crl", "require")[0]) == [("crl-missing", f"{stem}.0")]
    assert not errors(diagnose(mine, "-crl", "off", "-strict")[0])
    write_file(mine.trust_dir / f"{stem}.r0", ca.crl(next_update=NOW + timedelta(hours=1)), 0o644)
    assert errors(diagnose(mine)[0], "warning") == [("crl-expires-soon", f"{stem}.r0")]


@pytest.mark.parametrize(
    ("not_before", "not_after", "expected"),
    [
        (timedelta(days=-9), timedelta(minutes=-1), [("error", "expired")]),
        (timedelta(days=1), timedelta(days=90), [("error", "not-yet-valid")]),
        (timedelta(days=-9), timedelta(days=9), [("warning", "expires-soon")]),
    ],
)
def test_dates_of_a_ca(
    not_before: timedelta, not_after: timedelta, expected: list[tuple[str, str]], mine: UserEnvironment
) -> None:
    mine.trust(TestCA("/O=Old/CN=CA", "p256", not_before=NOW + not_before, not_after=NOW + not_after), crl=True)
    found, _ = diagnose(mine)
    assert [(one["severity"], one["check"]) for one in found["findings"] if "/O=Old" in one["message"]] == expected


def test_authorities_below_others(ca: TestCA, mine: UserEnvironment) -> None:
    below = ca.intermediate("/O=Grid/CN=Below", "p256")
    mine.trust(below, crl=True)
    assert not errors(diagnose(mine, "-strict")[0])
    stray = TestCA("/O=Stray/CN=CA", "p256").intermediate("/O=Stray/CN=Below", "p256")
    mine.trust(stray, crl=True)
    assert errors(diagnose(mine)[0]) == [("untrusted", f"{subject_hash(stray.certificate)}.0")]


@pytest.mark.parametrize(
    ("case", "severity", "check"),
    [
        ("loose key", "error", "unsafe-file"),
        ("loose certificate", "error", "unsafe-file"),
        ("no key", "error", "missing"),
        ("other key", "error", "key-mismatch"),
        ("open key", "warning", "key-unlocked"),
        ("wrong pass phrase", "error", "wrong-passphrase"),
        ("expired", "error", "expired"),
        ("expires", "warning", "expires-soon"),
        ("other CA", "error", "untrusted"),
        ("no certificate", "error", "missing"),
    ],
)
def test_faults_of_credentials(case: str, severity: str, check: str, ca: TestCA, mine: UserEnvironment) -> None:
    if case == "loose key":
        mine.key_path.chmod(0o640)
    elif case == "loose certificate":
        mine.cert_path.chmod(0o666)
    elif case == "no key":
        mine.key_path.unlink()
    elif case == "no certificate":
        mine.cert_path.unlink()
    elif case == "other key":
        write_file(mine.key_path, ca.issue("/O=Grid/CN=Alice").key_pem(b"secret"), 0o600)
    elif case == "open key":
        mine.install_user(ca.issue("/O=Grid/CN=Alice"))
    elif case in {"expired", "expires"}:
        ends = NOW + (timedelta(days=9) if case == "expires" else -timedelta(minutes=1))
        mine.install_user(ca.issue("/O=Grid/CN=Alice", not_after=ends), passphrase=b"secret")
    elif case == "other CA":
        mine.install_user(TestCA("/O=Else/CN=CA", "p256").issue("/O=Else/CN=Alice"), passphrase=b"secret")
    typed = "wrong\n" if case == "wrong pass phrase" else "secret\n"
    found, done = diagnose(mine, "-p", "-passin", "stdin", stdin=typed)
    assert check in [one for one, _ in errors(found, severity)], done
    assert "secret" not in done.output


def test_the_mapping_of_the_user(mine: UserEnvironment) -> None:
    write_file(mine.home / "map", b'"/O=Grid/CN=Alice" alice\n', 0o644)
    mine.variables["GRIDMAP"] = str(mine.home / "map")
    ours, _ = diagnose(mine, "-p", "-passin", "stdin", stdin="secret\n")
    assert "maps /O=Grid/CN=Alice to alice" in [one["message"] for one in ours["findings"]]
    write_file(mine.home / "map", b'"/O=Grid/CN=Bob" alice\n', 0o644)
    ours, _ = diagnose(mine, "-p", "-passin", "stdin", stdin="secret\n")
    assert any(one["message"].startswith("does not map /O=Grid/CN=Alice") for one in ours["findings"])
    assert not errors(ours)


def test_no_credentials_at_all(mine: UserEnvironment) -> None:
    mine.cert_path.unlink()
    mine.key_path.unlink()
    found, _ = diagnose(mine, "-p")
    assert ("missing", "credentials") in errors(found)


def test_proxies(ca: TestCA, mine: UserEnvironment) -> None:
    alice = ca.issue("/O=Grid/CN=Alice")
    mine.install_user(alice, passphrase=b"secret")
    for proxy, mode, expected in (
        (alice.proxy(), 0o600, []),
        (alice.proxy(), 0o644, ["unsafe-file"]),
        (alice.proxy(not_before=NOW - timedelta(hours=2), not_after=NOW - timedelta(hours=1)), 0o600, ["expired"]),
        (alice.proxy().proxy(subject="/O=Grid/CN=Bob"), 0o600, ["proxy-name"]),
    ):
        mine.install_proxy(proxy, mode=mode)
        found, _ = diagnose(mine, "-p")
        assert [check for check, where in errors(found) if where == "proxy.pem"] == expected


def test_chains_from_files_and_standard_input(ca: TestCA, host: Issued, mine: UserEnvironment) -> None:
    write_file(mine.home / "host.pem", host.pem, 0o644)
    assert not errors(diagnose(mine, "-c", mine.home / "host.pem", "-H", "localhost")[0])
    assert not errors(diagnose(mine, "-c", "-", "-H", "localhost", stdin=host.pem.decode())[0])
    assert errors(diagnose(mine, "-c", "-", "-H", "x.org", stdin=host.pem.decode())[0]) == [
        ("peer-name", "standard input")
    ]
    for mode in ("STRICT_GT2", "HYBRID", "STRICT_RFC2818"):
        words = ("-m", mode, "-c", "-", "-H", "node-2.example.org")
        other = ca.issue("/O=Grid/CN=host/node-2.example.org", "p256", san=["DNS:www.example.org"])
        expected = [("peer-name", "standard input")] if mode == "STRICT_RFC2818" else []
        assert errors(diagnose(mine, *words, stdin=other.pem.decode())[0]) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"X509_CERT_DIR": "/nonexistent"}, {"variable", "trust-directory"}),
        ({"GRIDMAP": "/nonexistent"}, {"variable"}),
        ({"GLOBUS_GSSAPI_NAME_COMPATIBILITY": "LAX"}, {"name-mode"}),
        ({"HOME": "/nonexistent"}, {"home"}),
    ],
)
def test_variables(variables: dict[str, str], expected: set[str], mine: UserEnvironment) -> None:
    mine.variables |= variables
    assert {check for check, _ in errors(diagnose(mine)[0])} == expected
