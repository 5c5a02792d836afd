"""Certificates in headers: every form of every front end, and nothing else."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from gsi.authz.web.chain_headers import (
    MAX_CERTIFICATES,
    MAX_TEXT_CHARS,
    encode_client_cert_chain,
    parse_certificates,
)
from gsi.errors import ParseError
from tests.harness.ca import TestCA

DER = TestCA("/O=Grid/CN=CA", "p256").issue("/O=Grid/CN=Alice", "p256").der
OTHER = TestCA("/O=Grid/CN=Other", "p256").der


def pem(*certificates: bytes) -> str:
    return "".join(
        f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(each).decode()}-----END CERTIFICATE-----\n"
        for each in certificates
    )


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "text",
    [
        quote(pem(DER, OTHER), safe=""),  # nginx, $ssl_client_escaped_cert
        quote(pem(DER, OTHER)),
        pem(DER, OTHER).replace("\n", " "),  # Apache
        pem(DER, OTHER).replace("\n", "\t"),  # nginx, $ssl_client_cert
        pem(DER, OTHER).replace("\n", "\n\t"),
        f":{b64(DER)}:,:{b64(OTHER)}:",  # RFC 9440
        f" :{b64(DER)}: ,\t:{b64(OTHER)}: ",
        b64(DER + OTHER),  # HAProxy, ssl_c_chain_der,base64
    ],
)
def test_the_forms(text: str) -> None:
    assert parse_certificates(text) == (DER, OTHER)


@pytest.mark.parametrize("text", ["", " ", "(null)", "-", "\t"])
def test_none(text: str) -> None:
    assert parse_certificates(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "null",
        "%",
        ":",
        "::",
        ":A:",
        f":{b64(DER)}",
        f":{b64(DER)}:;alg=x",
        f":{b64(DER)}:,",
        f":{b64(DER)}:,x",
        f"{b64(DER)},{b64(OTHER)}",
        b64(DER)[:-1],
        b64(DER[:-1]),
        b64(DER + b"x"),
        b64(DER) + "\n" + b64(DER),
        pem(DER)[:-5],
        pem(DER)[5:],
        pem(DER) + "x",
        pem(DER).replace("CERTIFICATE", "PRIVATE KEY"),
        pem(DER).replace("-----END", "-----BEGIN"),
        quote(pem(DER), safe="")[:-1] + "%",
        quote(pem(DER), safe="").replace("%0A", "\n"),
        quote(quote(pem(DER), safe=""), safe=""),
        "-----BEGIN CERTIFICATE----------END CERTIFICATE-----",
        b64(DER) + "\xe4",
        "".join(f":{b64(OTHER)}:," for _ in range(MAX_CERTIFICATES + 1)),
        b64(b"\x30\x00" * (MAX_CERTIFICATES + 2)),
        quote(pem(*[b"\x30\x00"] * (MAX_CERTIFICATES + 2)), safe=""),
        "A" * (MAX_TEXT_CHARS + 4),
    ],
)
def test_nonsense(text: str) -> None:
    with pytest.raises(ParseError):
        parse_certificates(text)


def test_what_clients_send() -> None:
    assert parse_certificates(encode_client_cert_chain((DER, OTHER))) == (DER, OTHER)
    assert encode_client_cert_chain(()) == ""
