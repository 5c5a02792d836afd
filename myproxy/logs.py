"""Where the server's log goes, and its form: one line per event, with nothing in it that drives a terminal.

    log_to_stderr(verbose=False, form=parse_form("json"))

Operational messages only; decisions are in the audit (`gsi.system.audit`), tied to them by the request's id.
"""

from __future__ import annotations

import itertools
import json
import logging
import logging.handlers
import os
import re
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from gsi.cli.run import printable
from gsi.errors import ConfigError

__all__ = ["LogForm", "find_facility", "log_to_stderr", "log_to_syslog", "parse_facility", "parse_form"]

SYSLOG_SOCKET: Final = "/dev/log"


class _LineFormatter(logging.Formatter):
    """Puts every event on one line, control characters escaped: names in messages come from strangers."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record)).replace("\n", " | ")


class _JSONFormatter(logging.Formatter):
    """Makes every event one JSON object in one line of ASCII; the request's id, where there is one, is a field."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        fields: dict[str, str | int] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": os.getpid(),
        }
        if found := _REQUEST.match(message):
            fields["request"], message = found[1], message[found.end() :]
        fields["message"] = message
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":"))


_REQUEST: Final = re.compile(r"([0-9a-f]{16}): ")


class LogForm(Enum):
    """How an event is written."""

    TEXT = "text"
    JSON = "json"


def parse_form(text: str | None) -> LogForm:
    """Return the form of that name; text where none is given.

    Raises:
        ConfigError: There is no such form.
    """
    try:
        return LogForm(text or "text")
    except ValueError as error:
        raise ConfigError(f"log_format: {text!r} is not one of text, json") from error


def find_facility(text: str | None) -> int | None:
    """Return syslog's facility of that name, as `daemon` or `LOG_DAEMON`; None where there is none.

    As for the C server, whose number goes to openlog(3) as it is, a number counts eights: 16 is `mail`.
    """
    names = logging.handlers.SysLogHandler.facility_names
    name = (text or "daemon").lower().removeprefix("log_")
    if digits := "".join(itertools.takewhile("0123456789".__contains__, name)):
        number = int(digits[:9]) >> 3
        return number if number in names.values() else None
    return names.get(name)


def parse_facility(text: str | None) -> int:
    """Return syslog's facility of that name; `daemon` where there is none of it, as for the C server."""
    found = find_facility(text)
    return logging.handlers.SysLogHandler.LOG_DAEMON if found is None else found


def log_to_stderr(*, verbose: bool, form: LogForm = LogForm.TEXT) -> None:
    """Log to standard error; with `verbose` every request."""
    _install(logging.StreamHandler(), "%(asctime)s %(levelname)s %(message)s", form, verbose=verbose)


def log_to_syslog(
    ident: str,
    *,
    verbose: bool,
    form: LogForm = LogForm.TEXT,
    facility: int = logging.handlers.SysLogHandler.LOG_DAEMON,
) -> bool:
    """Log to the local syslog; False, and no log at all, where there is none."""
    handler: logging.Handler = logging.NullHandler()
    found = os.path.exists(SYSLOG_SOCKET)
    if found:
        try:
            syslog = logging.handlers.SysLogHandler(SYSLOG_SOCKET, facility)
            syslog.ident = f"{ident}[{os.getpid()}]: "
            handler = syslog
        except OSError:
            found = False
    _install(handler, "%(levelname)s %(message)s", form, verbose=verbose)
    return found


def _install(handler: logging.Handler, layout: str, form: LogForm, *, verbose: bool) -> None:
    handler.setFormatter(_JSONFormatter() if form is LogForm.JSON else _LineFormatter(layout))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("myproxy").setLevel(logging.DEBUG if verbose else logging.INFO)
