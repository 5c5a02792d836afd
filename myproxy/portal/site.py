"""The pages for the site's administrators, whose identities the configuration names; what they show is `watch`'s.

| address | page |
|---|---|
| `/site` | health of the services, decisions of the last day, latencies, sources of refusals, what expires |
| `/site/audit` | search in the audit files |
| `/site/chains` | check of their chains |

Everybody else gets 403, whatever the address; they, too, after a logon without a one-time code, where the site has such
codes. Charts are SVG made here: there is no script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flask import Blueprint, abort, render_template, request

from gsi.system.audit import Verdict
from myproxy.portal.config import Insistence
from myproxy.portal.guard import current
from myproxy.portal.watch import Search, Watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myproxy.portal.codes import Authenticators
    from myproxy.portal.guard import Portal
    from myproxy.portal.watch import Hour, Latency

__all__ = ["Bar", "draw_hours", "draw_latencies", "make_pages"]

WIDTH = 720
HEIGHT = 150
ROW = 26
_GAP = 4
_MAX_TEXT = 200


class Bar(NamedTuple):
    """A bar of a chart, in its own units."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str


def draw_hours(hours: Sequence[Hour]) -> tuple[list[Bar], int]:
    """Return a pair of stacked bars for each hour, and what the full height stands for."""
    most = max([1, *(one.permitted + one.refused for one in hours)])
    step = WIDTH / max(1, len(hours))
    bars: list[Bar] = []
    for place, one in enumerate(hours):
        low = one.permitted / most * HEIGHT
        high = one.refused / most * HEIGHT
        x, width = place * step + _GAP / 2, step - _GAP
        label = f"{one.begins:%H:%M}: {one.permitted} permitted, {one.refused} refused"
        bars += [
            Bar(round(x, 1), round(HEIGHT - low, 1), round(width, 1), round(low, 1), "good", label),
            Bar(round(x, 1), round(HEIGHT - low - high, 1), round(width, 1), round(high, 1), "bad", label),
        ]
    return bars, most


def draw_latencies(latencies: Sequence[Latency]) -> list[tuple[Latency, Bar, Bar]]:
    """Return for each kind of request a row of two bars: what 95 of a hundred did not exceed, and the mean."""
    longest = max([1e-9, *(max(one.slow, one.mean) for one in latencies)])
    rows: list[tuple[Latency, Bar, Bar]] = []
    for place, one in enumerate(latencies):
        y = place * ROW + _GAP
        slow, mean = (round(value / longest * WIDTH, 1) for value in (one.slow, one.mean))
        rows.append(
            (
                one,
                Bar(0, y, max(slow, 1), ROW - 2 * _GAP, "slow", f"{one.slow:.1f} ms"),
                Bar(0, y, max(mean, 1), ROW - 2 * _GAP, "mean", f"{one.mean:.1f} ms"),
            )
        )
    return rows


def make_pages(portal: Portal, watch: Watch, authenticators: Authenticators | None = None) -> Blueprint:
    """Return the pages.

    Args:
        portal: What the pages work with.
        watch: What they show.
        authenticators: Says who has one; None where that is not known here.
    """
    pages = Blueprint("site", __name__)
    identities = frozenset(portal.config.admin.identities)
    # A code that the server does not ask for is no proof: without an authenticator it is the end of the pass phrase.
    has_codes = authenticators is not None or portal.config.logon.one_time_codes is Insistence.REQUIRED
    needs_code = portal.config.admin.second_factor and has_codes

    @pages.before_request
    def admit() -> None:
        """Let nobody in but those that are named."""
        session = current()
        if session.identity not in identities:
            reason = "not among the identities of [admin]"
            portal.note("SITE", Verdict.DENY, session.username, reason=reason, identity=session.identity)
            abort(403, "This page is for the site's administrators.")
        if needs_code and not (session.has_code and (authenticators is None or authenticators.has(session.username))):
            reason = "logged on without a one-time code"
            portal.note("SITE", Verdict.DENY, session.username, reason=reason, identity=session.identity)
            abort(
                403, "This page needs a logon with a one-time code: set an authenticator up, and log on with its code."
            )

    @pages.get("/site")
    def overview() -> str:
        records, troubles = watch.records()
        hours = watch.hours(records)
        bars, most = draw_hours(hours)
        services = watch.services()
        return render_template(
            "site.html",
            services=[(one, draw_latencies(one.latencies)) for one in services],
            hours=hours,
            bars=bars,
            most=most,
            sources=watch.sources(records),
            expiring=watch.expiring(),
            troubles=troubles,
            size=(WIDTH, HEIGHT, ROW),
        )

    @pages.get("/site/audit")
    def audit() -> str:
        wanted = Search(*(request.args.get(name, "").strip()[:_MAX_TEXT] for name in Search._fields))
        records, troubles = watch.records()
        return render_template(
            "site-audit.html",
            wanted=wanted,
            found=watch.search(records, wanted),
            actions=sorted({one.action for one in records}),
            verdicts=[one.value for one in Verdict],
            files=watch.files,
            troubles=troubles,
        )

    @pages.post("/site/chains")
    def chains() -> str:
        session = current()
        portal.note("SITE", Verdict.PERMIT, session.username, detail="chains checked", identity=session.identity)
        return render_template("site-chains.html", reports=watch.chains())

    return pages
