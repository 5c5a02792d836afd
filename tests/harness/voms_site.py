"""A user of several VOs on one machine: credentials, trust, LSC files, contact lines, and the programs run as the user.

Workflow:
    site = VOMSSite(tmp_path)
    with site.daemon("testvo") as daemon:
        site.write_vomses(daemon.vomses)
        site.ours("voms-proxy-init", "-voms", "testvo").check()
    site.judge()            # what libvomsapi says of the proxy
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from tests.harness.ca import Issued, KeyKind, TestCA, pooled_key, write_file, write_trust_dir
from tests.harness.environment import clean_environment
from tests.harness.run import Done, c_program, our_program, run
from tests.harness.voms import VO, Verdict, VOMSServer, libvomsapi, user_extensions
from tests.harness.voms_daemon import VOMSDaemon

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OTHER", "VOMSSite"]

OTHER = "other.example"
"""A second VO."""

C_NAMES = {"voms-proxy-init": "voms-proxy-init2", "voms-proxy-info": "voms-proxy-info2"}


class VOMSSite:
    """Files and variables of Alice, who is in two VOs.

    Attributes:
        ca: The authority of everybody.
        alice: The user.
        servers: The server of each VO, on this machine.
        proxy: Where the proxy is.
        vomses: The file of contact lines.
        environment: The variables of the programs.
    """

    def __init__(self, directory: Path, *, key: KeyKind = "rsa2048", named: bool = True) -> None:
        """Write the files.

        Args:
            directory: Where.
            key: The kind of the user's key.
            named: Whether the user's certificate has a subjectKeyIdentifier.
        """
        self.directory = directory
        self.ca = TestCA()
        host_key = pooled_key("rsa2048")
        own = x509.SubjectKeyIdentifier.from_public_key(host_key.public_key())  # what both libraries compare with
        host = self.ca.issue("/O=Grid/CN=localhost", host_key, san=["DNS:localhost"], extensions=[(own, False)])
        self.servers = {vo: VOMSServer(self.ca, host, vo=vo, host="localhost") for vo in (VO, OTHER)}
        self.alice = self.ca.issue("/O=Grid/CN=Alice", key, extensions=user_extensions() if named else [])
        self.trust_dir = write_trust_dir(directory / "certificates", self.ca, crl=True)
        write_trust_dir(self.trust_dir, self.ca, crl=True, old_hash=True)  # the only names that the Java tools look for
        self.vomsdir = directory / "vomsdir"
        for server in self.servers.values():
            server.write_lsc(self.vomsdir)
        self.cert, self.key = directory / "usercert.pem", directory / "userkey.pem"
        self.alice.write(self.cert, self.key, key_mode=0o400)
        self.proxy = directory / "proxy.pem"
        self.vomses = directory / "vomses"
        self.environment = clean_environment(directory) | {
            "X509_CERT_DIR": str(self.trust_dir),
            "X509_VOMS_DIR": str(self.vomsdir),
            "X509_VOMSES": str(self.vomses),
            "X509_USER_CERT": str(self.cert),
            "X509_USER_KEY": str(self.key),
            "X509_USER_PROXY": str(self.proxy),
        }

    def daemon(self, vo: str = VO, *, holder: Issued | None = None) -> VOMSDaemon:
        """A server of a VO; it gives attributes to one holder, Alice by default."""
        return VOMSDaemon(self.servers[vo], holder or self.alice)

    def write_vomses(self, *lines: str) -> None:
        """Write the contact lines."""
        write_file(self.vomses, "".join(lines).encode(), 0o644)

    def dead_line(self, vo: str = VO) -> str:
        """A contact line for a server that is not there."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        return f'"{vo}" "localhost" "{port}" "{self.servers[vo].credential.subject}" "{vo}"\n'

    def ours(
        self, name: str, *arguments: str | Path, stdin: str | bytes = b"", environment: dict[str, str] | None = None
    ) -> Done:
        """Run our command as Alice."""
        return run([our_program(name), *arguments], env=self.environment | (environment or {}), stdin=stdin)

    def theirs(self, name: str, *arguments: str | Path) -> Done:
        """Run the C command as Alice; the progress that it writes to standard error is left out."""
        words: Sequence[str | Path] = arguments
        if name == "voms-proxy-init":
            words = ["-vomses", self.vomses, *arguments]
        return run([c_program(C_NAMES.get(name, name)), *words], env=self.environment)

    def judge(self) -> Verdict:
        """What libvomsapi says of the proxy, with full verification."""
        (verdict,) = libvomsapi((self.proxy, self.vomsdir, self.trust_dir))
        return verdict
