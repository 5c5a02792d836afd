"""The signed forms of a capability before judges that are not ours: libvomsapi, xmlsec1, libscitokens, C tools.

Who judges: libvomsapi with full verification and LCMAPS the attribute certificates, xmlsec1 the assertions,
libscitokens and Python's scitokens (which fetch our keys over https) and joserfc the tokens; `grid-proxy-info`,
`voms-proxy-info` and a real `globus-gridftp-server` the proxies that carry them. Keys are in files and in a PKCS#11
token.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from cryptography import x509
from joserfc import jwt
from joserfc.jwk import KeySet

from cas.assertion.attribute_cert import AttributeIssuer
from cas.assertion.embed import assertion_extension, attribute_extension, embed, legacy_assertion_extension
from cas.assertion.jwks import discovery_document, key_set
from cas.assertion.saml import AssertionWriter, SAMLOptions, SAMLVersion
from cas.assertion.scopes import ScopeBase, ScopeMapping
from cas.assertion.signing import SigningKey
from cas.assertion.token import TokenIssuer, TokenOptions
from gsi import oids
from gsi.ca.signer import Digest, KeySigner, load_signer
from gsi.certificate import Certificate, Extension
from gsi.credential import parse_credential
from gsi.proxy.issue import ProxyOptions
from gsi.proxy.kinds import ProxyKind
from gsi.saml.carriers import find_assertions
from gsi.saml.trust import AssertionIssuer
from gsi.saml.verify import AssertionVerifier
from gsi.system.credential_files import save_proxy
from gsi.tokens.keycache import KeyCache
from gsi.tokens.rules import IssuerRules, Profile, TokenRules
from gsi.tokens.verify import TokenVerifier
from gsi.transport.documents import HTTPSFetcher
from gsi.transport.http import make_context
from gsi.trust.verify import verify_chain
from gsi.voms.ac_extensions import Tag, certificates_extension
from gsi.voms.attribute_cert import AttributeCertificate
from tests.harness.ca import Issued, KeyKind, TestCA, pooled_key, write_file, write_trust_dir
from tests.harness.capabilities import VO, file_right, make_capability, signing_key, token_key
from tests.harness.daemons import GridFTPServer
from tests.harness.environment import UserEnvironment, clean_environment
from tests.harness.lcmaps import lcmaps
from tests.harness.run import c_program, run
from tests.harness.saml import xmlsec1_accepts
from tests.harness.scitokens_library import Question, libscitokens
from tests.harness.softhsm import make_token, used_here
from tests.harness.tokens import HTTPSSite
from tests.harness.trust import make_anchors
from tests.harness.voms import ac_extension, libvomsapi
from tests.interop.conftest import Grid

pytestmark = pytest.mark.interop

HOST: Final = "voms.example.org"
PLACE: Final = f"{HOST}:15000"
SE: Final = "https://se.example.org"
GROUP: Final = f"/{VO}/Role=NULL/Capability=NULL"
RIGHTS: Final = (
    file_right("ftp://se.example.org/data/*", "read", "lookup"),
    file_right("ftp://se.example.org/out/*", "create", "delete", "write"),
)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


# --- attribute certificates -------------------------------------------------------------------------------------------


class Community:
    """A community's service, its users, and a site that believes it."""

    def __init__(self) -> None:
        self.ca = TestCA()
        key = pooled_key("rsa2048")
        own = [(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)]
        self.since = _now() - timedelta(hours=20)
        self.server = self.ca.issue("/O=Grid/CN=voms.example.org", key, extensions=own, not_before=self.since)
        self.alice, self.bob = (self.ca.issue(f"/O=Grid/CN={name}", not_before=self.since) for name in ("Alice", "Bob"))

    def ac(self, *, key: SigningKey | None = None, issued: timedelta = timedelta(), place: str = PLACE, vo: str = VO,
           holder: Issued | None = None, **changes: object) -> AttributeCertificate:  # fmt: skip
        """Alice's, issued some time from now."""
        moment = _now() + issued
        issuer = AttributeIssuer(key or signing_key(self.server), vo, place)
        capability = make_capability(holder or self.alice, community=vo, now=moment, **changes)  # type: ignore[arg-type]  # values by name
        return issuer.issue(capability, now=moment)

    def resigned(self, **changes: object) -> AttributeCertificate:
        """One that our issuer refuses to write, signed by its key all the same."""
        info = self.ac().info._replace(**changes)  # type: ignore[arg-type]  # values by name
        signature = signing_key(self.server).signer.sign(info.encode())
        return AttributeCertificate.assemble(info.encode(), info.signature_algorithm_der, signature)

    def without(self, *left_out: str, more: tuple[Extension, ...] = ()) -> AttributeCertificate:
        kept = tuple(one for one in self.ac().info.extensions if one.oid not in left_out)
        return self.resigned(extensions=(*kept, *more))

    def other_key(self, kind: KeyKind) -> SigningKey:
        return signing_key(self.ca.issue(self.server.subject, kind))


