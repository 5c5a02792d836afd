"""What is known of a peer beyond what its chain proves: groups of a directory, and how sure one may be of who it is.

    knowledge = Knowledge(config)
    knowledge.groups(peer, now=now)               # those of an LDAP directory, or StorageError
    knowledge.strength(peer)                      # by the policies that its CA put into the certificate, or None

Denials may be granted to groups that a directory feeds. So whoever comes while the directory cannot be asked is turned
away: without the groups they could do what they are denied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509

from cas.policy.caller import name_key
from gsi.authz.decision import Action, AuthorizationRequest, Environment, Resource, Subject
from gsi.authz.ldap_groups import SOURCE_PLUGIN
from gsi.authz.registry import Place
from gsi.errors import GridError, StorageError

if TYPE_CHECKING:
    from datetime import datetime

    from cas.config import CASConfig
    from cas.policy.conditions import Strength
    from gsi.certificate import Certificate
    from gsi.trust.peer import VerifiedPeer

__all__ = ["Knowledge"]

_ACTION: Final = Action("IDENTIFY", "cas")


class Knowledge:
    """Asks the directory, and reads certificates. Safe for use by several threads.

    Args:
        config: The configuration; files that it names have absolute names.

    Raises:
        GridError: The password or the CAs of the directory cannot be used.
    """

    def __init__(self, config: CASConfig) -> None:
        self._rules = config.trust.strength
        self._source = None
        if config.directory is not None:
            self._source = SOURCE_PLUGIN.build("directory", config.directory, Place("/", "cas"))

    def groups(self, peer: VerifiedPeer, *, now: datetime) -> frozenset[str]:
        """Return the groups in which a directory has the owner of a chain; none where no directory is asked.

        Raises:
            StorageError: It cannot be asked, or its answer is none.
        """
        if self._source is None:
            return frozenset()
        circumstances = Environment(now=now, service="cas")
        asked = AuthorizationRequest(Subject.from_peer(peer), _ACTION, Resource(""), circumstances)
        try:
            return self._source.collect(asked).subject.groups
        except GridError as error:
            raise StorageError(
                f"the directory does not say which groups {peer.identity} is in: {error.message}", hint=error.hint
            ) from error

    def strength(self, peer: VerifiedPeer) -> Strength | None:
        """Return how sure one may be of a peer by the first rule that is about it; None where its trust anchor says."""
        if not self._rules:
            return None
        issuer, policies = name_key(peer.eec.issuer_der), _policies(peer.eec)
        return next((rule.level for rule in self._rules if rule.suits(issuer, policies)), None)


def _policies(certificate: Certificate) -> frozenset[str]:
    """Return the policies that a certificate names; none where they cannot be read."""
    try:
        found = certificate.x509.extensions.get_extension_for_class(x509.CertificatePolicies).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return frozenset()
    return frozenset(one.policy_identifier.dotted_string for one in found)
