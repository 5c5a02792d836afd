"""How clients may prove themselves, as the configuration says; the methods are in `myproxy.auth`.

methods = make_methods(config, verify)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.system import clock
from myproxy.auth.certificate import CertificateMethod
from myproxy.authentication import Methods
from myproxy.protocol.messages import AuthorizationMethod

if TYPE_CHECKING:
    from myproxy.commands import ChainVerifier
    from myproxy.config import ServerConfig

__all__ = ["make_methods"]


def make_methods(config: ServerConfig, verify: ChainVerifier) -> Methods:
    """Return the methods.

    Args:
        config: The configuration.
        verify: Judges the chains of those who renew.

    Raises:
        ConfigError: A method cannot be used as it is configured.
    """
    renewals = [AuthorizationMethod.CERTIFICATE_SHA256]
    if config.allow_sha1_renewal:
        renewals.append(AuthorizationMethod.CERTIFICATE)
    return Methods(renewals=tuple(CertificateMethod(number, verify, clock.now) for number in renewals))
