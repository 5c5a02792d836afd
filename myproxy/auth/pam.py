"""Pass phrases judged by PAM: the account's name, the pass phrase where a module asks for one, then the account itself.

    method = PAMMethod("myproxy")
    method.check("alice", passphrase)           # AuthenticationError, with the C server's words

PAM is asked in a process of its own (`myproxy.auth.pam_helper`), which can be ended; it runs as the server's user. What
that user may find out is PAM's business: `pam_unix` tells root about everybody and others about themselves alone. An
empty pass phrase is put to PAM like any other. Agrees with gct:myproxy/source/auth_pam.c.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gsi.ca.program import run_program
from gsi.errors import AuthenticationError, ConfigError, GridError
from myproxy.auth.base import Method, UnjudgedError

if TYPE_CHECKING:
    from gsi.secret import Passphrase

__all__ = ["PAM_SECONDS", "PAMMethod"]

PAM_SECONDS: Final = 30.0
"""How long PAM may take: the delays after wrong passwords are of seconds, and clients wait for two minutes."""
MAX_ANSWER_BYTES: Final = 4096
_HELPER: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pam_helper.py")


class PAMMethod:
    """A `PasswordMethod`. Safe for use by several threads."""

    method = Method.PAM

    def __init__(self, service: str, *, directory: str = "", seconds: float = PAM_SECONDS) -> None:
        """Name the service.

        Args:
            service: The file in /etc/pam.d that says how.
            directory: Where that file is instead.
            seconds: How long an answer may take.

        Raises:
            ConfigError: That is no name of a service, or there is no libpam.
        """
        if not service or "/" in service or "\0" in service or service.startswith("."):
            raise ConfigError(f"{service!r} is no name of a PAM service")
        self._service = service
        self._directory = directory
        self._seconds = seconds

    def check(self, username: str, passphrase: Passphrase) -> None:
        """See `PasswordMethod.check`."""
        answer = self._ask(username, passphrase)
        match answer[:1], answer[1:].strip():
            case "y", _:
                return
            case "u", _:
                raise AuthenticationError("invalid username")
            case "p", _:
                raise AuthenticationError("invalid password")
            case "n", words:
                raise AuthenticationError(f"PAM authentication failed: {words}")
            case "t", words:
                raise UnjudgedError(f"PAM authentication failed: {words}", asked=True)
        raise UnjudgedError("PAM authentication failed: no answer", asked=True)

    def _ask(self, username: str, passphrase: Passphrase) -> str:
        texts = (self._service.encode(), username.encode("utf-8", "surrogateescape"), passphrase.reveal())
        question = b"".join(text + b"\0" for text in (*texts, os.fsencode(self._directory)))
        if question.count(b"\0") != 4:
            raise AuthenticationError("PAM authentication failed: a NUL in the user name or pass phrase")
        argv = (sys.executable, "-I", "-S", _HELPER)
        try:
            answer = run_program(argv, stdin=question, seconds=self._seconds, max_bytes=MAX_ANSWER_BYTES)
        except GridError as error:
            raise UnjudgedError("PAM authentication failed: no answer", asked=True) from error
        return answer.decode("utf-8", "replace")
