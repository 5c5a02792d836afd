"""PUT, STORE, INFO, DESTROY and CHANGE_PASSPHRASE: what owners do with their credentials.

    grant = service.begin_put(caller, request)              # makes the key that the client delegates to
    service.finish_put(grant, certificates)                 # verified, sealed, stored
    grant = service.begin_store(caller, request)
    service.finish_store(grant, pem)                        # the client's own key, as its owner has locked it

Agrees with gct:myproxy/source/myproxy_server.c (put_proxy, store_credentials, info_proxy, destroy_proxy,
change_passphrase).
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from gsi import keys
from gsi.certificate import Certificate
from gsi.credential import Credential, order_chain
from gsi.delegation import DelegationRequester
from gsi.errors import (
    ConflictError,
    CredentialError,
    DeniedError,
    GridError,
    NotFoundError,
    ParseError,
)
from gsi.names import oneline
from gsi.pem import split_pem
from gsi.secret import Passphrase
from myproxy.auth.passphrase import check_new_passphrase, open_key, place_of
from myproxy.commands import Commands, describe
from myproxy.grants import Caller, StorageGrant, UploadGrant
from myproxy.policy import parse_rule
from myproxy.protocol.codec import is_sendable
from myproxy.protocol.happenings import MAX_HAPPENINGS
from myproxy.repository.base import StoredCredential
from myproxy.repository.locks import check_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.pem import PEMBlock
    from myproxy.protocol.messages import CredentialInfo, Happening, Request

__all__ = ["StorageCommands"]

CREDENTIAL_LIFETIME_SLACK: Final = timedelta(hours=1)
"""How far a stored credential may pass `max_cred_lifetime`: clocks differ, and clients ask for exactly the maximum."""

MAX_UPLOADED_CERTIFICATES: Final = 100
"""As many as `gsi.trust` takes for a chain."""

_OCCUPIED: Final = """\
Credentials are already stored for user {user}
and they are not owned by
"{client}",
so you may not overwrite them.
Please choose a different username or credential name or
contact your myproxy-server administrator."""


class StorageCommands(Commands):
    """The commands by which credentials come, are listed, changed and go."""

    def begin_put(self, caller: Caller, request: Request) -> StorageGrant:
        """Permit a client to store a credential, and make the key that it will delegate to.

        Raises:
            DeniedError: Policy, somebody else's credential at this address, too many of the client's own, a pass phrase
                that is too short, or a name or policy that cannot be kept.
        """
        with self._trail.deciding(caller, request, "PUT"):
            permission = self._settings.access.permit_storage(caller.client, owner=None)
            self._ask_site(caller, request, "PUT")
            self._site_rules.check_account(caller, request)
            _check_storable(request)
            check_new_passphrase(request.passphrase)
            self._site_rules.check_passphrase(request.passphrase, request, caller)
            self._check_place(caller, request)
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
            verified = self._check_valid(credential.certificates)
            self._check_credential_lifetime(credential.not_after, now)
            stored = _new_row(grant, credential.certificates, self._seal(grant, credential), now)
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
            self._put(grant, stored)

    def begin_store(self, caller: Caller, request: Request) -> UploadGrant:
        """Permit a client to store a credential of its own making.

        Raises:
            DeniedError: Policy, somebody else's credential at this address, too many of the client's own, or a name or
                policy that cannot be kept.
        """
        with self._trail.deciding(caller, request, "STORE"):
            permission = self._settings.access.permit_storage(caller.client, owner=None)
            self._ask_site(caller, request, "STORE")
            self._site_rules.check_account(caller, request)
            _check_storable(request)
            self._check_place(caller, request)
            return UploadGrant(caller=caller, request=request, permission=permission)

    def finish_store(self, grant: UploadGrant, text: bytes) -> None:
        """Check what the client sent and store it. On disk when it returns.

        Args:
            grant: The permission.
            text: PEM: certificates and one key, locked with a pass phrase that the server does not learn, or in clear.

        Raises:
            DeniedError: It is no such text, its chain is not valid or lives too long, a key in clear does not belong
                to it, or the address was taken meanwhile.
        """
        caller, request = grant.caller, grant.request
        with self._trail.deciding(caller, request, "STORE"):
            now = self._clock()
            try:
                chain, block = _read_upload(text)
                verified = self._check_valid(chain)
                self._check_credential_lifetime(min(certificate.not_after for certificate in chain), now)
                sealed = self._keep(grant, block, chain)
            except (ParseError, CredentialError) as error:
                raise DeniedError(f"Credentials are not valid.\n{error.message}") from error
            stored = _new_row(grant, chain, sealed, now)
            self._trail.permit(
                caller,
                request,
                "STORE",
                grant.permission,
                subject=oneline(chain[0].subject_der),
                delegated_identity=verified.identity,
                not_after=stored.not_after.isoformat(),
                sealed=int(keys.is_encrypted(block)),
            )
            self._put(grant, stored)

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
            self._ask_site(caller, request, "INFO")
            self._trail.permit(caller, request, "INFO", permission, count=len(found))
        if self._history is None or not request.wants_history:
            return tuple(map(describe, found))
        uses = self._history.uses(request.username, owner)
        return tuple(_with_use(one, uses.get(one.name)) for one in found)

    def happenings(self, caller: Caller, request: Request) -> tuple[Happening, ...] | None:
        """Return what happened to the client's own credentials under a user name, newest first, after `info`.

        None where that was not asked for, or is not kept.
        """
        if self._history is None or not request.wants_history or caller.client.is_anonymous:
            return None
        owner, name = caller.client.name, request.credential_name
        return self._history.of(request.username, owner, name=name, limit=MAX_HAPPENINGS)

    def destroy(self, caller: Caller, request: Request) -> None:
        """Remove a credential of the client. Gone from disk when it returns.

        Raises:
            DeniedError: Policy, no such credential, or somebody else's.
        """
        with self._trail.deciding(caller, request, "DESTROY"):
            permission = self._settings.access.permit_storage(caller.client, owner=None)
            self._site_rules.check_account(caller, request)
            existing = self._find(request)
            if existing is None:
                raise DeniedError("Credentials do not exist.")
            permission = self._settings.access.permit_storage(caller.client, owner=existing.owner)
            self._ask_site(caller, request, "DESTROY")
            self._trail.permit(caller, request, "DESTROY", permission)
            try:
                self._repository.delete(request.username, request.credential_name, owner=existing.owner)
            except NotFoundError as error:
                raise DeniedError("Credentials do not exist.") from error
        self._note(caller, "destroy", request.username, request.credential_name, existing.owner)

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
            self._ask_site(caller, request, "CHANGE")
            check_new_passphrase(request.new_passphrase)
            attempt = self._methods.attempt(caller, request)
            with attempt.judging(patient=False):
                key = open_key(stored, request.passphrase, self._sealer)
                attempt.accept()
            self._site_rules.check_passphrase(request.new_passphrase, request, caller)
            place = place_of(stored.username, stored.name, stored.owner, stored.certificates[0])
            sealed = self._sealer.seal(key, request.new_passphrase, place)
            self._trail.permit(
                caller, request, "CHANGE_PASSPHRASE", permission, sealed=int(bool(request.new_passphrase))
            )
            try:
                self._repository.replace_key(stored, sealed, now=self._clock())
            except ConflictError as error:
                raise DeniedError("Unable to change pass phrase.\nThe credential has just been changed.") from error
        self._note(caller, "change", stored.username, stored.name, stored.owner)

    def _check_place(self, caller: Caller, request: Request) -> None:
        """Insist that a credential may lie there: the place is free, and its owner has not too many, or it is replaced.

        Those who store several at once may pass the limit by as many.
        """
        existing, owner, maximum = self._find(request), caller.client.name, self._settings.max_credentials
        if existing is not None and existing.owner != owner:
            raise _occupied(caller, request)
        if existing is None and maximum and self._repository.count_owned(owner, limit=maximum) >= maximum:
            raise DeniedError(
                f"You have stored {maximum} credentials, and this server keeps no more for one owner.\n"
                "Destroy one that you do not need (myproxy-destroy), or store this one over another."
            )

    def _put(self, grant: StorageGrant | UploadGrant, stored: StoredCredential) -> None:
        try:
            self._repository.put(stored)
        except ConflictError as error:
            raise _occupied(grant.caller, grant.request) from error
        self._note(grant.caller, "store", stored.username, stored.name, stored.owner)

    def _keep(self, grant: UploadGrant, block: PEMBlock, chain: tuple[Certificate, ...]) -> bytes:
        """Return an uploaded key as it is kept; whether a locked one fits its certificate only its owner could tell.

        Raises:
            CredentialError: A key in clear is not the certificate's, or trying a pass phrase would cost too much.
        """
        request, owner = grant.request, grant.caller.client.name
        place = place_of(request.username, request.credential_name, owner, chain[0].der)
        if keys.is_encrypted(block):
            check_lock(block)
            return self._sealer.keep(block.text, place)
        credential = Credential(key=keys.parse_private_key(block), certificate=chain[0], chain=chain[1:])
        return self._sealer.seal(keys.encode_private_key(credential.key), Passphrase(b""), place)

    def _check_credential_lifetime(self, not_after: datetime, now: datetime) -> None:
        maximum, left = self._settings.max_credential_lifetime, not_after - now
        if maximum and left > maximum + CREDENTIAL_LIFETIME_SLACK:
            has, may = left // timedelta(hours=1), maximum // timedelta(hours=1)
            raise DeniedError(f"Credential lifetime ({has} hours) exceeds maximum allowed by server ({may} hours).")

    def _seal(self, grant: StorageGrant, credential: Credential) -> bytes:
        request, owner = grant.request, grant.caller.client.name
        place = place_of(request.username, request.credential_name, owner, credential.certificate.der)
        return self._sealer.seal(keys.encode_private_key(credential.key), request.passphrase, place)


def _new_row(
    grant: StorageGrant | UploadGrant, chain: tuple[Certificate, ...], sealed_key: bytes, now: datetime
) -> StoredCredential:
    request = grant.request
    return StoredCredential(
        username=request.username,
        name=request.credential_name,
        owner=grant.caller.client.name,
        description=request.description,
        retrievers=request.retriever,
        renewers=request.renewer,
        key_retrievers=request.key_retrievers,
        trusted_retrievers=request.trusted_retriever,
        lifetime=request.lifetime,
        not_before=max(certificate.not_before for certificate in chain),
        not_after=min(certificate.not_after for certificate in chain),
        certificates=tuple(certificate.der for certificate in chain),
        sealed_key=sealed_key,
        created=now,
        updated=now,
    )


def _with_use(stored: StoredCredential, use: Happening | None) -> CredentialInfo:
    """Return what is told of a credential, with its last use if that is not of one that lay there before."""
    info = describe(stored)
    if use is None or use.at < stored.created:
        return info
    return dataclasses.replace(info, last_use=use)


def _read_upload(text: bytes) -> tuple[tuple[Certificate, ...], PEMBlock]:
    """Return the certificates, leaf first, and the key's block.

    Raises:
        ParseError: There is not exactly one key and at least one certificate.
    """
    what = "uploaded credential"
    certificates, locked = [], []
    for block in split_pem(text, what=what):
        if block.label == "CERTIFICATE":
            certificates.append(Certificate.parse(block.data))
        elif block.label.endswith("PRIVATE KEY"):
            locked.append(block)
    if not certificates or len(locked) != 1 or len(certificates) > MAX_UPLOADED_CERTIFICATES:
        raise ParseError(
            f"holds {len(certificates)} certificates and {len(locked)} keys instead of a certificate, its key and "
            "the certificates above it",
            what=what,
        )
    return (certificates[0], *order_chain(certificates[0], certificates[1:])), locked[0]


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
