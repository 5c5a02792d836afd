"""Kerberos' part of the sandbox: a private realm, the authority that knows it, and the tour of a user with a ticket.

Only with `grid-sandbox -kerberos`, and only where an MIT KDC is installed; else it says what is missing, and adds
nothing. Not here: the KDC and the authority, which run as their own commands; the realm is made just before they start.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, TransportError
from gsi.keys import encode_private_key
from gsi.sandbox.plan import Command, Contribution, Service, Step
from gsi.sandbox.programs import find_program
from gsi.system.files import write_private, write_public

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gsi.sandbox.vo import VO

__all__ = ["contribution"]

ORDER: Final = 30
KDC: Final = "krb5kdc"
NAME: Final = "kca-server"
REALM: Final = "GRID.EXAMPLE"
PROGRAMS: Final = (KDC, "kdb5_util", "kadmin.local", "kinit")
"""What MIT's packages bring; Heimdal has none of the second and third name."""
TOOL_SECONDS: Final = 30.0  # a realm is made in a tenth of a second, unless the machine has no randomness yet

_CA: Final = "/O=Grid Sandbox/CN=Sandbox Kerberos CA"
_BASE: Final = "/O=Grid Sandbox/OU=Kerberos"
_USER: Final = "elsewhere"
_KRB5: Final = """\
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false

[realms]
{realm} = {{
  kdc = 127.0.0.1:{port}
}}

[domain_realm]
localhost = {realm}
"""
_KDC: Final = """\
[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}

[realms]
{realm} = {{
  database_name = {state}/principal
  key_stash_file = {state}/stash
  acl_file = {state}/acl
  max_life = 10h
}}
"""
_KCA: Final = """\
# Everybody of the realm with a plain name, like alice, gets {base}/CN=alice; not alice/admin.
[authority]
certificate = "{state}/ca.pem"
key = "{state}/ca.key"

[store]
directory = "{state}/store"

[server]
listen = ["127.0.0.1:{port}"]
keytab = "{keytab}"
workers = 1

[realm."{realm}"]
base = "{base}"
"""


def contribution(vo: VO) -> Contribution:
    """Return KDC, authority and the steps of a user with a ticket; a notice alone where they cannot be."""
    if not vo.kerberos:
        return _nothing()
    found = {name: find_program(name) for name in PROGRAMS}
    missing = [name for name, path in found.items() if not path]
    if missing:
        return _nothing(
            f"no Kerberos realm: {', '.join(missing)} not found on PATH (on Debian: apt install krb5-kdc "
            "krb5-admin-server krb5-user); going on without it"
        )
    from gsi.kerberos.libkrb5 import require_libkrb5

    try:
        require_libkrb5()
    except ConfigError as error:
        return _nothing(f"no Kerberos realm: {error.message}; going on without it")
    realm = _Realm(vo, found, vo.port(KDC))
    config, port = vo.state_dir(NAME) / "kca-server.toml", vo.port(NAME)
    server = Service(
        name=NAME,
        argv=(NAME, "-config", str(config)),
        environment={"KRB5_CONFIG": str(realm.krb5_conf), "GSI_AUTHZ_POLICY_DIR": str(vo.state_dir(NAME))},
        port=port,
        summary="gives certificates for tickets",
        prepare=lambda _exports: _make_authority(vo, config, realm.keytab, port),
    )
    return Contribution(
        ORDER,
        (realm.service(), server),
        make_steps=lambda: _steps(vo, realm, config, port),
        make_exports=lambda person: {
            **dict(realm.variables(person.name)),
            "KRB5_KDC_PROFILE": str(realm.kdc_conf),
            "KRB5_REALM": REALM,
            "HTTP_KEYTAB": str(realm.http_keytab),
            "KCA_HOST_LIST": f"localhost:{port}",
            "KCA_CONFIG": str(config),
        },
    )


def _nothing(*notices: str) -> Contribution:
    return Contribution(ORDER, notices=notices)


