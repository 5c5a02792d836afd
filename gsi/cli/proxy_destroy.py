"""The command `grid-proxy-destroy`: overwrite and remove proxy files; `gsi.system.wipe` does the destroying.

Agrees with gct:gsi/proxy/proxy_utils/source/programs/grid_proxy_destroy.c in options, output and exit status: 1 when
the default proxy is asked for and missing, 0 for a missing file given by name. Unlike it, follows no symbolic link,
touches no other user's file, and takes options after file names too.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import CommandParser
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, report, run, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "grid-proxy-destroy"
DELEGATED_DIRECTORY = "/tmp"  # noqa: S108  where the C services put delegated proxies, whatever TMPDIR says


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "destroy proxy files", usage=("[-default] [-all] [-dryrun] [--] [FILE...]",))
    section = parser.section("Which files")
    section.flag("-default", text="destroy the proxy at the default place, besides the files named")
    section.flag("-all", text="destroy the default proxy and every delegated proxy of yours in /tmp (x509up_p*)")
    section.flag("-dryrun", text="only say what would be destroyed")
    parser.operand(
        "FILE", dest="files", many=True, text="files to destroy; without any, the proxy at the default place"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.errors import GridError, NotFoundError
    from gsi.system.wipe import wipe_file

    status = EXIT_OK
    for path, is_default in _choose_files(arguments):
        try:
            wipe_file(path, dry_run=arguments.dryrun)
        except NotFoundError as error:
            if is_default:
                error.hint = "grid-proxy-init makes one; X509_USER_PROXY names another place"
                report(PROG, error, debug=arguments.debug)
                status = EXIT_ERROR
            else:
                warn(PROG, error.message)
        except GridError as error:
            report(PROG, error, debug=arguments.debug)
            status = EXIT_ERROR
        else:
            if arguments.dryrun:
                sys.stderr.write(f"Would remove {printable(path)}\n")
    return status


def _choose_files(arguments: Namespace) -> Iterator[tuple[str, bool]]:
    """Give each path, and whether it is the default proxy's, whose absence is an error."""
    from gsi.system.environ import read_locations
    from gsi.system.wipe import find_delegated_proxies

    for path in arguments.files:
        yield path, False
    if arguments.default or arguments.all or not arguments.files:
        yield read_locations().proxy, True
    if arguments.all:
        for path in find_delegated_proxies(DELEGATED_DIRECTORY):
            yield path, False


if __name__ == "__main__":
    sys.exit(main())
