"""Community authorization's part of the sandbox: a community, three forms of capabilities, and a storage's answers.

The administrator begins a policy and enrols Alice; she fetches an assertion in a proxy, an attribute certificate of
VOMS and a token; a storage's policy permits what they say and refuses the rest. Where packages of Python are missing,
it says so and adds nothing. Runs nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from gsi.errors import TransportError
from gsi.names import oneline
from gsi.sandbox.plan import Command, Contribution, Service, Step
from gsi.system import clock
from gsi.system.files import write_private, write_public
from gsi.tokens.keys import MAX_KEY_SET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gsi.certificate import Certificate
    from gsi.sandbox.vo import VO

__all__ = ["contribution"]

ORDER: Final = 40
NAME: Final = "cas-server"
COMMUNITY: Final = "climate"
STORAGE: Final = "https://localhost"
OBJECT: Final = "ftp://localhost/data/*"
NAMESPACE: Final = "FTPDirectoryTree"
GROUP: Final = "superUserGroup"
PACKAGES: Final = ("sqlalchemy", "alembic", "prometheus_client", "flask", "gunicorn", "signxml", "lxml", "joserfc")
EXTRAS: Final = "server,portal,saml,tokens"
FETCH_SECONDS: Final = 20.0  # a server that has just been started answers within a few

_CONFIG: Final = """\
community = "{community}"

[http]
listen = "127.0.0.1:{port}"
certificate = "{certificate}"
key = "{key}"
workers = 1
threads = 4

[voms]
listen = "127.0.0.1:{voms_port}"
place = "localhost:{voms_port}"

[store]
directory = "{state}/store"

[[key]]
place = "{key}"
certificates = "{certificate}"
begins = "{begins}"
ends = "{ends}"

[tokens]
issuer = "{url}"

[[tokens.base]]
namespace = "{namespace}"
prefix = "ftp://localhost"
audiences = ["{storage}"]
"""
_BOOTSTRAP: Final = """\
ta-name=sandbox
ta-authMethod=X509
ta-authData={ca}
user-name=admin
user-subject={admin}
userGroupname={group}
"""
_POLICY: Final = """\
# What a storage here lets the community speak of, and what its groups may do.
service = "storage"
order = ["communities"]

[authorizer.communities]
type = "cas"
accounts = false
required = true
audiences = ["{storage}"]
hosts = ["localhost"]
vomsdir = "{vomsdir}"

[authorizer.communities.communities.{community}]
identity = "{host}"
vo = "{community}"
token_issuer = "{url}"
jwks_file = "climate.jwks"

[[authorizer.communities.communities.{community}.rights]]
objects = ["{object}"]
actions = ["file:*"]

[[authorizer.communities.communities.{community}.groups]]
fqans = ["/{community}/readers"]
objects = ["{object}"]
actions = ["file:read"]
"""


def contribution(vo: VO) -> Contribution:
    """Return the server and the steps around it; a notice alone where they cannot be."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        notice = f"no community: {', '.join(missing)} not installed (pip install 'gsi-toolkit[{EXTRAS}]'); going on"
        return Contribution(ORDER, notices=(notice,))
    tour = _Tour(vo, vo.port(NAME), vo.port("voms"))
    tour.write()
    server = Service(
        name=NAME,
        argv=(NAME, "-c", str(tour.state / "cas-server.toml")),
        environment={"GSI_AUTHZ_POLICY_DIR": str(tour.state)},
        port=tour.port,
        summary=f"says what members of the community {COMMUNITY} may do",
    )
    return Contribution(
        ORDER,
        (server,),
        make_steps=lambda: (tour.enrol(), tour.fetch(), tour.enforce()),
        make_exports=lambda _person: {
            "CAS_SERVER_URL": tour.url,
            "CAS_SERVER_IDENTITY": oneline(_certificate(vo.host_certificate_path).subject_der),
            "CAS_CONFIG": str(tour.state / "cas-server.toml"),
            "X509_VOMSES": str(tour.vomses),
            "X509_VOMS_DIR": str(tour.vomsdir),
        },
    )


