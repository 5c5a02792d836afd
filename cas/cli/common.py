"""What the commands that ask a server share: options in all spellings of GT 3.2 to 4.2, and the client made of them.

    add_service_options(parser.section("Which server"))
    client = make_client(arguments)
    request = read_request(arguments.policyfile)

Two spellings clash and are told apart by their values: `-s` is the service's URL in GT 4.2 and the server's name
before, `-p` is `sig` or `enc` in GT 4.2 and a file in `cas-proxy-init` and `cas-wrap` before. Messages are always
signed and encrypted here, since all goes over TLS. The commands of administrators have the other options of GT's
messages, too (`add_old_options`), which say nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import CommandParser, Completion, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.client import CASClient
    from gsi.cli.arguments import Namespace, Section
    from gsi.credential import Credential

__all__ = [
    "PROTECTIONS",
    "add_json_option",
    "add_old_options",
    "add_output_options",
    "add_service_options",
    "connect",
    "find_output",
    "load_credential",
    "make_client",
    "read_named",
    "read_request",
    "word_parser",
    "write_json",
]

PROTECTIONS: Final = ("sig", "enc")
DEFAULT_TAG: Final = "cas"
URL_VARIABLE: Final = "CAS_SERVER_URL"
IDENTITY_VARIABLE: Final = "CAS_SERVER_IDENTITY"


def word_parser(
    prog: str, summary: str, forms: Sequence[str], text: str, *, completion: Completion = Completion.NOTHING
) -> CommandParser:
    """Return the parser of a command whose words have several forms, without its options.

    Args:
        prog: The command.
        summary: What it does.
        forms: Its forms, as `cas.cli.words` has them.
        text: What the words are.
        completion: How a shell completes them.
    """
    parser = CommandParser(prog, summary, usage=[f"[options] {form}".rstrip() for form in forms])
    parser.operand("WORD", dest="words", many=True, completion=completion, text=text)
    return parser


def add_service_options(section: Section) -> None:
    """Add the options that say which server, who it has to be, and who asks."""
    section.value("-c", "-url", dest="url", metavar="URL", text=f"the server's URL ({URL_VARIABLE})")
    section.value(
        "-s",
        dest="server",
        metavar="URL|DN",
        text="the server's URL as in GT 4.2, or the name it has to have as before",
    )
    section.value(
        "-z",
        dest="identity",
        metavar="NAME",
        text=f"who the server has to be: host, self, or a distinguished name ({IDENTITY_VARIABLE}; host if not given)",
    )
    section.value(
        "-x", "-proxy", dest="proxy", metavar="FILE", completion=Completion.FILE, text="the proxy to ask with"
    )
    section.value("-m", dest="mechanism", metavar="msg|conv", choices=("msg", "conv"), text="no effect: TLS is used")
    section.value(
        "-certdir", metavar="DIR", completion=Completion.DIRECTORY, text="the trust directory (X509_CERT_DIR)"
    )


def add_old_options(section: Section) -> None:
    """Add what GT's administrators could say of messages; TLS does all of it."""
    section.value("-p", dest="protection", metavar="sig|enc", choices=PROTECTIONS, text="no effect: both are done")
    section.value(
        "-l", dest="context_lifetime", metavar="SECONDS", text="no effect: each request has its own connection"
    )
    section.value(
        "-f", dest="descriptor", metavar="FILE", completion=Completion.FILE, text="no effect: there is no descriptor"
    )
    section.flag("-a", dest="anonymous", text="refused: the server has to know who asks")
    section.flag("-v", dest="wants_version", text="print the version to standard error and exit")


def add_json_option(section: Section) -> None:
    """Add the option for programs that read what is printed."""
    section.flag("-json", text="print JSON")


def write_json(value: object) -> None:
    """Print a value for programs: one line of ASCII."""
    import json
    import sys

    sys.stdout.write(f"{json.dumps(value)}\n")


