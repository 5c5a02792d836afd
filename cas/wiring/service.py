"""The service with all its parts, as the configuration says; made anew in each worker process.

prepare(config)                                    # once, before workers are forked: directory and database
with open_community(config) as opened:             # in each worker
    opened.service.capability(...)
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cas.assertion.attribute_cert import carried_fqans, select_fqans
from cas.assertion.embed import carried_assertions
from cas.assertion.keys import ASSERTIONS, TOKENS, KeyHistory, KeyRings, load_ring
from cas.assertion.scopes import WITHOUT_PATH
from cas.assertion.token import TokenContent
from cas.issuing import Form, Forms, TokenForms
from cas.policy.bounds import JOB_TYPES, Bounds
from cas.policy.caller import Caller
from cas.repository.rows import rows
from cas.repository.sql import open_postgres_policy, open_sqlite_policy
from cas.repository.withdrawn import Withdrawn
from cas.rights import Rights
from cas.service import CapabilityRequest, PolicyService
from cas.wiring.authz import make_gate
from cas.wiring.peers import Knowledge
from gsi.authz.principals import normal_fqan
from gsi.errors import CapabilityError, DeniedError, ParseError
from gsi.sql.engine import prepare_private_directory
from gsi.system import clock
from gsi.system.audit import AuditLog, AuditRecord, AuditSink, Verdict
from gsi.system.environ import read_locations
from gsi.system.health import check_anchors, check_dates
from gsi.system.trustdir import TrustDirectory
from gsi.system.vomsdir import VOMSDirectory
from gsi.transport.listening import split_address
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.verify import VerificationCache, verify_chain
from gsi.voms.lsc import NamePair, TrustedServer
from gsi.voms.verify import AttributeVerifier, VOMSOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from cas.config import CASConfig, KeySettings
    from cas.repository.sql import SQLPolicy
    from cas.wiring.authz import SiteGate
    from gsi.tokens.rules import Profile
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer
    from gsi.voms.attribute_cert import AttributeCertificate
    from gsi.voms.exchange import FetchRequest

__all__ = ["OpenedCommunity", "open_community", "open_policy", "prepare"]

KIDS_NAME: Final = "kids.json"


@dataclass(frozen=True, slots=True)
class _Own:
    """Believes this community's own server."""

    community: str
    rings: KeyRings

    def find(self, vo: str, host: str) -> TrustedServer | None:
        """See `gsi.voms.verify.ServerTrust`."""
        del host
        if vo != self.community:
            return None
        chains = []
        for one in self.rings.ring.keys:
            first = one.key.certificates[0]
            chains.append((NamePair(first.subject_der, first.issuer_der),))
        return TrustedServer(tuple(chains))


