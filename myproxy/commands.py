"""What all commands of the service work with: collaborators and small steps shared by storing and retrieving.

The commands themselves are in `myproxy.storage` and `myproxy.retrieval`; `myproxy.service` puts the two together.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from gsi import keys, pem
from gsi.certificate import Certificate
from gsi.credential import Credential
from gsi.errors import DeniedError, GridError, NotFoundError, StorageError, VerificationError
from myproxy.authentication import HiddenError, Methods
from myproxy.callouts import SiteRules
from myproxy.protocol.messages import CredentialInfo
from myproxy.repository.seal import INVALID_PASSPHRASE
from myproxy.trail import DecisionTrail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gsi.system.audit import PostingSink
    from gsi.trust.verify import VerifiedPeer
    from myproxy.attributes import AttributeSource
    from myproxy.extensions import ProxyExtensionSource
    from myproxy.grants import Caller, Settings
    from myproxy.issuing import Authority
    from myproxy.protocol.messages import Request, TrustRootFile
    from myproxy.repository.base import Repository, StoredCredential
    from myproxy.repository.history import History
    from myproxy.repository.seal import Sealer

__all__ = ["ChainVerifier", "Commands", "TrustRootSource", "describe", "parse_chain"]


class ChainVerifier(Protocol):
    """Judges a chain against the trust anchors of the moment."""

    def __call__(self, chain: Sequence[Certificate], *, now: datetime) -> VerifiedPeer:
        """Return the proven identity, or raise VerificationError."""
        ...


class TrustRootSource(Protocol):
    """Has the files of the trust directory that clients may have."""

    def __call__(self) -> tuple[TrustRootFile, ...]:
        """Return them as they are now; StorageError when they cannot be read."""
        ...


def _no_trust_roots() -> tuple[TrustRootFile, ...]:
    return ()


_KNOWN_CHAINS: Final = 64
"""Stored chains kept as parsed, a few kilobytes each."""

_NO_METHODS: Final = Methods()
_NO_RULES: Final = SiteRules()


class Commands:
    """The collaborators. Safe for use by several threads."""

    def __init__(
        self,
        settings: Settings,
        *,
        repository: Repository,
        sealer: Sealer,
        audit: PostingSink,
        verify: ChainVerifier,
        clock: Callable[[], datetime],
        methods: Methods = _NO_METHODS,
        trust_roots: TrustRootSource = _no_trust_roots,
        site_rules: SiteRules = _NO_RULES,
        authority: Authority | None = None,
        proxy_extensions: ProxyExtensionSource | None = None,
        attributes: AttributeSource | None = None,
        history: History | None = None,
        is_near: bool = False,
    ) -> None:
        """Put them together.

        Args:
            settings: What the administrator decides.
            repository: Where credentials rest.
            sealer: Seals and opens their keys.
            audit: Where decisions are recorded.
            verify: Judges chains.
            clock: The time.
            methods: How clients may prove themselves, beside the pass phrase of a sealed key.
            trust_roots: What is handed to clients that ask for trust roots.
            site_rules: What else the site has to say.
            authority: Makes certificates for users who have nothing stored; None where there is none.
            proxy_extensions: What proxies carry beside what they have by themselves.
            attributes: Finds the VOMS attributes that clients ask for; None passes over what they ask.
            history: Keeps for the owners what happened to their credentials; None keeps nothing.
            is_near: Whether store and judge of chains ask nobody outside of this machine.
        """
        self._settings = settings
        self._repository = repository
        self._sealer = sealer
        self._history = history
        self._trail = DecisionTrail(audit, clock, None if history is None else history.note)
        self._verify = verify
        self._clock = clock
        self._methods = methods
        self._trust_roots = trust_roots
        self._site_rules = site_rules
        self._authority = authority
        self._proxy_extensions = proxy_extensions
        self._attributes = attributes
        self._is_near = is_near

    def _ask_site(
        self, caller: Caller, request: Request, action: str, *, name: str | None = None, hides: bool = False
    ) -> str | None:
        """Ask the site's policy, once the directives have agreed; return the user whom the permit names, or None.

        Args:
            caller: Who asks.
            request: For what.
            action: The action's word.
            name: The name of the credential in question, where it is not the request's.
            hides: Whether strangers must not learn that it refuses.

        Raises:
            DeniedError: It refuses, or cannot be asked.
            HiddenError: The same, to a stranger.
        """
        rule = self._site_rules.authorization
        if rule is None:
            return None
        try:
            return rule(caller, action, request.username, request.credential_name if name is None else name)
        except DeniedError as error:
            if hides and caller.client.is_anonymous:
                raise HiddenError(INVALID_PASSPHRASE) from (error.__cause__ or error)
            raise

    def close(self) -> None:
        """Let go of the authority's key, when the last request has ended."""
        if self._authority is not None:
            self._authority.close()

    def check_issuer(self) -> None:
        """Find out for monitors whether certificates could be issued, if that is configured.

        Raises:
            GridError: They could not.
        """
        if self._authority is not None:
            self._authority.check_ready(self._clock())

    def _note(self, caller: Caller, kind: str, username: str, name: str | None, owner: str) -> None:
        """Let the owner of a credential know later what was done with it."""
        if self._history is not None:
            self._history.note(kind, username, name, caller.address, owner=owner)

    def _find(self, request: Request) -> StoredCredential | None:
        try:
            return self._repository.get(request.username, request.credential_name)
        except NotFoundError:
            return None

    def _load(self, stored: StoredCredential, key_pem: bytes) -> Credential:
        try:
            (block,) = pem.split_pem(key_pem, what="stored key")
            leaf, *chain = parse_chain(stored.certificates)
            return Credential(key=keys.parse_private_key(block), certificate=leaf, chain=tuple(chain))
        except (GridError, ValueError) as error:
            raise StorageError(f"the stored credential of {stored.username!r} is damaged") from error

    def _check_valid(self, certificates: tuple[Certificate, ...]) -> VerifiedPeer:
        """Judge a credential's chain as it is stored and again before it is used.

        Raises:
            DeniedError: It is not valid.
        """
        try:
            return self._verify(certificates, now=self._clock())
        except VerificationError as error:
            raise DeniedError(f"Credentials are not valid.\n{error.message}") from error


@lru_cache(maxsize=_KNOWN_CHAINS)
def parse_chain(certificates: tuple[bytes, ...]) -> tuple[Certificate, ...]:
    """Return stored certificates as values; several steps of one request need them, and renewals come again and again.

    Raises:
        ParseError: One of them is damaged.
    """
    return tuple(map(Certificate.parse, certificates))


def describe(stored: StoredCredential) -> CredentialInfo:
    """Return what is told about a stored credential."""
    return CredentialInfo(
        name=stored.name,
        start_time=stored.not_before,
        end_time=stored.not_after,
        owner=stored.owner,
        description=stored.description,
        retriever=stored.retrievers,
        key_retrievers=stored.key_retrievers,
        trusted_retriever=stored.trusted_retrievers,
        renewer=stored.renewers,
        lock_message=stored.lock_message,
    )
