"""The pages about the user's own credentials: log on and off, see, fetch, change, destroy; what they ask is `desk`'s.

| address | page |
|---|---|
| `/logon`, `/logoff` | a session begins and ends |
| `/` | what is stored |
| `/fetch` | a proxy as a file |
| `/passphrase` | another pass phrase |
| `/destroy` | remove a stored credential |
| `/activity` | what happened, and where else one is logged on |
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, g, redirect, render_template, request, url_for

from gsi.errors import (
    AuthenticationError,
    CredentialError,
    GridError,
    LocalProtocolError,
    ParseError,
    RefusedError,
    StorageError,
    VerificationError,
)
from gsi.secret import Passphrase
from gsi.system.audit import Verdict
from myproxy.auth.base import ThrottledError
from myproxy.portal.config import Insistence
from myproxy.portal.desk import AccountView, identify
from myproxy.portal.grants import Grants
from myproxy.portal.guard import address, current, own_path, public, request_id, told
from myproxy.portal.known import is_known
from myproxy.portal.store import MAX_SHOWN
from myproxy.portal.strength import find_weakness
from myproxy.portal.timeline import merge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from werkzeug.wrappers import Response as AnyResponse

    from gsi.credential import Credential
    from myproxy.portal.desk import CredentialView
    from myproxy.portal.guard import Guard, Portal, Session

__all__ = [
    "BY_PASSPHRASE",
    "NOTICES",
    "FormError",
    "check_owner",
    "field",
    "judge",
    "log_on",
    "make_pages",
    "pick",
    "read_lifetime",
    "too_many",
]

MAX_FIELD: Final = 1024
"""The longest text in a form; the protocol's pass phrases are as long."""
LATELY: Final = 5
"""Events on the first page of what was done, and as many of what was refused."""
WRONG: Final = "The user name, the pass phrase or the code is not right."
LIFETIMES: Final = {hours: timedelta(hours=hours) for hours in (1, 4, 12, 24, 72, 168)}
NOTICES: Final = {
    "first": ("info", "Log on to go on."),
    "over": ("info", "Your session is over. Log on again."),
    "off": ("done", "You are logged off."),
    "first_stored": ("done", "The credential is stored. Log on with its new pass phrase."),
    "stored": ("done", "The credential is stored."),
    "changed": (
        "done",
        "The pass phrase is changed. Your other sessions, and what you had allowed applications, were ended.",
    ),
    "changed_alone": (
        "info",
        "The pass phrase is changed, but your other sessions and what you allowed applications could not be ended.",
    ),
    "destroyed": ("done", "The credential is destroyed."),
    "ended": ("done", "Your other sessions were ended."),
    "codes": ("done", "Your authenticator is set up. From now on its code belongs to every logon."),
    "delivered": ("done", "The terminal has its proxy."),
    "refused": ("info", "The terminal gets nothing."),
    "grant_ended": ("done", "The application gets no more proxies."),
}
"""What pages tell at their top, by a word in their address; nothing else can be put there."""
PAGES: Final = "pages"
BY_PASSPHRASE: Final = "pass phrase"
"""How a session says that its user has logged on by pass phrase."""
_FILE_PART: Final = re.compile(r"[^A-Za-z0-9._-]+")
_CODE: Final = re.compile(r"[0-9]{6,8}\Z", re.ASCII)
_log: Final = logging.getLogger("myproxy.portal")


