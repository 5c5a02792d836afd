"""MyProxy's part of the sandbox: its server, and the tour steps around it; runs nothing itself.

Alice stores a credential, logs on from elsewhere with a pass phrase and with a one-time code, a job service renews her
proxy, and in the end nothing is left. What her authenticator would show is computed here, just before it is used.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Final

from gsi.certificate import load_certificates
from gsi.names import oneline
from gsi.sandbox.plan import Command, Contribution, Service, Step
from gsi.sandbox.vo import PORTAL_NAME
from gsi.system.files import write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gsi.sandbox.vo import VO

__all__ = ["NAME", "contribution", "passphrase_path"]

ORDER: Final = 20
NAME: Final = "myproxy-server"
_CONFIG: Final = """\
# Everyone whose certificate the trust directory vouches for may store a credential and get it back.
accepted_credentials  "*"
authorized_retrievers "*"
# The host itself, as a job service would, renews what their owners let it renew.
authorized_renewers   "*/CN=localhost"
# Who has an authenticator needs its code, at every logon; for a credential without a pass phrase it is enough.
otp          "enrolled"
otp_key_file "{otp_key}"
# The web portal says where its users are, and fetches what has no pass phrase for those who have proved who they are.
trusted_front_ends         "{portal}"
trusted_retrievers         "{portal}"
default_trusted_retrievers "{portal}"
"""
JOBS: Final = "alice-jobs"
"""The account of her jobs; her own one needs no code, until she sets up an authenticator in the portal."""
_LOGON_PASSPHRASE: Final = "a pass phrase for the tour"


def contribution(vo: VO) -> Contribution:
    """Return the server and the steps of the main job."""
    state = vo.state_dir(NAME)
    config, store, port = state / "myproxy-server.config", state / "store", vo.port(NAME)
    otp_key = state / "otp.key"
    if not otp_key.exists():
        write_private(str(otp_key), f"{secrets.token_hex(32)}\n".encode())
    write_private(str(config), _CONFIG.format(otp_key=otp_key, portal=PORTAL_NAME).encode())
    store.mkdir(mode=0o700, exist_ok=True)
    server = Service(
        name=NAME,
        argv=(
            "myproxy-server", "--foreground", "-c", str(config), "-s", str(store), "-l", "127.0.0.1", "-p", str(port),
        ),
        environment={"X509_USER_CERT": str(vo.host_certificate_path), "X509_USER_KEY": str(vo.host_key_path)},
        port=port,
        summary="keeps credentials under a pass phrase",
    )  # fmt: skip
    return Contribution(
        ORDER,
        (server,),
        make_steps=lambda: _steps(vo, config, store, port),
        make_last_steps=lambda: (_Tour(vo, f"localhost:{port}").destroy(),),
        make_exports=lambda _person: {
            "MYPROXY_SERVER": "localhost",
            "MYPROXY_SERVER_PORT": str(port),
            "MYPROXY_SERVER_DN": oneline(load_certificates(vo.host_certificate_path.read_bytes())[0].subject_der),
        },
    )


def passphrase_path(vo: VO) -> Path:
    """Return the file with what Alice remembers."""
    return vo.person("elsewhere").home / "logon-passphrase"


def _steps(vo: VO, config: Path, store: Path, port: int) -> tuple[Step, ...]:
    tour = _Tour(vo, f"localhost:{port}")
    return tour.store(), tour.log_on(), tour.one_time_code(config, store), tour.renew()


class _Tour:
    """The steps, with the answers that Alice would type in files of hers."""

    def __init__(self, vo: VO, server: str) -> None:
        self._vo = vo
        self._server = server
        self._alice, self._elsewhere = vo.person("alice").home, vo.person("elsewhere").home
        self._proxy = self._elsewhere / "proxy.pem"

    def store(self) -> Step:
        """Alice's side, with her certificate."""
        key_passphrase = (self._alice / "key-passphrase").read_text("ascii")
        answers = self._written(self._alice / "myproxy-init-answers", f"{key_passphrase}{_LOGON_PASSPHRASE}\n")
        return Step(
            "Alice stores a credential",
            "The server keeps a proxy of hers for a week, sealed under a pass phrase that only she knows.",
            (
                self._command("myproxy-init", "-S", stdin=answers, expect="now exists on localhost"),
                self._command("myproxy-info", expect="timeleft:"),
            ),
        )

    def log_on(self) -> Step:
        """The other side, with a pass phrase."""
        right = self._written(passphrase_path(self._vo), f"{_LOGON_PASSPHRASE}\n")
        wrong = self._written(self._elsewhere / "wrong-passphrase", "not the pass phrase\n")
        return Step(
            "She logs on from elsewhere",
            "This machine has no certificate of hers: the pass phrase is enough to get a fresh proxy, a wrong one is "
            "not.",
            (
                self._there("myproxy-logon", "-S", stdin=right, expect="A credential has been received"),
                self._there("grid-proxy-info", expect="/CN=Alice Demo"),
                self._there("grid-proxy-verify", expect="/CN=Alice Demo", beside=True),
                self._there(
                    "myproxy-logon", "-S", stdin=wrong, status=1, expect="invalid credential passphrase", beside=True
                ),
            ),
        )

    def one_time_code(self, config: Path, store: Path) -> Step:
        """The same with a code by the clock, for a credential that a job service may renew."""
        secret = secrets.token_bytes(20)
        shown = self._written(self._alice / "otp-secret", f"{base64.b32encode(secret).decode('ascii')}\n")
        code = self._elsewhere / "one-time-code"
        where = ("-c", str(config), "-s", str(store))
        logon = ("myproxy-logon", "-S", "-l", JOBS, "-t", "1")
        return Step(
            "Or with a one-time code",
            f"Her jobs have an account of their own, {JOBS}, whose credential has no pass phrase. The administrator "
            "gives her authenticator a secret; a code, good once and for half a minute, opens it for an hour. (The "
            "tour computes it, as an authenticator does.)",
            (
                self._command(
                    "myproxy-admin-otp", *where, "-l", JOBS, "-q", "--secret", f"file:{shown}", expect="otpauth://totp/"
                ),
                self._command(
                    "myproxy-init", "-S", "-l", JOBS, "-R", "localhost",
                    stdin=self._alice / "key-passphrase", expect="now exists on localhost", beside=True,
                ),
                self._there(
                    *logon, stdin=code, prepare=lambda: _write_code(code, secret),
                    expect="A credential has been received",
                ),
                self._there(*logon, stdin=code, status=1, expect="used before"),
            ),
        )  # fmt: skip

    def renew(self) -> Step:
        """The job service's side: its own certificate and her old proxy get a new one."""
        return Step(
            "A job service renews her proxy",
            "Her job runs longer than the hour. The service proves itself by its own certificate and by the proxy that "
            "it holds, and gets a fresh one; it knows no secret of hers.",
            (
                self._there("grid-proxy-info", "-exists", "-valid", "2:00", status=1),
                self._there(
                    "myproxy-logon", "-n", "-l", JOBS, "-a", str(self._proxy), "-o", str(self._proxy), as_host=True,
                    expect="A credential has been received",
                ),
                self._there("grid-proxy-info", "-exists", "-valid", "2:00"),
                self._there("grid-proxy-info", "-timeleft", beside=True),
            ),
        )  # fmt: skip

    def destroy(self) -> Step:
        """Alice's side again."""
        return Step(
            "And takes it back",
            "No credential of hers stays on the server.",
            (
                self._command("myproxy-destroy", expect="was successfully removed"),
                self._command("myproxy-destroy", "-l", JOBS, expect="was successfully removed", beside=True),
            ),
        )

    def _there(
        self, *argv: str, stdin: Path | None = None, status: int = 0, expect: str = "", as_host: bool = False,
        prepare: Callable[[], None] | None = None, beside: bool = False,
    ) -> Command:  # fmt: skip
        variables = self._variables(argv)
        if as_host:
            variables += (
                ("X509_USER_CERT", str(self._vo.host_certificate_path)),
                ("X509_USER_KEY", str(self._vo.host_key_path)),
            )
        return Command(argv, "elsewhere", variables, stdin, status, (expect,), prepare, beside)

    def _command(self, *argv: str, stdin: Path | None = None, expect: str, beside: bool = False) -> Command:
        return Command(argv, "alice", self._variables(argv), stdin, 0, (expect,), beside=beside)

    def _variables(self, argv: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        if argv[0].startswith("myproxy-") and not argv[0].startswith("myproxy-admin-"):
            return (("MYPROXY_SERVER", self._server),)
        return ()

    @staticmethod
    def _written(path: Path, text: str) -> Path:
        write_private(str(path), text.encode())
        return path


def _write_code(path: Path, secret: bytes) -> None:
    """Write the code of the present half minute, as an authenticator shows it."""
    from myproxy.sandbox.authenticator import present_code

    write_private(str(path), f"{present_code(secret)}\n".encode())
