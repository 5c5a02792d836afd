"""A real `slapd` on loopback ports, with the entries a test gives it; plain, over StartTLS and over ldaps.

Workflow:
    with slapd(ca, tmp_path, [person("alice", password="secret", mail="alice@example.org")]) as directory:
        place = LDAPPlace((directory.ldap_uri,), start_tls=True, ca_file=str(directory.ca_path))
"""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tests.harness.ca import TestCA, write_file
from tests.harness.daemons import free_port, running
from tests.harness.environment import clean_environment
from tests.harness.run import c_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["BASE", "PEOPLE", "READER", "READER_PASSWORD", "Directory", "person", "slapd"]

BASE: Final = "dc=example,dc=org"
PEOPLE: Final = f"ou=people,{BASE}"
READER: Final = f"cn=reader,{BASE}"
READER_PASSWORD: Final = "reads all"

_CONFIG: Final = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {directory}/slapd.pid
TLSCertificateFile {directory}/hostcert.pem
TLSCertificateKeyFile {directory}/hostkey.pem
TLSCACertificateFile {directory}/ca.pem
TLSVerifyClient never
database mdb
suffix "{base}"
directory {directory}/data
{access}
"""
_ACCESS: Final = """\
access to attrs=userPassword by anonymous auth
access to * by {who} read by anonymous auth
"""
_READER: Final = f"""\
dn: {READER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: {READER_PASSWORD}
"""


@dataclass(frozen=True, slots=True)
class Directory:
    """A running slapd.

    Attributes:
        ldap_uri: Without TLS, or with StartTLS.
        ldaps_uri: With TLS from the first byte.
        ldapi_uri: Over a socket of this machine.
        ca_path: The CA that vouches for it, PEM.
        pid: The process.
    """

    ldap_uri: str
    ldaps_uri: str
    ldapi_uri: str
    ca_path: Path
    pid: int


def person(uid: str, *, password: str = "", base: str = PEOPLE, **attributes: str) -> str:
    """Return a person in LDIF."""
    lines = [f"dn: uid={uid},{base}", "objectClass: inetOrgPerson", f"uid: {uid}", f"cn: {uid}", f"sn: {uid}"]
    if password:
        lines.append(f"userPassword: {password}")
    return "\n".join([*lines, *(f"{name}:: {_base64(value)}" for name, value in attributes.items())]) + "\n"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@contextlib.contextmanager
def slapd(
    ca: TestCA,
    directory: Path,
    people: Sequence[str],
    *,
    anonymous: bool = True,
    confidential: bool = False,
    settings: str = "",
) -> Iterator[Directory]:
    """Run slapd.

    Args:
        ca: Vouches for it, under the name `localhost`.
        directory: An empty directory of its own.
        people: More entries, LDIF.
        anonymous: Whether anybody may read; else `READER` alone, after a bind.
        confidential: Whether binds without TLS are refused.
        settings: More lines of the configuration, about the database.
    """
    program = c_program("slapd")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "data").mkdir()
    ca.issue_host().write(directory / "hostcert.pem", directory / "hostkey.pem")
    ca_path = directory / "ca.pem"
    write_file(ca_path, ca.pem, 0o644)
    who = "*" if anonymous else f'dn.exact="{READER}"'
    access = _ACCESS.format(who=who) + ("security simple_bind=64\n" if confidential else "")
    text = _CONFIG.format(directory=directory, base=BASE, access=f"{access}{settings}\n")
    write_file(directory / "slapd.conf", text.encode(), 0o600)
    entries = [
        f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n",
        f"dn: {PEOPLE}\nobjectClass: organizationalUnit\nou: people\n",
        _READER,
        *people,
    ]
    write_file(directory / "entries.ldif", "\n".join(entries).encode(), 0o600)
    env = clean_environment(directory)
    run([c_program("slapadd"), "-f", directory / "slapd.conf", "-l", directory / "entries.ldif"], env=env).check()
    plain, tls = free_port(), free_port()
    argv: list[str | Path] = [program, "-f", directory / "slapd.conf", "-d", "0"]
    ldapi = f"ldapi://{quote(str(directory / 'socket'), safe='')}"
    argv += ["-h", f"ldap://127.0.0.1:{plain}/ ldaps://127.0.0.1:{tls}/ {ldapi}"]
    with running(argv, env=env, port=tls, directory=directory) as daemon:
        yield Directory(f"ldap://localhost:{plain}", f"ldaps://localhost:{tls}", ldapi, ca_path, daemon.pid)
