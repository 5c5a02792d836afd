"""The server's side of fetching attribute certificates, sans-IO: both protocols of VOMS on one port.

    session = VOMSServerSession("climate")
    while (request := session.receive_data(receive())) is None: ...       # b"" for the end
    send(session.answer(certificate, now=now))              # or session.refuse(Refusal.NOT_A_MEMBER, "who is that?")

Before either protocol one byte `0` may come, with which GSI clients say that they delegate nothing. `GET` then begins
REST, with lines that end in CR LF (Java, HTTP/1.1) or in a bare LF (C, HTTP/1.0); `<` begins the legacy XML. An error
of REST has an HTTP status and `<error>`, upon which C clients try the legacy protocol; one of the legacy protocol has a
number, and a word in place of the certificate. `gsi.voms.exchange` is the client's side. Must agree with voms:
src/server/vomsd-rest.cc, src/server/vomsd.cc and src/common/xmlcc.cc.
"""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gsi.errors import CapabilityError, DeniedError, LocalProtocolError, ParseError, RemoteProtocolError
from gsi.voms.elements import read_elements
from gsi.voms.exchange import ALL, FetchRequest, Protocol
from gsi.voms.verify import check_fqan

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.voms.attribute_cert import AttributeCertificate

__all__ = ["MAX_REQUEST_BYTES", "Refusal", "VOMSRefusalError", "VOMSServerSession", "VOMSWarning"]

MAX_REQUEST_BYTES: Final = 16 << 10  # as HTTP servers take for a head; the longest request of a client is some 2 kB
_ROOT: Final = "voms"
_MAX_ELEMENTS: Final = 512  # of an XML request; one for each group and role
_MAX_LIFETIME: Final = timedelta(days=3650)  # nobody gives as much; more would overflow
_CLOCKS: Final = timedelta(minutes=1)  # by which a lifetime may be shorter than asked for without a word
_LINE: Final = re.compile(rb"GET ([!-~]{1,8192}) HTTP/1\.[01]\Z")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_PATH: Final = "/generate-ac"
_LEGACY_END: Final = b"</voms>"
_STANDARD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VOMS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789[]"
_TO_VOMS: Final = bytes.maketrans(_STANDARD, _VOMS)
_NO_CERTIFICATE: Final = "<ac>QQ==\n</ac>"
"""`A` in base64, which the C server sends beside its errors: C clients show them only where there is something here."""

_PHRASES: Final = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error"}


class _Words(NamedTuple):
    number: int
    code: str
    status: int


class Refusal(Enum):
    """Why there is no certificate: the number of the legacy protocol, the code and status of REST."""

    NOT_A_MEMBER = _Words(1001, "NoSuchUser", 403)
    NO_ATTRIBUTES = _Words(1002, "BadRequest", 400)
    DATABASE = _Words(1003, "InternalError", 500)
    SUSPENDED = _Words(1004, "SuspendedUser", 403)
    BAD_REQUEST = _Words(1005, "BadRequest", 400)
    NO_SUCH_PAGE = _Words(1005, "BadRequest", 404)
    UNEXPECTED = _Words(1006, "InternalError", 500)


class VOMSWarning(Enum):
    """What a client is told beside its certificate; the numbers of the legacy protocol."""

    ORDER = 1
    SHORTENED = 2
    SUBSET = 3
    UNKNOWN = 4


