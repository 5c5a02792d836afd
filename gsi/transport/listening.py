"""Where servers listen: addresses as configurations write them, and Unix sockets; serves nothing.

    split_address("[2001:db8::1]:8443")         # ("2001:db8::1", 8443); "*:8443" gives ("", 8443)
    listening = listen_unix("/run/gsi-authz/http", 0o660)

Listening on TCP ports is `gsi.transport.serve.listen`'s.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Final

from gsi.errors import ConfigError

__all__ = ["BACKLOG", "ManagedSocket", "listen_unix", "split_address"]

BACKLOG: Final = 512
"""Connections that wait in the kernel: a burst of logins, each with two questions."""


class ManagedSocket(socket.socket):
    """A listening socket of the service manager: a Unix socket's name is not ours to remove."""

    __slots__ = ()


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of `ADDRESS:PORT`; the host `*` is every address, and is given back as the empty text.

    Raises:
        ConfigError: It is none.
    """
    host, colon, port = text.rpartition(":")
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not inner or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ConfigError(
            f"{text!r} is no address with a port",
            hint="like *:8443, 192.0.2.1:8443 or [2001:db8::1]:8443",
        )
    if ":" in inner and inner == host:
        raise ConfigError(f"{text!r}: an IPv6 address stands in brackets", hint="like [2001:db8::1]:8443")
    return ("" if inner == "*" else inner), int(port)


def listen_unix(path: str, mode: int) -> socket.socket:
    """Listen on a Unix socket; one that a daemon has left behind is replaced, one in use is not.

    Args:
        path: Absolute. Its directory must belong to this user or root, and nobody else may be able to write it: whoever
            could put a socket there would decide.
        mode: The socket's mode.

    Raises:
        ConfigError: It cannot be listened on.
    """
    directory = os.path.dirname(path)
    try:
        _check_directory(directory)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"cannot listen on {path}: {error.strerror}") from error
    try:
        _remove_stale(path)
        made.bind(path)
        os.chmod(path, mode)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        why = "another daemon listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise ConfigError(f"cannot listen on {path}: {why}") from error
    return made


def _check_directory(directory: str) -> None:
    found = os.stat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise ConfigError(
            f"{directory}: others could put a socket of their own there",
            hint=f"it must belong to uid {os.geteuid()} or root, and nobody else may write it",
        )


def _remove_stale(path: str) -> None:
    """Unlink a socket that nobody listens on. Two daemons started at the same moment are the administrator's affair."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return  # bind will refuse it
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)
