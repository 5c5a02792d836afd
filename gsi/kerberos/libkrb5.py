"""MIT's libkrb5 by ctypes: what is used of it, with types, and its errors as ours; no protocol, no decisions.

    with Context() as context:
        check(context, context.library.krb5_cc_default(context.handle, byref(cache)))

GSS-API gives neither the session key of a ticket, nor its flags and exact times, nor an AP-REQ without the wrapping of
GSS-API, so the library below it is called (docs/adr). The layout of its structures is that of MIT's `krb5.h`, which has
not changed since 1.4; another library (Heimdal's) has other ones and is refused. A context belongs to one thread.
Not here: `gsi.kerberos.accept` (servers), `gsi.kerberos.initiate` (clients), `gsi.kerberos.ccache` (credential caches).
"""

from __future__ import annotations

import ctypes
import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gsi.errors import AuthenticationError, ConfigError
from gsi.kerberos.ticket import Principal

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "AP_BAD_ADDRESS",
    "AP_REPEAT",
    "CACHE_MISSING",
    "CACHE_NOT_FOUND",
    "KDC_UNREACH",
    "UNKNOWN_SERVICE",
    "WRONG_PRINCIPAL",
    "Address",
    "Context",
    "Credentials",
    "Data",
    "EncTicketPart",
    "KerberosError",
    "Keyblock",
    "PrincipalData",
    "Ticket",
    "check",
    "make_data",
    "make_principal_data",
    "moment",
    "protocol_code",
    "read_data",
    "read_principal",
    "require_libkrb5",
]

_LIBRARY: Final = "libkrb5.so.3"
_BASE: Final = -1765328384  # KRB5KDC_ERR_NONE: what follows up to 127 are the codes of RFC 4120 s.7.5.9
AP_REPEAT: Final = _BASE + 34
"""KRB_AP_ERR_REPEAT: this AP-REQ was here before."""
AP_BAD_ADDRESS: Final = _BASE + 38
"""KRB_AP_ERR_BADADDR: the ticket is for other addresses."""
WRONG_PRINCIPAL: Final = -1765328240
"""KRB5KRB_AP_WRONG_PRINC: a ticket for another service."""
CACHE_NOT_FOUND: Final = -1765328243
"""KRB5_CC_NOTFOUND: the credential cache holds no such ticket."""
CACHE_MISSING: Final = -1765328189
"""KRB5_FCC_NOFILE: there is no credential cache."""
KDC_UNREACH: Final = -1765328228
"""KRB5_KDC_UNREACH: no KDC answers."""
UNKNOWN_SERVICE: Final = _BASE + 7
"""KDC_ERR_S_PRINCIPAL_UNKNOWN."""
MAX_DATA_BYTES: Final = 1 << 20
"""More than any ticket or name; a length beyond it is no length."""
MAX_COMPONENTS: Final = 64
_NT_PRINCIPAL: Final = 1


