"""What services of C need in the sandbox: the callout that asks the deciding daemon, and files of their own.

Everything lies where the account they run as may enter. Which services those are is not known here.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from gsi.authz.callout.build import LIBRARY_NAME, ConfOptions, compile_library, render_conf
from gsi.sandbox.authz import socket_path
from gsi.sandbox.programs import ordinary_account
from gsi.system.files import write_private, write_public

if TYPE_CHECKING:
    from pathlib import Path

    from gsi.sandbox.vo import VO

__all__ = ["COMPILER", "callout_conf", "give", "hand_over", "make_callout"]

COMPILER: Final = "cc"


def callout_conf(vo: VO) -> Path:
    """Return the file by which services of C find the callout."""
    return vo.common / "callout" / "gsi-authz.conf"


def make_callout(vo: VO) -> None:
    """Compile the callout's library, once, and say where it is.

    Raises:
        ConfigError: It cannot be compiled.
    """
    conf = callout_conf(vo)
    if conf.exists():
        return
    conf.parent.mkdir(mode=0o755, exist_ok=True)
    compile_library(str(conf.parent))
    options = ConfOptions(library=str(conf.parent / LIBRARY_NAME), socket=str(socket_path(vo)), server_uid=os.geteuid())
    write_public(str(conf), render_conf(options).encode(), mode=0o644)


def hand_over(vo: VO, place: Path, *names: str) -> None:
    """Make a directory with the trusted CAs and the host's certificate that belongs to whom services of C run as.

    Args:
        vo: Whose they are.
        place: The directory.
        names: Directories to make in it.
    """
    shutil.rmtree(place, ignore_errors=True)  # half made when a disk was full
    place.mkdir(mode=0o755)
    shutil.copytree(vo.trust_dir, place / "certificates")
    write_public(str(place / "hostcert.pem"), vo.host_certificate_path.read_bytes(), mode=0o644)
    write_private(str(place / "hostkey.pem"), vo.host_key_path.read_bytes())
    for name in names:
        (place / name).mkdir()
    give(place)


def give(place: Path) -> None:
    """Give a directory and all that is in it to whom services of C run as, where that is another account."""
    if os.geteuid() == 0:
        entry = ordinary_account()
        for path in (place, *place.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid)
