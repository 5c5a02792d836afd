"""Rotation: which key signs when, which are shown, that a name never comes back, and what a reload leaves alone."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cas.assertion.jwks import key_set
from cas.assertion.keys import (
    ASSERTIONS,
    LEAD,
    LINGER,
    TOKENS,
    KeyHistory,
    KeyRing,
    KeyRings,
    KeySpec,
    RingKey,
    load_ring,
)
from cas.assertion.scopes import ScopeBase, ScopeMapping
from cas.assertion.signing import SigningKey
from cas.assertion.token import TokenIssuer, TokenOptions
from cas.issuing import Forms, TokenForms
from gsi.errors import (
    CapabilityError,
    ConfigError,
    ConflictError,
    CredentialError,
    GridError,
    IssuanceError,
    StorageError,
)
from gsi.tokens.keycache import KeyCache
from gsi.tokens.rules import IssuerRules, Profile, TokenRules
from gsi.tokens.verify import TokenVerifier
from tests.harness.ca import TestCA, new_key, write_file
from tests.harness.capabilities import file_right, make_capability, token_key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def _ring_key(begins: timedelta, ends: timedelta, published: timedelta | None = None) -> RingKey:
    first = begins - LEAD if published is None else published
    return RingKey(token_key(new_key("p256")), NOW + begins, NOW + ends, NOW + first)


def test_the_one_that_began_last_signs() -> None:
    old, new, later = _ring_key(-30 * DAY, 30 * DAY), _ring_key(-DAY, 60 * DAY), _ring_key(DAY, 90 * DAY)
    ring = KeyRing([later, old, new])
    assert ring.keys == (old, new, later)
    assert ring.signing_key(NOW) is new.key
    assert ring.signing_key(NOW - DAY - HOUR) is old.key
    assert ring.signing_key(NOW + DAY) is later.key
    assert ring.signing_key(NOW + 90 * DAY - HOUR) is later.key
    for moment in (NOW - 31 * DAY, NOW + 90 * DAY):
        with pytest.raises(IssuanceError, match="no signing key"):
            ring.signing_key(moment)


def test_published_before_and_after() -> None:
    one, two = _ring_key(-30 * DAY, timedelta()), _ring_key(timedelta(), 30 * DAY)
    ring = KeyRing([one, two])

    def shown(moment: datetime) -> set[SigningKey]:
        return set(ring.published(moment))

    assert shown(NOW - LEAD - HOUR) == {one.key}
    assert shown(NOW - LEAD) == {one.key, two.key}
    assert shown(NOW) == {one.key, two.key}
    assert shown(NOW + LINGER - HOUR) == {one.key, two.key}
    assert shown(NOW + LINGER) == {two.key}


def test_a_key_that_was_added_late_waits() -> None:
    """Verifiers that keep key sets do not know it yet; without another one it signs at once."""
    old = _ring_key(-30 * DAY, HOUR)
    late = _ring_key(-DAY, 30 * DAY, published=timedelta())
    ring = KeyRing([old, late])
    assert ring.signing_key(NOW) is old.key
    assert ring.signing_key(NOW + HOUR) is late.key  # the old one has ended
    longer = KeyRing([old._replace(ends=NOW + DAY), late])
    assert longer.signing_key(NOW + LEAD - HOUR) is old.key
    assert longer.signing_key(NOW + LEAD) is late.key
    assert KeyRing([late]).signing_key(NOW) is late.key


def test_rings_that_are_none() -> None:
    one = _ring_key(-DAY, DAY)
    for keys in ([], [one, one._replace(begins=NOW)], [_ring_key(-DAY, DAY)] * 17):
        with pytest.raises(ConfigError):
            KeyRing(keys)
    for begins, ends in ((NOW, NOW), (NOW, NOW - DAY), (NOW, NOW + 367 * DAY)):
        with pytest.raises(ConfigError):
            KeySpec(place="/k", begins=begins, ends=ends)


class Files:
    """Keys on disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = TestCA(key="p256")
        self.history = KeyHistory(str(directory / "kids.json"))
        self.specs: list[KeySpec] = []

    def add(self, begins: timedelta, ends: timedelta, *, certificates: bool = False) -> KeySpec:
        number = len(self.specs)
        issued = self.ca.issue(f"/O=Grid/CN=cas{number}", new_key("p256"))
        key, cert = self.directory / f"{number}.pem", self.directory / f"{number}-cert.pem"
        issued.write(cert, key)
        spec = KeySpec(
            place=str(key), begins=NOW + begins, ends=NOW + ends, certificates=str(cert) if certificates else ""
        )
        self.specs.append(spec)
        return spec

    def load(self, now: datetime = NOW) -> KeyRing:
        return load_ring(self.specs, self.history, now=now)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_loaded_from_files(files: Files) -> None:
    files.add(-DAY, DAY, certificates=True)
    files.add(timedelta(), 30 * DAY)
    ring = files.load()
    assert len(ring.keys[0].key.certificates) == 1
    assert ring.keys[1].key.certificates == ()
    assert [one.first_published for one in ring.keys] == [NOW, NOW]
    again = files.load(NOW + HOUR)
    assert [one.first_published for one in again.keys] == [NOW, NOW]
    assert [one.key.kid for one in again.keys] == [one.key.kid for one in ring.keys]
    assert ring.find(ring.keys[0].key.kid) is ring.keys[0].key
    assert ring.find("other") is None
    assert (files.directory / "kids.json").stat().st_mode & 0o777 == 0o600


