"""The command `kx509`: a certificate for a Kerberos ticket; `kca.client` gets it, `kca.stores` keeps it.

Agrees with Michigan's kx509 in where the certificate is kept (the credential cache), in `-c`, `-d`, `-s`, `-t`, `-k`,
`-b` and KCA_HOST_LIST, with Heimdal's `heimtools kx509` in `-cache`, `-out`, `-realm`, `-csr`, `-private-key`,
`-extract` and `-test`. New is `-proxy`: no certificate is kept, but a proxy made with it where every grid program
looks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, UsageError, count, duration
from gsi.cli.run import EXIT_OK, printable, run, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.certificate import Certificate
    from gsi.cli.arguments import Namespace
    from gsi.credential import Credential
    from gsi.keys import KeyType, PrivateKey
    from kca.client import Obtained, Wish

__all__ = ["build_parser", "main"]

PROG: Final = "kx509"
KEY_TYPES: Final = ("p256", "p384", "rsa")
BITS: Final = (2048, 3072, 4096)
FORMS: Final = ("auto", "csr", "rsa")
MAX_SECONDS: Final = 600
MAX_KEY_FILE_BYTES: Final = 1 << 16
_PREFIXES: Final = ("PEM-FILE:", "FILE:")


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(PROG, "get a certificate for a Kerberos ticket")
    section = parser.section("Which service")
    section.value(
        "-host",
        "-s",
        metavar="HOST[:PORT]",
        repeatable=True,
        text="the service; else KCA_HOST_LIST, krb5.conf, DNS, and the realm's KDCs are asked for one",
    )
    section.value("-realm", "-R", metavar="REALM", text="the realm of the service (that of the tickets)")
    section.value(
        "-service", metavar="PRINCIPAL", text="the principal to get a ticket for (kca_service/HOST, of each host)"
    )
    section.flag("-udp", text="send by UDP only")
    section.flag("-tcp", text="send by TCP only")
    section.value(
        "-timeout", metavar="SECONDS", convert=_seconds, default=10, text="how long to wait for one service (10)"
    )
    section = parser.section("Which ticket")
    section.value(
        "-cache",
        "-c",
        metavar="CCACHE",
        completion=Completion.FILE,
        text="the credential cache (KRB5CCNAME, or what krb5.conf says)",
    )
    section = parser.section("Which key")
    section.value(
        "-form",
        metavar="FORM",
        choices=FORMS,
        default="auto",
        text="how the key is sent: csr, in a request; rsa, bare, for old services; auto, one after the other",
    )
    section.value(
        "-key-type",
        metavar="TYPE",
        choices=KEY_TYPES,
        text="kind of the new key: p256 (default), p384, or rsa (default with -proxy, as C programs need it)",
    )
    section.value(
        "-bits",
        metavar="B",
        convert=_bits,
        suggestions=[str(bits) for bits in BITS],
        default=2048,
        text="size of an RSA key: 2048 (default), 3072 or 4096",
    )
    section.value(
        "-private-key", "-K", metavar="FILE", completion=Completion.FILE, text="use the key in this file (PEM)"
    )
    section.value(
        "-csr",
        "-C",
        metavar="FILE",
        completion=Completion.FILE,
        text="send this certificate request (PEM or DER), whose key is somewhere else; needs -out or -t",
    )
    section = parser.section("What becomes of it")
    section.flag("-proxy", text="write a proxy made with it, and keep neither certificate nor key")
    section.value(
        "-valid", metavar="H:M", convert=duration, text="lifetime of the proxy (as long as the certificate is good)"
    )
    section.flag("-limited", text="make a limited proxy")
    section.value(
        "-out",
        "-o",
        "-b",
        metavar="FILE",
        completion=Completion.FILE,
        text="write certificate, key and chain to this file, or with -proxy the proxy; - is standard output",
    )
    section.value(
        "-t",
        dest="certificate_file",
        metavar="FILE",
        completion=Completion.FILE,
        text="write the certificate (- as above)",
    )
    section.value("-k", dest="key_file", metavar="FILE", completion=Completion.FILE, text="write the key (- as above)")
    section.flag("-no-cache", text="do not put it into the credential cache")
    section.flag("-extract", "-x", text="ask nobody: write what the credential cache has to -out, -t or -k")
    section.flag("-test", text="only ask whether a certificate would be issued")
    section.flag("-quiet", "-q", text="print only errors")
    section.flag("-d", dest="verbose", text="tell on standard error what is done")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _seconds(text: str) -> int:
    return count(text, minimum=1, maximum=MAX_SECONDS)


def _bits(text: str) -> int:
    if text not in map(str, BITS):
        raise ValueError(f"'{text}' is not one of {', '.join(map(str, BITS))}")
    return int(text)


def _execute(arguments: Namespace) -> int:
    _check_combinations(arguments)
    if arguments.extract:
        return _extract(arguments)

    from gsi.system.clock import now
    from kca.client import obtain, probe
    from kca.stores import open_store

    with open_store(arguments.cache) as store:
        realm = arguments.realm or store.owner.realm
        if not (arguments.test or arguments.proxy or arguments.no_cache or arguments.csr):
            store.check_writable()
    if not arguments.test:
        _check_places(arguments)
    wish = _wish(arguments)
    if arguments.test:
        endpoint = probe(wish, realm=realm)
        if not arguments.quiet:
            sys.stdout.write(f"{endpoint} would issue a certificate\n")
        return EXIT_OK
    obtained = obtain(wish, now=now(), tell=_Teller(loud=arguments.verbose), realm=realm)
    _keep(arguments, obtained, realm)
    return EXIT_OK


# --- What was asked for ----------------------------------------------------------------------------------------------


def _check_combinations(arguments: Namespace) -> None:
    """Refuse options that contradict one another.

    Raises:
        UsageError: With what to write instead.
    """
    hint = f"'{PROG} -help' lists the options"
    writes = arguments.out or arguments.certificate_file or arguments.key_file
    if arguments.udp and arguments.tcp:
        raise UsageError("-udp and -tcp are mutually exclusive; without either both are used", hint=hint)
    if arguments.csr and (arguments.private_key or arguments.key_type or arguments.proxy or arguments.key_file):
        raise UsageError("with -csr the key is somewhere else, so there is nothing to make or write with it", hint=hint)
    if arguments.csr and not writes:
        raise UsageError("-csr needs a place for the certificate", hint="-out FILE, or -t FILE")
    if arguments.csr and arguments.form == "rsa":
        raise UsageError("-csr is sent as it is, and -form rsa would send a bare key", hint=hint)
    if arguments.private_key and arguments.key_type:
        raise UsageError("-private-key brings a key, -key-type makes one", hint=hint)
    if arguments.form == "rsa" and arguments.key_type not in {None, "rsa"}:
        raise UsageError(f"-form rsa cannot send a key of the kind {arguments.key_type}", hint=hint)
    if not arguments.proxy and (arguments.valid is not None or arguments.limited):
        raise UsageError("-valid and -limited are for -proxy", hint=hint)
    if arguments.no_cache and not (writes or arguments.proxy or arguments.test or arguments.extract):
        raise UsageError("-no-cache leaves no place for the certificate", hint="-out, -t with -k, or -proxy")
    if arguments.extract and not writes and not arguments.proxy:
        raise UsageError("-extract needs a place to write to", hint="-out, -t, -k or -proxy")


def _check_places(arguments: Namespace) -> None:
    """Find out before anybody is asked whether there are places for what is to come.

    Raises:
        CredentialError: There are not.
    """
    import os

    from gsi.errors import CredentialError, CredentialProblem

    for name in (arguments.out, arguments.certificate_file, arguments.key_file):
        place = "-" if name is None else _plain(name)
        directory = os.path.dirname(place) or "."
        if place != "-" and not os.access(directory, os.W_OK | os.X_OK):
            what = "nothing can be written there" if os.path.isdir(directory) else "no such directory"
            raise CredentialError(
                f"{place}: cannot be written: {what}", problem=CredentialProblem.UNWRITABLE, path=place
            )


def _wish(arguments: Namespace) -> Wish:
    from kca.client import KeyForm, Wish

    return Wish(
        hosts=tuple(arguments.host),
        realm=arguments.realm,
        service=arguments.service,
        ccache=arguments.cache,
        form=KeyForm(arguments.form),
        key_type=_key_type(arguments),
        key_bits=arguments.bits,
        key=_load_key(arguments.private_key),
        request_der=_load_request(arguments.csr),
        timeout=float(arguments.timeout),
        udp=not arguments.tcp,
        tcp=not arguments.udp,
    )


def _key_type(arguments: Namespace) -> KeyType | None:
    """Return the kind of key to make: with a proxy RSA, as C programs cannot delegate with, or below, another."""
    from gsi.keys import KeyType

    if arguments.key_type is not None:
        return KeyType(arguments.key_type)
    return KeyType.RSA if arguments.proxy else None


class _Teller:
    """Tells of each step, if that is wanted."""

    def __init__(self, *, loud: bool) -> None:
        self._loud = loud

    def __call__(self, text: str) -> None:
        if self._loud:
            sys.stderr.write(f"{PROG}: {printable(text)}\n")


def _load_key(path: str | None) -> PrivateKey | None:
    if path is None:
        return None
    from gsi.cli.prompt import ask_passphrase
    from gsi.errors import CredentialError, CredentialProblem
    from gsi.keys import is_encrypted, parse_private_key
    from gsi.pem import split_pem
    from gsi.system.files import read_private

    for block in split_pem(read_private(_plain(path), max_bytes=MAX_KEY_FILE_BYTES), what=path):
        if block.label.endswith("PRIVATE KEY"):
            passphrase = ask_passphrase(f"Enter pass phrase for {path}:") if is_encrypted(block) else None
            return parse_private_key(block, passphrase)
    raise CredentialError(f"{path}: no private key in it", problem=CredentialProblem.KEY_MISSING, path=path)


def _load_request(path: str | None) -> bytes | None:
    if path is None:
        return None
    from gsi.ca.request import load_request
    from gsi.system.files import read_public

    path = path.removeprefix("PKCS10:")
    return load_request(read_public(path, max_bytes=1 << 20), what=path).der


def _plain(path: str) -> str:
    """Return a file's name without the kind that Heimdal's programs put in front."""
    for prefix in _PREFIXES:
        if path.startswith(prefix):
            return path.removeprefix(prefix)
    return path


# --- What becomes of it ----------------------------------------------------------------------------------------------


def _keep(arguments: Namespace, obtained: Obtained, realm: str) -> None:
    if arguments.proxy:
        place = _write_proxy(arguments, obtained.credential)
    else:
        if obtained.key is not None and not arguments.no_cache:
            from kca.stores import open_store

            with open_store(arguments.cache) as store:
                store.save(obtained.key, obtained.chain, realm=realm)
                place = store.name
        else:
            place = ""
        place = _write_files(arguments, obtained.key, obtained.chain) or place
    if not arguments.quiet and not _is_printed(arguments):
        _tell(obtained.chain[0], place)


def _is_printed(arguments: Namespace) -> bool:
    """Say whether standard output has the credential, so that nothing else belongs there."""
    return "-" in {arguments.out, arguments.certificate_file, arguments.key_file}


def _extract(arguments: Namespace) -> int:
    from gsi.errors import CredentialError, CredentialProblem
    from kca.stores import open_store

    with open_store(arguments.cache) as store:
        found = store.find()
        if found is None:
            raise CredentialError(
                f"no certificate in the credential cache {store.name}",
                problem=CredentialProblem.MISSING,
                hint="kx509 gets one",
            )
    if arguments.proxy:
        place = _write_proxy(arguments, found.credential)
    else:
        place = _write_files(arguments, found.key, found.chain)
    if not arguments.quiet and not _is_printed(arguments):
        _tell(found.chain[0], place)
    return EXIT_OK


def _write_proxy(arguments: Namespace, credential: Credential) -> str:
    """Make a proxy and write it; return where it is."""
    from datetime import timedelta

    from gsi.keys import KeyType
    from gsi.lifetime import asctime
    from gsi.proxy.issue import ProxyOptions, make_proxy
    from gsi.proxy.kinds import ProxyKind
    from gsi.system.clock import now
    from gsi.system.environ import read_locations

    options = ProxyOptions(
        kind=ProxyKind.LIMITED if arguments.limited else None,
        lifetime=timedelta(0) if arguments.valid is None else arguments.valid,
        key_type=_key_type(arguments) or KeyType.RSA,
        key_bits=arguments.bits,
    )
    present = now()
    proxy = make_proxy(credential, options, now=present)
    if arguments.valid is not None and proxy.not_after < present + arguments.valid - timedelta(seconds=1):
        warn(PROG, f"the proxy ends with the certificate, on {asctime(proxy.not_after)}")
    place = _plain(arguments.out) if arguments.out else read_locations().proxy
    _write(place, proxy.encode())
    return place


def _write_files(arguments: Namespace, key: PrivateKey | None, chain: tuple[Certificate, ...]) -> str:
    """Write what was asked for; return the last place."""
    from gsi.credential import Credential, order_chain
    from gsi.keys import encode_private_key
    from gsi.system.files import write_public

    place = ""
    if arguments.certificate_file:
        place = _plain(arguments.certificate_file)
        if place == "-":
            _write(place, chain[0].pem())
        else:
            write_public(place, chain[0].pem())
    if arguments.key_file and key is not None:
        _write(_plain(arguments.key_file), encode_private_key(key))
    if arguments.out:
        place = _plain(arguments.out)
        if key is None:
            data = b"".join(one.pem() for one in (chain[0], *order_chain(chain[0], chain[1:])))
        else:
            data = Credential(key, chain[0], order_chain(chain[0], chain[1:])).encode()
        _write(place, data)
    return place


def _write(place: str, data: bytes) -> None:
    from gsi.system.files import write_private

    if place == "-":
        sys.stdout.buffer.write(data)
    else:
        write_private(place, data)


def _tell(certificate: Certificate, place: str) -> None:
    from gsi.lifetime import asctime
    from gsi.names import oneline

    sys.stdout.write(f"Your identity: {printable(oneline(certificate.subject_der))}\n")
    sys.stdout.write(f"Valid until: {asctime(certificate.not_after)}\n")
    if place:
        sys.stdout.write(f"Written to: {printable(place)}\n")


if __name__ == "__main__":
    sys.exit(main())
