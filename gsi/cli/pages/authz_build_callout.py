"""The prose of gsi-authz-build-callout(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`gsi-authz-build-callout` compiles the library that GridFTP servers, gatekeepers and GRAM job managers load to ask
`gsi-authz-server`, and writes the configuration that makes them do so. It needs a C compiler and the C library's
headers, and nothing of Globus.

It writes three files. `libgsi_authz_callout.so` is the library; one that is there is replaced as a whole, so that
services that have loaded it go on with the old one. `gsi-authz.conf` names it for every question that the services
can ask: they read it from `/etc/grid-security`, or from where `GSI_AUTHZ_CONF` says. `gridftp-authz.conf` has lines
for `gridftp.conf`, which disable commands that no callout is asked about.

A file that the services do not find, or a line that is missing in it, does not stop them: they silently allow what
was to be asked. So both belong into the monitoring of a site.
""",
    exit_status=(
        ("0", "All is written."),
        ("1", "There is no compiler, it failed, or the directory is not safe; nothing was replaced."),
    ),
    files=(
        ("/etc/grid-security/gsi-authz.conf", "Where the services look."),
        ("/run/gsi-authz/socket", "The daemon's socket."),
    ),
    examples=(
        (
            "For a daemon that runs as an account of its own:",
            "gsi-authz-build-callout -install /usr/local/lib/gsi-authz -server-user gsi-authz",
        ),
        (
            "See what would be written:",
            "gsi-authz-build-callout -install /usr/local/lib/gsi-authz -print-conf",
        ),
    ),
    see_also=("gsi-authz-server(8)", "gsi-authz-gram-gate(8)"),
)
