"""The command `grid-cert-request`: make a key and a certificate request; the request itself is `gsi.request`'s.

Agrees with gct:gsi/cert_utils/source/programs/grid-cert-request.in in options, variables, files, the subject it makes
from the CA's configuration, and exit status. Unlike it, runs no shell code from that configuration, loses no file with
-force, and asks for the host as an alternative name, too, since clients stopped reading common names.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from gsi.cli.arguments import SECRET_SOURCES, CommandParser, Completion, UsageError, count, secret_source
from gsi.cli.run import EXIT_OK, printable, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from gsi.cli.request_files import Moved, RequestFiles
    from gsi.cli.request_words import RequestWords
    from gsi.keys import PrivateKey
    from gsi.secret import Passphrase
    from gsi.system.environ import Locations
    from gsi.system.request_config import RequestPlaces, RequestProfile

__all__ = ["build_parser", "main"]

PROG = "grid-cert-request"

KEY_TYPES = ("rsa", "p256", "p384", "ed25519")
BITS = (2048, 3072, 4096)
MIN_PASSPHRASE_BYTES = 4
"""What `openssl`, and so the C script, insists on."""


class _Parser(CommandParser):
    """Takes `-ca` without a value, too, as the C script does: then it asks which one."""

    def parse_known_args(  # type: ignore[override]  # as in CommandParser
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Give a `-ca` that stands alone an empty value."""
        words = list(sys.argv[1:] if args is None else args)
        for place in range(len(words) - 1, -1, -1):
            if words[place] in {"-ca", "--ca"} and (place + 1 == len(words) or words[place + 1].startswith("-")):
                words.insert(place + 1, "")
        return super().parse_known_args(words, namespace)


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = _Parser(
        PROG,
        "make a private key and a certificate request",
        usage=("[-cn NAME] [options]", "[-service SERVICE] -host FQDN [options]"),
        help_names=("-help", "-usage", "-h", "-?"),
        versions=True,
    )
    whose = parser.section("Whose certificate")
    whose.value("-cn", "-commonname", metavar="NAME", text="the common name; asked for if not given")
    whose.value("-host", metavar="FQDN", text="for this host: the common name is host/FQDN, the key has no pass phrase")
    whose.value("-service", metavar="SERVICE", text="for this service of the host: the common name is SERVICE/FQDN")
    whose.value(
        "-dns", metavar="FQDN,...", text="ask for these host names as alternative names (default: that of -host)"
    )
    whose.value("-ip", metavar="ADDRESS,...", text="ask for these IP addresses as alternative names")
    whose.flag("-interactive", "-int", text="ask for every part of the subject")
    authority = parser.section("Which CA")
    authority.value("-ca", metavar="[HASH]", text="the CA with this hash; without a hash, ask which")
    key = parser.section("The key")
    key.flag("-nopassphrase", "-nopw", "-nodes", text="do not lock the key with a pass phrase")
    key.value(
        "-passout",
        metavar="SOURCE",
        convert=secret_source,
        text=f"where the pass phrase of the key comes from: {SECRET_SOURCES}",
    )
    key.value(
        "-key-type",
        metavar="TYPE",
        choices=KEY_TYPES,
        default="rsa",
        text="kind of the key: rsa (default), p256, p384 or ed25519; C programs want rsa",
    )
    key.value(
        "-bits",
        metavar="B",
        convert=_bits,
        suggestions=[str(bits) for bits in BITS],
        text="size of an RSA key: 2048, 3072 or 4096 (default: what the CA's configuration says, at least 2048)",
    )
    files = parser.section("Files")
    files.value(
        "-dir",
        metavar="DIR",
        completion=Completion.DIRECTORY,
        text="where the files go (default: ~/.globus; of hosts and services, the security directory)",
    )
    files.value(
        "-prefix", metavar="PREFIX", text="name the files PREFIXcert.pem, PREFIXkey.pem, PREFIXcert_request.pem"
    )
    files.flag("-force", text="make new files although there are some, which get .old at the end of their names")
    how = parser.section("How it runs")
    how.flag("-verbose", text="tell which configuration is used")
    how.flag("-json", text="print what was made as one JSON object instead of directions for people")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


def _bits(text: str) -> int:
    bits = count(text)
    if bits not in BITS:
        raise ValueError(f"'{text}' is not one of {', '.join(map(str, BITS))}")
    return bits


