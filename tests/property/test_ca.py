"""The issuing room with generated input: only our errors come out, and what was written is read back."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from gsi.ca import CertificateRequest, Grant, Issuer, KeySigner, find_faults, load_request, make_root, parse_request
from gsi.ca.crl import RevocationReason, RevokedEntry
from gsi.ca.general_names import dns_name, format_general_name, parse_alternative_names, split_general_names
from gsi.ca.index import Index, IndexEntry, Status, encode_index, parse_index
from gsi.ca.pkcs11_token import parse_pkcs11_uri
from gsi.ca.serials import encode_serial
from gsi.certificate import Certificate
from gsi.errors import ConfigError, GridError, IssuanceError, ParseError
from gsi.keys import KeyType, generate_key, spki_der
from gsi.names import parse_oneline
from tests.unit.gsi.ca.support import Books, make_csr

NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SIGNER: Final = KeySigner(generate_key(KeyType.ED25519))
ROOT: Final = make_root(SIGNER, parse_oneline("/O=Grid/CN=CA"), now=NOW, lifetime=timedelta(days=9000))
REQUEST: Final = CertificateRequest.from_public_key(spki_der(generate_key(KeyType.P256)))
CSR: Final = make_csr("p256")

moments = st.datetimes(datetime(1950, 1, 1), datetime(9990, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
serials = st.integers(1, (1 << 159) - 1)
subjects = st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), max_size=40)


@given(st.binary(max_size=300))
def test_any_bytes_for_a_request(data: bytes) -> None:
    for read in (parse_request, load_request):
        with contextlib.suppress(GridError):
            read(data)


@given(st.integers(0, len(CSR) - 1), st.integers(0, 255))
def test_a_request_with_one_byte_changed_is_refused(position: int, value: int) -> None:
    changed = CSR[:position] + bytes([value]) + CSR[position + 1 :]
    if changed != CSR:
        try:
            parse_request(changed)
        except GridError:
            return
        raise AssertionError("a changed request was taken")


@given(st.binary(max_size=200))
def test_any_bytes_for_names(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        for name in split_general_names(data):
            assert format_general_name(name)


@given(st.text(max_size=60))
def test_any_text_for_names_and_places(text: str) -> None:
    with contextlib.suppress(ParseError):
        dns_name(text)
    with contextlib.suppress(ParseError):
        parse_alternative_names(f"DNS:{text}")
    with contextlib.suppress(ConfigError):
        parse_pkcs11_uri(f"pkcs11:{text}?module-path=/x")


@given(st.binary(max_size=300))
def test_any_bytes_for_an_index(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        index = parse_index(data)
        assert parse_index(encode_index(index)) == index


@st.composite
def entries(draw: st.DrawFn) -> IndexEntry:
    serial = draw(serials)
    status = draw(st.sampled_from(Status))
    revoked = None
    if status is Status.REVOKED:
        when = draw(st.datetimes(datetime(1950, 1, 1), datetime(2049, 1, 1), timezones=st.just(UTC)))
        reason = draw(st.sampled_from(RevocationReason))
        revoked = RevokedEntry(serial, when.replace(microsecond=0), reason)
    return IndexEntry(status, draw(moments), serial, draw(subjects), revoked)


@given(st.lists(entries(), unique_by=lambda entry: entry.serial, max_size=5))
def test_an_index_reads_back(listed: list[IndexEntry]) -> None:
    index = Index(tuple(listed))
    assert parse_index(encode_index(index)) == index


@given(serials)
def test_serial_files_read_back(serial: int) -> None:
    data = encode_serial(serial)
    assert int(data, 16) == serial
    assert len(data) % 2 == 1


@given(
    subject=st.text(st.characters(codec="utf-8", exclude_characters="\\/+="), min_size=1, max_size=70),
    lifetime=st.timedeltas(timedelta(seconds=1), timedelta(days=20000)),
    usage=st.integers(1, (1 << 9) - 1),
)
def test_what_is_issued_has_no_fault_and_stays_within_the_grant(subject: str, lifetime: timedelta, usage: int) -> None:
    try:
        grant = Grant(
            subject_der=parse_oneline(f"/O=Grid/CN={subject}"), requester="x", lifetime=lifetime, key_usage=usage
        )
        issued = Issuer(ROOT, SIGNER, recorder=Books()).issue(REQUEST, grant, now=NOW)
    except (ParseError, ConfigError, IssuanceError):
        return
    certificate = Certificate.parse(issued.certificate.der)
    assert find_faults(certificate, issuer=ROOT) == ()
    assert certificate.not_after <= min(NOW + lifetime, ROOT.not_after)
