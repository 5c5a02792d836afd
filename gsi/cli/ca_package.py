"""The command `grid-ca-package`: pack a CA's trust files for other machines; installs nothing.

Agrees with gct:gsi/simple_ca/source/scripts/grid-ca-package.in in options, the tar.gz's name and exit status. The
packages are the same byte for byte whenever the CA is the same, and nothing is written but them.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import CommandParser, Completion, UsageError
from gsi.cli.run import EXIT_OK, printable, run
from gsi.errors import CredentialError, CredentialProblem, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.ca.package import CAPackage
    from gsi.cli.arguments import Namespace

__all__ = ["build_parser", "main"]

PROG = "grid-ca-package"
RPM_SECONDS = 120.0
MAX_RPM_BYTES = 16 << 20


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "pack a CA's trust files for other machines",
        usage=("[-ca HASH | -cadir DIR] [-d] [-r] [-out DIR]",),
        help_names=("-help", "-usage", "-h", "-?"),
        versions=True,
    )
    which = parser.section("Which CA")
    which.value("-ca", metavar="HASH", text="the CA of this hash in the trust directory (default: ask)")
    which.value(
        "-cadir", metavar="DIR", completion=Completion.DIRECTORY, text="the CA in this directory of grid-ca-create"
    )
    what = parser.section("What to make, besides the tar.gz")
    what.flag("-d", dest="deb", text="a Debian package")
    what.flag("-r", dest="rpm", text="an RPM, by rpmbuild")
    what.value("-crl-url", metavar="URL", text="put the CRL's place in, for grid-fetch-crl and fetch-crl")
    what.value("-package-version", metavar="VERSION", default="1.0", text="the packages' version (default: 1.0)")
    how = parser.section("How it runs")
    how.value(
        "-out",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        default=".",
        text="where the packages are written (default: the working directory)",
    )
    how.flag("-q", dest="quiet", text="print only errors")
    how.flag("-json", text="print what was made as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _execute(arguments: Namespace) -> int:
    from gsi.names import oneline
    from gsi.system.files import write_public

    if arguments.ca is not None and arguments.cadir is not None:
        raise UsageError("-ca and -cadir are mutually exclusive")
    if not os.path.isdir(arguments.out):
        raise CredentialError(
            f"{arguments.out}: no such directory", problem=CredentialProblem.UNWRITABLE, path=arguments.out
        )
    rpmbuild = _find_rpmbuild() if arguments.rpm else None
    package = _gather(arguments)
    made = [(package.tarball_name, package.tarball())]
    if arguments.deb:
        made.append((package.deb_name, package.deb()))
    if rpmbuild is not None:
        made.append(_build_rpm(rpmbuild, package))
    paths = [os.path.join(arguments.out, name) if arguments.out != "." else name for name, _ in made]
    for path, (_, data) in zip(paths, made, strict=True):
        write_public(path, data)
    if arguments.json:
        import json

        subject = oneline(package.certificate.subject_der)
        found = {"hash": package.hash, "subject": subject, "files": sorted(package.contents), "packages": paths}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    elif not arguments.quiet:
        for path in paths:
            sys.stdout.write(f"{printable(path)}\n")
    return EXIT_OK


def _gather(arguments: Namespace) -> CAPackage:
    from gsi.ca.directory import CADirectory
    from gsi.ca.package import CAPackage
    from gsi.cli.ca_files import choose_authority, find_authority, find_package_files, trust_directories

    if arguments.crl_url is not None:
        _check_crl_url(arguments.crl_url)
    if arguments.cadir is not None:
        ca = CADirectory(arguments.cadir)
        certificate, ca_hash = ca.certificate, ca.hash
        files = find_package_files(ca.path, ca_hash, is_ca_directory=True)
    else:
        directories = trust_directories()
        if arguments.ca is None:
            found = choose_authority(directories, "Enter the index number of the CA to package [q to quit]: ")
        else:
            found = find_authority(arguments.ca, directories)
        certificate, ca_hash = found.certificate, found.hash
        files = find_package_files(found.directory, ca_hash, is_ca_directory=False)
    if arguments.crl_url is not None:
        files[f"{ca_hash}.crl_url"] = f"{arguments.crl_url}\n".encode()
    package = CAPackage(certificate, files, version=arguments.package_version)
    if package.hash != ca_hash:  # a file by the old hash; the names inside would not fit
        raise NotFoundError(f"{ca_hash}.0 is not named after its CA, whose hash is {package.hash}")
    return package


def _check_crl_url(url: str) -> None:
    """Refuse a place that grid-fetch-crl at the sites would not fetch from.

    Raises:
        UsageError: It is no URL, one of another scheme, or with a fragment, which a .crl_url file takes for a comment.
    """
    from gsi.errors import ParseError
    from gsi.transport.http import parse_url
    from gsi.trust.crl_sources import is_url

    hint = "name the place by http, https or file, like http://ca.example.org/ca.crl"
    if not is_url(url) or not url.isascii() or "#" in url:
        raise UsageError(f"-crl-url {url}: grid-fetch-crl does not fetch from there", hint=hint)
    if not url.lower().startswith("file:///"):
        try:
            parse_url(url)
        except ParseError as error:
            raise UsageError(f"-crl-url: {error.message}", hint=hint) from error


def _find_rpmbuild() -> str:
    """Return the path of rpmbuild.

    Raises:
        NotFoundError: It is not installed.
    """
    import shutil

    found = shutil.which("rpmbuild")
    if found is None:
        raise NotFoundError(
            "rpmbuild is not installed, so no RPM can be made",
            hint="install the package rpm-build (rpm on Debian), or build the tar.gz there: rpmbuild -tb FILE",
        )
    return found


def _build_rpm(rpmbuild: str, package: CAPackage) -> tuple[str, bytes]:
    """Return name and content of the RPM; rpmbuild works in a temporary directory of its own."""
    import tempfile

    from gsi.ca.program import run_program
    from gsi.system.files import read_public, write_public

    with tempfile.TemporaryDirectory(prefix="grid-ca-package.") as top:
        source = os.path.join(top, package.tarball_name)
        write_public(source, package.tarball())
        settings = {
            "_topdir": top,
            "_rpmdir": top,
            "_build_name_fmt": "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm",
            "_buildhost": "localhost",
            "use_source_date_epoch_as_buildtime": "1",
            "source_date_epoch_from_changelog": "0",
        }
        defines = [word for name, value in settings.items() for word in ("--define", f"{name} {value}")]
        run_program([rpmbuild, "-tb", *defines, source], stdin=b"", seconds=RPM_SECONDS, max_bytes=MAX_RPM_BYTES)
        found = [name for name in os.listdir(top) if name.endswith(".rpm")]
        if len(found) != 1:
            raise NotFoundError("rpmbuild ended well, but made no RPM")
        return found[0], read_public(os.path.join(top, found[0]), max_bytes=MAX_RPM_BYTES)


if __name__ == "__main__":
    sys.exit(main())
