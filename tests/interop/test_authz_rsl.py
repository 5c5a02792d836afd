"""A real gatekeeper and job manager whose jobs are judged by their RSL: what starts, and who manages what."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from gsi.system.credential_files import load_proxy
from gsi.system.trustdir import TrustDirectory
from tests.harness.callout import CalloutSite, authz_server, callout_site, service_account
from tests.harness.gram import Gram, gatekeeper
from tests.interop.conftest import ALICE, Grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gsi.credential import Credential
    from tests.harness.ca import Issued
    from tests.harness.callout import AuthzServer
    from tests.harness.environment import UserEnvironment

BOB: Final = "/O=Grid/OU=Test/CN=Bob"
MANAGER: Final = "/O=Grid/OU=Test/CN=Manager"
DENIED: Final = 162

JOBS: Final = f"""\
deny    anyone to start  environment LD_PRELOAD  because "no code between"
require dn-like "/O=Grid/OU=Test/**" to start  count NULL, <4
permit  dn "{ALICE}" to start
        executable /usr/bin/touch, $(HOME)/bin/*   arguments SCRATCH/permitted-*
        allow count, directory
        environment NULL, MODE
permit  dn "{ALICE}" to start  executable /bin/sleep  arguments 60
permit  authenticated to status  jobowner self
permit  dn "{MANAGER}" to status, cancel  jobowner "/O=Grid/OU=Test/**"  executable /bin/sleep
"""


class Site(NamedTuple):
    """A gatekeeper with what decides for it."""

    callout: CalloutSite
    daemon: AuthzServer
    gram: Gram


@pytest.fixture(scope="module")
def site(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    rules = f'permit dn "{ALICE}", "{BOB}", "{MANAGER}" to login as {service_account()}\n'
    with callout_site(timeout_ms=10000) as callout:
        gate: list[str | Path] = ["-socket", callout.socket, "-server-uid", str(os.geteuid()), "-timeout", "3000"]
        with gatekeeper(grid.host, grid.trust_dir, authz_conf=callout.conf, gate=gate) as gram:
            jobs = JOBS.replace("SCRATCH", str(gram.scratch))
            with authz_server(callout.socket, grid.trust_dir, rules, jobs=jobs) as daemon:
                yield Site(callout, daemon, gram)


@pytest.fixture(scope="module")
def proxies(grid: Grid) -> dict[str, Issued]:
    return {name: grid.cas["rsa2048"].issue(name).proxy() for name in (ALICE, BOB, MANAGER)}


@pytest.fixture
def alice(user: UserEnvironment, proxies: dict[str, Issued]) -> UserEnvironment:
    user.install_proxy(proxies[ALICE])
    return user


@pytest.mark.parametrize(
    ("name", "rsl"),
    [
        ("plain", "&(executable=/usr/bin/touch)(arguments={marker})"),
        ("count", "&(executable=/usr/bin/touch)(arguments={marker})(count=3)"),
        ("spelling", "&(EXECUTABLE=/usr/bin//touch)(Arguments={marker})"),
        (
            "variables",
            "&(rsl_substitution=(D {scratch})(E $(D)#/permitted))(executable=/usr/bin/touch)(arguments=$(E)-variables)",
        ),
        ("environment", "&(executable=/usr/bin/touch)(arguments={marker})(environment=(MODE fast))"),
    ],
)  # fmt: skip
def test_permitted(site: Site, alice: UserEnvironment, name: str, rsl: str) -> None:
    marker = site.gram.scratch / f"permitted-{name}"
    site.gram.submit(alice, rsl.format(marker=marker, scratch=site.gram.scratch)).check()
    assert marker.exists()


@pytest.mark.parametrize(
    ("rsl", "why"),
    [
        ("&(executable=/bin/sh)(arguments={marker})", "executable '/bin/sh' is not allowed"),
        ("&(executable=/usr/bin/touch)(arguments=/tmp/elsewhere)", "arguments '/tmp/elsewhere' is not allowed"),
        ("&(executable=/usr/bin/touch)(arguments={marker} /tmp/other)", "arguments '/tmp/other' is not allowed"),
        ("&(executable=/usr/bin/touch)(arguments={marker})(count=4)", "required, but count '4' is not allowed"),
        ("&(executable=/usr/bin/touch)(arguments={marker})(count=many)", "required, but count 'many' is not allowed"),
        ("&(executable=/usr/bin/touch)(arguments={marker})(stdin=/etc/passwd)", "does not speak of stdin"),
        ("&(executable=/usr/bin/touch)(arguments={marker})(environment=(LD_PRELOAD /x))", "no code between"),
        ("&(executable=/usr/bin/touch)(arguments={marker})(environment=(PATH /x))", "environment ('PATH' '/x')"),
        ("&(executable=https://localhost:1/usr/bin/touch)(arguments={marker})", "executable 'https://localhost:1/"),
        ("&(executable=/usr/bin/../bin/touch)(arguments={marker})", "executable '/usr/bin/../bin/touch'"),
        ("&(executable=$(UNKNOWN)/touch)(arguments={marker})", "the variable 'UNKNOWN' is not defined"),
        ("&(rsl_substitution=(A $(A)))(executable=$(A))", "the variable 'A' is not defined"),
        ("&(executable=/bin/echo)(executable=/usr/bin/touch)(arguments={marker})", "executable '/bin/echo'"),
        ("&(&(executable=/bin/sh))(executable=/usr/bin/touch)(arguments={marker})", "holds attribute = value"),
    ],
)  # fmt: skip
def test_denied(site: Site, alice: UserEnvironment, rsl: str, why: str) -> None:
    marker = site.gram.scratch / "permitted-never"
    done = site.gram.submit(alice, rsl.format(marker=marker))
    assert done.returncode == DENIED, done
    assert not marker.exists()
    assert not [path for path in site.gram.state_files if b"never" in path.read_bytes()]
    assert why in (site.daemon.audit + site.daemon.log).replace("\\'", "'")


def test_home_is_filled_in(site: Site, alice: UserEnvironment) -> None:
    done = site.gram.submit(
        alice, "&(executable=$(HOME)/bin/nothing)(arguments=" + f"{site.gram.scratch}/permitted-home)"
    )
    assert done.returncode not in {0, DENIED}, done  # permitted, but there is no such program
    assert done.returncode == 5, done


def test_management(site: Site, alice: UserEnvironment, grid: Grid, proxies: dict[str, Issued], tmp_path: Path) -> None:
    anchors = TrustDirectory(str(grid.trust_dir)).anchors()
    contact = site.gram.start(alice, "&(executable=/bin/sleep)(arguments=60)")

    def ask(who: str, query: str) -> int:
        path = tmp_path / "proxy"
        proxies[who].write_bundle(path)
        credential: Credential = load_proxy(str(path))
        reply = site.gram.query(contact, ALICE, credential, anchors, query)
        return int(dict(line.split(": ", 1) for line in reply.split("\r\n") if ": " in line)["failure-code"])

    assert ask(BOB, "status") == DENIED
    assert ask(BOB, "cancel") == DENIED
    assert ask(ALICE, "status") == 0
    assert ask(MANAGER, "status") == 0
    assert ask(MANAGER, "signal 2 x") == DENIED
    assert ask(MANAGER, "cancel") == 0
