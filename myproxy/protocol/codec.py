"""MYPROXYv2 text messages to and from bytes; not what may follow what (`client`, `server`).

    data = encode_request(request)                  # one message with its final NUL: send it in one burst
    request = parse_request(data)                   # the text without the NUL, or with it
    data = encode_response(Response.ok())           # 30 bytes
    response = parse_response(data)

A message is `NAME=value` lines and one NUL. Our readers go strictly by lines; what our writers owe to readers that do
not is in `myproxy.protocol.values`.
"""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from typing import Final

from gsi.errors import LocalProtocolError, RemoteProtocolError
from gsi.secret import Passphrase
from myproxy.protocol.happenings import history_lines, parse_history
from myproxy.protocol.messages import (
    AuthorizationOffer,
    Command,
    CredentialInfo,
    Request,
    Response,
    ResponseType,
    TrustRootFile,
)
from myproxy.protocol.values import (
    INFO_SUFFIXES,
    MAX_NAME_BYTES,
    MAX_PASSPHRASE_BYTES,
    MAX_VALUE_BYTES,
    REQUEST_NAMES,
    bad_request,
    bad_response,
    encode_asked,
    encode_passphrase,
    encode_shown,
    encode_value,
    is_sendable,
    join_lines,
    parse_free_text,
    parse_number,
    parse_passphrase,
    parse_shown,
    parse_text,
    parse_time,
    split_lines,
    unix_seconds,
    whole_seconds,
)

__all__ = [
    "DUMMY_PASSPHRASE",
    "MAX_LINES",
    "MAX_LISTED",
    "MAX_NAME_BYTES",
    "MAX_PASSPHRASE_BYTES",
    "MAX_REQUEST_BYTES",
    "MAX_RESPONSE_BYTES",
    "MAX_RESPONSE_LINES",
    "MAX_VALUE_BYTES",
    "OK_RESPONSE",
    "VERSION",
    "encode_request",
    "encode_response",
    "find_command",
    "is_sendable",
    "looks_complete",
    "parse_request",
    "parse_response",
]

VERSION: Final = "MYPROXYv2"
OK_RESPONSE: Final = b"VERSION=MYPROXYv2\nRESPONSE=0\n\0"
"""A plain yes, as the C server writes it."""
DUMMY_PASSPHRASE: Final = Passphrase(b"DUMMY-PASSPHRASE")
"""What C clients send with INFO and DESTROY, which need no pass phrase."""

MAX_REQUEST_BYTES: Final = 1048576
"""A whole request: the C server's default `request_size_limit`."""
MAX_RESPONSE_BYTES: Final = 16 * 1024 * 1024
"""A whole response: trust roots of a hundred authorities with their CRLs come to a few megabytes of base64."""
MAX_LINES: Final = 4096
"""Lines of a request: the repeatable attributes are few, and each line costs memory."""
MAX_LISTED: Final = 8192
"""Credentials in an answer to INFO: each costs a client ten possible keys, some 2 KiB, and no user has a hundred."""
MAX_RESPONSE_LINES: Final = 131072
"""Lines of a response: ten for each credential listed, and as many again for trust roots."""
MAX_ADDRESS_BYTES: Final = 64
"""The address of a user for whom a front end asks."""
MAX_REPEATED: Final = 256
"""VONAME or VOMSES lines: more than any virtual organisation has servers."""

_REPEATABLE: Final = frozenset({"VONAME", "VOMSES"})
_REQUIRED: Final = ("VERSION", "COMMAND", "USERNAME", "PASSPHRASE", "LIFETIME")


