"""Ask the other validators about every case; write verdicts.json and docs/conformance/peers.md.

certs-test/run_peers.py             ask, and record the answers
certs-test/run_peers.py --page      make the page again from what is recorded
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from peers import gsi, openssl, proxy_init
from peers.suite import load
from peers.table import PAGE, read_record, render, write_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peers.suite import Case, Verdict


def ask_all(cases: Mapping[str, Case]) -> dict[str, tuple[Verdict, ...]]:
    """Return every answer; as many cases at a time as there are processors."""
    with gsi.Library() as library, ThreadPoolExecutor(os.cpu_count()) as pool:
        turn = threading.Lock()

        def ask(case: Case) -> tuple[Verdict, ...]:
            with turn:  # the library's worker takes one question at a time
                by_library = library.ask(case)
            return openssl.ask(case), by_library, proxy_init.ask(case)

        return dict(zip(cases, pool.map(ask, cases.values()), strict=True))


def main() -> int:
    """Ask or render; return the exit code."""
    parser = argparse.ArgumentParser(description="Ask other validators about the suite's cases.", allow_abbrev=False)
    parser.add_argument("--page", action="store_true", help="ask nobody; make the page from verdicts.json")
    arguments = parser.parse_args()
    cases = load()
    if not arguments.page:
        if not (gsi.is_installed() and proxy_init.is_installed()):
            print("the C library of GSI or grid-proxy-init is not installed", file=sys.stderr)
            return 1
        versions = {peer.NAME: peer.version() for peer in (openssl, gsi, proxy_init)}
        write_record(versions, ask_all(cases))
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(cases, read_record()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