class Row(NamedTuple):
    """One certificate, and whether libvomsapi believes it; in the user's proxy, or where `carried` puts it."""

    make: Callable[[Community], AttributeCertificate]
    accepted: bool = True
    lsc: str = ""
    carried: Callable[[Community, AttributeCertificate], Issued] | None = None


def _spoiled(community: Community) -> AttributeCertificate:
    good = community.ac()
    signature = good.signature[:-1] + bytes((good.signature[-1] ^ 1,))
    return AttributeCertificate.assemble(good.info_der, good.signature_algorithm_der, signature)


def _target(host: str) -> Callable[[Community], AttributeCertificate]:
    return lambda community: community.ac(audience=(host,))


def _loose_target(community: Community) -> AttributeCertificate:
    info = community.ac(audience=("other.example.org",)).info
    return community.resigned(extensions=tuple(one._replace(critical=False) for one in info.extensions))


ROWS: Final[dict[str, Row]] = {
    "correct": Row(lambda c: c.ac()),
    "FQAN of the VO alone": Row(lambda c: c.ac(fqans=(f"/{VO}",))),
    "groups, roles and attributes": Row(
        lambda c: c.ac(fqans=(f"/{VO}/a/Role=x/Capability=NULL", GROUP), tags=(Tag("nickname", "alice", f"/{VO}"),))
    ),
    "10 days": Row(lambda c: c.ac(lifetime=10 * DAY)),
    "RSA with SHA-512": Row(lambda c: c.ac(key=_sha512(c))),
    "ECDSA P-256": Row(lambda c: c.ac(key=c.other_key("p256"))),
    "ECDSA P-384": Row(lambda c: c.ac(key=c.other_key("p384"))),
    "Ed25519": Row(lambda c: c.ac(key=c.other_key("ed25519"))),
    "in the upper of two proxies": Row(
        lambda c: c.ac(), carried=lambda c, ac: c.alice.proxy(extensions=[_extension(ac)]).proxy()
    ),
    "two": Row(
        lambda c: c.ac(), carried=lambda c, ac: c.alice.proxy(extensions=[_extension(ac, c.ac(fqans=(f"/{VO}/b",)))])
    ),
    "extension of the proxy critical": Row(  # which OpenSSL refuses, and `embed` does not write
        lambda c: c.ac(), carried=lambda c, ac: c.alice.proxy(extensions=[ac_extension(ac.der, critical=True)])
    ),
    "serial number of 16 bytes that begins with 1": Row(lambda c: c.ac(identifier=b"\xff" * 16)),
    "expired 2 minutes ago": Row(lambda c: c.ac(issued=-62 * MINUTE, lifetime=60 * MINUTE)),
    "4 minutes in the future": Row(lambda c: c.ac(issued=4 * MINUTE)),
    "target own host": Row(_target(socket.gethostname())),
    "expired 2 hours ago": Row(lambda c: c.ac(issued=-180 * MINUTE, lifetime=60 * MINUTE), accepted=False),
    "10 minutes in the future": Row(lambda c: c.ac(issued=10 * MINUTE), accepted=False),
    "bad signature": Row(_spoiled, accepted=False),
    "another holder": Row(lambda c: c.ac(holder=c.bob), accepted=False),
    "Alice's in Bob's proxy": Row(
        lambda c: c.ac(), accepted=False, carried=lambda c, ac: c.bob.proxy(extensions=[_extension(ac)])
    ),
    "VO without LSC file": Row(lambda c: c.ac(vo="other", fqans=("/other",)), accepted=False),
    "signer not in the LSC file": Row(lambda c: c.ac(), accepted=False, lsc="/O=Grid/CN=x\n/O=Grid/CN=Test CA\n"),
    "list is not the signer's": Row(
        lambda c: c.without(oids.VOMS_CERTIFICATES, more=(certificates_extension([Certificate.parse(c.bob.der)]),)),
        accepted=False,
    ),
    "URI without port": Row(lambda c: c.resigned(authority=f"{VO}://{HOST}"), accepted=False),
    "no noRevAvail": Row(lambda c: c.without(oids.NO_REV_AVAIL), accepted=False),
    "no key identifier": Row(lambda c: c.without(oids.AUTHORITY_KEY_IDENTIFIER), accepted=False),
    "unknown critical extension": Row(
        lambda c: c.without(more=(Extension("1.2.3.4", True, b"\x05\x00"),)), accepted=False
    ),
    "FQAN of another VO": Row(lambda c: c.resigned(fqans=("/othervo",)), accepted=False),
    "FQAN of a longer VO": Row(lambda c: c.resigned(fqans=(f"/{VO}X",)), accepted=False),
    "target other host": Row(_target("other.example.org"), accepted=False),
    "target other host, not critical": Row(_loose_target),  # which is why ours are critical
}  # fmt: skip


