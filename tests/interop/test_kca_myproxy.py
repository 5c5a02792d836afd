"""One password, one ticket: a certificate of the Kerberos authority, and a credential out of a MyProxy repository."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.harness.kca_server import kca_server
from tests.harness.kdc import mit_kdc
from tests.harness.logins import sasl_site
from tests.interop.conftest import Grid
from tests.interop.test_myproxy_logins import RECEIVED, Person, serving

AS_ISSUE = re.compile(r"AS_REQ .* ISSUE: .* alice@")


@pytest.mark.parametrize("family", ["C", "ours"])
def test_the_same_ticket_for_both(tmp_path: Path, grid: Grid, family: str) -> None:
    """SASL GSSAPI with the cache that kx509 has asked by, and has put its certificate into, with servers and clients of
    both kinds."""
    host = socket.gethostname()  # what both clients call a server on the loopback interface
    services = ["kca_service/localhost", f"myproxy/{host}"]
    with mit_kdc(tmp_path, users={"alice": "krb-words", "bob": "bob-words"}, services=services) as realm:
        site = sasl_site(tmp_path, {}, mechanisms="GSSAPI")
        variables = site.variables | realm.variables | {"KRB5_KTNAME": f"FILE:{realm.keytab}"}
        with (
            kca_server(tmp_path, realm, workers=1) as kca,
            serving(family, tmp_path / "server", grid, "sasl sufficient\n", variables) as server,
        ):
            alice = realm.login("alice", "krb-words")
            for number, client in enumerate(("C", "ours")):
                place = tmp_path / str(number)
                place.mkdir()
                person = Person(place, grid, server, realm.variables | alice)
                kca.ours("kx509", "-key-type", "rsa", env=alice).check()
                assert RECEIVED in person.logon(client, "-n").check().stdout
                assert b"PRIVATE KEY" in person.received.read_bytes()
                assert "/O=Grid/OU=Test/CN=alice" in kca.ours("kxlist", env=alice).check().stdout
            kca.ours("kx509", "-proxy", "-out", tmp_path / "proxy.pem", env=alice).check()
            bob = realm.login("bob", "bob-words")
            kca.ours("kx509", "-no-cache", "-o", "-", env=bob).check()
            (tmp_path / "bob").mkdir()
            assert Person(tmp_path / "bob", grid, server, realm.variables | bob).logon("ours", "-n").returncode == 1
        told = (realm.directory / "kdc.log").read_text()
        assert len(AS_ISSUE.findall(told)) == 1
        assert [one["peer"] for one in kca.records()] == [f"alice@{realm.name}"] * 3 + [f"bob@{realm.name}"]
