"""Judging a job by its RSL: one start, from the text to the decision; and flatness over the rules of others.

The description is one as portals send it: a substitution, an environment of ten variables, staged files. Beside it, the
C library parses, evaluates and writes the same text, of which ours is the first part.

    python bench/rsl.py
"""

from __future__ import annotations

import ctypes
import ctypes.util
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from gsi.authz.decision import Action, AuthorizationRequest, Effect, Environment, Resource, Subject
from gsi.authz.principals import parse_dn
from gsi.authz.rsl.rulefile import parse_job_rules
from gsi.authz.rsl.rules import RslAuthorizer

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = 1_000
BATCH = 200
TURNS = 21
LIMIT_MS = 5.0  # a tenth of what starting the gate takes
FLAT = 1.2
DN = "/O=Grid/OU=Test/CN=User 7"
ENVIRONMENT = "".join(f"(OMP_{number} value{number})" for number in range(10))
JOB = (
    "&(rsl_substitution=(TOP $(HOME)/run)(IN gsiftp://se.example.org/data))(executable=/usr/bin/simulate)"
    "(directory=$(TOP))(arguments=-n 100 -o $(TOP)/out --quiet)(count=4)(max_wall_time=60)(queue=short)(jobtag=NFC)"
    f"(environment={ENVIRONMENT})(stdout=$(TOP)/stdout)(stderr=$(TOP)/stderr)"
    "(file_stage_in=($(IN)/a $(TOP)/a)($(IN)/b $(TOP)/b))"
)


def make_authorizer(rules: int) -> RslAuthorizer:
    """Return job rules, one for each user, and three for everybody."""
    lines = [
        'require dn-like "/O=Grid/**" to start jobtag NFC, ADS',
        "deny anyone to start environment LD_*",
        "permit authenticated to status, cancel jobowner self",
    ]
    lines += [
        f'permit dn "/O=Grid/OU=Test/CN=User {number}" to start executable /usr/bin/simulate arguments * count <=8'
        " max_wall_time <=120 queue short, long jobtag * environment OMP_* directory $(HOME)/** allow stdout, stderr"
        ' file_stage_in "gsiftp://*.example.org/data/** -> $(HOME)/**"'
        for number in range(rules)
    ]
    return RslAuthorizer("jobs", parse_job_rules("\n".join(lines).encode(), path="jobs"), path="jobs")


def _ours(rules: int) -> Callable[[], None]:
    authorizer = make_authorizer(rules)
    subject = Subject(identity=DN, identity_der=parse_dn(DN), issuer="/O=Grid/CN=CA", authenticated_by="x509")
    attributes = {"rsl": (JOB,), "owner": (DN,), "variables": ("HOME=/home/u7", "LOGNAME=u7")}
    request = AuthorizationRequest(
        subject,
        Action("start", "job"),
        Resource("jobmanager-fork", attributes),
        Environment(now=datetime(2026, 11, 20, 12, tzinfo=UTC), service="jobmanager-fork"),
    )
    decision = authorizer.decide(request)
    if decision.effect is not Effect.PERMIT:
        raise RuntimeError(decision.reason)

    def body() -> None:
        for _ in range(BATCH):
            authorizer.decide(request)

    return body


def _library() -> Callable[[], None] | None:
    """Return the same for the C library, or None where it is not installed."""
    if not ctypes.util.find_library("globus_rsl"):
        return None
    pointer = ctypes.c_void_p
    common, rsl = ctypes.CDLL("libglobus_common.so.0"), ctypes.CDLL("libglobus_rsl.so.2")
    common.globus_module_activate.argtypes = [pointer]
    if common.globus_module_activate(ctypes.addressof(ctypes.c_char.in_dll(rsl, "globus_i_rsl_module"))):
        raise RuntimeError("the C library cannot be activated")
    rsl.globus_rsl_parse.argtypes = [ctypes.c_char_p]
    rsl.globus_rsl_parse.restype = rsl.globus_rsl_unparse.restype = pointer
    for name in ("globus_rsl_unparse", "globus_rsl_assist_attributes_canonicalize", "globus_rsl_free_recursive"):
        getattr(rsl, name).argtypes = [pointer]
    rsl.globus_rsl_eval.argtypes = [pointer, pointer]
    common.globus_symboltable_init.argtypes = common.globus_symboltable_insert.argtypes = [pointer] * 3
    common.globus_symboltable_create_scope.argtypes = [pointer]
    table = pointer()
    functions = [
        ctypes.cast(getattr(common, name), pointer)
        for name in ("globus_hashtable_string_hash", "globus_hashtable_string_keyeq")
    ]
    common.globus_symboltable_init(ctypes.byref(table), *functions)
    common.globus_symboltable_create_scope(ctypes.byref(table))
    kept = [ctypes.create_string_buffer(text) for text in (b"HOME", b"/home/u7")]
    common.globus_symboltable_insert(ctypes.byref(table), *kept)
    text, free = JOB.encode(), ctypes.CDLL(None).free
    free.argtypes = [pointer]

    def body() -> None:
        for _ in range(BATCH):
            tree = rsl.globus_rsl_parse(text)
            rsl.globus_rsl_assist_attributes_canonicalize(tree)
            if rsl.globus_rsl_eval(tree, ctypes.byref(table)):
                raise RuntimeError(kept)
            free(rsl.globus_rsl_unparse(tree))
            rsl.globus_rsl_free_recursive(tree)

    return body


def _milliseconds(body: Callable[[], None]) -> float:
    begin = time.perf_counter()
    body()
    return (time.perf_counter() - begin) * 1000 / BATCH


def figures(turns: int = TURNS) -> list[Figure]:
    """Measure and return the figures."""
    small, large, theirs = _ours(10), _ours(RULES), _library()
    own: list[float] = []
    other: list[float] = []
    ratios: list[float] = []
    for _ in range(turns):
        own.append(_milliseconds(large))
        ratios.append(_milliseconds(large) / _milliseconds(small))
        if theirs is not None:
            other.append(_milliseconds(theirs))
    each, flat = statistics.median(own), statistics.median(ratios)
    peer = statistics.median(other) if other else None
    title = "job judged by its RSL, 1,000 rules (peer: C library, reading alone)"
    return [
        Figure(title, each, peer, f"<= {LIMIT_MS:g} ms", each <= LIMIT_MS, "ms"),
        Figure("the same, 1,000 rules instead of 10", flat, None, f"<= {FLAT:g} x", flat <= FLAT, "x"),
    ]


if __name__ == "__main__":
    sys.exit(0 if show(figures()) else 1)
