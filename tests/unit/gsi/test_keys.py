"""Keys: every format read and written, every weakness refused by name, judged beside pyca and openssl."""

from __future__ import annotations

import functools
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from gsi import der, keylocks, keys
from gsi.errors import CredentialError, CredentialProblem, GridError, ParseError, Reason, VerificationError
from gsi.keys import KeyType
from gsi.pem import PEMBlock, encode_pem, split_pem
from gsi.secret import Passphrase
from tests.harness.ca import KeyKind, new_key

if TYPE_CHECKING:
    from pathlib import Path

SECRET = Passphrase("correct horse")
KINDS: tuple[KeyKind, ...] = ("rsa2048", "p256", "p384", "ed25519")
PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
Format = serialization.PrivateFormat


@functools.cache
def key_of(kind: KeyKind) -> keys.PrivateKey:
    return new_key(kind)


def block(pem: bytes) -> PEMBlock:
    (only,) = split_pem(pem, what="test")
    return only


def pyca_pem(key: keys.PrivateKey, form: Format, secret: bytes | None = None) -> bytes:
    protection: serialization.KeySerializationEncryption = (
        serialization.NoEncryption() if secret is None else serialization.BestAvailableEncryption(secret)
    )
    return key.private_bytes(serialization.Encoding.PEM, form, protection)


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def problem_of(pem: bytes, passphrase: Passphrase | None = None) -> CredentialProblem:
    with pytest.raises(CredentialError) as caught:
        keys.parse_private_key(block(pem), passphrase)
    return caught.value.problem


def rsa_pem(n: int, e: int, *rest: int) -> bytes:
    numbers = (0, n, e, *rest) if rest else (0, n, e, 3, 3, 3, 3, 3, 3)
    return encode_pem("RSA PRIVATE KEY", der.encode_sequence(*map(der.encode_integer, numbers)))


@pytest.mark.parametrize("kind", KINDS)
def test_writes_the_same_bytes_as_pyca(kind: KeyKind) -> None:
    key = key_of(kind)
    assert keys.encode_private_key(key) == pyca_pem(key, PKCS8)
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert keys.spki_der(key) == keys.spki_der(key.public_key()) == spki
    if kind != "ed25519":
        assert keys.encode_private_key(key, traditional=True) == pyca_pem(key, TRADITIONAL)
    else:
        assert keys.encode_private_key(key, traditional=True) == pyca_pem(key, PKCS8)


@pytest.mark.parametrize("kind", KINDS)
def test_reads_what_pyca_writes_locked_or_not(kind: KeyKind) -> None:
    key = key_of(kind)
    spki = keys.spki_der(key)
    written = [pyca_pem(key, PKCS8), pyca_pem(key, PKCS8, SECRET.reveal())]
    if kind != "ed25519":
        written += [pyca_pem(key, TRADITIONAL), pyca_pem(key, TRADITIONAL, SECRET.reveal())]
    for pem in written:
        assert keys.same_key(keys.parse_private_key(block(pem), SECRET), spki)


@pytest.mark.parametrize(
    "options",
    [
        ("-v2", "aes-256-cbc"),
        ("-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"),
        ("-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"),
        ("-v2", "des3"),
        ("-v1", "PBE-SHA1-3DES"),
        ("-scrypt",),
        ("-v2", "aes-256-cbc", "-iter", "50000"),
        ("-v2", "camellia-256-cbc"),
    ],
)
def test_reads_every_lock_of_openssl(options: tuple[str, ...]) -> None:
    key = key_of("p256")
    plain = keys.encode_private_key(key)
    locked = openssl("pkcs8", "-topk8", *options, "-passout", "pass:correct horse", data=plain)
    if "camellia-256-cbc" in options:
        assert problem_of(locked, SECRET) in {
            CredentialProblem.UNSUPPORTED_KEY,
            CredentialProblem.WRONG_PASSPHRASE,
        }
        return
    assert keys.same_key(keys.parse_private_key(block(locked), SECRET), keys.spki_der(key))
    assert problem_of(locked) is CredentialProblem.NEEDS_PASSPHRASE
    assert problem_of(locked, Passphrase("wrong")) is CredentialProblem.WRONG_PASSPHRASE
    assert problem_of(locked, Passphrase("")) is CredentialProblem.WRONG_PASSPHRASE


