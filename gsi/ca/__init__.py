"""Issuing certificates: the room that MyProxy's CA mode, the KCA and grid-ca-sign share. This front door has no code.

    from gsi.ca import Grant, Issuer, load_signer, parse_request

    signer = load_signer("/etc/ca/private/cakey.pem", passphrase=ask)
    issuer = Issuer(ca_certificate, signer, recorder=log)
    issued = issuer.issue(parse_request(der), grant, now=now())

Authorise by handing over, not by asking: whoever decides that a requester may have a certificate makes a `Grant`, and
without one nothing can be issued. `Issuer` applies it in a written order of steps (`gsi.ca.issuer`). The key is behind
`Signer`: in a file, in an external program, in a PKCS#11 token. Every name is loaded at its first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gsi.ca.crl import RevokedEntry, make_crl
    from gsi.ca.directory import CADirectory
    from gsi.ca.grant import Grant
    from gsi.ca.issuer import Issued, Issuer
    from gsi.ca.lint import find_faults
    from gsi.ca.program import ProgramChecker, run_program
    from gsi.ca.records import AuditRecorder, IssuanceRecord, Recorder
    from gsi.ca.request import CertificateRequest, load_request, parse_request
    from gsi.ca.root import make_root
    from gsi.ca.serials import SerialFile, random_serial
    from gsi.ca.signer import Digest, KeySigner, Signer, load_signer

__all__ = [
    "AuditRecorder",
    "CADirectory",
    "CertificateRequest",
    "Digest",
    "Grant",
    "IssuanceRecord",
    "Issued",
    "Issuer",
    "KeySigner",
    "ProgramChecker",
    "Recorder",
    "RevokedEntry",
    "SerialFile",
    "Signer",
    "find_faults",
    "load_request",
    "load_signer",
    "make_crl",
    "make_root",
    "parse_request",
    "random_serial",
    "run_program",
]

_ROOMS: Final = {
    "gsi.ca.crl": ("RevokedEntry", "make_crl"),
    "gsi.ca.directory": ("CADirectory",),
    "gsi.ca.grant": ("Grant",),
    "gsi.ca.issuer": ("Issued", "Issuer"),
    "gsi.ca.lint": ("find_faults",),
    "gsi.ca.program": ("ProgramChecker", "run_program"),
    "gsi.ca.records": ("AuditRecorder", "IssuanceRecord", "Recorder"),
    "gsi.ca.request": ("CertificateRequest", "load_request", "parse_request"),
    "gsi.ca.root": ("make_root",),
    "gsi.ca.serials": ("SerialFile", "random_serial"),
    "gsi.ca.signer": ("Digest", "KeySigner", "Signer", "load_signer"),
}


if not TYPE_CHECKING:  # a type checker must not take every unknown name for one of ours

    def __getattr__(name: str) -> object:
        """Load a name from its room at its first use and keep it."""
        for room, names in _ROOMS.items():
            if name in names:
                from importlib import import_module

                found: object = getattr(import_module(room), name)
                globals()[name] = found
                return found
        raise AttributeError(f"module 'gsi.ca' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