def _sha512(community: Community) -> SigningKey:
    return SigningKey(KeySigner(community.server.key, digest=Digest.SHA512), (Certificate.parse(community.server.der),))


def _extension(*certificates: AttributeCertificate) -> tuple[x509.ExtensionType, bool]:
    return ac_extension(*(one.der for one in certificates))


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    root, community = tmp_path_factory.mktemp("forms"), Community()
    trust = write_trust_dir(root / "certificates", community.ca, crl=True)
    questions = []
    for number, row in enumerate(ROWS.values()):
        certificate = row.make(community)
        if row.carried is not None:
            proxy = row.carried(community, certificate)
        else:
            proxy = community.alice.proxy(extensions=[_extension(certificate)])
        proxy.write_bundle(root / f"{number}.pem")
        vomsdir = root / f"vomsdir{number}"
        lsc = row.lsc or f"{community.server.subject}\n{community.ca.name}\n"
        write_file(vomsdir / VO / f"{HOST}.lsc", lsc.encode(), 0o644)
        questions.append((root / f"{number}.pem", vomsdir, trust))
    return dict(zip(ROWS, (one.accepted for one in libvomsapi(*questions)), strict=True))


@pytest.mark.parametrize("name", ROWS)
def test_libvomsapi(name: str, verdicts: dict[str, bool]) -> None:
    assert verdicts[name] is ROWS[name].accepted


@pytest.mark.parametrize("tool", ["voms-proxy-info2", "voms-proxy-info3"])
def test_voms_proxy_info(tool: str, tmp_path: Path) -> None:
    """The C and the Java one show what is in it."""
    community = Community()
    trust = write_trust_dir(tmp_path / "certificates", community.ca, crl=True)
    write_trust_dir(trust, community.ca, crl=True, old_hash=True)
    vomsdir, path = tmp_path / "vomsdir", tmp_path / "proxy.pem"
    write_file(vomsdir / VO / f"{HOST}.lsc", f"{community.server.subject}\n{community.ca.name}\n".encode(), 0o644)
    capability = community.ac(
        fqans=(f"/{VO}/prod/Role=writer/Capability=NULL", GROUP), tags=(Tag("nickname", "alice", f"/{VO}"),)
    )
    proxy = embed(parse_credential(community.alice.bundle()), [attribute_extension([capability])], now=_now())
    save_proxy(str(path), proxy)
    environment = clean_environment(tmp_path) | {
        "X509_CERT_DIR": str(trust), "X509_VOMS_DIR": str(vomsdir), "X509_USER_PROXY": str(path)
    }  # fmt: skip
    shown = run([c_program(tool), "-file", path, "-all"], env=environment).check().stdout
    for word in (f"/{VO}/prod/Role=writer", "nickname = alice", PLACE, community.server.subject, "/O=Grid/CN=Alice"):
        assert word in shown, shown
    fqans = run([c_program(tool), "-file", path, "-fqan"], env=environment).check().stdout.split()
    assert fqans[0].startswith(f"/{VO}/prod/Role=writer")


