"""Files of the C server, read and written: names, attributes, blocks in any order, and everything that is broken."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gsi.errors import StorageError
from gsi.pem import split_pem
from myproxy.repository.importing import find_warnings
from myproxy.repository.spool import SpoolEntry, SpoolFault, has_spool, read_spool, stem_of, write_entry
from tests.harness.ca import Issued, TestCA, write_file
from tests.unit.myproxy.repository.support import OWNER, put_files


@pytest.fixture(scope="module")
def authority() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA", "p256")


@pytest.fixture(scope="module")
def alice(authority: TestCA) -> Issued:
    return authority.issue("/O=Grid/CN=Alice", "p256")


def read_one(directory: Path) -> SpoolEntry | SpoolFault:
    (found,) = read_spool(str(directory))
    return found


def fault(directory: Path) -> str:
    found = read_one(directory)
    assert isinstance(found, SpoolFault), found
    return found.reason


@pytest.mark.parametrize(
    ("username", "name", "stem"),
    [
        ("alice", None, "alice"),
        ("alice", "second", "alice-second"),
        (".hidden", None, "-hidden"),
        ("alice", ".x", "alice--x"),
        ("a/b", None, hashlib.md5(b"a/b").hexdigest()),
        ("u" * 80, None, "u" * 80),
        ("u" * 81, "n" * 81, f"{hashlib.md5(b'u' * 81).hexdigest()}-{hashlib.md5(b'n' * 81).hexdigest()}"),
        ("ä" * 41, None, hashlib.md5("ä".encode() * 41).hexdigest()),
        ("../../etc/passwd", None, hashlib.md5(b"../../etc/passwd").hexdigest()),
    ],
)
def test_file_names(username: str, name: str | None, stem: str) -> None:
    assert stem_of(username, name) == stem


def test_everything_that_attributes_say(tmp_path: Path, alice: Issued) -> None:
    data = (
        f"OWNER={OWNER}\nLIFETIME=7200\nNAME=second\nDESCRIPTION=my = desc\nRETRIEVERS=*\nKEYRETRIEVERS=*/CN=k\n"
        "TRUSTED_RETRIEVERS=*/CN=t\nRENEWERS=*/CN=r\nUSERNAME=bob\nEND_OPTIONS\nRUBBISH\n"
    )
    put_files(tmp_path, "bob-second", alice, data)
    write_file(tmp_path / "bob-second.lock", b"ask the help desk\n", 0o600)
    found = read_one(tmp_path)
    assert isinstance(found, SpoolEntry)
    assert (found.username, found.name, found.owner, found.lifetime) == ("bob", "second", OWNER, timedelta(hours=2))
    assert (found.description, found.lock_message) == ("my = desc", "ask the help desk")
    assert (found.retrievers, found.key_retrievers) == ("*", "*/CN=k")
    assert (found.trusted_retrievers, found.renewers) == ("*/CN=t", "*/CN=r")
    assert found.certificates[0].der == alice.chain_der[0]
    assert int(found.stored.timestamp()) == int((tmp_path / "bob-second.creds").stat().st_mtime)


def test_blocks_in_any_order(tmp_path: Path, authority: TestCA, alice: Issued) -> None:
    proxy = alice.proxy()
    blocks = [block.text for block in split_pem(proxy.bundle(), what="test")]
    for number, order in enumerate((blocks, blocks[::-1], [b"some text\n", *blocks])):
        directory = tmp_path / str(number)
        put_files(directory, "alice", proxy, credential=b"".join(order))
        found = read_one(directory)
        assert isinstance(found, SpoolEntry)
        assert [one.der for one in found.certificates] == list(proxy.chain_der)


def test_very_old_attributes(tmp_path: Path, alice: Issued) -> None:
    put_files(tmp_path, "alice-second", alice, f"OWNER={OWNER}\nPASSPHRASE=ablUDMr6t4HK6\nNAME=second\nEND_OPTIONS\n")
    found = read_one(tmp_path)
    assert isinstance(found, SpoolEntry)
    assert (found.username, found.name, found.crypt, found.lifetime) == (
        "alice",
        "second",
        b"ablUDMr6t4HK6",
        timedelta(0),
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "without END_OPTIONS"),
        (f"OWNER={OWNER}\nUSERNAME=alice\n", "without END_OPTIONS"),
        ("USERNAME=alice\nEND_OPTIONS\n", "no OWNER"),
        (f"OWNER={OWNER}\nWHAT=x\nEND_OPTIONS\n", "line 2 of the attributes"),
        (f"OWNER={OWNER}\nrubbish\nEND_OPTIONS\n", "line 2 of the attributes"),
        (f"OWNER={OWNER}\nLIFETIME=1h\nUSERNAME=alice\nEND_OPTIONS\n", "no number of seconds"),
        (f"OWNER={OWNER}\nLIFETIME=-5\nUSERNAME=alice\nEND_OPTIONS\n", "no number of seconds"),
        (f"OWNER={OWNER}\nLIFETIME=99999999999999\nUSERNAME=alice\nEND_OPTIONS\n", "no number of seconds"),
        (f"OWNER={OWNER}\nUSERNAME=bob\nEND_OPTIONS\n", "those of user 'bob', credential None"),
        (f"OWNER={OWNER}\nNAME=x\nUSERNAME=alice\nEND_OPTIONS\n", "credential 'x', which would lie in another file"),
        (f"OWNER={OWNER}\nPASSPHRASE=clear\nUSERNAME=alice\nEND_OPTIONS\n", "no hash of crypt"),
        ("OWNER=\udcff\nUSERNAME=alice\nEND_OPTIONS\n", "OWNER is not UTF-8"),
        ("OWNER=/CN=a\nUSERNAME=j\udcfcrgen\nEND_OPTIONS\n", r"USERNAME is not UTF-8 (j\xfcrgen): "),
        ("OWNER=/CN=a\nUSERNAME=alice\nNAME=\udcfc\nEND_OPTIONS\n", "NAME is not UTF-8"),
        ("OWNER=/CN=a\nUSERNAME=alice\nPASSPHRASE=\udcfc\nEND_OPTIONS\n", "PASSPHRASE is not UTF-8"),
    ],
)
def test_broken_attributes(tmp_path: Path, alice: Issued, data: str, reason: str) -> None:
    put_files(tmp_path, "alice", alice, "")
    (tmp_path / "alice.data").write_bytes(data.encode("utf-8", "surrogateescape"))
    assert reason in fault(tmp_path)


def test_broken_credentials(tmp_path: Path, authority: TestCA, alice: Issued) -> None:
    certificate, key = (block.text for block in split_pem(alice.bundle(), what="test"))
    other = authority.issue("/O=Grid/CN=Bob", "p256")
    cases = {
        b"": "0 certificates and 0 keys",
        bytes(3000): "0 certificates and 0 keys",  # as the C server leaves it when it dies while it destroys
        certificate: "1 certificates and 0 keys",
        key: "0 certificates and 1 keys",
        certificate + key + key: "1 certificates and 2 keys",
        certificate[:-30] + key: "PEM",
        certificate + split_pem(other.bundle(), what="test")[1].text: "not that of the certificate",
        b"x" * (1 << 20) + certificate: "larger than",
    }
    for number, (content, reason) in enumerate(cases.items()):
        put_files(tmp_path / str(number), "alice", alice, credential=content)
        assert reason in fault(tmp_path / str(number)), content[:40]


def test_weak_keys_are_told_before_their_users_find_out(tmp_path: Path) -> None:
    weak = TestCA("/O=Grid/CN=Old CA", "p256").issue("/O=Grid/CN=Alice", rsa.generate_private_key(65537, 1024))
    put_files(tmp_path, "alice", weak)
    assert "1024 bits is too weak" in fault(tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "directory", "link"])
def test_files_that_are_no_files(tmp_path: Path, alice: Issued, kind: str) -> None:
    put_files(tmp_path / "real", "alice", alice)
    put_files(tmp_path / "spool", "alice", alice)
    path = tmp_path / "spool" / "alice.creds"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "real" / "alice.creds")
    reason = fault(tmp_path / "spool")
    assert "regular file" in reason or "cannot be read" in reason


def test_parts_that_are_missing(tmp_path: Path, alice: Issued) -> None:
    put_files(tmp_path, "alice", alice)
    (tmp_path / "alice.creds").unlink()
    assert fault(tmp_path) == "there is alice.data but no alice.creds"
    put_files(tmp_path, "alice", alice)
    (tmp_path / "alice.data").unlink()
    assert fault(tmp_path) == "there is no alice.data"
    (tmp_path / "tmp.XXXXXX").write_text("an upload")
    (tmp_path / "serial").write_text("1F\n")
    assert len(list(read_spool(str(tmp_path)))) == 1


def test_names_that_are_no_text(tmp_path: Path, alice: Issued) -> None:
    put_files(tmp_path, "alice", alice)
    for suffix in ("creds", "data"):
        os.rename(tmp_path / f"alice.{suffix}", os.fsencode(tmp_path) + b"/\xff." + suffix.encode())
    found = read_one(tmp_path)
    assert isinstance(found, SpoolFault)
    assert found.stem == "\\xff"


def test_other_texts_that_are_not_utf8_are_read_as_latin1_and_that_is_said(tmp_path: Path, alice: Issued) -> None:
    lines = b"OWNER=/CN=a\nUSERNAME=alice\nDESCRIPTION=f\xfcr alle\nRETRIEVERS=*\nRENEWERS=caf\xe9\nEND_OPTIONS\n"
    put_files(tmp_path, "alice", alice)
    write_file(tmp_path / "alice.data", lines, 0o600)
    write_file(tmp_path / "alice.lock", b"frag J\xfcrgen", 0o600)
    found = read_one(tmp_path)
    assert isinstance(found, SpoolEntry)
    assert (found.description, found.retrievers, found.renewers) == ("für alle", "*", "café")
    assert found.lock_message == "frag Jürgen"
    assert found.latin1 == ("DESCRIPTION", "RENEWERS", "lock message")
    assert [one.reason for one in find_warnings(found)] == [
        "its DESCRIPTION is not UTF-8 and was read as Latin-1",
        "its RENEWERS is not UTF-8 and was read as Latin-1",
        "its lock message is not UTF-8 and was read as Latin-1",
    ]


def test_is_there_anything(tmp_path: Path, alice: Issued) -> None:
    assert not has_spool(str(tmp_path))
    put_files(tmp_path, "alice", alice)
    assert has_spool(str(tmp_path))
    with pytest.raises(StorageError):
        has_spool(str(tmp_path / "nowhere"))
    with pytest.raises(StorageError):
        list(read_spool(str(tmp_path / "nowhere")))


# Writing ----------------------------------------------------------------------------------------------------------


def entry(alice: Issued, tmp_path: Path, **changes: object) -> SpoolEntry:
    put_files(tmp_path / "pattern", "alice", alice)
    found = read_one(tmp_path / "pattern")
    assert isinstance(found, SpoolEntry)
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]  # field values by name


def test_what_is_written_is_read(tmp_path: Path, alice: Issued) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    wanted = entry(
        alice, tmp_path, username="a/b", name=".c", description="ünïcode", renewers="*", lock_message="closed\nfor now"
    )
    assert write_entry(str(target), wanted, replace=False)
    found = read_one(target)
    assert isinstance(found, SpoolEntry)
    assert found == dataclasses.replace(wanted, stem=found.stem, stored=found.stored, digest=found.digest)
    assert {oct(path.stat().st_mode & 0o777) for path in target.iterdir()} == {"0o600"}
    assert not write_entry(str(target), wanted, replace=False), "the same is left as it is"
    with pytest.raises(StorageError, match="is there already, and is another"):
        write_entry(str(target), dataclasses.replace(wanted, description="other"), replace=False)
    assert write_entry(str(target), dataclasses.replace(wanted, lock_message=None), replace=True)
    unlocked = read_one(target)
    assert isinstance(unlocked, SpoolEntry)
    assert unlocked.lock_message is None


@pytest.mark.parametrize("field", ["username", "name", "owner", "description", "retrievers"])
def test_what_the_c_server_could_not_read_is_not_written(tmp_path: Path, alice: Issued, field: str) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    for text in ("a\nUSERNAME=root", "a\r", "a\0"):
        with pytest.raises(StorageError, match="holds a line end"):
            write_entry(str(target), entry(alice, tmp_path, **{field: text}), replace=False)
    assert list(target.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.binary(max_size=200), credential=st.binary(max_size=200), lock=st.binary(max_size=20))
def test_any_files(tmp_path: Path, alice: Issued, data: bytes, credential: bytes, lock: bytes) -> None:
    put_files(tmp_path, "alice", alice)
    (tmp_path / "alice.data").write_bytes(data)
    (tmp_path / "alice.lock").write_bytes(lock)
    assert isinstance(read_one(tmp_path), SpoolFault)
    put_files(tmp_path, "alice", alice, credential=credential)
    assert isinstance(read_one(tmp_path), SpoolFault)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(username=st.text(min_size=1, max_size=100), name=st.one_of(st.none(), st.text(min_size=1, max_size=100)))
def test_any_names_come_back(tmp_path: Path, alice: Issued, username: str, name: str | None) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700, exist_ok=True)
    for path in target.iterdir():
        path.unlink()
    try:
        write_entry(str(target), entry(alice, tmp_path, username=username, name=name), replace=False)
    except StorageError:
        assert any(character in username + (name or "") for character in "\n\r\0")
        return
    found = read_one(target)
    assert isinstance(found, SpoolEntry), found
    assert (found.username, found.name) == (username, name)
