"""Keys at rest: only the right pass phrase, in the right row, with parameters that nobody has touched."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import AuthenticationError, ConfigError, StorageError
from gsi.secret import Passphrase
from myproxy.repository.seal import MAX_KEY_BYTES, Place, Sealer, SealParameters, is_sealed, read_price

CHEAP = Sealer(SealParameters(memory_kib=8, iterations=1), concurrency=2)
PLACE = Place("alice", None, "/O=Grid/CN=Alice", "ab" * 32)
KEY = b"-----BEGIN PRIVATE KEY-----\n..."
SECRET = Passphrase("correct horse")


def test_round_trip() -> None:
    blob = CHEAP.seal(KEY, SECRET, PLACE)
    assert CHEAP.open(blob, SECRET, PLACE) == KEY
    assert KEY not in blob
    assert is_sealed(blob)
    assert blob != CHEAP.seal(KEY, SECRET, PLACE), "salt and nonce must be fresh"


def test_default_parameters_are_stored_with_the_blob() -> None:
    blob = Sealer(SealParameters()).seal(KEY, SECRET, PLACE)
    assert blob[:7] == b"MPSK\x01\x00\x01"
    assert int.from_bytes(blob[7:11], "big") == 7168
    assert int.from_bytes(blob[11:15], "big") == 5
    assert blob[15] == 1
    assert CHEAP.open(blob, SECRET, PLACE) == KEY


@pytest.mark.parametrize("guess", ["", "correct horsf", "Correct horse", "correct horse\0", "x" * 1000])
def test_wrong_passphrase(guess: str) -> None:
    blob = CHEAP.seal(KEY, SECRET, PLACE)
    with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
        CHEAP.open(blob, Passphrase(guess), PLACE)


@pytest.mark.parametrize(
    "change",
    [{"username": "bob"}, {"name": ""}, {"name": "x"}, {"owner": "/O=Grid/CN=Bob"}, {"fingerprint": "cd" * 32}],
)
def test_a_blob_opens_only_in_its_row(change: dict[str, str]) -> None:
    blob = CHEAP.seal(KEY, SECRET, PLACE)
    with pytest.raises(AuthenticationError):
        CHEAP.open(blob, SECRET, dataclasses.replace(PLACE, **change))


def test_fields_do_not_run_into_each_other() -> None:
    assert Place("ab", None, "c", "d").encode() != Place("a", None, "bc", "d").encode()
    assert Place("a", None, "b", "c").encode() != Place("a", "c", "b", "").encode()


def test_every_flipped_bit_is_noticed() -> None:
    """Each by a sealer of its own: one that has seen a dear lock takes as long for every later one."""
    blob = CHEAP.seal(KEY, SECRET, PLACE)
    for index in range(len(blob)):
        broken = bytearray(blob)
        broken[index] ^= 0x01
        with pytest.raises((AuthenticationError, StorageError)):
            Sealer(SealParameters(memory_kib=8, iterations=1)).open(bytes(broken), SECRET, PLACE)


def test_hostile_parameters_are_not_obeyed() -> None:
    blob = bytearray(CHEAP.seal(KEY, SECRET, PLACE))
    blob[7:11] = (2**31).to_bytes(4, "big")
    with pytest.raises(StorageError, match="out of range"):
        CHEAP.open(bytes(blob), SECRET, PLACE)


class Bill(Sealer):
    """Writes down what every derivation cost."""

    def __init__(self, parameters: SealParameters, **more: tuple[SealParameters, ...]) -> None:
        super().__init__(parameters, **more)  # type: ignore[arg-type]  # only in_use is given
        self.items: list[SealParameters] = []

    def _derive(self, passphrase: Passphrase, salt: bytes, cost: SealParameters) -> bytes:
        self.items.append(cost)
        return super()._derive(passphrase, salt, cost)

    def take(self) -> list[SealParameters]:
        taken, self.items = self.items, []
        return taken


def test_the_same_work_whatever_the_price_of_a_row() -> None:
    """After a change of parameters an absent row costs what an old one and a new one do."""
    now, before, elsewhere = (SealParameters(memory_kib=8, iterations=count) for count in (1, 5, 3))
    old, foreign = (Sealer(price).seal(KEY, SECRET, PLACE) for price in (before, elsewhere))
    sealer = Bill(now, in_use=(before,))
    new = sealer.seal(KEY, SECRET, PLACE)
    assert sealer.take() == [now]
    for blob in (old, new):
        assert sealer.open(blob, SECRET, PLACE) == KEY
        assert sealer.take() == [now, before]
        with pytest.raises(AuthenticationError):
            sealer.open(blob, Passphrase("wrong"), PLACE)
        assert sealer.take() == [now, before]
    sealer.pretend(SECRET)
    assert sealer.take() == [now, before]
    assert sealer.open(foreign, SECRET, PLACE) == KEY
    sealer.take()
    sealer.pretend(SECRET)
    assert sealer.take() == [now, elsewhere, before], "a price met for the first time is charged from then on"
    assert [sealer.is_current(blob) for blob in (old, new, sealer.seal(KEY, Passphrase(""), PLACE))] == [
        False,
        True,
        True,
    ]


def test_reading_the_price() -> None:
    blob = CHEAP.seal(KEY, SECRET, PLACE)
    assert read_price(blob) == SealParameters(memory_kib=8, iterations=1)
    unsealed = CHEAP.seal(KEY, Passphrase(""), PLACE)
    for other in (b"", blob[:15], unsealed, blob[:7] + b"\xff" * 9, b"X" + blob[1:]):
        assert read_price(other) is None


def test_without_passphrase() -> None:
    blob = CHEAP.seal(KEY, Passphrase(""), PLACE)
    assert not is_sealed(blob)
    assert CHEAP.open(blob, Passphrase(""), PLACE) == KEY
    with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
        CHEAP.open(blob, Passphrase("anything"), PLACE)


def test_newer_formats_are_named() -> None:
    for blob in (b"MPSK\x02\x00\x01", b"MPSK\x01\x02\x01", b"MPSK\x01\x00\x05"):
        with pytest.raises(StorageError, match="which this version does not know"):
            is_sealed(blob)


def test_limits() -> None:
    with pytest.raises(StorageError):
        CHEAP.seal(b"x" * (MAX_KEY_BYTES + 1), SECRET, PLACE)
    for memory, iterations, lanes in ((7, 1, 1), (8, 0, 1), (8, 1, 0), (8, 65, 1), (2**21, 1, 1), (16, 1, 3)):
        with pytest.raises(ConfigError):
            SealParameters(memory, iterations, lanes)


@given(st.binary(max_size=200))
def test_any_blob(blob: bytes) -> None:
    for candidate in (blob, b"MPSK\x01\x00\x01" + blob):
        with pytest.raises((AuthenticationError, StorageError)):
            CHEAP.open(candidate, SECRET, PLACE)