def test_lcmaps(tmp_path: Path) -> None:
    """LCMAPS gives accounts by the groups of a certificate that it believes, and none by one of somebody else's."""
    community, mallory = Community(), TestCA("/O=Elsewhere/CN=CA")
    trust = write_trust_dir(tmp_path / "certificates", community.ca, crl=True)
    lsc = f"{community.server.subject}\n{community.ca.name}\n".encode()
    write_file(tmp_path / "vomsdir" / VO / f"{HOST}.lsc", lsc, 0o644)
    role = community.ac(fqans=(f"/{VO}/prod/Role=writer/Capability=NULL", GROUP))
    forged = community.ac(key=signing_key(mallory.issue(community.server.subject, "rsa2048")))
    asked = {
        "writer": (community.alice.proxy(extensions=[_extension(role)]), "daemon"),
        "member": (community.alice.proxy(extensions=[_extension(community.ac())]), "nobody"),
        "delegated": (community.alice.proxy(extensions=[_extension(role)]).proxy(), "daemon"),
        "of another group": (community.alice.proxy(extensions=[_extension(community.ac(fqans=(f"/{VO}/x",)))]), None),
        "Alice's in Bob's": (community.bob.proxy(extensions=[_extension(role)]), None),
        "forged": (community.alice.proxy(extensions=[_extension(forged)]), None),
        "spoiled": (community.alice.proxy(extensions=[_extension(_spoiled(community))]), None),
        "none": (community.alice.proxy(), None),
    }
    for name, (proxy, _) in asked.items():
        proxy.write_bundle(tmp_path / name)
    accounts = {f"/{VO}/prod/Role=writer*": "daemon", f"/{VO}/Role=NULL*": "nobody"}
    found = lcmaps(tmp_path, trust, tmp_path / "vomsdir", accounts, [tmp_path / name for name in asked])
    assert dict(zip(asked, found, strict=True)) == {name: account for name, (_, account) in asked.items()}


# --- assertions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", SAMLVersion)
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384"])
@pytest.mark.parametrize("more", [{}, {"bind_key": True, "groups": True}])
def test_xmlsec1(version: SAMLVersion, kind: KeyKind, more: dict[str, bool], tmp_path: Path) -> None:
    ca = TestCA()
    cas, alice = ca.issue("/O=Grid/CN=cas/cas.example.org", kind), ca.issue("/C=DE/O=Grid & Co/CN=Alice <Zoë>")
    write_file(tmp_path / "ca.pem", ca.pem, 0o644)
    writer = AssertionWriter(signing_key(cas), SAMLOptions(version=version, **more))
    xml = writer.issue(make_capability(alice, rights=RIGHTS, audience=("se.example.org",)), now=_now())

    def accepts(data: bytes) -> bool:
        return xmlsec1_accepts(data, tmp_path / "ca.pem", tmp_path)

    assert accepts(xml)
    changes = ((b">read<", b">rate<"), (b"/data/", b"/date/"), (b'NotOnOrAfter="20', b'NotOnOrAfter="21'),
               (b"Zo", b"Zu"), (b"<ds:DigestValue>", b"<ds:DigestValue>AAAA"))  # fmt: skip
    for old, new in changes:
        assert old in xml
        assert not accepts(xml.replace(old, new, 1)), old
    stranger = TestCA("/O=Elsewhere/CN=CA")
    forged = AssertionWriter(signing_key(stranger.issue(cas.subject, kind)), SAMLOptions(version=version, **more))
    assert not accepts(forged.issue(make_capability(alice, rights=RIGHTS), now=_now()))


