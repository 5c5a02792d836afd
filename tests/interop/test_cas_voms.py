"""Our VOMS server and the clients of C and Java, with both protocols, and ours; libvomsapi judges what they got."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gsi.certificate import load_certificates
from gsi.credential import parse_credential
from gsi.errors import RefusedError
from gsi.system.clock import now
from gsi.system.trustdir import TrustDirectory
from gsi.system.vomsdir import VOMSDirectory
from gsi.transport.voms import Fetched, fetch_attributes
from gsi.trust.verify import verify_chain
from gsi.voms.exchange import ALL, FetchRequest, Protocol
from gsi.voms.verify import AttributeVerifier, VOMSOptions
from gsi.voms.vomses import VOMSEntry
from tests.harness.ca import LIMITED_INFO, TestCA, pooled_key, proxy_info, write_file, write_trust_dir
from tests.harness.capabilities import VO, VOMSListener
from tests.harness.environment import clean_environment
from tests.harness.run import Done, c_program, run
from tests.harness.voms import libvomsapi, user_extensions

pytestmark = pytest.mark.interop

GROUP = f"/{VO}/Role=NULL/Capability=NULL"
PRODUCTION = f"/{VO}/prod/Role=NULL/Capability=NULL"
WRITER = f"/{VO}/prod/Role=writer/Capability=NULL"


class World:
    """A VO with our server, Alice who is in it, and Bob, Carol and others who get various answers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = TestCA()
        key = pooled_key("rsa2048")
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())  # what both libraries compare with
        self.host = self.ca.issue("/O=Grid/CN=localhost", key, san=["DNS:localhost"], extensions=[(own, False)])
        self.alice = self.ca.issue("/O=Grid/CN=Alice", extensions=user_extensions())
        self.bob = self.ca.issue("/O=Grid/CN=Bob", extensions=user_extensions(b"bob"))
        self.trust_dir = write_trust_dir(directory / "certificates", self.ca, crl=True)
        write_trust_dir(self.trust_dir, self.ca, crl=True, old_hash=True)  # the only names that the Java tools look for
        self.vomsdir = directory / "vomsdir"
        write_file(self.vomsdir / VO / "localhost.lsc", f"{self.host.subject}\n{self.ca.name}\n".encode(), 0o644)
        self.cert, self.key = directory / "usercert.pem", directory / "userkey.pem"
        self.become(self.alice)
        self.proxy = directory / "proxy.pem"
        self.environment = clean_environment(directory) | {
            "X509_CERT_DIR": str(self.trust_dir),
            "X509_VOMS_DIR": str(self.vomsdir),
            "X509_USER_CERT": str(self.cert),
            "X509_USER_KEY": str(self.key),
            "X509_USER_PROXY": str(self.proxy),
        }

    def become(self, user: object) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.key.unlink()
        user.write(self.cert, self.key, key_mode=0o400)  # type: ignore[attr-defined]  # an `Issued`

    def listener(self, **changes: object) -> VOMSListener:
        members = {
            self.alice.subject: [GROUP, PRODUCTION, WRITER],
            "/O=Grid/CN=Suspended": "suspended",
            "/O=Grid/CN=Down": "down",
            "/O=Grid/CN=Defect": "defect",
        }
        return VOMSListener(self.directory, self.host, self.trust_dir, members, **changes)  # type: ignore[arg-type]  # values by name

    def init(self, tool: str, listener: VOMSListener, voms: str = VO, *more: str | Path) -> Done:
        vomses = self.directory / "vomses"
        write_file(vomses, listener.vomses.encode(), 0o644)
        arguments: list[str | Path] = [
            "-rfc", "-voms", voms, "-vomses", vomses, "-cert", self.cert, "-key", self.key, "-out", self.proxy,
            "-certdir", self.trust_dir, *more,
        ]  # fmt: skip
        return run([c_program(tool), *arguments], env=self.environment)

    def fqans(self, path: Path | None = None) -> tuple[str, ...]:
        """The FQANs of a proxy, on which libvomsapi with full verification and we agree."""
        (theirs,) = libvomsapi((path or self.proxy, self.vomsdir, self.trust_dir))
        chain = load_certificates((path or self.proxy).read_bytes())
        anchors = TrustDirectory(str(self.trust_dir))
        peer = verify_chain(chain, anchors.anchors(), now=now())
        options = VOMSOptions(hosts=frozenset({socket.gethostname()}))
        verifier = AttributeVerifier(VOMSDirectory(str(self.vomsdir)), anchors.anchors, options)
        (ours,) = verifier.verify_chain(peer, now=now())
        assert ours.attributes is not None, ours.error
        assert theirs.fqans == (ours.attributes.fqans,), theirs
        return ours.attributes.fqans


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def quiet(world: World) -> Iterator[VOMSListener]:
    with world.listener() as listener:
        yield listener


TOOLS = ["voms-proxy-init2", "voms-proxy-init3"]


