"""`openssl verify -allow_proxy_certs` asked about a case.

It knows proxies of RFC 3820's form and CRLs, and nothing of signing policies, namespaces, limited proxies and the older
forms. CRLs: `-crl_check_all` where the case requires them or its trust directory has some, since OpenSSL has no
"if there is one".

The program passes over a block that it cannot parse and takes the next certificate of the file for the leaf. So it is
given the leaf in a file of its own, but for the cases that ask about just that (feature `pem`).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import Final

from peers.suite import Case, Verdict

__all__ = ["NAME", "ask", "version"]

NAME: Final = "openssl"
_TIMEOUT: Final = 30.0  # seconds; a case takes some milliseconds
_END: Final = b"-----END CERTIFICATE-----"
_PURPOSE: Final = {"CLIENT": "sslclient", "SERVER": "sslserver", "ANY": "any"}
# Files that OpenSSL does not read, and switches that a case turns and OpenSSL does not have.
_UNKNOWN: Final = frozenset(
    {
        "signing-policy",
        "namespaces",
        "limited-switch",
        "gt2-switch",
        "gt3-switch",
        "signing-policy-switch",
        "weak-signatures",
        "max-chain",
    }
)


def version() -> str:
    """Return the version of the library that validates, which may have been upgraded without the program."""
    done = subprocess.run(["openssl", "version"], capture_output=True, text=True, timeout=_TIMEOUT, check=True)
    return " ".join(done.stdout.partition("(Library: ")[2].split()[:2])


def ask(case: Case) -> Verdict:
    """Return what OpenSSL says."""
    if NAME in case.not_applicable or case.features & _UNKNOWN:
        return Verdict.NOT_ASKED
    command = ["openssl", "verify", "-allow_proxy_certs", "-no-CAfile", "-no-CAstore"]
    command += ["-CApath", str(case.trust_directory), "-attime", str(int(case.time.timestamp()))]
    if "extended-key-usage-switch" in case.features:
        command += ["-purpose", "any"]
    else:
        command += ["-purpose", _PURPOSE[case.purpose]]
    if case.crl == "require" or (case.crl == "if-present" and "crl" in case.features):
        command.append("-crl_check_all")
    with tempfile.TemporaryDirectory(prefix="peer-") as directory:
        target = str(case.chain) if "pem" in case.features else _write_leaf(case, directory)
        command += ["-untrusted", str(case.chain), target]
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=False)
    if done.returncode < 0:
        return Verdict.CRASH
    return Verdict.ACCEPT if done.returncode == 0 else Verdict.REFUSE


def _write_leaf(case: Case, directory: str) -> str:
    content = case.chain.read_bytes()
    end = content.index(_END) + len(_END)
    path = os.path.join(directory, "leaf.pem")
    with open(path, "wb") as file:
        file.write(content[:end] + b"\n")
    return path