# --- tokens -----------------------------------------------------------------------------------------------------------


class Issuer:
    """An issuer of tokens with its site over https."""

    def __init__(self, site: HTTPSSite, ca: TestCA) -> None:
        self.site, self.ca = site, ca
        self.alice = ca.issue("/O=Grid/CN=Alice")
        self.url = f"https://localhost:{site.port}/vo"
        self.keys = [token_key(pooled_key("p256")), token_key(pooled_key("rsa2048"))]
        site.documents["/vo/.well-known/openid-configuration"] = discovery_document(
            self.url, jwks_uri=f"https://localhost:{site.port}/jwks", token_endpoint=f"{self.url}/token"
        )
        site.documents["/jwks"] = key_set(self.keys)
        base = ScopeBase(namespace="FTPDirectoryTree", prefix="ftp://se.example.org", audiences=frozenset({SE}))
        self.mapping = ScopeMapping(bases=(base,))

    def token(self, profile: Profile, key: SigningKey | None = None, *, now: datetime | None = None) -> str:
        now = now or _now()
        options = TokenOptions(issuer=self.url, mapping=self.mapping, profile=profile)
        capability = make_capability(self.alice, rights=RIGHTS, now=now, begins=-MINUTE)
        return TokenIssuer(key or self.keys[0], options).issue(capability, now=now, client_id="cas-token").text


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    ca = TestCA()
    with HTTPSSite(ca) as site:
        yield Issuer(site, ca)


def test_libscitokens(issuer: Issuer, tmp_path: Path) -> None:
    """It finds our keys by discovery over https, and the tokens good for what they say."""
    reads, writes = ("/data", "/data/f", "/data/a/b"), ("/out/x",)
    neither = ("/other", "/", "/dat", "/data/../etc", "/etc")
    wlcg, ours = ("storage.read", "storage.modify"), ("read", "write")
    kinds = (
        (Profile.WLCG, 0, ours),  # whose words it translates, asked for any kind of token
        (Profile.WLCG, 3, wlcg),
        (Profile.SCITOKENS, 0, ours),
        (Profile.SCITOKENS, 2, ours),
        (Profile.RFC9068, 4, wlcg),
    )
    questions, wanted = [], []
    for key in issuer.keys:
        for profile, number, (read, write) in kinds:
            asked = [(one, path) for one in (read, write) for path in (*reads, *writes, *neither)]
            good = [(one == read and path in reads) or (one == write and path in writes) for one, path in asked]
            questions.append(Question(issuer.token(profile, key), issuer.url, SE, tuple(asked), number))
            wanted.append(tuple(good))
    found = libscitokens(issuer.ca.pem, tmp_path, *questions)
    assert [one.allowed for one in found] == wanted, found
    assert issuer.site.asked == ["/vo/.well-known/openid-configuration", "/jwks"]


def test_libscitokens_refuses(issuer: Issuer, tmp_path: Path) -> None:
    text = issuer.token(Profile.WLCG)
    head, body, signature = text.split(".")
    asked = (("read", "/data/f"),)
    stranger = token_key(pooled_key("p256"))
    found = libscitokens(
        issuer.ca.pem,
        tmp_path,
        Question(text, issuer.url, SE, asked),
        Question(f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}", issuer.url, SE, asked),
        Question(issuer.token(Profile.WLCG, stranger), issuer.url, SE, asked),
        Question(issuer.token(Profile.WLCG, now=_now() - DAY), issuer.url, SE, asked),
        Question(text, f"{issuer.url}/other", SE, asked),
        Question(text, issuer.url, "https://other.example.org", asked),
    )
    assert [one.allowed == (True,) for one in found] == [True, False, False, False, False, False], found


