"""The pages for administrators of a community: users, groups, rights; each change is tried before it is made.

| address below `/cas` | page |
|---|---|
| `/users`, `/user` | who belongs to the community; one of them |
| `/groups`, `/group` | groups; members and rights of one |
| `/try` | what a change would do: who gains, who loses |
| `/change` | the change, for the policy that was looked at |

There is no list of administrators here: the community's server decides by the user's own rights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from flask import g, redirect, render_template, request

from cas.client import CASRefusedError
from cas.policy.changes import Change, about, encode_change, encode_statement
from cas.policy.model import Kind, Ref
from cas.portal.desk import MAX_NAMES, CommunityDesk, tell_change
from cas.portal.words import read_change
from gsi.errors import ParseError

if TYPE_CHECKING:
    from flask import Blueprint
    from werkzeug.wrappers import Response as AnyResponse

    from cas.policy.model import Statement
    from cas.portal.host import Host

__all__ = ["MakeDesk", "add_pages"]

MakeDesk: TypeAlias = Callable[[], CommunityDesk]
MAX_REASON: Final = 200
NOTICES: Final = {
    "changed": ("done", "The policy is changed."),
    "same": ("info", "Nothing was changed: it was so already."),
}


def add_pages(pages: Blueprint, host: Host, make_desk: MakeDesk) -> None:
    """Add the pages to those for members."""

    def begin() -> CommunityDesk:
        desk = make_desk()
        g.cas_me = desk.me()
        return desk

    def notice() -> tuple[str, str] | None:
        return NOTICES.get(request.args.get("notice", ""))

    @pages.get("/users")
    def users() -> str:
        desk = begin()
        return render_template(
            "cas/users.html",
            users=desk.names(Kind.USER),
            anchors=desk.names(Kind.TRUST_ANCHOR),
            groups=desk.names(Kind.USER_GROUP),
            most=MAX_NAMES,
            notice=notice(),
        )

    @pages.get("/user")
    def user() -> str:
        desk, name = begin(), request.args.get("name", "")
        ref = _ref(Kind.USER, name)
        known = desk.entity(ref)
        rights, withheld = desk.rights(name)
        return render_template(
            "cas/user.html", name=name, known=known, rights=rights, withheld=withheld, history=desk.history(ref)
        )

    @pages.get("/groups")
    def groups() -> str:
        desk = begin()
        return render_template("cas/groups.html", groups=desk.names(Kind.USER_GROUP), most=MAX_NAMES, notice=notice())

    @pages.get("/group")
    def group() -> str:
        desk, name = begin(), request.args.get("name", "")
        ref = _ref(Kind.USER_GROUP, name)
        found = desk.statements(ref)
        return render_template(
            "cas/group.html",
            name=name,
            has_list=name != "everyone",
            members=desk.members(ref) if name != "everyone" else (),
            statements=[(_tell(one), json.dumps(encode_statement(one))) for one in found if one.group == name],
            namespaces=desk.names(Kind.NAMESPACE),
            actions=_actions(desk),
            history=desk.history(ref),
            notice=notice(),
        )

    @pages.post("/try")
    def attempt() -> str:
        desk = begin()
        changes = read_change(request.form)
        return _show_trial(desk, changes)

    @pages.post("/change")
    def change() -> tuple[str, int] | AnyResponse:
        desk = begin()
        changes = read_change(request.form)
        revision, reason = request.form.get("revision", ""), request.form.get("reason", "").strip()[:MAX_REASON]
        if not revision.isascii() or not revision.isdigit() or len(revision) > 18:
            raise ParseError("the form was changed on its way", what="form")
        told = "; ".join(tell_change(encode_change(one)) for one in changes)
        host.note("POLICY", detail=told[:500])
        try:
            changed = desk.apply(changes, revision=int(revision), reason=reason)
        except CASRefusedError as error:
            host.note("POLICY", permitted=False, reason=error.message, detail=told[:500])
            if error.status != 409:
                raise
            words = "Somebody else has changed the policy meanwhile. Look again at what this would do now."
            return _show_trial(desk, changes, error=words), 409
        base = request.path.split("/")[1]
        return redirect(f"/{base}/{_back(changes[0])}notice={'changed' if changed else 'same'}", 303)


def _show_trial(desk: CommunityDesk, changes: tuple[Change, ...], error: str = "") -> str:
    encoded = [encode_change(one) for one in changes]
    return render_template(
        "cas/trial.html",
        told=[tell_change(one) for one in encoded],
        changes=json.dumps(encoded),
        found=desk.preview(changes),
        back=_back(changes[0]).rstrip("?&"),
        error=error,
        reason=request.form.get("reason", ""),
    )


def _ref(kind: Kind, name: str) -> Ref:
    if not name:
        raise ParseError("the address names nothing", what="address")
    return Ref(kind, name)


def _back(change: Change) -> str:
    """Return the page that a change belongs to, ready for a further parameter."""
    from urllib.parse import quote

    from cas.policy.changes import Enrol, Remove

    ref = about(change)[0]
    if isinstance(change, Enrol | Remove):
        return "users?" if ref.kind is Kind.USER else "groups?"
    return f"group?name={quote(ref.name, safe='')}&"


def _tell(statement: Statement) -> str:
    return str(statement)


def _actions(desk: CommunityDesk) -> list[str]:
    """Return the actions that can be granted, for a list to choose from."""
    types = desk.names(Kind.SERVICE_TYPE)[:20]
    return [f"{scope}/{name}" for scope in types for name in desk.names(Kind.SERVICE_ACTION, scope)]
