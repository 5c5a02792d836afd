"""The derivation: the same bytes by libsodium and by `cryptography`, and the latter where the former will not do."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from myproxy.repository import argon2
from myproxy.repository.argon2 import derive
from myproxy.repository.sealforms import SealParameters
from tests.harness.run import ALLOW_MISSING_PEERS

SALT = bytes(range(16))
PRICES = [SealParameters(8, 1, 1), SealParameters(64, 3, 1), SealParameters(7168, 5, 1), SealParameters(16, 2, 2)]


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    yield
    argon2._load.cache_clear()
    argon2.is_fast.cache_clear()


def plain(secret: bytes, cost: SealParameters) -> bytes:
    derivation = Argon2id(
        salt=SALT, length=32, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
    )
    return derivation.derive(secret)


@pytest.mark.parametrize("secret", [b"", b"correct horse", b"\0\xff\0", bytes(4096)], ids=repr)
def test_both_derive_the_same(secret: bytes) -> None:
    for cost in PRICES:
        assert derive(secret, SALT, cost) == plain(secret, cost)


def test_libsodium_is_used_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    if argon2._load() is None:
        done = pytest.skip if os.environ.get(ALLOW_MISSING_PEERS) else pytest.fail
        done("libsodium23 is not installed (tests/install-peers installs it)")
    assert argon2.is_fast()
    monkeypatch.delattr(argon2, "Argon2id")
    assert derive(b"secret", SALT, PRICES[1]) == plain(b"secret", PRICES[1])


@pytest.mark.parametrize(
    ("name", "value"), [("_LIBRARIES", ("libabsent.so.1",)), ("_LIBRARIES", ("libc.so.6",)), ("_KNOWN_ANSWER", b"")]
)
def test_a_library_that_is_absent_or_wrong_is_not_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(argon2, name, value)
    argon2._load.cache_clear()
    argon2.is_fast.cache_clear()
    assert not argon2.is_fast()
    assert derive(b"secret", SALT, PRICES[1]) == plain(b"secret", PRICES[1])


def test_what_libsodium_cannot_do_is_done_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon2, "_by_libsodium", lambda *_price: argon2._KNOWN_ANSWER)
    assert argon2.is_fast()
    monkeypatch.setattr(argon2, "_by_libsodium", lambda *_price: None)  # it has not enough memory
    assert derive(b"secret", SALT, PRICES[1]) == plain(b"secret", PRICES[1])
