"""Proxies straight from a MyProxy server: by the user's pass phrase, or as a trusted retriever; blocking.

    server = Server("myproxy.example.org", anchors=directory.anchors, own=host_credential)
    proxy = server.log_on("alice", passphrase, code="123456", lifetime=timedelta(hours=12))
    proxy = server.issue(Grant("alice"))            # as a trusted retriever: for a user whom the application knows

With a pass phrase the application sees it, once; it should not be kept, so such a proxy ends when it ends. As a trusted
retriever (`trusted_retrievers` in the server's configuration) the application answers for who its users are.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gsi.errors import AuthenticationError, ConfigError, RefusedError
from gsi.keys import KeyType, generate_key
from gsi.secret import Passphrase
from gsi.system import clock
from myproxy.client import MyProxyClient, ServerAddress
from myproxy.gateway.base import Grant, LogOnAgainError
from myproxy.protocol.messages import Command, Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.credential import Credential
    from gsi.keys import PrivateKey
    from gsi.trust.anchors import TrustAnchors

__all__ = ["Server"]


class Server:
    """A MyProxy server. Safe for use by several threads: each question is a connection of its own."""

    def __init__(
        self,
        hosts: str,
        *,
        anchors: Callable[[], TrustAnchors],
        own: Credential | None = None,
        now: Callable[[], datetime] = clock.now,
        make_key: Callable[[], PrivateKey] = lambda: generate_key(KeyType.RSA),
    ) -> None:
        """Know the server; asks nothing yet.

        Args:
            hosts: `host[:port],...`.
            anchors: Whom to trust, now.
            own: The application's credential, where the server trusts it to know its users.
            now: The clock.
            make_key: Makes keys.

        Raises:
            ConfigError: It is no such list of hosts.
        """
        self._address = ServerAddress.parse(hosts)
        self._anchors = anchors
        self._own = own
        self._now = now
        self._make_key = make_key

    def log_on(
        self, username: str, passphrase: Passphrase, *, code: str = "", lifetime: timedelta = timedelta(hours=12)
    ) -> Credential:
        """Return a proxy for a pass phrase.

        Args:
            username: The account.
            passphrase: The pass phrase.
            code: The one-time code, where the server asks for one.
            lifetime: At most so long.

        Raises:
            LogOnAgainError: The server says no.
            GridError: No connection, or the server is not trusted.
        """
        given = Passphrase(passphrase.reveal() + code.encode("utf-8")) if code else passphrase
        return self._get(Request(Command.GET, username, given, lifetime=lifetime), None)

    def issue(self, grant: Grant, *, lifetime: timedelta | None = None) -> Credential:
        """Return a proxy of a user, in the application's own name.

        Raises:
            ConfigError: The application has no credential of its own.
            LogOnAgainError: The server says no: nothing is stored that the application may have.
            GridError: No connection, or the server is not trusted.
        """
        if self._own is None:
            raise ConfigError("without a credential of its own, an application is not a trusted retriever")
        span = timedelta(hours=12) if lifetime is None else lifetime
        return self._get(Request(Command.GET, grant.username, Passphrase(b""), lifetime=span), self._own)

    def _get(self, request: Request, own: Credential | None) -> Credential:
        client = MyProxyClient(self._address, self._anchors(), credential=own, now=self._now)
        try:
            return client.get(request, self._make_key())
        except (RefusedError, AuthenticationError) as error:
            raise LogOnAgainError(error.message) from error
