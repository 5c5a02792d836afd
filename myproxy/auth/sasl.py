"""Proof by SASL, the server's side: rounds of base64 around libsasl2; not how libsasl2 is called (`libsasl`).

    method = SASLMethod(SASLSettings(realm="EXAMPLE.ORG"))
    exchange = method.begin("alice", "192.0.2.7")
    exchange.offer()                    # `SASL authorization negotiation server`, then mechanisms, then challenges
    exchange.answer(reply)              # None for another round, or the proof

On the wire (gct:myproxy/source/myproxy_sasl_server.c): the client first answers with nothing, then with the name of a
mechanism and, after a NUL, what that mechanism says first; all in base64. The name that is proved and the one that is
asked for both have to be the request's user name, with `@` and the realm behind it where a realm is set.

Each exchange has a process of its own from the client's choice to the end. Few are kept open at once, fewer still for
one network, and where there is no room the one that has waited longest for its client makes it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi.errors import AuthenticationError, ConfigError
from myproxy.auth.base import BusyError, Method, Proof, UnjudgedError
from myproxy.auth.libsasl import MAX_DATA_BYTES, is_available
from myproxy.auth.sasl_helper import MAX_LINE_BYTES
from myproxy.auth.throttle import network_of
from myproxy.protocol.messages import METHOD_NAMES, AuthorizationMethod, AuthorizationOffer

if TYPE_CHECKING:
    from myproxy.protocol.messages import AuthorizationReply

__all__ = ["SASL_SECONDS", "SASLMethod", "SASLSettings"]

SASL_SECONDS: Final = 30.0
"""How long one step may take: saslauthd waits for PAM, which sleeps after wrong passwords."""
MAX_OPEN: Final = 64
"""Exchanges with a process at once, in one worker; each has some 15 MB."""
MAX_OPEN_PER_NETWORK: Final = 16
"""The same of one network."""
MIN_IDLE_SECONDS: Final = 5.0
"""How long an exchange of another network must have waited for its client before it makes room."""
MAX_NAME_BYTES: Final = 64
"""Of a mechanism; RFC 4422 section 3.1 allows 20."""

_NEGOTIATION: Final = "SASL authorization negotiation server"
_REFUSED: Final = "SASL authentication failed\nauthentication failed"
_ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Nothing of the environment or of other packages gets between: the helper needs this tree and the standard library.
_CODE: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from myproxy.auth.sasl_helper import main; sys.exit(main())"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SASLSettings:
    """What the administrator decides; everything else is in libsasl2's own configuration.

    Attributes:
        mechanism: The only mechanism, or None for those that libsasl2 offers.
        fqdn: The server's name, or None for the machine's.
        realm: The users' realm, or None.
    """

    mechanism: str | None = None
    fqdn: str | None = None
    realm: str | None = None


class _Helper:
    """A process with one exchange."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.used = time.monotonic()  # when the client was last heard
        self.busy = True
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own module, no shell
                (sys.executable, "-I", "-S", "-c", _CODE, _ROOT),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            raise UnjudgedError(_REFUSED, asked=False) from error

    def ask(self, question: dict[str, str | None], seconds: float) -> dict[str, object]:
        """Put one question; the answer `error` is raised.

        Raises:
            AuthenticationError: It says so.
            UnjudgedError: It says that it cannot tell, ended, or did not answer in time.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode("ascii") + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._read_line(time.monotonic() + seconds))
        except (OSError, ValueError) as error:
            raise _unjudged(f"SASL: no answer: {error}") from error
        if not isinstance(answer, dict):
            raise _unjudged("SASL: no answer")
        if "error" in answer:
            raise (_unjudged if answer.get("unjudged") else _refused)(str(answer["error"]))
        return answer

    def _read_line(self, deadline: float) -> bytes:
        stream = self._process.stdout
        assert stream is not None
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise ValueError("it took too long")
                chunk = os.read(stream.fileno(), MAX_LINE_BYTES)
                line += chunk
                if not chunk or len(line) > MAX_LINE_BYTES:
                    raise ValueError("it ended")
        return line

    def kill(self) -> None:
        """End the process, whatever it is doing; takes no lock and waits for nothing."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:  # not waited for yet, so that its number cannot be another's by now
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and give its streams back."""
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class _Open:
    """The exchanges that have a process. Safe for use by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._helpers: list[_Helper] = []
        self._abandoned: deque[_Helper] = deque()

    def abandon(self, helper: _Helper) -> None:
        """End the process of an exchange that nobody holds any more.

        Called by the garbage collector, which may run while this very thread holds the lock: so the rest is left to
        the next `start`.
        """
        helper.kill()
        self._abandoned.append(helper)

    def start(self, network: str) -> _Helper:
        """Return a new process, for which another one may have to go.

        Raises:
            BusyError: There is no room.
        """
        with contextlib.suppress(IndexError):
            while True:
                self.end(self._abandoned.popleft())
        victim: _Helper | None = None
        with self._lock:
            own = [helper for helper in self._helpers if helper.network == network]
            if len(own) >= MAX_OPEN_PER_NETWORK:
                victim = _longest_idle(own, 0)
            elif len(self._helpers) >= MAX_OPEN:
                victim = _longest_idle(self._helpers, MIN_IDLE_SECONDS)
            if victim is not None:
                self._helpers.remove(victim)
            elif len(own) >= MAX_OPEN_PER_NETWORK or len(self._helpers) >= MAX_OPEN:
                raise BusyError
            helper = _Helper(network)
            self._helpers.append(helper)
        if victim is not None:
            victim.close()
        return helper

    def end(self, helper: _Helper) -> None:
        """End a process; a second time does nothing."""
        with self._lock:
            if helper not in self._helpers:
                return
            self._helpers.remove(helper)
        helper.close()


