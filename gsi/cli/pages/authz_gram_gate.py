"""The prose of gsi-authz-gram-gate(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`gsi-authz-gram-gate` stands in the gatekeeper's service line before the job manager, and asks `gsi-authz-server`
whether the job may be started. A permit makes it become the job manager. A refusal is answered in GRAM's protocol at
once (error 162, or 163 where the daemon could not decide), with the reason and the decision's id where the client
shows them.

The job manager can ask before a start itself, but a job that it denies leaves the client waiting, lies on disk
already, and is run by the next job manager without another question. So the daemon permits a start in the job manager
only if the gate stands in front; its callout is for queries and cancellations.

A request whose body the job manager might read in another way than the gate is refused (error 10).
""",
    exit_status=(
        ("0", "The refusal is written. After a permit there is no status: the process is the job manager."),
        ("1", "The command line is wrong; the client is refused all the same."),
    ),
    environment=(
        ("GRID_SECURITY_HTTP_BODY_FD, CONTENT_LENGTH", "The request, from the gatekeeper."),
        ("SSL_CLIENT_CERT, SSL_CLIENT_CERT_CHAIN0, ...", "The client's certificates, from the gatekeeper."),
        ("GSI_AUTHZ_GATE", "Set for the job manager, whose callout tells the daemon by it that the gate was passed."),
    ),
    files=(("/etc/grid-services/jobmanager-fork", "A service line, which is one line."),),
    examples=(
        (
            "A service line with the gate, where REST is what stood there without: program, name, arguments:",
            "stderr_log,local_cred - /usr/bin/gsi-authz-gram-gate gsi-authz-gram-gate -- REST",
        ),
    ),
    see_also=("gsi-authz-server(8)", "gsi-authz-build-callout(8)"),
)
