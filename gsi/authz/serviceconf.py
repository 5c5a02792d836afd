"""Finding what leaves C services open beside `gsi-authz.conf`: their own configurations, by which they do not ask.

    for found in find_service_files(frozenset(Family)):
        findings += lint_service_files(found)

It looks at `gridftp.conf` and `gridftp.d` (gct: gridftp/server/src/globus_i_gfs_config.c), at the job manager's
configuration (gct: gram/jobmanager/source/globus_gram_job_manager_config.c), and at the lines of `grid-services` that
run job managers. What a service is told on its own command line cannot be seen here.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.authz.callout.build import DISABLED_COMMANDS
from gsi.authz.calloutconf import MAX_CONF_BYTES, Family, Finding, Severity, lint_callouts
from gsi.errors import GridError
from gsi.system.files import read_public

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ETC", "ServiceFiles", "family_of", "find_service_files", "lint_service_files"]

ETC: Final = "/etc"
"""Where the C services' packages put their configurations."""

GATE: Final = "gsi-authz-gram-gate"
CALLOUT_OPTION: Final = "-enable-callout"
_MANAGER: Final = "globus-job-manager"
_SERVICES: Final = "grid-services"
_IGNORED: Final = (".bak", ".dpkg-dist", ".dpkg-new", ".dpkg-old", ".rpmnew", ".rpmsave", "~")
"""What editors and packages leave; the GridFTP server ignores the same."""

_OPTION: Final = re.compile(r"\s*(?:\"([^\"]+)\"|(\S+))\s*(?:\"([^\"]*)\"|(\S+))?")
_NO_IDENTITY: Final = "nobody is asked who may log in, nor as whom"
_AUTHORIZE: Final = 1
_NO_GRIDMAP: Final = 8
"""Bits of `auth_level`; 2, 4 and 6 have the first one added by the server."""


class ServiceFiles(NamedTuple):
    """What configures one kind of C service, in the order in which it is read.

    Attributes:
        family: Which service. For the job manager, files of a folder `grid-services` are service lines.
        paths: The files, of which none need be there.
    """

    family: Family
    paths: tuple[str, ...]

    @property
    def exist(self) -> bool:
        """Whether there is any."""
        return any(os.path.exists(path) for path in self.paths)


def find_service_files(families: frozenset[Family], *, etc: str | None = None) -> list[ServiceFiles]:
    """Return the usual places of the configurations of services; `etc` stands for /etc."""
    root = ETC if etc is None else etc
    found: list[ServiceFiles] = []
    if Family.GRIDFTP in families:
        parts = _files_in(f"{root}/gridftp.d")
        found.append(ServiceFiles(Family.GRIDFTP, (*parts, f"{root}/gridftp.conf")))
    if Family.JOBMANAGER in families:
        lines = _files_in(f"{root}/{_SERVICES}")
        found.append(ServiceFiles(Family.JOBMANAGER, (f"{root}/globus/globus-gram-job-manager.conf", *lines)))
    return found


