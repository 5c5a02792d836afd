"""LCMAPS with its VOMS plug-ins, asked for the accounts of proxies in a process of its own, through ctypes.

The plug-ins come from a directory that is no part of any search path: Debian's.

Workflow:
    found = lcmaps(directory, certificates, vomsdir, {"/vo/Role=x*": "daemon"}, [directory / "proxy.pem"])
    found[0]                                   # the account, or None: LCMAPS refuses
"""

from __future__ import annotations

import json
import pwd
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.harness.ca import write_file

__all__ = ["lcmaps"]

_MODULES: Final = Path("/usr/lib/lcmaps")
_GROUP: Final = "nogroup"
_POLICY: Final = """path = {modules}
account = "lcmaps_voms_localaccount.mod"
 " -gridmapfile {directory}/gridmap"
group = "lcmaps_voms_localgroup.mod"
 " -groupmapfile {directory}/groupmap"
policy:
account -> group
"""
_SCRIPT: Final = r"""
import ctypes, json, sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_uint

class Account(Structure):
    _fields_ = [("uid", c_uint), ("groups", POINTER(c_uint)), ("count", c_int),
                ("more", POINTER(c_uint)), ("more_count", c_int), ("pool", c_char_p)]

core = ctypes.CDLL("liblcmaps.so.0", mode=ctypes.RTLD_GLOBAL)
lib = ctypes.CDLL("liblcmaps_return_account_from_pem.so.0")
found = []
for path in json.load(sys.stdin):
    account = Account()
    core.lcmaps_account_info_init(byref(account))
    status = lib.lcmaps_return_account_from_pem(open(path, "rb").read(), 0, byref(account))
    found.append(None if status else account.uid)
print(json.dumps(found))
"""


def lcmaps(
    directory: Path, certificates: Path, vomsdir: Path, accounts: Mapping[str, str], proxies: Sequence[Path]
) -> list[str | None]:
    """Return the account that LCMAPS gives each proxy by its first FQAN that has one, or None.

    Args:
        directory: For its files.
        certificates: The trust directory.
        vomsdir: With the LSC files.
        accounts: Local accounts by FQAN as it is in certificates; a `*` at the end stands for anything.
        proxies: Files with proxies and their chains.
    """
    if not (_MODULES / "lcmaps_voms_localaccount.mod").exists():
        pytest.fail("missing interop peer: lcmaps-plugins-voms (tests/install-peers installs it)", pytrace=False)
    gridmap = "".join(f'"{fqan}" {account}\n' for fqan, account in accounts.items())
    write_file(directory / "gridmap", gridmap.encode(), 0o644)
    write_file(directory / "groupmap", "".join(f'"{fqan}" {_GROUP}\n' for fqan in accounts).encode(), 0o644)
    write_file(directory / "lcmaps.db", _POLICY.format(modules=_MODULES, directory=directory).encode(), 0o644)
    done = subprocess.run(
        [sys.executable, "-I", "-c", _SCRIPT],
        input=json.dumps([str(one) for one in proxies]),
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "X509_CERT_DIR": str(certificates),
            "X509_VOMS_DIR": str(vomsdir), "LCMAPS_DB_FILE": str(directory / "lcmaps.db"),
            "LCMAPS_LOG_FILE": str(directory / "lcmaps.log"),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [None if uid is None else pwd.getpwuid(uid).pw_name for uid in json.loads(done.stdout)]
