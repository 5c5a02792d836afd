"""KDCs that take certificates: their own certificate, made on pyca/cryptography alone, and their settings.

Workflow:
    install_kdc_certificate(directory, ca, "TEST.EXAMPLE")
    with mit_kdc(tmp_path, users=..., services=..., settings=mit_settings(directory), orders=[...]) as realm: ...
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier

from tests.harness.ca import TestCA, tlv

__all__ = ["heimdal_settings", "install_kdc_certificate", "mit_settings"]

PKINIT_SAN: Final = ObjectIdentifier("1.3.6.1.5.2.2")
KDC_PURPOSE: Final = ObjectIdentifier("1.3.6.1.5.2.3.5")


def _string(text: str) -> bytes:
    return tlv(0x1B, text.encode())


def install_kdc_certificate(directory: Path, ca: TestCA, realm: str) -> None:
    """Write `kdc.pem`, `kdc.key` and `ca.pem` for the KDC of a realm (RFC 4556 section 3.2.4)."""
    name = tlv(0x30, tlv(0xA0, tlv(0x02, b"\x02")) + tlv(0xA1, tlv(0x30, _string("krbtgt") + _string(realm))))
    value = tlv(0x30, tlv(0xA0, _string(realm)) + tlv(0xA1, name))
    made = ca.issue(
        f"/O=Grid/CN=KDC of {realm}",
        "rsa2048",
        extensions=[
            (x509.SubjectAlternativeName([x509.OtherName(PKINIT_SAN, value)]), False),
            (x509.ExtendedKeyUsage([KDC_PURPOSE]), False),
        ],
    )
    made.write(directory / "kdc.pem", directory / "kdc.key")
    (directory / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))


def mit_settings(directory: Path, *, indicator: bool = True, checking: str = "none") -> str:
    """Lines for the realm in kdc.conf."""
    return (
        f"  pkinit_identity = FILE:{directory}/kdc.pem,{directory}/kdc.key\n"
        f"  pkinit_anchors = FILE:{directory}/ca.pem\n"
        f"  pkinit_eku_checking = {checking}\n" + ("  pkinit_indicator = pkinit\n" if indicator else "")
    )


def heimdal_settings(directory: Path, *, proxies: bool) -> str:
    """Lines for `[kdc]`; mappings are in `pki-mapping`."""
    return (
        "enable-pkinit = yes\n"
        f"pkinit_identity = FILE:{directory}/kdc.pem,{directory}/kdc.key\n"
        f"pkinit_anchors = FILE:{directory}/ca.pem\n"
        "pkinit_principal_in_certificate = yes\n"
        f"pkinit_mappings_file = {directory}/pki-mapping\n"
        f"pkinit_allow_proxy_certificate = {'yes' if proxies else 'no'}\n"
    )
