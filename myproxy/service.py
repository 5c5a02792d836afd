"""What the repository server does, one method per command; no socket, no file, no clock of its own.

    caller = service.admit(peer, address=..., request_id=...)
    grant = service.begin_get(caller, request)              # authenticated and permitted, or an error
    certificates = service.finish_get(grant, request_der)   # the new proxy and its chain
    grant = service.begin_put(caller, request)
    service.finish_put(grant, certificates)                 # verified, sealed, stored

Only `AuthenticationError` and `DeniedError` carry words for the client (lines joined by line feeds, in the C server's
words where scripts look for them); whatever else is raised is the server's own trouble. Every decision is recorded, and
the record is on disk, before a credential leaves or is acknowledged; if that fails the request fails. Methods block on
the store and on key derivation: shells call them in threads. Agrees with gct:myproxy/source/myproxy_server.c, but for
clients with independent or restricted proxies, which the C server lets in under names of their own (`admit`).
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from gsi import keys, pem
from gsi.certificate import Certificate
from gsi.credential import Credential
from gsi.delegation import DelegationRequester, grant_delegation, parse_delegation_request
from gsi.errors import (
    AuthenticationError,
    ConflictError,
    CredentialError,
    DeniedError,
    GridError,
    NotFoundError,
    ParseError,
    RemoteProtocolError,
    StorageError,
    VerificationError,
)
from gsi.names import oneline
from gsi.proxy.chain import ProxyChain
from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyKind
from myproxy.auth.passphrase import authenticate, check_new_passphrase, open_key, place_of
from myproxy.grants import Caller, RetrievalGrant, Settings, StorageGrant
from myproxy.policy import parse_rule
from myproxy.protocol.codec import is_sendable
from myproxy.protocol.messages import CredentialInfo, Request
from myproxy.repository.base import StoredCredential
from myproxy.repository.seal import INVALID_PASSPHRASE, Sealer
from myproxy.trail import AuditSink, DecisionTrail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsi.trust.verify import VerifiedPeer
    from myproxy.policy import Permission
    from myproxy.repository.base import Repository

__all__ = ["ChainVerifier", "MyProxyService", "proxy_lifetime"]

CREDENTIAL_LIFETIME_SLACK: Final = timedelta(hours=1)
"""How far a stored credential may pass `max_cred_lifetime`: clocks differ, and clients ask for exactly the maximum."""

SHORTEST_PROXY: Final = timedelta(seconds=300)
"""A shorter lifetime is raised to this; a proxy starts five minutes in the past, and a tiny rest helps nobody."""

_OCCUPIED: Final = """\
Credentials are already stored for user {user}
and they are not owned by
"{client}",
so you may not overwrite them.
Please choose a different username or credential name or
contact your myproxy-server administrator."""


class ChainVerifier(Protocol):
    """Judges a chain against the trust anchors of the moment."""

    def __call__(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
        """Return the proven identity, or raise VerificationError."""
        ...


def proxy_lifetime(asked: timedelta, stored: timedelta, maximum: timedelta) -> timedelta:
    """Return the lifetime of a delegated proxy: the least of the three that are set, in whole minutes.

    Zero means not set; when none is, the result is zero: as long as its issuer. Anything below five minutes is
    raised to five.
    """
    limits = [limit for limit in (asked, stored, maximum) if limit > timedelta(0)]
    if not limits:
        return timedelta(0)
    return max(min(limits), SHORTEST_PROXY) // timedelta(minutes=1) * timedelta(minutes=1)


class MyProxyService:
    """The commands. Safe for use by several threads."""

    def __init__(
        self,
        settings: Settings,
        *,
        repository: Repository,
        sealer: Sealer,
        audit: AuditSink,
        verify: ChainVerifier,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._repository = repository
        self._sealer = sealer
        self._trail = DecisionTrail(audit, clock)
        self._verify = verify
        self._clock = clock

    def admit(self, peer: VerifiedPeer | None, *, address: str, request_id: str) -> Caller:
        """Let a verified or anonymous client in, but for those with independent or restricted proxies.

        Such a proxy has none of its end entity's rights (RFC 3820 section 3.8.2 and 4.2), and its name, which anyone
        may choose who holds any certificate, is that of the end entity with more behind it: a policy like
        `*/CN=Alice`, which is how sites write them, would be met by Mallory's proxy `.../CN=Mallory/CN=Alice`. The C
        server judges these by that name; here they are turned away.

        Raises:
            DeniedError: The client cannot be let in.
        """
        if peer is not None and (peer.independent or peer.kind is ProxyKind.RESTRICTED):
            kind = ProxyKind.INDEPENDENT if peer.independent else ProxyKind.RESTRICTED
            error = DeniedError(
                f"authentication failed\n{kind} proxies carry no rights here; use a full or limited proxy"
            )
            self._trail.refuse_client(address, request_id, [peer.leaf.der], error, peer=peer.identity)
            raise error
        return Caller(peer, address, request_id)

    def refuse_client(
        self, error: VerificationError, *, address: str, request_id: str, presented: Sequence[bytes] = ()
    ) -> None:
        """Take note that a client is refused because its certificates are not believed, before it is told.

        Args:
            error: What is wrong with them.
            address: Where the client is, for the audit.
            request_id: The id of the connection.
            presented: What the client showed, DER, leaf first; empty where OpenSSL has kept it to itself.

        Raises:
            StorageError: It could not be recorded.
        """
        self._trail.refuse_client(address, request_id, presented, error)

    def refuse_message(self, caller: Caller, request: Request | None, error: RemoteProtocolError) -> None:
        """Take note that a client has left the protocol, before it is told.

        Args:
            caller: The client.
            request: What it had asked for before, or None when that is what could not be read.
            error: What was wrong.

        Raises:
            StorageError: It could not be recorded.
        """
        self._trail.refuse_message(caller, request, error)

    def begin_get(self, caller: Caller, request: Request) -> RetrievalGrant:
        """Authenticate a client by pass phrase and open the credential it asks for.

        Raises:
            AuthenticationError: No such credential, a wrong pass phrase, or (to a client without certificate) a
                credential that it may not have: one text, one duration.
            DeniedError: Policy, a lock, or a stored chain that is no longer valid.
        """
        with self._trail.deciding(caller, request, "GET"):
            permission = self._settings.access.permit_server_retrieval(caller.client)
            stored = self._find(request)
            if stored is not None:
                permission = self._permit_credential(caller, request, stored)
            proof = authenticate(stored, request.passphrase, self._sealer)
            assert stored is not None  # authenticate has refused
            if stored.lock_message is not None:
                raise DeniedError(f"credential locked\n{stored.lock_message}")
            credential = self._load(stored, proof.key)
            self._check_still_valid(credential)
            limits = request.lifetime, stored.lifetime, self._settings.max_proxy_lifetime
            grant = RetrievalGrant(
                caller=caller,
                request=request,
                permission=permission,
                credential=credential,
                lifetime=proxy_lifetime(*limits),
                limited=caller.is_limited and self._settings.limited_stays_limited,
            )
            self._trail.permit(caller, request, "GET", permission, method=proof.method.value, owner=stored.owner)
            self._seal_anew(stored, proof.key, request)
        return grant

    def finish_get(self, grant: RetrievalGrant, request_der: bytes) -> tuple[Certificate, ...]:
        """Sign a proxy for the client's key; return it with its issuers.

        Raises:
            DeniedError: The request cannot be read, its key is too weak, or such a proxy may not be made.
        """
        with self._trail.deciding(grant.caller, grant.request, "DELEGATE"):
            try:
                wanted = parse_delegation_request(request_der, min_rsa_bits=self._settings.min_key_bits)
                options = ProxyOptions(kind=_granted_kind(grant), lifetime=grant.lifetime)
                chain = grant_delegation(grant.credential, wanted, options, now=self._clock())
            except (ParseError, CredentialError, RemoteProtocolError, VerificationError) as error:
                raise DeniedError(f"Unable to delegate credentials.\n{error.message}") from error
            self._trail.permit(
                grant.caller,
                grant.request,
                "DELEGATE",
                grant.permission,
                subject=oneline(chain[0].subject_der),
                not_after=chain[0].not_after.isoformat(),
            )
        return chain

    def begin_put(self, caller: Caller, request: Request) -> StorageGrant:
        """Permit a client to store a credential, and make the key that it will delegate to.

        Raises:
            DeniedError: Policy, somebody else's credential at this address, a pass phrase that is too short, or a
                name or policy that cannot be kept.
        """
        with self._trail.deciding(caller, request, "PUT"):
            permission = self._settings.access.permit_storage(caller.client, owner=None)
            _check_storable(request)
            check_new_passphrase(request.passphrase)
            existing = self._find(request)
            if existing is not None and existing.owner != caller.client.name:
                raise _occupied(caller, request)
            # RSA: C programs of the field cannot all sign below a proxy of another kind.
            requester = DelegationRequester(keys.generate_key(keys.KeyType.RSA, bits=2048))
            return StorageGrant(caller=caller, request=request, permission=permission, requester=requester)

    def finish_put(self, grant: StorageGrant, certificates: Sequence[bytes]) -> None:
        """Check the delegated chain and store it with the key, sealed. On disk when it returns.

        The delegated identity need not be the one that the client showed (the C server does not ask either); the
        owner is the one shown, and the audit names both.

        Raises:
            DeniedError: The chain is not for our key, not valid, or lives too long; or the address was taken meanwhile.
        """
        caller, request = grant.caller, grant.request
        with self._trail.deciding(caller, request, "PUT"):
            now = self._clock()
            try:
                credential = grant.requester.accept(certificates, now=now)
            except GridError as error:
                raise DeniedError(f"Failed to accept credentials.\n{error.message}") from error
            try:
                verified = self._verify(credential.certificates, now=now)
            except VerificationError as error:
                raise DeniedError(f"Credentials are not valid.\n{error.message}") from error
            self._check_credential_lifetime(credential, now)
            stored = self._seal(grant, credential, now)
            self._trail.permit(
                caller,
                request,
                "PUT",
                grant.permission,
                subject=oneline(credential.certificate.subject_der),
                delegated_identity=verified.identity,
                not_after=credential.not_after.isoformat(),
                sealed=int(bool(request.passphrase)),
            )
            try:
                self._repository.put(stored)
            except ConflictError as error:
                raise _occupied(caller, request) from error

    def info(self, caller: Caller, request: Request) -> tuple[CredentialInfo, ...]:
        """List the client's own credentials under a user name, the unnamed one first.

        Raises:
            DeniedError: There are none.
        """
        with self._trail.deciding(caller, request, "INFO"):
            owner = caller.client.name
            found = self._repository.list_owned(request.username, owner) if not caller.client.is_anonymous else ()
            if request.credential_name is not None:
                found = tuple(one for one in found if one.name == request.credential_name)
            if not found:
                raise DeniedError(f'no credentials found for user {request.username}, owner "{owner}"')
            permission = self._settings.access.permit_owner(caller.client, owner=found[0].owner)
            self._trail.permit(caller, request, "INFO", permission, count=len(found))
        return tuple(map(_describe, found))

    def destroy(self, caller: Caller, request: Request) -> None:
        """Remove a credential of the client. Gone from disk when it returns.

        Raises:
            DeniedError: Policy, no such credential, or somebody else's.
        """
        with self._trail.deciding(caller, request, "DESTROY"):
            permission = self._settings.access.permit_storage(caller.client, owner=None)
            existing = self._find(request)
            if existing is None:
                raise DeniedError("Credentials do not exist.")
            permission = self._settings.access.permit_storage(caller.client, owner=existing.owner)
            self._trail.permit(caller, request, "DESTROY", permission)
            try:
                self._repository.delete(request.username, request.credential_name, owner=existing.owner)
            except NotFoundError as error:
                raise DeniedError("Credentials do not exist.") from error

    def change_passphrase(self, caller: Caller, request: Request) -> None:
        """Seal the stored key under a new pass phrase; an empty one leaves it unsealed. On disk when it returns.

        Raises:
            AuthenticationError: The old pass phrase is wrong.
            DeniedError: Not the owner, a new pass phrase that is too short, or somebody else changed it meanwhile.
        """
        with self._trail.deciding(caller, request, "CHANGE_PASSPHRASE"):
            stored = self._find(request)
            owner = None if stored is None else stored.owner
            permission = self._settings.access.permit_owner(caller.client, owner=owner)
            assert stored is not None  # permit_owner has refused
            check_new_passphrase(request.new_passphrase)
            key = open_key(stored, request.passphrase, self._sealer)
            place = place_of(stored.username, stored.name, stored.owner, stored.certificates[0])
            sealed = self._sealer.seal(key, request.new_passphrase, place)
            self._trail.permit(
                caller, request, "CHANGE_PASSPHRASE", permission, sealed=int(bool(request.new_passphrase))
            )
            try:
                self._repository.replace_key(stored, sealed, now=self._clock())
            except ConflictError as error:
                raise DeniedError("Unable to change pass phrase.\nThe credential has just been changed.") from error

    def refuse(self, caller: Caller, request: Request) -> None:
        """Refuse a command that this version does not have.

        Raises:
            DeniedError: Always.
        """
        name = request.command.name
        with self._trail.deciding(caller, request, name):
            raise DeniedError(f"unknown command: {name} is not supported by this server version")

    def _find(self, request: Request) -> StoredCredential | None:
        try:
            return self._repository.get(request.username, request.credential_name)
        except NotFoundError:
            return None

    def _seal_anew(self, stored: StoredCredential, key: bytes, request: Request) -> None:
        """Bring the stored key to the present price of a guess; only now is the pass phrase at hand."""
        if self._sealer.is_current(stored.sealed_key):
            return
        place = place_of(stored.username, stored.name, stored.owner, stored.certificates[0])
        # Whatever is in the way, a faster logon or a full disk: this one has its answer, and the next tries again.
        with contextlib.suppress(StorageError):
            sealed = self._sealer.seal(key, request.passphrase, place)
            self._repository.replace_key(stored, sealed, now=self._clock())

    def _permit_credential(self, caller: Caller, request: Request, stored: StoredCredential) -> Permission:
        try:
            return self._settings.access.permit_retrieval(caller.client, stored.retrievers)
        except DeniedError as error:
            if not caller.client.is_anonymous:
                raise
            # A stranger must not learn that the credential exists, nor try pass phrases on what it cannot have.
            self._sealer.pretend(request.passphrase)
            raise AuthenticationError(INVALID_PASSPHRASE) from error

    def _load(self, stored: StoredCredential, key_pem: bytes) -> Credential:
        try:
            (block,) = pem.split_pem(key_pem, what="stored key")
            leaf, *chain = map(Certificate.parse, stored.certificates)
            return Credential(key=keys.parse_private_key(block), certificate=leaf, chain=tuple(chain))
        except (GridError, ValueError) as error:
            raise StorageError(f"the stored credential of {stored.username!r} is damaged") from error

    def _check_still_valid(self, credential: Credential) -> None:
        try:
            self._verify(credential.certificates, now=self._clock())
        except VerificationError as error:
            raise DeniedError(f"Credentials are not valid.\n{error.message}") from error

    def _check_credential_lifetime(self, credential: Credential, now: datetime) -> None:
        maximum, left = self._settings.max_credential_lifetime, credential.not_after - now
        if maximum and left > maximum + CREDENTIAL_LIFETIME_SLACK:
            has, may = left // timedelta(hours=1), maximum // timedelta(hours=1)
            raise DeniedError(f"Credential lifetime ({has} hours) exceeds maximum allowed by server ({may} hours).")

    def _seal(self, grant: StorageGrant, credential: Credential, now: datetime) -> StoredCredential:
        request, owner = grant.request, grant.caller.client.name
        certificates = tuple(certificate.der for certificate in credential.certificates)
        place = place_of(request.username, request.credential_name, owner, certificates[0])
        return StoredCredential(
            username=request.username,
            name=request.credential_name,
            owner=owner,
            description=request.description,
            retrievers=request.retriever,
            renewers=request.renewer,
            key_retrievers=request.key_retrievers,
            trusted_retrievers=request.trusted_retriever,
            lifetime=request.lifetime,
            not_before=max(certificate.not_before for certificate in credential.certificates),
            not_after=credential.not_after,
            certificates=certificates,
            sealed_key=self._sealer.seal(keys.encode_private_key(credential.key), request.passphrase, place),
            created=now,
            updated=now,
        )


def _occupied(caller: Caller, request: Request) -> DeniedError:
    return DeniedError(_OCCUPIED.format(user=request.username, client=caller.client.name))


def _check_storable(request: Request) -> None:
    """Insist that INFO can list the credential later, and that its policies mean something.

    Raises:
        DeniedError: A value cannot travel back, or a policy is no valid pattern.
    """
    values = {
        "credential name": request.credential_name,
        "credential description": request.description,
        "retriever policy": request.retriever,
        "renewer policy": request.renewer,
        "key retriever policy": request.key_retrievers,
        "trusted retriever policy": request.trusted_retriever,
    }
    for what, value in values.items():
        if value is None:
            continue
        if not is_sendable(value) or (what == "credential name" and ("," in value or not value)):
            raise DeniedError(f"error parsing request\nthe {what} holds text that clients could not read back")
        if what.endswith("policy"):
            try:
                parse_rule(value)
            except ParseError as error:
                raise DeniedError(f"error parsing request\n{what}: {error.message}") from error


def _granted_kind(grant: RetrievalGrant) -> ProxyKind | None:
    """Return the kind of the new proxy, None to follow the stored credential."""
    if not grant.limited:
        return None
    kind = ProxyChain.split(grant.credential.certificates).kind
    if kind in {ProxyKind.INDEPENDENT, ProxyKind.RESTRICTED}:
        raise DeniedError(f"Unable to delegate credentials.\na limited client is given no proxy below a {kind} one")
    return ProxyKind.LIMITED


def _describe(stored: StoredCredential) -> CredentialInfo:
    return CredentialInfo(
        name=stored.name,
        start_time=stored.not_before,
        end_time=stored.not_after,
        owner=stored.owner,
        description=stored.description,
        retriever=stored.retrievers,
        key_retrievers=stored.key_retrievers,
        trusted_retriever=stored.trusted_retrievers,
        renewer=stored.renewers,
        lock_message=stored.lock_message,
    )
