"""Telling people and programs: a program, mail, a web service; when and how often is the agent's business.

    teller = Teller(config.tell)
    teller.ways                                  # ("hook", "mail")
    teller.deliver("mail", news)                 # once; an error is for the caller to try again

Text from outside (a server's words in an error) reaches no shell and no header as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import RefusedError, TimeoutExpiredError, TransportError
from myproxy.renewal.config import MailTLS
from myproxy.renewal.sources import read_secret_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from myproxy.renewal.config import MailSettings, TellSettings, WebhookSettings

__all__ = ["RENEWED", "News", "Teller", "run_program"]

RENEWED: Final = "renewed"
"""The event after a renewal, for an entry's own program."""
PROGRAM_SECONDS: Final = 60.0
"""A program that reloads a service is done in seconds; one that hangs must not keep the news of others."""
_MAIL_SECONDS: Final = 30.0
_MAX_ANSWER: Final = 1 << 16
"""Nobody reads what a web service answers."""
_ACCEPTED: Final = frozenset(range(200, 300))
_SUMMARY: Final = {
    "ok": "is renewed again",
    "expiring": "is about to expire and cannot be renewed",
    "expired": "has expired",
    "missing": "is missing",
    "unreadable": "cannot be used",
    RENEWED: "has been renewed",
}


class News(NamedTuple):
    """Something to tell.

    Attributes:
        event: The state of the entry, or `renewed`.
        name: The entry.
        path: Its file.
        identity: Whose it is; empty where that is not known.
        not_after: When it ends; None where that is not known.
        error: Why it could not be renewed; empty for no reason.
    """

    event: str
    name: str
    path: str
    identity: str
    not_after: datetime | None
    error: str

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"credential {self.name} {_SUMMARY.get(self.event, self.event)}"

    def as_fields(self) -> dict[str, str]:
        """Everything by name, as text without control characters."""
        end = "" if self.not_after is None else self.not_after.strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = {
            "event": self.event,
            "name": self.name,
            "path": self.path,
            "identity": self.identity,
            "not_after": end,
            "error": self.error,
            "host": socket.gethostname(),
            "summary": self.summary,
        }
        return {key: _clean(value) for key, value in fields.items()}


class Teller:
    """The ways that are configured; may be used by several threads."""

    def __init__(self, settings: TellSettings) -> None:
        self._settings = settings

    @property
    def ways(self) -> tuple[str, ...]:
        """Their names."""
        settings = self._settings
        found = (("hook", settings.hook), ("mail", settings.mail), ("webhook", settings.webhook))
        return tuple(name for name, setting in found if setting)

    def deliver(self, way: str, news: News) -> None:
        """Tell once.

        Raises:
            GridError: It did not get there; try again later.
        """
        if way == "hook" and self._settings.hook:
            run_program(self._settings.hook, news)
        elif way == "mail" and self._settings.mail is not None:
            _mail(self._settings.mail, news)
        elif way == "webhook" and self._settings.webhook is not None:
            _post(self._settings.webhook, news)


def run_program(words: Sequence[str], news: News) -> None:
    """Run a program with the news in its environment (`RENEWD_EVENT`, `RENEWD_NAME`, ...).

    Raises:
        RefusedError: It ended with another status than 0.
        TimeoutExpiredError: It took longer than `PROGRAM_SECONDS`, and was ended with all it started.
        TransportError: It cannot be run.
    """
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    environment |= {f"RENEWD_{key.upper()}": value for key, value in news.as_fields().items()}
    _run(words, environment, b"")


def _run(words: Sequence[str], environment: Mapping[str, str], data: bytes) -> None:
    try:
        process = subprocess.Popen(  # noqa: S603  # an absolute path from the configuration
            words,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise TransportError(f"{words[0]} cannot be run: {getattr(error, 'strerror', None) or error}") from error
    with process:
        try:
            process.communicate(data, timeout=PROGRAM_SECONDS)
        except subprocess.TimeoutExpired as error:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise TimeoutExpiredError(f"{words[0]} took longer than {PROGRAM_SECONDS:g} seconds") from error
    if process.returncode:
        raise RefusedError(f"{words[0]} ended with status {process.returncode}")


def _mail(settings: MailSettings, news: News) -> None:
    """Send a mail.

    Raises:
        GridError: The server, or the program, did not take it for every receiver.
    """
    import smtplib
    import ssl
    from email.message import EmailMessage
    from email.utils import formatdate, make_msgid

    fields = news.as_fields()
    message = EmailMessage()
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Subject"] = f"{fields['host']}: {fields['summary']}"
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="renewd.invalid")
    message["Auto-Submitted"] = "auto-generated"
    lines = [fields["summary"], "", *(f"{key}: {value}" for key, value in fields.items() if value and key != "summary")]
    message.set_content("\n".join(lines) + "\n")
    if not settings.server:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        _run([settings.sendmail, "-i", "-f", settings.sender, "--", *settings.to], environment, message.as_bytes())
        return
    from gsi.transport.stream import parse_hosts

    host, port = parse_hosts(settings.server, default_port=465 if settings.tls is MailTLS.TLS else 25)[0]
    password = read_secret_line(settings.password_file) if settings.password_file else ""
    try:
        context = ssl.create_default_context()
        server: smtplib.SMTP
        if settings.tls is MailTLS.TLS:
            server = smtplib.SMTP_SSL(host, port, timeout=_MAIL_SECONDS, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=_MAIL_SECONDS)
        with server:
            if settings.tls is MailTLS.STARTTLS:
                server.starttls(context=context)
            if settings.username:
                server.login(settings.username, password)
            refused = server.send_message(message, settings.sender, settings.to)
    except smtplib.SMTPException as error:
        raise RefusedError(f"mail by {settings.server}: {_clean(str(error))[:300]}") from error
    except (OSError, ValueError) as error:
        raise TransportError(f"mail by {settings.server}: {getattr(error, 'strerror', None) or error}") from error
    if refused:
        raise RefusedError(f"mail by {settings.server}: not taken for {', '.join(refused)}")


def _post(settings: WebhookSettings, news: News) -> None:
    """Post the news as JSON.

    Raises:
        GridError: The service did not answer with a status of 2xx in time.
    """
    from gsi.transport.http import Post, fetch, make_context

    headers: tuple[tuple[str, str], ...] = ()
    if settings.secret_file:
        secret = read_secret_line(settings.secret_file)
        if not secret.isascii() or not secret.isprintable():
            raise RefusedError(f"{settings.secret_file}: the secret can stand in no header")
        headers = ((settings.header, secret),)
    context = make_context()
    if settings.ca_file:
        try:
            context.load_verify_locations(cafile=settings.ca_file)
        except (OSError, ValueError) as error:
            raise TransportError(f"{settings.ca_file}: no CAs can be read from it: {error}") from error
    body = json.dumps(news.as_fields(), ensure_ascii=True).encode("ascii")
    fetch(
        settings.url,
        timeout=settings.timeout.total_seconds(),
        max_bytes=_MAX_ANSWER,
        context=context,
        post=Post("application/json", body, headers, _ACCEPTED),
    )


def _clean(text: str) -> str:
    """Return the text on one line, without what drives terminals or ends headers."""
    return "".join(character if character.isprintable() else " " for character in text).strip()
