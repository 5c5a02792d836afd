"""Servers over HTTP: is this Negotiate token real, and whose is it? By GSS-API; knows no HTTP, and decides nothing.

    negotiator = Negotiator("HTTP", keytab="/etc/kca/http.keytab")
    met = negotiator.accept(token, binding=server_end_point(certificate_der))
    met.ticket.client, met.answer, met.bound

One token each way (RFC 4559): a client that needs a second round, as for another mechanism than Kerberos, is refused.
What GSS-API itself does not tell is asked of MIT's mechanism: when the client proved who it is, the ticket's end and
flags, its authentication indicators. Only the realms that a ticket came through cannot be seen (`UNSEEN_REALM`).
The library refuses a token that was here before, by a replay cache that processes share.

Needs the extra `kerberos`, and MIT's libraries.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import AuthenticationError, ConfigError, ParseError
from gsi.kerberos.passwords import require_gssapi
from gsi.kerberos.ticket import Principal, ProvenTicket, TicketFlags

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["MAX_TOKEN_BYTES", "UNSEEN_REALM", "Negotiated", "Negotiator", "server_end_point"]

MAX_TOKEN_BYTES: Final = 48 << 10
"""Tickets with the group lists of Active Directory; what is more does not fit into a header, coded, either."""

UNSEEN_REALM: Final = "?"
"""Stands for the realms that a ticket of another realm may have come through, which GSS-API does not tell."""

_SPNEGO: Final = "1.3.6.1.5.5.2"
_KERBEROS: Final = "1.2.840.113554.1.2.2"
_AUTH_TIME: Final = "1.2.840.113554.1.2.2.5.12"  # MIT: gsskrb5_extract_authtime_from_sec_context
_TICKET_FLAGS: Final = "1.2.840.113554.1.2.2.5.1"  # MIT: gss_krb5_get_tkt_flags
_LUCID_1: Final = "1.2.840.113554.1.2.2.5.6.1"  # MIT: gss_krb5_export_lucid_sec_context, version 1
_CHANNEL_BOUND: Final = 2048  # GSS_C_CHANNEL_BOUND_FLAG, MIT 1.19
_INDICATORS: Final = b"auth-indicators"
_MAX_INDICATORS: Final = 32
_MAX_KEY_BYTES: Final = 64
"""Twice the longest key of any encryption type."""
_LIBRARY: Final = "libgssapi_krb5.so.2"
_END_POINT: Final = b"tls-server-end-point:"  # RFC 5929 section 4


class _Key(ctypes.Structure):
    """gss_krb5_lucid_key_t."""

    _fields_ = (("kind", ctypes.c_uint32), ("length", ctypes.c_uint32), ("data", ctypes.c_void_p))


class _OldKeys(ctypes.Structure):
    """gss_krb5_rfc1964_keydata_t."""

    _fields_ = (("sign_alg", ctypes.c_uint32), ("seal_alg", ctypes.c_uint32), ("key", _Key))


class _NewKeys(ctypes.Structure):
    """gss_krb5_cfx_keydata_t."""

    _fields_ = (("have_acceptor_subkey", ctypes.c_uint32), ("key", _Key), ("acceptor_key", _Key))


class _Lucid(ctypes.Structure):
    """gss_krb5_lucid_context_v1_t of <gssapi/gssapi_krb5.h>."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("initiate", ctypes.c_uint32),
        ("end_time", ctypes.c_uint32),
        ("send_seq", ctypes.c_uint64),
        ("recv_seq", ctypes.c_uint64),
        ("protocol", ctypes.c_uint32),
        ("old", _OldKeys),
        ("new", _NewKeys),
    )


class _Seen(NamedTuple):
    """What the lucid context tells."""

    end_time: int
    digest: bytes


class Negotiated(NamedTuple):
    """What a genuine token says."""

    ticket: ProvenTicket
    answer: bytes
    """The token for the client, which proves that this is the service; empty when it wants none."""
    bound: bool
    """The client has bound its ticket to the connection, and the binding is right."""
    digest: bytes
    """SHA-256 of what the client chose at random for this token and sealed in it: the same however it is wrapped, and
    no other token's."""


