"""A SoftHSM token in a directory of its own: made with its own tools, keys brought in, used through PKCS#11.

Workflow:
    token = make_token(tmp_path, label="GridCA", pin="1234")
    token.add_key("ca-key", key, key_id="01")
    with used_here(token):
        signer = load_signer(token.uri("ca-key"))
"""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives import serialization

from tests.harness.environment import clean_environment
from tests.harness.run import c_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.ca import PrivateKey

__all__ = ["MODULE", "Token", "make_token", "used_here"]

MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"


class Token(NamedTuple):
    """A token and where its files are.

    Attributes:
        directory: Holds its configuration and its files.
        label: The token's label.
        pin_path: A file with the user's PIN, mode 0600.
        environment: Variables with which any process finds it.
    """

    directory: Path
    label: str
    pin_path: Path
    environment: dict[str, str]

    @property
    def pin(self) -> str:
        return self.pin_path.read_text().strip()

    def uri(self, label: str, **changes: str) -> str:
        """The place of a key as configurations write it."""
        source = changes.get("pin_source", f"file:{self.pin_path}")
        token = changes.get("token", self.label)
        return f"pkcs11:token={token};object={label}?module-path={MODULE}&pin-source={source}"

    def add_key(self, label: str, key: PrivateKey, *, key_id: str) -> None:
        """Bring a key in."""
        path = self.directory / f"{label}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        words = ["--import", str(path), "--token", self.label, "--label", label, "--id", key_id, "--pin", self.pin]
        run([c_program("softhsm2-util"), *words], env=self.environment).check()
        path.unlink()


def make_token(directory: Path, *, label: str = "GridCA", pin: str = "1234") -> Token:
    """Make a token, which processes with its environment find."""
    tokens = directory / "tokens"
    tokens.mkdir(parents=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    pin_path = directory / "pin"
    pin_path.write_text(f"{pin}\n")
    os.chmod(pin_path, 0o600)
    environment = clean_environment(directory) | {"SOFTHSM2_CONF": str(configuration)}
    words = ["--init-token", "--free", "--label", label, "--so-pin", "security-officer", "--pin", pin]
    run([c_program("softhsm2-util"), *words], env=environment).check()
    return Token(directory, label, pin_path, environment)


@contextlib.contextmanager
def used_here(token: Token) -> Iterator[Token]:
    """Show this process the token, and no other before or after: suites take turns in one process."""
    import pkcs11

    from gsi.ca import pkcs11_token

    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = token.environment["SOFTHSM2_CONF"]
    library = pkcs11.lib(MODULE)
    library.reinitialize()
    try:
        yield token
    finally:
        assert pkcs11_token._logins == {}, "a signer was not closed"
        gc.collect()  # what is forgotten later would end the searches of the next suite
        library.finalize()
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before
