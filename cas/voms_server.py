"""The VOMS listener: `gsi.transport.serve` on one side, one function that answers on the other; decides nothing itself.

    def answer(peer: VerifiedPeer, request: FetchRequest, address: str) -> AttributeCertificate: ...

    service = VOMSService(VOMSSettings(vo="climate"), answer, credential=credential, anchors=directory.anchors)
    serve(listen(None, 15000), lambda: service)

C and Java clients both come to this port (`cas.protocol.voms`). A peer without a certificate is refused within the
handshake; its chain is judged by `gsi.trust`. A proxy that is an identity of its own gets nothing: what is issued here
names the end entity, whose attributes such a proxy has not. `answer` runs in a thread, since it asks a database.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cas.protocol.voms import Refusal, VOMSRefusalError, VOMSServerSession
from gsi.errors import DeniedError, GridError, RemoteProtocolError, StorageError, TransportError, VerificationError
from gsi.system import clock
from gsi.transport.serve import Limits
from gsi.transport.tls import ServerTLS
from gsi.trust.options import ValidationOptions
from gsi.trust.verify import VerificationCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.credential import Credential
    from gsi.transport.serve import Connection
    from gsi.transport.stream import HostPort
    from gsi.transport.tls import TLSSession
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer
    from gsi.voms.attribute_cert import AttributeCertificate
    from gsi.voms.exchange import FetchRequest

__all__ = ["VOMSService", "VOMSSettings"]

THREADS: Final = 32
"""Requests that wait for the store or sign at once, per worker; an answer takes milliseconds."""

DRAIN_SECONDS: Final = 2.0
"""How long a client may take to close after its answer: closing on unread bytes would lose our words."""

_DRAIN_READS: Final = 8  # records of a client that goes on talking

_log: Final = logging.getLogger("cas.voms")


@dataclass(frozen=True, slots=True, kw_only=True)
class VOMSSettings:
    """What the configuration decides.

    Attributes:
        vo: The VO whose certificates are issued here.
        limits: What strangers may take.
        validation: How clients' chains are judged.
    """

    vo: str
    limits: Limits = field(default_factory=lambda: Limits(request_seconds=60.0))
    validation: ValidationOptions = field(default_factory=ValidationOptions)


class VOMSService:
    """Serves the fetch protocols of VOMS; a `gsi.transport.serve.Service`."""

    def __init__(
        self,
        settings: VOMSSettings,
        answer: Callable[[VerifiedPeer, FetchRequest, str], AttributeCertificate],
        *,
        credential: Credential,
        anchors: Callable[[], TrustAnchors],
        now: Callable[[], datetime] = clock.now,
        on_reload: Callable[[], Credential | None] = lambda: None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it.

        Args:
            settings: What the configuration decides.
            answer: Returns the certificate for a proven peer at an address, or raises: `VOMSRefusalError`, any other
                `DeniedError` (whose words the client sees), or another `GridError` (whose words it does not). Called in
                threads. It records what it decides before it returns.
            credential: The server's own, by whose name users know it.
            anchors: Returns the trust anchors now; has to be cheap.
            now: The clock.
            on_reload: Called at SIGHUP; returns the credential to use from then on, or None for the old one.
            on_close: Called at the end.

        Raises:
            CredentialError: The credential cannot be used.
        """
        self._settings = settings
        self._answer = answer
        self._anchors = anchors
        self._now = now
        self._on_reload = on_reload
        self._on_close = on_close
        self._tls = ServerTLS(credential, anchors, require_certificate=True)
        self._cache = VerificationCache()
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="voms")

    @property
    def limits(self) -> Limits:
        """See `gsi.transport.serve.Service`."""
        return self._settings.limits

    def tls_session(self) -> TLSSession:
        """See `gsi.transport.serve.Service`."""
        return self._tls.session()

    async def handle(self, connection: Connection) -> None:
        """Prove the client, then answer its one request."""
        loop = asyncio.get_running_loop()
        request_id = secrets.token_hex(8)
        try:
            peer = await loop.run_in_executor(self._executor, self._admit, connection)
        except VerificationError as error:
            _log.info("%s: %s: client refused: %s: %s", request_id, connection.peer, error.reason.value, error)
            if not await connection.refuse_peer(error):
                await self._converse(connection, None, request_id, error)
            return
        await self._converse(connection, peer, request_id, None)

    def _admit(self, connection: Connection) -> VerifiedPeer:
        tls = connection.tls
        assert tls is not None  # `tls_session` always makes one
        peer = tls.verify_peer(self._anchors(), now=self._now(), options=self._settings.validation, cache=self._cache)
        assert peer is not None  # a certificate is required in the handshake
        return peer

    async def _converse(
        self, connection: Connection, peer: VerifiedPeer | None, request_id: str, refused: VerificationError | None
    ) -> None:
        session = VOMSServerSession(self._settings.vo)
        try:
            while (request := session.receive_data(await connection.receive())) is None:
                pass
        except RemoteProtocolError as error:
            _log.info("%s: %s: %s: %s", request_id, connection.peer, error.slug, error)
            await self._send(connection, session.refuse_error(error))
            return
        if peer is None:
            message = "" if refused is None else f": {refused.message}"
            await self._send(connection, session.refuse(Refusal.NOT_A_MEMBER, f"authentication failed{message}"))
            return
        loop = asyncio.get_running_loop()
        reply = await loop.run_in_executor(
            self._executor, self._reply, session, peer, request, (request_id, connection.peer.host)
        )
        await self._send(connection, reply)

    def _reply(
        self, session: VOMSServerSession, peer: VerifiedPeer, request: FetchRequest, whence: tuple[str, str]
    ) -> bytes:
        """Return the answer to a request; whatever goes wrong, the client hears of it as much as is fit for it."""
        request_id, address = whence
        try:
            if peer.identity_der != peer.eec.subject_der:
                raise VOMSRefusalError(
                    "an independent or restricted proxy has none of its issuer's attributes",
                    refusal=Refusal.NOT_A_MEMBER,
                )
            certificate = self._answer(peer, request, address)
        except DeniedError as error:
            refusal = error.refusal if isinstance(error, VOMSRefusalError) else Refusal.NO_ATTRIBUTES
            _log.info("%s: refused to %s: %s", request_id, peer.identity, error)
            return session.refuse(refusal, error.message)
        except GridError as error:
            _log.error("%s: %s: %s", request_id, error.slug, error)
            refusal = Refusal.DATABASE if isinstance(error, StorageError) else Refusal.UNEXPECTED
        except Exception:  # noqa: BLE001  # a defect of ours: the client still gets an answer, the log all of it
            _log.exception("%s: internal error", request_id)
            refusal = Refusal.UNEXPECTED
        else:
            _log.info("%s: issued %x to %s", request_id, certificate.info.serial, peer.identity)
            return session.answer(certificate, now=self._now())
        return session.refuse(refusal, f"internal server error (request id: {request_id})")

    @staticmethod
    async def _send(connection: Connection, reply: bytes) -> None:
        if not reply:
            return
        try:
            await connection.send(reply)
            for _ in range(_DRAIN_READS):
                if not await connection.receive_within(DRAIN_SECONDS):
                    return
        except TransportError as error:  # many clients close as soon as they have what they want
            _log.debug("%s: %s", connection.peer, error)

    def report(self, peer: HostPort | None, error: GridError) -> None:
        """See `gsi.transport.serve.Service`."""
        ours = peer is None or type(error) is GridError
        _log.log(logging.ERROR if ours else logging.INFO, "%s: %s: %s", peer or "server", error.slug, error)

    async def started(self) -> None:
        """See `gsi.transport.serve.Service`."""

    def reload(self) -> None:
        """Ask for the credential again.

        Raises:
            GridError: It cannot be used; the old one stays.
        """
        credential = self._on_reload()
        if credential is not None:
            self._tls.replace_credential(credential)

    def close(self) -> None:
        """Give back the threads."""
        self._executor.shutdown()
        self._on_close()
