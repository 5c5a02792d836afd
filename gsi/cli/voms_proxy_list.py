"""The command `voms-proxy-list`: show the attributes that a VO's server would give; makes no proxy.

Has the options of the C program of this name (voms: src/client/vomsclient.cc), output lines and exit status as
`voms-proxy-init -list`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import Completion, UsageError
from gsi.cli.run import EXIT_OK, run
from gsi.cli.voms_arguments import (
    VOMSParser,
    add_conf,
    add_server_options,
    add_user_options,
    exit_code,
)
from gsi.voms.wishes import parse_wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "voms-proxy-list"


def build_parser() -> VOMSParser:
    """Return the command's parser."""
    parser = VOMSParser(PROG, "show the attributes that a VO gives", usage=("-voms VO [options]",))
    what = parser.section("Which attributes")
    what.value("-voms", metavar="VO", convert=parse_wish, repeatable=True, text="the VO to ask; exactly one")
    what.flag("-list", text="no effect: this is what the command does")
    what.flag("-dont-verify-ac", "-dont_verify_ac", text="show attributes that this machine has no reason to believe")
    what.flag("-json", text="print the attributes as one JSON object")
    servers = parser.section("Which servers")
    add_server_options(servers)
    servers.value(
        "-vomsdir",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        text="the directory of trusted VOMS servers (LSC files)",
    )
    who = parser.section("Who asks")
    add_user_options(who)
    who.flag("-verify", text="no effect: who asks is always verified")
    who.value("-out", metavar="FILE", completion=Completion.FILE, text="no effect: nothing is written")
    how = parser.section("How it runs")
    add_conf(how)
    how.flag("-failonwarn", "-f", text="take warnings as errors")
    how.flag("-ignorewarn", text="show no warnings")
    how.flag("-quiet", "-q", text="print only the attributes, and errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, exit_code=exit_code, short_lived=True)


def _execute(arguments: Namespace) -> int:
    if len(arguments.voms) != 1:
        raise UsageError("Exactly ONE voms server must be specified!", hint=f"{PROG} -voms VO")
    from datetime import timedelta

    from gsi.cli.voms_fetch import collect, plan
    from gsi.cli.voms_proxy_init import load_holder, make_console, show_attributes, wants_verification
    from gsi.system.environ import read_locations
    from gsi.system.trustdir import TrustDirectory
    from gsi.voms.exchange import ALL

    locations = read_locations()
    directory = TrustDirectory(arguments.certdir or locations.trust_dir)
    directory.anchors()
    (wish,) = arguments.voms
    if wish.fqan is None:
        wish = wish._replace(fqan=ALL)
    questions = plan([wish], places=arguments.vomses, order=(), targets=(), lifetime=timedelta())
    arguments.quiet = arguments.quiet or arguments.json
    console = make_console(PROG, arguments)
    holder = load_holder(arguments, locations)
    certificates = collect(
        holder,
        directory,
        questions,
        console,
        timeout=arguments.timeout,
        vomsdir=arguments.vomsdir,
        verify=wants_verification(arguments),
    )
    if arguments.json:
        import json

        found = [{"vo": questions[0].request.vo, "fqans": list(one.info.fqans)} for one in certificates]
        sys.stdout.write(json.dumps(found[0], indent=2) + "\n")
    else:
        show_attributes(certificates)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
