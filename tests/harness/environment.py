"""A private user for subprocesses: own HOME, own credential files, own trust directory, nothing of the machine's.

Workflow:
    user = UserEnvironment(tmp_path)
    user.install_user(alice, passphrase=b"secret")
    user.trust(ca)
    run([our_program("grid-proxy-init"), "-pwstdin"], env=user.variables, stdin="secret\n")
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.harness.ca import Issued, TestCA, write_trust_dir
from tests.harness.run import DEFAULT_TIMEOUT, Done, c_program, our_program, run

__all__ = ["UserEnvironment", "clean_environment"]

# The programs that work with the user's long-lived key. For all others the variables naming it are left out: a C
# client prefers X509_USER_CERT and X509_USER_KEY, where they are set, to the proxy that the test wants it to show.
_USES_LONG_LIVED_KEY: Final = frozenset(
    {"grid-proxy-init", "grid-cert-info", "grid-cert-diagnostics", "myproxy-init", "myproxy-store"}
)


def clean_environment(home: Path) -> dict[str, str]:
    """The least a program needs: no X509 or Globus variable of the caller gets through."""
    return {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(home),
        "LOGNAME": "alice",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        # The machine may have a gsi.conf or an authorization callout; tests must not depend on it.
        "GSI_AUTHZ_CONF": "/nonexistent/gsi-authz.conf",
        "PYTHONWARNINGS": "error",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class UserEnvironment:
    """Files and variables of one user of the grid.

    Attributes:
        home: HOME.
        cert_path: X509_USER_CERT, written by `install_user`.
        key_path: X509_USER_KEY.
        proxy_path: X509_USER_PROXY.
        trust_dir: X509_CERT_DIR.
        variables: The environment for `run`; tests may change their copy with `with_variables`. The C programs take
            the home directory from the password file, so nothing is left to its default.
    """

    def __init__(self, directory: str | Path, *, trust_dir: str | Path | None = None) -> None:
        self.home = Path(directory) / "home"
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        dot_globus = self.home / ".globus"
        self.cert_path = dot_globus / "usercert.pem"
        self.key_path = dot_globus / "userkey.pem"
        self.proxy_path = self.home / "proxy.pem"
        self.trust_dir = dot_globus / "certificates" if trust_dir is None else Path(trust_dir)
        self.variables = clean_environment(self.home) | {
            "X509_USER_CERT": str(self.cert_path),
            "X509_USER_KEY": str(self.key_path),
            "X509_USER_PROXY": str(self.proxy_path),
            "X509_CERT_DIR": str(self.trust_dir),
        }

    def install_user(self, issued: Issued, *, passphrase: bytes | None = None, key_mode: int = 0o600) -> None:
        """Write the user's long-lived certificate and key."""
        issued.write(self.cert_path, self.key_path, passphrase=passphrase, key_mode=key_mode)

    def install_proxy(self, issued: Issued, *, mode: int = 0o600) -> None:
        """Write the proxy file."""
        issued.write_bundle(self.proxy_path, mode=mode)

    def trust(self, *cas: TestCA, crl: bool | bytes | None = None, signing_policy: str | bool = True) -> None:
        """Add authorities to the trust directory."""
        write_trust_dir(self.trust_dir, *cas, crl=crl, signing_policy=signing_policy)

    def with_variables(self, **changes: str | None) -> dict[str, str]:
        """The variables with some changed; None removes one."""
        merged = self.variables | {name: value for name, value in changes.items() if value is not None}
        return {name: value for name, value in merged.items() if name not in changes or changes[name] is not None}

    def ours(
        self, name: str, *arguments: str | Path, stdin: str | bytes = b"", timeout: float = DEFAULT_TIMEOUT
    ) -> Done:
        """Run our command of this name as this user."""
        return run([our_program(name), *arguments], env=self._variables_for(name), stdin=stdin, timeout=timeout)

    def theirs(
        self, name: str, *arguments: str | Path, stdin: str | bytes = b"", timeout: float = DEFAULT_TIMEOUT
    ) -> Done:
        """Run the C command of this name as this user."""
        return run([c_program(name), *arguments], env=self._variables_for(name), stdin=stdin, timeout=timeout)

    def _variables_for(self, name: str) -> dict[str, str]:
        if name in _USES_LONG_LIVED_KEY:
            return self.variables
        return self.with_variables(X509_USER_CERT=None, X509_USER_KEY=None)
