"""The derivation: the same bytes by libsodium and by `cryptography`, whoever of them does it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from nacl.exceptions import CryptoError

from myproxy.repository import argon2
from myproxy.repository.argon2 import derive
from myproxy.repository.sealforms import SealParameters

SALT = bytes(range(16))
ONE_LANE = [SealParameters(8, 1, 1), SealParameters(64, 3, 1), SealParameters(7168, 5, 1)]
TWO_LANES = SealParameters(16, 2, 2)


def plain(secret: bytes, cost: SealParameters) -> bytes:
    derivation = Argon2id(
        salt=SALT, length=32, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
    )
    return derivation.derive(secret)


@pytest.mark.parametrize("secret", [b"", b"correct horse", b"\0\xff\0", bytes(4096)], ids=repr)
def test_both_derive_the_same(secret: bytes) -> None:
    for cost in (*ONE_LANE, TWO_LANES):
        assert derive(secret, SALT, cost) == plain(secret, cost)


def test_one_lane_is_derived_by_the_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = plain(b"secret", ONE_LANE[1])
    monkeypatch.delattr(argon2, "Argon2id")
    assert derive(b"secret", SALT, ONE_LANE[1]) == expected


def test_a_price_that_memory_cannot_pay_is_an_error_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> bytes:
        raise CryptoError

    monkeypatch.setattr(argon2, "crypto_pwhash_alg", fail)
    with pytest.raises(MemoryError, match="argon2id of 64 KiB failed"):
        derive(b"secret", SALT, ONE_LANE[1])
