"""How clients may prove themselves, as the configuration says; the methods are in `myproxy.auth`.

methods = make_methods(config, verify, database)
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, GridError
from gsi.ldap import LDAPPlace
from gsi.secret import Passphrase
from gsi.system import clock
from gsi.system.files import read_private
from myproxy.auth.base import Unlimited, Use
from myproxy.auth.certificate import CertificateMethod
from myproxy.auth.kerberos import KerberosMethod
from myproxy.auth.ldap import DNTemplate, EntrySearch, LDAPMethod
from myproxy.auth.pam import PAMMethod
from myproxy.auth.program import ProgramMethod
from myproxy.auth.sasl import SASLMethod, SASLSettings
from myproxy.auth.throttle import Throttle, ThrottleRules
from myproxy.auth.totp import CodeKeys, OneTimeCodes
from myproxy.authentication import Methods
from myproxy.config import Method
from myproxy.protocol.messages import AuthorizationMethod
from myproxy.repository.codes import SQLCodeStore
from myproxy.repository.guesses import SQLGuessStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.sql.engine import Database
    from myproxy.auth.base import PasswordMethod
    from myproxy.commands import ChainVerifier
    from myproxy.config import ServerConfig

__all__ = ["make_codes", "make_methods", "make_throttle"]

DEFAULT_PAM_SERVICE: Final = "myproxy"
DEFAULT_KERBEROS_SERVICE: Final = "myproxy"
DEFAULT_LDAP_FILTER: Final = "(uid=%u)"
MAX_PASSPHRASE_FILE_BYTES: Final = 4096
"""One line; others than the first are not looked at."""


def make_methods(config: ServerConfig, verify: ChainVerifier, database: Database) -> Methods:
    """Return the methods.

    Args:
        config: The configuration.
        verify: Judges the chains of those who renew.
        database: Where wrong tries are counted and one-time codes rest, for all servers.

    Raises:
        ConfigError: A method cannot be used as it is configured.
    """
    renewals = [AuthorizationMethod.CERTIFICATE_SHA256]
    if config.allow_sha1_renewal:
        renewals.append(AuthorizationMethod.CERTIFICATE)
    # Nearest first: of several that suffice, the others are asked only after a no.
    makers: tuple[tuple[Method, Callable[[ServerConfig], PasswordMethod]], ...] = (
        (config.auth_program, _make_program),
        (config.ldap, _make_ldap),
        (config.kerberos, _make_kerberos),
        (config.pam, _make_pam),
    )
    return Methods(
        passwords=tuple((make(config), Use(use.value)) for use, make in makers if use is not Method.DISABLED),
        rounds=() if config.sasl is Method.DISABLED else ((_make_sasl(config), Use(config.sasl.value)),),
        renewals=tuple(CertificateMethod(number, verify, clock.now) for number in renewals),
        codes=None if config.otp is Method.DISABLED else make_codes(config, database),
        codes_use=Use(config.otp.value),
        limiter=make_throttle(config, database) if config.throttle else Unlimited(),
    )


def make_throttle(config: ServerConfig, database: Database) -> Throttle:
    """Return what slows guessing down.

    Raises:
        ConfigError: The limits do not fit together.
    """
    rules = ThrottleRules(
        free_tries=config.throttle_free_tries,
        first_seconds=config.throttle_first_delay,
        longest_seconds=config.throttle_longest_delay,
        memory_seconds=config.throttle_memory,
        tries_per_minute=config.throttle_user_rate,
        slow_seconds=config.throttle_user_delay,
    )
    return Throttle(SQLGuessStore(database), rules, clock=clock.now)


def make_codes(config: ServerConfig, database: Database) -> OneTimeCodes:
    """Return what judges one-time codes.

    Raises:
        ConfigError: There is no key for their secrets, or it cannot be used.
    """
    if config.otp_key_file is None:
        raise ConfigError(
            "otp needs otp_key_file, the key that users' secrets are sealed with",
            hint="make one with: umask 077; openssl rand -hex 32 > FILE; all servers of one database need the same",
        )
    return OneTimeCodes(
        SQLCodeStore(database),
        CodeKeys.load(config.otp_key_file),
        clock=clock.now,
        digits=config.otp_digits,
        window=config.otp_window,
    )


def _make_pam(config: ServerConfig) -> PasswordMethod:
    return PAMMethod(config.pam_id or DEFAULT_PAM_SERVICE)


def _make_sasl(config: ServerConfig) -> SASLMethod:
    settings = SASLSettings(mechanism=config.sasl_mech, fqdn=config.sasl_serverFQDN, realm=config.sasl_user_realm)
    return SASLMethod(settings)


def _make_program(config: ServerConfig) -> PasswordMethod:
    path = config.auth_program_path
    if path is None:
        raise ConfigError("auth_program needs auth_program_path")
    if not os.path.isabs(path) or not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise ConfigError(f"auth_program_path: {path} is not an executable file named by its whole path")
    return ProgramMethod(path)


def _make_ldap(config: ServerConfig) -> PasswordMethod:
    if config.ldap_server is None:
        raise ConfigError("ldap needs ldap_server", hint='write it as ldap_server "ldaps://ldap.example.org"')
    place = LDAPPlace(
        uris=tuple(config.ldap_server.split()), start_tls=config.ldap_start_tls, ca_file=config.ldap_ca_file
    )
    if (config.ldap_bind_dn is None) == (config.ldap_search_base is None):
        raise ConfigError("ldap needs either ldap_bind_dn or ldap_search_base, to find an account's entry")
    if config.ldap_bind_dn is not None:
        return LDAPMethod(place, DNTemplate(config.ldap_bind_dn))
    passphrase = None
    if config.ldap_search_passphrase_file is not None:
        passphrase = _read_passphrase("ldap_search_passphrase_file", config.ldap_search_passphrase_file)
    search = EntrySearch(
        str(config.ldap_search_base),
        config.ldap_search_filter or DEFAULT_LDAP_FILTER,
        config.ldap_search_dn,
        passphrase,
    )
    return LDAPMethod(place, search)


def _make_kerberos(config: ServerConfig) -> PasswordMethod:
    service = config.kerberos_service or f"{DEFAULT_KERBEROS_SERVICE}@{socket.gethostname()}"
    return KerberosMethod(service=service, realm=config.kerberos_realm, keytab=config.kerberos_keytab)


def _read_passphrase(directive: str, path: str) -> Passphrase:
    try:
        return Passphrase(read_private(path, max_bytes=MAX_PASSPHRASE_FILE_BYTES).split(b"\n")[0])
    except GridError as error:
        raise ConfigError(f"{directive}: {error.message}", hint=error.hint) from error
