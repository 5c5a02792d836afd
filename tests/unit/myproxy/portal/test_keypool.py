"""Keys made in advance: none is given twice, and an empty pool makes nobody wait for another."""

from __future__ import annotations

import threading

from gsi.keys import KeyType, PrivateKey, generate_key, spki_der
from myproxy.portal.keypool import KeyPool


def test_every_key_is_given_once_and_made_up_for() -> None:
    made: list[bytes] = []
    full = threading.Event()

    def make() -> PrivateKey:
        key = generate_key(KeyType.P256)
        made.append(spki_der(key))
        if len(made) >= 5:
            full.set()
        return key

    pool = KeyPool(make, size=3)
    taken = [spki_der(pool.take()) for _ in range(2)]
    assert full.wait(30)
    taken += [spki_der(pool.take()) for _ in range(10)]
    assert len(set(taken)) == 12
    assert set(taken) <= set(made)


def test_an_empty_pool_makes_one_at_once() -> None:
    let_go = threading.Event()
    first = threading.get_ident()

    def make() -> PrivateKey:
        if threading.get_ident() != first:
            let_go.wait(30)
        return generate_key(KeyType.P256)

    pool = KeyPool(make, size=1)
    assert pool.take() is not None
    let_go.set()
