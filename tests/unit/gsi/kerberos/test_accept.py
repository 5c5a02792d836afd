"""What is read from tickets, with a library that tells what no KDC does; real tickets are in the interop tests."""

from __future__ import annotations

import ctypes
import os
from types import SimpleNamespace
from typing import Any

import pytest

from gsi.errors import AuthenticationError, ConfigError, StorageError
from gsi.kerberos import accept
from gsi.kerberos.accept import ReplayError, use_replay_cache
from gsi.kerberos.libkrb5 import KerberosError

BASE = -1765328384


class _Indicators:
    """A library with one indicator after the other, of which the KDC vouches for some."""

    def __init__(self, *found: tuple[bytes, bool]) -> None:
        self.left = list(found)
        self.kept: list[object] = []

    def krb5_auth_con_get_authdata_context(self, _context: object, _auth: object, out: Any) -> int:
        out._obj.value = 1
        return 0

    def krb5_authdata_get_attribute(self, *arguments: Any) -> int:
        authenticated, value, more = arguments[3]._obj, arguments[5]._obj, arguments[7]._obj
        if not self.left:
            return 2  # ENOENT
        text, vouched = self.left.pop(0)
        buffer = ctypes.create_string_buffer(text, len(text))
        self.kept.append(buffer)
        authenticated.value, value.length, value.data = vouched, len(text), ctypes.addressof(buffer)
        more.value = -1 if self.left else 0
        return 0

    def krb5_free_data_contents(self, *_: object) -> None:
        """The buffers are the test's."""


def test_indicators_are_the_kdcs() -> None:
    """What a client has put into its authenticator says nothing about how it got its ticket."""
    library = _Indicators((b"otp", True), (b"hardware", False), (b"pkinit", True))
    context: Any = SimpleNamespace(library=library, handle=None)
    assert accept._read_indicators(context, ctypes.c_void_p(1)) == ("otp", "pkinit")


@pytest.mark.parametrize(
    ("code", "keytab", "expected"),
    [
        (BASE + 34, 0, ReplayError),
        (BASE + 37, 0, KerberosError),
        (BASE + 38, 0, KerberosError),
        (BASE + 45, 0, KerberosError),  # no such key
        (BASE + 45, 2, ConfigError),  # no such file
        (BASE + 35, -1765328203, ConfigError),  # an empty one
        (-1765328240, 0, KerberosError),  # wrong principal
        (1859794438, 0, KerberosError),  # ASN1_BAD_ID
        (-1765328194, 0, KerberosError),  # KRB5_BAD_MSIZE
        (13, 0, StorageError),  # EACCES
        (28, 0, StorageError),  # ENOSPC
        (-1765328214, 0, StorageError),  # KRB5_RC_IO_IO
        (-1765328200, 0, StorageError),  # KRB5_KT_IOERR
    ],
)
def test_whose_fault_it_is(code: int, keytab: int, expected: type[Exception]) -> None:
    library = SimpleNamespace(krb5_kt_have_content=lambda *_: keytab)
    context: Any = SimpleNamespace(library=library, handle=None, describe=lambda number: f"error {number}")
    found = accept._explain(context, code, ctypes.c_void_p(), "192.0.2.7")
    assert type(found) is expected
    assert isinstance(found, AuthenticationError) == issubclass(expected, AuthenticationError)


@pytest.mark.parametrize(("value", "warned"), [("none:", True), ("NONE", True), ("dfl:", False), (None, False)])
def test_a_replay_cache_that_is_none(
    value: str | None, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has turned it off by the environment, maybe for another program, is told."""
    monkeypatch.setenv("KRB5RCACHENAME", "")
    if value is None:
        monkeypatch.delenv("KRB5RCACHENAME")
    else:
        monkeypatch.setenv("KRB5RCACHENAME", value)
    use_replay_cache("/nowhere/replay")
    assert os.environ["KRB5RCACHENAME"] == (value or "file2:/nowhere/replay")
    assert ("overheard" in caplog.text) is warned
