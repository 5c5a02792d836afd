"""The bytes of MYPROXYv2 text messages: exact order when writing, strict lines when reading, limits both ways."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from gsi.errors import LocalProtocolError, RemoteProtocolError
from gsi.secret import Passphrase
from myproxy.protocol.codec import (
    MAX_LINES,
    MAX_LISTED,
    MAX_NAME_BYTES,
    MAX_PASSPHRASE_BYTES,
    MAX_REPEATED,
    MAX_RESPONSE_LINES,
    MAX_VALUE_BYTES,
    OK_RESPONSE,
    encode_request,
    encode_response,
    is_sendable,
    looks_complete,
    parse_request,
    parse_response,
)
from myproxy.protocol.messages import (
    AuthorizationOffer,
    Command,
    CredentialInfo,
    Happening,
    Request,
    Response,
    ResponseType,
    TrustRootFile,
)

START = datetime(2026, 11, 21, 1, 2, 3, tzinfo=UTC)
END = START + timedelta(hours=2)
PLAIN = b"VERSION=MYPROXYv2\nCOMMAND=0\nUSERNAME=alice\nPASSPHRASE=secret\nLIFETIME=43200\n"


def changed(name: bytes, value: bytes | None) -> bytes:
    """The plain request with one line changed, or left out."""
    lines = [line for line in PLAIN.split(b"\n") if not line.startswith(name + b"=")]
    return b"\n".join(lines if value is None else [*lines[:-1], name + b"=" + value, b""])


# Requests


def test_a_logon_as_the_c_client_writes_it() -> None:
    request = Request(Command.GET, "alice", Passphrase(b"secret"), lifetime=timedelta(hours=12))
    assert encode_request(request) == PLAIN + b"\0"


def test_a_front_end_says_where_its_user_is() -> None:
    request = Request(Command.GET, "alice", Passphrase(b"secret"), on_behalf_of="2001:db8::7")
    assert parse_request(encode_request(request)) == request
    response = Response.ok(on_behalf_of="2001:db8::7")
    assert parse_response(encode_response(response)) == response
    for text in (b"", b"2001:DB8::7", b"010.0.0.1", b"somewhere", b"192.0.2.1 "):
        with pytest.raises(RemoteProtocolError, match="no address"):
            parse_request(PLAIN + b"ON_BEHALF_OF=" + text + b"\n")
    with pytest.raises(RemoteProtocolError, match="does not go with this command"):
        parse_request(PLAIN.replace(b"COMMAND=0", b"COMMAND=6") + b"ON_BEHALF_OF=192.0.2.1\n")


def test_what_happened_is_told_to_those_who_ask() -> None:
    asked = Request(Command.INFO, "alice", wants_history=True)
    assert encode_request(asked).endswith(b"\nWANTS_HISTORY=1\n\0")
    assert parse_request(encode_request(asked)) == asked
    use = Happening(END, "logon", True, "192.0.2.7", "a b", 1, END)
    tries = Happening(END, "logon", False, "198.51.100.1", "a b", 12, START)
    plain = CredentialInfo(None, START, END, "/CN=A"), CredentialInfo("a b", START, END, "/CN=A")
    told = plain[0], dataclasses.replace(plain[1], last_use=use)
    before, answer = (encode_response(Response.ok(credentials=plain)), encode_response(Response.ok(credentials=told)))
    assert before == answer, "nothing of it without the word for it"
    response = Response.ok(credentials=told, history=(tries, use))
    encoded = encode_response(response)
    assert encoded == before[:-1] + (
        b"HISTORY=1\n"
        b"USED=1 1795230123 logon 192.0.2.7\n"
        b"EVENT=1795230123 1795222923 12 no logon 198.51.100.1 a b\n"
        b"EVENT=1795230123 1795230123 1 yes logon 192.0.2.7 a b\n\0"
    )
    assert parse_response(encoded) == response
    assert parse_response(encode_response(Response.ok(credentials=plain, history=()))).history == ()
    assert parse_response(before).history is None


@pytest.mark.parametrize(
    "line",
    [
        b"USED=0 1795230123 logon",
        b"USED=1 1795230123 logon 192.0.2.7",
        b"USED=-1 1795230123 logon 192.0.2.7",
        b"USED=0 now logon 192.0.2.7",
        b"EVENT=1795230123 1795230123 1 yes logon 192.0.2.7",
        b"EVENT=1795230123 1795230123 1 maybe logon 192.0.2.7 ",
        b"EVENT=1795230123 1795230123 many yes logon 192.0.2.7 ",
    ],
)
def test_lines_about_the_past_that_cannot_be_read(line: bytes) -> None:
    plain = encode_response(Response.ok(credentials=(CredentialInfo(None, START, END, "/CN=A"),), history=()))
    with pytest.raises(RemoteProtocolError, match="cannot be read"):
        parse_response(plain[:-1] + line + b"\n")


def test_no_more_is_read_of_the_past_than_anybody_needs() -> None:
    event = b"EVENT=1795230123 1795230123 1 yes logon 192.0.2.7 \n"
    with pytest.raises(RemoteProtocolError, match="4096 events"):
        parse_response(OK_RESPONSE[:-1] + b"HISTORY=1\n" + event * 4097)


def test_every_attribute_in_the_order_of_the_c_writer() -> None:
    request = Request(
        Command.PUT,
        "alice",
        Passphrase(b"old one"),
        new_passphrase=Passphrase(b"new one"),
        lifetime=timedelta(seconds=60),
        retriever="*/CN=bob",
        renewer="*",
        credential_name="work",
        description="for work",
        key_retrievers="k",
        trusted_retriever="/O=Grid/CN=x",
        wants_trust_roots=True,
        vo_names=("atlas", "atlas:/atlas/Role=x"),
        vomses=('"atlas" "host" "1"', "second"),
    )
    data = encode_request(request)
    assert data == (
        b"VERSION=MYPROXYv2\nCOMMAND=1\nUSERNAME=alice\nPASSPHRASE=old one\nNEW_PHRASE=new one\nLIFETIME=60\n"
        b"RETRIEVER=*/CN=bob\nRENEWER=*\nCRED_NAME=work\nCRED_DESC=for work\nKEYRETRIEVERS=k\n"
        b"RETRIEVER_TRUSTED=/O=Grid/CN=x\nTRUSTED_CERTS=1\nVONAME=atlas\nVONAME=atlas:/atlas/Role=x\n"
        b'VOMSES="atlas" "host" "1"\nVOMSES=second\n\0'
    )
    assert parse_request(data) == request


def test_the_final_nul_may_be_missing() -> None:
    assert parse_request(PLAIN) == parse_request(PLAIN + b"\0")
    assert parse_request(PLAIN[:-1]).lifetime == timedelta(hours=12)


def test_lines_are_read_in_any_order_and_unknown_ones_passed_over() -> None:
    lines = PLAIN.split(b"\n")[:-1]
    data = b"\n".join([*reversed(lines), b"FROBNICATE=1", b"no equals sign", b""])
    assert parse_request(data) == parse_request(PLAIN)


def test_an_attribute_inside_a_value_is_only_text() -> None:
    request = parse_request(changed(b"PASSPHRASE", b"xxUSERNAME=q"))
    assert request.username == "alice"
    assert request.passphrase.reveal() == b"xxUSERNAME=q"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("0x7", 7), ("0X1f", 31), ("07", 7), ("010", 8), ("0", 0), ("+5", 5), ("-5", 0), (" 9", 9)],
)
def test_numbers_as_strtol_reads_them(text: str, seconds: int) -> None:
    assert parse_request(changed(b"LIFETIME", text.encode())).lifetime == timedelta(seconds=seconds)


def test_texts_that_find_nothing_may_be_latin1() -> None:
    request = parse_request(PLAIN + b"CRED_DESC=f\xfcr alle\nRETRIEVER=caf\xe9\nRENEWER=caf\xc3\xa9\n")
    assert (request.description, request.retriever, request.renewer) == ("für alle", "café", "café")


@pytest.mark.parametrize(
    "text", ["", "x", "7x", "7 8", "08", "0x", "0xg", "1e3", "1_0", "2147483648", "9" * 40, "٣", "--1"]
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(RemoteProtocolError, match="error parsing request: LIFETIME"):
        parse_request(changed(b"LIFETIME", text.encode()))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Invalid version number received"),
        (PLAIN.replace(b"MYPROXYv2", b"MYPROXYv3"), "Invalid version number received"),
        (changed(b"VERSION", None), "Invalid version number received"),
        (changed(b"COMMAND", None), "COMMAND is missing"),
        (changed(b"COMMAND", b"8"), "UNKNOWN command in request"),
        (changed(b"COMMAND", b"-1"), "UNKNOWN command in request"),
        (changed(b"USERNAME", None), "USERNAME is missing"),
        (changed(b"USERNAME", b""), "Invalid username received"),
        (changed(b"USERNAME", b"\xff"), "USERNAME is not UTF-8"),
        (PLAIN + b"CRED_NAME=\xff\n", "CRED_NAME is not UTF-8"),
        (PLAIN + b"VONAME=\xff\n", "VONAME is not UTF-8"),
        (changed(b"PASSPHRASE", None), "PASSPHRASE is missing"),
        (changed(b"LIFETIME", None), "LIFETIME is missing"),
        (PLAIN + b"LIFETIME=1\n", "LIFETIME is there more than once"),
        (PLAIN + b"CRED_NAME=a\nCRED_NAME=a\n", "CRED_NAME is there more than once"),
        (PLAIN + b"\0" + PLAIN + b"\0", "a NUL stands inside it"),
        (changed(b"PASSPHRASE", b"x" * (MAX_PASSPHRASE_BYTES + 1)), "PASSPHRASE is longer"),
        (changed(b"USERNAME", b"x" * (MAX_NAME_BYTES + 1)), "USERNAME is longer"),
        (PLAIN + b"CRED_NAME=\n", "CRED_NAME is empty"),
        (PLAIN + b"RETRIEVER=" + b"x" * (MAX_VALUE_BYTES + 1), "RETRIEVER is longer"),
        (PLAIN + b"VONAME=x\n" * (MAX_REPEATED + 1), "VONAME is there more than once"),
        (PLAIN + b"\n" * MAX_LINES, "lines"),
    ],
)
def test_requests_that_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        parse_request(data)


def test_no_error_repeats_the_pass_phrase() -> None:
    for data in (changed(b"PASSPHRASE", b"hunter22" * 200), changed(b"NEW_PHRASE", b"hunter22" * 200)):
        with pytest.raises(RemoteProtocolError) as caught:
            parse_request(data)
        assert "hunter" not in str(caught.value)


def test_trust_roots_need_no_user_name() -> None:
    data = changed(b"USERNAME", b"").replace(b"COMMAND=0", b"COMMAND=7") + b"TRUSTED_CERTS=1\n"
    request = parse_request(data)
    assert (request.command, request.username, request.wants_trust_roots) == (Command.GET_TRUSTROOTS, "", True)
    assert parse_request(encode_request(request)) == request


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(Command.GET, ""), "user name is required"),
        (Request(Command.GET, "a\nCOMMAND=3"), "user name holds a line feed"),
        (Request(Command.GET, "a\0"), "user name holds a line feed or NUL"),
        (Request(Command.GET, "aLIFETIME=5"), "user name holds the text 'LIFETIME='"),
        (Request(Command.GET, "a", credential_name="RENEWER=*"), "credential name holds the text 'RENEWER='"),
        (Request(Command.PUT, "a", description="see VERSION=2"), "credential description holds the text 'VERSION='"),
        (Request(Command.PUT, "a", retriever="x\ny"), "retrieval policy holds a line feed"),
        (Request(Command.GET, "a", vo_names=("x\n",)), "VO name holds a line feed"),
        (Request(Command.GET, "a" * (MAX_NAME_BYTES + 1)), "user name is longer"),
        (Request(Command.GET, "a", Passphrase(b"p" * (MAX_PASSPHRASE_BYTES + 1))), "pass phrase is longer"),
        (Request(Command.GET, "a", Passphrase(b"p\n")), "pass phrase holds a line feed"),
        (Request(Command.GET, "a", new_passphrase=Passphrase(b"VONAME=")), "new pass phrase holds a text"),
        (Request(Command.GET, "\udcff"), "not valid Unicode"),
        (Request(Command.GET, "a", lifetime=timedelta(seconds=-1)), "lifetime is negative"),
        (Request(Command.GET, "a", lifetime=timedelta(days=30000)), "lifetime is negative or more"),
    ],
)
def test_requests_that_are_not_sent(request_: Request, message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        encode_request(request_)


def test_a_refused_pass_phrase_is_not_shown() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_request(Request(Command.GET, "a", Passphrase(b"hunter2 USERNAME=q")))
    assert "hunter" not in str(caught.value)
    assert "USERNAME" not in str(caught.value)


def test_a_c_reader_finds_no_attribute_twice() -> None:
    """The rule behind the refusals: each name with its `=` stands in the message exactly once."""
    request = Request(Command.PUT, "alice", Passphrase(b"secret"), retriever="a", trusted_retriever="b", renewer="c")
    data = encode_request(request)
    for name in (b"VERSION", b"COMMAND", b"USERNAME", b"PASSPHRASE", b"LIFETIME", b"RETRIEVER", b"RENEWER"):
        assert data.count(name + b"=") == 1


def test_what_looks_complete() -> None:
    assert looks_complete(PLAIN)
    assert not looks_complete(changed(b"LIFETIME", None))
    assert not looks_complete(PLAIN[: PLAIN.index(b"LIFETIME")])
    assert not looks_complete(b"")


# Responses


def test_a_plain_yes_has_the_30_bytes_of_the_c_server() -> None:
    assert encode_response(Response.ok()) == OK_RESPONSE == b"VERSION=MYPROXYv2\nRESPONSE=0\n\0"
    assert len(OK_RESPONSE) == 30
    assert parse_response(OK_RESPONSE) == Response.ok()


def test_an_error_has_a_line_for_each_reason() -> None:
    data = encode_response(Response.refuse("Bad password", "invalid credential passphrase\nand more"))
    assert data == (
        b"VERSION=MYPROXYv2\nRESPONSE=1\nERROR=Bad password\nERROR=invalid credential passphrase\nERROR=and more\n\0"
    )
    assert parse_response(data).errors == ("Bad password", "invalid credential passphrase", "and more")


def test_error_texts_always_go_out() -> None:
    data = encode_response(Response.refuse('No credentials exist for username "RESPONSE=0\0".'))
    assert data.count(b"RESPONSE=") == 1
    assert data.count(b"\0") == 1
    assert parse_response(data).errors == ('No credentials exist for username "RESPONSE =0 ".',)


INFO_BYTES = (
    b"VERSION=MYPROXYv2\nRESPONSE=0\n"
    b"CRED_START_TIME=1795222923\nCRED_END_TIME=1795230123\nCRED_OWNER=/O=Grid/CN=Test User\n"
    b"CRED_second_DESC=my desc\nCRED_second_START_TIME=1795222923\nCRED_second_END_TIME=1795230123\n"
    b"CRED_second_OWNER=/O=Grid/CN=Test User\nCRED_second_RETRIEVER=*\nCRED_second_KEYRETRIEVERS=k\n"
    b"CRED_second_RETRIEVER_TRUSTED=*/CN=y\nCRED_second_RENEWER=*/CN=x\nCRED_second_LOCKMSG=closed\n"
    b"ADDL_CREDS=second\n\0"
)


def test_info_as_the_c_server_writes_it() -> None:
    owner = "/O=Grid/CN=Test User"
    response = Response.ok(
        credentials=(
            CredentialInfo(None, START, END, owner),
            CredentialInfo("second", START, END, owner, "my desc", "*", "k", "*/CN=y", "*/CN=x", "closed"),
        )
    )
    assert encode_response(response) == INFO_BYTES
    assert parse_response(INFO_BYTES) == response


def test_the_first_credential_may_have_a_name() -> None:
    response = Response.ok(credentials=(CredentialInfo("only", START, END, "/O=x"),))
    assert b"\nCRED_NAME=only\nCRED_START_TIME=" in encode_response(response)
    assert parse_response(encode_response(response)) == response


def test_names_may_hold_equals_signs_and_words_of_attributes() -> None:
    names = ("a=b", "DESC", "x_OWNER", "=", "CRED_")
    infos = (CredentialInfo(None, START, END, "/O=x"), *(CredentialInfo(n, START, END, f"/CN={n}") for n in names))
    response = Response.ok(credentials=infos)
    assert parse_response(encode_response(response)) == response


def test_only_the_first_line_of_a_lock_message_goes_out() -> None:
    info = CredentialInfo(None, START, END, "/O=x", lock_message="closed\nfor good")
    assert b"CRED_LOCKMSG=closed\n\0" in encode_response(Response.ok(credentials=(info,)))


def test_what_info_shows_never_stops_it() -> None:
    info = CredentialInfo(None, START, END, "/O=x", description="CRED_OWNER=\nRESPONSE=1", retriever="ERROR=")
    read = parse_response(encode_response(Response.ok(credentials=(info,)))).credentials[0]
    assert (read.description, read.retriever) == ("CRED_OWNER = RESPONSE =1", "ERROR =")


@pytest.mark.parametrize("name", ["a,b", "", "a\nb", "RESPONSE=1"])
def test_names_that_cannot_be_listed(name: str) -> None:
    infos = (CredentialInfo(None, START, END, "/O=x"), CredentialInfo(name, START, END, "/O=x"))
    with pytest.raises(LocalProtocolError):
        encode_response(Response.ok(credentials=infos))


def test_trust_roots() -> None:
    files = (TrustRootFile("abc.0", b"-----BEGIN\n"), TrustRootFile("abc.signing_policy", b""))
    data = encode_response(Response.ok(trust_roots=files))
    assert data == (
        b"VERSION=MYPROXYv2\nRESPONSE=0\nTRUSTED_CERTS=abc.0,abc.signing_policy\n"
        b"FILEDATA_abc.0=LS0tLS1CRUdJTgo=\nFILEDATA_abc.signing_policy=\n\0"
    )
    assert parse_response(data).trust_roots == files


def test_a_demand_for_authorization() -> None:
    offers = (AuthorizationOffer("X509_certificate_SHA256", "0123:4567"), AuthorizationOffer("SASL", "negotiation"))
    data = encode_response(Response.ask(*offers))
    assert data.startswith(
        b"VERSION=MYPROXYv2\nRESPONSE=2\nAUTHORIZATION_DATA=X509_certificate_SHA256:0123:4567\nAUTHORIZATION_DATA=SASL:"
    )
    assert parse_response(data) == Response(ResponseType.AUTHORIZATION, offers=offers)


def test_an_error_without_a_reason_gets_one() -> None:
    assert parse_response(b"VERSION=MYPROXYv2\nRESPONSE=1\n").errors == ("the server gave no reason",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "VERSION is not"),
        (b"VERSION=MYPROXYv1\nRESPONSE=0\n", "VERSION is not"),
        (b"VERSION=MYPROXYv2\n", "RESPONSE is missing"),
        (b"VERSION=MYPROXYv2\nRESPONSE=3\n", "RESPONSE is not 0, 1 or 2"),
        (b"VERSION=MYPROXYv2\nRESPONSE=yes\n", "RESPONSE is not a number"),
        (b"VERSION=MYPROXYv2\nRESPONSE=0\nRESPONSE=1\n", "more than once"),
        (b"VERSION=MYPROXYv2\nRESPONSE=0\nCRED_START_TIME=x\nCRED_END_TIME=1\n", "START_TIME is not a time"),
        (b"VERSION=MYPROXYv2\nRESPONSE=0\nCRED_START_TIME=1\n", "END_TIME is not a time"),
        (b"VERSION=MYPROXYv2\nRESPONSE=0\nCRED_START_TIME=999999999999\nCRED_END_TIME=1\n", "out of range"),
        (b"VERSION=MYPROXYv2\nRESPONSE=0\nCRED_START_TIME=1\nADDL_CREDS=a,a\n", "a name twice"),
        pytest.param(
            b"VERSION=MYPROXYv2\nRESPONSE=0\nCRED_START_TIME=1\nADDL_CREDS=%b\n"
            % b",".join(b"%d" % number for number in range(MAX_LISTED + 1)),
            f"more than {MAX_LISTED} names",
            id="names",
        ),
        pytest.param(
            b"VERSION=MYPROXYv2\nRESPONSE=0\n" + b"\n" * MAX_RESPONSE_LINES,
            f"more than {MAX_RESPONSE_LINES} lines",
            id="lines",
        ),
        (b"VERSION=MYPROXYv2\nRESPONSE=0\nCRED_START_TIME=1\nCRED_OWNER=a\nCRED_OWNER=b\n", "more than once"),
        (b"VERSION=MYPROXYv2\nRESPONSE=0\nTRUSTED_CERTS=a.0\n", "announced but not there"),
        (b"VERSION=MYPROXYv2\nRESPONSE=0\nTRUSTED_CERTS=a.0\nFILEDATA_a.0=%%\n", "not base64"),
        (b"VERSION=MYPROXYv2\0RESPONSE=0\n", "a NUL stands inside it"),
    ],
)
def test_responses_that_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        parse_response(data)


def test_a_servers_odd_bytes_are_shown_not_believed() -> None:
    assert parse_response(b"VERSION=MYPROXYv2\nRESPONSE=1\nERROR=caf\xe9\n").errors == ("caf\\xe9",)


def test_is_sendable() -> None:
    assert is_sendable("/O=Grid/CN=Alice")
    for text in ("a\nb", "COMMAND=1", "RESPONSE=1", "x_OWNER=", "a\0", "\udcff", "x" * (MAX_VALUE_BYTES + 1)):
        assert not is_sendable(text)
