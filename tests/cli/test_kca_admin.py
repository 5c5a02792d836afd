"""`kca-admin`: the books on the screen, revocation that reaches validators, what sites install."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gsi.authz.gridmap import parse_gridmap
from gsi.errors import Reason, VerificationError
from gsi.kerberos.ticket import Principal
from gsi.system.trustdir import TrustDirectory
from gsi.trust.options import CRLPolicy, ValidationOptions
from gsi.trust.verify import verify_chain
from kca.cli.admin import main
from kca.principal import RealmRules
from kca.publishing import gridmap_line, make_namespaces, trust_files
from tests.harness.ca import TestCA, write_file
from tests.harness.environment import clean_environment
from tests.harness.kca import REALM, KCAWorld, authority, write_config
from tests.harness.run import c_program, run

TEXT = (
    f'[realm."{REALM}"]\nbase = "/O=Grid/OU=Test"\nlifetime = "6h"\n'
    f'[[realm."{REALM}".rule]]\n[[realm."{REALM}".rule]]\nprincipal = "*/grid"\n'
)
SETTINGS = 'crl_urls = ["http://ca.example.org/kca.crl"]\n'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[KCAWorld]:
    with authority(tmp_path, TEXT, settings=SETTINGS) as made:
        yield made


@pytest.fixture
def admin(world: KCAWorld, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(*words: str, expected: int = 0) -> str:
        assert main([*words, "-c", str(world.directory / "kca.toml")]) == expected, capsys.readouterr()
        told = capsys.readouterr()
        text: str = told.err if expected else told.out
        return text

    return call


def serial_of(world: KCAWorld, who: str) -> str:
    return str(next(record["serial"] for record in world.records() if record.get("subject", "").endswith(f"CN={who}")))


def test_looking(world: KCAWorld, admin: Callable[..., str]) -> None:
    for who in ("alice", "bob", "carol/grid"):
        world.issue(world.ticket(who))
    lines = admin("list").splitlines()
    assert [line.split()[-1] for line in lines] == [
        "/O=Grid/OU=Test/OU=grid/CN=carol",
        "/O=Grid/OU=Test/CN=bob",
        "/O=Grid/OU=Test/CN=alice",
    ]
    assert len(admin("list", "-limit", "2").splitlines()) == 2
    assert admin("list", "-principal", "bob").split()[4] == f"bob@{REALM}"
    assert admin("list", "-principal", "bob@OTHER.ORG") == ""
    assert len(admin("list", "-subject", "ou=GRID").splitlines()) == 1
    assert len(admin("list", "-valid", "-realm", REALM).splitlines()) == 3
    assert admin("list", "-revoked") == ""
    assert admin("list", "-until", "2020-01-01") == ""
    told = [json.loads(line) for line in admin("list", "-json").splitlines()]
    assert [one["principal"] for one in told] == [f"carol/grid@{REALM}", f"bob@{REALM}", f"alice@{REALM}"]
    serial = serial_of(world, "alice")
    shown = admin("show", serial)
    assert f"serial: {serial}\n" in shown
    assert x509.load_pem_x509_certificate(shown[shown.index("-----") :].encode()).serial_number == int(serial, 16)
    colons = ":".join(serial[at : at + 2] for at in range(0, len(serial), 2)).lower()
    assert json.loads(admin("show", colons, "-json"))["subject"] == "/O=Grid/OU=Test/CN=alice"
    assert "no certificate 1234" in admin("show", "1234", expected=1)
    for word in ("xyz", "0", "-1", "f" * 41):
        assert "no serial number" in admin("show", word, expected=1) or word == "-1"


def test_revocation_reaches_validators(world: KCAWorld, admin: Callable[..., str], tmp_path: Path) -> None:
    issued = {who: world.issue(world.ticket(who)).certificate for who in ("alice", "bob")}
    trust = tmp_path / "trust"
    trust.mkdir()
    crl = tmp_path / "kca.crl"
    assert admin("crl", "-out", str(crl)) == "number 1, 0 certificates\n"
    admin("trust-package", "-files", "-out", str(trust), "-crl", str(crl))

    def judge(who: str) -> str:
        options = ValidationOptions(crl=CRLPolicy.REQUIRE)
        try:
            verify_chain((issued[who],), TrustDirectory(str(trust)).anchors(), now=world.now, options=options)
        except VerificationError as error:
            return error.reason.value
        return "good"

    assert (judge("alice"), judge("bob")) == ("good", "good")
    told = admin("revoke", serial_of(world, "alice"), "-reason", "keyCompromise")
    assert told.split()[1] == "revoked:"
    assert "was revoked before" in admin("revoke", serial_of(world, "alice"))
    assert json.loads(admin("crl", "-out", str(crl), "-json"))["number"] == 2
    admin("trust-package", "-files", "-out", str(trust), "-crl", str(crl))
    assert (judge("alice"), judge("bob")) == (Reason.REVOKED.value, "good")
    parsed = x509.load_pem_x509_crl(crl.read_bytes())
    (entry,) = parsed
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    assert parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 2
    for who, verdict in (("alice", "certificate revoked"), ("bob", "OK")):
        leaf = tmp_path / f"{who}.pem"
        leaf.write_bytes(issued[who].pem())
        words = ["verify", "-crl_check", "-CAfile", str(world.directory / "ca.pem"), "-CRLfile", str(crl), str(leaf)]
        done = run([c_program("openssl"), *words], env=clean_environment(tmp_path))
        assert verdict in done.stdout + done.stderr
    assert "revoked" in admin("list", "-principal", "alice")
    shown = json.loads(admin("show", serial_of(world, "alice"), "-json"))
    assert shown["reason"] == "keyCompromise"
    actions = [record["action"] for record in world.records()]
    assert actions == ["ISSUE", "ISSUE", "CRL", "REVOKE", "REVOKE", "CRL"]


def test_revoking_all_or_none(world: KCAWorld, admin: Callable[..., str]) -> None:
    world.issue(world.ticket("alice"))
    assert "no certificate 12" in admin("revoke", serial_of(world, "alice"), "12", expected=1)
    assert admin("list", "-revoked") == ""


def test_packages(world: KCAWorld, admin: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    told = json.loads(admin("trust-package", "-out", str(out), "-deb", "-json"))
    assert [Path(path).suffix for path in told["written"]] == [".deb", ".gz"]
    ca_hash = told["hash"]
    with tarfile.open(told["written"][1]) as tar:
        files = {
            Path(member.name).name: member_file.read()
            for member in tar.getmembers()
            if (member_file := tar.extractfile(member))
        }
    assert {f"{ca_hash}.0", f"{ca_hash}.signing_policy", f"{ca_hash}.namespaces", f"{ca_hash}.crl_url"} < set(files)
    assert files[f"{ca_hash}.crl_url"] == b"http://ca.example.org/kca.crl\n"
    assert b'"/O=Grid/OU=Test/*"' in files[f"{ca_hash}.signing_policy"]
    first = (out / Path(told["written"][1]).name).read_bytes()
    admin("trust-package", "-out", str(out))
    assert (out / Path(told["written"][1]).name).read_bytes() == first
    assert "no such directory" in admin("trust-package", "-out", str(out / "missing"), expected=1)


def test_trust_files_say_no_more_than_the_bases(world: KCAWorld) -> None:
    realms = {"A": RealmRules(base="/O=Grid/OU=A.B"), "C": RealmRules(base="/DC=org/DC=example+lab/CN=x (y)")}
    certificate = world.service._authority.issuer.certificate
    files = trust_files(certificate, realms)
    assert sorted(name.partition(".")[2] for name in files) == ["namespaces", "signing_policy"]
    assert b"/O=Grid/OU=A\\.B/.*" in make_namespaces("/CN=x", ["/O=Grid/OU=A.B"])


def test_gridmap(world: KCAWorld, admin: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    for who in ("bob", "alice", "carol/grid"):
        world.issue(world.ticket(who))
    told = admin("gridmap")
    assert told == '"/O=Grid/OU=Test/CN=alice" alice\n"/O=Grid/OU=Test/CN=bob" bob\n'
    gridmap = parse_gridmap(told.encode())
    assert gridmap is not None
    assert admin("gridmap", "dora", f"eve@{REALM}") == (
        '"/O=Grid/OU=Test/CN=dora" dora\n"/O=Grid/OU=Test/CN=eve" eve\n'
    )
    assert admin("gridmap", "-realm", "OTHER.ORG") == ""
    assert json.loads(admin("gridmap", "-json"))[0]["principal"] == f"alice@{REALM}"
    assert "no rule of the realm" in admin("gridmap", "alice/admin", expected=1)
    assert gridmap_line("/O=x/CN=a", Principal(("a",), "X")) == '"/O=x/CN=a" a'


def test_accounts_are_those_of_one_realm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Alice of another realm must not get the account of ours."""
    with authority(tmp_path, TEXT + '[realm."PARTNER.NET"]\nbase = "/O=Partner"\nunmarked_tickets = true\n') as world:
        for who in (f"alice@{REALM}", "alice@PARTNER.NET"):
            world.issue(world.ticket(who))
        config = str(tmp_path / "kca.toml")
        assert main(["gridmap", "-c", config]) == 1
        assert "are not one person" in capsys.readouterr().err
        assert main(["gridmap", "-realm", REALM, "-c", config]) == 0
        assert capsys.readouterr().out == '"/O=Grid/OU=Test/CN=alice" alice\n'
        # Naming people does not lift that.
        for words in (["alice@PARTNER.NET"], [f"alice@{REALM}", "alice@PARTNER.NET"]):
            assert main(["gridmap", *words, "-c", config]) == 1
            assert "are not one person" in capsys.readouterr().err
            assert main(["gridmap", *words, "-realm", REALM, "-c", config]) == 1
            told = capsys.readouterr()
            assert "alice@PARTNER.NET is not of the realm" in told.err
            assert told.out == ""
        assert main(["gridmap", "alice", "-realm", "PARTNER.NET", "-c", config]) == 0
        assert capsys.readouterr().out == '"/O=Partner/CN=alice" alice\n'