@pytest.mark.parametrize("profile", Profile)
def test_joserfc(issuer: Issuer, profile: Profile) -> None:
    keys = KeySet.import_key_set(json.loads(key_set(issuer.keys)))
    for key in issuer.keys:
        found = jwt.decode(issuer.token(profile, key), keys, algorithms=["ES256", "RS256"])
        registry = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": issuer.url}, aud={"essential": True, "value": SE}, exp={"essential": True}
        )
        registry.validate(found.claims)
        assert found.header["kid"] == key.kid
        with pytest.raises(Exception, match="kid"):
            jwt.decode(issuer.token(profile, token_key(pooled_key("p256"))), keys, algorithms=["ES256"])


def test_ours_over_https(issuer: Issuer, tmp_path: Path) -> None:
    """Our own verifier takes the same way, and goes on through a change of keys."""
    trust = write_trust_dir(tmp_path / "certificates", issuer.ca)
    rules = TokenRules(issuers=(IssuerRules(issuer=issuer.url),), audiences=frozenset({SE}))
    verifier = TokenVerifier(rules, KeyCache(rules, HTTPSFetcher(make_context(str(trust)), timeout=10)))
    moment = _now()
    assert verifier.verify(issuer.token(Profile.WLCG), now=moment).capabilities
    new = token_key(pooled_key("p256"))
    issuer.site.documents["/jwks"] = key_set([*issuer.keys, new])
    later = moment + 6 * MINUTE
    assert verifier.verify(issuer.token(Profile.SCITOKENS, new, now=later), now=later).capabilities
    assert verifier.verify(issuer.token(Profile.WLCG, issuer.keys[1], now=later), now=later).capabilities


_PYPI_SCITOKENS: Final = """
import json, sys, scitokens
issuer, audience, texts = json.load(sys.stdin)
asked = [("read", "/data/f"), ("read", "/other"), ("write", "/data/f"), ("write", "/out/x")]
def judge(text, audience):
    try:
        token = scitokens.SciToken.deserialize(text)
    except Exception as error:
        return type(error).__name__
    enforcer = scitokens.Enforcer(issuer, audience=audience)
    return [enforcer.test(token, *one) for one in asked]
print(json.dumps([*(judge(text, audience) for text in texts), judge(texts[0], "https://other.example.org")]))
"""


def test_pypi_scitokens(issuer: Issuer, tmp_path: Path) -> None:
    """Python's scitokens finds our keys by discovery over https, and the tokens good for what they say."""
    texts = [issuer.token(Profile.SCITOKENS, key) for key in issuer.keys]
    forged = texts[0].rpartition(".")[0] + "." + texts[1].rpartition(".")[2]
    write_file(tmp_path / "ca.pem", issuer.ca.pem, 0o644)
    environment = clean_environment(tmp_path) | {
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"), "XDG_CACHE_HOME": str(tmp_path / "cache")
    }  # fmt: skip
    asked = json.dumps([issuer.url, SE, [*texts, forged]])
    done = run([sys.executable, "-c", _PYPI_SCITOKENS], env=environment, stdin=asked).check()
    good = [True, False, False, True]
    assert json.loads(done.stdout) == [good, good, "InvalidSignatureError", [False] * 4], done.stderr
    assert issuer.site.asked.count("/jwks") == len(issuer.keys)


