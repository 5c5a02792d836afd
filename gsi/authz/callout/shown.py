"""What clients show in a session, assertions and tokens: what is understood, what replaces what, what has ended.

    if not is_understood(engine.policy, text): ...                 # nobody would ever look at it
    others = beside(engine.policy, subject.assertions, text)       # of one kind that is shown one at a time, none
    what_ended(decision, engine.policy, now)                       # the words for the client; empty for other refusals

Nothing here verifies or decides anything: that is the engine's. What has ended goes on to count until another is shown,
so that nothing it denied becomes permitted by mere waiting; the client is told what it was, and when it ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.authz.decision import Effect

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.authz.decision import Decision
    from gsi.authz.policy import Policy

__all__ = ["beside", "is_understood", "what_ended"]

_ENGINE: Final = "engine"
"""The name under which the engine refuses by itself."""


def is_understood(policy: Policy, shown: object) -> bool:
    """Say whether anybody whom a policy asks looks at what a client has shown: by its form, whatever it is worth."""
    return any(_takes(member.source, shown) for member in policy.sources) or any(
        getattr(member.authorizer, "reads_assertions", False) for member in policy.root.walk()
    )


def beside(policy: Policy, before: tuple[object, ...], shown: object) -> tuple[object, ...]:
    """Return what stays of what was shown before: a source that takes one at a time has the last of its kind."""
    for member in policy.sources:
        if getattr(member.source, "takes_one", False) and _takes(member.source, shown):
            return tuple(one for one in before if not _takes(member.source, one))
    return before


def _takes(source: object, shown: object) -> bool:
    takes = getattr(source, "takes", None)
    return takes is not None and bool(takes(shown))


def what_ended(decision: Decision, policy: Policy, now: datetime) -> str:
    """Return what a decision says of something that was proven and has ended, for the client; empty if it says none.

    Args:
        decision: The refusal.
        policy: By which it was made.
        now: The time of the request.
    """
    if decision.effect is not Effect.DENY or decision.not_after is None or decision.not_after > now:
        return ""
    told_by = {_ENGINE, *(member.source.name for member in policy.sources)}
    told_by |= {one.authorizer.name for one in policy.root.walk() if getattr(one.authorizer, "tells_what_ended", False)}
    if decision.authorizer not in told_by:
        return ""  # a rule's own words are the administrator's
    return decision.reason
