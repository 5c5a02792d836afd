"""The command `gsi-authz` beyond its transcripts: JSON, verified chains, real decisions, configurations of callouts."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
from pathlib import Path

import pytest

from gsi.authz.callout.messages import OperationRequest, SessionRequest
from gsi.authz.reload import open_engine
from gsi.cli.authz import main
from tests.harness.authz import request_of, user, write_authz_policies
from tests.harness.ca import LIMITED_INFO, TestCA, write_file, write_trust_dir
from tests.harness.callout import FakeDaemon
from tests.harness.tokens import AUDIENCE, TokenIssuer, b64
from tests.harness.voms import VO, VOMSServer, ac_extension


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = write_authz_policies(tmp_path / "authz.d")
    monkeypatch.setenv("GSI_AUTHZ_POLICY_DIR", str(directory))
    monkeypatch.delenv("GSI_AUTHZ_CONF", raising=False)
    return directory


def told(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 0) -> object:
    assert main([*argv, "-json"]) == status, capsys.readouterr().err
    found: object = json.loads(capsys.readouterr().out)
    return found


def test_explain_a_decision_of_a_service(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = open_engine(str(folder / "gridftp.toml"))
    decision = engine.authorize(request_of(user("/O=Grid/CN=Mallory"), "read", "/data/x"))
    found = told(capsys, "explain", decision.decision_id, "-service", "gridftp")
    assert isinstance(found, dict)
    assert (found["effect"], found["authorizer"]) == ("deny", "bans")
    assert main(["explain", decision.decision_id, "-record", str(folder / "decisions.jsonl")]) == 0
    out = capsys.readouterr().out
    assert f"decision {decision.decision_id}: deny" in out
    assert "stolen key" in out


def test_explain_a_verified_chain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ca = TestCA("/O=Grid/CN=CA")
    proxy = ca.issue("/O=Grid/CN=Alice").proxy(info=LIMITED_INFO)
    trust = folder / "trust"
    trust.mkdir()
    write_trust_dir(trust, ca)
    write_file(folder / "chain.pem", proxy.bundle(), 0o600)
    options = ["-chain", str(folder / "chain.pem"), "-certdir", str(trust), "-service", "gridftp"]
    found = told(capsys, "explain", *options, "-action", "login", "-fqan", "/vo", "-group", "g")
    assert isinstance(found, dict)
    assert found["effect"] == "permit"
    assert found["obligations"] == [{"type": "Account", "name": "alice"}]
    assert found["subject"]["kind"] == "limited"
    assert found["subject"]["groups"] == ["g"]
    stranger = TestCA("/O=Grid/CN=CA").issue("/O=Grid/CN=Alice")
    write_file(folder / "chain.pem", stranger.bundle(), 0o600)
    assert main(["explain", *options, "-action", "login"]) == 1
    assert "error" in capsys.readouterr().err


def test_explain_what_attributes_decide(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """VOMS attributes of a verified chain, and a token that it shows."""
    ca, tokens = TestCA("/O=Grid/CN=CA"), TokenIssuer()
    alice = ca.issue("/O=Grid/CN=Alice")
    voms = VOMSServer(ca)
    vomsdir = voms.write_lsc(folder / "vomsdir")
    write_trust_dir(folder / "trust", ca)
    write_file(folder / "keys.json", tokens.key_set(), 0o644)
    role = f"/{VO}/Role=prod/Capability=NULL"
    proxy = alice.proxy(extensions=[ac_extension(voms.attribute_certificate(alice, fqans=[role]))])
    write_file(folder / "chain.pem", proxy.bundle(), 0o600)
    bound = {"x5t#S256": b64(hashlib.sha256(alice.der).digest())}
    write_file(folder / "token", tokens.token(cnf=bound, scope="storage.read:/data").encode() + b"\n", 0o600)
    (folder / "roles").write_text(f"permit fqan /{VO}/Role=prod to write on /data/**\n")
    (folder / "se.toml").write_text(
        'order = ["scopes", "roles"]\nsources = ["voms", "tokens"]\n[authorizer.scopes]\ntype = "token-scopes"\n'
        'exclusive = false\n[authorizer.roles]\ntype = "rules"\nfile = "roles"\n'
        f'[source.voms]\ntype = "voms"\nvomsdir = "{vomsdir}"\ntrust_dir = "{folder}/trust"\n'
        f'[source.tokens]\ntype = "tokens"\naudiences = ["{AUDIENCE}"]\n'
        f'[source.tokens.issuers.vo]\nurl = "{tokens.url}"\njwks_file = "keys.json"\n'
    )
    chain = ["-chain", str(folder / "chain.pem"), "-certdir", str(folder / "trust"), "-service", "se"]
    write = ["explain", *chain, "-action", "write", "-resource", "/data/x"]
    found = told(capsys, *write)
    assert isinstance(found, dict)
    assert (found["effect"], found["subject"]["fqans"]) == ("permit", [role])
    assert main(write) == 0
    out = capsys.readouterr().out
    assert f"fqans      {role}" in out
    assert f"voms    not applicable fqans {role}\n" in out
    read = ["explain", *chain, "-action", "read", "-resource", "/data/x"]
    assert told(capsys, *read)["effect"] == "not_applicable"  # type: ignore[index]  # JSON
    with_token = told(capsys, *read, "-token", str(folder / "token"))
    assert isinstance(with_token, dict)
    assert (with_token["effect"], with_token["authorizer"]) == ("permit", "scopes")
    assert "ey" + "J" not in json.dumps(with_token)
    write_file(folder / "assertion", b"<x/>", 0o600)
    assert told(capsys, *read, "-assertion", str(folder / "assertion"))["effect"] == "not_applicable"  # type: ignore[index]  # no source of such
    write_file(folder / "token", b"\xff", 0o600)
    assert main([*read, "-token", str(folder / "token")]) == 1
    assert "it is no text" in capsys.readouterr().err
    assert main(["explain", "abcdef0123", "-token", str(folder / "token"), "-service", "se"]) == 1


def test_ask_with_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is sent within the session, as `globus-url-copy -aa` has it sent."""
    write_file(tmp_path / "chain.pem", TestCA().issue("/O=Grid/CN=Alice").proxy().bundle(), 0o600)
    write_file(tmp_path / "token", b"ey.x.y\n", 0o600)
    write_file(tmp_path / "assertion", b"<x/>\n", 0o600)
    place = tmp_path / "socket"
    shown = ["-token", str(tmp_path / "token"), "-assertion", str(tmp_path / "assertion")]
    ask = ["ask", "-socket", str(place), "-chain", str(tmp_path / "chain.pem"), *shown, "-action"]
    with FakeDaemon(place) as daemon:
        assert main([*ask, "read", "-resource", "/data/x"]) == 0
        session, *operations = [request for _, request in daemon.requests]
    assert isinstance(session, SessionRequest)
    assert [(each.action, each.object) for each in operations if isinstance(each, OperationRequest)] == [
        ("authz_assert", "ey.x.y"),
        ("authz_assert", "<x/>"),
        ("read", "ftp://localhost/data/x"),
    ]
    assert main([*ask, "login"]) == 1
    assert "in a session" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "effect", "service_type"),
    [
        (["-subject", "/O=Grid/CN=Alice", "-action", "read", "-resource", "/data/alice/x"], "permit", "file"),
        (["-subject", "CN=Alice,O=Grid", "-action", "file:read", "-resource", "/data/alice/x"], "permit", "file"),
        (["-subject", "/O=Grid/CN=Alice", "-action", "read", "-resource", "/data/../etc"], "indeterminate", "file"),
        (["-subject", "/O=Grid/CN=Alice", "-action", "login", "-account", "root"], "not_applicable", "login"),
        (["-subject", "/O=Grid/CN=Alice", "-action", "start"], "not_applicable", "job"),
        (["-fqan", "/vo/Role=prod", "-action", "write", "-resource", "/data/vo/x"], "permit", "file"),
        (["-subject", "https://iss#1", "-action", "lookup", "-resource", "/pub/x"], "permit", "file"),
        (["-subject", "https://iss#1", "-action", "lookup", "-resource", "/pub/x", "-at", "0"], "permit", "file"),
    ],
)
def test_explain_a_named_subject(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], effect: str, service_type: str
) -> None:
    found = told(capsys, "explain", "-service", "gridftp", *options)
    assert isinstance(found, dict)
    assert (found["effect"], found["service_type"]) == (effect, service_type)
    assert not (folder / "decisions.jsonl").exists()