# Requests -------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> bytes:
    """Encode a request with its final NUL, attributes in the order of the C writer.

    Raises:
        LocalProtocolError: A value cannot travel (line feed, NUL, attribute text, too long), or a required one is
            missing.
    """
    if not request.username and request.command is not Command.GET_TRUSTROOTS:
        raise LocalProtocolError("a user name is required")
    seconds = whole_seconds(request.lifetime)
    lines = [
        ("VERSION", VERSION.encode()),
        ("COMMAND", b"%d" % request.command),
        ("USERNAME", encode_asked("user name", request.username, MAX_NAME_BYTES)),
        ("PASSPHRASE", encode_passphrase("pass phrase", request.passphrase)),
    ]
    if request.new_passphrase:
        lines.append(("NEW_PHRASE", encode_passphrase("new pass phrase", request.new_passphrase)))
    lines.append(("LIFETIME", b"%d" % seconds))
    lines += [
        (name, encode_asked(what, value, limit))
        for name, what, value, limit in (
            ("RETRIEVER", "retrieval policy", request.retriever, MAX_VALUE_BYTES),
            ("RENEWER", "renewal policy", request.renewer, MAX_VALUE_BYTES),
            ("CRED_NAME", "credential name", request.credential_name, MAX_NAME_BYTES),
            ("CRED_DESC", "credential description", request.description, MAX_VALUE_BYTES),
            ("KEYRETRIEVERS", "key retrieval policy", request.key_retrievers, MAX_VALUE_BYTES),
            ("RETRIEVER_TRUSTED", "trusted retrieval policy", request.trusted_retriever, MAX_VALUE_BYTES),
        )
        if value is not None
    ]
    if request.wants_trust_roots:
        lines.append(("TRUSTED_CERTS", b"1"))
    lines += [("VONAME", encode_asked("VO name", value, MAX_VALUE_BYTES)) for value in request.vo_names]
    lines += [("VOMSES", encode_asked("vomses line", value, MAX_VALUE_BYTES)) for value in request.vomses]
    if request.on_behalf_of is not None:
        lines.append(("ON_BEHALF_OF", encode_asked("user's address", request.on_behalf_of, MAX_ADDRESS_BYTES)))
    if request.wants_history:
        lines.append(("WANTS_HISTORY", b"1"))
    return join_lines(lines)


def parse_request(data: bytes) -> Request:
    """Parse a request by lines; unknown attributes are passed over, any order is taken.

    Args:
        data: The text up to its NUL; the NUL itself may be there or not.

    Raises:
        RemoteProtocolError: It is no request of this protocol, or beyond the limits. The message says why and holds
            no secret; its first words are those of the C server where scripts look for them.
    """
    attributes = _collect(data)
    version = attributes.get("VERSION", [b""])[0]
    if version != VERSION.encode():
        raise RemoteProtocolError("Invalid version number received.")
    missing = [name for name in _REQUIRED if name not in attributes]
    if missing:
        raise bad_request(f"{missing[0]} is missing")
    command = _parse_command(attributes["COMMAND"][0])
    username = parse_text("USERNAME", attributes["USERNAME"][0], MAX_NAME_BYTES)
    if not username and command is not Command.GET_TRUSTROOTS:
        raise RemoteProtocolError("Invalid username received.")

    def optional(name: str, limit: int = MAX_VALUE_BYTES) -> str | None:
        values = attributes.get(name)
        return parse_text(name, values[0], limit) if values else None

    def free(name: str) -> str | None:
        values = attributes.get(name)
        return parse_free_text(name, values[0], MAX_VALUE_BYTES) if values else None

    def repeated(name: str) -> tuple[str, ...]:
        return tuple(parse_text(name, value, MAX_VALUE_BYTES) for value in attributes.get(name, ()))

    return Request(
        command=command,
        username=username,
        passphrase=parse_passphrase("PASSPHRASE", attributes["PASSPHRASE"][0]),
        new_passphrase=parse_passphrase("NEW_PHRASE", attributes.get("NEW_PHRASE", [b""])[0]),
        lifetime=timedelta(seconds=max(0, parse_number("LIFETIME", attributes["LIFETIME"][0]))),
        retriever=free("RETRIEVER"),
        renewer=free("RENEWER"),
        credential_name=_parse_credential_name(optional("CRED_NAME", MAX_NAME_BYTES)),
        description=free("CRED_DESC"),
        key_retrievers=free("KEYRETRIEVERS"),
        trusted_retriever=free("RETRIEVER_TRUSTED"),
        wants_trust_roots=parse_number("TRUSTED_CERTS", attributes.get("TRUSTED_CERTS", [b"0"])[0]) == 1,
        vo_names=repeated("VONAME"),
        vomses=repeated("VOMSES"),
        on_behalf_of=_parse_user_address(command, optional("ON_BEHALF_OF", MAX_ADDRESS_BYTES)),
        wants_history=parse_number("WANTS_HISTORY", attributes.get("WANTS_HISTORY", [b"0"])[0]) == 1,
    )


