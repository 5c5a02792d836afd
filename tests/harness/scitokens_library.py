"""libscitokens, asked about tokens in a process of its own, through ctypes; it fetches keys over https by itself.

Its libcurl knows no other CAs than the system's file, and no variable changes that. So the process has a mount
namespace of its own, in which that file is the test CA's: nothing outside sees it.

Workflow:
    verdicts = libscitokens(ca.pem, directory, Question(text, issuer, AUDIENCE, (("read", "/data/f"),)))
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.harness.run import require_peer

__all__ = ["Question", "TokenVerdict", "libscitokens"]

_SYSTEM_CAS: Final = "/etc/ssl/certs/ca-certificates.crt"
_NAME: Final = "libSciTokens.so.0"


class Question(NamedTuple):
    """What is asked.

    Attributes:
        text: The token.
        issuer: Whose tokens are accepted.
        audience: Whom it has to be meant for.
        asked: Authorizations with their paths.
        profile: 0 for any kind of token, 2 SciTokens 2.0, 3 WLCG, 4 RFC 9068.
    """

    text: str
    issuer: str
    audience: str
    asked: tuple[tuple[str, str], ...]
    profile: int = 0


class TokenVerdict(NamedTuple):
    """What it says: one verdict for each authorization, none when the token itself is refused; and its words."""

    allowed: tuple[bool, ...] | None
    words: str


_SCRIPT: Final = r"""
import ctypes, json, sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_void_p

class Acl(Structure):
    _fields_ = [("authz", c_char_p), ("resource", c_char_p)]

lib = ctypes.CDLL("libSciTokens.so.0")
lib.enforcer_create.restype = c_void_p
lib.enforcer_create.argtypes = [c_char_p, POINTER(c_char_p), POINTER(c_char_p)]
lib.scitoken_deserialize.argtypes = [c_char_p, POINTER(c_void_p), POINTER(c_char_p), POINTER(c_char_p)]
lib.enforcer_test.argtypes = [c_void_p, c_void_p, POINTER(Acl), POINTER(c_char_p)]
lib.enforcer_set_validate_profile.argtypes = [c_void_p, c_int]
out = []
for text, issuer, audience, asked, profile in json.load(sys.stdin):
    token, error = c_void_p(), c_char_p()
    issuers, audiences = (c_char_p * 2)(issuer.encode(), None), (c_char_p * 2)(audience.encode(), None)
    if lib.scitoken_deserialize(text.encode(), byref(token), issuers, byref(error)):
        out.append([None, (error.value or b"").decode("utf-8", "replace")])
        continue
    enforcer = lib.enforcer_create(issuer.encode(), audiences, byref(error))
    lib.enforcer_set_validate_profile(enforcer, profile)
    verdicts = []
    for authz, path in asked:
        acl = Acl(authz.encode(), path.encode())
        verdicts.append(lib.enforcer_test(enforcer, token, byref(acl), byref(error)) == 0)
    out.append([verdicts, (error.value or b"").decode("utf-8", "replace")])
print(json.dumps(out))
"""


def libscitokens(ca_pem: bytes, directory: Path, *questions: Question) -> list[TokenVerdict]:
    """Ask it, with a fresh key cache in this directory; https sites of this CA are trusted, and no others."""
    trusted = directory / "trusted.pem"
    trusted.write_bytes(ca_pem)
    unshare = shutil.which("unshare", path="/usr/bin:/bin")
    if unshare is None or (os.geteuid() != 0 and not Path("/proc/self/ns/user").exists()):
        pytest.skip("no mount namespaces here, without which libscitokens knows no other CAs than the system's")
    kind = ["-m"] if os.geteuid() == 0 else ["-r", "-m"]
    mount = f'mount --bind "$1" {_SYSTEM_CAS} && shift && exec "$@"'
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(directory), "XDG_CACHE_HOME": str(directory)}
    if "LD_LIBRARY_PATH" in os.environ:  # where the library is not installed but unpacked
        env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    program = [sys.executable, "-I", "-c", _SCRIPT]
    done = subprocess.run(
        [unshare, *kind, "--propagation", "private", "sh", "-c", mount, "sh", trusted, *program],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
    )  # fmt: skip
    if done.returncode and _NAME in done.stderr:
        require_peer(_NAME)  # which is no program, so this says that it is missing
    assert done.returncode == 0, done.stderr
    return [
        TokenVerdict(None if allowed is None else tuple(allowed), words) for allowed, words in json.loads(done.stdout)
    ]
