"""A MyProxy service without sockets: real chains, real store, a clock that stands still.

Workflow:
    with make_world(ca, tmp_path) as world:
        world.put(alice, ask(Command.PUT))
        proxy = world.get(None, ask(Command.GET))
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gsi.certificate import Certificate
from gsi.credential import Credential, parse_credential
from gsi.delegation import DelegationRequester, grant_delegation, parse_delegation_request
from gsi.errors import StorageError
from gsi.keys import KeyType, generate_key
from gsi.proxy.issue import ProxyOptions
from gsi.secret import Passphrase
from gsi.system.audit import AuditRecord, Verdict
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import VerifiedPeer, verify_chain
from myproxy.authentication import Methods
from myproxy.callouts import SiteRules
from myproxy.extensions import ProxyExtensionSource
from myproxy.grants import Caller, RetrievalGrant, Settings
from myproxy.issuing import Authority
from myproxy.policy import AccessPolicy, parse_rules
from myproxy.protocol.messages import Command, Request, TrustRootFile
from myproxy.repository.events import SQLEvents
from myproxy.repository.history import History
from myproxy.repository.seal import Sealer, SealParameters
from myproxy.repository.sql import SQLRepository, open_sqlite_repository
from myproxy.service import MyProxyService
from tests.harness.ca import Issued, TestCA, write_trust_dir
from tests.harness.stores import lay_store

__all__ = ["EVERYONE", "HOUR", "OPEN", "SECRET", "CountingSealer", "Sink", "World", "ask", "make_world"]

SECRET = "correct horse"
EVERYONE = parse_rules(["*"])
OPEN = AccessPolicy(accepted_credentials=EVERYONE, authorized_retrievers=EVERYONE)
HOUR = timedelta(hours=1)


class Sink:
    """Remembers records; refuses them when it is `broken`."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.broken = False

    def record(self, record: AuditRecord) -> None:
        if self.broken:
            raise StorageError("no space left")
        self.records.append(record)

    def post(self, record: AuditRecord) -> Sink:
        self.record(record)
        return self

    def settle(self) -> None:
        if self.broken:
            raise StorageError("no space left")

    def when_known(self, tell: Callable[[], None], *, soon: bool = True) -> None:
        del soon
        tell()

    @property
    def failure(self) -> Exception | None:
        return StorageError("no space left") if self.broken else None

    @property
    def waited(self) -> float | None:
        return None


class CountingSealer(Sealer):
    """Counts derivations and notes their prices."""

    def __init__(self, parameters: SealParameters, *, in_use: Iterable[SealParameters] = ()) -> None:
        super().__init__(parameters, in_use=in_use)
        self.paid: list[SealParameters] = []

    @property
    def count(self) -> int:
        return len(self.paid)

    def _derive(self, passphrase: Passphrase, salt: bytes, cost: SealParameters) -> bytes:
        self.paid.append(cost)
        return super()._derive(passphrase, salt, cost)


@dataclass
class World:
    ca: TestCA
    service: MyProxyService
    repository: SQLRepository
    sealer: CountingSealer
    trust: TrustDirectory
    directory: Path
    sink: Sink = field(default_factory=Sink)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    history: History = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(SQLEvents(self.repository.database), clock=lambda: self.now)

    def configure(
        self,
        settings: Settings,
        methods: Methods | None = None,
        trust_roots: tuple[TrustRootFile, ...] = (),
        site_rules: SiteRules | None = None,
        authority: Authority | None = None,
        proxy_extensions: ProxyExtensionSource | None = None,
        is_near: bool = True,
    ) -> None:
        """Make the service anew with other settings, on the same store."""
        self.service = MyProxyService(
            settings,
            repository=self.repository,
            sealer=self.sealer,
            audit=self.sink,
            verify=self.verify,
            clock=lambda: self.now,
            methods=methods or Methods(),
            trust_roots=lambda: trust_roots,
            site_rules=site_rules or SiteRules(),
            authority=authority,
            proxy_extensions=proxy_extensions,
            history=self.history,
            is_near=is_near,
        )

    def verify(self, chain: Sequence[Certificate | bytes], *, now: datetime) -> VerifiedPeer:
        return verify_chain(chain, self.trust.anchors(), now=now)

    def credential(self, issued: Issued) -> Credential:
        return parse_credential(issued.bundle(), source="test")

    def caller(self, issued: Issued | None) -> Caller:
        peer = None
        if issued is not None:
            peer = self.verify(issued.chain_der, now=self.now)
        return Caller(peer, "127.0.0.1", "c0ffee")

    def put(
        self, issued: Issued, request: Request, *, signer: Issued | None = None, options: ProxyOptions | None = None
    ) -> None:
        grant = self.service.begin_put(self.caller(issued), request)
        wanted = parse_delegation_request(grant.requester.request_der)
        options = options or ProxyOptions(lifetime=24 * HOUR)
        chain = grant_delegation(self.credential(signer or issued), wanted, options, now=self.now)
        self.service.finish_put(grant, [certificate.der for certificate in chain])

    def begin_get(self, issued: Issued | None, request: Request) -> RetrievalGrant:
        """Ask for a proxy where no round of authorization is due."""
        grant = self.service.begin_get(self.caller(issued), request)
        assert isinstance(grant, RetrievalGrant)
        return grant

    def get(self, issued: Issued | None, request: Request) -> Credential:
        grant = self.begin_get(issued, request)
        requester = DelegationRequester(generate_key(KeyType.P256))
        chain = self.service.finish_get(grant, requester.request_der)
        return requester.accept([certificate.der for certificate in chain], now=self.now)

    def verdicts(self) -> list[tuple[str, Verdict]]:
        return [(record.action, record.verdict) for record in self.sink.records]


@contextlib.contextmanager
def make_world(ca: TestCA, directory: Path) -> Iterator[World]:
    """A service with an open policy and cheap seals."""
    trust = write_trust_dir(directory / "certificates", ca, crl=True)
    lay_store(open_sqlite_repository, directory / "store")
    repository = open_sqlite_repository(str(directory / "store"))
    sealer = CountingSealer(SealParameters(memory_kib=8, iterations=1))
    made = World(ca, None, repository, sealer, TrustDirectory(str(trust)), trust)  # type: ignore[arg-type]  # set at once
    made.configure(Settings(access=OPEN))
    yield made
    repository.close()


def ask(command: Command, **changes: object) -> Request:
    base = Request(command, "alice", passphrase=Passphrase(SECRET), lifetime=12 * HOUR)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # field values by name
