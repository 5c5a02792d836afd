"""Proof by SASL, the client's side: an answer to each offer of a server; not which offer is taken (`myproxy.exchange`).

    answers = SASLAnswers(host, "alice", ask)
    reply = answers.reply(offer)            # until the server says yes
    answers.is_done                         # otherwise it said so before it had proved itself

The order on the wire is in `myproxy.auth.sasl`. Agrees with gct:myproxy/source/myproxy_sasl_client.c.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from gsi.errors import RemoteProtocolError
from gsi.secret import Passphrase
from myproxy.auth.libsasl import MAX_DATA_BYTES, ClientExchange
from myproxy.protocol.messages import AuthorizationMethod, AuthorizationReply

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = ["SASLAnswers"]


class SASLAnswers:
    """A client's part of one exchange; a context manager, which gives libsasl2's state back."""

    def __init__(self, host: str, username: str, ask: Callable[[str, bool], Passphrase]) -> None:
        """Prepare.

        Args:
            host: The server's full name, for the prompt and for Kerberos.
            username: The account, which is who the user has to be.
            ask: Asks the user: a prompt, and whether what is typed is hidden.
        """
        self._host = host
        self._username = username
        self._ask = ask
        self._exchange: ClientExchange | None = None
        self._started = False
        self._done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._exchange is not None:
            self._exchange.close()

    def reply(self, offer: str) -> AuthorizationReply:
        """Answer an offer of the server's.

        Args:
            offer: Its data: words at first, then mechanisms, then challenges.

        Raises:
            ConfigError: libsasl2 is not installed.
            AuthenticationError: No mechanism can be used, or the server does not prove itself.
            RemoteProtocolError: It is no such data.
        """
        if self._exchange is None:
            prompt = f"{self._username}@{self._host}'s password: "
            self._exchange = ClientExchange("myproxy", self._host, self._username, self._ask, prompt=prompt)
            return _say(b"")
        data = _decode(offer)
        if self._done:
            return _say(b"")
        if not self._started:
            self._started = True
            try:
                mechanisms = data.decode("ascii")
            except UnicodeDecodeError:
                raise RemoteProtocolError("the server's SASL mechanisms are not ASCII") from None
            mechanism, step = self._exchange.start(mechanisms)
            self._done = step.done
            return _say(mechanism.encode() + (b"" if step.data is None else b"\0" + step.data))
        step = self._exchange.step(data)
        self._done = step.done
        return _say(step.data or b"")

    @property
    def is_done(self) -> bool:
        """Whether the server has proved itself, where the mechanism has it do so; before, its yes means nothing."""
        return self._done


def _say(data: bytes) -> AuthorizationReply:
    return AuthorizationReply(AuthorizationMethod.SASL, text=Passphrase(base64.b64encode(data)))


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise RemoteProtocolError("the server's SASL data is not base64") from None
    if len(data) > MAX_DATA_BYTES:
        raise RemoteProtocolError("the server's SASL data is too long")
    return data
