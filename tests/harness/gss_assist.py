"""The C library of grid-mapfiles and pool leases, driven through ctypes in a process of its own.

A process of its own because the library reads its places from the environment, and because files that it was not made
for can crash it. Workflow:
    with GssAssist(gridmap=path, gridmapdir=directory) as c:
        c.gridmap(b"/O=Grid/CN=Alice")      # b"alice", or None
"""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.environment import clean_environment
from tests.harness.run import ALLOW_MISSING_PEERS

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["WORKER", "GssAssist", "require_gss_assist"]

WORKER = r"""
import ctypes, json, os, sys, time
common = ctypes.CDLL("libglobus_common.so.0")
assist = ctypes.CDLL("libglobus_gss_assist.so.3")
module = ctypes.c_char.in_dll(assist, "globus_i_gsi_gss_assist_module")
common.globus_module_activate.argtypes = [ctypes.c_void_p]
if common.globus_module_activate(ctypes.addressof(module)):
    sys.exit("the module cannot be activated")
libc = ctypes.CDLL(None)
libc.free.argtypes = [ctypes.c_void_p]

def text(name, argument):
    out = ctypes.c_void_p()
    if getattr(assist, name)(ctypes.c_char_p(argument), ctypes.byref(out)) or not out.value:
        return None
    found = ctypes.string_at(out.value)
    libc.free(out)
    return found.decode("latin-1")

def call(name, arguments):
    words = [argument.encode("latin-1") for argument in arguments]
    if name == "userok":
        return assist.globus_gss_assist_userok(*map(ctypes.c_char_p, words)) == 0
    if name == "time":  # nanoseconds of so many lookups
        begin = time.perf_counter_ns()
        for _ in range(int(words[1])):
            text("globus_gss_assist_gridmap", words[0])
        return time.perf_counter_ns() - begin
    return text("globus_gss_assist_" + name, words[0])

for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps(call(name, arguments)), flush=True)
"""


def require_gss_assist() -> None:
    """Fail the test (or skip it where that is allowed) when the library is not installed."""
    if ctypes.util.find_library("globus_gss_assist"):
        return
    text = "missing interop peer: libglobus_gss_assist (tests/install-peers installs it)"
    if os.environ.get(ALLOW_MISSING_PEERS) and os.environ.get("CI", "").lower() != "true":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


class GssAssist:
    """The library with its own GRIDMAP and GRIDMAPDIR."""

    def __init__(self, *, gridmap: Path, gridmapdir: Path | None = None) -> None:
        require_gss_assist()
        environment = clean_environment(gridmap.parent) | {"GRIDMAP": str(gridmap)}
        if gridmapdir is not None:
            environment["GRIDMAPDIR"] = str(gridmapdir)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", WORKER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def _call(self, name: str, *arguments: bytes) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, *(word.decode("latin-1") for word in arguments)]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the C library ended at {name} {arguments}"
        found: object = json.loads(answer)
        return found

    def gridmap(self, dn: bytes) -> bytes | None:
        """The default account of a name; for a pool, the leased one."""
        return _bytes(self._call("gridmap", dn))

    def userok(self, dn: bytes, account: bytes) -> bool:
        """Whether a name may ask for an account."""
        return bool(self._call("userok", dn, account))

    def map_local_user(self, account: bytes) -> bytes | None:
        """The name that an account belongs to."""
        return _bytes(self._call("map_local_user", account))

    def time_lookups(self, dn: bytes, rounds: int) -> int:
        """Nanoseconds that so many lookups of a name take."""
        return int(str(self._call("time", dn, str(rounds).encode())))


def _bytes(found: object) -> bytes | None:
    return found.encode("latin-1") if isinstance(found, str) else None
