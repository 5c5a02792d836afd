"""One web request judged: chain, then engine, then what the client may hear; no WSGI, no ASGI, no header.

    gate = open_gate("web", understands=(Account,))
    outcome = gate.judge("GET", "/data/f", presented)
    outcome.status                                          # 200, or 400, 401, 403

| status | when |
|---|---|
| 200 | the engine permits, and the service understands every obligation |
| 400 | what the client, or a front end, says cannot be understood |
| 401 | it may not, and has shown no certificate; or one that proves nothing |
| 403 | it may not, whatever the reason; or nobody could decide |

A client learns that it was refused, the slug of what is wrong with its certificates, and an id. Which rule it was
stands in log and audit, and `gsi-authz explain` has it under that id: also where the policy was not asked, because the
request or the certificates were refused before. Each request has one line of the audit, of bounded length, whatever a
stranger sends.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi.authz.decision import ANONYMOUS, Action, Effect, Resource, Subject
from gsi.authz.refusals import UNVERIFIED, describe_refused_chain, keep_refusal
from gsi.authz.service import ServiceAuthorizer, open_authorizer
from gsi.authz.web.mapping import RequestMapping
from gsi.errors import GridError, ParseError, VerificationError
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.trust.options import ValidationOptions
from gsi.trust.verify import VerificationCache, verify_chain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from gsi.authz.decision import Decision, Obligation
    from gsi.authz.web.peer import Presented
    from gsi.system.audit import AuditLog
    from gsi.trust.anchors import TrustAnchors

__all__ = ["CHALLENGE", "Gate", "Outcome", "open_gate"]

CHALLENGE: Final = 'ClientCertificate realm="grid"'
"""For `WWW-Authenticate`, which a 401 must have (RFC 9110 section 15.5.2): no scheme is registered for certificates,
and no client acts on one that it does not know."""

TRUST_RECHECK_SECONDS: Final = 1.0
"""How old the view of the trust directory may be."""

_log: Final = logging.getLogger("gsi.authz.web")
_FAILED: Final = "the authorization service cannot decide now"
_UNREADABLE: Final = "the request cannot be understood"
_NAME: Final = "gate"

_MAX_METHOD_CHARS: Final = 32
"""What is recorded of a method that is not mapped; the longest registered one has 18."""

_MAX_PATH_CHARS: Final = 1024
"""What is recorded of a path that is not judged."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a request.

    Attributes:
        status: 200 lets it pass; 400, 401 and 403 refuse.
        subject: Who asks, as far as it was proved.
        words: For the client, without secrets; empty for a permit.
        decision_id: For the client; every refusal has one.
        decision: The engine's answer, or None where it was not asked; it has a record of the refusal all the same.
    """

    status: int
    subject: Subject
    words: str
    decision_id: str
    decision: Decision | None = None

    @property
    def is_permit(self) -> bool:
        """Whether the request may pass."""
        return self.status == 200

    @property
    def account(self) -> str | None:
        """The account that the permit names."""
        return self.decision.account if self.decision is not None and self.is_permit else None

    @property
    def body(self) -> bytes:
        """What a refused client is shown: one line of ASCII."""
        return f"{self.words} (decision {self.decision_id})\n".encode("ascii", "replace")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of a refusal."""
        found = [
            ("Content-Type", "text/plain; charset=us-ascii"),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
            ("X-Authz-Decision", self.decision_id),
        ]
        return [*found, ("WWW-Authenticate", CHALLENGE)] if self.status == 401 else found


