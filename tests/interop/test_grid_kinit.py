"""`grid-kinit` with real KDCs: MIT takes end-entity certificates and no proxies, Heimdal takes proxies where it may.

What the recipe prints is what the KDCs are set up with, so that its order of names and its escapes are tried.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.harness.ca import FULL_INFO, LIMITED_INFO, TestCA, write_file
from tests.harness.daemons import free_port, running
from tests.harness.environment import clean_environment
from tests.harness.kca import PLAIN_REALM, write_config
from tests.harness.kdc import HEIMDAL_REALM, REALM, Realm, heimdal_environment, heimdal_kdc, heimdal_program, mit_kdc
from tests.harness.pkinit import heimdal_settings, install_kdc_certificate, mit_settings
from tests.harness.run import Done, c_program, our_program, run

ALICE = "/O=Grid (test)/OU=People+Staff/CN=Alice A. Adams"


class Grid:
    """A CA, and Alice with certificate, locked key and proxies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = TestCA("/O=Grid/CN=Test CA [1]")
        self.alice = self.ca.issue(ALICE)
        self.alice.write(directory / "usercert.pem", directory / "userkey.pem")
        (directory / "locked").mkdir()
        self.alice.write(directory / "locked/usercert.pem", directory / "locked/userkey.pem", passphrase=b"secret")
        self.alice.proxy(info=FULL_INFO).write_bundle(directory / "proxy.pem")
        self.alice.proxy(info=LIMITED_INFO).write_bundle(directory / "limited.pem")

    def environment(self, realm: Realm, *, proxy: str = "proxy.pem", eec: str = "") -> dict[str, str]:
        place = self.directory / eec
        return (
            clean_environment(self.directory)
            | realm.variables
            | {
                "X509_USER_PROXY": str(self.directory / proxy),
                "X509_USER_CERT": str(place / "usercert.pem"),
                "X509_USER_KEY": str(place / "userkey.pem"),
                "KRB5CCNAME": f"FILE:{realm.directory}/cc-{os.urandom(4).hex()}",
            }
        )


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    return Grid(tmp_path_factory.mktemp("grid"))


def kinit(grid: Grid, env: dict[str, str], *words: str, stdin: str = "") -> Done:
    anchors = ["-anchors", f"FILE:{grid.directory}/ca.pem"]
    return run([our_program("grid-kinit"), *anchors, *words], env=env, stdin=stdin)


def owner(env: dict[str, str]) -> str:
    """Whose ticket is in the cache."""
    found = re.search(r"Default principal: (\S+)", run([c_program("klist")], env=env).check().stdout)
    assert found is not None
    return found[1]


def recipe(grid: Grid, principal: str) -> str:
    env = clean_environment(grid.directory)
    cert = ["-cert", str(grid.directory / "usercert.pem"), "-key", str(grid.directory / "userkey.pem")]
    return run([our_program("grid-kinit"), "-recipe", *cert, principal], env=env).check().stdout


# --- MIT --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mit(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    install_kdc_certificate(grid.directory, grid.ca, REALM)
    orders = [
        shlex.split(line)[2]  # what stands behind kadmin.local -q
        for line in recipe(grid, f"alice@{REALM}").splitlines()
        if line.startswith("kadmin.local")
    ]
    assert len(orders) == 2
    orders.append("modprinc +requires_preauth bob")
    with mit_kdc(
        tmp_path_factory.mktemp("mit"),
        users={"alice": "secret", "bob": "secret", "carol": "secret"},
        services=["HTTP/localhost", "kca_service/localhost"],
        settings=mit_settings(grid.directory),
        orders=orders,
    ) as realm:
        yield realm


def test_mit_takes_the_end_entity_certificate_and_no_proxy(grid: Grid, mit: Realm) -> None:
    env = grid.environment(mit)
    done = kinit(grid, env, "alice").check()
    assert f"a ticket with the end-entity certificate {grid.directory}/usercert.pem" in done.stdout
    assert "by MIT's kinit" in done.stdout
    assert f"the proxy {grid.directory}/proxy.pem" in done.stderr
    assert "was not used: MIT's kinit and KDC take no proxies" in done.stderr
    assert owner(env) == f"alice@{REALM}"
    assert kinit(grid, env, "-q", "alice").check().stdout == ""


def test_mit_refuses_a_proxy_and_it_is_said_so(grid: Grid, mit: Realm) -> None:
    done = kinit(grid, grid.environment(mit), "-proxy", "alice")
    assert done.returncode == 1
    assert "MIT's kinit and KDC take no proxies" in done.stderr
    assert "hint: use the end-entity certificate" in done.stderr
    # That this is so, MIT's kinit says by itself.
    argv = [c_program("kinit"), "-X", f"X509_user_identity=FILE:{grid.directory}/proxy.pem"]
    argv += ["-X", f"X509_anchors=FILE:{grid.directory}/ca.pem", "alice"]
    plain = run(argv, env=grid.environment(mit))
    assert plain.returncode == 1
    assert "Failed to verify own certificate" in plain.stderr


