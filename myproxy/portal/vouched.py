"""The pages for logging on without the MyProxy pass phrase: by an OpenID Connect provider, or a Kerberos ticket.

The user proves itself to somebody whom the portal believes, and the portal asks the server in its own name, as a
trusted retriever. Whether that is enough is the server's to say: it is asked without a code first, and where it says
no, the user is asked for one, which it judges. So these ways skip nothing either. A portal whose configuration insists
on codes lets nobody in for whom the server has asked for none.

What is shown to a provider or a ticket's judge is no guess, but for a code that the provider does not know: those are
counted, by network. From then on the account is the one that was proved.

`/logon/oidc` leads to the provider and `/logon/oidc/back` back, `/logon/kerberos` is Negotiate (RFC 4559), and
`/logon/code` takes the one-time code.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import secrets
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from flask import Blueprint, Response, redirect, render_template, request, url_for

from gsi.errors import AuthenticationError, RefusedError
from gsi.secret import Passphrase
from gsi.system.audit import Verdict
from myproxy.auth.base import ThrottledError
from myproxy.portal.config import Insistence
from myproxy.portal.desk import identify
from myproxy.portal.guard import address, own_path, public, request_id
from myproxy.portal.oidc import USERNAME, NotTakenError, Pending, Provider
from myproxy.portal.views import WRONG, FormError, attempt, code, judge, too_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.wrappers import Response as AnyResponse

    from gsi.credential import Credential
    from gsi.kerberos.negotiate import Negotiated, Negotiator
    from myproxy.portal.guard import Guard, Portal

__all__ = ["make_pages"]

OIDC_COOKIE: Final = "__Host-oidc"
WAY_MINUTES: Final = 10
"""How long a user may be at the provider, or look for the code."""
_NO_TICKET: Final = "Your browser has shown no Kerberos ticket that is good here."
_NOT_PROVED: Final = "The provider's answer proves nothing. Try again from the start."
_SAID_NO: Final = "You, or the provider, have said no: nobody is logged on."
_NO_CODE_ASKED: Final = "A one-time code belongs to every logon here, and the server asks for none for this account."
_USED: Final = "That has been used already. Log on again."
_NOTHING: Final = "The server gives nothing for this account. Is a credential stored that the portal may fetch?"
_log: Final = logging.getLogger("myproxy.portal")

T = TypeVar("T")


def make_pages(
    portal: Portal,
    guard: Guard,
    own: Credential,
    *,
    provider: Provider | None,
    negotiator: Negotiator | None,
    binding: Callable[[], bytes | None] = lambda: None,
) -> Blueprint:
    """Return the pages.

    Args:
        portal: What the pages work with.
        guard: Begins sessions.
        own: The portal's credential, which the server trusts.
        provider: Of OpenID Connect, or None.
        negotiator: Knows tickets, or None.
        binding: Returns the channel binding of TLS connections (RFC 5929); None where TLS ends elsewhere.
    """
    pages = Blueprint("vouched", __name__)
    config = portal.config
    back = f"https://{config.names[0]}/logon/oidc/back"

    def seal(content: dict[str, object]) -> str:
        until = portal.clock() + timedelta(minutes=WAY_MINUTES)
        return guard.form_ticket().seal(json.dumps(content | {"until": until.timestamp()}).encode()).hex()

    def unseal(text: str) -> dict[str, str]:
        try:
            opened = guard.form_ticket().open(bytes.fromhex(text))
        except ValueError:
            opened = None
        content = None if opened is None else json.loads(opened)
        if content is None or content["until"] < portal.clock().timestamp():
            raise FormError("That has taken too long, or was begun in another browser. Log on again.")
        found: dict[str, str] = content
        return found

    def show_logon(error: FormError | None) -> str:
        return render_template("logon.html", error=error, notice=None, username="", following="", codes=Insistence)

    def vouch(username: str, method: str, following: str | None) -> AnyResponse:
        """Go on with a user whose name is proved."""
        insistence = config.logon.one_time_codes
        try:
            proxy = ask(username, "")
        except (RefusedError, AuthenticationError) as error:
            portal.note("LOGON", Verdict.DENY, username, reason=error.message, detail=method)
            if insistence is Insistence.NO:
                raise FormError(_NOTHING, 403) from error
            content: dict[str, object] = {"vouched": username, "method": method, "next": following or ""}
            content["id"] = secrets.token_hex(16)
            page = render_template(
                "code.html",
                error=None if insistence is Insistence.REQUIRED else _NOTHING,
                sealed=seal(content),
                username=username,
            )
            return Response(page, 200 if insistence is Insistence.REQUIRED else 403, mimetype="text/html")
        if insistence is Insistence.REQUIRED:
            _log.error("%s: one_time_codes is required, and the server asks for none", request_id())
            portal.note("LOGON", Verdict.DENY, username, reason=_NO_CODE_ASKED, detail=method)
            raise FormError(_NO_CODE_ASKED, 403)
        return enter(username, proxy, method, following)

    def ask(username: str, one_time: str) -> Credential:
        return portal.desk.log_on(
            username,
            Passphrase(b""),
            code=one_time,
            lifetime=config.session.proxy_lifetime,
            own=own,
            source=address(),
        )

    def enter(
        username: str, proxy: Credential, method: str, following: str | None, *, has_code: bool = False
    ) -> AnyResponse:
        portal.note("LOGON", Verdict.PERMIT, username, identity=identify(proxy).subject, detail=method)
        guard.begin(username, proxy, method, has_code=has_code)
        return redirect(following or url_for("pages.overview"), 303)

    def believe(method: str, look: Callable[[], T], *, otherwise: str) -> T:
        """Return what somebody else proves.

        Raises:
            FormError: Nothing is proved.
            TransportError: The provider cannot be reached.
        """
        try:
            return look()
        except ThrottledError as error:
            raise too_many(error, "tries") from error
        except (AuthenticationError, RefusedError) as error:
            _log.warning("%s: %s: %s", request_id(), method, error.message)
            portal.note("LOGON", Verdict.DENY, "", reason=error.message, detail=method)
            raise FormError(_SAID_NO if isinstance(error, RefusedError) else otherwise, 403) from error

    def finish(there: Provider, pending: Pending) -> str:
        """Return the account that the provider's answer proves; codes that were guessed count."""
        refusal: RefusedError | AuthenticationError | None = None

        def judged() -> str:
            nonlocal refusal
            try:
                return there.finish(request.url, pending, back)
            except NotTakenError as error:
                refusal = error
                raise RefusedError(error.message) from error
            except (AuthenticationError, RefusedError) as error:
                refusal = error
                raise _NoGuessError from error

        try:
            return portal.limits.judge_source("OpenID Connect", address(), judged)
        except (RefusedError, _NoGuessError):
            assert refusal is not None
            raise refusal from None

    @pages.post("/logon/code")
    @public
    def second() -> AnyResponse:
        sealed = request.form.get("sealed", "")

        def show(error: FormError | None) -> str:
            try:
                content = unseal(sealed)
            except FormError:
                return show_logon(error)
            return render_template("code.html", error=error, sealed=sealed, username=content["vouched"])

        def act() -> AnyResponse:
            content = unseal(sealed)
            if "vouched" not in content:
                raise FormError(WRONG, 403)
            one_time = code()
            if not one_time:
                raise FormError("Fill in the code.")
            username = content["vouched"]
            proxy = judge(portal, username, lambda: ask(username, one_time), wrong=WRONG, vouched=True)
            if not portal.limits.once(content["id"], seconds=WAY_MINUTES * 60):
                raise FormError(_USED, 403)
            return enter(username, proxy, content["method"], own_path(content["next"]), has_code=True)

        return attempt(show, act)

    if provider is not None:

        @pages.get("/logon/oidc")
        @public
        def leave_for_provider() -> AnyResponse:
            url, pending = provider.begin(back)
            sealed = seal({**asdict(pending), "next": own_path(request.args.get("next")) or ""})
            answer = redirect(url, 303)
            answer.set_cookie(OIDC_COOKIE, sealed, secure=True, httponly=True, samesite="Lax", path="/")
            return answer

        @pages.get("/logon/oidc/back")
        @public
        def come_back() -> AnyResponse:
            def act() -> AnyResponse:
                content = unseal(request.cookies.get(OIDC_COOKIE, ""))
                if "verifier" not in content:
                    raise FormError(_NOT_PROVED, 403)
                pending = Pending(content["state"], content["nonce"], content["verifier"])
                username = believe("OpenID Connect", lambda: finish(provider, pending), otherwise=_NOT_PROVED)
                return vouch(username, "OpenID Connect", own_path(content["next"]))

            answer = attempt(show_logon, act)
            answer.delete_cookie(OIDC_COOKIE, secure=True, httponly=True, samesite="Lax", path="/")
            return answer

    if negotiator is not None:

        @pages.get("/logon/kerberos")
        @public
        def negotiate() -> AnyResponse:
            scheme, _, text = request.headers.get("Authorization", "").strip().partition(" ")
            if scheme.lower() != "negotiate":
                page = show_logon(FormError(_NO_TICKET))
                return Response(page, 401, {"WWW-Authenticate": "Negotiate"}, mimetype="text/html")
            answered: dict[str, str] = {}

            def act() -> AnyResponse:
                def look() -> Negotiated:
                    try:
                        token = base64.b64decode(text.strip(), validate=True)
                    except (binascii.Error, ValueError) as error:
                        raise AuthenticationError("the Negotiate token is no base64") from error
                    return negotiator.accept(token, binding=binding())

                met = believe("Kerberos", look, otherwise=_NO_TICKET)
                if met.answer:
                    answered["WWW-Authenticate"] = f"Negotiate {base64.b64encode(met.answer).decode('ascii')}"
                client = met.ticket.client
                name = client.components[0]
                if len(client.components) > 1 or client.realm not in config.kerberos.realms or not USERNAME.match(name):
                    portal.note("LOGON", Verdict.DENY, "", reason=f"not one of our principals: {client}"[:300])
                    raise FormError(_NO_TICKET, 403)
                return vouch(name, "Kerberos", own_path(request.args.get("next")))

            answer = attempt(show_logon, act)
            answer.headers.extend(answered)
            return answer

    return pages


class _NoGuessError(Exception):
    """What was shown was refused, and is no guess."""
