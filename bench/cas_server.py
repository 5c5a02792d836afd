"""Fetching capabilities from the community's server over open TLS connections, one for each form.

What is measured is the processor time of the server's own processes for a request, all of it: TLS, judging, the site's
policy, the community's, the audit and the signature; so that it is fair whoever else is on the machine. The rate is
what two cores can do with that. There is no peer: no other server gives these forms.

    python bench/cas_server.py
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from cas.policy.changes import AddMember, Enrol, Grant, SetFqan
from cas.policy.model import Effect, Kind, ObjectName, Ref, Statement, User, UserGroup
from tests.harness.cas_server import CASServer, cas_server

CORES: Final = 2
REQUESTS: Final = 200
LIMITS: Final = {"jwt": 500, "attribute-certificate": 300, "saml1": 200}
ALICE: Final = "/O=Grid/CN=Alice"
DATA: Final = "ftp://localhost/data/*"


def figures(rounds: int = 3) -> list[Figure]:
    """Measure and return the figures."""
    with (
        tempfile.TemporaryDirectory() as directory,
        cas_server(Path(directory), http="requests_per_minute = 10000000") as server,
    ):
        server.change(
            Enrol(UserGroup("readers"), "superUserGroup"),
            Enrol(User("alice", ALICE, "ca"), "superUserGroup"),
            AddMember(Ref(Kind.USER_GROUP, "readers"), Ref(Kind.USER, "alice")),
            Enrol(ObjectName("FTPDirectoryTree", DATA), "superUserGroup"),
            Grant(
                Statement(
                    "readers",
                    Effect.PERMIT,
                    Ref(Kind.SERVICE_ACTION, "read", "file"),
                    Ref(Kind.OBJECT, DATA, "FTPDirectoryTree"),
                )
            ),
            SetFqan("readers", "/climate/readers"),
        )
        found = []
        for form, limit in LIMITS.items():
            _ask(server, form)  # to warm up
            rate = max(_rate(server, form) for _ in range(rounds))
            found.append(
                Figure(f"fetch a {form} over an open connection", rate, None, f">= {limit} /s", rate >= limit, "/s")
            )
        return found


def _rate(server: CASServer, form: str) -> float:
    before = processor_seconds(server.daemon.pid)
    _ask(server, form)
    return CORES * REQUESTS / (processor_seconds(server.daemon.pid) - before)


def _ask(server: CASServer, form: str) -> None:
    context = ssl.create_default_context(capath=str(server.trust_dir))
    context.load_cert_chain(str(server.person(ALICE)))
    connection = http.client.HTTPSConnection("localhost", server.daemon.port, context=context)
    try:
        for _ in range(REQUESTS):
            body = json.dumps({"form": form})
            connection.request("POST", "/cas/v1/capability", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}: {content.decode('utf-8', 'replace')}")
    finally:
        connection.close()


def processor_seconds(session: int) -> float:
    """Return what all processes of a session have used."""
    total = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = Path(f"/proc/{name}/stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    return 0 if show(figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
