"""Where pass phrases come from: files, descriptors and standard input, and never the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gsi.cli.secret_source import SecretSource, parse_secret_source, read_new_secret, read_secret
from gsi.errors import CredentialError, CredentialProblem

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("stdin", SecretSource("stdin")),
        ("file:/a:b", SecretSource("file", "/a:b")),
        ("fd:0", SecretSource("fd", "0")),
        ("fd:17", SecretSource("fd", "17")),
    ],
)
def test_what_is_taken(text: str, source: SecretSource) -> None:
    assert parse_secret_source(text) == source
    assert str(source) == text


@pytest.mark.parametrize(
    "text", ["", "pass:hunter2", "env:HUNTER2", "hunter2", "file:", "fd:", "fd:x", "fd:-1", "fd:1234567", "fd:\u0661"]
)
def test_what_is_refused_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="file:PATH, fd:NUMBER or stdin") as caught:
        parse_secret_source(text)
    assert "hunter2" not in str(caught.value).lower()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize(
    ("content", "line", "secret"),
    [
        (b"one", 1, b"one"),
        (b"one\n", 1, b"one"),
        (b"one\r\ntwo\r\n", 2, b"two"),
        (b"one\ntwo", 2, b"two"),
        (b"\ntwo\n", 1, b""),
        (b"\xff\xfe\n", 1, b"\xff\xfe"),
    ],
)
def test_a_line_of_a_file(file: Path, content: bytes, line: int, secret: bytes) -> None:
    file.write_bytes(content)
    assert read_secret(SecretSource("file", str(file)), "", option="-passin", line=line).reveal() == secret


@pytest.mark.parametrize(
    ("content", "line", "mode", "problem"),
    [
        (b"one\n", 2, 0o600, CredentialProblem.NEEDS_PASSPHRASE),
        (b"one\n", 3, 0o600, CredentialProblem.NEEDS_PASSPHRASE),
        (b"", 1, 0o600, CredentialProblem.MISSING),
        (b"one\n", 1, 0o644, CredentialProblem.UNSAFE_FILE),
        (b"x" * 1025, 1, 0o600, CredentialProblem.WRONG_PASSPHRASE),
        (b"x\n" * 9000, 1, 0o600, CredentialProblem.WRONG_PASSPHRASE),
    ],
)
def test_a_file_that_will_not_do(file: Path, content: bytes, line: int, mode: int, problem: CredentialProblem) -> None:
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(CredentialError) as caught:
        read_secret(SecretSource("file", str(file)), "", option="-passin", line=line)
    assert caught.value.problem is problem


def test_a_descriptor_gives_its_next_line() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"old\nnew\n")
    os.close(writing)
    source = SecretSource("fd", str(reading))
    try:
        assert read_secret(source, "", option="-passin").reveal() == b"old"
        assert read_new_secret(source, "", option="-passout").reveal() == b"new"
        with pytest.raises(CredentialError, match="ended before"):
            read_secret(source, "", option="-passin")
    finally:
        os.close(reading)
    with pytest.raises(CredentialError, match="file descriptor"):
        read_secret(source, "", option="-passin")


def test_a_short_new_one_is_refused(file: Path) -> None:
    file.write_bytes(b"abc\n")
    source = SecretSource("file", str(file))
    with pytest.raises(CredentialError, match="shorter than 4"):
        read_new_secret(source, "", option="-passout", minimum=4)
    assert read_new_secret(source, "", option="-passout", minimum=3).reveal() == b"abc"


def test_without_a_terminal_the_hint_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gsi.cli.prompt.TERMINAL", "/nonexistent/tty")
    for read in (read_secret, read_new_secret):
        with pytest.raises(CredentialError, match="no terminal") as caught:
            read(None, "", option="-passout")
        assert caught.value.hint == "give it with -passout file:PATH, fd:NUMBER or stdin"
