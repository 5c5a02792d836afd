"""One-time codes: the RFC's vectors, every spelling of a code, each accepted once."""

from __future__ import annotations

import base64
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.errors import AuthenticationError, ConfigError, StorageError
from gsi.secret import Passphrase
from myproxy.auth.totp import CodeKeys, OneTimeCodes, StoredSecret, code_at

KEY = bytes(range(32))
SECRET = b"12345678901234567890"
START = datetime(2026, 1, 1, tzinfo=UTC)


class Memory:
    """A `CodeStore` in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, StoredSecret] = {}

    def find(self, username: str) -> StoredSecret | None:
        return self.rows.get(username)

    def put(self, username: str, sealed: bytes, *, now: datetime) -> None:
        before = self.rows.get(username)
        self.rows[username] = StoredSecret(sealed, before.last_step if before else 0)

    def remove(self, username: str) -> None:
        del self.rows[username]

    def advance(self, username: str, step: int) -> bool:
        before = self.rows[username]
        if before.last_step >= step:
            return False
        self.rows[username] = StoredSecret(before.sealed, step)
        return True

    def usernames(self) -> list[str]:
        return sorted(self.rows)


class Desk:
    def __init__(self, **rules: int) -> None:
        self.now = START
        self.store = Memory()
        self.codes = OneTimeCodes(self.store, CodeKeys([KEY]), clock=lambda: self.now, **rules)
        self.codes.enrol("alice", issuer="Test", secret=SECRET)

    def code(self, offset: int = 0) -> str:
        """What alice's authenticator shows, so many periods from now."""
        return pyotp.TOTP(base64.b32encode(SECRET).decode()).at(self.now + timedelta(seconds=30 * offset))

    def check(self, code: str, username: str = "alice") -> None:
        self.codes.check(username, Passphrase(code))


@pytest.fixture
def desk() -> Desk:
    return Desk()


# RFC 6238 appendix B; the secrets are those of its erratum 2866.
@pytest.mark.parametrize(
    ("seconds", "sha1", "sha256", "sha512"),
    [
        (59, "94287082", "46119246", "90693936"),
        (1111111109, "07081804", "68084774", "25091201"),
        (1111111111, "14050471", "67062674", "99943326"),
        (1234567890, "89005924", "91819424", "93441116"),
        (2000000000, "69279037", "90698825", "38618901"),
        (20000000000, "65353130", "77737706", "47863826"),
    ],
)
def test_the_vectors_of_the_rfc(seconds: int, sha1: str, sha256: str, sha512: str) -> None:
    for algorithm, size, code in (("SHA1", 20, sha1), ("SHA256", 32, sha256), ("SHA512", 64, sha512)):
        secret = (b"1234567890" * 7)[:size]
        assert code_at(seconds // 30, secret, algorithm, 8) == code.encode()
        desk = Desk(digits=8)
        desk.now = datetime.fromtimestamp(seconds, UTC)
        desk.codes.enrol("bob", issuer="Test", algorithm=algorithm, secret=secret)
        desk.check(code, "bob")


@given(st.binary(min_size=16, max_size=64), st.integers(min_value=1, max_value=2**31))
def test_codes_are_those_of_pyotp(secret: bytes, step: int) -> None:
    assert code_at(step, secret) == pyotp.HOTP(base64.b32encode(secret).decode()).at(step).encode()


def test_a_code_is_accepted_once(desk: Desk) -> None:
    code = desk.code()
    desk.check(code)
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="used before"):
            desk.check(code)
    desk.now += timedelta(seconds=29)
    with pytest.raises(AuthenticationError):
        desk.check(code)
    desk.now += timedelta(seconds=1)
    desk.check(desk.code())


DIGITS = [char for char in map(chr, range(0x110000)) if unicodedata.decimal(char, None) is not None]


def spellings(code: str) -> list[str]:
    """The same code in every script that has digits, and with blanks of every kind."""
    scripts = [DIGITS[start : start + 10] for start in range(0, len(DIGITS), 10)]
    written = ["".join(script[int(digit)] for digit in code) for script in scripts]
    blanks = [blank.join(code) for blank in (" ", "\t", "\u00a0", "\u2003", "\u3000", "  ")]
    return [*written, *blanks, code[:3] + " " + code[3:], code + " ", code + "\n"]


def test_every_spelling_is_the_same_code() -> None:
    desk = Desk()
    for spelling in spellings(desk.code()):
        assert desk.codes.split(Passphrase(spelling)) == (Passphrase(b""), desk.code())
        Desk().check(spelling)


def test_no_spelling_makes_a_used_code_new(desk: Desk) -> None:
    desk.check(desk.code())
    for spelling in spellings(desk.code()):
        with pytest.raises(AuthenticationError, match="used before"):
            desk.check(spelling)


@pytest.mark.parametrize(
    "text", ["", "12345", "1234567", "12345a", "a23456", "123 45", "-123456", "12345\u00b2", "0x1234"]
)
def test_what_is_no_code(desk: Desk, text: str) -> None:
    with pytest.raises(AuthenticationError):
        desk.check(text)


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
def test_clocks_may_be_one_period_off(offset: int) -> None:
    desk = Desk()
    if abs(offset) <= 1:
        desk.check(desk.code(offset))
    else:
        with pytest.raises(AuthenticationError):
            desk.check(desk.code(offset))
    with pytest.raises(AuthenticationError):
        Desk(window=0).check(desk.code(offset or 1))


