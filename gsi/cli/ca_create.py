"""The command `grid-ca-create`: make a certification authority in a directory; installs nothing anywhere else.

Agrees with gct:gsi/simple_ca/source/scripts/grid-ca-create.in in options, layout and exit status, so that the C tools
and `openssl ca` work with what it makes. Unlike it, writes only below its directory (the C script installs the new CA
into /etc/grid-security/certificates when it may), removes no CA that is there, and has no default pass phrase.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from gsi.cli.arguments import SECRET_SOURCES, CommandParser, Completion, UsageError, count, secret_source
from gsi.cli.run import EXIT_OK, printable, run, warn
from gsi.errors import ConflictError, CredentialError, CredentialProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.ca.directory import CADirectory
    from gsi.ca.signer import Signer
    from gsi.cli.arguments import Namespace
    from gsi.secret import Passphrase

__all__ = ["MIN_PASSPHRASE_BYTES", "build_parser", "main"]

PROG = "grid-ca-create"

MIN_PASSPHRASE_BYTES = 4
"""What `openssl`, and so the C script, insists on."""

DEFAULT_DAYS = 5 * 365
MAX_DAYS = 100 * 365
DEFAULT_BITS = 4096
KEY_TYPES = ("rsa", "p256", "p384", "ed25519")


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = _CAParser(
        PROG,
        "make a certification authority",
        usage=("[options]",),
        help_names=("-help", "-usage", "-h", "-?"),
        versions=True,
    )
    parser.section("What openssl has").flag("-openssl-help", text="say why no option of openssl req is taken")
    what = parser.section("The authority")
    what.value(
        "-dir",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        text="the directory to make it in (default: ~/.globus/simpleCA)",
    )
    what.value(
        "-subject",
        metavar="NAME",
        text="its name, as cn=Grid CA,ou=Test,o=Grid or /O=Grid/OU=Test/CN=Grid CA (default: one of this host)",
    )
    what.value(
        "-email", metavar="ADDRESS", text="where certificate requests are sent (default: this user at this host)"
    )
    what.value(
        "-days",
        metavar="DAYS",
        convert=functools.partial(count, minimum=1, maximum=MAX_DAYS),
        text=f"how long it lasts (default: {DEFAULT_DAYS})",
    )
    key = parser.section("Its key")
    key.value(
        "-key-type",
        metavar="TYPE",
        choices=KEY_TYPES,
        default="rsa",
        text="rsa (the default: the C tools need it), p256, p384 or ed25519",
    )
    key.value(
        "-bits", metavar="BITS", convert=count, text=f"size of an RSA key: 2048, 3072 or {DEFAULT_BITS} (default)"
    )
    key.value(
        "-pass",
        dest="passphrase",
        metavar="SOURCE",
        convert=secret_source,
        text=f"where the key's pass phrase comes from: {SECRET_SOURCES}",
    )
    key.flag("-nopassphrase", "-nopw", "-nodes", text="leave the key open; whoever reads its file can use it")
    key.value(
        "-keyfile",
        metavar="PLACE",
        text="use a key that exists: a file, or a pkcs11: URI; with a token the key never leaves it",
    )
    how = parser.section("How it runs")
    how.flag("-noint", text="ask nothing but the pass phrase: take the defaults")
    how.flag("-force", text="put a CA that is there aside, into DIR/old-TIME, and make a new one")
    how.flag("-nobuild", text="make no package for sites; grid-ca-package makes one later")
    how.flag("-verbose", text="name every file that is written")
    how.flag("-q", dest="quiet", text="print only warnings and errors")
    how.flag("-json", text="print what was made as one JSON object")
    return parser


class _CAParser(CommandParser):
    """A parser that tells those used to the C script why options for `openssl req` are not passed on."""

    def error(self, message: str) -> None:  # type: ignore[override]  # never returns, as the original
        """Refuse the command line.

        Raises:
            UsageError: Always.
        """
        words = message.removeprefix("unrecognized arguments: ").split()
        if words and words[0].lstrip("-") in {"newkey", "config", "extensions", "set_serial", "x509"}:
            raise UsageError(
                f"{words[0]}: no option of openssl is taken, because no openssl is run",
                hint=f"'{self.prog} -help' lists the options",
            )
        super().error(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


class _Wanted(NamedTuple):
    """What is to be made."""

    subject_der: bytes
    email: str
    days: int


def _execute(arguments: Namespace) -> int:
    if arguments.openssl_help:
        sys.stdout.write(f"No option of openssl is taken, since none is run. '{PROG} -help' lists the options.\n")
        return EXIT_OK
    from datetime import timedelta

    from gsi.ca.directory import CADirectory
    from gsi.ca.root import make_root
    from gsi.ca.setup import CASetup, setup_files
    from gsi.system.clock import now

    _check(arguments)
    directory = _directory(arguments)
    aside = _check_place(directory, force=arguments.force)
    wanted = _ask(arguments)
    setup = CASetup(wanted.subject_der, wanted.email)
    texts = setup_files(setup, directory=directory)
    if not arguments.quiet and arguments.key_type != "rsa" and arguments.keyfile is None:
        warn(PROG, "the C tools cannot make proxies for users of a CA whose key is not RSA", hint="-key-type rsa")
    signer, key_files = _make_key(arguments)
    moment = now()
    root = make_root(signer, wanted.subject_der, now=moment, lifetime=timedelta(days=wanted.days))
    files = {"cacert.pem": (root.pem(), 0o644), **key_files}
    files |= {name: (data, 0o644) for name, data in texts.items()}
    old = f"old-{moment:%Y%m%dT%H%M%SZ}" if aside else None
    if old is not None:
        _put_aside(directory, old)
    try:
        made = CADirectory.create(directory, files)
    except BaseException:
        if old is not None:
            _put_back(directory, old)
        raise
    package = None if arguments.nobuild else _make_package(made)
    if arguments.verbose and not arguments.json:
        for name in sorted(files):
            sys.stdout.write(f"wrote {printable(made.file(name))}\n")
    _report(arguments, made, package)
    return EXIT_OK


def _check(arguments: Namespace) -> None:
    """Refuse options that contradict one another.

    Raises:
        UsageError: They do.
    """
    if arguments.nopassphrase and arguments.passphrase is not None:
        raise UsageError("-nopassphrase and -pass are mutually exclusive")
    if arguments.bits is not None and (arguments.key_type != "rsa" or arguments.keyfile is not None):
        raise UsageError("-bits goes with a new RSA key alone")
    if arguments.keyfile is not None and arguments.keyfile.startswith("program:"):
        raise UsageError("-keyfile: a program cannot be asked for its public key, so no CA can be made with it")


def _directory(arguments: Namespace) -> str:
    from gsi.system.environ import read_locations

    if arguments.dir:
        return os.path.abspath(str(arguments.dir))
    home = read_locations().home
    if home is None:
        raise UsageError("there is no home directory to make the CA in", hint="name a directory with -dir")
    return os.path.join(home, ".globus", "simpleCA")


def _check_place(directory: str, *, force: bool) -> bool:
    """Tell whether an older CA must be put aside.

    Raises:
        ConflictError: There is one, or something else, and it is to be kept.
    """
    try:
        present = os.listdir(directory)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CredentialError(
            f"{directory}: {error.strerror}", problem=CredentialProblem.UNWRITABLE, path=directory
        ) from error
    names = [name for name in present if not name.startswith("old-")]
    if not names:
        return False
    if "cacert.pem" not in names:
        hint = "name another with -dir"
        broken_off = max((name for name in present if name.startswith("old-")), default=None)
        if broken_off is not None:
            hint = f"where an earlier -force was broken off, move what is in {broken_off} back, cacert.pem last"
        raise ConflictError(f"{directory}: is there already, and is no CA's directory", hint=hint)
    if not force:
        raise ConflictError(
            f"{directory}: there is a CA already",
            hint="-force puts it aside, into a directory old-TIME within; -dir names another place",
        )
    return True


def _put_aside(directory: str, name: str) -> None:
    """Move what an older CA has left into a directory of its own; nothing is removed."""
    target = os.path.join(directory, name)
    try:
        os.mkdir(target, 0o700)
        # The certificate goes first: what is left without it is no CA, however far this gets.
        rest = sorted(os.listdir(directory), key=lambda one: one != "cacert.pem")
        for one in rest:
            if not one.startswith("old-"):
                os.rename(os.path.join(directory, one), os.path.join(target, one))
    except OSError as error:
        raise CredentialError(
            f"{directory}: the old CA cannot be put aside: {error.strerror}",
            problem=CredentialProblem.UNWRITABLE,
            path=directory,
            hint=f"what was moved is in {target}",
        ) from error


def _put_back(directory: str, name: str) -> None:
    """Undo `_put_aside` when nothing came of the new CA; the certificate comes last."""
    source = os.path.join(directory, name)
    with contextlib.suppress(OSError):  # why the new one was not made is the news, and nothing is lost
        for one in sorted(os.listdir(source), key=lambda one: one == "cacert.pem"):
            os.rename(os.path.join(source, one), os.path.join(directory, one))
        os.rmdir(source)


# --- questions -------------------------------------------------------------------------------------------------------


def _ask(arguments: Namespace) -> _Wanted:
    """Gather name, address and lifetime; ask for what is not given unless -noint forbids it."""
    from gsi.cli.ca_files import parse_name

    host = os.uname().nodename
    subject = arguments.subject or f"cn=Globus Simple CA, ou=simpleCA-{host}, ou=GlobusTest, o=Grid"
    email = arguments.email or f"{_user_name()}@{host}"
    days = arguments.days or DEFAULT_DAYS
    if not arguments.noint:
        if arguments.subject is None:
            subject = _question("The unique subject name for this CA", subject)
        if arguments.email is None:
            email = _question("The e-mail address that certificate requests are sent to", email)
        if arguments.days is None:
            answer = _question("The number of days that the CA's certificate lasts", str(days))
            try:
                days = count(answer, minimum=1, maximum=MAX_DAYS)
            except ValueError as error:
                raise UsageError(f"the lifetime {error}") from error
    return _Wanted(parse_name(subject), email, days)


def _question(text: str, default: str) -> str:
    """Ask on standard error and read a line of standard input; an empty one means the default."""
    sys.stderr.write(f"{text}\n[{printable(default)}]: ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        sys.stderr.write("\n")
        raise UsageError("standard input ended before every question was answered", hint="-noint takes the defaults")
    return line.strip() or default


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "ca"


# --- the key ---------------------------------------------------------------------------------------------------------


def _make_key(arguments: Namespace) -> tuple[Signer, dict[str, tuple[bytes, int]]]:
    """Return the CA's key, and the files it is to be kept in."""
    from gsi.ca.signer import KeySigner, load_signer
    from gsi.keys import KeyType, encode_private_key, generate_key

    if arguments.keyfile is not None:
        place = arguments.keyfile if ":" in arguments.keyfile else os.path.abspath(arguments.keyfile)
        signer = load_signer(place, passphrase=lambda: _old_passphrase(arguments))
        return signer, {"private/keyfile": (f"{place}\n".encode(), 0o600)}
    passphrase = _new_passphrase(arguments)
    key = generate_key(KeyType(arguments.key_type), bits=arguments.bits or DEFAULT_BITS)
    return KeySigner(key), {"private/cakey.pem": (encode_private_key(key, passphrase=passphrase), 0o600)}


