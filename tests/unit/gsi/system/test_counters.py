"""Numbers that processes share."""

from __future__ import annotations

import os
import threading

import pytest

from gsi.system.counters import SharedCounters


def test_rows_are_summed_and_survive_their_process() -> None:
    counters = SharedCounters(["a", "b"], processes=3)
    for _ in range(2):  # the second goes on where the first, which is gone, has been
        pid = os.fork()
        if not pid:
            counters.use(1)
            counters.add("a")
            counters.put("b", 7)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    counters.add("a", 0.5)
    assert counters.each("a") == [0.5, 2, 0]
    assert counters.total("a") == 2.5
    assert counters.each("b") == [0, 7, 0]
    assert counters.row == 0


def test_threads_lose_nothing() -> None:
    counters = SharedCounters(["a"], processes=1)

    def count() -> None:
        for _ in range(1000):
            counters.add("a")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.total("a") == 4000


def test_there_are_no_more_rows() -> None:
    with pytest.raises(ValueError, match="row 2"):
        SharedCounters(["a"], processes=2).use(2)
