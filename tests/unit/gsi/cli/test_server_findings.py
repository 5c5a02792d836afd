"""How far two clocks are apart at least, by a Date with whole seconds."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import pytest

from gsi.cli import server_findings
from gsi.system import clock
from gsi.transport.stream import HostPort

if TYPE_CHECKING:
    from gsi.transport.tls_stream import TLSStream

DATE = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "severity"),
    [
        (0.0, "ok"),
        (0.9, "ok"),
        (1.9, "ok"),  # the server may have shown 12:00:00.9
        (2.1, "warning"),
        (-0.9, "ok"),
        (-1.1, "warning"),
        (301.9, "error"),
        (300.9, "warning"),
        (-301.0, "error"),
    ],
)
def test_a_date_is_cut_off_at_the_second(seconds: float, severity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: DATE + timedelta(seconds=seconds))
    monkeypatch.setattr(server_findings, "ask_http_date", lambda *_: DATE)
    with socket.socket() as unused:
        stream = cast("TLSStream", unused)
        (finding,) = server_findings._date_findings(stream, HostPort("www.example.org", 443))
    assert (finding.check, finding.severity.value) == ("clock-offset", severity)
