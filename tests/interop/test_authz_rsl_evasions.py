"""Ways round job rules, tried on a real gatekeeper and job manager: what is denied does not happen by another name.

Each is a description that the job manager reads as what a rule denies, though it does not say so literally.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from gsi.system.credential_files import load_proxy
from gsi.system.trustdir import TrustDirectory
from tests.harness.callout import authz_server, callout_site, service_account
from tests.harness.gram import Gram, gatekeeper
from tests.interop.conftest import ALICE, Grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.ca import Issued
    from tests.harness.callout import AuthzServer
    from tests.harness.environment import UserEnvironment

DENIED: Final = 162

JOBS: Final = f"""\
deny   anyone to start  environment BASH_ENV, PATH, LD_LIBRARY_PATH  because "no code between"
deny   anyone to start  executable /usr/bin/touch, /bin/touch        because "no touching"
deny   anyone to start  stdout SCRATCH/forbidden/**                  because "not there"
permit dn "{ALICE}" to start  executable *  stdout NULL, SCRATCH/**, out*  allow *
"""


class Site(NamedTuple):
    """A gatekeeper with what decides for it."""

    daemon: AuthzServer
    gram: Gram


@pytest.fixture(scope="module")
def site(grid: Grid) -> Iterator[Site]:
    rules = f'permit dn "{ALICE}" to login as {service_account()}\n'
    with callout_site(timeout_ms=10000) as callout:
        gate: list[str | Path] = ["-socket", callout.socket, "-server-uid", str(os.geteuid()), "-timeout", "3000"]
        with gatekeeper(grid.host, grid.trust_dir, authz_conf=callout.conf, gate=gate) as gram:
            scratch = gram.scratch
            (scratch / "good.sh").write_text("#!/bin/bash\ndate\n")
            (scratch / "evil=x").write_text(f"echo > {scratch}/ran\n")
            for name in ("good.sh", "evil=x"):
                (scratch / name).chmod(0o755)
            (scratch / "forbidden").mkdir()
            (scratch / "forbidden").chmod(0o777)
            with authz_server(
                callout.socket, grid.trust_dir, rules, jobs=JOBS.replace("SCRATCH", str(scratch))
            ) as found:
                yield Site(found, gram)


@pytest.fixture(scope="module")
def proxy(grid: Grid) -> Issued:
    return grid.cas["rsa2048"].issue(ALICE).proxy()


@pytest.fixture
def alice(user: UserEnvironment, proxy: Issued) -> UserEnvironment:
    user.install_proxy(proxy)
    return user


@pytest.mark.parametrize(
    "rsl",
    [
        # the job manager writes NAME=VALUE, whatever the name holds
        '&(executable=S/good.sh)(environment=(BASH_ENV "S/evil=x"))',
        '&(executable=S/good.sh)(environment=("BASH_ENV=S/evil" x))',
        '&(executable=S/good.sh)(environment=("PATH=S:" x))',
        '&(executable=S/good.sh)(environment=("BASH_FUNC_date%%" "() { echo > S/ran; }"))',
        # variables that nobody thought of
        "&(executable=/usr/bin/python3)(environment=(PYTHONUSERBASE S))",
        "&(executable=S/good.sh)(environment=(_JAVA_OPTIONS -agentlib:x))",
        # what becomes LD_LIBRARY_PATH
        "&(executable=/usr/bin/env)(library_path=S)",
        # names relative to a directory
        "&(executable=touch)(directory=/usr/bin)(arguments=S/ran)",
        "&(executable=./touch)(directory=/usr/bin)(arguments=S/ran)",
        "&(executable=bin/touch)(directory=/usr)(arguments=S/ran)",
        "&(executable=/bin/date)(directory=S/forbidden)(stdout=out)",
        "&(executable=/bin/date)(directory=S)(stdout=forbidden/ran)",
    ],
)
def test_what_is_denied_by_another_name(site: Site, alice: UserEnvironment, rsl: str) -> None:
    scratch = site.gram.scratch
    done = site.gram.submit(alice, rsl.replace("S/", f"{scratch}/").replace("S)", f"{scratch})"))
    assert done.returncode == DENIED, done
    assert not (scratch / "ran").exists()
    assert not list((scratch / "forbidden").iterdir())


def test_what_is_permitted(site: Site, alice: UserEnvironment) -> None:
    """The same ways, to where no rule denies."""
    scratch = site.gram.scratch
    site.gram.submit(alice, f"&(executable=good.sh)(directory={scratch})(stdout=out-permitted)").check()
    assert (scratch / "out-permitted").exists()
    site.gram.submit(alice, f"&(executable={scratch}/good.sh)(environment=(LANG C)(MODE fast))").check()


def test_an_update_of_stdio(site: Site, alice: UserEnvironment, grid: Grid, proxy: Issued, tmp_path: Path) -> None:
    """The owner's own rights over a job cannot send its output where a start could not."""
    anchors = TrustDirectory(str(grid.trust_dir)).anchors()
    proxy.write_bundle(tmp_path / "proxy")
    credential = load_proxy(str(tmp_path / "proxy"))
    scratch = site.gram.scratch
    contact = site.gram.start(alice, f"&(executable=/bin/sleep)(arguments=60)(stdout={scratch}/out-first)")

    def ask(query: str) -> int:
        reply = site.gram.query(contact, ALICE, credential, anchors, query)
        return int(dict(line.split(": ", 1) for line in reply.split("\r\n") if ": " in line)["failure-code"])

    assert ask(f"signal 7 &(stdout={scratch}/forbidden/evil)") == DENIED
    assert ask("signal 7 &(stdout=/tmp/elsewhere)") == DENIED  # no permit of a start covers it
    assert ask(f"signal 7 &(stdout={scratch}/out-second)(environment=(LD_PRELOAD x))") == DENIED
    assert not list((scratch / "forbidden").iterdir())
    assert ask(f"signal 7 &(stdout={scratch}/out-second)") == 0
    assert ask("status") == 0
    assert ask("cancel") == 0
