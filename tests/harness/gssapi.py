"""The C library `libglobus_gssapi_gsi` as a peer: every call of the mechanism, in a process of its own.

The library is driven through ctypes (`tests.harness.gssapi_library`) and may crash without taking the tests along; a
crash is a `PeerCrashedError`. Tokens are carried between it and ours by the test.

Workflow:
    with c_library(user.with_variables(...)) as peer:
        peer.acquire("accept")
        answer = peer.accept(step.output)               # Answer: major, token, flags, error
"""

from __future__ import annotations

import base64
import contextlib
import ctypes.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import pytest

from tests.harness.run import ALLOW_MISSING_PEERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "COMPLETE",
    "CONTINUE",
    "NAME_TYPES",
    "Answer",
    "CLibrary",
    "PeerCrashedError",
    "c_library",
]

COMPLETE: Final = 0
CONTINUE: Final = 1
ANSWER_SECONDS: Final = 60.0  # making a key is the slowest call
NAME_TYPES: Final = {
    "host_ip": "gss_nt_host_ip",
    "service": "gss_nt_service_name",
    "user": "gss_nt_user_name",
}
Usage: TypeAlias = Literal["both", "initiate", "accept"]
_USAGES: Final[dict[Usage, int]] = {"both": 0, "initiate": 1, "accept": 2}
_SCRIPT: Final = Path(__file__).with_name("gssapi_library.py")


class PeerCrashedError(Exception):
    """The library has ended the process."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gave.

    Attributes:
        major: The GSS major status: `COMPLETE`, `CONTINUE`, or an error.
        token: The output token or message.
        flags: The ret_flags.
        error: The library's words.
        more: Everything else, by name.
    """

    major: int
    token: bytes = b""
    flags: int = 0
    error: str = ""
    more: dict[str, object] = field(default_factory=dict)

    def check(self) -> Answer:
        """Return self unless it is an error."""
        assert self.major in (COMPLETE, CONTINUE), f"major {self.major:#x}: {self.error}"
        return self

    @property
    def done(self) -> bool:
        """Whether nothing more is needed."""
        return self.check().major == COMPLETE


class CLibrary:
    """The library in its process; one context."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _call(self, call: str, **arguments: object) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait(ANSWER_SECONDS)
            assert self._process.stderr is not None
            raise PeerCrashedError(f"{call}: the process ended with {code}\n{self._process.stderr.read()}")
        found: dict[str, object] = json.loads(line)
        data = next((found.pop(name) for name in ("token", "message", "pem") if name in found), "")
        major, flags, error = found.pop("major"), found.pop("flags", 0), found.pop("error", "")
        assert isinstance(data, str)
        assert isinstance(major, int)
        assert isinstance(flags, int)
        return Answer(major, base64.b64decode(data), flags, str(error), found)

    def acquire(self, usage: Usage = "both") -> None:
        """Take the credential that the environment names."""
        self._call("acquire", usage=_USAGES[usage]).check()

    def target(self, text: str, kind: str = "host_ip") -> None:
        """Set the name for `init`."""
        self._call("name", text=text, kind=NAME_TYPES[kind]).check()

    def is_same(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        """Compare two names, each a text and a key of `NAME_TYPES`."""
        answer = self._call(
            "compare", one=one[0], one_kind=NAME_TYPES[one[1]], other=other[0], other_kind=NAME_TYPES[other[1]]
        )
        return bool(answer.check().more["equal"])

    def init(self, token: bytes = b"", *, flags: int = 0) -> Answer:
        """gss_init_sec_context."""
        return self._call("init", token=_text(token) if token else None, flags=flags)

    def accept(self, token: bytes, *, flags: int = 16) -> Answer:
        """gss_accept_sec_context."""
        return self._call("accept", token=_text(token), flags=flags)

    def wrap(self, message: bytes, *, conf: bool = True, qop: int = 0) -> Answer:
        """gss_wrap."""
        return self._call("wrap", message=_text(message), conf=int(conf), qop=qop)

    def unwrap(self, token: bytes) -> Answer:
        """gss_unwrap."""
        return self._call("unwrap", token=_text(token))

    def get_mic(self, message: bytes) -> Answer:
        """gss_get_mic."""
        return self._call("get_mic", message=_text(message))

    def init_delegation(self, token: bytes = b"", *, flags: int = 0, seconds: int = 0) -> Answer:
        """gss_init_delegation."""
        return self._call("init_delegation", token=_text(token) if token else None, flags=flags, seconds=seconds)

    def accept_delegation(self, token: bytes = b"", *, flags: int = 0) -> Answer:
        """gss_accept_delegation."""
        return self._call("accept_delegation", token=_text(token), flags=flags)

    def export(self) -> bytes:
        """The delegated credential as a proxy file."""
        return self._call("export").check().token

    def inquire(self) -> Answer:
        """gss_inquire_context; `more` has source, target, lifetime, local, open."""
        return self._call("inquire").check()

    def ask(self, name: str) -> list[bytes]:
        """gss_inquire_sec_context_by_oid, by the name of the OID's variable."""
        values = self._call("by_oid", name=name).check().more["values"]
        assert isinstance(values, list)
        return [base64.b64decode(one) for one in values]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _require_library() -> None:
    if ctypes.util.find_library("globus_gssapi_gsi") is not None:
        return
    text = "missing interop peer: libglobus_gssapi_gsi (scripts/install-peers installs it)"
    if os.environ.get(ALLOW_MISSING_PEERS) and os.environ.get("CI", "").lower() != "true":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


@contextlib.contextmanager
def c_library(env: Mapping[str, str]) -> Iterator[CLibrary]:
    """Start the library.

    Args:
        env: Its whole environment; the X509 variables name its credential and trust directory.
    """
    _require_library()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SCRIPT)],
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield CLibrary(process)
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin and process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