@pytest.mark.parametrize("cipher", ["-des3", "-aes128", "-aes192", "-aes256"])
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_reads_proc_type_encrypted_keys(kind: str, cipher: str) -> None:
    key = key_of("rsa2048" if kind == "rsa" else "p256")
    plain = keys.encode_private_key(key, traditional=True)
    extra = ("-traditional",) if kind == "rsa" else ()
    locked = openssl(kind, cipher, *extra, "-passout", "pass:correct horse", data=plain)
    assert b"Proc-Type: 4,ENCRYPTED" in locked
    assert keys.same_key(keys.parse_private_key(block(locked), SECRET), keys.spki_der(key))
    assert problem_of(locked) is CredentialProblem.NEEDS_PASSPHRASE
    assert problem_of(locked, Passphrase("wrong")) is CredentialProblem.WRONG_PASSPHRASE
    assert problem_of(locked, Passphrase("")) is CredentialProblem.WRONG_PASSPHRASE


def test_an_old_key_under_an_unknown_cipher_is_refused_before_any_try() -> None:
    plain = keys.encode_private_key(key_of("rsa2048"), traditional=True)
    locked = openssl("rsa", "-aes256", "-traditional", "-passout", "pass:x", data=plain)
    assert problem_of(locked.replace(b"AES-256-CBC", b"RC2-40-CBC"), SECRET) is CredentialProblem.UNSUPPORTED_KEY


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_reads_what_we_write(kind: KeyKind) -> None:
    key = key_of(kind)
    public = openssl("pkey", "-pubout", "-outform", "DER", data=keys.encode_private_key(key))
    assert public == keys.spki_der(key)
    traditional = keys.encode_private_key(key, traditional=True)
    assert openssl("pkey", "-pubout", "-outform", "DER", data=traditional) == public


@pytest.fixture(scope="module")
def locked_pem() -> bytes:
    return keys.encode_private_key(key_of("p256"), passphrase=SECRET)


def test_openssl_opens_our_lock(locked_pem: bytes) -> None:
    opened = openssl("pkcs8", "-passin", "pass:correct horse", data=locked_pem)
    assert opened == keys.encode_private_key(key_of("p256"))


def test_our_lock_takes_the_rounds_it_promises(locked_pem: bytes) -> None:
    assert keys.is_encrypted(block(locked_pem))
    assert keylocks.kdf_cost(der.parse_one(block(locked_pem).data, what="x").take_raw()) == 600_000


def test_a_wrong_pass_phrase_is_told_even_when_the_padding_fits() -> None:
    locked = block(openssl("pkcs8", "-topk8", "-passout", "pass:right", data=pyca_pem(key_of("p256"), PKCS8)))
    for number in range(600):  # one wrong pass phrase in 256 decrypts to bytes with good padding
        with pytest.raises(CredentialError) as caught:
            keys.parse_private_key(locked, Passphrase(f"wrong {number}"))
        assert caught.value.problem is CredentialProblem.WRONG_PASSPHRASE


def test_a_key_is_not_locked_badly() -> None:
    key = key_of("p256")
    for options in ({"passphrase": Passphrase("")}, {"passphrase": SECRET, "traditional": True}):
        with pytest.raises(CredentialError):
            keys.encode_private_key(key, **options)


def test_a_needless_pass_phrase_is_not_looked_at() -> None:
    key = key_of("p256")
    assert keys.same_key(keys.parse_private_key(block(keys.encode_private_key(key)), SECRET), keys.spki_der(key))


@pytest.mark.parametrize("key_type", list(KeyType))
def test_generates_each_kind(key_type: KeyType) -> None:
    key = keys.generate_key(key_type)
    keys.check_public_key(key.public_key())
    signature, algorithm = keys.sign(key, b"data")
    assert algorithm == keys.signature_algorithm_der(key)
    keys.verify_signature(key.public_key(), algorithm, signature, b"data")


@pytest.mark.parametrize(
    ("bits", "problem"),
    [(512, "weak-key"), (1024, "weak-key"), (2047, "weak-key"), (2049, "unsupported-key"), (8192, "unsupported-key")],
)
def test_refuses_to_generate_other_sizes(bits: int, problem: str) -> None:
    with pytest.raises(CredentialError) as caught:
        keys.generate_key(KeyType.RSA, bits=bits)
    assert caught.value.problem == problem
    assert caught.value.hint == "use 2048, 3072 or 4096 bits"


@pytest.mark.parametrize("bits", [512, 1024])
def test_refuses_short_rsa_keys_from_openssl(bits: int) -> None:
    pem = openssl("genrsa", str(bits))
    assert problem_of(pem) is CredentialProblem.WEAK_KEY
    assert problem_of(openssl("rsa", "-traditional", data=pem)) is CredentialProblem.WEAK_KEY
    locked = openssl("pkcs8", "-topk8", "-passout", "pass:correct horse", data=pem)
    assert problem_of(locked, SECRET) is CredentialProblem.WEAK_KEY


