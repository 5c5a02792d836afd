"""What is in deploy/: units for systemd, configurations for the servers, numbers that the servers serve."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tomllib
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import cas.metrics
import kca.metrics
import myproxy.portal.metrics
import myproxy.renewal.monitor
from cas.config import load_config as load_cas
from gsi.authz.callout.config import load_config as load_authz
from gsi.system.health import Health
from gsi.system.metrics import AuditMetrics, write_text
from gsi.system.trustdir import TrustDirectory
from gsi.transport.wsgi_server import Reloads
from kca.config import load_config as load_kca
from myproxy.delegation.config import load_config as load_delegation
from myproxy.delegation.serving import ACTIONS as DELEGATION_ACTIONS
from myproxy.metrics import Metrics
from myproxy.monitor import Monitor, Sources
from myproxy.policy import Client
from myproxy.portal.config import load_config as load_portal
from myproxy.renewal.config import load_config as load_renewal
from myproxy.renewal.monitor import Numbers
from myproxy.repository.census import Census
from myproxy.server import load_config as load_myproxy
from tests.harness.ca import TestCA, write_file, write_trust_dir
from tests.harness.environment import clean_environment
from tests.harness.run import c_program, our_program, run

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(path for path in (DEPLOY / "systemd").iterdir() if path.is_file())
DROP_INS = sorted((DEPLOY / "systemd/drop-ins").glob("*/*.conf"))
SERVICES = [path for path in UNITS if path.suffix == ".service"]
EXAMPLES = sorted(path for path in (DEPLOY / "examples").glob("*/*"))
MAX_EXPOSURE = 2.5  # of 10; a service without any of the directives has 9.6
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

# --- systemd ---------------------------------------------------------------------------------------------------------


def directives(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and line[0] not in "#[":
            name, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(name, []).append(value)
    return found


def place(path: Path, target: Path) -> Path:
    """Copy a unit, with commands and accounts that are there."""
    text = path.read_text()
    for command in re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE):
        text = text.replace(command, our_program(Path(command).name))
    target.parent.mkdir(exist_ok=True)
    target.write_text(re.sub(r"^((?:Socket)?(?:User|Group))=.*$", r"\1=daemon", text, flags=re.MULTILINE))
    return target


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine on which the programs are as the page on installation says, seen from its root."""
    root = tmp_path_factory.mktemp("machine")
    for place in ("opt/gsi/bin", "usr/sbin", "usr/bin", "usr/local/bin", "bin", "etc/systemd/system"):
        (root / place).mkdir(parents=True)
    for path in (*(root / "opt/gsi/bin" / name for name in SCRIPTS), root / "bin/kill"):
        write_file(path, b"#!/bin/sh\n", 0o755)
    page = (ROOT / "docs/howto/install.md").read_text()
    (lines,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = re.sub(r"(?<= )/(opt|usr)/", rf"{root}/\1/", lines)
    run(["/bin/bash", "-euc", lines], env=clean_environment(root)).check()
    for place in ("usr/sbin", "usr/bin", "usr/local/bin"):
        for link in (root / place).iterdir():
            assert link.is_file()
            target = f"/{link.readlink().relative_to(root)}"
            link.unlink()
            link.symlink_to(target)
    for path in (*UNITS, *DROP_INS):
        unit = root / "etc/systemd/system" / (path.name if path in UNITS else f"{path.parent.name}/{path.name}")
        unit.parent.mkdir(exist_ok=True)
        unit.write_bytes(path.read_bytes())
    for path in Path("/usr/lib/systemd/system").glob("*.target"):
        (root / "etc/systemd/system" / path.name).write_bytes(path.read_bytes())
    return root


def test_systemd_takes_the_units_and_finds_their_programs(machine: Path) -> None:
    argv: list[str | Path] = [c_program("systemd-analyze"), "verify", "--man=no", f"--root={machine}"]
    done = run([*argv, *(f"/etc/systemd/system/{path.name}" for path in UNITS)], env=clean_environment(machine))
    about = [line for line in done.output.splitlines() if any(path.name in line for path in (*UNITS, *DROP_INS))]
    assert not about, done
    assert done.returncode == 0, done


def test_what_is_typed_is_where_it_is_installed(machine: Path) -> None:
    assert {path.name for path in (machine / "usr/local/bin").iterdir()} == set(SCRIPTS)
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    called = {word for word in re.findall(r"/usr/s?bin/([\w-]+)", pages) if word in SCRIPTS}
    assert called <= {path.name for place in ("usr/sbin", "usr/bin") for path in (machine / place).iterdir()}


def test_systemd_takes_the_units_of_users(tmp_path: Path) -> None:
    units = [place(path, tmp_path / path.name) for path in (DEPLOY / "systemd/user").iterdir()]
    env = clean_environment(tmp_path) | {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = run([c_program("systemd-analyze"), "verify", "--user", "--man=no", *units], env=env)
    assert done.returncode == 0, done
    assert not [line for line in done.output.splitlines() if any(path.name in line for path in units)], done


def test_drop_ins_are_for_units_that_are_here() -> None:
    assert {path.parent.name.removesuffix(".d") for path in DROP_INS} <= {path.name for path in UNITS}


def test_every_drop_in_is_told_of() -> None:
    page = (ROOT / "docs/howto/install.md").read_text()
    told = set(re.findall(r"^\| `([^`]+\.service\.d/[^`]+)` \|", page, re.MULTILINE))
    assert told == {f"{path.parent.name}/{path.name}" for path in DROP_INS}


def test_units_listen_where_the_configurations_say(tmp_path: Path) -> None:
    """The servers refuse sockets for which their configurations have no place."""
    one = tmp_path
    for path in (DEPLOY / "examples/one-node").iterdir():
        (one / path.name).write_bytes(path.read_bytes())
        (one / path.name).chmod(0o600)
    community, authority = load_cas(str(one / "cas.toml")), load_kca(str(one / "kca.toml"))
    assert community.voms is not None
    (command,) = directives(DEPLOY / "systemd/gsi-authz-http.service")["ExecStart"]
    wanted = {
        "cas-server": [community.http.listen, community.voms.listen],
        "kca-server": list(authority.server.listen),
        "kca-http": [authority.http.listen],
        "myproxy-delegation": [load_delegation(str(one / "delegation.toml")).http.listen],
        "myproxy-portal": [load_portal(str(one / "portal.toml")).http.listen],
        "gsi-authz-server": [load_authz(str(one / "gsi-authz-server.toml")).server.socket],
        "gsi-authz-http": [command.split()[-1]],
        "myproxy-server": ["*:7512"],
    }
    sockets = [path for path in UNITS if path.suffix == ".socket"]
    assert {path.stem for path in sockets} == set(wanted)
    for path in sockets:
        told = directives(path)
        streams = {re.sub(r"^(0\.0\.0\.0|\[::\])", "*", one) for one in told["ListenStream"]}
        assert streams == set(wanted[path.stem]), path.name
        assert told.get("ListenDatagram", told["ListenStream"]) == told["ListenStream"], path.name
        assert path.stem == "myproxy-server" or told.get("BindIPv6Only", ["ipv6-only"]) == ["ipv6-only"], path.name
        mode = load_authz(str(one / "gsi-authz-server.toml")).server.socket_mode
        assert path.stem != "gsi-authz-server" or int(told["SocketMode"][0], 8) == mode


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_services_are_hardened(path: Path, tmp_path: Path) -> None:
    limit = f"--threshold={int(MAX_EXPOSURE * 10)}"
    argv: list[str | Path] = [c_program("systemd-analyze"), "security", "--offline=true", "--no-pager", limit, path]
    run(argv, env=clean_environment(tmp_path)).check()


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_services_run_our_commands(path: Path, tmp_path: Path) -> None:
    (line,) = directives(path)["ExecStart"]
    name, *words = line.split()
    assert Path(name).name in SCRIPTS
    told = run([our_program(Path(name).name), "--help"], env=clean_environment(tmp_path)).check().output
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(^|[ ,|\[])-?{re.escape(option.replace('--', '-'))}\b", told, re.MULTILINE), option


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_secrets_in_memory_reach_no_core_dump(path: Path) -> None:
    assert directives(path)["LimitCORE"] == ["0"]


def test_every_server_has_a_unit() -> None:
    servers = {name for name in SCRIPTS if re.search(r"-server$|-http$|-portal$|-renewd$|^myproxy-delegation$", name)}
    assert {path.stem for path in SERVICES} >= servers


def test_servers_can_be_checked_as_the_runbook_says() -> None:
    page = (ROOT / "docs/howto/runbook.md").read_text()
    (told,) = re.findall(r"`-check` \(([^)]*)\)", page)
    names = set(re.findall(r"`([a-z0-9-]+)`", told))
    assert names == {path.stem for path in SERVICES} - {"myproxy-server", "gsi-doctor", "grid-fetch-crl"}
    for name in names:
        parser = import_module(SCRIPTS[name].partition(":")[0]).build_parser()
        for word in ("-c", "-config"):
            found = parser.parse_args([word, "file", "-check"])
            assert (found.check, found.config) == (True, "file"), name


def test_pages_forget_no_service_that_keeps_something() -> None:
    found = {path.parent for name in ("myproxy", "cas", "kca") for path in (ROOT / name).rglob("migrations")}
    names = {(path.parent if path.name == "repository" else path).name for path in found}
    assert names >= {"myproxy", "delegation"}
    _, _, section = (ROOT / "docs/howto/runbook.md").read_text().partition("## The database has failed over")
    assert set(re.findall(r"-only (\w+)", section.partition("\n## ")[0])) == names
    backup = (ROOT / "docs/howto/backup.md").read_text()
    places = {f"/var/lib/myproxy-{name}" if name in {"portal", "delegation"} else f"/var/lib/{name}" for name in names}
    assert places <= set(re.findall(r"/var/lib/[\w-]+", backup))


def test_every_directive_is_explained() -> None:
    page = (ROOT / "docs/howto/install.md").read_text()
    rows = re.findall(r"^\| (`[^|]+`) \|", page.partition("| directive |")[2], re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    known = {"Description", "Documentation", "After", "Wants", "WantedBy"}
    used = {name for path in (DEPLOY / "systemd").rglob("*.*") if path.is_file() for name in directives(path)}
    assert used - known == explained


# --- Configurations --------------------------------------------------------------------------------------------------

LOADERS: dict[str, Any] = {
    "myproxy-server.config": load_myproxy,
    "cas.toml": load_cas,
    "kca.toml": load_kca,
    "delegation.toml": load_delegation,
    "portal.toml": load_portal,
    "renewd.toml": load_renewal,
    "gsi-authz-server.toml": load_authz,
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_examples_are_taken(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o600)
    config = LOADERS[path.name](str(copy))
    assert not getattr(config, "notes", ()), "nothing in it is without effect"
    copy.write_text(copy.read_text() + "\nnonsense = = 1\n")
    if path.suffix == ".toml":
        with pytest.raises(Exception, match="not TOML"):
            LOADERS[path.name](str(copy))


def test_there_is_an_example_of_each_kind() -> None:
    assert {path.parent.name for path in EXAMPLES} == {"one-node", "two-nodes", "site-ca", "containers"}
    two = [path.read_text() for path in EXAMPLES if path.parent.name == "two-nodes"]
    assert all(re.search(r"postgresql://\S+sslmode=verify-full", text) for text in two)
    assert all("pkcs11:" in path.read_text() for path in EXAMPLES if path.parent.name == "site-ca")


def test_the_server_of_two_nodes_believes_their_portal(tmp_path: Path) -> None:
    for name in ("portal.toml", "myproxy-server.config"):
        (tmp_path / name).write_bytes((DEPLOY / "examples/two-nodes" / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    portal, server = load_portal(str(tmp_path / "portal.toml")), load_myproxy(str(tmp_path / "myproxy-server.config"))
    assert portal.own.front_end
    (rule,) = server.trusted_front_ends or ()
    assert rule.matches(Client(f"/O=Example/CN={portal.names[0]}"))


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.name == "portal.toml"], ids=str)
def test_portals_of_the_examples_know_the_name_that_browsers_send(path: Path, tmp_path: Path) -> None:
    write_file(tmp_path / path.name, path.read_bytes(), 0o600)
    portal = load_portal(str(tmp_path / path.name))
    port = portal.http.listen.rpartition(":")[2]
    assert f"portal.example.org:{port}" in portal.names


def test_monitors_of_the_examples_are_where_prometheus_looks() -> None:
    page = (ROOT / "docs/howto/operate.md").read_text()
    scraped = set(re.findall(r'targets: \["(127\.0\.0\.1:95\d+)"\]', page))
    told = {found for path in EXAMPLES for found in re.findall(r"127\.0\.0\.1:95\d\d", path.read_text())}
    assert told == scraped


# --- Containers ------------------------------------------------------------------------------------------------------


def test_the_image_copies_what_is_there() -> None:
    text = (DEPLOY / "container/Containerfile").read_text()
    sources = [word for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert {"gsi", "myproxy", "cas", "kca", "pyproject.toml"} <= set(sources)
    assert all((ROOT / source).exists() for source in sources)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wanted,) = re.findall(r"'\.\[([a-z,]+)\]'", text)
    assert set(wanted.split(",")) <= set(extras)


class Composed:
    """The directory of compose.yaml after its first lines.

    Attributes:
        directory: It.
    """

    def __init__(self, place: Path) -> None:
        self.directory = place / "deploy/container"
        self._text = (DEPLOY / "container/compose.yaml").read_text()
        shutil.copytree(DEPLOY / "examples", place / "deploy/examples")
        self.directory.mkdir()
        ca = TestCA("/O=Example/CN=CA", "p256")
        for kind, name in (("HOST", "myproxy"), ("WEB", "portal")):
            ca.issue(f"/O=Example/CN={name}.example.org", "p256").write(place / f"{kind}CERT", place / f"{kind}KEY")
        lines = "\n".join(re.findall(r"^#   (.*)$", self._text, re.MULTILINE))
        lines = re.sub(r"\b(HOST|WEB)(CERT|KEY)\b", rf"{place}/\1\2", lines).replace("chown -R 7512", "ls -R")
        run(["/bin/bash", "-euc", lines], env=clean_environment(place), cwd=self.directory).check()
        write_trust_dir(self.directory / "etc/certificates", ca)

    def command(self, service: str) -> list[str]:
        """What a container runs."""
        (lines,) = re.findall(rf"^  {service}:\n((?:    .*\n)+)", self._text, re.MULTILINE)
        (command,) = re.findall(r"^    command: (.*)$", lines, re.MULTILINE)
        assert "read_only: true" in lines
        (volumes,) = re.findall(r"^    volumes: (.*)$", lines, re.MULTILINE)
        name = "store" if service == "myproxy" else service
        assert json.loads(volumes) == [f"{name}:/var/lib/grid/store", "./etc:/etc/grid:ro", "./secrets:/run/grid:ro"]
        return [str(word) for word in json.loads(command)]

    def outside(self, text: str) -> str:
        """Return a text with the places of a container as they are here."""
        here = {"/etc/grid/": "etc/", "/run/grid/": "secrets/", "/var/lib/grid/store": "store"}
        for place, name in here.items():
            text = text.replace(place, f"{self.directory}/{name}")
        return text


def test_containers_start_as_the_first_lines_of_their_file_say(tmp_path: Path) -> None:
    """Each service finds what its configuration names, and writes nowhere but in its volume: all else is read-only."""
    tmp_path.chmod(0o700)
    composed = Composed(tmp_path)
    for path in sorted((composed.directory / "etc").glob("*.*")):
        text = path.read_text()
        for place in re.findall(r"/(?:etc|run|var|srv|opt|usr)/[\w./-]+", re.sub("(?m)^#.*$", "", text)):
            if place != "/var/lib/grid/store":
                assert Path(composed.outside(place)).is_file(), (path.name, place)
        path.write_text(composed.outside(text))
        path.chmod(0o600)
    assert load_myproxy(str(composed.directory / "etc/myproxy-server.config")).server_key
    env = clean_environment(tmp_path) | {"X509_CERT_DIR": str(composed.directory / "etc/certificates")}
    for service in ("portal", "delegation"):
        name, *words = map(composed.outside, composed.command(service))
        config = LOADERS[f"{service}.toml"](str(composed.directory / f"etc/{service}.toml"))
        assert config.store.directory == str(composed.directory / "store"), "the one place that it can write"
        run([our_program(name), *words, "-check"], env=env).check()
    assert {path.name for path in (composed.directory / "store").iterdir()} >= {"portal.db", "delegation.db"}
    name, *words = composed.command("myproxy")
    told = run([our_program(name), "--help"], env=env).check().output
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(^|[ ,|\[]){re.escape(option)}\b", told, re.MULTILINE), option


# --- Monitoring ------------------------------------------------------------------------------------------------------

METRIC = re.compile(r"\b(?:myproxy|cas|kca)_[a-z_]+\b")
NUMBERS = Numbers(datetime.now(UTC), {}, 0, 0, None, 0, 0)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The names of what the servers serve, with the labels of each."""
    trust = TrustDirectory(
        str(write_trust_dir(tmp_path_factory.mktemp("trust") / "certificates", TestCA(key="p256"), crl=True))
    )
    now = datetime.now(UTC)
    sources = Sources(
        census=lambda: Census(1, 0, now),
        anchors=trust.anchors,
        host_expiry=lambda: now,
        check_issuer=lambda: None,
        clock=lambda: now,
    )

    async def ask() -> bytes:
        monitor = Monitor(Metrics(), sources)
        try:
            document = await monitor.answer("/metrics")
            assert document is not None
            return document.body
        finally:
            monitor.close()

    found: dict[str, set[str]] = {}
    delegation = AuditMetrics("myproxy_delegation", actions=DELEGATION_ACTIONS, names=())
    parts = Health({"store": lambda: None}, log="test")
    texts = [
        asyncio.run(ask()),
        cas.metrics.render(cas.metrics.Metrics(), [parts.family("cas")]),
        kca.metrics.render(kca.metrics.Metrics(), [parts.family("kca"), parts.family("kca_http")]),
        myproxy.portal.metrics.render(myproxy.portal.metrics.Metrics(), [parts.family("myproxy_portal")]),
        write_text([delegation.decision_family(), *delegation.audit_families(), parts.family("myproxy_delegation")]),
        *(Reloads().render(name) for name in ("myproxy_portal", "myproxy_delegation")),
        myproxy.renewal.monitor.render(NUMBERS),
    ]
    for line in b"".join(texts).decode().splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:4]
            names = [f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name]
            found |= {one: found.get(one, set()) for one in names}
        elif not line.startswith("#"):
            name = re.split(r"[{ ]", line)[0]
            found.setdefault(name, set()).update(re.findall(r"(\w+)=\"", line))
    return found


def expressions() -> list[tuple[str, str]]:
    board = json.loads((DEPLOY / "monitoring/grafana-dashboard.json").read_text())
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel["targets"]]
    alerts = (DEPLOY / "monitoring/alerts.yml").read_text()
    names, rules = re.findall(r"- alert: (\w+)", alerts), re.findall(r"^ +expr: (.*)$", alerts, re.MULTILINE)
    assert len(names) == len(rules) > 5
    return found + list(zip(names, rules, strict=True))


@pytest.mark.parametrize(("title", "expression"), expressions(), ids=lambda text: text[:40])
def test_what_is_shown_is_served(title: str, expression: str, served: dict[str, set[str]]) -> None:
    names = METRIC.findall(expression)
    assert names or expression.startswith("up{"), title
    assert set(names) <= set(served), title
    for name, selector in re.findall(r"\b((?:myproxy|cas|kca)_[a-z_]+)\{([^}]*)\}", expression):
        for label in re.findall(r"(\w+)=", selector):
            assert label == "instance" or label in served[name], (title, label)
    for group in re.findall(r"by \(([^)]*)\)", expression):
        known = {"le", "instance"}.union(*(served[name] for name in names))
        assert set(re.split(r",\s*", group)) <= known, title


def test_a_database_that_does_not_answer_wakes_somebody() -> None:
    """Whoever keeps something in one is in the rule."""
    asked = {
        re.match(r"(kca|cas|myproxy_portal|myproxy_delegation|myproxy)_", name)
        for name in METRIC.findall(dict(expressions())["DatabaseTroubles"])
    }
    assert {one[1] for one in asked if one} == {"myproxy", "kca", "cas", "myproxy_portal", "myproxy_delegation"}


def test_every_number_is_in_the_reference(served: dict[str, set[str]]) -> None:
    pages = "".join((ROOT / "docs/reference" / name).read_text() for name in ("metrics.md", "myproxy-metrics.md"))
    told = set(re.findall(r"`((?:\*|myproxy|cas|kca)_[a-z_]+)`", pages))
    told |= {
        name.replace("*", prefix) for name in told for prefix in ("cas", "kca", "myproxy_portal", "myproxy_delegation")
    }
    plain = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served}
    assert {name for name in plain if not name.endswith("_created")} <= told


def test_alerts_name_sections_of_the_runbook() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "docs/howto/runbook.md").read_text(), re.MULTILINE)
    known = {re.sub(r"[^a-z0-9-]", "", heading.lower().replace(" ", "-")) for heading in headings}
    named = set(re.findall(r'runbook: "([^"]+)"', (DEPLOY / "monitoring/alerts.yml").read_text()))
    assert named
    assert named <= known
