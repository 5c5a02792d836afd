"""Looking with the eyes of whoever a service runs as, when root asks; changes nothing for anybody else.

    with as_owner("/var/lib/myproxy"):
        ...                                        # what that account may not read is not read

Root can read everything, so it would never see that a key belongs to the wrong account; and files that root makes are a
service's trouble later. The effective user and groups are those of the whole process: for one thread alone.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import TYPE_CHECKING

from gsi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["account_of", "as_owner"]


def account_of(path: str) -> str:
    """Return the name of a file's owner, or its uid where it has none."""
    return _name(os.stat(path).st_uid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@contextlib.contextmanager
def as_owner(path: str) -> Iterator[None]:
    """Be the owner of a file or directory for a while, if this is root; else, or if it is not there, change nothing.

    Raises:
        ConfigError: That account cannot read this program, so that neither a look nor a service runs as it.
    """
    try:
        found = os.stat(path)
    except OSError:
        yield
        return
    if os.geteuid() != 0 or found.st_uid == 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    try:
        entry = pwd.getpwuid(found.st_uid)
        own_gid, own_groups = entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid)
    except KeyError:
        own_gid, own_groups = found.st_gid, [found.st_gid]
    try:
        os.setgroups(own_groups)
        os.setegid(own_gid)
        os.seteuid(found.st_uid)
        for program in (os.__file__, __file__):
            if not os.access(program, os.R_OK, effective_ids=True):
                raise ConfigError(
                    f"{_name(found.st_uid)}, to whom {path} belongs, cannot read this program in {program}",
                    hint="no service of that account can run from here either: install it where everybody may read it",
                )
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)
