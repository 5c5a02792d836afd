"""The attribute source for SAML assertions: those that a client has shown, and where none those in its proxies.

    [source.cas]
    type = "saml"

    [source.cas.issuers.community]
    subject = "/O=Grid/CN=cas/cas.example.org"

An assertion is shown as a `PresentedAssertion` among the subject's assertions, or over GridFTP's control channel as
text. What is verified stands among the subject's assertions as a `VerifiedAssertion`, each by itself: those of several
communities are never one. Acting upon their statements is for authorizers that know them. `gsi.authz.sources` has what
all sources share.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  the settings' types are read at run time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gsi.authz.registry import SourcePlugin
from gsi.authz.sources import MAX_PRESENTED, Collector, OnFailure, PresentedAssertion, peer_of, replay_memory
from gsi.certificate import load_certificates
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, ParseError
from gsi.saml.carriers import find_assertions
from gsi.saml.trust import AssertionIssuer
from gsi.saml.verify import AssertionOptions, AssertionVerifier
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory

if TYPE_CHECKING:
    from datetime import datetime

    from gsi.authz.decision import AuthorizationRequest
    from gsi.authz.registry import Place
    from gsi.certificate import Certificate
    from gsi.trust.peer import VerifiedPeer

__all__ = ["PLUGIN", "AssertionIssuerSettings", "SAMLSettings", "SAMLSource"]

_MAX_CERTIFICATE_FILE_BYTES: Final = 256 << 10  # a few pinned certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionIssuerSettings:
    """What a policy says of one issuer of assertions.

    Attributes:
        subject: The subject of its certificate, which needs a path to a trusted CA.
        name: What it calls itself; empty for its subject.
        certificates: Instead of the subject a file of certificates that alone may sign for it.
    """

    subject: str = ""
    name: str = ""
    certificates: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SAMLSettings:
    """What a policy says of a source of assertions.

    Attributes:
        issuers: Whose assertions count.
        audiences: The service's own names.
        require_audience: Refuse assertions for everybody.
        require_key: Refuse assertions that are not bound to a key.
        max_lifetime: The longest life of one.
        accept_gt3: Also look where CAS of GT 3 and 4.0 put them.
        accept_sha1: Take signatures of old CAS servers, which are broken.
        trust_dir: The directory of trusted CAs; empty for X509_CERT_DIR or the system's.
        on_failure: What is done about one that cannot be verified.
    """

    issuers: Mapping[str, AssertionIssuerSettings] = field(default_factory=dict)
    audiences: tuple[str, ...] = ()
    require_audience: bool = False
    require_key: bool = False
    max_lifetime: timedelta = timedelta(days=7)
    accept_gt3: bool = False
    accept_sha1: bool = False
    trust_dir: str = ""
    on_failure: OnFailure = OnFailure.REFUSE


class SAMLSource:
    """Verifies assertions: those that were shown, and where none were those in the subject's proxies."""

    may_block = False

    def __init__(
        self,
        name: str,
        verifier: AssertionVerifier,
        on_failure: OnFailure = OnFailure.REFUSE,
        *,
        accept_gt3: bool = False,
    ) -> None:
        self.name = name
        self._verifier = verifier
        self._on_failure = on_failure
        self._accept_gt3 = accept_gt3

    def takes(self, shown: object) -> bool:
        """Say whether something that was shown is an assertion, by its form."""
        return _assertion_data(shown) is not None

    def collect(self, request: AuthorizationRequest) -> AuthorizationRequest:
        """Add what the subject's assertions prove."""
        subject = request.subject
        peer = peer_of(subject)
        shown = tuple(dict.fromkeys(one for one in subject.assertions if _assertion_data(one) is not None))
        if peer is None and not shown:
            return request
        found = Collector(self.name, self._on_failure, request)
        if peer is None:
            raise CapabilityError("assertion: shown by nobody with a certificate", problem=CapabilityProblem.HOLDER)
        if len(shown) > MAX_PRESENTED:
            raise CapabilityError("assertion: too many of them", problem=CapabilityProblem.CONTENT)
        documents = [data for one in shown if (data := _assertion_data(one)) is not None]
        if not shown:
            for carried in find_assertions(peer.chain, accept_gt3=self._accept_gt3):
                if carried.error is not None:
                    found.fail(carried.error)
                else:
                    documents.append(carried.data)
        for data in documents:
            self._verify(data, peer, request.environment.now, found)
        texts = frozenset(one for one in shown if isinstance(one, str))
        return found.result(without=(PresentedAssertion,), texts=texts)

    def _verify(self, data: bytes, peer: VerifiedPeer, now: datetime, found: Collector) -> None:
        try:
            assertion = self._verifier.verify(data, peer, now=now)
        except CapabilityError as error:
            found.fail(error)
            return
        found.assertions.append(assertion)
        found.until(assertion.not_after)


def _assertion_data(one: object) -> bytes | None:
    """Return the XML of an assertion: shown as one, or over a control channel as plain text of its form."""
    if isinstance(one, PresentedAssertion):
        return one.data
    if isinstance(one, str) and one.lstrip().startswith("<"):
        return one.encode("utf-8", "surrogateescape")
    return None


def _build_saml(name: str, settings: SAMLSettings, place: Place) -> SAMLSource:
    if not settings.issuers:
        raise ConfigError("no issuer of assertions", hint=f"[source.{name}.issuers.NAME] with a subject")
    issuers = tuple(_assertion_issuer(one, place) for one in settings.issuers.values())
    trust = TrustDirectory(settings.trust_dir or read_locations().trust_dir)
    options = AssertionOptions(
        audiences=frozenset(settings.audiences),
        require_audience=settings.require_audience,
        require_key=settings.require_key,
        max_lifetime=settings.max_lifetime,
        accept_sha1=settings.accept_sha1,
    )
    verifier = AssertionVerifier(issuers, trust.anchors, options, replay=replay_memory(place, name))
    return SAMLSource(name, verifier, settings.on_failure, accept_gt3=settings.accept_gt3)


def _assertion_issuer(settings: AssertionIssuerSettings, place: Place) -> AssertionIssuer:
    certificates: tuple[Certificate, ...] = ()
    if settings.certificates:
        path, data = place.read(settings.certificates, max_bytes=_MAX_CERTIFICATE_FILE_BYTES)
        try:
            certificates = load_certificates(data, what=path)
        except ParseError as error:
            raise ConfigError(error.message, path=path) from error
        if not certificates:
            raise ConfigError("no certificate in it", path=path)
    return AssertionIssuer(name=settings.name, subject=settings.subject, certificates=certificates)


PLUGIN: Final = SourcePlugin(
    SAMLSettings, _build_saml, "SAML assertions in proxies or shown by the client, verified", may_block=False
)
