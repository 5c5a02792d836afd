"""The C mechanism driven through ctypes, one call per line on standard input; run as a program of its own.

It may crash, which is why it never runs within the tests: `tests.harness.gssapi` starts it and speaks to it. Standard
library only. Every line is a JSON object {"call": name, ...}; the answer is one, too. Bytes travel as base64.
"""

from __future__ import annotations

import base64
import ctypes
import json
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from typing import Any

LIBRARY = "libglobus_gssapi_gsi.so.4"
COMMON = "libglobus_common.so.0"


class Buffer(ctypes.Structure):
    """gss_buffer_desc."""

    _fields_ = [("length", c_size_t), ("value", c_void_p)]


class BufferSet(ctypes.Structure):
    """gss_buffer_set_desc."""

    _fields_ = [("count", c_size_t), ("elements", POINTER(Buffer))]


class Peer:
    """One credential and one context."""

    def __init__(self) -> None:
        self.gss = ctypes.CDLL(LIBRARY)
        self.common = ctypes.CDLL(COMMON)
        self.common.globus_error_get.restype = c_void_p
        self.common.globus_error_print_friendly.restype = c_char_p
        self.common.globus_error_print_friendly.argtypes = [c_void_p]
        self.context = c_void_p()
        self.credential = c_void_p()
        self.target = c_void_p()
        self.delegated = c_void_p()
        self._kept: list[Any] = []

    def _check(self, major: int, minor: c_uint32, **values: object) -> dict[str, object]:
        answer: dict[str, object] = {"major": major, **values}
        if major & 0xFFFF0000 or major & ~1:
            error = self.common.globus_error_get(minor)
            answer["error"] = (self.common.globus_error_print_friendly(error) or b"").decode(errors="replace")
        return answer

    def _buffer(self, text: str | None) -> Any:
        if text is None:
            return None
        data = base64.b64decode(text)
        raw = ctypes.create_string_buffer(data, len(data))
        self._kept.append(raw)
        return byref(Buffer(len(data), ctypes.cast(raw, c_void_p)))

    def _take(self, buffer: Buffer) -> str:
        data = ctypes.string_at(buffer.value, buffer.length) if buffer.value and buffer.length else b""
        self.gss.gss_release_buffer(byref(c_uint32()), byref(buffer))
        return base64.b64encode(data).decode()

    def _name(self, text: str, kind: str) -> tuple[c_void_p, int, c_uint32]:
        minor, name = c_uint32(), c_void_p()
        data = base64.b64encode(text.encode()).decode()
        major = self.gss.gss_import_name(byref(minor), self._buffer(data), c_void_p.in_dll(self.gss, kind), byref(name))
        return name, major, minor

    def acquire(self, usage: int) -> dict[str, object]:
        """gss_acquire_cred of the default credential; usage 0 both, 1 initiate, 2 accept."""
        minor = c_uint32()
        major = self.gss.gss_acquire_cred(byref(minor), None, 0, None, usage, byref(self.credential), None, None)
        return self._check(major, minor)

    def name(self, text: str, kind: str) -> dict[str, object]:
        """gss_import_name of the target."""
        self.target, major, minor = self._name(text, kind)
        return self._check(major, minor)

    def compare(self, one: str, one_kind: str, other: str, other_kind: str) -> dict[str, object]:
        """gss_compare_name."""
        first, *_ = self._name(one, one_kind)
        second, *_ = self._name(other, other_kind)
        minor, equal = c_uint32(), c_int()
        major = self.gss.gss_compare_name(byref(minor), first, second, byref(equal))
        return self._check(major, minor, equal=bool(equal.value))

    def init(self, token: str | None, flags: int) -> dict[str, object]:
        """gss_init_sec_context."""
        minor, output, ret, mech, time = c_uint32(), Buffer(), c_uint32(), c_void_p(), c_uint32()
        major = self.gss.gss_init_sec_context(
            byref(minor), self.credential, byref(self.context), self.target, None, c_uint32(flags), c_uint32(0), None,
            self._buffer(token), byref(mech), byref(output), byref(ret), byref(time),
        )  # fmt: skip
        return self._check(major, minor, token=self._take(output), flags=ret.value, time=time.value)

    def accept(self, token: str | None, flags: int) -> dict[str, object]:
        """gss_accept_sec_context; what is asked for goes in by ret_flags."""
        minor, output, ret, mech, time = c_uint32(), Buffer(), c_uint32(flags), c_void_p(), c_uint32()
        source, delegated = c_void_p(), c_void_p()
        major = self.gss.gss_accept_sec_context(
            byref(minor), byref(self.context), self.credential, self._buffer(token), None, byref(source), byref(mech),
            byref(output), byref(ret), byref(time), byref(delegated),
        )  # fmt: skip
        if delegated.value:
            self.delegated = delegated
        return self._check(major, minor, token=self._take(output), flags=ret.value, time=time.value)

    def wrap(self, message: str, conf: int, qop: int) -> dict[str, object]:
        """gss_wrap."""
        minor, output, state = c_uint32(), Buffer(), c_int()
        major = self.gss.gss_wrap(
            byref(minor), self.context, conf, c_uint32(qop), self._buffer(message), byref(state), byref(output)
        )
        return self._check(major, minor, token=self._take(output), conf=state.value)

    def unwrap(self, token: str) -> dict[str, object]:
        """gss_unwrap."""
        minor, output, state, qop = c_uint32(), Buffer(), c_int(), c_uint32()
        major = self.gss.gss_unwrap(
            byref(minor), self.context, self._buffer(token), byref(output), byref(state), byref(qop)
        )
        return self._check(major, minor, message=self._take(output), conf=state.value)

    def get_mic(self, message: str) -> dict[str, object]:
        """gss_get_mic."""
        minor, output = c_uint32(), Buffer()
        major = self.gss.gss_get_mic(byref(minor), self.context, c_uint32(0), self._buffer(message), byref(output))
        return self._check(major, minor, token=self._take(output))

    def init_delegation(self, token: str | None, flags: int, seconds: int) -> dict[str, object]:
        """gss_init_delegation of our own credential."""
        minor, output = c_uint32(), Buffer()
        major = self.gss.gss_init_delegation(
            byref(minor), self.context, self.credential, None, None, None, self._buffer(token), c_uint32(flags),
            c_uint32(seconds), byref(output),
        )  # fmt: skip
        return self._check(major, minor, token=self._take(output))

    def accept_delegation(self, token: str | None, flags: int) -> dict[str, object]:
        """gss_accept_delegation."""
        minor, output, time, delegated, mech = c_uint32(), Buffer(), c_uint32(), c_void_p(), c_void_p()
        major = self.gss.gss_accept_delegation(
            byref(minor), self.context, None, None, self._buffer(token), c_uint32(flags), c_uint32(0), byref(time),
            byref(delegated), byref(mech), byref(output),
        )  # fmt: skip
        if delegated.value:
            self.delegated = delegated
        return self._check(major, minor, token=self._take(output), time=time.value)

    def export(self) -> dict[str, object]:
        """gss_export_cred of what was delegated: a proxy file's text."""
        minor, output = c_uint32(), Buffer()
        major = self.gss.gss_export_cred(byref(minor), self.delegated, None, c_uint32(0), byref(output))
        return self._check(major, minor, pem=self._take(output))

    def _display(self, name: c_void_p) -> str:
        if not name.value:
            return ""
        output = Buffer()
        self.gss.gss_display_name(byref(c_uint32()), name, byref(output), byref(c_void_p()))
        return base64.b64decode(self._take(output)).decode(errors="replace")

    def inquire(self) -> dict[str, object]:
        """gss_inquire_context."""
        minor, source, target, life, mech = c_uint32(), c_void_p(), c_void_p(), c_uint32(), c_void_p()
        flags, local, is_open = c_uint32(), c_int(), c_int()
        major = self.gss.gss_inquire_context(
            byref(minor), self.context, byref(source), byref(target), byref(life), byref(mech), byref(flags),
            byref(local), byref(is_open),
        )  # fmt: skip
        return self._check(
            major,
            minor,
            source=self._display(source),
            target=self._display(target),
            lifetime=life.value,
            flags=flags.value,
            local=local.value,
            open=is_open.value,
        )

    def by_oid(self, name: str) -> dict[str, object]:
        """gss_inquire_sec_context_by_oid of one of the mechanism's own questions."""
        minor, found = c_uint32(), POINTER(BufferSet)()
        oid = c_void_p.in_dll(self.gss, name)  # the variable is a pointer
        major = self.gss.gss_inquire_sec_context_by_oid(byref(minor), self.context, oid, byref(found))
        values = []
        if major == 0:
            for index in range(found.contents.count):
                one = found.contents.elements[index]
                data = ctypes.string_at(one.value, one.length) if one.length else b""
                values.append(base64.b64encode(data).decode())
        return self._check(major, minor, values=values)


def main() -> None:
    """Answer until the input ends."""
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(peer, request.pop("call"))(**request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
