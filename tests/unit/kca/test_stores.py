"""Certificates in credential caches, in files and elsewhere; made by libkrb5 itself, without a KDC."""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gsi import keys
from gsi.certificate import Certificate
from gsi.errors import CredentialError, CredentialProblem, GridError
from gsi.kerberos import ccache
from gsi.kerberos.ccache import Entry, open_cache, read_entries, rewrite
from gsi.kerberos.libkrb5 import Context, KerberosError, check, make_principal_data
from gsi.kerberos.ticket import Principal
from gsi.keys import KeyType
from gsi.pem import split_pem
from kca.cli import kx509
from kca.stores import Form, open_store
from tests.harness.ca import TestCA

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
REALM = "TEST.EXAMPLE"
ALICE = Principal(("alice",), REALM)
TGT = Principal(("krbtgt", REALM), REALM)
CA = TestCA(key="p256")
RSA = keys.generate_key(KeyType.RSA)
P256 = keys.generate_key(KeyType.P256)
ROOT = Certificate.parse(CA.der)


def _certificate(key: keys.PrivateKey, name: str = "/O=Grid/CN=alice", **changes: datetime) -> Certificate:
    return Certificate.parse(CA.issue(name, key, **changes).der)  # type: ignore[arg-type]  # of the kinds made above


