"""The service of a community: capabilities, questions and changes, each authorised and audited; no socket, no file.

    service = PolicyService(repository, Settings(community="climate"), audit, clock.now)
    capability = service.capability(caller, CapabilityRequest(policy=EVERYTHING))
    service.apply(caller, [Grant(statement)], reason="ticket 12")
    service.who_can(caller, action, on)

Whoever asks is a `Caller` that a server made of a verified chain. CAS's own rights decide what a caller may ask and
change (`cas.rights`); they are looked up in the same transaction as the change. Every decision is on disk in the audit
before it takes effect. A change of the policy is also in its history, together with the reason.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from cas import effects
from cas.assertion.value import Capability, Holder
from cas.policy.changes import AddMember, Change, Enrol, Grant, Remove, RemoveMember, Revoke
from cas.policy.conditions import Circumstances
from cas.policy.evaluate import judge, narrow
from cas.policy.model import Kind, Ref, ServiceAction
from cas.policy.request import EVERYTHING, PolicyRequest, Wanted
from cas.repository.base import MAX_PAGE, Author, check_clock
from cas.rights import Rights
from gsi.authz.principals import normal_fqan
from gsi.errors import ConfigError, DeniedError, GridError, NotFoundError
from gsi.system.audit import AuditRecord, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from cas.effects import Explanation, Preview
    from cas.policy.caller import Caller
    from cas.policy.evaluate import Outcome
    from cas.policy.model import Entity, Statement
    from cas.policy.userfile import UserLine
    from cas.repository.base import Applied, Found, HistoryEntry, Holders, PolicyRepository, View

__all__ = ["AuditSink", "CapabilityRequest", "PolicyService", "Progress", "Settings"]

SERVICE: Final = "cas"
"""What the audit calls this service."""

BATCH_LINES: Final = 2000
"""Lines of a file of users in one transaction: half a second of work, during which others wait."""

T = TypeVar("T")


class AuditSink(Protocol):
    """Where decisions are recorded."""

    def record(self, record: AuditRecord) -> None:
        """Return when the record is safe; raise StorageError when it is not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the community has decided.

    Attributes:
        community: Its name, with which its FQANs begin.
        default_lifetime: Of a capability that was asked for without one.
        max_lifetime: Of any capability.
    """

    community: str
    default_lifetime: timedelta = timedelta(hours=12)
    max_lifetime: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        word = self.community.replace("-", "").replace(".", "").replace("_", "")
        if not (word.isascii() and word.isalnum()) or len(self.community) > 255:
            raise ConfigError(f"{self.community[:80]!r} is no name of a community: letters, digits, '-', '.', '_'")
        if not timedelta() < self.default_lifetime <= self.max_lifetime:
            raise ConfigError("lifetimes of capabilities: the default is to be positive and not above the maximum")


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityRequest:
    """What a caller wants to have signed.

    Attributes:
        policy: The rights; None for none.
        fqans: The FQANs, the primary one first; empty for all groups without roles; None for none.
        lifetime: How long; None or zero for the service's default.
        audience: For whom alone; empty for all.
        bind_key: Whether it is to be of use only with the key that the caller has proven.
        form: What it is to be written as, for the audit.
    """

    policy: PolicyRequest | None = EVERYTHING
    fqans: tuple[str, ...] | None = ()
    lifetime: timedelta | None = None
    audience: tuple[str, ...] = ()
    bind_key: bool = False
    form: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file of users is done.

    Attributes:
        lines: Lines dealt with, of this call and those before.
        enrolled: Users that this call has enrolled.
    """

    lines: int
    enrolled: int


@dataclass(slots=True)
class _Note:
    """What the audit is to say of a decision."""

    reason: str = "permitted"
    details: dict[str, str | int | None] = field(default_factory=dict)


