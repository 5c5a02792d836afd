r"""The body of a GRAM job request as the job manager reads it, and the reply that refuses one; pure.

    request = parse_job_request(body)
    request.rsl                                # None: only the version is asked for
    sys.stdout.buffer.write(encode_refusal(AUTHORIZATION_DENIED, "not on this queue"))

A body is lines `name: value CRLF`, a value in double quotes with `\` before `"` and `\`, or to the end of its line, and
one NUL at the end (gct: gram/protocol/source/globus_gram_protocol_pack.c). The C parser takes more than that: it stops
at the first NUL, keeps the first of two values, skips what it does not know. Whatever it might read otherwise than the
gate is refused here: what was judged must be what is run.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gsi.errors import ParseError

__all__ = [
    "AUTHORIZATION_DENIED",
    "AUTHORIZATION_DENIED_EXECUTABLE",
    "AUTHORIZATION_DENIED_JOB_ID",
    "AUTHORIZATION_SYSTEM_FAILURE",
    "MAX_BODY_BYTES",
    "PROTOCOL_FAILED",
    "JobQuery",
    "JobRequestBody",
    "encode_refusal",
    "parse_job_query",
    "parse_job_request",
]

MAX_BODY_BYTES: Final = 64000
"""GLOBUS_GRAM_PROTOCOL_MAX_MSG_SIZE: the gatekeeper and the job manager take no more."""

PROTOCOL_FAILED: Final = 10
AUTHORIZATION_DENIED: Final = 162
AUTHORIZATION_SYSTEM_FAILURE: Final = 163
AUTHORIZATION_DENIED_JOB_ID: Final = 164
AUTHORIZATION_DENIED_EXECUTABLE: Final = 165
"""Numbers of GRAM's errors (gct: gram/protocol/source/globus_gram_protocol_constants.h)."""

SIGNAL_CANCEL: Final = 1
"""GLOBUS_GRAM_PROTOCOL_JOB_SIGNAL_CANCEL: does what `cancel` does."""

_QUERIES: Final = frozenset({"status", "cancel", "signal", "register", "unregister", "renew"})
_JOB: Final = frozenset({"protocol-version", "job-state-mask", "callback-url", "rsl"})
_VERSION_QUERY: Final = frozenset({"protocol-version", "command"})


class JobQuery(NamedTuple):
    """A question about a job that is there.

    Attributes:
        word: "status", "cancel", "signal", "register", "unregister" or "renew".
        signal: The number behind `signal`, else None.
        argument: What follows.
    """

    word: str
    signal: int | None
    argument: str

    @property
    def actions(self) -> tuple[str, ...]:
        """What it amounts to: a signal can cancel."""
        return (self.word, "cancel") if self.signal == SIGNAL_CANCEL else (self.word,)


class JobRequestBody(NamedTuple):
    """What a client sent to the job manager.

    Attributes:
        rsl: The job's description, unquoted; None for a request of the version.
        values: All lines, by name.
    """

    rsl: str | None
    values: dict[str, str]


def _fail(message: str, offset: int) -> ParseError:
    return ParseError(f"GRAM request: {message}", what="GRAM request", offset=offset)


def parse_job_request(body: bytes) -> JobRequestBody:
    """Parse the body of a request. Bytes that are not UTF-8 come through as surrogates.

    Raises:
        ParseError: It is none, or one that the job manager might read in another way.
    """
    if len(body) > MAX_BODY_BYTES:
        raise _fail(f"{len(body)} bytes, limit {MAX_BODY_BYTES}", 0)
    text = body[:-1] if body.endswith(b"\0") else body
    if b"\0" in text:
        raise _fail("a NUL within it", text.index(b"\0"))
    values: dict[str, str] = {}
    at = 0
    while at < len(text):
        colon = text.find(b": ", at)
        if colon < 0:
            raise _fail("a line without a name", at)
        name = text[at:colon].decode("latin-1")
        if not name.replace("-", "").isalnum() or not name.isascii():
            raise _fail("a name with odd characters", at)
        if name in values:
            raise _fail(f"{name} is there twice", at)
        content, at = _read_value(text, colon + 2)
        if text[at : at + 2] != b"\r\n":
            raise _fail("a line that does not end", at)
        at += 2
        values[name] = content.decode("utf-8", "surrogateescape")
    if values.get("protocol-version") != "2":
        raise _fail("not of protocol version 2", 0)
    if values.keys() == _JOB:
        return JobRequestBody(values["rsl"], values)
    if values.keys() == _VERSION_QUERY and values["command"] == "version":
        return JobRequestBody(None, values)
    raise _fail(f"it has {', '.join(values)}", 0)


def _read_value(text: bytes, at: int) -> tuple[bytes, int]:
    r"""Read a value; return it and where it ends. In both forms `\x` stands for x."""
    if text[at : at + 1] != b'"':
        end = text.find(b"\r", at)
        if end < 0:
            raise _fail("a line that does not end", at)
        raw = text[at:end]
        if b"\\" in raw or b'"' in raw or b"\n" in raw:
            raise _fail("a value that needs quotes", at)
        return raw, end
    out = bytearray()
    begun = at
    at += 1
    while at < len(text):
        one = text[at]
        if one == 0x22:
            return bytes(out), at + 1
        if one == 0x5C:
            at += 1
            if at == len(text):
                break
            one = text[at]
        out.append(one)
        at += 1
    raise _fail("a quote that does not end", begun)


def parse_job_query(text: str) -> JobQuery:
    """Parse a query as the job manager splits it (gct: gram/jobmanager/source/globus_gram_job_manager_query.c).

    Raises:
        ParseError: It is none that the job manager would act upon, or one that it might take for another.
    """
    word, _, rest = text.partition(" ")
    if word not in _QUERIES:
        raise ParseError(f"unknown job query {word[:80]!r}", what="job query")
    if word != "signal":
        return JobQuery(word, None, rest)
    number, _, argument = rest.partition(" ")
    if not (number.isascii() and number.isdigit()) or len(number) > 3:
        raise ParseError(f"unknown signal {number[:80]!r}", what="job query")
    return JobQuery(word, int(number), argument)


def encode_refusal(status: int, message: str = "") -> bytes:
    """Return what a program in the service line writes to refuse a request; the gatekeeper adds the HTTP status.

    Args:
        status: A GRAM error number.
        message: For the client's eyes, where the client shows it; made printable ASCII.
    """
    text = "".join(one if " " <= one <= "~" and one not in '"\\' else "?" for one in message[:1000])
    body = f"protocol-version: 2\r\nstatus: {status}\r\n"
    if text:
        body += f'gt3-failure-message: "{text}"\r\n'
    return f"Content-Type: application/x-globus-gram\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode("ascii")
