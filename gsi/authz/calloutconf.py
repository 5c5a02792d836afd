"""Finding what is wrong with a site's `gsi-authz.conf`, which the C services read; loads no library into this process.

    findings = lint_callouts("/etc/grid-security/gsi-authz.conf", families=frozenset(Family))

The C services allow whatever has no callout: a missing file, an empty one, a mistyped type are silent and open. This
room knows each such hole, says on which line it is and what closes it. The grammar is that of
gct:callout/source/library/globus_callout.c: `TYPE LIBRARY SYMBOL [ENV:NAME=value [NAME=value ...]]`, `#` begins a
comment anywhere, a `|` before the type marks the line as optional.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.build import CALLOUTS, LIBRARY_NAME
from gsi.errors import GridError
from gsi.system.config import nearest
from gsi.system.environ import GRID_SECURITY_DIR, get_variable
from gsi.system.files import read_public

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "MISSING_TYPE",
    "Entry",
    "Family",
    "Finding",
    "Severity",
    "find_callout_conf",
    "lint_callouts",
    "lint_text",
    "parse_entries",
]

MAX_CONF_BYTES: Final = 1 << 20
"""The longest file; the usual one has a kilobyte."""

MAX_LINE_BYTES: Final = 4095
"""The C reader takes lines of less than 4096 bytes, line feed included."""

_FIELD_BYTES: Final = {"type": 127, "library": 255, "symbol": 127}
_FLAVOR: Final = "_gcc64"
_LOAD_SECONDS: Final = 30.0
"""For loading a library in a process of its own."""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)


class Severity(StrEnum):
    """How bad it is."""

    HOLE = "hole"
    """Something is allowed that the site believes to be decided."""
    BROKEN = "broken"
    """Everything, or everything of one kind, is refused, or the service does not start."""
    NOTE = "note"
    """It works, but hardly as meant, or not for ever."""


class Family(StrEnum):
    """The C services and what they ask."""

    GRIDFTP = "gridftp"
    GATEKEEPER = "gatekeeper"
    JOBMANAGER = "jobmanager"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: How bad it is.
        path: The file.
        line: Where, or None.
        message: What, and what comes of it.
        fix: What to do.
    """

    severity: Severity
    path: str
    line: int | None
    message: str
    fix: str = ""

    @property
    def place(self) -> str:
        """File and line."""
        return self.path if self.line is None else f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One callout.

    Attributes:
        line: Where it stands.
        type: The abstract type.
        library: As written.
        symbol: The function.
        is_optional: Whether a `|` stands before the type.
        rest: What follows, as written.
    """

    line: int
    type: str
    library: str
    symbol: str
    is_optional: bool
    rest: str


MISSING_TYPE: Final[Mapping[str, tuple[frozenset[Family], str]]] = {
    "globus_mapping": (
        frozenset({Family.GRIDFTP, Family.GATEKEEPER}),
        "accounts come from the grid-mapfile alone, and globus_authorization is skipped as well",
    ),
    "globus_authorization": (
        frozenset({Family.GRIDFTP, Family.GATEKEEPER}),
        "whoever is mapped may use every service",
    ),
    "GLOBUS_GSI_AUTHZ_HANDLE_INIT": (frozenset({Family.GRIDFTP}), "every session is allowed, without a handle"),
    "GLOBUS_GSI_AUTHORIZE_ASYNC": (frozenset({Family.GRIDFTP}), "every file operation is allowed"),
    "globus_gram_jobmanager_authz": (
        frozenset({Family.JOBMANAGER}),
        (
            "with -enable-callout every start is allowed, the owner cannot query the job, and strangers can; without "
            "that option strangers can query and cancel every job anyway"
        ),
    ),
}
"""Types that must be there: who asks them, and what an absent one means."""

_UNFINISHED: Final[Mapping[str, str]] = {
    "GLOBUS_GSI_AUTHZ_SYSTEM_INIT": "the library is not told that the service begins",
    "GLOBUS_GSI_AUTHZ_SYSTEM_DESTROY": "the library is not told that the service ends",
    "GLOBUS_GSI_AUTHZ_HANDLE_DESTROY": "a session's connection to the daemon stays open until its process ends",
    "GLOBUS_GSI_AUTHZ_CANCEL": "a question that is given up is waited for",
    "GLOBUS_GSI_GET_AUTHORIZATION_IDENTITY": "the library is not asked whom a session belongs to",
}
"""Types that decide nothing: what an absent one means."""

_OTHER_TYPES: Final = frozenset(_UNFINISHED)
_OWN_LIBRARY: Final = LIBRARY_NAME.removesuffix(".so")
_SETTINGS: Final = ("GSI_AUTHZ_SOCKET", "GSI_AUTHZ_SERVER_UID", "GSI_AUTHZ_TIMEOUT")
"""What our library is told in its lines."""

_KNOWN_TYPES: Final = _OTHER_TYPES | frozenset(MISSING_TYPE)
_OPEN: Final = "the services silently use the grid-mapfile alone and allow every file operation"


def find_callout_conf(environ: Mapping[str, str] | None = None) -> tuple[str, bool]:
    """Return the file that C services of this environment read, and whether one is there.

    GSI_AUTHZ_CONF, else /etc/grid-security, else etc below GLOBUS_LOCATION (/usr), else ~/.gsi-authz.conf.
    """
    named = get_variable("GSI_AUTHZ_CONF", environ)
    if named:
        return named, os.path.exists(named)
    home = get_variable("HOME", environ)
    location = get_variable("GLOBUS_LOCATION", environ) or "/usr"
    places = [f"{GRID_SECURITY_DIR}/gsi-authz.conf", f"{location}/etc/gsi-authz.conf"]
    places += [f"{home}/.gsi-authz.conf"] if home else []
    found = next((path for path in places if os.path.exists(path)), None)
    return found or places[0], found is not None


def lint_callouts(path: str, *, families: frozenset[Family] = frozenset(Family)) -> list[Finding]:
    """Return everything that is wrong with a file, in its order; what is absent from it comes last.

    Args:
        path: The file.
        families: The services that the site runs.
    """
    try:
        data = read_public(path, max_bytes=MAX_CONF_BYTES)
    except GridError as error:
        message = f"{error.message.removeprefix(path).lstrip(': ')}; {_OPEN}"
        return [Finding(Severity.HOLE, path, None, message, "write one with gsi-authz-build-callout -install")]
    found = list(_lint_file(path))
    found += lint_text(data, path=path, families=families)
    for entry in parse_entries(data):
        found += _lint_library(path, entry)
    return sorted(dict.fromkeys(found), key=lambda finding: finding.line or (1 << 30))


def _lint_file(path: str) -> Iterator[Finding]:
    yield from _lint_writers(path, None, path)
    yield from _lint_folders(path, None, os.path.abspath(path))


def _lint_folders(path: str, line: int | None, place: str) -> Iterator[Finding]:
    """Look at every directory above a file: who can rename one of them can put another in its place."""
    folder = os.path.dirname(place)
    while True:
        yield from _lint_writers(path, line, folder)
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _lint_writers(path: str, line: int | None, place: str) -> Iterator[Finding]:
    """Say so if somebody else than root or the present user can change a file or directory."""
    try:
        found = os.stat(place)
    except OSError:
        return
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if found.st_uid not in {0, os.geteuid()} or (found.st_mode & 0o022 and not sticky):
        mode = stat.S_IMODE(found.st_mode)
        message = f"{place} can be changed by others than root (uid {found.st_uid}, mode {mode:04o})"
        yield Finding(Severity.HOLE, path, line, message, f"chown root {place}; chmod go-w {place}")


# --- the text ---------------------------------------------------------------------------------------------------------


def parse_entries(data: bytes) -> list[Entry]:
    """Return the lines that the C reader takes for callouts."""
    found: list[Entry] = []
    for number, text in _lines(data):
        words = text.split(None, 3)
        if len(words) >= 3:
            kind, library, symbol, *rest = words
            found.append(Entry(number, kind.removeprefix("|"), library, symbol, kind.startswith("|"), "".join(rest)))
    return found


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield each line that says something, without its comment."""
    for number, raw in enumerate(data.split(b"\n"), 1):
        text = raw.decode("utf-8", "surrogateescape").partition("#")[0]
        if text.strip(" \t\r"):
            yield number, text.rstrip(" \t\r")


