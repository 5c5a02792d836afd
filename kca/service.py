"""What the authority does with a proven ticket: decide, issue, write down; no wire, no socket, no Kerberos library.

    issued = service.issue(ticket, request, peer="192.0.2.7", transport="udp", request_hash=sha256(datagram).digest())
    issued.chain                                        # the new certificate, then the CA certificates sent with it
    service.probe(ticket, peer="192.0.2.7")             # as `issue`, but makes nothing
    service.refuse(error, peer="192.0.2.7", transport="udp", request_hash=digest)      # what never became a request

Whoever calls has checked the ticket with the service's key (`ProvenTicket`), the request's HMAC or mutual token, and
the proof in a PKCS#10. Each answer, yes or no, is in the audit before the method returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gsi.ca.issuer import Issued
    from gsi.ca.request import CertificateRequest
    from gsi.errors import GridError
    from gsi.kerberos.ticket import Principal, ProvenTicket

__all__ = ["CertificateService"]


class CertificateService(Protocol):
    """What the shells (datagrams, HTTP) need of `KCAService`. Called in threads, by several at once."""

    def issue(
        self, ticket: ProvenTicket, request: CertificateRequest, *, peer: str, transport: str, request_hash: bytes
    ) -> Issued:
        """Return the new certificate with its chain.

        Args:
            ticket: Who came.
            request: The key to certify, from a PKCS#10 or bare.
            peer: The client's network address, for the audit and the policy.
            transport: "udp", "tcp" or "http".
            request_hash: SHA-256 of the request as it came. The same one again, of the same principal and for the same
                key, gets the same certificate again.

        Raises:
            DeniedError: Rules, limits, rate or policy refuse; the message may be told to the client.
            CredentialError: WEAK_KEY or UNSUPPORTED_KEY: the client's key will not do.
            GridError: All else is trouble on this side; the client is told no more than that (it may try again for
                `StorageError` and `TransportError`).
        """
        ...

    def probe(self, ticket: ProvenTicket, *, peer: str, transport: str = "udp") -> None:
        """Return when a request with this ticket would be granted; the key and the rate are not judged.

        Raises:
            DeniedError: It would be refused.
            GridError: As `issue`.
        """
        ...

    def refuse(
        self,
        error: GridError,
        *,
        peer: str,
        transport: str,
        request_hash: bytes = b"",
        principal: Principal | None = None,
    ) -> None:
        """Write a refusal into the audit that was made before there was a ticket or a request.

        Raises:
            StorageError: It could not be recorded.
        """
        ...
