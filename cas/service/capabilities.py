"""Capabilities: what a caller may have signed, and what rights somebody has; signs nothing."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cas.assertion.value import Capability, Holder
from cas.policy.conditions import Circumstances
from cas.policy.evaluate import narrow
from cas.policy.model import Effect
from cas.policy.request import EVERYTHING, PolicyRequest, Wanted
from cas.repository.base import check_clock
from cas.rights import Rights
from cas.service.base import Deciding
from gsi.authz.principals import normal_fqan
from gsi.errors import DeniedError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cas.policy.caller import Caller
    from cas.policy.evaluate import Applicable, Outcome
    from cas.repository.base import View

__all__ = ["Capabilities", "CapabilityRequest"]

_TOKEN: Final = "jwt"  # the form that counts without a proxy


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


class Capabilities(Deciding):
    """What is about capabilities."""

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
            if request.form == _TOKEN and not request.bind_key:
                until = min(until, caller.not_after)  # whoever holds it needs no proxy any more
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
        bounds = caller.bounds
        outcome = narrow(
            _applicable(view, rights, wanted, bounds.groups_only) if wanted.wanted else (),
            wanted,
            rights.circumstances,
            until=until,
            all_actions=view.all_actions() if wanted.wanted else (),
        )
        outcome = replace(outcome, rights=bounds.rights(outcome.rights))
        fqans = () if request.fqans is None else self._fqans(view.fqans_of(rights.groups), request.fqans)
        if bounds.fqans is not None:
            fqans = tuple(fqan for fqan in fqans if normal_fqan(fqan) in bounds.fqans)
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


def _applicable(
    view: View, rights: Rights, wanted: PolicyRequest, within: frozenset[str] | None
) -> Sequence[Applicable]:
    """Return the statements that count: all denials, and the permissions of the groups that are not left behind."""
    everything = view.applicable(rights.groups, wanted)
    if within is None:
        return everything
    kept = frozenset(one for one in rights.groups if within.intersection(view.fqans_of(frozenset({one}))))
    denials = [one for one in everything if one.effect is Effect.DENY]
    return [*denials, *(one for one in view.applicable(kept, wanted) if one.effect is Effect.PERMIT)]


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


def _long_fqan(fqan: str) -> str:
    """Return an FQAN as attribute certificates hold it."""
    if "/Capability=" in fqan:
        return fqan
    return f"{fqan}/Capability=NULL" if "/Role=" in fqan else f"{fqan}/Role=NULL/Capability=NULL"
