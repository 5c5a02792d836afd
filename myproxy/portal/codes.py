"""The page that sets up an authenticator for one-time codes, where the server's store is at hand.

The protocol has no word for this, so the secret is written straight into the server's store, as `myproxy-admin-otp`
does. The user gives the pass phrase again, and the present code where there is one: the server judges both. Who has
logged on by somebody else's word has no pass phrase here, and gives the present code; without one the logon must have
been a moment ago. A new secret counts only after the authenticator has shown that it has it, with a code that is used
up by that; until then it is in the form alone, sealed with the session's ticket.

There is no such page where the server would not ask for the codes: the portal does not start then.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import io
import json
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import segno
from flask import Blueprint, render_template, request
from markupsafe import Markup

from gsi.errors import ConfigError
from gsi.secret import Passphrase
from gsi.system import clock
from gsi.system.audit import AuditLog, Verdict
from myproxy.admin import CodesDesk
from myproxy.auth.totp import PERIOD_SECONDS, SECRET_BYTES, code_at
from myproxy.config import Method
from myproxy.portal.config import Insistence
from myproxy.portal.grants import Grants
from myproxy.portal.guard import address, current
from myproxy.portal.views import (
    BY_PASSPHRASE,
    WRONG,
    FormError,
    attempt,
    away,
    check_owner,
    code,
    field,
    judge,
    log_on,
    secret,
)
from myproxy.repository.codes import SQLCodeStore
from myproxy.server import audit_path, load_config
from myproxy.wiring.methods import make_codes
from myproxy.wiring.repository import open_repository

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from gsi.credential import Credential
    from myproxy.portal.config import PortalConfig
    from myproxy.portal.guard import Portal, Session

__all__ = ["Authenticators", "make_pages", "open_authenticators"]

FORM_MINUTES: Final = 15
"""How long a new secret may be on the user's screen before it is used."""
RECENT: Final = timedelta(minutes=10)
"""How old a logon by somebody else's word may be that stands for a proof."""
_ALGORITHM: Final = "SHA1"  # what every authenticator has; RFC 6238 is safe with it


class Authenticators:
    """Where the server keeps its users' secrets."""

    def __init__(self, desk: CodesDesk, *, digits: int, window: int, issuer: str) -> None:
        """Know the rules.

        Args:
            desk: Writes secrets, and the server's audit.
            digits: The length of codes.
            window: How many periods a user's clock may be off, either way.
            issuer: What authenticators show beside the account.
        """
        self._desk = desk
        self.digits = digits
        self._window = window
        self._issuer = issuer

    def has(self, username: str) -> bool:
        """Say whether a user has one."""
        return username in self._desk.usernames()

    def uri(self, username: str, key: bytes) -> str:
        """Return what an authenticator scans."""
        facts = {
            "secret": show_secret(key),
            "issuer": self._issuer,
            "algorithm": _ALGORITHM,
            "digits": self.digits,
            "period": PERIOD_SECONDS,
        }
        label = quote(f"{self._issuer}:{username}", safe=":@")
        return f"otpauth://totp/{label}?{urlencode(facts, quote_via=quote)}"

    def find_step(self, key: bytes, given: str, *, now: float) -> int:
        """Return the period whose code this is of the new secret's, at about this Unix time; 0 where there is none."""
        step = int(now) // PERIOD_SECONDS
        found = 0
        for one in range(max(1, step - self._window), step + self._window + 1):
            if hmac.compare_digest(code_at(one, key, _ALGORITHM, self.digits), given.encode()):
                found = one
        return found

    def enrol(self, username: str, key: bytes, step: int) -> None:
        """Give a user this secret in place of any former one; the code of this period has shown it, and is used up.

        Raises:
            StorageError: It could not be recorded or written.
        """
        self._desk.enrol(username, issuer=self._issuer, algorithm=_ALGORITHM, secret=key, used_step=step)


def open_authenticators(portal: PortalConfig) -> Authenticators:
    """Open the server's store; for the life of a process.

    Raises:
        ConfigError: The server would not ask for codes as the portal's users are told.
        GridError: It cannot be opened, or there is no key for secrets.
    """
    settings, insistence = portal.codes, portal.logon.one_time_codes
    config = load_config(settings.server_config)
    check_modes(config.otp, insistence)
    repository = open_repository(config, settings.storage)
    codes, store = make_codes(config, repository.database), SQLCodeStore(repository.database)
    audit = AuditLog(audit_path(config, settings.storage), node=config.node_name)
    return Authenticators(
        CodesDesk(codes, store, audit, clock=clock.now),
        digits=config.otp_digits,
        window=config.otp_window,
        issuer=settings.issuer,
    )


