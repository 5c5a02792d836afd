"""What the authority does with a proven ticket: decide, issue, write down; no wire, no socket, no Kerberos library.

    issued = service.issue(ticket, request, peer="192.0.2.7", transport="udp", request_hash=sha256(datagram).digest())
    issued.chain                                        # the new certificate, then the CA certificates sent with it
    service.probe(ticket, peer="192.0.2.7")             # as `issue`, but makes nothing
    service.refuse(error, peer="192.0.2.7", transport="udp", request_hash=digest)      # what never became a request

Whoever calls has checked the ticket with the service's key (`ProvenTicket`), the request's HMAC or mutual token, and
the proof in a PKCS#10. The steps, none of which is ever left out; whatever fails, nothing leaves:

    1. ticket     fresh enough, nobody else's, not got by a certificate (kca.limits)
    2. rules      the realm is listed and a rule speaks of the principal; its groups are looked up where rules ask
                  (kca.principal)
    3. window     when the certificate may be valid, by the ticket and the limits
    4. policy     the site's authorization engine permits
    5. issue      the steps of gsi.ca.issuer: key, serial, signature, our own validator
    6. record     the books (rate, whose the subject is, the certificate), then the audit

Each answer, yes or no, is in the audit before the method returns.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gsi import keys, names
from gsi.ca.grant import Grant
from gsi.ca.issuer import Issued
from gsi.certificate import Certificate
from gsi.errors import DeniedError, GridError, IssuanceError, StorageError
from kca.limits import Limits, Window, check_ticket, find_window
from kca.principal import Entitlement, RealmRules, entitle, needs_directory
from kca.repository.base import Books, Entry, Rate, RepeatedRequestError, SubjectTakenError, TooFastError
from kca.trail import ISSUE, PROBE, REQUEST, Trail, Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from gsi.ca.issuer import Issuer
    from gsi.ca.records import IssuanceRecord
    from gsi.ca.request import CertificateRequest
    from gsi.ca.signer import Signer
    from gsi.kerberos.ticket import Principal, ProvenTicket

__all__ = [
    "Authority",
    "Authorization",
    "CertificateService",
    "Directory",
    "KCAService",
    "Known",
    "TooManyError",
    "authority_id",
    "subject_key",
]

MAX_REMEMBERED: Final = 4096
"""Principals whose rate is used up that are remembered, to be refused without a signature: more than ask at once."""


class TooManyError(DeniedError):
    """The principal has had as many certificates as it may for now.

    Attributes:
        until: When it may have the next.
    """

    def __init__(self, message: str, *, until: datetime, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.until = until


class CertificateService(Protocol):
    """What the shells (datagrams, HTTP) need of `KCAService`. Called in threads, by several at once."""

    def issue(
        self,
        ticket: ProvenTicket,
        request: CertificateRequest,
        *,
        peer: str,
        transport: str,
        request_hash: bytes,
        lifetime: timedelta | None = None,
    ) -> Issued:
        """Return the new certificate with its chain.

        Args:
            ticket: Who came.
            request: The key to certify, from a PKCS#10 or bare.
            peer: The client's network address, for the audit and the policy.
            transport: "udp", "tcp" or "http".
            request_hash: SHA-256 of the request as it came. The same one again, of the same principal and for the same
                key, gets the same certificate again.
            lifetime: What the client asks for; None for as long as it may have.

        Raises:
            TooManyError: The principal has had as many as it may for now.
            DeniedError: Rules, limits, rate or policy refuse; the message may be told to the client.
            CredentialError: WEAK_KEY or UNSUPPORTED_KEY: the client's key will not do.
            GridError: All else is trouble on this side; the client is told no more than that (it may try again for
                `StorageError` and `TransportError`).
        """
        ...

    def probe(self, ticket: ProvenTicket, *, peer: str, transport: str = "udp") -> None:
        """Return when a request with this ticket would be granted now; only the key is not judged.

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


