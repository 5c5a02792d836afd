"""Credential caches: what is in them beside tickets, read and rewritten; not what the entries mean.

    with Context() as context, open_cache(context, None) as cache:
        entries = read_entries(context, cache)
        rewrite(context, cache, drop=lambda server: server.components[0] == "kx509", add=[entry])

Programs keep other secrets in a cache as tickets that no KDC has made, and settings as tickets for principals of the
realm `X-CACHECONF:`. In a cache that is a file libkrb5 only marks entries as removed, which leaves their bytes there;
so a file is written anew beside the old one and takes its place, for the same owner and with the same mode.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import CredentialError, CredentialProblem, GridError
from gsi.kerberos.libkrb5 import (
    CACHE_MISSING,
    CACHE_NOT_FOUND,
    Context,
    Credentials,
    KerberosError,
    PrincipalData,
    check,
    make_data,
    make_principal_data,
    moment,
    read_data,
    read_principal,
)
from gsi.kerberos.ticket import Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

__all__ = [
    "CONFIG_REALM",
    "Entry",
    "cache_name",
    "cache_owner",
    "check_rewritable",
    "config_name",
    "open_cache",
    "read_entries",
    "rewrite",
]

CONFIG_REALM: Final = "X-CACHECONF:"
_CONFIG_NAME: Final = "krb5_ccache_conf_data"
MAX_ENTRIES: Final = 4096
"""A cache of tickets for so many services is none."""


class Entry(NamedTuple):
    """One entry that is no ticket."""

    server: Principal
    ticket: bytes
    second_ticket: bytes = b""
    start_time: datetime | None = None
    end_time: datetime | None = None

    def __repr__(self) -> str:
        """Without the bytes, which may be a key."""
        return f"<Entry {self.server.text}>"


def config_name(setting: str) -> Principal:
    """Return the principal under which a setting is kept."""
    return Principal((_CONFIG_NAME, setting), CONFIG_REALM)


@contextlib.contextmanager
def open_cache(context: Context, name: str | None) -> Iterator[ctypes.c_void_p]:
    """Open a cache: a file, or a name with the kind in front; None is the default one (KRB5CCNAME).

    Raises:
        KerberosError: There is no such kind of cache.
    """
    cache = ctypes.c_void_p()
    if name is None:
        check(context, context.library.krb5_cc_default(context.handle, ctypes.byref(cache)), "credential cache")
    else:
        code = context.library.krb5_cc_resolve(context.handle, os.fsencode(name), ctypes.byref(cache))
        check(context, code, f"credential cache {name}")
    try:
        yield cache
    finally:
        context.library.krb5_cc_close(context.handle, cache)


def cache_name(context: Context, cache: ctypes.c_void_p) -> str:
    """Return the cache's full name, kind and place."""
    text = ctypes.c_void_p()
    check(context, context.library.krb5_cc_get_full_name(context.handle, cache, ctypes.byref(text)))
    try:
        return os.fsdecode(ctypes.string_at(text.value or 0))
    finally:
        context.library.krb5_free_string(context.handle, text)


def cache_owner(context: Context, cache: ctypes.c_void_p) -> Principal:
    """Return whose tickets these are.

    Raises:
        CredentialError: MISSING: there is no cache.
        KerberosError: It cannot be read.
    """
    with _owner(context, cache) as owner:
        return read_principal(owner)


def read_entries(context: Context, cache: ctypes.c_void_p) -> list[Entry]:
    """Return all entries, tickets included; those whose names cannot be read are left out.

    Raises:
        CredentialError: MISSING: there is no cache.
        KerberosError: It cannot be read.
    """
    found: list[Entry] = []
    for one in _iterate(context, cache):
        with contextlib.suppress(GridError):
            times = one.times
            found.append(
                Entry(
                    read_principal(one.server),
                    read_data(one.ticket),
                    read_data(one.second_ticket),
                    moment(times.starttime or times.authtime),
                    moment(times.endtime),
                )
            )
    return found


def check_rewritable(context: Context, cache: ctypes.c_void_p) -> None:
    """Find out whether `rewrite` could do its work, without changing anything; of caches that are no files, nothing.

    Raises:
        CredentialError: MISSING: there is no cache. UNWRITABLE: its file cannot be replaced.
        KerberosError: The library cannot read it.
    """
    with _owner(context, cache):
        path = _file_of(cache_name(context, cache))
    if path is None:
        return
    directory = os.path.dirname(path)
    try:
        found, place = os.stat(path), os.stat(directory)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    user = os.geteuid()
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise _unwritable(path, f"nothing can be written in {directory}")
    if user and user != found.st_uid:
        raise _unwritable(path, f"it is the file of the user {found.st_uid}, and would become another's")
    if user and place.st_mode & stat.S_ISVTX and user not in {found.st_uid, place.st_uid}:
        raise _unwritable(path, f"{directory} lets only owners replace files")


def _unwritable(path: str, why: str) -> CredentialError:
    return CredentialError(
        f"credential cache {path}: it cannot be replaced: {why}",
        problem=CredentialProblem.UNWRITABLE,
        path=path,
        hint="KRB5CCNAME or -cache names another cache",
    )


def rewrite(
    context: Context, cache: ctypes.c_void_p, *, drop: Callable[[Principal], bool], add: Sequence[Entry] = ()
) -> int:
    """Take entries out of a cache and put others in; return how many were taken out.

    A file is replaced in one step: the old one stays if anything goes wrong.

    Raises:
        CredentialError: MISSING: there is no cache. UNWRITABLE: its file cannot be replaced.
        KerberosError: The library cannot read or write it.
    """
    path = _file_of(cache_name(context, cache))
    with _owner(context, cache) as owner:
        if path is None:
            dropped = _remove(context, cache, drop)
            for entry in add:
                _store(context, cache, owner, entry)
            return dropped
        return _replace_file(context, cache, owner, path=path, drop=drop, add=add)


