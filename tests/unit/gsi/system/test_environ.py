"""Locations: the search order of the C libraries, from a given environment."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gsi.errors import CredentialError, CredentialProblem
from gsi.system import environ
from gsi.system.environ import VARIABLES, get_variable, read_locations

if TYPE_CHECKING:
    from pathlib import Path

HOME = {"HOME": "/home/alice"}


def test_defaults_of_a_user() -> None:
    found = read_locations(HOME, uid=1000)
    assert found.proxy == "/tmp/x509up_u1000"
    assert found.user_credentials == (
        ("/home/alice/.globus/usercert.pem", "/home/alice/.globus/userkey.pem"),
        ("/home/alice/.globus/usercred.p12", "/home/alice/.globus/usercred.p12"),
    )
    assert found.host_credentials == (
        ("/etc/grid-security/hostcert.pem", "/etc/grid-security/hostkey.pem"),
        ("/home/alice/.globus/hostcert.pem", "/home/alice/.globus/hostkey.pem"),
    )
    assert found.trust_dirs == ("/home/alice/.globus/certificates", "/etc/grid-security/certificates")
    assert found.gridmaps == ("/etc/grid-security/grid-mapfile", "/home/alice/.gridmap")
    assert found.gridmap_dir is found.vhost_credentials_dir is None
    assert found.authz_conf == "/etc/grid-security/gsi-authz.conf"


def test_root_has_no_grid_map_of_its_own() -> None:
    assert read_locations(HOME, uid=0).gridmaps == ("/etc/grid-security/grid-mapfile",)
    assert read_locations(HOME, uid=0).proxy == "/tmp/x509up_u0"


def test_variables_replace_the_defaults() -> None:
    found = read_locations(
        HOME
        | {
            "X509_USER_PROXY": "/p",
            "X509_USER_CERT": "/c",
            "X509_USER_KEY": "/k",
            "X509_CERT_DIR": "/t",
            "X509_VHOST_CRED_DIR": "/v",
            "GRIDMAP": "/g",
            "GRIDMAPDIR": "/d",
            "GSI_AUTHZ_CONF": "/a",
        },
        uid=1000,
    )
    assert (found.proxy, found.trust_dirs, found.trust_dir, found.gridmaps) == ("/p", ("/t",), "/t", ("/g",))
    assert found.user_credentials == found.host_credentials == (("/c", "/k"),)
    assert (found.gridmap_dir, found.vhost_credentials_dir, found.authz_conf) == ("/d", "/v", "/a")


def test_one_of_certificate_and_key_can_be_replaced_for_a_user_but_not_for_a_host() -> None:
    for variable, pair in (
        ("X509_USER_CERT", ("/x", "/home/alice/.globus/userkey.pem")),
        ("X509_USER_KEY", ("/home/alice/.globus/usercert.pem", "/x")),
    ):
        found = read_locations(HOME | {variable: "/x"}, uid=1000)
        assert found.user_credentials == (pair,)
        assert found.host_credentials[0] == ("/etc/grid-security/hostcert.pem", "/etc/grid-security/hostkey.pem")
    assert read_locations(HOME | {"X509_USER_CERT": "/x.p12"}).user_credentials == (("/x.p12", "/x.p12"),)


def test_an_empty_variable_is_not_set() -> None:
    assert read_locations(HOME | {"X509_USER_PROXY": "", "X509_CERT_DIR": ""}, uid=5).proxy == "/tmp/x509up_u5"
    assert get_variable("X", {"X": ""}) is None
    assert get_variable("X", {"X": "y"}) == "y"


def test_an_installation_adds_its_places() -> None:
    found = read_locations(HOME | {"GLOBUS_LOCATION": "/opt/globus"}, uid=1000)
    assert found.trust_dirs[-1] == "/opt/globus/share/certificates"
    assert found.host_credentials[1] == ("/opt/globus/etc/hostcert.pem", "/opt/globus/etc/hostkey.pem")


@pytest.mark.parametrize("variable", ["GRIDMAP", "GLOBUSMAP", "globusmap", "GlobusMap"])
def test_every_old_name_of_the_grid_map(variable: str) -> None:
    assert read_locations(HOME | {variable: "/g"}, uid=1000).gridmaps == ("/g",)


def test_the_home_directory_comes_from_the_password_database_too() -> None:
    assert read_locations({}, uid=0).home == "/root"
    nobody = read_locations({}, uid=4_000_000_000)
    assert nobody.home is None
    assert nobody.user_credentials == ()
    with pytest.raises(CredentialError) as caught:
        nobody.find_user_credential()
    assert caught.value.problem is CredentialProblem.MISSING


def test_finds_the_first_place_that_exists(tmp_path: Path) -> None:
    globus = tmp_path / ".globus"
    globus.mkdir()
    locations = read_locations({"HOME": str(tmp_path)}, uid=1000)
    with pytest.raises(CredentialError) as caught:
        locations.find_user_credential()
    assert caught.value.problem is CredentialProblem.MISSING
    assert str(globus / "usercert.pem") in str(caught.value)
    (globus / "usercert.pem").touch()
    with pytest.raises(CredentialError) as caught:
        locations.find_user_credential()
    assert caught.value.problem is CredentialProblem.KEY_MISSING
    (globus / "usercred.p12").touch()
    assert locations.find_user_credential() == (str(globus / "usercred.p12"), str(globus / "usercred.p12"))
    (globus / "userkey.pem").touch()
    assert locations.find_user_credential() == (str(globus / "usercert.pem"), str(globus / "userkey.pem"))
    assert locations.trust_dir == "/etc/grid-security/certificates"
    (globus / "certificates").mkdir()
    assert locations.trust_dir == str(globus / "certificates")
    (tmp_path / ".gridmap").touch()
    assert read_locations({"HOME": str(tmp_path), "GRIDMAP": "/none"}, uid=1000).gridmap == "/none"
    (globus / "hostcert.pem").touch()
    (globus / "hostkey.pem").touch()
    if not os.path.exists("/etc/grid-security/hostcert.pem"):
        assert locations.find_host_credential() == (str(globus / "hostcert.pem"), str(globus / "hostkey.pem"))


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X509_USER_PROXY", "/from/the/process")
    assert read_locations().proxy == "/from/the/process"
    monkeypatch.setenv("GLOBUS_IGNORE_CRED_PERMS", "1")
    assert environ.ignores_credential_permissions()
    monkeypatch.delenv("GLOBUS_IGNORE_CRED_PERMS")
    assert not environ.ignores_credential_permissions()


def test_every_variable_of_the_reference_is_known() -> None:
    stems = ("NAME_COMPATIBILITY", "MIN_TLS_PROTOCOL", "MAX_TLS_PROTOCOL", "CIPHERS", "SERVER_CIPHER_ORDER")
    wanted = {f"GLOBUS_GSSAPI_{stem}" for stem in (*stems, "VHOST_CRED_OWNER")}
    wanted |= {"X509_USER_PROXY", "X509_USER_CERT", "X509_USER_KEY", "X509_CERT_DIR", "X509_VHOST_CRED_DIR"}
    wanted |= {"GRIDMAP", "GRIDMAPDIR", "GRID_SECURITY_DIR", "GLOBUS_LOCATION", "GSI_AUTHZ_CONF"}
    wanted |= {"GLOBUS_IGNORE_CRED_PERMS"}
    assert wanted <= VARIABLES.keys()


def test_importing_the_early_rooms_stays_cheap() -> None:
    heavy = ("inspect", "pathlib", "pyasn1", "tempfile", "subprocess", "ssl", "logging", "json", "urllib", "shutil",
             "getpass", "asyncio", "cryptography.hazmat.primitives.serialization")  # fmt: skip
    code = (
        f"import sys, gsi.lifetime, gsi.system.credential_files as _; print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    base = f"import sys, cryptography.x509; print([m for m in {heavy!r} if m in sys.modules])"
    without = subprocess.run([sys.executable, "-c", base], capture_output=True, check=True, text=True)
    assert done.stdout == without.stdout
