"""The command `voms-proxy-destroy`: overwrite and remove the proxy file; `gsi.system.wipe` does the destroying.

Has the options and exit status of the C and Java programs: 1 when there is no such file. Unlike them, it follows no
symbolic link and touches no other user's file.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import Completion
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable, run
from gsi.cli.voms_arguments import VOMSParser, add_conf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "voms-proxy-destroy"


def build_parser() -> VOMSParser:
    """Return the command's parser."""
    parser = VOMSParser(PROG, "destroy a proxy", usage=("[-file FILE] [-dry]",))
    section = parser.section("Which file")
    section.value(
        "-file", metavar="FILE", completion=Completion.FILE, text="the proxy file; default: that at the default place"
    )
    section.flag("-dry", "-dryrun", text="only say what would be destroyed")
    how = parser.section("How it runs")
    add_conf(how)
    how.flag("-quiet", "-q", text="print nothing where there is no such file, or with -dry")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.errors import NotFoundError
    from gsi.system.environ import read_locations
    from gsi.system.wipe import wipe_file

    path = arguments.file or read_locations().proxy
    try:
        wipe_file(path, dry_run=arguments.dry)
    except NotFoundError as error:
        if arguments.quiet:
            return EXIT_ERROR
        error.hint = "voms-proxy-init makes one; -file and X509_USER_PROXY name another place"
        raise
    if arguments.dry and not arguments.quiet:
        sys.stderr.write(f"Would remove {printable(path)}\n")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
