"""Servers: is this AP-REQ real, and whose is it? By libkrb5 and the service's key; decides nothing more.

    acceptor = Acceptor("kca_service", keytab="/etc/krb5.keytab")
    accepted = acceptor.accept(ap_req, address="192.0.2.7")
    accepted.ticket.client, accepted.session_key

`krb5_rd_req` brings decryption in every encryption type, key versions, the clock skew of krb5.conf, the transited check
and a replay cache that processes share. An `Acceptor` serves any number of threads, each with a context of its own. A
keytab in a file is opened anew each time, so keys may be added and removed while the server runs.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from typing import Final, NamedTuple

from gsi.errors import AuthenticationError, ConfigError, GridError, ParseError, StorageError
from gsi.kerberos.libkrb5 import (
    AP_BAD_ADDRESS,
    AP_REPEAT,
    WRONG_PRINCIPAL,
    Address,
    Context,
    Data,
    KerberosError,
    Keyblock,
    PrincipalData,
    Ticket,
    check,
    make_data,
    make_principal_data,
    moment,
    protocol_code,
    read_data,
    read_principal,
    require_libkrb5,
)
from gsi.kerberos.ticket import Principal, ProvenTicket, TicketFlags
from gsi.kerberos.transited import expand
from gsi.secret import Passphrase
from gsi.system.environ import get_variable, set_variable

__all__ = ["MAX_AP_REQ_BYTES", "Accepted", "Acceptor", "ReplayError", "use_replay_cache"]

MAX_AP_REQ_BYTES: Final = 64 << 10
"""Tickets with group lists of Active Directory come near 64 KiB, which is what Kerberos implementations stop at."""
MUTUAL_REQUIRED: Final = 0x20000000
_NT_SRV_HST: Final = 3
_ADDRESS_TYPES: Final = {4: 2, 16: 24}
"""By length: IPv4, IPv6 (RFC 4120 s.7.5.3)."""
_KEY_NOT_FOUND: Final = frozenset({35, 44, 45})
"""KRB_AP_ERR_NOT_US, BADKEYVER, NOKEY: what libkrb5 makes of a keytab that it cannot read, too."""
_MALFORMED: Final = (
    range(1859794432, 1859794432 + 256),  # ASN1_*: no DER
    range(-1765328196, -1765328193),  # KRB5_BAD_ENCTYPE, KRB5_BAD_KEYSIZE, KRB5_BAD_MSIZE: nothing to decrypt
    range(-1765328246, -1765328245),  # KRB5_BADMSGTYPE
    range(-1765328234, -1765328230),  # KRB5_PROG_ETYPE_NOSUPP and the like, KRB5_WRONG_ETYPE
    range(-1765328210, -1765328209),  # KRB5_TRANS_BADFORMAT
    range(-1765328148, -1765328147),  # KRB5_NOPERM_ETYPE
)
"""What a message brings about beside the errors of the protocol."""
_INDICATORS: Final = b"auth-indicators"
_MAX_INDICATORS: Final = 32
_REPLAY_VARIABLE: Final = "KRB5RCACHENAME"
_log = logging.getLogger("gsi.kerberos")


class ReplayError(AuthenticationError):
    """This very AP-REQ was accepted before: sent again by its client, or by somebody who has listened."""


class Accepted(NamedTuple):
    """What a genuine AP-REQ says."""

    ticket: ProvenTicket
    session_key: Passphrase
    """The key of the ticket, never the subkey."""
    wants_mutual: bool
    """The client asked for an AP-REP (ap-options)."""
    has_subkey: bool
    """The authenticator carries a key of the client's."""


def use_replay_cache(path: str) -> None:
    """Keep the replay cache of this process and of those it starts in this file; before the first `Acceptor`.

    One that KRB5RCACHENAME names stays. Without either it is where krb5.conf says, or in a directory for temporary
    files, where all services of a user share it.
    """
    named = get_variable(_REPLAY_VARIABLE)
    if named is not None and named.partition(":")[0].lower() == "none":
        _log.warning("%s=%s: requests that were overheard are taken again", _REPLAY_VARIABLE, named)
    if named is None:
        set_variable(_REPLAY_VARIABLE, f"file2:{path}")


class _Local(threading.local):
    """What one thread holds of libkrb5."""

    context: Context | None = None
    keytab: ctypes.c_void_p | None = None


