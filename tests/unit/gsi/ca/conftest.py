"""A CA of ours, a recorder that remembers, and requests made by pyca: what the suites of this room share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gsi.ca import Grant, Issuer, KeySigner, make_root, parse_request
from gsi.keys import KeyType, generate_key
from gsi.names import parse_oneline
from tests.unit.gsi.ca.support import Books, make_csr

if TYPE_CHECKING:
    from gsi.ca import CertificateRequest
    from gsi.certificate import Certificate


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def signer() -> KeySigner:
    return KeySigner(generate_key(KeyType.P256))


@pytest.fixture(scope="session")
def root(signer: KeySigner, now: datetime) -> Certificate:
    return make_root(signer, parse_oneline("/O=Grid/CN=CA"), now=now - timedelta(days=1), lifetime=timedelta(days=1000))


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def issuer(root: Certificate, signer: KeySigner, books: Books) -> Issuer:
    return Issuer(root, signer, recorder=books)


@pytest.fixture
def grant() -> Grant:
    return Grant(
        subject_der=parse_oneline("/O=Grid/CN=Alice"), requester="alice", lifetime=timedelta(hours=12), decision="d-1"
    )


@pytest.fixture(scope="session")
def request_() -> CertificateRequest:
    return parse_request(make_csr("p256"))
