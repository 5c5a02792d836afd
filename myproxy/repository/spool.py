"""The C server's store on disk, read and written: file names, `.data`, `.creds`, `.lock`; not what is made of it.

    for found in read_spool("/var/lib/myproxy"):    # SpoolEntry, or SpoolFault for a file that cannot be used
        ...
    write_entry("/srv/back", entry)                 # three files, whole or not at all, synced

Agrees with gct:myproxy/source/myproxy_creds.c. A directory is flat. A credential of user `u` named `c` lies in
`u-c.creds`, the unnamed one in `u.creds`, each with a `.data` file of attributes beside it and a `.lock` file when it
is locked. A name over 80 bytes or with a slash is replaced by its MD5, a leading dot by a dash. So `a-b.creds` may be
user `a-b` or user `a` and name `b`: only the attributes know, and a file whose attributes belong to another name is not
used, because the C server finds it under the one and tells the other.

Files are only read, through descriptors that no link can lead astray, and never above a size.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from gsi import keys
from gsi.certificate import Certificate
from gsi.credential import order_chain
from gsi.errors import GridError, StorageError
from gsi.pem import split_pem
from myproxy.repository.locks import check_lock, is_crypt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.pem import PEMBlock

__all__ = ["CREDENTIAL_SUFFIX", "SpoolEntry", "SpoolFault", "has_spool", "read_spool", "stem_of", "write_entry"]

CREDENTIAL_SUFFIX: Final = ".creds"
DATA_SUFFIX: Final = ".data"
LOCK_SUFFIX: Final = ".lock"

MAX_FILE_BYTES: Final = 1 << 20
"""The largest file that is read; the C server takes no larger request by default."""

MAX_NAME_BYTES: Final = 80
"""MYPROXY_CREDS_MAX_NAMELEN: longer names are hashed."""

MAX_LIFETIME: Final = 2**31 - 1
MAX_CERTIFICATES: Final = 100
"""As many as `gsi.trust` takes for a chain."""

_END: Final = "END_OPTIONS"
_ATTRIBUTES: Final = {
    "OWNER": "owner",
    "LIFETIME": "lifetime",
    "NAME": "name",
    "DESCRIPTION": "description",
    "RETRIEVERS": "retrievers",
    "KEYRETRIEVERS": "key_retrievers",
    "TRUSTED_RETRIEVERS": "trusted_retrievers",
    "RENEWERS": "renewers",
    "USERNAME": "username",
    "PASSPHRASE": "crypt",
}
"""What a line of `.data` may be, in the order in which the C server writes them."""

_GUESSED: Final = frozenset({"DESCRIPTION", "RETRIEVERS", "KEYRETRIEVERS", "TRUSTED_RETRIEVERS", "RENEWERS"})
"""Lines whose text may be read as Latin-1: people read it, or it is compared with names, which are ASCII."""

_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolEntry:
    """One credential of a C store.

    Attributes:
        stem: Its files' name without the suffix.
        username: The account name.
        name: The credential's name, or None.
        owner: Who stored it, one-line form.
        lifetime: The longest proxy to delegate; zero = no limit of its own.
        description: Free text, or None.
        retrievers: A policy, or None.
        renewers: A policy, or None.
        key_retrievers: A policy, or None.
        trusted_retrievers: A policy, or None.
        lock_message: Why it is locked, or None.
        certificates: The leaf first, then as they follow from it.
        key: The key's block, locked or not.
        crypt: The crypt(3) hash of the pass phrase of a key that is not locked, or None.
        stored: When the files were written.
        latin1: Which texts are not UTF-8, and were read as Latin-1.
        digest: SHA-256 over all of it, hexadecimal.
    """

    stem: str
    username: str
    name: str | None
    owner: str
    lifetime: timedelta
    description: str | None = None
    retrievers: str | None = None
    renewers: str | None = None
    key_retrievers: str | None = None
    trusted_retrievers: str | None = None
    lock_message: str | None = None
    certificates: tuple[Certificate, ...] = field(repr=False)
    key: PEMBlock = field(repr=False)
    crypt: bytes | None = field(default=None, repr=False)
    stored: datetime
    latin1: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class SpoolFault:
    """A credential of a C store that cannot be used.

    Attributes:
        stem: Its files' name without the suffix.
        reason: Why, for a person.
    """

    stem: str
    reason: str


def has_spool(directory: str) -> bool:
    """Say whether a directory holds credentials of the C server.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            return any(entry.name.endswith(CREDENTIAL_SUFFIX) for entry in entries)
    except OSError as error:
        raise StorageError(f"cannot read the directory {directory}: {error.strerror}") from error


