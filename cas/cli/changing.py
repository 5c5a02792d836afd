"""What the commands that change the policy share: their options, asking the server, and what is told of its answer.

    add_change_options(parser)
    return change(PROG, arguments, FORMS, read)          # read(words) -> the changes

With `-dry-run` nothing is changed: it is told who would gain and who would lose what, and at which revision of the
policy; with `-revision` the same change is made for that revision alone, and refused when another administrator was
faster.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from cas.cli.common import add_json_option, add_old_options, add_service_options, connect, write_json
from gsi.cli.arguments import UsageError, count
from gsi.cli.run import EXIT_OK, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cas.cli.words import Words
    from cas.client import CASClient
    from cas.policy.changes import Change
    from gsi.cli.arguments import CommandParser, Namespace

__all__ = ["CHANGES", "add_change_options", "change", "tell_preview"]

CHANGES: Final = "/cas/v1/changes"


def add_change_options(parser: CommandParser, *, versioned: str = "") -> None:
    """Add the options of a command that changes the policy.

    Args:
        parser: The command's.
        versioned: What has the version that `-if-version` names; empty for no such option.
    """
    section = parser.section("The change")
    section.flag("-dry-run", "-n", dest="dry_run", text="change nothing; say who would gain and who would lose what")
    section.value("-reason", metavar="TEXT", text="why, for the history")
    section.value(
        "-revision", metavar="N", convert=count, text="only if this is still the policy's revision, as -dry-run says it"
    )
    if versioned:
        section.value(
            "-if-version",
            dest="if_version",
            metavar="N",
            convert=count,
            text=f"only if this is still the version of {versioned}, as cas-get-object says it",
        )
    add_json_option(section)
    section = parser.section("Which server")
    add_service_options(section)
    add_old_options(section)


def change(
    prog: str,
    arguments: Namespace,
    forms: Sequence[str],
    read: Callable[[Words, Namespace], Sequence[Change]],
    *,
    near: Callable[[CASClient, Change], Sequence[str]] | None = None,
) -> int:
    """Have the changes made that the command line asks for, and tell what became of them.

    Args:
        prog: The command.
        arguments: Its options, with `words`.
        forms: Its forms.
        read: Makes changes of the words.
        near: Where a change made nothing: says what there is that may have been meant.

    Raises:
        GridError: They are none, or the server refuses them.
    """
    from cas.policy.changes import Enrol, about, encode_change, encode_ref
    from cas.policy.model import check_new

    if arguments.wants_version:
        return print_version(prog)
    words = _words(prog, forms, arguments)
    changes = read(words, arguments)
    words.end()
    for one in changes:
        if isinstance(one, Enrol):
            check_new(one.entity)
    body: dict[str, object] = {"changes": [encode_change(one) for one in changes]}
    version = getattr(arguments, "if_version", None)
    if arguments.dry_run:
        if arguments.revision is not None or version is not None:
            raise UsageError("-dry-run looks at the policy as it is", hint="without -revision and -if-version")
        body["dry_run"] = True
    if arguments.reason:
        body["reason"] = arguments.reason
    if arguments.revision is not None:
        body["expected_revision"] = arguments.revision
    if version is not None:
        body["expected_versions"] = [[encode_ref(about(changes[0])[0]), version]]
    client = connect(arguments)
    answer = client.call("POST", CHANGES, body)
    if arguments.json:
        write_json(answer)
    elif arguments.dry_run:
        tell_preview(answer)
    elif _is_changed(answer):
        sys.stdout.write(f"Done; the policy has revision {answer.get('revision')}.\n")
    else:
        sys.stdout.write("Nothing was changed: it was so already.\n")
        if near is not None:
            sys.stdout.writelines(f"{printable(line)}\n" for line in near(client, changes[0]))
    return EXIT_OK


def print_version(prog: str) -> int:
    """Print what GT's `-v` does: the version."""
    from gsi._version import __version__

    sys.stderr.write(f"{prog} (gsi-toolkit) {__version__}\n")
    return EXIT_OK


def _words(prog: str, forms: Sequence[str], arguments: Namespace) -> Words:
    from cas.cli.words import Words

    return Words(prog, forms, arguments.words)


def _is_changed(answer: Mapping[str, object]) -> bool:
    changed = answer.get("changed")
    return not isinstance(changed, list) or any(changed)


def tell_right(one: Mapping[str, Any]) -> str:
    """Return in words what a difference is about."""
    from cas.policy.changes import decode_ref

    if "fqan" in one:
        return f"FQAN {one['fqan']}"
    action, on = decode_ref(one["action"]), decode_ref(one["on"])
    return f"{action.scope}/{action.name} on {on}"


def tell_who(one: Mapping[str, Any], word: str) -> list[str]:
    """Return who `gains` or `loses`, by name and by what they prove."""
    feeds = one["feeds_gain" if word == "gains" else "feeds_lose"]
    return [*one[word], *(f"whoever proves {' '.join(feed)}" for feed in feeds)]


def tell_preview(answer: Mapping[str, object]) -> None:
    """Print who would gain and who would lose what."""
    differences = answer.get("differences")
    found = differences if isinstance(differences, list) else []
    for one in found:
        when = f", {one['when']}" if one.get("when") else ""
        lines = [f"{tell_right(one)}{when}: {one['before']} -> {one['after']}"]
        lines += [f"  {word}: {', '.join(who)}" for word in ("gains", "loses") if (who := tell_who(one, word))]
        if len(lines) == 1:
            lines.append("  too many to compare them by name")
        sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))
    is_complete = answer.get("complete") is True
    if not found:
        told = "Nobody would gain or lose a right." if is_complete else "No difference was found in what was looked at."
        sys.stdout.write(f"{told}\n")
    if not is_complete:
        sys.stdout.write("More rights are touched than were looked at; change less at a time to see them all.\n")
    sys.stdout.write(f"Nothing was changed. To do exactly this: -revision {answer.get('revision')}\n")
