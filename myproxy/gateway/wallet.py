"""Keeping users' proxies between two requests of an application, and renewing them; asks a `Source`.

    wallet = Wallet(portal, FileStore("/var/lib/gateway/proxies"))
    session["grid"] = wallet.keep(grant)           # 43 letters, for the user's session
    proxy = wallet.proxy(session["grid"])          # a new one after half its life
    wallet.forget(session.pop("grid"))

What is stored is sealed with a key that is in the user's session alone, as in the portal: neither the store nor a
session opens anything without the other. The store is any mapping of names to bytes: a `FileStore`, a dictionary in
tests, or an application's cache with `__getitem__`, `__setitem__` and `__delitem__`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from gsi.credential import MAX_CREDENTIAL_BYTES, Credential, parse_credential
from gsi.errors import GridError, StorageError
from gsi.proxy.chain import ProxyChain
from gsi.system import clock
from gsi.system.files import read_private, write_private
from myproxy.gateway.base import Grant, LogOnAgainError
from myproxy.portal.vault import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from myproxy.gateway.base import Source

__all__ = ["FileStore", "Store", "Wallet"]

LEAST: Final = timedelta(minutes=5)
"""What is left of a proxy that is still given out when no new one can be had."""
_ROW: Final = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


class Store(Protocol):
    """Names and bytes."""

    def __getitem__(self, name: str, /) -> bytes:
        """Return what is there; KeyError where nothing is."""
        ...

    def __setitem__(self, name: str, data: bytes, /) -> None:
        """Put something there."""
        ...

    def __delitem__(self, name: str, /) -> None:
        """Remove it; KeyError where nothing is."""
        ...


class FileStore:
    """A directory of the application's own, mode 0700. Safe for use by several threads and processes."""

    def __init__(self, directory: str) -> None:
        """Make the directory where it is missing.

        Raises:
            StorageError: Others can write there, or it cannot be made.
        """
        from gsi.sql.engine import prepare_private_directory

        prepare_private_directory(directory)
        self._directory = directory

    def __getitem__(self, name: str, /) -> bytes:
        """Return what is there."""
        try:
            return read_private(self._path(name), max_bytes=2 * MAX_CREDENTIAL_BYTES)
        except GridError as error:
            if not os.path.lexists(self._path(name)):
                raise KeyError(name) from error
            raise

    def __setitem__(self, name: str, data: bytes, /) -> None:
        """Put something there, at once or not at all."""
        write_private(self._path(name), data)

    def __delitem__(self, name: str, /) -> None:
        """Remove it."""
        try:
            os.unlink(self._path(name))
        except FileNotFoundError as error:
            raise KeyError(name) from error
        except OSError as error:
            raise StorageError(f"{self._path(name)}: {error.strerror}") from error

    def sweep(self, *, before: datetime) -> int:
        """Remove what nobody has renewed since; return how much that was. For a timer of the application."""
        count = 0
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            if _ROW.match(name) and os.stat(path).st_mtime < before.timestamp():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                    count += 1
        return count

    def _path(self, name: str) -> str:
        if not _ROW.match(name):
            raise KeyError(name)
        return os.path.join(self._directory, name)


