"""A certificate for a Kerberos ticket: find the service, ask it, check what comes; stores nothing.

    obtained = obtain(Wish(hosts=("kca.example.org",)))
    obtained.credential                                   # key, certificate, chain

The key is made here and never travels. It is an EC key in a PKCS#10 request where the service takes that (ours,
Heimdal 8), and an RSA key of 2048 bits for the others (Michigan's, Heimdal 7), which either refuse a PKCS#10 or say
nothing to it; `form` spares the attempt. Blocking, for commands.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import keys
from gsi.credential import Credential, order_chain
from gsi.errors import (
    ConfigError,
    CredentialError,
    CredentialProblem,
    GridError,
    RemoteProtocolError,
    TransportError,
)
from gsi.kerberos.initiate import initiate
from gsi.kerberos.libkrb5 import KerberosError
from gsi.keys import KeyType
from gsi.request import make_request
from kca.discovery import discover, wants_raw_keys
from kca.protocol.client import ClientSession, csr_plus, rsa_key
from kca.protocol.messages import ErrorCode, RefusedByKCAError
from kca.sending import SilenceError, addresses, exchange

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.kerberos.initiate import Initiation
    from gsi.kerberos.ticket import Principal
    from kca.discovery import Endpoint

__all__ = ["SERVICE", "KeyForm", "Obtained", "Wish", "obtain", "probe"]

SERVICE: Final = "kca_service"
"""The first component of the authority's principal."""
TIMEOUT: Final = 10.0
"""Seconds for one service: Michigan's client waits 30, without ever sending again."""
LEAST_SECONDS: Final = 0.5
"""For the last form of the key, however much of the time the one before has taken."""
_EMPTY_NAME: Final = b"\x30\x00"
_TRY_NEXT: Final = frozenset({ErrorCode.SERVER_BAD, ErrorCode.SERVER_TEMPORARY})
_OLD_FORM_AFTER: Final = frozenset({ErrorCode.CLIENT_BAD, ErrorCode.CLIENT_FIX, ErrorCode.SERVER_TEMPORARY})
"""What Michigan's service may say to a key that it cannot read."""
_SILENCE: Final = (
    "likely causes: the service wants an initial ticket (kinit -S {service}/{host}), knows itself by another name "
    "than {host}, takes RSA keys only (-form rsa), or does not speak kx509 at all"
)
_CLOSED: Final = f"{_SILENCE}; ours also closes when too many requests came from this address: then try again"


class KeyForm(StrEnum):
    """How the key is sent."""

    AUTO = "auto"
    """As `CSR`; as `RSA` where that is not understood."""
    CSR = "csr"
    """In a PKCS#10 request."""
    RSA = "rsa"
    """An RSA key, bare."""


class Wish(NamedTuple):
    """What is wanted.

    Attributes:
        hosts: Services to ask, `host[:port]`; none looks for them (`kca.discovery`).
        realm: The realm of the service; None is the one of the tickets.
        service: The principal to ask a ticket for; None is `kca_service/<host>`.
        ccache: The credential cache; None is the default one.
        form: How the key is sent.
        key_type: What key to make; None is P-256 in a PKCS#10 and RSA else.
        key_bits: The size of an RSA key.
        key: A key that is there; None makes one.
        request_der: A PKCS#10 that is there, for a key somewhere else; nothing else is sent then.
        timeout: Seconds for one service, for all forms of the key together.
        udp: Whether UDP may be used.
        tcp: Whether TCP may be used.
        kdcs: Whether KDCs may be asked at last.
    """

    hosts: tuple[str, ...] = ()
    realm: str | None = None
    service: str | None = None
    ccache: str | None = None
    form: KeyForm = KeyForm.AUTO
    key_type: KeyType | None = None
    key_bits: int = 2048
    key: keys.PrivateKey | None = None
    request_der: bytes | None = None
    timeout: float = TIMEOUT
    udp: bool = True
    tcp: bool = True
    kdcs: bool = True


