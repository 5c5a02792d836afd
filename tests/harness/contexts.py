"""Credentials and small servers for tests of security contexts; the servers run in threads and speak our side.

Workflow:
    with serving(lambda stream: ...) as server:
        user.theirs("globusrun", "-a", "-r", f"localhost:{server.port}")
    server.check()                                  # what a handler raised comes out here
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.context.acceptor import Acceptor, make_acceptor_tls
from gsi.context.initiator import Initiator
from gsi.context.target import Target
from gsi.credential import parse_credential
from gsi.transport.stream import TCPStream
from gsi.transport.tls import ClientTLS, TLSVersion
from tests.harness.ca import TestCA
from tests.harness.trust import make_anchors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gsi.context.exchange import Step
    from gsi.credential import Credential
    from gsi.proxy.issue import ProxyOptions
    from gsi.trust.anchors import TrustAnchors
    from tests.harness.ca import Issued

__all__ = ["ALICE", "HOST", "Parties", "Server", "clock", "connect_contexts", "make_parties", "serving"]

ALICE: Final = "/O=Grid/CN=Alice"
HOST: Final = "/O=Grid/CN=localhost"
ROUNDS: Final = 40  # a handshake fed record by record needs 16 steps
SILENCE_SECONDS: Final = 20.0
STOP_SECONDS: Final = 10.0


def clock() -> datetime:
    """The present time."""
    return datetime.now(UTC)


class Parties(NamedTuple):
    """Two ends that trust one authority.

    Attributes:
        ca: The authority.
        anchors: What both trust.
        user: The initiator's credential as issued: Alice's own.
        alice: A full proxy of hers.
        host: The acceptor's.
    """

    ca: TestCA
    anchors: TrustAnchors
    user: Issued
    alice: Credential
    host: Credential

    def initiator(
        self,
        version: TLSVersion = TLSVersion.TLS1_3,
        *,
        credential: Credential | None = None,
        delegate: ProxyOptions | None = None,
        target: str | None = "localhost",
        ssl_compatible: bool = False,
        accept_limited: bool = True,
    ) -> Initiator:
        """Alice, or whoever is given."""
        own = credential or self.alice
        return Initiator(
            own,
            self.anchors,
            target=None if target is None else Target.parse(target),
            now=clock,
            delegate=delegate,
            ssl_compatible=ssl_compatible,
            accept_limited=accept_limited,
            tls=ClientTLS(own, maximum=version),
        )

    def acceptor(
        self,
        version: TLSVersion = TLSVersion.TLS1_3,
        *,
        credential: Credential | None = None,
        ssl_compatible: bool = False,
        accept_limited: bool = True,
        allow_anonymous: bool = False,
    ) -> Acceptor:
        """The host, or whoever is given."""
        own = credential or self.host
        return Acceptor(
            own,
            self.anchors,
            now=clock,
            ssl_compatible=ssl_compatible,
            accept_limited=accept_limited,
            allow_anonymous=allow_anonymous,
            tls=make_acceptor_tls(own, self.anchors, allow_anonymous=allow_anonymous, maximum=version),
        )


def make_parties() -> Parties:
    """Make an authority, Alice with a proxy, and a host."""
    ca = TestCA()
    user = ca.issue(ALICE)
    return Parties(
        ca,
        make_anchors(ca),
        user,
        parse_credential(user.proxy().bundle()),
        parse_credential(ca.issue_host().bundle()),
    )


def connect_contexts(initiator: Initiator, acceptor: Acceptor) -> list[tuple[str, bytes]]:
    """Carry tokens until both are established; return them with their senders (`i`, `a`)."""
    tokens: list[tuple[str, bytes]] = []
    step: Step = initiator.step()
    for _ in range(ROUNDS):
        tokens.append(("i", step.output))
        answer = acceptor.step(step.output)
        if answer.output:
            tokens.append(("a", answer.output))
        if initiator.is_established:
            break
        step = initiator.step(answer.output)
        if not step.output:
            break
    assert initiator.is_established
    assert acceptor.is_established
    return tokens


@dataclass(slots=True)
class Server:
    """A server in threads.

    Attributes:
        port: Where it listens on 127.0.0.1.
        errors: What its handlers raised.
        served: How many connections came.
    """

    port: int
    errors: list[BaseException] = field(default_factory=list)
    served: int = 0

    def check(self) -> None:
        """Raise the first error."""
        if self.errors:
            raise self.errors[0]
        assert self.served


@contextlib.contextmanager
def serving(handle: Callable[[TCPStream], None]) -> Iterator[Server]:
    """Serve connections, each in a thread; all are done when this ends.

    Args:
        handle: Serves one connection, which is closed afterwards.
    """
    stopping = threading.Event()
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])

        def serve(stream: TCPStream) -> None:
            try:
                handle(stream)
            except BaseException as error:
                server.errors.append(error)
            finally:
                stream.close()

        def accept() -> None:
            while True:
                accepted, _ = listener.accept()
                if stopping.is_set():
                    accepted.close()
                    return
                server.served += 1
                thread = threading.Thread(target=serve, args=(TCPStream(accepted, timeout=SILENCE_SECONDS),))
                threads.append(thread)
                thread.start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield server
        finally:
            stopping.set()
            socket.create_connection(("127.0.0.1", server.port)).close()
            for thread in (accepting, *threads):
                thread.join(STOP_SECONDS + SILENCE_SECONDS)
