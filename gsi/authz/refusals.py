"""Refusals that are not the policy's own, kept like its decisions; refuses nothing itself.

    decision = keep_refusal(engine, request, Effect.DENY, "no action is mapped to the method", by="web")

A service refuses before it can ask (certificates that prove nothing, a path that has no safe reading), and sometimes in
spite of a permit (obligations that it cannot carry out). Clients are told an id then, too, and whoever is asked about
it looks where the decisions are: in the audit, in the log, with `gsi-authz explain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi import names
from gsi.authz.decision import Decision, Effect, Subject
from gsi.certificate import Certificate
from gsi.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.engine import Engine
    from gsi.errors import VerificationError

__all__ = ["UNVERIFIED", "describe_refused_chain", "keep_refusal", "peer_in_audit"]

UNVERIFIED: Final = Subject(authenticated_by="unverified")
"""A peer whose certificates prove nothing. It is anonymous; the name it has shown stands in the refusal's reason."""

_MAX_NAME_CHARS: Final = 256
"""What is kept of a name that nobody vouches for: longer than real ones, and no stranger fills a disk with it."""

_MAX_REASON_CHARS: Final = 500
"""What is kept of a reason, which may quote what a stranger has sent."""


def keep_refusal(
    engine: Engine,
    request: AuthorizationRequest,
    effect: Effect,
    reason: str,
    *,
    by: str,
    of: Decision | None = None,
) -> Decision:
    """Return a refusal that the engine has kept: it has an id, and audit, record and log have it under that.

    Args:
        engine: Of the policy that would have been asked.
        request: What was asked, as far as it is known.
        effect: DENY, or INDETERMINATE where something is broken.
        reason: Why, for the administrator.
        by: Who refuses.
        of: The permit in spite of which it is refused. Its id is kept: of two lines under one the later counts.
    """
    ident, trace = ("", ()) if of is None else (of.decision_id, of.trace)
    return engine.refuse(request, Decision(effect, _cut(reason, _MAX_REASON_CHARS), (), by, ident, None, trace))


def describe_refused_chain(chain: Sequence[bytes], error: VerificationError) -> str:
    """Return the reason of a refusal for certificates that prove nothing, with the name that they show.

    Args:
        chain: In DER, leaf first.
        error: What is wrong with them.
    """
    try:
        shown = _cut(names.oneline(Certificate.parse(chain[0]).subject_der), _MAX_NAME_CHARS)
    except (GridError, IndexError):
        shown = "no name that can be read"
    return f"certificates refused ({error.reason.value}: {_cut(error.message, _MAX_NAME_CHARS)}); they show {shown}"


def peer_in_audit(subject: Subject) -> str:
    """Return what `AuditRecord.peer` is for a subject."""
    if subject.identity:
        return subject.identity
    return "<unverified>" if subject.authenticated_by == UNVERIFIED.authenticated_by else "<anonymous>"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."
