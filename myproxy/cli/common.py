"""What the MyProxy clients share: the server from options and variables, the user's credential, names, pass phrases.

    client = open_client(arguments, find_credential(locations), locations)
    username = choose_username(arguments, credential)

Everything heavy is imported inside, so that `--help` stays instant.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import UsageError
from gsi.cli.run import printable
from gsi.errors import ConfigError, CredentialError, CredentialProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsi.cli.arguments import Namespace
    from gsi.cli.secret_source import SecretSource
    from gsi.credential import Credential
    from gsi.keys import PrivateKey
    from gsi.secret import Passphrase
    from gsi.system.environ import Locations
    from gsi.trust.anchors import TrustAnchors
    from myproxy.client import MyProxyClient, ServerAddress

__all__ = [
    "KEY_TYPES",
    "MIN_PASSPHRASE",
    "choose_username",
    "find_credential",
    "load_anchors",
    "make_key",
    "open_as_owner",
    "open_client",
    "passphrase_source",
    "read_address",
    "read_passphrase",
    "read_passphrase_from",
    "read_proof",
    "require_credential",
    "sasl_answers",
    "speak",
]

KEY_TYPES: Final = ("rsa", "p256", "p384", "ed25519")
MIN_PASSPHRASE: Final = 6
"""Bytes; the servers check the same (none at all is allowed by both)."""
PROMPT: Final = "Enter MyProxy pass phrase:"
CODE_PROMPT: Final = "Enter one-time code:"


def speak(arguments: Namespace) -> Callable[[str], None]:
    """Return what tells a person the progress: standard error with --verbose, else nothing."""
    if arguments.debug:
        return lambda text: print(printable(text), file=sys.stderr)
    return lambda _text: None


def read_address(arguments: Namespace, gsi_conf: str | None = None) -> ServerAddress:
    """Return the server's address from the options, the variables and the settings of the host.

    Args:
        arguments: The command line.
        gsi_conf: The host's settings; by default the system's file.

    Raises:
        UsageError: No server is named.
        ConfigError: A value cannot be used.
    """
    from gsi.system.environ import get_variable, read_locations
    from gsi.system.gsi_conf import find_setting, load_gsi_conf
    from gsi.transport.stream import parse_hosts, parse_port, parse_port_range
    from gsi.transport.tls import TLSVersion, parse_tls_version
    from gsi.trust.peername import NameMode
    from myproxy.client import DEFAULT_PORT, ServerAddress

    hosts = arguments.pshost or get_variable("MYPROXY_SERVER")
    if not hosts:
        raise UsageError(
            "Unspecified myproxy-server.", hint="set the MYPROXY_SERVER environment variable, or name it with -s"
        )
    port = arguments.psport or get_variable("MYPROXY_SERVER_PORT") or str(DEFAULT_PORT)
    timeout = get_variable("MYPROXY_SOCKET_TIMEOUT")
    if timeout is not None and (not (timeout.isascii() and timeout.isdigit()) or len(timeout) > 6):
        raise ConfigError(f"MYPROXY_SOCKET_TIMEOUT='{timeout}' is not a number of seconds")
    settings = load_gsi_conf(gsi_conf or read_locations().gsi_conf)
    mode = find_setting("NAME_COMPATIBILITY", settings) or NameMode.STRICT_RFC2818.value
    if mode not in [one.value for one in NameMode]:
        raise ConfigError(f"GLOBUS_GSSAPI_NAME_COMPATIBILITY='{mode}' is none of {', '.join(NameMode)}")
    minimum, maximum = (find_setting(f"{which}_TLS_PROTOCOL", settings) or "" for which in ("MIN", "MAX"))
    if minimum.endswith("_DEPRECATED"):
        minimum = ""  # older versions are not offered; that the host would allow them is no reason to stop
    port_range = get_variable("MYPROXY_TCP_PORT_RANGE") or get_variable("GLOBUS_TCP_PORT_RANGE") or ""
    address = ServerAddress(
        hosts=parse_hosts(hosts, default_port=parse_port(port)),
        expected_dn=get_variable("MYPROXY_SERVER_DN"),
        name_mode=NameMode(mode),
        port_range=parse_port_range(port_range),
        minimum_tls=parse_tls_version(minimum, default=TLSVersion.TLS1_2),
        maximum_tls=parse_tls_version(maximum, default=TLSVersion.TLS1_3),
    )
    if timeout is None:
        return address
    from dataclasses import replace

    return replace(address, connect_timeout=float(timeout))


def find_credential(locations: Locations) -> Credential | None:
    """Return the credential that grid programs use by default, or None when there is none.

    The order is that of the C library: X509_USER_CERT with X509_USER_KEY when both are set, then the proxy file, then
    the host's credential for root. Where the first has a locked key and there is a proxy, the proxy is taken: it was
    made so that nobody is asked again.

    Raises:
        CredentialError: There is one, but it is unsafe or does not parse.
    """
    import os

    from gsi.cli.prompt import ask_passphrase
    from gsi.errors import CredentialProblem as Problem
    from gsi.system.credential_files import load_proxy, load_user_credential
    from gsi.system.environ import get_variable

    certificate, key = get_variable("X509_USER_CERT"), get_variable("X509_USER_KEY")
    has_proxy = os.path.exists(locations.proxy)
    if certificate and key:
        try:
            return load_user_credential(certificate, key)
        except CredentialError as error:
            if error.problem not in (Problem.NEEDS_PASSPHRASE, Problem.MISSING, Problem.KEY_MISSING):
                raise
            if error.problem is Problem.NEEDS_PASSPHRASE and not has_proxy:
                return load_user_credential(
                    certificate, key, passphrase=lambda: ask_passphrase("Enter GRID pass phrase:")
                )
    if has_proxy:
        return load_proxy(locations.proxy)
    if locations.uid == 0:
        for certificate_path, key_path in locations.host_credentials:
            if os.path.exists(certificate_path) and os.path.exists(key_path):
                return load_user_credential(certificate_path, key_path)
    return None


def require_credential(locations: Locations) -> Credential:
    """Return the default credential, for commands that nobody may use without a name.

    Raises:
        CredentialError: MISSING or EXPIRED, and as `find_credential`.
    """
    from gsi.lifetime import asctime
    from gsi.system.clock import now

    credential = find_credential(locations)
    if credential is None:
        raise CredentialError(
            f"no credential to authenticate with: there is no proxy at {locations.proxy}",
            problem=CredentialProblem.MISSING,
            path=locations.proxy,
            hint="make one with grid-proxy-init or fetch one with myproxy-logon",
        )
    if credential.not_after <= now():
        raise CredentialError(
            f"the credential of {credential.subject} expired: {asctime(credential.not_after)}",
            problem=CredentialProblem.EXPIRED,
            hint="make a new one with grid-proxy-init or fetch one with myproxy-logon",
        )
    return credential


def load_anchors(locations: Locations) -> TrustAnchors:
    """Return the contents of the trust directory.

    Raises:
        ConfigError: It cannot be read.
    """
    from gsi.system.trustdir import TrustDirectory

    return TrustDirectory(locations.trust_dir).anchors()


def open_client(
    arguments: Namespace,
    credential: Credential | None,
    anchors: TrustAnchors,
    address: ServerAddress | None = None,
    *,
    ask_user: Callable[[str, bool], Passphrase] | None = None,
) -> MyProxyClient:
    """Return the client for the server that the options name. No connection is made yet.

    Args:
        arguments: The command line.
        credential: Whom to be.
        anchors: Whom to trust.
        address: The server, or None for the one in the options.
        ask_user: Answers the questions of SASL (`sasl_answers`); None where there can be none.

    Raises:
        UsageError: No server is named.
        GridError: The address or the credential cannot be used.
    """
    from myproxy.client import MyProxyClient

    return MyProxyClient(
        address or read_address(arguments),
        anchors,
        credential=credential,
        progress=speak(arguments),
        ask_user=ask_user,
    )


def open_as_owner(arguments: Namespace) -> tuple[MyProxyClient, str]:
    """Return the client and the account name for commands that only a credential's owner may give.

    Raises:
        GridError: The server, the credential or the trust directory cannot be found or used.
    """
    from gsi.system.environ import read_locations

    address = read_address(arguments)
    locations = read_locations()
    credential = require_credential(locations)
    username = choose_username(arguments, credential)
    return open_client(arguments, credential, load_anchors(locations), address), username


def choose_username(arguments: Namespace, credential: Credential | None) -> str:
    """Return the account name in the repository: --username, the credential's identity with -d, else $LOGNAME.

    Raises:
        UsageError: There is none.
        CredentialError: -d without a credential.
    """
    from gsi.system.environ import get_variable

    if arguments.username is not None:
        return str(arguments.username)
    if arguments.dn_as_username:
        if credential is None:
            raise CredentialError(
                "--dn_as_username needs a credential",
                problem=CredentialProblem.MISSING,
                hint="name one with --username",
            )
        from gsi.proxy.chain import ProxyChain

        return ProxyChain.split(credential.certificates).identity_text
    username = get_variable("LOGNAME")
    if not username:
        raise UsageError("Please specify a username.", hint="name it with --username, or set LOGNAME")
    return username


def read_passphrase(arguments: Namespace, *, twice: bool = False, prompt: str = PROMPT) -> Passphrase:
    """Ask for the MyProxy pass phrase, or read it with --stdin_pass or --passin.

    Raises:
        CredentialError: There is none, it is too short, or the two entries differ.
        UsageError: Both options were given.
    """
    return read_passphrase_from(passphrase_source(arguments), prompt, twice=twice)


def read_proof(arguments: Namespace) -> tuple[Passphrase, Passphrase]:
    """Return the pass phrase, none with --no_passphrase or --authorization, and what is sent: with --otp a code behind.

    Raises:
        CredentialError: One of the two is not given, or the pass phrase is too short.
        UsageError: Both --stdin_pass and --passin were given.
    """
    from gsi.secret import Passphrase

    silent = arguments.no_passphrase or arguments.authorization is not None
    passphrase = Passphrase(b"") if silent else read_passphrase(arguments)
    if not arguments.otp:
        return passphrase, passphrase
    code = _ask(passphrase_source(arguments), CODE_PROMPT, 1 if silent else 2, "--passin")
    return passphrase, Passphrase(passphrase.reveal() + code.reveal())


def asks_on_terminal(arguments: Namespace) -> bool:
    """Say whether `read_proof` will ask somebody, and so wait for a person."""
    silent = arguments.no_passphrase or arguments.authorization is not None
    return (not silent or arguments.otp) and passphrase_source(arguments) is None


def sasl_answers(arguments: Namespace) -> Callable[[str, bool], Passphrase]:
    """Return what answers SASL's questions: --sasl_passin, with --stdin_pass standard input, else the terminal.

    The same question gets the same answer without asking again, since a command may connect twice.
    """
    known: dict[str, Passphrase] = {}

    def ask(prompt: str, _hidden: bool) -> Passphrase:
        if prompt not in known:
            from gsi.cli.secret_source import SecretSource

            source = arguments.sasl_passin or (SecretSource("stdin") if arguments.stdin_pass else None)
            known[prompt] = _ask(source, prompt, 1, "--sasl_passin")
        return known[prompt]

    return ask


def passphrase_source(arguments: Namespace) -> SecretSource | None:
    """Return where the pass phrase comes from, None for the terminal.

    Raises:
        UsageError: Both --stdin_pass and --passin were given.
    """
    if arguments.stdin_pass and arguments.passin is not None:
        raise UsageError("--stdin_pass and --passin are mutually exclusive")
    if arguments.stdin_pass:
        from gsi.cli.secret_source import SecretSource

        return SecretSource("stdin")
    source: SecretSource | None = arguments.passin
    return source


def read_passphrase_from(
    source: SecretSource | None, prompt: str, *, twice: bool = False, line: int = 1, option: str = "--passin"
) -> Passphrase:
    """Read a MyProxy pass phrase; on the terminal twice where a new one is wanted so.

    Raises:
        CredentialError: There is none, it is too short, or the two entries differ.
    """
    passphrase = _ask(source, prompt, line, option)
    if twice and source is None and _ask(None, f"Verifying - {prompt}", line, option) != passphrase:
        raise CredentialError(
            "Verify failure\nError entering passphrase.",  # the C client's words
            problem=CredentialProblem.WRONG_PASSPHRASE,
            hint="the two pass phrases differ: type the same one twice",
        )
    if passphrase and len(passphrase) < MIN_PASSPHRASE:
        raise CredentialError(
            f"Passphrase must be at least {MIN_PASSPHRASE} characters long.",
            problem=CredentialProblem.WRONG_PASSPHRASE,
            hint="choose a longer one",
        )
    return passphrase


def _ask(source: SecretSource | None, prompt: str, line: int, option: str) -> Passphrase:
    """Ask once, with a hint that names our options."""
    from gsi.cli.secret_source import read_secret

    try:
        return read_secret(source, prompt, option=option, line=line)
    except CredentialError as error:
        hint = error.hint
        if source is None or source.kind == "stdin":
            hint = f"type it on a terminal, or give it on standard input with --stdin_pass, or with {option}"
        elif error.problem is CredentialProblem.MISSING:
            hint = f"{option} names a file with the pass phrase in it, mode 0600"
        raise CredentialError(error.message, problem=error.problem, path=error.path, hint=hint) from error


def make_key(arguments: Namespace) -> PrivateKey:
    """Make the key of a new credential: --key_type, else RSA of $MYPROXY_KEYBITS (2048).

    Raises:
        ConfigError: MYPROXY_KEYBITS is no number.
        CredentialError: It is too small or unusual.
    """
    from gsi.keys import KeyType, generate_key
    from gsi.system.environ import get_variable

    kind = KeyType(arguments.key_type)
    if kind is not KeyType.RSA:
        return generate_key(kind)
    bits = get_variable("MYPROXY_KEYBITS") or "2048"
    if not (bits.isascii() and bits.isdigit()) or len(bits) > 6:
        raise ConfigError(f"MYPROXY_KEYBITS='{bits}' is not a number of bits")
    return generate_key(kind, bits=int(bits))
