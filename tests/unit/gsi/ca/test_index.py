"""The index of openssl ca: its lines in, its lines out, and what may become of a certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gsi.ca.crl import RevocationReason, RevokedEntry
from gsi.ca.index import Index, IndexEntry, Status, encode_index, parse_index
from gsi.errors import ConflictError, NotFoundError, ParseError

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LINES = (
    b"V\t271121120000Z\t\t01\tunknown\t/O=Grid/CN=Alice\n"
    b"R\t271121120000Z\t261121120000Z,keyCompromise\t02\tunknown\t/O=Grid/CN=Bob\n"
    b"R\t271121120000Z\t261121120000Z\t0A0B\tunknown\t/O=Grid/CN=B\\xC3\\xBCcher\n"
    b"E\t20510101000000Z\t\t7FFF\tunknown\t/O=Grid/CN=host\\/a.example\n"
    b"R\t271121120000Z\t261121120000Z,keyTime,20261101000000Z\t03\tunknown\t/O=Grid/CN=Carol\n"
    b"R\t271121120000Z\t261121120000Z,CAkeyTime,09000101000000Z\t04\tunknown\t/O=Grid/CN=Dave\n"
)


def test_lines_read_back_as_they_were() -> None:
    index = parse_index(LINES)
    assert encode_index(index) == LINES
    alice, bob, buecher, host, carol, dave = index.entries
    assert (alice.status, alice.serial, alice.subject) == (Status.VALID, 1, "/O=Grid/CN=Alice")
    assert alice.not_after == datetime(2027, 11, 21, 12, tzinfo=UTC)
    assert bob.revoked == RevokedEntry(2, NOW, RevocationReason.KEY_COMPROMISE)
    assert buecher.revoked == RevokedEntry(0xA0B, NOW)
    assert host.not_after.year == 2051
    assert carol.revoked is not None
    assert carol.revoked.invalid_since == datetime(2026, 11, 1, tzinfo=UTC)
    assert dave.revoked == RevokedEntry(4, NOW, RevocationReason.CA_COMPROMISE, datetime(900, 1, 1, tzinfo=UTC))
    assert {entry.serial for entry in index.revoked} == {2, 3, 4, 0xA0B}
    assert parse_index(b"# openssl's own remark\n\n").entries == ()


@pytest.mark.parametrize(
    "line",
    [
        b"V\t271121120000Z\t\t01\tunknown",
        b"V\t271121120000Z\t\t01\tunknown\t/CN=a\t",
        b"X\t271121120000Z\t\t01\tunknown\t/CN=a",
        b"V\t271121120000Z\t261121120000Z\t01\tunknown\t/CN=a",
        b"R\t271121120000Z\t\t01\tunknown\t/CN=a",
        b"R\t271121120000Z\t261121120000Z,boredom\t01\tunknown\t/CN=a",
        b"V\t271121120000\t\t01\tunknown\t/CN=a",
        b"V\t00101001000000Z\t\t01\tunknown\t/CN=a",
        b"V\t271321120000Z\t\t01\tunknown\t/CN=a",
        b"V\t271121120000Z\t\t\tunknown\t/CN=a",
        b"V\t271121120000Z\t\t-1\tunknown\t/CN=a",
        b"V\t271121120000Z\t\t00\tunknown\t/CN=a",
        b"V\t271121120000Z\t\t" + b"F" * 40 + b"\tunknown\t/CN=a",
    ],
)
def test_lines_that_are_none(line: bytes) -> None:
    good = b"V\t271121120000Z\t\t05\tunknown\t/CN=z\n"
    with pytest.raises(ParseError) as caught:
        parse_index(good + line + b"\n")
    assert "line 2" in caught.value.message


def test_numbers_are_used_once() -> None:
    with pytest.raises(ParseError, match="second time"):
        parse_index(LINES + b"V\t271121120000Z\t\t01\tunknown\t/CN=z\n")
    index = parse_index(LINES)
    with pytest.raises(ConflictError):
        index.add(index.entries[0])
    assert index.add(IndexEntry(Status.VALID, NOW, 99, "/CN=x")).find(99) is not None


def test_what_becomes_of_a_certificate() -> None:
    index = parse_index(LINES)
    assert [entry.serial for entry in index.find_holding("/o=grid/cn=alice", NOW)] == [1]
    assert index.find_holding("/O=Grid/CN=Bob", NOW) == ()
    assert index.find_holding("/O=Grid/CN=Alice", NOW + timedelta(days=999)) == ()
    end = index.entries[0].not_after
    assert len(index.find_holding("/O=Grid/CN=Alice", end)) == 1  # the last second still belongs to it
    assert index.find_holding("/O=Grid/CN=Alice", end + timedelta(seconds=1)) == ()
    assert [index.expire(end + timedelta(seconds=more)).entries[0].status for more in (0, 1)] == [
        Status.VALID,
        Status.EXPIRED,
    ]
    revoked = index.revoke(RevokedEntry(1, NOW, RevocationReason.SUPERSEDED))
    entry = revoked.find(1)
    assert entry is not None
    assert entry.status is Status.REVOKED
    assert revoked.find_holding("/O=Grid/CN=Alice", NOW) == ()
    with pytest.raises(ConflictError):
        revoked.revoke(RevokedEntry(1, NOW))
    with pytest.raises(NotFoundError):
        index.revoke(RevokedEntry(77, NOW))
    expired = index.expire(NOW + timedelta(days=999))
    assert [one.status for one in expired.entries[:2]] == [Status.EXPIRED, Status.REVOKED]
    assert Index().revoked == ()
