"""The command `grid-default-ca`: show the CAs of this machine, choose the one that requests go to; judges no trust.

Agrees with gct:gsi/cert_utils/source/programs/grid-default-ca.in in options, output and exit status. The choice is
three links in the security directory (grid-security.conf, globus-host-ssl.conf, globus-user-ssl.conf) to the CA's
settings in the trust directory. Unlike the C script, all are looked at before the first is changed, and each changes in
one step.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import CommandParser, Completion, UsageError
from gsi.cli.run import EXIT_OK, printable, run
from gsi.errors import CredentialError, CredentialProblem, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gsi.cli.arguments import Namespace
    from gsi.cli.ca_files import FoundAuthority

__all__ = ["build_parser", "main", "make_links"]

PROG = "grid-default-ca"


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "show or choose the CA that certificate requests go to",
        usage=("[-list | -ca HASH]",),
        help_names=("-help", "-usage", "-h", "-?"),
        versions=True,
    )
    what = parser.section("What to do (default: ask which CA to choose)")
    what.flag("-list", text="list the CAs of this machine and the present default")
    what.value("-ca", metavar="HASH", text="choose the CA of this hash")
    where = parser.section("Where")
    where.value(
        "-dir",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        text="the trust directory, in place of X509_CERT_DIR (deprecated)",
    )
    how = parser.section("How it runs")
    how.flag("-json", text="print the list, or what was chosen, as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.cli.ca_files import choose_authority, find_authorities, find_authority, list_text, trust_directories

    if arguments.list and arguments.ca is not None:
        raise UsageError("-list and -ca are mutually exclusive")
    directories = trust_directories(first=arguments.dir)
    found = find_authorities(directories)
    if not found:
        raise NotFoundError(
            f"There does not appear to be a valid CA in {', '.join(directories) or 'any trust directory'}",
            hint="name the trust directory with X509_CERT_DIR",
        )
    default = _find_default(found)
    if arguments.list:
        if arguments.json:
            _print_json({"default": default and default.hash, "cas": [_facts(one) for one in found]})
        else:
            sys.stdout.write(list_text(found) + _default_text(default))
        return EXIT_OK
    if arguments.ca is not None:
        chosen = find_authority(arguments.ca, directories)
    else:
        sys.stdout.write(_default_text(default))
        prompt = "Enter the index number of the CA to set as the default [q to quit]: "
        chosen = choose_authority(directories, prompt)
    links = _choose(chosen, quiet=arguments.json)
    if arguments.json:
        _print_json(_facts(chosen) | {"links": links})
    else:
        sys.stdout.write("\n...done.\n\n")
    return EXIT_OK


def _facts(found: FoundAuthority) -> dict[str, object]:
    return {"hash": found.hash, "subject": found.subject, "path": found.path}


def _print_json(value: dict[str, object]) -> None:
    import json

    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _default_text(default: FoundAuthority | None) -> str:
    if default is None:
        return ""
    return f"\nThe default CA is: {default.subject}\n         Location: {printable(default.path)}\n\n"


def _find_default(found: Sequence[FoundAuthority]) -> FoundAuthority | None:
    """Return the CA whose settings grid-security.conf leads to."""
    from gsi.system.environ import GRID_SECURITY_DIR, get_variable

    for directory in (get_variable("GRID_SECURITY_DIR"), GRID_SECURITY_DIR):
        if directory is None:
            continue
        try:
            target = os.readlink(os.path.join(directory, "grid-security.conf"))
        except OSError:
            continue
        default = target.rpartition(".")[2]
        return next((one for one in found if one.hash == default), None)
    return None


def _security_dir(chosen: FoundAuthority) -> str:
    """Return where the links go.

    Raises:
        UsageError: Nothing says where; the C script would take /etc itself.
    """
    from gsi.system.environ import GRID_SECURITY_DIR, get_variable

    named = get_variable("GRID_SECURITY_DIR")
    if named is not None:
        return named
    if os.path.normpath(chosen.directory) == os.path.join(GRID_SECURITY_DIR, "certificates"):
        return GRID_SECURITY_DIR
    raise UsageError(
        f"{chosen.directory} is not the system's trust directory, and nothing says where the default belongs",
        hint="name the security directory with GRID_SECURITY_DIR",
    )


def _choose(chosen: FoundAuthority, *, quiet: bool) -> dict[str, str]:
    """Make the links and return them.

    Raises:
        NotFoundError: The CA's settings are not in the trust directory; nothing was changed.
        CredentialError: UNWRITABLE: the directory cannot be written, or something that is no link is in the place of
            one, or a link cannot be made; nothing was changed.
    """
    from gsi.cli.ca_files import CA_SETTINGS

    security_dir = _security_dir(chosen)
    if not os.access(security_dir, os.W_OK | os.X_OK):
        raise CredentialError(
            f"You do not have permission to set the default CA configuration at {security_dir}",
            problem=CredentialProblem.UNWRITABLE,
            path=security_dir,
            hint="run the command as the directory's owner, or name another with GRID_SECURITY_DIR",
        )
    links = {
        os.path.join(security_dir, name): os.path.join(os.path.abspath(chosen.directory), f"{name}.{chosen.hash}")
        for name in CA_SETTINGS
    }
    for target in links.values():
        if not os.path.isfile(target):
            raise NotFoundError(
                f"The file: {target} does not exist. The CA: {chosen.subject} has not been setup correctly.",
                hint="not all CAs take requests from grid-cert-request; see the CA's documentation",
            )
    directions = os.path.join(os.path.abspath(chosen.directory), f"directions.{chosen.hash}")
    own = os.path.join(security_dir, "directions")
    if os.path.isfile(directions):
        links[own] = directions
    for link in links:
        if os.path.lexists(link) and not os.path.islink(link):
            raise CredentialError(
                f"{link}: is no link, and is left alone",
                problem=CredentialProblem.UNWRITABLE,
                path=link,
                hint="move it away if the default CA is to take its place",
            )
    if not quiet:
        sys.stdout.write(f"\nsetting the default CA to: {chosen.subject}\n\n")
    make_links(links)
    if not quiet:
        for link, target in links.items():
            sys.stdout.write(f"linking {printable(target)} to\n        {printable(link)}\n\n")
    if own not in links and os.path.islink(own):
        os.unlink(own)
    return links


def make_links(links: Mapping[str, str]) -> None:
    """Make all the links, or none.

    Raises:
        CredentialError: UNWRITABLE: one cannot be made, and the others are as they were.
    """
    before = {link: os.readlink(link) if os.path.islink(link) else None for link in links}
    changed: list[str] = []
    link = ""
    try:
        for link, target in links.items():
            _make_link(link, target)
            changed.append(link)
    except OSError as error:
        for done in reversed(changed):
            old = before[done]
            os.unlink(done) if old is None else _make_link(done, old)
        raise CredentialError(
            f"{link}: cannot be made: {error.strerror}", problem=CredentialProblem.UNWRITABLE, path=link
        ) from error


def _make_link(link: str, target: str) -> None:
    """Put a link in place in one step."""
    made = f"{link}.{os.urandom(8).hex()}"
    os.symlink(target, made)
    try:
        os.rename(made, link)
    except OSError:
        os.unlink(made)
        raise


if __name__ == "__main__":
    sys.exit(main())
