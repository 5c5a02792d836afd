"""Looks that several services have in common: directories, private files, databases, audit files, certificates.

    yield from look_at_directory("/var/lib/kca", "store of the authority")
    yield from look_at_database("/var/lib/kca/kca.db", conninfo, migrations)
    yield from look_at_audit("/var/lib/kca/audit.log")

Nothing is made, upgraded or written. Listening ports are in `gsi.doctor.ports`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from gsi.doctor.owner import account_of
from gsi.errors import GridError
from gsi.system.audit_chain import verify_file
from gsi.system.diagnose import CredentialPlace, Whose, diagnose_credential
from gsi.trust.diagnose import Finding, Severity, finding_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gsi.doctor.visit import Visit
    from gsi.sql.engine import Database

__all__ = [
    "look_at_audit",
    "look_at_credential",
    "look_at_database",
    "look_at_directory",
    "look_at_private_file",
    "settle",
]

LITTLE_SPACE: Final = 256 << 20
"""Bytes free below which a disk is about to be full: some days of audit of a busy server."""

NO_SPACE: Final = 16 << 20
"""Below this, SQLite's next checkpoint may already fail."""

MAX_VERIFIED_BYTES: Final = 64 << 20
"""An audit file larger than this takes longer than a look should."""

MAX_FAULTS: Final = 3
"""Faults of one audit file that are named here; the services' own commands name all."""


def settle(where: str, check: str, work: Callable[[], str]) -> Finding:
    """Return what a piece of work told, as a finding; what it raises is the finding then.

    Args:
        where: What it is about.
        check: The slug.
        work: Returns what is well.
    """
    try:
        return Finding(Severity.OK, check, where, work())
    except GridError as error:
        return finding_of(error, where, check=check)
    except ModuleNotFoundError as error:
        return Finding(Severity.ERROR, check, where, f"cannot be looked at: {error.name} is not installed here")


def look_at_directory(path: str, what: str) -> Iterator[Finding]:
    """Look at a service's own directory: is it there, who may enter it, is there room left."""
    try:
        found = os.stat(path)
    except OSError as error:
        hint = f"install -d -o ACCOUNT -m 0700 {path}, or start the service once"
        yield Finding(Severity.ERROR, "store", path, f"{what}: {error.strerror}", hint)
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Finding(Severity.ERROR, "store", path, f"{what}: is no directory")
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        message = f"{what}: open to others (mode {mode:04o})"
        yield Finding(Severity.ERROR, "unsafe-mode", path, message, f"chmod 700 {path}")
    else:
        yield Finding(Severity.OK, "store", path, f"{what}, of {account_of(path)} alone")
    yield from _space_findings(path)


def _space_findings(path: str) -> Iterator[Finding]:
    try:
        room = os.statvfs(path)
    except OSError as error:
        yield Finding(Severity.WARNING, "space", path, f"cannot be asked for its space: {error.strerror}")
        return
    free = room.f_bavail * room.f_frsize
    if free < LITTLE_SPACE:
        severity = Severity.ERROR if free < NO_SPACE else Severity.WARNING
        message = f"only {free >> 20} MiB are free: what cannot be recorded is refused"
        yield Finding(severity, "space", path, message, "make room on this file system")
    if room.f_favail == 0 and room.f_files:
        yield Finding(Severity.ERROR, "space", path, "no inode is free", "make room on this file system")


def look_at_private_file(path: str, what: str, fix: str) -> Finding:
    """Look at a file that its owner alone may read.

    Args:
        path: The file.
        what: What is in it.
        fix: What brings it about where it is missing.
    """
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        return Finding(Severity.ERROR, "missing", path, f"{what}: {error.strerror}", fix)
    if mode & 0o077:
        message = f"{what}: can be used by others (mode {mode:04o})"
        return Finding(Severity.ERROR, "unsafe-mode", path, message, f"chmod 600 {path}")
    if not os.access(path, os.R_OK, effective_ids=True):
        return Finding(Severity.ERROR, "unreadable", path, f"{what}: the service cannot read it", "chown it")
    return Finding(Severity.OK, "private-file", path, what)


# --- Databases -------------------------------------------------------------------------------------------------------


