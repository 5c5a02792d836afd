"""One client's try to prove itself: how often may it try, what did each judge say, when does it hear a no; no order.

    attempt = Attempt(methods, username, address, passphrase, anonymous=True)
    with attempt.judging() as wait:             # seconds to wait and then to try again, mostly 0
        attempt.ask(method)                     # AuthenticationError: that judge says no
        attempt.accept()                        # everybody agrees

There is one for each request, however many credentials the request may mean, so that a judge is asked once, a one-time
code is used up once, and the limiter counts once. The pass phrase of a request may carry a one-time code at its end
(`myproxy.auth.totp`); everyone else judges what is in front of it, `Attempt.passphrase`.

Everything fails closed: whatever a judge raises is a no. A stranger hears one text, after a time that depends neither
on which judge refused nor on whether anybody was asked at all (`Pace`).
"""

from __future__ import annotations

import contextlib
import logging
import math
from typing import TYPE_CHECKING, Final, TypeVar

from gsi.errors import AuthenticationError, GridError
from myproxy.auth.base import DelayedRefusalError, Method, ThrottledError, Use
from myproxy.repository.seal import INVALID_PASSPHRASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from gsi.secret import Passphrase
    from myproxy.auth.base import Limiter, PasswordMethod
    from myproxy.auth.pace import Pace
    from myproxy.auth.totp import CodeUse, OneTimeCodes

    class Judges(Protocol):
        """What an attempt needs of the configured methods."""

        @property
        def limiter(self) -> Limiter: ...
        @property
        def pace(self) -> Pace: ...
        @property
        def codes(self) -> OneTimeCodes | None: ...
        @property
        def codes_use(self) -> Use: ...


__all__ = ["Attempt", "closed"]

_log: Final = logging.getLogger("myproxy.auth")
_T = TypeVar("_T")


class Attempt:
    """One request's try. For one thread at a time.

    Attributes:
        passphrase: What the client gave, without a one-time code where one is required.
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
    ) -> None:
        """Take the pass phrase apart.

        Args:
            judges: The methods that the administrator has chosen.
            username: The account that is asked for.
            address: Where the client is.
            passphrase: What came with the request.
            anonymous: Whether the client is a stranger, who hears no more than a no.
            takes_code: Whether a code is asked for where codes are required.
        """
        self._judges = judges
        self._username = username
        self._address = address
        self._anonymous = anonymous
        self._given = bool(passphrase)
        self._answers: dict[int, AuthenticationError | None] = {}
        self._waited = 0.0
        self._accepted = False
        self._code_use: CodeUse | None = None
        self._code = ""
        self.passphrase = passphrase
        if takes_code and judges.codes_use is Use.REQUIRED and judges.codes is not None:
            self.passphrase, self._code = judges.codes.split(passphrase)

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
                raise AuthenticationError("too many logons are being judged; try again in a moment")
            if seconds > 0:
                self._waited += seconds
                yield seconds
                return
        try:
            yield 0.0
        except AuthenticationError as error:
            if counts:
                self._report(right=self._accepted)
            if not self._anonymous or guess is False:
                raise
            if counts:
                pace.note(started)  # with what it took to count the try, since one that is not judged is not counted
            raise self._said(error, pace.rest(started)) from _behind(error)
        except BaseException:
            if counts:
                self._report(right=True if self._accepted else None)
            raise
        else:
            if counts:
                self._report(right=True if self._accepted else None)

    def _report(self, *, right: bool | None) -> None:
        self._judges.limiter.report(self._username, self._address, right=right)

    def accept(self) -> None:
        """Say that the client has proved what it had to, so that its earlier mistakes may be forgotten."""
        self._accepted = True

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
            self._code_use = closed(Method.ONE_TIME_PASSWORD, lambda: codes.verify(self._username, self._code))

    def use_code(self) -> None:
        """Use the code up, once everybody else has agreed.

        Raises:
            AuthenticationError: Somebody else was faster with it.
        """
        use = self._code_use
        assert use is not None
        if not use.used:
            closed(Method.ONE_TIME_PASSWORD, use.consume)

    def _ask(self, method: PasswordMethod) -> AuthenticationError | None:
        try:
            closed(method.method, lambda: method.check(self._username, self.passphrase))
        except AuthenticationError as error:
            return error
        return None

    def _said(self, error: AuthenticationError, seconds: float) -> AuthenticationError:
        """Return what the client hears: a stranger one text after one time, anybody else that it may not try."""
        if self._anonymous:
            return DelayedRefusalError(INVALID_PASSPHRASE, seconds=seconds)
        return AuthenticationError(f"{INVALID_PASSPHRASE}\n{error.message}")


def closed(method: Method, call: Callable[[], _T]) -> _T:
    """Return what a judge says; whatever it raises is a no.

    Raises:
        AuthenticationError: Its own, or in place of any other exception.
    """
    try:
        return call()
    except AuthenticationError:
        raise
    except GridError as error:
        raise AuthenticationError(f"{method} authentication failed") from error
    except Exception as error:
        _log.exception("%s: the judge failed", method)
        raise AuthenticationError(f"{method} authentication failed") from error


def _behind(error: AuthenticationError) -> GridError | None:
    """Return what the audit is to know of a refusal beside the words that a stranger hears."""
    said = [] if error.message == INVALID_PASSPHRASE else [error.message]
    if isinstance(error.__cause__, GridError):
        said.append(error.__cause__.message)
    return AuthenticationError(" <- ".join(said)) if said else None