# --- in proxies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ProxyKind.FULL, ProxyKind.LIMITED])
def test_c_services_take_the_proxy(grid: Grid, user: UserEnvironment, gridftp: GridFTPServer, kind: ProxyKind) -> None:
    """`grid-proxy-info` reads it, and a GridFTP server lets it in: with all three extensions, and delegated below."""
    ca, alice = grid.cas["rsa2048"], grid.users["rsa2048", "rsa2048"]
    cas = signing_key(ca.issue("/O=Grid/CN=cas"))
    capability = make_capability(alice, rights=RIGHTS)
    xml = AssertionWriter(cas).issue(capability, now=_now())
    certificate = AttributeIssuer(cas, VO, PLACE).issue(capability, now=_now())
    extensions = [assertion_extension(xml), legacy_assertion_extension(xml), attribute_extension([certificate])]
    proxy = embed(parse_credential(alice.bundle()), extensions, ProxyOptions(kind=kind), now=_now())
    save_proxy(str(user.proxy_path), proxy)
    shown = user.theirs("grid-proxy-info", "-all").check().stdout
    assert re.search(r"^identity\s*: /O=Grid/OU=Test/CN=Alice$", shown, re.MULTILINE), shown
    name = "limited" if kind is ProxyKind.LIMITED else "impersonation"
    assert f"RFC 3820 compliant {name} proxy" in shown
    assert user.theirs("grid-proxy-info", "-exists", "-valid", "1:0").returncode == 0
    source, back = user.home / "source", user.home / "back"
    source.write_bytes(b"content")
    target = gridftp.files / f"forms-{kind.value}-{user.home.stat().st_ino}"
    user.theirs("globus-url-copy", f"file://{source}", gridftp.url(target)).check()
    user.theirs("globus-url-copy", gridftp.url(target), f"file://{back}").check()
    assert back.read_bytes() == b"content"
    # What is delegated below still has it above.
    below = embed(proxy, [], now=_now())
    anchors = make_anchors(*grid.cas.values())
    peer = verify_chain([one.der for one in below.certificates], anchors, now=_now())
    (found,) = find_assertions(peer.chain)
    assert found.position == 1
    verifier = AssertionVerifier((AssertionIssuer(subject="/O=Grid/CN=cas"),), lambda: anchors)
    assert verifier.verify(found.data, peer, now=_now()).permits


def test_a_critical_one_is_refused(grid: Grid, user: UserEnvironment, gridftp: GridFTPServer) -> None:
    """Which is why `embed` writes none."""
    from gsi.proxy.issue import make_proxy

    extension = assertion_extension(b"<a/>")._replace(critical=True)
    credential = parse_credential(grid.users["rsa2048", "rsa2048"].bundle())
    save_proxy(str(user.proxy_path), make_proxy(credential, ProxyOptions(extensions=(extension,)), now=_now()))
    source = user.home / "source"
    source.write_bytes(b"content")
    done = user.theirs("globus-url-copy", f"file://{source}", gridftp.url(gridftp.files / "never"))
    assert done.returncode != 0


# --- keys in a token --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_keys_in_a_pkcs11_token(kind: KeyKind, tmp_path: Path) -> None:
    """All three forms are signed by a key that stays where it is."""
    community = Community()
    server = community.ca.issue(community.server.subject, kind)
    certificate = Certificate.parse(server.der)
    capability = make_capability(community.alice, rights=RIGHTS, now=_now())
    base = ScopeBase(namespace="FTPDirectoryTree", prefix="ftp://se.example.org", audiences=frozenset({SE}))
    options = TokenOptions(issuer="https://cas.example.org", mapping=ScopeMapping(bases=(base,)))
    with used_here(make_token(tmp_path, label="CAS", pin="1234")) as token:
        token.add_key("cas", server.key, key_id="01")
        signer = load_signer(token.uri("cas"), certificate=certificate)
        try:
            key = SigningKey(signer, (certificate,))
            published = key_set([key])
            xml = AssertionWriter(key).issue(capability, now=_now())
            attributes = AttributeIssuer(key, VO, PLACE).issue(capability, now=_now())
            text = TokenIssuer(key, options).issue(capability, now=_now()).text
        finally:
            signer.close()
    assert key.kid == signing_key(server).kid
    write_file(tmp_path / "ca.pem", community.ca.pem, 0o644)
    assert xmlsec1_accepts(xml, tmp_path / "ca.pem", tmp_path)
    community.alice.proxy(extensions=[_extension(attributes)]).write_bundle(tmp_path / "proxy.pem")
    vomsdir = tmp_path / "vomsdir"
    write_file(vomsdir / VO / f"{HOST}.lsc", f"{server.subject}\n{community.ca.name}\n".encode(), 0o644)
    trust = write_trust_dir(tmp_path / "certificates", community.ca, crl=True)
    (theirs,) = libvomsapi((tmp_path / "proxy.pem", vomsdir, trust))
    assert theirs.fqans == ((GROUP,),)
    found = jwt.decode(text, KeySet.import_key_set(json.loads(published)), algorithms=[key.algorithm])
    assert found.claims["sub"] == "alice"
