"""The databases of two nodes, made by the lines of docs/howto/install.md, are those that the examples there name."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from cas.repository.sql import open_postgres_policy
from gsi.errors import StorageError
from kca.repository.sql import open_postgres_books
from myproxy.delegation.config import StoreSettings as DelegationSettings
from myproxy.delegation.store import open_store as open_delegations
from myproxy.portal.config import StoreSettings as PortalSettings
from myproxy.portal.store import open_store as open_portal
from myproxy.repository.sql import open_postgres_repository
from tests.harness.ca import write_file
from tests.harness.environment import clean_environment
from tests.harness.postgres import Postgres, postgres
from tests.harness.run import run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/howto/install.md").read_text("utf-8")
EXAMPLES = ROOT / "deploy/examples/two-nodes"


class Closable(Protocol):
    def close(self) -> None: ...


class Site(NamedTuple):
    server: Postgres
    place: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server on which the page's lines were run."""
    place = tmp_path_factory.mktemp("databases")
    (lines,) = re.findall(r"```sh databases\n(.*?)```", PAGE, re.DOTALL)
    (rule,) = re.findall(r"^    (hostssl .*)$", PAGE, re.MULTILINE)
    with postgres() as server:
        server.execute("CREATE ROLE postgres SUPERUSER LOGIN")
        env = clean_environment(place) | {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres"}
        env["PATH"] = f"{server.programs}:{env['PATH']}"
        # The account that made this cluster has the name of one of the services.
        rename = ["psql", "-q", "-d", "postgres", "-c", "ALTER ROLE myproxy RENAME TO founder"]
        run(rename, env=env).check()
        run(["/bin/bash", "-euc", lines], env=env, cwd=place).check()
        hba = rule.replace("hostssl", "host").replace("192.0.2.0/28", "127.0.0.1/32")  # it has no certificate here
        path = server.data / "pg_hba.conf"
        path.write_text(f"host all postgres 127.0.0.1/32 trust\n{hba}\n")
        run(["psql", "-q", "-d", "postgres", "-c", "SELECT pg_reload_conf()"], env=env).check()
        yield Site(server, place)


def conninfo(site: Site, file: str) -> str:
    """The string of an example, with this server and the password that the page's lines have left."""
    (text,) = re.findall(r"postgresql://[^\s\"]+", (EXAMPLES / file).read_text("utf-8"))
    text = re.sub(r"@[^/]+/", f"@127.0.0.1:{site.server.port}/", text.replace("&sslmode=verify-full", ""))
    (account,) = re.findall(r"//(\w+)@", text)
    (named,) = re.findall(r"passfile=(\S+)", text)
    (installed,) = re.findall(rf"^    install -m 0600 -o \S+ (\S+) {named}$", PAGE, re.MULTILINE)
    assert installed == account
    return str(text.replace(named, str(site.place / installed)))


def open_portal_at(text: str, place: Path) -> Closable:
    return open_portal(PortalSettings(directory=str(place / "portal"), database=text))


def open_delegations_at(text: str, place: Path) -> Closable:
    write_file(place / "key", base64.b64encode(bytes(32)), 0o600)
    keys = (str(place / "key"),)
    return open_delegations(DelegationSettings(directory=str(place / "delegation"), keys=keys, database=text))


OPENERS: dict[str, Callable[[str, Path], Closable]] = {
    "myproxy-server.config": lambda text, _: open_postgres_repository(text),
    "portal.toml": open_portal_at,
    "delegation.toml": open_delegations_at,
    "cas.toml": lambda text, _: open_postgres_policy(text),
    "kca.toml": lambda text, _: open_postgres_books(text),
}


def test_every_service_of_the_examples_can_begin(site: Site, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert set(OPENERS) == {path.name for path in EXAMPLES.iterdir()}
    for file, opener in OPENERS.items():
        with closing(opener(conninfo(site, file), tmp_path)):
            pass


def test_no_service_reaches_the_database_of_another(site: Site) -> None:
    text = conninfo(site, "portal.toml").replace("/portal?", "/kca?")
    with pytest.raises(StorageError, match="pg_hba"):
        open_postgres_books(text)
