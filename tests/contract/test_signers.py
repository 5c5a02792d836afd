"""What holds for every signer: key file, external program, PKCS#11 token; of every kind of key each can hold."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization

from gsi import der, keys
from gsi.ca import Digest, Grant, Issuer, KeySigner, Signer, load_signer, make_crl, make_root, parse_request
from gsi.ca.pkcs11_signer import PKCS11Signer
from gsi.certificate import Certificate
from gsi.errors import ConfigError, CredentialError, CredentialProblem, IssuanceError, IssuanceStep
from gsi.names import parse_oneline
from gsi.pem import split_pem
from gsi.secret import Passphrase
from tests.harness.ca import KeyKind, PrivateKey, TestCA, pooled_key, write_file
from tests.harness.run import c_program, run
from tests.harness.softhsm import MODULE, Token, make_token, used_here
from tests.unit.gsi.ca.support import Books, make_csr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KINDS: Final[dict[str, tuple[KeyKind, ...]]] = {
    "file": ("rsa2048", "p256", "p384", "ed25519"),
    "program": ("rsa2048", "p256", "p384"),
    "pkcs11": ("rsa2048", "p256", "p384"),
}
CASES: Final = [(form, kind) for form, kinds in KINDS.items() for kind in kinds]


class Place(NamedTuple):
    """A key, where it lies, and the certificate of its CA."""

    place: str
    key: PrivateKey
    ca: Certificate
    form: str
    directory: Path


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    with used_here(make_token(tmp_path_factory.mktemp("hsm"))) as made:
        yield made


def pem_of(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture(params=CASES, ids="-".join)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    form, kind = request.param
    ca = TestCA("/O=Grid/CN=CA", kind, not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=900))
    path = tmp_path / "cakey.pem"
    write_file(path, pem_of(ca.key), 0o600)
    where = str(path)
    if form == "program":
        digest = "sha384" if kind == "p384" else "sha256"
        where = f"program:{c_program('openssl')} dgst -{digest} -sign '{path}'"
    elif form == "pkcs11":
        held: Token = request.getfixturevalue("token")
        label = f"key-{os.urandom(4).hex()}"
        held.add_key(label, ca.key, key_id=os.urandom(4).hex())
        where = held.uri(label)
    return Place(where, ca.key, Certificate.parse(ca.der), form, tmp_path)


@pytest.fixture
def signer(place: Place) -> Iterator[Signer]:
    made = load_signer(place.place, certificate=place.ca)
    yield made
    made.close()


def test_its_signatures_are_good_under_the_key_and_algorithm_that_it_names(place: Place, signer: Signer) -> None:
    assert signer.spki_der == keys.spki_der(place.key)
    for data in (b"", b"x", os.urandom(100_000)):
        keys.verify_signature(place.key.public_key(), signer.algorithm_der, signer.sign(data), data)


def test_it_issues_and_revokes(place: Place, signer: Signer) -> None:
    issuer = Issuer(place.ca, signer, recorder=Books())
    grant = Grant(subject_der=parse_oneline("/O=Grid/CN=A"), requester="a", lifetime=timedelta(hours=1))
    certificate = issuer.issue(parse_request(make_csr("p256")), grant, now=NOW).certificate
    certificate.x509.verify_directly_issued_by(place.ca.x509)
    assert make_crl(place.ca, signer, [], number=1, now=NOW, lifetime=timedelta(days=1))
    root = make_root(signer, parse_oneline("/O=Grid/CN=New"), now=NOW, lifetime=timedelta(days=1))
    assert root.spki_der == signer.spki_der


def test_threads_may_share_it(place: Place, signer: Signer) -> None:
    made: list[tuple[bytes, bytes]] = []

    def work(number: int) -> None:
        data = bytes([number]) * 50
        made.extend((data, signer.sign(data)) for _ in range(3))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 12
    for data, signature in made:
        keys.verify_signature(place.key.public_key(), signer.algorithm_der, signature, data)


@pytest.mark.parametrize("digest", Digest)
def test_the_digest_may_be_chosen_where_the_key_takes_one(place: Place, digest: Digest) -> None:
    if place.form == "program":
        where = place.place.replace("dgst -sha256", f"dgst -{digest}").replace("dgst -sha384", f"dgst -{digest}")
    else:
        where = place.place
    if place.ca.public_key().__class__.__name__.startswith("Ed25519"):
        with pytest.raises(ConfigError):
            load_signer(where, certificate=place.ca, digest=digest)
        return
    with contextlib.closing(load_signer(where, certificate=place.ca, digest=digest)) as signer:
        keys.verify_signature(place.key.public_key(), signer.algorithm_der, signer.sign(b"x"), b"x")
        oid = der.parse_one(signer.algorithm_der, what="algorithm").oid()
        assert oid.endswith({"sha256": "2", "sha384": "3", "sha512": "4"}[digest]) or "113549" in oid


def test_a_key_of_another_ca_is_refused(place: Place) -> None:
    other = Certificate.parse(TestCA("/O=Grid/CN=CA", "p256").der)
    if place.form == "program":  # it shows when the first certificate is checked
        signer = load_signer(place.place, certificate=other)
        with pytest.raises(IssuanceError) as refused:
            make_root(signer, parse_oneline("/CN=x"), now=NOW, lifetime=timedelta(days=1))
        assert refused.value.step is IssuanceStep.CHECK
        return
    with pytest.raises(CredentialError) as caught:
        load_signer(place.place, certificate=other)
    assert caught.value.problem is CredentialProblem.KEY_MISMATCH


def test_it_can_be_asked_whether_it_would_sign(place: Place) -> None:
    signer = load_signer(place.place, certificate=place.ca)
    signer.probe()
    signer.close()
    if place.form != "program":  # of which nothing is kept that could be put away
        with pytest.raises(IssuanceError, match="put away"):
            signer.probe()


def test_it_does_not_show_its_key(place: Place, signer: Signer) -> None:
    (block,) = split_pem(pem_of(place.key), what="key")
    assert block.data.hex() not in repr(signer)
    assert "1234" not in repr(signer)


# --- key files --------------------------------------------------------------------------------------------------------


def test_locked_key_files(tmp_path: Path) -> None:
    key = pooled_key("p256")
    path = tmp_path / "locked.pem"
    write_file(path, keys.encode_private_key(key, passphrase=Passphrase("secret")), 0o600)
    asked: list[int] = []

    def ask() -> Passphrase:
        asked.append(1)
        return Passphrase("secret")

    assert load_signer(f"file:{path}", passphrase=ask).spki_der == keys.spki_der(key)
    assert asked == [1]
    for passphrase, problem in (
        (None, CredentialProblem.NEEDS_PASSPHRASE),
        (Passphrase("wrong"), CredentialProblem.WRONG_PASSPHRASE),
    ):
        with pytest.raises(CredentialError) as caught:
            load_signer(str(path), passphrase=passphrase)
        assert caught.value.problem is problem
        assert str(path) in caught.value.message


def test_key_files_that_will_not_do(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(CredentialError) as caught:
        load_signer(str(path))
    assert caught.value.problem is CredentialProblem.MISSING
    write_file(path, pem_of(pooled_key("p256")), 0o644)
    with pytest.raises(CredentialError) as caught:
        load_signer(str(path))
    assert caught.value.problem is CredentialProblem.UNSAFE_FILE
    write_file(path, TestCA("/CN=x", "p256").pem, 0o600)
    with pytest.raises(CredentialError) as caught:
        load_signer(str(path))
    assert caught.value.problem is CredentialProblem.KEY_MISSING


def test_a_closed_key_signs_no_more() -> None:
    signer = KeySigner(pooled_key("p256"))
    signer.close()
    with pytest.raises(IssuanceError):
        signer.sign(b"x")


# --- programs ---------------------------------------------------------------------------------------------------------


def test_programs_that_fail(tmp_path: Path) -> None:
    ca = Certificate.parse(TestCA("/CN=x", "p256").der)
    program = tmp_path / "sign"
    for script, words in (
        ("echo the token is gone >&2; exit 4", "ended with status 4: the token is gone"),
        ("exit 0", "no signature"),
        ("cat /dev/zero", "answered more than"),
        ("kill -9 $$", "signal 9"),
    ):
        write_file(program, f"#!/bin/sh\n{script}\n".encode(), 0o700)
        with pytest.raises(IssuanceError, match=words) as caught:
            load_signer(f"program:{program}", certificate=ca).sign(b"x" * 200_000)
        assert caught.value.step is IssuanceStep.SIGN
    with pytest.raises(IssuanceError):
        load_signer(f"program:{tmp_path}/none", certificate=ca).sign(b"x")
    for command in ("sign", "", "'", "./sign"):
        with pytest.raises(ConfigError):
            load_signer(f"program:{command}", certificate=ca)
    with pytest.raises(ConfigError):
        load_signer(f"program:{program}")


# --- tokens -----------------------------------------------------------------------------------------------------------


def spki_of(place: str, *, passphrase: Callable[[], Passphrase] | None = None) -> bytes:
    with contextlib.closing(load_signer(place, passphrase=passphrase)) as signer:
        return signer.spki_der


def test_tokens_and_keys_that_are_not_there(token: Token, tmp_path: Path) -> None:
    token.add_key("there", pooled_key("p256"), key_id="aa")
    for uri in (
        token.uri("absent"),
        token.uri("there", token="absent"),
        token.uri("there").replace(MODULE, "/usr/lib/softhsm/absent.so"),
        token.uri("there").replace(MODULE, str(tmp_path)),
    ):
        with pytest.raises(CredentialError) as caught:
            load_signer(uri)
        assert caught.value.problem is CredentialProblem.MISSING, uri
    assert spki_of(token.uri("there").replace("object=there", "id=%aa"))


def test_two_keys_of_one_name_are_one_too_many(token: Token) -> None:
    for key_id in ("b1", "b2"):
        token.add_key("twin", pooled_key("p256"), key_id=key_id)
    with pytest.raises(CredentialError, match="2 keys"):
        load_signer(token.uri("twin"))
    assert spki_of(token.uri("twin;id=%b2"))


def test_pins(token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token.add_key("pins", pooled_key("p256"), key_id="cc")
    wrong = tmp_path / "pin"
    write_file(wrong, b"4321\n", 0o600)
    with pytest.raises(CredentialError) as caught:
        load_signer(token.uri("pins", pin_source=f"file:{wrong}"))
    assert caught.value.problem is CredentialProblem.WRONG_PASSPHRASE
    os.chmod(wrong, 0o644)
    with pytest.raises(CredentialError) as caught:
        load_signer(token.uri("pins", pin_source=f"file:{wrong}"))
    assert caught.value.problem is CredentialProblem.UNSAFE_FILE
    monkeypatch.setenv("CA_PIN", "1234")
    assert spki_of(token.uri("pins", pin_source="env:CA_PIN"))
    reading, writing = os.pipe()
    os.write(writing, b"1234\n")
    os.close(writing)
    assert spki_of(token.uri("pins", pin_source=f"fd:{reading}"))
    os.close(reading)
    for source in (f"fd:{reading}", "env:CA_NO_PIN", "1234", "fd:x"):
        with pytest.raises(ConfigError):
            load_signer(token.uri("pins", pin_source=source))
    bare = token.uri("pins").partition("&pin-source")[0]
    assert spki_of(bare, passphrase=lambda: Passphrase("1234"))
    with pytest.raises(CredentialError) as caught:
        load_signer(bare)
    assert caught.value.problem is CredentialProblem.NEEDS_PASSPHRASE


# python-pkcs11 ends a search that a lost session never began, and complains of it to nobody.
@pytest.mark.filterwarnings("ignore:.*OperationContext.__del__:pytest.PytestUnraisableExceptionWarning")
def test_a_session_that_was_lost_is_opened_again(token: Token) -> None:
    import pkcs11

    token.add_key("lost", key := pooled_key("p256"), key_id="dd")
    signer = load_signer(token.uri("lost"))
    pkcs11.lib(MODULE).reinitialize()  # what a token does that was pulled out and put back
    keys.verify_signature(key.public_key(), signer.algorithm_der, signer.sign(b"x"), b"x")
    pkcs11.lib(MODULE).reinitialize()
    assert spki_of(token.uri("lost")) == signer.spki_der, "a server that reads its configuration again"
    signer.close()


@pytest.mark.parametrize("first", ["sign", "probe"])
def test_a_token_that_was_away_is_used_again(tmp_path: Path, first: str) -> None:
    held = make_token(tmp_path / "hsm", label="Away")
    held.add_key("away", key := pooled_key("p256"), key_id="ab")
    tokens, elsewhere = tmp_path / "hsm" / "tokens", tmp_path / "elsewhere"
    with used_here(held):
        one, other = load_signer(held.uri("away")), load_signer(held.uri("away"))
        use: Callable[[], object] = one.probe if first == "probe" else lambda: one.sign(b"x")
        for empty in (False, True):  # a module that does not begin at all, and one that finds no token
            tokens.rename(elsewhere)
            if empty:
                tokens.mkdir()
            for _ in range(2):
                with pytest.raises(IssuanceError):
                    use()
            with pytest.raises(IssuanceError):
                other.probe()
            if empty:
                tokens.rmdir()
            elsewhere.rename(tokens)
            use()
            other.probe()
            keys.verify_signature(key.public_key(), other.algorithm_der, other.sign(b"y"), b"y")
        one.close()
        other.close()


def test_a_pin_that_was_changed_is_tried_once_until_it_is_read_again(tmp_path: Path) -> None:
    held = make_token(tmp_path / "hsm", label="Changed")
    held.add_key("key", pooled_key("p256"), key_id="ad")
    script = (
        "import pkcs11, sys\n"
        f"token = pkcs11.lib({MODULE!r}).get_token(token_label='Changed')\n"
        "with token.open(rw=True, user_pin=sys.argv[1]) as session:\n"
        "    session.set_pin(sys.argv[1], sys.argv[2])\n"
    )

    def change(old: str, new: str) -> None:
        run([sys.executable, "-c", script, old, new], env=held.environment).check()
        held.pin_path.write_text(f"{new}\n")

    with used_here(held):
        signer = load_signer(held.uri("key"))
        change("1234", "5678")
        _begin_anew_elsewhere()
        with pytest.raises(IssuanceError, match="the PIN of token 'Changed' is wrong"):
            signer.sign(b"x")
        change("5678", "1234")  # it would be right again, but nobody tries
        with pytest.raises(IssuanceError, match="is not tried again"):
            signer.sign(b"x")
        change("1234", "5678")
        again = load_signer(held.uri("key"))
        assert signer.sign(b"x")
        again.close()
        change("5678", "abcd")  # while it is in use, and before that shows
        _begin_anew_elsewhere()
        again = load_signer(held.uri("key"))
        assert signer.sign(b"x")
        write_file(tmp_path / "wrong", b"9999\n", 0o600)
        with pytest.raises(CredentialError, match="the PIN of token 'Changed' is wrong"):
            load_signer(held.uri("key", pin_source=f"file:{tmp_path}/wrong"))
        assert signer.sign(b"x"), "the one before is still good"
        again.close()
        signer.close()


def _begin_anew_elsewhere() -> None:
    """What a token does that was pulled out and put back."""
    import pkcs11

    pkcs11.lib(MODULE).reinitialize()


def test_a_token_that_is_away_takes_no_other_one_with_it(token: Token) -> None:
    token.add_key("here", pooled_key("p256"), key_id="ac")
    signer = load_signer(token.uri("here"))
    assert isinstance(signer, PKCS11Signer)
    before = signer._login.session()
    with pytest.raises(CredentialError):
        load_signer(token.uri("here", token="NoSuchToken"))
    signer.probe()
    assert signer._login.session() is before
    signer.close()


def test_workers_that_fork_use_it_each(token: Token) -> None:
    token.add_key("fork", key := pooled_key("rsa2048"), key_id="ee")
    signer = load_signer(token.uri("fork"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # nothing here may raise into the test runner
        status = 1
        with contextlib.suppress(BaseException):
            os.write(writing, signer.sign(b"child"))
            status = 0
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        signature = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    keys.verify_signature(key.public_key(), signer.algorithm_der, signature, b"child")
    keys.verify_signature(key.public_key(), signer.algorithm_der, signer.sign(b"parent"), b"parent")
    signer.close()
