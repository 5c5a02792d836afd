"""grid-cert-info beside the C script, line by line, for a table of certificates, files and options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.harness.ca import SERVER_AUTH, TestCA, raw_extension, write_file
from tests.harness.environment import UserEnvironment
from tests.harness.run import our_program, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.ca import Issued

OPTIONS: Final = (
    "", "-all", "-subject", "-s", "-issuer", "-i", "-issuerhash", "-ih", "-startdate", "-sd", "-enddate", "-ed",
    "-s -i", "-i -s -i", "-rfc2253 -s -i", "-s -rfc2253", "--subject --issuer --rfc2253", "-rfc2253 -all", "-all -s",
    "-sd -ed -s -ih", "-rfc2253",
)  # fmt: skip
FEW: Final = ("-all", "-s -i -ih -sd -ed", "-rfc2253 -s -i -all")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/C=DE/O=Grid/CN=CA of the Grid")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/C=DE/O=Grid/OU=a b/CN=Alice")


@pytest.fixture
def user(tmp_path: Path, alice: Issued) -> UserEnvironment:
    made = UserEnvironment(tmp_path)
    made.install_user(alice)
    return made


def compare(user: UserEnvironment, *words: str) -> None:
    ours, theirs = user.ours("grid-cert-info", *words), user.theirs("grid-cert-info", *words)
    assert ours.returncode == theirs.returncode == 0, (ours, theirs)
    if ours.stdout != theirs.stdout:  # OpenSSL 3.2 began to write names without blanks around the equals sign
        assert ours.stdout.replace(" = ", "=") == theirs.stdout.replace(" = ", "=")
    assert not ours.stderr


@pytest.mark.parametrize("words", OPTIONS)
def test_options(words: str, user: UserEnvironment) -> None:
    compare(user, *words.split())


def certificates(ca: TestCA) -> dict[str, Issued | TestCA]:
    below = ca.intermediate("/O=Grid/CN=Below", "p256", path_length=0)
    alice = ca.issue("/O=Grid/CN=Alice", "p384")
    two = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "a, b"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, '"x", #'),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "a=b"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "#x"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x "),
            x509.NameAttribute(NameOID.COMMON_NAME, '"quoted"'),
        ]
    )
    return {
        "root": ca,
        "below": below,
        "host": ca.issue_host(),
        "ed25519": below.issue("/DC=org/DC=grid/UID=al/CN=Al", "ed25519"),
        "service": ca.issue("/O=Grid/CN=host/www.example.org", "p256", san=["DNS:www.example.org", "IP:::1"]),
        "mail": ca.issue("/O=Grid/CN=Al/emailAddress=al@example.org", "p256", eku=[SERVER_AUTH]),
        "odd": ca.issue(two, "p256"),
        "proxy": alice.proxy(key="p256"),
        "legacy": alice.proxy(key="p256", info_oid=None, cn="proxy"),
        "limited": alice.proxy(key="p256", info_oid=None, cn="limited proxy").proxy(
            key="p256", info_oid=None, cn="limited proxy"
        ),
        "unknown": ca.issue("/O=Grid/CN=Al", "p256", extensions=[raw_extension("1.2.3.4", b"\x30\x03ab\xff")]),
    }


@pytest.mark.parametrize("words", FEW)
def test_certificates(words: str, ca: TestCA, user: UserEnvironment) -> None:
    for name, made in certificates(ca).items():
        path = user.home / f"{name}.pem"
        write_file(path, made.pem, 0o644)
        compare(user, "-file", str(path), *words.split())


def test_pkcs12(alice: Issued, user: UserEnvironment) -> None:
    write_file(user.home / "a.p12", alice.pkcs12(b"secret"), 0o600)
    for words in FEW:
        ours = user.ours(
            "grid-cert-info", "-f", user.home / "a.p12", "-passin", "fd:0", *words.split(), stdin="secret\n"
        )
        plain = user.ours("grid-cert-info", *words.split())
        assert (ours.returncode, ours.stdout) == (0, plain.stdout), ours
    (user.home / "a.p12").rename(user.cert_path.with_name("usercred.p12"))
    user.cert_path.unlink()
    variables = user.with_variables(X509_USER_CERT=None, X509_USER_KEY=None)
    command = [our_program("grid-cert-info"), "-s", "-passin", "stdin"]
    assert run(command, env=variables, stdin="secret\n").check().stdout == "/C=DE/O=Grid/OU=a b/CN=Alice\n"


def test_default_places(alice: Issued, user: UserEnvironment) -> None:
    """The variable first, even where it names nothing; then ~/.globus, PEM before PKCS#12."""
    for names in (["X509_USER_CERT"], ["X509_USER_CERT", "X509_USER_KEY"]):
        for name in names:
            user.variables.pop(name, None)
        compare(user, "-s")
    user.cert_path.unlink()
    ours, theirs = user.ours("grid-cert-info", "-s"), user.theirs("grid-cert-info", "-s")
    assert ours.returncode == theirs.returncode == 1
    user.variables["X509_USER_CERT"] = "/nonexistent/cert.pem"
    ours, theirs = user.ours("grid-cert-info", "-s"), user.theirs("grid-cert-info", "-s")
    assert ours.returncode == theirs.returncode == 1
    assert "/nonexistent/cert.pem" in ours.stderr


@pytest.mark.parametrize("words", ["-nonsense", "-f", "-f @nofile", "-f @garbage", "-f @.", "stray"])
def test_refusals(words: str, user: UserEnvironment) -> None:
    write_file(user.home / "garbage", b"garbage\n", 0o644)
    argv = words.replace("@", f"{user.home}/").split()
    ours, theirs = user.ours("grid-cert-info", *argv), user.theirs("grid-cert-info", *argv)
    assert ours.returncode == theirs.returncode == 1
    assert not ours.stdout
    assert ours.stderr.startswith("grid-cert-info: error: ")
