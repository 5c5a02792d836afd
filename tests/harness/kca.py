"""A Kerberos authority for tests, without sockets or KDC: tickets are made up, all else is real.

Workflow:
    with authority(tmp_path, '[realm."TEST.EXAMPLE"]\nbase = "/O=Grid"') as world:
        issued = world.issue(world.ticket("alice"))
        world.records()[-1]["verdict"]
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gsi.ca.request import CertificateRequest
from gsi.kerberos.ticket import Principal, ProvenTicket, TicketFlags
from kca.config import KCAConfig, load_config
from kca.wiring.service import OpenedService, open_service
from tests.harness.ca import Issued, TestCA, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.ca.issuer import Issued as Certified
    from kca.service import KCAService

__all__ = ["KCAWorld", "authority", "make_ticket", "new_request", "write_config"]

REALM: Final = "TEST.EXAMPLE"
PLAIN_REALM: Final = f'[realm."{REALM}"]\nbase = "/O=Grid/OU=Test"\n'
CA_NAME: Final = "/O=Grid/CN=Test KCA"


@cache
def _authority() -> TestCA:
    return TestCA(CA_NAME, key="p256")


def write_config(directory: Path, text: str = PLAIN_REALM, *, ca: TestCA | None = None, authority: str = "") -> Path:
    """Write a CA and a configuration; return the file.

    Args:
        directory: Where.
        text: Everything but `[authority]` and the place of the store.
        ca: The CA; one that all tests share by default.
        authority: More lines of `[authority]`.
    """
    ca = ca or _authority()
    certificate, key = directory / "ca.pem", directory / "ca.key"
    Issued(ca.certificate, ca.key).write(certificate, key)
    store = "" if "[store]" in text else f'[store]\ndirectory = "{directory}/store"\n'
    config = directory / "kca.toml"
    head = f'[authority]\ncertificate = "{certificate}"\nkey = "{key}"\n{authority}\n'
    plain = text.split("[", 1)[0]
    write_file(config, (plain + head + store + text[len(plain) :]).encode(), 0o644)
    return config


def make_ticket(who: str, *, now: datetime, **changes: Any) -> ProvenTicket:
    """A ticket of ten hours, got a minute ago by a password."""
    principal = Principal.parse(who if "@" in who else f"{who}@{REALM}")
    ticket = ProvenTicket(
        client=principal,
        server=Principal(("kca_service", "localhost"), REALM),
        auth_time=now - timedelta(minutes=1),
        start_time=now - timedelta(minutes=1),
        end_time=now + timedelta(hours=10) - timedelta(minutes=1),
        flags=TicketFlags.PREAUTHENTICATED,
        indicators=(),
    )
    return ticket._replace(**changes)


@cache
def _spki(kind: str, number: int) -> bytes:
    del number
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "p256" else rsa.generate_private_key(65537, int(kind))
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def new_request(kind: str = "p256", number: int = 0) -> CertificateRequest:
    """A bare key to certify; the same for the same arguments."""
    return CertificateRequest.from_public_key(_spki(kind, number))


@dataclass(slots=True)
class KCAWorld:
    """A service whose clock stands still until it is set."""

    config: KCAConfig
    opened: OpenedService
    directory: Path
    now: datetime
    _requests: list[int] = field(default_factory=lambda: [0])

    @property
    def service(self) -> KCAService:
        return self.opened.service

    def ticket(self, who: str, **changes: Any) -> ProvenTicket:
        """See `make_ticket`."""
        return make_ticket(who, now=self.now, **changes)

    def issue(
        self, ticket: ProvenTicket, request: CertificateRequest | None = None, *, request_hash: bytes | None = None
    ) -> Certified:
        """Ask for a certificate."""
        return self.service.issue(
            ticket,
            request or new_request(),
            peer="192.0.2.7",
            transport="udp",
            request_hash=os.urandom(32) if request_hash is None else request_hash,
        )

    def records(self) -> list[dict[str, Any]]:
        """What the audit says."""
        path = Path(self.config.store.audit_path)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextlib.contextmanager
def authority(
    directory: Path, text: str = PLAIN_REALM, *, ca: TestCA | None = None, settings: str = ""
) -> Iterator[KCAWorld]:
    """A service with this configuration; see `write_config`."""
    config = load_config(str(write_config(directory, text, ca=ca, authority=settings)))
    box: list[KCAWorld] = []
    with open_service(config, now=lambda: box[0].now) as opened:
        box.append(KCAWorld(config, opened, directory, datetime.now(UTC).replace(microsecond=0)))
        yield box[0]
