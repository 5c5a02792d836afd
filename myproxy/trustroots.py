"""The files of `cert_dir` that clients may have; not how they travel (`protocol`), not who may have them (`policy`).

    roots = TrustRootDirectory("/etc/grid-security/certificates")
    roots.check()                  # ConfigError: a file that is not for everybody, as the C server insists
    files = roots()                # read again when something in the directory has changed

Agrees with gct:myproxy/source/certauth_extensions and myproxy_server.c (get_trusted_certs): regular files only, base
names only; a name with a comma cannot travel and is left out. An empty file cannot be taken by C clients, which count
what they wrote, and is left out too.
"""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, StorageError
from gsi.system.files import read_public
from myproxy.protocol.messages import TrustRootFile

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_FILE_BYTES", "MAX_TOTAL_BYTES", "TrustRootDirectory"]

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
"""One file: the largest grid CRLs have two megabytes."""
MAX_TOTAL_BYTES: Final = 11 * 1024 * 1024
"""All files together: in base64 they must fit into one response (`MAX_RESPONSE_BYTES`)."""

_Stamp = tuple[tuple[str, int, int, int], ...]


class TrustRootDirectory:
    """A directory of trust roots. Safe for use by several threads."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._files: tuple[TrustRootFile, ...] = ()

    def check(self) -> None:
        """Insist that the directory can be handed out.

        Raises:
            ConfigError: It cannot be read, or holds a regular file that not everybody may read.
        """
        try:
            for entry in self._entries():
                if not entry.stat().st_mode & stat.S_IROTH:
                    raise ConfigError(
                        f"cert_dir holds {entry.name}, which is not readable for everybody",
                        hint=f"chmod o+r {entry.path}, or move the file elsewhere if it is a secret",
                    )
        except OSError as error:
            raise ConfigError(f"cert_dir {self._path} cannot be read: {error.strerror}") from error

    def __call__(self) -> tuple[TrustRootFile, ...]:
        """Return the files as they are now.

        Raises:
            StorageError: They cannot be read, or are more than a response can carry.
        """
        try:
            stamp = tuple(self._stamps())
            with self._lock:
                if stamp != self._stamp:
                    self._files, self._stamp = self._read(stamp), stamp
                return self._files
        except OSError as error:
            raise StorageError(f"the trust roots in {self._path} cannot be read: {error.strerror}") from error

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self._path) as found:
            for entry in sorted(found, key=lambda one: one.name):
                if entry.is_file() and "," not in entry.name and "\n" not in entry.name:
                    yield entry

    def _stamps(self) -> Iterator[tuple[str, int, int, int]]:
        for entry in self._entries():
            facts = entry.stat()
            if facts.st_size and facts.st_mode & stat.S_IROTH:
                yield entry.name, facts.st_ino, facts.st_mtime_ns, facts.st_size

    def _read(self, stamp: _Stamp) -> tuple[TrustRootFile, ...]:
        if sum(size for *_, size in stamp) > MAX_TOTAL_BYTES:
            raise StorageError(f"the trust roots in {self._path} are larger than {MAX_TOTAL_BYTES} bytes together")
        return tuple(
            TrustRootFile(name, read_public(os.path.join(self._path, name), max_bytes=MAX_FILE_BYTES))
            for name, *_ in stamp
        )