def test_no_line_for_the_superuser(
    world: KCAWorld, admin: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever is called root in a realm is not the root of every site."""
    for who in ("root", "alice"):
        world.issue(world.ticket(who))
    assert main(["gridmap", "-c", str(world.directory / "kca.toml")]) == 0
    told = capsys.readouterr()
    assert told.out == '"/O=Grid/OU=Test/CN=alice" alice\n'
    assert "written by hand" in told.err
    assert "written by hand" in admin("gridmap", "root", expected=1)


def test_no_line_for_anothers_name(world: KCAWorld, admin: Callable[..., str]) -> None:
    """The rules would give it, but the books have given it already."""
    world.issue(world.ticket("alice"))
    assert "another principal" in admin("gridmap", "Alice", expected=1)


def test_damaged_books(world: KCAWorld, capsys: pytest.CaptureFixture[str]) -> None:
    for who in ("alice", "bob"):
        world.issue(world.ticket(who))
    with world.opened.books.database.write() as connection:
        connection.exec_driver_sql("UPDATE issued SET serial = 'nonsense' WHERE id = 2")
    assert main(["list", "-c", str(world.directory / "kca.toml")]) == 1
    told = capsys.readouterr()
    assert "alice@" in told.out
    assert "entry 2 of the books is damaged" in told.err


def test_explain(world: KCAWorld, admin: Callable[..., str]) -> None:
    told = json.loads(admin("explain", "carol/grid", "-json"))
    assert told["subject"] == "/O=Grid/OU=Test/OU=grid/CN=carol"
    assert told["lifetime_seconds"] == 6 * 3600
    assert f"rule: {REALM} rule 1 (*)" in admin("explain", "alice")
    assert "is not listed" in admin("explain", "alice@OTHER.ORG", expected=1)
    assert admin("list") == ""


def test_pruning(world: KCAWorld, admin: Callable[..., str]) -> None:
    world.issue(world.ticket("alice"))
    assert admin("prune", "-before", "2020-01-01") == "0 certificates removed\n"
    later = (world.now + timedelta(days=3)).isoformat()
    assert "has not come yet" in admin("prune", "-before", later, expected=1)
    earlier = (world.now - timedelta(days=3)).isoformat()
    assert json.loads(admin("prune", "-before", earlier, "-json")) == {"removed": 0}
    assert "alice" in admin("list")
    assert "needs -before" in admin("prune", expected=1)


def test_checking(world: KCAWorld, admin: Callable[..., str], tmp_path: Path) -> None:
    keytab = tmp_path / "keytab"
    keytab.write_bytes(b"\x05\x02")
    keytab.chmod(0o600)
    config = world.directory / "kca.toml"
    config.write_text(config.read_text() + f'[server]\nkeytab = "{keytab}"\n')
    told = admin("check")
    assert "authority: ok: /O=Grid/CN=Test KCA until" in told
    assert "books: ok: " in told
    keytab.chmod(0o644)
    (world.directory / "ca.key").unlink()
    assert main(["check", "-json", "-c", str(config)]) == 1


def test_checking_the_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = TestCA("/O=Grid/CN=Root", "p256")
    middle = root.intermediate("/O=Grid/CN=Inter", "p256")
    sub = middle.intermediate("/O=Grid/CN=Sub", "p256")
    config = write_config(tmp_path, ca=sub, authority=f'chain = "{tmp_path}/chain.pem"')
    for chain, strays in (((root,), "; in the chain, but not above it: /O=Grid/CN=Root"), ((sub, middle, root), "")):
        write_file(tmp_path / "chain.pem", b"".join(one.pem for one in chain), 0o644)
        main(["check", "-c", str(config)])
        until = f"{sub.certificate.not_valid_after_utc:%Y-%m-%d}"
        assert f"authority: ok: /O=Grid/CN=Sub until {until}{strays}\n" in capsys.readouterr().out


def test_words_that_are_none(world: KCAWorld, admin: Callable[..., str]) -> None:
    assert "a command is missing" in admin(expected=1)
    assert "there is no command 'frobnicate'" in admin("frobnicate", expected=1)
    assert "takes no operand" in admin("list", "x", expected=1)
    assert "revoke takes serial numbers" in admin("revoke", expected=1)
    assert "-json needs -out" in admin("crl", "-json", expected=1)


def test_revocation_lists_on_standard_output(world: KCAWorld, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    config = str(world.directory / "kca.toml")
    assert main(["crl", "-c", config]) == 0
    pem = capsysbinary.readouterr().out
    assert main(["crl", "-der", "-c", config]) == 0
    der = capsysbinary.readouterr().out
    numbers = [
        crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        for crl in (x509.load_pem_x509_crl(pem), x509.load_der_x509_crl(der))
    ]
    assert numbers == [1, 2]
    assert x509.load_der_x509_crl(der).public_bytes(Encoding.DER) == der


@pytest.mark.parametrize("words", [("-out", "/nonexistent/x"), ("-out", "/"), ("-json",)])
def test_a_list_that_has_no_place_gets_no_number(
    world: KCAWorld, admin: Callable[..., str], words: tuple[str, ...]
) -> None:
    before = len(world.records())
    admin("crl", *words, expected=1)
    assert len(world.records()) == before


def test_keytabs_that_are_not_there(world: KCAWorld, capsys: pytest.CaptureFixture[str]) -> None:
    config = world.directory / "kca.toml"
    config.write_text(config.read_text() + '[server]\nkeytab = "/nonexistent"\n')
    assert main(["check", "-c", str(config)]) == 1
    assert "/nonexistent does not exist" in capsys.readouterr().out
