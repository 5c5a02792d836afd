"""Attribute certificates and the tools of VOMS: those that they make are read by us, ours are read by them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gsi import names
from gsi.certificate import Certificate, load_certificates
from gsi.credential import Credential, parse_credential
from gsi.errors import RefusedError, TransportError
from gsi.keys import signature_algorithm_der
from gsi.signing import sign
from gsi.system.clock import now
from gsi.system.trustdir import TrustDirectory
from gsi.system.vomsdir import VOMSDirectory
from gsi.transport.voms import fetch_attributes
from gsi.trust.verify import verify_chain
from gsi.voms.ac_extensions import (
    Tag,
    TagList,
    authority_key_identifier,
    certificates_extension,
    no_rev_avail,
    tags_extension,
    targets_extension,
)
from gsi.voms.attribute_cert import AttributeCertificate, AttributeInfo, parse_sequence_of
from gsi.voms.exchange import FetchRequest, Protocol
from gsi.voms.verify import AttributeVerifier, Found
from gsi.voms.vomses import VOMSEntry
from tests.harness.ca import Issued, TestCA, pooled_key, raw_extension, tlv, write_file, write_trust_dir
from tests.harness.environment import clean_environment
from tests.harness.run import Done, c_program, run
from tests.harness.voms import AC_SEQUENCE, HOST, PORT, VO, VOMSServer, ac_extension, libvomsapi, user_extensions
from tests.harness.voms_daemon import VOMSDaemon

pytestmark = pytest.mark.interop


class World:
    """One VO with a server on this machine, and Alice, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = TestCA()
        key = pooled_key("rsa2048")
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())  # what both libraries compare with
        host = self.ca.issue("/O=Grid/CN=localhost", key, san=["DNS:localhost"], extensions=[(own, False)])
        self.server = VOMSServer(self.ca, host)
        self.server.host = "localhost"
        self.alice = self.ca.issue("/O=Grid/CN=Alice", extensions=user_extensions())
        self.trust_dir = write_trust_dir(directory / "certificates", self.ca, crl=True)
        write_trust_dir(self.trust_dir, self.ca, crl=True, old_hash=True)  # the only names that the Java tools look for
        self.vomsdir = self.server.write_lsc(directory / "vomsdir")
        self.cert, self.key = directory / "usercert.pem", directory / "userkey.pem"
        self.alice.write(self.cert, self.key, key_mode=0o400)
        self.proxy = directory / "proxy.pem"
        self.environment = clean_environment(directory) | {
            "X509_CERT_DIR": str(self.trust_dir),
            "X509_VOMS_DIR": str(self.vomsdir),
            "X509_USER_CERT": str(self.cert),
            "X509_USER_KEY": str(self.key),
            "X509_USER_PROXY": str(self.proxy),
        }

    def tool(self, name: str, *arguments: str | Path) -> Done:
        return run([c_program(name), *arguments], env=self.environment)

    def judge(self, path: Path | None = None) -> tuple[Found, ...]:
        """What we say of the attribute certificates of a proxy file."""
        chain = load_certificates((path or self.proxy).read_bytes())
        anchors = TrustDirectory(str(self.trust_dir))
        peer = verify_chain(chain, anchors.anchors(), now=now())
        return AttributeVerifier(VOMSDirectory(str(self.vomsdir)), anchors.anchors).verify_chain(peer, now=now())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _only(found: tuple[Found, ...]) -> tuple[str, ...]:
    (one,) = found
    assert one.attributes is not None, one.error
    return one.attributes.fqans


