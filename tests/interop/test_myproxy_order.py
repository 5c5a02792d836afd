"""Who gets in with what: every combination of stored key, PAM, SASL, trust and renewal, asked of both servers.

The client is ours, so that each question is put to the C server and to ours in the same bytes.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from gsi.credential import Credential
from gsi.errors import GridError
from gsi.secret import Passphrase
from gsi.system.trustdir import TrustDirectory
from myproxy.client import MyProxyClient, ServerAddress
from myproxy.protocol.messages import Command, Request
from tests.harness.ca import write_file
from tests.harness.daemons import c_myproxy_server, free_port, our_server
from tests.harness.environment import clean_environment
from tests.harness.logins import SASLSite, pam_service, sasl_site
from tests.interop.conftest import Grid
from tests.interop.ours import credential_of, proxy_of

BOTH = "both words"  # opens one of the sealed keys, and PAM knows it
SEAL = "seal words"  # opens the other
PAM = "pam words"  # PAM alone knows it
WRONG = "wrong words"
SASL_RIGHT, SASL_WRONG = "sasl-words", "other-words"
HOUR = timedelta(hours=1)
USES = ("disabled", "sufficient", "required")
STORED = {"sealed-both": BOTH, "sealed-alone": SEAL, "unsealed": ""}
ASKED = {  # one of each kind: what opens, what PAM knows, what nobody knows
    "sealed-both": ("", BOTH, PAM, WRONG),
    "sealed-alone": ("", BOTH, SEAL, WRONG),
    "unsealed": ("", BOTH, WRONG),
}
CONFIG = """\
accepted_credentials "*"
authorized_retrievers "*"
authorized_renewers "*/CN=Agent"
trusted_retrievers "*/CN=Portal"
default_trusted_retrievers "*/CN=Portal"
"""


@dataclass(frozen=True)
class Case:
    stored: str
    passphrase: str
    sasl: str
    who: str  # nobody, portal (trusted), agent (renews), other

    def __str__(self) -> str:
        return f"{self.who} with {self.passphrase!r} and SASL {self.sasl!r} for {self.stored}"


def cases(sasl: str) -> Iterator[Case]:
    words = (SASL_RIGHT,) if sasl == "disabled" else (SASL_RIGHT, SASL_WRONG)
    for stored, word, who in itertools.product(STORED, words, ("nobody", "portal", "agent", "other")):
        for passphrase in ASKED[stored]:
            if word == SASL_RIGHT or passphrase in (STORED[stored], BOTH):  # the others never get as far as SASL
                yield Case(stored, passphrase, word, who)


def expected(case: Case, pam: str, sasl: str) -> bool:
    """The order of checks, as the table in docs/wire/myproxy-authentication.md has it."""
    sealed = case.stored != "unsealed"
    opens = case.passphrase == STORED[case.stored]
    pam_agrees = case.passphrase in (BOTH, PAM)
    sasl_agrees = case.sasl == SASL_RIGHT
    if sealed and not opens:
        return False
    if pam == "required" and not pam_agrees:
        return False
    if sasl == "required":
        return sasl_agrees
    if sealed or pam == "required" or case.who == "portal":
        return True
    if pam == "sufficient" and case.passphrase:
        return pam_agrees
    if case.who == "agent":  # offered along with SASL, and preferred by the client
        return True
    return sasl == "sufficient" and sasl_agrees


class Someone:
    """The four clients, and the credential that is stored."""

    def __init__(self, grid: Grid) -> None:
        ca = grid.cas["rsa2048"]
        self.owner = credential_of(ca.issue("/O=Grid/OU=Test/CN=Owner", "p256"))
        self.renewed = proxy_of(self.owner)
        names = {"portal": "Portal", "agent": "Agent", "other": "Other"}
        self.identities: dict[str, Credential | None] = {
            who: credential_of(ca.issue(f"/O=Grid/OU=Test/CN={name}", "p256")) for who, name in names.items()
        }
        self.identities["nobody"] = None
        self.anchors = TrustDirectory(str(grid.trust_dir)).anchors()

    def client(self, port: int, identity: Credential | None, sasl: str = "") -> MyProxyClient:
        address = ServerAddress.parse(f"localhost:{port}")
        return MyProxyClient(
            address, self.anchors, credential=identity, ask_user=lambda _prompt, _hidden: Passphrase(sasl)
        )

    def store(self, port: int) -> None:
        for name, passphrase in STORED.items():
            client = self.client(port, self.owner)
            request = Request(
                Command.PUT, "alice", Passphrase(passphrase), credential_name=name, lifetime=12 * HOUR, renewer="*"
            )
            client.put(request, self.owner)

    def ask(self, port: int, case: Case) -> list[str]:
        """What comes of a question: nothing for a yes, or the lines of the no."""
        client = self.client(port, self.identities[case.who], case.sasl)
        request = Request(Command.GET, "alice", Passphrase(case.passphrase), lifetime=HOUR, credential_name=case.stored)
        try:
            client.authenticate(request, renewing=self.renewed if case.who == "agent" else None)
        except GridError as error:
            return error.message.removeprefix("ERROR from myproxy-server:\n").split("\n")
        return []


@pytest.fixture(scope="module")
def someone(grid: Grid) -> Someone:
    return Someone(grid)


@pytest.fixture(scope="module")
def pam_id(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pam_service(tmp_path_factory.mktemp("pam"), {"alice": [BOTH, PAM]}) as service:
        yield service


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> SASLSite:
    return sasl_site(tmp_path_factory.mktemp("sasl"), {"alice": SASL_RIGHT}, mechanisms="PLAIN")


@contextlib.contextmanager
def our_site(directory: Path, grid: Grid, config: str, extra: dict[str, str]) -> Iterator[int]:
    directory.mkdir(mode=0o700)
    grid.host.write(directory / "hostcert.pem", directory / "hostkey.pem")
    write_file(directory / "myproxy-server.config", config.encode(), 0o600)
    port = free_port()
    env = clean_environment(directory) | extra
    env |= {"X509_USER_CERT": str(directory / "hostcert.pem"), "X509_USER_KEY": str(directory / "hostkey.pem")}
    env |= {"X509_CERT_DIR": str(grid.trust_dir)}
    arguments: list[str | Path] = [
        "-c",
        directory / "myproxy-server.config",
        "-s",
        directory / "store",
        "-l",
        "127.0.0.1",
    ]
    arguments += ["-p", str(port), "-foreground"]
    with our_server("myproxy-server", arguments, env=env, port=port, directory=directory):
        yield port


@pytest.mark.parametrize("sasl", USES)
@pytest.mark.parametrize("pam", USES)
def test_both_servers_let_the_same_clients_in(
    grid: Grid, someone: Someone, pam_id: str, site: SASLSite, tmp_path: Path, pam: str, sasl: str
) -> None:
    config = f"{CONFIG}pam {pam}\npam_id {pam_id}\nsasl {sasl}\nsasl_serverFQDN localhost\n"
    with (
        c_myproxy_server(grid.host, grid.trust_dir, config=config, extra=site.variables) as theirs,
        our_site(tmp_path / "ours", grid, f"{config}throttle off\n", site.variables) as ours,
    ):
        for port in (theirs.port, ours):
            someone.store(port)
        for case in cases(sasl):
            told, also = someone.ask(theirs.port, case), someone.ask(ours, case)
            assert (told == [], also == []) == (expected(case, pam, sasl),) * 2, (str(case), told, also)
            # A pass phrase that nobody asked for is wrong here, and to the C server nothing at all.
            unasked = told == ["authentication failed"] and case.passphrase
            if case.who != "nobody" and also and not unasked:
                assert also[0] in told, str(case)
