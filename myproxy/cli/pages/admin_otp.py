"""The prose of myproxy-admin-otp(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-otp` gives a user of a MyProxy server a secret for one-time codes (TOTP, RFC 6238), which an
authenticator shows every thirty seconds anew. The server asks for codes where its configuration says `otp required`,
`otp enrolled` (of those who have an authenticator) or `otp sufficient`, and needs `otp_key_file`, the key that the
secrets are sealed with in the repository.

The secret is printed once, as text and as an otpauth:// address, which most authenticators take as a picture made with
a program such as qrencode(1). A user who lost an authenticator gets a new secret; the former one ends with it. Codes
that were used before stay used up.

Users give a code behind their pass phrase, without a blank, with whatever client they have; *myproxy-logon --otp* asks
for the two one after the other. Where a credential has no pass phrase, and with `otp sufficient`, the code stands
alone.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "It was not; the error says why."),
    ),
    environment=(("LOGNAME", "The default of `-l`."),),
    files=(
        ("/etc/myproxy-server.config", "The server's configuration."),
        ("/var/lib/myproxy", "The storage directory."),
    ),
    examples=(
        (
            "A new authenticator for alice, shown as a picture in the terminal:",
            "myproxy-admin-otp -q -l alice | qrencode -t UTF8",
        ),
        (
            "The key that secrets are sealed with, once for all servers of a repository:",
            "umask 077; openssl rand -hex 32 > /etc/myproxy/otp.key",
        ),
    ),
    differences="""\
There is no such C command.
""",
    see_also=("myproxy-server(8)", "myproxy-logon(1)"),
)
