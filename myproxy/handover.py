"""What leaves once it is granted: a proxy of a stored credential, or the credential itself; not who may have it.

    certificates = service.finish_get(grant, request_der)
    signed = service.sign_quickly(grant, request_der)   # the same without waiting, where that is possible

Agrees with gct:myproxy/source/myproxy_server.c (get_credentials, retrieve_credentials), but for what the audit asks:
nothing leaves before its record is on disk.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gsi import keys
from gsi.delegation import grant_delegation, parse_delegation_request
from gsi.errors import CredentialError, DeniedError, GridError, ParseError, RemoteProtocolError, VerificationError
from gsi.names import oneline
from gsi.proxy.chain import ProxyChain
from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyKind
from myproxy.auth.passphrase import place_of
from myproxy.grants import IssuanceGrant, RetrievalGrant
from myproxy.issuance import IssuanceCommands
from myproxy.repository.seal import is_sealed

if TYPE_CHECKING:
    from gsi.certificate import Certificate, Extension
    from gsi.system.audit import Posted
    from myproxy.attributes import GivenAttributes

__all__ = ["HandoverCommands", "Signed"]

_log: Final = logging.getLogger("myproxy.server")


@dataclass(frozen=True, slots=True)
class Signed:
    """A proxy that may leave once it is settled.

    Attributes:
        certificates: The proxy and its issuers.
        records: The records of the decisions behind it; the last is written last.
    """

    certificates: tuple[Certificate, ...]
    records: tuple[Posted, ...] = field(repr=False)

    def settle(self) -> None:
        """Return when the records are safe.

        Raises:
            StorageError: They are not.
        """
        for one in reversed(self.records):
            one.settle()


class HandoverCommands(IssuanceCommands):
    """The last step of GET and RETRIEVE."""

    def finish_get(self, grant: RetrievalGrant | IssuanceGrant, request_der: bytes) -> tuple[Certificate, ...]:
        """Sign a proxy for the client's key, or have a certificate issued; return it with its issuers.

        Raises:
            DeniedError: The request cannot be read, its key is too weak, or such a proxy or certificate may not be
                made.
        """
        if isinstance(grant, IssuanceGrant):
            return self.finish_issuance(grant, request_der)
        return self._delegate(grant, request_der)

    def sign_quickly(self, grant: RetrievalGrant | IssuanceGrant, request_der: bytes) -> Signed | None:
        """Do the same as far as nothing is waited for; None where only `finish_get` can tell what becomes of it.

        That is where somebody has to be asked (the authority, a program, a VOMS server), and where it is refused.
        """
        if isinstance(grant, IssuanceGrant) or self._proxy_extensions is not None:
            return None
        if self._attributes is not None and grant.request.vo_names:
            return None
        try:
            return self._sign(grant, request_der)
        except GridError:
            return None

    def _delegate(self, grant: RetrievalGrant, request_der: bytes) -> tuple[Certificate, ...]:
        with self._trail.deciding(grant.caller, grant.request, "DELEGATE"):
            signed = self._sign(grant, request_der)
            signed.settle()
        return signed.certificates

    def _sign(self, grant: RetrievalGrant, request_der: bytes) -> Signed:
        try:
            least = self._settings.min_key_bits
            given = self._find_attributes(grant)
            further = () if given is None else (given.extension,)
            wanted = parse_delegation_request(request_der, min_rsa_bits=least)
            options = ProxyOptions(
                kind=_granted_kind(grant),
                lifetime=grant.lifetime,
                extensions=(*self._find_proxy_extensions(grant), *further),
                min_rsa_bits=least,
            )
            chain = grant_delegation(grant.credential, wanted, options, now=self._clock())
        except (ParseError, CredentialError, RemoteProtocolError, VerificationError) as error:
            raise DeniedError(f"Unable to delegate credentials.\n{error.message}") from error
        recorded = self._trail.post_permit(
            grant.caller,
            grant.request,
            "DELEGATE",
            grant.permission,
            subject=oneline(chain[0].subject_der),
            not_after=chain[0].not_after.isoformat(),
            **({} if given is None else {"attributes": " ".join(given.fqans)}),
        )
        return Signed(chain, (grant.recorded, recorded))

    def _find_attributes(self, grant: RetrievalGrant) -> GivenAttributes | None:
        """Return the VOMS attributes that the client asks for; None where it asks for none, or may not ask.

        As from the C server, what may not be asked for is passed over: the clients then ask the VO themselves.
        """
        if self._attributes is None or not grant.request.vo_names:
            return None
        return self._attributes(grant.request, grant.credential, grant.lifetime)

    def _find_proxy_extensions(self, grant: RetrievalGrant) -> tuple[Extension, ...]:
        """Return what the site adds; where that cannot be found out, there is no proxy, for it may restrict it."""
        if self._proxy_extensions is None:
            return ()
        try:
            return self._proxy_extensions(grant.request.username, grant.credential.certificates)
        except GridError as error:
            _log.warning("%s: no extensions for the proxy: %s", grant.caller.request_id, error)
            raise DeniedError("Unable to delegate credentials.") from error

    def finish_retrieve(self, grant: RetrievalGrant | IssuanceGrant) -> bytes:
        """Return the credential as PEM text: certificate, key, further certificates.

        The key is locked with the pass phrase that opened it; a key that its owner had locked, and nobody has opened
        since, goes out as it came in. One without a pass phrase goes out in clear, to whom policy allows it.

        Raises:
            DeniedError: It cannot be handed out.
        """
        assert isinstance(grant, RetrievalGrant)  # the authority answers to GET alone
        with self._trail.deciding(grant.caller, grant.request, "HANDOVER"):
            stored, passphrase = grant.stored, grant.request.passphrase
            place = place_of(stored.username, stored.name, stored.owner, stored.certificates[0])
            key = self._sealer.locked_block(stored.sealed_key, place)
            if key is None:
                lock = passphrase if is_sealed(stored.sealed_key) else None
                key = keys.encode_private_key(grant.credential.key, passphrase=lock)
            leaf, *chain = grant.credential.certificates
            text = b"".join((leaf.pem(), key, *(certificate.pem() for certificate in chain)))
            self._trail.permit(
                grant.caller,
                grant.request,
                "HANDOVER",
                grant.permission,
                subject=oneline(leaf.subject_der),
                not_after=grant.credential.not_after.isoformat(),
            )
            grant.recorded.settle()
        return text


def _granted_kind(grant: RetrievalGrant) -> ProxyKind | None:
    """Return the kind of the new proxy, None to follow the stored credential."""
    if not grant.limited:
        return None
    kind = ProxyChain.split(grant.credential.certificates).kind
    if kind in {ProxyKind.INDEPENDENT, ProxyKind.RESTRICTED}:
        raise DeniedError(f"Unable to delegate credentials.\na limited client is given no proxy below a {kind} one")
    return ProxyKind.LIMITED
