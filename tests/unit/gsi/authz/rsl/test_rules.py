"""Job rules: the semantics of requirements, denials and permits, and the grammar of their file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from gsi.authz.decision import Account, Decision, Effect, Subject
from gsi.authz.policyfile import parse_policy
from gsi.authz.registry import Place
from gsi.authz.rsl.rulefile import JOB_ACTIONS, SIGNALS, RuleKind, parse_job_rules
from gsi.authz.rsl.rules import HARMLESS, RslAuthorizer
from gsi.errors import ConfigError, ParseError
from gsi.proxy.kinds import ProxyKind
from tests.harness.authz import request_of, user

BO: Final = "/O=Grid/OU=Physics/CN=Bo"
KATE: Final = "/O=Grid/OU=Physics/CN=Kate"
EVE: Final = "/O=Other/CN=Eve"

PERMIT, DENY, SILENT = Effect.PERMIT, Effect.DENY, Effect.NOT_APPLICABLE


def authorizer(text: str) -> RslAuthorizer:
    return RslAuthorizer("jobs", parse_job_rules(text.encode(), path="f"), path="f", variables={"SITE": "/site"})


def ask(
    rules: str,
    who: str | Subject,
    action: str,
    rsl: str | None = None,
    *,
    owner: str | None = None,
    signal: int | str | None = None,
    update: str | None = None,
    **more: object,
) -> Decision:
    subject = user(who) if isinstance(who, str) else who
    attributes: dict[str, tuple[str, ...]] = {"variables": ("HOME=/home/bo", "LOGNAME=bo")}
    if rsl is not None:
        attributes["rsl"] = (rsl,)
    attributes["owner"] = (subject.identity if owner is None else owner,)
    if signal is not None:
        attributes["signal"] = (str(signal),)
    if update is not None:
        attributes["update"] = (update,)
    return authorizer(rules).decide(
        request_of(subject, action, "jobmanager-fork", kind="job", attributes=attributes, **more)
    )


# --- Keahey and Welch's example ---------------------------------------------------------------------------------------

EXAMPLE: Final = f"""\
require dn-like "/O=Grid/OU=Physics/**" to start  jobtag *
permit  dn "{BO}" to start  executable test1  directory /sandbox/**  jobtag ADS  count <4
permit  dn "{BO}" to start  executable test2  directory /sandbox/**  jobtag NFC
permit  dn "{KATE}" to start  executable TRANSP  jobtag NFC
permit  dn "{KATE}" to cancel  jobtag NFC
permit  authenticated to status, cancel  jobowner self
"""


@pytest.mark.parametrize(
    ("who", "rsl", "effect"),
    [
        (BO, "&(executable=test1)(directory=/sandbox/x)(jobtag=ADS)(count=3)", PERMIT),
        (BO, "&(executable=test1)(directory=/sandbox/x)(jobtag=ADS)(count=4)", DENY),
        (BO, "&(executable=test1)(directory=/sandbox/x)(jobtag=ADS)(count=03)", PERMIT),
        (BO, "&(executable=test1)(directory=/sandbox/x)(jobtag=ADS)", DENY),  # a condition on what is absent
        (BO, "&(executable=test1)(directory=/sandbox/x)(count=3)", DENY),
        (BO, "&(executable=test1)(directory=/sandbox/x)(jobtag=NFC)(count=3)", DENY),  # of two rules a half each
        (BO, "&(executable=test2)(directory=/sandbox/x)(jobtag=NFC)", PERMIT),
        (BO, "&(executable=test2)(directory=/sandbox/x)(jobtag=NFC)(count=1)", DENY),  # nobody speaks of count
        (BO, "&(executable=test2)(directory=/sandbox/x)(jobtag=NFC ADS)", DENY),
        (BO, "&(executable=test2)(directory=/sandbox/x)(jobtag=NFC)(jobtag=ADS)", DENY),
        (BO, "&(EXECUTABLE=test2)(Directory=/sandbox/x)(job_tag=NFC)(two_phase=30)", PERMIT),
        (BO, "&(executable=TRANSP)(jobtag=NFC)", DENY),
        (KATE, "&(executable=TRANSP)(jobtag=NFC)", PERMIT),
        (EVE, "&(executable=TRANSP)(jobtag=NFC)", DENY),
    ],
)
def test_the_example_starts(who: str, rsl: str, effect: Effect) -> None:
    assert ask(EXAMPLE, who, "start", rsl).effect is effect


@pytest.mark.parametrize(
    ("who", "owner", "tag", "action", "effect"),
    [
        (BO, BO, "ADS", "cancel", PERMIT),
        (KATE, BO, "ADS", "cancel", SILENT),
        (KATE, BO, "NFC", "cancel", PERMIT),
        (KATE, BO, "NFC", "status", SILENT),
        (EVE, BO, "NFC", "cancel", SILENT),
        (EVE, EVE, "", "cancel", PERMIT),
        (EVE, "", "", "cancel", SILENT),  # nobody knows whose it is
        (EVE, "CN=Eve", "", "cancel", SILENT),
        (EVE, "no name", "", "cancel", SILENT),
    ],
)
def test_the_example_manages(who: str, owner: str, tag: str, action: str, effect: Effect) -> None:
    rsl = f'&("executable" = "x" )("count" = "1" )("jobtag" = "{tag}" )'
    assert ask(EXAMPLE, who, action, rsl, owner=owner).effect is effect


def test_reasons() -> None:
    denied = ask(EXAMPLE, BO, "start", "&(executable=test1)(directory=/sandbox/x)(jobtag=ADS)(count=9)")
    assert denied.reason == (
        "no rule permits it; f:2: count '9' is not allowed; f:3: executable 'test1' is not allowed"
    )
    required = ask(EXAMPLE, BO, "start", "&(executable=test1)")
    assert required.reason == "f:1: required, but jobtag is missing"
    unspoken = ask(EXAMPLE, KATE, "start", "&(executable=TRANSP)(jobtag=NFC)(stdin=/etc/passwd)")
    assert unspoken.reason == "no rule permits it; f:4: the rule does not speak of stdin"
    assert ask(EXAMPLE, KATE, "cancel", '&("jobtag" = "NFC" )').reason == "f:5"


# --- requirements, denials, permits -----------------------------------------------------------------------------------

OPEN: Final = "permit anyone to * allow *\n"


def test_a_denial_wins_wherever_it_stands() -> None:
    denial = "deny anyone to start queue express\n"
    for rules in (OPEN + denial, denial + OPEN):
        assert ask(rules, BO, "start", "&(executable=x)(queue=express)").effect is DENY
        assert ask(rules, BO, "start", "&(executable=x)(queue=long)").effect is PERMIT
        assert ask(rules, BO, "start", "&(executable=x)(queue=long EXPRESS)").effect is DENY
        assert ask(rules, BO, "start", "&(executable=x)").effect is PERMIT
        assert ask(rules, BO, "cancel", '&("queue" = "express" )').effect is PERMIT


def test_a_denial_of_several_clauses_needs_all_of_them() -> None:
    rules = OPEN + "deny anyone to start queue express count >4\n"
    assert ask(rules, BO, "start", "&(queue=express)(count=5)").effect is DENY
    assert ask(rules, BO, "start", "&(queue=express)(count=4)").effect is PERMIT
    assert ask(rules, BO, "start", "&(queue=express)(count=many)").effect is DENY
    assert ask(rules, BO, "start", "&(queue=express)").effect is PERMIT


def test_a_requirement_binds_those_of_whom_it_speaks() -> None:
    rules = OPEN + 'require dn-like "/O=Grid/**" to start max_wall_time <=60 queue short, long\n'
    assert ask(rules, BO, "start", "&(max_wall_time=60)(queue=long)").effect is PERMIT
    assert ask(rules, BO, "start", "&(max_wall_time=60)").effect is DENY
    assert ask(rules, BO, "start", "&(max_wall_time=100)(queue=long)").effect is DENY
    assert ask(rules, EVE, "start", "&(max_wall_time=100)").effect is PERMIT
    assert ask(rules, BO, "cancel", "").effect is PERMIT


def test_a_requirement_holds_for_a_proxy_with_an_identity_of_its_own() -> None:
    """Requirements find their subjects as denials do, so that nobody slips away from them."""
    rules = OPEN + f'require dn "{BO}" to start queue short\n'
    odd = user("/O=GRID/OU=Physics/CN=Bo")
    assert ask(rules, odd, "start", "&(queue=long)").effect is DENY


def test_a_requirement_permits_nothing() -> None:
    rules = "require anyone to start queue short\n"
    assert ask(rules, BO, "start", "&(queue=short)").effect is DENY
    assert ask(rules, BO, "cancel", "").effect is SILENT


def test_what_a_permit_must_speak_of() -> None:
    rules = "permit anyone to start executable /bin/x allow arguments, Stdout, rsl:xcount\n".replace("Stdout", "stdout")
    for attribute in ("arguments", "stdout", "xcount", "XCount", *HARMLESS):
        assert ask(rules, BO, "start", f"&(executable=/bin/x)({attribute}=1)").effect is PERMIT, attribute
    for attribute in ("stdin", "environment", "library_path", "project", "made_up", "username"):
        assert ask(rules, BO, "start", f"&(executable=/bin/x)({attribute}=1)").effect is DENY, attribute
    assert ask(rules, BO, "start", "&(arguments=1)").effect is DENY


def test_substitutions_are_worked_out_before_anything_is_compared() -> None:
    rules = "permit anyone to start executable /site/bin/x, $(HOME)/x\n"
    assert ask(rules, BO, "start", "&(rsl_substitution=(D /site/bin))(executable=$(D)/x)").effect is PERMIT
    assert ask(rules, BO, "start", "&(executable=$(SITE)/bin/x)").effect is PERMIT
    assert ask(rules, BO, "start", "&(executable=$(HOME)/x)").effect is PERMIT
    assert ask(rules, BO, "start", "&(rsl_substitution=(HOME /tmp))(executable=$(HOME)/x)").effect is DENY
    assert ask(rules, BO, "start", "&(rsl_substitution=(HOME /tmp))(executable=/tmp/x)").effect is DENY
    assert ask(rules, BO, "start", "&(executable=$(SCRATCH_DIRECTORY)/x)").effect is DENY


def test_what_the_job_manager_says_of_a_job_comes_before_the_policy() -> None:
    """A policy's variables are for what nobody says; HOME is each account's own."""
    rules = parse_job_rules(b"permit anyone to start executable /home/bo/x, /site/x\n", path="f")
    judge = RslAuthorizer("jobs", rules, path="f", variables={"HOME": "/everybody", "SITE": "/site"})
    for given, rsl, effect in (
        (("HOME=/home/bo",), "&(executable=$(HOME)/x)", PERMIT),
        ((), "&(executable=$(HOME)/x)", DENY),
        (("HOME=/elsewhere",), "&(executable=$(HOME)/x)", DENY),
        (("HOME=/home/bo",), "&(executable=$(SITE)/x)", PERMIT),
        (("SITE=/other",), "&(executable=$(SITE)/x)", DENY),
    ):
        attributes = {"rsl": (rsl,), "variables": given}
        assert judge.decide(request_of(user(BO), "start", "jm", kind="job", attributes=attributes)).effect is effect


@pytest.mark.parametrize("grants", ["allow *", "environment *", "allow environment"])
def test_variables_that_load_code_need_to_be_named(grants: str) -> None:
    rules = f"permit anyone to start executable * {grants}\n"
    assert ask(rules, BO, "start", "&(executable=x)(environment=(A b))").effect is PERMIT
    for name in ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_X", "PATH", "BASH_ENV", "PYTHONPATH", "'A=B'", "BASH_FUNC_x%%"):
        assert ask(rules, BO, "start", f"&(executable=x)(environment=(A b)({name} /x))").effect is DENY
    assert ask(rules, BO, "start", "&(executable=x)(environment=A b)").effect is DENY
    assert ask(rules, BO, "start", "&(executable=x)(environment=(A b))(stdin=/x)").effect is (
        PERMIT if grants == "allow *" else DENY
    )
    named = "permit anyone to start executable * environment LD_PRELOAD=/opt/lib/*\n"
    assert ask(named, BO, "start", "&(executable=x)(environment=(LD_PRELOAD /opt/lib/x))").effect is PERMIT
    assert ask(named, BO, "start", "&(executable=x)(environment=(LD_PRELOAD /tmp/x))").effect is DENY


def test_a_library_path_is_one_of_them() -> None:
    """The job manager makes LD_LIBRARY_PATH of it."""
    rsl = "&(executable=/bin/x)(library_path=/tmp/evil)"
    start = "permit anyone to start executable /bin/x"
    assert ask(f"{start} allow *\n", BO, "start", rsl).effect is DENY
    assert ask(f"{start} allow library_path\n", BO, "start", rsl).effect is PERMIT
    assert ask(f"{start} library_path /tmp/** allow *\n", BO, "start", rsl).effect is PERMIT
    for rule in ("deny anyone to start environment LD_*\n", "require anyone to start environment NULL, LANG\n"):
        assert ask(f"{start} allow library_path, environment\n{rule}", BO, "start", rsl).effect is DENY
    named = "require anyone to start environment NULL, LD_LIBRARY_PATH=/tmp/*\n"
    assert ask(f"{start} allow library_path\n{named}", BO, "start", rsl).effect is PERMIT


def test_everything_is_what_is_known() -> None:
    """`allow *` cannot mean attributes of which nobody knows what they do (`condor_submit`, ...)."""
    rules = "permit anyone to start allow *\n"
    assert ask(rules, BO, "start", "&(executable=/x)(queue=q)(scratch_dir=/x)").effect is PERMIT
    for name in ("condor_submit", "softenv", "made_up"):
        rsl = f"&(executable=/x)({name}=x)(queue=q)"
        decision = ask(rules, BO, "start", rsl)
        assert decision.effect is DENY
        assert "does not speak of" in decision.reason
        assert ask(f"permit anyone to start allow *, rsl:{name}\n", BO, "start", rsl).effect is PERMIT


def test_relative_paths_evade_no_denial() -> None:
    rules = OPEN + "deny anyone to start executable /usr/bin/touch\ndeny anyone to start stdout /tmp/**\n"
    for rsl in (
        "(executable=/usr/bin/touch)",
        "(executable=touch)(directory=/usr/bin)",
        "(executable=./touch)(directory=/usr/bin)",
        "(executable=touch)(directory=$(SITE))(rsl_substitution=(SITE /usr/bin))(directory=$(SITE))",
        "(executable=/bin/true)(stdout=out)(directory=/tmp/x)",
        "(executable=/bin/true)(stdout=../../tmp/out)",
    ):
        assert ask(rules, BO, "start", f"&{rsl}").effect is DENY, rsl
    assert ask(rules, BO, "start", "&(executable=touch)(stdout=out)").effect is PERMIT


@pytest.mark.parametrize("rsl", ["", "x", "&(a=b", "executable=/bin/x", "+(&(a=b))", "&(count<4)", "&(a=$(NO))"])
def test_a_start_that_cannot_be_read_is_denied(rsl: str) -> None:
    decision = ask(OPEN, BO, "start", rsl)
    if rsl:
        assert decision.effect is DENY
        assert decision.reason.startswith("the description of the job: RSL: ")
    else:
        assert decision.effect is PERMIT  # an empty description: everything is absent


def test_a_start_without_a_description_is_denied() -> None:
    assert ask(OPEN, BO, "start", None).effect is DENY


def test_a_job_that_is_there_and_cannot_be_read_is_a_failure() -> None:
    with pytest.raises(ParseError):
        ask(OPEN, BO, "cancel", "&(a=b")
    assert ask(OPEN, BO, "cancel", None).effect is PERMIT


def test_a_restart_is_an_action_of_its_own() -> None:
    start = "permit anyone to start executable /bin/x allow restart\n"
    restart = "permit anyone to restart rsl:restart https://localhost:*/** allow stdout\n".replace(":*/", "/")
    rsl = "&(restart=https://localhost/1/2/)(stdout=/tmp/x)"
    assert ask(start, BO, "start", "&(executable=/bin/x)").effect is PERMIT
    assert ask(start, BO, "start", "&(executable=/bin/x)(restart=https://localhost/1/2/)").effect is DENY
    assert ask(restart, BO, "start", rsl).effect is PERMIT
    assert ask(restart, BO, "start", rsl + "(executable=/bin/sh)").effect is DENY
    assert ask(restart, BO, "start", "&(executable=/bin/x)").effect is DENY


