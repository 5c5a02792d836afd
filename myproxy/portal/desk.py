"""What the portal asks of the MyProxy server, and what it makes of a user's proxy; no HTTP, no sessions.

    desk = Desk(address, trust.anchors, clock=now)
    proxy = desk.log_on("alice", passphrase, code="123456", lifetime=timedelta(hours=12))
    desk.look(proxy, "alice"), desk.destroy(proxy, "alice", None)
    desk.make_proxy(proxy, lifetime)             # below it, with a new key
    desk.sign_for(proxy, request_der, lifetime)  # below it, for a key that is elsewhere

With the proxy the portal is the owner of what the user stored. What the server refuses is a `RefusedError` with its
words; nothing here is secret to a log, as pass phrases are `Passphrase` and credentials hide their keys.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi import der
from gsi.credential import MAX_CREDENTIAL_BYTES, Credential, parse_credential, parse_pkcs12
from gsi.delegation import DelegationRequester, grant_delegation, parse_delegation_request
from gsi.errors import (
    CredentialError,
    CredentialProblem,
    GridError,
    RefusedError,
    TransportError,
    VerificationError,
)
from gsi.keylocks import kdf_cost
from gsi.keys import generate_key
from gsi.names import oneline
from gsi.pem import split_pem
from gsi.proxy.chain import ProxyChain
from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyKind
from gsi.secret import Passphrase
from myproxy.auth.base import ThrottledError
from myproxy.auth.throttle import network_of
from myproxy.client import MyProxyClient, ServerAddress
from myproxy.portal.gate import Gate
from myproxy.protocol.messages import Account, Command, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from gsi.certificate import Certificate
    from gsi.keys import PrivateKey
    from gsi.trust.anchors import TrustAnchors
    from myproxy.protocol.messages import Happening

__all__ = [
    "AccountView",
    "CredentialView",
    "Desk",
    "Identity",
    "identify",
    "plain_address",
    "read_upload",
    "told_apart",
    "view",
]

MAX_ROUNDS: Final = 1_000_000
"""Of key derivation, to open a file that somebody has sent: a quarter of a second. OWASP asks for 600,000."""
NOTHING_STORED: Final = "no credentials found for user"
"""How a server begins to say that a user has stored nothing."""
_WAIT: Final = re.compile(r"too many wrong pass phrases .*; try again in ([0-9]{1,6}) seconds")
_NO_FRONT_END: Final = "trusted_front_ends policy"
_HERE: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a credential speaks for.

    Attributes:
        subject: The end entity's name, one-line form.
        issuer: The name of the authority that vouches for it.
        not_before: When the credential begins.
        not_after: When it ends.
        is_limited: Whether it, or one above it, is a limited proxy.
    """

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    is_limited: bool


@dataclass(frozen=True, slots=True)
class CredentialView:
    """A stored credential as its owner sees it.

    Attributes:
        name: Its name, None for the unnamed one.
        description: Free text, or None.
        owner: The owner's name, one-line form.
        begins: When it begins.
        ends: When it ends.
        lock_message: Why it is locked, or None.
        renewer: Who may renew from it, or None.
        last_use: When a proxy or the key was last handed out; None where the server does not say.
    """

    name: str | None
    description: str | None
    owner: str
    begins: datetime
    ends: datetime
    lock_message: str | None
    renewer: str | None
    last_use: Happening | None = None


@dataclass(frozen=True, slots=True)
class AccountView:
    """What the server tells a user.

    Attributes:
        credentials: What is stored, the unnamed one first.
        history: What happened to it, the newest first; None where the server does not say.
    """

    credentials: tuple[CredentialView, ...] = ()
    history: tuple[Happening, ...] | None = None


def view(account: Account) -> AccountView:
    """Return what a server has told as its user sees it."""
    return AccountView(
        tuple(
            CredentialView(
                one.name,
                one.description,
                one.owner,
                one.start_time,
                one.end_time,
                one.lock_message,
                one.renewer,
                one.last_use,
            )
            for one in account.credentials
        ),
        account.history,
    )


def identify(credential: Credential) -> Identity:
    """Return who a credential speaks for.

    Raises:
        VerificationError: Its chain is not one of proxies below an end entity.
    """
    chain = ProxyChain.split(credential.certificates)
    return Identity(
        chain.identity_text,
        oneline(chain.identity_certificate.issuer_der),
        credential.not_before,
        chain.not_after,
        chain.is_limited,
    )