def test_voms_proxy_fake(world: World) -> None:
    """Its attribute certificate is believed, and encoded again it is the same."""
    hostcert, hostkey = world.directory / "hostcert.pem", world.directory / "hostkey.pem"
    world.server.credential.write(hostcert, hostkey, key_mode=0o400)
    world.tool(
        "voms-proxy-fake", "-rfc", "-cert", world.cert, "-key", world.key, "-certdir", world.trust_dir, "-out",
        world.proxy, "-hostcert", hostcert, "-hostkey", hostkey, "-voms", VO, "-uri", f"localhost:{PORT}",
        "-fqan", f"/{VO}/Role=NULL/Capability=NULL", "-fqan", f"/{VO}/group/Role=admin/Capability=NULL",
        "-newformat", "-ga", "mail=alice@example.org", "-hours", "2",
    ).check()  # fmt: skip
    leaf = load_certificates(world.proxy.read_bytes())[0]
    extension = leaf.find_extension(AC_SEQUENCE)
    assert extension is not None
    (certificate,) = parse_sequence_of(extension.value)
    assert certificate.info.encode() == certificate.info_der
    again = AttributeCertificate.assemble(
        certificate.info.encode(), certificate.signature_algorithm_der, certificate.signature
    )
    assert again.der == certificate.der
    (found,) = world.judge()
    assert found.attributes is not None, found.error
    assert found.attributes.fqans == (f"/{VO}/Role=NULL/Capability=NULL", f"/{VO}/group/Role=admin/Capability=NULL")
    assert [tag.value for tags in found.attributes.tags for tag in tags.tags] == ["alice@example.org"]
    (theirs,) = libvomsapi((world.proxy, world.vomsdir, world.trust_dir))
    assert theirs.fqans == (found.attributes.fqans,)


def _made_by_us(world: World, holder: Issued, **changes: object) -> AttributeCertificate:
    """An attribute certificate from our encoder."""
    signer = Certificate.parse(world.server.credential.der)
    key = world.server.credential.key
    begin = datetime.now(UTC).replace(microsecond=0)
    info = AttributeInfo(
        holder_issuer_der=holder.certificate.issuer.public_bytes(),
        holder_serial=holder.certificate.serial_number,
        issuer_der=signer.subject_der,
        signature_algorithm_der=signature_algorithm_der(key),
        serial=int.from_bytes(secrets.token_bytes(15), "big"),
        not_before=begin - timedelta(minutes=5),
        not_after=begin + timedelta(hours=12),
        authority=f"{VO}://localhost:{PORT}",
        fqans=(f"/{VO}/Role=NULL/Capability=NULL", f"/{VO}/prod/Role=writer/Capability=NULL"),
        extensions=(certificates_extension([signer]), no_rev_avail(), authority_key_identifier(signer)),
    )
    info = info._replace(**changes)  # type: ignore[arg-type]  # the caller names fields
    signature, algorithm_der = sign(key, info.encode())
    return AttributeCertificate.assemble(info.encode(), algorithm_der, signature)


def test_ours_are_read(world: World) -> None:
    """By libvomsapi with full verification, by the C voms-proxy-info and by the Java one."""
    certificate = _made_by_us(world, world.alice)
    tags = tags_extension([TagList(f"{VO}://localhost:{PORT}", (Tag("nickname", "alice", f"/{VO}"),))])
    tagged = _made_by_us(world, world.alice, extensions=(*certificate.info.extensions, tags))
    world.alice.proxy(extensions=[ac_extension(tagged.der)]).write_bundle(world.proxy)
    (theirs,) = libvomsapi((world.proxy, world.vomsdir, world.trust_dir))
    assert theirs.fqans == (certificate.info.fqans,), theirs
    for tool in ("voms-proxy-info2", "voms-proxy-info3"):
        shown = world.tool(tool, "-file", world.proxy, "-all").check().stdout
        assert f"/{VO}/prod/Role=writer" in shown
        assert "nickname = alice" in shown
        assert "localhost:15000" in shown
    (found,) = world.judge()
    assert found.attributes is not None
    assert found.attributes.tags[0].tags == (Tag("nickname", "alice", f"/{VO}"),)


def test_our_targets(world: World) -> None:
    import socket

    base = _made_by_us(world, world.alice).info.extensions
    paths, verdicts = [], []
    for number, host in enumerate((socket.gethostname(), "other.example.org")):
        certificate = _made_by_us(world, world.alice, extensions=(*base, targets_extension([host])))
        path = world.directory / f"{number}.pem"
        world.alice.proxy(extensions=[ac_extension(certificate.der)]).write_bundle(path)
        paths.append(path)
    verdicts = libvomsapi(*((path, world.vomsdir, world.trust_dir) for path in paths))
    assert [verdict.accepted for verdict in verdicts] == [True, False]