ODD_2048 = (1 << 2047) | 1


@pytest.mark.parametrize(
    ("n", "e", "problem"),
    [
        (ODD_2048, 1, "weak-key"),
        (ODD_2048, 2, "weak-key"),
        (ODD_2048, 3, "weak-key"),
        (ODD_2048, 17, "weak-key"),
        (ODD_2048, 65536, "weak-key"),
        (ODD_2048, -65537, "weak-key"),
        (ODD_2048, (1 << 64) | 1, "unsupported-key"),
        (ODD_2048 - 1, 65537, "weak-key"),
        (-ODD_2048, 65537, "weak-key"),
        (0, 65537, "weak-key"),
        ((1 << 16384) | 1, 65537, "unsupported-key"),
    ],
    ids=[
        "exponent 1",
        "exponent 2",
        "exponent 3",
        "exponent 17",
        "even exponent",
        "negative exponent",
        "long exponent",
        "even modulus",
        "negative modulus",
        "no modulus",
        "huge modulus",
    ],
)
def test_refuses_bad_rsa_numbers_by_name(n: int, e: int, problem: str) -> None:
    assert problem_of(rsa_pem(n, e)) == problem
    spki = der.encode_sequence(
        der.encode_sequence(der.encode_oid("1.2.840.113549.1.1.1"), b"\x05\x00"),
        der.encode_bit_string(der.encode_sequence(der.encode_integer(n), der.encode_integer(e))),
    )
    with pytest.raises(CredentialError) as caught:
        keys.parse_public_key(spki)
    assert caught.value.problem == problem
    assert not keys.same_key(key_of("rsa2048"), spki)


def test_takes_the_largest_rsa_key_that_counts() -> None:
    assert keys.key_bits(rsa.RSAPublicNumbers(65537, (1 << 16383) | 1).public_key()) == 16384
    keys.check_public_key(rsa.RSAPublicNumbers(65537, (1 << 16383) | 1).public_key())


