"""The login of this process to a PKCS#11 token, shared by all who use it; knows no certificate and signs nothing.

    login = acquire(place, pin)
    with login.lock:
        session = login.session()
    release(login)

A token logs a whole process on and off, not one session: a second login is an error, and the first who logs off takes
the others with him. So there is one session for each token here, counted. Who comes with another PIN than that of the
login that stands has the token asked; if it is right, all go on with it. One that the token has refused is not tried
again by those who just use the login. After a fork the child begins anew with the module, as PKCS#11 asks (version
2.40, section 6.6.1), and logs on at its first use.

A module keeps the tokens that it found when it began: one that was away for a while is, for many modules, gone until
they begin anew. So when no session can be opened, the module is begun anew once, unless another login of this process
has a session in it, which that would end.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from gsi.errors import ConfigError, CredentialError, CredentialProblem, IssuanceError, IssuanceStep
from gsi.secret import Passphrase

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Login", "PKCS11Place", "Session", "acquire", "import_pkcs11", "missing", "parse_pkcs11_uri", "read_pin"]

MAX_PIN_BYTES: Final = 256  # PKCS#11 itself sets no limit; modules take 4 to 255
_SCHEME: Final = "pkcs11:"
_PATH_WORDS: Final = frozenset({"token", "serial", "object", "id", "type", "manufacturer", "model"})
_QUERY_WORDS: Final = frozenset({"module-path", "pin-source"})


@dataclass(frozen=True, slots=True)
class PKCS11Place:
    """Where a key lies. At least one of `token` and `serial`, and one of `label` and `key_id`, is there.

    Attributes:
        module: Path of the PKCS#11 library.
        token: Label of the token, or None for any.
        serial: Serial number of the token, or None for any.
        label: Label of the key, or None for any.
        key_id: Id of the key, or None for any.
        pin_source: `file:PATH`, `fd:N`, `env:NAME`, or None.
    """

    module: str
    token: str | None = None
    serial: str | None = None
    label: str | None = None
    key_id: bytes | None = None
    pin_source: str | None = None

    def describe_token(self) -> str:
        """Return the token's name for a message."""
        label = "the token" if self.token is None else f"token {self.token!r}"
        return label if self.serial is None else f"{label} with serial number {self.serial}"

    def describe_key(self) -> str:
        """Return the key's name for a message."""
        words = [] if self.label is None else [f"label {self.label!r}"]
        words += [] if self.key_id is None else [f"id {self.key_id.hex()}"]
        return " and ".join(words)


def parse_pkcs11_uri(text: str) -> PKCS11Place:
    """Return the place that a URI (RFC 7512) names; see `gsi.ca.pkcs11_signer` for what it may hold.

    Raises:
        ConfigError: Not such a URI, an attribute twice or unknown, `pin-value`, or too little to find one key.
    """
    path, _, query = text.removeprefix(_SCHEME).partition("?")
    if not text.startswith(_SCHEME):
        raise ConfigError("not a pkcs11: URI")  # not repeated: there may be a PIN in it
    raw = [pair.partition("=")[::2] for pair in path.split(";") if pair]
    found = dict(raw)
    options = dict(pairs := parse_qsl(query, keep_blank_values=True))
    if "pin-value" in options:
        raise ConfigError(
            "pkcs11: URI: a PIN in the URI can be read by everyone who sees the process list or the configuration",
            hint="name where it stands: pin-source=file:/path, pin-source=fd:3 or pin-source=env:NAME",
        )
    if len(found) != len(raw) or len(options) != len(pairs):
        raise ConfigError("pkcs11: URI: an attribute stands there twice")
    unknown = sorted({*found} - _PATH_WORDS | {*options} - _QUERY_WORDS)
    if unknown:
        raise ConfigError(f"pkcs11: URI: {unknown[0]!r} is not known here")
    if found.get("type", "private") != "private":
        raise ConfigError("pkcs11: URI: a signer needs a private key: leave `type` out")
    place = PKCS11Place(
        module=options.get("module-path", ""),
        token=_text(found.get("token")),
        serial=_text(found.get("serial")),
        label=_text(found.get("object")),
        key_id=unquote_to_bytes(found["id"]) if "id" in found else None,
        pin_source=options.get("pin-source"),
    )
    if not place.module.startswith("/"):
        raise ConfigError("pkcs11: URI: module-path must name the library by its whole path")
    if not place.token and not place.serial:
        raise ConfigError("pkcs11: URI: neither token nor serial says which token")
    if not place.label and not place.key_id:
        raise ConfigError("pkcs11: URI: neither object nor id says which key")
    return place


def _text(raw: str | None) -> str | None:
    return None if raw is None else unquote(raw)


