"""Capabilities of a community for tests, its keys, and a VOMS listener of ours in a process of its own.

Workflow:
    capability = make_capability(alice, rights=[file_right("ftp://h/data/*", "read")])
    key = signing_key(ca.issue("/O=Grid/CN=cas"))
    with VOMSListener(directory, host, trust_dir, {alice.subject: ["/testvo/Role=NULL/Capability=NULL"]}) as one:
        one.port, one.requests()
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cas.assertion.signing import SigningKey
from cas.assertion.value import Capability, Comparison, Holder, Right
from gsi.ca.signer import KeySigner
from gsi.certificate import Certificate
from gsi.voms.ac_extensions import Tag
from tests.harness.ca import Issued, PrivateKey

__all__ = ["VO", "VOMSListener", "file_right", "make_capability", "signing_key", "token_key"]

VO: Final = "testvo"
_ROOT: Final = Path(__file__).resolve().parents[2]


def signing_key(issued: Issued) -> SigningKey:
    """The key of a community's service, with its certificates."""
    chain = tuple(Certificate.parse(one) for one in issued.chain_der)
    return SigningKey(KeySigner(issued.key), chain)


def token_key(key: PrivateKey) -> SigningKey:
    """A key without certificates."""
    return SigningKey(KeySigner(key))


def file_right(
    name: str, *actions: str, comparison: Comparison = Comparison.WILDCARD, namespace: str = "FTPDirectoryTree"
) -> Right:
    """A right on files."""
    return Right(namespace, name, comparison, "file", tuple(sorted(actions)))


def make_capability(
    holder: Issued | Certificate,
    *,
    rights: Sequence[Right] = (),
    fqans: Sequence[str] = (f"/{VO}/Role=NULL/Capability=NULL",),
    community: str = VO,
    audience: Sequence[str] = (),
    identifier: bytes | None = None,
    nickname: str = "alice",
    key_thumbprint: bytes | None = None,
    now: datetime | None = None,
    begins: timedelta = timedelta(),
    lifetime: timedelta = timedelta(hours=1),
    tags: Sequence[Tag] = (),
) -> Capability:
    """A capability; by default of one group, for an hour from now."""
    now = now or datetime.now(UTC).replace(microsecond=0)
    eec = holder if isinstance(holder, Certificate) else Certificate.parse(holder.der)
    return Capability(
        community=community,
        identifier=secrets.token_bytes(16) if identifier is None else identifier,
        holder=Holder(eec, nickname, key_thumbprint),
        rights=tuple(rights),
        fqans=tuple(fqans),
        audience=tuple(audience),
        issued_at=now,
        not_before=now + begins,
        not_after=now + begins + lifetime,
        tags=tuple(tags),
    )


_PROGRAM: Final = """
import json, os, sys
from datetime import timedelta
sys.path.insert(0, {root!r})
from cas.assertion.attribute_cert import AttributeIssuer, select_fqans
from cas.protocol.voms import Refusal, VOMSRefusalError
from cas.voms_server import VOMSService, VOMSSettings
from gsi.credential import parse_credential
from gsi.errors import StorageError
from gsi.system import clock
from gsi.system.trustdir import TrustDirectory
from gsi.transport.serve import bound_port, listen, serve
from tests.harness.capabilities import make_capability, signing_key
from gsi.ca.signer import KeySigner
from cas.assertion.signing import SigningKey

plan = json.load(open({plan!r}))
credential = parse_credential(open(plan["credential"], "rb").read())
key = SigningKey(KeySigner(credential.key), credential.certificates)
sockets = listen("127.0.0.1", 0)
issuer = AttributeIssuer(key, plan["vo"], "localhost:%d" % bound_port(sockets))
anchors = TrustDirectory(plan["trust_dir"]).anchors

def say(*words):
    os.write(1, (json.dumps(words) + chr(10)).encode())

def answer(peer, request, _address):
    say("asked", peer.identity, request.fqans, request.lifetime.total_seconds(), request.order, request.targets)
    behaviour = plan["members"].get(peer.identity)
    if behaviour is None:
        raise VOMSRefusalError("alice & co: <unknown> to this VO", refusal=Refusal.NOT_A_MEMBER)
    if behaviour == "suspended":
        raise VOMSRefusalError("suspended", refusal=Refusal.SUSPENDED)
    if behaviour == "down":
        raise StorageError("the database at db.example.org is gone")
    if behaviour == "defect":
        raise ValueError("a secret")
    fqans = select_fqans(behaviour, request.fqans, request.order)
    most = timedelta(seconds=plan["max_lifetime"])
    lifetime = min(request.lifetime or most, most)
    capability = make_capability(peer.eec, fqans=fqans, community=plan["vo"], audience=request.targets,
                                 begins=-timedelta(minutes=5), lifetime=lifetime + timedelta(minutes=5))
    return issuer.issue(capability, now=clock.now())

if plan["old"]:
    import cas.protocol.voms
    cas.protocol.voms.VOMSServerSession._http = lambda *_: b""

def again():
    found = parse_credential(open(plan["credential"], "rb").read())
    say("reloaded")
    return found

service = VOMSService(VOMSSettings(vo=plan["vo"]), answer, credential=credential, anchors=anchors, on_reload=again)
sys.exit(serve(sockets, lambda: service, on_ready=lambda: say("ready", bound_port(sockets))))
"""


class VOMSListener:
    """Our VOMS server, with members from a table.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    def __init__(
        self,
        directory: Path,
        server: Issued,
        trust_dir: Path,
        members: Mapping[str, Sequence[str] | str],
        *,
        max_lifetime: int = 43200,
        old: bool = False,
    ) -> None:
        """Prepare it.

        Args:
            directory: For its files.
            server: Its credential.
            trust_dir: The CAs.
            members: FQANs by DN; or how it fails, in a word.
            max_lifetime: Seconds.
            old: Know nothing of REST, as servers before VOMS 2.
        """
        server.write_bundle(directory / "voms-host.pem")
        plan = {
            "vo": VO,
            "credential": str(directory / "voms-host.pem"),
            "trust_dir": str(trust_dir),
            "members": dict(members),
            "max_lifetime": max_lifetime,
            "old": old,
        }
        self._plan = directory / "voms-plan.json"
        self._plan.write_text(json.dumps(plan))
        self._subject = server.subject
        self._log = directory / "voms.log"
        self.port = 0

    @property
    def vomses(self) -> str:
        """The line for a vomses file."""
        return f'"{VO}" "localhost" "{self.port}" "{self._subject}" "{VO}"\n'

    def __enter__(self) -> Self:
        program = _PROGRAM.format(root=str(_ROOT), plan=str(self._plan))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", program],
                stdout=subprocess.PIPE,
                stderr=log,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._process.stdout.close()
        assert line, self._log.read_text()
        self.port = json.loads(line)[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        out, _err = self._process.communicate(timeout=30)
        self._said = [json.loads(line) for line in out.splitlines()]
        assert self._process.returncode == 0, self._log.read_text()

    def reload(self) -> None:
        """Have it read its credential again, before anything was asked of it."""
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGHUP)
        assert json.loads(self._process.stdout.readline()) == ["reloaded"], self._log.read_text()

    def requests(self) -> list[list[object]]:
        """What was asked, after it has ended: identity, FQANs, lifetime in seconds, order, targets."""
        return [line[1:] for line in self._said if line[0] == "asked"]

    def log(self) -> str:
        """What it has complained of."""
        return self._log.read_text()
