"""The keys of issuers as they are published: fetched when needed, kept as long as the WLCG profile says.

    cache = KeyCache(rules, fetcher)
    key = cache.find_key("https://vo.example.org/", "kid-1", now=now)

Nothing is fetched for an issuer without rules. Keys are fetched again when their life is over, and when a token names
one that is not known (a new key), but not more often than every `RETRY`. When that fails, the old ones hold until they
are `MAX_LIFE` old. A name that once stood for one key never stands for another: such a kid is refused from then on.

One asks an issuer, and nobody waits for that one: whoever has a key that will do goes on with it, and whoever needs
one that is not known is refused at once. Tokens that name a kid need not be good for anything, so that a crowd of them
would wait with an issuer that says nothing, in the place of others. Only when an issuer is asked for the very first
time, `MAX_WAITING` others wait for its keys, until `PATIENCE` after that began: once for each issuer and process.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, GridError, ParseError
from gsi.tokens.compact import parse_object
from gsi.tokens.keys import KeySet, VerificationKey, parse_key_set
from gsi.tokens.rules import check_https

if TYPE_CHECKING:
    from gsi.tokens.rules import IssuerRules, TokenRules

__all__ = [
    "DEFAULT_LIFE",
    "MAX_LIFE",
    "MAX_WAITING",
    "MIN_LIFE",
    "PATIENCE",
    "RETRY",
    "Documents",
    "Fetcher",
    "KeyCache",
]

DEFAULT_LIFE: Final = timedelta(hours=6)
MIN_LIFE: Final = timedelta(hours=1)
MAX_LIFE: Final = timedelta(days=4)
RETRY: Final = timedelta(minutes=5)
"""How long after a fetch an unknown kid, or a failure, leads to the next: strangers must not make us ask on and on."""

PATIENCE: Final = timedelta(seconds=3)
"""From the begin of an issuer's first fetch, for others to wait; most take a tenth, and a decision may take 5 s."""

MAX_WAITING: Final = 16
"""Who waits for an issuer's first keys at once: as many as there are threads for users' questions."""

_DOCUMENTS: Final = (".well-known/openid-configuration", ".well-known/oauth-authorization-server")
_MAX_REMEMBERED: Final = 1024  # kids of one issuer that ever were


class Documents(Protocol):
    """Fetches the documents of one issuer."""

    def fetch(self, url: str) -> bytes:
        """Return a document.

        Raises:
            GridError: It cannot be had.
        """


class Fetcher(Protocol):
    """Fetches documents over https, within limits of its own."""

    def together(self) -> Documents:
        """Begin with an issuer: all of its documents have one limit in time."""


class _First:
    """The first fetch of an issuer, and who waits for it."""

    __slots__ = ("began", "ended", "places")

    def __init__(self) -> None:
        self.began: datetime | None = None
        self.ended = threading.Event()
        self.places = threading.Semaphore(MAX_WAITING)


class _State(NamedTuple):
    """What is known of one issuer; replaced as a whole."""

    keys: KeySet
    fetched_at: datetime
    """When the keys came."""
    tried_at: datetime
    """When they were last asked for."""
    failure: str
    """Why that failed, or empty."""


