"""Attacks on the enforcement of capabilities, each through the engine and a policy: none permits anything.

`tests/unit/cas/assertion/test_attacks.py` has the same before the verifiers alone, one by one. The table of
`docs/reference/cas-enforcement.md` names the test of each attack.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from cas.assertion.jwks import key_set
from cas.assertion.signing import b64url
from cas.assertion.value import Comparison, Right
from gsi import der, oids
from gsi.authz.decision import Decision, Effect, Subject
from gsi.certificate import Extension
from gsi.errors import VerificationError
from gsi.voms.attribute_cert import AttributeCertificate, parse_sequence_of
from tests.harness.ca import INDEPENDENT_INFO, LIMITED_INFO, TestCA, encoded_oid, proxy_info, tlv
from tests.harness.capabilities import file_right, signing_key
from tests.harness.cas_site import HOST, CommunityServer, EnforcingSite, ac_of
from tests.harness.saml import assertion_extension
from tests.harness.tokens import TokenIssuer
from tests.harness.voms import VOMSServer

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Scene:
    """A site, and the ways to come with something."""

    def __init__(self, directory: Path) -> None:
        self.site = site = EnforcingSite(directory)
        stranger = TestCA("/O=Elsewhere/CN=CA", "p256")
        self.liar = CommunityServer(
            "climate", stranger.issue(site.climate.issued.subject, "p256"), site.climate.url, site.now
        )
        self.bob = CommunityServer("climate", site.bob, site.climate.url, site.now)

    def assertion(self, text: str) -> tuple[Subject, Subject]:
        """Alice with an assertion, in her proxy and shown."""
        site = self.site
        carried = assertion_extension(text.encode())
        return site.subject(site.alice, extensions=[carried]), site.subject(site.alice, text)

    def attributes(self, *ders: bytes) -> tuple[Subject]:
        """Alice with attribute certificates."""
        return (self.site.subject(self.site.alice, extensions=[ac_of(*ders)]),)

    def token(self, text: str) -> tuple[Subject]:
        """Alice with a token."""
        return (self.site.subject(self.site.alice, text),)

    def resigned(self, **changes: object) -> bytes:
        """An attribute certificate as a careless community would sign it."""
        key = signing_key(self.site.climate.issued)
        (good,) = parse_sequence_of(der.encode_sequence(der.encode_sequence(self.ac)))
        info = good.info._replace(**changes)  # type: ignore[arg-type]  # fields by name
        return AttributeCertificate.assemble(
            info.encode(), good.signature_algorithm_der, key.signer.sign(info.encode())
        ).der

    @property
    def xml(self) -> str:
        return self.site.climate.assertion(self.site.alice)

    @property
    def ac(self) -> bytes:
        return self.site.climate.attributes(self.site.alice)

    @property
    def jwt(self) -> str:
        return self.site.climate.token(self.site.alice)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_is_attacked_is_good(scene: Scene) -> None:
    engine = scene.site.engine()
    for subject in (*scene.assertion(scene.xml), *scene.attributes(scene.ac), *scene.token(scene.jwt)):
        assert engine.authorize(scene.site.request(subject)).effect is Effect.PERMIT
    for made in (scene.resigned(), _doubled(scene, 1)):
        (subject,) = scene.attributes(made)
        assert engine.authorize(scene.site.request(subject)).effect is Effect.PERMIT


def _swapped(scene: Scene) -> tuple[Subject, ...]:
    """The right certificate beside a signature of Bob's."""
    certificate = base64.b64encode(scene.site.climate.issued.der).decode()
    xml = scene.bob.assertion(scene.site.alice)
    xml = xml.replace(f'Issuer="{scene.site.bob.subject}"', f'Issuer="{scene.site.climate.issued.subject}"')
    return scene.assertion(re.sub(r"(<ds:X509Certificate>)[^<]*", lambda found: found[1] + certificate, xml))


def _times(scene: Scene, **changes: object) -> tuple[Subject, ...]:
    community, alice = scene.site.climate, scene.site.alice
    return (
        *scene.assertion(community.assertion(alice, **changes)),  # type: ignore[arg-type]  # fields by name
        *scene.attributes(community.attributes(alice, **changes)),
        *scene.token(community.token(alice, **changes)),  # type: ignore[arg-type]  # fields by name
    )


