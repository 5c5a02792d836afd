"""An authenticator for one-time codes in the place of a telephone: shows the present code of a secret; keeps nothing.

    python -m myproxy.sandbox.authenticator SECRET-FILE

For the sandbox's tour and tutorial; the file holds the secret in base32, as `myproxy-admin-otp` takes it and the portal
shows it.
"""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING

from gsi.system.clock import now
from gsi.system.files import read_private
from myproxy.auth.totp import PERIOD_SECONDS, code_at

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "present_code"]

MAX_BYTES = 1 << 10  # a secret has 32 characters


def present_code(secret: bytes) -> str:
    """Return the code of the present half minute."""
    return code_at(int(now().timestamp()) // PERIOD_SECONDS, secret).decode("ascii")


def main(argv: Sequence[str]) -> None:
    """Show the code.

    Raises:
        CredentialError: The file cannot be read, or others can read it.
        SystemExit: No file is named.
    """
    if len(argv) != 1:
        raise SystemExit("usage: authenticator SECRET-FILE")
    print(present_code(base64.b32decode(b"".join(read_private(argv[0], max_bytes=MAX_BYTES).split()))))


if __name__ == "__main__":
    main(sys.argv[1:])
