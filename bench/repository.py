"""A store of a million credentials beside one of a thousand: logons through the server, and each call of the store.

The rows are made by the database itself from one real credential: names in an order that tells nothing, certificates
and a sealed key of the usual size in each. Among them are some whose keys open, and those are logged on to in turn.

    python bench/repository.py [ROWS] [--postgres]
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import statistics
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
import sqlalchemy as sa

from bench.myproxy_load import Load
from bench.pairs import Figure, alternate, show
from gsi.certificate import Certificate
from gsi.keys import encode_private_key, parse_private_key
from gsi.pem import split_pem
from gsi.secret import Passphrase
from myproxy.repository.base import StoredCredential
from myproxy.repository.seal import Place, Sealer, SealParameters
from myproxy.repository.sql import DATABASE_NAME, SQLRepository, open_postgres_repository, open_sqlite_repository
from myproxy.repository.tables import CREDENTIALS, to_row
from tests.harness.ca import Issued, TestCA, write_file, write_trust_dir
from tests.harness.daemons import free_port, our_server
from tests.harness.environment import clean_environment
from tests.harness.postgres import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FEW, MANY = 1_000, 1_000_000
REAL = 100
SECRET = "correct horse"
OWNER = "/O=Grid/CN=Alice"
PORTAL = "/O=Grid/CN=Portal"
ROUNDS = 150
LIMIT = 1.3
CONFIG = """\
accepted_credentials "*"
authorized_retrievers "*"
trusted_retrievers "/O=Grid/CN=Portal"
default_trusted_retrievers "*"
throttle off
keep_c_export off
"""
SPREAD = 7_368_787  # prime, so that name by name is row by row in no order


@dataclass(frozen=True, slots=True)
class Store:
    """A store of some size, and what says so in a configuration."""

    directory: Path
    rows: int
    directive: str
    repository: SQLRepository


def real(number: int, issued: Issued, sealer: Sealer, passphrase: str) -> StoredCredential:
    """Return a credential whose key opens."""
    chain = tuple(map(Certificate.parse, issued.chain_der))
    (block,) = split_pem(issued.key_pem(), what="bench")
    username = f"{'real' if passphrase else 'open'}{number:04}"
    place = Place(username, None, OWNER, chain[0].fingerprint)
    now = datetime.now(UTC)
    return StoredCredential(
        username=username,
        owner=OWNER,
        certificates=tuple(one.der for one in chain),
        sealed_key=sealer.seal(encode_private_key(parse_private_key(block)), Passphrase(passphrase), place),
        not_before=max(one.not_before for one in chain),
        not_after=min(one.not_after for one in chain),
        lifetime=timedelta(hours=12),
        created=now,
        updated=now,
    )


def multiply(store: Store, pattern: StoredCredential) -> None:
    """Fill a store up to its size with copies of one row under names of their own."""
    row = to_row(pattern) | {"version": 1}
    names = [column.name for column in CREDENTIALS.columns if column.name not in {"id", "username", "owner"}]
    values = [row.get(name) for name in names]
    columns = ", ".join(["username", "owner", *names])
    if store.directive:
        query = (
            f"INSERT INTO credentials ({columns}) SELECT 'user' || (n * {SPREAD}::bigint %% 100000007), "
            f"'/O=Grid/CN=user' || n, {', '.join(['%s'] * len(names))} FROM generate_series(1, {store.rows}) AS n"
        )
        with psycopg.connect(store.directive.split('"')[1]) as server:
            server.execute("SET synchronous_commit = off")
            server.execute(query.encode(), values)
        return
    connection = sqlite3.connect(store.directory / DATABASE_NAME, isolation_level=None)
    with contextlib.closing(connection):
        for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "cache_size=-400000"):
            connection.execute(f"PRAGMA {pragma}")
        marks = ", ".join("?" * len(names))
        connection.execute(
            f"WITH RECURSIVE counter(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM counter WHERE n < {store.rows}) "
            f"INSERT INTO credentials ({columns}) SELECT 'user' || (n * {SPREAD} % 100000007), "
            f"'/O=Grid/CN=user' || n, {marks} FROM counter",
            values,
        )
        connection.execute("ANALYZE")
        connection.execute("PRAGMA journal_mode=WAL")


def make_store(directory: Path, rows: int, issued: Issued, conninfo: str | None) -> Store:
    """Make a store of so many rows."""
    directory.mkdir(mode=0o700)
    if conninfo is None:
        store = Store(directory, rows, "", open_sqlite_repository(str(directory)))
    else:
        store = Store(directory, rows, f'database "{conninfo}"\n', open_postgres_repository(conninfo))
    sealer = Sealer(SealParameters())
    pattern = real(0, issued, sealer, SECRET)
    begun = time.monotonic()
    if conninfo is None:
        store.repository.close()
    multiply(store, pattern)
    if conninfo is None:
        store = replace(store, repository=open_sqlite_repository(str(directory)))
    print(f"# {rows} rows in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    for number in range(REAL):
        store.repository.put(real(number, issued, sealer, SECRET))
        store.repository.put(real(number, issued, sealer, ""))
    with store.repository.database.write() as connection:
        connection.execute(sa.text("ANALYZE"))
    return store


@contextlib.contextmanager
def serving(store: Store, host: Issued, trust_dir: Path, directory: Path) -> Iterator[int]:
    """Our server on a store; gives its port."""
    directory.mkdir(mode=0o700)
    host.write(directory / "hostcert.pem", directory / "hostkey.pem")
    config = directory / "myproxy-server.config"
    write_file(config, (CONFIG + store.directive).encode(), 0o600)
    environment = clean_environment(directory) | {
        "X509_USER_CERT": str(directory / "hostcert.pem"),
        "X509_USER_KEY": str(directory / "hostkey.pem"),
        "X509_CERT_DIR": str(trust_dir),
    }
    port = free_port()
    words: list[str | Path] = ["-c", config, "-s", store.directory, "-l", "127.0.0.1", "-p", str(port), "-foreground"]
    with our_server("myproxy-server", words, env=environment, port=port, directory=directory):
        yield port


class Logons(Load):
    """A client that logs on to one credential after the other."""

    def __init__(self, port: int, bundle: Path | None, passphrase: str, usernames: Sequence[str]) -> None:
        super().__init__(port, None if bundle is None else str(bundle), passphrase)
        line = f"PASSPHRASE={passphrase}\n" if passphrase else "PASSPHRASE=\n"
        self._requests = itertools.cycle(
            f"VERSION=MYPROXYv2\nCOMMAND=0\nUSERNAME={name}\n{line}LIFETIME=3600\n\0".encode() for name in usernames
        )

    def __call__(self) -> None:
        """Log on to the next one."""
        self._request = next(self._requests)
        self.logon()


def ratio(name: str, rounds: int, small: object, large: object) -> Figure:
    """Return the figure of a call on the large store beside the same on the small one."""
    assert callable(small)
    assert callable(large)
    few, many = (statistics.median(times) * 1000 for times in alternate(rounds, small, large))
    return Figure(name, many, few, f"<= {LIMIT} x of {FEW} rows", many <= LIMIT * few)


def calls(small: Store, large: Store) -> Iterator[Figure]:
    """Measure each call of the store."""
    now = datetime.now(UTC)
    numbers = {id(store): itertools.count() for store in (small, large)}
    pattern = small.repository.get("real0000", None)

    def name(store: Store, what: str = "real") -> str:
        return f"{what}{next(numbers[id(store)]) % REAL:04}"

    bodies = {
        "get": lambda store: store.repository.get(name(store), None),
        "get, absent": lambda store: store.repository.list_named(name(store, "none"), limit=1),
        "INFO": lambda store: store.repository.list_owned(name(store), OWNER),
        "put, new": lambda store: store.repository.put(
            replace(pattern, username=name(store, f"new{os.urandom(4).hex()}"))
        ),
        "put, over": lambda store: store.repository.put(replace(pattern, username=name(store))),
        "change of the key": lambda store: store.repository.replace_key(
            store.repository.get(name(store, "open"), None), b"MPSK\x01\x00\x00" + os.urandom(1800), now=now
        ),
        "forms of keys, at the start": lambda store: store.repository.list_key_forms(),
    }
    for what, body in bodies.items():
        yield ratio(f"store, {what}", ROUNDS, lambda body=body: body(small), lambda body=body: body(large))


def figures(rows: int = MANY, *, in_postgres: bool = False) -> list[Figure]:
    """Measure everything."""
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory(prefix="bench-repository-")))
        authority = TestCA("/O=Grid/CN=Bench CA", "rsa2048")
        trust_dir = write_trust_dir(root / "certificates", authority, crl=True)
        alice = authority.issue(OWNER, "rsa2048").proxy()
        portal = root / "portal.pem"
        write_file(portal, authority.issue(PORTAL, "rsa2048").bundle(), 0o600)
        host = authority.issue_host()
        conninfos: list[str | None] = [None, None]
        if in_postgres:
            server = stack.enter_context(postgres(durable=True))
            conninfos = [stack.enter_context(server.database()) for _ in range(2)]
        stores = [
            make_store(root / f"store{count}", count, alice, conninfo)
            for count, conninfo in zip((FEW, rows), conninfos, strict=True)
        ]
        found = []
        ports = [stack.enter_context(serving(store, host, trust_dir, root / f"server{store.rows}")) for store in stores]
        for what, bundle, passphrase, prefix in (
            ("with pass phrase", None, SECRET, "real"),
            ("without key derivation", portal, "", "open"),
        ):
            names = [f"{prefix}{number:04}" for number in range(REAL)]
            small, large = (Logons(port, bundle, passphrase, names) for port in ports)
            found.append(ratio(f"logon p50 {what}, {rows:,} stored", ROUNDS, small, large))
        found += calls(*stores)
        for store in stores:
            store.repository.close()
        return found


def main() -> int:
    """Measure and print."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    return 0 if show(figures(*numbers, in_postgres="--postgres" in sys.argv)) else 1


if __name__ == "__main__":
    sys.exit(main())