@pytest.mark.parametrize("tool", ["voms-proxy-init2", "voms-proxy-init3"])
def test_real_clients_proxies_are_read(world: World, tool: str) -> None:
    """The proxies that the C and the Java voms-proxy-init make with what a server gives them."""
    with VOMSDaemon(world.server, world.alice) as daemon:
        vomses = world.directory / "vomses"
        write_file(vomses, daemon.vomses.encode(), 0o644)
        done = world.tool(
            tool, "-rfc", "-voms", VO, "-vomses", vomses, "-cert", world.cert, "-key", world.key, "-out", world.proxy,
            "-certdir", world.trust_dir
        )  # fmt: skip
        assert daemon.requests, done
    assert world.proxy.exists(), done
    assert "validation failed" not in done.output, done  # the Java one judges what it was given
    assert _only(world.judge()) == daemon.fqans
    (theirs,) = libvomsapi((world.proxy, world.vomsdir, world.trust_dir))
    assert theirs.accepted, theirs


# --- our client -------------------------------------------------------------------------------------------------------


def _credential(issued: Issued) -> Credential:
    return parse_credential(issued.bundle())


def _fetch(world: World, daemon: VOMSDaemon, *protocols: Protocol, request: FetchRequest | None = None) -> object:
    anchors = TrustDirectory(str(world.trust_dir))
    entry = VOMSEntry(VO, "localhost", daemon.port, world.server.credential.subject, VO)
    return fetch_attributes(
        [entry],
        request or FetchRequest(VO, (f"/{VO}/Role=x",)),
        _credential(world.alice),
        anchors=anchors.anchors,
        now=now,
        protocols=protocols or tuple(Protocol),
    )


@pytest.mark.parametrize("protocol", Protocol)
def test_we_fetch(world: World, protocol: Protocol) -> None:
    from gsi.transport.voms import Fetched

    with VOMSDaemon(world.server, world.alice) as daemon:
        fetched = _fetch(world, daemon, protocol)
    assert isinstance(fetched, Fetched)
    assert fetched.certificate.info.fqans == daemon.fqans
    assert fetched.protocol is protocol
    (request,) = daemon.requests
    if protocol is Protocol.REST:
        assert request.startswith(b"GET /generate-ac?fqans=/testvo/Role=x&lifetime=43200 HTTP/1.1\r\n")
    else:
        assert request.startswith(b'0<?xml version="1.0" encoding="US-ASCII"?><voms><command>B/testvo:x</command>')


def test_we_ask_the_old_way_where_there_is_no_other(world: World) -> None:
    from gsi.transport.voms import Fetched

    with VOMSDaemon(world.server, world.alice) as daemon:
        daemon.rest, daemon.status = b"<html>no such page</html>", "404 Not Found"
        fetched = _fetch(world, daemon)
    assert isinstance(fetched, Fetched)
    assert fetched.protocol is Protocol.LEGACY


def test_a_no_is_a_no(world: World) -> None:
    with VOMSDaemon(world.server, world.alice) as daemon:
        daemon.status = "403 Forbidden"
        daemon.rest = b"<voms><error><code>NoSuchUser</code><message>unknown user</message></error></voms>"
        with pytest.raises(RefusedError, match=r"unknown user \(NoSuchUser\)"):
            _fetch(world, daemon)
        assert len(daemon.requests) == 1
        daemon.legacy = (
            b"<vomsans><error><item><number>1001</number><message>not in the VO</message></item></error></vomsans>"
        )
        with pytest.raises(RefusedError, match="not in the VO"):
            _fetch(world, daemon, Protocol.LEGACY)


def test_another_server_than_meant(world: World) -> None:
    """Nothing is asked of a server of another name."""
    with VOMSDaemon(world.server, world.alice) as daemon:
        world.server.__dict__["credential"] = world.ca.issue("/O=Grid/CN=voms.example.org")
        with pytest.raises(TransportError, match="expected name"):
            _fetch(world, daemon)
    assert daemon.requests == []


def test_what_was_fetched_makes_a_good_proxy(world: World) -> None:
    from gsi.transport.voms import Fetched

    with VOMSDaemon(world.server, world.alice) as daemon:
        fetched = _fetch(world, daemon)
    assert isinstance(fetched, Fetched)
    value = tlv(0x30, tlv(0x30, fetched.certificate.der))
    world.alice.proxy(extensions=[raw_extension(AC_SEQUENCE, value)]).write_bundle(world.proxy)
    (theirs,) = libvomsapi((world.proxy, world.vomsdir, world.trust_dir))
    assert theirs.accepted, theirs
    assert names.oneline(fetched.certificate.info.issuer_der) == world.server.credential.subject
    assert HOST not in fetched.certificate.info.authority
