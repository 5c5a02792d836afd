"""A CA as a package for sites: tar.gz, deb and the RPM recipe in it, byte for byte the same for the same CA.

    package = CAPackage(ca_certificate, {"1a2b3c4d.signing_policy": policy, ...})
    package.tarball(), package.deb()

Everything goes to /etc/grid-security/certificates: the certificate, its signing policy, and what grid-cert-request and
grid-default-ca need. Times are the certificate's own, owners are root, the order is by name, so that whoever makes the
package again can compare. The tar.gz holds a spec file: `rpmbuild -tb` makes the RPM. The deb is written here, without
any of Debian's tools; removing either package takes away a default CA that leads to it.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError
from gsi.names import oneline
from gsi.trust.hashes import subject_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsi.certificate import Certificate

__all__ = ["INSTALL_DIR", "CAPackage"]

INSTALL_DIR: Final = "/etc/grid-security/certificates"
_LINKS: Final = ("grid-security.conf", "globus-host-ssl.conf", "globus-user-ssl.conf")
"""What grid-default-ca makes links to."""
_VERSION: Final = re.compile(r"[0-9][A-Za-z0-9.+~]{0,30}")


@dataclass(frozen=True, slots=True)
class CAPackage:
    """What goes to the sites of a CA.

    Attributes:
        certificate: The CA's certificate.
        files: The other files by name (`<hash>.signing_policy`, `grid-security.conf.<hash>`, ...).
        maintainer: Name and address for the deb.
        version: The package's version.

    Raises:
        ConfigError: The version, the maintainer or a file name cannot be used.
    """

    certificate: Certificate
    files: Mapping[str, bytes]
    maintainer: str = "Grid CA <root@localhost>"
    version: str = "1.0"

    def __post_init__(self) -> None:
        """Check what is written into control files."""
        if not _VERSION.fullmatch(self.version):
            raise ConfigError(f"{self.version!r} is no version of a package", hint="like 1.0")
        if not self.maintainer.isprintable():
            raise ConfigError("the maintainer must be one line")
        for name in self.files:
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name) or name.startswith("."):
                raise ConfigError(f"{name!r} is no file of a CA's package")

    @property
    def hash(self) -> str:
        """The hash of the CA's name."""
        return subject_hash(self.certificate.subject_der)

    @property
    def name(self) -> str:
        """The package's name."""
        return f"globus-simple-ca-{self.hash}"

    @property
    def tarball_name(self) -> str:
        """The name of the tar.gz, as the C script has it."""
        return f"globus_simple_ca_{self.hash}.tar.gz"

    @property
    def deb_name(self) -> str:
        """The name of the deb."""
        return f"{self.name}_{self.version}_all.deb"

    @property
    def contents(self) -> dict[str, bytes]:
        """Every installed file by name."""
        return {f"{self.hash}.0": self.certificate.pem(), **self.files}

    @property
    def _time(self) -> int:
        return int(self.certificate.not_before.timestamp())

    def tarball(self) -> bytes:
        """Return the tar.gz: the files in one directory, with the RPM's spec file."""
        files = {**self.contents, f"{self.name}.spec": self._spec().encode()}
        return self._tar({f"{self.name}/{name}": data for name, data in files.items()}, [self.name])

    def deb(self) -> bytes:
        """Return the Debian package (deb(5), format 2.0)."""
        path = INSTALL_DIR.lstrip("/")
        parts = path.split("/")
        folders = ["./"] + ["./" + "/".join(parts[: number + 1]) for number in range(len(parts))]
        data = self._tar({f"./{path}/{name}": content for name, content in self.contents.items()}, folders)
        control = self._tar(
            {"./control": self._control().encode(), "./prerm": self._prerm().encode()}, ["./"], programs=("./prerm",)
        )
        members = (("debian-binary", b"2.0\n"), ("control.tar.gz", control), ("data.tar.gz", data))
        return b"!<arch>\n" + b"".join(self._ar_member(name, content) for name, content in members)

    def _ar_member(self, name: str, data: bytes) -> bytes:
        header = f"{name:<16}{self._time:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        return header + data + b"\n" * (len(data) % 2)

    def _tar(self, files: Mapping[str, bytes], folders: list[str], *, programs: tuple[str, ...] = ()) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in folders:
                entry = self._tar_entry(name, 0o755)
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            for name in sorted(files):
                entry = self._tar_entry(name, 0o755 if name in programs else 0o644)
                entry.size = len(files[name])
                tar.addfile(entry, io.BytesIO(files[name]))
        return gzip.compress(out.getvalue(), mtime=0)

    def _tar_entry(self, name: str, mode: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(name)
        entry.mode = mode
        entry.mtime = self._time
        entry.uname = entry.gname = "root"
        return entry

    @property
    def _about(self) -> tuple[str, ...]:
        """What is in it, line by line."""
        if any(name.startswith(_LINKS) for name in self.files):
            return (
                "The certificate and signing policy of this certification authority, and the",
                "settings with which certificates are requested from it.",
            )
        return ("The certificate and signing policy of this certification authority.",)

    def _control(self) -> str:
        size = (sum(map(len, self.contents.values())) + 1023) // 1024
        return (
            f"Package: {self.name}\n"
            f"Version: {self.version}\n"
            "Architecture: all\n"
            f"Maintainer: {self.maintainer}\n"
            f"Installed-Size: {size}\n"
            "Section: net\n"
            "Priority: optional\n"
            f"Description: trust in {oneline(self.certificate.subject_der)}\n"
            + "".join(f" {line}\n" for line in self._about)
        )

    def _prerm(self) -> str:
        """The script before removal, which dpkg also runs before an upgrade (`upgrade`, `deconfigure`, ...)."""
        removal = self._remove_links(root="$DPKG_ROOT")
        return f'#!/bin/sh\nset -e\nif [ "$1" = remove ]; then\n{removal}fi\nexit 0\n'

    def _remove_links(self, *, root: str = "") -> str:
        """Take away links of grid-default-ca that would lead nowhere, below the directory `root` (shell text)."""
        links = " ".join(_LINKS)
        return (
            f"for name in {links}; do\n"
            f'    link="{root}/etc/grid-security/$name"\n'
            f'    case "$(readlink "$link" 2>/dev/null)" in\n'
            f'        */"$name.{self.hash}") rm -f "$link" ;;\n'
            "    esac\n"
            "done\n"
        )

    def _spec(self) -> str:
        names = sorted(self.contents)
        install = "".join(f'install -m 0644 "{name}" "%{{buildroot}}{INSTALL_DIR}/{name}"\n' for name in names)
        about = "\n".join(self._about)
        listed = "".join(f"{INSTALL_DIR}/{name}\n" for name in names)
        return f"""\
# rpmbuild -tb {self.tarball_name}
Name: {self.name}
Version: {self.version}
Release: 1
Summary: Trust in {self._subject}
License: Public Domain
Source: {self.tarball_name}
BuildArch: noarch

%description
{about}
{self._subject}

%prep
%setup -q -n {self.name}

%build

%install
install -d -m 0755 "%{{buildroot}}{INSTALL_DIR}"
{install}
%preun
if [ "$1" = 0 ]; then
{self._remove_links()}fi

%files
%defattr(0644,root,root,0755)
{listed}"""

    @property
    def _subject(self) -> str:
        """The CA's name without what means something in a spec file."""
        return oneline(self.certificate.subject_der).replace("%", "%%")
