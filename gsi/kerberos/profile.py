"""What krb5.conf says, as libkrb5 reads it (KRB5_CONFIG, includes, several files); writes nothing.

hosts = read_settings("realms", "EXAMPLE.ORG", "kdc")
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError
from gsi.kerberos.libkrb5 import Context

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["default_realm", "read_settings"]

MAX_VALUES: Final = 256
"""A realm with so many servers names them in DNS."""


def read_settings(*names: str) -> list[str]:
    """Return all values of a setting in their order; none where it is not there.

    Args:
        names: The section, its subsections, and the setting.

    Raises:
        ConfigError: Kerberos cannot be set up.
    """
    with Context() as context:
        library = context.library
        profile = ctypes.c_void_p()
        if library.krb5_get_profile(context.handle, ctypes.byref(profile)):
            raise ConfigError("krb5.conf cannot be read")
        try:
            path = (ctypes.c_char_p * (len(names) + 1))(*(name.encode() for name in names), None)
            listed = ctypes.POINTER(ctypes.c_char_p)()
            if library.profile_get_values(profile, path, ctypes.byref(listed)) or not bool(listed):
                return []
            try:
                return [value.decode("utf-8", "replace") for value in _until_null(listed)]
            finally:
                library.profile_free_list(listed)
        finally:
            library.profile_release(profile)


def default_realm() -> str | None:
    """Return the realm of krb5.conf, None where there is none."""
    with Context() as context:
        text = ctypes.c_void_p()
        if context.library.krb5_get_default_realm(context.handle, ctypes.byref(text)):
            return None
        try:
            return ctypes.string_at(text.value or 0).decode("utf-8", "replace")
        finally:
            context.library.krb5_free_default_realm(context.handle, text)


def _until_null(listed: ctypes._Pointer[ctypes.c_char_p]) -> Iterator[bytes]:
    for number in range(MAX_VALUES):
        value: bytes | None = listed[number]  # ctypes turns char pointers into bytes
        if value is None:
            return
        yield value
