"""Packages: the same bytes each time, root's files, nothing that leads out of the trust directory."""

from __future__ import annotations

import io
import tarfile
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gsi.ca import KeySigner, make_root
from gsi.ca.package import INSTALL_DIR, CAPackage
from gsi.errors import ConfigError
from gsi.names import parse_oneline

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.certificate import Certificate


def test_the_archive_holds_the_recipe_and_the_files(root: Certificate) -> None:
    package = CAPackage(root, {"x.signing_policy": b"policy"})
    assert package.tarball() == CAPackage(root, {"x.signing_policy": b"policy"}).tarball()
    with tarfile.open(fileobj=io.BytesIO(package.tarball())) as tar:
        members = {member.name: member for member in tar.getmembers()}
        spec = tar.extractfile(f"{package.name}/{package.name}.spec")
        assert spec is not None
        text = spec.read().decode()
    assert set(members) == {
        package.name,
        *(f"{package.name}/{name}" for name in (f"{package.hash}.0", "x.signing_policy", f"{package.name}.spec")),
    }
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "root")}
    assert f"{INSTALL_DIR}/{package.hash}.0\n{INSTALL_DIR}/x.signing_policy\n" in text
    assert f"Source: {package.tarball_name}\n" in text


def test_the_deb_is_an_archive_of_three(root: Certificate) -> None:
    deb = CAPackage(root, {}, version="2.1").deb()
    assert deb.startswith(b"!<arch>\ndebian-binary   ")
    assert deb.index(b"control.tar.gz") < deb.index(b"data.tar.gz")
    assert len(deb) % 2 == 0
    assert deb == CAPackage(root, {}, version="2.1").deb()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".hidden", "", "a b", "a\n", "x" * 81])
def test_file_names_that_lead_elsewhere(root: Certificate, name: str) -> None:
    with pytest.raises(ConfigError):
        CAPackage(root, {name: b""})


def test_control_fields_that_would_add_others(root: Certificate) -> None:
    for version in ("", "1 0", "v1", "1\nPre-Depends: x"):
        with pytest.raises(ConfigError):
            CAPackage(root, {}, version=version)
    with pytest.raises(ConfigError):
        CAPackage(root, {}, maintainer="a\nb")


def test_a_name_with_a_percent_sign(signer: KeySigner, now: datetime) -> None:
    """rpmbuild would expand it; dpkg takes it as it stands."""
    ca = make_root(signer, parse_oneline("/O=Grid/CN=100%{getenv:HOME}"), now=now, lifetime=timedelta(days=1))
    package = CAPackage(ca, {})
    with tarfile.open(fileobj=io.BytesIO(package.tarball())) as tar:
        spec = tar.extractfile(f"{package.name}/{package.name}.spec")
        assert spec is not None
        assert spec.read().decode().count("/O=Grid/CN=100%%{getenv:HOME}\n") == 2
    deb = package.deb()
    start = deb.index(b"control.tar.gz") + 60
    size = int(deb[start - 12 : start - 2])
    with tarfile.open(fileobj=io.BytesIO(deb[start : start + size])) as tar:
        control = tar.extractfile("./control")
        assert control is not None
        told = control.read().decode()
        assert "Description: trust in /O=Grid/CN=100%{getenv:HOME}\n" in told
        assert "settings" not in told  # there are none in it
    deb = CAPackage(ca, {f"grid-security.conf.{package.hash}": b"x"}).deb()
    start = deb.index(b"control.tar.gz") + 60
    size = int(deb[start - 12 : start - 2])
    with tarfile.open(fileobj=io.BytesIO(deb[start : start + size])) as tar:
        control = tar.extractfile("./control")
        assert control is not None
        assert "settings" in control.read().decode()
