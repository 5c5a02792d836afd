"""Build the conformance suite's cases: manifest.json and generated/; --check compares and changes nothing.

certs-test/build.py             write what has changed
certs-test/build.py --check     exit 1 when a file is not what a fresh build makes
"""

from __future__ import annotations

import argparse
import sys

from builder.manifest import build, differences, write

_MAX_SHOWN = 20


def main() -> int:
    """Build or check; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the conformance suite's cases.", allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="compare with what is there, and change nothing")
    arguments = parser.parse_args()
    files = build()
    if not arguments.check:
        print(f"{write(files)} of {len(files)} files changed")
        return 0
    found = differences(files)
    for line in found[:_MAX_SHOWN]:
        print(line, file=sys.stderr)
    if found:
        print(f"{len(found)} files differ; run certs-test/build.py", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
