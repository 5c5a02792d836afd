r"""A thin layer over libsasl2 by ctypes: one exchange, as a server or as a client; no wire format, no decisions.

    with ServerExchange("myproxy", fqdn=None, realm=None) as server:
        server.mechanisms()                                 # "SCRAM-SHA-256 PLAIN"
        step = server.start("PLAIN", b"\0alice\0secret")    # Step(data, done)
        server.names()                                      # ("alice", "alice"): identity asked for, identity proved
    with ClientExchange("myproxy", "host.example.org", "alice", ask) as client:
        mechanism, step = client.start("SCRAM-SHA-256 PLAIN")
        step = client.step(challenge)

Mechanisms, their plug-ins and where they look for passwords are the site's: `sasl2/myproxy.conf` and the variables
SASL_PATH and SASL_CONF_PATH count as they do for the C programs. No mechanism is let protect what follows: there is TLS
around it. libsasl2 keeps state for the whole process and calls plug-ins that may wait for anything, so a server runs
this in a process for each exchange (`myproxy.auth.sasl_helper`). The library is loaded when the first exchange is made.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import AuthenticationError, ConfigError
from myproxy.auth.base import UnjudgedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from gsi.secret import Passphrase

__all__ = ["MAX_DATA_BYTES", "ClientExchange", "ServerExchange", "Step", "is_available"]

MAX_DATA_BYTES: Final = 20480
"""SASL_BUFFER_SIZE of the C programs; the largest Kerberos tokens fit."""

_OK: Final = 0
_CONTINUE: Final = 1
_FAIL: Final = -1
_BADPARAM: Final = -7
_CANNOT_TELL: Final = frozenset({_FAIL, -2, -8, -24})  # SASL_FAIL, NOMEM, TRYAGAIN, UNAVAIL
_PROP_USERNAME: Final = 0
_PROP_AUTHUSER: Final = 16
_PROP_SECURITY: Final = 101
_NO_ANONYMOUS: Final = 0x0010
_CB_END: Final = 0
_CB_LOG: Final = 2
_CB_USER: Final = 0x4001
_CB_AUTHNAME: Final = 0x4002
_CB_PASS: Final = 0x4004
_CB_ECHOPROMPT: Final = 0x4005
_CB_NOECHOPROMPT: Final = 0x4006
_LIBRARY: Final = "libsasl2.so.2"


class Step(NamedTuple):
    """What one side has to say now.

    Attributes:
        data: What to send, None where there is nothing (which is not the same as nothing in it).
        done: Whether this side is satisfied.
    """

    data: bytes | None
    done: bool


class _Callback(ctypes.Structure):
    _fields_ = (("id", ctypes.c_ulong), ("proc", ctypes.c_void_p), ("context", ctypes.c_void_p))


class _Security(ctypes.Structure):
    _fields_ = (
        ("min_ssf", ctypes.c_uint),
        ("max_ssf", ctypes.c_uint),
        ("max_buffer", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("names", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
    )


_Log = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
# Where C has pointers to write through, addresses: NULL is then None, and not an object that is false.
_String = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_Secret = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_Prompt = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
)


def is_available() -> bool:
    """Say whether libsasl2 is installed."""
    try:
        _load()
    except ConfigError:
        return False
    return True


def _load() -> ctypes.CDLL:
    """Return the library with the types of what is used.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise ConfigError(
            f"SASL needs {_LIBRARY}, which is not installed", hint="on Debian: apt install libsasl2-2 libsasl2-modules"
        ) from error
    handle, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint
    out, out_size = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_uint)
    library.sasl_server_init.argtypes = (ctypes.c_void_p, text)
    library.sasl_client_init.argtypes = (ctypes.c_void_p,)
    library.sasl_server_new.argtypes = (text, text, text, text, text, ctypes.c_void_p, size, ctypes.POINTER(handle))
    library.sasl_client_new.argtypes = (text, text, text, text, ctypes.c_void_p, size, ctypes.POINTER(handle))
    library.sasl_setprop.argtypes = (handle, ctypes.c_int, ctypes.c_void_p)
    library.sasl_getprop.argtypes = (handle, ctypes.c_int, out)
    library.sasl_listmech.argtypes = (handle, text, text, text, text, out, out_size, ctypes.POINTER(ctypes.c_int))
    library.sasl_server_start.argtypes = (handle, text, text, size, out, out_size)
    library.sasl_server_step.argtypes = (handle, text, size, out, out_size)
    library.sasl_client_start.argtypes = (handle, text, ctypes.c_void_p, out, out_size, ctypes.POINTER(text))
    library.sasl_client_step.argtypes = (handle, text, size, ctypes.c_void_p, out, out_size)
    library.sasl_errdetail.argtypes = (handle,)
    library.sasl_errdetail.restype = text
    library.sasl_dispose.argtypes = (ctypes.POINTER(handle),)
    library.sasl_dispose.restype = None
    library.sasl_done.restype = None
    return library


