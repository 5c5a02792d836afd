"""One conversation with one client: bytes to the session, requests to the service, answers back; no decisions.

    await Conversation(connection, service, caller, ...).run()

The service's methods block and so run in threads; everything else is in the event loop. Whatever goes wrong, the client
gets an error response with the words it may see and the id of the request, and the log gets the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import time
from typing import TYPE_CHECKING, Final, TypeVar

from gsi.errors import AuthenticationError, DeniedError, GridError, RemoteProtocolError, TransportError
from gsi.system.audit import SYNC_SECONDS
from myproxy.auth.base import DelayedRefusalError
from myproxy.protocol.events import (
    NEED_DATA,
    AuthorizationReceived,
    CertificateRequestReceived,
    CertificatesReceived,
    ConnectionClosed,
    CredentialReceived,
    Event,
    PeerFailed,
    RequestReceived,
)
from myproxy.protocol.messages import Command, Request, Response
from myproxy.protocol.server import ServerState
from myproxy.retrieval import AuthorizationRound, Pause

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from gsi.certificate import Certificate
    from gsi.system.audit import Posted
    from gsi.transport.serve import Connection
    from myproxy.grants import Caller, IssuanceGrant, RetrievalGrant
    from myproxy.protocol.messages import TrustRootFile
    from myproxy.protocol.server import ServerSession
    from myproxy.retrieval import RetrievalStep
    from myproxy.service import MyProxyService

__all__ = ["Conversation", "Haste", "becomes_known", "refusal"]

DRAIN_SECONDS: Final = 2.0
"""How long a refused client may take to close, after each of its reads."""

LAST_SECONDS: Final = 1.0
"""Before the end of a conversation's time: for recording that it was not enough, and saying so."""

DRAIN_READS: Final = 64
"""How much of a refused client's bytes is read, in records: a request of the largest size allowed."""

MAX_ROUNDS: Final = 32
"""Authorization rounds: SASL mechanisms take three."""

SLOW_SECONDS: Final = 0.1
"""What the loop may wait for the store: two hundred times what it takes from memory, since a busy machine, too, may
let it wait."""

REST_SECONDS: Final = 10.0
"""For how long threads ask the store after the loop had to wait."""

_log: Final = logging.getLogger("myproxy.server")
_T = TypeVar("_T")


class Haste:
    """Whether the store is asked in the event loop: as long as it answers as fast as memory does.

    A disk that has to turn, or a lock that somebody holds, keeps all clients of the loop waiting; so after one such
    wait threads wait in its place for some time. For one thread.
    """

    def __init__(self) -> None:
        self._resumes = -math.inf

    @property
    def is_allowed(self) -> bool:
        """Whether the loop may ask."""
        return time.monotonic() >= self._resumes

    def note(self, seconds: float) -> None:
        """Take note of how long the loop has waited."""
        if seconds > SLOW_SECONDS:
            self._resumes = time.monotonic() + REST_SECONDS


