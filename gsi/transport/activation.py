"""Sockets that the service manager has opened for us (sd_listen_fds(3)), or ones of our own where it has not.

    with Given.from_environment() as given:
        sockets = given.listen(config.http.listen)          # ADDRESS:PORT, or a Unix socket's path
        datagrams = given.take_datagrams("*:9878")          # none where the manager gave none

The configuration says where a server listens, and a socket is taken only for the place that it is bound to: a port that
is meant for this machine alone is not served to the world because a unit says so. What nobody takes is an error.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Final, Self

from gsi.errors import ConfigError
from gsi.system.notify import take_listeners
from gsi.transport.listening import ManagedSocket, listen_unix, split_address
from gsi.transport.serve import listen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Given"]

_UNIX_MODE: Final = 0o600
_PROTOCOLS: Final = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})


class Given:
    """The sockets of the service manager that nobody has taken yet."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        """Take descriptors over.

        Raises:
            ConfigError: One of them is no socket that a server could listen on.
        """
        self._sockets: list[socket.socket] = []
        try:
            self._sockets += [_adopt(one) for one in descriptors]
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_environment(cls) -> Self:
        """Take over what LISTEN_FDS says; nothing where this process was not started that way.

        Raises:
            ConfigError: As for `Given`.
        """
        return cls(take_listeners())

    def listen(self, place: str, *, mode: int = _UNIX_MODE) -> list[socket.socket]:
        """Return the sockets of a place: the manager's, or where it has none for it new ones.

        Args:
            place: ADDRESS:PORT as in configurations, `*` for every address; or a Unix socket's absolute path.
            mode: Of a Unix socket that is made here.

        Raises:
            ConfigError: It cannot be listened on.
        """
        found = self._take(place, socket.SOCK_STREAM)
        if found:
            return found
        if place.startswith("/"):
            return [listen_unix(place, mode)]
        host, port = split_address(place)
        return listen(host or None, port)

    def take(self, place: str) -> list[socket.socket]:
        """Return the manager's listening TCP sockets of a place; none where it has none."""
        return self._take(place, socket.SOCK_STREAM)

    def take_datagrams(self, place: str) -> list[socket.socket]:
        """Return the manager's UDP sockets of a place; none where it has none."""
        return self._take(place, socket.SOCK_DGRAM)

    def _take(self, place: str, kind: socket.SocketKind) -> list[socket.socket]:
        wanted = [one for one in self._sockets if one.type == kind]
        found = [one for one in wanted if _is_at(one, place)] if wanted else []
        self._sockets = [one for one in self._sockets if one not in found]
        return found

    def close(self) -> None:
        """Close what nobody has taken."""
        for one in self._sockets:
            one.close()
        self._sockets = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_more: object) -> None:
        """Insist that all were taken.

        Raises:
            ConfigError: Some were not, and nothing else went wrong.
        """
        left = [_describe(one) for one in self._sockets]
        self.close()
        if left and kind is None:
            raise ConfigError(
                f"the service manager listens on {', '.join(left)}, and the configuration does not",
                hint="name the same addresses and ports in the .socket unit and in the configuration",
            )


def _adopt(descriptor: int) -> ManagedSocket:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as found:
            family, kind = found.family, found.type
            listens = kind == socket.SOCK_DGRAM or bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            dual = family == socket.AF_INET6 and not found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError as error:
        raise ConfigError(f"descriptor {descriptor} cannot be listened on: {error.strerror}") from error
    is_unix = family == socket.AF_UNIX and kind == socket.SOCK_STREAM
    if not listens or not (is_unix or (family in _INTERNET and kind in _PROTOCOLS)):
        raise ConfigError(f"descriptor {descriptor} is no socket that can be listened on")
    if dual:  # clients of IPv4 would have names of IPv6, which limits and lists of addresses do not mean
        raise ConfigError(
            f"descriptor {descriptor} takes IPv4 on an IPv6 socket",
            hint="BindIPv6Only=ipv6-only in the .socket unit, and a second line with 0.0.0.0:PORT",
        )
    # The protocol is named: asyncio sets TCP_NODELAY only on sockets that say they are TCP.
    made = ManagedSocket(family, kind, 0 if is_unix else _PROTOCOLS[kind], descriptor)
    made.setblocking(False)
    made.set_inheritable(False)
    return made


def _is_at(one: socket.socket, place: str) -> bool:
    """Say whether a socket is bound to a place of a configuration."""
    bound = one.getsockname()
    if place.startswith("/"):
        return one.family == socket.AF_UNIX and bound == place and _is_there(place)
    if one.family not in _INTERNET:
        return False
    host, port = split_address(place)
    if bound[1] != port:
        return False
    if not host:
        return True
    try:
        found = socket.getaddrinfo(host, port, family=one.family, type=one.type)
    except (OSError, UnicodeError):  # no such name, or none of this family
        return False
    return any(address[0] == bound[0] for _, _, _, _, address in found)


def _is_there(path: str) -> bool:
    """Say whether clients find the socket: a unit that removes the directory has taken its name away."""
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def _describe(one: socket.socket) -> str:
    bound = one.getsockname()
    if one.family not in _INTERNET:
        return str(bound) or "a socket without a name"
    host = f"[{bound[0]}]" if one.family == socket.AF_INET6 else bound[0]
    return f"{host}:{bound[1]}" + (" (UDP)" if one.type == socket.SOCK_DGRAM else "")
