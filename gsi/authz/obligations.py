"""Obligations of several permits joined, and a permit's judged: may all of it be carried out? Asks nobody.

    merged = merge_obligations((Account("alice"), StorageQuota("home", 10)))      # or why they cannot be
    decision = check_permit(decision, request, allow_root=False)

`gsi.authz.engine` calls these; INDETERMINATE and DENY are all that may come of a permit here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gsi.authz.decision import (
    Account,
    AuthorizationRequest,
    DatabaseRole,
    Decision,
    Effect,
    Obligation,
    PoolLease,
    PosixIds,
    StorageLot,
    StorageQuota,
)

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["check_permit", "earliest", "join_permits", "merge_obligations"]


def earliest(first: datetime | None, second: datetime | None) -> datetime | None:
    """Return the earlier of two ends; None is no end."""
    return second if first is None else first if second is None else min(first, second)


def join_permits(name: str, permits: list[Decision]) -> Decision:
    """Make one permit of several; INDETERMINATE where their obligations contradict one another."""
    merged = merge_obligations(tuple(obligation for decision in permits for obligation in decision.obligations))
    if isinstance(merged, str):
        return Decision(Effect.INDETERMINATE, merged, (), name)
    first = permits[0]
    ends: datetime | None = None
    for decision in permits:
        ends = earliest(ends, decision.not_after)
    return Decision(Effect.PERMIT, first.reason, merged, first.authorizer, not_after=ends)


def merge_obligations(obligations: tuple[Obligation, ...]) -> tuple[Obligation, ...] | str:
    """Return obligations that can all be carried out together, each once, or why they cannot.

    Two accounts, two sets of ids, two database roles or two lots contradict one another. An account and a lease of the
    same account do not. Of two quotas of one space the smaller counts.
    """
    found: list[Obligation] = []
    single: dict[object, object] = {}
    for obligation in obligations:
        if obligation in found:
            continue
        match obligation:
            case Account(name) | PoolLease(name, _):
                what, value = "account", name
            case PosixIds():
                what, value = "user and group ids", repr(obligation)
            case DatabaseRole(role):
                what, value = "database role", role
            case StorageLot(lot):
                what, value = "storage lot", lot
            case StorageQuota(space, size):
                old = next((o for o in found if isinstance(o, StorageQuota) and o.space == space), None)
                if old is not None:
                    found.remove(old)
                    size = min(size, old.max_bytes)
                found.append(StorageQuota(space, size))
                continue
        if single.setdefault(what, value) != value:
            return f"the permit is bound to two of one kind ({what}): {single[what]} and {value}"
        found.append(obligation)
    return tuple(found)


def check_permit(decision: Decision, request: AuthorizationRequest, *, allow_root: bool) -> Decision:
    """Refuse a permit whose obligations contradict one another, the client's wish, or sense."""
    if len(decision.obligations) > 1:
        merged = merge_obligations(decision.obligations)
        if isinstance(merged, str):
            return Decision(Effect.INDETERMINATE, merged, (), decision.authorizer)
        decision = replace(decision, obligations=merged)
    account, desired = decision.account, request.environment.desired_account
    if account is not None and desired is not None and account != desired:
        return Decision(
            Effect.DENY, f"the account {desired!r} was asked for, but it would be {account!r}", (), decision.authorizer
        )
    if not allow_root and any(_is_root(obligation) for obligation in decision.obligations):
        return Decision(Effect.DENY, "the account would be root", (), decision.authorizer)
    return decision


def _is_root(obligation: Obligation) -> bool:
    match obligation:
        case Account(name) | PoolLease(name, _):
            return name == "root"
        case PosixIds(uid, gid, gids):
            return 0 in {uid, gid, *gids}
        case _:
            return False
