"""The authority that the configuration describes, tried as far as that goes without issuing anything.

authority = make_authority(config, verify, anchors)         # None: no authority is configured
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gsi.ca.above import find_above
from gsi.ca.general_names import email_address
from gsi.ca.issuer import Issuer
from gsi.ca.program import ProgramChecker
from gsi.ca.serials import SerialFile, random_serial
from gsi.ca.signer import Digest, load_signer
from gsi.certificate import load_certificates
from gsi.errors import ConfigError, GridError, ParseError
from gsi.ldap import LDAPPlace
from gsi.names import oneline
from gsi.secret import Passphrase
from gsi.system.environ import read_locations
from gsi.system.files import read_public
from myproxy.issuing import BuiltInAuthority, CopyRecorder, IssuanceLimits, ProgramAuthority
from myproxy.naming import LDAPNames, MapfileNames, ProgramNames
from myproxy.wiring.extensions import make_certificate_extensions
from myproxy.wiring.paths import executable, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.ca.records import IssuanceRecord
    from gsi.certificate import Certificate
    from gsi.trust.anchors import TrustAnchors
    from myproxy.commands import ChainVerifier
    from myproxy.config import ServerConfig
    from myproxy.issuing import Authority
    from myproxy.naming import NameSource

__all__ = ["make_authority"]

MAX_CA_FILE_BYTES: Final = 1 << 20
"""CA certificates: a chain of five with their text forms takes 50 kB."""
_MAX_SENT: Final = 254  # the count before certificates is one byte, and the new one counts


def make_authority(
    config: ServerConfig,
    verify: ChainVerifier,
    anchors: Callable[[], TrustAnchors],
    report: Callable[[str], None] = lambda _: None,
) -> Authority | None:
    """Return the authority, or None where none is configured.

    Args:
        config: The configuration.
        verify: Judges chains by the trust directory.
        anchors: The trust directory, where the CAs above a subordinate one are looked for.
        report: Told what the administrator should know.

    Raises:
        ConfigError: The directives contradict one another, or a file or program of theirs cannot be used.
        GridError: The key cannot be used.
    """
    if config.certificate_issuer_cert is not None and config.certificate_issuer_program is not None:
        raise ConfigError("certificate_issuer_cert and certificate_issuer_program exclude each other")
    if config.certificate_issuer_cert is not None:
        return _built_in(config, config.certificate_issuer_cert, anchors, report)
    if config.certificate_issuer_program is not None:
        return _program(config, config.certificate_issuer_program, verify, report)
    if config.certificate_issuer_key is not None:
        report("certificate_issuer_key does nothing without certificate_issuer_cert: no certificates are issued")
    return None


def _built_in(
    config: ServerConfig, path: str, anchors: Callable[[], TrustAnchors], report: Callable[[str], None]
) -> BuiltInAuthority:
    if config.certificate_issuer_key is None:
        raise ConfigError("certificate_issuer_cert needs certificate_issuer_key beside it")
    certificate = _load_certificates("certificate_issuer_cert", path)[0]
    chain = _chain(config)
    extensions = make_certificate_extensions(config)
    secret = config.certificate_issuer_key_passphrase
    signer = load_signer(
        config.certificate_issuer_key,
        certificate=certificate,
        passphrase=None if secret is None else Passphrase(secret),
        digest=_digest(config.certificate_issuer_hashalg),
    )
    try:
        trusted = [authority.certificate for authority in anchors().authorities]
        issuer = Issuer(
            certificate,
            signer,
            recorder=_Nobody(),
            chain=chain,
            roots=find_above(certificate, (*chain, *trusted)),
            serials=_serials(config, report),
            request_checkers=_checkers("certificate_request_checker", config.certificate_request_checker),
            certificate_checkers=_checkers("certificate_issuer_checker", config.certificate_issuer_checker),
        )
        if not issuer.highest.is_self_issued:
            report(_end_of_path(issuer.highest))
        return BuiltInAuthority(
            issuer,
            _names(config, report),
            _limits(config, report),
            extensions,
            email_domain=_email_domain(config),
            copies=_copies(config),
        )
    except BaseException:
        signer.close()
        raise


def _program(
    config: ServerConfig, program: str, verify: ChainVerifier, report: Callable[[str], None]
) -> ProgramAuthority:
    for name in (
        "certificate_issuer_key",
        "certificate_issuer_email_domain",
        "certificate_extfile",
        "certificate_extapp",
        "certificate_serialfile",
    ):
        if getattr(config, name) is not None:
            report(f"{name} does nothing beside certificate_issuer_program, which decides by itself")
    named = config.certificate_mapfile or config.certificate_mapapp or config.ca_ldap_server
    has_names = named is not None or os.path.exists(_default_mapfile())
    return ProgramAuthority(
        executable("certificate_issuer_program", program),
        _names(config, report) if has_names else None,
        _limits(config, report),
        verify,
        chain=_chain(config),
        request_checkers=_checkers("certificate_request_checker", config.certificate_request_checker),
        certificate_checkers=_checkers("certificate_issuer_checker", config.certificate_issuer_checker),
        copies=_copies(config),
    )


class _Nobody:
    """Stands where the issuer's own recorder would; each request brings one."""

    def record(self, record: IssuanceRecord) -> None:
        raise NotImplementedError(f"{record.serial_hex} was issued without a recorder")


def _load_certificates(directive: str, path: str) -> tuple[Certificate, ...]:
    try:
        found = load_certificates(read_public(path, max_bytes=MAX_CA_FILE_BYTES, check_writers=True), what=path)
    except GridError as error:
        raise ConfigError(f"{directive}: {error.message}", hint=error.hint) from error
    if not found:
        raise ConfigError(f"{directive}: {path} holds no certificate")
    return found


