"""The prose of myproxy-admin-query(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-query` shows what a MyProxy repository holds, and removes, locks and unlocks credentials. It runs on the
server's machine, as the server's user or as root, and works beside running servers. Every change is recorded in the
server's audit log before it is made.

A locked credential stays where it is; whoever asks for it gets the message.

With `--verify-audit` it reads the server's audit files, those that rotation has put aside included, and tells lines
that were altered, removed or put in, and those that a crash has cut off. The lines of a file form a chain by their
hashes. That the end of a file was cut off while no server wrote cannot be seen in the file: keep the last link, which
is printed, elsewhere, and look later whether it is still there.
""",
    exit_status=(
        ("0", "Done, also when nothing was found."),
        ("1", "Something is wrong; the error says what."),
        ("2", "With `--verify-audit`: somebody has changed the audit."),
    ),
    environment=(("X509_CERT_DIR", "The trust directory, for `-i`."),),
    files=(
        ("/etc/myproxy-server.config", "The server's configuration, which says where the audit log is."),
        ("/var/lib/myproxy", "The storage directory."),
    ),
    examples=(
        ("What expires within a day:", "myproxy-admin-query -e 24"),
        ("Lock all that Alice has stored:", "myproxy-admin-query -o /O=Grid/CN=Alice -L 'Ask the help desk.'"),
        ("Remove what is no longer valid:", "myproxy-admin-query -i -r"),
        ("See whether the audit is whole:", "myproxy-admin-query --verify-audit"),
    ),
    differences="""\
`-r`, `-L` and `-U` without a query mean every credential of everybody, as in C; at a terminal you are asked first,
unless you say `--all`.
""",
    see_also=("myproxy-server(8)", "myproxy-info(1)"),
)
