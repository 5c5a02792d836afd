"""The page that stores or renews a credential from a file; the file is in memory alone, and only for this request.

What is sent is PKCS#12 or PEM. Its key is checked against its certificate, and then either signs for a key that the
server makes (PUT), or is locked with the new pass phrase and handed over itself (STORE). Werkzeug would spool large
files to the disk; the limit on requests is below that size.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flask import Blueprint, render_template, request

from gsi.secret import Passphrase
from gsi.system.audit import Verdict
from myproxy.portal.desk import identify, read_upload
from myproxy.portal.guard import current
from myproxy.portal.views import FormError, attempt, away, check_new, field, secret

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from myproxy.portal.guard import Portal

__all__ = ["make_pages"]

DAYS: Final = (7, 14, 30, 90, 365)
MAX_DESCRIPTION: Final = 200


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

    @pages.get("/store")
    def store() -> str:
        return show(None)

    @pages.post("/store")
    def keep() -> AnyResponse:
        session = current()

        def act() -> AnyResponse:
            sent = request.files.get("file")
            data = b"" if sent is None else sent.read()
            if not data:
                raise FormError("Choose a file.")
            new = secret("new")
            check_new(new, secret("again"))
            credential = read_upload(data, Passphrase(secret("passphrase").reveal()), now=portal.clock())
            subject = identify(credential).subject
            name, description = field("name", most=64) or None, field("description", most=MAX_DESCRIPTION) or None
            if field("what") == "key":
                portal.desk.keep(credential, session.username, new, name=name, description=description)
            else:
                portal.desk.deposit(
                    credential, session.username, new, lifetime=_days(), name=name, description=description
                )
            portal.note(
                "STORE", Verdict.PERMIT, session.username, identity=subject, detail=f"{name or 'default'}: {subject}"
            )
            return away("pages.overview", notice="stored")

        return attempt(show, act)

    return pages


def _days() -> timedelta:
    text = field("days")
    if text not in {str(one) for one in DAYS}:
        raise FormError("Choose how long it is to last.")
    return timedelta(days=int(text))
