"""What the repository server does, one method per command; no socket, no file, no clock of its own.

    caller = service.admit(peer, address=..., request_id=...)
    step = service.begin_get(caller, request)               # authenticated and permitted, a round, or an error
    certificates = service.finish_get(step, request_der)    # the new proxy and its chain
    grant = service.begin_put(caller, request)
    service.finish_put(grant, certificates)                 # verified, sealed, stored

The commands are in `myproxy.storage` and `myproxy.retrieval`; here is who is let in, and what is said to those who are
not. Only `AuthenticationError` and `DeniedError` carry words for the client (lines joined by line feeds, in the C
server's words where scripts look for them); whatever else is raised is the server's own trouble. Every decision is
recorded, and the record is on disk, before a credential leaves or is acknowledged; if that fails the request fails.
Methods block on the store and on key derivation: shells call them in threads. Agrees with
gct:myproxy/source/myproxy_server.c, but for clients with independent or restricted proxies, which the C server lets in
under names of their own (`admit`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.errors import DeniedError
from gsi.proxy.kinds import ProxyKind
from myproxy.grants import Caller
from myproxy.retrieval import RetrievalCommands
from myproxy.storage import StorageCommands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.errors import RemoteProtocolError, VerificationError
    from gsi.trust.verify import VerifiedPeer
    from myproxy.protocol.messages import Request

__all__ = ["MyProxyService"]


class MyProxyService(StorageCommands, RetrievalCommands):
    """The commands. Safe for use by several threads."""

    def admit(self, peer: VerifiedPeer | None, *, address: str, request_id: str, fqans: tuple[str, ...] = ()) -> Caller:
        """Let a verified or anonymous client in, but for those with independent or restricted proxies.

        Such a proxy has none of its end entity's rights (RFC 3820 section 3.8.2 and 4.2), and its name, which anyone
        may choose who holds any certificate, is that of the end entity with more behind it: a policy like
        `*/CN=Alice`, which is how sites write them, would be met by Mallory's proxy `.../CN=Mallory/CN=Alice`. The C
        server judges these by that name; here they are turned away.

        Args:
            peer: Its verified chain; None for a client without certificate.
            address: Where it is, for the audit.
            request_id: The id of the connection.
            fqans: The VOMS attributes that its chain proves.

        Raises:
            DeniedError: The client cannot be let in.
        """
        if peer is not None and (peer.independent or peer.kind is ProxyKind.RESTRICTED):
            kind = ProxyKind.INDEPENDENT if peer.independent else ProxyKind.RESTRICTED
            error = DeniedError(
                f"authentication failed\n{kind} proxies carry no rights here; use a full or limited proxy"
            )
            self._trail.refuse_client(address, request_id, [peer.leaf.der], error, peer=peer.identity)
            raise error
        return Caller(peer, address, request_id, fqans)

    def refuse_client(
        self, error: VerificationError, *, address: str, request_id: str, presented: Sequence[bytes] = ()
    ) -> None:
        """Take note that a client is refused because its certificates are not believed, before it is told.

        Args:
            error: What is wrong with them.
            address: Where the client is, for the audit.
            request_id: The id of the connection.
            presented: What the client showed, DER, leaf first; empty where OpenSSL has kept it to itself.

        Raises:
            StorageError: It could not be recorded.
        """
        self._trail.refuse_client(address, request_id, presented, error)

    def refuse_message(self, caller: Caller, request: Request | None, error: RemoteProtocolError) -> None:
        """Take note that a client has left the protocol, before it is told.

        Args:
            caller: The client.
            request: What it had asked for before, or None when that is what could not be read.
            error: What was wrong.

        Raises:
            StorageError: It could not be recorded.
        """
        self._trail.refuse_message(caller, request, error)
