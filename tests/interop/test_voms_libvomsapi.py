"""Attribute certificates judged by us and by libvomsapi with full verification: every row the same, or said why not."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gsi.errors import CapabilityProblem, VerificationError
from gsi.system.trustdir import TrustDirectory
from gsi.system.vomsdir import VOMSDirectory
from gsi.trust.verify import verify_chain
from gsi.voms.verify import AttributeVerifier, Found, VOMSOptions
from tests.harness.ca import Issued, TestCA, parse_name, subject_hash, write_file, write_trust_dir
from tests.harness.voms import (
    VO,
    Verdict,
    VOMSServer,
    ac_extension,
    extension,
    libvomsapi,
    target_list,
)

pytestmark = pytest.mark.interop

_AKI: Final = "2.5.29.35"
_OWN_HOST: Final = socket.gethostname()
P: Final = CapabilityProblem


class Site:
    """Authorities, servers and users of one VO."""

    def __init__(self) -> None:
        self.ca = TestCA()
        self.sub = self.ca.intermediate("/O=Grid/CN=Sub CA")
        self.stranger = TestCA("/O=Elsewhere/CN=CA")
        self.own_identifier = bytes(range(20))
        named = [(x509.SubjectKeyIdentifier(self.own_identifier), False)]
        self.server = VOMSServer(self.ca, self.ca.issue("/O=Grid/CN=voms.example.org", extensions=named))
        self.below = VOMSServer(self.sub, self.sub.issue("/O=Grid/CN=voms2"))
        self.alice = self.ca.issue("/O=Grid/CN=Alice")
        self.bob = self.ca.issue("/O=Grid/CN=Bob")
        self.now = datetime.now(UTC).replace(microsecond=0)

    def ac(self, **changes: object) -> bytes:
        """Alice's, from the server."""
        return self.server.attribute_certificate(self.alice, **changes)  # type: ignore[arg-type]  # named by the caller

    def key_id(self) -> bytes:
        return x509.SubjectKeyIdentifier.from_public_key(self.server.credential.certificate.public_key()).digest


class Case(NamedTuple):
    """One row.

    Attributes:
        proxy: Makes the proxy.
        accepted: Whether libvomsapi accepts it.
        refused: With which problem we refuse it; None when we accept.
        lsc: The LSC file's text; None for the right one.
        files: "lsc", "pem" or "none".
        below: Ask about the server below the subordinate authority.
        knows_sub: Whether the subordinate authority is in the trust directory.
        why: Why we differ.
    """

    proxy: Callable[[Site], Issued]
    accepted: bool = True
    refused: CapabilityProblem | None = None
    lsc: Callable[[Site], str] | None = None
    files: str = "lsc"
    below: bool = False
    knows_sub: bool = False
    why: str = ""


def _with(make: Callable[[Site], bytes], **more: object) -> Case:
    """A row whose proxy carries one attribute certificate of Alice's."""
    return Case(lambda site: site.alice.proxy(extensions=[ac_extension(make(site))]), **more)  # type: ignore[arg-type]  # values by name


def _below(listed: str, lsc: str, **more: object) -> Case:
    def make(site: Site) -> bytes:
        chain = [site.below.credential.certificate, *([site.sub.certificate] if listed == "both" else [])]
        return site.below.attribute_certificate(site.alice, certificates=chain)

    texts = {
        "2": "/O=Grid/CN=voms2\n/O=Grid/CN=Sub CA\n",
        "3": "/O=Grid/CN=voms2\n/O=Grid/CN=Sub CA\n/O=Grid/CN=Test CA\n",
        "4": "/O=Grid/CN=voms2\n/O=Grid/CN=Sub CA\n/O=Grid/CN=Sub CA\n/O=Grid/CN=Test CA\n",
    }
    return _with(make, lsc=lambda _: texts[lsc], below=True, **more)


def _ca_listed(site: Site) -> bytes:
    return site.ac(certificates=[site.server.credential.certificate, site.ca.certificate])