def looks_complete(data: bytes) -> bool:
    """Whether a text without NUL has all that a request needs; more lines may still be under way."""
    names = {line.partition(b"=")[0] for line in data.split(b"\n") if b"=" in line}
    return names.issuperset(name.encode() for name in _REQUIRED)


def find_command(data: bytes) -> Command | None:
    """Return the command of a text that may not be a whole request, or None when it names none that is known."""
    for line in data.split(b"\n"):
        if line.startswith(b"COMMAND="):
            try:
                return _parse_command(line.removeprefix(b"COMMAND="))
            except RemoteProtocolError:
                return None
    return None


def _collect(data: bytes) -> dict[str, list[bytes]]:
    """Sort the lines of a request by attribute name."""
    if len(data) > MAX_RESPONSE_BYTES:  # the session holds the configured limit; this is for direct callers
        raise bad_request("it is too long")
    if data.count(b"\n") > MAX_LINES:
        raise bad_request(f"it has more than {MAX_LINES} lines")
    lines = split_lines(data, bad_request)
    known = {name.encode(): name for name in REQUEST_NAMES}
    found: dict[str, list[bytes]] = {}
    for line in lines:
        name, equals, value = line.partition(b"=")
        attribute = known.get(name)
        if not equals or attribute is None:
            continue
        values = found.setdefault(attribute, [])
        values.append(value)
        if len(values) > (MAX_REPEATED if attribute in _REPEATABLE else 1):
            raise bad_request(f"{attribute} is there more than once")
    return found


def _parse_credential_name(name: str | None) -> str | None:
    """Refuse an empty name: writers leave it out, and to take it for the unnamed credential would be a guess."""
    if name == "":
        raise bad_request("CRED_NAME is empty")
    return name


def _parse_user_address(command: Command, text: str | None) -> str | None:
    """Insist on one form of an address: it is what wrong tries are counted by."""
    if text is None:
        return None
    import ipaddress

    if command is not Command.GET:
        raise bad_request("ON_BEHALF_OF does not go with this command")
    try:
        is_address = str(ipaddress.ip_address(text)) == text
    except ValueError:
        is_address = False
    if not is_address:
        raise bad_request("ON_BEHALF_OF is no address")
    return text


def _parse_command(value: bytes) -> Command:
    number = parse_number("COMMAND", value)
    try:
        return Command(number)
    except ValueError:
        raise RemoteProtocolError("UNKNOWN command in request.") from None


# Responses ------------------------------------------------------------------------------------------------------


def encode_response(response: Response) -> bytes:
    """Encode a response with its final NUL, lines in the order of the C writer.

    Raises:
        LocalProtocolError: A credential's or file's name cannot travel, or a further credential has no name. All that
            is only shown to people never fails: what a C reader would misread is broken by a blank.
    """
    lines = [("VERSION", VERSION.encode()), ("RESPONSE", b"%d" % response.type)]
    for offer in response.offers:
        text = f"{offer.method}:{offer.data}"
        lines.append(("AUTHORIZATION_DATA", encode_value("authorization data", text, MAX_VALUE_BYTES * 2)))
    lines += _info_lines(response.credentials)
    if response.history is not None:
        lines += history_lines(response.credentials, response.history)
    for error in response.errors:
        lines += [("ERROR", encode_shown(line)) for line in error.split("\n")]
    if response.type is ResponseType.ERROR and not response.errors:
        raise LocalProtocolError("an error response needs its reason")
    lines += _trust_root_lines(response.trust_roots)
    if response.on_behalf_of is not None:
        lines.append(("ON_BEHALF_OF", encode_value("user's address", response.on_behalf_of, MAX_ADDRESS_BYTES)))
    return join_lines(lines)


