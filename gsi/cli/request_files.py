"""The files that `grid-cert-request` writes: which they are, what becomes of those there before; not what is in them.

    files = choose_files(service="user", directory="/home/alice/.globus", prefix=None)
    moved = files.make_room(force=True)
    files.write(key_pem, request_pem, moved)

Nothing is lost: with `-force` the old files get another name, `.old` at the end, and come back when writing the new
ones fails.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from gsi.errors import CredentialError, CredentialProblem, GridError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_BACKUPS", "Moved", "RequestFiles", "choose_files"]

MAX_BACKUPS = 1000
"""Backups of one file before a person has to look after them."""

_KEY_MODE = 0o400
_PUBLIC_MODE = 0o644


class Moved(NamedTuple):
    """A file that was there before, and where it is now."""

    path: str
    backup: str


class RequestFiles(NamedTuple):
    """The three files of a request."""

    directory: str
    certificate: str
    """Written empty, for the certificate to come."""
    key: str
    request: str

    def make_room(self, *, force: bool) -> list[Moved]:
        """Make the directory, and move away what is there before.

        Args:
            force: Whether files may be moved away.

        Raises:
            CredentialError: UNWRITABLE: a file is there and `force` is not given, or the directory cannot be used.
        """
        self.check(force=force)
        moved: list[Moved] = []
        try:
            if not os.path.isdir(self.directory):
                os.mkdir(self.directory, 0o700 if os.path.basename(self.directory) == ".globus" else 0o755)
            for path in self._existing():
                backup = _free_name(path)
                os.rename(path, backup)
                moved.append(Moved(path, backup))
        except OSError as error:
            put_back(moved)
            raise CredentialError(
                f"{error.filename or self.directory}: {error.strerror}",
                problem=CredentialProblem.UNWRITABLE,
                path=error.filename,
                hint="choose another directory with -dir",
            ) from error
        return moved

    def check(self, *, force: bool) -> None:
        """Look whether the files can be written, before anybody types a pass phrase.

        Raises:
            CredentialError: UNWRITABLE, as `make_room`.
        """
        existing = self._existing()
        if existing and not force:
            raise CredentialError(
                f"already there: {', '.join(existing)}",
                problem=CredentialProblem.UNWRITABLE,
                path=existing[0],
                hint="-force makes new files and keeps the old ones under other names",
            )
        place = self.directory if os.path.exists(self.directory) else os.path.dirname(self.directory) or "."
        if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
            raise CredentialError(
                f"{place}: files cannot be made there",
                problem=CredentialProblem.UNWRITABLE,
                path=place,
                hint="choose another directory with -dir",
            )

    def write(self, key_pem: bytes, request: bytes, moved: Sequence[Moved]) -> None:
        """Write the files: the key with mode 0400, request and empty certificate with 0644.

        Args:
            key_pem: The private key.
            request: The request with its covering text.
            moved: What `make_room` returned; it is put back when writing fails.

        Raises:
            CredentialError: UNWRITABLE; the directory is then as it was.
        """
        from gsi.system.files import write_public

        written: list[str] = []
        try:
            for path, data, mode in (
                (self.key, key_pem, _KEY_MODE),  # in one step and never wider than its mode
                (self.request, request, _PUBLIC_MODE),
                (self.certificate, b"", _PUBLIC_MODE),
            ):
                write_public(path, data, mode)
                written.append(path)
        except (GridError, KeyboardInterrupt, SystemExit):
            for path in written:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            put_back(moved)
            raise

    def _existing(self) -> list[str]:
        return [path for path in (self.request, self.certificate, self.key) if os.path.lexists(path)]


def choose_files(service: str, directory: str, prefix: str | None) -> RequestFiles:
    """Return the files of a request for a user, a host or another service.

    Args:
        service: `user`, `host` or the service's name, which the files are named after.
        directory: Where they go.
        prefix: What to name them after instead.
    """
    stem = os.path.join(os.path.abspath(directory), service if prefix is None else prefix)
    return RequestFiles(os.path.abspath(directory), f"{stem}cert.pem", f"{stem}key.pem", f"{stem}cert_request.pem")


def put_back(moved: Sequence[Moved]) -> None:
    """Give files their old names again, as far as that is possible."""
    for path, backup in reversed(moved):
        with contextlib.suppress(OSError):  # what made the command fail is the news
            os.rename(backup, path)


def _free_name(path: str) -> str:
    """Return a name for a backup that is not taken.

    Raises:
        CredentialError: UNWRITABLE: `MAX_BACKUPS` are there.
    """
    for number in range(MAX_BACKUPS):
        name = f"{path}.old" if not number else f"{path}.old{number}"
        if not os.path.lexists(name):
            return name
    raise CredentialError(
        f"{path}: {MAX_BACKUPS} backups are there already", problem=CredentialProblem.UNWRITABLE, path=path
    )