def test_signals() -> None:
    rules = "permit anyone to signal\n"
    for name, number in SIGNALS.items():
        update = "&(stdout=/x)" if name == "stdio-update" else None
        effect = DENY if name == "stdio-update" else PERMIT
        assert ask(rules, BO, "signal", "", signal=number, update=update).effect is effect
    assert ask(rules, BO, "signal", "").effect is SILENT
    assert ask(rules, BO, "signal", "", signal=99).effect is SILENT
    named = "permit anyone to status, signal signals suspend, stdio-update\n"
    assert ask(named, BO, "signal", "", signal=2).effect is PERMIT
    assert ask(named, BO, "signal", "", signal=7, update="&(stdout=/x)").effect is PERMIT
    assert ask(named, BO, "signal", "", signal=3).effect is SILENT
    assert ask(named, BO, "status", "").effect is PERMIT
    denied = OPEN + "permit anyone to signal signals stdio-update\ndeny anyone to * signals resume\n"
    assert ask(denied, BO, "signal", "", signal=3).effect is DENY
    assert ask(denied, BO, "signal", "", signal=2).effect is PERMIT
    assert ask(denied, BO, "status", "").effect is PERMIT
    for unknown in (None, "x", ""):  # which signal it is nobody knows; it may be this one
        assert ask(denied, BO, "signal", "", signal=unknown).effect is DENY
    assert ask(denied, BO, "signal", "", signal=99).effect is SILENT
    required = OPEN + "permit anyone to signal signals stdio-update\nrequire anyone to signal queue *\n"
    assert ask(required, BO, "signal", '&("queue" = "x" )', signal=7, update="&(stdout=/x)").effect is PERMIT
    assert ask(required, BO, "signal", "", signal=7, update="&(stdout=/x)").effect is DENY


