"""The demo virtual organisation on disk: who is in it and where their files are; starts nothing.

    vo = open_vo(root)                  # values alone
    make_vo(vo, now=now)                # and the files
    vo.person("alice").environment

Layout below the private root: `certificates/` (CA, signing policy, CRL), `host/`, one home for each person, one home
`elsewhere/` for the machine without any certificate, `exhibits/` with chains that must be refused, `state/` for the
services.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gsi.certificate import Certificate
from gsi.credential import Credential
from gsi.keys import KeyType, encode_private_key, generate_key, spki_der
from gsi.names import oneline
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.sandbox.authority import DemoAuthority
from gsi.system.files import write_private, write_public
from gsi.trust.hashes import subject_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["PEOPLE", "PORTAL_NAME", "VO", "Person", "free_port", "make_vo", "open_vo"]

VO_NAME: Final = "/O=Grid Sandbox"
CA_NAME: Final = f"{VO_NAME}/CN=Sandbox CA"
HOST: Final = "localhost"
PORTAL_NAME: Final = f"{VO_NAME}/CN=Sandbox Portal"
PEOPLE: Final = ("alice", "bob", "admin", "elsewhere")


@dataclass(frozen=True, slots=True)
class Person:
    """Someone, or some place, that types commands.

    Attributes:
        name: The short name, also that of the home directory.
        home: The private home directory.
        environment: The exports that make a shell theirs.
    """

    name: str
    home: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VO:
    """The demo VO: its root directory and its people.

    Attributes:
        root: The private directory that holds everything.
        bin: Where the commands of this installation are.
        trust_dir: The trust directory.
        host_certificate_path: PEM certificate of the host `localhost`.
        host_key_path: Its key.
        people: By name: alice, bob (revoked), admin (of the community), elsewhere (a machine without certificates).
        ports: The ports that were chosen for services, by name; they stay when services are started again.
        open_dir: A directory that other accounts may enter, where services have to run as one of them; None where they
            run as one's own.
        kerberos: Whether the user wants a Kerberos realm, too.
    """

    root: Path
    bin: Path
    trust_dir: Path
    host_certificate_path: Path
    host_key_path: Path
    people: Mapping[str, Person]
    ports: dict[str, int] = field(default_factory=dict)
    open_dir: Path | None = None
    kerberos: bool = False

    def person(self, name: str) -> Person:
        """Return a person by short name."""
        return self.people[name]

    @property
    def portal_certificate_path(self) -> Path:
        """The certificate by which other services know the web portal, and its key."""
        return self.host_certificate_path.parent / "portal.pem"

    @property
    def exhibits(self) -> Path:
        """The directory of chains that must be refused."""
        return self.root / "exhibits"

    @property
    def common(self) -> Path:
        """Where services of C find their files: the open directory, or the root."""
        return self.open_dir or self.root

    def port(self, service: str) -> int:
        """Return the port of a service: the one it had before, or a free one."""
        while service not in self.ports:
            port = free_port()
            if port not in self.ports.values():
                self.ports[service] = port
        return self.ports[service]

    def state_dir(self, service: str) -> Path:
        """Return the private directory of a service, made when missing."""
        path = self.root / "state" / service
        for each in (path.parent, path):
            each.mkdir(mode=0o700, exist_ok=True)
        return path


def free_port() -> int:
    """Return a loopback port that was free for streams and for datagrams a moment ago, for who cannot choose one."""
    import socket

    while True:
        with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            try:
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def open_vo(
    root: Path, *, kerberos: bool = False, ports: Mapping[str, int] | None = None, open_dir: Path | None = None
) -> VO:
    """Return the VO below `root`; touches nothing there.

    Args:
        root: The directory.
        kerberos: Whether a Kerberos realm is wanted, which is a contribution's to make.
        ports: The ports that services had before.
        open_dir: What other accounts may enter.
    """
    trust_dir = root / "certificates"
    return VO(
        root=root,
        bin=Path(sys.executable).parent,
        trust_dir=trust_dir,
        host_certificate_path=root / "host" / "hostcert.pem",
        host_key_path=root / "host" / "hostkey.pem",
        people={name: _person(root, name, trust_dir) for name in PEOPLE},
        ports=dict(ports or {}),
        open_dir=open_dir,
        kerberos=kerberos,
    )


def make_vo(vo: VO, *, now: datetime) -> None:
    """Make the certificates, homes and exhibits of a VO whose root is an empty private directory.

    Args:
        vo: Where they go.
        now: The present, aware UTC.
    """
    authority = DemoAuthority.make(CA_NAME, now=now)
    vo.trust_dir.mkdir(mode=0o755)
    vo.host_key_path.parent.mkdir(mode=0o700)
    for person in vo.people.values():
        (person.home / ".globus").mkdir(mode=0o700, parents=True)
        person.home.chmod(0o700)
    host_certificate, host_key = authority.issue(f"{VO_NAME}/CN={HOST}", now=now, hosts=[HOST])
    _save(vo.host_certificate_path, vo.host_key_path, Credential(host_key, host_certificate))
    portal_certificate, portal_key = authority.issue(PORTAL_NAME, now=now)
    write_private(str(vo.portal_certificate_path), Credential(portal_key, portal_certificate).encode())
    alice = _enrol(authority, vo.person("alice"), "Alice Demo", now=now)
    bob = _enrol(authority, vo.person("bob"), "Bob Demo", now=now)
    _enrol(authority, vo.person("admin"), "Community Admin", now=now, key_type=KeyType.P256)
    _fill_trust_dir(vo.trust_dir, authority, authority.crl([bob.certificate], now=now))
    _make_exhibits(vo, alice, bob, now)


def _person(root: Path, name: str, trust_dir: Path) -> Person:
    home = root / name
    environment = {
        "HOME": str(home),
        "LOGNAME": "alice" if name == "elsewhere" else name,
        "X509_CERT_DIR": str(trust_dir),
        "X509_USER_PROXY": str(home / "proxy.pem"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
    }
    return Person(name, home, environment)


def _enrol(
    authority: DemoAuthority,
    person: Person,
    common_name: str,
    *,
    now: datetime,
    # RSA, so that the installed C programs can take part in everything that the tour shows.
    key_type: KeyType = KeyType.RSA,
) -> Credential:
    """Give a person a certificate, and a key under a pass phrase that lies in their home for the tour."""
    certificate, key = authority.issue(f"{VO_NAME}/CN={common_name}", now=now, key=generate_key(key_type))
    credential = Credential(key, certificate)
    passphrase = secrets.token_hex(8)
    write_private(str(person.home / "key-passphrase"), f"{passphrase}\n".encode())
    globus = person.home / ".globus"
    _save(globus / "usercert.pem", globus / "userkey.pem", credential, passphrase)
    return credential


def _save(certificate_path: Path, key_path: Path, credential: Credential, passphrase: str = "") -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    key = encode_private_key(credential.key)
    if passphrase:
        # As `openssl genpkey` locks them. More rounds would help who chooses a pass phrase, and this one is random;
        # each would cost the tour more than all else that a command does.
        lock = BestAvailableEncryption(passphrase.encode())
        key = credential.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    write_public(str(certificate_path), credential.certificate.pem(), mode=0o644)
    write_private(str(key_path), key)


def _fill_trust_dir(trust_dir: Path, authority: DemoAuthority, crl_pem: bytes) -> None:
    name_hash = subject_hash(authority.certificate.subject_der)
    policy = (
        f"access_id_CA   X509    '{oneline(authority.certificate.subject_der)}'\n"
        "pos_rights     globus  CA:sign\n"
        f"cond_subjects  globus  '\"{VO_NAME}/*\"'\n"
    )
    write_public(str(trust_dir / f"{name_hash}.0"), authority.certificate.pem(), mode=0o644)
    write_public(str(trust_dir / f"{name_hash}.signing_policy"), policy.encode(), mode=0o644)
    write_public(str(trust_dir / f"{name_hash}.r0"), crl_pem, mode=0o644)


def _make_exhibits(vo: VO, alice: Credential, bob: Credential, now: datetime) -> None:
    """Make chains that look right and are not, one for each way to be refused that the tour shows."""
    vo.exhibits.mkdir(mode=0o700)
    key = generate_key(KeyType.P256)
    expired = make_proxy(alice, ProxyOptions(lifetime=timedelta(hours=12)), now=now - timedelta(hours=13), key=key)
    revoked = make_proxy(bob, ProxyOptions(), now=now, key=key)
    # Somebody else's key under Alice's name: every name is right, only the signature is not over this key.
    stolen = generate_key(KeyType.P256)
    genuine = make_proxy(alice, ProxyOptions(), now=now, key=key)
    swapped = genuine.certificate.der.replace(spki_der(key), spki_der(stolen))
    forged = Credential(stolen, Certificate.parse(swapped), genuine.chain)
    for name, credential in (("expired", expired), ("revoked", revoked), ("forged", forged)):
        write_private(str(vo.exhibits / f"{name}.pem"), credential.encode())