def test_a_name_never_comes_back(files: Files) -> None:
    spec = files.add(-DAY, DAY)
    files.load()
    files.specs = [KeySpec(place=spec.place, begins=spec.begins, ends=NOW + 2 * DAY)]
    files.load()  # longer, while it is still in use
    files.specs = [KeySpec(place=spec.place, begins=NOW + 3 * DAY, ends=NOW + 4 * DAY)]
    with pytest.raises(ConflictError, match="retired"):
        files.load(NOW + 2 * DAY)
    files.specs = [spec]
    files.load(NOW + 5 * DAY)  # it may stay in the configuration; it signs nothing
    files.specs = [KeySpec(place=spec.place, begins=spec.begins, ends=NOW - HOUR)]
    files.load()  # withdrawn before its time
    files.specs = [spec]
    with pytest.raises(ConflictError):
        files.load()


def test_many_at_once(files: Files) -> None:
    """Workers that start together note all names, each with one first time."""
    histories = [KeyHistory(str(files.directory / "kids.json")) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: histories[n].record({f"k{n % 4}": NOW + DAY}, now=NOW + n * HOUR), range(8)))
    again = histories[0].record({f"k{n}": NOW + DAY for n in range(4)}, now=NOW + 9 * HOUR)
    for number, one in enumerate(found):
        assert one[f"k{number % 4}"] == again[f"k{number % 4}"] < NOW + 8 * HOUR


def test_what_cannot_be_loaded(files: Files) -> None:
    spec = files.add(-DAY, DAY)
    other = files.add(-DAY, DAY, certificates=True)
    good = list(files.specs)
    for wrong, kind in (
        (KeySpec(place="/nowhere.pem", begins=NOW, ends=NOW + DAY), CredentialError),
        (KeySpec(place=spec.place, begins=NOW, ends=NOW + DAY, certificates=other.certificates), CredentialError),
        (KeySpec(place=spec.place, begins=NOW, ends=NOW + DAY, certificates=spec.place), GridError),
        (KeySpec(place=spec.place, begins=NOW, ends=NOW + DAY), ConfigError),
    ):
        files.specs = [*good, wrong]
        with pytest.raises(kind):
            files.load()
    files.specs = good
    for damage in (b"", b"{", b"[]", b" " * (2 << 20), b'{"kids": []}', b'{"kids": {"a": {"first": "x", "ends": "y"}}}',
                   b'{"kids": {"a": {"first": "2026-01-01T00:00:00", "ends": "2026-01-01T00:00:00"}}}'):  # fmt: skip
        write_file(files.directory / "kids.json", damage, 0o600)
        with pytest.raises(StorageError):
            files.load()
    (files.directory / "kids.json").chmod(0o666)
    with pytest.raises(StorageError):
        files.load()


def test_a_reload_that_fails_leaves_all_as_it_was(files: Files) -> None:
    files.add(-DAY, DAY)
    rings = KeyRings(files.load, now=NOW)
    before = rings.ring
    key = before.signing_key(NOW)
    files.specs.append(KeySpec(place="/nowhere.pem", begins=NOW, ends=NOW + DAY))
    with pytest.raises(CredentialError):
        rings.reload(now=NOW)
    assert rings.ring is before
    key.sign_jws(b"x")
    files.specs.pop()
    files.add(-HOUR, 2 * DAY)
    rings.reload(now=NOW)
    assert len(rings.ring.keys) == 2
    key.sign_jws(b"x")  # held by a request that began before
    rings.reload(now=NOW)
    with pytest.raises(IssuanceError):
        key.sign_jws(b"x")
    rings.close()
    with pytest.raises(IssuanceError):
        rings.ring.keys[0].key.sign_jws(b"x")


