"""What the commands that ask about the policy share: their options, whole lists page by page, and names for people.

    add_question_options(parser)
    for name in list_names(client, Kind.USER):
        print_lines([name])

A page holds a thousand names; a list that is changed between two pages may lack what came, and have what went.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cas.cli.common import add_json_option, add_old_options, add_service_options, connect
from gsi.cli.run import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cas.client import CASClient
    from cas.policy.model import Kind, Ref
    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["add_question_options", "ask_about", "list_members", "list_names", "objects", "print_lines", "spec", "texts"]


def add_question_options(parser: CommandParser) -> None:
    """Add the options of a command that asks."""
    add_json_option(parser.section("What to print"))
    section = parser.section("Which server")
    add_service_options(section)
    add_old_options(section)


def ask_about(
    path: str, prog: str, forms: Sequence[str], arguments: Namespace, *, but: frozenset[str] = frozenset()
) -> dict[str, object]:
    """Return what the server answers about the one thing that a command line names.

    Args:
        path: What is asked.
        prog: The command.
        forms: Its forms.
        arguments: Its options, with `words`.
        but: Kinds that cannot be asked about.

    Raises:
        GridError: It names none, the server cannot be asked, or says no.
    """
    from cas.cli.words import Words
    from cas.policy.changes import encode_ref
    from cas.policy.model import Kind

    words = Words(prog, forms, arguments.words)
    ref = words.take_ref(words.take_kind([one for one in Kind if one not in but]))
    words.end()
    return connect(arguments).call("POST", path, {"name": encode_ref(ref)})


def print_lines(lines: Iterable[str]) -> None:
    """Print lines, in which nothing drives the terminal."""
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)


def texts(value: object) -> list[str]:
    """Return the texts of an answer.

    Raises:
        RemoteProtocolError: It holds none.
    """
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _odd()
    return value


def objects(value: object) -> list[dict[str, object]]:
    """Return the objects of an answer.

    Raises:
        RemoteProtocolError: It holds none.
    """
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise _odd()
    return value


def spec(ref: Ref) -> str:
    """Return how a command names a thing whose kind it knows: `NAME`, `NAMESPACE|NAME`, `TYPE/ACTION`."""
    return str(ref).partition(" ")[2]


def list_names(client: CASClient, kind: Kind, scope: str = "") -> Iterator[Ref]:
    """Return all things of a kind; of objects and actions those of a scope, or of every one.

    Raises:
        GridError: The server cannot be asked, or says no.
    """
    from cas.policy.model import Kind, Ref

    scopes = {Kind.OBJECT: Kind.NAMESPACE, Kind.SERVICE_ACTION: Kind.SERVICE_TYPE}
    if kind in scopes and not scope:
        for one in list_names(client, scopes[kind]):
            yield from list_names(client, kind, one.name)
        return
    after = ""
    while True:
        answer = client.call("POST", "/cas/v1/list", {"kind": kind.value, "scope": scope, "after": after})
        names = texts(answer.get("names"))
        yield from (Ref(kind, name, scope) for name in names)
        if not names or not answer.get("more"):
            return
        after = names[-1]


def list_members(client: CASClient, group: Ref) -> Iterator[Ref]:
    """Return what is in a group itself.

    Raises:
        GridError: As `list_names`.
    """
    from cas.policy.changes import decode_ref, encode_ref

    body: dict[str, object] = {"group": encode_ref(group)}
    while True:
        answer = client.call("POST", "/cas/v1/members", body)
        found = answer.get("members")
        members = found if isinstance(found, list) else []
        yield from (decode_ref(one) for one in members)
        if not members or not answer.get("more"):
            return
        body["after"] = members[-1]


def _odd() -> Exception:
    from gsi.errors import RemoteProtocolError

    return RemoteProtocolError("the answer of the server is not what was asked for")
