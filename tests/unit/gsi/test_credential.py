"""Credentials: bundles in every order, refusals by name, and what rewriting keeps."""

from __future__ import annotations

import itertools
import pickle
import subprocess
from typing import TYPE_CHECKING

import pytest

from gsi import credential, der, keylocks, names
from gsi.certificate import Certificate
from gsi.credential import MAX_CERTIFICATES, Credential, order_chain, parse_credential, parse_pkcs12
from gsi.errors import CredentialError, CredentialProblem, ParseError
from gsi.keys import KeyType, generate_key, spki_der
from gsi.pem import encode_pem, split_pem
from gsi.pkcs12 import check_pkcs12
from gsi.secret import Passphrase
from tests.harness.ca import TestCA

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.ca import Issued

SECRET = Passphrase("correct horse")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=Test CA", key="p256")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", key="p256")


@pytest.fixture(scope="module")
def proxy(alice: Issued) -> Issued:
    return alice.proxy().proxy()


def blocks(pem: bytes) -> list[bytes]:
    return [block.text for block in split_pem(pem, what="test")]


def problem_of(pem: bytes, passphrase: Passphrase | None = None, key_pem: bytes | None = None) -> CredentialProblem:
    with pytest.raises(CredentialError) as caught:
        parse_credential(pem, passphrase=passphrase, key_pem=key_pem, source="/some/file")
    assert caught.value.path == "/some/file"
    assert str(caught.value).startswith("/some/file")
    return caught.value.problem


def test_reads_certificate_key_chain_and_writes_it_back(proxy: Issued) -> None:
    credential = parse_credential(proxy.bundle())
    assert credential.certificate.der == proxy.der
    assert [certificate.der for certificate in credential.chain] == list(proxy.chain_der[1:])
    assert credential.subject == proxy.subject
    assert spki_der(credential.key) == credential.certificate.spki_der
    labels = [block.label for block in split_pem(credential.encode(), what="test")]
    assert labels == ["CERTIFICATE", "PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"]
    assert parse_credential(credential.encode()).certificates == credential.certificates
    traditional = [block.label for block in split_pem(credential.encode(traditional=True), what="test")]
    assert traditional == ["CERTIFICATE", "RSA PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"]
    assert credential.encode_chain() == proxy.pem + proxy.chain_pem


def test_reads_blocks_in_any_order_with_the_leaf_first_among_certificates(proxy: Issued) -> None:
    leaf, key, issuer, eec = blocks(proxy.bundle())
    wanted = parse_credential(proxy.bundle()).certificates
    for order in itertools.permutations([leaf, key, issuer, eec]):
        if next(text for text in order if text != key) != leaf:
            continue
        found = parse_credential(b"some text\n" + b"more\n".join(order) + b"the end")
        assert found.certificates == wanted


def test_the_first_certificate_is_the_leaf_whatever_follows(proxy: Issued) -> None:
    leaf, key, issuer, _ = blocks(proxy.bundle())
    assert problem_of(issuer + key + leaf) is CredentialProblem.KEY_MISMATCH


def test_puts_a_chain_in_order_and_leaves_out_root_and_copies(ca: TestCA, proxy: Issued) -> None:
    leaf, key, issuer, eec = blocks(proxy.bundle())
    stranger = TestCA("/O=Else/CN=Root", key="p256").issue("/O=Else/CN=Stranger", key="p256")
    found = parse_credential(b"".join((leaf, key, ca.pem, stranger.pem, eec, issuer, eec, leaf)))
    assert [certificate.pem() for certificate in found.certificates] == [leaf, issuer, eec, stranger.pem]


def test_an_ordered_file_stays_even_when_two_issuers_share_a_name(ca: TestCA) -> None:
    old, new = (ca.issue("/O=Grid/CN=Alice", key="p256") for _ in range(2))
    leaf = Certificate.parse(new.proxy().der)
    others = [Certificate.parse(one.der) for one in (new, old)]
    assert order_chain(leaf, others) == tuple(others)