@dataclass(frozen=True, slots=True)
class _Realm:
    """The private realm: where its files are, and how it is made."""

    vo: VO
    programs: Mapping[str, str]
    port: int

    @property
    def state(self) -> Path:
        """The KDC's private directory."""
        return self.vo.state_dir(KDC)

    @property
    def krb5_conf(self) -> Path:
        """What everybody needs who uses the realm."""
        return self.state / "krb5.conf"

    @property
    def kdc_conf(self) -> Path:
        """What the KDC and its administrator need beside it."""
        return self.state / "kdc.conf"

    @property
    def keytab(self) -> Path:
        """The authority's key."""
        return self.state / "kca.keytab"

    @property
    def http_keytab(self) -> Path:
        """The key of web sites on this machine."""
        return self.state / "http.keytab"

    @property
    def password_path(self) -> Path:
        """Alice's password in the realm."""
        return self.vo.person(_USER).home / "kerberos-password"

    def variables(self, person: str) -> tuple[tuple[str, str], ...]:
        """Return what makes a person's shell one with tickets."""
        return (
            ("KRB5_CONFIG", str(self.krb5_conf)),
            ("KRB5CCNAME", f"FILE:{self.vo.person(person).home}/tickets"),
        )

    def service(self) -> Service:
        """Return the KDC."""
        return Service(
            name=KDC,
            argv=(self.programs[KDC], "-n", "-r", REALM, "-P", str(self.state / "pid")),
            environment=self._environment(),
            port=self.port,
            summary=f"gives tickets of the realm {REALM}",
            prepare=self._make,
        )

    def _environment(self) -> dict[str, str]:
        return {
            "KRB5_CONFIG": str(self.krb5_conf),
            "KRB5_KDC_PROFILE": str(self.kdc_conf),
            "KRB5RCACHEDIR": str(self.state),
        }

    def _make(self, _exports: Mapping[str, str]) -> None:
        """Make the database with Alice and the authority in it, once.

        Raises:
            TransportError: A tool of the KDC's failed.
        """
        facts = {"realm": REALM, "port": self.port, "state": self.state}
        write_private(str(self.krb5_conf), _KRB5.format(**facts).encode())
        write_private(str(self.kdc_conf), _KDC.format(**facts).encode())
        if self.http_keytab.exists():  # the last that is made
            return
        for path in (*self.state.glob("principal*"), self.state / "stash", self.keytab):
            path.unlink(missing_ok=True)
        master, password = secrets.token_hex(16), secrets.token_hex(8)
        write_private(str(self.password_path), f"{password}\n".encode())
        self._run("kdb5_util", "create", "-s", answers=f"{master}\n{master}\n")
        service = "kca_service/localhost"
        orders = f"addprinc -pw {password} alice\n" + "".join(
            f"addprinc -randkey {name}\nktadd -k {keytab} {name}\n"
            for name, keytab in ((service, self.keytab), ("HTTP/localhost", self.http_keytab))
        )
        said = self._run("kadmin.local", "-p", "sandbox/admin", answers=orders)
        if not self.http_keytab.exists():  # its status is 0 whatever becomes of an order
            raise TransportError("the realm's principals could not be made", hint=f"kadmin.local said:\n{said}")

    def _run(self, name: str, *words: str, answers: str) -> str:
        argv = (self.programs[name], "-r", REALM, *words)
        try:
            done = subprocess.run(  # noqa: S603  a tool of the installed KDC, without a shell
                argv,
                env={"PATH": os.defpath, "HOME": str(self.state), **self._environment()},
                input=answers.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TOOL_SECONDS,
                check=False,
                start_new_session=True,  # without a terminal it reads the answers from its input
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TransportError(f"{name} cannot be run: {error}") from error
        said = done.stdout.decode("utf-8", "replace").strip()
        if done.returncode:
            raise TransportError(f"{name} ended with status {done.returncode}", hint=f"it said:\n{said}")
        return said


def _make_authority(vo: VO, config: Path, keytab: Path, port: int) -> None:
    """Make an authority of its own for the realm, once, and write the server's configuration."""
    from gsi.sandbox.authority import DemoAuthority
    from gsi.system.clock import now

    state = vo.state_dir(NAME)
    if not (state / "ca.key").exists():
        authority = DemoAuthority.make(_CA, now=now())
        write_public(str(state / "ca.pem"), authority.certificate.pem(), mode=0o644)
        write_private(str(state / "ca.key"), encode_private_key(authority.key))
    text = _KCA.format(state=state, keytab=keytab, realm=REALM, base=_BASE, port=port)
    write_private(str(config), text.encode())


def _steps(vo: VO, realm: _Realm, config: Path, port: int) -> tuple[Step, ...]:
    tickets = realm.variables(_USER)
    service = (*tickets, ("KCA_HOST_LIST", f"localhost:{port}"))
    office = (("KCA_CONFIG", str(config)),)
    subject = f"{_BASE}/CN=alice"
    certificate = Step(
        "A ticket instead of a certificate",
        f"Alice is in the Kerberos realm {REALM} as well. For a ticket she gets a certificate that ends with it; "
        "nobody had to enrol her.",
        (
            Command(
                (realm.programs["kinit"], "alice"),
                _USER,
                tickets,
                realm.password_path,
                expect=(f"Password for alice@{REALM}",),
            ),
            Command(("kx509",), _USER, service, expect=(f"Your identity: {subject}",)),
            Command(("kxlist",), _USER, tickets, expect=(subject,)),
        ),
    )
    trust = Step(
        "The sites trust that authority",
        "Its trust package lets it sign names of the realm's users, and no others.",
        (
            Command(
                ("kca-admin", "trust-package", "-files", "-out", str(vo.trust_dir)),
                "alice",
                office,
                expect=(".signing_policy",),
            ),
        ),
    )
    proxy = Step(
        "From the ticket to a proxy",
        "In one step, which keeps neither certificate nor key: a proxy is what every grid program takes.",
        (
            Command(("kx509", "-proxy"), _USER, service, expect=(f"Your identity: {subject}",)),
            Command(("grid-proxy-info",), _USER, expect=(f"identity : {subject}",)),
            Command(("grid-proxy-verify",), _USER, expect=("verdict  : good",)),
        ),
    )
    books = Step(
        "What was issued",
        "The authority's books know every certificate and whose ticket it was for.",
        (Command(("kca-admin", "list"), "alice", office, expect=(f"alice@{REALM} {subject}",)),),
    )
    return certificate, trust, proxy, books
