"""Proxies for terminals, after RFC 8628: a code is shown in the terminal and confirmed in the browser.

`POST /terminal/v1/start` takes `{"request": PKCS#10 in base64}` and answers with `device_code`, `user_code`,
`verification_uri`, `verification_uri_complete`, `expires_in`, `interval` and `key`, or 400 or 429 with `error`.
`POST /terminal/v1/take` takes `{"device_code": ...}` and answers with a `state`: `waiting`, `slow_down`, `refused`,
`over`, or `granted` with the `certificates` in PEM, which are given once. Both take `application/json` alone, else 415;
the forms of RFC 8628 section 3 are not understood.

The terminal makes the key and sends a certificate request; what it gets are certificates for that key, signed below the
proxy of the user's session when the user confirms. So nothing that is secret lies in the store or goes to the terminal.
The user compares a part of the key's hash, so that nobody can have somebody else's terminal confirmed unseen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from flask import Blueprint, Response, abort, render_template, request

from gsi.delegation import parse_delegation_request
from gsi.errors import ConflictError, GridError, NotFoundError, RefusedError
from gsi.sql.columns import time_of
from gsi.system.audit import Verdict
from myproxy.auth.base import ThrottledError
from myproxy.auth.throttle import network_of
from myproxy.portal.guard import address, current, machine
from myproxy.portal.store import TERMINALS
from myproxy.portal.views import LIFETIMES, FormError, attempt, away, field, notice, read_lifetime, too_many

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.engine import Connection
    from werkzeug.wrappers import Response as AnyResponse

    from gsi.sql.engine import Database
    from myproxy.portal.guard import Portal

__all__ = ["PATH", "Terminals", "Waiting", "make_pages", "show_key"]

PATH: Final = "/terminal/v1"
CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, so no words
CODE_LENGTH: Final = 8
WAIT: Final = timedelta(minutes=10)
INTERVAL: Final = timedelta(seconds=2)
"""How often a terminal asks, if nothing else is configured."""
MAX_REQUEST_DER: Final = 8 << 10
MAX_PER_NETWORK: Final = 20
"""Terminals of one network (/24, /64) that wait at once."""
MAX_WAITING: Final = 2000
"""All that wait: strangers can begin as many as they like otherwise. Beyond, the oldest of the network with the most
gives way, so that nobody is kept out by others."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A terminal that waits for a proxy.

    Attributes:
        device: The hash of what the terminal asks by.
        request_der: Its certificate request.
        address: Where it asked from.
        begun: When.
    """

    device: str
    request_der: bytes
    address: str
    begun: datetime


class Terminals:
    """Terminals that wait, for all workers. Codes are kept as hashes."""

    def __init__(self, database: Database, *, interval: timedelta = INTERVAL) -> None:
        """Use a database.

        Args:
            database: Where they are kept.
            interval: How often a terminal is to ask, in whole seconds; one that asks more often is told to slow down.
        """
        self._database = database
        self._interval = int(interval.total_seconds())

    def begin(self, request_der: bytes, source: str, *, now: datetime) -> tuple[str, str]:
        """Let a terminal wait; return what it asks by, and the code for the user.

        Raises:
            ConflictError: Too many of this network wait.
            StorageError: The store cannot be written.
        """
        device = secrets.token_urlsafe(32)
        code = "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
        moment, table = int(now.timestamp()), TERMINALS.c
        values = {
            "device": _hash(device),
            "code": _hash(code),
            "request": request_der,
            "address": source,
            "begun": moment,
            "ends": moment + int(WAIT.total_seconds()),
            "polled": 0,
            "state": "waiting",
            "username": "",
            "chain": b"",
        }

        def insert(connection: Connection, again: bool) -> None:
            gone = table.ends <= moment
            connection.execute(
                sa.delete(TERMINALS).where(sa.or_(gone, table.device == values["device"]) if again else gone)
            )
            self._make_room(connection, network_of(source))
            connection.execute(sa.insert(TERMINALS).values(values))

        self._database.writing(insert, durable=False)
        return device, code

    def _make_room(self, connection: Connection, network: str) -> None:
        """Let the oldest of the largest network go, where all places are taken.

        Raises:
            ConflictError: Too many of this network wait.
        """
        table = TERMINALS.c
        query = sa.select(table.device, table.address, table.begun, table.state).order_by(table.begun, table.device)
        rows = connection.execute(query).all()
        networks = {address: network_of(address) for address in {row.address for row in rows}}
        counts = Counter(networks[row.address] for row in rows)
        if counts[network] >= MAX_PER_NETWORK:
            raise ConflictError("too many terminals of this network wait")
        if len(rows) < MAX_WAITING:
            return
        largest = max(counts.values())
        candidates = [row for row in rows if counts[networks[row.address]] == largest]
        oldest = next((row for row in candidates if row.state == "waiting"), candidates[0])
        connection.execute(sa.delete(TERMINALS).where(table.device == oldest.device))

    def find(self, code: str, *, now: datetime) -> Waiting | None:
        """Return the terminal that shows a code and still waits."""
        table = TERMINALS.c
        query = sa.select(TERMINALS).where(
            table.code == _hash(code), table.state == "waiting", table.ends > int(now.timestamp())
        )
        row = self._database.reading(lambda connection: connection.execute(query).mappings().first())
        if row is None:
            return None
        return Waiting(row["device"], bytes(row["request"]), row["address"], time_of(row["begun"]))

    def claim(self, device: str, username: str, *, now: datetime) -> None:
        """Take it upon oneself to settle a terminal that waits; nobody else can then.

        Raises:
            NotFoundError: It does not wait any more, or somebody else was faster.
            StorageError: The store cannot be written.
        """
        token = f"claimed by {secrets.token_hex(16)}".encode()  # told from a claim of somebody else's when asked again
        self._move(device, "waiting", {"state": "claimed", "username": username, "chain": token}, now=now)

    def settle(self, device: str, username: str, chain: bytes | None, *, now: datetime) -> None:
        """Give a terminal that was claimed its certificates, or None: nothing.

        Raises:
            NotFoundError: It does not wait any more.
            StorageError: The store cannot be written.
        """
        values = {"state": "refused" if chain is None else "granted", "username": username, "chain": chain or b""}
        self._move(device, "claimed", values, now=now)

    def _move(self, device: str, state: str, values: Mapping[str, str | bytes], *, now: datetime) -> None:
        table = TERMINALS.c
        waits = sa.and_(table.device == device, table.ends > int(now.timestamp()), table.state == state)
        change = sa.update(TERMINALS).where(waits).values(values)
        done = sa.and_(table.device == device, *(table[name] == value for name, value in values.items()))

        def settle(connection: Connection, again: bool) -> bool:
            if connection.execute(change).rowcount:
                return True
            return again and connection.execute(sa.select(table.device).where(done)).first() is not None

        if not self._database.writing(settle):
            raise NotFoundError("the terminal does not wait any more")

    def take(self, device: str, *, now: datetime) -> tuple[str, bytes]:
        """Return how it stands, and the certificates, which are given once."""
        table, key, moment = TERMINALS.c, _hash(device), int(now.timestamp())
        query = sa.select(TERMINALS).where(table.device == key).with_for_update()  # two cannot both be given it
        given: list[tuple[str, bytes]] = []

        def look(connection: Connection, again: bool) -> tuple[str, bytes]:
            row = connection.execute(query).mappings().first()
            if row is None or row["ends"] <= moment:
                return given[0] if again and given and row is None else ("over", b"")
            if row["state"] in {"waiting", "claimed"}:
                too_fast = moment - row["polled"] < self._interval - 1
                connection.execute(sa.update(TERMINALS).where(table.device == key).values(polled=moment))
                return ("slow_down" if too_fast else "waiting"), b""
            connection.execute(sa.delete(TERMINALS).where(table.device == key))
            given[:] = [("granted", bytes(row["chain"])) if row["state"] == "granted" else ("refused", b"")]
            return given[0]

        return self._database.writing(look, durable=False)


def show_key(spki_der: bytes) -> str:
    """Return the part of a key's SHA-256 that people compare: 64 bits in four groups."""
    text = hashlib.sha256(spki_der).hexdigest()[:16].upper()
    return " ".join(text[at : at + 4] for at in range(0, 16, 4))


