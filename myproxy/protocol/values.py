"""Single values of MYPROXYv2 messages to and from bytes, and what no value may hold; not the messages (`codec`).

The C programs do not read lines: they search the whole text for `NAME=`, and an attribute found twice is an error. So a
value that holds a line feed, a NUL, or the text of any attribute name with its `=` is not sent; a C reader would
misread the whole message (gct:myproxy/source/myproxy.c, myproxy_deserialize_request). In what is only shown to people
such a name is broken by a blank instead, because the answer must go out.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from gsi.errors import LocalProtocolError, RemoteProtocolError
from gsi.secret import Passphrase

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "INFO_SUFFIXES",
    "MAX_NAME_BYTES",
    "MAX_PASSPHRASE_BYTES",
    "MAX_VALUE_BYTES",
    "REQUEST_NAMES",
    "bad_request",
    "bad_response",
    "encode_asked",
    "encode_passphrase",
    "encode_shown",
    "encode_value",
    "is_sendable",
    "join_lines",
    "parse_free_text",
    "parse_number",
    "parse_passphrase",
    "parse_shown",
    "parse_text",
    "parse_time",
    "split_lines",
    "unix_seconds",
    "whole_seconds",
]

MAX_PASSPHRASE_BYTES: Final = 1024
"""A pass phrase: the C server cuts longer ones, so that two different ones would open one credential."""
MAX_NAME_BYTES: Final = 4096
"""A user or credential name: longer than any DN, which `-d` makes a user name, and than the 1,152 bytes and more
that the C package's own test takes (myproxy-test, number 45)."""
MAX_VALUE_BYTES: Final = 16384
"""Any other value (policy pattern, description, one vomses line): what fits in one TLS record."""

_INT_MIN: Final = -(2**31)
_INT_MAX: Final = 2**31 - 1

REQUEST_NAMES: Final = (
    "VERSION",
    "COMMAND",
    "USERNAME",
    "PASSPHRASE",
    "NEW_PHRASE",
    "LIFETIME",
    "RETRIEVER",
    "RENEWER",
    "CRED_NAME",
    "CRED_DESC",
    "KEYRETRIEVERS",
    "RETRIEVER_TRUSTED",
    "TRUSTED_CERTS",
    "VONAME",
    "VOMSES",
    "ON_BEHALF_OF",
    "WANTS_HISTORY",
)
INFO_SUFFIXES: Final = (
    "NAME",
    "DESC",
    "START_TIME",
    "END_TIME",
    "OWNER",
    "RETRIEVER",
    "KEYRETRIEVERS",
    "RETRIEVER_TRUSTED",
    "RENEWER",
    "LOCKMSG",
)
_RESPONSE_NAMES: Final = ("VERSION", "RESPONSE", "ERROR", "AUTHORIZATION_DATA", "ADDL_CREDS", "TRUSTED_CERTS")
_IN_REQUESTS: Final = re.compile(f"(?:{'|'.join(REQUEST_NAMES)})=".encode())
"""What a C server searches for in the whole request, wherever it stands."""
_IN_RESPONSES: Final = re.compile(
    f"(?:{'|'.join((*_RESPONSE_NAMES, *(f'_{suffix}' for suffix in INFO_SUFFIXES)))}|FILEDATA_.{{0,99}})=".encode()
)
"""What a C client searches for in the whole response: also `CRED_<name>_OWNER=` with any name."""
_NUMBER: Final = re.compile(rb"[+-]?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})\Z")


def is_sendable(value: str) -> bool:
    """Whether a value can travel to any peer: no line feed, no NUL, no attribute text, valid Unicode, not too long.

    A server that stores names and policies asks before, so that INFO can list them later.
    """
    try:
        encode_value("value", value, MAX_VALUE_BYTES)
        encode_asked("value", value, MAX_VALUE_BYTES)
    except LocalProtocolError:
        return False
    return True


def bad_request(reason: str) -> RemoteProtocolError:
    """Return the error for a request that cannot be read, in the C server's first words."""
    return RemoteProtocolError(f"error parsing request: {reason}")


def bad_response(reason: str) -> RemoteProtocolError:
    """Return the error for a response that cannot be read."""
    return RemoteProtocolError(f"the server's response cannot be read: {reason}")


def split_lines(data: bytes, complain: Callable[[str], RemoteProtocolError]) -> list[bytes]:
    """Return the lines of a message, with or without its final NUL; `complain` makes the error for a NUL inside."""
    if data.endswith(b"\0"):
        data = data[:-1]
    if b"\0" in data:
        raise complain("a NUL stands inside it")
    return data.split(b"\n")


def join_lines(lines: list[tuple[str, bytes]]) -> bytes:
    """Return a message made of attributes and their values, with its final NUL."""
    return b"".join(b"%b=%b\n" % (name.encode(), value) for name, value in lines) + b"\0"


