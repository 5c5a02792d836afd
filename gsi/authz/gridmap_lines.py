r"""The grammar of one line of a grid-mapfile: bytes to a name and its accounts; looks nothing up.

    parse_line(b'"/O=Grid/CN=Alice" alice,grid')   # GridmapLine("/O=Grid/CN=Alice", ("alice", "grid"))

Reads what the C parser reads (gct:gsi/gss_assist/source/gridmap.c), with one rule above it: a line that does not
surely mean one name and its accounts gives nobody an account. Where its name can be told, that name maps to nobody, so
that no later line answers for it either; `docs/wire/grid-mapfile.md` has the table, row by row.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from gsi.nametext import MAX_NAME_BYTES, ONELINE_BYTE
from gsi.nametypes import ATTRIBUTE_TYPE

__all__ = ["MAX_LINE_BYTES", "POOL_MARK", "GridmapLine", "ProblemKind", "is_account", "parse_line"]

MAX_LINE_BYTES: Final = 1 << 20  # a name of 32 kB and a hundred thousand accounts; nobody maps one name to more
POOL_MARK: Final = "."
"""What an account field starts with that means any free account of a pool, as in `.atlas`."""

_ACCOUNT_CHARS: Final = rb"A-Za-z0-9_.@+\\~%\x80-\xff"
_ACCOUNT: Final = re.compile(rb"[" + _ACCOUNT_CHARS + rb"][" + _ACCOUNT_CHARS + rb"-]{0,254}\$?")
_QUOTED: Final = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_UNQUOTED: Final = re.compile(rb"[^ \t]+")
_SEPARATORS: Final = re.compile(rb"[, \t]+")
_PIECE: Final = re.compile(rb"([^\\]++)|\\(?:x([0-9A-Fa-f]{2})|(.?))", re.DOTALL)
_PLAIN: Final = re.compile(rb"[ -\[\]-~]*")
_PART: Final = re.compile(ATTRIBUTE_TYPE + "=")
_SHOWN_CHARS: Final = 120  # of a line, in the message about it


class ProblemKind(StrEnum):
    """What is wrong with a line. Values are stable."""

    MALFORMED = "malformed"
    """No name can be read; the line is passed over, as in C."""
    AMBIGUOUS = "ambiguous"
    """The name may not be the one that was meant; it maps to nobody."""
    NO_ACCOUNT = "no-account"
    """No account follows the name; it maps to nobody, as in C."""
    BAD_ACCOUNT = "bad-account"
    """A word that no account is called; it and all words behind it are left out."""
    COMMENT = "comment"
    """Text behind a `#` in the line is left out; the C parser takes its words for accounts."""
    FOREIGN = "foreign"
    """The name is not in one-line form, so no certificate has it."""
    DUPLICATE = "duplicate"
    """An earlier line has the same name and is the one that counts."""


class GridmapLine(NamedTuple):
    """What one line says."""

    dn: str | None
    """The name in one-line form; None when none can be told."""
    accounts: tuple[str, ...]
    """First the default; none when the name maps to nobody."""
    kind: ProblemKind | None = None
    """What is wrong, or None."""
    message: str = ""
    """The same for a person."""


def is_account(text: str) -> bool:
    r"""Tell whether an account field of a grid-mapfile may hold this: a name, or a pool (`.atlas`).

    Wide enough for the names of directory services (`DOM\user`, `user@realm`); no name that a shell, a path or the
    password file would take for something else.
    """
    try:
        return _ACCOUNT.fullmatch(text.encode("utf-8", "surrogateescape")) is not None and text.isprintable()
    except UnicodeEncodeError:
        return False


def parse_line(line: bytes) -> GridmapLine | None:
    """Return what a line says, or None for a blank one and for a comment.

    Args:
        line: The line without its line feed; a carriage return at its end belongs to the line end.

    Returns:
        Never raises: what cannot be read is told in `kind` and `message`.
    """
    if line.endswith(b"\r"):
        line = line[:-1]
    line = line.lstrip(b" \t")
    if not line or line.startswith(b"#"):
        return None
    if len(line) > MAX_LINE_BYTES:
        return _malformed(f"{len(line)} bytes, limit {MAX_LINE_BYTES}")
    quoted = line.startswith(b'"')
    found = (_QUOTED if quoted else _UNQUOTED).match(line)
    if found is None:
        return _malformed(f"the closing quote is missing: {_show(line)}")
    field = found[1] if quoted else found[0]
    if not field:
        return _malformed("the name is empty")
    if len(field) > MAX_NAME_BYTES:
        return _malformed(f"a name of {len(field)} bytes, limit {MAX_NAME_BYTES}")
    dn, doubt = _decode(field)
    accounts, kind, message = _read_accounts(line[found.end() :])
    if not quoted:
        doubt = doubt or _doubt_unquoted(field, line[found.end() :])
    if doubt:
        return GridmapLine(dn, (), ProblemKind.AMBIGUOUS, f"{doubt}; nobody is mapped by it: {_show(line)}")
    if not accounts:
        return GridmapLine(dn, (), kind, f"{message}; the name maps to nobody: {_show(line)}")
    if kind is not None:
        return GridmapLine(dn, accounts, kind, f"{message}: {_show(line)}")
    if not dn.startswith("/"):
        return GridmapLine(
            dn, accounts, ProblemKind.FOREIGN, f"the name does not start with '/', as all do: {_show(line)}"
        )
    return GridmapLine(dn, accounts)


def _malformed(message: str) -> GridmapLine:
    return GridmapLine(None, (), ProblemKind.MALFORMED, message)


def _show(line: bytes) -> str:
    text = line[: _SHOWN_CHARS + 1].decode("utf-8", "backslashreplace")
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _decode(field: bytes) -> tuple[str, str]:
    r"""Return the one-line name that a field stands for, and why it may not be the one meant, or "".

    As in C, a backslash takes the next character as it is, `\xHH` is one byte, and bytes outside printable ASCII come
    out as `\xHH`, as OpenSSL shows them.
    """
    if _PLAIN.fullmatch(field):
        return field.decode("ascii"), ""
    out: list[str] = []
    length, doubt = 0, ""
    marks: list[int] = []
    for found in _PIECE.finditer(field):
        piece = found[1]
        if piece is None:
            escaped = found[3]
            piece = bytes((int(found[2], 16),)) if escaped is None else escaped
            if piece in {b"/", b"+"}:
                marks.append(length)
            elif not piece or (escaped == b"\\" and found.end() == len(field)):
                # C leaves a single one out, and looks for the closing quote behind two of them; \x5C is good
                doubt = "a backslash ends the name"
            elif escaped is not None and escaped.isalnum():
                doubt = f"'\\{escaped.decode()}' is no escape (write '\\\\' for a backslash)"
        shown = "".join([ONELINE_BYTE[byte] for byte in piece])
        out.append(shown)
        length += len(shown)
    text = "".join(out)
    if not doubt and any(_PART.match(text, mark + 1) for mark in marks):
        doubt = "an escaped '/' or '+' begins a part of the name (write '\\\\/' for one within a value)"
    return text, doubt


def _read_accounts(rest: bytes) -> tuple[tuple[str, ...], ProblemKind | None, str]:
    """Return the accounts behind a name, and what is wrong with the words there."""
    rest = rest.strip(b" \t")
    if rest.startswith(b","):
        return (), ProblemKind.BAD_ACCOUNT, "an empty account"  # C maps to it
    accounts: list[str] = []
    kind: ProblemKind | None = None
    message = ""
    for word in _SEPARATORS.split(rest):
        if not word:
            continue
        if word.startswith(b"#"):
            kind, message = ProblemKind.COMMENT, "'#' within a line is left out with all that follows"
            break
        text = word.decode("utf-8", "replace")
        if not _ACCOUNT.fullmatch(word) or not text.isprintable() or "\ufffd" in text:
            kind, message = ProblemKind.BAD_ACCOUNT, f"{_show(word)!r} is no account; left out with all that follows"
            break
        accounts.append(text)
    if not accounts and kind is not ProblemKind.BAD_ACCOUNT:
        kind, message = ProblemKind.NO_ACCOUNT, "no account"
    return tuple(accounts), kind, message


def _doubt_unquoted(field: bytes, rest: bytes) -> str:
    """Tell why a name without quotes may not be the one meant, or ""."""
    if b'"' in field:
        return "a quote within a name that does not begin with one"
    words = rest.split(b"#", 1)[0].split()
    if len(words) > 1:
        return "a name without quotes ends at its first blank, and more than one word follows (put it in quotes)"
    return ""
