from __future__ import annotations

import os

from kca.replies import KEEP_SECONDS, MAX_REPLY_BYTES, UNDER_WAY, WORK_SECONDS, ReplyCache


def test_found_for_the_same_alone() -> None:
    cache = ReplyCache(slots=64)
    cache.put("192.0.2.1", b"request", b"reply", now=100.0)
    assert cache.find("192.0.2.1", b"request", now=100.0) == b"reply"
    assert cache.find("192.0.2.2", b"request", now=100.0) is None  # nobody has replies sent to others
    assert cache.find("192.0.2.1", b"request.", now=100.0) is None


def test_ends() -> None:
    cache = ReplyCache(slots=64)
    cache.put("::1", b"request", b"reply", now=100.0)
    assert cache.find("::1", b"request", now=100.0 + KEEP_SECONDS) == b"reply"
    assert cache.find("::1", b"request", now=100.1 + KEEP_SECONDS) is None
    assert cache.find("::1", b"request", now=99.0) is None  # another boot's clock


def test_too_long() -> None:
    cache = ReplyCache(slots=4)
    cache.put("::1", b"request", bytes(MAX_REPLY_BYTES + 1), now=0.0)
    assert cache.find("::1", b"request", now=0.0) is None
    cache.put("::1", b"request", bytes(MAX_REPLY_BYTES), now=0.0)
    assert cache.find("::1", b"request", now=0.0) == bytes(MAX_REPLY_BYTES)


def test_under_way() -> None:
    cache = ReplyCache(slots=4)
    cache.begin("::1", b"request", now=0.0)
    assert cache.find("::1", b"request", now=0.0) == UNDER_WAY
    assert cache.find("::1", b"another", now=0.0) is None
    assert cache.find("::1", b"request", now=WORK_SECONDS + 0.1) is None  # whoever was at it is dead
    cache.put("::1", b"request", b"reply", now=1.0)
    assert cache.find("::1", b"request", now=1.0) == b"reply"
    cache.begin("::1", b"request", now=2.0)
    cache.put("::1", b"request", bytes(MAX_REPLY_BYTES + 1), now=2.0)
    assert cache.find("::1", b"request", now=2.0) is None


def test_half_written() -> None:
    """What another process has begun to write over is not believed."""
    cache = ReplyCache(slots=1)
    cache.put("::1", b"request", b"a" * 100, now=0.0)
    cache._memory[80:90] = b"b" * 10
    assert cache.find("::1", b"request", now=0.0) is None


def test_shared_over_fork() -> None:
    cache = ReplyCache()
    pid = os.fork()
    if not pid:
        cache.put("::1", b"request", b"from the child", now=1.0)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert cache.find("::1", b"request", now=1.0) == b"from the child"