class Obtained(NamedTuple):
    """What came.

    Attributes:
        key: The private key; None for a request whose key is somewhere else.
        chain: The certificates, leaf first.
        client: Whose ticket it was.
        server: The service's principal.
        endpoint: Who has answered.
    """

    key: keys.PrivateKey | None
    chain: tuple[Certificate, ...]
    client: Principal
    server: Principal
    endpoint: Endpoint

    @property
    def credential(self) -> Credential:
        """Key, certificate and chain; roots that came with it are left out.

        Raises:
            CredentialError: KEY_MISSING: the key is somewhere else.
        """
        if self.key is None:
            raise CredentialError("the key is not here", problem=CredentialProblem.KEY_MISSING)
        return Credential(self.key, self.chain[0], order_chain(self.chain[0], self.chain[1:]))


class _Keys:
    """The keys of one run, each made once."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._made: dict[KeyType, keys.PrivateKey] = {}

    def make(self, form: KeyForm) -> tuple[keys.PrivateKey | None, bytes, bytes]:
        """Return (key, what is sent, the public key that the certificate must be for)."""
        wish = self._wish
        if wish.request_der is not None:
            from gsi.ca.request import parse_request

            return None, csr_plus(wish.request_der), parse_request(wish.request_der).spki_der
        key = wish.key or self._of_type(form)
        public = keys.spki_der(key)
        if form is KeyForm.RSA:
            return key, rsa_key(public), public
        return key, csr_plus(make_request(key, _EMPTY_NAME)), public

    def _of_type(self, form: KeyForm) -> keys.PrivateKey:
        kind = self._wish.key_type or (KeyType.RSA if form is KeyForm.RSA else KeyType.P256)
        if form is KeyForm.RSA and kind is not KeyType.RSA:
            raise ConfigError("a bare key can only be an RSA key")
        if kind not in self._made:
            self._made[kind] = keys.generate_key(kind, bits=self._wish.key_bits)
        return self._made[kind]


def obtain(wish: Wish, *, now: datetime, tell: Callable[[str], None] = lambda _text: None, realm: str) -> Obtained:
    """Return a certificate with its key.

    Args:
        wish: What is wanted.
        now: The present time, aware UTC; what has come must be valid.
        tell: Hears of each step, for people who want to know.
        realm: The realm of the service, for finding it.

    Raises:
        RefusedByKCAError: The service said no.
        CredentialError: No tickets, or they have expired.
        KerberosError: No ticket for any of the services.
        TransportError: No service has answered; every attempt is in the message.
        ConfigError: There is no service known, or Kerberos cannot be set up.
    """
    made = _Keys(wish)
    forms = _forms(wish, realm)
    last: list[tuple[Endpoint, GridError]] = []
    for endpoint in discover(realm, wish.hosts, kdcs=wish.kdcs):
        deadline = time.monotonic() + wish.timeout
        for form in forms:
            left = max(deadline - time.monotonic(), LEAST_SECONDS)
            here = wish._replace(timeout=left if form is forms[-1] else left / 2)
            tell(f"asking {endpoint} ({endpoint.source}), key as {form.value}")
            try:
                return _ask(here, endpoint, made, form, now)
            except (RefusedByKCAError, TransportError, KerberosError, RemoteProtocolError) as error:
                last.append((endpoint, error))
                tell(error.message)
                if form is not forms[-1] and _blames_form(error):
                    continue
                if isinstance(error, RefusedByKCAError) and error.authenticated and error.code not in _TRY_NEXT:
                    raise
                break
    raise _summary(last)


def probe(wish: Wish, *, realm: str) -> Endpoint:
    """Return the first service that would issue a certificate; only ours and Heimdal 8's can be asked this.

    Raises:
        GridError: As `obtain`.
    """
    last: list[tuple[Endpoint, GridError]] = []
    for endpoint in discover(realm, wish.hosts, kdcs=wish.kdcs):
        try:
            initiation = _initiate(wish, endpoint, KeyForm.CSR)
            session = ClientSession(initiation.ap_req, initiation.session_key)
            _send(wish, endpoint, session.probe(), session)
        except (RefusedByKCAError, TransportError, KerberosError, RemoteProtocolError) as error:
            last.append((endpoint, error))
        else:
            return endpoint
    raise _summary(last)


def _blames_form(error: GridError) -> bool:
    """Say whether an old service may have meant the form of the key."""
    if isinstance(error, RefusedByKCAError):
        return error.code in _OLD_FORM_AFTER
    return isinstance(error, SilenceError)


def _forms(wish: Wish, realm: str) -> list[KeyForm]:
    if wish.form is not KeyForm.AUTO:
        return [wish.form]
    if wish.request_der is not None:
        return [KeyForm.CSR]
    can_be_rsa = keys.is_rsa(wish.key) if wish.key is not None else wish.key_type in {None, KeyType.RSA}
    if can_be_rsa and wants_raw_keys(realm):
        return [KeyForm.RSA]
    return [KeyForm.CSR, KeyForm.RSA] if can_be_rsa else [KeyForm.CSR]


def _ask(wish: Wish, endpoint: Endpoint, made: _Keys, form: KeyForm, now: datetime) -> Obtained:
    initiation = _initiate(wish, endpoint, form)
    key, sent, public = made.make(form)
    session = ClientSession(initiation.ap_req, initiation.session_key)
    chain = _send(wish, endpoint, session.ask(sent), session)
    _check(chain, public, now)
    return Obtained(key, chain, initiation.client, initiation.server, endpoint)


def _initiate(wish: Wish, endpoint: Endpoint, form: KeyForm) -> Initiation:
    # As Michigan's clients for a bare key, as Heimdal's else: so services that tell them apart tell us, too.
    mutual, subkey = form is KeyForm.RSA, form is not KeyForm.RSA
    if wish.service is not None:
        return initiate(wish.service, ccache=wish.ccache, mutual=mutual, subkey=subkey)
    return initiate(SERVICE, endpoint.service_host, realm=wish.realm, ccache=wish.ccache, mutual=mutual, subkey=subkey)


def _send(wish: Wish, endpoint: Endpoint, message: bytes, session: ClientSession) -> tuple[Certificate, ...]:
    try:
        return exchange(
            addresses(endpoint.host, endpoint.port),
            message,
            session.receive,
            timeout=wish.timeout,
            udp=wish.udp and endpoint.udp,
            tcp=wish.tcp and endpoint.tcp,
        )
    except SilenceError as error:
        hint = (_CLOSED if error.closed else _SILENCE).format(service=SERVICE, host=endpoint.service_host)
        raise SilenceError(error.message, closed=error.closed, hint=hint) from error


def _check(chain: tuple[Certificate, ...], public: bytes, now: datetime) -> None:
    """Insist that the certificate is for our key, and can be used now.

    Raises:
        RemoteProtocolError: It is not.
    """
    leaf = chain[0]
    if keys.spki_der(keys.parse_public_key(leaf.spki_der)) != public:
        raise RemoteProtocolError("the certificate that came is for another key")
    if leaf.not_after <= now:
        raise RemoteProtocolError("the certificate that came has expired already", hint="check this machine's clock")


def _summary(last: list[tuple[Endpoint, GridError]]) -> GridError:
    """Return the one error to show: the only one as it is, of several the most telling with all in its message."""
    if len({id(error) for _, error in last}) == 1 or len(last) == 1:
        return last[0][1]
    refused = [error for _, error in last if isinstance(error, RefusedByKCAError)]
    if refused:
        return max(refused, key=lambda error: error.authenticated)
    silent = [error for _, error in last if isinstance(error, SilenceError)]
    told = "; ".join(dict.fromkeys(f"{endpoint}: {error.message}" for endpoint, error in last))
    hint = silent[0].hint if silent else last[-1][1].hint
    return TransportError(f"no certificate from any service ({told})", hint=hint)
