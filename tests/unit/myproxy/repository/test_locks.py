"""Locks of others' making: what a try costs, copies that OpenSSL opens, hashes of crypt(3), the same work for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi import keylocks, keys
from gsi.errors import AuthenticationError, CredentialError, StorageError
from gsi.keys import encode_private_key, parse_private_key
from gsi.pem import encode_pem, split_pem
from gsi.secret import Passphrase
from myproxy.repository import seal as seal_module
from myproxy.repository.locks import (
    MAX_UPLOADED_ITERATIONS,
    check_lock,
    is_crypt,
    lock_cost,
    lock_for_export,
    matches_crypt,
    open_lock,
)
from myproxy.repository.seal import ExportedKey, Place, Sealer, SealParameters
from myproxy.repository.sealforms import GUARDED, SEALED_WITH_COPY, describe_form, method_of
from tests.harness.ca import KeyKind, pooled_key, write_file
from tests.harness.environment import clean_environment
from tests.harness.run import c_program, run

PLACE = Place("alice", None, "/O=Grid/CN=Alice", "ab" * 32)
SECRET, WRONG = Passphrase("correct horse"), Passphrase("wrong horse")
PRICE = SealParameters(memory_kib=8, iterations=1)
KEY = encode_private_key(pooled_key("p256"))
# perl -e 'print crypt("passphrase", "ab")'
HASH = b"ablUDMr6t4HK6"


def locked(tmp_path: Path, *options: str) -> bytes:
    write_file(tmp_path / "open.pem", KEY, 0o600)
    argv: list[str | Path] = [
        c_program("openssl"),
        *options,
        "-in",
        tmp_path / "open.pem",
        "-out",
        tmp_path / "out.pem",
    ]
    run([*argv, "-passout", "pass:correct horse"], env=clean_environment(tmp_path)).check()
    return (tmp_path / "out.pem").read_bytes()


OPTIONS = {
    "traditional": (["ec", "-des3"], 0),
    "openssl's own": (["pkcs8", "-topk8"], 2048),
    "dearer": (["pkcs8", "-topk8", "-iter", "50000"], 50000),
    "too dear": (["pkcs8", "-topk8", "-iter", str(MAX_UPLOADED_ITERATIONS + 1)], MAX_UPLOADED_ITERATIONS + 1),
    "scrypt": (["pkcs8", "-topk8", "-scrypt"], None),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_a_try_costs(tmp_path: Path, name: str) -> None:
    options, cost = OPTIONS[name]
    text = locked(tmp_path, *options)
    assert lock_cost(text) == cost
    (block,) = split_pem(text, what="test")
    if name == "too dear":
        with pytest.raises(CredentialError, match="costs 2000001 iterations a try"):
            check_lock(block)
        return
    check_lock(block)
    assert open_lock(text, SECRET) == KEY


def test_what_is_no_lock() -> None:
    assert lock_cost(b"") is lock_cost(b"garbage") is None
    assert lock_cost(KEY + KEY) is None


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
def test_openssl_opens_a_copy(tmp_path: Path, kind: KeyKind) -> None:
    key = encode_private_key(pooled_key(kind))
    copy = lock_for_export(key, SECRET)
    write_file(tmp_path / "copy.pem", copy, 0o600)
    argv: list[str | Path] = [c_program("openssl"), "pkey", "-in", tmp_path / "copy.pem", "-passin"]
    opened = run([*argv, "pass:correct horse"], env=clean_environment(tmp_path)).check().stdout
    assert keys.same_key(parse_private_key(split_pem(opened.encode(), what="x")[0]), keys.spki_der(pooled_key_of(key)))
    assert run([*argv, "pass:wrong horse"], env=clean_environment(tmp_path)).returncode != 0
    assert open_lock(copy, SECRET) == key
    assert copy != lock_for_export(key, SECRET)


def pooled_key_of(pem: bytes) -> keys.PrivateKey:
    return parse_private_key(split_pem(pem, what="test")[0])


def test_a_copy_costs_what_openssl_asks_for() -> None:
    (block,) = split_pem(lock_for_export(KEY, SECRET), what="test")
    from gsi import der

    algorithm = der.Reader(block.data, what="test").sequence().take_raw(der.SEQUENCE)
    assert keylocks.kdf_cost(algorithm) == (1 << 14) * 8


def test_what_cannot_be_copied() -> None:
    with pytest.raises(StorageError, match="no PEM block"):
        lock_for_export(b"garbage", SECRET)


# In the sealer ----------------------------------------------------------------------------------------------------


def test_a_seal_with_a_copy() -> None:
    sealer = Sealer(PRICE, keeps_copies=True)
    blob = sealer.seal(KEY, SECRET, PLACE)
    assert (method_of(blob), describe_form(blob)) == (SEALED_WITH_COPY, "3:8/1/1")
    assert sealer.is_current(blob)
    assert not Sealer(PRICE).is_current(blob)
    assert not sealer.is_current(Sealer(PRICE).seal(KEY, SECRET, PLACE))
    assert sealer.open(blob, SECRET, PLACE) == KEY
    exported = sealer.export(blob, PLACE)
    assert exported is not None
    assert open_lock(exported.block, SECRET) == KEY
    assert Sealer(PRICE).export(Sealer(PRICE).seal(KEY, SECRET, PLACE), PLACE) is None
    for index in (*range(44, 50), *range(50, len(blob), 11)):  # behind the header, which is that of every seal
        broken = bytearray(blob)
        broken[index] ^= 0x01
        with pytest.raises((AuthenticationError, StorageError)):
            sealer.open(bytes(broken), SECRET, PLACE)


def test_opening_does_not_touch_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    sealer = Sealer(PRICE, keeps_copies=True)
    blob = sealer.seal(KEY, SECRET, PLACE)
    monkeypatch.setattr(seal_module, "lock_for_export", None)
    monkeypatch.setattr(seal_module, "open_lock", None)
    assert sealer.open(blob, SECRET, PLACE) == KEY


def test_hashes_of_crypt() -> None:
    assert matches_crypt(HASH, Passphrase("passphrase"))
    assert matches_crypt(HASH, Passphrase("passphra and what is behind eight bytes"))
    assert not matches_crypt(HASH, Passphrase("passphrasE"[:7]))
    assert not matches_crypt(HASH, Passphrase("passphrase\0"))
    assert is_crypt(HASH)
    for text in (b"", HASH[:-1], HASH + b"x", b"$1$abcdefghij", b"ab:UDMr6t4HK6"):
        assert not is_crypt(text)
        assert not matches_crypt(text, Passphrase("passphrase"))


def test_a_key_in_clear_with_the_hash_of_its_pass_phrase() -> None:
    sealer = Sealer(PRICE)
    blob = sealer.guard(KEY, HASH, PLACE)
    assert method_of(blob) == GUARDED
    assert not sealer.is_current(blob)
    assert sealer.open(blob, Passphrase("passphrase"), PLACE) == KEY
    for wrong in (WRONG, Passphrase("")):
        with pytest.raises(AuthenticationError, match=r"^invalid credential passphrase$"):
            sealer.open(blob, wrong, PLACE)
    assert sealer.export(blob, PLACE) == ExportedKey(KEY, HASH)
    assert sealer.is_current(sealer.renew(blob, KEY, Passphrase("passphrase"), PLACE))


class Meter:
    """Counts the hashes that nobody needs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hashes: list[int] = []
        monkeypatch.setattr("hashlib.pbkdf2_hmac", self._hash)

    def _hash(self, _name: str, _password: bytes, _salt: bytes, iterations: int) -> bytes:
        self.hashes.append(iterations)
        return b""

    def take(self) -> list[int]:
        taken, self.hashes = self.hashes, []
        return taken


