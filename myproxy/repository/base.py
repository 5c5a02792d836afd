"""The repository's interface and the value it keeps; not how keys are sealed (`seal`), not SQL (`sql`).

    repository.put(stored)                                    # on disk when it returns
    found = repository.get("alice", None)                     # NotFoundError when there is none
    repository.replace_key(found, sealed, now=now)            # ConflictError if somebody was faster
    repository.delete("alice", None, owner=found.owner)

A credential is addressed by (username, name), both exactly as given; name None is the unnamed credential, and no other
pair shares its place. Every change is atomic and durable before the method returns. Whatever goes wrong is a
`StorageError` (`NotFoundError`, `ConflictError`); the callers see no driver's exception.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from gsi.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

__all__ = [
    "MAX_ADDRESS_BYTES",
    "MAX_OWNER_BYTES",
    "MAX_TEXT_BYTES",
    "Repository",
    "Selection",
    "StoredCredential",
    "check_address",
    "check_text",
]

MAX_TEXT_BYTES: Final = 65536
"""The longest description or policy that is kept: far above any real one, so that a row stays small."""

MAX_ADDRESS_BYTES: Final = 2600
"""The longest user name and credential name together: both stand in one entry of PostgreSQL's index, 2,700 bytes."""

MAX_OWNER_BYTES: Final = 2048
"""The longest owner, for the same reason; the C server keeps 1,023 bytes of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCredential:
    """One credential at rest. Policies are kept as written; the key is readable only through `seal`.

    Attributes:
        username: Account name in the repository, not empty.
        name: Credential name, or None for the unnamed one; never empty.
        owner: Identity of the one who stored it, one-line form.
        description: Free text, or None.
        retrievers: Who may receive proxies after giving the pass phrase; None = the server's default.
        renewers: Who may renew.
        key_retrievers: Who may download the key.
        trusted_retrievers: Who needs no further proof.
        lifetime: Longest proxy that may be delegated from it; zero = no limit of its own.
        not_before: Latest start of all certificates.
        not_after: Earliest end of all certificates.
        certificates: DER, leaf first; public, not sealed.
        sealed_key: The private key as `seal` made it.
        lock_message: Why the credential is locked, or None when it is not.
        created: When it was first stored.
        updated: When it was last changed.
        version: Counts changes; 0 before it is stored. `replace_key` refuses to build on an old one.
    """

    username: str
    owner: str
    certificates: tuple[bytes, ...] = field(repr=False)
    sealed_key: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    lifetime: timedelta
    created: datetime
    updated: datetime
    name: str | None = None
    description: str | None = None
    retrievers: str | None = None
    renewers: str | None = None
    key_retrievers: str | None = None
    trusted_retrievers: str | None = None
    lock_message: str | None = None
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which credentials an administrator means; all that is given has to fit.

    Attributes:
        username: Exactly this account name.
        name: Exactly this credential name; the empty text means the unnamed one.
        owner: Exactly this owner.
        ends_before: Its first certificate expires before this moment.
        ends_after: Its first certificate expires after this moment.
    """

    username: str | None = None
    name: str | None = None
    owner: str | None = None
    ends_before: datetime | None = None
    ends_after: datetime | None = None


class Repository(Protocol):
    """Where credentials rest. Safe for use by several threads and processes at once."""

    def put(self, credential: StoredCredential) -> None:
        """Insert the credential, or replace the one of the same address if it has the same owner.

        A replaced credential keeps its `created`; its lock, if any, is kept too: storing anew does not unlock.

        Raises:
            ConflictError: Another owner's credential is there; nothing was changed.
            StorageError: It could not be made durable; nothing was changed.
        """
        ...

    def get(self, username: str, name: str | None) -> StoredCredential:
        """Return one credential.

        Raises:
            NotFoundError: There is none.
            StorageError: The store cannot be read.
        """
        ...

    def list_owned(self, username: str, owner: str) -> tuple[StoredCredential, ...]:
        """Return the owner's credentials under a user name: the unnamed one first, then by name.

        Raises:
            StorageError: The store cannot be read.
        """
        ...

    def count_owned(self, owner: str, *, limit: int) -> int:
        """Return how many credentials an owner has under all user names; counts no further than `limit`.

        Raises:
            StorageError: The store cannot be read.
        """
        ...

    def list_named(self, username: str, *, limit: int) -> tuple[StoredCredential, ...]:
        """Return everybody's credentials under a user name: the unnamed one first, then by name; at most `limit`.

        Raises:
            StorageError: The store cannot be read.
        """
        ...

    def search(self, selection: Selection) -> Iterator[StoredCredential]:
        """Yield the credentials that are meant, by user name and then name; read in pages, so it may be all of them.

        What is stored or removed meanwhile may or may not be among them.

        Raises:
            StorageError: The store cannot be read.
        """
        ...

    def delete(self, username: str, name: str | None, *, owner: str) -> None:
        """Remove a credential.

        Raises:
            NotFoundError: There is none of that owner.
            StorageError: The store cannot be written; nothing was changed.
        """
        ...

    def replace_key(self, credential: StoredCredential, sealed_key: bytes, *, now: datetime) -> None:
        """Swap the sealed key of exactly the version that the caller has read.

        Raises:
            ConflictError: It was changed or removed in the meantime; nothing was changed.
            StorageError: The store cannot be written; nothing was changed.
        """
        ...

    def list_key_forms(self) -> frozenset[str]:
        """Return the forms of the keys in the store, as `sealforms.describe_form` tells them, each once.

        Takes as long as there are forms, not as there are rows.

        Raises:
            StorageError: The store cannot be read.
        """
        ...

    def set_lock(self, username: str, name: str | None, message: str | None, *, now: datetime) -> None:
        """Lock a credential with a message for those who ask for it, or unlock it (None).

        Raises:
            NotFoundError: There is none.
            StorageError: The store cannot be written; nothing was changed.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def check_address(username: str, name: str | None) -> None:
    """Refuse names under which nothing can be kept.

    Raises:
        StorageError: They are empty, too long together, or no text that can be kept.
    """
    if not username or name == "":
        raise StorageError("a credential needs a user name, and a name that is not empty or none at all")
    check_text(username, "user name", MAX_ADDRESS_BYTES)
    check_text(name, "credential name", MAX_ADDRESS_BYTES - len(username.encode()))


def check_text(value: str | None, what: str, maximum: int | None = None) -> None:
    """Refuse text that not every database can keep unchanged: too long, with NUL, or not Unicode.

    Args:
        value: The text; None is always kept.
        what: What it is, for the message.
        maximum: The most bytes of it; `MAX_TEXT_BYTES` by default.

    Raises:
        StorageError: It cannot be kept.
    """
    if value is None:
        return
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise StorageError(f"the {what} is not valid UTF-8 text") from error
    if size > (MAX_TEXT_BYTES if maximum is None else maximum) or "\0" in value:
        raise StorageError(f"the {what} is too long or holds a NUL")