class Wallet:
    """Users' proxies. Safe for use by several threads and processes, as far as the store is."""

    def __init__(
        self,
        source: Source | None,
        store: Store,
        *,
        lifetime: timedelta | None = None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """Choose where proxies come from and where they rest.

        Args:
            source: Gives new ones; None where none are to be had, as after a logon with a pass phrase.
            store: Where they rest, sealed.
            lifetime: How long each is to be; None is as long as it may be.
            now: The clock.
        """
        self._source = source
        self._store = store
        self._lifetime = lifetime
        self._now = now

    def keep(self, grant: Grant, proxy: Credential | None = None) -> str:
        """Keep what a user has allowed; return what belongs into the user's session, and nowhere else.

        Args:
            grant: What the user has allowed; where it names no identity, the proxy's is kept with it.
            proxy: A proxy that is there already; None fetches one, so that it is known now whether that works.

        Raises:
            LogOnAgainError: The grant is over, or the proxy is another's than it says.
            GridError: No proxy could be had, or it cannot be stored.
        """
        ticket = Ticket.make()
        first = self._issue(grant) if proxy is None else proxy
        self._put(ticket, _claim(grant, first), first)
        return ticket.text

    def proxy(self, ticket: str | None) -> Credential:
        """Return the user's proxy: a new one after half its life, the old one where that cannot be had yet.

        Args:
            ticket: What `keep` gave; None where the session has none.

        Raises:
            LogOnAgainError: There is none, it is over, or the account has got another owner meanwhile.
            GridError: It is over, and no new one can be had at the moment.
        """
        found, grant, proxy = self._open(ticket)
        now = self._now()
        if grant.ends is not None and grant.ends <= now:
            self.forget(ticket)
            raise LogOnAgainError("what the user had allowed is over")
        if now < proxy.not_before + (proxy.not_after - proxy.not_before) / 2:
            return proxy
        left = proxy.not_after - now
        if self._source is None or (grant.ends is not None and grant.ends <= proxy.not_after + timedelta(seconds=1)):
            if left <= timedelta(0):
                self.forget(ticket)
                raise LogOnAgainError("the proxy is over")
            return proxy
        try:
            fresh = self._issue(grant)
            grant = _claim(_claim(grant, proxy), fresh)
        except LogOnAgainError:
            self.forget(ticket)
            raise
        except GridError:
            if left > LEAST:
                return proxy
            raise
        self._put(found, grant, fresh)
        return fresh

    def grant(self, ticket: str | None) -> Grant:
        """Return what the user has allowed, for `Portal.end`.

        Raises:
            LogOnAgainError: There is nothing.
            StorageError: The store does not work.
        """
        return self._open(ticket)[1]

    def forget(self, ticket: str | None) -> None:
        """Forget a user's proxy, when the user logs off.

        Raises:
            StorageError: The store does not work.
        """
        found = Ticket.parse(ticket)
        if found is not None:
            with contextlib.suppress(KeyError):
                del self._store[found.row]

    def _issue(self, grant: Grant) -> Credential:
        if self._source is None:
            raise LogOnAgainError("there is nobody who gives a new proxy")
        return self._source.issue(grant, lifetime=self._lifetime)

    def _open(self, text: str | None) -> tuple[Ticket, Grant, Credential]:
        ticket = Ticket.parse(text)
        try:
            data = None if ticket is None else ticket.open(bytes(self._store[ticket.row]))
        except KeyError:
            data = None
        if ticket is None or data is None:
            raise LogOnAgainError("no proxy is kept for this session")
        content = json.loads(data)
        ends = None if content["ends"] is None else datetime.fromtimestamp(content["ends"], UTC)
        grant = Grant(content["username"], ends, content["token"], content["identity"])
        return ticket, grant, parse_credential(content["proxy"].encode("ascii"), source="the wallet")

    def _put(self, ticket: Ticket, grant: Grant, proxy: Credential) -> None:
        content = {
            "username": grant.username,
            "ends": None if grant.ends is None else grant.ends.timestamp(),
            "token": grant.token,
            "identity": grant.identity,
            "proxy": proxy.encode().decode("ascii"),
        }
        self._store[ticket.row] = ticket.seal(json.dumps(content).encode())


def _claim(grant: Grant, proxy: Credential) -> Grant:
    """Return a grant with the identity of its proxy.

    Raises:
        LogOnAgainError: The grant is another's.
    """
    identity = ProxyChain.split(proxy.certificates).identity_text
    if grant.identity not in {"", identity}:
        raise LogOnAgainError(
            f"a proxy of {identity} came in place of one of {grant.identity}",
            hint=f"the account {grant.username} has another owner now",
        )
    return replace(grant, identity=identity)