JOB: Final = (
    '&("executable" = "/bin/x" )("count" = "1" )("directory" = "/home/bo" )("environment" = ("HOME" "/home/bo" ) )'
)
"""A job as the job manager has completed it."""

STDIO: Final = """\
deny    anyone to start  stdout /forbidden/**
require anyone to start  stderr NULL, /home/**
permit  anyone to start  executable /bin/x  environment NULL, LANG  count NULL  stdout NULL, /home/**  allow stderr
permit  anyone to start  executable /bin/y  stdout /y/**
"""


@pytest.mark.parametrize(
    ("update", "effect", "words"),
    [
        ("&(stdout=/home/bo/new)", SILENT, ""),
        ("&(stdout=new)", DENY, "stdout 'new' is not allowed"),  # a permit compares it as it stands
        ("&(stdout=/home/bo/new)(stderr=/home/bo/err)", SILENT, ""),
        ("&(stdout=/forbidden/new)", DENY, "f:1"),
        ("&(stdout=../../forbidden/new)", DENY, "f:1"),
        ("&(STD_OUT=(/home/bo/new)(/forbidden/new))", DENY, "f:1"),
        ("&(stderr=/tmp/err)", DENY, "f:2: required, but stderr"),
        ("&(stdout=/elsewhere)", DENY, "no rule permits a start with this update of stdio; f:3: stdout '/elsewhere'"),
        ("&(stdout=/y/new)", DENY, "f:4: executable '/bin/x' is not allowed"),  # of the other permit's job
        ("&(stdout=/home/bo/new)(stdin=/etc/passwd)", DENY, "does not speak of stdin"),
        ("&(executable=/bin/y)", DENY, "f:4: stdout is missing"),
        ("&(environment=(LD_PRELOAD /x))", DENY, "environment"),
        ("&(stdout=$(HOME)/new)", DENY, "the variable 'HOME' is not defined"),
        ("&(rsl_substitution=(D /home))(stdout=$(D)/new)", DENY, "may not define variables"),
        ("&", DENY, "RSL"),
        ("", DENY, "RSL"),
        ("(stdout=/home/bo/new)", DENY, "RSL"),
        (None, DENY, "does not say what"),
    ],
)
def test_an_update_of_stdio_is_judged_as_a_start(update: str | None, effect: Effect, words: str) -> None:
    """Where rules are silent, the owner's own rights decide; they must not be more than those of a start."""
    decision = ask(STDIO, BO, "signal", JOB, signal=7, update=update)
    assert decision.effect is effect, decision
    assert words in decision.reason
    named = ask(STDIO + "permit anyone to signal signals stdio-update\n", KATE, "signal", JOB, signal=7, update=update)
    holds = effect is DENY and not decision.reason.startswith("no rule")  # a denial holds for everybody
    assert named.effect is (DENY if holds else PERMIT), named


