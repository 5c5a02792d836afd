"""AP-REQs made and verified through libkrb5, with tickets of a real MIT KDC: what is proved, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.environment import clean_environment
from tests.harness.kdc import REALM, Realm, mit_kdc

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = "kca_service/localhost"
OTHER = "OTHER.EXAMPLE"
ROOT = Path(__file__).resolve().parents[2]

# libkrb5 reads the real environment, so each case is a process of its own.
PROGRAM = """\
import json, sys
from gsi.errors import GridError
from gsi.kerberos.accept import Acceptor
from gsi.kerberos.initiate import initiate
order = json.loads(sys.argv[1])
answers = []
acceptor = Acceptor(order["accept"], keytab=order["keytab"])
if order.get("break"):
    import pathlib
    pathlib.Path(order["break"]).rename(order["break"] + ".gone")
try:
    made = initiate(*order["initiate"], mutual=order["mutual"], subkey=order["subkey"])
except GridError as error:
    print(json.dumps([{"error": type(error).__name__, "text": str(error), "hint": error.hint}]))
    sys.exit(0)
message = made.ap_req if not order["cut"] else made.ap_req[: -order["cut"]]
for _ in range(order["times"]):
    try:
        got = acceptor.accept(message, address=order.get("address"))
    except GridError as error:
        code = getattr(error, "protocol_code", None)
        answers.append({"error": type(error).__name__, "text": str(error), "code": code})
        continue
    ticket = got.ticket
    answers.append({
        "client": ticket.client.text, "server": ticket.server.text, "same_key": got.session_key == made.session_key,
        "mutual": got.wants_mutual, "subkey": got.has_subkey, "flags": int(ticket.flags),
        "indicators": list(ticket.indicators), "transited": list(ticket.transited),
        "seconds": (ticket.end_time - ticket.start_time).total_seconds(),
        "times": [ticket.auth_time.tzinfo is not None, ticket.auth_time <= ticket.start_time < ticket.end_time],
    })
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with mit_kdc(
        tmp_path_factory.mktemp("kdc"),
        users={"alice": "pw", "a/b\\@c": "pw", "carol": "pw"},
        services=[SERVICE, "HTTP/localhost", "kca_service/other.example"],
        settings="  spake_preauth_indicator = pkinit\n",
        defaults="spake_preauth_groups = edwards25519\n",
        orders=["modprinc +requires_preauth carol"],
    ) as made:
        yield made


def _try(
    realm: Realm,
    env: dict[str, str],
    *,
    accept: str = "kca_service",
    initiate: tuple[str, ...] = ("kca_service", "localhost"),
    mutual: bool = False,
    subkey: bool = False,
    times: int = 1,
    cut: int = 0,
    keytab: Path | None = None,
    address: str | None = None,
    breaking: Path | None = None,
) -> list[dict[str, Any]]:
    order = {
        "accept": accept,
        "keytab": str(keytab or realm.keytab),
        "initiate": initiate,
        "mutual": mutual,
        "subkey": subkey,
        "times": times,
        "cut": cut,
        "address": address,
        "break": str(breaking) if breaking else None,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(order)],
        env=clean_environment(realm.directory) | env,
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("subkey", [False, True])
def test_genuine(realm: Realm, mutual: bool, subkey: bool) -> None:
    """The key is the ticket's, subkey or not; what the client asked for is seen."""
    (found,) = _try(realm, realm.login("alice", "pw", lifetime="30m"), mutual=mutual, subkey=subkey)
    assert found["client"] == f"alice@{REALM}"
    assert found["server"] == f"{SERVICE}@{REALM}"
    assert found["same_key"]
    assert (found["mutual"], found["subkey"]) == (mutual, subkey)
    assert found["times"] == [True, True]
    assert 0 < found["seconds"] <= 30 * 60
    assert found["indicators"] == []
    assert found["transited"] == []


@pytest.mark.parametrize(
    "accept", ["kca_service", SERVICE, f"{SERVICE}@{REALM}"], ids=["any host", "one host", "principal"]
)
def test_names_of_the_service(realm: Realm, accept: str) -> None:
    (found,) = _try(realm, realm.login("alice", "pw"), accept=accept)
    assert found["client"] == f"alice@{REALM}"


