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

from cas.service.asking import Questions
from cas.service.base import Settings
from cas.service.capabilities import Capabilities, CapabilityRequest
from cas.service.changing import Changes
from cas.service.enrolling import BATCH_LINES, Enrolment, Progress

__all__ = ["BATCH_LINES", "CapabilityRequest", "PolicyService", "Progress", "Settings"]


class PolicyService(Capabilities, Changes, Enrolment, Questions):
    """The operations of the service. Safe for use by several threads."""