class KeyCache:
    """Fetches and keeps keys; a `KeySource`. Safe for several threads: one fetches, others wait for first keys alone.

    Args:
        rules: Whose keys count, and where they are.
        fetcher: Fetches documents.
        life: How long keys are used before they are fetched again, from `MIN_LIFE` to `MAX_LIFE`.

    Raises:
        ConfigError: The life is out of range.
    """

    def __init__(self, rules: TokenRules, fetcher: Fetcher, *, life: timedelta = DEFAULT_LIFE) -> None:
        if not MIN_LIFE <= life <= MAX_LIFE:
            raise ConfigError(f"keys live from {MIN_LIFE} to {MAX_LIFE}")
        self._rules = rules
        self._fetcher = fetcher
        self._life = life
        self._states: dict[str, _State] = {}
        self._thumbprints: dict[str, dict[str, str]] = {one.issuer: {} for one in rules.issuers}
        self._locks = {one.issuer: threading.Lock() for one in rules.issuers}
        self._first = {one.issuer: _First() for one in rules.issuers}

    def find_key(self, issuer: str, kid: str, *, now: datetime) -> VerificationKey:
        """Return a key; as for `KeySource`."""
        rules = self._rules.find(issuer)
        if rules is None:
            raise CapabilityError(
                f"token: the issuer {issuer[:80]!r} is not trusted here",
                problem=CapabilityProblem.ISSUER,
                issuer=issuer,
            )
        state = self._states.get(issuer)
        if self._has_to_ask(state, kid, now):
            if self._locks[issuer].acquire(blocking=False):
                try:
                    state = self._ask(rules, kid, now)
                finally:
                    self._locks[issuer].release()
            elif state is None:
                state = self._wait(issuer, now)
        if state is None or not _is_within(state.fetched_at, now, MAX_LIFE):
            why = "they are being asked for just now" if state is None else state.failure or "they are too old"
            raise CapabilityError(
                f"token: the keys of {issuer[:80]!r} cannot be had: {why}",
                problem=CapabilityProblem.KEYS_UNAVAILABLE,
                issuer=issuer,
            )
        key = state.keys.keys.get(kid)
        if key is None:
            raise CapabilityError(
                f"token: {issuer[:80]!r} has no key {kid[:80]!r}", problem=CapabilityProblem.KEY, issuer=issuer
            )
        if self._thumbprints[issuer].get(kid, key.thumbprint) != key.thumbprint:
            raise CapabilityError(
                f"token: {issuer[:80]!r} has given the name {kid[:80]!r} to another key than before",
                problem=CapabilityProblem.KEY,
                issuer=issuer,
                hint="the issuer has to publish its new key under a new kid",
            )
        return key

    def would_fetch(self, issuer: str, kid: str, *, now: datetime) -> bool:
        """Say whether `find_key` would ask the issuer: not with a known key, nor while another asks."""
        lock = self._locks.get(issuer)
        return lock is not None and not lock.locked() and self._has_to_ask(self._states.get(issuer), kid, now)

    def _ask(self, rules: IssuerRules, kid: str, now: datetime) -> _State | None:
        """Ask an issuer, unless another has in the meantime."""
        issuer = rules.issuer
        state = self._states.get(issuer)
        if not self._has_to_ask(state, kid, now):
            return state
        first = self._first[issuer]
        if first.began is None:
            first.began = now
        try:
            state = self._states[issuer] = self._renew(rules, state, now)
        finally:
            first.ended.set()  # for good: nobody waits for a later one
        return state

    def _wait(self, issuer: str, now: datetime) -> _State | None:
        """Wait for an issuer's first keys, which another fetches, if there is a place and time for that."""
        first = self._first[issuer]
        if first.places.acquire(blocking=False):
            try:
                left = PATIENCE - max(now - (first.began or now), timedelta())
                first.ended.wait(max(left, timedelta()).total_seconds())
            finally:
                first.places.release()
        return self._states.get(issuer)

    def _has_to_ask(self, state: _State | None, kid: str, now: datetime) -> bool:
        return not self._serves(state, kid, now, self._life) and (state is None or _may_ask(state, now))

    @staticmethod
    def _serves(state: _State | None, kid: str, now: datetime, life: timedelta) -> bool:
        """Say whether what is known will do, if keys live that long."""
        return state is not None and _is_within(state.fetched_at, now, life) and kid in state.keys.keys

    def _renew(self, rules: IssuerRules, state: _State | None, now: datetime) -> _State:
        """Fetch the keys of an issuer, or note why that cannot be."""
        try:
            documents = self._fetcher.together()
            keys = parse_key_set(documents.fetch(rules.jwks_uri or self._discover(rules.issuer, documents)))
        except GridError as error:
            if state is None:
                return _State(KeySet({}), now - MAX_LIFE, now, error.message)
            return state._replace(tried_at=now, failure=error.message)
        known = self._thumbprints[rules.issuer]
        for kid, key in keys.keys.items():
            if len(known) < _MAX_REMEMBERED:
                known.setdefault(kid, key.thumbprint)
        return _State(keys, now, now, "")

    @staticmethod
    def _discover(issuer: str, documents: Documents) -> str:
        """Return where an issuer says that its keys are (OpenID Connect Discovery 4, RFC 8414 section 3)."""
        failures: list[str] = []
        for document in _DOCUMENTS:
            try:
                found = parse_object(documents.fetch(f"{issuer.rstrip('/')}/{document}"), "discovery document")
            except GridError as error:
                failures.append(error.message)
                continue
            place = found.get("jwks_uri")
            if found.get("issuer") != issuer:
                raise ParseError(f"the discovery document of {issuer} is another issuer's", what="discovery document")
            if not isinstance(place, str):
                raise ParseError(f"the discovery document of {issuer} names no keys", what="discovery document")
            return check_https(place, f"the place of the keys of {issuer}")
        raise ParseError("; ".join(failures), what="discovery document")


def _may_ask(state: _State, now: datetime) -> bool:
    """Say whether it is time to ask again."""
    return not _is_within(state.tried_at, now, RETRY)


def _is_within(since: datetime, now: datetime, life: timedelta) -> bool:
    """Say whether something is younger than this; threads' clock readings may lie apart, a clock set back may not."""
    return -RETRY < now - since < life