def _file_of(name: str) -> str | None:
    """Return the file of a cache that is one: FILE:path, and a member of a directory, DIR::path."""
    for kind in ("FILE:", "DIR::"):
        if name.startswith(kind):
            return os.path.realpath(name.removeprefix(kind))
    return None


def _replace_file(
    context: Context,
    cache: ctypes.c_void_p,
    owner: ctypes._Pointer[PrincipalData],
    *,
    path: str,
    drop: Callable[[Principal], bool],
    add: Sequence[Entry],
) -> int:
    library = context.library
    fresh = f"{path}.{os.urandom(8).hex()}"
    dropped = 0
    try:
        with open_cache(context, f"FILE:{fresh}") as target:
            check(context, library.krb5_cc_initialize(context.handle, target, owner), f"credential cache {fresh}")
            for one in _iterate(context, cache):
                if _matches(one, drop):
                    dropped += 1
                else:
                    check(context, library.krb5_cc_store_cred(context.handle, target, ctypes.byref(one)))
            for entry in add:
                _store(context, target, owner, entry)
        _take_after(path, fresh)
        os.replace(fresh, path)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
    return dropped


def _take_after(path: str, fresh: str) -> None:
    """Give a new file the owner and the mode of the one whose place it takes.

    Raises:
        OSError: That is not possible; or the new file is not the one that was made here.
    """
    model = os.stat(path)
    descriptor = os.open(fresh, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        made = os.fstat(descriptor)
        # Root may do this in a user's directory, who must not get another file into his hands by a link of this name.
        if not stat.S_ISREG(made.st_mode) or made.st_uid != os.geteuid() or made.st_nlink != 1:
            raise PermissionError(0, "somebody has replaced the new file")
        mode = stat.S_IMODE(model.st_mode) & 0o777
        if made.st_uid != model.st_uid:
            os.fchown(descriptor, model.st_uid, -1)
        if made.st_gid != model.st_gid:
            try:
                os.fchown(descriptor, -1, model.st_gid)
            except PermissionError:
                mode &= ~0o070  # of another group than was meant
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _remove(context: Context, cache: ctypes.c_void_p, drop: Callable[[Principal], bool]) -> int:
    """Remove entries of a cache that is no file, where the library's own way leaves nothing behind."""
    dropped = 0
    for one in list(_iterate(context, cache, keep=True)):
        try:
            if _matches(one, drop):
                check(context, context.library.krb5_cc_remove_cred(context.handle, cache, 0, ctypes.byref(one)))
                dropped += 1
        finally:
            context.library.krb5_free_cred_contents(context.handle, ctypes.byref(one))
    return dropped


def _matches(one: Credentials, drop: Callable[[Principal], bool]) -> bool:
    try:
        return drop(read_principal(one.server))
    except GridError:
        return False  # not ours


def _iterate(context: Context, cache: ctypes.c_void_p, *, keep: bool = False) -> Iterator[Credentials]:
    """Give the entries one by one; unless they are kept, each is gone when the next one is asked for."""
    library, cursor = context.library, ctypes.c_void_p()
    code = library.krb5_cc_start_seq_get(context.handle, cache, ctypes.byref(cursor))
    if code == CACHE_MISSING:
        raise _missing(context, code)
    check(context, code, "credential cache")
    try:
        for _ in range(MAX_ENTRIES):
            one = Credentials()
            if library.krb5_cc_next_cred(context.handle, cache, ctypes.byref(cursor), ctypes.byref(one)):
                return
            try:
                yield one
            finally:
                if not keep:
                    library.krb5_free_cred_contents(context.handle, ctypes.byref(one))
        raise KerberosError(f"a credential cache of more than {MAX_ENTRIES} entries", code=CACHE_NOT_FOUND)
    finally:
        library.krb5_cc_end_seq_get(context.handle, cache, ctypes.byref(cursor))


@contextlib.contextmanager
def _owner(context: Context, cache: ctypes.c_void_p) -> Iterator[ctypes._Pointer[PrincipalData]]:
    owner = ctypes.POINTER(PrincipalData)()
    code = context.library.krb5_cc_get_principal(context.handle, cache, ctypes.byref(owner))
    if code in {CACHE_MISSING, CACHE_NOT_FOUND}:
        raise _missing(context, code)
    check(context, code, "credential cache")
    try:
        yield owner
    finally:
        context.library.krb5_free_principal(context.handle, owner)


def _missing(context: Context, code: int) -> CredentialError:
    return CredentialError(
        f"no credential cache: {context.describe(code)}", problem=CredentialProblem.MISSING, hint="run kinit"
    )


def _store(context: Context, cache: ctypes.c_void_p, owner: ctypes._Pointer[PrincipalData], entry: Entry) -> None:
    server, kept_server = make_principal_data(entry.server)
    ticket, kept_ticket = make_data(entry.ticket)
    second, kept_second = make_data(entry.second_ticket)
    made = Credentials(client=owner, server=ctypes.pointer(server), ticket=ticket, second_ticket=second)
    if entry.start_time is not None:
        made.times.authtime = made.times.starttime = int(entry.start_time.timestamp())
    if entry.end_time is not None:
        made.times.endtime = int(entry.end_time.timestamp())
    check(context, context.library.krb5_cc_store_cred(context.handle, cache, ctypes.byref(made)), "credential cache")
    del kept_server, kept_ticket, kept_second
