"""`gsi.ldap` with a real slapd: TLS in both ways, binds, searches, servers that are silent or somebody else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsi.errors import (
    AuthenticationError,
    ConfigError,
    ConflictError,
    ParseError,
    RefusedError,
    TimeoutExpiredError,
    TransportError,
)
from gsi.ldap import LDAPPlace, connect, equals, escape_dn
from gsi.secret import Passphrase
from tests.harness.ca import TestCA
from tests.harness.slapd import BASE, PEOPLE, READER, READER_PASSWORD, Directory, person, slapd

ODD = "a*b(c)d\\e"
COMMA = "Smith, J+R #1"
PERSONS = [
    person("alice", password="wonderland", mail="alice@example.org", description="/O=Grid/CN=Alice Ä"),
    person("alicia", password="other"),
    person("axb(c)dxe"),
    person("twin"),
    person("twin", base=f"ou=more,{PEOPLE}"),
    person("raw", userPKCS12="none"),
]
MORE = f"dn: ou=more,{PEOPLE}\nobjectClass: organizationalUnit\nou: more\n"
STRANGE = f"dn: cn={escape_dn(COMMA)},{PEOPLE}\nobjectClass: person\ncn: {COMMA}\nsn: S\nuserPassword: strange\n"


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Directory CA")


@pytest.fixture(scope="module")
def server(ca: TestCA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    with slapd(ca, tmp_path_factory.mktemp("slapd") / "one", [MORE, STRANGE, *PERSONS]) as running:
        yield running


def plain(server: Directory) -> LDAPPlace:
    return LDAPPlace(uris=(server.ldap_uri,), seconds=5)


PLACES = ["plain", "start_tls", "ldaps", "ldapi"]


def place(server: Directory, how: str) -> LDAPPlace:
    if how == "plain":
        return plain(server)
    if how == "ldapi":
        return LDAPPlace(uris=(server.ldapi_uri,), seconds=5)
    uri = server.ldaps_uri if how == "ldaps" else server.ldap_uri
    return LDAPPlace(uris=(uri,), start_tls=how == "start_tls", ca_file=str(server.ca_path), seconds=5)


@pytest.mark.parametrize("how", PLACES)
def test_search_and_bind(server: Directory, how: str) -> None:
    with connect(place(server, how)) as directory:
        entry = directory.find_entry(PEOPLE, equals("uid", "alice"), ("mail", "Description"))
        assert entry is not None
        assert entry.dn == f"uid=alice,{PEOPLE}"
        assert entry.values("MAIL") == ("alice@example.org",)
        assert entry.values("description") == ("/O=Grid/CN=Alice Ä",)
        assert entry.values("cn") == ()
        directory.bind(entry.dn, Passphrase("wonderland"))
        with pytest.raises(AuthenticationError, match="does not accept the password"):
            directory.bind(entry.dn, Passphrase("looking glass"))
        directory.close()


def test_no_attributes_are_brought_unasked(server: Directory) -> None:
    with connect(plain(server)) as directory:
        entry = directory.find_entry(BASE, equals("uid", "alice"))
        assert entry is not None
        assert entry.attributes == {}


@pytest.mark.parametrize("name", ["nobody", "ali*", "*", "alice)(uid=*", ODD, "", "alice\0"])
def test_what_a_stranger_types_is_a_value_and_no_filter(server: Directory, name: str) -> None:
    with connect(plain(server)) as directory:
        assert directory.find_entry(PEOPLE, equals("uid", name)) is None


def test_a_name_with_special_characters_binds(server: Directory) -> None:
    with connect(plain(server)) as directory:
        directory.bind(f"cn={escape_dn(COMMA)},{PEOPLE}", Passphrase("strange"))


def test_several_entries_are_no_answer(server: Directory) -> None:
    with connect(plain(server)) as directory:
        with pytest.raises(ConflictError, match="several"):
            directory.find_entry(PEOPLE, equals("uid", "twin"))
        with pytest.raises(ConflictError, match="several"):
            directory.find_entry(PEOPLE, "(objectClass=*)")


def test_an_empty_password_is_not_even_asked_about(server: Directory) -> None:
    with connect(plain(server)) as directory:
        for dn, secret in ((f"uid=alice,{PEOPLE}", ""), ("", "wonderland"), ("uid=\0", "wonderland")):
            with pytest.raises(AuthenticationError, match="a name and a password"):
                directory.bind(dn, Passphrase(secret))


@pytest.mark.parametrize("dn", ["uid=nobody,ou=people,dc=example,dc=org", "not a name", "dc=elsewhere"])
def test_whoever_is_not_there_does_not_bind(server: Directory, dn: str) -> None:
    with connect(plain(server)) as directory, pytest.raises(AuthenticationError, match="does not accept"):
        directory.bind(dn, Passphrase("wonderland"))


def test_refusals_of_the_server(server: Directory) -> None:
    with connect(plain(server)) as directory:
        with pytest.raises(RefusedError, match="may not be searched"):
            directory.find_entry("ou=nowhere," + BASE, equals("uid", "alice"))
        with pytest.raises(RefusedError, match="filter"):
            directory.find_entry(PEOPLE, "(uid=")


def test_the_reader_alone_may_read_and_binds_over_tls_alone(ca: TestCA, tmp_path: Path) -> None:
    with slapd(ca, tmp_path / "closed", PERSONS[:1], anonymous=False, confidential=True) as server:
        with connect(place(server, "start_tls")) as directory:
            with pytest.raises(RefusedError, match="Insufficient access"):
                directory.find_entry(PEOPLE, equals("uid", "alice"))
            directory.bind(READER, Passphrase(READER_PASSWORD))
            assert directory.find_entry(PEOPLE, equals("uid", "alice")) is not None
        with connect(plain(server)) as directory, pytest.raises(RefusedError) as caught:
            directory.bind(READER, Passphrase(READER_PASSWORD))
        assert caught.value.hint == "use ldaps:// or StartTLS"


@pytest.mark.parametrize("how", ["start_tls", "ldaps"])
def test_a_server_must_prove_its_name(server: Directory, tmp_path: Path, how: str) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(TestCA("/O=Grid/CN=Another CA").pem)
    other_ca = LDAPPlace(uris=place(server, how).uris, start_tls=how == "start_tls", ca_file=str(stranger), seconds=5)
    uri = place(server, how).uris[0].replace("localhost", "127.1")
    other_name = LDAPPlace(uris=(uri,), start_tls=how == "start_tls", ca_file=str(server.ca_path), seconds=5)
    no_ca = LDAPPlace(uris=place(server, how).uris, start_tls=how == "start_tls", seconds=5)
    for wrong in (other_ca, other_name, no_ca):
        with pytest.raises(TransportError), connect(wrong) as directory:
            directory.find_entry(PEOPLE, equals("uid", "alice"))


def test_a_ca_file_that_cannot_be_used(server: Directory, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        connect(LDAPPlace(uris=(server.ldaps_uri,), ca_file=str(tmp_path / "missing.pem"), seconds=5))


def test_the_next_server_is_asked_when_the_first_is_gone(server: Directory) -> None:
    gone = "ldap://127.0.0.1:1"
    with connect(LDAPPlace(uris=(gone, server.ldap_uri), seconds=5)) as directory:
        assert directory.find_entry(PEOPLE, equals("uid", "alice")) is not None
    for start_tls in (False, True):
        with pytest.raises(TransportError, match="refused"):
            connect(LDAPPlace(uris=(gone,), start_tls=start_tls, seconds=5))


@pytest.mark.parametrize("how", PLACES[:3])
def test_a_server_that_says_nothing(how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        scheme = "ldaps" if how == "ldaps" else "ldap"
        quiet = LDAPPlace(uris=(f"{scheme}://127.0.0.1:{port}",), start_tls=how == "start_tls", seconds=0.3)
        with pytest.raises(TransportError) as caught, connect(quiet) as directory:
            directory.bind(READER, Passphrase(READER_PASSWORD))
        assert isinstance(caught.value, TimeoutExpiredError)


def test_values_that_are_not_text(server: Directory) -> None:
    with connect(plain(server)) as directory:
        directory.bind(f"uid=alice,{PEOPLE}", Passphrase("wonderland"))
        entry = directory.find_entry(PEOPLE, equals("uid", "raw"), ("userPKCS12",))
    assert entry is not None
    bad = type(entry)(entry.dn, {"mail": (b"\xff",)})
    with pytest.raises(ParseError, match="not text"):
        bad.values("mail")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.0 400 Bad\r\n",
        bytes.fromhex("300c02010178070a013504000400"),  # unwilling to perform
        bytes.fromhex("300c02010278070a010004000400"),  # an answer to something else
        bytes.fromhex("3084ffffffff"),
        bytes.fromhex("300302010a"),
    ],
    ids=["silence", "another protocol", "refused", "another answer", "endless", "cut"],
)
def test_starttls_with_a_server_that_does_not_do_it(answer: bytes) -> None:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            with pytest.raises((TransportError, RefusedError)):
                connect(LDAPPlace(uris=(f"ldap://127.0.0.1:{listener.getsockname()[1]}",), start_tls=True, seconds=5))
        finally:
            thread.join()


def test_a_closed_connection_answers_nothing(server: Directory) -> None:
    directory = connect(place(server, "ldaps"))
    directory.close()
    with pytest.raises(TransportError, match="closed"):
        directory.find_entry(PEOPLE, equals("uid", "alice"))


def test_no_thread_stays_behind(server: Directory) -> None:
    with connect(place(server, "ldaps")) as directory:
        assert directory.find_entry(PEOPLE, equals("uid", "alice")) is not None
        (relay,) = [thread for thread in threading.enumerate() if thread.name == "ldap-tls"]
    relay.join(10)
    assert not relay.is_alive()


def test_several_entries_to_a_limit(server: Directory) -> None:
    with connect(plain(server)) as directory:
        twins = directory.find_entries(BASE, equals("uid", "twin"), ("uid",), limit=2)
        assert [entry.values("uid") for entry in twins] == [("twin",), ("twin",)]
        assert directory.find_entries(BASE, equals("uid", "nobody"), limit=2) == ()
        with pytest.raises(ConflictError, match="more than 1"):
            directory.find_entries(BASE, equals("uid", "twin"), limit=1)
        with pytest.raises(RefusedError, match="may not be searched"):
            directory.find_entries("ou=nowhere," + BASE, equals("uid", "twin"), limit=1)