def check_modes(otp: Method, insistence: Insistence) -> None:
    """Insist that server and portal agree about who needs a code.

    Raises:
        ConfigError: They do not.
    """
    if otp not in {Method.REQUIRED, Method.ENROLLED}:
        raise ConfigError(
            f"[codes]: the server has otp {otp.value!r} and would not ask for the codes of authenticators",
            hint='set otp "enrolled" there (or "required"), or leave [codes] out here',
        )
    fitting = {Insistence.OPTIONAL} if otp is Method.ENROLLED else {Insistence.OPTIONAL, Insistence.REQUIRED}
    if insistence not in fitting:
        raise ConfigError(
            f"one_time_codes = {insistence.value!r} keeps users out where the server has otp {otp.value!r}",
            hint=f"write one_time_codes = {max(fitting).value!r}",
        )


def show_secret(key: bytes) -> str:
    """Return a secret as one types it."""
    return base64.b32encode(key).decode("ascii").rstrip("=")


def make_pages(portal: Portal, authenticators: Authenticators, own: Credential | None = None) -> Blueprint:
    """Return the page.

    Args:
        portal: What the pages work with.
        authenticators: Where the secrets are.
        own: The portal's credential, for users who log on by somebody else's word; None where nobody does.
    """
    pages = Blueprint("codes", __name__)

    def offer() -> tuple[bytes, str]:
        """Return a new secret with its sealed form, or the one that the form has brought along."""
        with contextlib.suppress(FormError):
            key = unseal()
            return key, request.form["sealed"]
        key = secrets.token_bytes(SECRET_BYTES)
        until = portal.clock() + timedelta(minutes=FORM_MINUTES)
        content = {"key": key.hex(), "until": until.timestamp()}
        return key, current().ticket.seal(json.dumps(content).encode()).hex()

    def unseal() -> bytes:
        try:
            opened = current().ticket.open(bytes.fromhex(request.form.get("sealed", "")))
        except ValueError:
            opened = None
        content = None if opened is None else json.loads(opened)
        if content is None or "key" not in content or content["until"] < portal.clock().timestamp():
            raise FormError("This page was open for too long. Scan the new picture.")
        return bytes.fromhex(content["key"])

    def show(error: FormError | None) -> str:
        session = current()
        key, sealed = offer()
        uri = authenticators.uri(session.username, key)
        text = show_secret(key)
        return render_template(
            "codes.html",
            error=error,
            has=authenticators.has(session.username),
            by_passphrase=session.method == BY_PASSPHRASE,
            sealed=sealed,
            secret=" ".join(text[at : at + 4] for at in range(0, len(text), 4)),
            picture=_draw(uri),
            digits=authenticators.digits,
        )

    def prove(session: Session) -> None:
        """Have the server judge who is there, once more.

        Raises:
            FormError: It says no, or the logon by somebody else's word was too long ago.
        """
        lifetime, one_time = portal.config.session.proxy_lifetime, code()
        if session.method == BY_PASSPHRASE or own is None:
            given = secret("passphrase")
            found = log_on(portal, session.username, given, one_time, lifetime=lifetime, name=session.name)
            check_owner(session, found)
            return
        if not one_time and portal.clock() - session.kept.begun > RECENT:
            raise FormError("Log off and on again, and set it up then: your logon was too long ago.", 403)
        found = judge(
            portal,
            session.username,
            lambda: portal.desk.log_on(
                session.username,
                Passphrase(b""),
                code=one_time,
                lifetime=lifetime,
                name=session.name,
                own=own,
                source=address(),
            ),
            wrong=WRONG,
            vouched=True,
        )
        check_owner(session, found)

    @pages.get("/codes")
    def codes() -> str:
        return show(None)

    @pages.post("/codes")
    def enrol() -> AnyResponse:
        session = current()

        def act() -> AnyResponse:
            key = unseal()
            given = "".join(field("new_code").split())
            step = authenticators.find_step(key, given, now=portal.clock().timestamp())
            if not step:
                raise FormError("The new authenticator's code is not right. Is the clock of its device?")
            prove(session)
            portal.note("CODES", Verdict.PERMIT, session.username, identity=session.identity)
            authenticators.enrol(session.username, key, step)
            portal.store.sessions.remove_others(session.username, session.identity, but=session.kept.row)
            Grants(portal.store.database).end_all(session.username, session.identity)
            return away("pages.overview", notice="codes")

        return attempt(show, act)

    return pages


def _draw(uri: str) -> Markup:
    """Return the picture as SVG without styles, as the content policy wants it."""
    made = io.BytesIO()
    segno.make(uri, error="m", micro=False).save(
        made, kind="svg", xmldecl=False, svgns=True, svgclass=None, lineclass=None, omitsize=True, border=2
    )
    drawn = made.getvalue().decode("ascii")
    return Markup(drawn.replace("<svg ", '<svg role="img" aria-label="QR code" ', 1))  # noqa: S704  drawn from bits
