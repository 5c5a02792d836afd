"""Credentials that the interop suites share within one worker, and a GridFTP server that knows them.

RSA keys are dear, so authorities and users are made once; every user of one name is mapped to the same account.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.harness.ca import Issued, KeyKind, TestCA, write_trust_dir
from tests.harness.daemons import GridFTPServer, gridftp_server
from tests.harness.environment import UserEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.browser import Browser

CA_KINDS: Final[tuple[KeyKind, ...]] = ("rsa2048", "p256")
EEC_KINDS: Final[tuple[KeyKind, ...]] = ("rsa2048", "p256")
_HERE: Final = Path(__file__).parent
ALICE: Final = "/O=Grid/OU=Test/CN=Alice"


class Grid(NamedTuple):
    """The authorities, users and files that a worker's interop tests share.

    Attributes:
        root: A directory of the worker.
        cas: One authority per kind of key.
        users: One credential per (kind of the authority's key, kind of the user's key); all of one name.
        host: A host certificate for localhost, from the RSA authority.
        trust_dir: A trust directory with every authority and its empty CRL.
    """

    root: Path
    cas: dict[KeyKind, TestCA]
    users: dict[tuple[KeyKind, KeyKind], Issued]
    host: Issued
    trust_dir: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """The shared authorities and users; no test leaves anything in the trust directory, which all others use."""
    root = tmp_path_factory.mktemp("grid")
    cas = {kind: TestCA(f"/O=Grid/CN=Test CA {kind}", kind) for kind in CA_KINDS}
    users = {(ca, key): cas[ca].issue(ALICE, key) for ca in CA_KINDS for key in EEC_KINDS}
    trust_dir = write_trust_dir(root / "certificates", *cas.values(), crl=True)
    return Grid(root, cas, users, cas["rsa2048"].issue_host(), trust_dir)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser without a screen, one for a worker."""
    from tests.harness.browser import open_browser

    with open_browser() as opened:
        yield opened


@pytest.fixture
def user(tmp_path: Path, grid: Grid) -> UserEnvironment:
    """A user with the RSA credential from the RSA authority, trusting every authority."""
    made = UserEnvironment(tmp_path, trust_dir=grid.trust_dir)
    made.install_user(grid.users["rsa2048", "rsa2048"])
    return made


@pytest.fixture(scope="session")
def gridftp(grid: Grid) -> Iterator[GridFTPServer]:
    """A GridFTP server that maps Alice, and no one else."""
    with gridftp_server(grid.host, grid.trust_dir, [ALICE]) as server:
        yield server