def read_spool(directory: str) -> Iterator[SpoolEntry | SpoolFault]:
    """Yield every credential of a C store by file name, and why one of them cannot be used.

    Raises:
        StorageError: The directory cannot be read.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"cannot read the directory {directory}: {error.strerror}") from error
    try:
        names = os.listdir(descriptor)
        stems = sorted(name.removesuffix(CREDENTIAL_SUFFIX) for name in names if name.endswith(CREDENTIAL_SUFFIX))
        for stem in stems:
            yield _read_entry(descriptor, stem)
        known = set(stems)
        for name in sorted(names):
            stem = name.removesuffix(DATA_SUFFIX)
            if stem != name and stem not in known:
                yield SpoolFault(_shown(stem), f"there is {_shown(name)} but no {_shown(stem)}{CREDENTIAL_SUFFIX}")
    finally:
        os.close(descriptor)


def stem_of(username: str, name: str | None) -> str:
    """Return the file name, without suffix, under which the C server keeps a credential."""
    stem = _file_name(username)
    return stem if name is None else f"{stem}-{_file_name(name)}"


def write_entry(directory: str, entry: SpoolEntry, *, replace: bool) -> bool:
    """Write a credential as the C server would, attributes before the credential.

    Args:
        directory: Where.
        entry: What; its stem and digest are not looked at.
        replace: Whether another credential may be there already.

    Returns:
        Whether anything had to be written; the same files are left as they are.

    Raises:
        StorageError: It cannot be written, another is there, or the C server could not read a value back.
    """
    files = _encode(entry)
    stem = os.path.join(directory, stem_of(entry.username, entry.name))
    present = {suffix: _read_whole(stem + suffix) for suffix in (DATA_SUFFIX, CREDENTIAL_SUFFIX, LOCK_SUFFIX)}
    if present == {LOCK_SUFFIX: None, **files}:
        return False
    if present[CREDENTIAL_SUFFIX] is not None and not replace:
        raise StorageError(f"{stem}{CREDENTIAL_SUFFIX} is there already, and is another")
    for suffix, content in files.items():
        assert content is not None
        _write_file(stem + suffix, content)
    if present[LOCK_SUFFIX] is not None and LOCK_SUFFIX not in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(stem + LOCK_SUFFIX)
    return True


# --- reading ----------------------------------------------------------------------------------------------------------


def _read_entry(directory: int, stem: str) -> SpoolEntry | SpoolFault:
    try:
        credential, written = _read_file(directory, stem + CREDENTIAL_SUFFIX)
        data, _ = _read_file(directory, stem + DATA_SUFFIX)
        try:
            lock: bytes | None = _read_file(directory, stem + LOCK_SUFFIX)[0]
        except FileNotFoundError:
            lock = None
        return _parse_entry(stem, credential, data, lock, written)
    except FileNotFoundError:
        return SpoolFault(_shown(stem), f"there is no {_shown(stem)}{DATA_SUFFIX}")
    except OSError as error:
        return SpoolFault(_shown(stem), f"cannot be read: {error.strerror}")
    except GridError as error:
        return SpoolFault(_shown(stem), error.message)


def _read_file(directory: int, name: str) -> tuple[bytes, datetime]:
    descriptor = os.open(name, _READ_FLAGS, dir_fd=directory)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise StorageError("is no regular file")
        if found.st_size > MAX_FILE_BYTES:
            raise StorageError(f"is larger than {MAX_FILE_BYTES} bytes")
        content = b""
        while part := os.read(descriptor, MAX_FILE_BYTES):
            content += part
            if len(content) > MAX_FILE_BYTES:
                raise StorageError(f"is larger than {MAX_FILE_BYTES} bytes")
        return content, datetime.fromtimestamp(int(found.st_mtime), UTC)
    finally:
        os.close(descriptor)


def _parse_entry(stem: str, credential: bytes, data: bytes, lock: bytes | None, written: datetime) -> SpoolEntry:
    values, latin1 = _parse_data(data)
    certificates, block = _parse_credential(credential)
    crypt = _check_key(block, certificates[0], values.get("crypt"))
    if "owner" not in values:
        raise StorageError("the attributes name no OWNER")
    name = values.get("name") or None
    username = values.get("username")
    if username is None:  # as very old servers wrote it: then the file's name says it
        tail = "" if name is None else f"-{_file_name(name)}"
        username = _text(os.fsencode(stem), "file name").removesuffix(tail)
    lock_message = None
    if lock is not None:
        lock_message, is_guessed = _guess(lock.rstrip(b"\n"))
        latin1 += ["lock message"] * is_guessed
    if not username or stem_of(username, name) != stem:
        raise StorageError(
            f"the attributes are those of user {username!r}, credential {name!r}, which would lie in another file"
        )
    digest = hashlib.sha256()
    for part in (credential, data, b"-" if lock is None else b"+" + lock):
        digest.update(len(part).to_bytes(8, "big") + part)
    return SpoolEntry(
        stem=stem,
        username=username,
        name=name,
        owner=values["owner"],
        lifetime=_lifetime(values.get("lifetime", "0")),
        description=values.get("description"),
        retrievers=values.get("retrievers"),
        renewers=values.get("renewers"),
        key_retrievers=values.get("key_retrievers"),
        trusted_retrievers=values.get("trusted_retrievers"),
        lock_message=lock_message,
        certificates=certificates,
        key=block,
        crypt=crypt,
        stored=written,
        latin1=tuple(latin1),
        digest=digest.hexdigest(),
    )


def _parse_data(data: bytes) -> tuple[dict[str, str], list[str]]:
    """Return the attributes, and which were read as Latin-1.

    The last of a name counts, and what the C server would not read is an error.
    """
    values: dict[str, str] = {}
    guesses: dict[str, bool] = {}
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    for number, line in enumerate(lines, start=1):
        if line == _END.encode():
            return values, [name for name, guessed in guesses.items() if guessed]
        encoded, equals, value = line.partition(b"=")
        name = encoded.decode("latin-1")
        if not equals or name not in _ATTRIBUTES:
            raise StorageError(f"line {number} of the attributes is none that the C server reads")
        if name in _GUESSED:
            values[_ATTRIBUTES[name]], guesses[name] = _guess(value)
        else:
            values[_ATTRIBUTES[name]] = _text(value, name)
    raise StorageError(f"the attributes end without {_END}: the file is cut short")


def _parse_credential(data: bytes) -> tuple[tuple[Certificate, ...], PEMBlock]:
    certificates, found = [], []
    for block in split_pem(data, what="credential"):
        if block.label == "CERTIFICATE":
            certificates.append(Certificate.parse(block.data))
        elif block.label.endswith("PRIVATE KEY"):
            found.append(block)
    if not certificates or len(found) != 1 or len(certificates) > MAX_CERTIFICATES:
        raise StorageError(f"holds {len(certificates)} certificates and {len(found)} keys")
    leaf = _find_leaf(certificates)
    return (leaf, *order_chain(leaf, [one for one in certificates if one is not leaf])), found[0]


def _find_leaf(certificates: list[Certificate]) -> Certificate:
    """Return the certificate that has issued none of the others; the first of several."""
    issuers = {one.issuer_der for one in certificates if not one.is_self_issued}
    return next((one for one in certificates if one.subject_der not in issuers), certificates[0])


def _check_key(block: PEMBlock, leaf: Certificate, crypt: str | None) -> bytes | None:
    """Insist that the key can be used with the certificate, as far as that shows; return a hash that guards it."""
    keys.check_public_key(keys.parse_public_key(leaf.spki_der))
    if keys.is_encrypted(block):
        check_lock(block)
        return None  # of PASSPHRASE the C server takes no notice then
    if not keys.same_key(keys.parse_private_key(block), leaf.spki_der):
        raise StorageError("the key is not that of the certificate")
    if crypt is None:
        return None
    encoded = crypt.encode()
    if not is_crypt(encoded):
        raise StorageError("PASSPHRASE is no hash of crypt(3)")
    return encoded


def _lifetime(text: str) -> timedelta:
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or int(digits[:12]) > MAX_LIFETIME:
        raise StorageError(f"LIFETIME {text[:20]!r} is no number of seconds")
    return timedelta(seconds=int(digits))


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = data[:MAX_NAME_BYTES].decode("utf-8", "backslashreplace")
        raise StorageError(
            f"{what} is not UTF-8 ({shown}): convert it in the .data file, a name in those of the files "
            "too, and run myproxy-admin-import"
        ) from error


def _guess(data: bytes) -> tuple[str, bool]:
    """Return a text that is UTF-8 or else Latin-1, and whether it is the latter."""
    try:
        return data.decode("utf-8"), False
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def _shown(name: str) -> str:
    """Return a file name as text that every terminal and database takes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