def _old_passphrase(arguments: Namespace) -> Passphrase:
    from gsi.cli.secret_source import read_secret

    return read_secret(arguments.passphrase, "Enter pass phrase of the CA's key:", option="-pass")


def _new_passphrase(arguments: Namespace) -> Passphrase | None:
    from gsi.cli.secret_source import read_new_secret

    if arguments.nopassphrase:
        return None
    try:
        return read_new_secret(
            arguments.passphrase,
            "Enter a pass phrase for the CA's key:",
            option="-pass",
            minimum=MIN_PASSPHRASE_BYTES,
        )
    except CredentialError as error:
        if error.problem is CredentialProblem.NEEDS_PASSPHRASE and arguments.passphrase is None:
            error.hint = "give it with -pass file:PATH, fd:NUMBER or stdin, or leave the key open with -nopassphrase"
        raise


# --- what was made ---------------------------------------------------------------------------------------------------


def _make_package(made: CADirectory) -> str:
    from gsi.ca.package import CAPackage
    from gsi.cli.ca_files import find_package_files
    from gsi.system.files import write_public

    package = CAPackage(made.certificate, find_package_files(made.path, made.hash, is_ca_directory=True))
    path = made.file(package.tarball_name)
    write_public(path, package.tarball())
    return path


def _report(arguments: Namespace, made: CADirectory, package: str | None) -> None:
    from gsi.lifetime import asctime
    from gsi.names import oneline

    subject = oneline(made.certificate.subject_der)
    if arguments.json:
        import json

        found = {
            "directory": made.path,
            "subject": subject,
            "hash": made.hash,
            "not_after": made.certificate.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "sha256": made.certificate.fingerprint,
            "key": made.key_place,
            "package": package,
        }
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    elif not arguments.quiet:
        sys.stdout.write(f"directory: {printable(made.path)}\nsubject  : {subject}\nhash     : {made.hash}\n")
        sys.stdout.write(f"until    : {asctime(made.certificate.not_after)}\n")
        if package is not None:
            sys.stdout.write(f"package  : {printable(package)}\n")


if __name__ == "__main__":
    sys.exit(main())