def test_an_earlier_code_than_the_last_is_refused(desk: Desk) -> None:
    desk.check(desk.code(1))
    for offset in (-1, 0, 1):
        with pytest.raises(AuthenticationError, match="used before"):
            desk.check(desk.code(offset))


def test_a_clock_that_goes_back_accepts_nothing_twice(desk: Desk) -> None:
    code = desk.code()
    desk.check(code)
    desk.now -= timedelta(days=1)
    with pytest.raises(AuthenticationError):
        desk.check(desk.code())
    desk.now += timedelta(days=1)
    with pytest.raises(AuthenticationError):
        desk.check(code)


def test_a_code_that_is_verified_may_still_be_lost_to_somebody_faster(desk: Desk) -> None:
    first, second = desk.codes.verify("alice", desk.code()), desk.codes.verify("alice", desk.code())
    first.consume()
    with pytest.raises(AuthenticationError, match="used before"):
        second.consume()


def test_of_somebody_else_and_of_nobody(desk: Desk) -> None:
    desk.codes.enrol("bob", issuer="Test")
    for username in ("bob", "nobody", "Alice", ""):
        with pytest.raises(AuthenticationError, match=r"^invalid one-time code$"):
            desk.check(desk.code(), username)


def test_the_code_behind_a_pass_phrase(desk: Desk) -> None:
    for before in ("correct horse", "correct horse ", "1234567890", "\u00fc\u0661", "a\u00a0b"):
        for code in ("123456", "123 456", "\uff11\uff12\uff13\uff14\uff15\uff16"):
            assert desk.codes.split(Passphrase(before + code)) == (Passphrase(before), "123456")
    assert desk.codes.split(Passphrase("correct horse")) == (Passphrase("correct horse"), "")
    assert desk.codes.split(Passphrase(b"\xff\xfe123456")) == (Passphrase(b"\xff\xfe"), "123456")
    with pytest.raises(AuthenticationError):
        desk.check("x" + desk.code())


@given(st.binary(max_size=80), st.integers(min_value=0, max_value=999999))
def test_splitting_finds_what_was_put_together(before: bytes, number: int) -> None:
    code = f"{number:06}"
    assert Desk().codes.split(Passphrase(before + code.encode())) == (Passphrase(before), code)


@given(st.binary(max_size=80))
def test_splitting_loses_nothing(given_bytes: bytes) -> None:
    before, code = Desk().codes.split(Passphrase(given_bytes))
    assert given_bytes.startswith(before.reveal())
    assert code == "" or (len(code) == 6 and code.isascii() and code.isdigit())


# Secrets ----------------------------------------------------------------------------------------------------------


def test_an_enrolment_is_what_authenticators_read(desk: Desk) -> None:
    made = desk.codes.enrol("al ice/ü", issuer="Test Site", algorithm="SHA256")
    uri = made.uri.reveal().decode()
    parsed = pyotp.parse_uri(uri)
    assert isinstance(parsed, pyotp.TOTP)
    desk.check(parsed.at(desk.now), "al ice/ü")
    assert unquote(urlsplit(uri).path) == "/Test Site:al ice/ü"
    facts = parse_qs(urlsplit(uri).query)
    assert (facts["algorithm"], facts["digits"], facts["period"]) == (["SHA256"], ["6"], ["30"])
    assert "secret" not in repr(made).replace("secret=Passphrase(***)", "")


def test_the_code_that_shows_an_enrolment_is_used_up(desk: Desk) -> None:
    step = int(desk.now.timestamp()) // 30
    desk.codes.enrol("alice", issuer="Example", secret=SECRET, used_step=step)
    with pytest.raises(AuthenticationError, match="used before"):
        desk.check(desk.code())
    desk.check(desk.code(1))


def test_secrets_are_bound_to_their_user_and_key(desk: Desk) -> None:
    sealed = desk.store.rows["alice"].sealed
    assert SECRET not in sealed
    desk.store.rows["bob"] = StoredSecret(sealed, 0)
    with pytest.raises(StorageError, match="damaged"):
        desk.check(desk.code(), "bob")
    other = CodeKeys([bytes(32)])
    with pytest.raises(StorageError, match="not in the key file"):
        other.open("alice", sealed)
    assert CodeKeys([bytes(32), KEY]).open("alice", sealed)[2] == SECRET
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
        with pytest.raises(StorageError):
            CodeKeys([KEY]).open("alice", changed)
    for size in range(len(sealed)):
        with pytest.raises(StorageError):
            CodeKeys([KEY]).open("alice", sealed[:size])


def test_secrets_that_are_too_short_or_too_long(desk: Desk) -> None:
    for size in (0, 15, 129):
        with pytest.raises(ConfigError, match="16 to 128"):
            desk.codes.enrol("alice", issuer="x", secret=bytes(size))


def test_key_files(tmp_path: Path) -> None:
    path = tmp_path / "otp.key"
    with pytest.raises(ConfigError) as caught:
        CodeKeys.load(str(path))
    assert "openssl rand" in (caught.value.hint or "")
    path.touch(mode=0o600)
    for text in ("\n", "00\n", "zz" * 32, "00" * 31 + "\n", "00" * 33, "\xff"):
        path.write_text(text, "latin-1")
        with pytest.raises(ConfigError):
            CodeKeys.load(str(path))
    path.write_text(f"# new\n{'00' * 32}\n\n{KEY.hex()}\n")
    assert CodeKeys.load(str(path)).open("alice", Desk().store.rows["alice"].sealed)[2] == SECRET
    path.chmod(0o644)
    with pytest.raises(ConfigError):
        CodeKeys.load(str(path))