@pytest.mark.parametrize("tool", TOOLS)
def test_real_clients_get_their_groups(world: World, quiet: VOMSListener, tool: str) -> None:
    done = world.init(tool, quiet).check()
    assert world.fqans() == (GROUP, PRODUCTION), done
    assert "warn" not in done.output.lower(), done


@pytest.mark.parametrize("tool", TOOLS)
def test_real_clients_get_their_roles(world: World, quiet: VOMSListener, tool: str) -> None:
    done = world.init(tool, quiet, f"{VO}:/{VO}/prod/Role=writer").check()
    assert world.fqans() == (WRITER, GROUP, PRODUCTION), done


def test_everything(world: World, quiet: VOMSListener) -> None:
    """Which the C client alone asks for: the Java one takes `all` for the VO's group."""
    done = world.init("voms-proxy-init2", quiet, f"{VO}:all")
    assert set(world.fqans()) == {GROUP, PRODUCTION, WRITER}, done


def test_a_list_of_everything(world: World, quiet: VOMSListener) -> None:
    shown = world.init("voms-proxy-init2", quiet, VO, "-list").check().stdout
    assert shown.endswith("".join(f"{fqan}\n" for fqan in (GROUP, PRODUCTION, WRITER)) + "\n"), shown


@pytest.mark.parametrize("tool", TOOLS)
def test_order_targets_and_lifetime(world: World, tool: str) -> None:
    hosts = [socket.gethostname(), "localhost"]  # what C and Java take for their own names
    with world.listener() as listener:
        done = world.init(
            tool, listener, VO, "-order", f"/{VO}/prod", "-target", ",".join(hosts), "-valid", "2:0"
        ).check()
    (asked,) = listener.requests()
    assert world.fqans() == (PRODUCTION, GROUP), done
    assert asked[0] == world.alice.subject
    in_fqans = tool == "voms-proxy-init3"  # where the Java client writes its order
    assert asked[1:] == [[f"/{VO}/prod" if in_fqans else f"/{VO}"], 7200.0, [] if in_fqans else [f"/{VO}/prod"], hosts]


@pytest.mark.parametrize("tool", TOOLS)
def test_warnings_are_shown(world: World, tool: str) -> None:
    with world.listener(max_lifetime=3600) as listener:
        done = world.init(tool, listener, VO, "-valid", "12:0")
    assert "shortened" in done.output, done
    assert world.fqans() == (GROUP, PRODUCTION)


def test_separate(world: World, quiet: VOMSListener) -> None:
    """The C client writes the attribute certificate beside, also for a user without a key identifier."""
    plain = world.ca.issue(world.alice.subject)
    world.become(plain)
    separate = world.directory / "separate.ac"
    done = world.init("voms-proxy-init2", quiet, VO, "-separate", separate, "-dont-verify-ac")
    assert b"BEGIN ATTRIBUTE" in separate.read_bytes() or separate.read_bytes()[:1] == b"\x30", done


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Bob", "alice & co: <unknown> to this VO"),
        ("Suspended", "suspended"),
        ("Down", "internal server error"),
        ("Defect", "internal server error"),
    ],
)
def test_a_no_reaches_the_user(world: World, tool: str, name: str, words: str) -> None:
    world.become(world.ca.issue(f"/O=Grid/CN={name}", extensions=user_extensions(name.encode())))
    with world.listener() as listener:
        done = world.init(tool, listener)
    assert words in done.output, done
    assert "db.example.org" not in done.output
    assert "a secret" not in done.output
    asked = len(listener.requests())
    assert asked == (2 if tool == "voms-proxy-init2" else 1)  # the C client tries the legacy protocol after an error


@pytest.mark.parametrize(("tool", "more"), [(TOOLS[0], []), (TOOLS[1], ["--enable_legacy_protocol"])])
def test_the_legacy_protocol(world: World, tool: str, more: list[str]) -> None:
    """Of which both clients make use where a server knows nothing of REST."""
    with world.listener(old=True) as listener:
        done = world.init(tool, listener, f"{VO}:/{VO}/prod/Role=writer", *more).check()
    assert len(listener.requests()) >= 2, done
    assert world.fqans() == (WRITER, GROUP, PRODUCTION)


def test_a_proxy_fetches(world: World, quiet: VOMSListener) -> None:
    """A proxy chain is the client; what is issued names the end entity."""
    proxy = world.alice.proxy()
    bundle = world.directory / "first.pem"
    proxy.write_bundle(bundle)
    world.environment["X509_USER_PROXY"] = str(bundle)
    world.init("voms-proxy-init2", quiet, VO, "-noregen").check()
    assert world.fqans() == (GROUP, PRODUCTION)


# --- our own client ---------------------------------------------------------------------------------------------------


