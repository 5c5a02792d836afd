"""Pieces that the man pages of the voms-proxy-* commands share."""

from __future__ import annotations

from typing import Final

__all__ = ["CONF", "TRUSTED_SERVERS", "VOMSES", "VOMSES_FILES", "VOMS_DIR"]

VOMS_DIR: Final = (
    "X509_VOMS_DIR",
    "The directory of trusted VOMS servers, in place of `/etc/grid-security/vomsdir`.",
)

VOMSES: Final = (
    "X509_VOMSES, VOMS_USERCONF",
    "Files and directories of vomses lines, with colons between them, in place of the usual ones.",
)

VOMSES_FILES: Final = (
    "~/.glite/vomses, ~/.voms/vomses, /etc/vomses, /etc/grid-security/vomses",
    "Where the servers of VOs are: files or directories; a line has alias, host, port, server's name and VO in quotes.",
)

TRUSTED_SERVERS: Final = (
    "/etc/grid-security/vomsdir/<vo>/<host>.lsc",
    "Which server is trusted for a VO: its name, that of its CA, and so on upwards, a line each.",
)

CONF: Final = """
A file of options cannot name another one with `-conf`.
"""
