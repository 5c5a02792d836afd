"""The prose of myproxy-admin-load-credential(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`myproxy-admin-load-credential` puts a certificate and its key into a MyProxy repository. It runs on the server's
machine, as the server's user or as root, and works beside running servers. The key stays under the pass phrase that
its file has. The certificate's chain has to be valid here, and its identity becomes the credential's owner. What is
stored is recorded in the server's audit log before.
""",
    exit_status=(
        ("0", "Done."),
        ("1", "It was not; the error says why."),
    ),
    environment=(
        ("LOGNAME", "The default of `-l`."),
        ("X509_CERT_DIR", "The trust directory."),
    ),
    files=(
        ("/etc/myproxy-server.config", "The server's configuration."),
        ("/var/lib/myproxy", "The storage directory."),
    ),
    examples=(
        (
            "Store Alice's certificate, for anybody with its pass phrase:",
            "myproxy-admin-load-credential -c cert.pem -y key.pem -l alice -a",
        ),
    ),
    differences="""\
As root the command acts as the owner of the storage directory that was named; the C command acts as that of
/var/lib/myproxy, and fails when `-s` names another. A key without a pass phrase is stored with a warning, unless `-n`
or a policy for uses that need it so (`-R`, `-A`, `-Z`) says that it is meant; `--require_passphrase` refuses it. A
chain that is not valid is refused. Somebody else's credential is not replaced.
""",
    see_also=("myproxy-server(8)", "myproxy-admin-query(8)"),
)
