"""Trust roots on the client's side: where they go, how they get there, and the first trust where there is none.

    anchors = load_or_bootstrap(arguments, locations, address)
    directory = install(PROG, locations, files)

Agrees with gct:myproxy/source/myproxy.c (myproxy_install_trusted_cert_files, myproxy_bootstrap_trust) in the directory,
the names of the files and the log `myproxy-install-log`. Each file is replaced at once and durably; a CRL is replaced
only by one that is not older, and only by one that parses, so that a server cannot bring back what was revoked.
"""

from __future__ import annotations

import itertools
import re
import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.run import printable, warn
from gsi.errors import ConfigError, GridError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace
    from gsi.system.environ import Locations
    from gsi.trust.anchors import TrustAnchors
    from myproxy.client import ServerAddress
    from myproxy.protocol.messages import TrustRootFile

__all__ = ["install", "load_or_bootstrap", "trust_directory"]

LOG_NAME: Final = "myproxy-install-log"
MAX_CRL_BYTES: Final = 8 << 20
"""The largest grid CRLs have two megabytes."""
_CRL_NAME: Final = re.compile(r"[0-9a-f]{8}\.r[0-9]+\Z")


def trust_directory(locations: Locations) -> str:
    """Return where trust roots are installed: X509_CERT_DIR, for root the host's directory, else the user's.

    Raises:
        ConfigError: There is no home directory.
    """
    import os

    from gsi.system.environ import get_variable

    named = get_variable("X509_CERT_DIR")
    if named:
        return named
    if locations.uid == 0:
        return "/etc/grid-security/certificates"
    home = get_variable("HOME")
    if not home:
        raise ConfigError("there is no home directory to install trust roots in", hint="set HOME or X509_CERT_DIR")
    return os.path.join(home, ".globus", "certificates")


def load_or_bootstrap(
    arguments: Namespace,
    locations: Locations,
    address: ServerAddress,
    *,
    installs: bool,
    force: bool = False,
) -> TrustAnchors:
    """Return whom to trust; where there is nobody, or by force, the CAs that the server presents, installed.

    Args:
        arguments: The command line.
        locations: The user's files.
        address: The server.
        installs: Whether the command installs trust roots: then a directory that is not there is made, as in C.
        force: Whether to believe the server also where there are trust roots.

    Raises:
        ConfigError: There are no trust roots, and none are asked for.
        GridError: The server cannot be reached, or presents no CA certificates.
    """
    import os

    directory = trust_directory(locations)
    is_absent = not os.path.isdir(directory) and not os.path.isdir(locations.trust_dir)
    if force or (installs and is_absent):
        trusted = None if is_absent else _load(directory, locations)
        bootstrap(arguments, directory, address, trusted=trusted)
    elif is_absent:
        raise ConfigError(
            f"there are no trust roots in {directory}, so the server cannot be checked",
            hint="install them by hand, or say --bootstrap to believe the server that answers now",
        )
    return _load(directory, locations)


def _load(directory: str, locations: Locations) -> TrustAnchors:
    import os

    from gsi.system.trustdir import TrustDirectory

    return TrustDirectory(directory if os.path.isdir(directory) else locations.trust_dir).anchors()