class VOMSRefusalError(DeniedError):
    """A refusal of which the client is told the kind.

    Attributes:
        refusal: The kind.
    """

    def __init__(self, message: str, *, refusal: Refusal, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.refusal = refusal


class _BadRequestError(RemoteProtocolError):
    """A request that cannot be read; what is wrong may be told."""

    def __init__(self, message: str, refusal: Refusal = Refusal.BAD_REQUEST) -> None:
        super().__init__(message)
        self.refusal = refusal


class VOMSServerSession:
    """One question and its answer over one connection.

    Attributes:
        protocol: How the client asks; None as long as that is not clear.
    """

    __slots__ = ("_base64", "_buffer", "_done", "_request", "_unknown", "_vo", "_wanted", "protocol")

    def __init__(self, vo: str) -> None:
        """Begin.

        Args:
            vo: The VO that is served here.
        """
        self._vo = vo
        self._buffer = bytearray()
        self._request: FetchRequest | None = None
        self._base64 = True
        self._unknown = False
        self._done = False
        self._wanted: tuple[str, ...] = ()
        self.protocol: Protocol | None = None

    def receive_data(self, data: bytes) -> FetchRequest | None:
        """Take bytes of the request; `b""` is its end. Return the request when it is complete.

        Raises:
            RemoteProtocolError: It is none, too long, or cut off; `refuse_error` has an answer to it.
        """
        if self._request is not None:
            return self._request
        self._buffer += data
        if self.protocol is None and not self._find_protocol(at_end=not data):
            return None
        try:
            request = self._rest() if self.protocol is Protocol.REST else self._legacy()
        except CapabilityError as error:
            raise _BadRequestError(error.message) from error
        if request is None:
            if not data:
                raise RemoteProtocolError("the request is cut off")
            if len(self._buffer) > MAX_REQUEST_BYTES:
                raise _BadRequestError(f"a request of more than {MAX_REQUEST_BYTES} bytes")
        self._request = request
        return request

    def _find_protocol(self, *, at_end: bool) -> bool:
        if self._buffer.startswith(b"0"):
            begin = bytes(self._buffer[1:5])
        else:
            begin = bytes(self._buffer[:4])
        if begin.startswith(b"<"):
            self.protocol = Protocol.LEGACY
        elif begin == b"GET ":
            self.protocol = Protocol.REST
        elif not b"GET ".startswith(begin):
            raise RemoteProtocolError("neither a request by HTTP GET nor one in XML")
        elif at_end:
            raise RemoteProtocolError("the client closed without a request")
        else:
            return False
        if self._buffer.startswith(b"0"):
            del self._buffer[0]
        return True

    # --- REST ---------------------------------------------------------------------------------------------------------

    def _rest(self) -> FetchRequest | None:
        end = _HEAD_END.search(self._buffer)
        if end is None:
            return None
        if end.start() > MAX_REQUEST_BYTES:
            raise _BadRequestError(f"a request of more than {MAX_REQUEST_BYTES} bytes")
        line = bytes(self._buffer[: end.start()]).split(b"\n", 1)[0].rstrip(b"\r")
        found = _LINE.match(line)
        if found is None:
            raise _BadRequestError("not a request of HTTP/1.0 or 1.1")
        path, _, query = found[1].decode("ascii").partition("?")
        if path != _PATH:
            raise _BadRequestError("there is no such page", Refusal.NO_SUCH_PAGE)
        fqans: list[str] = []
        order: list[str] = []
        targets: list[str] = []
        lifetime = timedelta()
        for field in query.split("&") if query else []:
            name, equals, value = field.partition("=")
            if not equals:
                raise _BadRequestError("a parameter without a value")
            value = _decode(value)
            match name:
                case "fqans":
                    fqans += self._fqans(value)
                case "order":
                    order += self._fqans(value)
                case "targets":
                    targets += _words(value)
                case "lifetime":
                    lifetime = _lifetime(value)
                case _:
                    self._unknown = True
        return self._make(fqans, lifetime, order, targets)

    def _fqans(self, value: str) -> list[str]:
        return [self._fqan(one) for one in _words(value)]

    def _fqan(self, text: str) -> str:
        """Return an FQAN, which may also be written `/group:role`; `ALL` stays itself."""
        if text == ALL:
            return text
        group, colon, role = text.partition(":")
        fqan = f"{group}/Role={role}" if colon and role else group
        check_fqan(fqan, self._vo)
        return fqan

    def _make(self, fqans: list[str], lifetime: timedelta, order: list[str], targets: list[str]) -> FetchRequest:
        self._wanted = tuple(fqans)
        return FetchRequest(
            self._vo,
            tuple(dict.fromkeys(fqans)),
            lifetime,
            tuple(dict.fromkeys(one for one in order if one != ALL)),
            tuple(dict.fromkeys(targets)),
        )

    # --- legacy -------------------------------------------------------------------------------------------------------

    def _legacy(self) -> FetchRequest | None:
        end = self._buffer.find(_LEGACY_END)
        if end < 0:
            return None
        if end > MAX_REQUEST_BYTES:
            raise _BadRequestError(f"a request of more than {MAX_REQUEST_BYTES} bytes")
        fqans: list[str] = []
        order: list[str] = []
        targets: list[str] = []
        lifetime = timedelta()
        self._base64 = False
        commands = 0
        for name, text in _elements(bytes(self._buffer[: end + len(_LEGACY_END)])):
            match name:
                case "command":
                    commands += 1
                    fqans += self._command(text)
                case "order":
                    order += self._fqans(text)
                case "targets":
                    targets += _words(text)
                case "lifetime":
                    lifetime = _lifetime(text)
                case "base64":
                    self._base64 = text == "1"
                case "version":
                    pass
                case _:
                    self._unknown = True
        if not commands:
            raise _BadRequestError("no command in the request")
        return self._make(fqans, lifetime, order, targets)

    def _command(self, text: str) -> list[str]:
        """Return what a command asks for: all, a group, a role in the VO's group, or a role in a group."""
        kind, rest = text[:1], text[1:]
        match kind:
            case "A" if not rest:
                return [ALL]
            case "G" | "B" if rest:
                return [self._fqan(rest)]
            case "R" if rest and "/" not in rest:
                return [self._fqan(f"/{self._vo}:{rest}")]
            case "/":
                return [self._fqan(text)]
            case _:
                raise _BadRequestError(f"the command {_shown(text[:40])!r} is not known")

    # --- answers ------------------------------------------------------------------------------------------------------

    def answer(self, certificate: AttributeCertificate, *, now: datetime) -> bytes:
        """Return the answer that carries a certificate, with warnings where it is not all that was asked for.

        Raises:
            LocalProtocolError: Nothing was asked, or there was an answer already.
        """
        if self._request is None:
            raise LocalProtocolError("an answer before the question")
        warnings = self._warnings(self._request, certificate, now)
        encoded = base64.encodebytes(certificate.der)  # C takes base64 without a line feed for VOMS' own alphabet
        if not self._base64:
            encoded = base64.b64encode(certificate.der).rstrip(b"=").translate(_TO_VOMS)
        ac = f"<ac>{encoded.decode('ascii')}</ac>"
        if self.protocol is Protocol.REST:
            told = "".join(f"<warning>{_escape(text)}</warning>" for _, text in warnings)
            return self._http(200, f"<voms>{ac}{told}</voms>")
        items = "".join(_item(kind.value, text) for kind, text in warnings)
        return self._xml(f"<error>{items}</error>{ac}" if items else ac)

    def refuse(self, refusal: Refusal, message: str) -> bytes:
        """Return the answer that says no; empty when the client speaks neither protocol.

        Raises:
            LocalProtocolError: There was an answer already.
        """
        words = refusal.value
        if self.protocol is Protocol.LEGACY:
            return self._xml(f"<error>{_item(words.number, message)}</error>{_NO_CERTIFICATE}")
        if self.protocol is None:
            self._finish()
            return b""
        error = f"<error><code>{words.code}</code><message>{_escape(message)}</message></error>"
        return self._http(words.status, f"<voms>{error}</voms>")

    def refuse_error(self, error: RemoteProtocolError) -> bytes:
        """Return the answer to what `receive_data` raised; empty where there is none to give."""
        if isinstance(error, _BadRequestError):
            return self.refuse(error.refusal, error.message)
        return self.refuse(Refusal.BAD_REQUEST, error.message)

    def _warnings(
        self, request: FetchRequest, certificate: AttributeCertificate, now: datetime
    ) -> list[tuple[VOMSWarning, str]]:
        info = certificate.info
        given = [_short(one) for one in info.fqans]
        found: list[tuple[VOMSWarning, str]] = []
        first = next(iter((*request.order, *self._wanted)), ALL)
        if first not in {ALL, f"/{self._vo}"} and _short(first) != given[0]:
            found.append((VOMSWarning.ORDER, f"FQAN: {given[0]} is not the first selected!"))
        left = info.not_after - now
        if request.lifetime and left + _CLOCKS < request.lifetime:
            seconds = int(left.total_seconds())
            text = f"{info.authority}: the validity of this VOMS AC is shortened to {seconds} seconds"
            found.append((VOMSWarning.SHORTENED, text))
        if any(one != ALL and _short(one) not in given for one in self._wanted):
            text = f"{self._vo}: only some of the attributes that were asked for are issued"
            found.append((VOMSWarning.SUBSET, text))
        if self._unknown:
            found.append((VOMSWarning.UNKNOWN, "unknown parameters in the request were ignored"))
        return found

    def _http(self, status: int, content: str) -> bytes:
        self._finish()
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n{content}\n'.encode()
        head = (
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: text/xml;charset=UTF-8\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode("ascii") + body

    def _xml(self, content: str) -> bytes:
        self._finish()
        text = f'<?xml version="1.0" encoding="US-ASCII"?><vomsans><version>3</version>{content}</vomsans>'
        return text.encode("ascii", "replace")

    def _finish(self) -> None:
        if self._done:
            raise LocalProtocolError("two answers to one question")
        self._done = True


def _short(fqan: str) -> str:
    return fqan.removesuffix("/Capability=NULL").removesuffix("/Role=NULL")


def _decode(value: str) -> str:
    """Return a value, percent-decoded once; a plus is a plus.

    Raises:
        _BadRequestError: It is no printable text.
    """
    try:
        text = unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _BadRequestError("a parameter that is not UTF-8") from error
    if not text.isprintable():
        raise _BadRequestError("a parameter with control characters")
    return text


def _words(value: str) -> list[str]:
    """Return what stands between commas."""
    return [word for word in map(str.strip, value.split(",")) if word]


def _lifetime(text: str) -> timedelta:
    """Return a lifetime in seconds; nothing, 0 and -1 ask for as long as the server gives."""
    if text in {"", "-1"}:
        return timedelta()
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise _BadRequestError("a lifetime that is no number of seconds")
    return min(timedelta(seconds=int(text)), _MAX_LIFETIME)


def _item(number: int, message: str) -> str:
    return f"<item><number>{number}</number><message>{_escape(message)}</message></item>"


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _escape(text: str) -> str:
    return _shown(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _elements(data: bytes) -> list[tuple[str, str]]:
    """Return name and text of the elements right below the root."""
    try:
        found = read_elements(data, what="the request", max_depth=2, max_elements=_MAX_ELEMENTS)
    except ParseError as error:
        raise _BadRequestError(error.message) from error
    if found[-1][0] != _ROOT:
        raise _BadRequestError("the request has others than the elements of a request")
    return [(path.removeprefix(f"{_ROOT}/"), text) for path, text in found[:-1]]