def _longest_idle(helpers: list[_Helper], least: float) -> _Helper | None:
    before = time.monotonic() - least
    idle = [helper for helper in helpers if not helper.busy and helper.used <= before]
    return min(idle, key=lambda helper: helper.used, default=None)


class SASLMethod:
    """A `RoundMethod`. Safe for use by several threads."""

    number = AuthorizationMethod.SASL

    def __init__(self, settings: SASLSettings, *, seconds: float = SASL_SECONDS) -> None:
        """Choose the settings.

        Args:
            settings: What the administrator decides.
            seconds: How long one step may take.

        Raises:
            ConfigError: libsasl2 is not installed.
        """
        if not is_available():
            raise ConfigError(
                "SASL needs libsasl2, which is not installed", hint="on Debian: apt install libsasl2-2 libsasl2-modules"
            )
        self._settings = settings
        self._seconds = seconds
        self._open = _Open()

    def begin(self, username: str, address: str) -> _Exchange:
        """See `RoundMethod.begin`."""
        return _Exchange(self._settings, self._seconds, self._open, username, network_of(address))


class _Exchange:
    """One exchange, a `RoundExchange`."""

    def __init__(self, settings: SASLSettings, seconds: float, opened: _Open, username: str, network: str) -> None:
        self._settings = settings
        self._seconds = seconds
        self._opened = opened
        self._username = username
        self._network = network
        self._helper: _Helper | None = None
        self._next = _NEGOTIATION
        self._chosen = False

    @property
    def is_guessable(self) -> bool:
        """See `RoundExchange.is_guessable`."""
        return self._helper is not None

    def offer(self) -> AuthorizationOffer:
        """See `RoundExchange.offer`."""
        return AuthorizationOffer(METHOD_NAMES[AuthorizationMethod.SASL], self._next)

    def answer(self, reply: AuthorizationReply) -> Proof | None:
        """See `RoundExchange.answer`."""
        try:
            if self._helper is None:
                helper = self._helper = self._opened.start(self._network)
                # Whatever becomes of the client: when nobody holds this exchange any more, its process ends.
                weakref.finalize(self, self._opened.abandon, helper)
                mechanisms = self._ask({"fqdn": self._settings.fqdn, "realm": self._settings.realm})["mechanisms"]
                self._next = _encode((self._settings.mechanism or str(mechanisms)).encode())
                return None
            data = _decode(reply.text.reveal())
            if self._chosen:
                answer = self._ask({"data": base64.b64encode(data).decode()})
            else:
                answer = self._choose(data)
        except AuthenticationError:
            self._end()
            raise
        if "challenge" in answer:
            self._next = str(answer["challenge"])
            return None
        self._end()
        self._check_names(answer.get("names"))
        return Proof(Method.SASL, None)

    def _choose(self, data: bytes) -> dict[str, object]:
        """Take the name of a mechanism and what it says first."""
        name, nul, first = data.partition(b"\0")
        try:
            mechanism = name.decode("ascii")
        except UnicodeDecodeError:
            raise _refused("SASL: the mechanism's name is not ASCII") from None
        only = self._settings.mechanism
        if len(name) > MAX_NAME_BYTES or (only is not None and mechanism.upper() != only.upper()):
            raise _refused(f"SASL: the client chose {mechanism[:MAX_NAME_BYTES]!r}, which was not offered")
        self._chosen = True
        return self._ask({"mechanism": mechanism, "data": base64.b64encode(first).decode() if nul else None})

    def _check_names(self, names: object) -> None:
        """Insist that both names are the account's."""
        realm = self._settings.realm
        expected = self._username if realm is None else f"{self._username}@{realm}"
        if names != [expected, expected]:
            raise _refused(f"SASL: the names {names!r} are not both {expected!r}")

    def _ask(self, question: dict[str, str | None]) -> dict[str, object]:
        helper = self._helper
        assert helper is not None
        helper.busy = True
        try:
            return helper.ask(question, self._seconds)
        finally:
            helper.used = time.monotonic()
            helper.busy = False

    def _end(self) -> None:
        if self._helper is not None:
            self._opened.end(self._helper)


def _refused(why: str) -> AuthenticationError:
    """Return a refusal in the C server's words; why goes into the audit."""
    refusal = AuthenticationError(_REFUSED)
    refusal.__cause__ = AuthenticationError(why)
    return refusal


def _unjudged(why: str) -> UnjudgedError:
    """Return the same for when nobody could say whether the client is right."""
    refusal = UnjudgedError(_REFUSED, asked=True)
    refusal.__cause__ = AuthenticationError(why)
    return refusal


def _decode(text: bytes) -> bytes:
    """Decode a client's words; C clients write base64 without line breaks."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused("SASL: the client's words are not base64") from None
    if len(data) > MAX_DATA_BYTES:
        raise _refused("SASL: the client's words are too long")
    return data


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
