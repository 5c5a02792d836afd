"""The pages for members of a community: what they may do, why not, and capabilities as files; asks by `desk`.

| address below `/cas` | page |
|---|---|
| `/` | who one is there, one's rights, and the form to fetch |
| `/fetch` | a capability as a file |
| `/why` | whether one may do something, and by which statements |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, g, render_template, request

from cas.client import CASClient, CASRefusedError, parse_url
from cas.portal import admin
from cas.portal.desk import FORMS, CommunityDesk, Wish
from cas.portal.words import read_action, read_object
from gsi.errors import ConfigError, CredentialError, GridError, ParseError

if TYPE_CHECKING:
    from cas.portal.host import Host

__all__ = ["Contribution", "make_contribution"]

KEYS: Final = ("server", "server_dn", "title")
HOURS: Final = (1, 4, 8, 12)
MAX_AUDIENCES: Final = 8
MAX_RESOURCES: Final = 100
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Contribution:
    """What the portal takes: a title for its pages, and the pages."""

    title: str
    blueprint: Blueprint


def make_contribution(host: Host) -> Contribution:
    """Return the pages.

    Raises:
        ConfigError: The settings make no sense.
    """
    settings = host.settings
    unknown = sorted(settings.keys() - set(KEYS))
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is no key", hint=f"known are: {', '.join(KEYS)}")
    url = settings.get("server", "")
    parse_url(url)

    def desk() -> CommunityDesk:
        """Return the desk of this request's user."""
        proxy = host.credential()
        client = CASClient(
            url, proxy, anchors=host.anchors, now=host.now, expected_dn=settings.get("server_dn") or None
        )
        return CommunityDesk(client, proxy, now=host.now)

    pages = Blueprint("cas", __name__, template_folder="templates")
    _add_errors(pages)
    _add_pages(pages, host, desk)
    admin.add_pages(pages, host, desk)
    return Contribution(settings.get("title") or "Community", pages)


def _add_errors(pages: Blueprint) -> None:
    @pages.context_processor
    def tell() -> dict[str, object]:
        return {"base": request.path.split("/")[1], "me": g.get("cas_me")}

    @pages.errorhandler(CASRefusedError)
    def refuse(error: CASRefusedError) -> tuple[str, int]:
        status = 403 if error.status in {401, 403} else 404 if error.status == 404 else 400
        return render_template("cas/trouble.html", heading="The community says no", text=_sentence(error)), status

    @pages.errorhandler(ParseError)
    def mistake(error: ParseError) -> tuple[str, int]:
        return render_template("cas/trouble.html", heading="This cannot be used", text=_sentence(error)), 400

    @pages.errorhandler(GridError)
    def fail(error: GridError) -> tuple[str, int]:
        text = "The community's server cannot be asked at the moment. Try again in a minute."
        if isinstance(error, CredentialError | ConfigError):
            return render_template("cas/trouble.html", heading="This cannot be done", text=_sentence(error)), 400
        return render_template("cas/trouble.html", heading="Not available now", text=text), 503


def _sentence(error: GridError) -> str:
    text = error.message + (f" ({error.hint})" if error.hint else "")
    return text[:1].upper() + text[1:]


def _add_pages(pages: Blueprint, host: Host, make_desk: admin.MakeDesk) -> None:
    @pages.get("/")
    def overview() -> str:
        desk = make_desk()
        g.cas_me = desk.me()
        rights, withheld = desk.rights()
        return render_template("cas/overview.html", rights=rights, withheld=withheld, forms=FORMS, hours=HOURS)

    @pages.post("/fetch")
    def fetch() -> Response:
        wish = _read_wish()
        told = " ".join([wish.form, f"{wish.hours}h", *wish.resources])[:500]
        account = _UNSAFE.sub("_", host.username()).strip("._")[:64] or "user"
        try:
            found = make_desk().fetch(wish, account)
        except CASRefusedError as error:
            host.note("CAPABILITY", permitted=False, reason=error.message, detail=told)
            raise
        host.note("CAPABILITY", detail=told)
        answer = Response(found.content, mimetype=found.media_type)
        answer.headers["Content-Disposition"] = f'attachment; filename="{found.name}"'
        return answer

    @pages.get("/why")
    def why() -> str:
        asked = {name: request.args.get(name, "").strip() for name in ("action", "namespace", "name", "user")}
        desk = make_desk()
        g.cas_me = me = desk.me()
        rights, _ = desk.rights()
        offers = sorted({one for right in rights for one in right.actions})
        namespaces = sorted({right.resource.partition("|")[0] for right in rights})
        result = error = None
        limited = request.args.get("limited") == "yes"
        if asked["action"] or asked["name"]:
            try:
                action, on = read_action(asked["action"]), read_object(asked["namespace"], asked["name"])
                result = desk.why(action, on, asked["user"], limited=limited)
            except (ParseError, CASRefusedError) as refused:
                error = _sentence(refused)
        return render_template(
            "cas/why.html",
            asked=asked,
            limited=limited,
            who=asked["user"] or me.nickname,
            result=result,
            error=error,
            offers=offers,
            namespaces=namespaces,
        )


def _read_wish() -> Wish:
    form = request.form.get("form", "")
    hours = request.form.get("hours", "")
    if form not in FORMS or hours not in {str(one) for one in HOURS}:
        raise ParseError("the form has no such choice", what="form")
    resources = tuple(request.form.getlist("resource"))
    audience = tuple(request.form.get("audience", "").split())
    if len(resources) > MAX_RESOURCES or len(audience) > MAX_AUDIENCES:
        raise ParseError("too much at once", what="form")
    return Wish(form=form, hours=int(hours), resources=resources, audience=audience)
