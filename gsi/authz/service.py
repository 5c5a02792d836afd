"""What the author of a service writes to have its requests decided; the deciding is `gsi.authz.engine`'s.

    authorizer = open_authorizer("storage", understands=(Account,))
    decision = authorizer.authorize(peer, "read", "/data/f")          # DeniedError where it is not permitted
    serve(path, as_account=decision.account)

`peer` is what `verify_chain` returned, a `Subject`, or None for a client that showed nothing. In coroutines it is
`await authorizer.authorize_async(...)`. The policy is `/etc/grid-security/gsi-authz.d/storage.toml`, followed as it
changes. What a permit is bound to and `understands` does not name refuses.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gsi.authz.decision import (
    ANONYMOUS,
    Action,
    AuthorizationRequest,
    Effect,
    Environment,
    Resource,
    Subject,
    require_permit,
    understood,
)
from gsi.authz.refusals import peer_in_audit
from gsi.authz.reload import open_engine
from gsi.errors import ConfigError, DeniedError
from gsi.system import clock
from gsi.system.audit import AuditLog, AuditRecord, Verdict
from gsi.system.environ import authz_policy_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from gsi.authz.decision import Decision, Obligation
    from gsi.authz.engine import Engine
    from gsi.trust.peer import VerifiedPeer

__all__ = ["ServiceAuthorizer", "audit_to", "find_policy", "find_site_policy", "open_authorizer"]


class ServiceAuthorizer:
    """Asks an engine on behalf of one service. Safe for several threads.

    Attributes:
        engine: Who decides.
        service: What the service calls itself.
        understands: The types of obligations that the service carries out.
        clock: The time now, aware UTC.
        host: What the service's host is called.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        service: str,
        kind: str = "file",
        understands: Collection[type[Obligation]] = (),
        clock: Callable[[], datetime] = clock.now,
        host: str | None = None,
    ) -> None:
        """Put it together.

        Args:
            engine: Who decides.
            service: What the service calls itself.
            kind: The type of service that plain action words belong to ("read" is then `file:read`).
            understands: The types of obligations that the service carries out.
            clock: The time.
            host: What the service's host is called; by default what the machine calls itself.
        """
        self.engine = engine
        self.service = service
        self.understands = tuple(understands)
        self.clock = clock
        self.host = os.uname().nodename if host is None else host
        self._kind = kind

    def authorize(
        self,
        who: Subject | VerifiedPeer | None,
        action: str | Action,
        resource: str | Resource = "",
        *,
        address: str = "",
        account: str | None = None,
        attributes: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Decision:
        """Return the permit.

        Args:
            who: A subject, a verified chain, or None for an anonymous client.
            action: The action's word, with or without its type (`read`, `job:start`).
            resource: A URL, an absolute path, or a word of the service's own.
            address: The client's network address, where it is known.
            account: The account that the client asks to be.
            attributes: What else is known of the circumstances.

        Raises:
            DeniedError: Anything but a permit whose obligations the service understands. Its words are for the log and
                the administrator; clients may be told `decision.decision_id`.
        """
        request = self.question(who, action, resource, address=address, account=account, attributes=attributes)
        return require_permit(self.decide(request), understands=self.understands)

    async def authorize_async(
        self,
        who: Subject | VerifiedPeer | None,
        action: str | Action,
        resource: str | Resource = "",
        *,
        address: str = "",
        account: str | None = None,
        attributes: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Decision:
        """As `authorize`, without holding up the event loop.

        Raises:
            DeniedError: As for `authorize`.
        """
        request = self.question(who, action, resource, address=address, account=account, attributes=attributes)
        return require_permit(await self.decide_async(request), understands=self.understands)

    def admit(self, request: AuthorizationRequest) -> Decision:
        """Return the permit that answers a question, for services that tell their clients why not.

        Raises:
            DeniedError: Anything but a permit that can be carried out. Its words are for the client, and say no more
                than the decision's id; the words of its cause are for the log.
        """
        decision = self.decide(request)
        if decision.is_permit:
            return decision
        why = f"decision {decision.decision_id} of {decision.authorizer or 'the policy'}: {decision.reason}"
        words = f"not authorized by the site's policy (decision {decision.decision_id})"
        raise DeniedError(words, decision=decision) from DeniedError(why, decision=decision)

    def decide(self, request: AuthorizationRequest) -> Decision:
        """Return the answer to a question, whatever it is; one that cannot be carried out is INDETERMINATE."""
        return self._understand(request, self.engine.authorize(request))

    async def decide_async(self, request: AuthorizationRequest) -> Decision:
        """As `decide`, without holding up the event loop."""
        decision = await self.engine.authorize_async(request)
        if understood(decision, self.understands) is decision:
            return decision
        import asyncio

        return await asyncio.to_thread(self._understand, request, decision)

    def _understand(self, request: AuthorizationRequest, decision: Decision) -> Decision:
        """Return the decision; a permit that cannot be carried out is kept once more, as the refusal that it is."""
        judged = understood(decision, self.understands)
        return judged if judged is decision else self.engine.refuse(request, judged)

    def question(
        self,
        who: Subject | VerifiedPeer | None,
        action: str | Action,
        resource: str | Resource = "",
        *,
        address: str = "",
        account: str | None = None,
        attributes: Mapping[str, tuple[str, ...]] | None = None,
    ) -> AuthorizationRequest:
        """Return the question that `authorize` asks, with these arguments."""
        if isinstance(action, str):
            kind, colon, name = action.partition(":")
            action = Action(name, kind) if colon else Action(kind, self._kind)
        environment = Environment(
            now=self.clock(),
            service=self.service,
            host=self.host,
            peer_address=address,
            desired_account=account,
            attributes=attributes or {},
        )
        resource = Resource(resource) if isinstance(resource, str) else resource
        subject = ANONYMOUS if who is None else who if isinstance(who, Subject) else Subject.from_peer(who)
        return AuthorizationRequest(subject, action, resource, environment)


def open_authorizer(
    service: str,
    *,
    policy: str | None = None,
    kind: str = "file",
    understands: Collection[type[Obligation]] = (),
    audit: AuditLog | None = None,
    host: str | None = None,
) -> ServiceAuthorizer:
    """Return what asks the policy of a service.

    Args:
        service: What the service calls itself, and the name of its policy.
        policy: The name or file of another policy.
        kind: As for `ServiceAuthorizer`.
        understands: As for `ServiceAuthorizer`.
        audit: Where each decision is on disk before it is returned; without it the log has them.
        host: As for `ServiceAuthorizer`.

    Raises:
        ConfigError: The policy cannot be used.
    """
    record = None if audit is None else audit_to(audit)
    engine = open_engine(authz_policy_path(policy or service), service="" if policy else service, audit=record)
    return ServiceAuthorizer(engine, service=service, kind=kind, understands=understands, host=host)


def find_site_policy(name: str) -> str | None:
    """Return the file of a policy, or None where the site has none of this name.

    Raises:
        ConfigError: It cannot be found out whether there is one.
    """
    path = authz_policy_path(name)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"cannot look for the authorization policy: {error.strerror}", path=path) from error
    return path


def find_policy(name: str, *, service: str, shipped: str) -> str:
    """Return a policy's file: the site's, or the one that comes with the service where the site has none.

    Args:
        name: The name or file of the policy.
        service: The name for which a policy comes with the service.
        shipped: The file that comes with it.

    Raises:
        ConfigError: There is none of this name, or it cannot be found out whether there is one.
    """
    found = find_site_policy(name)
    if found is None and name != service:
        raise ConfigError("the authorization policy does not exist", path=authz_policy_path(name))
    return found or shipped


_VERDICTS = {Effect.PERMIT: Verdict.PERMIT, Effect.INDETERMINATE: Verdict.FAIL}


def audit_to(log: AuditLog) -> Callable[[AuthorizationRequest, Decision], None]:
    """Return the function that an engine calls to have every decision in an audit file, under its decision id."""

    def record(request: AuthorizationRequest, decision: Decision) -> None:
        log.record(
            AuditRecord(
                time=request.environment.now,
                request_id=decision.decision_id,
                service=f"gsi-authz:{request.environment.service}",
                action=request.action.name,
                verdict=_VERDICTS.get(decision.effect, Verdict.DENY),
                reason=decision.reason,
                peer=peer_in_audit(request.subject),
                address=request.environment.peer_address,
                details={
                    "resource": request.resource.name,
                    "account": decision.account,
                    "desired": request.environment.desired_account,
                    "authorizer": decision.authorizer,
                },
            )
        )

    return record