class KerberosError(AuthenticationError):
    """libkrb5 said no.

    Attributes:
        code: Its own number.
    """

    def __init__(self, message: str, *, code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code

    @property
    def protocol_code(self) -> int | None:
        """The number within RFC 4120 s.7.5.9, None for an error that is not one of the protocol."""
        return protocol_code(self.code)


def protocol_code(code: int) -> int | None:
    """Return the number within RFC 4120 s.7.5.9 of a library's error, None where it is none of the protocol."""
    return code - _BASE if 0 < code - _BASE < 128 else None


class Data(ctypes.Structure):
    """krb5_data."""

    _fields_ = (("magic", ctypes.c_int32), ("length", ctypes.c_uint), ("data", ctypes.c_void_p))


class Keyblock(ctypes.Structure):
    """krb5_keyblock."""

    _fields_ = (
        ("magic", ctypes.c_int32),
        ("enctype", ctypes.c_int32),
        ("length", ctypes.c_uint),
        ("contents", ctypes.c_void_p),
    )


class Address(ctypes.Structure):
    """krb5_address."""

    _fields_ = (
        ("magic", ctypes.c_int32),
        ("addrtype", ctypes.c_int32),
        ("length", ctypes.c_uint),
        ("contents", ctypes.c_void_p),
    )


class PrincipalData(ctypes.Structure):
    """krb5_principal_data."""

    _fields_ = (
        ("magic", ctypes.c_int32),
        ("realm", Data),
        ("data", ctypes.POINTER(Data)),
        ("length", ctypes.c_int32),
        ("type", ctypes.c_int32),
    )


_PrincipalPointer = ctypes.POINTER(PrincipalData)


class _Times(ctypes.Structure):
    """krb5_ticket_times; the C type is signed, the values are unsigned since 1.16."""

    _fields_ = (
        ("authtime", ctypes.c_uint32),
        ("starttime", ctypes.c_uint32),
        ("endtime", ctypes.c_uint32),
        ("renew_till", ctypes.c_uint32),
    )


class _Transited(ctypes.Structure):
    _fields_ = (("magic", ctypes.c_int32), ("tr_type", ctypes.c_uint8), ("tr_contents", Data))


class EncTicketPart(ctypes.Structure):
    """krb5_enc_tkt_part."""

    _fields_ = (
        ("magic", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("session", ctypes.POINTER(Keyblock)),
        ("client", _PrincipalPointer),
        ("transited", _Transited),
        ("times", _Times),
        ("caddrs", ctypes.c_void_p),
        ("authorization_data", ctypes.c_void_p),
    )


class _EncData(ctypes.Structure):
    _fields_ = (
        ("magic", ctypes.c_int32),
        ("enctype", ctypes.c_int32),
        ("kvno", ctypes.c_uint32),
        ("ciphertext", Data),
    )


class Ticket(ctypes.Structure):
    """krb5_ticket."""

    _fields_ = (
        ("magic", ctypes.c_int32),
        ("server", _PrincipalPointer),
        ("enc_part", _EncData),
        ("enc_part2", ctypes.POINTER(EncTicketPart)),
    )


class Credentials(ctypes.Structure):
    """krb5_creds."""

    _fields_ = (
        ("magic", ctypes.c_int32),
        ("client", _PrincipalPointer),
        ("server", _PrincipalPointer),
        ("keyblock", Keyblock),
        ("times", _Times),
        ("is_skey", ctypes.c_uint),
        ("ticket_flags", ctypes.c_uint32),
        ("addresses", ctypes.c_void_p),
        ("ticket", Data),
        ("second_ticket", Data),
        ("authdata", ctypes.c_void_p),
    )


_HANDLE: Final = ctypes.c_void_p
_OUT: Final = ctypes.POINTER(ctypes.c_void_p)
_TEXT: Final = ctypes.c_char_p
_FUNCTIONS: Final[dict[str, tuple[object, ...]]] = {
    # The first argument is always the context; all return a krb5_error_code.
    "krb5_auth_con_init": (_OUT,),
    "krb5_auth_con_free": (_HANDLE,),
    "krb5_auth_con_setaddrs": (_HANDLE, ctypes.c_void_p, ctypes.POINTER(Address)),
    "krb5_auth_con_getkey": (_HANDLE, ctypes.POINTER(ctypes.POINTER(Keyblock))),
    "krb5_auth_con_getrecvsubkey": (_HANDLE, ctypes.POINTER(ctypes.POINTER(Keyblock))),
    "krb5_auth_con_get_authdata_context": (_HANDLE, _OUT),
    "krb5_authdata_get_attribute": (
        _HANDLE,
        ctypes.POINTER(Data),
        ctypes.POINTER(ctypes.c_uint),
        ctypes.POINTER(ctypes.c_uint),
        ctypes.POINTER(Data),
        ctypes.POINTER(Data),
        ctypes.POINTER(ctypes.c_int),
    ),
    "krb5_rd_req": (
        _OUT,
        ctypes.POINTER(Data),
        _PrincipalPointer,
        _HANDLE,
        ctypes.POINTER(ctypes.c_uint32),
        ctypes.POINTER(ctypes.POINTER(Ticket)),
    ),
    "krb5_kt_resolve": (_TEXT, _OUT),
    "krb5_kt_default": (_OUT,),
    "krb5_kt_close": (_HANDLE,),
    "krb5_kt_have_content": (_HANDLE,),
    "krb5_cc_default": (_OUT,),
    "krb5_cc_resolve": (_TEXT, _OUT),
    "krb5_cc_close": (_HANDLE,),
    "krb5_cc_get_principal": (_HANDLE, ctypes.POINTER(_PrincipalPointer)),
    "krb5_cc_get_full_name": (_HANDLE, ctypes.POINTER(ctypes.c_void_p)),
    "krb5_cc_initialize": (_HANDLE, _PrincipalPointer),
    "krb5_cc_store_cred": (_HANDLE, ctypes.POINTER(Credentials)),
    "krb5_cc_remove_cred": (_HANDLE, ctypes.c_int32, ctypes.POINTER(Credentials)),
    "krb5_cc_start_seq_get": (_HANDLE, _OUT),
    "krb5_cc_next_cred": (_HANDLE, _OUT, ctypes.POINTER(Credentials)),
    "krb5_cc_end_seq_get": (_HANDLE, _OUT),
    "krb5_get_credentials": (
        ctypes.c_int32,
        _HANDLE,
        ctypes.POINTER(Credentials),
        ctypes.POINTER(ctypes.POINTER(Credentials)),
    ),
    "krb5_mk_req_extended": (
        _OUT,
        ctypes.c_int32,
        ctypes.POINTER(Data),
        ctypes.POINTER(Credentials),
        ctypes.POINTER(Data),
    ),
    "krb5_sname_to_principal": (_TEXT, _TEXT, ctypes.c_int32, ctypes.POINTER(_PrincipalPointer)),
    "krb5_get_profile": (_OUT,),
    "krb5_get_default_realm": (_OUT,),
}
_RELEASING: Final[dict[str, tuple[object, ...]]] = {
    # These return nothing.
    "krb5_free_context": (),
    "krb5_free_keyblock": (ctypes.POINTER(Keyblock),),
    "krb5_free_ticket": (ctypes.POINTER(Ticket),),
    "krb5_free_principal": (_PrincipalPointer,),
    "krb5_free_creds": (ctypes.POINTER(Credentials),),
    "krb5_free_cred_contents": (ctypes.POINTER(Credentials),),
    "krb5_free_data_contents": (ctypes.POINTER(Data),),
    "krb5_free_string": (ctypes.c_void_p,),
    "krb5_free_default_realm": (ctypes.c_void_p,),
    "krb5_free_error_message": (ctypes.c_void_p,),
}


_QUICK: Final = (
    "krb5_auth_con_init",
    "krb5_auth_con_free",
    "krb5_auth_con_setaddrs",
    "krb5_auth_con_getkey",
    "krb5_auth_con_getrecvsubkey",
    "krb5_auth_con_get_authdata_context",
    "krb5_authdata_get_attribute",
    "krb5_free_ticket",
    "krb5_free_keyblock",
    "krb5_free_data_contents",
)
"""Functions that touch memory only: they keep the interpreter's lock, which costs less than to let other threads in."""


def require_libkrb5() -> None:
    """Find out early whether the library is there.

    Raises:
        ConfigError: It is not, or it is not MIT's.
    """
    _load()


@functools.cache
def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise ConfigError(
            f"Kerberos needs MIT's {_LIBRARY}, which is not installed", hint="on Debian: apt install libkrb5-3"
        ) from error
    # Heimdal's library can be found under this name, too, where somebody has made a link; its structures differ.
    if hasattr(library, "heimdal_version") or not hasattr(library, "krb5_kt_have_content"):
        raise ConfigError(f"the {_LIBRARY} of this machine is not MIT's, or older than 1.11", hint="install MIT's")
    try:
        quick = ctypes.PyDLL(_LIBRARY)
        for name in _QUICK:
            setattr(library, name, getattr(quick, name))
        for name, types in _FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes = (_HANDLE, *types)
            function.restype = ctypes.c_int32
        for name, types in _RELEASING.items():
            function = getattr(library, name)
            function.argtypes = (_HANDLE, *types)
            function.restype = None
    except AttributeError as error:
        raise ConfigError(f"the {_LIBRARY} of this machine is not usable: {error}") from error
    library.krb5_init_context.argtypes = (_OUT,)
    library.krb5_init_context.restype = ctypes.c_int32
    library.krb5_get_error_message.argtypes = (_HANDLE, ctypes.c_int32)
    library.krb5_get_error_message.restype = ctypes.c_void_p
    library.krb5_decode_ticket.argtypes = (ctypes.POINTER(Data), ctypes.POINTER(ctypes.POINTER(Ticket)))
    library.krb5_decode_ticket.restype = ctypes.c_int32
    strings = ctypes.POINTER(ctypes.c_char_p)
    library.profile_get_values.argtypes = (_HANDLE, strings, ctypes.POINTER(strings))
    library.profile_get_values.restype = ctypes.c_long
    library.profile_free_list.argtypes = (strings,)
    library.profile_free_list.restype = None
    library.profile_release.argtypes = (_HANDLE,)
    library.profile_release.restype = None
    return library


class Context:
    """A krb5_context: krb5.conf as read now. For one thread at a time.

    Attributes:
        library: The library.
        handle: The krb5_context, for its functions.
    """

    __slots__ = ("handle", "library")

    def __init__(self) -> None:
        """Read the configuration of Kerberos.

        Raises:
            ConfigError: There is no MIT library, or krb5.conf cannot be used.
        """
        self.library = _load()
        self.handle = ctypes.c_void_p()
        code = self.library.krb5_init_context(ctypes.byref(self.handle))
        if code:
            self.handle = ctypes.c_void_p()
            raise ConfigError(f"Kerberos cannot be set up: {self.describe(code)}", hint="see krb5.conf(5)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.close()

    def close(self) -> None:
        """Give back the context; may be called twice."""
        if self.handle.value is not None:
            self.library.krb5_free_context(self.handle)
            self.handle = ctypes.c_void_p()

    def describe(self, code: int) -> str:
        """Return the library's words for an error, in one line."""
        text = self.library.krb5_get_error_message(self.handle, code)
        if not text:
            return f"error {code}"
        words = ctypes.string_at(text).decode("utf-8", "replace")
        self.library.krb5_free_error_message(self.handle, text)
        return " ".join(words.split())[:500]


def check(context: Context, code: int, doing: str = "Kerberos") -> None:
    """Return when a call worked.

    Raises:
        KerberosError: It did not.
    """
    if code:
        raise KerberosError(f"{doing}: {context.describe(code)}", code=code)


def read_data(data: Data) -> bytes:
    """Return a copy of the bytes."""
    if not data.data or not 0 < data.length <= MAX_DATA_BYTES:
        return b""
    return ctypes.string_at(data.data, data.length)


def make_data(content: bytes) -> tuple[Data, object]:
    """Return krb5_data over a copy of the bytes, and what has to live as long."""
    buffer = ctypes.create_string_buffer(content, max(len(content), 1))
    return Data(0, len(content), ctypes.addressof(buffer)), buffer


def read_principal(pointer: ctypes._Pointer[PrincipalData]) -> Principal:
    """Return a name.

    Raises:
        AuthenticationError: It is none that can be written: too many components, an empty one, or not UTF-8. Two names
            must never look alike, so nothing is replaced.
    """
    found = pointer.contents
    if not 0 < found.length <= MAX_COMPONENTS:
        raise AuthenticationError(f"a Kerberos principal of {found.length} components")
    parts = [read_data(found.data[number]) for number in range(found.length)]
    realm = read_data(found.realm)
    if not realm or not all(parts):
        raise AuthenticationError("a Kerberos principal with an empty component or without a realm")
    try:
        return Principal(tuple(part.decode() for part in parts), realm.decode())
    except UnicodeDecodeError as error:
        raise AuthenticationError("a Kerberos principal that is not UTF-8") from error


def make_principal_data(principal: Principal, *, kind: int = _NT_PRINCIPAL) -> tuple[PrincipalData, list[object]]:
    """Return krb5_principal_data of our own, and what has to live as long.

    Args:
        principal: The name; an empty component of a host based service (`kind` 3) stands for any host in a server's
            calls, an empty realm for any realm.
        kind: The name type.
    """
    kept: list[object] = []
    parts = (Data * max(len(principal.components), 1))()
    for number, text in enumerate(principal.components):
        parts[number], buffer = make_data(text.encode())
        kept.append(buffer)
    realm, buffer = make_data(principal.realm.encode())
    kept += [buffer, parts]
    made = PrincipalData(0, realm, ctypes.cast(parts, ctypes.POINTER(Data)), len(principal.components), kind)
    return made, kept


def moment(seconds: int) -> datetime:
    """Return a time of libkrb5's as aware UTC; they are unsigned, and so last until 2106."""
    return datetime.fromtimestamp(seconds & 0xFFFFFFFF, UTC)
