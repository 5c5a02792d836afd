"""Clients: an AP-REQ for a service from the tickets of a credential cache, with the key that only the service shares.

    made = initiate("kca_service", "kca.example.org")
    made.ap_req, made.session_key, made.client

The raw message of RFC 4120 s.5.5.1, not a token of GSS-API. Where the cache has no ticket for the service yet, libkrb5
gets one with the ticket granting ticket; a ticket that `kinit -S` has put there is used as it is.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import AuthenticationError, CredentialError, CredentialProblem
from gsi.kerberos.ccache import open_cache
from gsi.kerberos.libkrb5 import (
    CACHE_MISSING,
    CACHE_NOT_FOUND,
    KDC_UNREACH,
    UNKNOWN_SERVICE,
    Context,
    Credentials,
    Data,
    KerberosError,
    PrincipalData,
    Ticket,
    check,
    make_principal_data,
    moment,
    read_data,
    read_principal,
)
from gsi.kerberos.ticket import Principal, TicketFlags
from gsi.secret import Passphrase

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Initiation", "initiate"]

_NT_SRV_HST: Final = 3
_MUTUAL: Final = 0x20000000
_SUBKEY: Final = 0x00000001
_NOT_OURS: Final = frozenset({CACHE_MISSING, CACHE_NOT_FOUND})


class Initiation(NamedTuple):
    """A request for a service, and what came of the ticket in it."""

    ap_req: bytes
    session_key: Passphrase
    """The key of the ticket, never the subkey."""
    client: Principal
    server: Principal
    end_time: datetime
    flags: TicketFlags


def initiate(
    service: str,
    host: str | None = None,
    *,
    realm: str | None = None,
    ccache: str | None = None,
    mutual: bool = False,
    subkey: bool = False,
) -> Initiation:
    """Return a fresh AP-REQ; every call makes another one.

    Args:
        service: The name of a service on a host; without `host` a principal, `krbtgt/REALM@REALM`.
        host: The host; made canonical as krb5.conf says.
        realm: Its realm; None leaves that to krb5.conf and to referrals of the KDC.
        ccache: The credential cache; None is the default one (KRB5CCNAME).
        mutual: Ask for mutual authentication in the ap-options.
        subkey: Put a key of our own into the authenticator.

    Raises:
        CredentialError: MISSING: there are no tickets at all. EXPIRED: the ticket granting ticket has expired.
        KerberosError: No ticket for the service: the KDC does not answer, or does not know it.
        ConfigError: Kerberos cannot be set up.
    """
    with Context() as context, open_cache(context, ccache) as cache:
        library = context.library
        client = ctypes.POINTER(PrincipalData)()
        code = library.krb5_cc_get_principal(context.handle, cache, ctypes.byref(client))
        if code in _NOT_OURS:
            raise CredentialError(
                f"no Kerberos tickets: {context.describe(code)}", problem=CredentialProblem.MISSING, hint="run kinit"
            )
        check(context, code)
        server, kept = _server(context, service, host, realm)
        got = ctypes.POINTER(Credentials)()
        try:
            wanted = Credentials(client=client, server=ctypes.pointer(server))
            code = library.krb5_get_credentials(context.handle, 0, cache, ctypes.byref(wanted), ctypes.byref(got))
            if code:
                raise _no_ticket(context, code, service, host)
            return _make(context, got, mutual=mutual, subkey=subkey)
        finally:
            library.krb5_free_creds(context.handle, got)
            library.krb5_free_principal(context.handle, client)
            del kept


def _server(context: Context, service: str, host: str | None, realm: str | None) -> tuple[PrincipalData, object]:
    if host is None:
        return make_principal_data(Principal.parse(service))
    found = ctypes.POINTER(PrincipalData)()
    code = context.library.krb5_sname_to_principal(
        context.handle, host.encode(), service.encode(), _NT_SRV_HST, ctypes.byref(found)
    )
    check(context, code)
    try:
        parts = tuple(
            read_data(found.contents.data[number]).decode("utf-8", "replace") for number in range(found.contents.length)
        )
        own = read_data(found.contents.realm).decode("utf-8", "replace")
    finally:
        context.library.krb5_free_principal(context.handle, found)
    return make_principal_data(Principal(parts, own if realm is None else realm), kind=_NT_SRV_HST)


def _make(context: Context, got: ctypes._Pointer[Credentials], *, mutual: bool, subkey: bool) -> Initiation:
    library, ticket = context.library, got.contents
    auth, out = ctypes.c_void_p(), Data()
    options = (_MUTUAL if mutual else 0) | (_SUBKEY if subkey else 0)
    try:
        check(
            context,
            library.krb5_mk_req_extended(context.handle, ctypes.byref(auth), options, None, got, ctypes.byref(out)),
        )
        if not ticket.keyblock.length:
            raise AuthenticationError("Kerberos: a ticket without a session key")
        return Initiation(
            read_data(out),
            Passphrase(ctypes.string_at(ticket.keyblock.contents, ticket.keyblock.length)),
            read_principal(ticket.client),
            _server_of(context, ticket.ticket),
            moment(ticket.times.endtime),
            TicketFlags(ticket.ticket_flags),
        )
    finally:
        library.krb5_free_data_contents(context.handle, ctypes.byref(out))
        library.krb5_auth_con_free(context.handle, auth)


def _server_of(context: Context, encoded: Data) -> Principal:
    """Return whom a ticket is for; `krb5_creds` has the name as asked, which may lack its realm (a referral)."""
    found = ctypes.POINTER(Ticket)()
    check(context, context.library.krb5_decode_ticket(ctypes.byref(encoded), ctypes.byref(found)))
    try:
        return read_principal(found.contents.server)
    finally:
        context.library.krb5_free_ticket(context.handle, found)


_HINTS: Final = {
    KDC_UNREACH: "is the realm's KDC running, and right in krb5.conf? KRB5_TRACE=/dev/stderr shows what is tried",
    UNKNOWN_SERVICE: "the realm knows no service of this name: the host must be called as in its principal",
}
_EXPIRED: Final = -1765328352  # KRB5KRB_AP_ERR_TKT_EXPIRED


def _no_ticket(context: Context, code: int, service: str, host: str | None) -> CredentialError | KerberosError:
    words = context.describe(code)
    if code == _EXPIRED:
        return CredentialError(f"the Kerberos ticket: {words}", problem=CredentialProblem.EXPIRED, hint="run kinit")
    if code in _NOT_OURS:
        return CredentialError(
            f"no Kerberos tickets to get one for the service with: {words}",
            problem=CredentialProblem.MISSING,
            hint="run kinit",
        )
    name = service if host is None else f"{service}/{host}"
    return KerberosError(f"no Kerberos ticket for {name}: {words}", code=code, hint=_HINTS.get(code))