def test_a_locked_key(grid: Grid, mit: Realm, tmp_path: Path) -> None:
    env = grid.environment(mit, eec="locked")
    kinit(grid, env, "-eec", "-passin", "stdin", "alice", stdin="secret\n").check()
    assert owner(env) == f"alice@{REALM}"
    write_file(tmp_path / "words", b"wrong\n", 0o600)
    done = kinit(grid, env, "-eec", "-passin", f"file:{tmp_path}/words", "alice")
    assert (done.returncode, "pass phrase" in done.stderr) == (1, True)
    done = kinit(grid, env, "-eec", "alice")  # nowhere to ask for it
    assert done.returncode == 1


def test_what_the_kdc_says_no_to(grid: Grid, mit: Realm, tmp_path: Path) -> None:
    env = grid.environment(mit, proxy="none.pem")
    for principal, words in (
        ("bob", "the KDC does not know that the certificate is this principal's"),
        ("carol", "the KDC did not offer PKINIT"),
        ("nobody", "the KDC does not know the principal"),
        ("alice@NOWHERE.EXAMPLE", "where the realm's KDC is"),
    ):
        done = kinit(grid, env, principal)
        assert done.returncode == 1, principal
        assert words in done.stderr, done
        assert "hint: " in done.stderr
    stranger = TestCA("/O=Grid/CN=Test CA [1]").issue(ALICE)  # the same names, another key
    stranger.write(tmp_path / "cert.pem", tmp_path / "key.pem")
    done = kinit(grid, env, "-cert", str(tmp_path / "cert.pem"), "-key", str(tmp_path / "key.pem"), "alice")
    assert done.returncode == 1


def test_names_that_are_like_the_mapped_one(grid: Grid, mit: Realm, tmp_path: Path) -> None:
    """The rule in the recipe is for this name and no other: dots and signs in it are plain characters."""
    for number, name in enumerate(
        (
            "/O=Grid (test)/OU=People+Staff/CN=Alice Ax Adams",
            "/O=Grid (test)/OU=PeopleeeStaff/CN=Alice A. Adams",
            "/O=Evil/O=Grid (test)/OU=People+Staff/CN=Alice A. Adams",
            "/O=Grid (test)/OU=People+Staff/CN=Alice A. Adams/CN=x",
        )
    ):
        other = grid.ca.issue(name)
        cert, key = tmp_path / f"{number}.pem", tmp_path / f"{number}.key"
        other.write(cert, key)
        done = kinit(grid, grid.environment(mit, proxy="x"), "-cert", str(cert), "-key", str(key), "alice")
        assert done.returncode == 1, name
        assert "mismatch" in done.stderr


def test_the_loop_is_cut(grid: Grid, mit: Realm, tmp_path: Path) -> None:
    """A ticket that was got by a certificate gets no certificate: else the two would renew one another for ever."""
    port = free_port()
    text = PLAIN_REALM + f'[http]\nlisten = "127.0.0.1:{port}"\nkeytab = "{mit.keytab}"\nworkers = 1\n'
    env = clean_environment(tmp_path) | mit.variables | {"PYTHONWARNINGS": "default"}
    key, csr = tmp_path / "key.pem", tmp_path / "csr.pem"
    words = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
    run([c_program("openssl"), *words, "-keyout", str(key), "-out", str(csr)], env=env).check()
    config = write_config(tmp_path, text)
    with running([our_program("kca-http"), "-c", str(config)], env=env, port=port, directory=tmp_path):

        def ask(user: dict[str, str]) -> str:
            url = f"http://localhost:{port}/kca/v1/certificate"
            argv = [c_program("curl"), "-sS", "--negotiate", "-u", ":", "--data-binary", f"@{csr}", url]
            return run(argv, env=clean_environment(tmp_path) | user).check().stdout

        by_password = mit.login("alice", "secret")
        assert x509.load_pem_x509_certificate(ask(by_password).encode()).subject is not None
        by_certificate = grid.environment(mit, proxy="x")
        kinit(grid, by_certificate, "alice").check()
        assert "the ticket was got by 'pkinit', which is not taken here" in ask(by_certificate)


# --- Heimdal ----------------------------------------------------------------------------------------------------------


@contextmanager
def heimdal(grid: Grid, directory: Path, *, proxies: bool) -> Iterator[Realm]:
    install_kdc_certificate(grid.directory, grid.ca, HEIMDAL_REALM)
    lines = recipe(grid, f"alice@{HEIMDAL_REALM}").splitlines()
    (grid.directory / "pki-mapping").write_text(lines[-1] + "\n")
    assert "pkinit_allow_proxy_certificate = yes" in "".join(lines)
    settings = heimdal_settings(grid.directory, proxies=proxies)
    with heimdal_kdc(directory, users={"alice": "secret", "bob": "x"}, services=[], settings=settings) as realm:
        yield realm