def server_end_point(certificate_der: bytes) -> bytes | None:
    """Return the channel binding of TLS connections to the server with this certificate (RFC 5929 section 4.1).

    None for a certificate whose signature has no digest of its own (Ed25519), for which there is no such binding.

    Raises:
        ParseError: Not a certificate.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = x509.load_der_x509_certificate(certificate_der).signature_hash_algorithm
    except ValueError as error:
        raise ParseError("the server's certificate cannot be read", what="certificate") from error
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in {"md5", "sha1"} else algorithm.name
    return _END_POINT + hashlib.new(name, certificate_der).digest()


class Negotiator:
    """Verifies tokens for one service. Safe for several threads."""

    def __init__(self, service: str = "HTTP", *, keytab: str, hostname: str = "") -> None:
        """Find out whether the service has a key.

        Args:
            service: The first component of its principal.
            keytab: The file with its key.
            hostname: The host in its principal; empty for any in the keytab.

        Raises:
            ConfigError: gssapi is not installed, or the keytab has no such key.
        """
        self._gssapi = _import_gssapi()
        self._service = service
        self._keytab = keytab
        self._hostname = hostname
        self.check()

    def check(self) -> None:
        """Find out whether the service has a key, by reading the keytab.

        Raises:
            ConfigError: It has none.
        """
        gssapi, keytab, service = self._gssapi, self._keytab, self._service
        try:
            self._credentials()
        except gssapi.exceptions.GSSError as error:
            raise ConfigError(
                f"{keytab}: no key of {service}/{self._hostname or '*'} that can be used: {_describe(error)}",
                hint=f"kadmin -q 'ktadd -k {keytab} {service}/{self._hostname or 'HOST'}', readable by this user",
            ) from error

    def accept(self, token: bytes, *, binding: bytes | None = None) -> Negotiated:
        """Return what the token says, once it is proved.

        Args:
            token: As it came, decoded from base64.
            binding: The channel binding of the connection; None where there is none to check.

        Raises:
            AuthenticationError: It proves nothing: for another service, expired, replayed, bound to another connection,
                of another mechanism, or not finished with one round.
            ConfigError: The keytab cannot be used any more.
        """
        gssapi, raw = self._gssapi, self._gssapi.raw
        if not 0 < len(token) <= MAX_TOKEN_BYTES:
            raise AuthenticationError(f"a Negotiate token of {len(token)} bytes, limit {MAX_TOKEN_BYTES}")
        bindings = None if binding is None else raw.ChannelBindings(application_data=binding)
        try:
            credentials = self._credentials()
        except gssapi.exceptions.GSSError as error:
            raise ConfigError(f"{self._keytab}: {_describe(error)}") from error
        try:
            context = gssapi.SecurityContext(creds=credentials, usage="accept", channel_bindings=bindings)
            answer = context.step(token)
            # Errors of `step` show at the next look at the context, so everything is looked at within the `try`.
            if not context.complete:
                raise AuthenticationError("Negotiate: the client needs another round, which Kerberos does not")
            if str(context.mech.dotted_form) != _KERBEROS:
                raise AuthenticationError("Negotiate: not Kerberos")
            seen = _look(gssapi, context)
            ticket = _read_ticket(gssapi, context, self._service, seen.end_time)
            bound = bool(int(context.actual_flags) & _CHANNEL_BOUND)
        except gssapi.exceptions.GSSError as error:
            raise AuthenticationError(f"Negotiate: {_describe(error)}") from error
        return Negotiated(ticket, answer or b"", bound, seen.digest)

    def _credentials(self) -> object:
        gssapi, name = self._gssapi, None
        if self._hostname:
            name = gssapi.Name(f"{self._service}@{self._hostname}", gssapi.NameType.hostbased_service)
        mechanisms = [gssapi.OID.from_int_seq(_SPNEGO), gssapi.OID.from_int_seq(_KERBEROS)]
        store = {b"keytab": self._keytab.encode()}
        return gssapi.Credentials(name=name, usage="accept", mechs=mechanisms, store=store)


def _read_ticket(gssapi: ModuleType, context: object, service: str, end_time: int) -> ProvenTicket:
    """Return the ticket behind a context that is complete.

    Raises:
        AuthenticationError: The library does not tell what has to be known, or it is for another service.
    """
    raw = gssapi.raw
    inquired = raw.inquire_context(context, initiator_name=True, target_name=True)
    try:
        client = Principal.parse(_text(raw.display_name(inquired.initiator_name).name))
        server = Principal.parse(_text(raw.display_name(inquired.target_name).name))
    except (ParseError, UnicodeDecodeError) as error:
        raise AuthenticationError("Negotiate: a name that cannot be read") from error
    if server.components[0] != service or len(server.components) != 2:
        raise AuthenticationError(f"Negotiate: a ticket for {server.text!r}")
    auth_time = _number(gssapi, context, _AUTH_TIME)
    flags = _number(gssapi, context, _TICKET_FLAGS)
    return ProvenTicket(
        client=client,
        server=server,
        auth_time=_moment(auth_time),
        start_time=_moment(auth_time),  # the library has looked at the ticket's own, which may be later
        end_time=_moment(end_time),
        flags=TicketFlags(flags & sum(TicketFlags)),
        indicators=_indicators(gssapi, inquired.initiator_name),
        transited=() if client.realm == server.realm else (UNSEEN_REALM,),
    )


def _number(gssapi: ModuleType, context: object, oid: str) -> int:
    """Return a number of 32 bits that MIT's mechanism tells.

    Raises:
        AuthenticationError: It does not.
    """
    found = _inquire(gssapi, context, oid)
    if len(found) != 4:
        raise AuthenticationError("Negotiate: this Kerberos library does not tell when its tickets were got")
    (number,) = struct.unpack("=I", found)
    assert isinstance(number, int)
    return number


def _look(gssapi: ModuleType, context: object) -> _Seen:
    """Return the ticket's end, and what makes the token out: subkey and sequence number of its authenticator.

    The lifetime that GSS-API tells by itself is longer than the ticket's by the skew that krb5.conf allows.

    Raises:
        AuthenticationError: The library does not tell.
    """
    found = _inquire(gssapi, context, _LUCID_1)
    if len(found) != struct.calcsize("@P"):
        raise AuthenticationError("Negotiate: this Kerberos library does not tell when its tickets end")
    (address,) = struct.unpack("@P", found)
    try:
        told = _Lucid.from_address(address)
        if told.version != 1 or told.initiate or told.protocol not in {0, 1}:
            raise AuthenticationError("Negotiate: this Kerberos library tells of its tickets in another form")
        key = told.new.key if told.protocol else told.old.key
        if not key.data or not 0 < key.length <= _MAX_KEY_BYTES:
            raise AuthenticationError("Negotiate: this Kerberos library tells of its keys in another form")
        secret = ctypes.string_at(key.data, key.length)
        digest = hashlib.sha256(b"kerberos authenticator\0" + struct.pack("!QI", told.recv_seq, key.kind) + secret)
        return _Seen(int(told.end_time), digest.digest())
    finally:
        _free_lucid(address)


def _free_lucid(address: int) -> None:
    minor = ctypes.c_uint32()
    _library().gss_krb5_free_lucid_sec_context(ctypes.byref(minor), ctypes.c_void_p(address))


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise ConfigError(f"MIT's {_LIBRARY} cannot be used: {error}") from error


def _inquire(gssapi: ModuleType, context: object, oid: str) -> bytes:
    try:
        found = gssapi.raw.inquire_sec_context_by_oid(context, gssapi.OID.from_int_seq(oid))
    except gssapi.exceptions.GSSError:
        return b""
    return bytes(found[0]) if found else b""


def _indicators(gssapi: ModuleType, name: object) -> tuple[str, ...] | None:
    """Return the authentication indicators (RFC 8129) that the KDC vouches for; none where there are none.

    Raises:
        AuthenticationError: More than anybody needs.
    """
    try:
        found = gssapi.raw.get_name_attribute(name, _INDICATORS)
    except gssapi.exceptions.OperationUnavailableError:  # what MIT says where the ticket has none
        return ()
    except gssapi.exceptions.GSSError as error:
        raise AuthenticationError(f"Negotiate: the ticket's indicators cannot be read: {_describe(error)}") from error
    if not found.authenticated:
        return ()
    if len(found.values) > _MAX_INDICATORS:
        raise AuthenticationError(f"Negotiate: more than {_MAX_INDICATORS} authentication indicators")
    return tuple(_text(value) for value in found.values)


def _import_gssapi() -> ModuleType:
    require_gssapi()
    import gssapi
    import gssapi.raw

    module: ModuleType = gssapi
    return module


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _describe(error: Exception) -> str:
    """Return the library's words in one line."""
    return " ".join(str(error).replace("\0", " ").split())[:500]