class _Exchange:
    """What both sides share: the connection, its properties, its end."""

    def __init__(self) -> None:
        self._library = _load()
        self._connection = ctypes.c_void_p()
        self._kept: list[object] = []  # what the library holds pointers to
        self._log = _Log(lambda _context, _level, _message: _OK)  # its messages may hold passwords

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection and the library's state back; a second time does nothing."""
        if self._connection.value is not None:
            self._library.sasl_dispose(ctypes.byref(self._connection))
            self._connection = ctypes.c_void_p()
            self._library.sasl_done()

    def _callbacks(self, entries: list[tuple[int, ctypes._CFunctionType]]) -> ctypes.Array[_Callback]:
        array = (_Callback * (len(entries) + 2))()
        for slot, (number, function) in zip(array, [*entries, (_CB_LOG, self._log)], strict=False):
            slot.id = number
            slot.proc = ctypes.cast(function, ctypes.c_void_p)
        array[len(entries) + 1].id = _CB_END
        self._kept += [array, *(function for _, function in entries)]
        return array

    def _check(self, status: int, doing: str) -> None:
        if status in _CANNOT_TELL:
            raise UnjudgedError(f"SASL: {doing}: {self._words(status)}", asked=True)
        if status not in (_OK, _CONTINUE):
            raise AuthenticationError(f"SASL: {doing}: {self._words(status)}")

    def _words(self, status: int) -> str:
        words = self._library.sasl_errdetail(self._connection) if self._connection.value is not None else None
        return words.decode("utf-8", "replace") if words else f"error {status}"

    def _refuse_layers(self) -> None:
        """Let no mechanism wrap what follows, nor let anybody in without a name."""
        security = _Security(flags=_NO_ANONYMOUS)
        status = self._library.sasl_setprop(self._connection, _PROP_SECURITY, ctypes.byref(security))
        self._check(status, "no security layers")

    def _step(self, status: int, out: ctypes.c_void_p, size: ctypes.c_uint, doing: str) -> Step:
        self._check(status, doing)
        data = None if out.value is None else ctypes.string_at(out.value, size.value)
        return Step(data, status == _OK)


class ServerExchange(_Exchange):
    """The server's side of one exchange. One at a time in a process."""

    def __init__(self, service: str, *, fqdn: str | None, realm: str | None) -> None:
        """Read the site's configuration and make a connection.

        Args:
            service: The name of the service, and of its configuration file.
            fqdn: The server's name; None is the machine's.
            realm: The realm that users without one belong to; None is none.

        Raises:
            ConfigError: libsasl2 is not installed.
            AuthenticationError: It cannot be used.
        """
        super().__init__()
        callbacks = self._callbacks([])
        self._check(self._library.sasl_server_init(callbacks, service.encode()), "cannot be set up")
        status = self._library.sasl_server_new(
            service.encode(),
            None if fqdn is None else fqdn.encode(),
            None if realm is None else realm.encode(),
            None,
            None,
            None,
            0,
            ctypes.byref(self._connection),
        )
        self._check(status, "no connection")
        self._refuse_layers()

    def mechanisms(self) -> str:
        """Return what the site offers, separated by blanks.

        Raises:
            AuthenticationError: It offers nothing.
        """
        out, size, count = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_int()
        status = self._library.sasl_listmech(
            self._connection, None, None, b" ", None, ctypes.byref(out), ctypes.byref(size), ctypes.byref(count)
        )
        self._check(status, "no list of mechanisms")
        if not count.value or out.value is None:
            raise AuthenticationError("SASL: no mechanism is available")
        return ctypes.string_at(out.value, size.value).decode("ascii", "replace")

    def start(self, mechanism: str, data: bytes | None) -> Step:
        """Begin with what the client has chosen and, where it has, said.

        Raises:
            AuthenticationError: The mechanism is not offered, or what it said is wrong.
        """
        out, size = ctypes.c_void_p(), ctypes.c_uint()
        status = self._library.sasl_server_start(
            self._connection, mechanism.encode(), data, len(data or b""), ctypes.byref(out), ctypes.byref(size)
        )
        return self._step(status, out, size, "authentication failed")

    def step(self, data: bytes) -> Step:
        """Take the client's next words.

        Raises:
            AuthenticationError: They are wrong.
        """
        out, size = ctypes.c_void_p(), ctypes.c_uint()
        status = self._library.sasl_server_step(
            self._connection, data, len(data), ctypes.byref(out), ctypes.byref(size)
        )
        return self._step(status, out, size, "authentication failed")

    def names(self) -> tuple[str, str]:
        """Return whom the client wants to be, and who it has proved to be.

        Raises:
            AuthenticationError: One of them is not known.
        """
        user, authenticator = (self._property(number) for number in (_PROP_USERNAME, _PROP_AUTHUSER))
        return user, authenticator

    def _property(self, number: int) -> str:
        out = ctypes.c_void_p()
        self._check(self._library.sasl_getprop(self._connection, number, ctypes.byref(out)), "no name")
        if out.value is None:
            raise AuthenticationError("SASL: no name")
        return ctypes.string_at(out.value).decode("utf-8", "surrogateescape")


