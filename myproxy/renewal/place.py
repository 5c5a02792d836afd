"""The file of a credential: read with care, locked, replaced in one step; decides nothing about what is put there.

    place = Place("/var/lib/jobs/alice.pem")
    with place.lock():                        # against another agent
        held = place.read()
        place.put(data, held)                 # only if the file is still the one that was read

The lock is on the credential's own file (the key's, where that is another one): strangers cannot open it, so they
cannot hold it, and nothing is left beside. A file that somebody replaced or removed meanwhile is left as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.credential import MAX_CREDENTIAL_BYTES, Credential, parse_credential
from gsi.errors import ConflictError, CredentialError, CredentialProblem, ParseError
from gsi.system.files import read_public
from myproxy.renewal.folder import Folder, open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BusyError", "ChangedError", "Held", "Place", "Stamp", "read_identity_files"]

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
_PRIVATE: Final = 0o600
_PUBLIC: Final = 0o644
_MISSING: Final = CredentialProblem.MISSING


class BusyError(ConflictError):
    """Another agent is at the file."""

    slug = "busy"


class ChangedError(ConflictError):
    """The file is no longer the one that was read; it was left as it is."""

    slug = "changed"


class Stamp(NamedTuple):
    """What changes when a file does; the last also when it is renamed."""

    device: int
    inode: int
    size: int
    written_ns: int
    changed_ns: int


class Held(NamedTuple):
    """A credential as it lies in its place.

    Attributes:
        credential: Key, certificate, chain.
        stamp: Of the file that is replaced.
        mode: Its permissions.
        owner: Its user and group id.
    """

    credential: Credential
    stamp: Stamp
    mode: int
    owner: tuple[int, int]

    def is_same(self, found: os.stat_result) -> bool:
        """Tell whether a file is this one, whatever name it has now."""
        return _stamp(found)[:-1] == self.stamp[:-1]


class Place:
    """Where a credential is: one file, or a file with certificates and another with the key."""

    __slots__ = ("key_path", "path")

    def __init__(self, path: str, key_path: str = "") -> None:
        """Name the files; `key_path` is empty where the key is in the same file."""
        self.path = path
        self.key_path = key_path

    def look(self) -> Stamp | None:
        """Return the stamp of the file as it is now, without opening it; None where there is none."""
        try:
            return _stamp(os.lstat(self.path))
        except OSError:
            return None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other agents away; where there is no file yet, nobody is.

        Raises:
            BusyError: Another agent is at it.
            CredentialError: The file is unsafe.
        """
        path = self.key_path or self.path
        with contextlib.ExitStack() as stack:
            try:
                folder, descriptor, found = stack.enter_context(_opened(path))
            except CredentialError as error:
                if error.problem is not _MISSING:
                    raise
            else:
                _check_private(path, found)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise BusyError(f"{path}: another agent is renewing it") from error
                present = folder.look(os.path.basename(path))
                if present is None:
                    raise ChangedError(f"{path}: was removed")
                if not os.path.samestat(present, found):
                    raise ChangedError(f"{path}: was replaced")
            yield

    def read(self) -> Held:
        """Return what is there.

        Raises:
            CredentialError: MISSING, UNSAFE_FILE (a link, another owner, readable by others), or no credential.
            ParseError: It is malformed.
        """
        with _opened(self.path) as (_, descriptor, found):
            if not self.key_path:
                _check_private(self.path, found)
            elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                _refuse(self.path, "others can change it", f"chmod go-w {self.path}")
            pem = _read(self.path, descriptor)
        key_pem = _read_key(self.key_path) if self.key_path else None
        credential = parse_credential(pem, key_pem=key_pem, source=self.path, key_source=self.key_path or None)
        return Held(credential, _stamp(found), stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))

    def put(self, credential: Credential, held: Held | None) -> Stamp | None:
        """Replace the file in one step: all of it or nothing, with the owner of the old one and no wider mode.

        Args:
            credential: What to write; with a key of its own file, the certificates alone.
            held: What is replaced; None where there was nothing.

        Returns:
            The new file's stamp.

        Raises:
            ChangedError: The file is another one than was read, or removed.
            CredentialError: UNWRITABLE; the old file is as it was.
        """
        data = credential.encode_chain() if self.key_path else credential.encode()
        directory, name = os.path.split(self.path)
        try:
            with open_folder(directory) as folder:
                if held is None:
                    is_done = folder.create(name, data, _PRIVATE)
                else:
                    mode = held.mode & (_PUBLIC if self.key_path else _PRIVATE)
                    # What the system does anyway needs no right to change owners.
                    owner = None if held.owner == (os.geteuid(), os.getegid()) else held.owner
                    is_done = folder.replace(name, data, mode, owner, is_expected=held.is_same)
                found = folder.look(name)
        except OSError as error:
            raise CredentialError(
                f"{self.path}: cannot be written: {error.strerror}",
                problem=CredentialProblem.UNWRITABLE,
                path=self.path,
                hint="a file that was there before is unchanged",
            ) from error
        if not is_done:
            raise ChangedError(f"{self.path}: was changed by somebody else meanwhile, and is left as it is")
        return None if found is None else _stamp(found)


