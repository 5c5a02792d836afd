"""The CAs, users and trust directories that most cases share."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from builder.certificates import Entity, authority, issue
from builder.keys import load
from builder.names import name, subject_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ALICE",
    "ALICE_NAME",
    "CA_NAME",
    "OTHER_CA",
    "PLAIN",
    "ROOT",
    "STEM",
    "SUB",
    "SUB_ALICE",
    "SUB_POLICY",
    "TrustDir",
    "authority_files",
    "crl_pem",
    "pem",
    "policy",
    "user",
]

CA_NAME: Final = "/O=Grid/CN=Test CA"
ALICE_NAME: Final = "/O=Grid/OU=Test/CN=Alice"
ROOT: Final = authority(name(CA_NAME), load("rsa2048-root"), text=CA_NAME)
OTHER_CA: Final = authority(name("/O=Other/CN=Other CA"), load("rsa2048-other-root"), text="/O=Other/CN=Other CA")
STEM: Final = subject_hash(ROOT.subject)
ALICE: Final = issue(ROOT, name(ALICE_NAME), load("rsa2048-eec"), text=ALICE_NAME)
SUB: Final = issue(ROOT, name("/O=Grid/CN=Sub CA"), load("rsa2048-sub"), text="/O=Grid/CN=Sub CA", ca=True)
SUB_ALICE: Final = issue(SUB, name(ALICE_NAME), load("rsa2048-eec"), text=ALICE_NAME)


class TrustDir:
    """A trust directory: its name below `generated/trust` and its files."""

    def __init__(self, label: str, files: Mapping[str, bytes]) -> None:
        self.label = label
        self.files = dict(files)

    @property
    def has_crl(self) -> bool:
        """Whether a CRL of a CA that has a signing policy is in it, or what should be one."""
        stems = {name.partition(".")[0] for name in self.files if name.partition(".")[2].startswith("r")}
        return any(f"{stem}.signing_policy" in self.files for stem in stems)


def pem(label: str, content: bytes) -> bytes:
    """Return one PEM block."""
    text = base64.b64encode(content)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join((f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""))


def crl_pem(content: bytes) -> bytes:
    """Return a revocation list as trust directories hold it."""
    return pem("X509 CRL", content)


def policy(ca: str = CA_NAME, subjects: str = "'\"*\"'", rights: str = "pos_rights") -> str:
    """Return a signing policy of one entry."""
    return f"access_id_CA X509 '{ca}'\n{rights} globus CA:sign\ncond_subjects globus {subjects}\n"


def authority_files(
    ca: Entity, *, signing_policy: str | None = "", crl: bytes | None = None, number: int = 0
) -> dict[str, bytes]:
    """Return the files of one CA: certificate, a signing policy that permits all unless another is given, a CRL."""
    stem = subject_hash(ca.subject)
    files = {f"{stem}.{number}": pem("CERTIFICATE", ca.certificate)}
    if signing_policy is not None:
        files[f"{stem}.signing_policy"] = (signing_policy or policy(ca.text)).encode("latin-1")
    if crl is not None:
        files[f"{stem}.r{number}"] = crl_pem(crl)
    return files


def user(text: str = ALICE_NAME, *, key: str = "rsa2048-eec", issuer: Entity = ROOT) -> Entity:
    """Return an ordinary end entity of this name."""
    return issue(issuer, name(text), load(key), text=text)


PLAIN: Final = TrustDir("plain", authority_files(ROOT))

_SUB_STEM: Final = subject_hash(SUB.subject)
SUB_POLICY: Final = TrustDir(
    "sub-policy", {**PLAIN.files, f"{_SUB_STEM}.signing_policy": policy(SUB.text).encode("ascii")}
)
"""The root, and the signing policy of the CA below it, which itself is presented with the chain."""
