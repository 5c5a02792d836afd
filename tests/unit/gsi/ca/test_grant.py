"""Grants: what can be granted at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from gsi import oids
from gsi.ca import Grant
from gsi.ca.general_names import dns_name
from gsi.certificate import Extension
from gsi.errors import ConfigError
from gsi.extensions import CRL_SIGN, DIGITAL_SIGNATURE, KEY_CERT_SIGN
from gsi.names import parse_oneline

ALICE = parse_oneline("/O=Grid/CN=Alice")


def make(**changes: Any) -> Grant:
    fields: dict[str, Any] = {"subject_der": ALICE, "requester": "alice", "lifetime": timedelta(hours=1)} | changes
    return Grant(**fields)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject_der": b"\x30\x00"},
        {"subject_der": b"no name"},
        {"lifetime": timedelta(0)},
        {"lifetime": timedelta(seconds=-1)},
        {"backdate": timedelta(seconds=-1)},
        {"not_after": datetime(2030, 1, 1)},
        {"not_before": datetime(2030, 1, 1)},
        {"not_after": datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=1)))},
        {"not_before": datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=-1)))},
        {"key_usage": 0},
        {"key_usage": 1 << 9},
        {"key_usage": DIGITAL_SIGNATURE | KEY_CERT_SIGN},
        {"key_usage": DIGITAL_SIGNATURE | CRL_SIGN},
        {"extended_key_usage": ("client",)},
        {"extended_key_usage": (oids.CLIENT_AUTH, oids.CLIENT_AUTH)},
        {"policies": ("1.2.3", "1.2.3")},
        {"policies": ("1.2.3.x",)},
        {"crl_urls": ("no url",)},
        {"ocsp_urls": ("http://example.org/ocsp responder",)},
        {"issuer_urls": ("ca.crt",)},
        {"alternative_names": (dns_name("a.example"), dns_name("a.example"))},
        {"extensions": (Extension(oids.BASIC_CONSTRAINTS, True, b"\x30\x03\x01\x01\xff"),)},
        {"extensions": (Extension(oids.SUBJECT_KEY_IDENTIFIER, False, b"\x04\x01\x01"),)},
        {"extensions": (Extension(oids.AUTHORITY_KEY_IDENTIFIER, False, b"\x30\x00"),)},
        {"extensions": (Extension("1.2.3", False, b"\x05\x00"), Extension("1.2.3", False, b"\x05\x00"))},
        {"extensions": (Extension("x", False, b"\x05\x00"),)},
    ],
    ids="-".join,
)
def test_what_cannot_be_granted(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make(**changes)


def test_a_grant_may_lack_a_subject_beside_an_alternative_name() -> None:
    assert make(subject_der=b"\x30\x00", alternative_names=(dns_name("a.example"),)).alternative_names


def test_a_grant_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        make().lifetime = timedelta(days=1)  # type: ignore[misc]  # that is what must fail


def test_times_in_utc_are_taken() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert make(not_before=moment, not_after=moment + timedelta(days=1)).not_before == moment
