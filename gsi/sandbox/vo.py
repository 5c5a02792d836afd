"""The demo virtual organisation on disk: who is in it and where their files are; starts nothing.

    vo = make_vo(root, now=now)
    vo.person("alice").environment

Layout below the private root: `certificates/` (CA, signing policy, CRL), `host/`, one home for each person, one home
`elsewhere/` for the machine without any certificate, `exhibits/` with chains that must be refused, `state/` for the
services.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gsi.certificate import Certificate
from gsi.credential import Credential
from gsi.keys import KeyType, encode_private_key, generate_key, spki_der
from gsi.names import oneline
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.sandbox.authority import DemoAuthority
from gsi.secret import Passphrase
from gsi.system.files import write_private, write_public
from gsi.trust.hashes import subject_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["VO", "Person", "make_vo"]

VO_NAME: Final = "/O=Grid Sandbox"
CA_NAME: Final = f"{VO_NAME}/CN=Sandbox CA"
HOST: Final = "localhost"


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
        kerberos: Whether the user wants a Kerberos realm, too.
    """

    root: Path
    bin: Path
    trust_dir: Path
    host_certificate_path: Path
    host_key_path: Path
    people: Mapping[str, Person]
    kerberos: bool = False

    def person(self, name: str) -> Person:
        """Return a person by short name."""
        return self.people[name]

    @property
    def exhibits(self) -> Path:
        """The directory of chains that must be refused."""
        return self.root / "exhibits"

    def state_dir(self, service: str) -> Path:
        """Return the private directory of a service, made when missing."""
        path = self.root / "state" / service
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


def make_vo(root: Path, *, now: datetime, kerberos: bool = False) -> VO:
    """Make the whole VO below `root`, which must be an empty private directory.

    Args:
        root: The directory.
        now: The present, aware UTC.
        kerberos: Whether a Kerberos realm is wanted, which is a contribution's to make.
    """
    authority = DemoAuthority.make(CA_NAME, now=now)
    trust_dir = root / "certificates"
    trust_dir.mkdir(mode=0o755)
    host_dir = root / "host"
    host_dir.mkdir(mode=0o700)
    people = {name: _make_person(root, name, trust_dir) for name in ("alice", "bob", "admin", "elsewhere")}
    vo = VO(
        root=root,
        bin=Path(sys.executable).parent,
        trust_dir=trust_dir,
        host_certificate_path=host_dir / "hostcert.pem",
        host_key_path=host_dir / "hostkey.pem",
        people=people,
        kerberos=kerberos,
    )
    host_certificate, host_key = authority.issue(f"{VO_NAME}/CN={HOST}", now=now, hosts=[HOST])
    _save(vo.host_certificate_path, vo.host_key_path, Credential(host_key, host_certificate))
    alice = _enrol(authority, people["alice"], "Alice Demo", now=now)
    bob = _enrol(authority, people["bob"], "Bob Demo", now=now)
    _enrol(authority, people["admin"], "Community Admin", now=now, key_type=KeyType.P256)
    _fill_trust_dir(trust_dir, authority, authority.crl([bob.certificate], now=now))
    _make_exhibits(vo, alice, bob, now)
    return vo


def _make_person(root: Path, name: str, trust_dir: Path) -> Person:
    home = root / name
    (home / ".globus").mkdir(mode=0o700, parents=True)
    home.chmod(0o700)
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
    _save(globus / "usercert.pem", globus / "userkey.pem", credential, Passphrase(passphrase))
    return credential


def _save(certificate_path: Path, key_path: Path, credential: Credential, passphrase: Passphrase | None = None) -> None:
    write_public(str(certificate_path), credential.certificate.pem(), mode=0o644)
    write_private(str(key_path), encode_private_key(credential.key, passphrase=passphrase))


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
