"""The C library of RSL (libglobus_rsl), driven through ctypes in a process of its own.

A process of its own because texts that it was not made for crash it: its error messages are written into a buffer of
fixed size. Workflow:
    with RslLibrary() as c:
        c.parse("&(a = b)")                            # '&("a" = "b" )', or the step that failed: "parse"
        c.evaluate("&(a = $(HOME))", {"HOME": "/x"})
"""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.harness.environment import clean_environment
from tests.harness.run import ALLOW_MISSING_PEERS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

__all__ = ["FAILURES", "RslLibrary", "require_rsl_library"]

FAILURES: Final = frozenset({"parse", "evaluate", "unparse", "crash"})

WORKER: Final = r"""
import ctypes, json, sys
P = ctypes.c_void_p
common = ctypes.CDLL("libglobus_common.so.0")
rsl = ctypes.CDLL("libglobus_rsl.so.2")
common.globus_module_activate.argtypes = [P]
if common.globus_module_activate(ctypes.addressof(ctypes.c_char.in_dll(rsl, "globus_i_rsl_module"))):
    sys.exit("the module cannot be activated")
rsl.globus_rsl_parse.argtypes = [ctypes.c_char_p]
rsl.globus_rsl_parse.restype = rsl.globus_rsl_unparse.restype = P
rsl.globus_rsl_unparse.argtypes = rsl.globus_rsl_assist_attributes_canonicalize.argtypes = [P]
rsl.globus_rsl_eval.argtypes = [P, P]
common.globus_symboltable_init.argtypes = common.globus_symboltable_insert.argtypes = [P, P, P]
common.globus_symboltable_create_scope.argtypes = [P]
kept = []

def function(name):
    return ctypes.cast(getattr(common, name), P)

def work(text, variables):
    tree = rsl.globus_rsl_parse(text.encode("latin-1"))
    if not tree:
        return "parse"
    if variables is not None:
        rsl.globus_rsl_assist_attributes_canonicalize(tree)
        table = P()
        string_hash, equal = function("globus_hashtable_string_hash"), function("globus_hashtable_string_keyeq")
        common.globus_symboltable_init(ctypes.byref(table), string_hash, equal)
        common.globus_symboltable_create_scope(ctypes.byref(table))
        for name, value in variables.items():
            pair = [ctypes.create_string_buffer(each.encode("latin-1")) for each in (name, value)]
            kept.append(pair)
            common.globus_symboltable_insert(ctypes.byref(table), *pair)
        if rsl.globus_rsl_eval(tree, ctypes.byref(table)):
            return "evaluate"
    found = rsl.globus_rsl_unparse(tree)
    return ctypes.string_at(found).decode("latin-1") if found else "unparse"

for line in sys.stdin:
    print(json.dumps(work(*json.loads(line))), flush=True)
"""


def require_rsl_library() -> None:
    """Fail the test (or skip it where that is allowed) when the library is not installed."""
    if ctypes.util.find_library("globus_rsl"):
        return
    text = "missing interop peer: libglobus_rsl (tests/install-peers installs it)"
    if os.environ.get(ALLOW_MISSING_PEERS) and os.environ.get("CI", "").lower() != "true":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


class RslLibrary:
    """The library in a process that is started again when it has crashed."""

    def __init__(self) -> None:
        require_rsl_library()
        self._process = self._start()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=clean_environment(Path.cwd()),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def parse(self, text: str) -> str:
        """Return what the library makes of a text and writes again, or the step that failed.

        Text is UTF-8 with surrogates on our side, and bytes on theirs.
        """
        return self._ask(text, None)

    def evaluate(self, text: str, variables: Mapping[str, str]) -> str:
        """The same, with canonical names and with variables worked out."""
        return self._ask(text, {_bytes(name): _bytes(value) for name, value in variables.items()})

    def _ask(self, text: str, variables: Mapping[str, str] | None) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([_bytes(text), variables]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            self._process = self._start()
            return "crash"
        found: str = json.loads(line)
        return found.encode("latin-1").decode("utf-8", "surrogateescape")


def _bytes(text: str) -> str:
    """Return a text with a character for each of its bytes."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
