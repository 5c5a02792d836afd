"""What `kca-admin check` looks at: everything that the configuration names, without issuing anything.

findings = check(config)
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import GridError
from gsi.names import oneline
from gsi.system import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from kca.config import KCAConfig

__all__ = ["Finding", "check"]

SOON: Final = timedelta(days=30)
"""When the end of the CA's certificate is worth a word: new ones are not made in a day."""


class Finding(NamedTuple):
    """What came of looking at one thing."""

    what: str
    text: str
    is_error: bool


def check(config: KCAConfig, *, leave: Collection[str] = ()) -> tuple[Finding, ...]:
    """Look at everything, in the order in which a start needs it.

    Args:
        config: The configuration.
        leave: What is not to be looked at, by its name in the findings; books and audit are made where they are not.
    """
    looks: tuple[tuple[str, Callable[[KCAConfig], str]], ...] = (
        ("authority", _authority),
        ("trust files", _trust_files),
        ("policy", _policy),
        ("directories", _directories),
        ("books", _books),
        ("audit", _audit),
        ("keytab", _keytab),
        ("HTTP keytab", _http_keytab),
    )
    found = []
    for what, look in looks:
        if what in leave:
            continue
        try:
            found.append(Finding(what, look(config), False))
        except GridError as error:
            hint = f" ({error.hint})" if error.hint else ""
            found.append(Finding(what, f"{error.message}{hint}", True))
    return tuple(found)


def _authority(config: KCAConfig) -> str:
    from gsi.errors import IssuanceError, IssuanceStep
    from kca.wiring.authority import make_authority

    authority = make_authority(config.authority)
    authority.close()
    certificate = authority.issuer.certificate
    now = clock.now()
    if not certificate.not_before <= now < certificate.not_after:
        raise IssuanceError("the CA's certificate does not hold now", step=IssuanceStep.AUTHORITY)
    words = f"{oneline(certificate.subject_der)} until {certificate.not_after:%Y-%m-%d}"
    if certificate.not_after - now < SOON:
        words += ", which is soon"
    # Old certificates may stay in the chain for a while; one in between that was forgotten shows here, too.
    strays = [one for one in authority.chain if one not in (certificate, *authority.issuer.above)]
    if strays:
        words += f"; in the chain, but not above it: {', '.join(oneline(one.subject_der) for one in strays)}"
    return words


def _trust_files(config: KCAConfig) -> str:
    from kca.publishing import trust_files
    from kca.wiring.authority import load_authority_certificate

    files = trust_files(load_authority_certificate(config.authority), config.realm, crl_urls=config.authority.crl_urls)
    places = f"revocation list at {', '.join(config.authority.crl_urls)}" if config.authority.crl_urls else "no CRL URL"
    return f"{', '.join(sorted(files))}; {places}"


def _policy(config: KCAConfig) -> str:
    from kca.wiring.authz import find_policy, make_authorization

    make_authorization(config.policy)
    return find_policy(config.policy)


def _directories(config: KCAConfig) -> str:
    from gsi.kerberos.ticket import Principal
    from kca.wiring.directory import make_directories

    asked = make_directories(config.realm)
    for realm, directory in asked.items():
        directory.find(Principal(("kca-admin-check",), realm))
    return ", ".join(asked) if asked else "none is asked"


def _books(config: KCAConfig) -> str:
    import contextlib

    from kca.repository.base import Selection
    from kca.wiring.service import open_books

    with contextlib.closing(open_books(config)) as books:
        newest = next(iter(books.search(Selection(), limit=1)), None)
        last = "nothing was issued" if newest is None else f"last issued {newest.issued:%Y-%m-%d %H:%M:%S}Z"
        return f"{books.database.place}; {last}"


def _audit(config: KCAConfig) -> str:
    from gsi.system.audit import AuditLog

    AuditLog(config.store.audit_path).close()
    return config.store.audit_path


def _keytab(config: KCAConfig) -> str:
    return _private(config.server.keytab, f"{config.server.service}/HOST")


def _http_keytab(config: KCAConfig) -> str:
    path = config.http.keytab
    return _private(path, "HTTP/HOST") if _exists(path) else f"{path} does not exist, which kca-http alone needs"


def _exists(path: str) -> bool:
    """Say whether there is a file; one in a directory that this user must not look into may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _private(path: str, service: str) -> str:
    from gsi.errors import ConfigError

    if not os.access(path, os.R_OK):
        if not _exists(path):
            raise ConfigError(f"{path} does not exist", hint=f"kadmin -q 'ktadd -k {path} {service}'")
        raise ConfigError(f"{path} cannot be read by this user", hint=f"kadmin -q 'ktadd -k {path} {service}'")
    if os.stat(path).st_mode & 0o077:
        raise ConfigError(f"{path} can be read by others", hint=f"chmod 600 {path}")
    return path