def read_pin(source: str) -> Passphrase:
    """Return the PIN from `file:PATH` (mode 0600), `fd:N` or `env:NAME`, without its line end.

    Raises:
        ConfigError: Another kind of source, or a descriptor or variable that is not there.
        CredentialError: MISSING, UNSAFE_FILE.
        ParseError: The file is too long.
    """
    from gsi.system.environ import get_variable
    from gsi.system.files import read_private

    kind, _, where = source.partition(":")
    if kind == "file":
        return Passphrase(read_private(where, max_bytes=MAX_PIN_BYTES).rstrip(b"\r\n"))
    if kind == "env":
        value = get_variable(where)
        if value is None:
            raise ConfigError("pkcs11: URI: the variable that pin-source names is not set")
        return Passphrase(value)
    if kind == "fd" and where.isascii() and where.isdigit() and len(where) < 7:
        try:
            return Passphrase(_read_line(int(where)))
        except OSError as error:
            raise ConfigError(f"the token's PIN cannot be read from descriptor {where}: {error.strerror}") from error
    # Whatever stands there may be the PIN itself, so it is not repeated.
    raise ConfigError("pkcs11: URI: pin-source is no source of a PIN", hint="file:/path, fd:3 or env:NAME")


def _read_line(descriptor: int) -> bytes:
    """Return the bytes up to a line end or the end, however many reads they take."""
    line = b""
    while len(line) < MAX_PIN_BYTES and not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            break
        line += byte
    return line.rstrip(b"\r\n")


class Session(Protocol):
    """What is used of python-pkcs11's sessions."""

    def get_objects(self, attrs: dict[object, object]) -> object:
        """Find objects."""

    def close(self) -> None:
        """End it, and with it the login."""