def test_rotation_is_not_noticed(files: Files) -> None:
    """A verifier with a key cache believes every token, hour by hour, through the change of keys."""
    files.add(-30 * DAY, DAY)
    files.add(timedelta(), 30 * DAY)
    ring = load_ring(files.specs, files.history, now=NOW - 10 * DAY)
    moment = NOW - DAY
    issuer, audience = "https://cas.example.org", "https://se.example.org"

    class Site:
        def together(self) -> Site:
            return self

        def fetch(self, url: str) -> bytes:
            assert url == f"{issuer}/jwks"
            return key_set(ring.published(moment))

    rules = TokenRules(
        issuers=(IssuerRules(issuer=issuer, jwks_uri=f"{issuer}/jwks"),), audiences=frozenset({audience})
    )
    verifier = TokenVerifier(rules, KeyCache(rules, Site()))
    base = ScopeBase(namespace="FTPDirectoryTree", prefix="ftp://h", audiences=frozenset({audience}))
    options = TokenOptions(issuer=issuer, mapping=ScopeMapping(bases=(base,)), max_lifetime=6 * HOUR)
    alice = files.ca.issue("/O=Grid/CN=Alice", "p256", not_after=NOW + 300 * DAY)
    kids: list[str] = []
    held: list[tuple[datetime, str]] = []
    while moment < NOW + 2 * DAY:
        key = ring.signing_key(moment)
        kids.append(key.kid)
        capability = make_capability(alice, rights=[file_right("ftp://h/*", "read")], now=moment, lifetime=6 * HOUR)
        held.append((moment + 6 * HOUR, TokenIssuer(key, options).issue(capability, now=moment).text))
        held = [one for one in held if one[0] > moment]
        for _, text in held:
            verifier.verify(text, now=moment)
        moment += HOUR
    assert len(set(kids)) == 2
    with pytest.raises(CapabilityError):
        verifier.verify(held[0][1], now=NOW + 30 * DAY)


# --- keys of tokens ---------------------------------------------------------------------------------------------------


def test_a_key_ends_in_one_ring_first(files: Files) -> None:
    """The key of all else signs tokens until the one of their own begins; then it goes on with all else."""
    spec = files.add(-DAY, 30 * DAY)
    short = KeySpec(place=spec.place, begins=spec.begins, ends=NOW + DAY)
    path = str(files.directory / "kids.json")
    rings = KeyHistory(path, ASSERTIONS), KeyHistory(path, TOKENS)
    for now in (NOW, NOW + 2 * DAY):
        kids = [load_ring([one], ring, now=now).keys[0] for one, ring in zip((spec, short), rings, strict=True)]
        assert [one.first_published for one in kids] == [NOW, NOW]
    with pytest.raises(ConflictError, match="retired"):
        load_ring([spec], rings[1], now=NOW + 2 * DAY)


def test_a_key_that_ended_in_the_other_ring_does_not_come_back(files: Files) -> None:
    spec = files.add(-DAY, DAY)
    path = str(files.directory / "kids.json")
    load_ring([spec], KeyHistory(path, TOKENS), now=NOW)
    again = KeySpec(place=spec.place, begins=spec.begins, ends=NOW + 9 * DAY)
    with pytest.raises(ConflictError, match="retired"):
        load_ring([again], KeyHistory(path, ASSERTIONS), now=NOW + 2 * DAY)


def test_a_history_of_an_older_version(files: Files) -> None:
    """It does not say in which ring a key has ended; where the configuration says it of the other one, it was there."""
    spec = files.add(-DAY, 30 * DAY)
    path = files.directory / "kids.json"
    (kid,) = (one.key.kid for one in files.load().keys)
    old = {kid: {"first": (NOW - DAY).isoformat(), "ends": (NOW + DAY).isoformat()}}
    later = NOW + 2 * DAY
    for others, is_refused in (([NOW + DAY], False), ([NOW + 3 * DAY], True)):
        path.write_text(json.dumps({"kids": old}))
        history = KeyHistory(str(path), ASSERTIONS, others=others)
        assert history.note_apart(now=later) == later
        if is_refused:
            with pytest.raises(ConflictError, match="retired"):
                load_ring([spec], history, now=later)
        else:
            assert load_ring([spec], history, now=later).keys[0].first_published == NOW - DAY


def test_since_when_tokens_have_keys_of_their_own(files: Files) -> None:
    files.add(-DAY, 30 * DAY)
    path = files.directory / "kids.json"
    history = KeyHistory(str(path))
    assert history.note_apart(now=NOW) is None, "there was nothing before"
    files.load()
    assert history.note_apart(now=NOW + DAY) is None
    history.note_together()
    assert history.note_apart(now=NOW + DAY) == NOW + DAY
    assert KeyHistory(str(path)).note_apart(now=NOW + 2 * DAY) == NOW + DAY


def test_what_both_rings_have_signed_can_be_verified(files: Files) -> None:
    files.add(-DAY, 30 * DAY)
    old = files.specs
    rings = KeyRings(lambda now: load_ring(old, files.history, now=now), now=NOW)
    files.specs = []
    (files.directory / "own").mkdir()
    own_files = Files(files.directory / "own")
    own_files.add(-DAY, 30 * DAY)
    own = KeyRings(own_files.load, now=NOW)

    def kids(apart: datetime | None, now: datetime) -> list[str]:
        tokens = TokenForms(own, lambda _: None, Profile.WLCG, "https://cas", apart)  # type: ignore[arg-type, return-value]  # writes none
        forms = Forms(rings, community="c", place="h:1", tokens=tokens)
        return [key.kid for key in forms.published(now)]

    first, second = own.ring.keys[0].key.kid, rings.ring.keys[0].key.kid
    assert kids(NOW, NOW) == [first, second]
    assert kids(NOW, NOW + LINGER) == [first]
    assert kids(None, NOW) == [first]
