"""The pages about one's own certificates of the Kerberos authority, where its books are at hand.

| address below `/kca` | page |
|---|---|
| `/` | one's certificates, the newest first |
| `/revoke` | revoke one of them |

A certificate is one's own when it has the name that the session's credential speaks for. Only its holder could have
logged on with that name, or whoever has taken the key: then revoking is what is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from flask import Blueprint, abort, redirect, render_template, request

from gsi.ca.crl import RevocationReason
from gsi.errors import ConfigError, GridError
from gsi.proxy.chain import ProxyChain
from gsi.system.audit import AuditLog
from kca.admin import Desk
from kca.config import load_config
from kca.repository.base import Selection
from kca.wiring.authority import load_authority_certificate
from kca.wiring.service import open_books

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from werkzeug.wrappers import Response as AnyResponse

    from gsi.credential import Credential
    from kca.repository.base import Entry

__all__ = ["Contribution", "Host", "make_contribution"]

KEYS: Final = ("config", "title")
MAX_SHOWN: Final = 200
MAX_SERIAL: Final = 40
"""Hexadecimal digits of a serial number (RFC 5280 section 4.1.2.2)."""
REASONS: Final = {
    "key": (RevocationReason.KEY_COMPROMISE, "Somebody else may have its key"),
    "superseded": (RevocationReason.SUPERSEDED, "I have another one"),
    "unused": (RevocationReason.CESSATION_OF_OPERATION, "I need it no longer"),
}
NOTICES: Final = {
    "revoked": ("done", "The certificate is revoked; it stands on the next revocation list."),
    "before": ("info", "The certificate was revoked before."),
}


class Host(Protocol):
    """The portal, as far as these pages need it."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The table of the configuration."""

    def username(self) -> str:
        """Return the account of whoever is logged on."""

    def credential(self) -> Credential:
        """Return the user's proxy."""

    def now(self) -> datetime:
        """Return the time."""

    def note(self, action: str, *, permitted: bool = True, reason: str = "", detail: str = "") -> None:
        """Write down what the user does, before it takes effect."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What the portal takes: a title for its pages, and the pages."""

    title: str
    blueprint: Blueprint


def make_contribution(host: Host) -> Contribution:
    """Open the books and return the pages; for the life of a process.

    Raises:
        GridError: The configuration, the books or the audit cannot be used.
    """
    settings = host.settings
    unknown = sorted(settings.keys() - set(KEYS))
    if unknown or not settings.get("config"):
        raise ConfigError(
            f"{unknown[0]!r} is no key" if unknown else "config is missing", hint=f"known are: {', '.join(KEYS)}"
        )
    config = load_config(settings["config"])
    certificate = load_authority_certificate(config.authority)
    books, audit = open_books(config), AuditLog(config.store.audit_path)
    pages = Blueprint("kca", __name__, template_folder="templates")

    def desk() -> Desk:
        return Desk(books, certificate, audit, by=f"portal: {host.username()}", clock=host.now)

    def own() -> tuple[str, list[Entry]]:
        """Return the name of this request's user, and the certificates of this authority that have it."""
        name = ProxyChain.split(host.credential().certificates).identity_text
        found = books.search(Selection(subject=name), on_damage=lambda _error: None)
        authority = desk().authority
        mine = (one for one in found if one.subject == name and one.authority == authority)
        return name, [one for one, _ in zip(mine, range(MAX_SHOWN), strict=False)]

    def find() -> Entry:
        """Return the certificate that the request names; 404 where it is not one's own."""
        serial = request.values.get("serial", "")[:MAX_SERIAL]
        found = next((one for one in own()[1] if one.serial_hex == serial), None)
        return found or abort(404, "You have no such certificate of this authority.")

    @pages.errorhandler(GridError)
    def fail(_error: GridError) -> tuple[str, int]:
        text = "The authority's books cannot be read or written at the moment. Try again in a minute."
        return render_template("error.html", heading="Not available now", text=text), 503

    @pages.get("/")
    def overview() -> str:
        name, found = own()
        notice = NOTICES.get(request.args.get("notice", ""))
        return render_template("kca/certificates.html", name=name, found=found, notice=notice, base=_base())

    @pages.get("/revoke")
    def ask() -> str:
        return render_template("kca/revoke.html", one=find(), reasons=REASONS, base=_base())

    @pages.post("/revoke")
    def revoke() -> AnyResponse:
        one, chosen = find(), REASONS.get(request.form.get("reason", ""))
        if chosen is None or request.form.get("sure") != "yes":
            abort(400, "Choose a reason, and tick that you are sure.")
        host.note("REVOKE", detail=f"certificate {one.serial_hex}: {chosen[0].word}")
        _, is_new = desk().revoke(one.serial, chosen[0])
        return redirect(f"/{_base()}/?notice={'revoked' if is_new else 'before'}", 303)

    return Contribution(settings.get("title") or "Certificates", pages)


def _base() -> str:
    return request.path.split("/")[1]
