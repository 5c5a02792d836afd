"""One-time codes by the clock (TOTP, RFC 6238), each accepted once by all servers together; not how users get theirs.

    codes = OneTimeCodes(store, CodeKeys.load("/etc/myproxy/otp.key"), clock=now)
    codes.enrol("alice")                                    # a new secret, to be shown once, as otpauth:// URI
    passphrase, code = codes.split(given)                   # `correct horse123456`
    use = codes.verify("alice", code)                       # AuthenticationError: wrong, or used before
    use.consume()                                           # AuthenticationError: somebody else was faster

A client gives the code behind its pass phrase, or in its place: so every client there is can give one. The last six
(or eight) decimal digits count, of whatever script, with blanks between and behind them; what stands in front is the
pass phrase, unchanged. What was accepted is remembered as its place in time, not as text, so that no other spelling of
it is new; an earlier code than the last accepted one is refused as well.

Secrets rest in the repository's database under AES-256-GCM, bound to the account; the key is a file beside it:

    offset 0   4 bytes  magic "MPOT"
           4   1        format version, 1
           5   4        the key's mark: the beginning of its SHA-256
           9  12        nonce
          21  n+16      ciphertext and tag of: hash (1 byte: 1, 2, 5 for SHA-1, -256, -512), seconds of a period (2),
                        secret
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import os
import secrets
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, urlencode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gsi.errors import AuthenticationError, ConfigError, GridError, StorageError
from gsi.secret import Passphrase
from gsi.system.files import read_private
from myproxy.auth.base import Method
from myproxy.auth.throttle import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

__all__ = ["ALGORITHMS", "CodeKeys", "CodeStore", "CodeUse", "Enrolment", "OneTimeCodes", "StoredSecret", "code_at"]

ALGORITHMS: Final = {"SHA1": 1, "SHA256": 2, "SHA512": 5}
"""The hashes that RFC 6238 names, with their numbers at rest."""
SECRET_BYTES: Final = 20
"""RFC 4226 section 4, R6: as long as SHA-1's result, and what every authenticator takes."""
MAX_SECRET_BYTES: Final = 128
"""A block of SHA-512; more adds nothing (RFC 2104)."""
PERIOD_SECONDS: Final = 30
MAX_KEY_FILE_BYTES: Final = 4096
"""A line of 65 bytes for each key, and remarks."""

_MAGIC: Final = b"MPOT\x01"
_MARK_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_NAMES: Final = {number: name for name, number in ALGORITHMS.items()}
_WRONG: Final = "invalid one-time code"
_plain: Final = functools.lru_cache(maxsize=1 << 16)(normalise)


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A user's secret at rest.

    Attributes:
        sealed: As `CodeKeys.seal` made it.
        last_step: The last period of which a code was accepted; 0 before the first.
    """

    sealed: bytes
    last_step: int


class CodeStore(Protocol):
    """Where secrets rest. Safe for use by several threads and processes at once."""

    def find(self, username: str) -> StoredSecret | None:
        """Return a user's secret, None when there is none; StorageError when the store cannot be read."""
        ...

    def put(self, username: str, sealed: bytes, *, now: datetime) -> None:
        """Insert or replace a secret; what was accepted before stays used up.

        Raises:
            StorageError: It could not be made durable.
        """
        ...

    def remove(self, username: str) -> None:
        """Remove a secret.

        Raises:
            NotFoundError: There is none.
            StorageError: The store cannot be written.
        """
        ...

    def advance(self, username: str, step: int) -> bool:
        """Move the last accepted period forward; False when it is there already or beyond. Durable when it returns.

        Raises:
            StorageError: The store cannot be written.
        """
        ...

    def usernames(self) -> Sequence[str]:
        """Return who has a secret, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A new secret, for the user's authenticator.

    Attributes:
        username: Whose it is.
        secret: As the authenticator takes it, base32.
        uri: The same with everything else it needs (`otpauth://`).
    """

    username: str
    secret: Passphrase
    uri: Passphrase


