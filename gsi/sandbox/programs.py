"""Programs of others that take part where they are installed: where they are, and as whom they may run.

find_program("globus-gridftp-server")      # a path, or ""
"""

from __future__ import annotations

import os
import pwd
import shutil
from typing import Final

from gsi.system.environ import get_variable

__all__ = ["find_program", "ordinary_account"]

SERVANT: Final = "nobody"
"""Whom root's services run as: C services map nobody to root."""


def find_program(name: str) -> str:
    """Return the path of a program on PATH, or in an `sbin` beside a `bin` there; empty where there is none.

    Users have no `sbin` on their PATH, and need no rights for what lies in it.
    """
    path = (get_variable("PATH") or "").split(os.pathsep)
    places = [os.path.normpath(place) for place in path if os.path.isabs(place)]
    places += [os.path.join(os.path.dirname(place), "sbin") for place in places if os.path.basename(place) == "bin"]
    return shutil.which(name, path=os.pathsep.join(places)) or ""


def ordinary_account() -> pwd.struct_passwd:
    """Return the account that services of C run as, and map people to: one's own, or for root another one.

    Raises:
        KeyError: One has no account; root has no such one.
    """
    return pwd.getpwnam(SERVANT) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
