"""The command `cas-import`: make in a community what an exported policy says and is not there yet. New; GT had none.

What is there already stays as it is; something of the same name that is something else is an error before anything is
changed. Up to a thousand changes are made together or not at all; of more, each thousand. The same command goes on
where it was ended. Into a store without a policy `cas-server-bootstrap -import` reads the same file.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from cas.cli.changing import CHANGES, add_change_options, print_version, tell_preview
from cas.cli.common import connect, read_named, write_json
from gsi.cli.arguments import CommandParser, UsageError
from gsi.cli.run import EXIT_OK, run, warn
from gsi.errors import ConflictError, GridError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cas.client import CASClient
    from cas.policy.changes import Change
    from gsi.cli.arguments import Namespace

__all__ = ["batches", "build_parser", "main"]

PROG: Final = "cas-import"
MAX_FILE_BYTES: Final = 1 << 30
"""The longest file: some five million users."""

MAX_CHANGES: Final = 1000
"""In one request, as many as the server takes."""

MAX_BODY_CHARS: Final = 200_000
"""Of one request: servers take 262,144 bytes unless they say otherwise."""

SHOWN: Final = 20
"""Contradictions that are shown one by one."""


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "make what an exported policy says", usage=("[options] FILE",))
    parser.operand("FILE", dest="file", text="the file that cas-export wrote")
    add_change_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if arguments.wants_version:
        return print_version(PROG)
    if not arguments.file:
        raise UsageError("FILE is missing", hint=f"{PROG} FILE")
    if arguments.dry_run and arguments.revision is not None:
        raise UsageError("-dry-run looks at the policy as it is", hint="without -revision")
    changes = _read(arguments.file)
    client = connect(arguments)
    revision, missing = _missing(client, changes)
    if arguments.revision not in {None, revision}:
        raise ConflictError(
            f"the policy has revision {revision} by now, not {arguments.revision}", hint="look at it again"
        )
    parts = list(batches(missing))
    if arguments.dry_run:
        return _try(client, parts, len(missing), as_json=arguments.json)
    done = 0
    for part in parts:
        body = {"changes": part, "reason": arguments.reason or "", "expected_revision": revision}
        try:
            answer = client.call("POST", CHANGES, body)
        except GridError:
            if done:
                warn(PROG, f"{done} of {len(missing)} changes were made", hint="the same command goes on")
            raise
        revision = int(str(answer.get("revision")))  # so nobody else comes between
        done += len(part)
    if arguments.json:
        write_json({"revision": revision, "changed": done, "unchanged": len(changes) - done})
    elif done:
        sys.stdout.write(f"{done} changes made, {len(changes) - done} were there already; revision {revision}.\n")
    else:
        sys.stdout.write("Nothing was changed: it was so already.\n")
    return EXIT_OK


def _try(client: CASClient, parts: Sequence[Sequence[object]], count: int, *, as_json: bool) -> int:
    if len(parts) > 1:
        raise UsageError(f"{count} changes are too many for -dry-run", hint=f"it tries up to {MAX_CHANGES} together")
    if not parts:
        sys.stdout.write("[]\n" if as_json else "Nothing would be changed: it is so already.\n")
        return EXIT_OK
    answer = client.call("POST", CHANGES, {"changes": parts[0], "dry_run": True})
    if as_json:
        write_json(answer)
    else:
        tell_preview(answer)
    return EXIT_OK


def _read(path: str) -> list[Change]:
    from cas.repository.transfer import parse_export

    data = read_named(path, max_bytes=MAX_FILE_BYTES)
    return list(parse_export(data.decode("ascii", errors="replace").splitlines()))


def _missing(client: CASClient, changes: Sequence[Change]) -> tuple[int, list[Change]]:
    """Return the policy's revision, and the changes that it lacks.

    Raises:
        ConflictError: Something else is there under a name.
        GridError: As `read_policy`.
    """
    from cas.cli.export_policy import read_policy
    from cas.policy.changes import Enrol, decode_change

    revision, plain = read_policy(client)
    there = set(map(decode_change, plain))
    known = {one.entity.ref: one.entity for one in there if isinstance(one, Enrol)}
    missing: list[Change] = []
    others: list[str] = []
    for change in changes:
        if not isinstance(change, Enrol) or change.entity.ref not in known:
            missing += [change] if change not in there else []
        elif known[change.entity.ref] != change.entity:
            others.append(f"{change.entity.ref} is there as {known[change.entity.ref]}")
    if others:
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        raise ConflictError(
            f"the community knows these as something else: {'; '.join(others[:SHOWN])}{more}",
            hint="nothing was changed; rename or remove them, or take them out of the file",
        )
    return revision, missing


def batches(changes: Sequence[Change]) -> Iterator[list[dict[str, object]]]:
    """Return changes as plain values, as many together as a server takes in one request."""
    import json

    from cas.policy.changes import encode_change

    part: list[dict[str, object]] = []
    size = 0
    for change in changes:
        plain = encode_change(change)
        chars = len(json.dumps(plain)) + 2
        if part and (len(part) >= MAX_CHANGES or size + chars > MAX_BODY_CHARS):
            yield part
            part, size = [], 0
        part.append(plain)
        size += chars
    if part:
        yield part


if __name__ == "__main__":
    sys.exit(main())