@dataclass(slots=True)
class CodeUse:
    """A code that is right and not yet used up.

    Attributes:
        used: Whether `consume` has been called.
    """

    _store: CodeStore
    _username: str
    _step: int
    used: bool = False

    def consume(self) -> None:
        """Use the code up, on all servers.

        Raises:
            AuthenticationError: It has been used in the meantime.
            StorageError: That cannot be kept; it counts as used here.
        """
        self.used = True
        if not self._store.advance(self._username, self._step):
            raise AuthenticationError("the one-time code has been used before")


class CodeKeys:
    """The keys that secrets are sealed with. The first seals; all open, so that a key can be replaced."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take the keys.

        Args:
            keys: 32 bytes each.

        Raises:
            ConfigError: There is none, or one is of another length.
        """
        if not keys or any(len(key) != 32 for key in keys):
            raise ConfigError("a key for one-time codes has 32 bytes")
        self._keys = {_mark(key): AESGCM(key) for key in keys}
        self._first = _mark(keys[0])

    @classmethod
    def load(cls, path: str) -> CodeKeys:
        """Read a key file: a key per line in 64 hexadecimal digits; blank lines and those that begin with # are passed.

        Raises:
            ConfigError: It cannot be read, others can read it, or a line is no key.
        """
        try:
            lines = read_private(path, max_bytes=MAX_KEY_FILE_BYTES).decode("ascii").splitlines()
            keys = [bytes.fromhex(line) for line in map(str.strip, lines) if line and not line.startswith("#")]
            return cls(keys)
        except GridError as error:
            hint = f"make it with: umask 077; openssl rand -hex 32 > {path}" if not os.path.exists(path) else error.hint
            raise ConfigError(
                f"cannot use the key for one-time codes: {error.message}", path=path, hint=hint
            ) from error
        except ValueError as error:
            raise ConfigError("a line is not 64 hexadecimal digits", path=path) from error

    def seal(self, username: str, algorithm: str, period: int, secret: bytes) -> bytes:
        """Return a secret as it may rest."""
        nonce = os.urandom(_NONCE_BYTES)
        header = _MAGIC + self._first
        plain = bytes((ALGORITHMS[algorithm],)) + period.to_bytes(2, "big") + secret
        return header + nonce + self._keys[self._first].encrypt(nonce, plain, _bound(header, username))

    def open(self, username: str, sealed: bytes) -> tuple[str, int, bytes]:
        """Return hash, period and secret.

        Raises:
            StorageError: It is damaged, another user's, or sealed with a key that is not at hand.
        """
        start = len(_MAGIC) + _MARK_BYTES
        header, nonce, text = sealed[:start], sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :]
        key = self._keys.get(header[len(_MAGIC) :])
        if not header.startswith(_MAGIC) or len(header) != start or len(nonce) != _NONCE_BYTES:
            raise StorageError(f"the one-time secret of {username!r} is damaged")
        if key is None:
            raise StorageError(f"the one-time secret of {username!r} was sealed with a key that is not in the key file")
        try:
            plain = key.decrypt(nonce, text, _bound(header, username))
        except InvalidTag as error:
            raise StorageError(f"the one-time secret of {username!r} is damaged") from error
        algorithm, period = _NAMES.get(plain[0]), int.from_bytes(plain[1:3], "big")
        if algorithm is None or not period:
            raise StorageError(f"the one-time secret of {username!r} is of a kind that this version does not know")
        return algorithm, period, plain[3:]