@pytest.fixture(scope="module")
def wrapper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heimdal's kinit with its libraries, which nothing else may get."""
    path = tmp_path_factory.mktemp("wrapper") / "kinit.heimdal"
    libraries = heimdal_environment(path.parent)["LD_LIBRARY_PATH"]
    program = heimdal_program("kinit.heimdal")
    write_file(path, f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n'.encode(), 0o755)
    return path


def test_heimdal_takes_the_proxy(grid: Grid, wrapper: Path, tmp_path: Path) -> None:
    with heimdal(grid, tmp_path, proxies=True) as realm:
        env = grid.environment(realm)
        done = kinit(grid, env, "-kinit", str(wrapper), "alice").check()
        assert f"a ticket with the proxy {grid.directory}/proxy.pem" in done.stdout
        assert "by Heimdal's kinit" in done.stdout
        assert owner(env) == f"alice@{HEIMDAL_REALM}"
        # A limited one would become a full one at the KDC, so it is not shown to it.
        limited = grid.environment(realm, proxy="limited.pem")
        done = kinit(grid, limited, "-kinit", str(wrapper), "alice").check()
        assert "with the end-entity certificate" in done.stdout
        assert "was not used: it is a limited proxy, and a KDC would take it for a full one" in done.stderr
        done = kinit(grid, env, "-kinit", str(wrapper), "bob")
        assert done.returncode == 1
        assert "does not know that the certificate is this principal's" in done.stderr
        locked = grid.environment(realm, eec="locked")
        words = ("-eec", "-passin", "stdin", "-kinit", str(wrapper), "alice")
        kinit(grid, locked, *words, stdin="secret\n").check()
        # MIT's kinit gets a ticket from Heimdal's KDC with the certificate.
        other = grid.environment(realm)
        assert "by MIT's kinit" in kinit(grid, other, "alice").check().stdout
        assert owner(other) == f"alice@{HEIMDAL_REALM}"


def test_heimdal_that_takes_no_proxies(grid: Grid, wrapper: Path, tmp_path: Path) -> None:
    with heimdal(grid, tmp_path, proxies=False) as realm:
        done = kinit(grid, grid.environment(realm), "-kinit", str(wrapper), "alice").check()
        assert "with the end-entity certificate" in done.stdout
        assert f"the proxy {grid.directory}/proxy.pem" in done.stderr
        assert "was not taken: the KDC did not take the certificate" in done.stderr
        done = kinit(grid, grid.environment(realm), "-proxy", "-kinit", str(wrapper), "alice")
        assert done.returncode == 1
        assert "pkinit_allow_proxy_certificate" in done.stderr


# --- without a KDC ----------------------------------------------------------------------------------------------------


def test_check(grid: Grid, tmp_path: Path) -> None:
    env = clean_environment(tmp_path) | {
        "X509_USER_PROXY": str(grid.directory / "proxy.pem"),
        "X509_USER_CERT": str(grid.directory / "usercert.pem"),
        "X509_USER_KEY": str(grid.directory / "userkey.pem"),
    }
    proxy, eec = json.loads(run([our_program("grid-kinit"), "-check", "-json"], env=env).check().stdout)
    assert proxy["kind"] == "proxy"
    assert proxy["with_MIT"] == "no: MIT's kinit and KDC take no proxies"
    assert "pkinit_allow_proxy_certificate" in proxy["with_Heimdal"]
    assert eec["subject"] == ALICE.replace("+", "\\+")
    assert "pkinit_eku_checking = none" in eec["with_MIT"]
    assert eec["with_Heimdal"] == "if its KDC has the subject in pki-mapping"
    dry = run([our_program("grid-kinit"), "-n", "-eec", "-l", "1h", "-f", "alice"], env=env).check().stdout
    identity = f"X509_user_identity=FILE:{grid.directory}/usercert.pem,{grid.directory}/userkey.pem"
    assert shlex.split(dry)[1:] == ["-X", identity, "-l", "1h", "-f", "alice"]


def test_anchors_that_are_not_there(grid: Grid, mit: Realm) -> None:
    done = kinit(grid, grid.environment(mit), "-anchors", "FILE:/nonexistent", "alice")
    assert done.returncode == 1
    assert "-anchors FILE:/nonexistent: does not exist" in done.stderr
    assert "DIR:path with the KDC's CAs" in done.stderr


def test_credentials_that_will_not_do(grid: Grid, tmp_path: Path) -> None:
    env = clean_environment(tmp_path)
    program = our_program("grid-kinit")
    done = run([program, "-proxy"], env=env | {"X509_USER_PROXY": str(tmp_path / "none")})
    assert (done.returncode, "there is no proxy" in done.stderr) == (1, True)
    for words in (["-proxy", "-eec"], ["-key", "x"]):
        assert run([program, *words], env=env).returncode == 1
    done = run([program, "-cert", str(grid.directory / "proxy.pem"), "-kinit", "/nonexistent"], env=env)
    assert "there is no /nonexistent" in done.stderr
