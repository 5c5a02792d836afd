"""Which keys a keytab holds, and whether the KDC still takes them; not the use of keys for tickets that come in.

    for entry in read_keytab("/etc/kca/kca.keytab"):
        entry.principal, entry.version
    prove_keytab("/etc/kca/kca.keytab", entry.principal)       # asks the KDC for a ticket; keeps none

Asking with the service's own key shows three things at once: that a KDC answers, that it knows the principal, and that
the key is the one that it has. The ticket is thrown away.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import ConfigError
from gsi.kerberos.libkrb5 import (
    Context,
    Credentials,
    Keyblock,
    PrincipalData,
    check,
    make_principal_data,
    read_principal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gsi.kerberos.ticket import Principal

__all__ = ["KeytabEntry", "prove_keytab", "read_keytab"]

MAX_ENTRIES: Final = 4096
"""A keytab of so many keys is none: a service has a few versions in a few encryptions."""


class KeytabEntry(NamedTuple):
    """One key, without the key."""

    principal: Principal
    version: int
    """Its number (kvno)."""


class _Entry(ctypes.Structure):
    """krb5_keytab_entry."""

    _fields_ = (
        ("magic", ctypes.c_int32),
        ("principal", ctypes.POINTER(PrincipalData)),
        ("timestamp", ctypes.c_int32),
        ("vno", ctypes.c_uint),
        ("key", Keyblock),
    )


_HANDLE: Final = ctypes.c_void_p
_FUNCTIONS: Final = {
    "krb5_kt_start_seq_get": (_HANDLE, ctypes.POINTER(_HANDLE)),
    "krb5_kt_next_entry": (_HANDLE, ctypes.POINTER(_Entry), ctypes.POINTER(_HANDLE)),
    "krb5_kt_end_seq_get": (_HANDLE, ctypes.POINTER(_HANDLE)),
    "krb5_free_keytab_entry_contents": (ctypes.POINTER(_Entry),),
    "krb5_get_init_creds_keytab": (
        ctypes.POINTER(Credentials),
        ctypes.POINTER(PrincipalData),
        _HANDLE,
        ctypes.c_int32,
        ctypes.c_char_p,
        _HANDLE,
    ),
}


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[Context, ctypes.c_void_p]]:
    with Context() as context:
        for name, types in _FUNCTIONS.items():
            function = getattr(context.library, name)
            function.argtypes = (_HANDLE, *types)
            function.restype = ctypes.c_int32
        keytab = ctypes.c_void_p()
        name = path if ":" in path else f"FILE:{path}"
        code = context.library.krb5_kt_resolve(context.handle, name.encode(), ctypes.byref(keytab))
        check(context, code, f"keytab {path}")
        try:
            yield context, keytab
        finally:
            context.library.krb5_kt_close(context.handle, keytab)


def read_keytab(path: str) -> tuple[KeytabEntry, ...]:
    """Return what a keytab holds, each principal with its newest version, in their order.

    Raises:
        ConfigError: No usable libkrb5, or more entries than a keytab has.
        KerberosError: The keytab cannot be read.
    """
    found: dict[str, KeytabEntry] = {}
    with _opened(path) as (context, keytab):
        library, cursor, entry = context.library, ctypes.c_void_p(), _Entry()
        check(
            context,
            library.krb5_kt_start_seq_get(context.handle, keytab, ctypes.byref(cursor)),
            f"keytab {path}",
        )
        try:
            for _ in range(MAX_ENTRIES):
                if library.krb5_kt_next_entry(context.handle, keytab, ctypes.byref(entry), ctypes.byref(cursor)):
                    return tuple(found.values())
                principal, version = read_principal(entry.principal), int(entry.vno)
                library.krb5_free_keytab_entry_contents(context.handle, ctypes.byref(entry))
                known = found.get(principal.text)
                if known is None or known.version < version:
                    found[principal.text] = KeytabEntry(principal, version)
        finally:
            library.krb5_kt_end_seq_get(context.handle, keytab, ctypes.byref(cursor))
    raise ConfigError(f"keytab {path}: more than {MAX_ENTRIES} keys")


def prove_keytab(path: str, principal: Principal) -> None:
    """Return when the KDC gives a ticket for a principal's key in a keytab; the ticket is not kept.

    Raises:
        ConfigError: No usable libkrb5, or krb5.conf cannot be used.
        KerberosError: No KDC can be reached, it does not know the principal, or the key is not the one it has.
    """
    with _opened(path) as (context, keytab):
        data, kept = make_principal_data(principal)
        credentials = Credentials()
        code = context.library.krb5_get_init_creds_keytab(
            context.handle, ctypes.byref(credentials), ctypes.byref(data), keytab, 0, None, None
        )
        del kept
        check(context, code, f"the KDC of {principal.realm}")
        context.library.krb5_free_cred_contents(context.handle, ctypes.byref(credentials))
