"""What the commands around CAs share: where CAs lie on this machine, and the files of one; judges no trust.

for found in find_authorities(trust_directories()):
    found.hash, found.subject, found.path
files = find_package_files(directory, "1a2b3c4d", is_ca_directory=False)
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.ca.directory import CADirectory
from gsi.certificate import Certificate
from gsi.cli.arguments import UsageError
from gsi.cli.run import printable
from gsi.errors import CredentialError, CredentialProblem, NotFoundError, ParseError
from gsi.names import oneline, parse_oneline, parse_rfc4514
from gsi.system.environ import GRID_SECURITY_DIR, get_variable, read_locations
from gsi.system.files import read_public

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CA_SETTINGS",
    "FoundAuthority",
    "choose_authority",
    "find_authorities",
    "find_authority",
    "find_package_files",
    "list_text",
    "open_ca_directory",
    "parse_name",
    "trust_directories",
]

CA_SETTINGS: Final = ("grid-security.conf", "globus-host-ssl.conf", "globus-user-ssl.conf")
"""The settings of a CA for grid-cert-request, in the order of the C script; `.<hash>` follows in a trust directory."""

_SYSTEM_CA: Final = "/var/lib/globus/simple_ca"
_MAX_FILE_BYTES: Final = 1 << 20  # a certificate, a policy, a page of settings
_CA_FILE: Final = re.compile(r"([0-9a-f]{8})\.0")


class FoundAuthority(NamedTuple):
    """A CA certificate in a trust directory."""

    directory: str
    hash: str
    certificate: Certificate

    @property
    def path(self) -> str:
        """Where the certificate lies."""
        return os.path.join(self.directory, f"{self.hash}.0")

    @property
    def subject(self) -> str:
        """The CA's name in one-line form."""
        return oneline(self.certificate.subject_der)


def trust_directories(*, first: str | None = None) -> tuple[str, ...]:
    """Return the trust directories to look in, only such as are there.

    Args:
        first: The first of them; by default what X509_CERT_DIR says.
    """
    wanted: list[str] = []
    named = first or get_variable("X509_CERT_DIR")
    security = get_variable("GRID_SECURITY_DIR")
    if named:
        wanted.append(named)
    if security:
        wanted += [os.path.join(security, "certificates"), security]
    wanted.append(os.path.join(GRID_SECURITY_DIR, "certificates"))
    location = get_variable("GLOBUS_LOCATION") or "/usr"
    wanted.append(os.path.join(location, "share", "certificates"))
    found: list[str] = []
    for path in wanted:
        if os.path.isdir(path) and not any(os.path.samefile(path, other) for other in found):
            found.append(path)
    return tuple(found)


def find_authorities(directories: Iterable[str]) -> tuple[FoundAuthority, ...]:
    """Return every `<hash>.0` that holds a certificate, in the order of directories and names."""
    found: list[FoundAuthority] = []
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            match = _CA_FILE.fullmatch(name)
            if match is None:
                continue
            try:
                data = read_public(os.path.join(directory, name), max_bytes=_MAX_FILE_BYTES)
                found.append(FoundAuthority(directory, match[1], Certificate.parse_pem(data, what=name)))
            except (CredentialError, ParseError):
                continue  # as the C scripts: what cannot be read is not listed
    return tuple(found)


def find_authority(wanted: str, directories: Iterable[str]) -> FoundAuthority:
    """Return the CA of this hash.

    Raises:
        NotFoundError: There is none.
    """
    for found in find_authorities(directories):
        if found.hash == wanted:
            return found
    raise NotFoundError(
        f"Cannot find a CA with hash {wanted}.", hint="grid-default-ca -list shows the hashes of this machine's CAs"
    )


def list_text(found: Iterable[FoundAuthority]) -> str:
    """Return the list of CAs as the C scripts print it, numbered through all directories."""
    lines = ["The available CA configurations installed on this host are:", ""]
    directory = None
    for number, one in enumerate(found, 1):
        if one.directory != directory:
            lines += [*([""] if directory is not None else []), f"Directory: {one.directory}", ""]
            directory = one.directory
        lines.append(f"{number}) {one.hash} -  {one.subject}")
    return "\n".join(lines) + "\n\n"


def choose_authority(directories: Iterable[str], prompt: str) -> FoundAuthority:
    """Show the CAs, ask for a number on standard input until it is one, and return that CA.

    Raises:
        NotFoundError: There is no CA.
        UsageError: The answer is `q` or nothing.
    """
    found = find_authorities(directories)
    if not found:
        raise NotFoundError("there is no CA in any trust directory", hint="name the directory with X509_CERT_DIR")
    sys.stderr.write(list_text(found))
    while True:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        answer = sys.stdin.readline().strip()
        if answer in {"", "q"}:
            raise UsageError("no CA was chosen", hint="-ca HASH chooses without asking")
        if answer.isascii() and answer.isdigit() and len(answer) < 7 and 1 <= int(answer) <= len(found):
            return found[int(answer) - 1]
        sys.stderr.write(f"{printable(answer)} is not a valid index!\n")


def find_package_files(directory: str, ca_hash: str, *, is_ca_directory: bool) -> dict[str, bytes]:
    """Return the files that go with a CA's certificate, by the names they have in a trust directory.

    Args:
        directory: A trust directory, or the directory of the CA itself.
        ca_hash: The hash of its name.
        is_ca_directory: Which of the two.

    Raises:
        CredentialError: MISSING: there is no signing policy, without which no site could use the CA; UNSAFE_FILE.
        ParseError: A file is too long.
    """
    sources = {f"{ca_hash}.signing_policy": "signing-policy" if is_ca_directory else f"{ca_hash}.signing_policy"}
    sources |= {f"{name}.{ca_hash}": name if is_ca_directory else f"{name}.{ca_hash}" for name in CA_SETTINGS}
    if not is_ca_directory:
        sources |= {name: name for name in (f"{ca_hash}.namespaces", f"{ca_hash}.crl_url", f"{ca_hash}.info")}
    files: dict[str, bytes] = {}
    for target, source in sources.items():
        try:
            files[target] = read_public(os.path.join(directory, source), max_bytes=_MAX_FILE_BYTES)
        except CredentialError as error:
            if error.problem is not CredentialProblem.MISSING or target.endswith(".signing_policy"):
                raise
    return files


def open_ca_directory(named: str | None) -> CADirectory:
    """Return the CA in a directory, or in one of the default places.

    Raises:
        UsageError: Nothing is named, and there is no CA in the default places, or one in each.
        CredentialError: As `CADirectory`.
        ParseError: As `CADirectory`.
    """
    if named:
        return CADirectory(named)
    home = read_locations().home
    places = [os.path.join(home, ".globus", "simpleCA")] if home else []
    places.append(_SYSTEM_CA)
    there = [path for path in places if os.path.exists(os.path.join(path, "cacert.pem"))]
    if not there:
        raise UsageError(f"there is no CA in {' or '.join(places)}", hint="name its directory with -dir")
    if len(there) > 1:
        raise UsageError(f"there is a CA in {' and in '.join(there)}", hint="say which with -dir")
    return CADirectory(there[0])


def parse_name(text: str) -> bytes:
    """Return the DER of a name typed in one-line form, or as `cn=Grid CA, ou=Test, o=Grid`.

    Raises:
        ParseError: It is neither.
    """
    return parse_oneline(text) if text.startswith("/") else parse_rfc4514(text)
