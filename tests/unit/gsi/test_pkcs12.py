"""PKCS#12: what opening costs, also where it only shows inside an encrypted part; every form that OpenSSL writes."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from gsi import der
from gsi.errors import CredentialError, CredentialProblem
from gsi.keylocks import MAX_KDF_ITERATIONS
from gsi.pkcs12 import KDF_ROUNDS, check_pkcs12, parse_pkcs12_bag, relock_pkcs12
from gsi.secret import Passphrase
from tests.harness.ca import Issued, TestCA

if TYPE_CHECKING:
    from pathlib import Path

DATA: Final = der.encode_oid("1.2.840.113549.1.7.1")
SALT: Final = b"saltsalt"
VECTOR: Final = b"v" * 16


@pytest.fixture(scope="module")
def alice() -> Issued:
    return TestCA("/O=Grid/CN=CA").issue("/O=Grid/CN=Alice")


@pytest.mark.parametrize("secret", ["x", "", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{EURO SIGN}", "a" * 70])
@pytest.mark.parametrize(
    "options",
    [
        ("-certpbe", "PBE-SHA1-3DES"),
        ("-certpbe", "PBE-SHA1-2DES"),
        ("-certpbe", "PBE-SHA1-RC2-40", "-legacy"),
        ("-certpbe", "PBE-SHA1-RC2-128", "-legacy"),
        ("-certpbe", "PBE-SHA1-RC4-40", "-legacy"),
        ("-certpbe", "PBE-SHA1-RC4-128", "-legacy"),
        ("-certpbe", "aes-128-cbc"),
    ],
    ids=lambda words: words[1],
)
def test_every_form_is_seen_into(alice: Issued, tmp_path: Path, options: tuple[str, ...], secret: str) -> None:
    path = tmp_path / "alice.pem"
    path.write_bytes(alice.bundle())
    command = ["openssl", "pkcs12", "-export", "-in", str(path), "-passout", f"pass:{secret}", *options]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    _, certificates = parse_pkcs12_bag(data, Passphrase(secret))
    assert [certificate.der for certificate in certificates] == [alice.der]
    for wrong in (Passphrase("wrong"), None if secret else Passphrase("other")):
        with pytest.raises(CredentialError) as caught:
            parse_pkcs12_bag(data, wrong)
        assert caught.value.problem in {CredentialProblem.WRONG_PASSPHRASE, CredentialProblem.NEEDS_PASSPHRASE}


def test_an_unknown_form_is_refused_with_a_way_out(alice: Issued, tmp_path: Path) -> None:
    path = tmp_path / "alice.pem"
    path.write_bytes(alice.bundle())
    command = ["openssl", "pkcs12", "-export", "-in", str(path), "-passout", "pass:x", "-certpbe", "camellia-256-cbc"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    with pytest.raises(CredentialError, match="not known") as caught:
        parse_pkcs12_bag(data, Passphrase("x"))
    assert caught.value.problem is CredentialProblem.UNSUPPORTED_KEY
    assert caught.value.hint


# Made by hand: a locked key whose rounds only show once the part around it is opened


def pbes2(rounds: int) -> bytes:
    prf = der.encode_sequence(der.encode_oid("1.2.840.113549.2.9"), b"\x05\x00")
    derivation = der.encode_sequence(
        der.encode_oid("1.2.840.113549.1.5.12"),
        der.encode_sequence(der.encode_octet_string(SALT), der.encode_integer(rounds), prf),
    )
    cipher = der.encode_sequence(der.encode_oid("2.16.840.1.101.3.4.1.42"), der.encode_octet_string(VECTOR))
    return der.encode_sequence(der.encode_oid("1.2.840.113549.1.5.13"), der.encode_sequence(derivation, cipher))


def encrypted_data(content: bytes, secret: bytes) -> bytes:
    padding = 16 - len(content) % 16
    cipher = Cipher(algorithms.AES(hashlib.pbkdf2_hmac("sha256", secret, SALT, 1000, 32)), modes.CBC(VECTOR))
    locked = cipher.encryptor().update(content + bytes((padding,)) * padding)
    described = der.encode_sequence(DATA, pbes2(1000), der.encode_tlv(0x80, locked))
    body = der.encode_sequence(der.encode_integer(0), described)
    return der.encode_sequence(der.encode_oid("1.2.840.113549.1.7.6"), der.encode_explicit(0, body))


def shrouded_bag(rounds: int) -> bytes:
    locked = der.encode_sequence(pbes2(rounds), der.encode_octet_string(bytes(64)))
    return der.encode_sequence(der.encode_oid("1.2.840.113549.1.12.10.1.2"), der.encode_explicit(0, locked))


def pfx(*contents: bytes) -> bytes:
    safe = der.encode_sequence(DATA, der.encode_explicit(0, der.encode_octet_string(der.encode_sequence(*contents))))
    return der.encode_sequence(der.encode_integer(3), safe)


@pytest.mark.parametrize(
    "bags",
    [
        [shrouded_bag(2**31 - 1)],
        [shrouded_bag(MAX_KDF_ITERATIONS // 2)] * 3,
        [der.encode_sequence(der.encode_oid("1.2.840.113549.1.12.10.1.6"), der.encode_explicit(0, b"\x30\x00"))],
    ],
    ids=["one", "sum", "bags-within-bags"],
)
def test_costs_inside_an_encrypted_part_are_counted(bags: list[bytes]) -> None:
    """The library would have run them all: hours, for a file of a few hundred bytes."""
    data = pfx(encrypted_data(der.encode_sequence(*bags), b"secret"))
    assert check_pkcs12(data) == 1000
    with pytest.raises(CredentialError) as caught:
        parse_pkcs12_bag(data, Passphrase("secret"))
    assert caught.value.problem is CredentialProblem.UNSUPPORTED_KEY
    with pytest.raises(CredentialError) as caught:
        parse_pkcs12_bag(data, Passphrase("wrong"))
    assert caught.value.problem is CredentialProblem.WRONG_PASSPHRASE


def test_the_cost_is_summed_over_all_parts() -> None:
    """Each part alone is within bounds."""
    part = encrypted_data(der.encode_sequence(shrouded_bag(MAX_KDF_ITERATIONS // 2)), b"secret")
    with pytest.raises(CredentialError, match="rounds of key derivation"):
        parse_pkcs12_bag(pfx(part, part, part), Passphrase("secret"))


@pytest.mark.parametrize(
    ("old", "new"),
    [("old", "new one"), ("", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{EURO SIGN}"), ("old", None)],
)
def test_another_pass_phrase_for_the_same_content(alice: Issued, tmp_path: Path, old: str, new: str | None) -> None:
    path = tmp_path / "alice.pem"
    path.write_bytes(alice.bundle() + alice.proxy().pem)
    command = ["openssl", "pkcs12", "-export", "-in", str(path), "-passout", f"pass:{old}", "-name", "Alice"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    fresh = relock_pkcs12(data, Passphrase(old), None if new is None else Passphrase(new))
    secret = Passphrase(new or "")
    key, certificates = parse_pkcs12_bag(fresh, secret)
    assert certificates == parse_pkcs12_bag(data, Passphrase(old))[1]
    assert key.public_key() == alice.key.public_key()
    assert check_pkcs12(fresh) == (2048 if new is None else 3 * KDF_ROUNDS)  # without a lock only the integrity check
    shown = subprocess.run(
        ["openssl", "pkcs12", "-passin", f"pass:{new or ''}", "-nodes"], input=fresh, capture_output=True, check=True
    )
    assert b"friendlyName: Alice" in shown.stdout
    if new is not None:
        with pytest.raises(CredentialError, match="wrong"):
            parse_pkcs12_bag(fresh, Passphrase(old))


def test_a_new_lock_needs_a_pass_phrase_and_the_old_one(alice: Issued) -> None:
    data = alice.pkcs12(b"old")
    with pytest.raises(CredentialError, match="empty pass phrase"):
        relock_pkcs12(data, Passphrase("old"), Passphrase(""))
    with pytest.raises(CredentialError, match="wrong"):
        relock_pkcs12(data, Passphrase("new"), Passphrase("new"))
    with pytest.raises(CredentialError, match="cannot be written anew"):
        relock_pkcs12(data, Passphrase("old"), Passphrase(b"\xff\xfe"))
