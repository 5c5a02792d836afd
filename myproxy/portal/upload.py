"""The pages that store or renew a credential from a file, which is in memory alone, and only for this request.

What is sent is PKCS#12 or PEM. Its key is checked against its certificate, and then either signs for a key that the
server makes (PUT), or is locked with the new pass phrase and handed over itself (STORE). Werkzeug would spool large
files to the disk; the limit on requests is below that size.

Where the site wants it, whoever has a certificate and its key can store the first time without a session (`/first`), as
with `myproxy-init`: the server judges the certificate. No session comes of it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flask import Blueprint, render_template, request

from gsi.errors import AuthenticationError, CredentialError, ParseError, RefusedError
from gsi.system.audit import Verdict
from myproxy.auth.base import ThrottledError
from myproxy.portal.desk import identify, read_upload
from myproxy.portal.guard import address, current, public, told
from myproxy.portal.views import FormError, attempt, away, check_new, field, secret

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from myproxy.portal.guard import Portal

__all__ = ["make_pages"]

DAYS: Final = (7, 14, 30, 90, 365)
MAX_DESCRIPTION: Final = 200
MAX_USERNAME: Final = 200


def make_pages(portal: Portal) -> Blueprint:
    """Return the page."""
    pages = Blueprint("upload", __name__)

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
        data = b"" if sent is None else sent.read()
        if not data:
            raise FormError("Choose a file.")
        new = secret("new")
        check_new(new, secret("again"))
        credential = read_upload(data, secret("passphrase"), now=portal.clock())
        subject = identify(credential).subject
        name, description = field("name", most=64) or None, field("description", most=MAX_DESCRIPTION) or None
        try:
            if field("what") == "key":
                portal.desk.keep(credential, username, new, name=name, description=description)
            else:
                portal.desk.deposit(credential, username, new, lifetime=_days(), name=name, description=description)
        except (RefusedError, AuthenticationError) as error:
            portal.note("STORE", Verdict.DENY, username, identity=subject, reason=error.message)
            raise
        portal.note("STORE", Verdict.PERMIT, username, identity=subject, detail=f"{name or 'default'}: {subject}")

    @pages.get("/store")
    def store() -> str:
        return show(None)

    @pages.post("/store")
    def keep() -> AnyResponse:
        session = current()

        def act() -> AnyResponse:
            deposit(session.username)
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

            def judged() -> None:
                try:
                    deposit(username)
                except (FormError, CredentialError, ParseError) as error:
                    # Opening a file costs a derivation: who sends one after the other that cannot be used has to wait.
                    raise _UnusableError(error) from error

            try:
                portal.limits.judge("first time", address(), judged)
            except ThrottledError as error:
                raise FormError(told(error), 429) from error
            except _UnusableError as error:
                raise error.cause from None
            return away("pages.logon", notice="first_stored")

        return attempt(show_first, act)

    return pages


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
