"""Which credential and server the MyProxy clients choose from options, variables and files."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gsi.errors import ConfigError, CredentialError, CredentialProblem
from gsi.system.environ import read_locations
from gsi.transport.stream import HostPort, PortRange
from gsi.transport.tls import TLSVersion
from gsi.trust.peername import NameMode
from myproxy.cli.common import choose_username, find_credential, make_key, read_address, require_credential
from myproxy.cli.options import hours
from tests.harness.ca import TestCA
from tests.harness.environment import UserEnvironment


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


@pytest.fixture
def user(tmp_path: Path, ca: TestCA, monkeypatch: pytest.MonkeyPatch) -> UserEnvironment:
    made = UserEnvironment(tmp_path)
    made.install_user(ca.issue("/O=Grid/CN=Long", "p256"))
    made.install_proxy(ca.issue("/O=Grid/CN=Proxy", "p256"))
    for name in ("MYPROXY_SERVER", "MYPROXY_SERVER_PORT", "MYPROXY_SERVER_DN", "MYPROXY_KEYBITS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    return made


def chosen() -> str | None:
    found = find_credential(read_locations())
    return None if found is None else found.subject.rpartition("=")[2]


def test_the_named_certificate_and_key_come_first(user: UserEnvironment) -> None:
    assert chosen() == "Long"


@pytest.mark.parametrize("missing", ["X509_USER_CERT", "X509_USER_KEY"])
def test_one_of_the_two_is_not_enough(user: UserEnvironment, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(missing)
    assert chosen() == "Proxy"


def test_a_proxy_spares_the_pass_phrase(user: UserEnvironment, ca: TestCA) -> None:
    user.install_user(ca.issue("/O=Grid/CN=Long", "p256"), passphrase=b"secret")
    assert chosen() == "Proxy"
    user.proxy_path.unlink()
    with pytest.raises(CredentialError) as caught:  # asks, but there is no terminal
        chosen()
    assert caught.value.problem is CredentialProblem.NEEDS_PASSPHRASE


def test_an_unsafe_credential_is_not_passed_over(user: UserEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X509_USER_CERT")
    user.proxy_path.chmod(0o644)
    with pytest.raises(CredentialError) as caught:
        chosen()
    assert caught.value.problem is CredentialProblem.UNSAFE_FILE


def test_none_at_all(user: UserEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("X509_USER_CERT", "X509_USER_KEY"):
        monkeypatch.delenv(name)
    user.proxy_path.unlink()
    locations = read_locations()._replace(uid=1000)
    assert find_credential(locations) is None
    with pytest.raises(CredentialError) as caught:
        require_credential(locations)
    assert caught.value.problem is CredentialProblem.MISSING


def test_root_may_be_the_host(user: UserEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("X509_USER_CERT", "X509_USER_KEY"):
        monkeypatch.delenv(name)
    user.proxy_path.unlink()
    pair = ((str(user.cert_path), str(user.key_path)),)
    locations = read_locations()._replace(uid=0, host_credentials=pair)
    found = find_credential(locations)
    assert found is not None
    assert found.subject == "/O=Grid/CN=Long"


def test_an_expired_credential_is_refused(user: UserEnvironment, ca: TestCA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X509_USER_CERT")
    now = datetime.now(UTC)
    user.install_proxy(ca.issue("/O=Grid/CN=Old", "p256", not_before=now - timedelta(2), not_after=now - timedelta(1)))
    with pytest.raises(CredentialError) as caught:
        require_credential(read_locations())
    assert caught.value.problem is CredentialProblem.EXPIRED


def test_user_names(user: UserEnvironment) -> None:
    credential = find_credential(read_locations())
    assert choose_username(Namespace(username="bob", dn_as_username=True), credential) == "bob"
    assert choose_username(Namespace(username=None, dn_as_username=True), credential) == "/O=Grid/CN=Long"
    assert choose_username(Namespace(username=None, dn_as_username=False), credential) == "alice"
    with pytest.raises(CredentialError):
        choose_username(Namespace(username=None, dn_as_username=True), None)


def test_the_address_from_options_and_variables(user: UserEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPROXY_SERVER", "a.example,[::1]:1")
    monkeypatch.setenv("MYPROXY_SERVER_PORT", "7000")
    address = read_address(Namespace(pshost=None, psport=None))
    assert address.hosts == (HostPort("a.example", 7000), HostPort("::1", 1))
    assert (address.expected_dn, address.name_mode, address.port_range) == (None, NameMode.STRICT_RFC2818, None)
    monkeypatch.setenv("MYPROXY_SERVER_DN", "/CN=x")
    monkeypatch.setenv("MYPROXY_SOCKET_TIMEOUT", "3")
    monkeypatch.setenv("GLOBUS_TCP_PORT_RANGE", "5000,5001")
    monkeypatch.setenv("GLOBUS_GSSAPI_NAME_COMPATIBILITY", "HYBRID")
    monkeypatch.setenv("GLOBUS_GSSAPI_MAX_TLS_PROTOCOL", "TLS1_2_VERSION")
    address = read_address(Namespace(pshost="b.example", psport="8"))
    assert address.hosts == (HostPort("b.example", 8),)
    assert (address.expected_dn, address.name_mode) == ("/CN=x", NameMode.HYBRID)
    assert (address.port_range, address.connect_timeout) == (PortRange(5000, 5001), 3.0)
    assert (address.minimum_tls, address.maximum_tls) == (TLSVersion.TLS1_2, TLSVersion.TLS1_2)


def test_the_settings_of_the_host(user: UserEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = Namespace(pshost="b.example", psport=None)
    path = tmp_path / "gsi.conf"
    path.write_text("NAME_COMPATIBILITY=HYBRID\nMIN_TLS_PROTOCOL=TLS1_3_VERSION\nMAX_TLS_PROTOCOL=0\n")
    address = read_address(arguments, str(path))
    assert (address.name_mode, address.minimum_tls) == (NameMode.HYBRID, TLSVersion.TLS1_3)
    assert address.maximum_tls is TLSVersion.TLS1_3
    monkeypatch.setenv("GLOBUS_GSSAPI_NAME_COMPATIBILITY", "STRICT_GT2")
    monkeypatch.setenv("GLOBUS_GSSAPI_MIN_TLS_PROTOCOL", "TLS1_2_VERSION")
    address = read_address(arguments, str(path))
    assert (address.name_mode, address.minimum_tls) == (NameMode.STRICT_GT2, TLSVersion.TLS1_2)
    monkeypatch.delenv("GLOBUS_GSSAPI_MIN_TLS_PROTOCOL")
    path.write_text("MIN_TLS_PROTOCOL=TLS1_VERSION_DEPRECATED\n")
    assert read_address(arguments, str(path)).minimum_tls is TLSVersion.TLS1_2
    path.write_text("MAX_TLS_PROTOCOL=TLS1_1_VERSION_DEPRECATED\n")
    with pytest.raises(ConfigError):
        read_address(arguments, str(path))


def test_keys(user: UserEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    from gsi.keys import key_bits

    assert key_bits(make_key(Namespace(key_type="p256")).public_key()) == 256
    monkeypatch.setenv("MYPROXY_KEYBITS", "1024")
    with pytest.raises(CredentialError):
        make_key(Namespace(key_type="rsa"))


def test_hours() -> None:
    assert hours("168") == timedelta(hours=168)
    for text in ("-1", "x", "1.5", "", "999999999"):
        with pytest.raises(ValueError, match="whole number"):
            hours(text)