class Gate:
    """Judges requests. Safe for several threads; `judge` may wait for whatever the policy waits for."""

    def __init__(
        self,
        authorizer: ServiceAuthorizer,
        anchors: Callable[[], TrustAnchors],
        *,
        mapping: RequestMapping | None = None,
        options: ValidationOptions | None = None,
    ) -> None:
        """Put it together.

        Args:
            authorizer: Who is asked, and which obligations the service carries out.
            anchors: Returns the trust anchors of the moment.
            mapping: Methods and paths as actions and resources.
            options: How chains are judged.
        """
        self.authorizer = authorizer
        self.mapping = mapping or RequestMapping()
        self._anchors = anchors
        self._options = options or ValidationOptions()
        self._cache = VerificationCache()

    def judge(
        self,
        method: str,
        path: str,
        presented: Presented,
        *,
        action: str | None = None,
        resource: str | None = None,
    ) -> Outcome:
        """Judge a request; never raises.

        Args:
            method: As the client wrote it.
            path: As the application sees it; see `RequestMapping.resource`.
            presented: What is known of the client.
            action: The action in place of the method's.
            resource: The resource in place of the path's; a name of the service's own.
        """
        subject, chain = ANONYMOUS, presented.chain
        try:
            subject, chain = self.identify(presented), ()
            what = self.mapping.action(method) if action is None else action
            where = self.mapping.resource(path) if resource is None else Resource(resource)
            request = self.authorizer.question(subject, what, where, address=presented.address)
            return self._outcome(self.authorizer.decide(request), subject)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody gets in
            asked = self._outline(method, path if resource is None else resource, action)
            return self._refuse(error, subject, asked, address=presented.address, chain=chain)

    async def judge_async(self, method: str, path: str, presented: Presented) -> Outcome:
        """As `judge`, without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self.judge, method, path, presented)

    def identify(self, presented: Presented) -> Subject:
        """Return who a client is, by our own judgement of its chain.

        Raises:
            VerificationError: Its certificates prove nothing.
            ConfigError: The trust directory cannot be read.
        """
        if not presented.chain:
            return ANONYMOUS
        anchors, now = self._anchors(), self.authorizer.clock()
        peer = verify_chain(presented.chain, anchors, now=now, options=self._options, cache=self._cache)
        return Subject.from_peer(peer)

    def refusal(self, error: Exception, *, method: object = "", path: object = "", address: object = "") -> Outcome:
        """Return the refusal for a request that could not be put to `judge`, and record it. May wait for a disk.

        Args:
            error: What is wrong with it.
            method: What is known of it, without having been looked at.
            path: Likewise.
            address: Likewise, of who has sent it.
        """
        method, path, address = (one if isinstance(one, str) else "" for one in (method, path, address))
        return self._refuse(error, ANONYMOUS, self._outline(method, path, None), address=address[:_MAX_PATH_CHARS])

    async def refusal_async(
        self, error: Exception, *, method: object = "", path: object = "", address: object = ""
    ) -> Outcome:
        """As `refusal`, without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self.refusal, error, method=method, path=path, address=address)

    def _outline(self, method: str, path: str, action: str | None) -> tuple[Action | str, Resource]:
        """Return what was asked, for the record alone: whatever the client has written, cut."""
        name = action or Action(
            self.mapping.actions.get(method) or method[:_MAX_METHOD_CHARS], self.mapping.service_type
        )
        return name, Resource(path[:_MAX_PATH_CHARS])

    def _refuse(
        self,
        error: Exception,
        subject: Subject,
        asked: tuple[Action | str, Resource],
        *,
        address: str,
        chain: Sequence[bytes] = (),
    ) -> Outcome:
        """Refuse what could not be judged, and say why in log, audit and record."""
        status, words, effect, reason = 403, _FAILED, Effect.INDETERMINATE, "internal error"
        match error:
            case VerificationError():
                status, words = 401, f"the client certificate is refused: {error.reason.value}"
                effect, reason = Effect.DENY, describe_refused_chain(chain, error)
            case ParseError():
                status, words, effect, reason = 400, _UNREADABLE, Effect.DENY, error.message
            case GridError():
                reason = error.message
        who = UNVERIFIED if chain else subject
        request = self.authorizer.question(who, *asked, address=address)
        ident = keep_refusal(self.authorizer.engine, request, effect, reason, by=_NAME).decision_id
        match error:
            case VerificationError() | ParseError():
                _log.info("%s: request refused: %a", ident, reason)
            case GridError():
                _log.error("%s: cannot decide: %a", ident, reason)
            case _:
                _log.error("%s: internal error", ident, exc_info=error)
        return Outcome(status, subject, words, ident)

    def _outcome(self, decision: Decision, subject: Subject) -> Outcome:
        ident = decision.decision_id
        if decision.is_permit:
            return Outcome(200, subject, "", ident, decision)
        _log.info("%s: refused %a: %a", ident, subject.identity or "<anonymous>", decision.reason)
        if decision.effect is Effect.INDETERMINATE:
            return Outcome(403, subject, _FAILED, ident, decision)
        if subject.is_anonymous:
            return Outcome(401, subject, "a client certificate is needed for this", ident, decision)
        return Outcome(403, subject, "you are not authorized to do this", ident, decision)


def open_gate(
    service: str = "web",
    *,
    policy: str | None = None,
    mapping: RequestMapping | None = None,
    understands: Collection[type[Obligation]] = (),
    trust_dir: str | None = None,
    audit: AuditLog | None = None,
) -> Gate:
    """Return a gate with the policy of a service and the trust directory of this machine.

    Args:
        service: What the service calls itself, and the name of its policy.
        policy: The name or file of another policy.
        mapping: As for `Gate`.
        understands: The types of obligations that the service carries out; a permit with any other refuses.
        trust_dir: The trust directory, or None for `X509_CERT_DIR` or the system's.
        audit: Where decisions are on disk before they count; without it the log has them.

    Raises:
        ConfigError: Policy or trust directory cannot be used.
    """
    kind = (mapping or RequestMapping()).service_type
    authorizer = open_authorizer(service, policy=policy, kind=kind, understands=understands, audit=audit)
    trust = TrustDirectory(trust_dir or read_locations().trust_dir, recheck_seconds=TRUST_RECHECK_SECONDS)
    trust.anchors()  # one that cannot be read would refuse everybody: better to say so at once
    return Gate(authorizer, trust.anchors, mapping=mapping)