@dataclass(frozen=True, slots=True)
class _Tour:
    """The steps, and the files that they need."""

    vo: VO
    port: int
    voms_port: int

    @property
    def state(self) -> Path:
        """The server's private directory."""
        return self.vo.state_dir(NAME)

    @property
    def url(self) -> str:
        """What clients are told."""
        return f"https://localhost:{self.port}"

    @property
    def vomsdir(self) -> Path:
        """Whom sites take attributes from."""
        return self.vo.root / "vomsdir"

    @property
    def vomses(self) -> Path:
        """Where its members find it."""
        return self.vo.root / "vomses"

    def write(self) -> None:
        """Write the configuration, the beginning of the policy, and what clients and sites know of the community."""
        now = clock.now()
        host = _certificate(self.vo.host_certificate_path)
        facts = {
            "community": COMMUNITY,
            "port": self.port,
            "voms_port": self.voms_port,
            "url": self.url,
            "certificate": self.vo.host_certificate_path,
            "key": self.vo.host_key_path,
            "state": self.state,
            "begins": (now - timedelta(hours=1)).isoformat(),
            "ends": (now + timedelta(days=30)).isoformat(),
            "namespace": NAMESPACE,
            "storage": STORAGE,
            "object": OBJECT,
            "vomsdir": self.vomsdir,
            "host": oneline(host.subject_der),
            "ca": oneline(host.issuer_der),
            "group": GROUP,
            "admin": self._subject("admin"),
        }
        write_private(str(self.state / "cas-server.toml"), _CONFIG.format(**facts).encode())
        write_private(str(self.state / "bootstrap"), _BOOTSTRAP.format(**facts).encode())
        write_private(str(self.state / "storage.toml"), _POLICY.format(**facts).encode())
        users = f"alice\t{self._subject('alice')}\tsandbox\treaders\n"
        write_private(str(self.vo.person("admin").home / "users"), users.encode())
        trusted = self.vomsdir / COMMUNITY
        trusted.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_public(str(trusted / "localhost.lsc"), f"{facts['host']}\n{facts['ca']}\n".encode(), mode=0o644)
        vomses = f'"{COMMUNITY}" "localhost" "{self.voms_port}" "{facts["host"]}" "{COMMUNITY}"\n'
        write_public(str(self.vomses), vomses.encode(), mode=0o644)

    def _subject(self, person: str) -> str:
        return oneline(_certificate(self.vo.person(person).home / ".globus" / "usercert.pem").subject_der)

    def enrol(self) -> Step:
        """The administrator's side."""
        home = self.vo.person("admin").home

        def admin(*argv: str, expect: str = "") -> Command:
            return Command(argv, "admin", self._server(), expect=(expect,))

        return Step(
            "A community says who may do what",
            "Its administrator begins the policy on the server's machine. Then all is done from afar: a group, a file "
            "of users, a directory tree, and the right to read it.",
            (
                Command(
                    ("cas-server-bootstrap", "-d", str(self.state / "store"), "-implicit", "-b",
                     str(self.state / "bootstrap")),
                    "admin", expect=("changes made",),
                ),
                Command(("grid-proxy-init", "-q", "-pwstdin"), "admin", stdin_path=home / "key-passphrase"),
                admin("cas-group-admin", "user", "create", GROUP, "readers"),
                admin("cas-group-admin", "user", "fqan", "readers", f"/{COMMUNITY}/readers"),
                admin("cas-enroll-users", GROUP, "users", expect="1 users enrolled"),
                admin("cas-enroll", "object", GROUP, OBJECT, NAMESPACE),
                admin(
                    "cas-rights-admin", "grant", "readers", "object", NAMESPACE, OBJECT, "serviceAction", "file", "read"
                ),
                admin("cas-who-can", "file/read", "object", NAMESPACE, "ftp://localhost/data/run1", expect="alice"),
            ),
            beside=True,
        )  # fmt: skip

    def fetch(self) -> Step:
        """Alice's side: one grant, three forms."""
        return Step(
            "Alice fetches it in three forms",
            "A signed assertion within a proxy, an attribute certificate of VOMS, and a token (JWT) that is of use "
            "with her proxy alone.",
            (
                Command(("cas-proxy-init", "-w", "cas.pem"), "alice", self._server()),
                Command(
                    ("voms-proxy-init", "-voms", COMMUNITY, "-noregen", "-q", "-vomses", str(self.vomses),
                     "-vomsdir", str(self.vomsdir), "-out", "voms.pem"),
                    "alice", beside=True,
                ),
                Command(
                    ("cas-token", "-bind", "-audience", STORAGE, "-out", "token"), "alice", self._server(), beside=True
                ),
            ),
        )  # fmt: skip

    def enforce(self) -> Step:
        """The storage's side."""
        policy = str(self.state / "storage.toml")

        def asked(answer: str, action: str, name: str, *who: str, prepare: Callable[[], None] | None = None) -> Command:
            where = ("-action", f"file:{action}", "-resource", f"ftp://localhost/{name}")
            argv = ("gsi-authz", "explain", *who, *where, "-policy", policy)
            expect = f"this would be decided: {answer}\n"
            return Command(argv, "alice", expect=(expect,), prepare=prepare, beside=True)

        return Step(
            "A storage believes what the community grants",
            "It has never heard of Alice, and asks nobody. What each form grants is permitted, and all else is "
            "refused: another action, another tree, a proxy without any capability.",
            (
                asked("permit", "read", "data/run1", "-chain", "cas.pem", prepare=self._fetch_keys),
                asked("deny", "write", "data/run1", "-chain", "cas.pem"),
                asked("permit", "read", "data/run1", "-chain", "voms.pem"),
                asked("permit", "read", "data/run1", "-proxy", "-token", "token"),
                asked("deny", "read", "other/run1", "-proxy", "-token", "token"),
                asked("deny", "read", "data/run1", "-proxy"),
            ),
        )

    def _fetch_keys(self) -> None:
        """Fetch the keys of the community's tokens, as its sites do now and then.

        Raises:
            TransportError: They cannot be had.
        """
        import ssl
        from urllib.request import urlopen

        context = ssl.create_default_context(capath=str(self.vo.trust_dir))
        try:
            with urlopen(f"{self.url}/jwks", timeout=FETCH_SECONDS, context=context) as answer:  # noqa: S310  https
                write_public(str(self.state / "climate.jwks"), answer.read(MAX_KEY_SET_BYTES), mode=0o644)
        except OSError as error:
            raise TransportError(f"the keys of {self.url} cannot be fetched: {error}") from error

    def _server(self) -> tuple[tuple[str, str], ...]:
        return (("CAS_SERVER_URL", self.url),)


def _certificate(path: Path) -> Certificate:
    from gsi.certificate import load_certificates

    return load_certificates(path.read_bytes())[0]