@pytest.mark.parametrize(
    ("accept", "target"),
    [
        ("kca_service", ("HTTP", "localhost")),
        (SERVICE, ("kca_service", "other.example")),
        (f"{SERVICE}@{OTHER}", ("kca_service", "localhost")),
        ("HTTP", ("kca_service", "localhost")),
    ],
)
def test_other_keys_of_the_keytab(realm: Realm, accept: str, target: tuple[str, ...]) -> None:
    """The keytab holds the keys, but they are not this service's."""
    (found,) = _try(realm, realm.login("alice", "pw"), accept=accept, initiate=target)
    assert found["error"] == "KerberosError", found


def test_replay(realm: Realm) -> None:
    first, second = _try(realm, realm.login("alice", "pw"), times=2)
    assert "client" in first
    assert second["error"] == "ReplayError"


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_cut_short(realm: Realm, cut: int) -> None:
    (found,) = _try(realm, realm.login("alice", "pw"), cut=cut)
    assert found["error"] == "KerberosError"


def test_noise_is_the_clients(realm: Realm) -> None:
    """Whatever is sent, it is the client's fault, and not a trouble of ours."""
    program = (
        PROGRAM.replace('message = made.ap_req if not order["cut"] else made.ap_req[: -order["cut"]]', "")
        + """
ours = made.ap_req
answers = []
import random
dice = random.Random(7)
spoilt = [b"", b"\\x6e\\0", ours[1:], ours + b"\\0", b"\\0" * 900]
for _ in range(300):
    one = bytearray(ours)
    one[dice.randrange(len(one))] ^= 1 << dice.randrange(8)
    spoilt.append(bytes(one))
for one in spoilt:
    try:
        acceptor.accept(one)
    except GridError as error:
        answers.append(type(error).__name__)
print(json.dumps(sorted(set(answers))))
"""
    )
    program = program.replace('for _ in range(order["times"]):', "for message in ():").replace(
        "print(json.dumps(answers))\n\nours", "ours"
    )
    order = {"accept": "kca_service", "keytab": str(realm.keytab), "initiate": ["kca_service", "localhost"]}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(order | {"mutual": False, "subkey": False})],
        env=clean_environment(realm.directory) | realm.login("alice", "pw"),
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert set(json.loads(done.stdout)) <= {"AuthenticationError", "KerberosError", "ReplayError"}


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "2001:db8::1", "10.9.9.9"])
def test_ticket_for_an_address(realm: Realm, address: str) -> None:
    """A ticket that is bound to addresses is good from these alone; others are good from everywhere."""
    env = realm.login("alice", "pw")
    (found,) = _try(realm, env, address=address)
    assert found["client"] == "alice@TEST.EXAMPLE"
    conf = realm.directory / "addresses.conf"
    text = realm.krb5_conf.read_text()
    defaults = "[libdefaults]\nnoaddresses = false\nextra_addresses = 127.0.0.1\n"
    conf.write_text(text.replace("[libdefaults]\n", defaults, 1))
    bound = realm.login("alice", "pw", options=["-a"], variables={"KRB5_CONFIG": str(conf)})
    (found,) = _try(realm, bound, address=address)
    if "127.0.0.1" in address:
        assert found["client"] == "alice@TEST.EXAMPLE"
    else:
        assert found["code"] == 38  # KRB_AP_ERR_BADADDR
        assert f"{address} is none of them" in found["text"]


@pytest.mark.parametrize("what", ["keytab", "replay cache"])
def test_our_own_trouble(realm: Realm, tmp_path: Path, what: str) -> None:
    """What is the matter with our files is not taken for the client's fault."""
    keytab = tmp_path / "keytab"
    keytab.write_bytes(realm.keytab.read_bytes())
    env = realm.login("alice", "pw")
    if what == "keytab":
        (found,) = _try(realm, env, keytab=keytab, breaking=keytab)
        assert found["error"] == "ConfigError"
        assert "keytab" in found["text"]
    else:
        (tmp_path / "replay").mkdir()
        (found,) = _try(realm, env | {"KRB5RCACHENAME": f"file2:{tmp_path}/replay"})
        assert found["error"] == "StorageError"
        assert "replay" in found["text"]