def add_output_options(section: Section) -> None:
    """Add the options that name the proxy with the capability."""
    section.value(
        "-p",
        dest="output",
        metavar="FILE",
        completion=Completion.FILE,
        text="the proxy with the capability (GT 4.0); sig and enc have no effect (GT 4.2)",
    )
    section.value(
        "-w", dest="out", metavar="FILE", completion=Completion.FILE, text="the proxy with the capability (GT 4.2)"
    )
    section.value(
        "-t",
        "-u",
        dest="tag",
        metavar="TAG",
        text=f"what is put behind the default proxy's name and a dot to name it ({DEFAULT_TAG})",
    )


def find_output(arguments: Namespace) -> str:
    """Return the name of the proxy with the capability.

    Raises:
        UsageError: It is named in two ways.
    """
    from gsi.system.environ import read_locations

    named = [one for one in (arguments.output, arguments.out) if one and one not in PROTECTIONS]
    if len(named) + bool(arguments.tag) > 1:
        raise UsageError("the proxy is named twice", hint="one of -p, -w, -t")
    if named:
        return str(named[0])
    tag = arguments.tag or DEFAULT_TAG
    if "/" in tag:
        raise UsageError("a tag without '/'", hint="-w names a file")
    return f"{read_locations().proxy}.{tag}"


def load_credential(arguments: Namespace) -> Credential:
    """Return who asks: the proxy.

    Raises:
        GridError: It cannot be used.
    """
    from gsi.system.credential_files import load_proxy
    from gsi.system.environ import read_locations

    return load_proxy(arguments.proxy or read_locations().proxy)


def connect(arguments: Namespace) -> CASClient:
    """Return the client of a command with the old options, with the proxy.

    Raises:
        UsageError: It is not said which server, or nobody is to ask.
        GridError: As `load_credential` and `make_client`.
    """
    if arguments.anonymous:
        raise UsageError("-a: nobody in particular has no rights here", hint="ask with a proxy, without -a")
    return make_client(arguments, load_credential(arguments))


def make_client(arguments: Namespace, credential: Credential) -> CASClient:
    """Return the client.

    Raises:
        UsageError: It is not said which server.
        GridError: Something that was named cannot be used.
    """
    from cas.client import CASClient
    from gsi.proxy.chain import ProxyChain
    from gsi.system import clock
    from gsi.system.environ import get_variable, read_locations
    from gsi.system.trustdir import TrustDirectory

    is_url = arguments.server is not None and "://" in arguments.server
    url = arguments.url or (arguments.server if is_url else None) or get_variable(URL_VARIABLE)
    if not url:
        raise UsageError("it is not said which server", hint=f"-c URL, or {URL_VARIABLE}=https://HOST:8443")
    if arguments.url and is_url:
        raise UsageError("the server is named twice", hint="-c, or -s with a URL")
    named = None if is_url else arguments.server
    identity = arguments.identity or named or get_variable(IDENTITY_VARIABLE) or "host"
    expected = None if identity == "host" else identity
    if identity == "self":
        expected = ProxyChain.split(credential.certificates).identity_text
    trust = TrustDirectory(arguments.certdir or read_locations().trust_dir, recheck_seconds=60.0)
    trust.anchors()
    return CASClient(url, credential, anchors=trust.anchors, now=clock.now, expected_dn=expected)


def read_named(path: str, *, max_bytes: int) -> bytes:
    """Return the content of a file that was named and is no credential.

    Raises:
        GridError: It cannot be read, or is longer.
    """
    from gsi.errors import CredentialError
    from gsi.system.files import read_public

    try:
        return read_public(path, max_bytes=max_bytes)
    except CredentialError as error:  # the general hints are about credentials
        hint = error.hint or "name a file that can be read"
        raise CredentialError(error.message, problem=error.problem, path=path, hint=hint) from error


def read_request(path: str | None) -> list[dict[str, object]] | None:
    """Return what a policy request file asks for, as the server wants it; None without a file.

    Raises:
        GridError: It cannot be read.
    """
    if path is None:
        return None
    from cas.client import describe_request
    from cas.policy.request import MAX_REQUEST_BYTES, parse_request

    wanted = []
    for one in parse_request(read_named(path, max_bytes=MAX_REQUEST_BYTES)).wanted:
        resource = "" if one.namespace is None else f"{one.namespace}|{one.name}"
        actions = None if one.actions is None else [f"{each.service_type}/{each.name}" for each in sorted(one.actions)]
        wanted.append((resource, actions))
    return describe_request(wanted)