def test_who_can(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "who-can", "write", "/data/vo/f", "-policy", str(folder / "gridftp.toml"))
    assert found == [
        {
            "who": "fqan /vo/Role=prod",
            "authorizer": "site-rules",
            "reason": f"{folder}/gridftp.rules:2",
            "obligations": [{"type": "Account", "name": "prod"}],
        }
    ]
    assert main(["who-can", "lookup", "/pub/x", "-service", "gridftp", "-limit", "1"]) == 0
    assert "and more than 1" in capsys.readouterr().out


def test_check(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(capsys, "check", str(folder / "gridftp.toml"))
    assert found == {"files": [str(folder / "gridftp.toml")], "findings": []}
    (folder / "grid-mapfile").write_text('"/O=Grid/CN=Alice" alice # a comment\n')
    assert main(["check", str(folder / "gridftp.toml")]) == 0
    assert "note" in capsys.readouterr().out
    assert main(["check", "-strict", str(folder / "gridftp.toml")]) == 1
    (folder / "bans").write_text("dnn\n")
    capsys.readouterr()
    found = told(capsys, "check", str(folder / "gridftp.toml"), status=1)
    assert isinstance(found, dict)
    (finding,) = found["findings"]
    assert (finding["severity"], finding["path"], finding["line"]) == ("broken", str(folder / "bans"), 1)
    monkeypatch.setenv("GSI_AUTHZ_CONF", str(folder / "nothing"))
    assert main(["check"]) == 1
    out = capsys.readouterr().out
    assert f"{folder}/nothing: hole" in out
    assert f"{folder}/bans:1: broken" in out


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without policies and C services; its /etc."""
    monkeypatch.setenv("GSI_AUTHZ_POLICY_DIR", str(tmp_path / "authz.d"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GLOBUS_LOCATION", str(tmp_path / "globus"))
    monkeypatch.delenv("GSI_AUTHZ_CONF", raising=False)
    monkeypatch.setattr("gsi.authz.serviceconf.ETC", str(tmp_path / "etc"))
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


no_conf = pytest.mark.skipif(
    os.path.exists("/etc/grid-security/gsi-authz.conf"), reason="this machine has a configuration"
)


@no_conf
@pytest.mark.usefixtures("machine")
def test_check_where_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """An absent file is never silence: it is the first of the traps."""
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "note: no policy is there" in out
    assert "gsi-authz.conf: note: it is not there: C services, of which none is configured here" in out
    assert main(["check", "-callouts", "none"]) == 0
    assert "gsi-authz.conf" not in capsys.readouterr().out
    assert main(["check", "-callouts", "none", "-callouts", "gridftp"]) == 1


@no_conf
@pytest.mark.parametrize("family", ["gridftp", "gatekeeper", "jobmanager"])
@pytest.mark.usefixtures("machine")
def test_check_a_service_that_is_named(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-callouts", family]) == 1
    assert "gsi-authz.conf: hole: No such file or directory" in capsys.readouterr().out


@no_conf
def test_check_the_services_of_this_machine(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "gridftp.conf").write_text("cas 0\n")
    assert main(["check"]) == 1
    out = capsys.readouterr().out
    assert "gsi-authz.conf: hole" in out
    assert f"{machine}/gridftp.conf:1: hole: cas is off" in out
    assert main(["check", "-callouts", "jobmanager"]) == 1
    assert "globus-gram-job-manager.conf: note: it is not there" in capsys.readouterr().out


def test_check_one_configuration_of_a_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "globus-gram-job-manager.conf"
    assert main(["check", str(conf)]) == 1
    assert "broken: No such file" in capsys.readouterr().out
    conf.write_text("-log-pattern /tmp/x\n")
    assert main(["check", "-strict", str(conf)]) == 1
    assert f"{conf}: hole: no -enable-callout" in capsys.readouterr().out
    conf.write_text("-enable-callout\n")
    assert main(["check", "-strict", "--", str(conf)]) == 0
    assert f"nothing to report: {conf}" in capsys.readouterr().out


@pytest.mark.parametrize("package", ["myproxy", "kca"])
def test_policies_that_come_with_services_are_good(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    policy = Path(__file__).parents[2] / package / "policies" / f"{package}.toml"
    assert main(["check", "-strict", str(policy)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "a command is missing"),
        (["explain", "-service", "gridftp"], "needs a decision, or -action"),
        (["explain", "a", "b"], "one decision"),
        (["explain", "abcdef0123", "-subject", "/CN=x", "-service", "gridftp"], "without a decision"),
        (["explain", "-action", "read", "-subject", "/CN=x", "-proxy", "-service", "gridftp"], "only one"),
        (["explain", "-action", "read", "-limited", "-service", "gridftp"], "-limited goes with -subject"),
        (["explain", "-action", "read", "-service", "a", "-policy", "b"], "-service or -policy"),
        (["explain", "-action", "read", "-service", "nothing"], "No such file"),
        (["explain", "-action", "read", "-subject", "/Nothing=x", "-service", "gridftp"], "attribute type"),
        (["explain", "nonsense!", "-service", "gridftp"], "is no decision id"),
        (["who-can"], "an action and a resource"),
        (["who-can", "a", "b", "c", "-service", "gridftp"], "an action and a resource"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_refusals(argv: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 1
    assert says in capsys.readouterr().err


@pytest.fixture
def jobs(folder: Path) -> Path:
    (folder / "gram.toml").write_text('order = ["jobs"]\n[authorizer.jobs]\ntype = "rsl"\nfile = "gram.jobs"\n')
    (folder / "gram.jobs").write_text(
        'permit dn "/O=Grid/CN=Alice" to start executable $(HOME)/bin/* count NULL, <4\n'
        "permit group managers to cancel jobtag NFC\n"
        "permit authenticated to status jobowner self\n"
    )
    (folder / "job.rsl").write_text("&(executable=$(HOME)/bin/x)(count=3)\n")
    return folder


def test_explain_a_job(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account = pwd.getpwuid(os.getuid()).pw_name
    alice = ["explain", "-service", "gram", "-subject", "/O=Grid/CN=Alice"]
    start = [*alice, "-action", "start", "-rsl", str(jobs / "job.rsl")]
    found = told(capsys, *start, "-account", account)
    assert isinstance(found, dict)
    assert found["effect"] == "permit"
    for options in ([*start], [*alice, "-action", "start"], [*alice, "-action", "status", "-owner", "/O=Grid/CN=Bob"]):
        found = told(capsys, *options)
        assert isinstance(found, dict)
        assert found["effect"] == ("not_applicable" if "status" in options else "deny")
    found = told(capsys, *alice, "-action", "status")
    assert isinstance(found, dict)
    assert found["effect"] == "permit"
    assert main([*start, "-account", "no-such-account"]) == 1
    assert "no account" in capsys.readouterr().err


def test_who_may_manage_a_job(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (jobs / "tagged.rsl").write_text('&("jobtag" = "NFC" )')
    assert main(["who-can", "cancel", "-service", "gram", "-rsl", str(jobs / "tagged.rsl")]) == 0
    assert capsys.readouterr().out.startswith("group managers\n")
    assert main(["who-can", "cancel", "-service", "gram", "-rsl", str(jobs / "job.rsl")]) == 0
    assert capsys.readouterr().out.startswith("nobody")


def test_who_may_start_a_job(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It depends on the job, and to say "nobody" without one would mislead."""
    assert main(["who-can", "start", "-service", "gram"]) == 1
    told = capsys.readouterr()
    assert "depends on the job" in told.err
    assert "-rsl FILE" in told.err
    account = pwd.getpwuid(os.getuid()).pw_name
    rsl = ["-rsl", str(jobs / "job.rsl"), "-account", account]
    assert main(["who-can", "start", "-service", "gram", *rsl]) == 0
    assert capsys.readouterr().out.startswith("dn /O=Grid/CN=Alice\n")
    assert main(["who-can", "cancel", "-service", "gram"]) == 0
    assert "not listed: who is permitted by a rule about the job's description" in capsys.readouterr().out


def test_whom_who_can_cannot_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "se.toml").write_text(
        'order = ["scopes", "directory", "rules"]\n[authorizer.scopes]\ntype = "token-scopes"\n'
        '[authorizer.directory]\ntype = "ldap"\nservers = ["ldap://localhost:1"]\nuser_base = "o=x"\n'
        'user_attribute = "uid"\npermit = ["staff"]\n[authorizer.rules]\ntype = "rules"\nfile = "gridftp.rules"\n'
    )
    assert main(["who-can", "write", "/data/vo/f", "-service", "se"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("not listed: whom scopes (token-scopes) permits\nnot listed: whom directory (ldap) permits\n")
    assert main(["who-can", "-json", "write", "/data/vo/f", "-service", "se"]) == 0
    told = capsys.readouterr()
    assert isinstance(json.loads(told.out), list)
    assert "not listed: whom directory (ldap)" in told.err