@pytest.mark.parametrize("field", range(2, 8))
def test_refuses_rsa_numbers_that_do_not_belong_together(field: int) -> None:
    key = key_of("rsa2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    one = key.private_numbers()
    public = one.public_numbers
    numbers = [public.n, public.e, one.d, one.p, one.q, one.dmp1, one.dmq1, one.iqmp]
    keys.parse_private_key(block(rsa_pem(*numbers)))
    numbers[field] += 2
    with pytest.raises(ParseError, match="do not belong together"):
        keys.parse_private_key(block(rsa_pem(*numbers)))


def test_refuses_explicit_curve_parameters() -> None:
    pem = openssl("ecparam", "-name", "prime256v1", "-param_enc", "explicit", "-genkey", "-noout")
    assert problem_of(pem) is CredentialProblem.UNSUPPORTED_KEY
    inside = openssl("pkcs8", "-topk8", "-nocrypt", data=pem)
    assert problem_of(inside) is CredentialProblem.UNSUPPORTED_KEY
    public = openssl("pkey", "-pubout", "-outform", "DER", data=pem)
    with pytest.raises(CredentialError, match="name its curve"):
        keys.parse_public_key(public)


@pytest.mark.parametrize("curve", ["secp256k1", "brainpoolP256r1", "prime192v1"])
def test_refuses_other_curves(curve: str) -> None:
    pem = openssl("ecparam", "-name", curve, "-genkey", "-noout")
    assert problem_of(pem) is CredentialProblem.UNSUPPORTED_KEY
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    for judge in (keys.check_public_key, keys.spki_der):
        with pytest.raises(CredentialError) as caught:
            judge(key.public_key())
        assert caught.value.problem is CredentialProblem.UNSUPPORTED_KEY


@pytest.mark.parametrize("algorithm", ["ed448", "x25519"])
def test_refuses_other_kinds(algorithm: str) -> None:
    assert problem_of(openssl("genpkey", "-algorithm", algorithm)) is CredentialProblem.UNSUPPORTED_KEY


def test_refuses_other_labels() -> None:
    assert problem_of(encode_pem("OPENSSH PRIVATE KEY", b"openssh-key-v1")) is CredentialProblem.UNSUPPORTED_KEY


def test_refuses_an_ec_key_whose_halves_differ() -> None:
    mine, other = key_of("p256"), ec.generate_private_key(ec.SECP256R1())
    assert isinstance(mine, ec.EllipticCurvePrivateKey)
    data = block(keys.encode_private_key(mine)).data
    point = keys.spki_der(mine)[-65:]
    with pytest.raises(ParseError, match="two halves"):
        keys.parse_private_key(block(encode_pem("PRIVATE KEY", data.replace(point, keys.spki_der(other)[-65:]))))


def test_reads_a_compressed_point_as_the_same_key() -> None:
    key = key_of("p256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    compressed = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    spki = keys.spki_der(key)
    algorithm = der.parse_one(spki, what="x").take_raw()
    assert keys.same_key(key, der.encode_sequence(algorithm, der.encode_bit_string(compressed)))
    assert not keys.same_key(key, keys.spki_der(key_of("p384")))
    assert not keys.same_key(key, b"garbage")


def locked_with(algorithm: bytes) -> bytes:
    return encode_pem("ENCRYPTED PRIVATE KEY", der.encode_sequence(algorithm, der.encode_octet_string(bytes(32))))


def pbes2(derivation: str, *numbers: int) -> bytes:
    parameters = der.encode_sequence(der.encode_octet_string(bytes(8)), *map(der.encode_integer, numbers))
    cipher = der.encode_sequence(der.encode_oid("2.16.840.1.101.3.4.1.42"), der.encode_octet_string(bytes(16)))
    derived = der.encode_sequence(der.encode_oid(derivation), parameters)
    return der.encode_sequence(der.encode_oid("1.2.840.113549.1.5.13"), der.encode_sequence(derived, cipher))


PBKDF2, SCRYPT = "1.2.840.113549.1.5.12", "1.3.6.1.4.1.11591.4.11"


@pytest.mark.parametrize(
    "algorithm",
    [
        pbes2(PBKDF2, 10_000_001),
        pbes2(PBKDF2, 1 << 4000),
        pbes2(PBKDF2, 0),
        pbes2(PBKDF2, -5),
        pbes2(SCRYPT, 1 << 40, 8, 1),
        pbes2(SCRYPT, 1 << 18, 8, 1 << 20),
        pbes2(SCRYPT, 1 << 30000, 1, 1),
        pbes2(SCRYPT, 0, 8, 1),
        pbes2(SCRYPT, 1, 8, 1),
        pbes2(SCRYPT, 3, 8, 1),
        pbes2(SCRYPT, 1 << 16, 1, 1),
        pbes2("1.2.3.4", 1),
        der.encode_sequence(
            der.encode_oid("1.2.840.113549.1.12.1.3"),
            der.encode_sequence(der.encode_octet_string(bytes(8)), der.encode_integer(1 << 31)),
        ),
        der.encode_sequence(der.encode_oid("1.2.3.4")),
    ],
)
def test_refuses_a_costly_lock_before_trying_it(algorithm: bytes) -> None:
    assert problem_of(locked_with(algorithm), SECRET) is CredentialProblem.UNSUPPORTED_KEY
    assert problem_of(locked_with(algorithm)) is CredentialProblem.UNSUPPORTED_KEY


def test_bounds_the_length_of_a_key() -> None:
    with pytest.raises(ParseError, match="limit"):
        keys.parse_private_key(block(encode_pem("PRIVATE KEY", bytes(keys.MAX_PRIVATE_KEY_BYTES + 1))))


@pytest.mark.parametrize(
    ("kind", "digest"), [("rsa2048", "sha256"), ("rsa3072", "sha256"), ("p256", "sha256"), ("p384", "sha384")]
)
def test_the_digest_follows_the_key(kind: KeyKind, digest: str) -> None:
    key = key_of(kind)
    found = keys.signature_digest(key)
    assert found is not None
    assert found.name == digest
    assert keys.signature_digest(key_of("ed25519")) is None


def test_openssl_verifies_our_signatures(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"signed bytes")
    for kind in KINDS:
        key = key_of(kind)
        signature, _ = keys.sign(key, b"signed bytes")
        (tmp_path / "signature").write_bytes(signature)
        (tmp_path / "public").write_bytes(encode_pem("PUBLIC KEY", keys.spki_der(key)))
        digest = keys.signature_digest(key)
        raw = ("-rawin", "-digest", digest.name) if digest else ("-rawin",)
        paths = (str(tmp_path / name) for name in ("data", "signature", "public"))
        data, signed, public = paths
        openssl("pkeyutl", "-verify", *raw, "-pubin", "-inkey", public, "-sigfile", signed, "-in", data)


def reason_of(key: object, algorithm: bytes, signature: bytes, data: bytes = b"data") -> Reason:
    with pytest.raises(VerificationError) as caught:
        keys.verify_signature(key, algorithm, signature, data)
    return caught.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_refuses_wrong_signatures(kind: KeyKind) -> None:
    key = key_of(kind)
    public = key.public_key()
    signature, algorithm = keys.sign(key, b"data")
    keys.verify_signature(public, algorithm, signature, b"data")
    assert reason_of(public, algorithm, signature, b"other") is Reason.BAD_SIGNATURE
    assert reason_of(public, algorithm, b"", b"data") is Reason.BAD_SIGNATURE
    assert reason_of(public, algorithm, b"\x30\x00", b"data") is Reason.BAD_SIGNATURE
    unknown = der.encode_sequence(der.encode_oid("1.2.3.4"))
    assert reason_of(public, unknown, signature) is Reason.UNSUPPORTED_ALGORITHM
    with pytest.raises(ParseError):
        keys.verify_signature(public, b"", signature, b"data")


def test_refuses_an_algorithm_of_another_kind_of_key() -> None:
    signature, algorithm = keys.sign(key_of("rsa2048"), b"data")
    assert reason_of(key_of("p256").public_key(), algorithm, signature) is Reason.UNSUPPORTED_ALGORITHM
    assert reason_of(object(), algorithm, signature) is Reason.UNSUPPORTED_ALGORITHM


@pytest.mark.parametrize("oid", ["1.2.840.113549.1.1.5", "1.2.840.113549.1.1.4", "1.2.840.10045.4.1", "1.3.14.3.2.29"])
def test_refuses_sha1_and_md5_by_name(oid: str) -> None:
    algorithm = der.encode_sequence(der.encode_oid(oid), b"\x05\x00")
    for kind in KINDS[:2]:
        key = key_of(kind)
        assert reason_of(key.public_key(), algorithm, b"x") is Reason.WEAK_SIGNATURE


def pss_algorithm(digest: str, mask: str, salt: int) -> bytes:
    def named(oid: str, *rest: bytes) -> bytes:
        return der.encode_sequence(der.encode_oid(oid), *rest)

    parameters = der.encode_sequence(
        der.encode_explicit(0, named(digest)),
        der.encode_explicit(1, named("1.2.840.113549.1.1.8", named(mask))),
        der.encode_explicit(2, der.encode_integer(salt)),
    )
    return named("1.2.840.113549.1.1.10", parameters)


SHA256, SHA384, SHA1 = "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2", "1.3.14.3.2.26"


def test_verifies_pss() -> None:
    key = key_of("rsa2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    public = key.public_key()
    signature = key.sign(b"data", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    keys.verify_signature(public, pss_algorithm(SHA256, SHA256, 32), signature, b"data")
    assert reason_of(public, pss_algorithm(SHA256, SHA256, 20), signature) is Reason.BAD_SIGNATURE
    assert reason_of(public, pss_algorithm(SHA256, SHA384, 32), signature) is Reason.UNSUPPORTED_ALGORITHM
    assert reason_of(public, pss_algorithm(SHA1, SHA1, 20), signature) is Reason.WEAK_SIGNATURE
    assert reason_of(public, pss_algorithm(SHA256, SHA256, 1 << 20), signature) is Reason.UNSUPPORTED_ALGORITHM
    longest = key.sign(b"data", padding.PSS(padding.MGF1(hashes.SHA256()), 222), hashes.SHA256())  # OpenSSL's default
    keys.verify_signature(public, pss_algorithm(SHA256, SHA256, 222), longest, b"data")
    assert reason_of(public, pss_algorithm(SHA256, SHA256, 2048), longest) is Reason.BAD_SIGNATURE  # no room for it
    empty = der.encode_sequence(der.encode_oid("1.2.840.113549.1.1.10"), der.encode_sequence())
    assert reason_of(public, empty, signature) is Reason.WEAK_SIGNATURE  # every default is SHA-1


@pytest.mark.parametrize(("kind", "bits"), [("rsa2048", 2048), ("p256", 256), ("p384", 384)])
def test_sizes_are_what_openssl_prints(kind: KeyKind, bits: int) -> None:
    key = key_of(kind)
    assert keys.key_bits(key.public_key()) == bits
    text = openssl("pkey", "-noout", "-text", data=keys.encode_private_key(key)).decode()
    assert f"({bits} bit" in text


def test_other_objects_are_no_keys() -> None:
    for judge in (keys.check_public_key, keys.key_bits, keys.adopt_private_key):
        with pytest.raises(GridError):
            judge(object())
