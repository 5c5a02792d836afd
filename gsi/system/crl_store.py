"""The `.rN` files of a trust directory: which list goes where, put there in one step; judges no list.

    store = CRLStore(directory)
    store.installed(job)                       # the CA's lists that are there
    store.install(job, update)                 # "a37d6494.r0"

A list replaces the file that holds the older list of the same key; else it takes the first number that is free, or
whose file is of no use. Two CAs may share a hash, and a CA may have two keys, so the numbers are not the jobs'. Where
the directory knows the CA under the old hash, too, the list is to be found under that as well. Lists of other
keys in the file that is replaced stay in it. A file that makes no sense is replaced; one that cannot be read is not,
because it may hold a newer list (`check`).

Other programs may change the directory at any time: `refresh` shortly before `install` takes their changes up.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names
from gsi.errors import CredentialError, CredentialProblem, GridError, ParseError, StorageError
from gsi.pem import encode_pem
from gsi.system.files import read_public, write_public
from gsi.trust.crl import CRL, MAX_CRL_BYTES, parse_crl_file
from gsi.trust.crl_update import find_signer, salvage_crls

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.system.crl_plan import Job
    from gsi.trust.crl_update import CRLUpdate

__all__ = ["CRLStore", "Installed"]

_NAME: Final = re.compile(r"(?P<hash>[0-9a-f]{8})\.r(?P<number>[0-9]{1,4})")
_MODE: Final = 0o644


class Installed(NamedTuple):
    """One file with lists."""

    path: str
    """Its name within the directory."""
    crls: tuple[CRL, ...]
    """Those that are whole; empty when the file is of no use."""
    modified: float
    """When it was last written or confirmed, in seconds since 1970."""
    is_damaged: bool
    """Whether something in it makes no sense, so that no program can go by it."""
    state: tuple[int, ...]
    """What changes when the file does; empty when there is none."""
    fault: str = ""
    """Why it cannot be read, so that nobody knows what is in it; else empty."""


class CRLStore:
    """The files of one directory, as they were when it was made or last refreshed.

    Args:
        directory: Where the lists are.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._names: set[str] = set()
        self._files: dict[str, Installed] = {}
        self._list()

    def _list(self) -> None:
        try:
            self._names = set(os.listdir(self.directory))
        except OSError as error:
            raise StorageError(f"{self.directory}: {error.strerror}") from error

    def refresh(self, job: Job) -> None:
        """Take up what other programs have changed under a CA's hash; files that they left alone are not read again.

        Raises:
            StorageError: The directory cannot be read.
        """
        self._list()
        for name in [name for name in self._files if name.startswith(job.hash)]:
            if self._files[name].state != _state(os.path.join(self.directory, name)):
                del self._files[name]

    def installed(self, job: Job) -> tuple[Installed, ...]:
        """Return the files under a CA's hash, in the order of their numbers."""
        found = [name for name in self._names if name.startswith(job.hash) and _NAME.fullmatch(name)]
        return tuple(self._load(name) for name in sorted(found, key=_number))

    def check(self, job: Job) -> None:
        """See that every file under a CA's hash can be read: one that cannot may hold a newer list than any that comes.

        Raises:
            StorageError: One cannot.
        """
        for file in self.installed(job):
            if file.fault:
                raise StorageError(
                    f"{file.path}: cannot be read: {file.fault}; nothing is put in its place, because it may be newer. "
                    "Run this as the file's owner, or remove the file if it is of no use"
                )

    def crls(self, job: Job) -> tuple[CRL, ...]:
        """Return the lists of a CA's name that are there."""
        return tuple(
            crl
            for file in self.installed(job)
            for crl in file.crls
            if names.same_name(crl.issuer_der, job.authorities[0].certificate.subject_der)
        )

    def last_confirmed(self, job: Job, now: datetime) -> float | None:
        """Return when a list of this CA that still holds was last written or confirmed.

        Returns:
            None when there is none, or when there is a file that cannot be read.
        """
        if any(file.fault for file in self.installed(job)):
            return None
        times = [
            file.modified
            for file in self.installed(job)
            if not file.is_damaged
            for crl in file.crls
            if crl.next_update >= now and names.same_name(crl.issuer_der, job.authorities[0].certificate.subject_der)
        ]
        return max(times, default=None)

    def holds(self, job: Job, update: CRLUpdate) -> bool:
        """Tell whether the list that an update would replace is in a file that programs can go by."""
        return any(crl is update.replaces for file in self.installed(job) if not file.is_damaged for crl in file.crls)

    def install(self, job: Job, update: CRLUpdate) -> str:
        """Put a list in its place and return the file's name; one that is there already is only marked as confirmed.

        Raises:
            StorageError: It cannot be written; what was there is unchanged.
        """
        name = self._find_place(job, update)
        try:
            if update.is_unchanged:
                with contextlib.suppress(PermissionError):
                    os.utime(os.path.join(self.directory, name))
                self._files.pop(name, None)
            else:
                crls = (update.crl, *self._others(job, name, update))
                self._write(name, crls)
            if job.old_hash != job.hash and any(entry.startswith(job.old_hash) for entry in self._names):
                self._keep_old_name(job.old_hash + name[len(job.hash) :], name, is_unchanged=update.is_unchanged)
        except CredentialError as error:
            raise StorageError(error.message, hint=error.hint) from error
        except OSError as error:
            raise StorageError(f"{name}: {error.strerror}") from error
        return name

    def _write(self, name: str, crls: tuple[CRL, ...]) -> None:
        path = os.path.join(self.directory, name)
        write_public(path, b"".join(encode_pem("X509 CRL", crl.der) for crl in crls), _MODE)
        self._names.add(name)
        self._files[name] = Installed(name, crls, 0.0, is_damaged=False, state=_state(path))

    def _others(self, job: Job, name: str, update: CRLUpdate) -> tuple[CRL, ...]:
        """Return the lists in a file that are to stay beside the new one: other CAs', and of other keys of this CA."""
        if name not in self._names:
            return ()
        others = [one for one in job.authorities if one is not update.signer]
        found: list[CRL] = []
        for crl in self._load(name).crls:
            if names.same_name(crl.issuer_der, update.crl.issuer_der):
                try:
                    find_signer(crl, others, accept_weak=True)
                except GridError:
                    continue
            found.append(crl)
        return tuple(found)

    def _find_place(self, job: Job, update: CRLUpdate) -> str:
        files = {_number(file.path): file for file in self.installed(job)}
        for file in files.values():
            if update.replaces is not None and any(crl.der == update.replaces.der for crl in file.crls):
                return file.path
        number = 0
        while number in files and not self._may_be_replaced(files[number], job):
            number += 1
        return f"{job.hash}.r{number}"

    def _may_be_replaced(self, file: Installed, job: Job) -> bool:
        """Tell whether a file holds nothing that any of the CA's keys, or any other CA, has signed."""
        for crl in file.crls:
            if not names.same_name(crl.issuer_der, job.authorities[0].certificate.subject_der):
                return False  # another CA with the same hash
            with contextlib.suppress(GridError):
                find_signer(crl, job.authorities, accept_weak=True)
                return False
        return True

    def _keep_old_name(self, old_name: str, name: str, *, is_unchanged: bool) -> None:
        """Have the list under the old hash, too: a link, or a copy where there is one."""
        path = os.path.join(self.directory, old_name)
        if os.path.isfile(path) and not os.path.islink(path):
            if not is_unchanged:
                self._write(old_name, self._load(name).crls)
            return
        if os.path.islink(path) and os.readlink(path) == name:
            return
        temporary = os.path.join(self.directory, f".{old_name}.{os.urandom(8).hex()}")
        os.symlink(name, temporary)
        try:
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise

    def _load(self, name: str) -> Installed:
        found = self._files.get(name)
        if found is None:
            path = os.path.join(self.directory, name)
            state = _state(path)  # before reading: what changes meanwhile is read again
            data, fault = _read(path)
            is_damaged = False
            try:
                crls = parse_crl_file(data)
            except GridError:
                crls, is_damaged = salvage_crls(data), True
            try:
                modified = os.stat(path).st_mtime
            except OSError:
                modified = 0.0
            found = self._files[name] = Installed(name, crls, modified, is_damaged=is_damaged, state=state, fault=fault)
        return found


def _read(path: str) -> tuple[bytes, str]:
    """Return what is in a file, nothing for one that is not there, or why it cannot be read."""
    try:
        return read_public(path, max_bytes=MAX_CRL_BYTES), ""
    except CredentialError as error:
        if error.problem is CredentialProblem.MISSING:
            return b"", ""
        return b"", error.message.removeprefix(path).lstrip(": ")
    except ParseError as error:
        return b"", error.message.removeprefix(path).lstrip(": ")


def _number(name: str) -> int:
    found = _NAME.fullmatch(name)
    assert found is not None  # only such names are asked about
    return int(found["number"])


def _state(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
