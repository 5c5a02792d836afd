"""Whom to ask whether end entities are revoked, beside the CRLs of the trust directory.

verify = make_verifier(config, verify, audit)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.certificate import load_certificates
from gsi.errors import ConfigError, GridError
from gsi.system import clock
from gsi.system.environ import read_locations
from gsi.system.files import read_public
from myproxy.ocsp import OCSPRules, OCSPVerifier

if TYPE_CHECKING:
    from gsi.certificate import Certificate
    from gsi.system.audit import AuditSink
    from myproxy.commands import ChainVerifier
    from myproxy.config import ServerConfig

__all__ = ["asks_responders", "make_verifier"]

MAX_RESPONDER_FILE_BYTES: Final = 1 << 20
"""Certificates of responders; two or three."""


def asks_responders(config: ServerConfig) -> bool:
    """Say whether OCSP responders are asked about stored credentials."""
    return config.ocsp_policy is not None or config.ocsp_responder_url is not None


def make_verifier(config: ServerConfig, verify: ChainVerifier, audit: AuditSink) -> ChainVerifier:
    """Return the judge of chains of credentials: with OCSP where that is configured.

    Args:
        config: The configuration.
        verify: Judges chains by the trust directory.
        audit: Told when a responder gives no answer.

    Raises:
        ConfigError: The directives make no sense together, or the responder's certificate cannot be read.
    """
    policy, url = config.ocsp_policy, config.ocsp_responder_url
    if policy is not None and policy != "aia":
        raise ConfigError(f"ocsp_policy: {policy!r} is not known", hint="aia is the only policy")
    if url is not None and not url.lower().startswith(("http://", "https://")):
        raise ConfigError(f"ocsp_responder_url: {url!r} is no http or https URL")
    if not asks_responders(config):
        if config.ocsp_required or config.ocsp_responder_cert is not None:
            raise ConfigError("ocsp_required and ocsp_responder_cert need ocsp_policy or ocsp_responder_url")
        return verify
    rules = OCSPRules(
        use_aia=policy == "aia",
        responder_url=url,
        responders=_load(config.ocsp_responder_cert),
        is_required=config.ocsp_required,
        ca_directory=read_locations().trust_dir,
    )
    return OCSPVerifier(verify, rules, audit, clock.now)


def _load(path: str | None) -> tuple[Certificate, ...]:
    if path is None:
        return ()
    try:
        data = read_public(path, max_bytes=MAX_RESPONDER_FILE_BYTES, check_writers=True)
        found = load_certificates(data, what=path)
    except GridError as error:
        raise ConfigError(f"ocsp_responder_cert: {error.message}", hint=error.hint) from error
    if not found:
        raise ConfigError(f"ocsp_responder_cert: {path} holds no certificate")
    return found
