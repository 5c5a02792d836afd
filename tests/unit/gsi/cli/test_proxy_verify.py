from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gsi.cli.proxy_verify import parse_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1795230000", datetime(2026, 11, 21, 3, 0, tzinfo=UTC)),
        ("253402300799", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        ("2026-11-21T14:00:00Z", datetime(2026, 11, 21, 14, tzinfo=UTC)),
        ("2026-11-21T14:00:00", datetime(2026, 11, 21, 14, tzinfo=UTC)),
        ("2026-11-21 14:00+02:00", datetime(2026, 11, 21, 12, tzinfo=UTC)),
        ("20261121T140000Z", datetime(2026, 11, 21, 14, tzinfo=UTC)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    found = parse_time(text)
    assert found == expected
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "now", "-1", "2026-13-01", "9" * 20, "9" * 5000, "0001-01-01T00:00:00+05:00", "٣"]
)
def test_texts_that_are_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="neither an ISO 8601 time"):
        parse_time(text)
