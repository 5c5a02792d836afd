"""Obligations as XACML has them, and results as decisions; pure, but for asking which ids an account's groups have.

    result_of(decision)                              # a PDP's answer
    decision_of(result, "remote", find_ids=...)      # what a PEP makes of one

| obligation | written as | read also as |
|---|---|---|
| account | AuthZ-Interop `username` | gLite and common `.../posix` with `user-id` |
| user and group ids | AuthZ-Interop `uidgid`, `secondary-gids` | the same with `group-id/primary`, `group-id` |
| pool lease, database role, storage quota, storage lot | this project's own | |

A permit with an obligation that is not among these, or one with an attribute that is not known, denies: who cannot
carry something out must not act as if it were not there (XACML 3.0 section 7.18). Advice may be passed over; ours tells
the decision's id and end.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from gsi.authz.decision import (
    Account,
    DatabaseRole,
    Decision,
    Effect,
    Obligation,
    PoolLease,
    PosixIds,
    StorageLot,
    StorageQuota,
    deny,
    indeterminate,
)
from gsi.authz.xacml import identifiers
from gsi.authz.xacml.document import Attribute, Obliged, Scalar, Verdict, XacmlResult
from gsi.authz.xacml.identifiers import (
    COMMON,
    COMMON_POSIX,
    GLITE,
    GLITE_POSIX,
    GSI,
    INTEROP,
    SECONDARY_GIDS,
    STATUS_FAILED,
    STATUS_OK,
    UIDGID,
    USERNAME,
)
from gsi.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["FindIds", "decision_of", "result_of"]

FindIds: TypeAlias = "Callable[[str, str, Sequence[str]], PosixIds]"
"""Finds the ids that go with an account, its primary group and further groups, by their names."""

_INTEROP_ATTRIBUTE: Final = f"{INTEROP}attribute/"
_OWN: Final = f"{GSI}obligation:"
_DECISION: Final = f"{GSI}advice:decision"
_MAX_MESSAGE: Final = 1000

_EFFECTS: Final = {
    Verdict.PERMIT: Effect.PERMIT,
    Verdict.DENY: Effect.DENY,
    Verdict.NOT_APPLICABLE: Effect.NOT_APPLICABLE,
    Verdict.INDETERMINATE: Effect.INDETERMINATE,
}
_VERDICTS: Final = {effect: verdict for verdict, effect in _EFFECTS.items()}


# --- out --------------------------------------------------------------------------------------------------------------


def result_of(decision: Decision) -> XacmlResult:
    """Return the XACML result for a decision."""
    told: list[Attribute] = []
    if decision.decision_id:
        told.append(Attribute(f"{_DECISION}:id", (decision.decision_id,)))
    if decision.not_after is not None:
        until = decision.not_after.astimezone(UTC).isoformat().replace("+00:00", "Z")
        told.append(Attribute(f"{_DECISION}:not-after", (until,), "dateTime"))
    return XacmlResult(
        _VERDICTS[decision.effect],
        STATUS_FAILED if decision.effect is Effect.INDETERMINATE else STATUS_OK,
        decision.reason[:_MAX_MESSAGE],
        tuple(each for obligation in decision.obligations for each in _obliged(obligation)),
        (Obliged(_DECISION, tuple(told)),) if told else (),
    )


def _obliged(obligation: Obligation) -> list[Obliged]:
    match obligation:
        case Account(name):
            return [Obliged(USERNAME, (Attribute(f"{_INTEROP_ATTRIBUTE}username", (name,)),))]
        case PosixIds(uid, gid, gids):
            ids = [
                Obliged(
                    UIDGID,
                    (
                        Attribute(f"{_INTEROP_ATTRIBUTE}posix-uid", (uid,), "integer"),
                        Attribute(f"{_INTEROP_ATTRIBUTE}posix-gid", (gid,), "integer"),
                    ),
                )
            ]
            if gids:
                others = Attribute(f"{_INTEROP_ATTRIBUTE}posix-gid", gids, "integer")
                ids.append(Obliged(SECONDARY_GIDS, (others,)))
            return ids
        case PoolLease(account, key):
            return [_own("pool-lease", account=account, key=key)]
        case DatabaseRole(role):
            return [_own("database-role", role=role)]
        case StorageQuota(space, size):
            return [_own("storage-quota", space=space, bytes=size)]
        case StorageLot(lot):
            return [_own("storage-lot", lot=lot)]


def _own(kind: str, **values: str | int) -> Obliged:
    return Obliged(f"{_OWN}{kind}", tuple(Attribute(f"{_OWN}{kind}:{name}", (one,)) for name, one in values.items()))


# --- in ---------------------------------------------------------------------------------------------------------------


def decision_of(result: XacmlResult, name: str, *, find_ids: FindIds | None = None) -> Decision:
    """Return the decision that a result amounts to.

    Args:
        result: The answer of the policy decision point.
        name: What the policy calls the authorizer.
        find_ids: Returns the ids for an account, a primary group and further groups by name, or raises ParseError;
            None where groups by name cannot be carried out.

    Raises:
        ParseError: An advice of ours is malformed.
    """
    effect = _EFFECTS[result.decision]
    words = f": {result.message[:_MAX_MESSAGE]!a}" if result.message else ""
    if effect is not Effect.PERMIT:
        return Decision(effect, f"the service says {result.decision.value}{words}", (), name)
    if result.status != STATUS_OK:
        return indeterminate(name, f"the service permits with the status {result.status[:120]!a}{words}")
    try:
        obligations = _read_all(result.obligations, find_ids)
    except ParseError as error:
        return deny(name, f"the service permits, but {error.message}")
    return Decision(effect, f"the service permits{words}", obligations, name, not_after=_read_end(result.advice))


def _read_all(found: Sequence[Obliged], find_ids: FindIds | None) -> tuple[Obligation, ...]:
    obligations: list[Obligation] = []
    primary: list[tuple[int, int]] = []
    secondary: list[int] = []
    for each in found:
        values = {attribute.identifier: attribute.values for attribute in each.attributes}
        match each.identifier:
            case identifiers.UIDGID:
                uid, gid = _take(values, f"{_INTEROP_ATTRIBUTE}posix-uid", f"{_INTEROP_ATTRIBUTE}posix-gid")
                primary.append((_integer(uid), _integer(gid)))
            case identifiers.SECONDARY_GIDS:
                gids = values.pop(f"{_INTEROP_ATTRIBUTE}posix-gid", ())
                _take(values)
                secondary += [_integer(one) for one in gids]
            case _:
                obligations += _read_one(each.identifier, values, find_ids)
    if len(primary) > 1 or (secondary and not primary):
        raise _fail("its user and group ids contradict one another")
    for uid_number, gid_number in primary:
        obligations.append(PosixIds(uid_number, gid_number, tuple(dict.fromkeys(secondary))))
    return tuple(obligations)


def _read_one(
    identifier: str,
    values: dict[str, tuple[Scalar, ...]],
    find_ids: FindIds | None,
) -> list[Obligation]:
    if identifier == USERNAME:
        (account,) = _take(values, f"{_INTEROP_ATTRIBUTE}username")
        return [Account(_text(account))]
    for posix, prefix in ((GLITE_POSIX, GLITE), (COMMON_POSIX, COMMON)):
        if identifier == posix:
            return _read_posix(values, f"{prefix}attribute/", find_ids)
    kind = identifier.removeprefix(_OWN) if identifier.startswith(_OWN) else ""
    own = f"{_OWN}{kind}:"
    match kind:
        case "pool-lease":
            account, key = _take(values, f"{own}account", f"{own}key")
            return [PoolLease(_text(account), _text(key))]
        case "database-role":
            (role,) = _take(values, f"{own}role")
            return [DatabaseRole(_text(role))]
        case "storage-quota":
            space, size = _take(values, f"{own}space", f"{own}bytes")
            return [StorageQuota(_text(space), _integer(size))]
        case "storage-lot":
            (lot,) = _take(values, f"{own}lot")
            return [StorageLot(_text(lot))]
        case _:
            raise _fail(f"with an obligation that is not known here: {identifier[:120]!a}")


def _read_posix(
    values: dict[str, tuple[Scalar, ...]],
    own: str,
    find_ids: FindIds | None,
) -> list[Obligation]:
    groups = [_text(one) for one in values.pop(f"{own}group-id", ())]
    primary = values.pop(f"{own}group-id/primary", ())
    (user,) = _take(values, f"{own}user-id")
    account = Account(_text(user))
    if not groups and not primary:
        return [account]
    if len(primary) != 1 or find_ids is None:
        raise _fail("its groups cannot be carried out")
    return [account, find_ids(account.name, _text(primary[0]), groups)]


def _take(values: Mapping[str, tuple[Scalar, ...]], *wanted: str) -> list[Scalar]:
    """Return the single value of each attribute; there must be these and no others."""
    if values.keys() != set(wanted) or any(len(each) != 1 for each in values.values()):
        raise _fail("the attributes of an obligation are not those that belong to it")
    return [values[name][0] for name in wanted]


def _text(value: Scalar) -> str:
    if not isinstance(value, str):
        raise _fail("a value of an obligation is no text")
    return value


def _integer(value: Scalar) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)  # Argus and GUMS write numbers as texts
    if not isinstance(value, int) or isinstance(value, bool):
        raise _fail("a value of an obligation is no whole number")
    return value


def _read_end(advice: Sequence[Obliged]) -> datetime | None:
    ends: list[datetime] = []
    for each in advice:
        for attribute in each.attributes if each.identifier == _DECISION else ():
            if attribute.identifier == f"{_DECISION}:not-after":
                try:
                    found = datetime.fromisoformat(_text(attribute.values[0]))
                    ends.append(found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))
                except (ValueError, OverflowError) as error:
                    raise _fail("the answer's end is no time") from error
    return min(ends, default=None)


def _fail(message: str) -> ParseError:
    return ParseError(message, what="XACML")
