"""`gsi-doctor` on the Kerberos authority, its KDC, and a community's server: one thing broken, that thing found."""

from __future__ import annotations

import contextlib
import shutil
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.harness.ca import write_file
from tests.harness.cas_server import CASServer, cas_server
from tests.harness.daemons import free_port
from tests.harness.doctor import Found, look
from tests.harness.environment import clean_environment
from tests.harness.kca_server import KCA, kca_server, the_authority
from tests.harness.kdc import Realm, mit_kdc
from tests.harness.run import c_program, run
from tests.harness.softhsm import make_token

EXAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "examples"
SERVICE = "kca_service/localhost"


def is_well(monitors: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{monitors}/health", timeout=10) as answer:
        return bool(answer.status == HTTPStatus.OK)
    return False


def wait_until_well(monitors: str) -> None:
    """Wait until a server finds nothing wrong with itself: its first look may take long on a busy machine."""
    deadline = time.monotonic() + 30
    while not is_well(monitors):
        assert time.monotonic() < deadline, monitors
        time.sleep(0.05)


# --- Kerberos --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with mit_kdc(tmp_path_factory.mktemp("realm"), users={"alice": "secret"}, services=[SERVICE]) as made:
        yield made


@pytest.fixture(scope="module")
def kca(tmp_path_factory: pytest.TempPathFactory, realm: Realm) -> Iterator[KCA]:
    directory = tmp_path_factory.mktemp("kca")
    monitors = f"127.0.0.1:{free_port()}"
    with kca_server(directory, realm, server=f'metrics = "{monitors}"', workers=1) as server:
        wait_until_well(monitors)
        yield server


def look_at_kca(kca: KCA, config: Path | None = None, **more: str) -> Found:
    words: list[str | Path] = ["-only", "kca", "-config", f"kca={config or kca.config_path}", "-host", "localhost"]
    return look(kca.variables | more, *words, "-at", f"kca={more.get('at', kca.address)}", "-timeout", "2")


def changed(kca: KCA, directory: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the configuration with some words others."""
    text = kca.config_path.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    write_file(directory / "kca.toml", text.encode(), 0o600)
    return directory / "kca.toml"


def test_an_authority_that_is_well(kca: KCA) -> None:
    found = look_at_kca(kca)
    assert found.wrong == [], found.done
    for told in ("gives a ticket for kca_service/localhost@TEST.EXAMPLE", "is current", "connected to"):
        assert told in found.done.stdout
    assert not (kca.directory / "store" / "kca.db.new").exists()


def test_nobody_listens(kca: KCA) -> None:
    place = f"localhost:{free_port()}"
    assert look_at_kca(kca, at=place).wrong == [("error", "port", place)]


def test_a_keytab_that_others_can_read(kca: KCA, realm: Realm, tmp_path: Path) -> None:
    keytab = Path(shutil.copy(realm.keytab, tmp_path / "keytab"))
    keytab.chmod(0o644)
    found = look_at_kca(kca, changed(kca, tmp_path, (str(realm.keytab), str(keytab))))
    assert found.wrong == [("error", "unsafe-mode", str(keytab))], found.done
    assert found.hints == [f"chmod 600 {keytab}"]


def test_a_keytab_that_is_not_there(kca: KCA, realm: Realm, tmp_path: Path) -> None:
    keytab = tmp_path / "keytab"
    found = look_at_kca(kca, changed(kca, tmp_path, (str(realm.keytab), str(keytab))))
    assert found.wrong == [("error", "missing", str(keytab))], found.done


def test_a_keytab_without_the_services_key(kca: KCA, realm: Realm, tmp_path: Path) -> None:
    service = ("[server]\n", '[server]\nservice = "other"\n')
    found = look_at_kca(kca, changed(kca, tmp_path, service))
    assert found.wrong == [("error", "keytab", str(realm.keytab))], found.done


def test_a_key_that_the_kdc_does_not_have_any_more(kca: KCA, realm: Realm, tmp_path: Path) -> None:
    env = clean_environment(tmp_path) | realm.variables
    made = tmp_path / "made.keytab"
    orders = ["addprinc -randkey old_service/localhost", f"ktadd -k {made} old_service/localhost"]
    for order in [*orders, "cpw -randkey old_service/localhost"]:
        run([c_program("kadmin.local"), "-r", realm.name, "-q", order], env=env).check()
    made.chmod(0o600)
    config = changed(
        kca, tmp_path, (str(realm.keytab), str(made)), ("[server]\n", '[server]\nservice = "old_service"\n')
    )
    found = look_at_kca(kca, config)
    assert found.wrong == [("error", "kdc", "TEST.EXAMPLE")], found.done
    assert found.hints == [
        f"the key was changed at the KDC: kadmin -q 'ktadd -k {made} old_service/localhost@TEST.EXAMPLE'"
    ]


def test_no_kdc(kca: KCA, realm: Realm, tmp_path: Path) -> None:
    conf = realm.krb5_conf.read_text().replace(f":{realm.port}", f":{free_port()}")
    assert conf != realm.krb5_conf.read_text()
    write_file(tmp_path / "krb5.conf", conf.encode(), 0o644)
    found = look_at_kca(kca, KRB5_CONFIG=str(tmp_path / "krb5.conf"))
    assert found.wrong == [("error", "kdc", "TEST.EXAMPLE")], found.done


def test_books_that_are_gone(kca: KCA, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    found = look_at_kca(kca, changed(kca, tmp_path, (f"{kca.directory}/store", str(store))))
    assert found.wrong == [("error", "database", f"{store}/kca.db")], found.done
    assert list(store.iterdir()) == [], "looking makes nothing"


def test_the_authoritys_key_is_gone(kca: KCA, tmp_path: Path) -> None:
    found = look_at_kca(kca, changed(kca, tmp_path, (f"{kca.directory}/ca.key", f"{tmp_path}/ca.key")))
    assert found.wrong == [("error", "authority", "authority")], found.done


def test_the_example_with_a_token(kca: KCA, realm: Realm, tmp_path: Path) -> None:
    """The configuration in deploy/ for a CA whose key is in a PKCS#11 token; then the PIN is wrong."""
    token = make_token(tmp_path / "token", label="GridCA")
    ca = the_authority()
    token.add_key("ca-key", ca.key, key_id="01")
    ca.credential.write(tmp_path / "cacert.pem", tmp_path / "cakey.pem")
    text = (EXAMPLES / "site-ca" / "kca.toml").read_text()
    for before, after in (
        ("/etc/kca/pin", str(token.pin_path)),
        ("/etc/kca/ca/cacert.pem", f"{tmp_path}/cacert.pem"),
        ("/etc/kca/kca.keytab", str(realm.keytab)),
        ('metrics = "127.0.0.1:9514"\n', ""),
        ("[server]", f'[store]\ndirectory = "{kca.directory}/store"\n[server]'),
    ):
        assert before in text
        text = text.replace(before, after)
    write_file(tmp_path / "kca.toml", text.encode(), 0o600)
    variables = {"SOFTHSM2_CONF": token.environment["SOFTHSM2_CONF"]}
    assert look_at_kca(kca, tmp_path / "kca.toml", **variables).wrong == []
    token.pin_path.write_text("4321\n")
    found = look_at_kca(kca, tmp_path / "kca.toml", **variables)
    assert found.wrong == [("error", "authority", "authority")], found.done


# --- A community -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CASServer]:
    with cas_server(tmp_path_factory.mktemp("cas"), metrics=f"127.0.0.1:{free_port()}") as server:
        wait_until_well(server.metrics)
        yield server


def look_at_cas(cas: CASServer, config: Path | None = None, places: Mapping[str, str] | None = None) -> Found:
    words: list[str | Path] = ["-only", "cas", "-config", f"cas={config or cas.directory / 'cas.toml'}"]
    at = {"cas": f"localhost:{cas.daemon.port}", "voms": f"localhost:{cas.voms_port}"} | dict(places or {})
    words += [word for section, place in at.items() for word in ("-at", f"{section}={place}")]
    return look(clean_environment(cas.directory), *words, "-host", "localhost", "-certdir", cas.trust_dir)


def other_words(cas: CASServer, directory: Path, *changes: tuple[str, str]) -> Path:
    text = (cas.directory / "cas.toml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    write_file(directory / "cas.toml", text.encode(), 0o600)
    return directory / "cas.toml"


def test_a_community_that_is_well(cas: CASServer) -> None:
    found = look_at_cas(cas)
    assert found.wrong == [], found.done
    for told in ("is current", "keys until", "finds nothing wrong with itself", "its chain is whole"):
        assert told in found.done.stdout


@pytest.mark.parametrize("section", ["cas", "voms"])
def test_a_port_of_the_community_is_closed(cas: CASServer, section: str) -> None:
    place = f"localhost:{free_port()}"
    assert look_at_cas(cas, places={section: place}).wrong == [("error", "port", place)]


@pytest.mark.parametrize(("ends", "severity"), [(timedelta(days=2), "warning"), (-timedelta(hours=1), "error")])
def test_keys_that_end(cas: CASServer, tmp_path: Path, ends: timedelta, severity: str) -> None:
    line = next(line for line in (cas.directory / "cas.toml").read_text().splitlines() if line.startswith("ends"))
    config = other_words(cas, tmp_path, (line, f'ends = "{(datetime.now(UTC) + ends).isoformat()}"'))
    found = look_at_cas(cas, config)
    assert found.wrong == [(severity, "signing-key", "[[key]]")], found.done


def test_a_policy_that_is_gone(cas: CASServer, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    found = look_at_cas(cas, other_words(cas, tmp_path, (f"{cas.directory}/store", str(store))))
    assert found.wrong == [("error", "database", f"{store}/cas.db")], found.done


def test_a_server_that_is_ill_says_so(tmp_path: Path) -> None:
    """Its audit cannot be written any more."""
    with cas_server(tmp_path, metrics=f"127.0.0.1:{free_port()}") as cas:
        cas.ours("cas-whoami", subject="/O=Grid/CN=Admin").check()  # a worker has begun
        audit = cas.directory / "store" / "audit.log"
        data = audit.read_bytes()
        with _instead(audit):
            while is_well(cas.metrics):  # until that worker is asked
                cas.ours("cas-proxy-init", "-w", cas.directory / "proxy", subject="/O=Grid/CN=Admin")
            found = look_at_cas(cas)
        assert ("error", "health") in {one[:2] for one in found.wrong}, found.done
        assert audit.read_bytes().startswith(data)


@contextlib.contextmanager
def _instead(path: Path) -> Iterator[None]:
    """A directory where a file was, which nobody can write as a file."""
    aside = path.with_suffix(".aside")
    path.rename(aside)
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
        aside.rename(path)
