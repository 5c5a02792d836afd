"""The process in which PAM is asked: one question on standard input, one answer on standard output; no decisions.

Run by `myproxy.auth.pam` as a script of its own, without site packages. PAM modules are somebody else's code: some
sleep after a wrong password, some hang on a network, few are made for threads. Here they may; the server's process does
not notice, and ends this one when its time is up.

Input: service, user name, password and directory of service files (empty: the system's), with a NUL after each.
Output: a letter and a text in UTF-8. `y`: accepted. `u`: no such user. `p`: wrong password. `t`: PAM cannot tell, with
its words. `n`: anything else, with PAM's words. What a module tells the user goes to standard error.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

__all__: list[str] = []

PAM_SUCCESS: Final = 0
PAM_AUTH_ERR: Final = 7
PAM_CANNOT_TELL: Final = frozenset({1, 2, 5, 9, 24, 26, 28})
"""OPEN_ERR, SYMBOL_ERR, BUF_ERR, AUTHINFO_UNAVAIL, TRY_AGAIN, ABORT, MODULE_UNKNOWN. Not SYSTEM_ERR, which is what
pam_exec makes of a program's no."""
PAM_USER_UNKNOWN: Final = 10
PAM_CONV_ERR: Final = 19
PAM_SILENT: Final = 0x8000
PAM_USER_PROMPT: Final = 9
PROMPT_ECHO_OFF: Final = 1
PROMPT_ECHO_ON: Final = 2
MAX_MESSAGES: Final = 32  # PAM_MAX_NUM_MSG
MAX_INPUT_BYTES: Final = 256 * 1024  # a user name and a pass phrase of the largest sizes, and paths


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("code", ctypes.c_int))


_Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)


class _Conversation(ctypes.Structure):
    _fields_ = (("converse", _Converse), ("data", ctypes.c_void_p))


class _PAM:
    """One conversation with libpam."""

    def __init__(self, user: bytes, password: bytes) -> None:
        self._pam = ctypes.CDLL("libpam.so.0")
        self._libc = ctypes.CDLL(None)
        self._libc.calloc.restype = self._libc.strdup.restype = ctypes.c_void_p
        self._libc.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
        self._pam.pam_strerror.restype = ctypes.c_char_p
        self._user = user
        self._password = password
        self._handle = ctypes.c_void_p()
        self._conversation = _Conversation(_Converse(self._converse), None)

    def ask(self, service: bytes, directory: bytes) -> tuple[str, str]:
        """Return the letter and the words."""
        conversation, handle = ctypes.byref(self._conversation), ctypes.byref(self._handle)
        if directory:
            status = self._pam.pam_start_confdir(service, self._user, conversation, directory, handle)
        else:
            status = self._pam.pam_start(service, self._user, conversation, handle)
        if status == PAM_SUCCESS:
            status = self._pam.pam_authenticate(self._handle, 0)
            if status == PAM_SUCCESS:
                status = self._pam.pam_acct_mgmt(self._handle, PAM_SILENT)
        words = self._pam.pam_strerror(self._handle, status) or b"no reason given"
        if self._handle.value is not None:
            self._pam.pam_end(self._handle, status)
        letter = {PAM_SUCCESS: "y", PAM_USER_UNKNOWN: "u", PAM_AUTH_ERR: "p"}.get(
            status, "t" if status in PAM_CANNOT_TELL else "n"
        )
        return letter, words.decode("utf-8", "replace")

    def _converse(self, count: int, messages: ctypes._Pointer, answers: ctypes._Pointer, _data: int | None) -> int:  # type: ignore[type-arg]  # made by CFUNCTYPE
        """Answer a module's questions: what is hidden while typed is the password, the rest at most the user's name."""
        if not 0 < count <= MAX_MESSAGES:
            return PAM_CONV_ERR
        memory = self._libc.calloc(count, ctypes.sizeof(_Response))  # PAM gives it and the texts back with free()
        if not memory:
            return PAM_CONV_ERR
        responses = ctypes.cast(memory, ctypes.POINTER(_Response))
        for index in range(count):
            message = messages[index].contents
            if message.style == PROMPT_ECHO_OFF:
                responses[index].text = self._libc.strdup(self._password)
            elif message.style == PROMPT_ECHO_ON:
                if message.text == self._user_prompt():
                    responses[index].text = self._libc.strdup(self._user)
            else:
                sys.stderr.write((message.text or b"").decode("utf-8", "replace") + "\n")
        answers[0] = memory
        return PAM_SUCCESS

    def _user_prompt(self) -> bytes | None:
        prompt = ctypes.c_char_p()
        status = self._pam.pam_get_item(self._handle, PAM_USER_PROMPT, ctypes.byref(prompt))
        return (prompt.value or b"login: ") if status == PAM_SUCCESS else None


def main() -> int:
    """Ask once."""
    parts = sys.stdin.buffer.read(MAX_INPUT_BYTES).split(b"\0")
    if len(parts) != 5 or not parts[0] or not parts[1]:
        return 2
    service, user, password, directory, _ = parts
    letter, words = _PAM(user, password).ask(service, directory)
    sys.stdout.write(letter + words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
