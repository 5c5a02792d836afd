"""What a question of the C services asks, as far as it shows without judging it: for refusals that come before that.

    request = outline(question, UNVERIFIED, environment)
    service_of(question)                                   # whose policy would have been asked; "" for an operation

Nothing here is ever permitted: a request as the engine gets it is made by `judge.py`, from what was verified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.authz.callout.gram import parse_job_query
from gsi.authz.callout.messages import (
    ASSERTION,
    GateRequest,
    JobRequest,
    MapRequest,
    OperationRequest,
    ServiceRequest,
    SessionRequest,
)
from gsi.authz.decision import Action, AuthorizationRequest, Resource
from gsi.errors import ParseError

if TYPE_CHECKING:
    from gsi.authz.callout.messages import Request
    from gsi.authz.decision import Environment, Subject

__all__ = ["address_of", "outline", "service_of"]

DEFAULT_JOB_SERVICE: Final = "jobmanager"
"""The service of a job manager that does not say its name."""

_MAX_WORD_CHARS: Final = 64
"""What is kept of an action that is not known."""


def service_of(request: Request) -> str:
    """Return the service of a question; empty for a file operation, which belongs to its session's."""
    match request:
        case MapRequest() | ServiceRequest() | SessionRequest() | GateRequest():
            return request.service
        case JobRequest():
            return dict(request.environment).get("SCRIPT_NAME") or DEFAULT_JOB_SERVICE
        case OperationRequest():
            return ""


def address_of(request: Request) -> str:
    """Return the client's address, where the question tells it."""
    return dict(request.environment).get("REMOTE_ADDR", "") if isinstance(request, GateRequest | JobRequest) else ""


def outline(request: Request, subject: Subject, environment: Environment) -> AuthorizationRequest:
    """Return what was asked, by its names alone: no assertion, no description of a job.

    Args:
        request: The question.
        subject: Who asks, as far as it was proven.
        environment: Everything else.
    """
    match request:
        case MapRequest() | ServiceRequest() | SessionRequest():
            action, resource = Action("login", "login"), Resource()
        case OperationRequest():
            action = Action(request.action[:_MAX_WORD_CHARS], "file")
            resource = Resource() if request.action == ASSERTION else Resource(request.object)
        case GateRequest():
            action, resource = Action("start", "job"), Resource(request.service)
        case JobRequest():
            action, resource = Action(_job_action(request.query), "job"), Resource(request.job_id)
    return AuthorizationRequest(subject, action, resource, environment)


def _job_action(query: str) -> str:
    try:
        return parse_job_query(query).actions[0]
    except ParseError:
        return next(iter(query.split(maxsplit=1)), "")[:_MAX_WORD_CHARS]
