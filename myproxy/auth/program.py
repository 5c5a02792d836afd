"""Pass phrases judged by a program of the site's: the account's name as argument, the pass phrase on standard input.

    method = ProgramMethod("/usr/local/libexec/check-password")
    method.check("alice", passphrase)           # status 0: yes; anything else is a no

Status 75 (EX_TEMPFAIL) says that it cannot tell; so does one that is killed, or cannot be run.

The program is run by its path, without a shell, with the server's user and environment, and is killed when its time is
up. The pass phrase comes with a line feed behind it, and then the input ends; what the program writes is not looked at,
but the beginning of its standard error goes into the audit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.ca.program import PROGRAM_SECONDS, ProgramStatusError, run_program
from gsi.errors import AuthenticationError, GridError
from myproxy.auth.base import Method, UnjudgedError

if TYPE_CHECKING:
    from gsi.secret import Passphrase

__all__ = ["ProgramMethod"]

MAX_ANSWER_BYTES: Final = 4096
"""Nothing is expected."""
CANNOT_TELL: Final = 75
"""EX_TEMPFAIL of sysexits.h."""
_REFUSED: Final = "authentication failed"


class ProgramMethod:
    """A `PasswordMethod`. Safe for use by several threads."""

    method = Method.PROGRAM

    def __init__(self, path: str, *, seconds: float = PROGRAM_SECONDS) -> None:
        """Name the program.

        Args:
            path: Its whole path.
            seconds: How long it may take.
        """
        self._path = path
        self._seconds = seconds

    def check(self, username: str, passphrase: Passphrase) -> None:
        """See `PasswordMethod.check`. What could be taken for an option, or would be two lines, is refused unasked."""
        secret = passphrase.reveal()
        if not secret or b"\n" in secret or username.startswith("-"):
            raise AuthenticationError(_REFUSED)
        try:
            run_program((self._path, username), stdin=secret + b"\n", seconds=self._seconds, max_bytes=MAX_ANSWER_BYTES)
        except UnicodeEncodeError as error:
            raise AuthenticationError(_REFUSED) from error
        except ProgramStatusError as error:
            if error.status == CANNOT_TELL:
                raise UnjudgedError(_REFUSED, asked=True) from error
            raise AuthenticationError(_REFUSED) from error
        except GridError as error:
            raise UnjudgedError(_REFUSED, asked=True) from error
