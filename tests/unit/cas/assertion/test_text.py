"""The text form of the first CAS."""

from __future__ import annotations

import pytest

from cas.assertion.text import MAX_TEXT_BYTES, TextRight, encode_rights, parse_rights
from cas.assertion.value import Comparison, Right
from gsi.errors import IssuanceError, ParseError
from tests.harness.capabilities import file_right

EXAMPLE = b"""{
OBJECT_NAME_TYPE=wildcard
OBJECT_NAME=ftp://se1.example/runs/2026/list.txt
OBJECT_NAME=ftp://se1.example/runs/raw/*
SERVICE_TYPE=file
SERVICE_ACTION=lookup
SERVICE_ACTION=read
}
\0"""


def test_the_reference() -> None:
    rights = (
        file_right("ftp://se1.example/runs/2026/list.txt", "read", "lookup"),
        file_right("ftp://se1.example/runs/raw/*", "read", "lookup"),
    )
    assert encode_rights(rights) == EXAMPLE
    names = ("ftp://se1.example/runs/2026/list.txt", "ftp://se1.example/runs/raw/*")
    assert parse_rights(EXAMPLE) == (TextRight(Comparison.WILDCARD, names, "file", ("lookup", "read")),)


def test_blanks_do_not_count() -> None:
    text = b"\n  {\r\n OBJECT_NAME = ftp://a \n\n\tSERVICE_TYPE=file\nSERVICE_ACTION=read\n }\n\0"
    assert parse_rights(text) == (TextRight(Comparison.EXACT, ("ftp://a",), "file", ("read",)),)


def test_rights_that_differ_stand_apart() -> None:
    rights = (
        file_right("ftp://h/a", "read"),
        file_right("ftp://h/b", "write"),
        file_right("ftp://h/a", "read", comparison=Comparison.EXACT),
        Right("n", "ftp://h/a", Comparison.WILDCARD, "http", ("read",)),
    )
    found = parse_rights(encode_rights(rights))
    assert [(one.comparison, one.objects, one.service_type, one.actions) for one in found] == [
        (right.comparison, (right.object,), right.service_type, right.actions) for right in rights
    ]


@pytest.mark.parametrize("name", ["", "ü", "a\nb", " a", "a\0"])
def test_not_written(name: str) -> None:
    for right in (file_right(name, "read"), file_right("a", name), Right("n", "a", Comparison.EXACT, name, ("x",))):
        with pytest.raises(IssuanceError):
            encode_rights([right])
    with pytest.raises(IssuanceError):
        encode_rights([])


_RIGHT = b"{\nOBJECT_NAME=a\nSERVICE_TYPE=f\nSERVICE_ACTION=r\n}\n"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", _RIGHT, _RIGHT + b"\0x", _RIGHT + b"\0" + _RIGHT + b"\0", b"{\n" + _RIGHT + b"\0", b"}\n\0",
        b"{\n\0", b"{\n}\n\0", b"OBJECT_NAME=a\n\0", b" " * MAX_TEXT_BYTES + _RIGHT + b"\0",
    ],
)  # fmt: skip
def test_not_read(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_rights(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"=a\n", b"=\n"),
        (b"=a\n", b"=\xff\n"),
        (b"=a\n", b"=a\x07\n"),
        (b"OBJECT_NAME=a\n", b""),
        (b"SERVICE_ACTION=r\n", b""),
        (b"SERVICE_TYPE=f\n", b""),
        (b"SERVICE_TYPE=f\n", b"SERVICE_TYPE=f\nSERVICE_TYPE=g\n"),
        (b"}", b"DENY=x\n}"),
        (b"}", b"word\n}"),
        (b"}", b"OBJECT_NAME_TYPE=regex\n}"),
    ],
)
def test_not_a_right(old: bytes, new: bytes) -> None:
    assert parse_rights(_RIGHT + b"\0")
    with pytest.raises(ParseError):
        parse_rights(_RIGHT.replace(old, new) + b"\0")