class FormError(Exception):
    """What was sent cannot be used; the page is shown again with these words."""

    def __init__(self, text: str, status: int = 400, *, retry_seconds: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.retry_seconds = retry_seconds


def field(name: str, *, most: int = MAX_FIELD) -> str:
    """Return a text field of the form, blanks around it removed; empty when it is missing.

    Raises:
        FormError: It is too long.
    """
    text = request.form.get(name, "").strip()
    if len(text) > most:
        raise FormError("A field is too long.")
    return text


def secret(name: str) -> Passphrase:
    """Return a secret field of the form as it was typed.

    Raises:
        FormError: It is too long.
    """
    text = request.form.get(name, "")
    if len(text.encode("utf-8", "surrogateescape")) > MAX_FIELD:
        raise FormError("A field is too long.")
    return Passphrase(text.encode("utf-8", "surrogateescape"))


def code() -> str:
    """Return the one-time code of the form, without blanks; empty where none was given.

    Raises:
        FormError: It is none.
    """
    text = "".join(field("code").split())
    if text and not _CODE.match(text):
        raise FormError("A one-time code has six to eight digits.")
    return text


def named() -> str | None:
    """Return which credential the form is about."""
    return field("name") or None


def log_on(
    portal: Portal,
    username: str,
    passphrase: Passphrase,
    one_time: str,
    *,
    lifetime: timedelta,
    name: str | None = None,
) -> Credential:
    """Return the proxy that the server gives for a pass phrase, within the limits on guessing.

    Raises:
        FormError: It gives none.
        TransportError: It cannot be reached.
        StorageError: The refusal cannot be written down.
    """
    needs_code = portal.config.logon.one_time_codes is Insistence.REQUIRED
    if not username or not passphrase or (needs_code and not one_time):
        raise FormError("Fill in all fields.")
    if portal.config.logon.one_time_codes is Insistence.NO:
        one_time = ""
    return judge(
        portal,
        username,
        lambda: portal.desk.log_on(username, passphrase, code=one_time, lifetime=lifetime, name=name, source=address()),
        wrong=WRONG,
    )


def judge(
    portal: Portal, username: str, ask: Callable[[], Credential], *, wrong: str, vouched: bool = False
) -> Credential:
    """Return what the server gives for a proof, within the limits on guessing; a refusal is written down.

    Args:
        portal: What the pages work with.
        username: The account.
        ask: Asks the server.
        wrong: What the user hears when it refuses, whatever the reason.
        vouched: Whether somebody has proved already that it is the user who tries.

    Raises:
        FormError: It refuses.
        TransportError: It cannot be reached.
        StorageError: The refusal cannot be written down.
    """
    try:
        placed = vouched or portal.config.own.front_end
        stranger = not placed and not is_known(portal.store.database, username, address())
        return portal.limits.judge(username, address(), ask, stranger=stranger)
    except ThrottledError as error:
        portal.note_again("LOGON", username, error.message)
        raise too_many(error) from error
    except LocalProtocolError as error:
        portal.note("LOGON", Verdict.DENY, username, reason=error.message)
        raise FormError(wrong) from error
    except (RefusedError, AuthenticationError) as error:
        portal.note("LOGON", Verdict.DENY, username, reason=error.message)
        raise FormError(wrong, 403) from error


def check_owner(session: Session, proxy: Credential) -> None:
    """Insist on a proof's being that of whoever is logged on: the account may have got another owner since.

    Raises:
        FormError: It is somebody else's.
    """
    if identify(proxy).subject != session.identity:
        raise FormError("The server has given the credential of somebody else.", 403)


def too_many(error: ThrottledError, what: str = "wrong tries") -> FormError:
    """Return what a page says about a try that was not judged."""
    wait = max(1, int(error.seconds) + 1)
    return FormError(f"Too many {what}. Try again in {wait} seconds.", 429, retry_seconds=wait)


def refusal(error: Exception) -> FormError:
    """Return what a page says about an error from the server or in a file."""
    if isinstance(error, FormError):
        return error
    if isinstance(error, RefusedError | AuthenticationError):
        return FormError(told(error), 403)
    if isinstance(error, CredentialError | ParseError | LocalProtocolError | VerificationError):
        return FormError(told(error))
    raise error


def attempt(show: Callable[[FormError | None], str], act: Callable[[], AnyResponse]) -> AnyResponse:
    """Do what a form asks; where that cannot be, show the page again with the reason."""
    try:
        return act()
    except (FormError, RefusedError, AuthenticationError, CredentialError, ParseError, LocalProtocolError) as error:
        shown = refusal(error)
    except VerificationError as error:
        shown = refusal(error)
    response = Response(show(shown), shown.status, mimetype="text/html")
    if shown.retry_seconds:
        response.headers["Retry-After"] = str(shown.retry_seconds)
    return response


def away(endpoint: str, *, notice: str) -> AnyResponse:
    """Lead to another page after something was done."""
    return redirect(url_for(endpoint, notice=notice), 303)


def notice() -> tuple[str, str] | None:
    """Return what the page's address says that happened."""
    return NOTICES.get(request.args.get("notice", ""))


def pick(found: Sequence[CredentialView], name: str | None) -> CredentialView | None:
    """Return the stored credential of a name."""
    return next((one for one in found if one.name == name), None)


def file_name(username: str) -> str:
    """Return a name for a downloaded proxy that is safe in a header and on every system."""
    part = _FILE_PART.sub("_", username).strip("._")[:64] or "user"
    return f"x509up_{part}.pem"


def as_file(proxy: Credential, username: str) -> Response:
    """Return a proxy for download."""
    return Response(
        proxy.encode(),
        mimetype="application/x-pem-file",
        headers={"Content-Disposition": f'attachment; filename="{file_name(username)}"'},
    )


def make_pages(portal: Portal, guard: Guard) -> Blueprint:
    """Return the pages."""
    pages = Blueprint(PAGES, __name__)
    desk, config = portal.desk, portal.config

    def show_logon(error: FormError | None, username: str = "", following: str | None = None) -> str:
        guard.form_ticket()
        return render_template(
            "logon.html", error=error, notice=notice(), username=username, following=following or "", codes=Insistence
        )

    @pages.get("/logon")
    @public
    def logon() -> str | AnyResponse:
        following = own_path(request.args.get("next"))
        if g.get("session") is not None:
            return redirect(following or url_for("pages.overview"), 303)
        return show_logon(None, following=following)

    @pages.post("/logon")
    @public
    def enter() -> AnyResponse:
        following = own_path(request.form.get("next"))
        username = request.form.get("username", "").strip()[:MAX_FIELD]

        def act() -> AnyResponse:
            lifetime = config.session.proxy_lifetime
            one_time = "" if config.logon.one_time_codes is Insistence.NO else code()
            proxy = log_on(portal, field("username"), secret("passphrase"), one_time, lifetime=lifetime)
            found = identify(proxy)
            portal.note("LOGON", Verdict.PERMIT, username, identity=found.subject, detail=BY_PASSPHRASE)
            guard.begin(username, proxy, BY_PASSPHRASE, has_code=bool(one_time))
            return redirect(following or url_for("pages.overview"), 303)

        return attempt(lambda error: show_logon(error, username, following), act)

    @pages.post("/logoff")
    @public
    def leave() -> AnyResponse:
        session = g.get("session")
        guard.end()
        if session is not None:
            portal.note("LOGOFF", Verdict.PERMIT, session.username, identity=session.identity)
        return away("pages.logon", notice="off")

    @pages.get("/")
    def overview() -> str:
        session = current()
        account = desk.account(session.proxy, session.username)
        return render_template(
            "overview.html",
            notice=notice(),
            found=account.credentials,
            tells=account.history is not None,
            mine=identify(session.proxy),
            events=merge(portal.store.activity.of(session.username, session.identity, LATELY), account.history, LATELY),
        )

    def show_fetch(error: FormError | None) -> str:
        session = current()
        left = session.proxy.not_after - portal.clock()
        return render_template(
            "fetch.html",
            error=error,
            notice=notice(),
            found=desk.look(session.proxy, session.username),
            wanted=request.values.get("name", session.name or ""),
            short=[(hours, span) for hours, span in LIFETIMES.items() if span < left],
            left=left,
            all=LIFETIMES.items(),
            file=file_name(session.username),
            codes=Insistence,
        )

    @pages.get("/fetch")
    def fetch() -> str:
        return show_fetch(None)

    @pages.post("/fetch")
    def take() -> AnyResponse:
        session = current()

        def act() -> AnyResponse:
            lifetime = _lifetime()
            limited = field("limited") == "yes"
            if field("how") == "again":
                name = named()
                source = log_on(portal, session.username, secret("passphrase"), code(), lifetime=lifetime, name=name)
                proxy = desk.make_proxy(source, timedelta(0), limited=True) if limited else source
            else:
                name = session.name
                proxy = desk.make_proxy(session.proxy, lifetime, limited=limited)
            portal.note(
                "FETCH",
                Verdict.PERMIT,
                session.username,
                identity=session.identity,
                detail=f"{name or 'default'}, until {proxy.not_after:%Y-%m-%d %H:%M}",
            )
            return as_file(proxy, session.username)

        return attempt(show_fetch, act)

    def show_passphrase(error: FormError | None) -> str:
        session = current()
        return render_template(
            "passphrase.html",
            error=error,
            found=desk.look(session.proxy, session.username),
            wanted=request.values.get("name", session.name or ""),
        )

    @pages.get("/passphrase")
    def passphrase() -> str:
        return show_passphrase(None)

    @pages.post("/passphrase")
    def change() -> AnyResponse:
        session = current()

        def act() -> AnyResponse:
            old, new, name = secret("old"), secret("new"), named()
            check_new(new, secret("again"), session.username)

            def ask() -> None:
                with portal.doing("CHANGE", session.username, identity=session.identity, detail=name or "default"):
                    desk.change_passphrase(session.proxy, session.username, name, old, new)

            try:
                portal.limits.judge(session.username, address(), ask)
            except ThrottledError as error:
                raise too_many(error) from error
            try:
                portal.store.sessions.remove_others(session.username, session.identity, but=session.kept.row)
                Grants(portal.store.database).end_all(session.username, session.identity)
            except StorageError:  # the new pass phrase holds, whatever else cannot be done
                return away("pages.activity", notice="changed_alone")
            return away("pages.overview", notice="changed")

        return attempt(show_passphrase, act)

    def show_destroy(error: FormError | None) -> str:
        session = current()
        found = pick(desk.look(session.proxy, session.username), request.values.get("name") or None)
        return render_template("destroy.html", error=error, view=found)

    @pages.get("/destroy")
    def destroy() -> str:
        return show_destroy(None)

    @pages.post("/destroy")
    def remove() -> AnyResponse:
        session = current()

        def act() -> AnyResponse:
            name = named()
            if field("sure") != "yes":
                raise FormError("Confirm that you want to destroy it.")
            with portal.doing("DESTROY", session.username, identity=session.identity, detail=name or "default"):
                desk.destroy(session.proxy, session.username, name)
            return away("pages.overview", notice="destroyed")

        return attempt(show_destroy, act)

    @pages.get("/activity")
    def activity() -> str:
        session = current()
        try:
            account, trouble = desk.account(session.proxy, session.username), False
        except GridError as error:  # what the portal knows itself is shown all the same
            _log.warning("%s: the server's part of the activity is missing: %s", request_id(), error)
            account, trouble = AccountView(), True
        return render_template(
            "activity.html",
            notice=notice(),
            events=merge(portal.store.activity.of(session.username, session.identity), account.history, MAX_SHOWN),
            tells=account.history is not None,
            trouble=trouble,
            sessions=portal.store.sessions.of(session.username, session.identity, now=portal.clock()),
        )

    @pages.post("/activity")
    def end_others() -> AnyResponse:
        session = current()
        with portal.doing("END OTHER SESSIONS", session.username, identity=session.identity):
            portal.store.sessions.remove_others(session.username, session.identity, but=session.kept.row)
        return away("pages.activity", notice="ended")

    return pages


def check_new(new: Passphrase, again: Passphrase, username: str) -> None:
    """Insist on a new pass phrase that was typed twice and is not guessed first; the server's policy comes on top.

    Raises:
        FormError: It is too short or too long, one of those that are guessed first, or the two differ.
    """
    if new != again:
        raise FormError("The new pass phrase was not typed the same way twice.")
    weakness = find_weakness(new.reveal().decode("utf-8", "surrogateescape"), about=(username,))
    if weakness:
        raise FormError(weakness)


def _lifetime() -> timedelta:
    return read_lifetime(field("hours"))


def read_lifetime(text: str) -> timedelta:
    """Return the lifetime that a form chooses; `0` is as long as possible.

    Raises:
        FormError: It is none of those that are offered.
    """
    if text == "0":
        return timedelta(0)
    for hours, span in LIFETIMES.items():
        if text == str(hours):
            return span
    raise FormError("Choose a lifetime.")