class ClientExchange(_Exchange):
    """The client's side of one exchange. One at a time in a process."""

    def __init__(
        self, service: str, host: str, username: str, ask: Callable[[str, bool], Passphrase], *, prompt: str
    ) -> None:
        """Make a connection.

        Args:
            service: The name of the service.
            host: The server's full name; Kerberos wants a ticket for it.
            username: Whom to be.
            ask: Asks the user, with a prompt; whether what is typed is hidden.
            prompt: For the password.

        Raises:
            ConfigError: libsasl2 is not installed.
            AuthenticationError: It cannot be used.
        """
        super().__init__()
        self._ask = ask
        self._prompt = prompt
        self._name = ctypes.create_string_buffer(username.encode("utf-8", "surrogateescape"))
        self._failure: Exception | None = None
        string = _String(self._give_name)
        callbacks = self._callbacks(
            [
                (_CB_USER, string),
                (_CB_AUTHNAME, string),
                (_CB_PASS, _Secret(self._give_password)),
                (_CB_ECHOPROMPT, _Prompt(self._give_answer)),
                (_CB_NOECHOPROMPT, _Prompt(self._give_answer)),
            ]
        )
        self._check(self._library.sasl_client_init(callbacks), "cannot be set up")
        status = self._library.sasl_client_new(
            service.encode(), host.encode(), None, None, callbacks, 0, ctypes.byref(self._connection)
        )
        self._check(status, "no connection")
        self._refuse_layers()

    def start(self, mechanisms: str) -> tuple[str, Step]:
        """Choose one of the server's mechanisms; return it with what to say first.

        Raises:
            AuthenticationError: None can be used.
            GridError: The user could not be asked.
        """
        out, size, chosen = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_char_p()
        status = self._library.sasl_client_start(
            self._connection, mechanisms.encode(), None, ctypes.byref(out), ctypes.byref(size), ctypes.byref(chosen)
        )
        step = self._answered(status, out, size, f"none of {mechanisms} can be used")
        return (chosen.value or b"").decode("ascii", "replace"), step

    def step(self, data: bytes) -> Step:
        """Take the server's next words.

        Raises:
            AuthenticationError: They are wrong: it may not be the server.
            GridError: The user could not be asked.
        """
        out, size = ctypes.c_void_p(), ctypes.c_uint()
        status = self._library.sasl_client_step(
            self._connection, data, len(data), None, ctypes.byref(out), ctypes.byref(size)
        )
        return self._answered(status, out, size, "authentication failed")

    def _answered(self, status: int, out: ctypes.c_void_p, size: ctypes.c_uint, doing: str) -> Step:
        if self._failure is not None:
            raise self._failure
        return self._step(status, out, size, doing)

    def _give_name(self, _context: int | None, _number: int, result: int | None, size: int | None) -> int:
        if result is None:
            return _BADPARAM
        _point(result, size, self._name)
        return _OK

    def _give_password(self, _connection: int | None, _context: int | None, number: int, result: int | None) -> int:
        if result is None or number != _CB_PASS:
            return _BADPARAM
        secret = self._answer(self._prompt, hidden=True)
        if secret is None:
            return _FAIL
        # sasl_secret_t: a length and the bytes; it stays ours, and the library reads it until the exchange ends.
        buffer = ctypes.create_string_buffer(
            len(secret).to_bytes(ctypes.sizeof(ctypes.c_ulong), sys.byteorder) + secret
        )
        self._kept.append(buffer)
        _point(result, None, buffer)
        return _OK

    def _give_answer(  # noqa: PLR0917  C's signature
        self,
        _context: int | None,
        number: int,
        challenge: bytes | None,
        prompt: bytes | None,
        default: bytes | None,
        result: int | None,
        size: int | None,
    ) -> int:
        if not prompt or result is None or size is None:
            return _BADPARAM
        words = prompt + (b" [challenge: " + challenge + b"]" if challenge else b"") + b": "
        answer = self._answer(words.decode("utf-8", "replace"), hidden=number == _CB_NOECHOPROMPT)
        if answer is None:
            return _FAIL
        buffer = ctypes.create_string_buffer(answer or default or b"")
        self._kept.append(buffer)
        _point(result, size, buffer)
        return _OK

    def _answer(self, prompt: str, *, hidden: bool) -> bytes | None:
        """Ask the user; what goes wrong is kept until the library has returned, since it is C."""
        try:
            return self._ask(prompt, hidden).reveal()
        except Exception as error:  # noqa: BLE001  raised anew by `_answered`
            self._failure = error
            return None


def _point(result: int, size: int | None, buffer: ctypes.Array[ctypes.c_char]) -> None:
    """Write a buffer's address, and the length of the text in it, to where C wants them."""
    ctypes.c_void_p.from_address(result).value = ctypes.addressof(buffer)
    if size is not None:
        ctypes.c_uint.from_address(size).value = len(buffer.value)