def read_upload(data: bytes, passphrase: Passphrase, *, now: datetime) -> Credential:
    """Return the credential in a file that a user has sent: PKCS#12, or PEM with certificate and key.

    Args:
        data: The file.
        passphrase: What opens its key; empty where it is not locked.
        now: The time.

    Raises:
        ParseError: It is no such file.
        CredentialError: The pass phrase does not open it, the key does not fit or is weak, or it is over.
    """
    if len(data) > MAX_CREDENTIAL_BYTES:
        raise CredentialError("the file is too long for a credential", problem=CredentialProblem.UNSUPPORTED_KEY)
    given = passphrase or None
    if b"-----BEGIN " in data:
        for block in split_pem(data, what="the file"):
            if block.label == "ENCRYPTED PRIVATE KEY":
                _check_rounds(block.data)
        credential = parse_credential(data, passphrase=given, source="the file")
    else:
        credential = parse_pkcs12(data, passphrase, source="the file", max_rounds=MAX_ROUNDS)
    if credential.not_after <= now:
        raise CredentialError(
            f"the certificate in the file ended on {credential.not_after:%d %B %Y}", problem=CredentialProblem.EXPIRED
        )
    return credential


def _check_rounds(locked_key: bytes) -> None:
    cost = kdf_cost(der.parse_one(locked_key, what="the file").take_raw(der.SEQUENCE))
    if cost > MAX_ROUNDS:
        raise CredentialError(
            f"opening its key takes {cost} rounds of key derivation, limit {MAX_ROUNDS}",
            problem=CredentialProblem.UNSUPPORTED_KEY,
            hint="write it anew with a usual number: openssl pkcs8 -topk8",
        )


def told_apart(error: RefusedError) -> GridError:
    """Return what a server's refusal is, where it is not a no to what was asked.

    A try that was not judged is no wrong pass phrase (`ThrottledError`), and a server that does not take the portal for
    a front end cannot be asked (`TransportError`); all else stays what it is.
    """
    found = _WAIT.search(error.message)
    if found is not None:
        return ThrottledError(f"the server judges no tries for {found[1]} seconds", seconds=float(found[1]))
    if _NO_FRONT_END in error.message:
        return TransportError(
            "the MyProxy server does not take the portal for a front end",
            hint="name the subject of [own] certificate in the server's trusted_front_ends",
        )
    return error