@dataclass(frozen=True, slots=True)
class Known:
    """What a directory knows of a principal."""

    groups: frozenset[str] = frozenset()
    claims: Mapping[str, tuple[str, ...]] | None = None


class Directory(Protocol):
    """Knows the groups of principals. Called in threads, by several at once."""

    def find(self, principal: Principal) -> Known:
        """Return what is known; nothing for whom the directory does not know.

        Raises:
            GridError: It cannot be asked.
        """
        ...


class Authorization(Protocol):
    """The site's policy. Called in threads, by several at once."""

    def __call__(self, ticket: ProvenTicket, entitlement: Entitlement, known: Known, visit: Visit) -> str:
        """Return the id of the permit.

        Raises:
            DeniedError: It is not permitted; names the decision.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The CA, and what all its certificates carry.

    Attributes:
        issuer: Signs.
        signer: Its key, for `close`; None where somebody else closes it.
        chain: The CA certificates that are sent with each certificate, as the issuer was told.
        policies: Certificate policies, dotted.
        crl_urls: Where the CRL lies.
        ocsp_urls: OCSP responders.
        issuer_urls: Where the CA's certificate lies.
    """

    issuer: Issuer
    signer: Signer | None = None
    chain: tuple[Certificate, ...] = ()
    policies: tuple[str, ...] = ()
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    issuer_urls: tuple[str, ...] = ()

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The CA's certificate and those above it."""
        return (self.issuer.certificate, *self.chain)

    def close(self) -> None:
        """Let go of the key: of the token that it is in."""
        if self.signer is not None:
            self.signer.close()

    @property
    def id(self) -> str:
        """What the books call it."""
        return authority_id(self.issuer.certificate)


def authority_id(certificate: Certificate) -> str:
    """Return what the books call the CA with this certificate: SHA-256 of its key, which a renewal keeps."""
    return hashlib.sha256(certificate.spki_der).hexdigest()


def subject_key(subject_der: bytes) -> str:
    """Return what the books compare subjects by."""
    return hashlib.sha256(names.canonical(subject_der)).hexdigest()


@dataclass(frozen=True, slots=True)
class _Judged:
    """What came of steps 1 to 4."""

    entitlement: Entitlement
    subject_key: str
    window: Window
    decision: str


