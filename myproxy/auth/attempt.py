"""One client's try to prove itself: how often may it try, what did each judge say, when does it hear a no; no order.

    attempt = Attempt(methods, username, address, passphrase, anonymous=True)
    with attempt.judging() as wait:             # seconds to wait and then to try again, mostly 0
        attempt.ask(method)                     # AuthenticationError: that judge says no
        attempt.accept()                        # everybody agrees

There is one for each request, however many credentials the request may mean, so that a judge is asked once, a one-time
code is used up once, and the limiter counts once. The pass phrase of a request may carry a one-time code at its end
(`myproxy.auth.totp`); everyone else judges what is in front of it, `Attempt.passphrase`.

Everything fails closed: whatever a judge raises is a no. A stranger hears one text, after a time that depends neither
on which judge refused nor on whether anybody was asked at all (`Pace`). What the limiter hears is another matter: a try
counts as wrong when somebody said so, not when all who could have said so were away.
"""

from __future__ import annotations

import contextlib
import logging
import math
from typing import TYPE_CHECKING, Final, TypeVar

from gsi.errors import AuthenticationError, GridError
from myproxy.auth.base import BusyError, DelayedRefusalError, Method, Outcome, ThrottledError, UnjudgedError, Use
from myproxy.auth.throttle import network_of
from myproxy.repository.seal import INVALID_PASSPHRASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from gsi.secret import Passphrase
    from myproxy.auth.base import Limiter, PasswordMethod
    from myproxy.auth.bounded import Slots
    from myproxy.auth.pace import Pace
    from myproxy.auth.totp import CodeUse, OneTimeCodes

    class Judges(Protocol):
        """What an attempt needs of the configured methods."""

        @property
        def limiter(self) -> Limiter: ...
        @property
        def pace(self) -> Pace: ...
        @property
        def slots(self) -> Slots: ...
        @property
        def codes(self) -> OneTimeCodes | None: ...
        @property
        def codes_use(self) -> Use: ...


__all__ = ["Attempt"]

_log: Final = logging.getLogger("myproxy.auth")
_T = TypeVar("_T")


