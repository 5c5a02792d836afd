"""What the configuration adds to certificates and proxies; files are read here, and what they ask for is tried.

extensions = make_certificate_extensions(config)         # certificate_extfile, certificate_extapp
further = make_proxy_extensions(config)                  # proxy_extfile, proxy_extapp; None: nothing
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import names
from gsi.ca.conf import MAX_CONF_BYTES
from gsi.ca.extprofile import MYPROXY_PROFILE, end_entity_profile, proxy_extensions
from gsi.ca.extsection import parse_extension_section
from gsi.ca.grant import Grant
from gsi.ca.issuer import Issuer
from gsi.ca.request import CertificateRequest
from gsi.ca.root import make_root
from gsi.ca.signer import KeySigner
from gsi.credential import Credential
from gsi.errors import ConfigError, GridError
from gsi.keys import KeyType, generate_key, spki_der
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.system import clock
from gsi.system.files import read_public
from gsi.trust.anchors import build_anchors
from gsi.trust.hashes import subject_hash
from gsi.trust.options import CRLPolicy, Purpose, ValidationOptions
from gsi.trust.verify import verify_chain
from myproxy.extensions import ProgramExtensions, ProgramProxyExtensions
from myproxy.wiring.paths import executable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.ca.extprofile import EndEntityProfile
    from gsi.ca.extsection import ExtensionSection
    from gsi.ca.records import IssuanceRecord
    from gsi.certificate import Certificate, Extension
    from myproxy.config import ServerConfig
    from myproxy.extensions import ExtensionSource, ProxyExtensionSource

__all__ = ["make_certificate_extensions", "make_proxy_extensions"]

_DAY: Final = timedelta(days=1)
_OPTIONS: Final = ValidationOptions(purpose=Purpose.ANY, crl=CRLPolicy.OFF, require_signing_policy=False)


def make_certificate_extensions(config: ServerConfig) -> ExtensionSource:
    """Return what certificates of the authority carry.

    Raises:
        ConfigError: Both ways are configured, the file or program cannot be used, or certificates with what the file
            asks for would be faulty.
    """
    if config.certificate_extapp is not None:
        if config.certificate_extfile is not None:
            raise ConfigError("certificate_extfile and certificate_extapp exclude each other")
        return ProgramExtensions(executable("certificate_extapp", config.certificate_extapp))
    path = config.certificate_extfile
    if path is None:
        return lambda _: MYPROXY_PROFILE
    profile = end_entity_profile(_load("certificate_extfile", path), path=path)
    _try_profile(profile, path)
    return lambda _: profile


def make_proxy_extensions(config: ServerConfig) -> ProxyExtensionSource | None:
    """Return what delegated proxies carry beside what they have by themselves; None for nothing.

    Raises:
        ConfigError: Both ways are configured, the file or program cannot be used, or proxies with what the file asks
            for would be refused everywhere.
    """
    if config.proxy_extapp is not None:
        if config.proxy_extfile is not None:
            raise ConfigError("proxy_extfile and proxy_extapp exclude each other")
        return ProgramProxyExtensions(executable("proxy_extapp", config.proxy_extapp))
    path = config.proxy_extfile
    if path is None:
        return None
    further = proxy_extensions(_load("proxy_extfile", path), path=path)
    _try_proxy(further, path)
    return _Always(further)


class _Always:
    """The extensions of a file."""

    def __init__(self, further: tuple[Extension, ...]) -> None:
        self._further = further

    def __call__(self, username: str, chain: Sequence[Certificate]) -> tuple[Extension, ...]:
        del username, chain
        return self._further


def _load(directive: str, path: str) -> ExtensionSection:
    try:
        text = read_public(path, max_bytes=MAX_CONF_BYTES, check_writers=True).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{directive} is not UTF-8 text", path=path) from error
    except GridError as error:
        raise ConfigError(f"{directive}: {error.message}", hint=error.hint) from error
    return parse_extension_section(text, path=path)


class _Trial(NamedTuple):
    """A CA and a user made for a trial alone."""

    root: Certificate
    user: Credential


def _try_profile(profile: EndEntityProfile, path: str) -> _Trial:
    """Issue a certificate of this kind from a CA made for that alone: what is faulty shows now, and not to users.

    Raises:
        ConfigError: Such a certificate would be faulty.
    """
    now = clock.now()
    ca_key, user_key = generate_key(KeyType.P256), generate_key(KeyType.P256)
    root = make_root(KeySigner(ca_key), names.parse_oneline("/CN=trial CA"), now=now, lifetime=_DAY)
    alternative_names, further = profile.names_with()
    grant = Grant(
        subject_der=names.parse_oneline("/CN=trial"),
        requester="trial",
        lifetime=_DAY,
        alternative_names=alternative_names,
        key_usage=profile.key_usage,
        extended_key_usage=profile.extended_key_usage,
        extensions=further,
    )
    request = CertificateRequest.from_public_key(spki_der(user_key))
    try:
        issued = Issuer(root, KeySigner(ca_key), recorder=_Nowhere()).issue(request, grant, now=now)
    except GridError as error:
        raise ConfigError(f"certificates with these extensions are not good: {error.message}", path=path) from error
    return _Trial(root, Credential(key=user_key, certificate=issued.certificate, chain=()))


class _Nowhere:
    """Takes the record of a trial."""

    def record(self, record: IssuanceRecord) -> None:
        del record


def _try_proxy(further: tuple[Extension, ...], path: str) -> None:
    """Make and judge a proxy with these extensions.

    Raises:
        ConfigError: It cannot be made, or our own validator refuses it.
    """
    root, user = _try_profile(MYPROXY_PROFILE, path)
    now = clock.now()
    anchors = build_anchors({f"{subject_hash(root.subject_der)}.0": root.pem()}, loaded_at=now)
    try:
        proxy = make_proxy(user, ProxyOptions(extensions=further, key_type=KeyType.P256), now=now)
        verify_chain(proxy.certificates, anchors, now=now, options=_OPTIONS)
    except GridError as error:
        raise ConfigError(f"proxies with these extensions are not good: {error.message}", path=path) from error