def keep(sealer: Sealer, iterations: int) -> bytes:
    """A key under its owner's lock of so many iterations; the lock itself is not opened here."""
    from gsi import der

    pbkdf2 = der.encode_sequence(
        der.encode_oid("1.2.840.113549.1.5.12"),
        der.encode_sequence(der.encode_octet_string(b"saltsalt"), der.encode_integer(iterations)),
    )
    cipher = der.encode_sequence(der.encode_oid("2.16.840.1.101.3.4.1.42"), der.encode_octet_string(bytes(16)))
    algorithm = der.encode_sequence(der.encode_oid("1.2.840.113549.1.5.13"), der.encode_sequence(pbkdf2, cipher))
    content = der.encode_sequence(algorithm, der.encode_octet_string(bytes(32)))
    return sealer.keep(encode_pem("ENCRYPTED PRIVATE KEY", content), PLACE)


def test_everybody_pays_for_the_dearest_lock_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    sealer = Sealer(PRICE, locks_in_use=[0, 2048, 600_000])
    sealed, unsealed = sealer.seal(KEY, SECRET, PLACE), sealer.seal(KEY, Passphrase(""), PLACE)
    cheap, usual, dear = (keep(sealer, iterations) for iterations in (100, 2048, 600_000))
    meter = Meter(monkeypatch)
    monkeypatch.setattr(seal_module, "open_lock", refuse)

    def paid(blob: bytes) -> list[int]:
        with pytest.raises(AuthenticationError):
            sealer.open(blob, WRONG, PLACE)
        return meter.take()

    sealer.pretend(WRONG)
    assert meter.take() == paid(sealed) == paid(unsealed) == [2048]
    assert paid(cheap) == [1948], "the rest is the lock's own"
    assert paid(usual) == []
    assert paid(dear) == [], "its owner has chosen to pay more, and nobody else does"
    dearer = keep(sealer, 4096)
    assert paid(dearer) == []
    sealer.pretend(WRONG)
    assert meter.take() == [4096], "what was met for the first time is charged from then on"


def refuse(_text: bytes, _passphrase: Passphrase) -> bytes:
    from gsi.errors import CredentialProblem

    raise CredentialError("wrong", problem=CredentialProblem.WRONG_PASSPHRASE)


def test_nobody_pays_where_there_are_no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(monkeypatch)
    sealer = Sealer(PRICE, locks_in_use=[0])
    sealer.pretend(WRONG)
    assert sealer.open(sealer.seal(KEY, SECRET, PLACE), SECRET, PLACE) == KEY
    assert meter.take() == []