def bootstrap(
    arguments: Namespace, directory: str, address: ServerAddress, *, trusted: TrustAnchors | None = None
) -> None:
    """Believe the CA certificates that the server presents, and say so with their fingerprints.

    Each is installed with a signing policy that lets it sign the certificate below it and nothing else. One that is
    trusted already stays with what the directory says of it; no file that is there is replaced.

    Args:
        arguments: The command line.
        directory: Where trust roots are installed.
        address: The server.
        trusted: Whom the user trusts now, None for nobody.

    Raises:
        ConfigError: The server presents nothing above its own certificate, or another certificate of a CA that is
            trusted.
        GridError: No connection.
    """
    import os

    from gsi.names import oneline
    from gsi.system.clock import now
    from gsi.trust.anchors import build_anchors
    from gsi.trust.hashes import subject_hash
    from myproxy.cli.common import open_client
    from myproxy.protocol.messages import TrustRootFile

    sys.stderr.write("Bootstrapping MyProxy server root of trust.\n")  # this line and those below as in C
    shown = open_client(arguments, None, build_anchors({}, loaded_at=now()), address).look_at_server()
    pairs = [pair for pair in itertools.pairwise(shown) if _is_ca(pair[1])]
    if not pairs:
        raise ConfigError(
            "the server presents no CA certificate, so there is nothing to bootstrap trust with",
            hint="install its CA's certificate by hand",
        )
    files = []
    told = [f"New trusted MyProxy server: {printable(oneline(shown[0].subject_der))}\n"]
    for below, authority in pairs:
        namesakes = () if trusted is None else trusted.find_authorities(authority.subject_der)
        if any(one.certificate == authority for one in namesakes):
            continue
        name = subject_hash(authority.subject_der)
        if namesakes or os.path.lexists(os.path.join(directory, f"{name}.0")):
            raise ConfigError(
                f"the server presents another certificate of {printable(oneline(authority.subject_der))} than the one "
                f"in {directory}",
                hint="somebody may stand between; if the CA has a new one, install it by hand",
            )
        policy = _only(oneline(authority.subject_der), oneline(below.subject_der))
        files.append(TrustRootFile(f"{name}.0", authority.pem()))
        if not os.path.lexists(os.path.join(directory, f"{name}.signing_policy")):
            files.append(TrustRootFile(f"{name}.signing_policy", policy.encode()))
        told.append(f"New trusted CA ({name}.0): {printable(oneline(authority.subject_der))}\n")
        told.append(f"Compare its SHA-256 fingerprint with what the CA publishes: {authority.fingerprint}\n")
    if files:
        _install_in(directory, files)
        sys.stderr.write("".join(told))


def _is_ca(certificate: Certificate) -> bool:
    from gsi import oids
    from gsi.extensions import parse_basic_constraints

    constraints = certificate.find_extension(oids.BASIC_CONSTRAINTS)
    return constraints is not None and parse_basic_constraints(constraints.value)[0]


def _only(authority: str, subject: str) -> str:
    return f"access_id_CA X509 '{authority}'\npos_rights globus CA:sign\ncond_subjects globus '\"{subject}\"'\n"


def install(prog: str, locations: Locations, files: Sequence[TrustRootFile]) -> str:
    """Install what a server has sent, or warn that it has nothing; return the directory.

    Raises:
        GridError: The directory or a file cannot be written.
    """
    directory = trust_directory(locations)
    if files:
        _install_in(directory, files)
    else:
        warn(prog, "the server has no trust roots to hand out", hint="its administrator sets them with cert_dir")
    return directory


def _install_in(directory: str, files: Sequence[TrustRootFile]) -> None:
    import os

    from gsi.errors import StorageError
    from gsi.system.clock import now
    from gsi.system.files import write_public

    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{directory} cannot be made: {error.strerror}") from error
    lines = []
    for file in files:
        path = os.path.join(directory, safe_name(file.name))
        if _CRL_NAME.match(os.path.basename(path)) and not _is_newer(path, file.data):
            continue
        write_public(path, file.data)
        lines.append(f"{int(now().timestamp())}: {path}\n")
    with open(os.path.join(directory, LOG_NAME), "a", encoding="utf-8") as log:
        log.writelines(lines)


def safe_name(name: str) -> str:
    """Return a file name that stays in its directory: slashes and a leading dot become dashes, as in C.

    Raises:
        ConfigError: It is empty, too long or holds control characters.
    """
    if not name or len(name.encode()) > 255 or not name.isprintable():
        raise ConfigError(f"the server sent a trust root under an impossible name, {name!r}")
    flat = name.replace("/", "-")
    return f"-{flat[1:]}" if flat.startswith(".") else flat


def _is_newer(path: str, data: bytes) -> bool:
    """Whether a CRL may replace the one in its place; one that cannot be read never does."""
    from gsi.system.files import read_public
    from gsi.trust.crl import parse_crl_file

    def this_update(content: bytes) -> datetime:
        return max(crl.this_update for crl in parse_crl_file(content))

    try:
        new = this_update(data)
    except GridError as error:
        sys.stderr.write(f"a CRL from the server is left out: {printable(error.message)}\n")
        return False
    try:
        return new >= this_update(read_public(path, max_bytes=MAX_CRL_BYTES))
    except GridError:
        return True