def _elsewhere(scene: Scene) -> tuple[Subject, ...]:
    community, alice, other = scene.site.climate, scene.site.alice, ("https://other.example.org",)
    loose = scene.resigned(
        extensions=tuple(
            one._replace(critical=False)
            for one in AttributeCertificate.parse(community.attributes(alice, audience=other)).info.extensions
        )
    )
    token = TokenIssuer(community.url, community.issued.key)
    token.kid = signing_key(community.issued).kid
    return (
        *scene.assertion(community.assertion(alice, audience=other)),
        *scene.attributes(community.attributes(alice, audience=other)),
        *scene.attributes(loose),
        *scene.token(token.token(aud=other[0], cnf={"x5t#S256": b64url(hashlib.sha256(alice.der).digest())})),
    )


def _header(text: str, **changes: object) -> str:
    header, claims, signature = text.split(".")
    found = json.loads(base64.urlsafe_b64decode(header + "=="))
    return f"{b64url(json.dumps(found | changes).encode())}.{claims}.{signature}"


def _hmac(scene: Scene) -> str:
    key = signing_key(scene.site.climate.issued)
    head = b64url(json.dumps({"alg": "HS256", "kid": key.kid, "typ": "JWT"}).encode())
    signed = f"{head}.{scene.jwt.split('.')[1]}"
    return f"{signed}.{b64url(hmac.new(key_set([key]), signed.encode(), hashlib.sha256).digest())}"


def _identified(xml: str) -> tuple[str, str]:
    """Return an assertion that says more, under another id, beside the id of the original."""
    found = re.search(r'AssertionID="([^"]*)"', xml)
    assert found
    return xml.replace("/data/*", "/*").replace(found[1], "_evil"), found[1]


def _wrapped(xml: str) -> str:
    evil, _ = _identified(xml)
    at = evil.index(">") + 1
    return evil[:at] + xml + evil[at:]


ATTACKS: dict[str, Callable[[Scene], tuple[Subject, ...]]] = {
    "a forged signer": lambda s: (
        *s.assertion(s.liar.assertion(s.site.alice)),
        *s.attributes(s.liar.attributes(s.site.alice)),
        *s.token(s.liar.token(s.site.alice)),
    ),
    "another member signs": lambda s: (
        *s.assertion(s.bob.assertion(s.site.alice)),
        *s.attributes(s.bob.attributes(s.site.alice)),
        *s.token(s.bob.token(s.site.alice)),
    ),
    "a swapped signer": _swapped,
    "another holder's": lambda s: (
        *s.assertion(s.site.climate.assertion(s.site.bob)),
        *s.attributes(s.site.climate.attributes(s.site.bob)),
        *s.token(s.site.climate.token(s.site.bob)),
    ),
    "expired": lambda s: _times(s, now=s.site.now - 2 * HOUR),
    "in the future": lambda s: _times(s, begins=10 * MINUTE),
    "over-long": lambda s: s.assertion(s.site.climate.assertion(s.site.alice, lifetime=timedelta(days=8))),
    "another audience or target, critical or not": _elsewhere,
    "an extension twice": lambda s: s.attributes(s.resigned(extensions=_listed(s) + _listed(s)[:1])),
    "the attribute twice": lambda s: s.attributes(_doubled(s)),
    "an unknown critical extension": lambda s: s.attributes(
        s.resigned(extensions=(*_listed(s), Extension("1.2.3.4", True, b"\x05\x00")))
    ),
    "the prefix of a VO": lambda s: s.attributes(s.resigned(fqans=("/climateX/readers", "/climate/readers"))),
    "another VO": lambda s: s.attributes(s.resigned(fqans=("/climate/readers", "/physics"))),
    "alg none": lambda s: s.token(_header(s.jwt, alg="none")),
    "HMAC with the public keys": lambda s: s.token(_hmac(s)),
    "an unknown kid": lambda s: s.token(_header(s.jwt, kid="other")),
    "jku": lambda s: s.token(_header(s.jwt, jku="https://evil")),
    "x5u": lambda s: s.token(_header(s.jwt, x5u="https://evil")),
    "crit": lambda s: s.token(_header(s.jwt, crit=["exp"])),
    "wrapping": lambda s: s.assertion(_wrapped(s.xml)),
    "two assertions in one": lambda s: s.assertion(f"<x>{s.xml}{_identified(s.xml)[0]}</x>"),
    "two roots": lambda s: s.assertion(s.xml + _identified(s.xml)[0]),
    "one id twice": lambda s: s.assertion(s.xml.replace("<Conditions ", f'<Conditions ID="{_identified(s.xml)[1]}" ')),
    "a comment inside a name": lambda s: s.assertion(s.xml.replace("CN=Alice<", "CN=Ali<!---->ce<")),
    "a document type": lambda s: s.assertion(f'<!DOCTYPE a [<!ENTITY e "x">]>{s.xml}'),
    "without a signature": lambda s: s.assertion(re.sub("<ds:Signature .*</ds:Signature>", "", s.xml)),
    "more than was signed": lambda s: s.assertion(s.xml.replace("/data/*", "/*")),
}


