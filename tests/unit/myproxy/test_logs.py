"""Names and numbers of syslog's facilities, as the C server's configuration has them."""

from __future__ import annotations

import pytest

from myproxy.logs import find_facility, parse_facility

MAIL, LOCAL0, DAEMON = 2, 16, 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, DAEMON), ("daemon", DAEMON), ("LOG_LOCAL0", LOCAL0), ("Local0", LOCAL0),
        ("16", MAIL), ("17", MAIL), ("128", LOCAL0), ("128x", LOCAL0), ("0", 0),
    ],
)  # fmt: skip
def test_facilities(text: str | None, expected: int) -> None:
    assert find_facility(text) == parse_facility(text) == expected


@pytest.mark.parametrize("text", ["nonsense", "999999", "9" * 500, "", "-1", "²"])
def test_what_is_none_goes_to_daemon(text: str) -> None:
    assert find_facility(text) in {None, DAEMON}
    assert parse_facility(text) == DAEMON