def test_a_denial_of_starts_that_speaks_of_nothing_an_update_changes() -> None:
    rules = "deny anyone to start environment HOME\ndeny anyone to start\npermit anyone to start allow *\n"
    assert ask(rules, BO, "signal", JOB, signal=7, update="&(stdout=/x)").effect is SILENT
    assert ask(rules, BO, "signal", JOB, signal=2).effect is SILENT


def test_owners() -> None:
    rules = f'permit anyone to cancel jobowner "{BO}", "/O=Grid/OU=Chemistry/**"\n'
    assert ask(rules, KATE, "cancel", "", owner=BO).effect is PERMIT
    assert ask(rules, KATE, "cancel", "", owner=BO.replace("Bo", "BO")).effect is PERMIT  # as certificates compare
    assert ask(rules, KATE, "cancel", "", owner="/O=Grid/OU=Chemistry/CN=X").effect is PERMIT
    assert ask(rules, KATE, "cancel", "", owner="/O=Grid/OU=ChemistryX/CN=X").effect is SILENT
    assert ask(rules, KATE, "cancel", "", owner=KATE).effect is SILENT
    denial = OPEN + f'deny anyone to cancel jobowner "{BO}", "/O=Grid/OU=Chem*/**"\n'
    for owner in (BO, BO.replace("CN", "cn"), "", "x", "/O=Grid/OU=Chemistry", "/o=grid/ou=CHEMISTRY/cn=x"):
        assert ask(denial, KATE, "cancel", "", owner=owner).effect is DENY, owner
    assert ask(denial, KATE, "cancel", "", owner=KATE).effect is PERMIT
    assert ask(OPEN + "deny anyone to cancel jobowner self\n", BO, "cancel", "").effect is DENY


