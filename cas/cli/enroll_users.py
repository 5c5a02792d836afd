"""The command `cas-enroll-users`: enrol all users of a file, some thousand at a time; GT had none for many.

The file is looked at as a whole before anything is sent. The server takes each part of it in one transaction and keeps
with it how far the file is done, by its SHA-256; so the same command goes on where it was ended, however that was.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.common import add_service_options, load_credential, make_client, read_named
from gsi.cli.arguments import CommandParser, Completion
from gsi.cli.run import EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.client import CASClient
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "cas-enroll-users"
PATH: Final = "/cas/v1/enrol-users"

MAX_FILE_BYTES: Final = 256 << 20
"""The longest file: two million users."""

MAX_LINES: Final = 2000
"""Lines in one request, as many as the server takes."""

MAX_BODY_BYTES: Final = 200_000
"""Of one request: servers take 262,144 unless they say otherwise, and then it is halved."""

SHOWN: Final = 100
"""Faults that are shown one by one."""

_TOO_LONG: Final = 413
_TENTHS: Final = 10


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "enrol the users of a file in a community")
    what = parser.section("What to do")
    what.flag("-check", text="look at the file and send nothing")
    what.value("-reason", metavar="TEXT", default="", text="why, for the history")
    what.flag("-q", dest="quiet", text="do not say how far it is")
    add_service_options(parser.section("Which server"))
    parser.operand(
        "GROUP",
        dest="group",
        required=True,
        completion=Completion.NOTHING,
        text="the user group that gets grantAll on each user",
    )
    parser.operand(
        "FILE",
        dest="file",
        required=True,
        text="the file: NICKNAME, SUBJECT, TRUSTANCHOR and perhaps GROUP,GROUP in a line, with tabs between",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv)


def _execute(arguments: Namespace) -> int:
    import hashlib

    from gsi.errors import ConfigError

    path = arguments.file
    data = read_named(path, max_bytes=MAX_FILE_BYTES)
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    faults, users = _look(lines)
    if faults:
        _show(path, faults)
        raise ConfigError(f"{len(faults)} of {len(lines)} lines cannot be read; nobody was enrolled", path=path)
    if arguments.check:
        sys.stdout.write(f"{users} users in {len(lines)} lines\n")
        return EXIT_OK
    client = make_client(arguments, load_credential(arguments))
    texts = [line.decode("utf-8") for line in lines]
    sending = _Sending(client, arguments.group, hashlib.sha256(data).hexdigest(), arguments.reason, texts)
    enrolled = sending.send_all(_Progress(len(texts), active=not arguments.quiet), path)
    sys.stdout.write(f"{enrolled} users enrolled; {len(texts)} lines are done\n")
    return EXIT_OK


def _look(lines: Sequence[bytes]) -> tuple[list[tuple[int, str]], int]:
    """Return what is wrong with which lines, and how many users there are."""
    from cas.policy.userfile import parse_line
    from gsi.errors import ParseError

    faults: list[tuple[int, str]] = []
    users = 0
    for number, raw in enumerate(lines, start=1):
        try:
            users += parse_line(number, raw.decode("utf-8")).user is not None
        except UnicodeDecodeError:
            faults.append((number, "not UTF-8"))
        except ParseError as error:
            faults.append((number, error.message.removeprefix(f"line {number}: ")))
    return faults, users


def _show(path: str, faults: Sequence[tuple[int, str]]) -> None:
    for number, reason in faults[:SHOWN]:
        sys.stderr.write(f"{printable(path)}:{number}: {printable(reason)}\n")
    if len(faults) > SHOWN:
        sys.stderr.write(f"... and {len(faults) - SHOWN} lines more\n")


class _Sending:
    """The file on its way."""

    def __init__(self, client: CASClient, group: str, digest: str, reason: str, lines: Sequence[str]) -> None:
        self._client = client
        self._common = {"owner": group, "file": digest, "reason": reason}
        self._lines = lines
        self._limit = MAX_BODY_BYTES

    def send_all(self, progress: _Progress, path: str) -> int:
        """Send what is not done; return how many users are new.

        Raises:
            GridError: The server cannot be asked, or refuses.
        """
        from gsi.errors import ConflictError

        done = _read(self._client.call("POST", PATH, self._common)).done
        progress.begin(done)
        enrolled = 0
        while done < len(self._lines):
            answer = self._send(done)
            if answer.refused:
                progress.end()
                _show(path, answer.refused)
                raise ConflictError(
                    f"{printable(path)}: the lines to {done} are done, those behind are not",
                    hint="mend the file and call again; who is enrolled already is passed over",
                )
            done = answer.done
            enrolled += answer.enrolled
            progress.show(done)
        progress.end()
        return enrolled

    def _send(self, done: int) -> _Answer:
        from cas.client import CASRefusedError

        while True:
            part = self._part(done)
            try:
                answer = _read(self._client.call("POST", PATH, {**self._common, "first": done + 1, "lines": part}))
            except CASRefusedError as error:
                if error.status != _TOO_LONG or len(part) == 1:
                    raise
                self._limit //= 2
                continue
            if not answer.refused and not done < answer.done <= len(self._lines):
                raise _odd()
            return answer

    def _part(self, done: int) -> list[str]:
        """Return the lines of the next request, at least one."""
        import json

        part: list[str] = []
        size = 0
        for line in self._lines[done : done + MAX_LINES]:
            size += len(json.dumps(line)) + 2
            if part and size > self._limit:
                break
            part.append(line)
        return part


class _Answer:
    """What the server says."""

    __slots__ = ("done", "enrolled", "refused")

    def __init__(self, done: int, enrolled: int, refused: Sequence[tuple[int, str]]) -> None:
        self.done = done
        self.enrolled = enrolled
        self.refused = refused


def _read(answer: dict[str, object]) -> _Answer:
    done, enrolled, refused = (answer.get(name) for name in ("done", "enrolled", "refused"))
    if type(done) is not int or type(enrolled) is not int or not isinstance(refused, list) or done < 0:
        raise _odd()
    found: list[tuple[int, str]] = []
    for pair in refused:
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) is not int or not isinstance(pair[1], str):
            raise _odd()
        found.append((pair[0], pair[1]))
    return _Answer(done, enrolled, found)


def _odd() -> Exception:
    from gsi.errors import RemoteProtocolError

    return RemoteProtocolError("the answer of the server says nothing about the lines")


class _Progress:
    """How far it is, on standard error: a line that is written over, or where that is no terminal, ten."""

    def __init__(self, total: int, *, active: bool) -> None:
        self._total = total
        self._active = active
        self._is_terminal = active and sys.stderr.isatty()
        self._shown = 0

    def begin(self, done: int) -> None:
        """Say where it goes on."""
        if self._active and done:
            sys.stderr.write(f"{PROG}: {done} lines are done already\n")
        self._shown = done

    def show(self, done: int) -> None:
        """Say how far it is."""
        if not self._active:
            return
        if self._is_terminal:
            sys.stderr.write(f"\r{done} of {self._total} lines")
        elif done * _TENTHS // self._total > self._shown * _TENTHS // self._total:
            sys.stderr.write(f"{PROG}: {done} of {self._total} lines\n")
        sys.stderr.flush()
        self._shown = done

    def end(self) -> None:
        """Leave the line."""
        if self._is_terminal and self._shown:
            sys.stderr.write("\n")


if __name__ == "__main__":
    sys.exit(main())
