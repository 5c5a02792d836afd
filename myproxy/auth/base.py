"""What an authentication yields, and what a method of it looks like; not the methods, not what a proven client may do.

Each method turns what the client sent into a `Proof` or raises `AuthenticationError`; there is no third outcome. A
proof of a method that opens the stored key carries that key, so that whoever holds the proof needs nothing else.

There are two families. A `PasswordMethod` judges the pass phrase that came with the request (PAM, an LDAP bind, a
one-time code). A `RoundMethod` talks to the client in rounds of its own (a signed challenge, SASL).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gsi.secret import Passphrase
    from gsi.trust.peer import VerifiedPeer
    from myproxy.protocol.messages import AuthorizationMethod, AuthorizationOffer, AuthorizationReply

__all__ = ["Limiter", "Method", "PasswordMethod", "Proof", "RoundExchange", "RoundMethod", "Unlimited", "Use"]


class Method(StrEnum):
    """How the client proved that it may have the credential; the words go into the audit."""

    PASSPHRASE = "pass phrase"
    TRUSTED = "trusted retriever"
    CERTIFICATE = "certificate"
    PAM = "PAM"
    SASL = "SASL"
    LDAP = "LDAP"
    KERBEROS = "Kerberos"
    ONE_TIME_PASSWORD = "one-time password"
    PROGRAM = "program"


class Use(Enum):
    """How a configured method takes part."""

    REQUIRED = "required"
    SUFFICIENT = "sufficient"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Proof:
    """An authentication that succeeded.

    Attributes:
        method: What convinced.
        key: The stored private key in clear, PEM; never logged. None where no key is stored.
        also: Other methods that were required and agreed.
        renewer: The verified signer of the challenge, for `Method.CERTIFICATE`.
    """

    method: Method
    key: bytes | None = field(repr=False)
    also: tuple[Method, ...] = ()
    renewer: VerifiedPeer | None = None

    @property
    def words(self) -> str:
        """The methods, for the audit."""
        return " + ".join((self.method, *self.also))


class PasswordMethod(Protocol):
    """Judges a user name and a pass phrase. Called in threads, by several at once."""

    method: Method

    def check(self, username: str, passphrase: Passphrase) -> None:
        """Return when the two belong together.

        Raises:
            AuthenticationError: They do not, or it cannot be found out.
        """
        ...


class RoundExchange(Protocol):
    """One method's talk with one client."""

    def offer(self) -> AuthorizationOffer:
        """Return what to offer now: the first time how to begin, then the next step."""
        ...

    def answer(self, reply: AuthorizationReply) -> Proof | None:
        """Take the client's answer; None asks for another round, whose data `offer` gives.

        Raises:
            AuthenticationError: The client has not proved itself.
        """
        ...


class RoundMethod(Protocol):
    """A way to authenticate in rounds of its own; makes one exchange per conversation."""

    number: AuthorizationMethod

    def begin(self, username: str) -> RoundExchange:
        """Return a fresh exchange."""
        ...


class Limiter(Protocol):
    """Slows guessing down: asked before each judgement of a pass phrase, told how it went."""

    def admit(self, username: str, address: str) -> None:
        """Return when the attempt may be judged.

        Raises:
            AuthenticationError: It may not, for now; the text and the duration are those of a wrong pass phrase.
        """
        ...

    def report(self, username: str, address: str, *, right: bool) -> None:
        """Take note of how a judged attempt ended."""
        ...


class Unlimited:
    """A `Limiter` that lets everything pass."""

    def admit(self, username: str, address: str) -> None:
        """See `Limiter.admit`."""

    def report(self, username: str, address: str, *, right: bool) -> None:
        """See `Limiter.report`."""
