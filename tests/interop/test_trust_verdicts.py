"""The C validator (`grid-proxy-init -verify`) and ours, asked about the same trust directory and certificate.

Each case says what C answers and what we answer. A difference must be one of those that are documented: where C lets
pass what a rule forbids, or fails at what a rule allows.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from cryptography import x509

from gsi.errors import VerificationError
from gsi.system.clock import now
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import verify_chain
from peers import openssl, proxy_init
from peers.suite import Verdict
from peers.table import NAMES, read_record
from tests.harness.ca import (
    SERVER_AUTH,
    Issued,
    TestCA,
    parse_name,
    raw_extension,
    subject_hash,
    write_file,
    write_trust_dir,
)
from tests.harness.environment import UserEnvironment
from tests.harness.policies import BROKEN, CA, NOT_PERMITTED, PERMITTED, SUBJECT, c_accepts
from tests.harness.run import c_program, run
from tests.harness.trust import utc_now

if TYPE_CHECKING:
    from pathlib import Path

NOW: Final = utc_now()
AUTHORITY: Final = TestCA(CA)
OTHER: Final = TestCA("/O=Grid/CN=Other CA")
ROLLED: Final = TestCA(CA)
STEM: Final = subject_hash(AUTHORITY.certificate)
USER: Final = AUTHORITY.issue(SUBJECT, key_usage=("digital_signature", "key_encipherment"))
ALICE: Final = AUTHORITY.issue("/O=Grid/CN=Alice")
BITS: Final = "1024"  # the C tool still makes them, and nobody looks at the proxy here but its own check


def c_verdict(tmp_path: Path, issued: Issued) -> bool:
    """Ask the C tool about a user's credential in front of `tmp_path/certificates`."""
    user = UserEnvironment(tmp_path / "home", trust_dir=tmp_path / "certificates")
    user.install_user(issued)
    done = run([c_program("grid-proxy-init"), "-verify", "-bits", BITS], env=user.variables)
    assert done.returncode in {0, 1, -11}, str(done)  # a neg_rights entry that matches crashes it
    return done.returncode == 0


def our_verdict(tmp_path: Path, issued: Issued) -> bool:
    """Ask ours about the same."""
    try:
        verify_chain(issued.chain_der, TrustDirectory(str(tmp_path / "certificates")).anchors(), now=now())
    except VerificationError:
        return False
    return True


POLICIES: Final = [
    *((name, text, True) for name, text in PERMITTED.items()),
    *((name, text, False) for name, text in {**NOT_PERMITTED, **BROKEN}.items()),
]


@pytest.mark.parametrize(("name", "text", "ours"), POLICIES, ids=[name for name, _, _ in POLICIES])
def test_signing_policy(tmp_path: Path, name: str, text: str, ours: bool) -> None:
    write_trust_dir(tmp_path / "certificates", AUTHORITY, signing_policy=text)
    assert our_verdict(tmp_path, USER) is ours
    assert c_verdict(tmp_path, USER) is c_accepts(name, ours=ours)


class Case(NamedTuple):
    """One trust directory: files of the CA's hash beside the CA and its policy."""

    files: dict[str, bytes]
    c: bool | str
    """Or the case of the conformance suite whose record says it, because it depends on the OpenSSL."""
    ours: bool


CRLS: Final = {
    "none": Case({}, True, True),
    "empty": Case({"r0": AUTHORITY.crl()}, True, True),
    "revoked": Case({"r0": AUTHORITY.crl([ALICE])}, False, False),
    "revoked in r1 beside r0": Case({"r0": AUTHORITY.crl(), "r1": AUTHORITY.crl([ALICE])}, True, False),
    "revoked in r1 alone": Case({"r1": AUTHORITY.crl([ALICE])}, True, False),
    "expired": Case(
        {"r0": AUTHORITY.crl(this_update=NOW - timedelta(days=9), next_update=NOW - timedelta(days=1))}, False, False
    ),
    "not yet valid": Case({"r0": AUTHORITY.crl(this_update=NOW + timedelta(days=1))}, False, False),
    "wrong signer": Case({"r0": AUTHORITY.crl(key=OTHER.key)}, False, False),
    "garbage": Case({"r0": b"garbage"}, "grid::crl::garbage", False),
    "garbage in PEM": Case({"r0": AUTHORITY.crl().replace(b"MI", b"AA", 1)}, "grid::crl::garbage-in-pem", False),
    "cut off": Case({"r0": AUTHORITY.crl()[:-60]}, "grid::crl::cut-off", False),
    "empty file": Case({"r0": b""}, "grid::crl::empty-file", False),
    "unknown critical extension": Case(
        {"r0": AUTHORITY.crl(extensions=[raw_extension("1.2.3.4", b"\x05\x00", critical=True)])}, True, False
    ),
    "of another CA": Case({"r0": OTHER.crl()}, True, False),
    "of the key after a change": Case({"1": ROLLED.pem, "r0": ROLLED.crl()}, False, False),
    "of the key after a change, which revokes": Case({"1": ROLLED.pem, "r0": ROLLED.crl([ALICE])}, False, False),
    "of both keys": Case({"1": ROLLED.pem, "r0": AUTHORITY.crl(), "r1": ROLLED.crl()}, True, True),
    "namespaces that would not permit": Case({"namespaces": b'TO Issuer SELF PERMIT Subject "/X=.*"\n'}, True, False),
}