def test_subjects_and_circumstances_are_those_of_rules() -> None:
    rules = (
        "permit fqan /physics/Role=manager to cancel\n"
        "permit group staff to cancel service jobmanager-pbs as bo\n"
        "permit dn-like /O=Grid/** to renew proxy limited, none\n"
    )
    assert ask(rules, user(EVE, fqans=("/physics/Role=manager",)), "cancel").effect is PERMIT
    assert ask(rules, user(EVE, fqans=("/physics",)), "cancel").effect is SILENT
    staff = user(EVE, groups=frozenset({"staff"}))
    assert ask(rules, staff, "cancel", service="jobmanager-pbs").obligations == (Account("bo"),)
    assert ask(rules, staff, "cancel", service="jobmanager-fork").effect is SILENT
    limited = user(BO, kind=ProxyKind.LIMITED, limited=True)
    assert ask(rules, limited, "renew").effect is PERMIT
    assert ask(OPEN, limited, "start", "&(executable=x)").effect is DENY


def test_other_services_are_none_of_its_business() -> None:
    for kind in ("file", "login", "http"):
        asked = request_of(user(BO), "start", "x", kind=kind)
        assert authorizer(OPEN).decide(asked).effect is SILENT


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_grammar() -> None:
    (rule,) = parse_job_rules(
        b'permit dn "/O=Grid/CN=A" to start, job:cancel\n   executable /bin/x, /bin/y   maxWallTime\n'.replace(
            b"maxWallTime", b"maxwalltime"
        )
        + b'   "<= 60"  rsl:Host_Types linux  allow stdin, rsl:xcount\n'
        + b"   as bo because 'x'\n".replace(b"'x'", b'"on trial"'),
        path="f",
    )
    assert rule.kind is RuleKind.PERMIT
    assert [condition.attribute for condition in rule.conditions] == ["executable", "maxwalltime", "hosttypes"]
    assert rule.allowed == frozenset({"stdin", "xcount"})
    assert rule.rule.obligations == (Account("bo"),)
    assert rule.rule.actions == ((None, "start"), ("job", "cancel"))


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("allow anyone to start", "begins with permit, deny or require", None),
        ('"permit" anyone to start', "begins with permit", None),
        ("permit to start executable x", "for whom", None),
        ("permit anyone executable x", "what for", None),
        ("permit anyone to begin", "'begin' is no action on jobs", None),
        ("permit anyone to file:start", "no action on jobs", None),
        ("permit anyone to start on /x", "jobs have none", None),
        ("permit anyone to start executables x", "'executables' is no keyword", "executable"),
        ("permit anyone to start executable", "needs a value", None),
        ("permit anyone to start executable a b", "'b' is no keyword", None),
        ("permit anyone to start executable a, count 4", "comma", None),
        ("permit anyone to start max_time 4 maxtime 5", "there twice", None),
        ("permit anyone to start rsl:max_time 4 maxtime 5", "there twice", None),
        ("permit anyone to start count lots", "count: 'lots' is no number", "<4"),
        ("permit anyone to start executable /a/../b", "executable: ", None),
        ("permit anyone to start file_stage_in /a", "where to", "->"),
        ("permit anyone to start allow nonsense", "no attribute of jobs", "rsl:NAME"),
        ("permit anyone to signal signals kill", "'kill' is no signal", None),
        ("permit anyone to cancel jobowner me", "jobowner", None),
        ("permit anyone to cancel jobowner /O=x/*", "ends in", None),
        ("deny anyone to start allow stdin", "permits only", None),
        ("deny anyone to start as bo", "permits only", None),
        ("require anyone to start", "requires nothing", None),
        ("require anyone to start because x", "requires nothing", None),
        ("  permit anyone to start", "indented", None),
    ],
)
def test_what_is_no_rule(text: str, words: str, hint: str | None) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        list(parse_job_rules(b"# comment\n" + text.encode(), path="f"))
    assert caught.value.path == "f"
    assert caught.value.line == 2
    assert hint is None or hint in (caught.value.hint or "")


