"""`grid-proxy-init -verify` asked about a case: it signs one more proxy with the case's leaf and validates the whole.

So its question is a little another one: a leaf that may not or cannot sign is refused, whatever the case says of it.
It reads the clock; cases whose time matters do not apply to it. The key of the new proxy has 1024 bits, to be quick.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import Final

from peers.gsi import SWITCHES
from peers.suite import Case, Verdict

__all__ = ["NAME", "ask", "is_installed", "version"]

NAME: Final = "grid-proxy-init"
_PROGRAM: Final = "/usr/bin/grid-proxy-init"
_TIMEOUT: Final = 60.0  # seconds; a case takes ten milliseconds
_VERIFIES: Final = b"Couldn't verify the authenticity"


def is_installed() -> bool:
    """Tell whether the program is there."""
    return os.access(_PROGRAM, os.X_OK)


def version() -> str:
    """Return the program's own words."""
    done = subprocess.run([_PROGRAM, "-version"], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def ask(case: Case) -> Verdict:
    """Return what the program says."""
    if NAME in case.not_applicable or case.features & (SWITCHES - {"policy-language"}) or case.key is None:
        return Verdict.NOT_ASKED
    with tempfile.TemporaryDirectory(prefix="peer-") as directory:
        key = os.path.join(directory, "key.pem")
        shutil.copyfile(case.key, key)
        os.chmod(key, 0o600)
        chain = os.path.join(directory, "chain.pem")
        shutil.copyfile(case.chain, chain)
        os.chmod(chain, 0o600)  # it reads no chain that holds a key from a file that others may read
        command = [_PROGRAM, "-q", "-verify", "-bits", "1024", "-cert", chain, "-key", key]
        command += ["-certdir", str(case.trust_directory), "-out", os.path.join(directory, "proxy.pem")]
        done = subprocess.run(
            command,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": directory,
                "TZ": "UTC",
                "LC_ALL": "C.UTF-8",
                "X509_CERT_DIR": str(case.trust_directory),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
            start_new_session=True,
        )
    if done.returncode < 0:
        return Verdict.CRASH
    if done.returncode == 0:
        return Verdict.ACCEPT
    return Verdict.REFUSE if _VERIFIES in done.stdout + done.stderr else Verdict.NO_PROXY
