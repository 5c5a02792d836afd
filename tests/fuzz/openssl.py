"""X509_verify_cert of the system's libcrypto, in this process: thousands of chains a second; judges nothing itself.

    verifier = OpenSSL(root_der)
    verdict = verifier.verify(chain_der, now)       # leaf first
    verdict.accepted, verdict.error, verdict.words

Not the copy inside pyca, which offers no proxies: the shared library that the C tools use, through ctypes.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

__all__ = ["OpenSSL", "Verdict", "find_library"]

_ALLOW_PROXY_CERTS: Final = 0x40  # openssl/x509_vfy.h
_PURPOSE_SSL_CLIENT: Final = 1  # openssl/x509v3.h
UNPARSED: Final = -1
"""The error of a chain with a certificate that OpenSSL cannot read."""


class Verdict(NamedTuple):
    """What OpenSSL says: `error` is X509_V_OK (0) where it accepts.

    `used` are the places in the presented chain of those that it built its path from.
    """

    accepted: bool
    error: int
    depth: int
    words: str
    used: frozenset[int] = frozenset()


def find_library() -> str | None:
    """Return the name of the system's libcrypto, or None."""
    return ctypes.util.find_library("crypto")


class OpenSSL:
    """A store with one root, proxies allowed, purpose TLS client, no CRLs."""

    def __init__(self, *roots: bytes) -> None:
        name = find_library()
        if name is None:
            raise OSError("no libcrypto")
        self._lib = ctypes.CDLL(name)
        self._declare()
        self._store = self._lib.X509_STORE_new()
        self._roots = [self._parse(root) for root in roots]
        for root in self._roots:
            self._lib.X509_STORE_add_cert(self._store, root)
        self._lib.X509_STORE_set_flags(self._store, _ALLOW_PROXY_CERTS)

    def _declare(self) -> None:
        pointer, number = ctypes.c_void_p, ctypes.c_int
        for name, result, arguments in (
            ("OpenSSL_version", ctypes.c_char_p, [number]),
            ("d2i_X509", pointer, [pointer, pointer, ctypes.c_long]),
            ("X509_free", None, [pointer]),
            ("X509_STORE_new", pointer, []),
            ("X509_STORE_add_cert", number, [pointer, pointer]),
            ("X509_STORE_set_flags", number, [pointer, ctypes.c_ulong]),
            ("X509_STORE_CTX_new", pointer, []),
            ("X509_STORE_CTX_free", None, [pointer]),
            ("X509_STORE_CTX_init", number, [pointer] * 4),
            ("X509_STORE_CTX_set_purpose", number, [pointer, number]),
            ("X509_STORE_CTX_set_time", None, [pointer, ctypes.c_ulong, ctypes.c_long]),
            ("X509_STORE_CTX_get_error", number, [pointer]),
            ("X509_STORE_CTX_get_error_depth", number, [pointer]),
            ("X509_STORE_CTX_get0_chain", pointer, [pointer]),
            ("X509_verify_cert", number, [pointer]),
            ("X509_verify_cert_error_string", ctypes.c_char_p, [ctypes.c_long]),
            ("OPENSSL_sk_new_null", pointer, []),
            ("OPENSSL_sk_push", number, [pointer, pointer]),
            ("OPENSSL_sk_num", number, [pointer]),
            ("OPENSSL_sk_value", pointer, [pointer, number]),
            ("OPENSSL_sk_free", None, [pointer]),
            ("ERR_clear_error", None, []),
        ):
            function = getattr(self._lib, name)
            function.restype, function.argtypes = result, arguments

    @property
    def version(self) -> str:
        """The library's own words, like `OpenSSL 3.0.22 ...`."""
        words: bytes = self._lib.OpenSSL_version(0)
        return words.decode()

    def _parse(self, der: bytes) -> int | None:
        """Return a pointer to a certificate, or None; what follows it is not looked at, as by every caller in C."""
        buffer = ctypes.create_string_buffer(der, len(der))
        at = ctypes.c_void_p(ctypes.addressof(buffer))
        found: int | None = self._lib.d2i_X509(None, ctypes.byref(at), len(der))
        return found

    def verify(self, chain: Sequence[bytes], now: datetime) -> Verdict:
        """Verify a chain, leaf first, at a time."""
        lib = self._lib
        parsed = [self._parse(one) for one in chain]
        stack = lib.OPENSSL_sk_new_null()
        context = lib.X509_STORE_CTX_new()
        try:
            for index, one in enumerate(parsed):
                if one is None:
                    return Verdict(False, UNPARSED, index, "cannot be parsed")
                if index:
                    lib.OPENSSL_sk_push(stack, one)
            lib.X509_STORE_CTX_init(context, self._store, parsed[0], stack)
            lib.X509_STORE_CTX_set_purpose(context, _PURPOSE_SSL_CLIENT)
            lib.X509_STORE_CTX_set_time(context, 0, int(now.timestamp()))
            accepted = lib.X509_verify_cert(context) == 1
            error = lib.X509_STORE_CTX_get_error(context)
            words: bytes = lib.X509_verify_cert_error_string(error)
            path = lib.X509_STORE_CTX_get0_chain(context)
            built = {lib.OPENSSL_sk_value(path, at) for at in range(lib.OPENSSL_sk_num(path))}
            used = frozenset(at for at, one in enumerate(parsed) if one in built)
            return Verdict(accepted, error, lib.X509_STORE_CTX_get_error_depth(context), words.decode(), used)
        finally:
            lib.X509_STORE_CTX_free(context)
            lib.OPENSSL_sk_free(stack)
            for one in parsed:
                if one is not None:
                    lib.X509_free(one)
            lib.ERR_clear_error()