def _files_in(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    paths = [os.path.join(directory, name) for name in names if name[0] != "." and not name.endswith(_IGNORED)]
    return [path for path in paths if os.path.isfile(path)]


def family_of(path: str) -> Family | None:
    """Return which service a file configures by its name; None for what is no configuration of a service."""
    folder, name = os.path.split(os.path.abspath(path))
    if _is_service_line(path) or name.endswith("job-manager.conf"):
        return Family.JOBMANAGER
    is_gridftp = (name.startswith("gridftp") and name.endswith(".conf")) or os.path.basename(folder) == "gridftp.d"
    return Family.GRIDFTP if is_gridftp else None


def _is_service_line(path: str) -> bool:
    return _SERVICES in os.path.abspath(path).split("/")[-3:-1]  # there, or in `available` below


def lint_service_files(files: ServiceFiles) -> list[Finding]:
    """Return everything by which a service does not ask, or too little."""
    if not files.exist:
        place = files.paths[-1] if files.family is Family.GRIDFTP else files.paths[0]
        message = f"it is not there: how the {files.family} is configured cannot be seen"
        return [Finding(Severity.NOTE, place, None, message, "name its configuration: gsi-authz check FILE")]
    if files.family is Family.GRIDFTP:
        return list(dict.fromkeys(_lint_gridftp(files.paths)))
    found: list[Finding] = []
    for path in files.paths:
        if os.path.exists(path):
            found += _lint_service_lines(path) if _is_service_line(path) else _lint_job_manager(path)
    return list(dict.fromkeys(found))


def _read(path: str, effect: str) -> tuple[str, list[Finding]]:
    try:
        return read_public(path, max_bytes=MAX_CONF_BYTES).decode("utf-8", "surrogateescape"), []
    except GridError as error:
        message = f"{error.message.removeprefix(path).lstrip(': ')}; {effect}"
        return "", [Finding(Severity.BROKEN, path, None, message, "make it readable")]


# --- GridFTP ----------------------------------------------------------------------------------------------------------


class _Option(NamedTuple):
    """One option of the GridFTP server, where it was given last."""

    value: str
    path: str
    line: int


def _lint_gridftp(paths: Sequence[str]) -> Iterator[Finding]:
    options: dict[str, _Option] = {}
    there = [path for path in paths if os.path.exists(path)]
    for path in there:
        text, problems = _read(path, "the GridFTP server does not start")
        yield from problems
        for number, line in enumerate(text.split("\n"), 1):
            found = _OPTION.match(line)
            if found is None or line.lstrip().startswith("#"):
                continue
            name = found[1] or found[2]
            options[name] = _Option(found[3] or found[4] or "", path, number)
    yield from _lint_switches(options)
    conf = options.get("$GSI_AUTHZ_CONF")
    if conf is not None:
        yield from lint_callouts(conf.value, families=frozenset({Family.GRIDFTP}))
    disabled = options.get("disable_command_list")
    listed = {command.strip().upper() for command in disabled.value.split(",")} if disabled else set()
    missing = [command for command in DISABLED_COMMANDS if command not in listed]
    if missing:
        message = f"{', '.join(missing)}: done without that anybody is asked"
        fix = f'disable_command_list "{",".join(DISABLED_COMMANDS)}"'
        path = disabled.path if disabled else there[-1]
        yield Finding(Severity.HOLE, path, disabled.line if disabled else None, message, fix)


def _lint_switches(options: dict[str, _Option]) -> Iterator[Finding]:
    cas = options.get("cas")
    if cas is not None and cas.value != "1":
        message = "cas is off: no callout is asked, the grid-mapfile decides and every file operation is allowed"
        yield Finding(Severity.HOLE, cas.path, cas.line, message, "cas 1")
    anonymous = options.get("allow_anonymous")
    if anonymous is not None and anonymous.value != "0":
        message = f"allow_anonymous: of anonymous clients {_NO_IDENTITY}"
        yield Finding(Severity.HOLE, anonymous.path, anonymous.line, message, "remove it")
    level = options.get("auth_level")
    if level is not None:
        try:
            bits = int(level.value)
        except ValueError:
            bits = 0
        if (not bits & _AUTHORIZE and bits not in {2, 4, 6}) or bits & _NO_GRIDMAP:
            message = f"auth_level {level.value}: {_NO_IDENTITY}"
            yield Finding(Severity.HOLE, level.path, level.line, message, "remove it")


# --- GRAM -------------------------------------------------------------------------------------------------------------


def _lint_job_manager(path: str) -> Iterator[Finding]:
    text, problems = _read(path, "no job manager starts")
    yield from problems
    if not problems and CALLOUT_OPTION not in text.split():
        yield _without_callout(path, None)


def _without_callout(path: str, line: int | None) -> Finding:
    message = f"no {CALLOUT_OPTION}: whoever knows a job's contact can query and cancel it"
    return Finding(Severity.HOLE, path, line, message, f"add a line {CALLOUT_OPTION}")


def _lint_service_lines(path: str) -> Iterator[Finding]:
    text, problems = _read(path, "the service is not there")
    yield from problems
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if len(words) < 4 or words[0].startswith("#"):  # options, user, program, name, arguments
            continue
        program, arguments = words[2], words[4:]
        if os.path.basename(program) == GATE:
            if "--" not in arguments or len(arguments) < arguments.index("--") + 3:
                message = "the gate is not told which job manager to run: every start is refused"
                yield Finding(Severity.BROKEN, path, number, message, "-- /usr/sbin/globus-job-manager NAME ...")
                continue
            behind = arguments[arguments.index("--") + 1 :]
            program, arguments = behind[0], behind[2:]
        elif _MANAGER in os.path.basename(program):
            message = "no gate before the job manager: a job that is denied runs later, when the next one is started"
            fix = f"/usr/bin/{GATE} {GATE} -- {' '.join(words[2:])}"
            yield Finding(Severity.HOLE, path, number, message, fix)
        if _MANAGER in os.path.basename(program) and CALLOUT_OPTION not in arguments:
            if arguments[:1] == ["-conf"] and len(arguments) > 1:  # the only place where it is taken
                yield from _lint_job_manager(arguments[1])
            else:
                yield _without_callout(path, number)
