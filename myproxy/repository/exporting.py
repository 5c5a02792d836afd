"""The way back: what is stored here as files of the C server; not how they are written (`spool`).

    report = export_spool(repository, sealer, "/srv/back")

The C server opens a key with its pass phrase, which nobody has here. So a key can go back when its pass phrase is not
needed for that: as long as it lies under the lock of its owner, when it has none, or when it was sealed together with a
copy in PKCS#8 (`keep_c_export`). The others are named, each with its user, who has to store a credential anew.

An export that was interrupted goes on where it stopped: a file with the right content is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gsi import keys
from gsi.certificate import Certificate
from gsi.errors import GridError, ParseError, StorageError
from gsi.pem import split_pem
from gsi.sql.engine import prepare_private_directory
from myproxy.repository.base import Selection
from myproxy.repository.seal import Place
from myproxy.repository.spool import SpoolEntry, stem_of, write_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.pem import PEMBlock
    from myproxy.repository.base import Repository, StoredCredential
    from myproxy.repository.seal import Sealer

__all__ = ["ExportReport", "LeftBehind", "export_spool"]

PROGRESS_EVERY: Final = 500


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A credential that is not in the export.

    Attributes:
        username: The account name.
        name: The credential's name, or None.
        owner: Who stored it.
        reason: Why, for a person.
    """

    username: str
    name: str | None
    owner: str
    reason: str


@dataclass(slots=True)
class ExportReport:
    """What became of the credentials in a store.

    Attributes:
        written: How many were written.
        known: How many were there already.
        left: Which were not written, and why.
    """

    written: int = 0
    known: int = 0
    left: list[LeftBehind] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """How many were looked at."""
        return self.written + self.known + len(self.left)


def export_spool(
    repository: Repository,
    sealer: Sealer,
    directory: str,
    *,
    replace: bool = False,
    progress: Callable[[ExportReport], None] = lambda _report: None,
) -> ExportReport:
    """Write every credential that can be written.

    Args:
        repository: The store.
        sealer: Knows the server's keys.
        directory: Where; made if missing, and private.
        replace: Whether other credentials that are there already may be replaced.
        progress: Called now and then.

    Raises:
        StorageError: Store or directory cannot be used.
    """
    prepare_private_directory(directory)
    report = ExportReport()
    taken: set[str] = set()
    for stored in repository.search(Selection()):
        try:
            entry = _entry(stored, sealer)
            if entry.stem in taken:
                raise StorageError(f"the C server would keep it in a file that is another's, {entry.stem}.creds")
            taken.add(entry.stem)
            if write_entry(directory, entry, replace=replace):
                report.written += 1
            else:
                report.known += 1
        except GridError as error:
            report.left.append(LeftBehind(stored.username, stored.name, stored.owner, error.message))
        if report.seen % PROGRESS_EVERY == 0:
            progress(report)
    return report


def _entry(stored: StoredCredential, sealer: Sealer) -> SpoolEntry:
    """Return a credential as the C server keeps it.

    Raises:
        StorageError: Its key cannot be, or it is damaged.
        ParseError: It is damaged.
    """
    certificates = tuple(map(Certificate.parse, stored.certificates))
    place = Place(stored.username, stored.name, stored.owner, certificates[0].fingerprint)
    exported = sealer.export(stored.sealed_key, place)
    if exported is None:
        raise StorageError(
            "its key is sealed under a pass phrase, without a copy that the C server could open: "
            "its owner has to store a credential anew"
        )
    return SpoolEntry(
        stem=stem_of(stored.username, stored.name),
        username=stored.username,
        name=stored.name,
        owner=stored.owner,
        lifetime=stored.lifetime,
        description=stored.description,
        retrievers=stored.retrievers,
        renewers=stored.renewers,
        key_retrievers=stored.key_retrievers,
        trusted_retrievers=stored.trusted_retrievers,
        lock_message=stored.lock_message,
        certificates=certificates,
        key=_plain(exported.block),
        crypt=exported.crypt,
        stored=stored.updated,
    )


def _plain(text: bytes) -> PEMBlock:
    """Return the key's block; one in clear in the older form, which every version of the C server reads."""
    try:
        (block,) = split_pem(text, what="stored key")
        if not keys.is_encrypted(block):
            (block,) = split_pem(
                keys.encode_private_key(keys.parse_private_key(block), traditional=True), what="stored key"
            )
    except ValueError as error:
        raise ParseError("not exactly one PEM block", what="stored key") from error
    return block
