"""The command `gsi-authz`: explain decisions, check policies and callouts, list who may do something, ask the daemon.

It has no counterpart among the C tools. `gsi.authz` decides; here are only questions and printing.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, UsageError, count
from gsi.cli.run import EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.authz.decision import AuthorizationRequest, Subject
    from gsi.authz.engine import Engine
    from gsi.authz.policyfile import LoadedPolicy
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG: Final = "gsi-authz"
DEFAULT_SOCKET: Final = "/run/gsi-authz/socket"
FAMILIES: Final = ("gridftp", "gatekeeper", "jobmanager")
"""The C services, as `gsi.authz.calloutconf.Family` has them: that would be imported for the help as well."""

_JOB_ACTIONS: Final = frozenset({"start", "status", "cancel", "signal", "renew", "register", "unregister"})


def _time(text: str) -> object:
    from gsi.cli.proxy_verify import parse_time

    return parse_time(text)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "explain, check and query authorization policies",
        usage=(
            "explain DECISION|last WHICH-POLICY",
            "explain -action ACTION [WHO-ASKS] [-resource NAME] WHICH-POLICY",
            "check [-strict] [FILE ...]",
            "who-can ACTION [RESOURCE] WHICH-POLICY",
            "ask -action ACTION [-resource PATH] [-chain FILE] [-socket PATH]",
        ),
    )
    policy = parser.section("Which policy")
    policy.value("-service", metavar="NAME", text="the policy of this service, in the directory of policies")
    policy.value("-policy", metavar="FILE", completion=Completion.FILE, text="a policy file")
    policy.value("-record", metavar="FILE", completion=Completion.FILE, text="explain: the file of recent decisions")
    who = parser.section("Who asks (explain without a decision)")
    who.value("-subject", metavar="DN", text="a subject of this name, believed without proof")
    who.value("-chain", metavar="FILE", completion=Completion.FILE, text="the subject of a chain in PEM, verified")
    who.flag("-proxy", text="the subject of the present proxy, verified")
    who.value("-certdir", metavar="DIR", completion=Completion.DIRECTORY, text="the trust directory")
    who.value("-fqan", metavar="FQAN", repeatable=True, text="the subject has this VOMS attribute, believed")
    who.value("-group", metavar="NAME", repeatable=True, text="the subject is in this group, believed")
    who.value(
        "-token",
        metavar="FILE",
        repeatable=True,
        completion=Completion.FILE,
        text="the subject shows this token (JWT), for the policy to verify; ask: sends it",
    )
    who.value(
        "-assertion",
        metavar="FILE",
        repeatable=True,
        completion=Completion.FILE,
        text="the subject shows this assertion (SAML), for the policy to verify; ask: sends it",
    )
    who.flag("-limited", text="with -subject: as if by a limited proxy")
    what = parser.section("What is asked (explain, who-can)")
    what.value("-action", metavar="ACTION", text="the action: read, file:read, job:start, login, ...")
    what.value("-resource", metavar="NAME", text="the resource: a URL or an absolute path")
    what.value("-called", metavar="NAME", text="what the service calls itself, if not as its policy (file, jobmanager)")
    what.value("-account", metavar="NAME", text="the account that the client asks for")
    what.value("-address", metavar="IP", text="the client's address")
    what.value("-host", metavar="NAME", text="the service's host, if not this one")
    what.value("-rsl", metavar="FILE", completion=Completion.FILE, text="the job's description, for its start or later")
    what.value("-owner", metavar="DN", text="whose job it is, if not the subject's")
    what.value("-at", metavar="TIME", convert=_time, text="as of this time: ISO 8601, or seconds since 1970")
    what.value(
        "-limit",
        metavar="N",
        convert=lambda text: count(text, minimum=1),
        default=1000,
        text="who-can: end after so many (1000)",
    )
    whom = parser.section("Who is asked (ask)")
    whom.value(
        "-socket",
        metavar="PATH",
        default=DEFAULT_SOCKET,
        completion=Completion.FILE,
        text=f"the socket of gsi-authz-server ({DEFAULT_SOCKET})",
    )
    check = parser.section("What is checked (check)")
    check.value(
        "-callouts",
        metavar="SERVICE",
        repeatable=True,
        choices=(*FAMILIES, "none"),
        text="the C services that this site runs, or none; by default all",
    )
    check.flag("-strict", text="notes count as problems")
    output = parser.section("Output")
    output.flag("-json", text="print one JSON object")
    parser.operand("COMMAND", dest="words", many=True, text="explain, check, who-can or ask, and what it is about")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    words: list[str] = arguments.words
    hint = f"'{PROG} -help' lists them"
    if not words:
        raise UsageError("a command is missing: explain, check, who-can or ask", hint=hint)
    command, *rest = words
    if command == "explain":
        return _explain(arguments, rest)
    if command == "check":
        from gsi.cli.authz_check import check

        return check(arguments, rest)
    if command == "who-can":
        return _who_can(arguments, rest)
    if command == "ask":
        from gsi.cli.authz_ask import ask

        return ask(arguments, rest)
    raise UsageError(f"there is no command {command!r}", hint=hint)


# --- explain ----------------------------------------------------------------------------------------------------------


def _explain(arguments: Namespace, words: list[str]) -> int:
    if len(words) > 1:
        raise UsageError("explain takes one decision")
    return _explain_decision(arguments, words[0]) if words else _explain_dry(arguments)


def _explain_decision(arguments: Namespace, decision_id: str) -> int:
    from gsi.authz.record import DecisionFile
    from gsi.cli.authz_text import decision_text, print_json
    from gsi.errors import ConfigError

    for option in ("subject", "chain", "proxy", "token", "assertion", "action"):
        if getattr(arguments, option):
            raise UsageError(f"-{option} goes with an explain without a decision")
    path = arguments.record
    if not path:
        loaded = _load(arguments)
        path = loaded.record
        if not path:
            raise ConfigError(
                "the policy keeps no file of recent decisions",
                path=loaded.policy.path,
                hint='add record = "/var/lib/gsi-authz/decisions.jsonl" at its top, or see the log of the service',
            )
    record = DecisionFile(path)
    told = record.last() if decision_id == "last" else record.find(decision_id.lower())
    if arguments.json:
        print_json(told)
    else:
        sys.stdout.write(decision_text(told))
    return EXIT_OK


def _explain_dry(arguments: Namespace) -> int:
    from gsi.authz.engine import Engine
    from gsi.authz.record import describe_decision
    from gsi.cli.authz_subject import read_subject
    from gsi.cli.authz_text import decision_text, print_json

    if not arguments.action:
        raise UsageError("explain needs a decision, or -action with who asks", hint=f"see '{PROG} -help'")
    subject = read_subject(arguments)
    engine = Engine(_load(arguments).policy)
    request = _request(arguments, subject, arguments.action, arguments.resource or "")
    considered, decision = engine.consider(request)
    told = describe_decision(considered, decision)
    asked = {step.authorizer for step in decision.trace}
    not_asked = [m.authorizer.name for m in engine.policy.root.walk() if m.authorizer.name not in asked]
    if arguments.json:
        print_json(told | {"not_asked": not_asked})
    else:
        sys.stdout.write(decision_text(told, not_asked))
    return EXIT_OK


def _load(arguments: Namespace) -> LoadedPolicy:
    from gsi.authz.policyfile import load_policy
    from gsi.authz.registry import Place
    from gsi.system.environ import authz_policy_path

    if bool(arguments.service) is bool(arguments.policy):
        raise UsageError("-service or -policy must say which policy", hint="-service gridftp, or -policy FILE")
    path = arguments.policy or authz_policy_path(arguments.service)
    return load_policy(Place(path))


def _request(arguments: Namespace, subject: Subject, action: str, resource: str) -> AuthorizationRequest:
    from gsi.authz.decision import Action, AuthorizationRequest, Environment, Resource
    from gsi.system import clock

    kind, colon, name = action.rpartition(":")
    if not colon:
        kind = "login" if name == "login" else "job" if name in _JOB_ACTIONS else "file"
    environment = Environment(
        now=arguments.at or clock.now(),
        service=arguments.called or arguments.service or "",
        host=arguments.host or os.uname().nodename,
        peer_address=arguments.address or "",
        desired_account=arguments.account,
    )
    attributes = _job_attributes(arguments, subject) if kind == "job" else {}
    return AuthorizationRequest(subject, Action(name, kind), Resource(resource, attributes), environment)


def _job_attributes(arguments: Namespace, subject: Subject) -> dict[str, tuple[str, ...]]:
    """Return what the gate and the job manager's callout tell of a job."""
    import pwd

    from gsi.authz.rsl.grammar import MAX_RSL_CHARS
    from gsi.system.files import read_public

    owner = arguments.owner or subject.identity
    known = {"GLOBUS_ID": owner} if owner else {}
    if arguments.account:
        try:
            known |= {"HOME": pwd.getpwnam(arguments.account).pw_dir, "LOGNAME": arguments.account}
        except KeyError as error:
            raise UsageError(f"there is no account {arguments.account!r} here") from error
    attributes = {"owner": (owner,), "variables": tuple(f"{name}={value}" for name, value in known.items())}
    if arguments.rsl:
        data = read_public(arguments.rsl, max_bytes=4 * MAX_RSL_CHARS)
        attributes["rsl"] = (data.decode("utf-8", "surrogateescape"),)
    return attributes