def lint_text(data: bytes, *, path: str, families: frozenset[Family] = frozenset(Family)) -> list[Finding]:
    """Return everything that is wrong with the text of a file, whatever libraries there are; pure."""
    if not data:
        return [Finding(Severity.HOLE, path, None, f"the file is empty; {_OPEN}", "gsi-authz-build-callout -install")]
    entries = parse_entries(data)
    found: list[Finding] = []
    if not any(True for _ in _lines(data)):
        found.append(Finding(Severity.HOLE, path, None, f"the file holds only comments; {_OPEN}", "add the callouts"))
    for number, raw in enumerate(data.split(b"\n"), 1):
        found += _lint_line(path, number, raw)
    if not data.endswith(b"\n"):
        last = data.count(b"\n") + 1
        message = "the last line does not end in a line feed: the services refuse to start"
        found.append(Finding(Severity.BROKEN, path, last, message, "add an empty line at the end"))
    for entry in entries:
        found += _lint_entry(path, entry)
    for kind in dict.fromkeys(entry.type for entry in entries):
        found += _lint_order(path, [entry for entry in entries if entry.type == kind])
    found += _lint_missing(path, {entry.type for entry in entries}, families)
    if Family.GRIDFTP in families:
        found += _lint_unfinished(path, entries)
    return found


