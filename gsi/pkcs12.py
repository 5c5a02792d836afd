"""PKCS#12 files (RFC 7292): what one costs to open, and its key and certificates; not where it lies nor what it proves.

    key, certificates = parse_pkcs12_bag(data, passphrase)
    data = relock_pkcs12(data, old, new)

Browsers and old Java write BER instead of DER, so the bytes are read with an own tolerant walker. Its first task is to
add up the key derivations that opening would run, before one is run: those seen from outside before the pass phrase is
asked for, and those within an encrypted part, where no usual program puts any, before the library opens it.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der
from gsi.certificate import Certificate
from gsi.errors import CredentialError, CredentialProblem, ParseError
from gsi.keylocks import MAX_KDF_ITERATIONS, check_kdf_cost, kdf_cost
from gsi.keys import PrivateKey, adopt_private_key, same_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates

    from gsi.secret import Passphrase

__all__ = ["KDF_ROUNDS", "MAX_PKCS12_BYTES", "check_pkcs12", "parse_pkcs12_bag", "relock_pkcs12"]

MAX_PKCS12_BYTES: Final = 1 << 20  # a key and a chain of four take 10 kB
KDF_ROUNDS: Final = 600_000  # of each derivation when writing, as for keys in PEM
_MAX_BER_DEPTH: Final = 32  # the deepest place of a PKCS#12 file nests 12 deep
_WHAT: Final = "PKCS#12 file"
_DATA: Final = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA: Final = "1.2.840.113549.1.7.6"
_PBMAC1: Final = "1.2.840.113549.1.5.14"
_SHROUDED_KEY: Final = "1.2.840.113549.1.12.10.1.2"
_NESTED_BAGS: Final = "1.2.840.113549.1.12.10.1.6"
_CONSTRUCTED: Final = 0x20


class _LockedPart(NamedTuple):
    """An EncryptedData, as it lies in the file."""

    algorithm_der: bytes
    locked: bytes


def check_pkcs12(data: bytes, *, max_rounds: int | None = None) -> int:
    """Return how many iterations of key derivation opening the file takes, its integrity check included.

    Args:
        data: The file.
        max_rounds: How many may be; None is `MAX_KDF_ITERATIONS`.

    Raises:
        ParseError: Not a PKCS#12 file.
        CredentialError: UNSUPPORTED_KEY: over `max_rounds` in all, an unknown method, or protected by a public
            key instead of a pass phrase.
    """
    return _survey(data, max_rounds)[0]


def _survey(data: bytes, max_rounds: int | None) -> tuple[int, list[_LockedPart]]:
    """Return the cost as far as it is seen from outside, and the parts that it is not seen into."""
    if len(data) > MAX_PKCS12_BYTES:
        raise ParseError(f"{_WHAT}: {len(data)} bytes, limit {MAX_PKCS12_BYTES}", what=_WHAT, offset=0)
    outer = der.parse_one(_to_der(data), what=_WHAT)
    if outer.integer() != 3:
        raise ParseError(f"{_WHAT}: only version 3 is known", what=_WHAT)
    safe = outer.sequence()
    if safe.oid() != _DATA:
        raise CredentialError(
            f"{_WHAT}: protected by a public key, not by a pass phrase", problem=CredentialProblem.UNSUPPORTED_KEY
        )
    contents = der.parse_one(_to_der(safe.enter(der.context(0)).octet_string()), what=_WHAT)
    total = 0
    parts: list[_LockedPart] = []
    while not contents.at_end():
        total += _content_cost(contents.sequence(), parts)
    if not outer.at_end():
        total += _mac_cost(outer.sequence())
    outer.finish()
    _check_total(total, max_rounds)
    return total, parts


def _check_total(total: int, max_rounds: int | None) -> None:
    limit = MAX_KDF_ITERATIONS if max_rounds is None else max_rounds
    if total > limit:
        raise CredentialError(
            f"{_WHAT}: opening it takes {total} rounds of key derivation, limit {limit}",
            problem=CredentialProblem.UNSUPPORTED_KEY,
            hint="write it anew with a usual number: openssl pkcs12",
        )


def _content_cost(content: der.Reader, parts: list[_LockedPart]) -> int:
    kind = content.oid()
    body = content.enter(der.context(0))
    if kind == _ENCRYPTED_DATA:
        encrypted = body.sequence()
        encrypted.integer()
        described = encrypted.sequence()
        described.oid()
        algorithm_der = described.take_raw(der.SEQUENCE)
        if not described.at_end():
            parts.append(_LockedPart(algorithm_der, _locked_bytes(described)))
        return kdf_cost(algorithm_der)
    if kind != _DATA:
        raise CredentialError(
            f"{_WHAT}: a part is protected by a public key", problem=CredentialProblem.UNSUPPORTED_KEY
        )
    return _bags_cost(body.octet_string())


def _locked_bytes(described: der.Reader) -> bytes:
    """Return the content of an EncryptedContentInfo: an implicitly tagged string, which BER may have cut to pieces."""
    if described.peek() != der.context(0):
        return described.take(der.context(0, constructed=False))
    pieces = described.enter(der.context(0))
    found: list[bytes] = []
    while not pieces.at_end():
        found.append(pieces.octet_string())
    return b"".join(found)


def _bags_cost(content: bytes) -> int:
    bags = der.parse_one(_to_der(content), what=_WHAT)
    total = 0
    while not bags.at_end():
        bag = bags.sequence()
        bag_kind = bag.oid()
        if bag_kind == _NESTED_BAGS:
            raise CredentialError(f"{_WHAT}: bags within bags", problem=CredentialProblem.UNSUPPORTED_KEY)
        if bag_kind == _SHROUDED_KEY:
            total += kdf_cost(bag.enter(der.context(0)).sequence().take_raw(der.SEQUENCE))
    return total


def _check_inside(total: int, parts: list[_LockedPart], passphrase: Passphrase | None, max_rounds: int | None) -> None:
    """Add to the cost what only shows inside the encrypted parts, and refuse it before the library meets it.

    Raises:
        CredentialError: UNSUPPORTED_KEY, as `check_pkcs12`; WRONG_PASSPHRASE or NEEDS_PASSPHRASE.
    """
    from gsi.pkcs12locks import open_part

    for part in parts:
        costs: list[int] = []
        for content in open_part(part.algorithm_der, part.locked, passphrase):
            with suppress(ParseError):  # noise: not the pass phrase
                costs.append(_bags_cost(content))
        if not costs:
            raise _not_opened(passphrase)
        total += max(costs)
        _check_total(total, max_rounds)


def _not_opened(passphrase: Passphrase | None) -> CredentialError:
    if passphrase is None:
        return CredentialError(
            f"{_WHAT}: locked with a pass phrase, and none was given", problem=CredentialProblem.NEEDS_PASSPHRASE
        )
    return CredentialError(
        f"{_WHAT}: the pass phrase is wrong, or the file is damaged",
        problem=CredentialProblem.WRONG_PASSPHRASE,
        hint="type it again; it is the one that the file was exported with",
    )


def _mac_cost(mac: der.Reader) -> int:
    algorithm = mac.sequence().sequence()
    if algorithm.oid() == _PBMAC1:  # RFC 9579: the derivation stands where PBES2 has it
        pbes2 = der.encode_sequence(der.encode_oid("1.2.840.113549.1.5.13"), algorithm.take_raw(der.SEQUENCE))
        return kdf_cost(pbes2)
    mac.octet_string()
    return check_kdf_cost(1 if mac.at_end() else mac.integer())


def _to_der(data: bytes) -> bytes:
    """Return BER with definite lengths and strings in one piece, so that the strict reader can walk it."""
    value, end = _one_value(data, 0, 0)
    if end != len(data):
        raise ParseError(f"{_WHAT}: {len(data) - end} bytes left over", what=_WHAT, offset=end)
    return value


def _one_value(data: bytes, offset: int, depth: int) -> tuple[bytes, int]:
    if depth > _MAX_BER_DEPTH or offset + 2 > len(data) or data[offset] & 0x1F == 0x1F:
        raise ParseError(f"{_WHAT}: malformed, cut off or nested too deep", what=_WHAT, offset=offset)
    tag, length, start = data[offset], data[offset + 1], offset + 2
    indefinite = length == 0x80
    if length > 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[start : start + count], "big")
        start += count
        if count > 8:
            raise ParseError(f"{_WHAT}: a length field is too long", what=_WHAT, offset=offset)
    end = len(data) if indefinite else start + length
    if end > len(data) or start > len(data) or (indefinite and not tag & _CONSTRUCTED):
        raise ParseError(f"{_WHAT}: malformed or cut off", what=_WHAT, offset=offset)
    if not tag & _CONSTRUCTED:
        return der.encode_tlv(tag, data[start:end]), end
    parts: list[bytes] = []
    at = start
    while at < end and not (indefinite and data[at : at + 2] == b"\0\0"):
        part, at = _one_value(data, at, depth + 1)
        parts.append(part)
    if indefinite:
        if data[at : at + 2] != b"\0\0":
            raise ParseError(f"{_WHAT}: cut off", what=_WHAT, offset=at)
        at += 2
    elif at != end:
        raise ParseError(f"{_WHAT}: a value runs past the one around it", what=_WHAT, offset=at)
    if tag == der.OCTET_STRING | _CONSTRUCTED:
        pieces = [der.Reader(part, what=_WHAT).octet_string() for part in parts]
        return der.encode_octet_string(b"".join(pieces)), at
    return der.encode_tlv(tag, b"".join(parts)), at


def parse_pkcs12_bag(
    data: bytes, passphrase: Passphrase | None, *, max_rounds: int | None = None
) -> tuple[PrivateKey, tuple[Certificate, ...]]:
    """Return the key and the certificates of a PKCS#12 file, the one that belongs to the key first.

    Args:
        data: The file.
        passphrase: Its pass phrase; None where it has none.
        max_rounds: How many rounds of key derivation opening it may take; None is `MAX_KDF_ITERATIONS`.

    Raises:
        ParseError: Not a PKCS#12 file, or a certificate in it is malformed.
        CredentialError: NEEDS_PASSPHRASE, WRONG_PASSPHRASE (or a damaged file: the two look alike), KEY_MISSING,
            MISSING (no certificate), KEY_MISMATCH (none belongs to the key), and as `check_pkcs12`.
    """
    opened = _open(data, passphrase, max_rounds)
    from cryptography.hazmat.primitives.serialization import Encoding

    if opened.key is None:
        raise CredentialError(f"{_WHAT}: no private key in it", problem=CredentialProblem.KEY_MISSING)
    key = adopt_private_key(opened.key)
    bags = [bag for bag in (opened.cert, *opened.additional_certs) if bag is not None]
    certificates = [Certificate.parse(bag.certificate.public_bytes(Encoding.DER)) for bag in bags]
    if not certificates:
        raise CredentialError(f"{_WHAT}: no certificate in it", problem=CredentialProblem.MISSING)
    own = [certificate for certificate in certificates if same_key(key, certificate.spki_der)]
    if not own:
        raise CredentialError(
            f"{_WHAT}: none of its certificates belongs to its key", problem=CredentialProblem.KEY_MISMATCH
        )
    return key, (own[0], *[certificate for certificate in certificates if certificate != own[0]])


def relock_pkcs12(data: bytes, old: Passphrase | None, new: Passphrase | None) -> bytes:
    """Return the same key and certificates, with their friendly names, as a PKCS#12 file under another pass phrase.

    Every part is locked with PBKDF2-HMAC-SHA-256 and AES-256-CBC, and the integrity check is HMAC-SHA-256; each key
    derivation takes `KDF_ROUNDS`.
    Attributes and bags of other kinds (CRLs, secrets) are not carried over.

    Args:
        data: The file as it is.
        old: Its pass phrase; None where it has none.
        new: The one to be; None leaves it open to everyone who can read it.

    Raises:
        ParseError: Not a PKCS#12 file.
        CredentialError: As `parse_pkcs12_bag`, and WRONG_PASSPHRASE when the new one is empty.
    """
    if new is not None and not new:
        raise CredentialError(
            f"{_WHAT}: not locked with an empty pass phrase", problem=CredentialProblem.WRONG_PASSPHRASE
        )
    parse_pkcs12_bag(data, old)  # a file that could not be used afterwards is not written
    opened = _open(data, old)
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import KeySerializationEncryption, NoEncryption, PrivateFormat
    from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates

    lock: KeySerializationEncryption = NoEncryption()
    if new is not None:
        lock = (
            PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(KDF_ROUNDS)
            .key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC)
            .hmac_hash(SHA256())
            .build(new.reveal())
        )
    own = opened.cert
    key = opened.key
    assert isinstance(key, PrivateKey)  # parse_pkcs12_bag takes no other
    try:
        written = serialize_key_and_certificates(
            None if own is None else own.friendly_name,
            key,
            None if own is None else own.certificate,
            opened.additional_certs,
            lock,
        )
    except (ValueError, TypeError) as error:
        raise CredentialError(
            f"{_WHAT}: cannot be written anew: {error}", problem=CredentialProblem.UNSUPPORTED_KEY
        ) from error
    return written if new is None else _with_slow_mac(written, new)


def _with_slow_mac(data: bytes, passphrase: Passphrase) -> bytes:
    """Derive the key of the integrity check in `KDF_ROUNDS`, too; the library writes 2048, a short way to guess."""
    from gsi.pkcs12locks import make_mac

    outer = der.parse_one(data, what=_WHAT)
    version, safe_der = outer.take_raw(der.INTEGER), outer.take_raw(der.SEQUENCE)
    safe = der.parse_one(safe_der, what=_WHAT)
    safe.oid()
    content = safe.enter(der.context(0)).octet_string()
    return der.encode_sequence(version, safe_der, make_mac(content, passphrase, KDF_ROUNDS))


def _open(data: bytes, passphrase: Passphrase | None, max_rounds: int | None = None) -> PKCS12KeyAndCertificates:
    """Let the library open a file, once its cost is known."""
    total, parts = _survey(data, max_rounds)
    _check_inside(total, parts, passphrase, max_rounds)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import pkcs12

    secret = None if passphrase is None else passphrase.reveal()
    try:
        with warnings.catch_warnings():  # pyca warns about BER, which whoever exported the file cannot help
            warnings.simplefilter("ignore")
            return pkcs12.load_pkcs12(data, secret)
    except UnsupportedAlgorithm as error:
        raise CredentialError(f"{_WHAT}: {error}", problem=CredentialProblem.UNSUPPORTED_KEY) from error
    except (ValueError, TypeError) as error:
        raise _not_opened(passphrase) from error
