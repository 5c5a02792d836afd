"""A site that knows two communities, without sockets: its policy, its files, what the communities sign, and who asks.

Workflow:
    site = EnforcingSite(tmp_path)
    engine = site.engine()
    decision = engine.authorize(site.request(site.alice, "read", "/data/f", site.climate.assertion(site.alice)))
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cas.assertion.attribute_cert import AttributeIssuer
from cas.assertion.jwks import key_set
from cas.assertion.revocations import RevocationList, sign_revocations
from cas.assertion.saml import AssertionWriter, SAMLOptions, SAMLVersion
from cas.assertion.scopes import ScopeBase, ScopeMapping
from cas.assertion.token import TokenIssuer, TokenOptions
from cas.assertion.value import Capability, Right
from gsi.authz.decision import Action, AuthorizationRequest, Environment, Resource, Subject
from gsi.authz.engine import Engine
from gsi.authz.policyfile import load_policy
from gsi.authz.registry import Place
from gsi.trust.anchors import TrustAnchors
from gsi.trust.verify import verify_chain
from tests.harness.ca import Extra, Issued, KeyKind, TestCA, write_file, write_trust_dir
from tests.harness.capabilities import file_right, make_capability, signing_key
from tests.harness.saml import assertion_extension
from tests.harness.trust import make_anchors
from tests.harness.voms import ac_extension

__all__ = ["AUDIENCE", "DATA", "HOST", "CommunityServer", "EnforcingSite", "ac_of"]

HOST: Final = "se.example.org"
AUDIENCE: Final = f"https://{HOST}"
DATA: Final = f"ftp://{HOST}/data/*"


@dataclass
class CommunityServer:
    """What signs for a community.

    Attributes:
        name: The community and its VO.
        issued: Its certificate and key.
        url: The issuer of its tokens.
        now: The time at which it issues.
    """

    name: str
    issued: Issued
    url: str
    now: datetime

    def capability(self, holder: Issued, *, rights: Sequence[Right] | None = None, **changes: object) -> Capability:
        """A grant; by default to read what is in `DATA`, for an hour."""
        base: dict[str, object] = {"now": self.now, "community": self.name, "fqans": (f"/{self.name}/readers",)}
        return make_capability(
            holder,
            rights=(file_right(DATA, "read", "lookup"),) if rights is None else rights,
            **(base | changes),  # type: ignore[arg-type]  # the caller names fields
        )

    def assertion(self, holder: Issued, *, version: SAMLVersion = SAMLVersion.SAML1, **changes: object) -> str:
        """The grant as an assertion."""
        writer = AssertionWriter(signing_key(self.issued), SAMLOptions(version=version))
        capability = self.capability(holder, **changes)  # type: ignore[arg-type]  # handed on by name
        return writer.issue(capability, now=capability.issued_at).decode()

    def attributes(self, holder: Issued, **changes: object) -> bytes:
        """The groups as an attribute certificate."""
        issuer = AttributeIssuer(signing_key(self.issued), self.name, f"{self.name}.example.org:15000")
        capability = self.capability(holder, **changes)  # type: ignore[arg-type]  # handed on by name
        return issuer.issue(capability, now=capability.issued_at).der

    def token(self, holder: Issued, *, bound: bool = True, **changes: object) -> str:
        """The grant as a token, bound to the holder's certificate."""
        capability = self.capability(holder, **{"audience": (AUDIENCE,)} | changes)  # type: ignore[arg-type]  # handed on by name
        if bound:
            thumbprint = hashlib.sha256(holder.der).digest()
            capability = replace(capability, holder=replace(capability.holder, key_thumbprint=thumbprint))
        base = ScopeBase(namespace="FTPDirectoryTree", prefix=f"ftp://{HOST}", audiences=frozenset({AUDIENCE}))
        options = TokenOptions(issuer=self.url, mapping=ScopeMapping(bases=(base,)))
        return TokenIssuer(signing_key(self.issued), options).issue(capability, now=capability.issued_at).text

    def withdrawn(self, *identifiers: bytes, until: datetime | None = None) -> str:
        """Its signed list of withdrawn capabilities."""
        ends = {one: self.now + timedelta(days=1) for one in identifiers}
        listed = RevocationList(self.url, self.now, until or self.now + timedelta(hours=1), ends)
        return sign_revocations(listed, signing_key(self.issued))


def ac_of(*certificates: bytes) -> Extra:
    """The extension of a proxy that carries attribute certificates."""
    return ac_extension(*certificates)


CLIMATE: Final = f"""
rights = [
  {{objects = ["{DATA}"], actions = ["file:read", "file:lookup", "file:write"]}},
  {{objects = ["gram://ce.example.org/jobmanager-fork"], actions = ["gram:*"]}},
]
groups = [{{fqans = ["/climate/readers"], objects = ["{DATA}"], actions = ["file:read"]}}]
"""
PHYSICS: Final = f"""
rights = [
  {{objects = ["{DATA}", "ftp://{HOST}/physics/*"], actions = ["file:*"]}},
]
groups = [{{fqans = ["/physics/**"], objects = ["{DATA}"], actions = ["file:write"]}}]
"""


