"""A CA's directory: made whole or not at all, its books kept before anything leaves, nothing written outside."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gsi.ca import CADirectory, Issuer, KeySigner, make_root
from gsi.ca.crl import RevocationReason
from gsi.ca.index import Status
from gsi.ca.setup import CASetup, setup_files
from gsi.certificate import Certificate
from gsi.errors import (
    ConflictError,
    CredentialError,
    CredentialProblem,
    IssuanceError,
    IssuanceStep,
    NotFoundError,
    ParseError,
)
from gsi.keys import KeyType, encode_private_key, generate_key
from gsi.names import parse_oneline
from gsi.trust.crl import parse_crl_file
from gsi.trust.crl_update import crl_number
from tests.harness.ca import TestCA, write_file
from tests.unit.gsi.ca.support import Books

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from gsi.ca import CertificateRequest, Grant

CA_NAME = parse_oneline("/O=Grid/CN=CA")
DAY = timedelta(days=1)


@pytest.fixture
def files(now: datetime) -> dict[str, tuple[bytes, int]]:
    key = generate_key(KeyType.P256)
    root = make_root(KeySigner(key), CA_NAME, now=now, lifetime=1000 * DAY)
    policy = setup_files(CASetup(CA_NAME, "ca@example.org"), directory="/ca")["signing-policy"]
    return {
        "cacert.pem": (root.pem(), 0o644),
        "private/cakey.pem": (encode_private_key(key), 0o600),
        "signing-policy": (policy, 0o644),
    }


@pytest.fixture
def directory(tmp_path: Path, files: dict[str, tuple[bytes, int]]) -> CADirectory:
    return CADirectory.create(str(tmp_path / "ca"), files)


def test_books_are_kept(
    directory: CADirectory, grant: Grant, request_: CertificateRequest, now: datetime, tmp_path: Path
) -> None:
    signer = directory.load_signer()
    with directory.lock():
        certificate = directory.issuer(signer).issue(request_, grant, now=now).certificate
    (entry,) = directory.read_index().entries
    assert (entry.serial, entry.subject, entry.status) == (certificate.serial, "/O=Grid/CN=Alice", Status.VALID)
    (kept,) = (tmp_path / "ca" / "newcerts").iterdir()
    assert int(kept.stem, 16) == certificate.serial
    assert Certificate.parse_pem(kept.read_bytes()) == certificate
    # The next takes its place in one step.
    issuer = directory.issuer(signer, superseding=[certificate.serial])
    second = issuer.issue(request_, grant, now=now).certificate
    assert [one.status for one in directory.read_index().entries] == [Status.REVOKED, Status.VALID]
    directory.revoke(second.serial, now=now, reason=RevocationReason.KEY_COMPROMISE)
    for number in (1, 2):
        (crl,) = parse_crl_file(directory.make_crl(signer, now=now, lifetime=DAY))
        assert crl.serials == {certificate.serial, second.serial}
        assert (tmp_path / "ca" / "crlnumber").read_text() == f"0{number + 1}\n"
    assert (tmp_path / "ca" / "crl" / "crl.pem").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"ca"}


def test_modes(tmp_path: Path, directory: CADirectory) -> None:
    def modes(*names: str) -> set[int]:
        return {(tmp_path / "ca" / name).stat().st_mode & 0o777 for name in names}

    assert modes("", "private", "newcerts", "certs", "crl") == {0o700}
    assert modes("private/cakey.pem", "index.txt", "serial") == {0o600}
    assert modes("cacert.pem") == {0o644}


@pytest.mark.parametrize("is_below", [False, True])
def test_the_signing_policy_binds(
    files: dict[str, tuple[bytes, int]],
    grant: Grant,
    request_: CertificateRequest,
    now: datetime,
    tmp_path: Path,
    is_below: bool,
) -> None:
    from dataclasses import replace

    if is_below:  # another CA has issued its certificate, which is not here
        sub = TestCA("/O=Grid/CN=CA", "p256", parent=TestCA("/O=National/CN=Root", "p256"), not_before=now - DAY)
        files |= {"cacert.pem": (sub.pem, 0o644), "private/cakey.pem": (encode_private_key(sub.key), 0o600)}
    directory = CADirectory.create(str(tmp_path / "ca"), files)
    outside = replace(grant, subject_der=parse_oneline("/O=Elsewhere/CN=Alice"))
    issuer = directory.issuer(directory.load_signer())
    issuer.issue(request_, grant, now=now)
    with pytest.raises(IssuanceError) as caught:
        issuer.issue(request_, outside, now=now)
    assert caught.value.step is IssuanceStep.CHECK
    (tmp_path / "ca" / "signing-policy").write_text("neither this nor that")
    with pytest.raises(IssuanceError):
        directory.issuer(directory.load_signer()).issue(request_, grant, now=now)
    (tmp_path / "ca" / "signing-policy").unlink()
    directory.issuer(directory.load_signer()).issue(request_, outside, now=now)


def test_what_cannot_be_put_on_record_does_not_leave(
    directory: CADirectory, grant: Grant, request_: CertificateRequest, now: datetime, tmp_path: Path
) -> None:
    index = tmp_path / "ca" / "index.txt"
    index.write_text("junk\n")
    with pytest.raises(IssuanceError) as caught:
        directory.issuer(directory.load_signer()).issue(request_, grant, now=now)
    assert caught.value.step is IssuanceStep.RECORD
    assert list((tmp_path / "ca" / "newcerts").iterdir()) == []
    index.unlink()
    with pytest.raises(IssuanceError):
        directory.issuer(directory.load_signer()).issue(request_, grant, now=now)


def test_a_number_is_not_used_twice(
    directory: CADirectory, grant: Grant, request_: CertificateRequest, now: datetime, tmp_path: Path
) -> None:
    issuer = directory.issuer(directory.load_signer(), use_counter=True)
    first = issuer.issue(request_, grant, now=now).certificate
    write_file(tmp_path / "ca" / "serial", f"{first.serial:040X}\n".encode(), 0o600)
    with pytest.raises(IssuanceError, match="used before") as caught:
        issuer.issue(request_, grant, now=now)
    assert caught.value.step is IssuanceStep.RECORD
    assert issuer.issue(request_, grant, now=now).certificate.serial == first.serial + 1


def test_parts_that_are_links_are_refused(tmp_path: Path, files: dict[str, tuple[bytes, int]]) -> None:
    for name in ("newcerts", "crl", "private"):
        ca = tmp_path / f"ca-{name}"
        CADirectory.create(str(ca), files)
        outside = tmp_path / f"outside-{name}"
        (ca / name).rename(outside)
        (ca / name).symlink_to(outside)
        with pytest.raises(CredentialError) as caught:
            CADirectory(str(ca))
        assert caught.value.problem is CredentialProblem.UNSAFE_FILE


def test_what_is_no_cas_directory(tmp_path: Path, directory: CADirectory) -> None:
    with pytest.raises(CredentialError) as caught:
        CADirectory(str(tmp_path / "none"))
    assert caught.value.problem is CredentialProblem.MISSING
    (tmp_path / "ca" / "cacert.pem").unlink()
    with pytest.raises(CredentialError, match=r"cacert\.pem"):
        CADirectory(str(tmp_path / "ca"))


def test_making_one_that_fails_leaves_nothing(tmp_path: Path, files: dict[str, tuple[bytes, int]]) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "certs").write_text("in the way")
    with pytest.raises(CredentialError):
        CADirectory.create(str(tmp_path / "ca"), files)
    assert [path.name for path in (tmp_path / "ca").iterdir()] == ["certs"]
    bad = files | {"no/such/directory": (b"", 0o600)}
    with pytest.raises(CredentialError):
        CADirectory.create(str(tmp_path / "other"), bad)
    assert not (tmp_path / "other").exists()


def test_lost_certificates_are_taken_up_and_strangers_are_not(
    directory: CADirectory, grant: Grant, request_: CertificateRequest, now: datetime, tmp_path: Path
) -> None:
    certificate = directory.issuer(directory.load_signer()).issue(request_, grant, now=now).certificate
    directory.adopt(certificate)
    assert len(directory.read_index().entries) == 1
    (tmp_path / "ca" / "index.txt").write_text("")
    with pytest.raises(NotFoundError):
        directory.revoke(certificate.serial, now=now)
    directory.adopt(certificate)
    assert directory.revoke(certificate.serial, now=now).status is Status.REVOKED
    with pytest.raises(ConflictError):
        directory.revoke(certificate.serial, now=now)
    stranger = TestCA("/O=Grid/CN=Other", "p256").issue("/O=Grid/CN=Eve", "p256")
    namesake = KeySigner(generate_key(KeyType.P256))
    forged = make_root(namesake, CA_NAME, now=now, lifetime=DAY)
    issued = Issuer(forged, namesake, recorder=Books()).issue(request_, grant, now=now).certificate
    for certificate, why in ((Certificate.parse(stranger.der), "another issuer"), (issued, "signature")):
        with pytest.raises(NotFoundError, match=why):
            directory.adopt(certificate)
    assert len(directory.read_index().entries) == 1


def test_the_key_may_lie_elsewhere(tmp_path: Path, files: dict[str, tuple[bytes, int]]) -> None:
    key_pem, _ = files.pop("private/cakey.pem")
    write_file(tmp_path / "key.pem", key_pem, 0o600)
    named = files | {"private/keyfile": (f"{tmp_path}/key.pem\n".encode(), 0o600)}
    directory = CADirectory.create(str(tmp_path / "ca"), named)
    assert directory.key_place == str(tmp_path / "key.pem")
    directory.load_signer().close()
    other = generate_key(KeyType.P256)
    write_file(tmp_path / "other.pem", encode_private_key(other), 0o600)
    with pytest.raises(CredentialError) as caught:
        directory.load_signer(str(tmp_path / "other.pem"))
    assert caught.value.problem is CredentialProblem.KEY_MISMATCH


def test_a_list_is_newer_than_the_last(
    directory: CADirectory, grant: Grant, request_: CertificateRequest, now: datetime, tmp_path: Path
) -> None:
    signer = directory.load_signer()
    counter, kept = tmp_path / "ca" / "crlnumber", tmp_path / "ca" / "crl" / "crl.pem"
    long_ago = now.timestamp() - 86400
    os.utime(counter, (long_ago, long_ago))
    (first,) = parse_crl_file(directory.make_crl(signer, now=now, lifetime=DAY))
    assert first.this_update == now - timedelta(minutes=5)  # for readers whose clocks run behind
    # `openssl ca -gencrl` dates its list by the second, keeps it elsewhere, and has changed the counter.
    made = now + timedelta(minutes=2)
    os.utime(counter, (made.timestamp(), made.timestamp()))
    later = made + timedelta(seconds=1)
    (second,) = parse_crl_file(directory.make_crl(signer, now=later, lifetime=DAY))
    assert second.this_update == made
    # A counter from a machine whose clock runs before ours says no more than that it was there.
    os.utime(counter, (made.timestamp() + 86400, made.timestamp() + 86400))
    (third,) = parse_crl_file(directory.make_crl(signer, now=later.replace(microsecond=7), lifetime=DAY))
    assert third.this_update == later
    # A clock that was put back.
    with pytest.raises(IssuanceError) as caught:
        directory.make_crl(signer, now=now, lifetime=DAY)
    assert "clock" in (caught.value.hint or "")
    # Numbers only grow: one that was lost is counted on from the list.
    counter.unlink()
    (fourth,) = parse_crl_file(directory.make_crl(signer, now=made + DAY, lifetime=DAY))
    assert [crl_number(one) for one in (first, second, third, fourth)] == [1, 2, 3, 4]
    counter.write_text("02\n")
    with pytest.raises(IssuanceError) as caught:
        directory.make_crl(signer, now=made + DAY, lifetime=DAY)
    assert (caught.value.step, "05" in (caught.value.hint or "")) == (IssuanceStep.SERIAL, True)
    assert parse_crl_file(kept.read_bytes())[0].der == fourth.der


def test_a_list_takes_nothing_back_that_the_index_has_lost(
    directory: CADirectory, grant: Grant, request_: CertificateRequest, now: datetime, tmp_path: Path
) -> None:
    signer = directory.load_signer()
    index = tmp_path / "ca" / "index.txt"
    certificate = directory.issuer(signer).issue(request_, grant, now=now).certificate
    before = index.read_bytes()
    directory.revoke(certificate.serial, now=now)
    directory.make_crl(signer, now=now, lifetime=DAY)
    for older, why in ((before, "1 certificates of the last CRL are not revoked"), (b"", "knows nothing of 1")):
        index.write_bytes(older)
        with pytest.raises(IssuanceError, match=why) as caught:
            directory.make_crl(signer, now=now + DAY, lifetime=DAY)
        assert caught.value.step is IssuanceStep.CHECK
        assert f"{certificate.serial:X}" in caught.value.message
    directory.adopt(certificate)
    directory.revoke(certificate.serial, now=now)
    (crl,) = parse_crl_file(directory.make_crl(signer, now=now + DAY, lifetime=DAY))
    assert crl.serials == {certificate.serial}
    (tmp_path / "ca" / "crl" / "crl.pem").write_text("no list")
    with pytest.raises(ParseError):
        directory.make_crl(signer, now=now + DAY, lifetime=DAY)