class Conversation:
    """The exchange after the handshake, until one side closes."""

    def __init__(
        self,
        connection: Connection,
        session: ServerSession,
        service: MyProxyService,
        executor: Executor,
        *,
        seconds: float | None = None,
        observe: Callable[[str, float], None] = lambda _command, _seconds: None,
        may_log: Callable[[str], bool] = lambda _slug: True,
        haste: Haste | None = None,
    ) -> None:
        """Prepare it.

        Args:
            connection: To the client; the handshake is done.
            session: The protocol's state, fresh.
            service: Decides and acts.
            executor: Where its methods run.
            seconds: After which time from now the connection will be ended; what is not whole a little before that is
                refused and recorded, instead of just ending. None where nobody ends it.
            observe: Told how many seconds a command took.
            may_log: Asked before a refusal is logged.
            haste: What all conversations of a process know of how fast the store is.
        """
        self._connection = connection
        self._session = session
        self._service = service
        self._executor = executor
        self._deadline = math.inf if seconds is None else time.monotonic() + seconds
        self._margin = 0.0 if seconds is None else min(LAST_SECONDS, seconds / 4)
        self._observe = observe
        self._may_log = may_log
        self._haste = haste or Haste()
        self._request: Request | None = None

    async def run(self, caller: Caller) -> None:
        """Serve the one request of the connection.

        Raises:
            TransportError: The connection failed before the exchange was over.
        """
        begun = 0.0
        try:
            event = await self._next_event()
            if isinstance(event, RequestReceived):
                begun, self._request = time.monotonic(), event.request
                _log.debug("%s: %s for %r", caller.request_id, event.request.command.name, event.request.username)
                await self._answer(caller, event.request)
        except TransportError:
            raise
        except RemoteProtocolError as error:  # what the service refuses it has recorded itself
            await self._refuse_message(error, caller)
        except GridError as error:
            await self.refuse(error, caller.request_id)
        except Exception as error:  # noqa: BLE001  # a defect of ours: the client still gets an answer, the log all of it
            _log.exception("%s: internal error", caller.request_id)
            await self.refuse(GridError(f"internal error: {error!r}"), caller.request_id)
        finally:
            if self._request is not None:
                self._observe(self._request.command.name, time.monotonic() - begun)

    async def _refuse_message(self, error: RemoteProtocolError, caller: Caller) -> None:
        """Refuse what could not be read, once that is recorded."""
        answer: GridError = error
        try:
            await self._call(lambda: self._service.refuse_message(caller, self._request, error))
        except GridError as trouble:
            answer = trouble
        await self.refuse(answer, caller.request_id)

    async def refuse(self, error: GridError, request_id: str) -> None:
        """Tell the client no, as far as it may know why, and the log everything."""
        level = logging.INFO if _may_tell(error) else logging.ERROR
        if self._may_log(error.slug):
            _log.log(level, "%s: refused: %s: %s", request_id, error.slug, error)
        if isinstance(error, DelayedRefusalError):
            await asyncio.sleep(error.seconds)
        if self._session.state is not ServerState.DONE:
            await self._connection.send(self._session.send_response(refusal(error, request_id)))
            await self._drain()

    async def _drain(self) -> None:
        """Read what the client still sends: closing on unread bytes would reset the connection and lose our words."""
        for _ in range(DRAIN_READS):
            left = self._deadline - time.monotonic() - self._margin / 4  # aborting would lose our words, too
            if left <= 0 or not await self._connection.receive_within(min(DRAIN_SECONDS, left)):
                return

    async def refuse_after_request(self, error: GridError, request_id: str) -> None:
        """Wait for the request, since a client listens only then, and refuse it.

        Raises:
            TransportError: The connection failed.
        """
        try:
            event = await self._next_event()
        except RemoteProtocolError:
            event = None
        if not isinstance(event, ConnectionClosed):
            await self.refuse(error, request_id)

    async def _answer(self, caller: Caller, request: Request) -> None:
        service = self._service
        match request.command:
            case Command.GET:
                await self._get(caller, request)
            case Command.PUT:
                await self._put(caller, request)
            case Command.STORE:
                await self._store(caller, request)
            case Command.RETRIEVE:
                await self._retrieve(caller, request)
            case Command.INFO:
                found = await self._call(lambda: service.info(caller, request))
                history = None
                if request.wants_history:
                    history = await self._call(lambda: service.happenings(caller, request))
                await self._send_response(Response.ok(credentials=found, history=history))
            case Command.DESTROY:
                await self._call(lambda: service.destroy(caller, request))
                await self._send_response(Response.ok())
            case Command.CHANGE_PASSPHRASE:
                await self._call(lambda: service.change_passphrase(caller, request))
                await self._send_response(Response.ok())
            case Command.GET_TRUSTROOTS:
                files = await self._call(lambda: service.trust_roots(caller, request))
                await self._send_response(Response.ok(trust_roots=files))

    async def _get(self, caller: Caller, request: Request) -> None:
        service = self._service
        step = self._begin_quickly(caller, request)
        if step is None:
            step = await self._call(lambda: service.begin_get(caller, request))
        grant = await self._authorize(step)
        if grant is None:
            return
        files = await self._trust_roots(request)
        await self._send_response(Response.ok(trust_roots=files, on_behalf_of=request.on_behalf_of))
        event = await self._next_event()
        if not isinstance(event, CertificateRequestReceived):
            return  # the client wanted to know only whether the pass phrase is right
        certificates = await self._finish_get(grant, event.der)
        # In one burst: C clients read once, and some close before the last message.
        await self._connection.send(
            self._session.send_certificates(certificates), self._session.send_response(Response.ok())
        )

    def _begin_quickly(self, caller: Caller, request: Request) -> RetrievalStep | None:
        """Judge the request here, where that can be done; a thread would cost half as much again."""
        if not self._haste.is_allowed:
            return None
        begun = time.monotonic()
        step = self._service.begin_quickly(caller, request)
        self._haste.note(time.monotonic() - begun)
        return step

    async def _finish_get(self, grant: RetrievalGrant | IssuanceGrant, request_der: bytes) -> tuple[Certificate, ...]:
        """Have the proxy made: here, since that takes half a millisecond; a thread would cost as much again."""
        signed = self._service.sign_quickly(grant, request_der)
        if signed is None:
            return await self._call(lambda: self._service.finish_get(grant, request_der))
        if not await becomes_known(signed.records[-1]):
            await self._call(signed.settle)
        signed.settle()
        return signed.certificates

    async def _trust_roots(self, request: Request) -> tuple[TrustRootFile, ...]:
        """Return the files that go with an answer; a thread is asked only where some were asked for."""
        if not request.wants_trust_roots:
            return ()
        return await self._call(lambda: self._service.accompanying_trust_roots(request))

    async def _retrieve(self, caller: Caller, request: Request) -> None:
        service = self._service
        grant = await self._authorize(await self._call(lambda: service.begin_retrieve(caller, request)))
        if grant is None:
            return
        text = await self._call(lambda: service.finish_retrieve(grant))
        files = await self._trust_roots(request)
        # A response of its own: C clients read the credential in the burst after it.
        await self._send_response(Response.ok(trust_roots=files))
        await self._connection.send(self._session.send_credential(text), self._session.send_response(Response.ok()))

    async def _authorize(self, step: RetrievalStep) -> RetrievalGrant | IssuanceGrant | None:
        """Go through as many rounds of authorization and pauses as it takes; None when the client gave up."""
        rounds = 0
        while isinstance(step, AuthorizationRound | Pause):
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = await self._call(step.resume)
                continue
            if (rounds := rounds + 1) > MAX_ROUNDS:
                raise RemoteProtocolError(f"authorization takes more than {MAX_ROUNDS} rounds")
            waiting = step
            await self._send_response(Response.ask(*waiting.offers))
            event = await self._next_event()
            if not isinstance(event, AuthorizationReceived):
                return None
            reply = event.reply
            step = await self._call(functools.partial(self._service.proceed, waiting, reply))
        return step

    async def _put(self, caller: Caller, request: Request) -> None:
        service = self._service
        grant = await self._call(lambda: service.begin_put(caller, request))
        await self._connection.send(
            self._session.send_response(Response.ok()),
            self._session.send_certificate_request(grant.requester.request_der),
        )
        match await self._next_event():
            case CertificatesReceived(certificates):
                await self._call(lambda: service.finish_put(grant, certificates))
                await self._send_response(Response.ok())
            case PeerFailed(errors):
                _log.info("%s: the client gave up: %r", caller.request_id, errors)

    async def _store(self, caller: Caller, request: Request) -> None:
        service = self._service
        grant = await self._call(lambda: service.begin_store(caller, request))
        await self._send_response(Response.ok())
        event = await self._next_event()
        if isinstance(event, CredentialReceived):
            await self._call(lambda: service.finish_store(grant, event.pem))
            await self._send_response(Response.ok())

    async def _call(self, method: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, method)

    async def _send_response(self, response: Response) -> None:
        await self._connection.send(self._session.send_response(response))

    async def _next_event(self) -> Event:
        while (event := self._session.next_event()) is NEED_DATA:
            silence = self._session.silence
            left = self._deadline - self._margin - time.monotonic()
            seconds = math.inf if left <= 0 else min(left, math.inf if silence is None else silence)
            data = await (
                self._connection.receive() if seconds == math.inf else self._connection.receive_within(seconds)
            )
            if data is not None:
                self._session.receive_data(data)
            elif seconds == silence:
                self._session.end_of_burst()
            else:
                self._session.end_of_time()
        return event


async def becomes_known(record: Posted) -> bool:
    """Wait until settling a record need not wait; say whether it came to that."""
    loop = asyncio.get_running_loop()
    known: asyncio.Future[bool] = loop.create_future()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # nobody waits any more: the server has ended
            loop.call_soon_threadsafe(_resolve, known, True)

    record.when_known(tell)
    patience = loop.call_later(SYNC_SECONDS, _resolve, known, False)
    try:
        return await known
    finally:
        patience.cancel()


def _resolve(future: asyncio.Future[bool], is_known: bool) -> None:
    if not future.done():
        future.set_result(is_known)


def _may_tell(error: GridError) -> bool:
    """Say whether an error's words were written for the client; all others could speak of the server's inside."""
    return isinstance(error, AuthenticationError | DeniedError | RemoteProtocolError)


def refusal(error: GridError, request_id: str) -> Response:
    """Return the error response for the client: its words line by line, then the id of the request."""
    lines = error.message.split("\n") if _may_tell(error) else ["internal server error"]
    return Response.refuse(*lines, f"request id: {request_id}")
