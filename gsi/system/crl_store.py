"""The `.rN` files of a trust directory: which list goes where, put there in one step; judges no list.

    store = CRLStore(directory, now=now)
    store.installed(job)                       # the CA's lists that are there
    store.install(job, update)                 # "a37d6494.r0"

A list replaces the file that holds the older list of the same key; else it takes the first number that is free, or
whose file is of no use. Two CAs may share a hash, and a CA may have two keys, so the numbers are not the jobs'. Lists
of other keys in the file that is replaced stay in it. A file that cannot be read is never replaced, because it may hold
a newer list (`check`).

Our validator goes by every file under a CA's hash, so an older or expired list refuses the CA's certificates whatever
the others hold. Hence all of the same key are replaced, not only the first; they become copies. A file that makes no
sense refuses them, too, and rightly: nobody knows which key's list it was and whom that revoked. It is replaced only
when every key that it can be of has got its current list in this run; otherwise it is a hindrance, and somebody has to
look at it (`find_hindrance`).

Where the directory knows the CA under the old hash, too, the list is to be found under that as well: by a link, or by a
copy where there is a file. Our validator reads both names, and so both count for what is installed. Only links from
an old name to a new one do not, since they hold nothing of their own.

Other programs may change the directory at any time: `refresh` shortly before `install` takes their changes up.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names
from gsi.errors import CredentialError, CredentialProblem, GridError, ParseError, StorageError
from gsi.pem import encode_pem
from gsi.system.files import read_public, write_public
from gsi.trust.crl import CRL, MAX_CRL_BYTES, parse_crl_file
from gsi.trust.crl_update import is_signed_by, salvage_crls
from gsi.trust.hashes import hash_names
from gsi.trust.profile import CRL_SIGN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
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
        now: The time.
    """

    def __init__(self, directory: str, *, now: datetime) -> None:
        self.directory = directory
        self._now = now
        self._current: dict[tuple[str, bytes], bytes] = {}  # what has come in this run, by CA and key: its signed part
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
        return tuple(crl for file in self.installed(job) for crl in file.crls if _is_of(crl, job))

    def find_hindrance(self, job: Job) -> str:
        """Return what refuses all certificates of a CA, whatever lists are installed; empty when nothing does."""
        for file in self.installed(job):
            if file.fault:
                return f"{file.path}: cannot be read: {file.fault}"
            if _is_foreign(file, job):
                return (
                    f"{file.path}: a list that none of the CA's known keys has signed, which refuses all certificates "
                    "of the CA. Install the CA's other certificate, or remove the file if it is of no use"
                )
            if file.is_damaged and not self._is_settled(job, self._current):
                return (
                    f"{file.path}: damaged, which refuses all certificates of the CA; it stays, because it may be of a "
                    "key or CA whose current list has not come. Remove it when that is settled"
                )
        return ""

    def find_keys(self, job: Job) -> frozenset[bytes]:
        """Return the keys of a CA that certificates are judged by now, as SubjectPublicKeyInfo; all if none is fit."""
        fit = [one for one in job.authorities if one.certificate.not_after >= self._now]
        keys = _strong_keys(job).intersection(one.certificate.spki_der for one in fit)
        return keys or frozenset(one.certificate.spki_der for one in job.authorities)

    def count_confirmed(self, job: Job, since: float, *, accept_weak: bool) -> int:
        """Return for how many keys of a CA certificates can be judged, by lists last written or confirmed since then.

        Args:
            job: A list of the CA.
            since: A time in seconds since 1970.
            accept_weak: Whether lists signed with MD5 or SHA-1 count.

        Returns:
            0 when a file under either hash refuses all certificates of the CA, whatever the others hold. Else the
            number of keys all of whose lists are in force, under both hashes, with one under the present hash that is
            recent enough.
        """
        new = self._under_new(job)
        files = (*new, *self._under_old(job))
        if any(file.fault or _is_unknown(file, job) or _has_strangers(file, job) for file in files):
            return 0
        found = 0
        for key in self.find_keys(job):
            mine = [one for one in job.authorities if one.certificate.spki_der == key]
            lists = [(file, crl) for file in files for crl in file.crls if is_signed_by(crl, mine[0])]
            found += (
                any(file in new and file.modified >= since for file, _ in lists)
                and all(crl.this_update <= self._now <= crl.next_update for _, crl in lists)
                and all(is_signed_by(crl, mine[0], accept_weak=accept_weak) for _, crl in lists)
                and any(one.profile.may(CRL_SIGN) for one in mine)
            )
        return found

    def holds(self, job: Job, update: CRLUpdate) -> bool:
        """Tell whether a list is in all its places, in files that programs can go by."""
        name = self._find_place(job, update)
        if name not in self._names or self._find_copies(job, update, name):
            return False
        file = self._load(name)
        return _has(file, update) and not self._is_stale(file, job, update)

    def install(self, job: Job, update: CRLUpdate) -> str:
        """Put a list in its places and return the file's name; one that is there already is only marked as confirmed.

        Raises:
            StorageError: Some place cannot be written; all the others are, and no file holds an older list than before.
                Calling again completes it.
        """
        name = self._find_place(job, update)
        copies = self._find_copies(job, update, name)
        kept = {copy: self._others(job, copy, update) for copy in copies}
        content = (update.crl, *self._others(job, name, update))
        links = [
            copy
            for copy in copies
            if not kept[copy] and not self._is_file(copy) and all(_belongs(crl, copy) for crl in content)
        ]
        failures: list[str] = []
        with _noting(name, failures):
            if update.is_unchanged:
                with contextlib.suppress(PermissionError):
                    os.utime(os.path.join(self.directory, name))
                self._files.pop(name, None)
            else:
                self._write(name, content)
            self.note(job, update)
        is_written = not failures
        for copy in copies:
            if copy not in links:
                with _noting(copy, failures):
                    self._write(copy, (update.crl, *kept[copy]))
        # Links come last, and only to the new list: without it they would lead nowhere, or to an older one.
        for copy in links if is_written else ():
            with _noting(copy, failures):
                self._link(copy, name)
        if failures:
            raise StorageError("; ".join(failures))
        return name

    def note(self, job: Job, update: CRLUpdate) -> None:
        """Note that the current list of a key has come, as `install` does: for a run that writes nothing."""
        self._current[job.subject, update.signer.certificate.spki_der] = update.crl.tbs_der

    def _is_file(self, name: str) -> bool:
        path = os.path.join(self.directory, name)
        return os.path.isfile(path) and not os.path.islink(path)

    def _write(self, name: str, crls: tuple[CRL, ...]) -> None:
        path = os.path.join(self.directory, name)
        write_public(path, b"".join(encode_pem("X509 CRL", crl.der) for crl in crls), _MODE)
        self._names.add(name)
        modified = os.stat(path).st_mtime
        self._files[name] = Installed(name, crls, modified, is_damaged=False, state=_state(path))

    def _others(self, job: Job, name: str, update: CRLUpdate) -> tuple[CRL, ...]:
        """Return the lists in a file that are to stay beside the new one: of other keys, and of CAs with this hash."""
        if name not in self._names:
            return ()
        return tuple(
            crl
            for crl in self._load(name).crls
            if _belongs(crl, name)
            and not is_signed_by(crl, update.signer)  # also where a renewed certificate has the same key
            and not self._is_outdated(crl, job)
        )

    def _is_outdated(self, crl: CRL, job: Job) -> bool:
        """Tell whether another list of the same key has come in this run."""
        return any(
            crl.tbs_der != current and is_signed_by(crl, one)
            for one in job.authorities
            if (current := self._current.get((job.subject, one.certificate.spki_der))) is not None
        )

    def _find_place(self, job: Job, update: CRLUpdate) -> str:
        """Return the name under the CA's hash: that with the newest list of the same key, else the first of no use."""
        files = [file for file in self._under_new(job) if self._may_be_replaced(file, job, update)]
        mine = [(crl.this_update, file.path) for file in files for crl in file.crls if is_signed_by(crl, update.signer)]
        if mine:
            return max(mine, key=lambda one: one[0])[1]
        taken = set(self._listed(job.hash)) - {file.path for file in files if not self._others(job, file.path, update)}
        if not self._is_settled(job, self._with(job, update)):
            taken |= self._find_missing()
        return next(name for number in itertools.count() if (name := f"{job.hash}.r{number}") not in taken)

    def _find_missing(self) -> set[str]:
        """Return the names that links lead to where nothing is: a list put there would come under those names, too."""
        found: set[str] = set()
        for name in self._names:
            path = os.path.join(self.directory, name)
            if _NAME.fullmatch(name) and os.path.islink(path) and not os.path.exists(path):
                found.add(os.path.basename(os.path.realpath(path)))
        return found

    def _find_copies(self, job: Job, update: CRLUpdate, name: str) -> tuple[str, ...]:
        """Return the names besides `name` that are to be written when the list is in that file.

        Under either hash those are all that refuse the CA's certificates, or do so when they run out: files with
        another list of the same key, of strangers, or without sense. `judge_again` has seen to it that none of these
        lists is newer. Where the list would not be found under the old hash at all otherwise, one more.
        """
        new = [file.path for file in self._under_new(job) if file.path != name and self._is_stale(file, job, update)]
        is_known = any(entry.startswith(job.old_hash) for entry in self._names)
        if job.old_hash == job.hash or not is_known or not _belongs(update.crl, f"{job.old_hash}.r0"):
            return tuple(new)
        files = self._under_old(job)
        old = [file.path for file in files if self._is_stale(file, job, update)]
        listed = self._listed(job.old_hash)
        targets = [target for entry in listed if (target := self._find_target(job, entry)) is not None]
        if not (
            old
            or any(_has(file, update) for file in files)
            or any(target == name or target in new or _has(self._load(target), update) for target in targets)
        ):
            numbers = (_number(name), *range(len(listed) + 1))
            old = [next(one for number in numbers if (one := f"{job.old_hash}.r{number}") not in listed)]
        return (*new, *old)

    def _is_stale(self, file: Installed, job: Job, update: CRLUpdate) -> bool:
        return self._may_be_replaced(file, job, update) and (
            any(crl.tbs_der != update.crl.tbs_der and is_signed_by(crl, update.signer) for crl in file.crls)
            or file.is_damaged
            or _has_strangers(file, job)
        )

    def _may_be_replaced(self, file: Installed, job: Job, update: CRLUpdate) -> bool:
        """Tell whether it is known whose lists the file holds, or every list that it can be of has come."""
        if _is_foreign(file, job):
            return False
        return not file.is_damaged or self._is_settled(job, self._with(job, update))

    def _with(self, job: Job, update: CRLUpdate) -> Collection[tuple[str, bytes]]:
        return {*self._current, (job.subject, update.signer.certificate.spki_der)}

    def _is_settled(self, job: Job, current: Collection[tuple[str, bytes]]) -> bool:
        """Tell whether every list has come that a file under a CA's hashes can be: of all its keys, and no other CA.

        Keys whose certificate here has run out count, since others may present a newer one; those that are too weak for
        the validator do not.
        """
        return job.is_alone and all((job.subject, key) in current for key in _strong_keys(job))

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
                for crl in crls:
                    _ = crl.serials  # refuses malformed entries, as the validator does
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


