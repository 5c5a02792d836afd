"""The process in which a server's side of one SASL exchange runs: lines of JSON in and out; no decisions.

Run by `myproxy.auth.sasl`, without site packages. libsasl2 reads the site's configuration once in a process, and its
plug-ins wait for daemons and networks; here they may, and this process is ended when its time is up.

    in   {"fqdn": ..., "realm": ...}                    out  {"mechanisms": "..."}
    in   {"mechanism": "...", "data": base64 or null}   out  {"challenge": base64}, or {"names": [wanted, proved]}
    in   {"data": base64}                               out  the same
         in place of each answer                        out  {"error": "...", "unjudged": whether it cannot tell}, and
                                                             the end
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Final

from gsi.errors import GridError
from myproxy.auth.base import UnjudgedError
from myproxy.auth.libsasl import ServerExchange, Step

__all__ = ["MAX_LINE_BYTES", "SERVICE", "main"]

SERVICE: Final = "myproxy"
"""The service's name, and that of its configuration file, as in gct:myproxy/source/myproxy_sasl_server.c."""
MAX_LINE_BYTES: Final = 64 * 1024
"""Twice the largest data in base64."""


def main() -> int:
    """Serve one exchange."""
    try:
        asked = _read()
        with ServerExchange(SERVICE, fqdn=asked["fqdn"], realm=asked["realm"]) as server:
            _write({"mechanisms": server.mechanisms()})
            asked = _read()
            data = asked["data"]
            step = server.start(str(asked["mechanism"]), None if data is None else base64.b64decode(data))
            while not step.done:
                _write({"challenge": _encode(step)})
                step = server.step(base64.b64decode(_read()["data"] or ""))
            _write({"names": list(server.names())})
    except EOFError:
        return 0
    except GridError as error:
        _write({"error": error.message, "unjudged": isinstance(error, UnjudgedError)})
    return 0


def _encode(step: Step) -> str:
    return base64.b64encode(step.data or b"").decode("ascii")


def _read() -> dict[str, str | None]:
    line = sys.stdin.buffer.readline(MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise EOFError
    value: dict[str, str | None] = json.loads(line)
    return value


def _write(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
