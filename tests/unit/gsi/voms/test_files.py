"""The grammars of LSC and vomses files, and the directories in which they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi import names
from gsi.certificate import Certificate
from gsi.errors import CredentialError, ParseError
from gsi.system.vomsdir import VOMSDirectory, find_vomses, read_vomses, vomsdir_path, vomses_places
from gsi.voms.lsc import encode_lsc, parse_lsc
from gsi.voms.vomses import VOMSEntry, encode_vomses, parse_vomses
from tests.harness.ca import TestCA, write_file
from tests.harness.voms import HOST, VO, VOMSServer

_LSC = b"/O=Grid/CN=host/voms\n/O=Grid/emailAddress=a@b/CN=CA\n"


def test_lsc() -> None:
    found = parse_lsc(b"# comment\n\n" + _LSC + b"------ NEXT CHAIN ------\n/O=a\n/O=b\n/O=b\n/O=c")
    assert [len(chain) for chain in found.chains] == [1, 2]
    assert names.oneline(found.chains[0][0].subject_der, escaped=False) == "/O=Grid/CN=host/voms"
    assert parse_lsc(encode_lsc(found.chains)) == found
    assert parse_lsc(_LSC.replace(b"emailAddress", b"Email")) == parse_lsc(_LSC)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"# nothing\n", b"/O=a\n", b"/O=a\n/O=b\n/O=c\n", b"O=a\n/O=b\n", b"/O=a\n\xff\n", b"/\n/\n", b"/O=a\nx\n",
        _LSC + b"------ NEXT CHAIN ------\n", b"------ NEXT CHAIN ------\n" + _LSC, b"\n" * 600 + _LSC,
        b"/O=" + b"x" * 70_000,
    ],
)  # fmt: skip
def test_no_lsc(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_lsc(data)


def test_the_directory(tmp_path: Path) -> None:
    server = VOMSServer(TestCA())
    directory = VOMSDirectory(str(tmp_path))
    assert directory.find(VO, HOST) is None
    path = server.write_lsc(tmp_path) / VO / f"{HOST}.lsc"
    found = directory.find(VO, HOST)
    assert found is not None
    assert found.chains[0][0].matches(Certificate.parse(server.credential.der))
    assert directory.find(VO, "other") is None
    assert directory.find("..", VO) is directory.find(VO, "../x") is directory.find("", "") is None
    write_file(path, b"/O=other\n/O=ca\n", 0o644)
    changed = directory.find(VO, HOST)
    assert changed is not None
    assert changed != found
    write_file(path, b"/O=only one\n", 0o644)
    with pytest.raises(ParseError, match="without its issuer"):
        directory.find(VO, HOST)
    path.unlink()
    path.mkdir()
    with pytest.raises(CredentialError):
        directory.find(VO, HOST)


def test_certificates_count_where_there_is_no_lsc_file(tmp_path: Path) -> None:
    server = VOMSServer(TestCA())
    server.write_certificate(tmp_path)
    write_file(tmp_path / VO / "README", b"no certificate", 0o644)
    directory = VOMSDirectory(str(tmp_path))
    found = directory.find(VO, "any.example.org")
    assert found is not None
    assert [one.der for one in found.certificates] == [server.credential.der]
    server.write_lsc(tmp_path)
    found = directory.find(VO, HOST)
    assert found is not None
    assert found.certificates == ()


def test_vomses(tmp_path: Path) -> None:
    text = b'# VOs\n\n "a" "h.example.org" "15000"\t"/O=Grid/CN=h" "vo.a"  "24"\r\n"b" "h" "1" "/O=Grid/CN=h" "vo.b"\n'
    entries = parse_vomses(text)
    assert entries == (
        VOMSEntry("a", "h.example.org", 15000, "/O=Grid/CN=h", "vo.a", "24"),
        VOMSEntry("b", "h", 1, "/O=Grid/CN=h", "vo.b"),
    )
    assert entries[0].place == "h.example.org:15000"
    assert parse_vomses(encode_vomses(entries)) == entries
    write_file(tmp_path / "d" / "one", text, 0o644)
    write_file(tmp_path / "d" / ".hidden", b"rubbish", 0o644)
    assert read_vomses([str(tmp_path / "d"), str(tmp_path / "absent")]) == entries
    assert find_vomses(entries * 2, "a") == find_vomses(entries, "vo.a") == entries[:1]
    assert find_vomses(entries, "c") == ()


@pytest.mark.parametrize(
    "line",
    ['"a" "b" "1" "/O=x"', '"a" "b" "x" "/O=x" "v"', '"a" "b" "0" "/O=x" "v"', 'a b 1 /O=x v', '"a" "b" "1" "x" "v"',
     '"a" "b" "1" "/O=x" "v" "w" "z"', '"" "b" "1" "/O=x" "v"', '"a" "b" "1" "/O=x" "v', '"a" "b\x1b" "1" "/O=x" "v"'],
)  # fmt: skip
def test_no_vomses(line: str) -> None:
    with pytest.raises(ParseError):
        parse_vomses(line.encode())


def test_places() -> None:
    assert vomsdir_path({}) == "/etc/grid-security/vomsdir"
    assert vomsdir_path({"X509_VOMS_DIR": "/x"}) == "/x"
    assert vomses_places({"X509_VOMSES": "/a:/b"}) == ("/a", "/b")
    assert vomses_places({"VOMS_USERCONF": "/a"}) == ("/a",)
    assert vomses_places({"HOME": "/home/a"})[:2] == ("/home/a/.glite/vomses", "/home/a/.voms/vomses")
    with pytest.raises(ParseError):
        encode_vomses((VOMSEntry('a"', "h", 1, "/O=x", "v"),))
