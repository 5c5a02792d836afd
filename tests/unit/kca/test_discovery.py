"""Where the service is looked for, in which order. krb5.conf is libkrb5's to read, through the real environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gsi.errors import ConfigError, TransportError
from kca.discovery import Endpoint, discover, wants_raw_keys
from kca.srv import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

REALM = "EXAMPLE.ORG"


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes krb5.conf: settings of the realm, and of everybody."""
    path = tmp_path / "krb5.conf"
    monkeypatch.setenv("KRB5_CONFIG", str(path))
    monkeypatch.delenv("KCA_HOST_LIST", raising=False)

    def write(realm: str, defaults: str = "") -> None:
        path.write_text(f"[libdefaults]\n{defaults}\n[realms]\n{REALM} = {{\n{realm}\n}}\n")

    write("")
    assert os.environ["KRB5_CONFIG"] == str(path)
    return write


def _nobody(name: str) -> Sequence[Target]:
    raise TransportError(f"no name server for {name}")


def _records(**listed: list[Target]) -> Callable[[str], Sequence[Target]]:
    return lambda name: listed.get(name.split(".")[0].strip("_") + name.split(".")[1], [])


def _places(found: list[Endpoint]) -> list[tuple[str, int, str, str]]:
    return [(one.host, one.port, one.service_host, one.source) for one in found]


def test_named(conf: Callable[..., None]) -> None:
    found = discover(REALM, ["a.example.org", "[::1]:99", "b:1,c"], find=_nobody)
    assert _places(found) == [
        ("a.example.org", 9878, "a.example.org", "given"),
        ("::1", 99, "::1", "given"),
        ("b", 1, "b", "given"),
        ("c", 9878, "c", "given"),
    ]


def test_variable(conf: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCA_HOST_LIST", " kca1  kca2:10 ")
    assert [str(one) for one in discover(REALM, find=_nobody)] == ["kca1:9878", "kca2:10"]


def test_krb5_conf(conf: Callable[..., None]) -> None:
    conf("kca = one.example.org\nkca = two.example.org:1234\nkdc = kdc.example.org")
    assert _places(discover(REALM, find=_nobody)) == [
        ("one.example.org", 9878, "one.example.org", "krb5.conf"),
        ("two.example.org", 1234, "two.example.org", "krb5.conf"),
    ]


def test_dns(conf: Callable[..., None]) -> None:
    """One server of both protocols is one; of one protocol alone it is asked by that one."""
    both, other = Target(0, 0, 9878, "kca.example.org"), Target(0, 0, 99, "other.example.org")
    found = discover(REALM, find=_records(kca_udp=[both], kca_tcp=[both, other]))
    assert [(one.host, one.port, one.udp, one.tcp) for one in found] == [
        ("kca.example.org", 9878, True, True),
        ("other.example.org", 99, False, True),
    ]


def test_kdcs(conf: Callable[..., None]) -> None:
    """At last the KDCs: Heimdal's answer on their own port, and know themselves by their host's name."""
    conf("kdc = kdc1.example.org\nkdc = tcp/kdc2.example.org:89\nkdc = https://proxy.example.org/KdcProxy")
    assert _places(discover(REALM, find=_nobody)) == [
        ("kdc1.example.org", 88, "kdc1.example.org", "KDC"),
        ("kdc2.example.org", 89, "kdc2.example.org", "KDC"),
    ]
    conf("kdc = 192.0.2.1\nkx509_hostname = kca.example.org")
    assert _places(discover(REALM, find=_nobody)) == [("192.0.2.1", 88, "kca.example.org", "KDC")]
    with pytest.raises(ConfigError, match=r"no KX\.509 service"):
        discover(REALM, kdcs=False, find=_nobody)


def test_kdcs_of_dns(conf: Callable[..., None]) -> None:
    found = discover(REALM, find=_records(kerberos_udp=[Target(0, 0, 88, "kdc.example.org")]))
    assert _places(found) == [("kdc.example.org", 88, "kdc.example.org", "KDC")]


def test_no_dns(conf: Callable[..., None]) -> None:
    conf("", "dns_lookup_kdc = false")

    def find(name: str) -> Sequence[Target]:
        raise AssertionError(name)

    with pytest.raises(ConfigError):
        discover(REALM, find=find)


def test_nothing_known(conf: Callable[..., None]) -> None:
    with pytest.raises(ConfigError) as error:
        discover(REALM, find=_nobody)
    assert "no name server" in error.value.message
    assert "KCA_HOST_LIST" in (error.value.hint or "")


@pytest.mark.parametrize("named", [["a b"], ["a:99999"], ["[::1"], [f"h{number}" for number in range(20)]])
def test_no_hosts(conf: Callable[..., None], named: list[str]) -> None:
    with pytest.raises(ConfigError):
        discover(REALM, named, find=_nobody)


def test_old_services(conf: Callable[..., None]) -> None:
    assert not wants_raw_keys(REALM)
    conf("kx509_req_use_raw_spki = true")
    assert wants_raw_keys(REALM)
    conf("kx509_req_use_raw_spki = false")
    assert not wants_raw_keys(REALM)