# --- who-can ----------------------------------------------------------------------------------------------------------


def _who_can(arguments: Namespace, words: list[str]) -> int:
    from itertools import islice

    from gsi.authz.decision import ANONYMOUS
    from gsi.authz.engine import Engine
    from gsi.authz.record import describe_obligation
    from gsi.authz.whocan import unlisted, who_can
    from gsi.cli.authz_text import print_json

    action, resource, *more = [*words, *([""] * (2 - len(words)))] if len(words) < 2 else words
    action, resource = action or arguments.action, resource or arguments.resource or ""
    if not action or more:
        raise UsageError("who-can takes an action and a resource", hint=f"{PROG} who-can read /data/f -service gridftp")
    loaded = _load(arguments)
    engine: Engine = Engine(loaded.policy)
    request = _request(arguments, ANONYMOUS, action, resource)
    notes = [f"not listed: whom {name} ({loaded.built[name].kind}) permits" for name in unlisted(engine)]
    judges_jobs = any(built.kind == "rsl" for built in loaded.built.values())
    if request.action.service == "job" and judges_jobs and not arguments.rsl:
        if request.action.name == "start":
            raise UsageError("who may start a job depends on the job", hint="-rsl FILE, its description, and -account")
        notes.append("not listed: who is permitted by a rule about the job's description, which -rsl gives")
    found = list(islice(who_can(engine, request), arguments.limit + 1))
    shown = found[: arguments.limit]
    if arguments.json:
        print_json(
            [
                {
                    "who": answer.who,
                    "authorizer": answer.decision.authorizer,
                    "reason": answer.decision.reason,
                    "obligations": [describe_obligation(each) for each in answer.decision.obligations],
                }
                for answer in shown
            ]
        )
        sys.stderr.write("".join(f"{PROG}: {printable(note)}\n" for note in notes))
        return EXIT_OK
    for answer in shown:
        account = f" as {answer.decision.account}" if answer.decision.account else ""
        reason = printable(f"{answer.decision.authorizer}: {answer.decision.reason}")
        sys.stdout.write(f"{printable(answer.who)}{account}\n    {reason}\n")
    if not shown:
        sys.stdout.write("nobody that the policy names\n")
    if len(found) > len(shown):
        sys.stdout.write(f"... and more than {arguments.limit}; -limit shows them\n")
    sys.stdout.write("".join(f"{printable(note)}\n" for note in notes))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