def parse_response(data: bytes) -> Response:
    """Parse a response by lines.

    Args:
        data: The text up to its NUL; the NUL itself may be there or not.

    Raises:
        RemoteProtocolError: It is no response of this protocol, or beyond the limits.
    """
    if len(data) > MAX_RESPONSE_BYTES:
        raise RemoteProtocolError(f"the server's response is longer than {MAX_RESPONSE_BYTES} bytes")
    if data.count(b"\n") > MAX_RESPONSE_LINES:
        raise bad_response(f"it has more than {MAX_RESPONSE_LINES} lines")
    lines = split_lines(data, bad_response)
    single: dict[bytes, bytes] = {}
    errors: list[str] = []
    offers: list[AuthorizationOffer] = []
    for line in lines:
        name, equals, value = line.partition(b"=")
        if not equals:
            continue
        if name == b"ERROR":
            errors.append(parse_shown(value))
        elif name == b"AUTHORIZATION_DATA":
            method, _, text = parse_shown(value).partition(":")
            offers.append(AuthorizationOffer(method, text))
        elif name in (b"VERSION", b"RESPONSE", b"ADDL_CREDS", b"TRUSTED_CERTS") and name in single:
            raise bad_response(f"{name.decode()} is there more than once")
        else:
            single.setdefault(name, value)
    if single.get(b"VERSION") != VERSION.encode():
        raise bad_response(f"VERSION is not {VERSION}")
    if b"RESPONSE" not in single:
        raise bad_response("RESPONSE is missing")
    try:
        response_type = ResponseType(parse_number("RESPONSE", single[b"RESPONSE"], bad_response))
    except ValueError:
        raise bad_response("RESPONSE is not 0, 1 or 2") from None
    if response_type is ResponseType.ERROR and not errors:
        errors.append("the server gave no reason")
    credentials, history = parse_history(lines, _parse_info(lines, single))
    return Response(
        type=response_type,
        errors=tuple(errors),
        offers=tuple(offers),
        credentials=credentials,
        trust_roots=_parse_trust_roots(lines, single),
        on_behalf_of=parse_shown(single[b"ON_BEHALF_OF"]) if b"ON_BEHALF_OF" in single else None,
        history=history,
    )


def _info_lines(credentials: tuple[CredentialInfo, ...]) -> list[tuple[str, bytes]]:
    """Lay out INFO data: the first credential under `CRED_`, the others under `CRED_<name>_`."""
    lines: list[tuple[str, bytes]] = []
    for number, info in enumerate(credentials):
        name = encode_value("credential name", info.name, MAX_NAME_BYTES).decode() if info.name else ""
        if number and (not name or "," in name):
            raise LocalProtocolError("only the first credential listed may be unnamed, and no further name holds ','")
        prefix = f"CRED_{name}_" if number else "CRED_"
        if not number and name:
            lines.append((f"{prefix}NAME", name.encode()))
        values = (
            ("DESC", _shown(info.description)),
            ("START_TIME", b"%d" % unix_seconds(info.start_time)),
            ("END_TIME", b"%d" % unix_seconds(info.end_time)),
            ("OWNER", encode_shown(info.owner)),
            ("RETRIEVER", _shown(info.retriever)),
            ("KEYRETRIEVERS", _shown(info.key_retrievers)),
            ("RETRIEVER_TRUSTED", _shown(info.trusted_retriever)),
            ("RENEWER", _shown(info.renewer)),
            ("LOCKMSG", None if info.lock_message is None else encode_shown(info.lock_message.partition("\n")[0])),
        )
        lines += [(f"{prefix}{suffix}", value) for suffix, value in values if value is not None]
    if len(credentials) > 1:
        lines.append(("ADDL_CREDS", ",".join(str(info.name) for info in credentials[1:]).encode()))
    return lines


def _shown(value: str | None) -> bytes | None:
    return None if value is None else encode_shown(value)