def _forged(site: Site) -> bytes:
    """By a server of the same name, of a CA that nobody trusts."""
    liar = VOMSServer(site.stranger, site.stranger.issue(site.server.credential.subject))
    return liar.attribute_certificate(site.alice)


def _minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


CASES: Final[dict[str, Case]] = {
    # --- accepted
    "correct": _with(lambda s: s.ac()),
    "two certificates": Case(lambda s: s.alice.proxy(extensions=[ac_extension(s.ac(), s.ac(fqans=[f"/{VO}/Role=x"]))])),
    "FQAN of the VO alone": _with(lambda s: s.ac(fqans=[f"/{VO}"])),
    "10 days": _with(lambda s: s.ac(not_after=s.now + timedelta(days=10))),
    "RSA with SHA-512": _with(lambda s: s.ac(digest=hashes.SHA512())),
    "in the upper of two proxies": Case(lambda s: s.alice.proxy(extensions=[ac_extension(s.ac())]).proxy()),
    "expired 2 minutes ago": _with(
        lambda s: s.ac(not_before=s.now - _minutes(60), not_after=s.now - _minutes(2)),
    ),
    "4 minutes in the future": _with(lambda s: s.ac(not_before=s.now + _minutes(4))),
    "target own host": _with(
        lambda s: s.ac(extensions=[extension("2.5.29.55", target_list(_OWN_HOST), critical=True)])
    ),
    "serial number 0": _with(lambda s: s.ac(serial=0)),
    "serial number of 20 bytes": _with(lambda s: s.ac(serial=(1 << 159) - 1)),
    "the same FQAN twice": _with(lambda s: s.ac(fqans=[f"/{VO}", f"/{VO}"])),
    "unknown extension, not critical": _with(lambda s: s.ac(extensions=[extension("1.2.3.4", b"\x05\x00")])),
    # --- refused: times, holder, signature
    "expired 2 hours ago": _with(
        lambda s: s.ac(not_before=s.now - timedelta(hours=9), not_after=s.now - timedelta(hours=2)),
        accepted=False,
        refused=P.EXPIRED,
    ),
    "10 minutes in the future": _with(
        lambda s: s.ac(not_before=s.now + _minutes(10)), accepted=False, refused=P.NOT_YET_VALID
    ),
    "bad signature": _with(lambda s: s.ac(spoil=True), accepted=False, refused=P.BAD_SIGNATURE),
    "another serial number": _with(lambda s: s.ac(holder_serial=4711), accepted=False, refused=P.HOLDER),
    "another issuer": _with(
        lambda s: s.ac(holder_issuer=parse_name("/O=Grid/CN=Other CA")), accepted=False, refused=P.HOLDER
    ),
    "Alice's in Bob's proxy": Case(
        lambda s: s.bob.proxy(extensions=[ac_extension(s.ac())]), accepted=False, refused=P.HOLDER
    ),
    # --- refused: the signer
    "VO without LSC file": _with(lambda s: s.ac(), files="none", accepted=False, refused=P.ISSUER),
    "another VO": _with(
        lambda s: s.ac(uri="othervo://voms.example.org:15000", fqans=["/othervo"]), accepted=False, refused=P.ISSUER
    ),
    "another host": _with(lambda s: s.ac(uri=f"{VO}://other.example.org:15000"), accepted=False, refused=P.ISSUER),
    "signer not in the LSC file": _with(
        lambda s: s.ac(), lsc=lambda s: "/O=Grid/CN=x\n/O=Grid/CN=Test CA\n", accepted=False, refused=P.ISSUER
    ),
    "CA not in the LSC file": _with(
        lambda s: s.ac(), lsc=lambda s: "/O=Grid/CN=voms.example.org\n/O=Grid/CN=x\n", accepted=False, refused=P.ISSUER
    ),
    "a CA that is not trusted": _with(
        _forged,
        lsc=lambda s: "/O=Grid/CN=voms.example.org\n/O=Elsewhere/CN=CA\n",
        accepted=False,
        refused=P.SIGNER,
    ),
    "list is not the signer's": _with(
        lambda s: s.ac(certificates=[s.bob.certificate]), accepted=False, refused=P.ISSUER
    ),
    "signed with another key": _with(lambda s: s.ac(key=s.bob.key), accepted=False, refused=P.BAD_SIGNATURE),
    "another issuer within": _with(
        lambda s: s.ac(issuer=parse_name("/O=Grid/CN=other")), accepted=False, refused=P.SIGNER
    ),
    "without the list": _with(lambda s: s.ac(certificates=[]), accepted=False, refused=P.SIGNER),
    "URI without port": _with(lambda s: s.ac(uri=f"{VO}://voms.example.org"), accepted=False, refused=P.MALFORMED),
    # --- refused: extensions and content
    "no noRevAvail": _with(lambda s: s.ac(leave_out=["noRevAvail"]), accepted=False, refused=P.CONTENT),
    "no key identifier": _with(lambda s: s.ac(leave_out=["aki"]), accepted=False, refused=P.CONTENT),
    "another key's identifier": _with(
        lambda s: s.ac(leave_out=["aki"], extensions=[extension(_AKI, b"\x30\x16\x80\x14" + bytes(20))]),
        accepted=False,
        refused=P.SIGNER,
    ),
    "unknown critical extension": _with(
        lambda s: s.ac(extensions=[extension("1.2.3.4", b"\x05\x00", critical=True)]),
        accepted=False,
        refused=P.CRITICAL,
    ),
    "key identifier critical": _with(
        lambda s: s.ac(
            leave_out=["aki"], extensions=[extension(_AKI, b"\x30\x16\x80\x14" + s.key_id(), critical=True)]
        ),
        accepted=False,
        refused=P.CRITICAL,
    ),
    "FQAN of another VO": _with(lambda s: s.ac(fqans=["/othervo"]), accepted=False, refused=P.CONTENT),
    "FQAN of a longer VO": _with(lambda s: s.ac(fqans=[f"/{VO}X"]), accepted=False, refused=P.CONTENT),
    "second FQAN of another VO": _with(
        lambda s: s.ac(fqans=[f"/{VO}", "/othervo/Role=x"]), accepted=False, refused=P.CONTENT
    ),
    "line feed in an FQAN": _with(lambda s: s.ac(fqans=[f"/{VO}\n/x"]), accepted=False, refused=P.CONTENT),
    "serial number of 21 bytes": _with(lambda s: s.ac(serial=1 << 161), accepted=False, refused=P.CONTENT),
    "target other host": _with(
        lambda s: s.ac(extensions=[extension("2.5.29.55", target_list("other.example.org"), critical=True)]),
        accepted=False,
        refused=P.AUDIENCE,
    ),
    "empty list of targets": _with(
        lambda s: s.ac(extensions=[extension("2.5.29.55", target_list(), critical=True)]),
        accepted=False,
        refused=P.AUDIENCE,
    ),
    # --- the two files
    "server certificate as PEM": _with(lambda s: s.ac(), files="pem"),
    "server certificate as PEM, without the list": _with(lambda s: s.ac(certificates=[]), files="pem"),
    "forged, server certificate as PEM": _with(_forged, files="pem", accepted=False, refused=P.SIGNER),
    "second alternative": _with(
        lambda s: s.ac(), lsc=lambda s: f"/O=X/CN=a\n/O=X/CN=b\n------ NEXT CHAIN ------\n{s.server.lsc()}"
    ),
    "first alternative": _with(
        lambda s: s.ac(), lsc=lambda s: f"{s.server.lsc()}------ NEXT CHAIN ------\n/O=X/CN=a\n/O=X/CN=b\n"
    ),
    "blanks at the ends of lines": _with(lambda s: s.ac(), lsc=lambda s: s.server.lsc().replace("\n", " \n")),
    "no last line feed": _with(lambda s: s.ac(), lsc=lambda s: s.server.lsc().rstrip("\n")),
    "one line": _with(
        lambda s: s.ac(), lsc=lambda s: "/O=Grid/CN=voms.example.org\n", accepted=False, refused=P.ISSUER
    ),
    "CA in the list, not in the file": _with(_ca_listed, accepted=False, refused=P.ISSUER),
    "CA in both": _with(_ca_listed, lsc=lambda s: f"{s.server.lsc()}/O=Grid/CN=Test CA\n/O=Grid/CN=Test CA\n"),
    "CA in the file alone": _with(
        lambda s: s.ac(), lsc=lambda s: f"{s.server.lsc()}/O=Grid/CN=Test CA\n/O=Grid/CN=Test CA\n"
    ),
    "below, sub not known": _below("one", "2", accepted=False, refused=P.SIGNER),
    "below, sub known": _below("one", "2", knows_sub=True),
    "below, sub listed": _below("both", "4"),
    "below, sub listed, not in the file": _below("both", "2", accepted=False, refused=P.ISSUER),
    "below, sub in the file alone": _below("one", "4", knows_sub=True),
    # --- where we differ
    "targets not critical, other host": _with(
        lambda s: s.ac(extensions=[extension("2.5.29.55", target_list("other.example.org"))]),
        refused=P.AUDIENCE,
        why="a target list that does not bind is no target list",
    ),
    "SHA-1": _with(lambda s: s.ac(digest=hashes.SHA1()), refused=P.ALGORITHM, why="SHA-1 is broken"),
    "two algorithms": _with(
        lambda s: s.ac(inner_algorithm=bytes.fromhex("300d06092a864886f70d01010c0500")),
        refused=P.ALGORITHM,
        why="RFC 5755 section 4.2.4 wants the same",
    ),
    "negative serial number": _with(
        lambda s: s.ac(serial=-5), refused=P.CONTENT, why="RFC 5755 section 4.2.5 wants a positive one"
    ),
    "noRevAvail twice": _with(
        lambda s: s.ac(extensions=[extension("2.5.29.56", b"\x05\x00")]),
        refused=P.MALFORMED,
        why="an extension occurs once (RFC 5280 section 4.2)",
    ),
    "the identifier that the certificate gives its key": _with(
        lambda s: s.ac(leave_out=["aki"], extensions=[extension(_AKI, b"\x30\x16\x80\x14" + s.own_identifier)]),
        accepted=False,
        why="RFC 5280 section 4.2.1.1 takes that one, as the Java library does; the C library the key's SHA-1",
    ),
    "three lines": _with(
        lambda s: s.ac(),
        lsc=lambda s: f"{s.server.lsc()}/O=Grid/CN=Test CA\n",
        refused=P.ISSUER,
        why="a subject without issuer is a mistake of whoever wrote the file",
    ),
    "comment and blank line in the file": _with(
        lambda s: s.ac(),
        lsc=lambda s: f"# a comment\n\n{s.server.lsc()}",
        accepted=False,
        why="the C library takes them for names",
    ),
    "names in lower case": _with(
        lambda s: s.ac(),
        lsc=lambda s: s.server.lsc().replace("voms.example", "VOMS.example"),
        accepted=False,
        why="names are compared as RFC 5280 section 7.1 says",
    ),
}


