"""Adding to and taking from a grid-mapfile, bytes to bytes: comments, order and all other lines stay; pure.

    edit = add_accounts(data, "/O=Grid/CN=Alice", ("alice", "grid"))
    edit.data, edit.added, edit.present
    edit = remove_accounts(data, dn="/O=Grid/CN=Alice", accounts=())

Names are found as the lookup finds them (`gsi.authz.gridmap`), not letter by letter as the scripts of
gct:gsi/gss_assist/source/programs do, which leave a line that differs in letter case in force. `gridmap_file` writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gsi.authz.gridmap import parse_gridmap
from gsi.authz.gridmap_lines import GridmapLine, ProblemKind, is_account, parse_line
from gsi.errors import ConflictError, ParseError
from gsi.nametext import canonical_oneline, escape_oneline, quote_gridmap

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Addition", "Removal", "add_accounts", "remove_accounts"]


class Addition(NamedTuple):
    """A file with accounts added to a name."""

    data: bytes
    """The whole file."""
    entry: str
    """The line as it stands now."""
    is_new: bool
    """Whether the name had no line before."""
    added: tuple[str, ...]
    present: tuple[str, ...]
    """Those asked for that were there already."""


class Removal(NamedTuple):
    """A file with mappings taken out."""

    data: bytes
    """The whole file."""
    removed: int
    """Mappings, one per name and account, that are gone."""
    ignored: int
    """Lines of the name that held none of the accounts."""
    changed: tuple[str, ...]
    """The lines that stay with fewer accounts."""
    deleted: tuple[str, ...]
    """The lines that are gone."""
    revealed: tuple[str, ...]
    """Names with accounts that they had not before: of a later line, which counts now that an earlier one is gone."""


def add_accounts(data: bytes, dn: str, accounts: Sequence[str]) -> Addition:
    """Add accounts to a name's line, or a line at the end for a name that has none.

    Args:
        data: The file.
        dn: The name in one-line form, as services see it or with its letters beyond ASCII as they are.
        accounts: At least one; the first becomes the default of a new line.

    Raises:
        ParseError: The name is not in one-line form, or an account's name could not be read again.
        ConflictError: The line of this name does not mean what it seems to, and a person should look at it.
    """
    dn = _check(dn, accounts)
    lines = data.split(b"\n")
    key = canonical_oneline(dn)
    for number, text in enumerate(lines):
        line = parse_line(text)
        if line is None or line.dn is None or canonical_oneline(line.dn) != key:
            continue
        if line.kind not in {None, ProblemKind.NO_ACCOUNT} or (line.kind and not text.strip().endswith(b'"')):
            raise ConflictError(
                f"line {number + 1}: {line.message}", hint="correct this line with an editor, then try again"
            )
        wanted = tuple(dict.fromkeys(accounts))
        added = tuple(account for account in wanted if account not in line.accounts)
        present = tuple(account for account in wanted if account in line.accounts)
        if added:
            lines[number] = _with_accounts(text, (*line.accounts, *added))
        return Addition(b"\n".join(lines), _shown(lines[number]), is_new=False, added=added, present=present)
    entry = f"{quote_gridmap(dn)} {','.join(dict.fromkeys(accounts))}"
    written = parse_line(_bytes(entry))
    if written is None or written.kind is not None or canonical_oneline(written.dn or "") != key:
        raise ParseError(f"'{dn}' cannot be written in a grid-mapfile", what="grid-mapfile name")
    end = b"" if not data or data.endswith(b"\n") else b"\n"
    data = b"".join((data, end, entry.encode("utf-8", "surrogateescape"), b"\n"))
    return Addition(data, entry, is_new=True, added=tuple(dict.fromkeys(accounts)), present=())


def remove_accounts(data: bytes, *, dn: str | None = None, accounts: Sequence[str] = ()) -> Removal:
    """Take mappings out: accounts of a name, all of a name, or accounts wherever they are.

    Every line of the name is changed, also those that do not count, so that none of them steps in for what is taken
    out. A line that is left without an account goes. Lines that do not mean what they seem to are only touched to
    delete their name as a whole.

    Args:
        data: The file.
        dn: The name in one-line form, as for `add_accounts`; None means every name.
        accounts: What to take out; none means all accounts of the name.

    Raises:
        ParseError: Neither a name nor an account is given, or the name is not in one-line form.
    """
    if dn is None and not accounts:
        raise ParseError("neither a name nor an account to remove", what="grid-mapfile")
    if dn is not None:
        dn = _check(dn, ())
    key = None if dn is None else canonical_oneline(dn)
    kept: list[bytes] = []
    removed = ignored = 0
    changed: list[str] = []
    deleted: list[str] = []
    for text in data.split(b"\n"):
        line = parse_line(text)
        if line is None or line.dn is None or (key is not None and canonical_oneline(line.dn) != key):
            kept.append(text)
            continue
        left = _left(line, accounts)
        if left is None:
            ignored += key is not None
            kept.append(text)
        elif left:
            removed += len(line.accounts) - len(left)
            kept.append(_with_accounts(text, left))
            changed.append(_shown(kept[-1]))
        else:
            removed += len(line.accounts) or 1
            deleted.append(_shown(text))
    found = b"\n".join(kept)
    return Removal(found, removed, ignored, tuple(changed), tuple(deleted), _find_revealed(data, found, deleted))


def _check(dn: str, accounts: Sequence[str]) -> str:
    """Return the name as services see it."""
    dn = escape_oneline(dn)
    if not dn.startswith("/") or "=" not in dn or not dn.isprintable():
        raise ParseError(
            f"'{dn}' is no name in one-line form",
            what="grid-mapfile name",
            hint="write it as grid-proxy-info -identity prints it: /O=Grid/CN=Alice",
        )
    for account in accounts:
        if not is_account(account):
            raise ParseError(f"'{account}' cannot be an account in a grid-mapfile", what="grid-mapfile account")
    return dn


def _left(line: GridmapLine, accounts: Sequence[str]) -> tuple[str, ...] | None:
    """Return the accounts that stay; None when nothing is to be done."""
    if not accounts:
        return ()
    left = tuple(account for account in line.accounts if account not in accounts)
    if len(left) == len(line.accounts) or (left and line.kind not in {None, ProblemKind.FOREIGN}):
        return None
    return left


def _with_accounts(text: bytes, accounts: Sequence[str]) -> bytes:
    """Return a line with other accounts, its name and its line end as they were."""
    body = text.removesuffix(b"\r")
    start = len(body) - len(body.lstrip(b" \t"))
    if body.startswith(b'"', start):
        end, escaped = start + 1, False
        while escaped or body[end] != 0x22:
            escaped = not escaped and body[end] == 0x5C
            end += 1
        end += 1
    else:
        end = start + len(body[start:].split(None, 1)[0])
    blank = body[end : end + len(body[end:]) - len(body[end:].lstrip(b" \t"))] or b" "
    return body[:end] + blank + ",".join(accounts).encode("utf-8", "surrogateescape") + text[len(body) :]


def _find_revealed(before: bytes, after: bytes, deleted: Sequence[str]) -> tuple[str, ...]:
    """Return the names of deleted lines that have accounts now which they had not before, with these accounts."""
    dns = dict.fromkeys(line.dn for text in deleted if (line := parse_line(_bytes(text))) and line.dn)
    old, new = parse_gridmap(before), parse_gridmap(after)
    return tuple(
        f"{dn} {','.join(new.accounts(dn))}" for dn in dns if not set(new.accounts(dn)) <= set(old.accounts(dn))
    )


def _shown(text: bytes) -> str:
    return text.removesuffix(b"\r").decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
