"""Looks at what listens: TLS servers, plain ones, Unix sockets, and what servers tell monitors about themselves.

yield from look_at_tls("localhost:7512", visit, fix="systemctl start myproxy-server")
yield from look_at_health("127.0.0.1:9512", visit)
"""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError, Reason
from gsi.trust.diagnose import Finding, Severity, finding_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.doctor.visit import Visit

__all__ = ["local_place", "look_at_health", "look_at_stream", "look_at_tls", "look_at_unix"]

MAX_HEALTH_BYTES: Final = 65536
"""Of a server's own words about itself: a few hundred bytes are usual."""
MAX_LINE: Final = 300
"""Characters shown of what a server tells of one part of it."""
MAX_LINES: Final = 50

_WELL_OR_NOT: Final = frozenset({HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE})
_UNREACHED: Final = frozenset({"transport", "timeout"})


def local_place(listen: str) -> str:
    """Return where to reach a server of this machine that listens on `ADDRESS:PORT`, `*` being every address.

    Raises:
        ConfigError: It is no such.
    """
    from gsi.transport.listening import split_address

    host, port = split_address(listen)
    if host in {"", "::", "0.0.0.0"}:  # noqa: S104  compared, not listened on
        return f"localhost:{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def look_at_tls(place: str, visit: Visit, *, fix: str) -> Iterator[Finding]:
    """Look at a TLS server: does it listen, does it answer, and with a certificate for this machine.

    Args:
        place: HOST:PORT.
        visit: What is asked.
        fix: What to do when nobody listens.
    """
    from gsi.cli.server_findings import Probe, look_at_service

    probe = Probe(visit.anchors, visit.mode, visit.crl, visit.host, visit.timeout, http=False)
    for found in look_at_service(place, probe):
        if visit.anchors is None and found.check == Reason.UNTRUSTED:
            continue  # the look at the trust directory tells of that
        yield replace(found, check="port", hint=fix) if found.check in _UNREACHED else found


def look_at_stream(place: str, visit: Visit, *, fix: str) -> Finding:
    """Look whether anybody accepts connections at HOST:PORT."""
    from gsi.transport.stream import connect, parse_hosts

    try:
        stream, _ = connect(parse_hosts(place, default_port=0), timeout=visit.timeout, read_timeout=visit.timeout)
    except GridError as error:
        return replace(finding_of(error, place, check="port"), hint=fix)
    stream.close()
    return Finding(Severity.OK, "port", place, f"connected to {stream.peer}")


def look_at_unix(path: str, visit: Visit, *, fix: str) -> Finding:
    """Look whether anybody accepts connections at a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.settimeout(visit.timeout)
        try:
            made.connect(path)
        except OSError as error:
            return Finding(Severity.ERROR, "port", path, f"cannot connect: {error.strerror or error}", fix)
    return Finding(Severity.OK, "port", path, "somebody listens")


def look_at_health(listen: str, visit: Visit) -> Iterator[Finding]:
    """Look at what a server tells monitors.

    Args:
        listen: Where it tells them, as in its configuration.
        visit: What is asked.
    """
    try:
        place = local_place(listen)
    except GridError as error:
        yield finding_of(error, listen, check="health")
        return
    from gsi.transport.http import fetch

    where = f"http://{place}/health"
    try:
        told = fetch(where, timeout=visit.timeout, max_bytes=MAX_HEALTH_BYTES, max_redirects=0, accepts=_WELL_OR_NOT)
    except GridError as error:
        message = f"does not answer monitors: {error.message}"
        yield Finding(Severity.ERROR, "health", where, message, "start the server, or see its log")
        return
    if told.status == HTTPStatus.OK:
        yield Finding(Severity.OK, "health", where, "the server finds nothing wrong with itself")
        return
    for message in _troubles(told.data) or [f"status {told.status}"]:
        yield Finding(Severity.ERROR, "health", where, message, "see the server's log")


def _troubles(body: bytes) -> list[str]:
    """Return what a server says is wrong: by part in JSON, or one line of text."""
    try:
        told = json.loads(body)
        parts = told["checks"]
        return [f"{name}: {text}"[:MAX_LINE] for name, text in parts.items() if text != "ok"][:MAX_LINES]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        line = body.decode("utf-8", "replace").split("\n")[0].strip()
        return [line[:MAX_LINE]] if line else []