@contextlib.contextmanager
def _noting(name: str, failures: list[str]) -> Iterator[None]:
    """Go on after a file that cannot be written, and take note of it."""
    try:
        yield
    except (CredentialError, StorageError) as error:
        failures.append(error.message)
    except OSError as error:
        failures.append(f"{name}: {error.strerror}")


def _strong_keys(job: Job) -> frozenset[bytes]:
    """Return the keys of a CA that certificates can be judged with, as SubjectPublicKeyInfo."""
    found: set[bytes] = set()
    for one in job.authorities:
        with contextlib.suppress(GridError):
            one.load_key(None)
            found.add(one.certificate.spki_der)
    return frozenset(found)


def _is_unknown(file: Installed, job: Job) -> bool:
    """Tell whether a file refuses all certificates of a CA, whatever the others hold."""
    return file.is_damaged or _is_foreign(file, job)


def _is_foreign(file: Installed, job: Job) -> bool:
    """Tell whether a whole list in the CA's name is there that none of its keys has signed: perhaps one to come."""
    return any(_is_of(crl, job) and not any(is_signed_by(crl, one) for one in job.authorities) for crl in file.crls)


def _has_strangers(file: Installed, job: Job) -> bool:
    """Tell whether a file holds a list of a CA that has another hash: no program goes by it."""
    return any(not _is_of(crl, job) and not _belongs(crl, file.path) for crl in file.crls)


def _belongs(crl: CRL, name: str) -> bool:
    """Tell whether a list is looked for under a file's name."""
    return name.partition(".")[0] in hash_names(crl.issuer_der)


def _is_of(crl: CRL, job: Job) -> bool:
    """Tell whether a list is in a CA's name."""
    return names.same_name(crl.issuer_der, job.authorities[0].certificate.subject_der)


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