class Attempt:
    """One request's try. For one thread at a time.

    Attributes:
        passphrase: What the client gave, without a one-time code where one is required.
        needs_code: Whether a one-time code is required of this user.
    """

    def __init__(
        self,
        judges: Judges,
        username: str,
        address: str,
        passphrase: Passphrase,
        *,
        anonymous: bool,
        takes_code: bool = True,
        tells_waits: bool = False,
    ) -> None:
        """Take the pass phrase apart.

        Args:
            judges: The methods that the administrator has chosen.
            username: The account that is asked for.
            address: Where the client is.
            passphrase: What came with the request.
            anonymous: Whether the client is a stranger, who hears no more than a no.
            takes_code: Whether a code is asked for where codes are required.
            tells_waits: Whether a stranger is told that a try was not judged, and when to come again: a front end must
                not tell its user of a wrong pass phrase then.

        Raises:
            StorageError: It cannot be found out whether the user has an authenticator.
        """
        self._judges = judges
        self._username = username
        self._address = address
        self._anonymous = anonymous
        self._tells_waits = tells_waits
        self._given = bool(passphrase)
        self._answers: dict[int, AuthenticationError | None] = {}
        self._denied = False  # somebody has said that something is wrong
        self._silences: list[UnjudgedError] = []
        self._waited = 0.0
        self._accepted = False
        self._code_use: CodeUse | None = None
        self._code = ""
        self.passphrase = passphrase
        self.needs_code = False
        if takes_code and judges.codes is not None:
            enrolled = judges.codes_use is Use.ENROLLED and judges.codes.is_enrolled(username)
            self.needs_code = enrolled or judges.codes_use is Use.REQUIRED
        if self.needs_code and judges.codes is not None:
            self.passphrase, self._code = judges.codes.split(passphrase)

    @property
    def is_given(self) -> bool:
        """Whether a pass phrase, or a code, came with the request."""
        return self._given

    @contextlib.contextmanager
    def judging(self, *, guess: bool | None = None, patient: bool = True) -> Iterator[float]:
        """Open the judgement: the limiter is asked before and told after it.

        Args:
            guess: Whether something that can be guessed is judged; by default, whether a pass phrase was given.
            patient: Whether the caller can wait and come again; else nobody is slowed down.

        Yields:
            Seconds to wait before coming again with the same attempt; when not 0, nothing may be judged now.

        Raises:
            AuthenticationError: The try may not be judged, or what is raised inside in the form for this client.
            StorageError: The limiter's state cannot be read or kept.
        """
        pace, limiter = self._judges.pace, self._judges.limiter
        started = pace.start()
        counts = self._given if guess is None else guess
        if counts:
            try:
                waited = self._waited if patient else math.inf
                seconds = limiter.admit(self._username, self._address, waited=waited)
            except ThrottledError as error:
                raise self._said(error, pace.rest(started)) from error
            if seconds > 0 and not patient:
                raise BusyError
            if seconds > 0:
                self._waited += seconds
                yield seconds
                return
        try:
            yield 0.0
        except AuthenticationError as error:
            if isinstance(error, UnjudgedError) and error not in self._silences:
                self._silences.append(error)
            if counts:
                self._report(self._outcome())
            if not self._anonymous or guess is False:
                raise
            if counts and not any(isinstance(silence, BusyError) for silence in self._silences):
                pace.note(started)  # with what it took to count the try, since one that is not judged is not counted
            raise self._said(error, pace.rest(started)) from _behind(error)
        except BaseException:
            if counts:
                self._report(Outcome.RIGHT if self._accepted else Outcome.UNJUDGED)
            raise
        else:
            if counts:
                self._report(Outcome.RIGHT if self._accepted else Outcome.UNJUDGED)

    def _outcome(self) -> Outcome:
        """Say what a refused try was; the no of one judge counts, whoever else was away."""
        if self._accepted:
            return Outcome.RIGHT
        if self._denied or not self._silences:
            return Outcome.WRONG
        return Outcome.UNANSWERED if any(silence.asked for silence in self._silences) else Outcome.UNJUDGED

    def _report(self, outcome: Outcome) -> None:
        self._judges.limiter.report(self._username, self._address, outcome)

    def accept(self) -> None:
        """Say that the client has proved what it had to, so that its earlier mistakes may be forgotten."""
        self._accepted = True

    def deny(self) -> None:
        """Say that something that was proved is wrong, whatever becomes of the rest."""
        self._denied = True

    def ask(self, method: PasswordMethod) -> None:
        """Ask a judge about the pass phrase; a second time gives its first answer.

        Raises:
            AuthenticationError: It says no, or cannot say.
        """
        key = id(method)
        if key not in self._answers:
            self._answers[key] = self._ask(method)
        refusal = self._answers[key]
        if refusal is not None:
            raise refusal

    def check_code(self) -> None:
        """Judge the one-time code that goes with the pass phrase; it is not used up yet.

        Raises:
            AuthenticationError: There is none, or it is wrong.
        """
        codes = self._judges.codes
        assert codes is not None
        if self._code_use is None:
            self._code_use = self.judge(Method.ONE_TIME_PASSWORD, lambda: codes.verify(self._username, self._code))

    def use_code(self) -> None:
        """Use the code up, once everybody else has agreed.

        Raises:
            AuthenticationError: Somebody else was faster with it.
        """
        use = self._code_use
        assert use is not None
        if not use.used:
            self.judge(Method.ONE_TIME_PASSWORD, use.consume)

    def _ask(self, method: PasswordMethod) -> AuthenticationError | None:
        outside = method is not self._judges.codes
        try:
            with self._judges.slots.take(network_of(self._address)) if outside else contextlib.nullcontext():
                self.judge(method.method, lambda: method.check(self._username, self.passphrase))
        except BusyError as error:
            self._silences.append(error)
            return error
        except AuthenticationError as error:
            return error
        return None

    def judge(self, method: Method, call: Callable[[], _T]) -> _T:
        """Return what a judge says; whatever it raises is a no.

        Raises:
            AuthenticationError: Its own.
            UnjudgedError: Its own, or in place of any other exception.
        """
        try:
            return _closed(method, call)
        except UnjudgedError as error:
            self._silences.append(error)
            raise
        except AuthenticationError:
            self._denied = True
            raise

    def _said(self, error: AuthenticationError, seconds: float) -> AuthenticationError:
        """Return what the client hears: a stranger one text after one time, anybody else that it may not try."""
        if self._anonymous and not (self._tells_waits and isinstance(error, ThrottledError)):
            return DelayedRefusalError(INVALID_PASSPHRASE, seconds=seconds)
        text = f"{INVALID_PASSPHRASE}\n{error.message}"
        return DelayedRefusalError(text, seconds=seconds) if self._anonymous else AuthenticationError(text)


def _closed(method: Method, call: Callable[[], _T]) -> _T:
    try:
        return call()
    except AuthenticationError:
        raise
    except GridError as error:
        raise UnjudgedError(f"{method} authentication failed", asked=True) from error
    except Exception as error:
        _log.exception("%s: the judge failed", method)
        raise UnjudgedError(f"{method} authentication failed", asked=True) from error


def _behind(error: AuthenticationError) -> GridError | None:
    """Return what the audit is to know of a refusal beside the words that a stranger hears."""
    said = [] if error.message == INVALID_PASSPHRASE else [error.message]
    if isinstance(error.__cause__, GridError):
        said.append(error.__cause__.message)
    return AuthenticationError(" <- ".join(said)) if said else None
