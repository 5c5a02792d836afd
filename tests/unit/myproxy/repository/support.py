"""Credentials for the tests of the store's upkeep: real chains, cheap seals, files as the C server writes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gsi.certificate import Certificate
from gsi.errors import StorageError
from gsi.keys import encode_private_key, parse_private_key
from gsi.pem import split_pem
from gsi.secret import Passphrase
from gsi.system.audit import AuditRecord
from myproxy.repository.base import StoredCredential
from myproxy.repository.seal import Place, Sealer, SealParameters
from myproxy.repository.serverkeys import ServerKey, ServerKeys
from tests.harness.ca import Issued, write_file

__all__ = ["NOW", "OWNER", "SECRET", "Sink", "key_of", "make_sealer", "put_files", "stored"]

NOW = datetime.now(UTC).replace(microsecond=0)
OWNER = "/O=Grid/CN=Alice"
SECRET = Passphrase("correct horse")


@dataclass
class Sink:
    """Remembers audit records; refuses them when it is `broken`."""

    records: list[AuditRecord]
    broken: bool = False

    def record(self, record: AuditRecord) -> None:
        if self.broken:
            raise StorageError("no space left")
        self.records.append(record)


def make_sealer(*secrets: int, keeps_copies: bool = False) -> Sealer:
    """A sealer with server keys made of these numbers."""
    keys = ServerKeys([ServerKey(bytes([number]) * 32) for number in secrets])
    return Sealer(SealParameters(memory_kib=8, iterations=1), server_keys=keys, keeps_copies=keeps_copies)


def key_of(issued: Issued) -> bytes:
    """The key as the store keeps it."""
    (block,) = (one for one in split_pem(issued.bundle(), what="test") if one.label.endswith("PRIVATE KEY"))
    return encode_private_key(parse_private_key(block))


def stored(issued: Issued, sealer: Sealer, username: str = "alice", **changes: object) -> StoredCredential:
    """A credential as a PUT makes it; `passphrase` seals the key."""
    passphrase = changes.pop("passphrase", SECRET)
    assert isinstance(passphrase, Passphrase)
    chain = tuple(map(Certificate.parse, issued.chain_der))
    name = changes.get("name")
    assert name is None or isinstance(name, str)
    place = Place(username, name, OWNER, chain[0].fingerprint)
    values: dict[str, object] = {
        "owner": OWNER,
        "certificates": tuple(one.der for one in chain),
        "sealed_key": sealer.seal(key_of(issued), passphrase, place),
        "not_before": max(one.not_before for one in chain),
        "not_after": min(one.not_after for one in chain),
        "lifetime": timedelta(hours=12),
        "created": NOW,
        "updated": NOW,
    } | changes
    return StoredCredential(username=username, **values)  # type: ignore[arg-type]  # field values by name


def put_files(
    directory: Path, stem: str, issued: Issued, data: str | None = None, *, credential: bytes | None = None
) -> None:
    """Write a credential's two files as the C server does."""
    directory.mkdir(mode=0o700, exist_ok=True)
    if data is None:
        data = f"OWNER={OWNER}\nLIFETIME=3600\nUSERNAME={stem}\nEND_OPTIONS\n"
    write_file(directory / f"{stem}.data", data.encode(), 0o600)
    write_file(directory / f"{stem}.creds", issued.bundle() if credential is None else credential, 0o600)