def test_initial_ticket(realm: Realm) -> None:
    """A ticket that was got with the password itself has the flag, one got with a ticket has not."""
    initial = 0x00400000
    (found,) = _try(realm, realm.login("alice", "pw", service=f"{SERVICE}@{REALM}"))
    assert found["flags"] & initial
    (found,) = _try(realm, realm.login("alice", "pw"))
    assert not found["flags"] & initial


def test_indicators(realm: Realm) -> None:
    """What the KDC says about how somebody has proved who he is comes through (here it calls SPAKE so)."""
    (found,) = _try(realm, realm.login("carol", "pw"))
    assert found["indicators"] == ["pkinit"]


def test_strange_name(realm: Realm) -> None:
    (found,) = _try(realm, realm.login("a/b\\@c", "pw"))
    assert found["client"] == f"a/b\\@c@{REALM}"


def test_no_tickets(realm: Realm, tmp_path: Path) -> None:
    (found,) = _try(realm, realm.variables | {"KRB5CCNAME": f"FILE:{tmp_path}/none"})
    assert (found["error"], found["hint"]) == ("CredentialError", "run kinit")


def test_unknown_service(realm: Realm) -> None:
    (found,) = _try(realm, realm.login("alice", "pw"), initiate=("kca_service", "nobody.example"))
    assert found["error"] == "KerberosError"
    assert "kca_service/nobody.example" in found["text"]


def test_clocks_too_far_apart(realm: Realm) -> None:
    """A ticket whose authenticator is older than the skew of krb5.conf is refused."""
    conf = realm.directory / "narrow.conf"
    conf.write_text(realm.krb5_conf.read_text().replace("[libdefaults]\n", "[libdefaults]\nclockskew = 0\n", 1))
    # With a skew of nothing the second in which the authenticator was made is the only one that will do, so the
    # request waits until the next one has begun.
    program = PROGRAM.replace("message = made", "import time; time.sleep(1.5)\nmessage = made")
    order = {
        "accept": "kca_service",
        "keytab": str(realm.keytab),
        "initiate": ["kca_service", "localhost"],
        "mutual": False,
        "subkey": False,
        "times": 1,
        "cut": 0,
    }
    env = clean_environment(realm.directory) | realm.login("alice", "pw") | {"KRB5_CONFIG": str(conf)}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(order)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    (found,) = json.loads(done.stdout)
    assert found["code"] == 37  # KRB_AP_ERR_SKEW


def test_no_kdc(realm: Realm) -> None:
    """A KDC that is down is told from a service that nobody knows."""
    conf = realm.directory / "down.conf"
    conf.write_text(realm.krb5_conf.read_text().replace(f":{realm.port}", ":1"))
    (found,) = _try(realm, realm.login("alice", "pw") | {"KRB5_CONFIG": str(conf)})
    assert "KDC running" in found["hint"]
    (found,) = _try(realm, realm.login("alice", "pw"), initiate=("kca_service", "unknown.localhost"))
    assert "Server" in found["text"]


def test_another_realm(realm: Realm, tmp_path: Path) -> None:
    """A client of a realm that ours trusts comes with its own name and realm; ours has checked the way."""
    shared = "shared-key-of-both"
    trust = [f"addprinc -pw {shared} krbtgt/{REALM}@{OTHER}"]
    with mit_kdc(tmp_path, users={"dave": "pw"}, services=[], realm=OTHER, orders=trust) as other:
        realm.kadmin(*trust)
        conf = tmp_path / "both.conf"
        section = f"[realms]\n{OTHER} = {{\n  kdc = 127.0.0.1:{other.port}\n}}\n"
        conf.write_text(realm.krb5_conf.read_text() + section)
        env = other.login("dave", "pw") | {"KRB5_CONFIG": str(conf)}
        (found,) = _try(realm, env)
        assert found["client"] == f"dave@{OTHER}", found
        assert found["server"] == f"{SERVICE}@{REALM}"
        assert found["same_key"]
        assert found["transited"] == []  # nobody between the two