class Asked(NamedTuple):
    """The verdicts on one row."""

    theirs: Verdict
    ours: tuple[Found, ...]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Asked]:
    root = tmp_path_factory.mktemp("voms")
    site = Site()
    trust = write_trust_dir(root / "certs", site.ca, crl=True)
    both = write_trust_dir(root / "both", site.ca, site.sub, crl=True)
    policy = f"{subject_hash(site.sub.certificate)}.signing_policy"
    write_file(trust / policy, site.sub.signing_policy().encode(), 0o644)  # which libvomsapi does not look at
    questions: list[tuple[Path, Path, Path]] = []
    ours: list[tuple[Found, ...]] = []
    for number, case in enumerate(CASES.values()):
        vomsdir = root / f"vomsdir{number}"
        vomsdir.mkdir()
        server = site.below if case.below else site.server
        if case.files == "pem":
            server.write_certificate(vomsdir)
        elif case.files == "lsc":
            server.write_lsc(vomsdir, case.lsc(site) if case.lsc else None)
        proxy = case.proxy(site)
        path = root / f"proxy{number}.pem"
        proxy.write_bundle(path)
        certificates = both if case.knows_sub else trust
        questions.append((path, vomsdir, certificates))
        anchors = TrustDirectory(str(certificates))
        now = datetime.now(UTC)
        peer = verify_chain(proxy.chain_der, anchors.anchors(), now=now)
        options = VOMSOptions(hosts=frozenset({_OWN_HOST}))
        verifier = AttributeVerifier(VOMSDirectory(str(vomsdir)), anchors.anchors, options)
        ours.append(verifier.verify_chain(peer, now=now))
    theirs = libvomsapi(*questions)
    return {name: Asked(first, second) for name, first, second in zip(CASES, theirs, ours, strict=True)}


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str, verdicts: dict[str, Asked]) -> None:
    case, asked = CASES[name], verdicts[name]
    assert asked.theirs.accepted is case.accepted, asked.theirs
    assert asked.ours
    problems = {found.error.problem if found.error else None for found in asked.ours}
    assert problems == {case.refused}, [found.error for found in asked.ours]
    assert case.accepted is (case.refused is None) or case.why
    if case.accepted and case.refused is None:
        assert tuple(found.attributes.fqans for found in asked.ours if found.attributes) == asked.theirs.fqans


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_other_keys(kind: str, tmp_path: Path) -> None:
    ca = TestCA()
    server = VOMSServer(ca, ca.issue("/O=Grid/CN=voms.example.org", key=kind))  # type: ignore[arg-type]  # KeyKind
    alice = ca.issue("/O=Grid/CN=Alice")
    proxy = alice.proxy(extensions=[ac_extension(server.attribute_certificate(alice))])
    path = tmp_path / "proxy.pem"
    proxy.write_bundle(path)
    trust, vomsdir = write_trust_dir(tmp_path / "certs", ca, crl=True), server.write_lsc(tmp_path / "vomsdir")
    (theirs,) = libvomsapi((path, vomsdir, trust))
    assert theirs.accepted, theirs
    anchors = TrustDirectory(str(trust))
    now = datetime.now(UTC)
    peer = verify_chain(proxy.chain_der, anchors.anchors(), now=now)
    (ours,) = AttributeVerifier(VOMSDirectory(str(vomsdir)), anchors.anchors).verify_chain(peer, now=now)
    assert ours.attributes is not None
    assert (ours.attributes.fqans,) == theirs.fqans


def test_a_critical_extension_in_the_proxy(tmp_path: Path) -> None:
    """libvomsapi does not mind; a TLS peer and our validator refuse the whole chain."""
    ca = TestCA()
    server, alice = VOMSServer(ca), ca.issue("/O=Grid/CN=Alice")
    proxy = alice.proxy(extensions=[ac_extension(server.attribute_certificate(alice), critical=True)])
    path = tmp_path / "proxy.pem"
    proxy.write_bundle(path)
    trust, vomsdir = write_trust_dir(tmp_path / "certs", ca), server.write_lsc(tmp_path / "vomsdir")
    (theirs,) = libvomsapi((path, vomsdir, trust))
    assert theirs.accepted, theirs
    with pytest.raises(VerificationError, match="critical"):
        verify_chain(proxy.chain_der, TrustDirectory(str(trust)).anchors(), now=datetime.now(UTC))