def read_identity_files(certificate: str, key: str) -> Credential:
    """Return the agent's own credential.

    Raises:
        GridError: It cannot be used.
    """
    place = Place(certificate, key)
    if key:  # a certificate may be a link, as packages install it
        try:
            pem = read_public(certificate, max_bytes=MAX_CREDENTIAL_BYTES)
            return parse_credential(pem, key_pem=_read_key(key), source=certificate, key_source=key)
        except OSError as error:
            raise CredentialError(f"{certificate}: {error.strerror}", problem=_MISSING, path=certificate) from error
    return place.read().credential


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _refuse(path: str, why: str, hint: str | None = None) -> None:
    raise CredentialError(f"{path}: {why}", problem=CredentialProblem.UNSAFE_FILE, path=path, hint=hint)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[Folder, int, os.stat_result]]:
    """Open a file that may be renewed, and its directory, for the time of a `with` statement."""
    directory, name = os.path.split(path)
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(open_folder(directory))
            present = folder.look(name)
            if present is not None and stat.S_ISLNK(present.st_mode):
                _refuse(path, "is a symbolic link, which a renewal would replace", "name the file itself")
            descriptor = os.open(name, _FLAGS, dir_fd=folder.descriptor)
        except FileNotFoundError as error:
            raise CredentialError(f"{path}: {error.strerror}", problem=_MISSING, path=path) from error
        except OSError as error:
            raise CredentialError(
                f"{path}: {error.strerror or error}", problem=CredentialProblem.UNSAFE_FILE, path=path
            ) from error
        stack.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            _refuse(path, "is not a regular file")
        if found.st_nlink > 1:
            _refuse(path, "has another name, which would keep the old credential")
        if os.geteuid() not in {0, found.st_uid}:
            _refuse(path, f"belongs to uid {found.st_uid}, not to the agent's")
        yield folder, descriptor, found


def _read_key(path: str) -> bytes:
    with _opened(path) as (_, descriptor, found):
        _check_private(path, found)
        return _read(path, descriptor)


def _check_private(path: str, found: os.stat_result) -> None:
    if stat.S_IMODE(found.st_mode) & ~_PRIVATE:
        _refuse(path, f"has permissions {stat.S_IMODE(found.st_mode):03o}, and 600 is the most", f"chmod 600 {path}")


def _read(path: str, descriptor: int) -> bytes:
    chunks: list[bytes] = []
    left = MAX_CREDENTIAL_BYTES + 1
    try:
        while left > 0 and (chunk := os.read(descriptor, left)):
            chunks.append(chunk)
            left -= len(chunk)
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror}", problem=CredentialProblem.UNSAFE_FILE, path=path) from error
    if left <= 0:
        raise ParseError(f"{path}: longer than {MAX_CREDENTIAL_BYTES} bytes", what="credential file")
    return b"".join(chunks)
