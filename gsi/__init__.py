"""Grid credentials: proxies, trust, validation and delegation. This front door holds names, no code of its own.

    import gsi

    proxy = gsi.load_proxy("/tmp/x509up_u1000")
    anchors = gsi.TrustDirectory("/etc/grid-security/certificates").anchors()
    peer = gsi.verify_chain(proxy.certificates, anchors, now=gsi.now())
    print(peer.identity, peer.kind, peer.not_after)

Every name is loaded when it is first used (PEP 562): `import gsi` costs nothing and pulls in neither cryptography nor
any optional package, because it runs before every import below it. What is not listed in `__all__` is reached through
its own module and may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi._version import __version__

if TYPE_CHECKING:
    from gsi.authz.decision import (
        Account,
        Action,
        AuthorizationRequest,
        Authorizer,
        Decision,
        Effect,
        Environment,
        Resource,
        Subject,
        require_permit,
    )
    from gsi.authz.engine import Engine
    from gsi.authz.reload import open_engine
    from gsi.authz.service import ServiceAuthorizer, open_authorizer
    from gsi.certificate import Certificate, Extension, load_certificates
    from gsi.context.acceptor import Acceptor
    from gsi.context.initiator import Initiator
    from gsi.credential import Credential, parse_credential, parse_pkcs12
    from gsi.delegation import DelegationRequester, grant_delegation, parse_delegation_request
    from gsi.errors import (
        AuthenticationError,
        ConfigError,
        ConflictError,
        CredentialError,
        CredentialProblem,
        DeniedError,
        GridError,
        LocalProtocolError,
        NotFoundError,
        ParseError,
        ProtocolError,
        Reason,
        RefusedError,
        RemoteProtocolError,
        StorageError,
        TimeoutExpiredError,
        TransportError,
        VerificationError,
    )
    from gsi.keys import KeyType, generate_key
    from gsi.proxy.chain import ProxyChain
    from gsi.proxy.info import ProxyCertInfo
    from gsi.proxy.issue import ProxyOptions, make_proxy, sign_proxy
    from gsi.proxy.kinds import ProxyFormat, ProxyKind
    from gsi.secret import Passphrase
    from gsi.system.clock import now
    from gsi.system.credential_files import load_proxy, load_user_credential, save_proxy
    from gsi.system.environ import read_locations
    from gsi.system.trustdir import TrustDirectory
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.options import CRLPolicy, Purpose, ValidationOptions
    from gsi.trust.verify import VerifiedPeer, verify_chain

__all__ = [
    "Acceptor",
    "Account",
    "Action",
    "AuthenticationError",
    "AuthorizationRequest",
    "Authorizer",
    "CRLPolicy",
    "Certificate",
    "ConfigError",
    "ConflictError",
    "Credential",
    "CredentialError",
    "CredentialProblem",
    "Decision",
    "DelegationRequester",
    "DeniedError",
    "Effect",
    "Engine",
    "Environment",
    "Extension",
    "GridError",
    "Initiator",
    "KeyType",
    "LocalProtocolError",
    "NotFoundError",
    "ParseError",
    "Passphrase",
    "ProtocolError",
    "ProxyCertInfo",
    "ProxyChain",
    "ProxyFormat",
    "ProxyKind",
    "ProxyOptions",
    "Purpose",
    "Reason",
    "RefusedError",
    "RemoteProtocolError",
    "Resource",
    "ServiceAuthorizer",
    "StorageError",
    "Subject",
    "TimeoutExpiredError",
    "TransportError",
    "TrustAnchors",
    "TrustDirectory",
    "ValidationOptions",
    "VerificationError",
    "VerifiedPeer",
    "__version__",
    "generate_key",
    "grant_delegation",
    "load_certificates",
    "load_proxy",
    "load_user_credential",
    "make_proxy",
    "now",
    "open_authorizer",
    "open_engine",
    "parse_credential",
    "parse_delegation_request",
    "parse_pkcs12",
    "read_locations",
    "require_permit",
    "save_proxy",
    "sign_proxy",
    "verify_chain",
]

_ROOMS: Final = {
    "gsi.authz.decision": (
        "Account",
        "Action",
        "AuthorizationRequest",
        "Authorizer",
        "Decision",
        "Effect",
        "Environment",
        "Resource",
        "Subject",
        "require_permit",
    ),
    "gsi.authz.engine": ("Engine",),
    "gsi.authz.reload": ("open_engine",),
    "gsi.authz.service": ("ServiceAuthorizer", "open_authorizer"),
    "gsi.certificate": ("Certificate", "Extension", "load_certificates"),
    "gsi.context.acceptor": ("Acceptor",),
    "gsi.context.initiator": ("Initiator",),
    "gsi.credential": ("Credential", "parse_credential", "parse_pkcs12"),
    "gsi.delegation": ("DelegationRequester", "grant_delegation", "parse_delegation_request"),
    "gsi.errors": (
        "AuthenticationError",
        "ConfigError",
        "ConflictError",
        "CredentialError",
        "CredentialProblem",
        "DeniedError",
        "GridError",
        "LocalProtocolError",
        "NotFoundError",
        "ParseError",
        "ProtocolError",
        "Reason",
        "RefusedError",
        "RemoteProtocolError",
        "StorageError",
        "TimeoutExpiredError",
        "TransportError",
        "VerificationError",
    ),
    "gsi.keys": ("KeyType", "generate_key"),
    "gsi.proxy.chain": ("ProxyChain",),
    "gsi.proxy.info": ("ProxyCertInfo",),
    "gsi.proxy.issue": ("ProxyOptions", "make_proxy", "sign_proxy"),
    "gsi.proxy.kinds": ("ProxyFormat", "ProxyKind"),
    "gsi.secret": ("Passphrase",),
    "gsi.system.clock": ("now",),
    "gsi.system.credential_files": ("load_proxy", "load_user_credential", "save_proxy"),
    "gsi.system.environ": ("read_locations",),
    "gsi.system.trustdir": ("TrustDirectory",),
    "gsi.trust.anchors": ("TrustAnchors",),
    "gsi.trust.options": ("CRLPolicy", "Purpose", "ValidationOptions"),
    "gsi.trust.verify": ("VerifiedPeer", "verify_chain"),
}


if not TYPE_CHECKING:  # a type checker must not take every unknown name for one of ours

    def __getattr__(name: str) -> object:
        """Load a name from its room at its first use and keep it."""
        for room, names in _ROOMS.items():
            if name in names:
                from importlib import import_module

                found: object = getattr(import_module(room), name)
                globals()[name] = found
                return found
        raise AttributeError(f"module 'gsi' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