@pytest.fixture(params=["FILE", "MEMORY", "DIR"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A cache with a ticket in it, that of each kind which needs no daemon."""
    (tmp_path / "dir").mkdir(mode=0o700)
    name = {"FILE": f"FILE:{tmp_path}/cache", "MEMORY": f"MEMORY:{tmp_path}", "DIR": f"DIR::{tmp_path}/dir/tkt"}[
        request.param
    ]
    with Context() as context, open_cache(context, name) as opened:
        owner, kept = make_principal_data(ALICE)
        check(context, context.library.krb5_cc_initialize(context.handle, opened, ctypes.byref(owner)))
        rewrite(
            context,
            opened,
            drop=lambda _: False,
            add=[Entry(TGT, b"ticket", b"", datetime.now(UTC), datetime(2040, 1, 1, tzinfo=UTC))],
        )
        del kept
        yield name  # a cache in memory lives as long as somebody has it open


def _servers(name: str) -> list[str]:
    with Context() as context, open_cache(context, name) as opened:
        return sorted(entry.server.text for entry in read_entries(context, opened))


def test_rsa_in_both_forms(cache: str) -> None:
    leaf = _certificate(RSA)
    with open_store(cache) as store:
        assert store.owner == ALICE
        store.save(RSA, [leaf, ROOT], realm=REALM)
        found = {one.form: one for one in store.find_all()}
        assert set(found) == {Form.SETTINGS, Form.TICKET}
        assert found[Form.SETTINGS].chain == (leaf, ROOT)
        assert found[Form.TICKET].chain == (leaf,)
        for one in found.values():
            assert one.credential.certificate == leaf
            assert keys.spki_der(one.key) == keys.spki_der(RSA)


def test_ec_in_one_form(cache: str) -> None:
    leaf = _certificate(P256)
    with open_store(cache) as store:
        store.save(P256, [leaf], realm=REALM)
        (found,) = store.find_all()
        assert (found.form, found.chain) == (Form.SETTINGS, (leaf,))
        newest = store.find()
        assert newest is not None
        assert keys.spki_der(newest.key) == keys.spki_der(found.key) == keys.spki_der(P256)


def test_replaced(cache: str) -> None:
    """A certificate for another kind of key leaves nothing of the one before; tickets stay."""
    with open_store(cache) as store:
        store.save(RSA, [_certificate(RSA), ROOT], realm=REALM)
        store.save(P256, [_certificate(P256)], realm=REALM)
        assert [one.form for one in store.find_all()] == [Form.SETTINGS]
    assert TGT.text in _servers(cache)
    assert "kx509/certificate@TEST.EXAMPLE" not in _servers(cache)


def test_removed(cache: str) -> None:
    before = _servers(cache)
    with open_store(cache) as store:
        assert not store.remove()
        store.save(RSA, [_certificate(RSA), ROOT], realm=REALM)
        assert store.remove()
        assert store.find() is None
        assert not store.remove()
    assert _servers(cache) == before


@pytest.mark.parametrize("kind", ["FILE:", "DIR::"])
def test_no_bytes_are_left(tmp_path: Path, kind: str) -> None:
    (tmp_path / "dir").mkdir(mode=0o700)
    path = tmp_path / "dir" / "tkt"
    with Context() as context, open_cache(context, f"{kind}{path}") as opened:
        owner, kept = make_principal_data(ALICE)
        check(context, context.library.krb5_cc_initialize(context.handle, opened, ctypes.byref(owner)))
        del kept
    with open_store(f"{kind}{path}") as store:
        store.save(RSA, [_certificate(RSA)], realm=REALM)
        exponent = RSA.private_numbers().d  # type: ignore[union-attr]  # an RSA key
        secret = exponent.to_bytes((exponent.bit_length() + 7) // 8, "big")  # now and then a byte less than the modulus
        assert secret in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        store.remove()
    assert secret not in path.read_bytes()
    assert [one.name for one in path.parent.iterdir()] == ["tkt"]


def _empty_cache(path: Path) -> None:
    with Context() as context, open_cache(context, f"FILE:{path}") as opened:
        owner, kept = make_principal_data(ALICE)
        check(context, context.library.krb5_cc_initialize(context.handle, opened, ctypes.byref(owner)))
        del kept


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    """Without root's rights, for whom nothing is closed; who has none keeps what he has."""
    if os.geteuid():
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_owner_and_mode_stay(tmp_path: Path, mode: int) -> None:
    """Root may look after a user's cache, who has to be able to read it afterwards."""
    path = tmp_path / "cache"
    _empty_cache(path)
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    before = path.stat()
    link = tmp_path / "link"
    link.symlink_to(path)
    with open_store(f"FILE:{link}") as store:
        store.check_writable()
        store.save(RSA, [_certificate(RSA)], realm=REALM)
    after = path.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert after.st_ino != before.st_ino
    assert link.is_symlink()


@pytest.mark.parametrize("closed", ["directory", "sticky", "another's"])
def test_cache_that_cannot_be_written(closed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The old cache stays as it was; and it is known before anybody is asked for a certificate, which would be lost."""
    if closed != "directory" and os.geteuid():
        pytest.skip("needs two users")
    assert kx509.main(["-c", "FILE:/nonexistent"]) == 1  # imports what nobody else may be allowed to read
    with tempfile.TemporaryDirectory() as made:  # everybody can reach it
        top, place = Path(made), Path(made) / "place"
        top.chmod(0o755)
        place.mkdir(mode=0o700)
        path = place / "cache"
        _empty_cache(path)
        if os.geteuid() == 0:
            os.chown(place, NOBODY if closed != "sticky" else 1, NOBODY)
            os.chown(path, NOBODY if closed == "directory" else 1, NOBODY)
        path.chmod(0o644 if closed == "another's" else 0o666 if closed == "sticky" else 0o600)
        place.chmod({"directory": 0o500, "sticky": 0o1777, "another's": 0o700}[closed])
        before = path.read_bytes()
        with _as_nobody():
            with open_store(f"FILE:{path}") as store, pytest.raises(CredentialError, match="be replaced") as refused:
                store.check_writable()
            assert refused.value.problem is CredentialProblem.UNWRITABLE
            assert kx509.main(["-c", f"FILE:{path}", "-s", "127.0.0.1:1"]) == 1
            with open_store(f"FILE:{path}") as store, pytest.raises(GridError):
                store.save(RSA, [_certificate(RSA)], realm=REALM)
        assert "cannot be replaced" in capsys.readouterr().err
        assert path.read_bytes() == before
        assert [one.name for one in place.iterdir()] == ["cache"]
        place.chmod(0o700)


@pytest.mark.parametrize("option", ["-out", "-t", "-k"])
def test_no_place_for_files(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is asked then, who would write a certificate into his books that is lost."""
    _empty_cache(tmp_path / "cache")
    place = str(tmp_path / "missing" / "out.pem")
    arguments = ["-c", f"FILE:{tmp_path}/cache", "-s", "127.0.0.1:1", "-no-cache", option, place]
    assert kx509.main(arguments) == 1
    assert "no such directory" in capsys.readouterr().err


def test_no_link_gets_a_file_into_other_hands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the directory may put something else under the name of the new file, before it gets its owner."""
    path, other = tmp_path / "cache", tmp_path / "other"
    _empty_cache(path)
    other.write_bytes(b"somebody else's")
    other.chmod(0o600)
    genuine = ccache._take_after

    def swap(model: str, fresh: str) -> None:
        os.unlink(fresh)
        os.link(other, fresh)
        genuine(model, fresh)

    monkeypatch.setattr(ccache, "_take_after", swap)
    path.chmod(0o640)
    with open_store(f"FILE:{path}") as store, pytest.raises(CredentialError, match="somebody has replaced"):
        store.save(P256, [_certificate(P256)], realm=REALM)
    assert other.stat().st_mode & 0o777 == 0o600


def test_the_one_that_lasts_longest(cache: str) -> None:
    """Programs of both families may have put something there, at different times."""
    long, short = datetime(2030, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
    old = _certificate(RSA, "/O=Grid/CN=old", not_after=short)
    new = _certificate(P256, "/O=Grid/CN=new", not_after=long)
    with open_store(cache) as store:
        store.save(P256, [new], realm=REALM)
        settings = store.find_all()
        assert settings[0].chain == (new,)
    with Context() as context, open_cache(context, cache) as opened:
        (block,) = split_pem(keys.encode_private_key(RSA, traditional=True), what="key")
        entry = Entry(Principal(("kx509", "certificate"), REALM), block.data, old.der)
        rewrite(context, opened, drop=lambda _: False, add=[entry])
    with open_store(cache) as store:
        assert len(store.find_all()) == 2
        found = store.find()
        assert found is not None
        assert found.chain == (new,)


@pytest.mark.parametrize(("ticket", "second"), [(b"", b""), (b"\x30\x00", b"\x30\x00"), (b"noise", b"noise")])
def test_nonsense_in_the_cache(cache: str, ticket: bytes, second: bytes) -> None:
    with Context() as context, open_cache(context, cache) as opened:
        entry = Entry(Principal(("kx509", "certificate"), REALM), ticket, second)
        rewrite(context, opened, drop=lambda _: False, add=[entry])
    with open_store(cache) as store:
        with pytest.raises(GridError):
            store.find_all()
        assert store.remove()


def test_no_cache(tmp_path: Path) -> None:
    with open_store(f"FILE:{tmp_path}/none") as store:
        for body in (lambda: store.owner, store.find_all, store.remove):
            with pytest.raises(CredentialError) as error:
                body()
            assert error.value.hint == "run kinit"
    with pytest.raises(KerberosError, match="NONSENSE"), open_store("NONSENSE:x"):
        pass


def test_entries_hide_their_bytes() -> None:
    assert "secret" not in repr(Entry(TGT, b"secret"))