def _fetch(
    world: World, listener: VOMSListener, bundle: bytes, protocol: Protocol, request: FetchRequest | None = None
) -> Fetched:
    anchors = TrustDirectory(str(world.trust_dir))
    entry = VOMSEntry(VO, "localhost", listener.port, world.host.subject, VO)
    return fetch_attributes(
        [entry],
        request or FetchRequest(VO),
        parse_credential(bundle),
        anchors=anchors.anchors,
        now=now,
        protocols=[protocol],
    )


@pytest.mark.parametrize("protocol", Protocol)
def test_our_client(world: World, quiet: VOMSListener, protocol: Protocol) -> None:
    fetched = _fetch(world, quiet, world.alice.bundle(), protocol)
    assert fetched.certificate.info.fqans == (GROUP, PRODUCTION)
    assert fetched.warnings == ()
    request = FetchRequest(VO, (ALL,), timedelta(days=30), (f"/{VO}/prod/Role=writer",))
    fetched = _fetch(world, quiet, world.alice.bundle(), protocol, request)
    assert fetched.certificate.info.fqans == (WRITER, GROUP, PRODUCTION)
    assert len(fetched.warnings) == 1
    assert "shortened" in fetched.warnings[0]


@pytest.mark.parametrize("protocol", Protocol)
def test_limited_proxies_may_fetch_and_independent_ones_not(
    world: World, quiet: VOMSListener, protocol: Protocol
) -> None:
    limited = world.alice.proxy(info=LIMITED_INFO)
    assert _fetch(world, quiet, limited.bundle(), protocol).certificate.info.fqans == (GROUP, PRODUCTION)
    independent = world.alice.proxy(info=proxy_info("1.3.6.1.5.5.7.21.2"))
    with pytest.raises(RefusedError, match="independent"):
        _fetch(world, quiet, independent.bundle(), protocol)


def test_revoked_and_expired_clients(world: World, quiet: VOMSListener) -> None:
    write_trust_dir(world.trust_dir, world.ca, crl=world.ca.crl([world.bob]))
    from gsi.errors import GridError

    with pytest.raises(GridError):
        _fetch(world, quiet, world.bob.bundle(), Protocol.REST)
    moment = datetime.now(UTC)
    old = world.alice.proxy(not_before=moment - timedelta(hours=3), not_after=moment - timedelta(hours=1))
    with pytest.raises(GridError):
        _fetch(world, quiet, old.bundle(), Protocol.REST)


def _talk(world: World, listener: VOMSListener, *pieces: bytes, credential: bool = True) -> bytes:
    """Send bytes as Alice, one TLS record each, and return the answer."""
    context = ssl.create_default_context(cadata=world.ca.pem.decode())
    context.check_hostname = False
    if credential:
        context.load_cert_chain(world.cert, world.key)
    answer = b""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=20) as raw, context.wrap_socket(raw) as tls:
        for piece in pieces:
            tls.sendall(piece)
        tls.settimeout(20)
        with contextlib.suppress(ssl.SSLEOFError):
            while data := tls.recv(65536):
                answer += data
                if b"</voms>" in answer or b"</vomsans>" in answer:
                    break
    return answer


def _server_certificate(world: World, listener: VOMSListener) -> bytes:
    context = ssl.create_default_context(cadata=world.ca.pem.decode())
    context.check_hostname = False
    context.load_cert_chain(world.cert, world.key)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=20) as raw, context.wrap_socket(raw) as tls:
        return tls.getpeercert(binary_form=True) or b""


def test_a_new_credential(world: World, quiet: VOMSListener) -> None:
    """SIGHUP takes it, for the connections that follow."""
    assert _server_certificate(world, quiet) == world.host.der
    again = world.ca.issue(world.host.subject, san=["DNS:localhost"])
    again.write_bundle(world.directory / "voms-host.pem")
    quiet.reload()
    assert _server_certificate(world, quiet) == again.der
    assert _fetch(world, quiet, world.alice.bundle(), Protocol.REST).certificate.info.fqans == (GROUP, PRODUCTION)


def test_byte_by_byte(world: World, quiet: VOMSListener) -> None:
    request = f"0GET /generate-ac?fqans=/{VO}&lifetime=60 HTTP/1.0\nUser-Agent: voms APIs 2.0\n\n".encode()
    answer = _talk(world, quiet, *(request[at : at + 1] for at in range(len(request))))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\n" in answer.partition(b"<ac>")[2].partition(b"</ac>")[0]


def test_what_is_no_request(world: World, quiet: VOMSListener) -> None:
    assert _talk(world, quiet, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert _talk(world, quiet, b"POST /generate-ac HTTP/1.1\r\n\r\n") == b""
    assert _talk(world, quiet, b"GET /generate-ac?" + b"a" * 20000).startswith(b"HTTP/1.1 400 ")
    assert b"1005" in _talk(world, quiet, b"<!DOCTYPE x []><voms><command>A</command></voms>")
    with pytest.raises(ssl.SSLError):
        _talk(world, quiet, b"GET /generate-ac HTTP/1.1\r\n\r\n", credential=False)