class KCAService:
    """Issues certificates for tickets. See `CertificateService` for the methods."""

    def __init__(
        self,
        *,
        realms: Mapping[str, RealmRules],
        limits: Limits,
        authority: Authority,
        books: Books,
        trail: Trail,
        authorize: Authorization,
        directories: Mapping[str, Directory],
        clock: Callable[[], datetime],
    ) -> None:
        """Put the parts together.

        Args:
            realms: The rules by realm.
            limits: What holds for all.
            authority: The CA.
            books: Where certificates are written down.
            trail: Where answers are.
            authorize: The site's policy.
            directories: The directory of each realm whose rules ask for groups.
            clock: The time.
        """
        self._realms = realms
        self._limits = limits
        self._authority = authority
        self._authority_id = authority.id
        self._own_names = {subject_key(one.subject_der) for one in authority.certificates}
        self._books = books
        self._trail = trail
        self._authorize = authorize
        self._directories = directories
        self._clock = clock
        self._too_fast: OrderedDict[str, datetime] = OrderedDict()
        self._lock = threading.Lock()

    def issue(
        self,
        ticket: ProvenTicket,
        request: CertificateRequest,
        *,
        peer: str,
        transport: str,
        request_hash: bytes,
        lifetime: timedelta | None = None,
    ) -> Issued:
        """See `CertificateService.issue`."""
        visit = Visit(peer=peer, transport=transport, principal=ticket.client, request_hash=request_hash)
        try:
            return self._issue(ticket, request, visit, lifetime)
        except GridError as error:
            self._trail.refuse(visit, ISSUE, error)
            raise

    def probe(self, ticket: ProvenTicket, *, peer: str, transport: str = "udp") -> None:
        """See `CertificateService.probe`."""
        visit = Visit(peer=peer, transport=transport, principal=ticket.client)
        try:
            now = self._clock()
            judged = self._judge(ticket, visit, now)
            self._check_memory(visit, now)
            self._check_books(ticket, judged, now)
        except GridError as error:
            self._trail.refuse(visit, PROBE, error)
            raise
        self._trail.probed(visit, judged.entitlement.subject, judged.entitlement.rule, judged.decision)

    def refuse(
        self,
        error: GridError,
        *,
        peer: str,
        transport: str,
        request_hash: bytes = b"",
        principal: Principal | None = None,
    ) -> None:
        """See `CertificateService.refuse`."""
        visit = Visit(peer=peer, transport=transport, principal=principal, request_hash=request_hash)
        self._trail.refuse(visit, REQUEST, error)

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _judge(self, ticket: ProvenTicket, visit: Visit, now: datetime) -> _Judged:
        """Steps 1 to 4."""
        rules = self._realms.get(ticket.client.realm)
        if rules is None:
            raise DeniedError(f"the realm {ticket.client.realm!r} is not listed")
        check_ticket(ticket, self._limits, unmarked=rules.unmarked_tickets, now=now)
        known = self._look_up(ticket.client)
        entitlement = entitle(
            ticket.client,
            self._realms,
            transited=ticket.transited,
            groups=known.groups,
            claims=known.claims,
        )
        name_key = subject_key(entitlement.subject_der)
        if name_key in self._own_names:
            raise DeniedError(f"the name of {ticket.client.text!r} would be the authority's own")
        window = find_window(
            ticket,
            self._limits,
            lifetime=entitlement.lifetime,
            beyond_ticket=entitlement.beyond_ticket,
            now=now,
        )
        decision = self._authorize(ticket, entitlement, known, visit)
        return _Judged(entitlement, name_key, window, decision)

    def _look_up(self, principal: Principal) -> Known:
        rules = self._realms.get(principal.realm)
        directory = self._directories.get(principal.realm)
        if rules is None or directory is None or not needs_directory(rules):
            return Known()
        return directory.find(principal)

    def _issue(
        self, ticket: ProvenTicket, request: CertificateRequest, visit: Visit, lifetime: timedelta | None
    ) -> Issued:
        now = self._clock()
        judged = self._judge(ticket, visit, now)
        self._check_memory(visit, now)
        grant = self._grant(judged, ticket)
        recorder = _Recorder(self, ticket, judged, visit)
        try:
            return self._authority.issuer.issue(request, grant, now=now, lifetime=lifetime, recorder=recorder)
        except IssuanceError as error:
            return self._recover(error, ticket, request, visit, now)

    def _grant(self, judged: _Judged, ticket: ProvenTicket) -> Grant:
        authority, entitlement, window = self._authority, judged.entitlement, judged.window
        return Grant(
            subject_der=entitlement.subject_der,
            requester=ticket.client.text,
            lifetime=window.lifetime,
            not_after=window.not_after,
            backdate=window.backdate,
            alternative_names=entitlement.alternative_names,
            extensions=entitlement.extensions,
            policies=tuple(dict.fromkeys((*authority.policies, *entitlement.policies))),
            crl_urls=authority.crl_urls,
            ocsp_urls=authority.ocsp_urls,
            issuer_urls=authority.issuer_urls,
            min_rsa_bits=self._limits.rsa_bits,
            decision=judged.decision,
        )

    def _recover(
        self, error: IssuanceError, ticket: ProvenTicket, request: CertificateRequest, visit: Visit, now: datetime
    ) -> Issued:
        """Say what the books' refusal means to the client, or find what the same request got before."""
        match error.__cause__:
            case RepeatedRequestError():
                return self._repeat(ticket, request, visit, now)
            case TooFastError() | SubjectTakenError() as cause:
                raise self._denial(ticket, cause) from cause
            case StorageError() as cause:
                raise cause from error
            case _:
                raise error

    def _check_books(self, ticket: ProvenTicket, judged: _Judged, now: datetime) -> None:
        """Refuse for what the books would refuse."""
        try:
            self._books.check(ticket.client.text, judged.subject_key, rate=self._rate, now=now)
        except (TooFastError, SubjectTakenError) as error:
            raise self._denial(ticket, error) from error

    def _denial(self, ticket: ProvenTicket, error: TooFastError | SubjectTakenError) -> DeniedError:
        """Return what the client is told of a refusal of the books."""
        if isinstance(error, SubjectTakenError):
            return DeniedError("the name that the rules give is another principal's")
        self._remember(ticket.client.text, error.until)
        return TooManyError(error.message, until=error.until, hint=error.hint)

    def _repeat(self, ticket: ProvenTicket, request: CertificateRequest, visit: Visit, now: datetime) -> Issued:
        entry = self._books.find_request(visit.request_hash)
        if entry is None:
            raise StorageError("the books had the request, and have it no longer")
        certificate = Certificate.parse(entry.certificate)
        same_key = keys.spki_der(keys.parse_public_key(certificate.spki_der)) == request.spki_der
        is_ours = entry.principal == ticket.client.text and entry.authority == self._authority_id and same_key
        if not is_ours or entry.revocation is not None or entry.not_after <= now:
            raise DeniedError("the request was answered before", hint="ask again with a new one")
        self._trail.repeat(visit, entry)
        return Issued(certificate, self._authority.chain, shortened=False)

    # --- rates --------------------------------------------------------------------------------------------------------

    @property
    def _rate(self) -> Rate | None:
        limits = self._limits
        return Rate(limits.certificates, limits.per) if limits.certificates else None

    def _check_memory(self, visit: Visit, now: datetime) -> None:
        """Refuse whose rate the books have called used up, before a signature is made."""
        with self._lock:
            until = self._too_fast.get(visit.who)
            if until is None:
                return
            if until <= now or until - now > self._limits.per:  # over, or from before the clock was set
                del self._too_fast[visit.who]
                return
        raise TooManyError(
            f"{visit.who} has had {self._limits.certificates} certificates within {self._limits.per}",
            until=until,
            hint=f"the next one at {until:%H:%M:%S} UTC",
        )

    def _remember(self, who: str, until: datetime) -> None:
        with self._lock:
            self._too_fast[who] = until
            self._too_fast.move_to_end(who)
            while len(self._too_fast) > MAX_REMEMBERED:
                self._too_fast.popitem(last=False)

    # --- step 6 -------------------------------------------------------------------------------------------------------

    def _record(self, ticket: ProvenTicket, judged: _Judged, visit: Visit, record: IssuanceRecord) -> None:
        certificate = record.certificate
        entry = Entry(
            authority=self._authority_id,
            serial=certificate.serial,
            principal=ticket.client.text,
            realm=ticket.client.realm,
            subject=record.subject,
            subject_key=judged.subject_key,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            issued=record.time,
            authenticated=ticket.auth_time,
            request_id=visit.request_id,
            request_hash=visit.request_hash,
            decision=judged.decision,
            rule=judged.entitlement.rule,
            peer=visit.peer,
            transport=visit.transport,
            certificate=certificate.der,
        )
        self._books.add(entry, rate=self._rate)
        self._trail.permit(visit, entry)


@dataclass(frozen=True, slots=True)
class _Recorder:
    """Takes the record of one certificate; see `gsi.ca.records.Recorder`."""

    service: KCAService
    ticket: ProvenTicket
    judged: _Judged
    visit: Visit

    def record(self, record: IssuanceRecord) -> None:
        """Return when books and audit have it."""
        self.service._record(self.ticket, self.judged, self.visit, record)  # noqa: SLF001  its own second half