class PolicyService:
    """The operations of the service. Safe for use by several threads."""

    def __init__(
        self, repository: PolicyRepository, settings: Settings, audit: AuditSink, clock: Callable[[], datetime]
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._audit = audit
        self._clock = clock

    @property
    def settings(self) -> Settings:
        """What the community has decided."""
        return self._settings

    # --- capabilities -------------------------------------------------------------------------------------------------

    def capability(self, caller: Caller, request: CapabilityRequest) -> Capability:
        """Return what a caller may have signed: what they ask for, as far as the policy grants it.

        Raises:
            DeniedError: They are not enrolled, or nothing is left of what they ask for.
            ParseError: A name that no object or FQAN can have.
            StorageError: The policy cannot be read or the decision not be recorded, or the clock has gone back.
        """
        now = self._clock()
        with self._deciding(caller, "capability", now) as note:
            until = min(now + self._lifetime(request.lifetime), caller.eec.not_after)
            if until <= now:
                raise DeniedError("the certificate has expired")
            nickname, outcome, fqans = self._repository.reading(
                lambda view: self._grant(view, caller, request, now, until)
            )
            identifier = secrets.token_bytes(16)
            note.details |= {
                "capability": identifier.hex(),
                "user": nickname,
                "form": request.form,
                "rights": len(outcome.rights),
                "withheld": len(outcome.withheld),
                "fqans": " ".join(fqans),
                "until": outcome.not_after.isoformat(timespec="seconds"),
            }
            return Capability(
                community=self._settings.community,
                identifier=identifier,
                holder=Holder(caller.eec, nickname, caller.key_thumbprint if request.bind_key else None),
                rights=outcome.rights,
                fqans=fqans,
                audience=request.audience,
                issued_at=now,
                not_before=now,
                not_after=outcome.not_after,
            )

    def rights_of(self, caller: Caller, nickname: str, request: PolicyRequest = EVERYTHING) -> Outcome:
        """Return the rights of a user, as a capability would say them; signs nothing.

        Raises:
            DeniedError: The caller is neither this user nor may ask about others.
            NotFoundError: There is no such user.
        """
        now = self._clock()

        def look(view: View) -> Outcome:
            rights = Rights.of(view, caller, now)
            groups, circumstances = rights.groups, rights.circumstances
            if nickname != rights.user.nickname:
                rights.require_query()
                user = view.find_user_named(nickname)
                if user is None:
                    raise NotFoundError(f"there is no user {nickname[:80]!r}")
                groups, circumstances = view.groups_of(user.number), Circumstances(now, strength=user.strength)
            wanted = _normal(view, request)
            return narrow(
                view.applicable(groups, wanted),
                wanted,
                circumstances,
                until=now + self._settings.max_lifetime,
                all_actions=view.all_actions(),
            )

        return self._ask(caller, "rights-of", now, look)

    def _grant(
        self, view: View, caller: Caller, request: CapabilityRequest, now: datetime, until: datetime
    ) -> tuple[str, Outcome, tuple[str, ...]]:
        check_clock(now, view.latest())
        rights = Rights.of(view, caller, now)
        wanted = PolicyRequest(()) if request.policy is None else _normal(view, request.policy)
        outcome = narrow(
            view.applicable(rights.groups, wanted) if wanted.wanted else (),
            wanted,
            rights.circumstances,
            until=until,
            all_actions=view.all_actions() if wanted.wanted else (),
        )
        fqans = () if request.fqans is None else self._fqans(view.fqans_of(rights.groups), request.fqans)
        if not outcome.rights and not fqans:
            hint = "something within it is denied; ask for parts of it" if outcome.withheld else None
            raise DeniedError(f"{rights.user.nickname} has none of the rights that were asked for", hint=hint)
        return rights.user.nickname, outcome, fqans

    def _fqans(self, held: Sequence[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
        root = f"/{self._settings.community}"
        ours = [fqan for fqan in held if fqan.startswith(f"{root}/")]
        if not wanted:
            return tuple(_long_fqan(fqan) for fqan in (root, *(one for one in ours if "/Role=" not in one)))
        known = {root, *ours}
        asked = dict.fromkeys(normal_fqan(fqan) for fqan in wanted)
        return tuple(_long_fqan(fqan) for fqan in asked if fqan in known)

    def _lifetime(self, asked: timedelta | None) -> timedelta:
        if not asked:
            return self._settings.default_lifetime
        if asked < timedelta():
            raise DeniedError("a negative lifetime")
        return min(asked, self._settings.max_lifetime)

    # --- changes ------------------------------------------------------------------------------------------------------

    def apply(
        self,
        caller: Caller,
        changes: Sequence[Change],
        *,
        reason: str = "",
        expected_revision: int | None = None,
        expected: Mapping[Ref, int] | None = None,
    ) -> Applied:
        """Make changes, all or none.

        Args:
            caller: Who asks.
            changes: In their order; what one makes, the next may use.
            reason: Why; goes into the history.
            expected_revision: The revision at which a preview was looked at.
            expected: The versions that things had when they were looked at.

        Raises:
            DeniedError: The caller lacks a right that one of them needs.
            ConflictError: The policy does not allow it, or another administrator was faster.
            NotFoundError: Something that a change needs is not enrolled.
            ParseError: A name that nothing can have.
            StorageError: The policy cannot be changed, or the decision not be recorded.
        """
        now = self._clock()
        by = Author(caller.identity, now, reason, caller.request_id)
        action = "change" if len(changes) != 1 else type(changes[0]).__name__.lower()
        told: list[bool] = []

        def confirm(applied: Applied) -> None:
            if not told:
                told.append(True)
                text = "; ".join(map(effects.describe, changes))
                details: dict[str, str | int | None] = {"change": text, "revision": applied.revision}
                self._record(caller, action, now, _Note(reason or "permitted", details), Verdict.PERMIT)

        try:
            return self._repository.apply(
                changes,
                by,
                guard=self._guard(caller, now),
                confirm=confirm,
                expected_revision=expected_revision,
                expected=expected,
            )
        except GridError as error:
            details: dict[str, str | int | None] = {"change": "; ".join(map(effects.describe, changes))}
            self._refuse(caller, action, now, error, details)
            raise

    def preview(self, caller: Caller, changes: Sequence[Change]) -> Preview:
        """Return who would gain and who would lose what by changes; makes none.

        Raises:
            GridError: As `apply`, for a caller who could not make them or may not ask about others.
        """
        now = self._clock()
        by = Author(caller.identity, now, "", caller.request_id)

        def guard(view: View, change: Change) -> None:
            rights = Rights.of(view, caller, now)
            rights.require_query()
            rights.require(change)

        with self._deciding(caller, "preview", now):
            probes = self._repository.reading(lambda view: effects.probes(view, changes))
            circumstances = Circumstances(now)
            before, after, revision = self._repository.preview(
                changes, by, lambda view: effects.look(view, probes, circumstances), guard=guard
            )
            return effects.compare(probes, before, after, revision)

    def _guard(self, caller: Caller, now: datetime) -> Callable[[View, Change], None]:
        def guard(view: View, change: Change) -> None:
            Rights.of(view, caller, now).require(change)

        return guard

    def enrol_users(
        self,
        caller: Caller,
        lines: Iterator[UserLine],
        *,
        owner: str,
        digest: str,
        reason: str = "",
        progress: Callable[[Progress], None] | None = None,
    ) -> Progress:
        """Enrol the users of a file, some thousand at a time; called again, it goes on where it stopped.

        Args:
            caller: Who asks.
            lines: All lines of the file, from the first one.
            owner: The user group that gets `grantAll` on each user.
            digest: SHA-256 of the file, by which it is known again.
            reason: Why; goes into the history.
            progress: Told after each transaction.

        Raises:
            GridError: As `apply`, and `ParseError` for a line; what was done before stays.
        """
        done = self._repository.enrolled_lines(f"{owner}:{digest}")
        enrolled = 0
        batch: list[UserLine] = []
        for line in lines:
            if line.number <= done:
                continue
            batch.append(line)
            if len(batch) >= BATCH_LINES:
                enrolled += self._enrol_batch(caller, batch, owner=owner, digest=digest, reason=reason)
                done = batch[-1].number
                batch = []
                if progress is not None:
                    progress(Progress(done, enrolled))
        if batch:
            enrolled += self._enrol_batch(caller, batch, owner=owner, digest=digest, reason=reason)
            done = batch[-1].number
        final = Progress(done, enrolled)
        if progress is not None:
            progress(final)
        return final

    def enrolled_lines(self, caller: Caller, *, owner: str, digest: str) -> int:
        """Return how many lines of a file of users have been dealt with, for whoever may enrol users.

        Raises:
            DeniedError: The caller may not.
        """
        now = self._clock()

        def look(view: View) -> None:
            Rights.of(view, caller, now).require_on_server("enroll_user")

        self._ask(caller, "enrol-users", now, look)
        return self._repository.enrolled_lines(f"{owner}:{digest}")

    def _enrol_batch(self, caller: Caller, lines: Sequence[UserLine], *, owner: str, digest: str, reason: str) -> int:
        now = self._clock()
        by = Author(caller.identity, now, reason, caller.request_id)
        first = next((line.user for line in lines if line.user is not None), None)
        groups = sorted({group for line in lines for group in line.groups})
        details: dict[str, str | int | None] = {
            "lines": f"{lines[0].number}-{lines[-1].number}",
            "file": digest,
            "groups": " ".join(groups),
        }

        def guard(view: View) -> None:
            rights = Rights.of(view, caller, now)
            if first is not None:
                rights.require(Enrol(first, owner))
            for group in groups:
                rights.require(AddMember(Ref(Kind.USER_GROUP, group), Ref(Kind.USER, rights.user.nickname)))

        def confirm(count: int) -> None:
            self._record(
                caller, "enrol-users", now, _Note(reason or "permitted", details | {"users": count}), Verdict.PERMIT
            )

        try:
            return self._repository.enrol_users(
                lines, by, owner=owner, digest=f"{owner}:{digest}", guard=guard, confirm=confirm
            )
        except GridError as error:
            self._refuse(caller, "enrol-users", now, error, details)
            raise

    # --- the operations of GT, each one change ------------------------------------------------------------------------

    def enrol(self, caller: Caller, entity: Entity, owner: str | None, *, reason: str = "") -> Applied:
        """Enrol something: addTrustAnchor, addUser, createObject, createObjectNamespace, createServiceType."""
        return self.apply(caller, [Enrol(entity, owner)], reason=reason)

    def remove(self, caller: Caller, ref: Ref, *, reason: str = "") -> Applied:
        """Remove something: removeTrustAnchor, removeUser, deleteObject, deleteGroup, ...; none is no error."""
        return self.apply(caller, [Remove(ref)], reason=reason)

    def create_group(self, caller: Caller, group: Entity, owner: str, *, reason: str = "") -> Applied:
        """Create a group of users, objects or actions: createGroup."""
        return self.apply(caller, [Enrol(group, owner)], reason=reason)

    def add_member(self, caller: Caller, group: Ref, member: Ref, *, reason: str = "") -> Applied:
        """Put something into a group: manageUserGroups, manageObjectGroups, manageServiceActionGroups."""
        return self.apply(caller, [AddMember(group, member)], reason=reason)

    def remove_member(self, caller: Caller, group: Ref, member: Ref, *, reason: str = "") -> Applied:
        """Take something out of a group."""
        return self.apply(caller, [RemoveMember(group, member)], reason=reason)

    def add_action(self, caller: Caller, service_type: str, name: str, *, reason: str = "") -> Applied:
        """Add an action to a service type: manageServiceAction."""
        return self.apply(caller, [Enrol(ServiceAction(service_type, name))], reason=reason)

    def remove_action(self, caller: Caller, service_type: str, name: str, *, reason: str = "") -> Applied:
        """Remove an action of a service type."""
        return self.apply(caller, [Remove(Ref(Kind.SERVICE_ACTION, name, service_type))], reason=reason)

    def grant(self, caller: Caller, statement: Statement, *, reason: str = "") -> Applied:
        """Add a statement to the policy."""
        return self.apply(caller, [Grant(statement)], reason=reason)

    def revoke(self, caller: Caller, statement: Statement, *, reason: str = "") -> Applied:
        """Take a statement out of the policy; one that is not there is no error."""
        return self.apply(caller, [Revoke(statement)], reason=reason)

    # --- questions ----------------------------------------------------------------------------------------------------

    def whoami(self, caller: Caller) -> str:
        """Return the caller's nickname.

        Raises:
            DeniedError: They are not enrolled.
        """
        now = self._clock()
        return self._ask(caller, "whoami", now, lambda view: Rights.of(view, caller, now).user.nickname)

    def list_names(self, caller: Caller, kind: Kind, *, scope: str = "", after: str = "") -> tuple[str, ...]:
        """Return names of a kind, so many at a time: list."""
        return self._query(caller, "list", lambda view: view.list_names(kind, scope=scope, after=after))

    def get(self, caller: Caller, ref: Ref) -> Found:
        """Return something that is enrolled: getCasObject.

        Raises:
            NotFoundError: It is not.
        """

        def look(view: View) -> Found:
            found = view.find(_normal_ref(view, ref))
            if found is None:
                raise NotFoundError(f"there is no {ref}")
            return found

        return self._query(caller, "get", look)

    def list_members(self, caller: Caller, group: Ref, *, after: Ref | None = None) -> tuple[Ref, ...]:
        """Return what is in a group, so much at a time: getGroupMembers."""
        return self._query(caller, "list-members", lambda view: view.list_members(group, after=after))

    def find_policies(self, caller: Caller, ref: Ref) -> tuple[Statement, ...]:
        """Return the statements that name something: findApplicablePolicy."""
        return self._query(caller, "find-policies", lambda view: view.list_statements(_normal_ref(view, ref)))

    def history(
        self, caller: Caller, *, about: Ref | None = None, after: int = 0, limit: int = MAX_PAGE
    ) -> tuple[HistoryEntry, ...]:
        """Return who changed what, when and why; all, or of one thing."""
        return self._query(caller, "history", lambda view: view.history(about=about, after=after, limit=limit))

    def who_can(
        self,
        caller: Caller,
        action: Ref,
        on: Ref,
        *,
        limited: bool = False,
        after: str = "",
        limit: int = MAX_PAGE,
    ) -> Holders:
        """Return who may do something now.

        Raises:
            DeniedError: The caller may not ask about others.
            NotFoundError: The action is not known.
        """
        circumstances = Circumstances(self._clock(), limited=limited)
        return self._query(
            caller,
            "who-can",
            lambda view: view.holders(action, _normal_ref(view, on), circumstances, after=after, limit=limit),
        )

    def why(self, caller: Caller, nickname: str, action: Ref, on: Ref, *, limited: bool = False) -> Explanation:
        """Return whether a user may do something, and by which statements and groups; of oneself without any right.

        Raises:
            DeniedError: The caller may not ask about others.
            NotFoundError: The user or the action is not known.
        """
        now = self._clock()

        def look(view: View) -> Explanation:
            rights = Rights.of(view, caller, now)
            if nickname != rights.user.nickname:
                rights.require_query()
            user = view.find_user_named(nickname)
            if user is None:
                raise NotFoundError(f"there is no user {nickname[:80]!r}")
            groups = rights.groups if nickname == rights.user.nickname else view.groups_of(user.number)
            circumstances = Circumstances(now, limited, user.strength)
            verdict = judge(view.matched(groups, action, _normal_ref(view, on)), circumstances)
            return effects.explain(view, user, verdict, circumstances)

        return self._ask(caller, "why", now, look)

    def _query(self, caller: Caller, action: str, work: Callable[[View], T]) -> T:
        now = self._clock()

        def asked(view: View) -> T:
            Rights.of(view, caller, now).require_query()
            return work(view)

        return self._ask(caller, action, now, asked)

    def _ask(self, caller: Caller, action: str, now: datetime, work: Callable[[View], T]) -> T:
        """Return an answer; only refusals go into the audit, since answers change nothing and sign nothing."""
        try:
            return self._repository.reading(work)
        except DeniedError as error:
            self._refuse(caller, action, now, error, {})
            raise

    # --- the audit ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _deciding(self, caller: Caller, action: str, now: datetime) -> Iterator[_Note]:
        note = _Note()
        try:
            yield note
        except GridError as error:
            self._refuse(caller, action, now, error, note.details)
            raise
        self._record(caller, action, now, note, Verdict.PERMIT)

    def _refuse(
        self, caller: Caller, action: str, now: datetime, error: GridError, details: dict[str, str | int | None]
    ) -> None:
        verdict = Verdict.DENY if isinstance(error, DeniedError) else Verdict.FAIL
        self._record(caller, action, now, _Note(error.message, details), verdict)

    def _record(self, caller: Caller, action: str, now: datetime, note: _Note, verdict: Verdict) -> None:
        self._audit.record(
            AuditRecord(
                time=now,
                request_id=caller.request_id,
                service=SERVICE,
                action=action,
                verdict=verdict,
                reason=note.reason,
                peer=caller.identity,
                address=caller.address,
                details=note.details,
            )
        )


def _normal(view: View, request: PolicyRequest) -> PolicyRequest:
    """Return a request with full names; what is asked for in a namespace that is not enrolled stays as it is.

    Raises:
        ParseError: A name that no object can have.
    """
    wanted = []
    for want in request.wanted:
        namespace = None if want.namespace is None else view.find_namespace(want.namespace)
        if namespace is None:
            wanted.append(want)
        else:
            wanted.append(Wanted(want.namespace, namespace.full_name(want.name), want.actions))
    return PolicyRequest(tuple(wanted))


def _normal_ref(view: View, ref: Ref) -> Ref:
    if ref.kind is not Kind.OBJECT:
        return ref
    namespace = view.find_namespace(ref.scope)
    if namespace is None:
        raise NotFoundError(f"there is no {Ref(Kind.NAMESPACE, ref.scope)}")
    return Ref(ref.kind, namespace.full_name(ref.name), ref.scope)


def _long_fqan(fqan: str) -> str:
    """Return an FQAN as attribute certificates hold it."""
    if "/Capability=" in fqan:
        return fqan
    return f"{fqan}/Capability=NULL" if "/Role=" in fqan else f"{fqan}/Role=NULL/Capability=NULL"