@dataclass
class EnforcingSite:
    """The site.

    Attributes:
        directory: Of its files.
        now: The time at which it is asked.
        key: The kind of the communities' keys.
    """

    directory: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    key: KeyKind = "p256"

    def __post_init__(self) -> None:
        self.ca = TestCA(key="p256")
        since = self.now - timedelta(hours=20)  # so that what they have signed can be over
        self.climate, self.physics = (
            CommunityServer(
                name,
                self.ca.issue(f"/O=Grid/CN={name}.example.org", self.key, not_before=since),
                f"https://{name}",
                self.now,
            )
            for name in ("climate", "physics")
        )
        self.alice, self.bob = (
            self.ca.issue(f"/O=Grid/CN={name}", "p256", not_before=since) for name in ("Alice", "Bob")
        )
        self.trust_dir = write_trust_dir(self.directory / "certificates", self.ca)
        for one in (self.climate, self.physics):
            lsc = f"{one.issued.subject}\n{self.ca.name}\n"
            write_file(self.directory / "vomsdir" / one.name / f"{one.name}.example.org.lsc", lsc.encode(), 0o644)
            write_file(self.directory / f"{one.name}.jwks", key_set([signing_key(one.issued)]), 0o644)
        lines = f'"{self.climate.issued.subject}" climate\n"{self.physics.issued.subject}" physics\n'
        write_file(self.directory / "gridmap", lines.encode(), 0o644)
        write_file(self.directory / "users", b'"/O=Grid/CN=Alice" alice\n"/O=Grid/CN=Bob" bob\n', 0o644)

    @property
    def anchors(self) -> TrustAnchors:
        """Whom it trusts."""
        return make_anchors(self.ca)

    def policy(self, more: str = "", *, climate: str = CLIMATE, physics: str = PHYSICS, order: str = "") -> str:
        """Its policy, with more keys of the authorizer and other communities."""
        tables = [
            f'[authorizer.cas.communities.{one.name}]\nidentity = "{one.issued.subject}"\nvo = "{one.name}"\n'
            f'token_issuer = "{one.url}"\njwks_file = "{one.name}.jwks"\n{keys}\n'
            for one, keys in ((self.climate, climate), (self.physics, physics))
            if keys
        ]
        return f"""
order = {order or '["cas", "map"]'}
[authorizer.cas]
type = "cas"
gridmap = "gridmap"
trust_dir = "{self.trust_dir}"
vomsdir = "{self.directory}/vomsdir"
audiences = ["{AUDIENCE}"]
hosts = ["{HOST}"]
{more}
{"".join(tables)}
[authorizer.map]
type = "gridmap"
file = "users"
"""

    def engine(self, policy: str | None = None) -> Engine:
        """An engine with this policy.

        Raises:
            ConfigError: It cannot be used.
        """
        path = self.directory / "policy.toml"
        write_file(path, (self.policy() if policy is None else policy).encode(), 0o644)
        return Engine(load_policy(Place(str(path))).policy)

    def subject(self, holder: Issued, *shown: object, extensions: Sequence[Extra] = (), **proxy: object) -> Subject:
        """Who comes with a proxy that carries extensions, and shows something besides."""
        options: dict[str, object] = {"key": "p256", "not_before": self.now - timedelta(minutes=5)}
        made = holder.proxy(extensions=list(extensions), **(options | proxy))  # type: ignore[arg-type]  # handed on by name
        return Subject.from_peer(verify_chain(made.chain_der, self.anchors, now=self.now), assertions=shown)

    def carrying(self, holder: Issued, *assertions: str) -> Subject:
        """Who comes with assertions in proxies, each further one in a proxy below."""
        made = holder
        for one in assertions:
            extension = assertion_extension(one.encode())
            made = made.proxy(key="p256", not_before=self.now - timedelta(minutes=5), extensions=[extension])
        return Subject.from_peer(verify_chain(made.chain_der, self.anchors, now=self.now))

    def request(
        self,
        subject: Subject,
        action: str = "read",
        path: str = "/data/f",
        *,
        kind: str = "file",
        desired: str | None = None,
        service: str = "file",
        now: datetime | None = None,
    ) -> AuthorizationRequest:
        """A question about a file of `HOST`; for jobs and logins without a file."""
        name = f"ftp://{HOST}{path}" if kind == "file" and action != "authz_assert" else ""
        environment = Environment(now=now or self.now, service=service, host="ce.example.org", desired_account=desired)
        return AuthorizationRequest(subject, Action(action, kind), Resource(name), environment)
