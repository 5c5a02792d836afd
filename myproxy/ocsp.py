"""Asking OCSP responders about the end entities whose credentials are stored, delegated or renewed; judges no chain.

    verify = OCSPVerifier(verify_chain_against_trust_dir, OCSPRules(use_aia=True), audit, clock)
    peer = verify(chain, now=now)           # VerificationError: REVOKED, where a responder says so

As in gct:myproxy/source/myproxy_ocsp.c the responder is that which the certificate names (`ocsp_policy aia`), else
`ocsp_responder_url`; only "revoked" refuses. A responder that gives no answer to be believed is noted in the audit and
passed over, since otherwise whoever can keep it from answering would close the service; `ocsp_required` refuses then.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gsi.errors import GridError, Reason, VerificationError
from gsi.names import oneline
from gsi.system.audit import AuditRecord, AuditSink, Verdict
from gsi.transport.http import Post, fetch, make_context
from gsi.trust.ocsp import MAX_RESPONSE_BYTES, OCSPStatus, find_ocsp_url, judge_ocsp_response, make_ocsp_request

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.trust.ocsp import OCSPAnswer
    from gsi.trust.verify import VerifiedPeer

    class ChainVerifier(Protocol):
        """Judges a chain against the trust anchors of the moment."""

        def __call__(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
            """Return the proven identity, or raise VerificationError."""
            ...


__all__ = ["OCSPRules", "OCSPVerifier"]

ANSWER_SECONDS: Final = 5.0
"""For connecting, asking and reading together; a client waits meanwhile, and other logons have threads of their own."""
ACTION: Final = "OCSP"
_log: Final = logging.getLogger("myproxy.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPRules:
    """What the administrator decides.

    Attributes:
        use_aia: Whether to ask the responder that the certificate names.
        responder_url: Whom to ask about certificates that name none; None for nobody.
        responders: Certificates of responders that are believed beside those of the issuing CA.
        is_required: Whether an end entity about whom nobody answers is refused.
        ca_directory: The CAs that vouch for responders over https, beside the system's.
        seconds: How long an answer may take.
    """

    use_aia: bool = False
    responder_url: str | None = None
    responders: tuple[Certificate, ...] = ()
    is_required: bool = False
    ca_directory: str | None = None
    seconds: float = ANSWER_SECONDS


class OCSPVerifier:
    """A `ChainVerifier` that asks about the end entity of every chain that is good otherwise."""

    def __init__(
        self, verify: ChainVerifier, rules: OCSPRules, audit: AuditSink, clock: Callable[[], datetime]
    ) -> None:
        """Put together who judges chains and how responders are asked.

        Args:
            verify: Judges chains.
            rules: What the administrator decides.
            audit: Told when there is no answer.
            clock: The time of those records.
        """
        self._verify = verify
        self._rules = rules
        self._audit = audit
        self._clock = clock

    def __call__(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
        """Judge a chain, then ask.

        Raises:
            VerificationError: As the judge of chains; REVOKED: a responder says so; CRL_MISSING: there is no answer,
                where one is required.
            StorageError: That there is none could not be recorded.
        """
        peer = self._verify(chain, now=now)
        position = peer.chain.index(peer.eec)
        try:
            answer = self._ask(peer.eec, peer.chain[position + 1], now)
        except GridError as error:
            self._note(peer, error)
            if self._rules.is_required:
                raise VerificationError(
                    "whether the certificate is revoked cannot be found out",
                    reason=Reason.CRL_MISSING,
                    position=position,
                ) from error
            return peer
        if answer is not None and answer.status is OCSPStatus.REVOKED:
            since = "" if answer.revoked_at is None else f" since {answer.revoked_at:%Y-%m-%d %H:%M:%S}Z"
            raise VerificationError(
                f"the certificate is revoked{since}, says its OCSP responder", reason=Reason.REVOKED, position=position
            )
        return peer

    def _ask(self, certificate: Certificate, issuer: Certificate, now: datetime) -> OCSPAnswer | None:
        """Return the answer; None when there is nobody to ask.

        Raises:
            GridError: There is somebody, but no answer to be believed.
        """
        rules = self._rules
        url = (find_ocsp_url(certificate) if rules.use_aia else None) or rules.responder_url
        if url is None:
            if rules.is_required:
                raise GridError("the certificate names no OCSP responder, and none is configured")
            return None
        post = Post("application/ocsp-request", make_ocsp_request(certificate, issuer))
        fetched = fetch(url, timeout=rules.seconds, max_bytes=MAX_RESPONSE_BYTES, context=self._context(url), post=post)
        answer = judge_ocsp_response(
            fetched.data, certificate=certificate, issuer=issuer, now=now, responders=rules.responders
        )
        if rules.is_required and answer.status is OCSPStatus.UNKNOWN:
            raise GridError("the OCSP responder does not know the certificate")
        return answer

    def _context(self, url: str) -> ssl.SSLContext | None:
        return make_context(self._rules.ca_directory) if url.lower().startswith("https:") else None

    def _note(self, peer: VerifiedPeer, error: GridError) -> None:
        """Record that there is no answer."""
        subject = oneline(peer.eec.subject_der)
        outcome = "refused" if self._rules.is_required else "passed over"
        _log.warning("OCSP: nothing known about %s, %s: %s", subject, outcome, error)
        self._audit.record(
            AuditRecord(
                time=self._clock(),
                request_id="",
                service="myproxy",
                action=ACTION,
                verdict=Verdict.FAIL,
                reason=f"{error.slug}: {error.message}",
                peer=peer.identity,
                address="",
                details={"subject": subject, "serial": f"{peer.eec.serial:X}", "outcome": outcome},
            )
        )