@pytest.mark.parametrize("name", CRLS)
def test_crl(tmp_path: Path, name: str) -> None:
    case = CRLS[name]
    directory = write_trust_dir(tmp_path / "certificates", AUTHORITY)
    for kind, data in case.files.items():
        write_file(directory / f"{STEM}.{kind}", data, 0o644)
    assert our_verdict(tmp_path, ALICE) is case.ours
    theirs = case.c
    if isinstance(theirs, str):
        recorded = read_record().verdicts_with(openssl.version())[theirs]
        theirs = recorded[NAMES.index(proxy_init.NAME)] is Verdict.ACCEPT
    assert c_verdict(tmp_path, ALICE) is theirs


def test_policy_missing(tmp_path: Path) -> None:
    write_trust_dir(tmp_path / "certificates", AUTHORITY, signing_policy=False)
    assert our_verdict(tmp_path, ALICE) is c_verdict(tmp_path, ALICE) is False


def test_old_hash_alone(tmp_path: Path) -> None:
    write_trust_dir(tmp_path / "certificates", AUTHORITY, old_hash=True)
    assert our_verdict(tmp_path, ALICE)
    assert not c_verdict(tmp_path, ALICE)


def test_namespaces_alone(tmp_path: Path) -> None:
    directory = write_trust_dir(tmp_path / "certificates", AUTHORITY, signing_policy=False)
    write_file(directory / f"{STEM}.namespaces", b'TO Issuer SELF PERMIT Subject ".*"\n', 0o644)
    assert our_verdict(tmp_path, ALICE) is c_verdict(tmp_path, ALICE) is False


def constrained(permitted: str) -> TestCA:
    name = x509.DirectoryName(parse_name(permitted))
    return TestCA("/O=Constrained/CN=CA", extensions=[(x509.NameConstraints([name], None), True)])


CERTIFICATES: Final = {
    # the CA, the end entity's subject, C's verdict, ours
    "name constraints that permit": (constrained("/O=Grid"), "/O=Grid/CN=A", False, True),
    "name constraints that do not": (constrained("/O=Grid"), "/O=Other/CN=A", False, False),
    "path length 0": (TestCA("/O=Grid/CN=Zero", path_length=0), "/O=Grid/CN=A", True, True),
    "no keyCertSign": (TestCA("/O=Grid/CN=No", key_usage=("crl_sign",)), "/O=Grid/CN=A", False, False),
    "no cRLSign": (TestCA("/O=Grid/CN=No CRL", key_usage=("key_cert_sign",)), "/O=Grid/CN=A", True, False),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_ca(tmp_path: Path, name: str) -> None:
    ca, subject, c, ours = CERTIFICATES[name]
    write_trust_dir(tmp_path / "certificates", ca, crl=True)
    issued = ca.issue(subject)
    assert our_verdict(tmp_path, issued) is ours
    assert c_verdict(tmp_path, issued) is c


def test_server_certificate_as_a_user(tmp_path: Path) -> None:
    write_trust_dir(tmp_path / "certificates", AUTHORITY)
    server = AUTHORITY.issue("/O=Grid/CN=Server", eku=[SERVER_AUTH])
    assert c_verdict(tmp_path, server)
    assert not our_verdict(tmp_path, server)


def test_intermediate_in_the_directory(tmp_path: Path) -> None:
    sub = AUTHORITY.intermediate("/O=Grid/CN=Sub")
    directory = write_trust_dir(tmp_path / "certificates", AUTHORITY, sub)
    alice = sub.issue("/O=Grid/CN=Alice")
    bare = Issued(alice.certificate, alice.key)
    assert our_verdict(tmp_path, bare) is c_verdict(tmp_path, bare) is True
    write_file(directory / f"{STEM}.r0", AUTHORITY.crl([sub]), 0o644)
    assert our_verdict(tmp_path, bare) is c_verdict(tmp_path, bare) is False


def test_intermediate_without_its_root(tmp_path: Path) -> None:
    sub = AUTHORITY.intermediate("/O=Grid/CN=Sub")
    write_trust_dir(tmp_path / "certificates", sub)
    alice = sub.issue("/O=Grid/CN=Alice")
    bare = Issued(alice.certificate, alice.key)
    assert our_verdict(tmp_path, bare) is c_verdict(tmp_path, bare) is False
