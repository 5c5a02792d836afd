"""News by program, mail and web service, each with a real one at the other end."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gsi.errors import GridError, RefusedError, TransportError
from myproxy.renewal.config import MailSettings, MailTLS, TellSettings, WebhookSettings
from myproxy.renewal.tell import News, Teller
from tests.harness.ca import TestCA, write_file
from tests.harness.smtp import MailServer

NEWS = News(
    "expiring",
    "alice",
    "/x/alice.pem",
    "/O=Grid/CN=Älice\nBcc: x@y",
    datetime(2026, 6, 1, tzinfo=UTC),
    "no\r\nSubject: money $(id)\0",
)
TO = ("ops@example.org", "alice@example.org")


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA", "p256")


def server_context(directory: Path, ca: TestCA) -> ssl.SSLContext:
    ca.issue_host("localhost", "p256").write(directory / "cert.pem", directory / "key.pem")
    write_file(directory / "ca.pem", ca.pem, 0o644)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


def test_a_program(tmp_path: Path) -> None:
    program = tmp_path / "hook"
    write_file(program, f'#!/bin/sh\nenv >{tmp_path}/env\nexit "$1"\n'.encode(), 0o700)
    Teller(TellSettings(hook=(str(program), "0"))).deliver("hook", NEWS)
    told = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert told["RENEWD_EVENT"] == "expiring"
    assert told["RENEWD_NOT_AFTER"] == "2026-06-01T00:00:00Z"
    assert told["RENEWD_ERROR"] == "no  Subject: money $(id)"
    assert not {"HOME", "USER"} & told.keys()
    with pytest.raises(RefusedError, match="ended with status 3"):
        Teller(TellSettings(hook=(str(program), "3"))).deliver("hook", NEWS)
    with pytest.raises(TransportError, match="cannot be run"):
        Teller(TellSettings(hook=(str(tmp_path / "none"),))).deliver("hook", NEWS)


def test_mail_without_tls_carries_no_header_from_outside() -> None:
    with MailServer() as server:
        settings = MailSettings(to=TO, sender="renewd@example.org", server=f"localhost:{server.port}")
        Teller(TellSettings(mail=settings)).deliver("mail", NEWS)
    (mail,) = server.mails
    assert mail["To"] == "ops@example.org, alice@example.org"
    assert mail["Subject"] == f"{os.uname().nodename}: credential alice is about to expire and cannot be renewed"
    assert mail["Bcc"] is None
    lines = mail.get_content().splitlines()
    assert "identity: /O=Grid/CN=Älice Bcc: x@y" in lines
    assert "error: no  Subject: money $(id)" in lines


def test_mail_with_tls_and_a_password(tmp_path: Path, ca: TestCA, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "password", b"secret words\n", 0o600)
    with MailServer(context=server_context(tmp_path, ca)) as server:
        teller = Teller(
            TellSettings(
                mail=MailSettings(
                    to=TO,
                    sender="renewd@example.org",
                    server=f"localhost:{server.port}",
                    tls=MailTLS.STARTTLS,
                    username="renewd",
                    password_file=str(tmp_path / "password"),
                )
            )
        )
        with pytest.raises(TransportError, match=r"(?i)certificate"):
            teller.deliver("mail", NEWS)
        assert (server.mails, server.passwords) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        teller.deliver("mail", NEWS)
    assert server.passwords == ["secret words"]
    assert len(server.mails) == 1


def test_mail_that_is_not_taken() -> None:
    with MailServer(refuses=b"alice@") as server:
        settings = MailSettings(to=TO, sender="renewd@example.org", server=f"localhost:{server.port}")
        with pytest.raises(RefusedError, match=r"alice@example\.org"):
            Teller(TellSettings(mail=settings)).deliver("mail", NEWS)
    with pytest.raises(TransportError, match="refused"):
        Teller(TellSettings(mail=settings)).deliver("mail", NEWS)


def test_mail_by_sendmail(tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    write_file(program, f'#!/bin/sh\necho "$@" >{tmp_path}/words\ncat >{tmp_path}/mail\n'.encode(), 0o700)
    settings = MailSettings(to=TO, sender="renewd@example.org", sendmail=str(program))
    Teller(TellSettings(mail=settings)).deliver("mail", NEWS)
    assert (tmp_path / "words").read_text() == "-i -f renewd@example.org -- ops@example.org alice@example.org\n"
    assert b"Subject: " in (tmp_path / "mail").read_bytes()


class _Hook(BaseHTTPRequestHandler):
    status = 204
    came: list[tuple[str | None, dict[str, str]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.came.append((self.headers["X-Secret"], json.loads(body)))
        self.send_response(self.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@contextlib.contextmanager
def web_server(context: ssl.SSLContext, status: int) -> Iterator[tuple[int, list[tuple[str | None, dict[str, str]]]]]:
    came: list[tuple[str | None, dict[str, str]]] = []
    handler = type("Handler", (_Hook,), {"status": status, "came": came})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port, came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [200, 204, 302, 500])
def test_a_web_service(tmp_path: Path, ca: TestCA, status: int) -> None:
    write_file(tmp_path / "secret", b"Bearer s3cret\n", 0o600)
    with web_server(server_context(tmp_path, ca), status) as (port, came):
        settings = WebhookSettings(
            url=f"https://localhost:{port}/news",
            secret_file=str(tmp_path / "secret"),
            header="X-Secret",
            ca_file=str(tmp_path / "ca.pem"),
        )
        teller = Teller(TellSettings(webhook=settings))
        if status < 300:
            teller.deliver("webhook", NEWS)
        else:
            with pytest.raises(GridError, match=r"redirected|500"):
                teller.deliver("webhook", NEWS)
        ((secret, fields),) = came
        assert (secret, fields["event"], fields["name"]) == ("Bearer s3cret", "expiring", "alice")
        if status == 200:
            untrusted = WebhookSettings(url=settings.url, secret_file=settings.secret_file, header="X-Secret")
            with pytest.raises(TransportError, match="TLS"):
                Teller(TellSettings(webhook=untrusted)).deliver("webhook", NEWS)
            (tmp_path / "secret").chmod(0o644)
            with pytest.raises(GridError, match="too permissive"):
                teller.deliver("webhook", NEWS)
            assert len(came) == 1
