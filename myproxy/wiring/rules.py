"""What the site has decided: limits, access, its own programs and maps, trust roots.

settings, rules, roots = make_settings(config), make_site_rules(config), make_trust_roots(config)
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from myproxy.callouts import MapfileAccountRule, ProgramAccountRule, ProgramPassphraseRule, SiteRules
from myproxy.grants import Settings
from myproxy.trustroots import TrustRootDirectory
from myproxy.wiring.authz import make_authorization
from myproxy.wiring.paths import executable, readable

if TYPE_CHECKING:
    from myproxy.commands import TrustRootSource
    from myproxy.config import ServerConfig

__all__ = ["make_settings", "make_site_rules", "make_trust_roots"]


def make_settings(config: ServerConfig) -> Settings:
    """Return the limits and the access policy."""
    return Settings(
        access=config.access_policy,
        max_proxy_lifetime=timedelta(hours=config.max_proxy_lifetime),
        max_credential_lifetime=timedelta(hours=config.max_cred_lifetime),
        max_credentials=config.max_credentials_per_owner,
        min_key_bits=config.min_proxy_keylen,
        limited_stays_limited=not config.ignore_globus_limited_proxy_flag,
        check_multiple_credentials=config.check_multiple_credentials,
    )


def make_trust_roots(config: ServerConfig) -> TrustRootSource:
    """Return what hands out `cert_dir`, or nothing.

    Raises:
        ConfigError: The directory cannot be handed out.
    """
    if config.cert_dir is None:
        return lambda: ()
    directory = TrustRootDirectory(config.cert_dir)
    directory.check()
    return directory


def make_site_rules(config: ServerConfig) -> SiteRules:
    """Return what the configuration names; of the two on accounts the program counts, as in C.

    Raises:
        ConfigError: A program cannot be run, or a file not be read.
    """
    account: ProgramAccountRule | MapfileAccountRule | None = None
    if config.accepted_credentials_mapapp is not None:
        account = ProgramAccountRule(executable("accepted_credentials_mapapp", config.accepted_credentials_mapapp))
    elif config.accepted_credentials_mapfile is not None:
        account = MapfileAccountRule(readable("accepted_credentials_mapfile", config.accepted_credentials_mapfile))
    program = config.passphrase_policy_program
    return SiteRules(
        passphrase=None if program is None else ProgramPassphraseRule(executable("passphrase_policy_program", program)),
        account=account,
        authorization=make_authorization(),
    )