class OneTimeCodes:
    """Judges codes; as a `PasswordMethod` it takes one in place of a pass phrase. Safe for use by several threads."""

    method = Method.ONE_TIME_PASSWORD

    def __init__(
        self, store: CodeStore, keys: CodeKeys, *, clock: Callable[[], datetime], digits: int = 6, window: int = 1
    ) -> None:
        """Choose the rules.

        Args:
            store: Where secrets rest.
            keys: What they are sealed with.
            clock: The time.
            digits: The length of a code, 6 to 8.
            window: How many periods a user's clock may be off, either way.
        """
        self._store = store
        self._keys = keys
        self._clock = clock
        self._digits = digits
        self._window = window
        self._decoy = keys.seal("", "SHA1", PERIOD_SECONDS, os.urandom(SECRET_BYTES))

    def is_enrolled(self, username: str) -> bool:
        """Say whether a user has a secret, under whatever spelling of the name.

        A directory may take other spellings for the same account, so a code that one of them needs all of them need.

        Raises:
            StorageError: The store cannot be read.
        """
        if self._store.find(username) is not None:
            return True
        wanted = _plain(username)
        return any(_plain(one) == wanted for one in self._store.usernames())

    def enrol(
        self,
        username: str,
        *,
        issuer: str,
        algorithm: str = "SHA1",
        secret: bytes | None = None,
        used_step: int = 0,
    ) -> Enrolment:
        """Give a user a secret in place of any former one.

        Args:
            username: Who.
            issuer: What the authenticator shows beside the name.
            algorithm: One of `ALGORITHMS`.
            secret: What a hardware token holds; None makes a new one.
            used_step: The period whose code has shown that the user has the secret; it is used up with that.

        Raises:
            ConfigError: The secret is too short (16 bytes, RFC 4226 section 4) or too long.
            StorageError: It could not be stored.
        """
        if secret is None:
            secret = secrets.token_bytes(SECRET_BYTES)
        if not 16 <= len(secret) <= MAX_SECRET_BYTES:
            raise ConfigError(f"a secret for one-time codes has 16 to {MAX_SECRET_BYTES} bytes")
        sealed = self._keys.seal(username, algorithm, PERIOD_SECONDS, secret)
        self._store.put(username, sealed, now=self._clock())
        if used_step:
            self._store.advance(username, used_step)
        text = base64.b32encode(secret).decode("ascii").rstrip("=")
        facts = {"secret": text, "issuer": issuer, "algorithm": algorithm, "digits": self._digits, "period": 30}
        label = quote(f"{issuer}:{username}", safe=":@")
        return Enrolment(
            username, Passphrase(text), Passphrase(f"otpauth://totp/{label}?{urlencode(facts, quote_via=quote)}")
        )

    def split(self, given: Passphrase) -> tuple[Passphrase, str]:
        """Return the pass phrase and the code behind it; the code is empty where there is none."""
        text = given.reveal().decode("utf-8", "surrogateescape")
        code = ""
        at = len(text)
        while at and len(code) < self._digits:
            at -= 1
            digit = unicodedata.decimal(text[at], None)
            if digit is not None:
                code = str(digit) + code
            elif not text[at].isspace():
                break
        if len(code) < self._digits:
            return given, ""
        return Passphrase(text[:at].encode("utf-8", "surrogateescape")), code

    def verify(self, username: str, code: str) -> CodeUse:
        """Judge a code, which has to be used up by `CodeUse.consume` where it counts.

        Args:
            username: Whose code it should be.
            code: ASCII digits, as `split` gives them.

        Raises:
            AuthenticationError: It is wrong, too old, too new, or used before; or the user has no secret.
            StorageError: The store cannot be read, or the secret is damaged.
        """
        stored = self._store.find(username)
        owner, sealed = (username, stored.sealed) if stored is not None else ("", self._decoy)
        algorithm, period, secret = self._keys.open(owner, sealed)
        present = int(self._clock().timestamp()) // period
        matched = 0
        for step in range(max(1, present - self._window), present + self._window + 1):
            right = code_at(step, secret, algorithm, self._digits)
            if hmac.compare_digest(right, code.encode("utf-8", "surrogateescape")):
                matched = step
        if stored is None or not matched:
            raise AuthenticationError(_WRONG)
        if matched <= stored.last_step:
            raise AuthenticationError("the one-time code has been used before")
        return CodeUse(self._store, username, matched)

    def check(self, username: str, passphrase: Passphrase) -> None:
        """See `PasswordMethod.check`: the code alone, used up at once."""
        before, code = self.split(passphrase)
        if before:
            raise AuthenticationError(_WRONG)
        self.verify(username, code).consume()


def code_at(step: int, secret: bytes, algorithm: str = "SHA1", digits: int = 6) -> bytes:
    """Return the code of one period (RFC 4226 section 5.3, RFC 6238 section 4), ASCII digits."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), algorithm.lower())
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return b"%0*d" % (digits, number % 10**digits)


def _mark(key: bytes) -> bytes:
    return hashlib.sha256(b"myproxy one-time key" + key).digest()[:_MARK_BYTES]


def _bound(header: bytes, username: str) -> bytes:
    return header + username.encode("utf-8", "surrogateescape")