def _doubled(scene: Scene, count: int = 2) -> bytes:
    """An attribute certificate with the attribute of FQANs several times, signed by the community."""
    server = VOMSServer(scene.site.ca, scene.site.climate.issued, "climate", "climate.example.org")
    fqans = tlv(0x30, tlv(0x04, b"/climate/readers"))
    authority = tlv(0xA0, tlv(0x86, b"climate://climate.example.org:15000"))
    attribute = tlv(0x30, encoded_oid(oids.VOMS_FQAN) + tlv(0x31, tlv(0x30, authority + fqans)))
    return server.attribute_certificate(scene.site.alice, attributes=attribute * count)


def _listed(scene: Scene) -> tuple[Extension, ...]:
    return AttributeCertificate.parse(scene.ac).info.extensions


@pytest.mark.parametrize("name", ATTACKS)
def test_what_must_not_be_believed(scene: Scene, name: str) -> None:
    """Neither reads nor logs in, also where the subject could without: what is shown is what is judged."""
    engine = scene.site.engine()
    for subject in ATTACKS[name](scene):
        assert engine.authorize(scene.site.request(subject)).effect is Effect.DENY
        assert engine.authorize(scene.site.request(subject, "login", kind="login")).effect is Effect.DENY
        if subject.assertions:
            assert engine.authorize(scene.site.request(subject, "authz_assert")).effect is Effect.DENY


def _read(scene: Scene, subject: Subject, path: str) -> Decision:
    return scene.site.engine().authorize(scene.site.request(subject, path=path))


@pytest.mark.parametrize(
    "path",
    [
        "/database/f",
        "/data",
        "/data/../etc/f",
        "/data/%2e%2e/etc/f",
        "/data/%252e%252e/etc/f",
        "/data%2f..%2fetc/f",
        "/DATA/f",
        "/%64ata/../f",
        "/other//data/f",
        "/data/f\x00",
    ],
)
def test_paths_that_are_not_below(scene: Scene, path: str) -> None:
    for subject in (*scene.assertion(scene.xml), *scene.attributes(scene.ac), *scene.token(scene.jwt)):
        assert _read(scene, subject, path).effect is not Effect.PERMIT, path


def test_a_double_slash_is_one(scene: Scene) -> None:
    for subject in (*scene.assertion(scene.xml), *scene.attributes(scene.ac), *scene.token(scene.jwt)):
        assert _read(scene, subject, "//data//f").effect is Effect.PERMIT


@pytest.mark.parametrize("name", ["/data/../*", "/data/%2e%2e/*", "//*", "/*/f", "/da*", "/./*"])
def test_objects_that_could_be_read_in_two_ways(scene: Scene, name: str) -> None:
    """A community that signs such a thing grants nothing with it."""
    rights = [Right("FTPDirectoryTree", f"ftp://{HOST}{name}", Comparison.WILDCARD, "file", ("read",))]
    for subject in scene.assertion(scene.site.climate.assertion(scene.site.alice, rights=rights)):
        for path in ("/data/f", "/f", "/etc/f", "/etc"):
            assert _read(scene, subject, path).effect is Effect.DENY


def test_another_host(scene: Scene) -> None:
    rights = [file_right("ftp://other.example.org/data/*", "read"), file_right("/data/*", "read")]
    for subject in scene.assertion(scene.site.climate.assertion(scene.site.alice, rights=rights)):
        assert _read(scene, subject, "/data/f").effect is Effect.DENY


