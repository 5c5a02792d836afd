"""Legal order on one connection between the callout library and the daemon, sans-IO; decides nothing.

    session = CalloutSession()
    request = session.receive(data)            # None while it is not complete
    if request is not None:
        send(session.answer(decide(request)))

A connection carries either one question of its own (mapping, service, job, gate), or a session: `SessionRequest`
first, and after a permit any number of `OperationRequest`. The peer waits for each answer; one that does not, or that
asks out of order, is cut off. After a refusal that ends the exchange `finished` is set.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.messages import (
    MAX_REQUEST_BYTES,
    FrameReader,
    OperationRequest,
    SessionRequest,
    Verdict,
    encode_answer,
    parse_request,
)
from gsi.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from gsi.authz.callout.messages import Answer, Request

__all__ = ["CalloutSession", "State"]


class State(Enum):
    """Where a connection is."""

    NEW = "new"
    DECIDING = "deciding"
    OPEN = "open"
    FINISHED = "finished"


_NEXT: Final = {
    # (kind of question, permitted) -> what follows its answer
    ("session", True): State.OPEN,
    ("session", False): State.FINISHED,
    ("operation", True): State.OPEN,
    ("operation", False): State.OPEN,
    ("single", True): State.FINISHED,
    ("single", False): State.FINISHED,
}


class CalloutSession:
    """One connection's order of questions and answers."""

    __slots__ = ("_kind", "_reader", "state")

    def __init__(self) -> None:
        self._reader = FrameReader(MAX_REQUEST_BYTES)
        self._kind = ""
        self.state = State.NEW

    @property
    def finished(self) -> bool:
        """Whether nothing more may come."""
        return self.state is State.FINISHED

    @property
    def in_request(self) -> bool:
        """Whether a request has begun that is not complete."""
        return self._reader.pending > 0

    def receive(self, data: bytes) -> Request | None:
        """Take bytes; return the question that they complete, or None.

        Raises:
            RemoteProtocolError: They are no request, or none that may come now.
        """
        if self.state in (State.DECIDING, State.FINISHED):
            raise RemoteProtocolError(f"{len(data)} bytes while {self.state.value}")
        self._reader.feed(data)
        body = self._reader.next_body()
        if body is None:
            return None
        if self._reader.pending:
            raise RemoteProtocolError("a second request before the first was answered")
        request = parse_request(body)
        if isinstance(request, OperationRequest):
            self._kind = "operation"
            if self.state is not State.OPEN:
                raise RemoteProtocolError("an operation without a session")
        else:
            self._kind = "session" if isinstance(request, SessionRequest) else "single"
            if self.state is not State.NEW:
                raise RemoteProtocolError(f"a {type(request).__name__} within a session")
        self.state = State.DECIDING
        return request

    def answer(self, answer: Answer) -> bytes:
        """Return the frame that answers the question under way.

        Raises:
            LocalProtocolError: There is none, or the answer cannot be sent.
        """
        if self.state is not State.DECIDING:
            raise LocalProtocolError(f"an answer while {self.state.value}")
        frame = encode_answer(answer)
        self.state = _NEXT[self._kind, answer.verdict is Verdict.PERMIT]
        return frame
