"""What an authentication yields, and what a method of it looks like; not the methods, not what a proven client may do.

Each method turns what the client sent into a `Proof` or raises `AuthenticationError`; there is no third outcome. A
proof of a method that opens the stored key carries that key, so that whoever holds the proof needs nothing else.

There are two families. A `PasswordMethod` judges the pass phrase that came with the request (PAM, an LDAP bind, a
one-time code). A `RoundMethod` talks to the client in rounds of its own (a signed challenge, SASL).

A method refuses by `AuthenticationError`; anything else that it raises is a refusal as well (`myproxy.auth.attempt`).
One that cannot say whether the proof is right, because a directory or a program is away, refuses by `UnjudgedError`:
its outage is nobody's wrong pass phrase.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Protocol

from gsi.errors import AuthenticationError

if TYPE_CHECKING:
    from gsi.secret import Passphrase
    from gsi.trust.peer import VerifiedPeer
    from myproxy.protocol.messages import AuthorizationMethod, AuthorizationOffer, AuthorizationReply

__all__ = [
    "BusyError",
    "DelayedRefusalError",
    "Limiter",
    "Method",
    "Outcome",
    "PasswordMethod",
    "Proof",
    "RoundExchange",
    "RoundMethod",
    "ThrottledError",
    "UnjudgedError",
    "Unlimited",
    "Use",
]


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
    ENROLLED = "enrolled"
    """Required of those who have enrolled; for one-time codes alone."""
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
            AuthenticationError: They do not.
            UnjudgedError: It cannot be found out.
        """
        ...


class RoundExchange(Protocol):
    """One method's talk with one client. What it holds is given back when nobody refers to it any more."""

    @property
    def is_guessable(self) -> bool:
        """Whether the next answer may be a guess, so that tries are to be limited."""
        ...

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

    def begin(self, username: str, address: str) -> RoundExchange:
        """Return a fresh exchange.

        Args:
            username: The account that is asked for.
            address: Where the client is.
        """
        ...


class ThrottledError(AuthenticationError):
    """A try that is not judged, because too many before it were wrong.

    Attributes:
        seconds: How long from now tries are refused.
    """

    slug = "throttled"

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class DelayedRefusalError(AuthenticationError):
    """A refusal that the client is to hear only after a while, so that its duration tells nothing.

    Attributes:
        seconds: How long to wait before saying it.
    """

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class UnjudgedError(AuthenticationError):
    """A refusal because nobody could say whether the proof is right.

    Attributes:
        asked: Whether somebody had the proof in hand. One that is silent about wrong ones alone would be a way to guess
            that no limit sees, so such a try still slows its account down.
    """

    def __init__(self, message: str, *, asked: bool) -> None:
        super().__init__(message)
        self.asked = asked


class BusyError(UnjudgedError):
    """A refusal because too many others are being judged."""

    def __init__(self, message: str = "too many logons are being judged; try again in a moment") -> None:
        super().__init__(message, asked=False)


class Outcome(Enum):
    """How a try ended that the limiter has admitted."""

    RIGHT = "right"
    WRONG = "wrong"
    UNANSWERED = "asked, and no answer came"
    UNJUDGED = "nobody was asked"


class Limiter(Protocol):
    """Slows guessing down: asked before each judgement of a pass phrase, told afterwards how it went.

    Safe for use by several threads. `address` is the client's, as text.
    """

    def admit(self, username: str, address: str, *, waited: float) -> float:
        """Return 0 when the try may be judged now; `report` has to be called once for it, whatever becomes of it.

        Args:
            username: The account that is asked for.
            address: Where the client is.
            waited: Seconds that this try has waited already.

        Returns:
            Seconds to wait before asking again, or 0.

        Raises:
            ThrottledError: The try may not be judged.
            StorageError: It cannot be found out.
        """
        ...

    def report(self, username: str, address: str, outcome: Outcome) -> None:
        """Take note of how an admitted try ended.

        Raises:
            StorageError: It cannot be kept.
        """
        ...


class Unlimited:
    """A `Limiter` that lets everything pass."""

    def admit(self, username: str, address: str, *, waited: float) -> float:
        """See `Limiter.admit`."""
        del username, address, waited
        return 0.0

    def report(self, username: str, address: str, outcome: Outcome) -> None:
        """See `Limiter.report`."""
