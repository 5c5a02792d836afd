"""What a VOMS server answers, bytes -> value: the XML of both protocols; knows neither HTTP nor a socket.

    answer = parse_answer(b"<voms><ac>MII...</ac></voms>")
    answer.certificate, answer.warnings, answer.errors

The XML is read only as deep as answers are (`elements`). Base64 comes in two alphabets: the usual one, and that of VOMS
itself (`a-zA-Z0-9[]`), in which old servers write.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple

from gsi import der
from gsi.errors import ParseError
from gsi.voms.attribute_cert import MAX_ATTRIBUTE_CERTIFICATE_BYTES, AttributeCertificate
from gsi.voms.elements import read_elements

__all__ = ["MAX_ANSWER_BYTES", "Answer", "ServerError", "decode_base64", "parse_answer"]

MAX_ANSWER_BYTES: Final = 1 << 20  # one attribute certificate in base64 and some sentences
_MAX_DEPTH: Final = 5  # vomsans/error/item/message
_MAX_ELEMENTS: Final = 1000
_MAX_TEXT_CHARS: Final = 2000  # of a message to a person
_FIRST_ERROR: Final = 1000  # lower numbers are warnings
_WHAT: Final = "VOMS answer"
_NO_CERTIFICATE: Final = "QQ=="  # what the C server sends beside errors of the legacy protocol: `A`
_ROOTS: Final = frozenset({"voms", "vomsans"})
_STANDARD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VOMS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789[]"
_FROM_VOMS: Final = bytes.maketrans(_VOMS, _STANDARD)


class ServerError(NamedTuple):
    """What the server found wrong: a word (REST) or number (legacy), and a sentence."""

    code: str
    message: str


class Answer(NamedTuple):
    """What a server answered; without certificate there is an error."""

    certificate: AttributeCertificate | None
    warnings: tuple[str, ...] = ()
    errors: tuple[ServerError, ...] = ()


def parse_answer(data: bytes) -> Answer:
    """Return what an answer says.

    Raises:
        ParseError: Too long, not such XML, or neither a certificate nor an error in it.
    """
    if len(data) > MAX_ANSWER_BYTES:
        raise ParseError(f"{_WHAT}: {len(data)} bytes, limit {MAX_ANSWER_BYTES}", what=_WHAT)
    begin = data.find(b"<?xml")  # as the C client looks for it
    found = read_elements(
        data[begin:] if begin > 0 else data, what=_WHAT, max_depth=_MAX_DEPTH, max_elements=_MAX_ELEMENTS
    )
    root = found[-1][0] if found else ""
    if root not in _ROOTS:
        raise ParseError(f"{_WHAT}: the root element is {root[:40]!r}", what=_WHAT)
    certificate: AttributeCertificate | None = None
    warnings: list[str] = []
    errors: list[ServerError] = []
    code = ""
    for path, text in found:
        match path.removeprefix(f"{root}/"):
            case "ac" if text and text != _NO_CERTIFICATE:
                if certificate is not None:
                    raise ParseError(f"{_WHAT}: two certificates", what=_WHAT)
                certificate = AttributeCertificate.parse(decode_base64(text))
            case "warning":
                warnings.append(_shown(text))
            case "error/code" | "error/item/number":
                code = _shown(text)
            case "error/message":
                errors.append(ServerError(code, _shown(text)))
            case "error/item/message":
                _sort_item(code, _shown(text), warnings, errors)
            case _:
                pass
    if certificate is None and not errors:
        raise ParseError(f"{_WHAT}: neither a certificate nor an error", what=_WHAT)
    return Answer(certificate, tuple(warnings), tuple(errors))


def _sort_item(code: str, message: str, warnings: list[str], errors: list[ServerError]) -> None:
    """Tell an item's warning from an error by its number."""
    if code.isascii() and code.isdigit() and len(code) < 10 and int(code) < _FIRST_ERROR:
        warnings.append(message)
    else:
        errors.append(ServerError(code, message))


def _shown(text: str) -> str:
    """Return a text that is fit for a terminal and a log."""
    return "".join(char if char.isprintable() else " " for char in text[:_MAX_TEXT_CHARS])


def decode_base64(text: str) -> bytes:
    """Return the bytes of a certificate in either alphabet; blanks and line feeds do not count.

    The alphabets overlap, so the one counts in which the bytes are one DER value.

    Raises:
        ParseError: In neither.
    """
    try:
        compact = b"".join(text.encode("ascii").split())
    except UnicodeEncodeError as error:
        raise ParseError(f"{_WHAT}: not base64", what=_WHAT) from error
    if len(compact) > 2 * MAX_ATTRIBUTE_CERTIFICATE_BYTES:
        raise ParseError(f"{_WHAT}: a certificate of {len(compact)} characters", what=_WHAT)
    for candidate in (compact, compact.translate(_FROM_VOMS)):
        try:
            data = base64.b64decode(candidate + b"=" * (-len(candidate) % 4), validate=True)
            if der.object_length(data, what=_WHAT) == len(data):
                return data
        except (binascii.Error, ParseError):
            continue
    raise ParseError(f"{_WHAT}: the certificate is not base64 of one DER value", what=_WHAT)
