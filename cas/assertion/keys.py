"""Which of a community's keys signs, which are published, and that no name ever comes back: rotation without a pause.

    ring = load_ring(
        (KeySpec(place="/etc/cas/2026a.pem", certificates="/etc/cas/2026a-cert.pem", begins=january, ends=july),
         KeySpec(place="pkcs11:token=CAS;object=2026b?...", begins=june, ends=december)),
        KeyHistory("/var/lib/cas/kids.json"), now=now,
    )
    ring.signing_key(now), ring.published(now)

A key signs from its beginning to its end, the one that began last first. It is published before it signs (`LEAD`), so
that verifiers who keep key sets have it by then, and after it has ended, as long as what it signed may live (`LINGER`).
A key that is added too late for that waits while another one can sign. Its name is its thumbprint; the history keeps
names whose time is over, and refuses a key that would come back under one; it keeps them for each ring, since one key
may sign for two and end in one of them first. `KeyRings` replaces a ring at once and as a
whole, and keeps the old one when the new one is no good.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from cas.assertion.signing import SigningKey
from gsi.ca.signer import load_signer
from gsi.certificate import load_certificates
from gsi.errors import (
    ConfigError,
    ConflictError,
    CredentialError,
    CredentialProblem,
    GridError,
    IssuanceError,
    IssuanceStep,
    ParseError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gsi.ca.signer import Signer
    from gsi.certificate import Certificate
    from gsi.credential import PassphraseSource

__all__ = [
    "ASSERTIONS",
    "LEAD",
    "LINGER",
    "TOKENS",
    "KeyHistory",
    "KeyRing",
    "KeyRings",
    "KeySpec",
    "RingKey",
    "load_ring",
]

ASSERTIONS: Final = "kids"
"""The ring of all that is signed; of all but tokens, where these have keys of their own."""

TOKENS: Final = "tokens"
"""The ring of tokens that have keys of their own."""

LEAD: Final = timedelta(hours=6)
"""How long a key is published before it signs: verifiers keep key sets for as long (WLCG profile)."""

LINGER: Final = timedelta(hours=7)
"""How long a key is published after it has ended: the longest life of a token, and an hour for clocks."""

MAX_PERIOD: Final = timedelta(days=366)
"""The longest time for which a key may sign (WLCG profile: 12 months)."""

MAX_KEYS: Final = 16  # of one ring; two or three are in use at a time
_MAX_HISTORY_BYTES: Final = 1 << 20  # ten thousand names; two a year are added
_MAX_CERTIFICATE_BYTES: Final = 256 << 10  # a chain


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """One key as the configuration names it.

    Attributes:
        place: A file, a `pkcs11:` URI or a program, as for `gsi.ca.signer.load_signer`.
        begins: From when it may sign (aware UTC).
        ends: Until when, exclusive.
        certificates: The PEM file of its certificate and those above; empty for a key that signs tokens only.

    Raises:
        ConfigError: It never signs, or for longer than `MAX_PERIOD`.
    """

    place: str
    begins: datetime
    ends: datetime
    certificates: str = ""

    def __post_init__(self) -> None:
        if not timedelta() < self.ends - self.begins <= MAX_PERIOD:
            raise ConfigError(
                f"the key at {self.place} signs for {self.ends - self.begins}; keys sign for more than nothing and at "
                f"most {MAX_PERIOD.days} days"
            )


class RingKey(NamedTuple):
    """A key with its time."""

    key: SigningKey
    begins: datetime
    ends: datetime
    first_published: datetime
    """When its name was first shown to anybody."""


class KeyRing:
    """The keys of one purpose. Immutable; safe for several threads.

    Args:
        keys: The keys.
        lead: How long each is published before it signs.
        linger: How long it is published after it has ended.

    Raises:
        ConfigError: None, too many, or one key twice.
    """

    def __init__(self, keys: Sequence[RingKey], *, lead: timedelta = LEAD, linger: timedelta = LINGER) -> None:
        if not 0 < len(keys) <= MAX_KEYS:
            raise ConfigError(f"{len(keys)} signing keys; from 1 to {MAX_KEYS} are used")
        if len({one.key.kid for one in keys}) != len(keys):
            raise ConfigError("one signing key is named twice", hint="a key has one time; make a new key for the next")
        self._keys = tuple(sorted(keys, key=lambda one: one.begins))
        self._lead = lead
        self._linger = linger

    @property
    def keys(self) -> tuple[RingKey, ...]:
        """All of them, the one that begins first first."""
        return self._keys

    def signing_key(self, now: datetime) -> SigningKey:
        """Return the key that signs now: of those that may, the one that began last and has been published for long.

        Raises:
            IssuanceError: AUTHORITY: none may.
        """
        able = [one for one in self._keys if one.begins <= now < one.ends]
        if not able:
            raise IssuanceError(
                "no signing key may be used now", step=IssuanceStep.AUTHORITY, hint="add a key that has begun"
            )
        known = [one for one in able if one.first_published + self._lead <= now]
        # Without one that verifiers know by now, the one that they have had most time to learn.
        return known[-1].key if known else min(able, key=lambda one: one.first_published).key

    def published(self, now: datetime) -> tuple[SigningKey, ...]:
        """Return the keys to show: those that sign, that will soon, and whose signatures may still be met."""
        return tuple(one.key for one in self._keys if one.begins - self._lead <= now < one.ends + self._linger)

    def find(self, kid: str) -> SigningKey | None:
        """Return a key by name, whatever its time."""
        return next((one.key for one in self._keys if one.key.kid == kid), None)

    def close(self) -> None:
        """Let go of the keys; none of them signs after it."""
        for one in self._keys:
            one.key.signer.close()


class _Past(NamedTuple):
    """What is remembered of a name."""

    first: datetime
    ends: datetime


class _Book(NamedTuple):
    """What is in the file."""

    rings: dict[str, dict[str, _Past]]
    is_old: bool
    """Whether it was written before rings were told apart: an end may be that of the other ring."""
    is_apart: bool
    """Whether tokens have keys of their own."""
    apart: datetime | None
    """Since when; None where they never shared any."""


class KeyHistory:
    """The names of keys that ever were, in a file that several processes share.

    Args:
        path: The file; made with mode 0600 when there is none.
        ring: Whose names, `ASSERTIONS` or `TOKENS`.
        others: The ends of keys of the other ring, which a file of an older version may hold as those of this one.
    """

    def __init__(self, path: str, ring: str = ASSERTIONS, *, others: Iterable[datetime] = ()) -> None:
        self._path = path
        self._ring = ring
        self._others = frozenset(one.astimezone(UTC) for one in others)

    def note_apart(self, *, now: datetime) -> datetime | None:
        """Note that tokens have keys of their own; return since when, None if they never shared any.

        Raises:
            StorageError: The file cannot be read or written.
        """
        return self._note(lambda book: book.apart if book.is_apart else now if book.rings[ASSERTIONS] else None, True)

    def note_together(self) -> None:
        """Note that tokens share the keys of all else.

        Raises:
            StorageError: As `note_apart`.
        """
        self._note(lambda _: None, False)

    def _note(self, since: Callable[[_Book], datetime | None], is_apart: bool) -> datetime | None:
        with self._locked() as book:
            fresh = book._replace(apart=since(book), is_apart=is_apart)
            self._write(book, fresh)
        return fresh.apart

    @contextlib.contextmanager
    def _locked(self) -> Iterator[_Book]:
        from gsi.system.files import FileLock

        try:
            with FileLock(f"{self._path}.lock"):
                yield self._read()
        except CredentialError as error:
            raise StorageError(f"the history of signing keys: {error.message}", hint=error.hint) from error

    def _write(self, before: _Book, book: _Book) -> None:
        from gsi.system.files import write_private

        if book != before:
            write_private(self._path, _encode(book))

    def record(self, times: Mapping[str, datetime], *, now: datetime) -> Mapping[str, datetime]:
        """Note names with the ends of their time; return when each was first noted.

        Args:
            times: When each name's time ends.
            now: The present time (aware UTC).

        Raises:
            ConflictError: A name whose time was over is to come back.
            StorageError: The file cannot be read or written; nothing is noted.
        """
        with self._locked() as book:
            known = dict(book.rings[self._ring])
            (other,) = (names for ring, names in book.rings.items() if ring != self._ring)
            for kid, ends in times.items():
                past = known.get(kid, other.get(kid))
                is_others = book.is_old and past is not None and past.ends in self._others
                if past is not None and past.ends <= now and ends > past.ends and not is_others:
                    raise ConflictError(
                        f"the signing key {kid} was retired on {past.ends:%Y-%m-%d %H:%M:%S} and cannot come back",
                        hint="make a new key: verifiers may have seen what the old one signed withdrawn",
                    )
                known[kid] = _Past(now if past is None else past.first, ends)
            if known != book.rings[self._ring]:
                self._write(book, book._replace(rings=book.rings | {self._ring: known}, is_old=False))
        return {kid: known[kid].first for kid in times}

    def _read(self) -> _Book:
        from gsi.system.files import read_private

        try:
            data = read_private(self._path, max_bytes=_MAX_HISTORY_BYTES)
        except CredentialError as error:
            if error.problem is CredentialProblem.MISSING and not os.path.lexists(self._path):  # an empty one is a loss
                return _Book({ASSERTIONS: {}, TOKENS: {}}, is_old=False, is_apart=False, apart=None)
            raise
        except ParseError as error:
            raise StorageError(f"the history of signing keys: {error.message}") from error
        try:
            found = json.loads(data)
            rings = {
                ring: {str(kid): _Past(_moment(one["first"]), _moment(one["ends"])) for kid, one in listed.items()}
                for ring, listed in ((ASSERTIONS, found[ASSERTIONS]), (TOKENS, found.get(TOKENS, {})))
            }
            apart = found.get("apart")
            return _Book(
                rings,
                is_old=TOKENS not in found,
                is_apart="apart" in found,
                apart=None if apart is None else _moment(apart),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StorageError(
                f"{self._path}: no history of signing keys",
                hint="bring it back from a copy; without it a name could come back",
            ) from error


def _encode(book: _Book) -> bytes:
    value: dict[str, object] = {
        ring: {kid: {"first": past.first.isoformat(), "ends": past.ends.isoformat()} for kid, past in known.items()}
        for ring, known in book.rings.items()
        if not (book.is_old and ring == TOKENS)
    }
    if book.is_apart:
        value["apart"] = None if book.apart is None else book.apart.isoformat()
    return json.dumps(value, indent=1, sort_keys=True).encode("ascii") + b"\n"


def _moment(text: object) -> datetime:
    found = datetime.fromisoformat(str(text))
    if found.tzinfo is None:
        raise ValueError("a time without its zone")
    return found.astimezone(UTC)


def load_ring(
    specs: Iterable[KeySpec],
    history: KeyHistory,
    *,
    now: datetime,
    passphrase: PassphraseSource = None,
    lead: timedelta = LEAD,
    linger: timedelta = LINGER,
) -> KeyRing:
    """Load keys and note their names.

    Args:
        specs: What the configuration says.
        history: Names that ever were.
        now: The present time (aware UTC).
        passphrase: Opens locked key files; PINs of tokens come from their URIs.
        lead: As for `KeyRing`.
        linger: As for `KeyRing`.

    Raises:
        ConfigError: As for `KeyRing` and `load_signer`.
        CredentialError: A key or certificate is missing, unsafe, weak, or not one another's.
        IssuanceError: A token does not answer.
        ConflictError: A key's name was retired before.
        StorageError: The history cannot be used.
    """
    loaded: list[tuple[SigningKey, KeySpec]] = []
    try:
        for spec in specs:
            loaded.append((_load(spec, passphrase), spec))  # noqa: PERF401  those loaded are closed if one is no good
        first = history.record({key.kid: spec.ends for key, spec in loaded}, now=now)
        keys = [RingKey(key, spec.begins, spec.ends, first[key.kid]) for key, spec in loaded]
        return KeyRing(keys, lead=lead, linger=linger)
    except BaseException:
        for key, _ in loaded:
            key.signer.close()
        raise


def _load(spec: KeySpec, passphrase: PassphraseSource) -> SigningKey:
    from gsi.system.files import read_public

    certificates: tuple[Certificate, ...] = ()
    if spec.certificates:
        data = read_public(spec.certificates, max_bytes=_MAX_CERTIFICATE_BYTES, check_writers=True)
        certificates = tuple(load_certificates(data))
        if not certificates:
            raise CredentialError(
                f"{spec.certificates}: no certificate in it",
                problem=CredentialProblem.MISSING,
                path=spec.certificates,
            )
    first = certificates[0] if certificates else None
    signer: Signer = load_signer(spec.place, certificate=first, passphrase=passphrase)
    try:
        return SigningKey(signer, certificates)
    except GridError:
        signer.close()
        raise


class KeyRings:
    """The ring in use, and how to replace it. Safe for several threads.

    Args:
        load: Makes a ring from the configuration as it is now.
        now: The present time (aware UTC).

    Raises:
        GridError: The first ring cannot be made.
    """

    def __init__(self, load: Callable[[datetime], KeyRing], *, now: datetime) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._ring = load(now)
        self._previous: KeyRing | None = None

    @property
    def ring(self) -> KeyRing:
        """The ring in use."""
        return self._ring

    def reload(self, *, now: datetime) -> None:
        """Load the keys anew; requests that hold the old ones go on with them until the next time.

        Raises:
            GridError: The new ring cannot be made; the old one stays in use.
        """
        with self._lock:
            ring = self._load(now)
            retired, self._previous, self._ring = self._previous, self._ring, ring
        if retired is not None:
            retired.close()

    def close(self) -> None:
        """Let go of all keys."""
        with self._lock:
            for one in (self._previous, self._ring):
                if one is not None:
                    one.close()
