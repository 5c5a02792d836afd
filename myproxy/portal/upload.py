"""The pages that store or renew a credential from a file, which is in memory alone, and only for this request.

What is sent is PKCS#12 or PEM. Its key is checked against its certificate, and then either signs for a key that the
server makes (PUT), or is locked with the new pass phrase and handed over itself (STORE). Werkzeug would spool large
files to the disk; the limit on requests is below that size.

Where the site wants it, whoever has a certificate and its key can store the first time without a session (`/first`), as
with `myproxy-init`: the server judges the certificate. No session comes of it.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, g, render_template, request
from werkzeug.exceptions import RequestEntityTooLarge

from gsi.errors import AuthenticationError, CredentialError, ParseError, RefusedError, VerificationError
from myproxy.auth.base import ThrottledError
from myproxy.portal.desk import identify, read_upload
from myproxy.portal.guard import address, current, public
from myproxy.portal.views import FormError, attempt, away, check_new, field, secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from werkzeug.wrappers import Response as AnyResponse

    from gsi.credential import Credential
    from gsi.secret import Passphrase
    from myproxy.portal.guard import Portal

__all__ = ["MAX_REQUEST_BYTES", "TOO_LARGE", "make_pages"]

MAX_REQUEST_BYTES: Final = 256 << 10
"""The longest form: a credential with a long chain and attributes takes 60 kB."""
TOO_LARGE: Final = f"What was sent is larger than {MAX_REQUEST_BYTES >> 10} kB. A credential has a few kilobytes."
DAYS: Final = (7, 14, 30, 90, 365)
MAX_DESCRIPTION: Final = 200
MAX_USERNAME: Final = 200
MAX_WAITING: Final = 3
"""Files that are being opened or wait for it in a worker; each holds a thread that pages need, too."""
BUSY_SECONDS: Final = 5


def make_pages(portal: Portal) -> Blueprint:
    """Return the page."""
    pages = Blueprint("upload", __name__)
    opener = _Opener(portal.clock)

    def show(error: FormError | None) -> str:
        session = current()
        return render_template(
            "store.html",
            error=error,
            found=portal.desk.look(session.proxy, session.username),
            wanted=request.values.get("name", ""),
            days=DAYS,
        )

    def deposit(username: str) -> None:
        """Store what the form brings."""
        sent = request.files.get("file")
        if sent is None or not sent.filename:
            raise FormError("Choose a file.")
        data = sent.read()
        if not data:
            raise FormError("The file is empty.")
        new = secret("new")
        check_new(new, secret("again"), username)
        name, description = field("name", most=64) or None, field("description", most=MAX_DESCRIPTION) or None
        lifetime = timedelta(0) if field("what") == "key" else _days()
        credential = opener.open(data, secret("passphrase"))
        subject = identify(credential).subject
        with portal.doing("STORE", username, identity=subject, detail=f"{name or 'default'}: {subject}"):
            if lifetime:
                portal.desk.deposit(credential, username, new, lifetime=lifetime, name=name, description=description)
            else:
                portal.desk.keep(credential, username, new, name=name, description=description)

    def judge_files(account: str, work: Callable[[], None]) -> None:
        """Count files that cannot be used as wrong tries: opening one costs a derivation; slips in the form do not."""

        def judged() -> None:
            try:
                work()
            except (CredentialError, ParseError, VerificationError, AuthenticationError) as error:
                raise _UnusableError(error) from error

        try:
            portal.limits.judge(account, address(), judged)
        except ThrottledError as error:
            wait = max(1, int(error.seconds) + 1)
            words = f"Too many files could not be used. Try again in {wait} seconds."
            raise FormError(words, 429, retry_seconds=wait) from error
        except _UnusableError as error:
            raise error.cause from None

    @pages.errorhandler(RequestEntityTooLarge)
    def say_too_large(_error: RequestEntityTooLarge) -> AnyResponse:
        """Show the form again; nothing of what was sent was read, so nothing of it is in the form."""
        first = request.endpoint == "upload.begin"
        if not first and g.get("session") is None:
            return away("pages.logon", notice="over")
        error = FormError(TOO_LARGE)
        page = render_template("store.html", error=error, found=(), wanted="", days=DAYS, first=first, username="")
        return Response(page, 413, mimetype="text/html")

    @pages.get("/store")
    def store() -> str:
        return show(None)

    @pages.post("/store")
    def keep() -> AnyResponse:
        session = current()

        def act() -> AnyResponse:
            judge_files(f"files of {session.username}", lambda: deposit(session.username))
            return away("pages.overview", notice="stored")

        return attempt(show, act)

    if not portal.config.logon.first_time:
        return pages

    def show_first(error: FormError | None) -> str:
        username = request.form.get("username", "").strip()[:MAX_USERNAME]
        return render_template("store.html", error=error, found=(), wanted="", days=DAYS, first=True, username=username)

    @pages.get("/first")
    @public
    def first() -> str:
        return show_first(None)

    @pages.post("/first")
    @public
    def begin() -> AnyResponse:
        def act() -> AnyResponse:
            username = field("username", most=MAX_USERNAME)
            if not username:
                raise FormError("Choose a user name.")

            judge_files("first time", lambda: deposit(username))
            return away("pages.logon", notice="first_stored")

        return attempt(show_first, act)

    return pages


class _Opener:
    """Opens files, a few at a time: a pass phrase costs time that is nobody else's, however many send files at once."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._room = threading.BoundedSemaphore(MAX_WAITING)
        self._turn = threading.Lock()

    def open(self, data: bytes, passphrase: Passphrase) -> Credential:
        """Return the credential in a file.

        Raises:
            FormError: Others are being opened.
            ParseError: It is no such file.
            CredentialError: As `myproxy.portal.desk.read_upload`.
        """
        if not self._room.acquire(blocking=False):
            words = "The portal is opening the files of others. Try again in a few seconds."
            raise FormError(words, 503, retry_seconds=BUSY_SECONDS)
        try:
            with self._turn:
                return read_upload(data, passphrase, now=self._clock())
        finally:
            self._room.release()


class _UnusableError(RefusedError):
    """A file that cannot be used, counted as a wrong try."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _days() -> timedelta:
    text = field("days")
    if text not in {str(one) for one in DAYS}:
        raise FormError("Choose how long it is to last.")
    return timedelta(days=int(text))