class Acceptor:
    """Verifies AP-REQs for one service. Safe for several threads."""

    def __init__(self, service: str, *, keytab: str | None = None) -> None:
        """Find out whether the service has a key.

        Args:
            service: `name`: this service on any host and in any realm whose key is in the keytab; `name/host`: on one
                host; with `@REALM`: this principal alone. No other key of the keytab is ever used.
            keytab: A file, or a name with the kind in front (`FILE:...`); None is the one of krb5.conf.

        Raises:
            ConfigError: No usable libkrb5, or no keytab with anything in it.
        """
        require_libkrb5()
        self._keytab_name = keytab if keytab is None or ":" in keytab else f"FILE:{keytab}"
        self._server, self._kept = _server_principal(service)
        self._local = _Local()
        self.check()

    def accept(self, ap_req: bytes, *, address: str | None = None) -> Accepted:
        """Return what the AP-REQ says, once it is proved.

        Args:
            ap_req: The AP-REQ.
            address: Where it came from, IPv4 or IPv6; a ticket that is bound to addresses (`kinit -a`) must be for it.
                None where that is not known, and then it is not looked at.

        Raises:
            ReplayError: It was here before.
            KerberosError: Every other no of libkrb5's about the message: a ticket for another service or by an unknown
                key, for another address, expired, not yet valid, clocks too far apart, ...
            AuthenticationError: A name that cannot be used.
            ConfigError: krb5.conf or the keytab cannot be used.
            StorageError: Any other trouble on this side, as with the replay cache.
        """
        if not 0 < len(ap_req) <= MAX_AP_REQ_BYTES:
            raise AuthenticationError(f"an AP-REQ of {len(ap_req)} bytes, limit {MAX_AP_REQ_BYTES}")
        context, keytab = self._open()
        library = context.library
        auth, ticket, options = ctypes.c_void_p(), ctypes.POINTER(Ticket)(), ctypes.c_uint32()
        data, kept = make_data(ap_req)
        try:
            if address is not None:
                check(context, library.krb5_auth_con_init(context.handle, ctypes.byref(auth)))
                _set_remote(context, auth, address)
            code = library.krb5_rd_req(
                context.handle,
                ctypes.byref(auth),
                ctypes.byref(data),
                ctypes.byref(self._server),
                keytab,
                ctypes.byref(options),
                ctypes.byref(ticket),
            )
            if code:
                raise _explain(context, code, keytab, address)
            return Accepted(
                _read_ticket(ticket, _read_indicators(context, auth)),
                _session_key(context, auth),
                bool(options.value & MUTUAL_REQUIRED),
                _has_subkey(context, auth),
            )
        finally:
            del kept
            library.krb5_free_ticket(context.handle, ticket)
            library.krb5_auth_con_free(context.handle, auth)

    def check(self) -> None:
        """Find out whether there still is a key, by reading the keytab.

        Raises:
            ConfigError: krb5.conf or the keytab cannot be used, or there is nothing in it.
        """
        context, keytab = self._open()
        code = context.library.krb5_kt_have_content(context.handle, keytab)
        if code:
            raise ConfigError(
                f"no key for the service: {context.describe(code)}",
                path=None if self._keytab_name is None else self._keytab_name.removeprefix("FILE:"),
                hint="write one with ktadd (kadmin), readable for this server",
            )

    def _open(self) -> tuple[Context, ctypes.c_void_p]:
        """Return this thread's context and keytab."""
        local = self._local
        if local.context is None or local.keytab is None:
            context, keytab = Context(), ctypes.c_void_p()
            if self._keytab_name is None:
                code = context.library.krb5_kt_default(context.handle, ctypes.byref(keytab))
            else:
                name = self._keytab_name.encode()
                code = context.library.krb5_kt_resolve(context.handle, name, ctypes.byref(keytab))
            if code:
                raise ConfigError(f"keytab {self._keytab_name}: {context.describe(code)}")
            local.context, local.keytab = context, keytab
        return local.context, local.keytab


def _server_principal(service: str) -> tuple[PrincipalData, object]:
    name, _, realm = service.partition("@")
    parts = tuple(name.split("/"))
    if not all(parts) or len(parts) > 2 or (realm and len(parts) != 2) or (service.endswith("@")):
        raise ConfigError(f"'{service}' is no service: name, name/host or name/host@REALM")
    # MIT takes an empty host or realm of a name of this type for any.
    return make_principal_data(Principal(parts if len(parts) == 2 else (*parts, ""), realm), kind=_NT_SRV_HST)


