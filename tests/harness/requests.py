"""Certificate requests: what a CA's package installs for `grid-cert-request`, and one that openssl makes.

write_request_config(home / "security")                      # the default CA's
write_request_config(trust_dir, suffix=f".{ca_hash}")        # that of a CA with a hash
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.harness.ca import write_file
from tests.harness.environment import clean_environment
from tests.harness.run import c_program, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["FIELDS", "HOST_FIELDS", "openssl_request", "ssl_conf", "write_request_config"]

FIELDS: Final = (
    ("0.organizationName", "Level 0 Organization", "Grid"),
    ("0.organizationalUnitName", "Level 0 Organizational Unit", "Test Unit"),
    ("1.organizationalUnitName", "Level 1 Organizational Unit", "example.org"),
)
HOST_FIELDS: Final = FIELDS[:2]
_SETTINGS: Final = """\
# These values are set by grid-ca-create
SETUP_GSI_CA_NAME="$SETUP_GS_CA_NAME"
SETUP_GSI_CA_EMAIL_ADDR="$SETUP_GSI_CA_EMAIL_ADDR"
DEFAULT_GSI_CA_NAME="Test CA"
DEFAULT_GSI_CA_EMAIL_ADDR="ca@example.org"
GSI_CA_NAME="${SETUP_GSI_CA_NAME:-${DEFAULT_GSI_CA_NAME}}"
GSI_CA_EMAIL_ADDR="${SETUP_GSI_CA_EMAIL_ADDR:-${DEFAULT_GSI_CA_EMAIL_ADDR}}"
export GSI_CA_NAME
export GSI_CA_EMAIL_ADDR
"""


def ssl_conf(fields: Sequence[tuple[str, str, str]], *, request: str = "default_bits\t\t= 2048\n") -> str:
    """The text of an OpenSSL configuration with these (name, prompt, default) before the common name."""
    parts = "".join(f"{name:40}= {prompt}\n{name + '_default':40}= {value}\n" for name, prompt, value in fields)
    return (
        f"RANDFILE\t\t= $ENV::HOME/.rnd\n[ req ]\n{request}distinguished_name\t= req_distinguished_name\n"
        "req_extensions          = v3_req\n\n[ req_distinguished_name ]\n# BEGIN CONFIG\n"
        f"{parts}commonName                              = Name (E.g., John M. Smith)\n"
        "commonName_max                          = 64\n# END CONFIG\n\n[ v3_req ]\nnsCertType = objsign\n"
    )


def write_request_config(
    directory: Path,
    *,
    suffix: str = "",
    fields: Sequence[tuple[str, str, str]] = FIELDS,
    host_fields: Sequence[tuple[str, str, str]] = HOST_FIELDS,
) -> Path:
    """Write the three files, with this at the end of their names; returns the directory."""
    write_file(directory / f"globus-user-ssl.conf{suffix}", ssl_conf(fields).encode(), 0o644)
    write_file(directory / f"globus-host-ssl.conf{suffix}", ssl_conf(host_fields).encode(), 0o644)
    write_file(directory / f"grid-security.conf{suffix}", _SETTINGS.encode(), 0o644)
    return directory


def openssl_request(directory: Path) -> tuple[Path, Path]:
    """Have `openssl` make an RSA key and a request with it in a directory; return their paths."""
    key, wanted = directory / "key.pem", directory / "request.pem"
    words = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    run([c_program("openssl"), *words, "-keyout", key, "-out", wanted], env=clean_environment(directory)).check()
    return key, wanted