def look_at_database(
    path: str,
    conninfo: str | None,
    migrations: str,
    more: Callable[[Database], Iterator[Finding]] = lambda _: iter(()),
) -> Iterator[Finding]:
    """Look at a database: can it be reached, are its tables those of this program.

    Args:
        path: The SQLite file, where the service uses one.
        conninfo: What names a PostgreSQL database in its place; empty or None for none.
        migrations: The directory of the steps of its schema.
        more: What else is to be looked at, where the tables are right.
    """
    where = "PostgreSQL" if conninfo else path
    try:
        from gsi.sql.migrate import SchemaState, find_schema
    except ModuleNotFoundError as error:
        message = f"cannot be looked at: {error.name} is not installed"
        yield Finding(Severity.ERROR, "database", where, message, "pip install 'gsi-toolkit[server]'")
        return
    try:
        with contextlib.closing(_open_database(path, conninfo)) as database:
            found = find_schema(database, migrations)
            match found.state:
                case SchemaState.CURRENT:
                    yield Finding(Severity.OK, "database", where, f"answers; schema {found.version} is current")
                    yield from more(database)
                case SchemaState.OLDER:
                    message = f"schema {found.version}, which is older than this program's ({found.head})"
                    hint = "back it up, then restart the service, which brings it up to date"
                    yield Finding(Severity.WARNING, "schema", where, message, hint)
                case SchemaState.EMPTY:
                    hint = "the first start of the service makes them; if it did run, restore a backup"
                    yield Finding(Severity.ERROR, "schema", where, "there are no tables in it", hint)
                case SchemaState.UNKNOWN:
                    message = f"schema {found.version}, which this program does not know"
                    hint = "it was written by a newer version; install that one"
                    yield Finding(Severity.ERROR, "schema", where, message, hint)
    except GridError as error:
        yield finding_of(error, where, check="database")


def _open_database(path: str, conninfo: str | None) -> Database:
    """Open a database; make neither file nor directory."""
    if conninfo:
        from gsi.sql.postgres import open_postgres

        return open_postgres(conninfo, application="gsi-doctor", connections=1)
    from gsi.errors import StorageError
    from gsi.sql.engine import open_sqlite

    if not os.path.exists(path):
        raise StorageError(
            "no such file", hint="a service that never ran makes it at its first start; else restore a backup"
        )
    return open_sqlite(path, create=False)


# --- Audit -----------------------------------------------------------------------------------------------------------


def look_at_audit(path: str) -> Iterator[Finding]:
    """Look at an audit file: can its service go on writing it, has anybody else changed it."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        if os.access(os.path.dirname(path), os.W_OK | os.X_OK, effective_ids=True):
            yield Finding(Severity.NOTE, "audit", path, "not there: nothing was recorded yet")
        else:
            hint = "make its directory, and give it to the service's account"
            yield Finding(Severity.ERROR, "audit", path, "not there, and the service cannot make it", hint)
        return
    except OSError as error:
        yield Finding(Severity.ERROR, "audit", path, str(error.strerror))
        return
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        yield Finding(Severity.ERROR, "audit", path, "is no regular file", "move it away")
    elif mode & 0o077:
        message = f"can be used by others (mode {mode:04o}): they could read or change it"
        yield Finding(Severity.ERROR, "unsafe-mode", path, message, f"chmod 600 {path}")
    elif not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        message = f"belongs to {account_of(path)}: the service cannot write it, and refuses everything"
        yield Finding(Severity.ERROR, "audit", path, message, "chown it to the service's account")
    elif found.st_size > MAX_VERIFIED_BYTES:
        hint = "rotate it; myproxy-admin-query --verify-audit verifies any length"
        yield Finding(Severity.NOTE, "audit", path, f"{found.st_size >> 20} MiB, too long to verify here", hint)
    else:
        yield from _chain_findings(path)


def _chain_findings(path: str) -> Iterator[Finding]:
    try:
        report = verify_file(path)
    except GridError as error:
        yield finding_of(error, path, check="audit")
        return
    for fault in report.faults[:MAX_FAULTS]:
        hint = "keep the file as it is, and compare it with a copy elsewhere: somebody has changed it"
        yield Finding(Severity.ERROR, "audit-chain", path, f"line {fault.line}: {fault.text}", hint)
    if not report.faults:
        yield Finding(Severity.OK, "audit", path, "its chain is whole")


# --- Certificates ----------------------------------------------------------------------------------------------------


def look_at_credential(certificate: str, key: str, visit: Visit) -> Iterator[Finding]:
    """Look at the certificate and key of a server: modes, dates, chain, and whether they are for this machine."""
    from gsi.certificate import load_certificates
    from gsi.cli.server_findings import names_of_host
    from gsi.credential import MAX_CREDENTIAL_BYTES
    from gsi.system.files import read_public
    from gsi.trust.diagnose import diagnose_chain, diagnose_name
    from gsi.trust.options import Purpose, ValidationOptions

    place = CredentialPlace(Whose.HOST, certificate, key)
    yield from diagnose_credential(place, visit.anchors, now=visit.now, crl=visit.crl)
    if visit.anchors is None:
        return
    try:
        chain = load_certificates(read_public(certificate, max_bytes=MAX_CREDENTIAL_BYTES), what=certificate)
        options = ValidationOptions(purpose=Purpose.SERVER, crl=visit.crl)
        _, peer = diagnose_chain(chain, visit.anchors, now=visit.now, options=options, where=certificate)
    except GridError:
        return  # told above
    if peer is not None:
        yield diagnose_name(peer, names_of_host(visit.host, None, visit.mode), visit.mode, where=certificate)
