"""The files of VOMS on disk: which servers are trusted (vomsdir), where they are (vomses); what they mean is gsi.voms'.

    servers = VOMSDirectory("/etc/grid-security/vomsdir")
    trusted = servers.find("testvo", "voms.example.org")    # reads the file again when it changed

    for entry in find_vomses(read_vomses(), "testvo"): ...

The places: X509_VOMS_DIR, else /etc/grid-security/vomsdir; X509_VOMSES or VOMS_USERCONF, else ~/.glite/vomses,
~/.voms/vomses, /etc/vomses, /etc/grid-security/vomses. A vomses place is a file, or a directory of such.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.certificate import load_certificates
from gsi.errors import CredentialError, CredentialProblem
from gsi.system.environ import GRID_SECURITY_DIR, get_variable, read_locations
from gsi.system.files import read_public
from gsi.voms.lsc import MAX_LSC_BYTES, TrustedServer, parse_lsc
from gsi.voms.vomses import MAX_VOMSES_BYTES, VOMSEntry, find_vomses, parse_vomses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gsi.certificate import Certificate

__all__ = ["VOMSDirectory", "find_vomses", "read_vomses", "vomsdir_path", "vomses_places"]

MAX_CERTIFICATE_FILE_BYTES: Final = 1 << 20  # a server's certificate takes 3 kB
_MAX_ENTRIES: Final = 10_000  # in one directory; VOs have a handful of servers
_MAX_REMEMBERED: Final = 4096  # answers; what is asked for comes from certificates that anybody can make
_RACY_NS: Final = 100_000_000  # a file changed this shortly before being read may change again within one clock tick
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})

_Stamp = tuple[int, int, int, int]


class _Known(NamedTuple):
    stamp: _Stamp
    trusted: TrustedServer


def vomsdir_path(environ: Mapping[str, str] | None = None) -> str:
    """Return the directory of trusted VOMS servers."""
    return get_variable("X509_VOMS_DIR", environ) or f"{GRID_SECURITY_DIR}/vomsdir"


class VOMSDirectory:
    """A directory of trusted servers: `<vo>/<host>.lsc`, and the older `<vo>/*.pem`. Safe for several threads.

    Attributes:
        path: The directory; it need not exist, then no server is trusted.
    """

    __slots__ = ("_known", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._known: dict[tuple[str, str], _Known] = {}

    def find(self, vo: str, host: str) -> TrustedServer | None:
        """Return what is trusted for a VO and host, or None.

        Args:
            vo: The VO; a name of a file.
            host: The host of its server, likewise.

        Raises:
            CredentialError: A file that is there cannot be read.
            ParseError: One is malformed.
        """
        if not _is_file_name(vo) or not _is_file_name(host):
            return None
        path = os.path.join(self.path, vo, f"{host}.lsc")
        try:
            found = os.stat(path)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise CredentialError(
                    f"{path}: {error.strerror}", problem=CredentialProblem.UNSAFE_FILE, path=path
                ) from error
            certificates = self._load_certificates(vo)
            return TrustedServer((), certificates) if certificates else None
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._known.get((vo, host))
        if known is not None and known.stamp == stamp:
            return known.trusted
        trusted = parse_lsc(read_public(path, max_bytes=MAX_LSC_BYTES), path=path)
        if time.time_ns() - found.st_ctime_ns > _RACY_NS:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[vo, host] = _Known(stamp, trusted)
        return trusted

    def _load_certificates(self, vo: str) -> tuple[Certificate, ...]:
        directory = os.path.join(self.path, vo)
        found: list[Certificate] = []
        for path in _files(directory):
            if path.endswith(".pem"):
                found.extend(load_certificates(read_public(path, max_bytes=MAX_CERTIFICATE_FILE_BYTES), what=path)[:1])
        return tuple(found)


def _is_file_name(text: str) -> bool:
    return bool(text) and not text.startswith(".") and "/" not in text and "\0" not in text and len(text) < 250


def _files(directory: str) -> list[str]:
    """Return the files of a directory in order; none where there is no such directory."""
    try:
        names = sorted(os.listdir(directory))[:_MAX_ENTRIES]
    except OSError as error:
        if error.errno in _ABSENT:
            return []
        raise CredentialError(
            f"{directory}: {error.strerror}", problem=CredentialProblem.UNSAFE_FILE, path=directory
        ) from error
    paths = (os.path.join(directory, name) for name in names if not name.startswith("."))
    return [path for path in paths if os.path.isfile(path)]


# --- vomses -----------------------------------------------------------------------------------------------------------


def vomses_places(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the files and directories of contact lines, the user's first; a variable that is set is the only one."""
    given = get_variable("X509_VOMSES", environ) or get_variable("VOMS_USERCONF", environ)
    if given:
        return tuple(place for place in given.split(":") if place)
    home = read_locations(environ).home
    own = (f"{home}/.glite/vomses", f"{home}/.voms/vomses") if home else ()
    return (*own, "/etc/vomses", f"{GRID_SECURITY_DIR}/vomses")


def read_vomses(places: Iterable[str] | None = None) -> tuple[VOMSEntry, ...]:
    """Return every entry of every file, in the order of places and names; places that do not exist are passed over.

    Raises:
        CredentialError: A file cannot be read.
        ParseError: One does not follow the grammar.
    """
    found: list[VOMSEntry] = []
    for place in vomses_places() if places is None else places:
        paths = _files(place) if os.path.isdir(place) else [place] if os.path.exists(place) else []
        for path in paths:
            found.extend(parse_vomses(read_public(path, max_bytes=MAX_VOMSES_BYTES), path=path))
    return tuple(found)
