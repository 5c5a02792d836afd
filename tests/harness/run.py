"""Running programs in tests: a bound on time, everything captured, the C peer never confused with ours.

Workflow:
    done = run([c_program("grid-proxy-info"), "-all"], env=user.variables)
    assert done.returncode == 0, done
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["ALLOW_MISSING_PEERS", "Done", "c_program", "our_program", "require_peer", "run"]

DEFAULT_TIMEOUT: Final = 60.0  # seconds; the slowest peer (a 4096-bit key) needs five
ALLOW_MISSING_PEERS: Final = "GSI_TEST_ALLOW_MISSING_PEERS"
_SYSTEM_PATH: Final = ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin")


class Done(NamedTuple):
    """A program that has ended.

    Attributes:
        argv: What was run.
        returncode: The exit code; negative for a signal.
        stdout: Its output, undecodable bytes replaced.
        stderr: Its diagnostics, likewise.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        command = " ".join(self.argv)
        return f"$ {command}\n[exit {self.returncode}]\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"

    @property
    def output(self) -> str:
        """Standard output, then standard error."""
        return self.stdout + self.stderr

    def check(self) -> Done:
        """Return self when the exit code is 0.

        Raises:
            AssertionError: It is not; the message holds all there is to see.
        """
        assert self.returncode == 0, str(self)
        return self


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    stdin: str | bytes = b"",
    timeout: float = DEFAULT_TIMEOUT,
    cwd: str | Path | None = None,
    account: str | None = None,
    file_size_limit: int | None = None,
) -> Done:
    """Run a program to its end, without a terminal.

    Args:
        argv: The command.
        env: Its whole environment.
        stdin: What it reads on standard input.
        timeout: Seconds before it is killed and the test fails.
        cwd: Working directory.
        account: User to run as; needs root.
        file_size_limit: RLIMIT_FSIZE in bytes: writes past it fail, as on a full disk.

    Raises:
        subprocess.TimeoutExpired: It did not end in time.
    """
    words = tuple(str(word) for word in argv)
    if file_size_limit is not None:
        # The limit is set by a small Python in front; SIGXFSZ is ignored so that write() fails with EFBIG.
        code = (
            "import os,resource,signal,sys;"
            "signal.signal(signal.SIGXFSZ,signal.SIG_IGN);"
            f"resource.setrlimit(resource.RLIMIT_FSIZE,({file_size_limit},{file_size_limit}));"
            "os.execv(sys.argv[1],sys.argv[1:])"
        )
        words = (sys.executable, "-I", "-S", "-c", code, shutil.which(words[0]) or words[0], *words[1:])
    done = subprocess.run(
        words,
        env=dict(env),
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=timeout,
        cwd=cwd,
        user=account,
        group=account_group(account),
        extra_groups=None if account is None else [],
        start_new_session=True,  # no controlling terminal: a prompt must fail, never wait for a person
        check=False,
    )
    return Done(words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def account_group(account: str | None) -> int | None:
    """The primary group of an account, or None for none."""
    if account is None:
        return None
    import pwd

    return pwd.getpwnam(account).pw_gid


def _find_system(name: str) -> str | None:
    own = os.path.realpath(os.path.dirname(sys.executable))
    path = [p for p in _SYSTEM_PATH if os.path.realpath(p) != own]
    found = shutil.which(name, path=os.pathsep.join(path))
    if found is None:
        return None
    with open(found, "rb") as file:
        if b"python" in file.read(80).split(b"\n")[0]:
            return None  # ours, installed for everyone: not a peer
    return found


def require_peer(*names: str) -> None:
    """Fail the test when one of these system programs is missing.

    Interoperability that nobody ran is not proven, so a missing peer is a failure; a developer without them sets
    `GSI_TEST_ALLOW_MISSING_PEERS` and gets a skip instead. `CI=true` overrules that.
    """
    missing = [name for name in names if _find_system(name) is None]
    if not missing:
        return
    text = f"missing interop peer: {', '.join(missing)} (scripts/install-peers installs them)"
    if os.environ.get(ALLOW_MISSING_PEERS) and os.environ.get("CI", "").lower() != "true":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


def c_program(name: str) -> str:
    """The path of the system's own program of this name; fails (see `require_peer`) when there is none."""
    require_peer(name)
    found = _find_system(name)
    assert found is not None
    return found


def our_program(name: str) -> str:
    """The path of our command of this name, as installed beside the running Python."""
    path = os.path.join(os.path.dirname(sys.executable), name)
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} is not installed: run the tests from an environment with the project in it", pytrace=False)
    return path
