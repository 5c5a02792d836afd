"""Compiling the callout library and writing `gsi-authz.conf`; nothing of it happens at installation of the package.

    library = compile_library("/usr/lib/gsi-authz")
    text = render_conf(ConfOptions(library=library, server_uid=990))

The library is one C file without dependencies but libc, so that any `cc` will do. The configuration names every type
that the services know: one that is missing would silently allow what it stands for (docs/howto/authz-callout.md).
"""

from __future__ import annotations

import ctypes
import os
import shlex
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.config import DEFAULT_SOCKET
from gsi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CALLOUTS", "LIBRARY_NAME", "ConfOptions", "compile_library", "render_conf", "render_gridftp_conf"]

LIBRARY_NAME: Final = "libgsi_authz_callout.so"
SOURCE_NAME: Final = "gsi_authz_callout.c"
COMPILE_SECONDS: Final = 120.0
"""For one file of a few hundred lines, on the slowest machine."""

FLAGS: Final = (
    "-shared",
    "-fPIC",
    "-O2",
    "-Wall",
    "-Wextra",
    "-fstack-protector-strong",
    "-Wl,-z,relro,-z,noexecstack",
)

CALLOUTS: Final[Mapping[str, str]] = {
    "globus_mapping": "gsi_authz_mapping",
    "globus_authorization": "gsi_authz_service",
    "GLOBUS_GSI_AUTHZ_SYSTEM_INIT": "gsi_authz_system_init",
    "GLOBUS_GSI_AUTHZ_SYSTEM_DESTROY": "gsi_authz_system_destroy",
    "GLOBUS_GSI_AUTHZ_HANDLE_INIT": "gsi_authz_handle_init",
    "GLOBUS_GSI_AUTHORIZE_ASYNC": "gsi_authz_authorize",
    "GLOBUS_GSI_AUTHZ_HANDLE_DESTROY": "gsi_authz_handle_destroy",
    "GLOBUS_GSI_AUTHZ_CANCEL": "gsi_authz_cancel",
    "GLOBUS_GSI_GET_AUTHORIZATION_IDENTITY": "gsi_authz_identity",
    "globus_gram_jobmanager_authz": "gsi_authz_job",
}
"""Abstract callout type -> the library's function."""

DISABLED_COMMANDS: Final = ("SITE HTTP", "SITE SHARING", "MLSR")
"""Commands that move data or list trees without asking any callout; never needed for ordinary transfers."""

RENAME_COMMANDS: Final = ("RNFR", "RNTO")
"""What else to disable for `renames = "disabled"`."""

_MAX_LIBRARY: Final = 255  # bytes, gct: callout/source/library/globus_callout.c
_UNSAFE: Final = frozenset(" \t\n\r\"'#\\")  # what ends or quotes a field there


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfOptions:
    """What `gsi-authz.conf` says.

    Attributes:
        library: The library's absolute path.
        socket: The daemon's socket.
        server_uid: The uid that the daemon must have.
        timeout_ms: How long a service waits for an answer.
    """

    library: str
    socket: str = DEFAULT_SOCKET
    server_uid: int = 0
    timeout_ms: int = 10000


def render_conf(options: ConfOptions) -> str:
    """Return the text of `gsi-authz.conf`.

    Raises:
        ConfigError: A path cannot be written in its grammar.
    """
    for what, path in (("library", options.library), ("socket", options.socket)):
        if not path.startswith("/") or len(os.fsencode(path)) > _MAX_LIBRARY or not _UNSAFE.isdisjoint(path):
            raise ConfigError(
                f"the {what} {path!r} cannot stand in gsi-authz.conf",
                hint=f"an absolute path of at most {_MAX_LIBRARY} bytes, without blanks, quotes, # and backslashes",
            )
    settings = (
        f"ENV:GSI_AUTHZ_SOCKET={options.socket} GSI_AUTHZ_SERVER_UID={options.server_uid} "
        f"GSI_AUTHZ_TIMEOUT={options.timeout_ms}"
    )
    lines = ["# Written by gsi-authz-build-callout. Every line is needed: a type that is missing is allowed."]
    lines += [f"{kind} {options.library} {symbol} {settings}" for kind, symbol in CALLOUTS.items()]
    return "\n".join(lines) + "\n"  # a last line without line feed stops the services


def render_gridftp_conf(*, renames: bool = True) -> str:
    """Return what the GridFTP server's own configuration must hold.

    Args:
        renames: Whether clients may rename; without, `renames = "disabled"` is true for the daemon.
    """
    commands = DISABLED_COMMANDS if renames else (*DISABLED_COMMANDS, *RENAME_COMMANDS)
    return f'cas 1\ndisable_command_list "{",".join(commands)}"\n'


def compile_library(directory: str, *, compiler: str | None = None) -> str:
    """Compile the library into a directory, replacing an older one at once; return its path.

    Args:
        directory: Where to put it. Services load it as root: nobody else may be able to write there.
        compiler: The command, with options if need be; `cc` by default.

    Raises:
        ConfigError: There is no compiler, it failed, or the directory is not safe.
    """
    _check_directory(directory)
    target = os.path.join(directory, LIBRARY_NAME)
    command = shlex.split(compiler or "cc")
    with tempfile.TemporaryDirectory(prefix=".gsi-authz-", dir=directory) as work:
        made = os.path.join(work, LIBRARY_NAME)
        with as_file(files("gsi.authz.callout") / "native" / SOURCE_NAME) as source:
            _run([*command, *FLAGS, "-o", made, str(source)])
        _check_library(made)
        os.chmod(made, 0o755)  # noqa: S103  mapped users' processes load it too
        os.replace(made, target)
    return target


def _check_directory(directory: str) -> None:
    try:
        found = os.stat(directory)
    except OSError as error:
        raise ConfigError(f"cannot write to {directory}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise ConfigError(
            f"{directory}: others could replace the library there",
            hint=f"it must belong to uid {os.geteuid()} or root, and nobody else may write it",
        )


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603  the administrator's compiler, without a shell
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=COMPILE_SECONDS
        )
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no C compiler {command[0]!r}",
            hint="install gcc or clang with the libc headers, or build the library elsewhere and copy it",
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{command[0]} could not be run: {error}") from error
    if done.returncode:
        text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        told = f":\n{text[-2000:]}" if text else ""
        raise ConfigError(f"{command[0]} failed with status {done.returncode}{told}")


def _check_library(path: str) -> None:
    """Load the library and look for every function: a service would find out at its first client only."""
    try:
        library = ctypes.CDLL(path)
        missing = [symbol for symbol in CALLOUTS.values() if not hasattr(library, symbol)]
    except OSError as error:
        raise ConfigError(f"the library that was built cannot be loaded: {error}") from error
    if missing:
        raise ConfigError(f"the library that was built has no {', '.join(missing)}")