def _execute(arguments: Namespace) -> int:
    from gsi.cli.request_questions import choose_ca
    from gsi.keys import encode_private_key
    from gsi.system.environ import read_locations
    from gsi.system.request_config import find_request_places, load_request_profile, load_settings

    whose = _whose(arguments)
    locations = read_locations()
    places = find_request_places(locations, ca_hash=choose_ca(arguments.ca, locations))
    configuration = places.user_conf if whose.is_user else places.host_conf
    if arguments.verbose:
        sys.stderr.write(f"{PROG}: using {printable(configuration)}\n")
    profile = load_request_profile(configuration)
    settings = load_settings(places.settings)
    files = _choose_files(arguments, whose, places, locations)
    files.check(force=arguments.force)
    names = _alternative_names(arguments, whose)
    subject_der, common_name = _subject(arguments, profile, whose)
    passphrase = _ask_passphrase(arguments) if whose.is_user and not arguments.nopassphrase else None
    key = _make_key(arguments, profile)
    words = _words(whose, subject_der, common_name, files, settings)
    directions = _read_directions(places.directions)
    key_pem = encode_private_key(key, passphrase=passphrase)
    request = _encode_request(key, subject_der, names, words.header(directions))
    moved = files.make_room(force=arguments.force)
    files.write(key_pem, request, moved)
    if arguments.json:
        _print_json(words, subject_der, names, key, moved)
    else:
        for one in moved:
            sys.stdout.write(f"Kept: {printable(one.backup)}\n")
        sys.stdout.write("".join(f"{printable(line)}\n" for line in words.instructions(directions).split("\n")[:-1]))
    return EXIT_OK


# --- What was asked for ----------------------------------------------------------------------------------------------


class _Whose(NamedTuple):
    """Whom the certificate is for."""

    service: str
    """`user`, `host` or a service's name."""
    host: str | None

    @property
    def is_user(self) -> bool:
        return self.service == "user"


class _Names(NamedTuple):
    """Alternative names to ask for."""

    dns: tuple[str, ...]
    addresses: tuple[bytes, ...]
    shown_addresses: tuple[str, ...]


def _whose(arguments: Namespace) -> _Whose:
    """Return whom the certificate is for.

    Raises:
        UsageError: A service without a host, or a host that nobody else can mean.
    """
    from gsi.cli.request_questions import confirm
    from gsi.request import check_host_name

    if arguments.nopassphrase and arguments.passout is not None:
        raise UsageError("-nopassphrase and -passout are mutually exclusive")
    if arguments.bits is not None and arguments.key_type != "rsa":
        raise UsageError(f"-bits is for RSA keys; -key-type {arguments.key_type} says the size already")
    if arguments.host is None:
        if arguments.service is not None:
            raise UsageError("-service needs the host, too", hint=f"{PROG} -service {arguments.service} -host FQDN")
        return _Whose("user", None)
    host = check_host_name(arguments.host)
    if "localhost" in host or "localdomain" in host:
        raise UsageError(f"-host: {arguments.host} is the name of every machine for itself", hint="give its full name")
    service = "host" if arguments.service is None else arguments.service.lower()
    if not service.replace("-", "").replace("_", "").isalnum() or not service.isascii() or service == "user":
        raise UsageError(f"-service: '{arguments.service}' cannot stand in file names", hint="letters and digits")
    if arguments.passout is not None:
        raise UsageError("the key of a host or service has no pass phrase", hint="leave out -passout")
    if "." not in host and arguments.cn is None and not confirm(f"{host} is not a full host name. Go on?"):
        raise UsageError(f"-host: {host} is not a full host name", hint="give it with its domain")
    return _Whose(service, host)


def _alternative_names(arguments: Namespace, whose: _Whose) -> _Names:
    from gsi.request import check_host_name

    names = [check_host_name(one.strip()) for one in (arguments.dns or "").split(",") if one.strip()]
    addresses: list[bytes] = []
    shown: list[str] = []
    for text in filter(None, (one.strip() for one in (arguments.ip or "").split(","))):
        import ipaddress

        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise UsageError(f"-ip: '{text}' is no IP address") from error
        addresses.append(address.packed)
        shown.append(str(address))
    if not names and not addresses and whose.host is not None:
        names = [whose.host]
    return _Names(tuple(dict.fromkeys(names)), tuple(addresses), tuple(shown))


def _choose_files(arguments: Namespace, whose: _Whose, places: RequestPlaces, locations: Locations) -> RequestFiles:
    import os

    from gsi.cli.request_files import choose_files

    if arguments.prefix is not None and "/" in arguments.prefix:
        raise UsageError("-prefix is the beginning of file names", hint="-dir names the directory")
    directory = arguments.dir
    if directory is None and whose.is_user:
        if locations.home is None:
            raise UsageError("there is no home directory", hint="name a directory with -dir")
        directory = os.path.join(locations.home, ".globus")
    elif directory is None:
        service = "" if whose.service == "host" else whose.service
        directory = os.path.join(places.directory, service).rstrip("/")
    return choose_files(whose.service, directory, arguments.prefix)