class Login:
    """A login to one token. Made by `acquire`.

    Attributes:
        lock: To be held around every use of the session: a token has one arithmetic unit, and many modules are not safe
            between threads.
        generation: Counts sessions: objects found in an earlier one are no longer good.
    """

    def __init__(self, place: PKCS11Place, pin: Passphrase) -> None:
        self.lock = threading.Lock()
        self.generation = 0
        self.users = 0
        self.pin = pin
        self._place = place
        self._session: Session | None = None
        self._was_open = False
        self._is_refused = False

    def session(self) -> Session:
        """Return the session, opened if there is none.

        Raises:
            CredentialError: MISSING (no library or token), WRONG_PASSPHRASE.
            IssuanceError: SIGN: the token does not answer.
        """
        if self._is_refused:  # a token counts wrong PINs, and each certificate asked for would be one
            raise CredentialError(
                f"the PIN of {self._place.describe_token()} was wrong, and is not tried again",
                problem=CredentialProblem.WRONG_PASSPHRASE,
                hint="put the right PIN where pin-source says, and have the configuration read again",
            )
        if self._session is None:
            self._session = self._open()
            self._was_open = True
            self.generation += 1
        return self._session

    def take_pin(self, pin: Passphrase) -> None:
        """Go on with another PIN, as an administrator who has changed it says; its lock is held.

        Raises:
            CredentialError: WRONG_PASSPHRASE, MISSING; all stays as it was, and the next use logs on again.
            IssuanceError: SIGN: the token does not answer; likewise.
        """
        before = self.pin, self._is_refused
        self.drop()
        self.pin, self._is_refused = pin, False
        try:
            self.session()
        except BaseException:
            self.pin, self._is_refused = before
            raise

    def drop(self) -> None:
        """Close the session; the next use opens another."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(import_pkcs11().exceptions.PKCS11Error):  # gone already, perhaps
                session.close()

    def forget(self) -> None:
        """Begin anew in a child process; what was open belongs to the parent."""
        self.lock = threading.Lock()
        self._session = None

    def is_in_use(self, module: str) -> bool:
        """Tell whether it has a session in this module; its lock is held."""
        return self._place.module == module and self._session is not None

    def _open(self) -> Session:
        """Return a new session; begin anew with the module once, if that may help."""
        place, pkcs11 = self._place, import_pkcs11()
        try:
            library = pkcs11.lib(place.module)
        except pkcs11.exceptions.PKCS11Error as error:
            raise _silent(place.module, error) from error
        except RuntimeError as error:  # of which the others are a kind
            raise missing(f"{place.module}: cannot be loaded: {error}") from error
        try:
            return self._log_on(library)
        except (CredentialError, IssuanceError) as error:
            if isinstance(error, CredentialError) and error.problem is not CredentialProblem.MISSING:
                raise  # the token answers, and counts wrong PINs
            if not _begin_anew(self, place.module, library):
                raise
        return self._log_on(library)

    def _log_on(self, library: ModuleType) -> Session:
        """Return a new session, logged on."""
        place, pkcs11 = self._place, import_pkcs11()
        exceptions = pkcs11.exceptions
        try:
            _begin_in_this_process(place.module, library)
            token = self._find(library)
            try:
                return cast("Session", token.open(user_pin=self.pin.reveal().decode("utf-8")))
            except exceptions.UserAlreadyLoggedIn:
                if not self._was_open:  # by somebody else in this process: then the PIN would go unchecked
                    raise
                return cast("Session", token.open())
        except UnicodeDecodeError as error:
            raise CredentialError("the PIN is not text", problem=CredentialProblem.WRONG_PASSPHRASE) from error
        except (exceptions.PinIncorrect, exceptions.PinLenRange, exceptions.PinInvalid) as error:
            self._is_refused = True
            raise CredentialError(
                f"the PIN of {place.describe_token()} is wrong", problem=CredentialProblem.WRONG_PASSPHRASE
            ) from error
        except exceptions.PinLocked as error:
            raise CredentialError(
                f"{place.describe_token()} is locked after too many wrong PINs",
                problem=CredentialProblem.WRONG_PASSPHRASE,
                hint="its security officer can unlock it",
            ) from error
        except exceptions.NoSuchToken as error:
            raise missing(f"no token fits {place.describe_token()}") from error
        except exceptions.PKCS11Error as error:
            raise IssuanceError(
                f"{place.describe_token()} does not answer: {type(error).__name__}", step=IssuanceStep.SIGN
            ) from error

    def _find(self, library: ModuleType) -> ModuleType:
        """Return the one token of this label and serial number."""
        serial = None if self._place.serial is None else self._place.serial.encode()
        wanted = {"token_label": self._place.token, "token_serial": serial}
        tokens = list(library.get_tokens(**{name: value for name, value in wanted.items() if value is not None}))
        if len(tokens) != 1:
            raise missing(f"{len(tokens)} tokens fit {self._place.describe_token()}")
        token: ModuleType = tokens[0]  # python-pkcs11 has no types; what is used of it is checked against SoftHSM
        return token


# Locks are taken in this order: _guard, that of a login, _beginning.
_guard = threading.Lock()
_beginning = threading.Lock()
_logins: dict[tuple[str, str | None, str | None], Login] = {}
_begun_in: dict[str, int] = {}
"""For each module the process that has begun with it."""


def _begin_in_this_process(module: str, library: ModuleType) -> None:
    """Begin anew with a module that a parent process had begun with; nobody in this one has been in it yet."""
    with _beginning:
        if _begun_in.get(module, os.getpid()) != os.getpid():
            library.reinitialize()
        _begun_in[module] = os.getpid()


def _begin_anew(login: Login, module: str, library: ModuleType) -> bool:
    """End a module and begin with it again, while nobody is in it; `login`'s lock is held.

    Returns:
        False when some other login uses it, or may be about to: then all stays as it is.
    """
    exceptions = import_pkcs11().exceptions
    held: list[Login] = []
    with _beginning:
        try:
            for other in [*_logins.values()]:
                if other is login:
                    continue
                if not other.lock.acquire(blocking=False):
                    return False
                held.append(other)
                if other.is_in_use(module):
                    return False
            with contextlib.suppress(exceptions.PKCS11Error):  # it has ended, whatever it says
                library.finalize()
            library.initialize()
        except exceptions.PKCS11Error as error:
            raise _silent(module, error) from error
        finally:
            for other in held:
                other.lock.release()
    return True


def acquire(place: PKCS11Place, pin: Passphrase) -> Login:
    """Return this process's login to a token, logged on; one more user of it.

    Raises:
        ConfigError: python-pkcs11 is not installed.
        CredentialError: MISSING, WRONG_PASSPHRASE.
        IssuanceError: SIGN: the token does not answer.
    """
    key = (place.module, place.token, place.serial)
    with _guard:
        login = _logins.get(key)
        if login is None:
            login = _logins[key] = Login(place, pin)  # at once, so that nobody begins anew while it logs on
            try:
                with login.lock:
                    login.session()
            except BaseException:
                del _logins[key]
                raise
        elif login.pin != pin:
            with login.lock:
                login.take_pin(pin)
        login.users += 1
        return login


def release(login: Login) -> None:
    """Say that one user is done with a login; the last one logs off."""
    with _guard:
        login.users -= 1
        if login.users > 0:
            return
        for key in [key for key, one in _logins.items() if one is login]:
            del _logins[key]
        with login.lock:
            login.drop()


def _forget_all() -> None:
    global _guard, _beginning  # noqa: PLW0603  another thread of the parent may have held them
    _guard = threading.Lock()
    _beginning = threading.Lock()
    for login in _logins.values():
        login.forget()


os.register_at_fork(after_in_child=_forget_all)


def _silent(module: str, error: Exception) -> CredentialError:
    return missing(f"{module}: cannot be begun with: {str(error) or type(error).__name__}")


def missing(message: str) -> CredentialError:
    """Return the error for a library, token or key that is not there."""
    return CredentialError(
        message,
        problem=CredentialProblem.MISSING,
        hint="pkcs11-tool --module MODULE --list-slots --list-objects shows what is there",
    )


def import_pkcs11() -> ModuleType:
    """Return python-pkcs11.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import pkcs11
        import pkcs11.exceptions
    except ModuleNotFoundError as error:
        raise ConfigError(
            "keys in PKCS#11 tokens need the Python package python-pkcs11, which is not installed",
            hint="pip install 'gsi-toolkit[hsm]'",
        ) from error
    found: ModuleType = pkcs11
    return found