def _set_remote(context: Context, auth: ctypes.c_void_p, text: str) -> None:
    """Tell libkrb5 where a message came from.

    Raises:
        AuthenticationError: That is no address.
    """
    import ipaddress

    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise AuthenticationError(f"{text!r} is no address that a ticket could be for") from error
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    content = (mapped or found).packed
    buffer = ctypes.create_string_buffer(content, len(content))
    address = Address(0, _ADDRESS_TYPES[len(content)], len(content), ctypes.addressof(buffer))
    check(context, context.library.krb5_auth_con_setaddrs(context.handle, auth, None, ctypes.byref(address)))


def _explain(context: Context, code: int, keytab: ctypes.c_void_p, address: str | None) -> GridError:
    """Return the error for a code of `krb5_rd_req`: about the message, or about ourselves."""
    if code == AP_REPEAT:
        return ReplayError("this Kerberos request was here before (replay)")
    said = context.describe(code)  # before anything else is asked of the context
    number = protocol_code(code)
    if number in _KEY_NOT_FOUND:
        trouble = context.library.krb5_kt_have_content(context.handle, keytab)
        if trouble:
            return ConfigError(f"the keytab cannot be used: {context.describe(trouble)}")
    if code == AP_BAD_ADDRESS:
        return KerberosError(
            f"Kerberos: the ticket is bound to addresses, and {address} is none of them", code=code, hint="kinit -A"
        )
    if number is not None or code == WRONG_PRINCIPAL or any(code in malformed for malformed in _MALFORMED):
        return KerberosError(f"Kerberos: {said}", code=code)
    return StorageError(f"Kerberos requests cannot be judged: {said}", hint="see the keytab and the replay cache")


def _read_ticket(pointer: ctypes._Pointer[Ticket], indicators: tuple[str, ...]) -> ProvenTicket:
    found = pointer.contents
    inner = found.enc_part2.contents
    times = inner.times
    try:
        transited = expand(read_data(inner.transited.tr_contents))
    except ParseError as error:
        raise AuthenticationError(f"Kerberos: {error.message}") from error
    return ProvenTicket(
        client=read_principal(inner.client),
        server=read_principal(found.server),
        auth_time=moment(times.authtime),
        start_time=moment(times.starttime or times.authtime),
        end_time=moment(times.endtime),
        flags=TicketFlags(inner.flags),
        indicators=indicators,
        transited=transited,
    )


def _session_key(context: Context, auth: ctypes.c_void_p) -> Passphrase:
    block = ctypes.POINTER(Keyblock)()
    check(context, context.library.krb5_auth_con_getkey(context.handle, auth, ctypes.byref(block)))
    try:
        if not bool(block) or not block.contents.length:
            raise AuthenticationError("Kerberos: a ticket without a session key")
        return Passphrase(ctypes.string_at(block.contents.contents, block.contents.length))
    finally:
        context.library.krb5_free_keyblock(context.handle, block)


def _has_subkey(context: Context, auth: ctypes.c_void_p) -> bool:
    block = ctypes.POINTER(Keyblock)()
    check(context, context.library.krb5_auth_con_getrecvsubkey(context.handle, auth, ctypes.byref(block)))
    found = bool(block)
    context.library.krb5_free_keyblock(context.handle, block)
    return found


def _read_indicators(context: Context, auth: ctypes.c_void_p) -> tuple[str, ...]:
    """Return the indicators that the KDC has signed for this service (RFC 8129)."""
    library = context.library
    authdata = ctypes.c_void_p()
    check(context, library.krb5_auth_con_get_authdata_context(context.handle, auth, ctypes.byref(authdata)))
    if authdata.value is None:
        return ()
    name, kept = make_data(_INDICATORS)
    found: list[str] = []
    more = ctypes.c_int(-1)
    while more.value and len(found) < _MAX_INDICATORS:
        authenticated, complete = ctypes.c_uint(), ctypes.c_uint()
        value, shown = Data(), Data()
        code = library.krb5_authdata_get_attribute(
            context.handle,
            authdata,
            ctypes.byref(name),
            ctypes.byref(authenticated),
            ctypes.byref(complete),
            ctypes.byref(value),
            ctypes.byref(shown),
            ctypes.byref(more),
        )
        if code:
            break  # ENOENT: there are none
        if authenticated.value:
            found.append(read_data(value).decode("utf-8", "replace"))
        for one in (value, shown):
            library.krb5_free_data_contents(context.handle, ctypes.byref(one))
    del kept
    return tuple(found)
