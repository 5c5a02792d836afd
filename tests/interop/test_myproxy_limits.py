"""Limits of our `myproxy-server`, live: keys that are too small, guesses by the dozen, judges that are away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.conftest import Grid
from tests.interop.test_myproxy_server import OPEN, Person, Site


@pytest.fixture
def site(tmp_path: Path, grid: Grid) -> Site:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    return Site(directory, grid)


# How small a delegated key may be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directive", "bits", "least"), [("", 1024, 2048), ("", 1536, 2048), ("min_proxy_keylen 3072\n", 2048, 3072)]
)
def test_a_key_that_is_too_small_is_told_both_sizes(site: Site, directive: str, bits: int, least: int) -> None:
    site.configure(OPEN + directive)
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    with site.start():
        alice.put().check()
        alice.environment.variables["MYPROXY_KEYBITS"] = str(bits)
        done = alice.logon()
    assert done.returncode
    assert f"an RSA key of {bits} bits is too weak; at least {least} bits are required" in done.stderr


@pytest.mark.parametrize(("least", "bits", "works"), [(1024, 1024, True), (1536, 1536, True), (1536, 1024, False)])
def test_a_site_may_take_smaller_keys(site: Site, least: int, bits: int, works: bool) -> None:
    site.configure(OPEN + f"min_proxy_keylen {least}\n")
    alice = Person(site, "alice", site.grid.users["rsa2048", "rsa2048"])
    with site.start():
        alice.put().check()
        alice.environment.variables["MYPROXY_KEYBITS"] = str(bits)
        done = alice.logon()
        assert (done.returncode == 0) is works, done.stderr
        if works:
            assert f"{bits} bits" in alice.describe()
        else:
            assert f"an RSA key of {bits} bits is too weak; at least {least} bits are required" in done.stderr
