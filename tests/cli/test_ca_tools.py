"""The CA tools where things go wrong: full disks, other people's files, a second CA, answers typed and not typed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from gsi.pem import encode_pem
from gsi.trust.crl import MAX_CRL_BYTES, parse_crl_file
from tests.harness.ca import TestCA, subject_hash, write_file
from tests.harness.environment import UserEnvironment
from tests.harness.run import Done, c_program, our_program, run
from tests.harness.softhsm import make_token
from tests.unit.gsi.ca.support import make_csr

if TYPE_CHECKING:
    from tests.harness.softhsm import Token

CREATE = ("grid-ca-create", "-noint", "-nopw", "-key-type", "p256", "-q", "-subject", "/O=Grid/CN=CA")


class Shell:
    """A user who types in a directory."""

    def __init__(self, root: Path) -> None:
        self.user = UserEnvironment(root)
        self.home = self.user.home
        self.variables = self.user.with_variables(X509_USER_CERT=None, X509_USER_KEY=None)

    def type(self, *words: str, stdin: str = "", limit: int | None = None) -> Done:
        program, *rest = words
        argv = [our_program(program), *rest]
        return run(argv, env=self.variables, cwd=self.home, stdin=stdin, file_size_limit=limit)

    def request(self, subject: str = "/O=Grid/CN=Alice") -> str:
        write_file(self.home / "request", make_csr("p256", subject), 0o644)
        return "request"

    def names(self, *below: str) -> set[str]:
        return {path.name for path in self.home.joinpath(*below).iterdir()}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_full_disk_leaves_no_half_ca(shell: Shell) -> None:
    done = shell.type(*CREATE, "-dir", "ca", limit=500)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert not (shell.home / "ca").exists()


def test_a_full_disk_gives_out_no_certificate(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    before = shell.names("ca", "newcerts")
    done = shell.type("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem", limit=100)
    assert done.returncode == 1
    assert "newcerts" in done.stderr
    assert "cert.pem" not in shell.names()
    assert shell.names("ca", "newcerts") == before
    assert (shell.home / "ca" / "index.txt").read_text() == ""
    # With room for the books but not for the text form before the certificate: it is issued, and the message says so.
    done = shell.type("grid-ca-sign", "-dir", "ca", "-in", "request", "-out", "cert.pem", limit=1000)
    assert done.returncode == 1
    assert "the certificate was issued; it is in" in done.stderr


def test_a_ca_is_put_aside_and_never_removed(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    old = (shell.home / "ca" / "private" / "cakey.pem").read_bytes()
    assert shell.type(*CREATE, "-dir", "ca").returncode == 1
    assert (shell.home / "ca" / "private" / "cakey.pem").read_bytes() == old
    shell.type(*CREATE, "-dir", "ca", "-force").check()
    (aside,) = [name for name in shell.names("ca") if name.startswith("old-")]
    assert (shell.home / "ca" / aside / "private" / "cakey.pem").read_bytes() == old
    assert (shell.home / "ca" / "private" / "cakey.pem").read_bytes() != old
    shell.type("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem").check()


def test_a_ca_comes_back_when_nothing_came_of_the_next(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    before = shell.names("ca")
    assert shell.type(*CREATE, "-dir", "ca", "-force", limit=500).returncode == 1
    assert shell.names("ca") == before
    shell.type("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem").check()


def test_a_change_of_cas_that_was_broken_off(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    (shell.home / "ca" / "old-20260101T000000Z").mkdir()
    (shell.home / "ca" / "cacert.pem").rename(shell.home / "ca" / "old-20260101T000000Z" / "cacert.pem")
    done = shell.type(*CREATE, "-dir", "ca", "-force")
    assert (done.returncode, "move what is in old-20260101T000000Z back" in done.stderr) == (1, True)


def test_other_directories_are_left_alone(shell: Shell) -> None:
    write_file(shell.home / "mine" / "thesis.tex", b"x", 0o644)
    for words in ((), ("-force",)):
        done = shell.type(*CREATE, "-dir", "mine", *words)
        assert done.returncode == 1
        assert "is no CA's directory" in done.stderr
    assert shell.names("mine") == {"thesis.tex"}


def test_the_default_directory(shell: Shell) -> None:
    shell.type(*CREATE).check()
    assert (shell.home / ".globus" / "simpleCA" / "cacert.pem").exists()
    shell.type("grid-ca-sign", "-in", shell.request(), "-out", "cert.pem").check()


def test_nothing_is_written_in_the_trust_directory(shell: Shell) -> None:
    shell.user.trust_dir.mkdir(parents=True)
    shell.variables["GRID_SECURITY_DIR"] = str(shell.home)
    shell.type(*CREATE, "-dir", "ca").check()
    assert list(shell.user.trust_dir.iterdir()) == []
    assert shell.names() == {".globus", "ca"}


def test_questions_and_answers(shell: Shell) -> None:
    words = ("grid-ca-create", "-dir", "ca", "-nopw", "-key-type", "p256", "-json")
    done = shell.type(*words, stdin="cn=Typed CA, o=Grid\n\n30\n").check()
    assert json.loads(done.stdout)["subject"] == "/O=Grid/CN=Typed CA"
    assert "e-mail" in done.stderr
    done = shell.type("grid-ca-create", "-dir", "x", "-nopw", stdin="\n\nsoon\n")
    assert done.returncode == 1
    assert "soon" in done.stderr
    assert not (shell.home / "x").exists()
    # Without a terminal there is nobody to type a pass phrase.
    done = shell.type("grid-ca-create", "-dir", "x", "-noint")
    assert done.returncode == 1
    assert "-nopassphrase" in done.stderr
    assert not (shell.home / "x").exists()


@pytest.fixture
def token(tmp_path: Path) -> Token:
    return make_token(tmp_path / "hsm")


def test_a_ca_whose_key_never_leaves_its_token(shell: Shell, token: Token) -> None:
    from tests.harness.ca import pooled_key

    token.add_key("ca-key", pooled_key("rsa2048", role="authority"), key_id="01")
    shell.variables["SOFTHSM2_CONF"] = token.environment["SOFTHSM2_CONF"]
    place = token.uri("ca-key")
    words = ("-dir", "ca", "-subject", "/O=Grid/CN=CA", "-keyfile", place, "-json")
    done = shell.type("grid-ca-create", "-noint", *words).check()
    assert json.loads(done.stdout)["key"] == place
    assert not (shell.home / "ca" / "private" / "cakey.pem").exists()
    shell.type("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem").check()
    shell.type("grid-ca-sign", "-dir", "ca", "-gencrl").check()
    token.pin_path.write_text("0000\n")
    done = shell.type("grid-ca-sign", "-dir", "ca", "-gencrl")
    assert done.returncode == 1
    assert "PIN" in done.stderr


def test_a_program_may_sign(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    key = shell.home / "ca" / "private" / "cakey.pem"
    moved = shell.home / "elsewhere.pem"
    key.rename(moved)
    place = f"program:/usr/bin/openssl dgst -sha256 -sign {moved}"
    words = ("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem")
    assert shell.type(*words).returncode == 1
    shell.type(*words, "-keyfile", place).check()
    shell.type(*words, "-force", "-keyfile", "elsewhere.pem").check()


def test_a_directory_from_elsewhere_runs_nothing(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    named = shell.home / "ca" / "private" / "keyfile"
    proof = shell.home / "ran"
    module = shell.home / "module.so"
    module.write_bytes(b"\x7fELF")
    module.chmod(0o777)
    uri = f"pkcs11:token=x;object=y?module-path={module}&pin-source=env:HOME"
    for place in (f"program:/bin/touch {proof}", f" PROGRAM:/bin/touch {proof}", uri):
        named.write_text(f"{place}\n")
        named.chmod(0o600)
        for words in (("-gencrl",), ("-in", shell.request(), "-out", "cert.pem")):
            done = shell.type("grid-ca-sign", "-dir", "ca", *words)
            assert done.returncode == 1
            assert "give it with -keyfile" in done.stderr or "give the key with -keyfile" in done.stderr, done
    assert not proof.exists()


def test_a_place_that_is_no_file_is_refused_before_anything_is_done(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    words = ("grid-ca-sign", "-dir", "ca", "-in", shell.request())
    shell.type(*words, "-out", "cert.pem").check()
    os.mkfifo(shell.home / "fifo")
    (shell.home / "link").symlink_to(shell.home / "elsewhere")
    before = (shell.home / "ca" / "index.txt").read_text()
    number = (shell.home / "ca" / "crlnumber").read_text()
    for place in ("fifo", "link", ".", "missing/cert.pem"):
        done = shell.type(*words, "-out", place, "-force")
        assert done.returncode == 1
        assert "cannot be written" in done.stderr
        assert shell.type("grid-ca-sign", "-dir", "ca", "-gencrl", "-out", place).returncode == 1
    assert (shell.home / "ca" / "index.txt").read_text() == before
    assert (shell.home / "ca" / "crlnumber").read_text() == number


def test_what_a_ca_needs_is_not_replaced(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    request = shell.request()
    (shell.home / "way").symlink_to("ca")
    shell.type("grid-ca-sign", "-dir", "ca", "-gencrl").check()
    (shell.home / "userkey.pem").write_bytes((shell.home / "ca" / "private" / "cakey.pem").read_bytes())
    files = ("private/cakey.pem", "index.txt", "cacert.pem", "crl/crl.pem", "crlnumber")
    for place in (*(f"ca/{name}" for name in files), "way/serial", "userkey.pem", request):
        before = (shell.home / place).read_bytes()
        done = shell.type("grid-ca-sign", "-dir", "way", "-in", request, "-out", place)
        assert (done.returncode, "is not replaced" in done.stderr) == (1, True), place
        assert (shell.home / place).read_bytes() == before
        if place not in {request, "ca/crl/crl.pem"}:
            assert shell.type("grid-ca-sign", "-dir", "ca", "-gencrl", "-out", place).returncode == 1
    for name in ("passwd", "private/keyfile", "serial.old", "index.txt.attr.new", "newcerts/01.pem", "crl/x.pem"):
        place = f"ca/{name}"  # which would be taken for the CA's
        done = shell.type("grid-ca-sign", "-dir", "ca", "-in", request, "-out", place)
        assert (done.returncode, "is not replaced" in done.stderr) == (1, True), place
        assert not (shell.home / place).exists()
    assert not shell.names("ca", "newcerts")
    # A new file there, the list itself, and one's own old file elsewhere are another matter.
    shell.type("grid-ca-sign", "-dir", "ca", "-in", request, "-out", "ca/alice.pem").check()
    shell.type("grid-ca-sign", "-dir", "ca", "-in", request, "-out", "old.pem", "-force").check()
    shell.type("grid-ca-sign", "-dir", "ca", "-in", request, "-out", "old.pem", "-force").check()
    for _ in range(2):
        shell.type("grid-ca-sign", "-dir", "ca", "-gencrl", "-out", "ca/crl/crl.pem", "-crlsec", "90").check()
    (crl,) = parse_crl_file((shell.home / "ca" / "crl" / "crl.pem").read_bytes())
    assert crl.next_update - crl.this_update <= timedelta(minutes=6, seconds=30)


@pytest.mark.parametrize("way", ["keyfile", "file:", "directory", "pin-source", "passin"])
def test_a_key_that_lies_elsewhere_is_not_replaced(shell: Shell, way: str) -> None:
    """However it is named; nor is the file of its pass phrase."""
    shell.type(*CREATE, "-dir", "ca").check()
    kept = shell.home / "elsewhere"
    os.rename(shell.home / "ca" / "private" / "cakey.pem", kept)
    words: tuple[str, ...] = ()
    match way:
        case "keyfile":
            words = ("-keyfile", "elsewhere")
        case "file:":
            words = ("-keyfile", "file:elsewhere")
        case "directory":
            write_file(shell.home / "ca" / "private" / "keyfile", f"{kept}\n".encode(), 0o600)
        case "pin-source":
            words = ("-keyfile", f"PKCS11:token=t;object=x?module-path=/nonexistent&pin-source=file:{kept}")
        case _:
            words = ("-keyfile", "other", "-passin", "file:elsewhere")
    kept.write_bytes(before := b"not to be lost\n")
    request = shell.request()
    for work in (("-in", request), ("-gencrl",)):
        done = shell.type("grid-ca-sign", "-dir", "ca", *words, *work, "-out", "elsewhere")
        assert (done.returncode, "is not replaced" in done.stderr) == (1, True), done.stderr
        assert kept.read_bytes() == before


def test_a_file_that_may_hold_what_cannot_be_had_again_is_not_replaced(shell: Shell) -> None:
    """Keys in every form, requests, and whatever else is no certificate and no list; nothing is issued."""
    shell.type(*CREATE, "-dir", "ca").check()
    made = TestCA("/O=Grid/CN=Other", "p256").issue("/O=Grid/CN=Alice", "p256")
    words = Encoding.DER, PrivateFormat.PKCS8
    pkcs8 = made.key.private_bytes(*words, NoEncryption())
    wish = make_csr("p256")
    kept = {
        "PKCS8": pkcs8,
        "locked PKCS8": made.key.private_bytes(*words, BestAvailableEncryption(b"secret")),
        "SEC 1": made.key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "PKCS12": made.pkcs12(b"secret"),
        "PEM": made.key_pem(),
        "locked PEM": made.key_pem(b"secret", traditional=True),
        "bundle": made.bundle(),
        "joined": made.pem + pkcs8,
        "joined DER": made.der + pkcs8,
        "called a certificate": encode_pem("CERTIFICATE", pkcs8),
        "request": wish,
        "PEM request": made.pem + encode_pem("CERTIFICATE REQUEST", wish),
        "damaged": made.pem + made.key_pem().replace(b"-----BEGIN", b"----BEGIN"),
        "notes": b"the pass phrase\n",
    }
    before, number = (shell.home.joinpath("ca", name).read_bytes() for name in ("index.txt", "crlnumber"))
    for kind, data in kept.items():
        (shell.home / "kept").write_bytes(data)
        for work in (("-in", shell.request()), ("-gencrl",))[: 2 if kind in {"PKCS8", "request"} else 1]:
            done = shell.type("grid-ca-sign", "-dir", "ca", *work, "-out", "kept")
            assert (done.returncode, "kept: is not replaced: it holds" in done.stderr) == (1, True), (kind, done)
            assert "name another file with -out, or move this one away" in done.stderr
            assert (shell.home / "kept").read_bytes() == data, kind
    assert shell.home.joinpath("ca", "index.txt").read_bytes() == before
    assert shell.home.joinpath("ca", "crlnumber").read_bytes() == number
    assert not shell.names("ca", "newcerts")


def test_certificates_and_lists_are_replaced(shell: Shell) -> None:
    """With the text that openssl writes around them, and in DER; and so is the empty file of grid-cert-request."""
    shell.type(*CREATE, "-dir", "ca").check()
    shell.type("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem").check()
    authority = TestCA("/O=Grid/CN=Other", "p256")
    made = authority.issue("/O=Grid/CN=Alice", "p256")
    crl = authority.crl()
    crl_der = x509.load_pem_x509_crl(crl).public_bytes(Encoding.DER)
    attributes = "Bag Attributes\r\n    friendlyName: J\xf6rg\r\n".encode("latin-1")
    text = "".join(
        run([c_program("openssl"), kind, "-text"], env=shell.variables, stdin=pem).check().stdout
        for kind, pem in (("x509", made.pem), ("crl", crl))
    )
    partial = authority.crl(extensions=[(x509.DeltaCRLIndicator(1), True)])
    olds = [
        b"",
        (shell.home / "cert.pem").read_bytes(),
        text.encode(),
        text.replace("\n", "\r\n").encode(),
        attributes + made.pem + authority.pem,
        partial,
        made.der,
        crl_der,
    ]
    for number, old in enumerate(olds):
        (shell.home / "old").write_bytes(old)
        work = ("-in", "request", "-force") if number % 2 else ("-gencrl",)
        shell.type("grid-ca-sign", "-dir", "ca", *work, "-out", "old").check()
        assert (shell.home / "old").read_bytes() != old


def test_a_name_that_no_file_can_have_is_refused_before_anything_is_done(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    (shell.home / "program").write_bytes(b"")
    (shell.home / "program").chmod(0o755)
    before, number = (shell.home.joinpath("ca", name).read_bytes() for name in ("index.txt", "crlnumber"))
    for name, why in (("", "-out: the name"), ("x" * 256, "too long"), ("program/", "Not a directory")):
        for work in (("-in", shell.request()), ("-gencrl",)):
            done = shell.type("grid-ca-sign", "-dir", "ca", *work, "-out", name)
            assert (done.returncode, why in done.stderr) == (1, True), done
    assert shell.home.joinpath("ca", "index.txt").read_bytes() == before
    assert shell.home.joinpath("ca", "crlnumber").read_bytes() == number
    assert not shell.names("ca", "newcerts") | shell.names("ca", "crl")


def test_a_file_that_is_longer_than_any_list_is_not_replaced(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    with (shell.home / "big").open("wb") as file:
        file.truncate(MAX_CRL_BYTES + 1)
    for work in (("-in", shell.request()), ("-gencrl",)):
        done = shell.type("grid-ca-sign", "-dir", "ca", *work, "-out", "big")
        assert (done.returncode, f"big: is not replaced: it is longer than {MAX_CRL_BYTES}" in done.stderr) == (1, True)
        assert "name another file with -out" in done.stderr
    assert (shell.home / "big").stat().st_size == MAX_CRL_BYTES + 1
    assert not shell.names("ca", "newcerts")


def test_why_a_certificate_is_revoked(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    shell.type("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem").check()
    revoke = ("grid-ca-sign", "-dir", "ca", "-revoke", "cert.pem")
    for time in ("19000101000000Z", "00010101000000Z", "29990101000000Z", "20260230000000Z", "yesterday"):
        for option in ("-crl_compromise", "-crl_CA_compromise"):
            done = shell.type(*revoke, option, time)
            assert (done.returncode, option in done.stderr, time in done.stderr) == (1, True, True), done
    for option, value in (("-crl_compromise", "20260102030405Z"), ("-crl_reason", "superseded")):
        done = shell.type("grid-ca-sign", "-dir", "ca", "-gencrl", option, value)
        assert (done.returncode, "it goes with -revoke" in done.stderr) == (1, True), done
    shell.type(*revoke, "-crl_CA_compromise", "19991231235959Z").check()
    shell.type("grid-ca-sign", "-dir", "ca", "-gencrl").check()
    (entry,) = x509.load_pem_x509_crl((shell.home / "ca" / "crl" / "crl.pem").read_bytes())
    since = entry.extensions.get_extension_for_class(x509.InvalidityDate).value
    assert since.invalidity_date_utc == datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_a_ca_below_another_keeps_to_its_signing_policy(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    sub = TestCA("/O=Grid/CN=CA", "p256", parent=TestCA("/O=National/CN=Root", "p256"))
    write_file(shell.home / "ca" / "cacert.pem", sub.pem, 0o644)
    write_file(shell.home / "ca" / "private" / "cakey.pem", sub.credential.key_pem(), 0o600)
    words = ("grid-ca-sign", "-dir", "ca", "-out", "cert.pem", "-in")
    done = shell.type(*words, shell.request("/O=Other/CN=x"))
    assert (done.returncode, "does not permit" in done.stderr) == (1, True)
    shell.type(*words, shell.request()).check()


def test_names_that_only_a_proxy_may_have(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca").check()
    words = ("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem")
    subject = json.loads(shell.type(*words, "-json").check().stdout)["subject"]
    authority = shell.type("grid-cert-info", "-file", "ca/cacert.pem", "-subject").check().stdout.strip()
    for name in (f"{subject}/CN=2032090529", f"{subject}/CN=Proxy", authority):
        done = shell.type(*words, "-subj", name)
        assert done.returncode == 1, name
        assert "name of a proxy of" in done.stderr or "CA's own name" in done.stderr, done


@pytest.mark.parametrize("name", ["a..b", "*", "bank.example.org\0.evil"])
def test_wishes_for_names_that_are_none(shell: Shell, name: str) -> None:
    wish = x509.SubjectAlternativeName([x509.DNSName(name)])
    write_file(shell.home / "wish.der", make_csr(extensions=[wish]), 0o644)
    shell.type(*CREATE, "-dir", "ca").check()
    words = ("-in", "wish.der", "-out", "cert.pem", "-subj", "/O=Grid/CN=Alice", "-copy-names")
    done = shell.type("grid-ca-sign", "-dir", "ca", *words)
    assert done.returncode == 1, done
    assert "is no host name" in done.stderr, done


def test_times_and_subjects(shell: Shell) -> None:
    shell.type(*CREATE, "-dir", "ca", "-days", "20").check()
    words = ("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem", "-json")
    done = shell.type(*words, "-days", "99").check()
    assert json.loads(done.stdout)["shortened"] is True
    assert "ends with the CA's" in done.stderr
    named = shell.type(*words, "-subj", "cn=Bob, o=Grid", "-san", "email:bob@example.org", "-days", "3").check()
    assert json.loads(named.stdout)["subject"] == "/O=Grid/CN=Bob"
    for wrong in (
        ("-days", "3", "-enddate", "20991231000000Z"),
        ("-enddate", "20010101000000Z"),
        ("-startdate", "tomorrow"),
        ("-enddate", "20991331000000Z"),
        ("-san", "DNS:a", "-copy-names"),
        ("-san", "a"),
        ("-subj", "Bob"),
        ("-revoke", "cert.pem"),
        ("-days", "0"),
        ("-md", "md5"),
    ):
        done = shell.type(*words, "-force", *wrong) if wrong[0] != "-revoke" else shell.type(*words, "-gencrl", *wrong)
        assert done.returncode == 1, wrong
        assert done.stdout == "", wrong


def test_years_of_two_digits(shell: Shell) -> None:
    """As `openssl ca` reads them: up to 49 in this century, from 50 in the last."""
    shell.type(*CREATE, "-dir", "ca", "-days", "20000").check()
    words = ("grid-ca-sign", "-dir", "ca", "-in", shell.request(), "-out", "cert.pem", "-json", "-force")
    done = shell.type(*words, "-startdate", "450102030405Z", "-enddate", "491231235959Z").check()
    made = x509.load_pem_x509_certificate((shell.home / "cert.pem").read_bytes())
    assert (made.not_valid_before_utc.year, made.not_valid_after_utc.year) == (2045, 2049), done.stdout
    done = shell.type(*words, "-enddate", "500101000000Z")
    assert done.returncode == 1
    assert "-enddate: it would end before it begins" in done.stderr


def test_pass_phrases_and_programs_that_no_ca_can_have(shell: Shell) -> None:
    create = [word for word in CREATE if word != "-nopw"]
    done = shell.type(*create, "-dir", "ca", "-pass", "stdin", stdin="abc\n")
    assert done.returncode == 1
    assert "shorter than 4 bytes" in done.stderr
    done = shell.type(*CREATE, "-dir", "ca", "-keyfile", "program:/bin/true")
    assert done.returncode == 1
    assert "cannot be asked for its public key" in done.stderr
    assert not (shell.home / "ca").exists()
    shell.type(*create, "-dir", "ca", "-pass", "stdin", stdin="abcd\n").check()


# --- grid-default-ca and grid-ca-package -----------------------------------------------------------------------------


@pytest.fixture
def stems(shell: Shell) -> list[str]:
    """Two CAs in the trust directory, the first of them with all its settings."""
    found = []
    for number, name in enumerate(("/O=Grid/CN=First", "/O=Grid/CN=Second")):
        ca = TestCA(name, "p256")
        shell.user.trust(ca)
        stem = subject_hash(ca.certificate)
        found.append(stem)
        if number == 0:
            for setting in ("grid-security.conf", "globus-host-ssl.conf", "globus-user-ssl.conf"):
                write_file(shell.user.trust_dir / f"{setting}.{stem}", b"#\n", 0o644)
    (shell.home / "security").mkdir()
    shell.variables["GRID_SECURITY_DIR"] = str(shell.home / "security")
    return found


def test_the_default_changes_as_a_whole_or_not_at_all(shell: Shell, stems: list[str]) -> None:
    first, second = stems
    done = shell.type("grid-default-ca", "-ca", second)
    assert done.returncode == 1
    assert f"grid-security.conf.{second} does not exist" in done.stderr
    assert shell.names("security") == set()
    done = shell.type("grid-default-ca", "-ca", first, "-json").check()
    assert set(json.loads(done.stdout)["links"]) == {
        str(shell.home / "security" / name) for name in shell.names("security")
    }
    assert json.loads(shell.type("grid-default-ca", "-list", "-json").check().stdout)["default"] == first
    for setting in ("grid-security.conf", "globus-host-ssl.conf", "globus-user-ssl.conf"):
        write_file(shell.user.trust_dir / f"{setting}.{second}", b"#\n", 0o644)
    link = shell.home / "security" / "globus-user-ssl.conf"  # the last one
    link.unlink()
    link.write_text("mine")
    done = shell.type("grid-default-ca", "-ca", second)
    assert done.returncode == 1
    assert "is no link" in done.stderr
    assert link.read_text() == "mine"
    assert shell.names("security") == {"grid-security.conf", "globus-host-ssl.conf", "globus-user-ssl.conf"}
    assert json.loads(shell.type("grid-default-ca", "-list", "-json").check().stdout)["default"] == first


def test_a_number_chooses(shell: Shell, stems: list[str]) -> None:
    order = sorted(stems).index(stems[0]) + 1
    done = shell.type("grid-default-ca", stdin=f"0\nx\n99\n{order}\n").check()
    assert done.stderr.count("is not a valid index!") == 3
    assert os.readlink(shell.home / "security" / "grid-security.conf").endswith(f".{stems[0]}")
    for answer in ("q\n", ""):
        assert shell.type("grid-default-ca", stdin=answer).returncode == 1
    made = shell.type("grid-ca-package", "-q", stdin=f"{order}\n").check()
    assert f"globus_simple_ca_{stems[0]}.tar.gz" in shell.names(), made


def test_where_the_links_go_must_be_said(shell: Shell, stems: list[str]) -> None:
    del shell.variables["GRID_SECURITY_DIR"]
    done = shell.type("grid-default-ca", "-ca", stems[0])
    assert done.returncode == 1
    assert "GRID_SECURITY_DIR" in done.stderr
    shell.variables["GRID_SECURITY_DIR"] = str(shell.home / "none")
    assert "permission" in shell.type("grid-default-ca", "-ca", stems[0]).stderr


def test_no_ca_at_all(shell: Shell) -> None:
    for words in (("grid-default-ca", "-list"), ("grid-default-ca",), ("grid-ca-package",)):
        done = shell.type(*words)
        assert done.returncode == 1
        assert "hint: " in done.stderr
    assert shell.type("grid-ca-sign", "-gencrl").returncode == 1


BAD_URLS = (
    "http:///crl.pem",
    "http://ca.example.org:99999/crl.pem",
    "https://[::1/crl.pem",
    "http://me:secret@a/c.pem",
)


def test_packages_of_a_ca_without_a_policy_are_not_made(shell: Shell, stems: list[str]) -> None:
    (shell.user.trust_dir / f"{stems[1]}.signing_policy").unlink()
    done = shell.type("grid-ca-package", "-ca", stems[1])
    assert done.returncode == 1
    assert "signing_policy" in done.stderr
    done = shell.type("grid-ca-package", "-ca", stems[0], "-out", "nowhere")
    assert done.returncode == 1
    done = shell.type("grid-ca-package", "-ca", stems[0], "-package-version", "1\n2")
    assert done.returncode == 1
    for url in ("crl.pem", "ftp://ca.example.org/crl.pem", "http:crl.pem", "http://ca.example.org/#crl", *BAD_URLS):
        assert "hint: " in shell.type("grid-ca-package", "-ca", stems[0], "-crl-url", url).stderr
    assert not any(name.endswith(".tar.gz") for name in shell.names())
