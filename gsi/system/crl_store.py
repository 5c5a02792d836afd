"""The `.rN` files of a trust directory: which list goes where, put there in one step; judges no list.

    store = CRLStore(directory)
    store.installed(job)                       # the CA's lists that are there
    store.install(job, update)                 # "a37d6494.r0"

A list replaces the file that holds the older list of the same key; else it takes the first number that is free, or
whose file is of no use. Two CAs may share a hash, and a CA may have two keys, so the numbers are not the jobs'. Where
the directory knows the CA under the old hash, too, the list is to be found under that as well.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names
from gsi.errors import CredentialError, GridError, StorageError
from gsi.system.files import read_public, write_public
from gsi.trust.crl import CRL, MAX_CRL_BYTES, parse_crl_file
from gsi.trust.crl_update import find_signer

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
    """None when the file is of no use."""
    modified: float
    """When it was last written or confirmed, in seconds since 1970."""


class CRLStore:
    """The files of one directory. Read once; then it knows what it has written.

    Args:
        directory: Where the lists are.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._names: set[str] = set()
        self._files: dict[str, Installed] = {}
        try:
            self._names = set(os.listdir(directory))
        except OSError as error:
            raise StorageError(f"{directory}: {error.strerror}") from error

    def installed(self, job: Job) -> tuple[Installed, ...]:
        """Return the files under a CA's hash, in the order of their numbers."""
        found = [name for name in self._names if name.startswith(job.hash) and _NAME.fullmatch(name)]
        return tuple(self._load(name) for name in sorted(found, key=_number))

    def crls(self, job: Job) -> tuple[CRL, ...]:
        """Return the lists of a CA's name that are there."""
        return tuple(
            crl
            for file in self.installed(job)
            for crl in file.crls
            if names.same_name(crl.issuer_der, job.authorities[0].certificate.subject_der)
        )

    def last_confirmed(self, job: Job, now: datetime) -> float | None:
        """Return when a list of this CA that still holds was last written or confirmed; None when there is none."""
        times = [
            file.modified
            for file in self.installed(job)
            for crl in file.crls
            if crl.next_update >= now and names.same_name(crl.issuer_der, job.authorities[0].certificate.subject_der)
        ]
        return max(times, default=None)

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
            else:
                write_public(os.path.join(self.directory, name), update.pem(), _MODE)
            self._names.add(name)
            self._files[name] = Installed(name, (update.crl,), 0.0)
            if job.old_hash != job.hash and any(entry.startswith(job.old_hash) for entry in self._names):
                self._keep_old_name(job.old_hash + name[len(job.hash) :], name, update)
        except CredentialError as error:
            raise StorageError(error.message, hint=error.hint) from error
        except OSError as error:
            raise StorageError(f"{name}: {error.strerror}") from error
        return name

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

    def _keep_old_name(self, old_name: str, name: str, update: CRLUpdate) -> None:
        """Have the list under the old hash, too: a link, or a copy where there is one."""
        path = os.path.join(self.directory, old_name)
        if os.path.isfile(path) and not os.path.islink(path):
            if not update.is_unchanged:
                write_public(path, update.pem(), _MODE)
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
            try:
                crls = parse_crl_file(read_public(path, max_bytes=MAX_CRL_BYTES))
            except GridError:
                crls = ()
            try:
                modified = os.stat(path).st_mtime
            except OSError:
                modified = 0.0
            found = self._files[name] = Installed(name, crls, modified)
        return found


def _number(name: str) -> int:
    found = _NAME.fullmatch(name)
    assert found is not None  # only such names are asked about
    return int(found["number"])