def test_in_a_policy(tmp_path: Path) -> None:
    (tmp_path / "gram.jobs").write_text("permit anyone to start queue short\npermit anyone to cancel\n")
    text = (
        'order = ["jobs"]\n[authorizer.jobs]\ntype = "rsl"\nfile = "gram.jobs"\n'
        '[authorizer.jobs.variables]\nGLOBUS_LOCATION = "/usr"\n'
    )
    loaded = parse_policy(text.encode(), Place(str(tmp_path / "gram.toml")))
    assert loaded.problems == (
        f"jobs: {tmp_path}/gram.jobs:1: it permits to start no job: it does not speak of executable",
    )
    with pytest.raises(ConfigError, match="no name of a variable"):
        parse_policy(text.replace("GLOBUS_LOCATION", '"A B"').encode(), Place(str(tmp_path / "gram.toml")))
    with pytest.raises(ConfigError, match="must be text"):
        parse_policy(text.replace('"/usr"', "3").encode(), Place(str(tmp_path / "gram.toml")))


def test_every_action_can_be_permitted() -> None:
    for action in JOB_ACTIONS - {"restart"}:
        signal = 2 if action == "signal" else None
        rules = f"permit anyone to {action} allow *\n"
        assert ask(rules, BO, action, "", signal=signal).effect is PERMIT
