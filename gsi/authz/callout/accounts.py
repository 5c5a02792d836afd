"""Accounts of this host, and owners of jobs, as the questions of the C services need them; asks no policy.

problem = check_account(decision, request)             # of a permitted mapping; None when all is well
owns = is_same(subject, request.target)
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from gsi.authz.decision import PosixIds
from gsi.authz.principals import dn_key
from gsi.errors import GridError
from gsi.names import parse_oneline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsi.authz.callout.messages import MapRequest
    from gsi.authz.decision import Decision, Subject

__all__ = ["account_of", "check_account", "is_same", "job_variables"]


def account_of(uid: int) -> str:
    """Return the account of a uid, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def job_variables(uid: int, identity: str, given: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the job manager defines for RSL, as far as it is known here: `NAME=value`.

    Args:
        uid: Whom the job runs as.
        identity: `GLOBUS_ID`, or empty.
        given: The environment that the question tells, whose `HOME` and `LOGNAME` count.
    """
    try:
        entry = pwd.getpwuid(uid)
        known = {"HOME": entry.pw_dir, "LOGNAME": entry.pw_name}
    except KeyError:
        known = {}
    known |= {name: given[name] for name in ("HOME", "LOGNAME") if name in given}
    if identity:
        known["GLOBUS_ID"] = identity
    return tuple(f"{name}={value}" for name, value in known.items())


def check_account(decision: Decision, request: MapRequest) -> str | None:
    """Return why the service cannot take on the account that a permit names, or None. Never uid 0."""
    name = decision.account
    if name is None:
        return "the policy permits but names no account"
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return f"the account {name!r} does not exist on this host"
    if found.pw_uid == 0:
        return f"the account {name!r} has uid 0"
    if len(name.encode()) >= request.buffer_bytes:
        return f"the account {name!r} is longer than the service's buffer of {request.buffer_bytes} bytes"
    for obligation in decision.obligations:
        if isinstance(obligation, PosixIds):
            groups = os.getgrouplist(name, found.pw_gid)
            if (obligation.uid, obligation.gid) != (found.pw_uid, found.pw_gid) or not set(obligation.gids) <= {
                *groups
            }:
                return f"the permit's ids are not those of the account {name!r}, and the service takes those"
    return None


def is_same(subject: Subject, oneline: str) -> bool:
    """Say whether a one-line name from a security context is the subject's identity. In doubt it is not."""
    if not subject.identity_der or not oneline:
        return False
    try:
        return dn_key(subject.identity_der) == dn_key(parse_oneline(oneline))
    except GridError:
        return False