def _lint_line(path: str, number: int, raw: bytes) -> Iterator[Finding]:
    if len(raw) + 1 > MAX_LINE_BYTES:
        message = f"the line has {len(raw)} bytes: the services refuse to start"
        yield Finding(Severity.BROKEN, path, number, message, f"at most {MAX_LINE_BYTES - 1} bytes")
    if any((byte < 0x20 and byte not in b"\t\r") or byte == 0x7F for byte in raw):
        yield Finding(Severity.BROKEN, path, number, "a control character in the line", "remove it")
    if raw.endswith(b"\r") and raw.strip():
        message = "the line ends in a carriage return, which belongs to its last field"
        yield Finding(Severity.BROKEN, path, number, message, "write the file with Unix line ends")
    text = raw.decode("utf-8", "surrogateescape")
    body, mark, _ = text.partition("#")
    words = body.split()
    if words and len(words) < 3:
        message = "fewer than three fields: the services refuse to start"
        yield Finding(Severity.BROKEN, path, number, message, "TYPE LIBRARY SYMBOL")
    if mark and body and body[-1] not in " \t":
        message = "the # begins a comment, although it stands within a word: a service that reads this may crash"
        yield Finding(Severity.BROKEN, path, number, message, "choose a value without #, or put a blank before it")


def _lint_entry(path: str, entry: Entry) -> Iterator[Finding]:
    for what, text in (("type", entry.type), ("library", entry.library), ("symbol", entry.symbol)):
        if len(text.encode("utf-8", "surrogateescape")) > _FIELD_BYTES[what]:
            message = f"the {what} has more than {_FIELD_BYTES[what]} bytes: the services cut it and misread the line"
            yield Finding(Severity.HOLE, path, entry.line, message, "a shorter one")
    if entry.type not in _KNOWN_TYPES:
        message = f"no service asks for {entry.type[:80]!r}: the line does nothing"
        hint = nearest(entry.type, _KNOWN_TYPES)
        yield Finding(Severity.HOLE, path, entry.line, message, hint or "types are case-sensitive")
    yield from _lint_environment(path, entry)
    if _is_ours(entry):
        yield from _lint_own(path, entry)


def _is_ours(entry: Entry) -> bool:
    """Say whether a line names the library of gsi-authz-build-callout, or one of its functions."""
    name = os.path.basename(entry.library).removesuffix(".so")
    return name == _OWN_LIBRARY or entry.symbol in CALLOUTS.values()


