"""The C library of GSI asked about a case: the function behind `grid-proxy-init -verify`, on the chain as it is.

It has no switches: GT2 and GT3 are taken, CRLs count where they are, a signing policy must be there, purposes are not
asked about. A restricted proxy is refused, as services do that have no handler; `grid-proxy-init` lets one pass.

    with Library() as library:
        library.ask(case)
"""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

from peers.suite import Case, Verdict

__all__ = ["NAME", "SWITCHES", "Library", "is_installed", "version"]

NAME: Final = "gsi"
SWITCHES: Final = frozenset(
    {
        "limited-switch",
        "gt2-switch",
        "gt3-switch",
        "signing-policy-switch",
        "weak-signatures",
        "max-chain",
        "crl-require",
        "crl-off",
        "extended-key-usage-switch",
        "policy-language",
        "namespaces",
    }
)
"""Features of cases that turn a switch which GSI does not have, or need a file that it does not read."""

_WORKER: Final = Path(__file__).with_name("gsi_worker.py")
_LIBRARIES: Final = ("globus_gsi_credential", "globus_gsi_callback")


def is_installed() -> bool:
    """Tell whether the libraries are there."""
    return all(ctypes.util.find_library(name) for name in _LIBRARIES)


def version() -> str:
    """Return the library's file name, whose numbers tell its version."""
    name = ctypes.util.find_library("globus_gsi_callback") or "missing"
    for directory in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/aarch64-linux-gnu"):
        path = os.path.join(directory, name)
        if os.path.exists(path):
            return os.path.basename(os.path.realpath(path))
    return name


class Library:
    """A worker process that has the library loaded and answers case by case."""

    def __init__(self) -> None:
        self._worker = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "TZ": "UTC", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.communicate(timeout=30)

    def ask(self, case: Case) -> Verdict:
        """Return what the library says."""
        if NAME in case.not_applicable or case.features & SWITCHES:
            return Verdict.NOT_ASKED
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        question = {
            "chain": str(case.chain),
            "trust_directory": str(case.trust_directory),
            "time": int(case.time.timestamp()),
        }
        self._worker.stdin.write(json.dumps(question) + "\n")
        self._worker.stdin.flush()
        answer = self._worker.stdout.readline().strip()
        if not answer:
            raise RuntimeError("the worker with the GSI library has ended")
        return Verdict(answer)