@pytest.mark.parametrize("decision", ["Deny", "Indeterminate"])
def test_a_denial_within_an_assertion(scene: Scene, decision: str) -> None:
    """Of what is above, below or the same; the permit beside it does not count."""
    from tests.harness.saml import SAMLIssuer

    issuer = SAMLIssuer(scene.site.climate.issued)
    tree = f"FTPDirectoryTree|ftp://{HOST}/data"
    for denied, effect in ((f"{tree}/*", Effect.DENY), (f"{tree}/f", Effect.DENY), (f"{tree}/g", Effect.PERMIT)):
        more = issuer.cas_assertion(scene.site.alice, statements=[(denied, ["read"])], decision=decision)
        found = re.search("<AuthorizationDecisionStatement.*</AuthorizationDecisionStatement>", more)
        assert found
        text = issuer.cas_assertion(scene.site.alice, statements=[(f"{tree}/*", ["read"])], more=found[0])
        subject = scene.site.subject(scene.site.alice, issuer.sign(text).decode())
        expected = Effect.DENY if denied == f"{tree}/*" else effect
        assert _read(scene, subject, "/data/f").effect is expected, denied


def test_replayed(scene: Scene) -> None:
    """What may be used once only would have to be remembered for each operation: it is refused."""
    from tests.harness.saml import SAMLIssuer

    issuer = SAMLIssuer(scene.site.climate.issued)
    statements = [(f"FTPDirectoryTree|ftp://{HOST}/data/*", ["read"])]
    for conditions, effect in (("", Effect.PERMIT), ("<DoNotCacheCondition/>", Effect.DENY)):
        text = issuer.cas_assertion(scene.site.alice, statements=statements, conditions=conditions)
        subject = scene.site.subject(scene.site.alice, issuer.sign(text).decode())
        assert _read(scene, subject, "/data/f").effect is effect


def test_with_anothers_proxy(scene: Scene) -> None:
    """Alice's in Bob's proxy, beside it, and in a proxy of Alice's that is not the end of his chain."""
    site = scene.site
    carried = assertion_extension(scene.xml.encode())
    for subject in (
        site.subject(site.bob, extensions=[carried]),
        site.subject(site.bob, scene.xml),
        site.subject(site.bob, scene.jwt),
        site.subject(site.bob, extensions=[ac_of(scene.ac)]),
    ):
        assert _read(scene, subject, "/data/f").effect is Effect.DENY


def test_restricted_without_a_handler(scene: Scene) -> None:
    """The chain is refused before; where somebody could read its policy, it has none of these rights all the same."""
    site = scene.site
    with pytest.raises(VerificationError):
        site.subject(site.alice, scene.xml, info=proxy_info("1.2.3.4.5", policy=b"x"))
    from dataclasses import replace

    from gsi.proxy.kinds import ProxyKind

    restricted = replace(site.subject(site.alice, scene.xml), kind=ProxyKind.RESTRICTED)
    assert _read(scene, restricted, "/data/f").effect is Effect.DENY


def test_independent(scene: Scene) -> None:
    """An attribute certificate speaks of the end entity, whose rights such a proxy has not."""
    site = scene.site
    for extensions in ([ac_of(scene.ac)], [assertion_extension(scene.xml.encode())]):
        subject = site.subject(site.alice, extensions=extensions, info=INDEPENDENT_INFO)
        assert _read(scene, subject, "/data/f").effect is Effect.DENY
    assert _read(scene, site.subject(site.alice, scene.jwt, info=INDEPENDENT_INFO), "/data/f").effect is Effect.DENY


@pytest.mark.parametrize("action", ["start", "status", "cancel", "signal", "register", "renew"])
def test_limited_at_a_job_service(scene: Scene, action: str) -> None:
    site = scene.site
    right = Right("Jobs", "gram://ce.example.org/jobmanager-fork", Comparison.EXACT, "gram", (action,))
    text = site.climate.assertion(site.alice, rights=[right])
    engine = site.engine(site.policy('namespaces = {Jobs = "ExactComparison"}'))
    for info, effect in ((None, Effect.PERMIT), (LIMITED_INFO, Effect.DENY)):
        changes: dict[str, object] = {} if info is None else {"info": info}
        subject = site.subject(site.alice, text, **changes)  # type: ignore[arg-type]  # fields by name
        request = site.request(subject, action, kind="job", service="jobmanager-fork")
        assert engine.authorize(request).effect is effect


def test_nobody_shows_something(scene: Scene) -> None:
    for subject in (Subject(assertions=(scene.xml,)), Subject(assertions=(scene.jwt,))):
        assert _read(scene, subject, "/data/f").effect is Effect.DENY


def test_more_than_anybody_needs(scene: Scene) -> None:
    site = scene.site
    many = [site.climate.assertion(site.alice) for _ in range(17)]
    assert _read(scene, site.subject(site.alice, *many), "/data/f").effect is Effect.DENY