# --- writing ----------------------------------------------------------------------------------------------------------


def _file_name(text: str) -> str:
    encoded = text.encode("utf-8", "surrogateescape")
    if len(encoded) > MAX_NAME_BYTES or b"/" in encoded:
        return hashlib.md5(encoded, usedforsecurity=False).hexdigest()
    return "-" + text[1:] if text.startswith(".") else text


def _encode(entry: SpoolEntry) -> dict[str, bytes | None]:
    """Return the files' contents by suffix.

    Raises:
        StorageError: A value would not come back as it is.
    """
    values = {
        "OWNER": entry.owner,
        "LIFETIME": str(int(entry.lifetime.total_seconds())),
        "NAME": entry.name,
        "DESCRIPTION": entry.description,
        "RETRIEVERS": entry.retrievers,
        "KEYRETRIEVERS": entry.key_retrievers,
        "TRUSTED_RETRIEVERS": entry.trusted_retrievers,
        "RENEWERS": entry.renewers,
        "USERNAME": entry.username,
        "PASSPHRASE": None if entry.crypt is None else entry.crypt.decode("ascii"),
    }
    for name, value in values.items():
        if value is not None and any(character in value for character in "\n\r\0"):
            raise StorageError(f"{name} holds a line end, which the C server could not read back")
    lines = [f"{name}={value}\n" for name, value in values.items() if value is not None]
    leaf, *chain = entry.certificates
    files: dict[str, bytes | None] = {
        DATA_SUFFIX: ("".join(lines) + f"{_END}\n").encode(),
        CREDENTIAL_SUFFIX: b"".join((leaf.pem(), entry.key.text, *(one.pem() for one in chain))),
    }
    if entry.lock_message is not None:
        # First of all: between two files nobody may have what is locked.
        files = {LOCK_SUFFIX: entry.lock_message.encode(), **files}
    return files


def _read_whole(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_FILE_BYTES)


def _write_file(path: str, content: bytes) -> None:
    from gsi.system.files import write_private

    try:
        write_private(path, content)
    except GridError as error:
        raise StorageError(error.message, hint=error.hint) from error