def _parse_info(lines: list[bytes], single: dict[bytes, bytes]) -> tuple[CredentialInfo, ...]:
    """Read INFO data. Names may hold `=`, so each line is compared with the keys that the names make possible."""
    if b"CRED_START_TIME" not in single:
        return ()
    listed = single.get(b"ADDL_CREDS", b"")
    if listed.count(b",") >= MAX_LISTED:
        raise bad_response(f"ADDL_CREDS lists more than {MAX_LISTED} names")
    names = [name for name in listed.split(b",") if name]
    if len(set(names)) != len(names):
        raise bad_response("ADDL_CREDS lists a name twice")
    keys = {f"CRED_{suffix}".encode(): (0, suffix) for suffix in INFO_SUFFIXES}
    for number, name in enumerate(names, 1):
        keys |= {b"CRED_%b_%b" % (name, suffix.encode()): (number, suffix) for suffix in INFO_SUFFIXES[1:]}
    values: list[dict[str, bytes]] = [{} for _ in range(len(names) + 1)]
    for line in lines:
        found = _split_key(line, keys)
        if found is None:
            continue
        (number, suffix), value = found
        if suffix in values[number]:
            raise bad_response(f"CRED_{suffix} is there more than once")
        values[number][suffix] = value
    labels: list[bytes | None] = [values[0].get("NAME"), *names]
    return tuple(_one_info(label, found) for label, found in zip(labels, values, strict=True) if "START_TIME" in found)


def _split_key(line: bytes, keys: dict[bytes, tuple[int, str]]) -> tuple[tuple[int, str], bytes] | None:
    position = line.find(b"=")
    while 0 <= position <= MAX_NAME_BYTES + 32:  # no key is longer than a name with its prefix and suffix
        found = keys.get(line[:position])
        if found is not None:
            return found, line[position + 1 :]
        position = line.find(b"=", position + 1)
    return None


def _one_info(name: bytes | None, values: dict[str, bytes]) -> CredentialInfo:
    def text(suffix: str) -> str | None:
        return parse_shown(values[suffix]) if suffix in values else None

    return CredentialInfo(
        name=parse_shown(name) if name else None,
        start_time=parse_time("START_TIME", values["START_TIME"]),
        end_time=parse_time("END_TIME", values.get("END_TIME", b"")),
        owner=text("OWNER") or "",
        description=text("DESC"),
        retriever=text("RETRIEVER"),
        key_retrievers=text("KEYRETRIEVERS"),
        trusted_retriever=text("RETRIEVER_TRUSTED"),
        renewer=text("RENEWER"),
        lock_message=text("LOCKMSG"),
    )


def _trust_root_lines(files: tuple[TrustRootFile, ...]) -> list[tuple[str, bytes]]:
    if not files:
        return []
    names = [encode_value("trust root file name", file.name, MAX_NAME_BYTES) for file in files]
    if any(b"," in name or b"=" in name or not name for name in names):
        raise LocalProtocolError("the name of a trust root file may hold neither ',' nor '='")
    data = [(f"FILEDATA_{name.decode()}", base64.b64encode(file.data)) for name, file in zip(names, files, strict=True)]
    return [("TRUSTED_CERTS", b",".join(names)), *data]


def _parse_trust_roots(lines: list[bytes], single: dict[bytes, bytes]) -> tuple[TrustRootFile, ...]:
    names = [name for name in single.get(b"TRUSTED_CERTS", b"").split(b",") if name]
    if not names:
        return ()
    content = dict(
        line[len(b"FILEDATA_") :].split(b"=", 1) for line in lines if line.startswith(b"FILEDATA_") and b"=" in line
    )
    files = []
    for name in names:
        encoded = content.get(name)
        if encoded is None:
            raise bad_response(f"the trust root file {parse_shown(name)} is announced but not there")
        try:
            files.append(TrustRootFile(parse_shown(name), base64.b64decode(encoded, validate=True)))
        except binascii.Error:
            raise bad_response(f"the trust root file {parse_shown(name)} is not base64") from None
    return tuple(files)
