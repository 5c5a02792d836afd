"""What holds for every suite: no setting of the developer's machine gets in, and no deadline on a busy one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.harness.environment import UserEnvironment

if TYPE_CHECKING:
    from pathlib import Path

# A slow machine is no defect, and a suite shows the same examples to everyone unless asked otherwise.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

_FOREIGN_PREFIXES = ("X509_", "GLOBUS_", "GSI_AUTHZ", "GRIDMAP", "MYPROXY_", "GT_PROXY", "GRID_SECURITY", "KRB5")


@pytest.fixture(autouse=True, scope="session")
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Take the caller's grid settings away and give the process a home and a time zone of its own."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN_PREFIXES):
            del os.environ[name]
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ["TZ"] = "UTC"
    time.tzset()


@pytest.fixture
def user(tmp_path: Path) -> UserEnvironment:
    """A user of the grid with nothing installed yet."""
    return UserEnvironment(tmp_path)