class OpenedCommunity:
    """A community's service with what it needs beside it; a context manager. Safe for use by several threads.

    Attributes:
        config: The configuration.
        service: The service.
        forms: Signs capabilities.
        gate: The site's policy.
        withdrawn: The withdrawn capabilities.
        audit: Where decisions are recorded; counted, where that is wished.
        anchors: Returns the trust anchors now.
        now: The clock.
    """

    def __init__(
        self,
        config: CASConfig,
        *,
        repository: SQLPolicy,
        log: AuditLog,
        audit: AuditSink,
        rings: KeyRings,
        token_rings: KeyRings,
        apart: datetime | None,
        gate: SiteGate,
        knowledge: Knowledge,
        anchors: Callable[[], TrustAnchors],
        now: Callable[[], datetime],
    ) -> None:
        self.config = config
        self.audit = audit
        self.gate = gate
        self.anchors = anchors
        self.now = now
        self.service = PolicyService(repository, config.settings(), audit, now)
        self.withdrawn = Withdrawn(repository.database)
        tokens = None
        if config.tokens is not None:
            tokens = TokenForms(token_rings, config.tokens.options, config.tokens.profile, config.tokens.issuer, apart)
        self.forms = Forms(rings, community=config.community, place=voms_place(config), tokens=tokens)
        self._repository = repository
        self._log = log
        self._rings = rings
        self._token_rings = token_rings
        self._knowledge = knowledge
        self._cache = VerificationCache()
        self._validation = ValidationOptions(purpose=Purpose.CLIENT, crl=config.trust.crl)
        self._carried = AttributeVerifier(_Own(config.community, rings), anchors, VOMSOptions(any_host=True))
        self._others = None
        if config.trust.vomsdir:
            self._others = AttributeVerifier(
                VOMSDirectory(config.trust.vomsdir), anchors, VOMSOptions(hosts=frozenset({os.uname().nodename}))
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close store and audit, and let go of the keys."""
        self._repository.close()
        self._log.close()
        self._rings.close()
        if self._token_rings is not self._rings:
            self._token_rings.close()

    def parts(self) -> Mapping[str, Callable[[], object]]:
        """Return what the community needs, for `gsi.system.health`."""
        ask = "SELECT revision FROM policy"
        return {
            "trust": lambda: check_anchors(self.anchors()),
            "key": self._check_keys,
            "store": lambda: self._repository.database.reading(lambda connection: rows(connection, ask)),
        }

    def _check_keys(self) -> None:
        """Insist on keys that may sign now.

        Raises:
            IssuanceError: There is none.
            ConfigError: The key's certificate has ended.
        """
        now = self.now()
        for rings in (self._rings, self._token_rings):
            key = rings.ring.signing_key(now)
            for one in key.certificates[:1]:
                check_dates(one, now=now, what=f"the certificate of the signing key {key.kid}")

    # --- who asks -----------------------------------------------------------------------------------------------------

    def verify(self, chain: Sequence[bytes]) -> VerifiedPeer:
        """Judge the chain of a connection.

        Raises:
            VerificationError: It must not be trusted.
        """
        return verify_chain(chain, self.anchors(), now=self.now(), options=self._validation, cache=self._cache)

    def caller(self, peer: VerifiedPeer, *, address: str = "", request_id: str = "") -> Caller:
        """Return who a proven peer is to the community, with what other communities and the directory say of it.

        Raises:
            DeniedError: An identity of its own, without its issuer's rights.
            StorageError: The directory cannot be asked.
        """
        fqans: list[str] = []
        if self._others is not None:
            for found in self._others.verify_chain(peer, now=self.now()):
                if found.attributes is not None and found.attributes.authority.vo != self.config.community:
                    fqans += found.attributes.fqans
        return Caller.from_peer(
            peer,
            bounds=self._bounds(peer),
            fqans=fqans,
            groups=self._knowledge.groups(peer, now=self.now()),
            strength=self._knowledge.strength(peer),
            address=address,
            request_id=request_id,
        )

    def _bounds(self, peer: VerifiedPeer) -> Bounds:
        """Return what a peer's proxies leave of its rights.

        Raises:
            DeniedError: They carry an assertion that cannot be read.
        """
        carried = frozenset(normal_fqan(one) for one in self.carried(peer)) or None
        without = frozenset[str]()
        if peer.limited:
            rules = () if self.config.tokens is None else self.config.tokens.rule
            without = JOB_TYPES | {one.service_type for one in rules if one.scope in WITHOUT_PATH}
        signers = [one.key.certificates[0].subject_der for one in self._rings.ring.keys if one.key.certificates]
        found = carried_assertions(peer.chain, signers)
        fqans = carried
        for one in found:
            said = frozenset(
                short for value in one.attributes for short in map(_normal_or_empty, value.values) if short
            )
            fqans = said if fqans is None else fqans & said
        return Bounds(
            fqans=fqans, groups_only=carried, decisions=tuple(one.decisions for one in found), without=without
        )

    def is_member(self, peer: VerifiedPeer) -> bool:
        """Say whether a peer is enrolled."""
        caller = Caller.from_peer(peer)
        return self._repository.reading(lambda view: view.find_user(caller.subject_key, caller.issuer_key) is not None)

    def note_refusal(
        self, action: str, error: DeniedError, *, peer: str, address: str = "", request_id: str = ""
    ) -> None:
        """Record a refusal that the service does not hear of.

        Raises:
            StorageError: It could not be recorded.
        """
        reasons = [error.message]
        cause = error.__cause__
        if isinstance(cause, DeniedError):
            reasons.append(cause.message)
        self.audit.record(
            AuditRecord(
                time=self.now(),
                request_id=request_id,
                service="cas",
                action=action.lower(),
                verdict=Verdict.DENY,
                reason=" <- ".join(reasons),
                peer=peer,
                address=address,
            )
        )

    # --- VOMS ---------------------------------------------------------------------------------------------------------

    def answer_voms(
        self, peer: VerifiedPeer, request: FetchRequest, request_id: str, *, address: str = ""
    ) -> AttributeCertificate:
        """Return the attribute certificate that a VOMS client asks for.

        Raises:
            DeniedError: Not a member, or something that it has not.
            GridError: It cannot be issued.
        """
        now = self.now()
        try:
            self.gate.require(peer, "ISSUE", Form.ATTRIBUTES.value, address=address, request_id=request_id)
            caller = self.caller(peer, address=address, request_id=request_id)
            held = self._repository.reading(lambda view: view.fqans_of(Rights.of(view, caller, now).groups))
            root = f"/{self.config.community}"
            ours = [root, *(fqan for fqan in held if fqan.startswith(f"{root}/"))]
            carried = self.carried(peer)
            chosen = select_fqans(ours, request.fqans, request.order, carried=carried)
        except DeniedError as error:
            self.note_refusal("issue", error, peer=peer.identity, address=address, request_id=request_id)
            raise
        wanted = CapabilityRequest(
            policy=None,
            fqans=chosen,
            lifetime=request.lifetime,
            audience=request.targets,
            form=Form.ATTRIBUTES.value,
        )
        capability = self.service.capability(caller, wanted)
        return self.forms.attribute_certificate(capability, now=now)

    def says_groups(self, profile: Profile | None) -> bool:
        """Say whether tokens of a profile (None for the server's own) say groups."""
        tokens = self.config.tokens
        if tokens is None:
            return False
        return tokens.options(profile or tokens.profile).content is not TokenContent.CAPABILITIES

    def bound_fqans(self, peer: VerifiedPeer, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the FQANs to ask the service for: those wanted, within what the peer's proxies carry.

        Returns:
            Empty for all groups; None where nothing is left.
        """
        carried = tuple(dict.fromkeys(normal_fqan(one) for one in self.carried(peer)))
        if not carried:
            return wanted
        if not wanted:
            return tuple(one for one in carried if "/Role=" not in one) or None
        return tuple(one for one in map(normal_fqan, wanted) if one in carried) or None

    def carried(self, peer: VerifiedPeer) -> tuple[str, ...]:
        """Return the FQANs of this community in a peer's proxies, which bound what it gets."""
        try:
            return carried_fqans(peer, self.config.community, self._carried, now=self.now())
        except CapabilityError:
            return ()


def _normal_or_empty(text: str) -> str:
    try:
        return normal_fqan(text)
    except ParseError:
        return ""


def voms_place(config: CASConfig) -> str:
    """Return the `host:port` that stands in attribute certificates."""
    if config.voms is None:
        return f"{os.uname().nodename}:{split_address(config.http.listen)[1] or 1}"
    if config.voms.place:
        return config.voms.place
    return f"{os.uname().nodename}:{split_address(config.voms.listen)[1] or 1}"


def prepare(config: CASConfig) -> None:
    """Make or upgrade the store, so that mistakes show before a server detaches.

    Raises:
        ConfigError: The database is not good.
        StorageError: Directory, store or audit cannot be used, or are not safe.
    """
    with contextlib.closing(open_policy(config)):
        AuditLog(config.store.audit_path).close()


def open_policy(config: CASConfig, *, patient: bool = False) -> SQLPolicy:
    """Open the policy, creating or upgrading its tables.

    Args:
        config: Where it is.
        patient: Whether requests wait for a database that is away; a start does not.

    Raises:
        ConfigError: The database is not good.
        StorageError: Directory or database cannot be used, or are not safe.
    """
    store = config.store
    prepare_private_directory(store.directory)
    if not store.database:
        return open_sqlite_policy(store.directory)
    return open_postgres_policy(
        store.database,
        connections=store.connections,
        patience_seconds=store.patience.total_seconds() if patient else 0.0,
    )


def open_community(
    config: CASConfig,
    *,
    meter: Callable[[AuditSink], AuditSink] = lambda sink: sink,
    now: Callable[[], datetime] = clock.now,
    is_trial: bool = False,
) -> OpenedCommunity:
    """Return the service.

    Args:
        config: The configuration.
        meter: Puts what counts decisions around the audit.
        now: The time.
        is_trial: Whether the configuration is only looked at: that tokens get keys of their own is not noted yet.

    Raises:
        ConfigError: The configuration cannot be used.
        GridError: Keys, store, trust directory or audit cannot be used.
    """
    with contextlib.ExitStack() as opened:
        gate = make_gate(config.policy)
        knowledge = Knowledge(config)
        trust = TrustDirectory(config.trust.directory or read_locations().trust_dir, recheck_seconds=1.0)
        trust.anchors()
        repository = open_policy(config, patient=True)
        opened.callback(repository.close)
        apart = None
        own = () if config.tokens is None else config.tokens.key
        if not is_trial:
            history = KeyHistory(config.store.path(KIDS_NAME))
            if own:
                apart = history.note_apart(now=now())
            else:
                history.note_together()
        rings = _rings(config, ASSERTIONS, config.key, own, now())
        opened.callback(rings.close)
        token_rings = rings
        if own:
            token_rings = _rings(config, TOKENS, own, config.key, now())
            opened.callback(token_rings.close)
        log = AuditLog(config.store.audit_path)
        opened.pop_all()  # from here on all of it belongs to who gets it
    return OpenedCommunity(
        config,
        repository=repository,
        log=log,
        audit=meter(log),
        rings=rings,
        token_rings=token_rings,
        apart=apart,
        gate=gate,
        knowledge=knowledge,
        anchors=trust.anchors,
        now=now,
    )


def _rings(
    config: CASConfig, ring: str, keys: Sequence[KeySettings], others: Sequence[KeySettings], now: datetime
) -> KeyRings:
    specs = [one.spec() for one in keys]
    history = KeyHistory(config.store.path(KIDS_NAME), ring, others=[one.spec().ends for one in others])
    return KeyRings(lambda moment: load_ring(specs, history, now=moment), now=now)
