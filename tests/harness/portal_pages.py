"""The portal's pages without sockets: Flask's client, a real MyProxy service behind the desk, a clock that is set.

Workflow:
    with open_pages(ca, tmp_path) as pages:
        pages.store("alice", alice)
        pages.log_on("alice")
        pages.get("/fetch"), pages.post("/fetch", hours="4")
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gsi.credential import Credential
from gsi.delegation import DelegationRequester, grant_delegation, parse_delegation_request
from gsi.errors import AuthenticationError, DeniedError, RefusedError
from gsi.keys import KeyType, generate_key
from gsi.proxy.issue import ProxyOptions
from gsi.secret import Passphrase
from gsi.system.audit import AuditLog
from myproxy.client import ServerAddress
from myproxy.grants import Caller, RetrievalGrant
from myproxy.portal.app import Ways, create_app
from myproxy.portal.codes import Authenticators
from myproxy.portal.config import PortalConfig, StoreSettings
from myproxy.portal.desk import AccountView, Desk, plain_address, told_apart, view
from myproxy.portal.guard import FORM_COOKIE, SESSION_COOKIE, Portal, Session, current
from myproxy.portal.limits import Limits
from myproxy.portal.store import PortalStore, open_store
from myproxy.protocol.messages import Account, Command, Request
from tests.harness.ca import Issued, TestCA
from tests.harness.myproxy import SECRET, World, ask, make_world
from tests.harness.stores import lay_store

__all__ = ["NAME", "Pages", "ServiceDesk", "open_node", "open_pages"]

NAME = "portal.example.org"
_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """What a server refuses is told over the wire in one way."""
    try:
        yield
    except (AuthenticationError, DeniedError) as error:
        raise told_apart(RefusedError(f"ERROR from myproxy-server:\n{error.message}")) from error


class ServiceDesk(Desk):
    """The desk with the service in the place of the connection."""

    def __init__(self, world: World) -> None:
        super().__init__(
            ServerAddress.parse("localhost"),
            world.trust.anchors,
            clock=lambda: world.now,
            make_key=lambda: generate_key(KeyType.P256),
        )
        self.world = world
        self.front_end: Credential | None = None
        self.tells_history = True

    def _caller(self, credential: Credential | None) -> Caller:
        world = self.world
        peer = None if credential is None else world.verify(credential.certificates, now=world.now)
        return Caller(peer, "127.0.0.1", "c0ffee")

    def log_on(
        self,
        username: str,
        passphrase: Passphrase,
        *,
        code: str = "",
        lifetime: timedelta,
        name: str | None = None,
        own: Credential | None = None,
        source: str = "",
    ) -> Credential:
        given = Passphrase(passphrase.reveal() + code.encode())
        request = Request(Command.GET, username, given, lifetime=lifetime, credential_name=name)
        client = own
        if own is None and self.front_end is not None:
            client, request = self.front_end, dataclasses.replace(request, on_behalf_of=plain_address(source))
        with _refusing():
            grant = self.world.service.begin_get(self._caller(client), request)
            assert isinstance(grant, RetrievalGrant)
            requester = DelegationRequester(generate_key(KeyType.P256))
            chain = self.world.service.finish_get(grant, requester.request_der)
        return requester.accept([one.der for one in chain], now=self.world.now)

    def _tell(self, proxy: Credential, username: str, *, history: bool) -> AccountView:
        wanted = history and self.tells_history
        caller, request = self._caller(proxy), Request(Command.INFO, username, wants_history=wanted)
        self.world.history.flush()
        try:
            found = self.world.service.info(caller, request)
        except DeniedError:
            return AccountView()
        return view(Account(found, self.world.service.happenings(caller, request)))

    def destroy(self, proxy: Credential, username: str, name: str | None) -> None:
        with _refusing():
            self.world.service.destroy(self._caller(proxy), Request(Command.DESTROY, username, credential_name=name))

    def change_passphrase(
        self, proxy: Credential, username: str, name: str | None, old: Passphrase, new: Passphrase
    ) -> None:
        request = Request(Command.CHANGE_PASSPHRASE, username, old, new_passphrase=new, credential_name=name)
        with _refusing():
            self.world.service.change_passphrase(self._caller(proxy), request)

    def deposit(
        self,
        credential: Credential,
        username: str,
        passphrase: Passphrase,
        *,
        lifetime: timedelta,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        request = Request(Command.PUT, username, passphrase, credential_name=name, description=description)
        world = self.world
        with _refusing():
            grant = world.service.begin_put(self._caller(credential), request)
            wanted = parse_delegation_request(grant.requester.request_der)
            chain = grant_delegation(credential, wanted, ProxyOptions(lifetime=lifetime), now=world.now)
            world.service.finish_put(grant, [one.der for one in chain])


class Pages:
    """An application with one browser.

    Attributes:
        world: The MyProxy service.
        portal: What the pages work with.
        app: The application.
        client: Flask's client.
        address: Where the browser is.
    """

    def __init__(self, world: World, portal: Portal, app: Flask) -> None:
        self.world = world
        self.portal = portal
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.address = "192.0.2.7"

    @property
    def now(self) -> datetime:
        return self.world.now

    def pass_time(self, span: timedelta) -> None:
        self.world.now += span

    def store(self, username: str, issued: Issued, passphrase: str = SECRET, **more: Any) -> None:
        request = ask(Command.PUT, username=username, passphrase=Passphrase(passphrase), lifetime=timedelta(0))
        self.world.put(issued, dataclasses.replace(request, **more), options=ProxyOptions(lifetime=timedelta(days=7)))

    def open(self, method: str, path: str, **more: Any) -> TestResponse:
        headers = {"Host": NAME} | more.pop("headers", {})
        environ = {"REMOTE_ADDR": self.address}
        return self.client.open(
            path,
            method=method,
            base_url=f"https://{NAME}",
            headers=headers,
            environ_overrides=environ,
            buffered=True,
            **more,
        )

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.open("GET", path, headers=headers)

    def token(self, path: str = "/logon") -> str:
        """The form token of the browser."""
        found = _TOKEN.search(self.get(path).text)
        assert found is not None
        return found[1]

    def post(self, path: str, *, token: Any = None, headers: Any = None, **fields: Any) -> TestResponse:
        """Send a form with the browser's token."""
        if token is None:
            token = self.token("/activity" if self.cookie(SESSION_COOKIE) else "/logon")
        return self.open("POST", path, data={"form_token": token, **fields}, headers=headers or {})

    def log_on(self, username: str = "alice", passphrase: str = SECRET, **fields: Any) -> TestResponse:
        self.client.delete_cookie(SESSION_COOKIE, domain=NAME)
        return self.post("/logon", username=username, passphrase=passphrase, **fields)

    def cookie(self, name: str) -> str | None:
        found = self.client.get_cookie(name, domain=NAME)
        return None if found is None else found.value

    def forget(self) -> None:
        """Another browser."""
        for name in (SESSION_COOKIE, FORM_COOKIE):
            self.client.delete_cookie(name, domain=NAME)

    def session(self) -> Session:
        """Who is logged on."""
        environ = {"HTTP_COOKIE": f"{SESSION_COOKIE}={self.cookie(SESSION_COOKIE)}"}
        with self.app.test_request_context("/", base_url=f"https://{NAME}", environ_overrides=environ):
            assert self.app.preprocess_request() is None
            return current()

    def audit(self) -> str:
        return (Path(self.portal.config.store.directory) / "audit.log").read_text("ascii")