def _chain(config: ServerConfig) -> tuple[Certificate, ...]:
    path = config.certificate_issuer_subca_certfile
    if path is None:
        return ()
    chain = _load_certificates("certificate_issuer_subca_certfile", path)
    if len(chain) > _MAX_SENT:
        raise ConfigError(f"certificate_issuer_subca_certfile: {path} holds more than {_MAX_SENT} certificates")
    return chain


def _end_of_path(highest: Certificate) -> str:
    """Say which CA is missing; one of its name may be there with another key."""
    subject, issuer = oneline(highest.subject_der), oneline(highest.issuer_der)
    return (
        f"the CA above certificate_issuer_cert whose key signed {subject} is in neither the trust directory nor "
        f"certificate_issuer_subca_certfile (it is named {issuer}): new certificates are judged only up to {subject}"
    )


def _digest(name: str | None) -> Digest | None:
    if name is None:
        return None
    try:
        return Digest(name.lower().replace("-", ""))
    except ValueError as error:
        raise ConfigError(
            f"certificate_issuer_hashalg: {name!r} is not used here", hint="sha256, sha384 or sha512"
        ) from error


def _serials(config: ServerConfig, report: Callable[[str], None]) -> Callable[[], int]:
    """Return random numbers, or the C server's counter where one is named."""
    if config.certificate_serialfile is None:
        if config.certificate_serial_skip != 1:
            report("certificate_serial_skip does nothing without certificate_serialfile: serial numbers are random")
        return random_serial
    path, skip = config.certificate_serialfile, config.certificate_serial_skip
    if not os.path.isabs(path) or not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
        raise ConfigError(f"certificate_serialfile: {path} cannot be written, or is not named by its whole path")
    serials = SerialFile(path, start=skip, step=skip)
    try:
        serials.peek()
    except GridError as error:  # also an empty file, which the C server makes at its start, and which a crash makes
        raise ConfigError(
            f"certificate_serialfile: {error.message}",
            hint=error.hint or f"write the next number into it, in hexadecimal: {skip:02X} when none was used yet",
        ) from error
    return serials


def _checkers(directive: str, program: str | None) -> tuple[ProgramChecker, ...]:
    return () if program is None else (ProgramChecker((executable(directive, program),)),)


def _limits(config: ServerConfig, report: Callable[[str], None]) -> IssuanceLimits:
    if 0 < config.min_keylen < 2048:
        report(f"min_keylen {config.min_keylen} has no effect: RSA keys below 2048 bits are never certified")
    return IssuanceLimits(max_lifetime=timedelta(hours=config.max_cert_lifetime), min_rsa_bits=config.min_keylen)


def _email_domain(config: ServerConfig) -> str | None:
    domain = config.certificate_issuer_email_domain
    if domain is not None:
        try:
            email_address(f"user@{domain}")
        except ParseError as error:
            raise ConfigError(f"certificate_issuer_email_domain: {error.message}") from error
    return domain


def _copies(config: ServerConfig) -> CopyRecorder | None:
    directory = config.certificate_out_dir
    if directory is None:
        return None
    if not os.path.isabs(directory) or not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigError(f"certificate_out_dir: {directory} is no directory that can be written")
    return CopyRecorder(directory)


def _names(config: ServerConfig, report: Callable[[str], None]) -> NameSource:
    """Return who knows names, in the order of the C server: the directory, the program, the map file."""
    if config.ca_ldap_server is not None:
        return _ldap_names(config, config.ca_ldap_server, report)
    if config.certificate_mapapp is not None:
        return ProgramNames(executable("certificate_mapapp", config.certificate_mapapp))
    if config.certificate_mapfile is not None:
        path = readable("certificate_mapfile", config.certificate_mapfile)
    else:
        path = _default_mapfile()
        if not os.path.exists(path):
            report(f"{path} does not exist: until it does, no user name has a name, and no certificates are issued")
            return MapfileNames(path, report=report)
    found = MapfileNames(path, report=report)
    found.check()
    return found


def _default_mapfile() -> str:
    """Return the C server's default: GRIDMAP, else the system's grid-mapfile."""
    return read_locations().gridmaps[0]


def _ldap_names(config: ServerConfig, server: str, report: Callable[[str], None]) -> LDAPNames:
    base, attribute = config.ca_ldap_searchbase, config.ca_ldap_uid_attribute
    if base is None or attribute is None:
        raise ConfigError("ca_ldap_server requires ca_ldap_searchbase and ca_ldap_uid_attribute")
    place = LDAPPlace(
        uris=tuple(server.replace(",", " ").split()),
        start_tls=config.ca_ldap_start_tls,
        ca_file=None if config.ca_ldap_ca_file is None else readable("ca_ldap_ca_file", config.ca_ldap_ca_file),
    )
    bind = None
    if config.ca_ldap_connect_dn is not None:
        if not config.ca_ldap_connect_passphrase:
            raise ConfigError("ca_ldap_connect_dn needs ca_ldap_connect_passphrase beside it")
        bind = (config.ca_ldap_connect_dn, Passphrase(config.ca_ldap_connect_passphrase))
    if not place.is_private:
        report(
            "ca_ldap_server is asked without TLS: whoever is on the way can change who is who"
            + (" and reads the password" if bind else "")
        )
    return LDAPNames(place, base=base, uid_attribute=attribute, dn_attribute=config.ca_ldap_dn_attribute, bind=bind)