def make_pages(portal: Portal) -> Blueprint:
    """Return the page, and what terminals ask."""
    pages = Blueprint("terminals", __name__)
    interval = portal.config.logon.terminal_interval
    terminals = Terminals(portal.store.database, interval=interval)

    @pages.post(f"{PATH}/start")
    @machine
    def start() -> Response:
        try:
            request_der = base64.b64decode(_text("request"), validate=True)
            if len(request_der) > MAX_REQUEST_DER:
                return _answer({"error": "invalid_request", "error_description": "the request is too long"}, 400)
            wanted = parse_delegation_request(request_der)
        except (binascii.Error, ValueError, GridError) as error:
            said = error.message if isinstance(error, GridError) else "no base64"
            return _answer({"error": "invalid_request", "error_description": said}, 400)
        try:
            device, code = terminals.begin(request_der, address(), now=portal.clock())
        except ConflictError:
            return _answer({"error": "temporarily_unavailable"}, 429)
        shown = f"{code[:4]}-{code[4:]}"
        place = f"https://{portal.config.names[0]}/terminal"
        return _answer(
            {
                "device_code": device,
                "user_code": shown,
                "verification_uri": place,
                "verification_uri_complete": f"{place}?code={shown}",
                "expires_in": int(WAIT.total_seconds()),
                "interval": int(interval.total_seconds()),
                "key": show_key(wanted.spki_der),
            }
        )

    @pages.post(f"{PATH}/take")
    @machine
    def take() -> Response:
        state, chain = terminals.take(_text("device_code"), now=portal.clock())
        if state != "granted":
            return _answer({"state": state})
        return _answer({"state": state, "certificates": chain.decode("ascii")})

    def find() -> Waiting | None:
        code = _plain(request.values.get("code", ""))
        if not code:
            return None
        session = current()

        def look() -> Waiting:
            found = terminals.find(code, now=portal.clock())
            if found is None:
                raise RefusedError("There is no terminal that waits with this code. Codes are good for ten minutes.")
            return found

        try:
            return portal.limits.judge(f"terminal of {session.username}", address(), look)
        except ThrottledError as error:
            raise too_many(error, "wrong codes") from error

    def show(error: FormError | None, waiting: Waiting | None = None) -> str:
        session = current()
        return render_template(
            "terminal.html",
            error=error,
            notice=notice(),
            waiting=waiting,
            key=None if waiting is None else show_key(parse_delegation_request(waiting.request_der).spki_der),
            code=request.values.get("code", "")[:20],
            left=session.proxy.not_after - portal.clock(),
            short=[
                (hours, span) for hours, span in LIFETIMES.items() if span < session.proxy.not_after - portal.clock()
            ],
        )

    @pages.get("/terminal")
    def terminal() -> AnyResponse:
        return attempt(show, lambda: Response(show(None, find()), mimetype="text/html"))

    @pages.post("/terminal")
    def confirm() -> AnyResponse:
        session = current()

        def act() -> AnyResponse:
            waiting = find()
            if waiting is None:
                raise FormError("Type the code that the terminal shows.")
            now = portal.clock()
            is_yes = field("answer") == "yes"
            lifetime = read_lifetime(field("hours")) if is_yes else timedelta(0)
            chain = portal.desk.sign_for(session.proxy, waiting.request_der, lifetime) if is_yes else ()
            try:
                terminals.claim(waiting.device, session.username, now=now)
            except NotFoundError as error:
                raise FormError("That terminal was answered already, or waits no longer.", 409) from error
            if not is_yes:
                terminals.settle(waiting.device, session.username, None, now=now)
                portal.note("TERMINAL", Verdict.DENY, session.username, identity=session.identity, reason="by the user")
                return away("terminals.terminal", notice="refused")
            portal.note(
                "TERMINAL",
                Verdict.PERMIT,
                session.username,
                identity=session.identity,
                detail=f"terminal at {waiting.address}, until {chain[0].not_after:%Y-%m-%d %H:%M}",
            )
            pem = b"".join(certificate.pem() for certificate in chain)
            terminals.settle(waiting.device, session.username, pem, now=now)
            return away("terminals.terminal", notice="delivered")

        return attempt(show, act)

    return pages


def _text(name: str) -> str:
    """Return a text of the JSON that a terminal sends, empty when there is none; 415 where it says it is none."""
    if request.mimetype != "application/json":
        abort(415, "Send application/json.")
    content = request.get_json(silent=True)
    value = content.get(name) if isinstance(content, dict) else None
    return value if isinstance(value, str) else ""


def _answer(content: dict[str, object], status: int = 200) -> Response:
    return Response(json.dumps(content) + "\n", status, mimetype="application/json")


def _plain(code: str) -> str:
    return "".join(letter for letter in code.upper() if letter in CODE_LETTERS)[: CODE_LENGTH + 1]


def _hash(text: str) -> str:
    return hmac.digest(b"myproxy portal terminal", text.encode("utf-8", "replace"), "sha256").hex()