@contextlib.contextmanager
def open_pages(
    ca: TestCA, directory: Path, *, ways: Callable[[Path], Ways] | None = None, **settings: Any
) -> Iterator[Pages]:
    """An application on a new store.

    Args:
        ca: Whom the service trusts.
        directory: For all files.
        ways: Makes other ways to log on; is told the trust directory.
        settings: Of the configuration.
    """
    place = directory / "portal"
    config = PortalConfig(
        names=(NAME,), server="myproxy.example.org", store=StoreSettings(directory=str(place)), **settings
    )
    with (
        make_world(ca, directory) as world,
        open_node(world, config, ways=None if ways is None else ways(world.directory)) as pages,
    ):
        yield pages


def _open_alone(directory: str) -> PortalStore:
    return open_store(StoreSettings(directory=directory))


@contextlib.contextmanager
def open_node(
    world: World, config: PortalConfig, *, ways: Ways | None = None, authenticators: Authenticators | None = None
) -> Iterator[Pages]:
    """An application beside others, perhaps, that ask the same service.

    Args:
        world: The service.
        config: Says where the store is.
        ways: Other ways to log on.
        authenticators: Where the secrets of one-time codes are.
    """
    if not config.store.database:
        lay_store(_open_alone, Path(config.store.directory))
    store = open_store(config.store)

    def clock() -> datetime:
        return world.now

    audit = AuditLog(f"{config.store.directory}/audit.log")
    portal = Portal(
        config,
        ServiceDesk(world),
        store,
        Limits(store.guesses, free_tries=config.logon.free_tries, clock=clock),
        audit,
        clock,
        audit.close,
    )
    app = create_app(portal, authenticators, ways)
    app.testing = True
    try:
        yield Pages(world, portal, app)
    finally:
        portal.close()
