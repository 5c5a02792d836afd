"""Keys of the server around keys at rest: which opens what, how they are changed, where they come from."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import AuthenticationError, ConfigError, StorageError
from gsi.secret import Passphrase
from myproxy.repository.keysources import load_server_key, load_server_keys, parse_key_text
from myproxy.repository.seal import Place, Sealer, SealParameters
from myproxy.repository.sealforms import (
    LOCKED_BY_OWNER,
    SEALED,
    SEALED_WITH_COPY,
    UNSEALED,
    KeyForm,
    describe_form,
    is_sealed,
    is_wrapped,
    method_of,
    parse_form,
    read_price,
)
from myproxy.repository.serverkeys import ServerKey, ServerKeys
from tests.harness.ca import pooled_key, write_file
from tests.harness.run import run
from tests.harness.softhsm import MODULE, make_token, used_here

PRICE = SealParameters(memory_kib=8, iterations=1)
PLACE = Place("alice", None, "/O=Grid/CN=Alice", "ab" * 32)
ELSEWHERE = dataclasses.replace(PLACE, username="bob")
SECRET, NOTHING, WRONG = Passphrase("correct horse"), Passphrase(""), Passphrase("wrong horse")
KEY = b"-----BEGIN PRIVATE KEY-----\n..."
FIRST, SECOND, THIRD = (ServerKey(bytes([number]) * 32) for number in (1, 2, 3))


def sealer(*keys: ServerKey, wraps: bool = True, keeps_copies: bool = False) -> Sealer:
    return Sealer(PRICE, server_keys=ServerKeys(keys, wraps=wraps), keeps_copies=keeps_copies)


def blobs(made_by: Sealer) -> dict[int, bytes]:
    return {
        SEALED: made_by.seal(KEY, SECRET, PLACE),
        UNSEALED: made_by.seal(KEY, NOTHING, PLACE),
        LOCKED_BY_OWNER: made_by.keep(KEY, PLACE),
    }


def test_everything_lies_under_the_first_key() -> None:
    made = blobs(sealer(FIRST, SECOND))
    for method, blob in made.items():
        assert is_wrapped(blob)
        assert method_of(blob) == method
        assert KEY not in blob
        assert is_sealed(blob) == (method != UNSEALED)
        assert parse_form(describe_form(blob)).server_key == FIRST.id.hex()
    assert read_price(made[SEALED]) == PRICE
    assert read_price(made[UNSEALED]) is None


def test_who_has_the_key_opens_it() -> None:
    made = blobs(sealer(FIRST))
    for opener in (sealer(FIRST), sealer(SECOND, FIRST), sealer(FIRST, wraps=False)):
        assert opener.open(made[SEALED], SECRET, PLACE) == KEY
        assert opener.open(made[UNSEALED], NOTHING, PLACE) == KEY
        assert opener.locked_block(made[LOCKED_BY_OWNER], PLACE) == KEY
        with pytest.raises(AuthenticationError):
            opener.open(made[SEALED], WRONG, PLACE)
    for method, blob in made.items():
        for stranger in (sealer(), sealer(SECOND, THIRD)):
            with pytest.raises(StorageError, match=f"server key {FIRST.id.hex()}, which this server does not have"):
                stranger.open(blob, SECRET if method == SEALED else NOTHING, PLACE)


def test_a_wrapped_key_opens_only_in_its_row() -> None:
    for blob in blobs(sealer(FIRST)).values():
        with pytest.raises(StorageError, match="belongs to another credential"):
            sealer(FIRST).open(blob, SECRET, ELSEWHERE)
    moved = sealer(FIRST).rewrap(sealer(FIRST).keep(KEY, PLACE), PLACE)
    assert sealer(FIRST).locked_block(moved, PLACE) == KEY


def test_every_flipped_bit_of_the_outer_layer_is_noticed() -> None:
    for method, blob in blobs(sealer(FIRST)).items():
        for index in range(len(blob)):
            if index == 5:
                continue  # which layer it is: then it is read as a bare blob, and what comes out is no key
            broken = bytearray(blob)
            broken[index] ^= 0x01
            with pytest.raises(StorageError):
                sealer(FIRST).open(bytes(broken), SECRET if method == SEALED else NOTHING, PLACE)


def test_blobs_tell_nothing_of_one_another() -> None:
    one, other = (sealer(FIRST).seal(KEY, NOTHING, PLACE) for _ in range(2))
    assert one[:24] == other[:24]
    assert one[24:52] != other[24:52], "salt and nonce must be fresh"
    assert one[52:] != other[52:]


def test_changing_the_key() -> None:
    old = blobs(sealer(FIRST))
    both = sealer(SECOND, FIRST)
    for method, blob in old.items():
        assert not both.is_current(blob)
        changed = both.rewrap(blob, PLACE)
        assert parse_form(describe_form(changed)) == dataclasses.replace(
            parse_form(describe_form(blob)), server_key=SECOND.id.hex()
        )
        assert both.is_current(changed) == (method != LOCKED_BY_OWNER)
        assert sealer(SECOND).check(changed, PLACE) == sealer(FIRST).check(blob, PLACE)
    gone = sealer(SECOND, wraps=False)
    for blob in blobs(sealer(SECOND)).values():
        bare = gone.rewrap(blob, PLACE)
        assert not is_wrapped(bare)
        assert sealer().check(bare, PLACE) == bare


def test_a_logon_brings_a_key_under_the_present_one() -> None:
    both = sealer(SECOND, FIRST)
    for method, blob in blobs(sealer(FIRST)).items():
        if method == LOCKED_BY_OWNER:
            continue
        passphrase = SECRET if method == SEALED else NOTHING
        renewed = both.renew(blob, both.open(blob, passphrase, PLACE), passphrase, PLACE)
        assert both.is_current(renewed)
        assert sealer(SECOND).open(renewed, passphrase, PLACE) == KEY
    unsealed = blobs(sealer(FIRST))[UNSEALED]
    renewed = both.renew(unsealed, KEY, SECRET, PLACE)
    assert method_of(renewed) == UNSEALED, "a pass phrase that nothing was opened with seals nothing"


def test_forms() -> None:
    key = pooled_key("p256")
    with_copy = sealer(FIRST, keeps_copies=True)
    from gsi.keys import encode_private_key

    pem = encode_private_key(key)
    blob = with_copy.seal(pem, SECRET, PLACE)
    assert parse_form(describe_form(blob)) == KeyForm(SEALED_WITH_COPY, PRICE, None, FIRST.id.hex())
    assert describe_form(sealer().seal(pem, NOTHING, PLACE)) == "0"
    assert describe_form(sealer().seal(pem, SECRET, PLACE)) == "1:8/1/1"
    assert describe_form(b"") == describe_form(b"MPSK\x01\x01\x01") == "?"
    assert parse_form("?") == parse_form("") == parse_form("1:x") == KeyForm(None)


@given(st.binary(max_size=120))
def test_any_outer_layer(blob: bytes) -> None:
    for candidate in (blob, b"MPSK\x01\x01\x01" + blob, b"MPSK\x01\x00\x03" + blob, b"MPSK\x01\x00\x04" + blob):
        describe_form(candidate)
        with pytest.raises((AuthenticationError, StorageError)):
            sealer(FIRST).open(candidate, SECRET, PLACE)


@given(st.text(max_size=60))
def test_any_form(text: str) -> None:
    parse_form(text)


# Where they come from ---------------------------------------------------------------------------------------------


def test_texts_of_keys() -> None:
    secret = os.urandom(32)
    for data in (
        secret,
        base64.b64encode(secret) + b"\n",
        secret.hex().encode(),
        secret.hex().upper().encode() + b"\r\n",
    ):
        assert parse_key_text(data) == secret
    for data in (b"", secret[1:], secret + b"x", b"x" * 64, base64.b64encode(secret[1:]), b"\xff" * 64):
        with pytest.raises(ConfigError, match="is not a key of 32 bytes"):
            parse_key_text(data)


def test_key_files(tmp_path: Path) -> None:
    path = tmp_path / "server.key"
    write_file(path, os.urandom(32), 0o600)
    assert load_server_key(str(path)).id == load_server_key(f"file:{path}").id
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=f"server_key {path}: .*too permissive"):
        load_server_key(str(path))
    for source in (str(tmp_path / "none"), "relative", "credential:x", "https://x", "pkcs11:token=x"):
        with pytest.raises(ConfigError, match="server_key"):
            load_server_key(source)


def test_several_sources(tmp_path: Path) -> None:
    for name in ("new", "old"):
        write_file(tmp_path / name, os.urandom(32), 0o600)
    new, old = (load_server_key(str(tmp_path / name)).id for name in ("new", "old"))
    keys = load_server_keys([str(tmp_path / "new"), str(tmp_path / "old")])
    assert (keys.current, keys.known) == (new, frozenset({new.hex(), old.hex()}))
    keys = load_server_keys(["none", str(tmp_path / "old")])
    assert (keys.current, keys.known) == (None, frozenset({old.hex()}))
    assert load_server_keys([]).current is None
    with pytest.raises(ConfigError, match="the same key twice"):
        load_server_keys([str(tmp_path / "new"), f"file:{tmp_path}/new"])
    with pytest.raises(ConfigError, match="is none of"):
        load_server_keys([str(tmp_path / "new"), "none"])


def test_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = os.urandom(32)
    write_file(tmp_path / "myproxy-key", secret, 0o440)  # as systemd makes it, for the service's group
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_server_key("credential:myproxy-key").id == ServerKey(secret).id
    for name in ("", "../x", ".hidden", "none"):
        with pytest.raises(ConfigError, match=f"server_key credential:{name}"):
            load_server_key(f"credential:{name}")


def test_the_how_to_makes_keys_that_fit(tmp_path: Path) -> None:
    token = make_token(tmp_path, label="MyProxy")
    page = (Path(__file__).resolve().parents[4] / "docs/howto/myproxy-repository.md").read_text("utf-8")
    make, bring = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for written, here in (('"/usr/lib/softhsm/libsofthsm2.so"', repr(MODULE)), ('"T"', "'MyProxy'")):
        assert written in make
        make = make.replace(written, here)
    make = make.replace("/etc/myproxy/pin", str(token.pin_path))
    run([sys.executable, "-c", make], env=token.environment).check()
    (tmp_path / "key.bin").write_bytes(os.urandom(32))
    (opening, _) = re.split(r"(?m)^    session\.generate_key", make)
    script = opening + textwrap.indent(bring.replace('"myproxy"', '"imported"'), "    ")
    run([sys.executable, "-c", script], env=token.environment, cwd=tmp_path).check()
    with used_here(token):
        assert load_server_key(token.uri("myproxy")).id != load_server_key(token.uri("imported")).id


def test_a_key_in_a_token_that_may_not_sign(tmp_path: Path) -> None:
    token = make_token(tmp_path, label="MyProxy")
    script = (
        "import pkcs11\n"
        f"with pkcs11.lib({MODULE!r}).get_token(token_label='MyProxy').open(rw=True, user_pin={token.pin!r}) as s:\n"
        "    may = pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT\n"
        "    s.generate_key(pkcs11.KeyType.AES, 256, label='myproxy', store=True, capabilities=may)\n"
    )
    run([sys.executable, "-c", script], env=token.environment).check()
    with used_here(token), pytest.raises(ConfigError, match="may not sign") as caught:
        load_server_key(token.uri("myproxy"))
    assert "CKA_SIGN" in (caught.value.hint or "")


def test_a_key_in_a_token(tmp_path: Path) -> None:
    """The token computes AES-CMAC; the key that comes out is that of SP 800-108, computed here by another library."""
    from cryptography.hazmat.primitives.ciphers import algorithms
    from cryptography.hazmat.primitives.cmac import CMAC

    token = make_token(tmp_path, label="MyProxy")
    secret = os.urandom(32)
    script = (
        "import pkcs11, sys; from pkcs11 import Attribute, KeyType, ObjectClass\n"
        f"token = pkcs11.lib({MODULE!r}).get_token(token_label='MyProxy')\n"
        f"with token.open(rw=True, user_pin={token.pin!r}) as session:\n"
        "    session.create_object({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES,\n"
        f"        Attribute.VALUE: bytes.fromhex({secret.hex()!r}), Attribute.LABEL: 'myproxy', Attribute.SIGN: True,\n"
        "        Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.SENSITIVE: True,\n"
        "        Attribute.EXTRACTABLE: False})\n"
    )
    run([sys.executable, "-c", script], env=token.environment).check()
    expected = b""
    for number in (b"\x01", b"\x02"):
        mac = CMAC(algorithms.AES(secret))
        mac.update(number + b"myproxy server key" + b"\0" + b"\x01\x00")
        expected += mac.finalize()
    with used_here(token):
        assert load_server_key(token.uri("myproxy")).id == ServerKey(expected).id
        assert load_server_key(token.uri("myproxy")).id == ServerKey(expected).id, "a second logon to the token"
        with pytest.raises(ConfigError, match="0 secret keys with label 'other'"):
            load_server_key(token.uri("other"))
        write_file(tmp_path / "wrong", b"9999\n", 0o600)
        with pytest.raises(ConfigError, match="PIN of token 'MyProxy' is wrong"):
            load_server_key(token.uri("myproxy", pin_source=f"file:{tmp_path}/wrong"))