def encode_value(what: str, value: str, limit: int, forbidden: re.Pattern[bytes] = _IN_RESPONSES) -> bytes:
    """Return a text that has to travel unchanged, by default in a response.

    Raises:
        LocalProtocolError: It cannot.
    """
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"the {what} is not valid Unicode text") from error
    found = _check_outgoing(what, data, limit, forbidden)
    if found:
        raise LocalProtocolError(
            f"the {what} holds the text '{found}', which MyProxy peers take for an attribute",
            hint=f"choose another {what}",
        )
    return data


def encode_asked(what: str, value: str, limit: int) -> bytes:
    """A value of a request."""
    return encode_value(what, value, limit, _IN_REQUESTS)


def encode_passphrase(what: str, passphrase: Passphrase) -> bytes:
    """Return a pass phrase for a request; raises `LocalProtocolError` without a word of it."""
    data = passphrase.reveal()
    if _check_outgoing(what, data, MAX_PASSPHRASE_BYTES, _IN_REQUESTS):  # which text it holds is nobody's business
        raise LocalProtocolError(
            f"the {what} holds a text that MyProxy servers take for an attribute",
            hint="choose one without capital words directly before '='",
        )
    return data


def _check_outgoing(what: str, data: bytes, limit: int, forbidden: re.Pattern[bytes]) -> str:
    if len(data) > limit:
        raise LocalProtocolError(f"the {what} is longer than {limit} bytes")
    if b"\n" in data or b"\0" in data:
        raise LocalProtocolError(f"the {what} holds a line feed or NUL, which the protocol cannot carry")
    found = forbidden.search(data)
    return found[0].decode("utf-8", "backslashreplace") if found else ""


def encode_shown(text: str) -> bytes:
    """Text for people, changed as little as lets every reader get the message around it."""
    data = text.replace("\n", " ").replace("\0", " ").encode("utf-8", "backslashreplace")[:MAX_VALUE_BYTES]
    return _IN_RESPONSES.sub(lambda found: found[0][:-1] + b" =", data)


def parse_text(name: str, value: bytes, limit: int) -> str:
    """Return a text of a request; raises `RemoteProtocolError` when it is too long or not UTF-8."""
    if len(value) > limit:
        raise bad_request(f"{name} is longer than {limit} bytes")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request(f"{name} is not UTF-8") from None


def parse_free_text(name: str, value: bytes, limit: int) -> str:
    """Return a text that no account or credential is found by: UTF-8, or else Latin-1, as old clients send it."""
    if len(value) > limit:
        raise bad_request(f"{name} is longer than {limit} bytes")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def parse_passphrase(name: str, value: bytes) -> Passphrase:
    """Return a pass phrase of a request; raises `RemoteProtocolError` when it is too long."""
    if len(value) > MAX_PASSPHRASE_BYTES:
        raise bad_request(f"{name} is longer than {MAX_PASSPHRASE_BYTES} bytes")
    return Passphrase(value)


def parse_shown(value: bytes) -> str:
    """A server's words: shown to a person, so bytes that are not UTF-8 become escapes instead of an error."""
    return value.decode("utf-8", "backslashreplace")


def parse_number(name: str, value: bytes, complain: Callable[[str], RemoteProtocolError] = bad_request) -> int:
    """Read a number as strtol with base 0 does: decimal, 0x hexadecimal, 0 octal; 32 bits, nothing after it."""
    text = value.strip(b" \t")
    if not _NUMBER.match(text):
        raise complain(f"{name} is not a number")
    digits = text.lstrip(b"+-")
    octal = len(digits) > 1 and digits.startswith(b"0") and digits[1:2] not in (b"x", b"X")
    try:
        number = int(text, 8 if octal else 16 if digits[:2] in (b"0x", b"0X") else 10)
    except ValueError:
        raise complain(f"{name} is not a number") from None
    if not _INT_MIN <= number <= _INT_MAX:
        raise complain(f"{name} does not fit in 32 bits")
    return number


def parse_time(name: str, value: bytes) -> datetime:
    """Return a time of a response: decimal Unix seconds."""
    if not re.fullmatch(rb"-?[0-9]{1,12}", value):
        raise bad_response(f"{name} is not a time")
    try:
        return datetime.fromtimestamp(int(value), UTC)
    except (ValueError, OverflowError, OSError):
        raise bad_response(f"{name} is out of range") from None


def unix_seconds(moment: datetime) -> int:
    """Return a time as whole Unix seconds."""
    return int(moment.timestamp())


def whole_seconds(lifetime: timedelta) -> int:
    """Return a lifetime as a number of seconds that peers can read."""
    seconds = lifetime // timedelta(seconds=1)
    if not 0 <= seconds <= _INT_MAX:
        raise LocalProtocolError("the lifetime is negative or more than 68 years")
    return seconds
