"""The `.rN` files of a trust directory: which list goes where, put there in one step; judges no list.

    store = CRLStore(directory)
    store.installed(job)                       # the CA's lists that are there
    store.install(job, update)                 # "a37d6494.r0"

A list replaces the file that holds the older list of the same key; else it takes the first number that is free, or
whose file is of no use. Two CAs may share a hash, and a CA may have two keys, so the numbers are not the jobs'. Lists
of other keys in the file that is replaced stay in it. A file that makes no sense is replaced; one that cannot be read
is not, because it may hold a newer list (`check`).

Our validator goes by every file under a CA's hash, so one older or damaged list refuses the CA's certificates whatever
the others hold. Hence all that are out of date are replaced, not only the first; they become copies.

Where the directory knows the CA under the old hash, too, the list is to be found under that as well: by a link, or by a
copy where there is a file. Our validator reads both names, and so both count for what is installed. Only links from
an old name to a new one do not, since they hold nothing of their own.

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
from gsi.trust.crl_update import find_signer, is_signed_by, salvage_crls

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        """Take up what other programs have changed under a CA's hashes; files that they left alone are not read again.

        Raises:
            StorageError: The directory cannot be read.
        """
        self._list()
        for name in [name for name in self._files if name.startswith((job.hash, job.old_hash))]:
            if self._files[name].state != _state(os.path.join(self.directory, name)):
                del self._files[name]

    def installed(self, job: Job) -> tuple[Installed, ...]:
        """Return the files under a CA's hash, in the order of their numbers, then those under its old hash."""
        return (*self._under_new(job), *self._under_old(job))

    def _under_new(self, job: Job) -> tuple[Installed, ...]:
        return tuple(self._load(name) for name in self._listed(job.hash))

    def _under_old(self, job: Job) -> tuple[Installed, ...]:
        """Return the files under a CA's old hash that are not just links to those under the new one."""
        if job.old_hash == job.hash:
            return ()
        return tuple(self._load(name) for name in self._listed(job.old_hash) if self._find_target(job, name) is None)

    def _listed(self, stem: str) -> list[str]:
        return sorted((name for name in self._names if name.startswith(stem) and _NAME.fullmatch(name)), key=_number)

    def _find_target(self, job: Job, name: str) -> str | None:
        """Return which file under the CA's hash a link names, by whatever path; None for anything else.

        A hard link is something else: it keeps the old list when the file is replaced.
        """
        try:
            place, target = os.path.split(os.readlink(os.path.join(self.directory, name)))
            is_here = os.path.samefile(os.path.join(self.directory, place), self.directory)
        except OSError:
            return None
        is_new = target in self._names and target.startswith(job.hash) and _NAME.fullmatch(target) is not None
        return target if is_here and is_new else None

    def check(self, job: Job) -> None:
        """See that every file under a CA's hashes can be read: one that cannot may hold a newer list than what comes.

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
        subject = job.authorities[0].certificate.subject_der
        return tuple(crl for file in self.installed(job) for crl in _of_name(file, subject))

    def last_confirmed(self, job: Job, now: datetime) -> float | None:
        """Return when a list of this CA that still holds was last written or confirmed.

        Returns:
            None when there is none under the present hash. None, too, when some file under either hash refuses all
            certificates of the CA, whatever the others hold: one that cannot be read or makes no sense, one that is
            not in force beside one of the same key that is, or under the old hash any that is not in force.
        """
        if any(file.fault or file.is_damaged for file in self.installed(job)):
            return None
        subject = job.authorities[0].certificate.subject_der
        of_old = [crl for file in self._under_old(job) for crl in _of_name(file, subject)]
        if not all(_is_in_force(crl, now) for crl in of_old):
            return None
        of_new = [(file.modified, crl) for file in self._under_new(job) for crl in _of_name(file, subject)]
        holding = [(modified, crl) for modified, crl in of_new if _is_in_force(crl, now)]
        signers = [one for one in job.authorities if any(is_signed_by(crl, one) for _, crl in holding)]
        if any(not _is_in_force(crl, now) and is_signed_by(crl, one) for _, crl in of_new for one in signers):
            return None
        return max((modified for modified, _ in holding), default=None)

    def holds(self, job: Job, update: CRLUpdate) -> bool:
        """Tell whether a list is in all its places, in files that programs can go by."""
        name = self._find_place(job, update)
        return name in self._names and _has(self._load(name), update) and not self._find_copies(job, update, name)

    def install(self, job: Job, update: CRLUpdate) -> str:
        """Put a list in its places and return the file's name; one that is there already is only marked as confirmed.

        Raises:
            StorageError: It cannot be written; no file holds an older list than before. Calling again completes it.
        """
        name = self._find_place(job, update)
        copies = self._find_copies(job, update, name)
        kept = {copy: self._others(job, copy, update) for copy in copies}
        links = [copy for copy in copies if not kept[copy] and not self._is_file(copy)]
        try:
            # Links come last: before the file there is one, they would lead nowhere and refuse the CA's certificates.
            for copy in copies:
                if copy not in links:
                    self._write(copy, (update.crl, *kept[copy]))
            if update.is_unchanged:
                with contextlib.suppress(PermissionError):
                    os.utime(os.path.join(self.directory, name))
                self._files.pop(name, None)
            else:
                self._write(name, (update.crl, *self._others(job, name, update)))
            for copy in links:
                self._link(copy, name)
        except CredentialError as error:
            raise StorageError(error.message, hint=error.hint) from error
        except OSError as error:
            raise StorageError(f"{name}: {error.strerror}") from error
        return name

    def _is_file(self, name: str) -> bool:
        path = os.path.join(self.directory, name)
        return os.path.isfile(path) and not os.path.islink(path)

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
            if is_signed_by(crl, update.signer):
                continue  # also where a renewed certificate has the same key
            if names.same_name(crl.issuer_der, update.crl.issuer_der):
                try:
                    find_signer(crl, others, accept_weak=True)
                except GridError:
                    continue
            found.append(crl)
        return tuple(found)

    def _find_place(self, job: Job, update: CRLUpdate) -> str:
        """Return the name under the CA's hash: that with the newest list of the same key, else the first of no use."""
        files = {_number(file.path): file for file in self._under_new(job)}
        mine = [
            (crl.this_update, file.path)
            for file in files.values()
            for crl in file.crls
            if is_signed_by(crl, update.signer)
        ]
        if mine:
            return max(mine, key=lambda one: one[0])[1]
        number = 0
        while number in files and not self._may_be_replaced(files[number], job):
            number += 1
        return f"{job.hash}.r{number}"

    def _find_copies(self, job: Job, update: CRLUpdate, name: str) -> tuple[str, ...]:
        """Return the names besides `name` that are to be written when the list is in that file.

        Under either hash those are all that refuse the CA's certificates, or do so when they run out: files with
        another list of the same key, damaged ones, and ones of no use. `judge_again` has seen to it that none of these
        lists is newer. Where the list would not be found under the old hash at all otherwise, one more.
        """
        new = [file.path for file in self._under_new(job) if file.path != name and self._is_stale(file, job, update)]
        if job.old_hash == job.hash or not any(entry.startswith(job.old_hash) for entry in self._names):
            return tuple(new)
        files = self._under_old(job)
        old = [file.path for file in files if self._is_stale(file, job, update)]
        listed = self._listed(job.old_hash)
        if not (
            old
            or any(_has(file, update) for file in files)
            or any(self._find_target(job, entry) == name for entry in listed)
        ):
            numbers = (_number(name), *range(len(listed) + 1))
            old = [next(one for number in numbers if (one := f"{job.old_hash}.r{number}") not in listed)]
        return (*new, *old)

    def _is_stale(self, file: Installed, job: Job, update: CRLUpdate) -> bool:
        return (
            file.is_damaged
            or any(crl.tbs_der != update.crl.tbs_der and is_signed_by(crl, update.signer) for crl in file.crls)
            or self._may_be_replaced(file, job)
        )

    def _may_be_replaced(self, file: Installed, job: Job) -> bool:
        """Tell whether a file holds nothing that any of the CA's keys, or any other CA, has signed."""
        for crl in file.crls:
            if not names.same_name(crl.issuer_der, job.authorities[0].certificate.subject_der):
                return False  # another CA with the same hash
            with contextlib.suppress(GridError):
                find_signer(crl, job.authorities, accept_weak=True)
                return False
        return True

    def _link(self, old_name: str, name: str) -> None:
        """Have a list under the old hash, too."""
        temporary = os.path.join(self.directory, f".{old_name}.{os.urandom(8).hex()}")
        try:
            os.symlink(name, temporary)
            try:
                os.rename(temporary, os.path.join(self.directory, old_name))
            except OSError:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise StorageError(f"{old_name}: {error.strerror}") from error
        self._names.add(old_name)
        self._files.pop(old_name, None)

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


def _of_name(file: Installed, subject_der: bytes) -> Iterator[CRL]:
    """Yield the lists in a file that are of a CA."""
    return (crl for crl in file.crls if names.same_name(crl.issuer_der, subject_der))


def _is_in_force(crl: CRL, now: datetime) -> bool:
    return crl.this_update <= now <= crl.next_update


def _has(file: Installed, update: CRLUpdate) -> bool:
    """Tell whether a list is in a file that programs can go by."""
    return not file.is_damaged and any(crl.tbs_der == update.crl.tbs_der for crl in file.crls)


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
