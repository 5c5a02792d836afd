"""From user names to names of certificates: map files and programs; directories are asked in the interop tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi import der, names
from gsi.errors import ConfigError, GridError, NotFoundError, ParseError, StorageError
from myproxy.naming import MAX_NAME_BYTES, MapfileNames, ProgramNames, parse_subject
from tests.harness.ca import write_file

# What the C server makes of these names in CA mode, seen with 6.2.14, is T61String for what is not ASCII, IA5String for
# what is ASCII and not printable; the bytes of the values are the same.
ENCODED = [
    ("/O=Grid/CN=Alice", [("O", der.PRINTABLE_STRING, b"Grid"), ("CN", der.PRINTABLE_STRING, b"Alice")]),
    ("/DC=org/CN=x", [("DC", der.IA5_STRING, b"org"), ("CN", der.PRINTABLE_STRING, b"x")]),
    ("/CN=x/emailAddress=a@b.org", [("CN", der.PRINTABLE_STRING, b"x"), ("emailAddress", der.IA5_STRING, b"a@b.org")]),
    ("/C=DE/CN=a@b", [("C", der.PRINTABLE_STRING, b"DE"), ("CN", der.UTF8_STRING, b"a@b")]),
    ("/OU=T_t/CN=J\u00f6rg", [("OU", der.UTF8_STRING, b"T_t"), ("CN", der.UTF8_STRING, "J\u00f6rg".encode())]),
    ("/CN=host/www.example.org", [("CN", der.PRINTABLE_STRING, b"host/www.example.org")]),
    ("/o=Grid/cn=lower/UID=x", [("O", 0x13, b"Grid"), ("CN", 0x13, b"lower"), ("UID", 0x13, b"x")]),
    (r"/CN=a\/b=c", [("CN", der.PRINTABLE_STRING, b"a/b=c")]),
    ("/CN=Alice/", [("CN", der.PRINTABLE_STRING, b"Alice/")]),
    ("/CN=caf\udce9", [("CN", der.T61_STRING, b"caf\xe9")]),
]


@pytest.mark.parametrize(("text", "parts"), ENCODED, ids=[ascii(text) for text, _ in ENCODED])
def test_subjects(text: str, parts: list[tuple[str, int, bytes]]) -> None:
    found = [group[0] for group in names.attributes(parse_subject(text))]
    assert [(names.oneline(der_of(one)).split("=")[0][1:], one.tag, one.content) for one in found] == parts


def der_of(attribute: names.Attribute) -> bytes:
    pair = der.encode_sequence(der.encode_oid(attribute.oid), attribute.raw)
    return names.name_from_rdns([der.encode_set(pair)])


@pytest.mark.parametrize(
    "text",
    ["", "/", "O=Grid", "Alice", "/CN=a/b=c", "/XX=y", "/CN=a/O_X=b", "/CN=" + "x" * MAX_NAME_BYTES, "CN=a,O=b"],
)
def test_names_that_make_no_subject(text: str) -> None:
    with pytest.raises(ParseError):
        parse_subject(text)


@given(st.text(max_size=600))
def test_any_text_is_a_subject_or_a_parse_error(text: str) -> None:
    try:
        assert names.rdns(parse_subject(text))
    except ParseError:
        return


def test_the_first_line_with_the_account_counts(tmp_path: Path) -> None:
    path = tmp_path / "grid-mapfile"
    write_file(
        path,
        b'# people\n"/O=Grid/CN=First" staff,alice\n"/O=Grid/CN=Second" alice\n"/O=Grid/CN=First" bob\n'
        b'"/O=Grid/CN=Third" bob\n',
        0o644,
    )
    known = MapfileNames(str(path))
    assert known.get_name("alice") == "/O=Grid/CN=First"
    assert known.get_name("bob") == "/O=Grid/CN=Third"  # the line before it repeats a name, so it does not count
    for nobody in ("ali", "Alice", "", "*", "mallory"):
        with pytest.raises(NotFoundError):
            known.get_name(nobody)
    write_file(path, b'"/O=Grid/CN=Fourth" alice\n', 0o644)
    os.utime(path, ns=(0, 0))
    assert known.get_name("alice") == "/O=Grid/CN=Fourth"
    path.unlink()
    with pytest.raises(ConfigError):
        known.get_name("alice")


def test_a_map_file_that_others_can_write_is_trouble(tmp_path: Path) -> None:
    path = tmp_path / "grid-mapfile"
    write_file(path, b'"/O=Grid/CN=A" alice\n', 0o666)
    os.chmod(path, 0o666)
    with pytest.raises(ConfigError):
        MapfileNames(str(path)).get_name("alice")


def program(tmp_path: Path, text: str) -> ProgramNames:
    path = tmp_path / "mapapp"
    write_file(path, f"#!/bin/sh\n{text}\n".encode(), 0o755)
    return ProgramNames(str(path))


def test_the_first_line_of_the_program_counts(tmp_path: Path) -> None:
    assert program(tmp_path, 'echo "/O=Grid/CN=$1"; echo more').get_name("alice") == "/O=Grid/CN=alice"
    assert program(tmp_path, 'printf "/O=Grid/CN=%s" "$1"').get_name("a b; c $x") == "/O=Grid/CN=a b; c $x"
    longest = "/CN=" + "x" * (MAX_NAME_BYTES - 4)
    assert program(tmp_path, f"echo {longest}").get_name("alice") == longest


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("exit 1", NotFoundError),
        ("echo /CN=a; exit 3", NotFoundError),
        ("true", StorageError),
        ("echo", StorageError),
        (f"echo /CN={'x' * MAX_NAME_BYTES}", StorageError),
    ],
)
def test_programs_that_name_nobody(tmp_path: Path, text: str, error: type[GridError]) -> None:
    with pytest.raises(error):
        program(tmp_path, text).get_name("alice")