def _lint_own(path: str, entry: Entry) -> Iterator[Finding]:
    """Look at a line of our own library: the function must be its type's, and be told whom to ask."""
    wanted = CALLOUTS.get(entry.type)
    if wanted is not None and entry.symbol != wanted:
        message = (
            f"{entry.symbol} is not the function for {entry.type}: it allows, or refuses, what it is not asked for"
        )
        yield Finding(Severity.HOLE, path, entry.line, message, f"{entry.type} {entry.library} {wanted}")
    given = {word.removeprefix("ENV:").partition("=")[0] for word in entry.rest.split()}
    for name in sorted(given):
        if name.startswith("GSI_AUTHZ_") and name not in _SETTINGS:
            message = f"the library knows no {name}"
            yield Finding(Severity.BROKEN, path, entry.line, message, nearest(name, _SETTINGS) or "")
    missing = [name for name in _SETTINGS[:2] if name not in given]
    if missing:
        message = (
            f"no {' and no '.join(missing)}: the daemon must be root's, at the usual socket, or everybody is refused"
        )
        yield Finding(Severity.NOTE, path, entry.line, message, "gsi-authz-build-callout -install writes the settings")


def _lint_environment(path: str, entry: Entry) -> Iterator[Finding]:
    """Look at `ENV:NAME=value NAME2="value with blanks"`."""
    rest, first = entry.rest, True
    if rest and not rest.startswith("ENV:"):
        yield Finding(
            Severity.BROKEN, path, entry.line, f"{rest[:40]!r} behind the symbol is ignored", "ENV:NAME=value"
        )
        return
    while rest := rest.lstrip(" "):
        if not first and rest.startswith("ENV:"):
            message = "only the first setting has ENV: before it; this one and those behind it are ignored"
            yield Finding(Severity.BROKEN, path, entry.line, message, "leave the second ENV: off")
        rest = rest.removeprefix("ENV:")
        name, equals, rest = rest.partition("=")
        if not equals or not _VARIABLE.match(name):
            message = f"{name[:40]!r} is no variable with a value, and is ignored"
            yield Finding(Severity.BROKEN, path, entry.line, message, 'NAME=value or NAME="value with blanks"')
            return
        first = False
        if rest.startswith('"'):
            value, quote, rest = rest[1:].partition('"')
            if not quote:
                yield Finding(
                    Severity.BROKEN,
                    path,
                    entry.line,
                    f"the quote of {name} is not closed: the services refuse to start",
                    "close it",
                )
                return
        else:
            value, _, rest = rest.partition(" ")
            if "\t" in value:
                message = f"a TAB does not end the value of {name}: what follows belongs to it"
                yield Finding(Severity.BROKEN, path, entry.line, message, "separate settings by blanks")


def _lint_order(path: str, entries: list[Entry]) -> Iterator[Finding]:
    """Look at how several lines of one type work together."""
    mandatory = [entry for entry in entries if not entry.is_optional]
    optional = [entry for entry in entries if entry.is_optional]
    if optional and mandatory:
        last = mandatory[-1].line
        for entry in optional:
            if entry.line > last:
                message = f"never called: after a success, no line of {entry.type} that is optional is tried any more"
                yield Finding(Severity.HOLE, path, entry.line, message, "put optional lines before the mandatory ones")
            else:
                message = f"whatever this optional {entry.type} answers, the mandatory line {last} decides"
                yield Finding(Severity.NOTE, path, entry.line, message, "remove the |, if it is to deny")
    elif len(optional) > 1:
        message = f"all lines of {optional[0].type} are optional: one that allows is enough"
        yield Finding(Severity.HOLE, path, optional[0].line, message, "remove the |, so that all must allow")
    elif optional:
        message = "the | has no effect on the only line of a type"
        yield Finding(Severity.NOTE, path, optional[0].line, message, "remove it")
    for number, entry in enumerate(entries):
        if (entry.library, entry.symbol) in {(other.library, other.symbol) for other in entries[:number]}:
            message = f"{entry.type} is there twice with the same library and function"
            yield Finding(Severity.NOTE, path, entry.line, message, "remove one")


