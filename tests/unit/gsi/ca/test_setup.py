"""What a CA gives its sites: texts that shells, openssl and our readers take, and names that cannot harm them."""

from __future__ import annotations

import subprocess

import pytest

from gsi.ca.setup import CASetup, make_signing_policy, setup_files
from gsi.errors import ConfigError
from gsi.names import parse_oneline, parse_rfc4514
from gsi.trust.signing_policy import parse_signing_policy

NAME = parse_rfc4514("cn=Grid CA (2026), ou=Unit 1, ou=Test, o=Grid, dc=example, dc=org")


def test_the_policy_lets_it_sign_below_its_own_name() -> None:
    policy = parse_signing_policy(setup_files(CASetup(NAME, "ca@example.org"), directory="/ca")["signing-policy"])
    base = "/DC=org/DC=example/O=Grid/OU=Test/OU=Unit 1"
    ca = f"{base}/CN=Grid CA (2026)"
    assert policy.permits(ca, f"{base}/CN=Alice")
    assert not policy.permits(ca, "/DC=org/DC=example/O=Grid/OU=Test/CN=Alice")
    assert not policy.permits(f"{base}/CN=Other", f"{base}/CN=Alice")


def test_a_shell_reads_the_settings() -> None:
    text = setup_files(CASetup(NAME, "ca@example.org"), directory="/ca")["grid-security.conf"].decode()
    shown = 'echo "$GSI_CA_NAME|$GSI_CA_EMAIL_ADDR|$GSI_HOST_BASE_DN|$GSI_USER_BASE_DN"'
    done = subprocess.run(["/bin/sh", "-euc", text + shown], capture_output=True, text=True, check=True, timeout=30)
    name, email, host, user = done.stdout.strip().split("|")
    assert (name, email) == ("Grid CA (2026)", "ca@example.org")
    assert host == "OU=Unit 1,OU=Test,O=Grid,DC=example,DC=org"
    assert user == f"ou=Grid CA (2026), {host}"


def test_requests_are_for_names_below_the_cas() -> None:
    files = setup_files(CASetup(NAME, "ca@example.org"), directory="/ca")

    def defaults(name: str) -> list[str]:
        lines = files[name].decode().splitlines()
        return [line.partition("=")[2].strip() for line in lines if "_default " in line]

    base = ["org", "example", "Grid", "Test", "Unit 1"]
    assert defaults("globus-host-ssl.conf") == base
    assert defaults("globus-user-ssl.conf") == [*base, "Grid CA (2026)"]


@pytest.mark.parametrize(
    "name",
    [
        "/CN=Alone",
        "/O=Grid/OU=Test",
        "/CN=CA/O=Grid",
        "/O=Grid+OU=Test/CN=CA",
        "/O=Grid/emailAddress=a@b/CN=CA",
        "/O=Gr'id/CN=CA",
        "/O=Grid/CN=C$(id)A",
        "/O=Grid/CN=C`id`A",
        '/O=Grid/CN=C"A',
        "/O=Grid/CN=C\\x5CA",
        "/O=Grid/CN=C#A",
        "/O=Grid/CN=C;A",
        "/O=Gr=id/CN=CA",
        "/O=Grid/CN=C\\x0AA",
        "/O=B\\xC3\\xBCcher/CN=CA",
        "/O=Grid/CN=host/a",
    ],
)
def test_names_that_would_mean_something_else_there(name: str) -> None:
    with pytest.raises(ConfigError):
        CASetup(parse_oneline(name), "ca@example.org")


@pytest.mark.parametrize("email", ["", "ca", "ca@", "@b", "c a@b", "ca@b'; id", "ca@b\n", "a@b@c"])
def test_addresses_that_are_none(email: str) -> None:
    with pytest.raises(ConfigError):
        CASetup(NAME, email)


@pytest.mark.parametrize("directory", ["/a$b", "/a#b", "/a\nb", '/a"b', "/a\\b", "/ü"])
def test_directories_that_openssl_would_read_otherwise(directory: str) -> None:
    with pytest.raises(ConfigError):
        setup_files(CASetup(NAME, "ca@example.org"), directory=directory)


@pytest.mark.parametrize("text", ["/O='", '/O="', "/O=\n"])
def test_policies_that_cannot_be_written(text: str) -> None:
    with pytest.raises(ConfigError):
        make_signing_policy(text, ["/O=Grid/*"])
    with pytest.raises(ConfigError):
        make_signing_policy("/O=Grid/CN=CA", [text])