def test_ordering_folds_each_name_once(ca: TestCA, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [ca.issue("/O=Grid/CN=Alice", key="p256")]
    for _ in range(12):
        chain.append(chain[-1].proxy(key="p256"))
    *others, leaf = (Certificate.parse(one.der) for one in chain)
    folded: list[bytes] = []

    def counted(name_der: bytes) -> bytes:
        folded.append(name_der)
        return names.canonical(name_der)

    monkeypatch.setattr(credential, "canonical", counted)
    assert order_chain(leaf, others) == tuple(reversed(others))
    assert len(folded) == len(set(folded)) > 0


def test_a_cycle_of_names_ends(ca: TestCA) -> None:
    first = TestCA("/CN=A", key="p256").intermediate("/CN=B", "p256")
    second = TestCA("/CN=B", key="p256").intermediate("/CN=A", "p256")
    leaf = Certificate.parse(first.issue("/CN=leaf", "p256").der)
    others = [Certificate.parse(second.der), Certificate.parse(first.der)]
    assert order_chain(leaf, others) == (others[1], others[0])


def test_keeps_blocks_of_other_kinds(alice: Issued) -> None:
    other = encode_pem("SOME THING", b"kept")
    parameters = encode_pem("EC PARAMETERS", der.encode_oid("1.2.840.10045.3.1.7"))
    credential = parse_credential(other + alice.pem + parameters + alice.key_pem())
    assert credential.other_blocks == (other, parameters)
    assert credential.encode().endswith(other + parameters)
    assert parse_credential(credential.encode()).other_blocks == (other, parameters)


def test_a_damaged_first_block_is_never_skipped(proxy: Issued) -> None:
    leaf, key, issuer, eec = blocks(proxy.bundle())
    data = bytearray(proxy.der)
    data[5] ^= 0xFF
    for damaged in (
        encode_pem("CERTIFICATE", bytes(data)),
        encode_pem("CERTIFICATE", proxy.der[:-5]),
        encode_pem("CERTIFICATE", proxy.der + b"\0"),
        leaf.replace(b"-----END", b"----END"),
        leaf[: len(leaf) // 2],
        leaf.replace(b"M", b"!", 1),
        leaf.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"),
    ):
        with pytest.raises(ParseError, match=r"^/some/file: "):
            parse_credential(damaged + key + issuer + eec, source="/some/file")


def test_refuses_incomplete_and_mixed_files(alice: Issued, proxy: Issued) -> None:
    assert problem_of(b"") is CredentialProblem.MISSING
    assert problem_of(alice.key_pem()) is CredentialProblem.MISSING
    assert problem_of(alice.pem) is CredentialProblem.KEY_MISSING
    assert problem_of(alice.pem + proxy.key_pem()) is CredentialProblem.KEY_MISMATCH
    with pytest.raises(ParseError, match="more than one private key"):
        parse_credential(alice.pem + alice.key_pem() + alice.key_pem())


def test_names_the_file_at_fault_when_the_key_is_apart(alice: Issued) -> None:
    with pytest.raises(CredentialError) as caught:
        parse_credential(alice.pem, key_pem=alice.pem, source="cert.pem", key_source="key.pem")
    assert (caught.value.problem, caught.value.path) == (CredentialProblem.KEY_MISSING, "key.pem")
    with pytest.raises(ParseError, match=r"^key\.pem: "):
        parse_credential(alice.pem, key_pem=b"-----BEGIN PRIVATE KEY-----\n", source="cert.pem", key_source="key.pem")
    with pytest.raises(ParseError, match=r"^cert\.pem: "):
        parse_credential(b"-----BEGIN X-----\n", key_pem=alice.key_pem(), source="cert.pem", key_source="key.pem")


def test_a_key_apart_goes_before_one_in_the_bundle(alice: Issued, proxy: Issued) -> None:
    found = parse_credential(alice.pem + proxy.key_pem(), key_pem=proxy.pem + alice.key_pem())
    assert found.certificates == (Certificate.parse(alice.der),)


def test_bounds_the_number_of_certificates(alice: Issued) -> None:
    with pytest.raises(ParseError, match="101 certificates in it, limit 100"):
        parse_credential(alice.pem * (MAX_CERTIFICATES + 1) + alice.key_pem())
    with pytest.raises(ParseError, match="longer than"):
        parse_credential(alice.pem * 10_000 + alice.key_pem())


def test_asks_for_the_pass_phrase_only_when_the_key_is_locked(alice: Issued) -> None:
    def never() -> Passphrase:
        raise AssertionError

    parse_credential(alice.bundle(), passphrase=never)
    locked = alice.pem + alice.key_pem(SECRET.reveal())
    assert parse_credential(locked, passphrase=lambda: SECRET).subject == alice.subject
    assert parse_credential(locked, passphrase=SECRET).subject == alice.subject
    assert problem_of(locked) is CredentialProblem.NEEDS_PASSPHRASE
    assert problem_of(locked, Passphrase("wrong")) is CredentialProblem.WRONG_PASSPHRASE


def test_the_shortest_certificate_bounds_the_validity(ca: TestCA, proxy: Issued) -> None:
    credential = parse_credential(proxy.bundle())
    assert credential.not_after == min(certificate.not_after for certificate in credential.certificates)
    assert credential.not_before == max(certificate.not_before for certificate in credential.certificates)


def test_an_ec_key_stays_in_the_form_that_c_programs_read(alice: Issued) -> None:
    assert b"BEGIN PRIVATE KEY" in parse_credential(alice.bundle()).encode(traditional=True)


def test_is_immutable_and_keeps_its_key_to_itself(alice: Issued) -> None:
    credential = parse_credential(alice.bundle())
    with pytest.raises(AttributeError):
        credential.key = generate_key(KeyType.P256)
    with pytest.raises(AttributeError):
        del credential.key
    with pytest.raises(TypeError):
        pickle.dumps(credential)
    assert repr(credential) == "<Credential '/O=Grid/CN=Alice' with 0 issuers>"


def test_a_foreign_key_never_makes_a_credential(alice: Issued) -> None:
    with pytest.raises(CredentialError) as caught:
        Credential(generate_key(KeyType.P256), Certificate.parse(alice.der))
    assert caught.value.problem is CredentialProblem.KEY_MISMATCH


# --- PKCS#12 ----------------------------------------------------------------------------------------------------------


def export(alice: Issued, tmp_path: Path, *options: str) -> bytes:
    path = tmp_path / "alice.pem"
    path.write_bytes(alice.bundle())
    command = ["openssl", "pkcs12", "-export", "-in", str(path), "-passout", "pass:correct horse", *options]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    "options",
    [(), ("-legacy",), ("-nomac",), ("-iter", "1"), ("-macalg", "sha512"), ("-keypbe", "NONE", "-certpbe", "NONE")],
)
def test_reads_what_openssl_exports(alice: Issued, tmp_path: Path, options: tuple[str, ...]) -> None:
    data = export(alice, tmp_path, *options)
    found = parse_pkcs12(data, SECRET, source="x.p12")
    assert found.certificates == (Certificate.parse(alice.der),)
    if options in {("-nomac",), ("-keypbe", "NONE", "-certpbe", "NONE")}:
        return  # a wrong pass phrase cannot always be told there
    for passphrase, problem in ((None, "needs-passphrase"), (Passphrase("wrong"), "wrong-passphrase")):
        with pytest.raises(CredentialError) as caught:
            parse_pkcs12(data, passphrase, source="x.p12")
        assert (caught.value.problem, caught.value.path) == (problem, "x.p12")


def test_reads_a_chain_from_pkcs12_in_order(proxy: Issued, tmp_path: Path) -> None:
    found = parse_pkcs12(export(proxy, tmp_path), lambda: SECRET)
    assert [certificate.der for certificate in found.certificates] == list(proxy.chain_der)


def indefinite(tag: int, *parts: bytes) -> bytes:
    return bytes((tag, 0x80)) + b"".join(parts) + b"\0\0"


def test_reads_the_ber_of_browsers(alice: Issued) -> None:
    outer = der.parse_one(alice.pkcs12(SECRET.reveal()), what="test")
    version, safe, mac = outer.take_raw(), outer.sequence(), outer.take_raw()
    kind, content = safe.take_raw(), safe.enter(der.context(0)).octet_string()
    pieces = [der.encode_octet_string(content[at : at + 100]) for at in range(0, len(content), 100)]
    ber = indefinite(0x30, version, indefinite(0x30, kind, indefinite(0xA0, indefinite(0x24, *pieces))), mac)
    assert parse_pkcs12(ber, SECRET).subject == alice.subject
    assert check_pkcs12(ber) == check_pkcs12(alice.pkcs12(SECRET.reveal())) > 2048


def test_refuses_a_costly_pkcs12_before_asking(alice: Issued) -> None:
    def never() -> Passphrase:
        raise AssertionError

    data = alice.pkcs12(SECRET.reveal())
    outer = der.parse_one(data, what="test")
    version, safe = outer.take_raw(), outer.take_raw()
    mac = outer.sequence()
    digest, salt = mac.take_raw(), mac.take_raw()
    huge = der.encode_integer(keylocks.MAX_KDF_ITERATIONS)
    bomb = der.encode_sequence(version, safe, der.encode_sequence(digest, salt, huge))
    with pytest.raises(CredentialError) as caught:
        parse_pkcs12(bomb, never)
    assert caught.value.problem is CredentialProblem.UNSUPPORTED_KEY
    assert "rounds of key derivation" in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"\x30\x00", b"\x30\x80", b"\x30\x80\0\0", b"PEM?", b"\x30" * 200, b"\x30\x84\xff\xff\xff\xff"]
)
def test_refuses_what_is_no_pkcs12(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_pkcs12(data, SECRET)