class Desk:
    """Asks one server. Safe for use by several threads: each question is a connection of its own."""

    def __init__(
        self,
        address: ServerAddress,
        anchors: Callable[[], TrustAnchors],
        *,
        clock: Callable[[], datetime],
        make_key: Callable[[], PrivateKey] = generate_key,
        front_end: Credential | None = None,
        slots: int = 8,
    ) -> None:
        """Know the server.

        Args:
            address: Where it is.
            anchors: Whom to trust, now.
            clock: The time.
            make_key: Gives new keys. They are RSA keys, since some C programs cannot sign below others.
            front_end: The portal's credential, where the server takes its word for where users are; None where it does
                not, and users are strangers from the portal's own address.
            slots: How many questions may be open at once.
        """
        self._address = address
        self._anchors = anchors
        self._clock = clock
        self._make_key = make_key
        self._front_end = front_end
        self._gate = Gate("the MyProxy server", slots=slots)

    @property
    def anchors(self) -> Callable[[], TrustAnchors]:
        """What returns the CAs that servers are known by."""
        return self._anchors

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
        """Receive a proxy as a stranger who knows the pass phrase, or in the portal's own name.

        Args:
            username: Whose.
            passphrase: Without the code.
            code: The one-time code, or nothing.
            lifetime: At most so long; zero leaves it to the server.
            name: Which of the user's credentials.
            own: The portal's credential, where the server trusts it to know the user; None is a stranger.
            source: Where the user is.

        Raises:
            RefusedError: The server says no.
            ThrottledError: It has not judged the try.
            LocalProtocolError: What was typed cannot travel.
            TransportError: No connection, or the server is not trusted.
        """
        given = Passphrase(passphrase.reveal() + code.encode("utf-8")) if code else passphrase
        client, user_at = own, None
        if own is None and self._front_end is not None:
            client, user_at = self._front_end, plain_address(source)
        request = Request(Command.GET, username, given, lifetime=lifetime, credential_name=name, on_behalf_of=user_at)
        key = self._make_key()
        with self._asking(network_of(source)):
            return self._client(client).get(request, key)

    def look(self, proxy: Credential, username: str) -> tuple[CredentialView, ...]:
        """Return what the user has stored, the unnamed one first; raises as `account`."""
        return self._tell(proxy, username, history=False).credentials

    def account(self, proxy: Credential, username: str) -> AccountView:
        """Return what the user has stored, and what happened to it.

        Raises:
            RefusedError: The server says no; having nothing is no refusal.
            TransportError: No connection, or the server is not trusted.
        """
        return self._tell(proxy, username, history=True)

    def _tell(self, proxy: Credential, username: str, *, history: bool) -> AccountView:
        try:
            with self._asking(username):
                client = self._client(proxy)
                return view(client.account(username) if history else Account(client.info(username)))
        except RefusedError as error:
            if NOTHING_STORED in error.message:
                return AccountView()
            raise

    def destroy(self, proxy: Credential, username: str, name: str | None) -> None:
        """Remove a stored credential.

        Raises:
            RefusedError: The server says no.
            TransportError: No connection, or the server is not trusted.
        """
        with self._asking(username):
            self._client(proxy).destroy(username, name)

    def change_passphrase(
        self, proxy: Credential, username: str, name: str | None, old: Passphrase, new: Passphrase
    ) -> None:
        """Seal a stored key under another pass phrase.

        Raises:
            RefusedError: The server says no.
            ThrottledError: It has not judged the former pass phrase.
            LocalProtocolError: A pass phrase cannot travel.
            TransportError: No connection, or the server is not trusted.
        """
        request = Request(Command.CHANGE_PASSPHRASE, username, old, new_passphrase=new, credential_name=name)
        with self._asking(username):
            self._client(proxy).change_passphrase(request)

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
        """Store a proxy below a user's own credential: the server makes the key, which is never seen here.

        Args:
            credential: The user's, which is also who asks.
            username: Under which account.
            passphrase: What the server is to seal its key with.
            lifetime: Of what is stored; cut to the credential's own.
            name: Its name; None is the unnamed one.
            description: Free text.

        Raises:
            RefusedError: The server says no.
            CredentialError: The credential cannot sign.
            TransportError: No connection, or the server is not trusted.
        """
        request = Request(
            Command.PUT,
            username,
            passphrase,
            credential_name=name,
            description=description,
        )
        with self._asking(username):
            self._client(credential).put(request, credential, ProxyOptions(lifetime=lifetime))

    def keep(
        self,
        credential: Credential,
        username: str,
        passphrase: Passphrase,
        *,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        """Store a user's own credential with its key, locked with the pass phrase before it leaves.

        Raises:
            RefusedError: The server says no.
            CredentialError: The key cannot be locked.
            TransportError: No connection, or the server is not trusted.
        """
        request = Request(Command.STORE, username, credential_name=name, description=description)
        text = credential.encode(passphrase=passphrase)
        with self._asking(username):
            self._client(credential).store(request, text)

    def make_proxy(self, proxy: Credential, lifetime: timedelta, *, limited: bool = False) -> Credential:
        """Make a proxy with a new key below the user's proxy.

        Raises:
            CredentialError: It is over.
        """
        requester = DelegationRequester(self._make_key())
        options = ProxyOptions(lifetime=lifetime, kind=ProxyKind.LIMITED if limited else None)
        now = self._clock()
        chain = grant_delegation(proxy, parse_delegation_request(requester.request_der), options, now=now)
        return requester.accept([one.der for one in chain], now=now)

    def sign_for(
        self, proxy: Credential, request_der: bytes, lifetime: timedelta, *, limited: bool = False
    ) -> tuple[Certificate, ...]:
        """Make a proxy below the user's for a key that is elsewhere; the new certificate comes first.

        Raises:
            ParseError: It is no certificate request.
            CredentialError: The proxy is over, or the key too weak.
            VerificationError: The request is not signed with its key.
        """
        wanted = parse_delegation_request(request_der)
        options = ProxyOptions(lifetime=lifetime, kind=ProxyKind.LIMITED if limited else None)
        return tuple(grant_delegation(proxy, wanted, options, now=self._clock()))

    @contextlib.contextmanager
    def _asking(self, asker: str) -> Iterator[None]:
        """Ask a question, if not too many are open."""
        with self._gate.take(asker):
            try:
                yield
            except RefusedError as error:
                other = told_apart(error)
                if other is error:
                    raise
                raise other from error
            except VerificationError as error:  # it is the server's, not the user's: for the log, not for a form
                raise TransportError(f"the MyProxy server is not trusted: {error.message}") from error

    def _client(self, credential: Credential | None = None) -> MyProxyClient:
        return MyProxyClient(self._address, self._anchors(), credential=credential, now=self._clock)


def plain_address(source: str) -> str:
    """Return an address as it travels; what is none has come from this machine."""
    try:
        return str(ipaddress.ip_address(source))
    except ValueError:
        return _HERE
