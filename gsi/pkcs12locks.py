"""How PKCS#12 files lock their parts (RFC 7292 appendices B and C, RC2 of RFC 2268); knows not what the parts hold.

    content = open_part(algorithm_der, locked, passphrase)
    mac_data = make_mac(content, passphrase, rounds)

Opening is only for looking at what is inside before the cryptography library opens it for good. PBES2 is left to
`gsi.keylocks`; here are the forms of its predecessors, which old exports are full of, the 40-bit RC2 that no library
offers among them.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from gsi import der
from gsi.errors import CredentialError, CredentialProblem
from gsi.keylocks import check_kdf_cost, unlock
from gsi.secret import Passphrase

__all__ = ["make_mac", "open_part"]

_WHAT: Final = "PKCS#12 file"
_PKCS12_ARC: Final = "1.2.840.113549.1.12.1."
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_BLOCK_BYTES: Final = 8  # of 3DES and RC2


class _Form(NamedTuple):
    """One of the methods of RFC 7292 appendix C."""

    cipher: str
    key_bytes: int


_FORMS: Final = {
    f"{_PKCS12_ARC}1": _Form("rc4", 16),
    f"{_PKCS12_ARC}2": _Form("rc4", 5),
    f"{_PKCS12_ARC}3": _Form("3des", 24),
    f"{_PKCS12_ARC}4": _Form("3des", 16),
    f"{_PKCS12_ARC}5": _Form("rc2", 16),
    f"{_PKCS12_ARC}6": _Form("rc2", 5),
}


def open_part(algorithm_der: bytes, locked: bytes, passphrase: Passphrase | None) -> tuple[bytes, ...]:
    """Return what a locked part may hold: one reading, or two, since programs differ in what no pass phrase means.

    A wrong pass phrase gives no reading, or noise.

    Args:
        algorithm_der: The AlgorithmIdentifier of the encryption; its cost is bounded here, too.
        locked: The locked bytes.
        passphrase: Opens them; None is the empty one.

    Raises:
        ParseError: Not such a value.
        CredentialError: UNSUPPORTED_KEY: a method that is not known, or as `gsi.keylocks.kdf_cost`.
    """
    reader = der.parse_one(algorithm_der, what=_WHAT)
    form = _FORMS.get(reader.oid())
    if form is None:
        return _open_pbes2(algorithm_der, locked, passphrase or Passphrase(b""))
    parameters = reader.sequence()
    salt, rounds = parameters.octet_string(), check_kdf_cost(parameters.integer())
    return tuple(
        content
        for secret in _spellings(passphrase)
        if (content := _decrypt(form, locked, secret, salt, rounds)) is not None
    )


def _open_pbes2(algorithm_der: bytes, locked: bytes, passphrase: Passphrase) -> tuple[bytes, ...]:
    try:
        opened = unlock(der.encode_sequence(algorithm_der, der.encode_octet_string(locked)), passphrase)
    except CredentialError as error:
        if error.problem is CredentialProblem.WRONG_PASSPHRASE:
            return ()
        raise
    if opened is None:
        raise CredentialError(
            f"{_WHAT}: a part is locked by a method that is not known",
            problem=CredentialProblem.UNSUPPORTED_KEY,
            hint="write it anew with usual methods: openssl pkcs12",
        )
    return (opened,)


def _spellings(passphrase: Passphrase | None) -> tuple[bytes, ...]:
    """Return the pass phrase as a BMPString with its terminator (appendix B.1); the empty one with and without it."""
    if not passphrase:
        return (b"\0\0", b"")
    secret = passphrase.reveal()
    try:
        text = secret.decode("utf-8")
    except UnicodeDecodeError:
        text = secret.decode("latin-1")
    return (text.encode("utf-16-be", "surrogatepass") + b"\0\0",)


def _decrypt(form: _Form, locked: bytes, secret: bytes, salt: bytes, rounds: int) -> bytes | None:
    """Return the content, or None when it cannot be that of this pass phrase."""
    key = _derive(1, form.key_bytes, secret, salt, rounds)
    if form.cipher == "rc4":
        from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
        from cryptography.hazmat.primitives.ciphers import Cipher

        return Cipher(ARC4(key), None).decryptor().update(locked)
    vector = _derive(2, _BLOCK_BYTES, secret, salt, rounds)
    if not locked or len(locked) % _BLOCK_BYTES:
        return None
    if form.cipher == "rc2":
        content = _rc2_cbc(key, vector, locked)
    else:
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
        from cryptography.hazmat.primitives.ciphers import Cipher, modes

        content = Cipher(TripleDES((key + key)[:24]), modes.CBC(vector)).decryptor().update(locked)
    padding = content[-1]
    if not 1 <= padding <= _BLOCK_BYTES or content[-padding:] != bytes((padding,)) * padding:
        return None
    return content[:-padding]


def make_mac(content: bytes, passphrase: Passphrase, rounds: int) -> bytes:
    """Return the MacData for a file's content: HMAC-SHA-256 under a key derived with SHA-256 (RFC 7292 section 4).

    Args:
        content: What the integrity check covers: the AuthenticatedSafe.
        passphrase: The file's.
        rounds: Of the derivation; the cost of trying a pass phrase.
    """
    import hmac
    from secrets import token_bytes

    salt = token_bytes(16)
    (secret,) = _spellings(passphrase)
    key = _derive(3, 32, secret, salt, rounds, digest="sha256")
    algorithm = der.encode_sequence(der.encode_oid(_SHA256), b"\x05\x00")
    found = hmac.digest(key, content, "sha256")
    return der.encode_sequence(
        der.encode_sequence(algorithm, der.encode_octet_string(found)),
        der.encode_octet_string(salt),
        der.encode_integer(rounds),
    )


def _derive(purpose: int, size: int, secret: bytes, salt: bytes, rounds: int, *, digest: str = "sha1") -> bytes:
    """Derive a key (purpose 1), a vector (2) or the key of the integrity check (3) (appendix B.2)."""
    width = 64
    make = hashlib.sha256 if digest == "sha256" else hashlib.sha1
    mixed = _repeated(salt, width) + _repeated(secret, width)
    found = b""
    while True:
        block = bytes((purpose,)) * width + mixed
        for _ in range(rounds):
            block = make(block, usedforsecurity=False).digest()
        found += block
        if len(found) >= size:
            return found[:size]
        step = int.from_bytes((block * 4)[:width], "big") + 1
        mixed = b"".join(
            ((int.from_bytes(mixed[at : at + width], "big") + step) % (1 << 8 * width)).to_bytes(width, "big")
            for at in range(0, len(mixed), width)
        )


def _repeated(text: bytes, width: int) -> bytes:
    """Repeat a text to fill whole blocks; an empty one stays empty."""
    size = -(-len(text) // width) * width
    return (text * (size // len(text) + 1))[:size] if text else b""


_PI_TABLE: Final = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)  # RFC 2268 section 2


def _rc2_cbc(key: bytes, vector: bytes, locked: bytes) -> bytes:
    """Decrypt RC2 in CBC mode, the effective key length being that of the key."""
    words = _rc2_words(key)
    content = bytearray()
    for at in range(0, len(locked), _BLOCK_BYTES):
        block = locked[at : at + _BLOCK_BYTES]
        plain = _rc2_block(words, block)
        content += bytes(left ^ right for left, right in zip(plain, vector, strict=True))
        vector = block
    return bytes(content)


def _rc2_words(key: bytes) -> list[int]:
    """Expand a key to 64 words (RFC 2268 section 2)."""
    size = len(key)
    full = bytearray(key)
    while len(full) < 128:
        full.append(_PI_TABLE[(full[-1] + full[-size]) & 0xFF])
    full[128 - size] = _PI_TABLE[full[128 - size]]
    for place in range(127 - size, -1, -1):
        full[place] = _PI_TABLE[full[place + 1] ^ full[place + size]]
    return [int.from_bytes(full[at : at + 2], "little") for at in range(0, 128, 2)]


def _rc2_block(words: list[int], block: bytes) -> bytes:
    """Decrypt one block (RFC 2268 section 4): 16 rounds of mixing back, with a mash back after the 5th and the 11th."""
    state = [int.from_bytes(block[at : at + 2], "little") for at in range(0, 8, 2)]
    for turn in range(16):
        for place, shift in ((3, 5), (2, 3), (1, 2), (0, 1)):
            value = state[place]
            value = value >> shift | value << (16 - shift) & 0xFFFF
            last = state[place - 1]
            value -= words[4 * (15 - turn) + place] + (last & state[place - 2]) + (~last & state[place - 3])
            state[place] = value & 0xFFFF
        if turn in {4, 10}:
            for place in (3, 2, 1, 0):
                state[place] = (state[place] - words[state[place - 1] & 63]) & 0xFFFF
    return b"".join(value.to_bytes(2, "little") for value in state)