def _lint_missing(path: str, types: set[str], families: frozenset[Family]) -> Iterator[Finding]:
    for kind, (asked_by, effect) in MISSING_TYPE.items():
        if kind not in types and asked_by & families:
            who = ", ".join(sorted(asked_by & families))
            yield Finding(Severity.HOLE, path, None, f"no {kind} ({who}): {effect}", f"{kind} LIBRARY SYMBOL")


def _lint_unfinished(path: str, entries: list[Entry]) -> Iterator[Finding]:
    """Look for the types without which a GridFTP session begins and does not end as it should."""
    types = {entry.type for entry in entries}
    if "GLOBUS_GSI_AUTHZ_HANDLE_INIT" not in types:
        return
    ours = any(_is_ours(entry) for entry in entries)
    for kind, effect in _UNFINISHED.items():
        if kind not in types and (ours or kind == "GLOBUS_GSI_AUTHZ_HANDLE_DESTROY"):
            yield Finding(Severity.NOTE, path, None, f"no {kind} (gridftp): {effect}", f"{kind} LIBRARY SYMBOL")


# --- libraries --------------------------------------------------------------------------------------------------------


def library_candidates(library: str) -> list[str]:
    """Return the files that the C services try for a library, in order (globus_callout.c, then libltdl)."""
    tail = library.rpartition("_")[2] if "_" in library else ""
    name = library if "32" in tail or "64" in tail else library + _FLAVOR
    return [*_with_endings(name), *_with_endings(name.rpartition("_")[0])]


def _with_endings(name: str) -> list[str]:
    """Return what libltdl makes of a name: itself only if it has an ending, and the name with one added."""
    return [*([name] if name.endswith((".so", ".la")) else []), f"{name}.la", f"{name}.so"]


def _lint_library(path: str, entry: Entry) -> Iterator[Finding]:
    library = entry.library
    if not library.startswith("/"):
        message = f"the library {library!r} is looked for in LD_LIBRARY_PATH, LTDL_LIBRARY_PATH and system directories"
        yield Finding(Severity.NOTE, path, entry.line, message, "write the whole path")
        return
    candidates = library_candidates(library)
    loaded = next((name for name in candidates if os.path.isfile(name)), None)
    denied = f"every use of {entry.type} is refused, also if the line is optional"
    if loaded is None:
        message = f"there is no library {library}: {denied}"
        fix = "gsi-authz-build-callout -install builds it"
        if os.path.isfile(f"{library}.so") or os.path.isfile(library):
            message = f"{library} is there, but the C services look for {', '.join(candidates)}"
            fix = "its name must end in .so; name it in full"
        yield Finding(Severity.BROKEN, path, entry.line, message, fix)
        return
    if loaded not in {library, f"{library}.so"}:
        message = f"the C services load {loaded}, because it comes before {library}"
        yield Finding(Severity.HOLE, path, entry.line, message, f"remove {loaded}")
    yield from _lint_writers(path, entry.line, os.path.realpath(loaded))
    yield from _lint_folders(path, entry.line, os.path.realpath(loaded))
    problem = try_load(loaded, [entry.symbol])
    if problem:
        yield Finding(Severity.BROKEN, path, entry.line, f"{problem}: {denied}", "gsi-authz-build-callout -install")


_LOADER: Final = """
import ctypes, os, sys
try:
    library = ctypes.CDLL(sys.argv[1], mode=os.RTLD_LAZY)
except OSError as error:
    sys.exit(f"the library cannot be loaded ({error})")
for symbol in sys.argv[2:]:
    try:
        library[symbol]
    except AttributeError:
        sys.exit(f"the library has no function {symbol}")
"""


def try_load(library: str, symbols: Iterable[str]) -> str:
    """Load a library and look for functions in a process of its own; return what is wrong, or an empty text.

    As the services do, symbols that the library lacks are looked for at their first use only.
    """
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter, without a shell
            [sys.executable, "-I", "-c", _LOADER, library, *symbols],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_LOAD_SECONDS,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"the library could not be tried ({error})"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1] if said and done.returncode == 1 else f"loading the library ended with status {done.returncode}"
