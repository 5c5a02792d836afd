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


def test_a_rush_is_not_slowed_down_by_making_up_for_it() -> None:
    """The clock stands still: the rush does not end, and keys are made only when few are left."""
    made: list[PrivateKey] = []
    rests, goes = threading.Semaphore(0), threading.Semaphore(0)
    full, more = threading.Event(), threading.Event()

    def sleep(_seconds: float) -> None:
        rests.release()
        goes.acquire()

    def make() -> PrivateKey:
        made.append(generate_key(KeyType.P256))
        (full if len(made) == 8 else more if len(made) > 8 else threading.Event()).set()
        return made[-1]

    pool = KeyPool(make, size=8, monotonic=lambda: 0.0, sleep=sleep)
    assert full.wait(30)
    for _ in range(6):
        pool.take()
    assert rests.acquire(timeout=30)
    goes.release()
    assert rests.acquire(timeout=30)
    assert len(made) == 8
    pool.take()
    goes.release()
    assert more.wait(30)
    assert len(made) >= 9