# --- The subject ------------------------------------------------------------------------------------------------------


def _subject(arguments: Namespace, profile: RequestProfile, whose: _Whose) -> tuple[bytes, str]:
    """Return the subject by the CA's configuration, and the common name in it.

    Raises:
        ConfigError: A value does not fit.
        UsageError: A value is missing.
    """
    from gsi import oids
    from gsi.cli.request_questions import ask_field, ask_line
    from gsi.request import encode_subject

    attributes = [
        (field.oid, ask_field(field) if arguments.interactive else field.default)
        for field in profile.fields
        if field.oid != oids.COMMON_NAME
    ]
    common_name = arguments.cn
    if common_name is None and not whose.is_user:
        common_name = f"{whose.service}/{whose.host}"
    if common_name is None or arguments.interactive:
        shown = f" [{common_name}]" if common_name else ", for example John Smith"
        common_name = ask_line(f"Common name{shown}:") or common_name
    if not common_name:
        raise UsageError("the name is empty", hint="-cn gives it")
    at = next((place for place, field in enumerate(profile.fields) if field.oid == oids.COMMON_NAME), len(attributes))
    attributes.insert(at, (oids.COMMON_NAME, common_name))
    given = [(oid, value) for oid, value in attributes if value]
    return encode_subject(given, printable=profile.printable), common_name


def _ask_passphrase(arguments: Namespace) -> Passphrase:
    from gsi.cli.secret_source import read_new_secret
    from gsi.errors import CredentialError, CredentialProblem

    passphrase = read_new_secret(arguments.passout, "Enter new pass phrase for the key:", option="-passout")
    if len(passphrase) < MIN_PASSPHRASE_BYTES:
        raise CredentialError(
            f"the pass phrase is shorter than {MIN_PASSPHRASE_BYTES} bytes",
            problem=CredentialProblem.WRONG_PASSPHRASE,
            hint="choose a longer one, or -nopassphrase for none",
        )
    return passphrase


# --- Making ----------------------------------------------------------------------------------------------------------


def _make_key(arguments: Namespace, profile: RequestProfile) -> PrivateKey:
    from gsi.keys import KeyType, generate_key

    bits = arguments.bits or (profile.bits if profile.bits in BITS else BITS[0])
    return generate_key(KeyType(arguments.key_type), bits=bits)


def _words(
    whose: _Whose, subject_der: bytes, common_name: str, files: RequestFiles, settings: dict[str, str]
) -> RequestWords:
    from gsi.cli.name_text import slash_name
    from gsi.cli.request_words import RequestWords

    return RequestWords(
        service=whose.service,
        subject=slash_name(subject_der),
        common_name=common_name,
        certificate=files.certificate,
        key=files.key,
        request=files.request,
        ca_name=settings.get("GSI_CA_NAME", ""),
        ca_mail=settings.get("GSI_CA_EMAIL_ADDR", ""),
    )


def _read_directions(path: str) -> str:
    """Return the CA's own text for people, or nothing where it has none."""
    import os

    from gsi.system.files import read_public
    from gsi.system.request_config import MAX_CONFIG_BYTES

    if not os.path.exists(path):
        return ""
    return read_public(path, max_bytes=MAX_CONFIG_BYTES).decode("utf-8", "replace")


def _encode_request(key: PrivateKey, subject_der: bytes, names: _Names, header: str) -> bytes:
    """Return the text and the request, or the request alone where somebody could take the text for part of it."""
    from gsi.errors import ParseError
    from gsi.pem import split_pem
    from gsi.request import encode_request_pem, make_request

    request = encode_request_pem(make_request(key, subject_der, dns_names=names.dns, ip_addresses=names.addresses))
    whole = header.encode("utf-8", "replace") + request
    try:
        return whole if len(split_pem(whole, what="request")) == 1 else request
    except ParseError:
        return request


def _print_json(
    words: RequestWords, subject_der: bytes, names: _Names, key: PrivateKey, moved: Sequence[Moved]
) -> None:
    import json

    from gsi.keys import key_bits
    from gsi.names import oneline, rfc4514

    made = {
        "service": words.service,
        "subject": oneline(subject_der),
        "subject_rfc2253": rfc4514(subject_der),
        "dns": names.dns,
        "ip": names.shown_addresses,
        "key_bits": key_bits(key.public_key()),
        "key": words.key,
        "request": words.request,
        "certificate": words.certificate,
        "kept": [one.backup for one in moved],
        "ca_name": words.ca_name or None,
        "ca_mail": words.ca_mail or None,
    }
    sys.stdout.write(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
