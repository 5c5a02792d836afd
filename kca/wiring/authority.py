"""The CA that the configuration describes, tried as far as that goes without issuing anything.

with open_signer(config.authority) as signer:               # for revocation lists
authority = make_authority(config.authority)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.ca.issuer import Issuer
from gsi.ca.signer import Digest, load_signer
from gsi.certificate import load_certificates
from gsi.errors import ConfigError, GridError
from gsi.secret import Passphrase
from gsi.system.files import read_private, read_public
from kca.service import Authority

if TYPE_CHECKING:
    from gsi.ca.records import IssuanceRecord
    from gsi.ca.signer import Signer
    from gsi.certificate import Certificate
    from kca.config import AuthoritySettings

__all__ = ["load_authority_certificate", "load_chain", "make_authority", "open_signer"]

MAX_CA_FILE_BYTES: Final = 1 << 20
"""CA certificates: a chain of five with their text forms takes 50 kB."""

MAX_CHAIN: Final = 8
"""CA certificates in a reply: a datagram holds some ten kilobytes at most, and three CAs above one another are many."""

MAX_PASSPHRASE_BYTES: Final = 1024


class _Nobody:
    """Stands where the issuer's own recorder would; each request brings one."""

    def record(self, record: IssuanceRecord) -> None:
        raise NotImplementedError(f"{record.serial_hex} was issued without a recorder")


def make_authority(settings: AuthoritySettings) -> Authority:
    """Return the CA, which whoever asked for it closes.

    Raises:
        ConfigError: A file cannot be used.
        GridError: The key cannot be used, or is not the certificate's.
    """
    certificate = load_authority_certificate(settings)
    above = load_chain(settings)
    own = () if certificate.is_self_issued else (certificate,)
    sent = tuple(dict.fromkeys((*own, *above)))
    signer = open_signer(settings, certificate)
    try:
        issuer = Issuer(certificate, signer, recorder=_Nobody(), chain=sent)
    except BaseException:
        signer.close()
        raise
    return Authority(
        issuer=issuer,
        signer=signer,
        chain=sent,
        policies=settings.policies,
        crl_urls=settings.crl_urls,
        ocsp_urls=settings.ocsp_urls,
        issuer_urls=settings.issuer_urls,
    )


def load_authority_certificate(settings: AuthoritySettings) -> Certificate:
    """Return the CA's certificate.

    Raises:
        ConfigError: The file cannot be used.
    """
    return _load("certificate", settings.certificate)[0]


def load_chain(settings: AuthoritySettings) -> tuple[Certificate, ...]:
    """Return the CA certificates above the CA's own, as configured.

    Raises:
        ConfigError: The file cannot be used.
    """
    if not settings.chain:
        return ()
    chain = _load("chain", settings.chain)
    if len(chain) > MAX_CHAIN:
        raise ConfigError(f"[authority] chain: {settings.chain} holds more than {MAX_CHAIN} certificates")
    return chain


def open_signer(settings: AuthoritySettings, certificate: Certificate) -> Signer:
    """Return the CA's key.

    Raises:
        ConfigError: The digest or the place is not known.
        GridError: It cannot be used, or is not the certificate's.
    """
    return load_signer(
        settings.key, certificate=certificate, passphrase=_passphrase(settings), digest=_digest(settings.digest)
    )


def _passphrase(settings: AuthoritySettings) -> Passphrase | None:
    if not settings.key_passphrase_file:
        return None
    return Passphrase(read_private(settings.key_passphrase_file, max_bytes=MAX_PASSPHRASE_BYTES).rstrip(b"\r\n"))


def _digest(name: str) -> Digest | None:
    if not name:
        return None
    try:
        return Digest(name.lower().replace("-", ""))
    except ValueError as error:
        raise ConfigError(f"[authority] digest: {name!r} is not used here", hint="sha256, sha384 or sha512") from error


def _load(key: str, path: str) -> tuple[Certificate, ...]:
    try:
        found = load_certificates(read_public(path, max_bytes=MAX_CA_FILE_BYTES, check_writers=True), what=path)
    except GridError as error:
        raise ConfigError(f"[authority] {key}: {error.message}", hint=error.hint) from error
    if not found:
        raise ConfigError(f"[authority] {key}: {path} holds no certificate")
    return found
