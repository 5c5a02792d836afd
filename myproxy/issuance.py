"""A certificate in place of a stored credential: the grant, once the client has proved enough, and the issuing.

    recipient = find_recipient(authority, username)                          # before the proof only where it counts
    grant = self.grant_issuance(authenticated, caller, request, recipient)
    chain = self.finish_issuance(grant, request_der)

What the client had to prove is `myproxy.retrieval`'s to ask, who makes certificates is `myproxy.issuing`.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.ca.request import parse_request
from gsi.errors import (
    AuthenticationError,
    CredentialError,
    CredentialProblem,
    DeniedError,
    GridError,
    NotFoundError,
    ParseError,
    StorageError,
    VerificationError,
)
from gsi.names import oneline, same_oneline
from myproxy.auth.base import Method
from myproxy.commands import Commands
from myproxy.grants import IssuanceGrant
from myproxy.repository.seal import INVALID_PASSPHRASE

if TYPE_CHECKING:
    from gsi.ca.records import IssuanceRecord
    from gsi.certificate import Certificate
    from myproxy.authentication import Authenticated
    from myproxy.grants import Caller
    from myproxy.issuing import Authority
    from myproxy.policy import AccessPolicy
    from myproxy.protocol.messages import Request
    from myproxy.trail import DecisionTrail

__all__ = ["NOT_ISSUED", "IssuanceCommands", "Recipient", "find_recipient"]

NOT_ISSUED: Final = "Certificate generation failure."
"""What the C server says whatever kept it from issuing."""
_LIMITED: Final = "MyProxy CA will not accept limited proxy for authentication."
_log: Final = logging.getLogger("myproxy.server")


class Recipient(NamedTuple):
    """Whom a certificate is for."""

    username: str = ""
    """The user: the one who was asked for, unless the site's policy has named another."""
    subject_der: bytes | None = None
    """The mapped name, None when there is none or nobody has asked yet."""
    is_known: bool = False
    """Whether it was asked for."""
    refusal: GridError | None = None
    """Why there is none."""

    @property
    def name(self) -> str:
        """The mapped name in one-line form; empty where there is none."""
        return "" if self.subject_der is None else oneline(self.subject_der)


class IssuanceCommands(Commands):
    """The authority's part of GET."""

    def grant_issuance(
        self, authenticated: Authenticated, caller: Caller, request: Request, recipient: Recipient
    ) -> IssuanceGrant:
        """Grant a certificate to whoever has proved enough, if there is a name for it.

        Raises:
            AuthenticationError: There is none, to a stranger.
            DeniedError: There is none, or the client is limited.
            StorageError: It cannot be found out whether there is one.
        """
        authority, proof = self._authority, authenticated.proof
        assert authority is not None  # it was there when the request came
        if not recipient.is_known:
            recipient = find_recipient(authority, recipient.username)
        if recipient.refusal is not None and not (authority.names_users and _is_absent(recipient.refusal)):
            raise self._nameless(caller, request, recipient.refusal)
        renewer = proof.renewer
        if self._settings.limited_stays_limited and (caller.is_limited or (renewer is not None and renewer.limited)):
            raise DeniedError(_LIMITED)
        recorded = self._trail.post_permit(
            caller,
            request,
            request.command.name,
            authenticated.permission,
            method=proof.words,
            certificate_for=recipient.name or None,
            **({} if renewer is None else {"renewer": renewer.identity}),
            **({} if recipient.username == request.username else {"mapped_to": recipient.username}),
        )
        if request.passphrase:  # its yes tells whoever guesses that the guess was right
            recorded.settle()
        return IssuanceGrant(
            caller=caller,
            request=dataclasses.replace(request, username=recipient.username),
            permission=authenticated.permission,
            recorded=recorded,
            subject_der=recipient.subject_der,
            renews=None if renewer is None else renewer.identity,
            is_trusted=proof.method is Method.TRUSTED,
        )

    def _nameless(self, caller: Caller, request: Request, refusal: GridError) -> GridError:
        """Return the refusal for a user who has no name; to a stranger it is that of a wrong pass phrase."""
        if not _is_absent(refusal):
            _log.warning("%s: no name for %r: %s", caller.request_id, request.username, refusal)
        if caller.client.is_anonymous:
            self._sealer.pretend(request.passphrase)
            told: GridError = AuthenticationError(INVALID_PASSPHRASE)
        elif _is_absent(refusal):
            told = DeniedError(f"unknown username: {request.username}")
        else:  # the server's own trouble; as a TransportError it would be taken for the client's connection
            told = StorageError(f"the name of {request.username!r} cannot be found out: {refusal.message}")
        told.__cause__ = refusal
        return told

    def finish_issuance(self, grant: IssuanceGrant, request_der: bytes) -> tuple[Certificate, ...]:
        """Have the authority issue. The client hears what is wrong with its own request, and nothing else.

        Raises:
            DeniedError: It does not.
            StorageError: That could not be recorded.
        """
        assert self._authority is not None  # who else made the grant
        access = self._settings.access
        with self._trail.deciding(grant.caller, grant.request, "ISSUE"):
            recorder = _IssuanceRecorder(self._trail, grant, access)
            try:
                wanted = parse_request(request_der)
            except (ParseError, CredentialError, VerificationError) as error:
                raise DeniedError(f"{NOT_ISSUED}\n{error.message}") from error
            try:
                return self._authority.issue(grant, wanted, now=self._clock(), recorder=recorder)
            except GridError as error:
                _log.warning("%s: no certificate for %r: %s", grant.caller.request_id, grant.request.username, error)
                is_weak = isinstance(error, CredentialError) and error.problem is CredentialProblem.WEAK_KEY
                raise DeniedError(f"{NOT_ISSUED}\n{error.message}" if is_weak else NOT_ISSUED) from error


def find_recipient(authority: Authority, username: str) -> Recipient:
    """Ask for the name of a user; why there is none is for later."""
    try:
        return Recipient(username, authority.get_subject(username), is_known=True)
    except GridError as error:
        return Recipient(username, is_known=True, refusal=error)


def _is_absent(error: GridError) -> bool:
    return isinstance(error, NotFoundError)


class _IssuanceRecorder:
    """Puts a certificate into the audit trail before it leaves, if it is the one that was granted."""

    def __init__(self, trail: DecisionTrail, grant: IssuanceGrant, access: AccessPolicy) -> None:
        self._trail = trail
        self._grant = grant
        self._access = access

    def record(self, record: IssuanceRecord) -> None:
        """See `gsi.ca.records.Recorder`.

        Raises:
            DeniedError: It has another name than was proved, or one that the client may not have.
            StorageError: It cannot be recorded.
        """
        grant, certificate = self._grant, record.certificate
        if grant.renews is not None and not same_oneline(grant.renews, record.subject):
            raise DeniedError(f"the certificate would be {record.subject}, but {grant.renews} was proved")
        if grant.is_trusted:
            self._access.check_not_self(grant.caller.client, record.subject, "trusted retriever")
        self._trail.permit(
            grant.caller,
            grant.request,
            "ISSUE",
            grant.permission,
            subject=record.subject,
            issuer=oneline(certificate.issuer_der),
            serial=record.serial_hex,
            not_after=certificate.not_after.isoformat(),
            sha256=certificate.fingerprint,
        )
        grant.recorded.settle()
