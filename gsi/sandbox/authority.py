"""The demo CA: a root, end-entity certificates and a CRL; for demonstrations only, its key lies in a file.

authority = DemoAuthority.make("/O=Grid Sandbox/CN=Sandbox CA", now=now)
certificate, key = authority.issue("/O=Grid Sandbox/CN=Alice", now=now)
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from gsi.certificate import Certificate
from gsi.keys import signature_digest
from gsi.lifetime import BACKDATE
from gsi.names import parse_oneline

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from gsi.keys import PrivateKey

__all__ = ["DemoAuthority"]

_CA_LIFETIME: Final = timedelta(days=365)
_EEC_LIFETIME: Final = timedelta(days=90)
_CRL_LIFETIME: Final = timedelta(days=30)
_BEGIN_BEFORE: Final = timedelta(days=2)  # so that an expired proxy can be shown under a valid certificate
_NO_USAGE: Final = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


class DemoAuthority:
    """A certification authority that lives in memory."""

    def __init__(self, certificate: Certificate, key: rsa.RSAPrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @property
    def key(self) -> rsa.RSAPrivateKey:
        """Its private key, for a service that issues by itself."""
        return self._key

    @classmethod
    def make(cls, name: str, *, now: datetime) -> DemoAuthority:
        """Return a new root with an RSA key, which every C grid program can use."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        builder = (
            _builder(name, name, key, now, _CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**{**_NO_USAGE, "key_cert_sign": True, "crl_sign": True}), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(_sign(builder, key), key)

    def issue(
        self, name: str, *, now: datetime, key: PrivateKey | None = None, hosts: Iterable[str] = ()
    ) -> tuple[Certificate, PrivateKey]:
        """Return an end-entity certificate and its key.

        Args:
            name: The subject in one-line form.
            now: The present, aware UTC.
            key: The subject's key; a new P-256 key when None.
            hosts: DNS names for a host certificate, which then serves both ends of TLS.
        """
        subject_key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        names = [x509.DNSName(host) for host in hosts]
        if names:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        key_usage = {**_NO_USAGE, "digital_signature": True, "key_encipherment": True}
        issuer_key = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = (
            _builder(name, self.certificate, subject_key, now, _EEC_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**key_usage), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _sign(builder, self._key), subject_key

    def crl(self, revoked: Iterable[Certificate], *, now: datetime) -> bytes:
        """Return a CRL in PEM that revokes these certificates from now on."""
        from cryptography.hazmat.primitives.serialization import Encoding

        issuer_key = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.x509.subject)
            .last_update(now - BACKDATE)
            .next_update(now + _CRL_LIFETIME)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
        )
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, signature_digest(self._key)).public_bytes(Encoding.PEM)


def _builder(
    subject: str, issuer: str | Certificate, key: PrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    issuer_name = issuer.x509.subject if isinstance(issuer, Certificate) else _name(issuer)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEGIN_BEFORE)
        .not_valid_after(now + lifetime)
    )


def _sign(builder: x509.CertificateBuilder, key: rsa.RSAPrivateKey) -> Certificate:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Certificate.parse(builder.sign(key, signature_digest(key)).public_bytes(Encoding.DER))


def _name(oneline: str) -> x509.Name:
    from gsi.names import rfc4514

    return x509.Name.from_rfc4514_string(rfc4514(parse_oneline(oneline)))
