"""The grammar of myproxy-server.config, read into one frozen value; not what the server does with it.

    config = parse_config(text, path="/etc/myproxy-server.config")
    config.access_policy

One directive per line; words are split at spaces and tabs, `"..."` keeps a word together (a quote after a backslash
does not end it, and the backslash stays), `#` starts a comment where a word could start. Every directive of the C
server is known (gct:myproxy/source/myproxy_server_config.c), and what that server starts with is taken as it takes it:
`12h` is 12, an entry of an access list that is no pattern matches nobody. `ServerConfig.notes` tells the administrator
of all such, and of what has no effect.

Refused, because what is meant cannot be told and the C server would quietly switch something off: ways of
authentication by other words than `required`, `sufficient` and `disabled`, limits that are no number at all, quotes
that are not closed outside access lists, texts that are not UTF-8 outside access lists and comments.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, ParseError
from myproxy.policy import AccessPolicy, Client, Rule, parse_rule

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DEFAULT_REQUEST_BYTES",
    "MAX_CONFIG_BYTES",
    "Method",
    "ServerConfig",
    "State",
    "list_directives",
    "parse_config",
]

MAX_CONFIG_BYTES: Final = 1024 * 1024
"""The largest configuration file; real ones have a few kilobytes."""

MAX_HOURS: Final = 24 * 366 * 100
"""The longest lifetime that can be set: a century. More is taken for as much."""

MAX_SECONDS: Final = 366 * 86400
"""The longest `request_timeout`; more is taken for as much."""

DEFAULT_REQUEST_BYTES: Final = 1024 * 1024
"""`request_size_limit` of the C server, and our ceiling when the file asks for none."""

_TRUE: Final = frozenset({"true", "enabled", "yes", "on", "1"})
_ALIASES: Final = {"allowed_clients": "accepted_credentials", "allowed_services": "authorized_retrievers"}
_IGNORED: Final = {
    "disable_usage_stats": "no usage statistics are sent",
    "usage_stats_target": "no usage statistics are sent",
    "slave_servers": "several servers share one database instead of copying files",
    "certificate_openssl_engine_lockfile": "OpenSSL engines are not used here",
    "certificate_openssl_engine_pre": "OpenSSL engines are not used here",
    "certificate_openssl_engine_post": "OpenSSL engines are not used here",
}
"""Directives without effect, by the reason; the values may be anything. (An engine itself is refused.)"""


class Method(Enum):
    """How a way of authentication takes part."""

    REQUIRED = "required"
    ENROLLED = "enrolled"
    """Required of those who have enrolled: one-time codes, of users with an authenticator."""
    SUFFICIENT = "sufficient"
    DISABLED = "disabled"


class _Kind(Enum):
    RULES = auto()
    TEXT = auto()
    BOOL = auto()
    METHOD = auto()
    NUMBER = auto()
    TEXTS = auto()


class State(Enum):
    """What this version makes of a directive."""

    ACTED_UPON = auto()
    GONE = auto()


# One shape per line of the table below; the values are given to dataclasses.field.
def _rules() -> tuple[Rule, ...] | None:
    return field(default=None, metadata={"kind": _Kind.RULES, "state": State.ACTED_UPON})


def _text(state: State = State.ACTED_UPON) -> str | None:
    return field(default=None, metadata={"kind": _Kind.TEXT, "state": state})


def _texts(state: State = State.ACTED_UPON) -> tuple[str, ...] | None:
    return field(default=None, metadata={"kind": _Kind.TEXTS, "state": state})


def _bool(state: State = State.ACTED_UPON, *, default: bool = False) -> bool:
    return field(default=default, metadata={"kind": _Kind.BOOL, "state": state})


def _number(default: int, state: State = State.ACTED_UPON) -> int:
    return field(default=default, metadata={"kind": _Kind.NUMBER, "state": state})


_METHOD: Final = {"kind": _Kind.METHOD, "state": State.ACTED_UPON}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Every directive by its name. Absent texts and lists are None; hours, seconds and bytes are whole numbers.

    `max_proxy_lifetime`, `max_cred_lifetime` and `max_cert_lifetime` count hours, 0 meaning no limit of their own, but
    for the last, where it means 12.

    Attributes:
        notes: What the administrator should read in the log: what has no effect, and what is taken for something else
            than it says.
    """

    # Who may do what (myproxy.policy).
    accepted_credentials: tuple[Rule, ...] | None = _rules()
    authorized_retrievers: tuple[Rule, ...] | None = _rules()
    default_retrievers: tuple[Rule, ...] | None = _rules()
    authorized_renewers: tuple[Rule, ...] | None = _rules()
    default_renewers: tuple[Rule, ...] | None = _rules()
    authorized_key_retrievers: tuple[Rule, ...] | None = _rules()
    default_key_retrievers: tuple[Rule, ...] | None = _rules()
    trusted_retrievers: tuple[Rule, ...] | None = _rules()
    default_trusted_retrievers: tuple[Rule, ...] | None = _rules()
    trusted_front_ends: tuple[Rule, ...] | None = _rules()  # ours: portals, whose word counts on where users are
    allow_self_authorization: bool = _bool(State.ACTED_UPON)
    allow_sha1_renewal: bool = _bool(State.ACTED_UPON)  # ours: C clients before 6.0 sign challenges with nothing else
    accepted_credentials_mapfile: str | None = _text(State.ACTED_UPON)
    accepted_credentials_mapapp: str | None = _text(State.ACTED_UPON)
    check_multiple_credentials: bool = _bool(State.ACTED_UPON)
    # Pass phrases and other proofs.
    passphrase_policy_program: str | None = _text(State.ACTED_UPON)
    pam: Method = field(default=Method.DISABLED, metadata=_METHOD)
    pam_id: str | None = _text(State.ACTED_UPON)
    sasl: Method = field(default=Method.DISABLED, metadata=_METHOD)
    sasl_mech: str | None = _text(State.ACTED_UPON)
    sasl_serverFQDN: str | None = _text(State.ACTED_UPON)  # noqa: N815  # the directive's own spelling
    sasl_user_realm: str | None = _text(State.ACTED_UPON)
    # The rest of this part is ours.
    ldap: Method = field(default=Method.DISABLED, metadata=_METHOD)
    ldap_server: str | None = _text(State.ACTED_UPON)
    ldap_start_tls: bool = _bool(State.ACTED_UPON)
    ldap_ca_file: str | None = _text(State.ACTED_UPON)
    ldap_bind_dn: str | None = _text(State.ACTED_UPON)
    ldap_search_base: str | None = _text(State.ACTED_UPON)
    ldap_search_filter: str | None = _text(State.ACTED_UPON)
    ldap_search_dn: str | None = _text(State.ACTED_UPON)
    ldap_search_passphrase_file: str | None = _text(State.ACTED_UPON)
    kerberos: Method = field(default=Method.DISABLED, metadata=_METHOD)
    kerberos_realm: str | None = _text(State.ACTED_UPON)
    kerberos_service: str | None = _text(State.ACTED_UPON)
    kerberos_keytab: str | None = _text(State.ACTED_UPON)
    auth_program: Method = field(default=Method.DISABLED, metadata=_METHOD)
    auth_program_path: str | None = _text(State.ACTED_UPON)
    otp: Method = field(default=Method.DISABLED, metadata=_METHOD)
    otp_key_file: str | None = _text(State.ACTED_UPON)
    otp_digits: int = _number(6)
    otp_window: int = _number(1)
    throttle: bool = _bool(State.ACTED_UPON, default=True)
    throttle_free_tries: int = _number(5)
    throttle_first_delay: int = _number(2)
    throttle_longest_delay: int = _number(900)
    throttle_memory: int = _number(86400)
    throttle_user_rate: int = _number(10)
    throttle_user_delay: int = _number(10)
    # Limits on what is stored and delegated.
    max_proxy_lifetime: int = _number(0)
    max_cred_lifetime: int = _number(0)
    max_credentials_per_owner: int = _number(0)  # ours
    min_proxy_keylen: int = _number(2048)
    ignore_globus_limited_proxy_flag: bool = _bool(State.ACTED_UPON)
    proxy_extfile: str | None = _text(State.ACTED_UPON)
    proxy_extapp: str | None = _text(State.ACTED_UPON)
    ocsp_policy: str | None = _text(State.ACTED_UPON)
    ocsp_responder_url: str | None = _text(State.ACTED_UPON)
    ocsp_responder_cert: str | None = _text(State.ACTED_UPON)
    ocsp_required: bool = _bool(State.ACTED_UPON)  # ours: refuse those about whom no responder answers
    voms_userconf: str | None = _text(State.ACTED_UPON)
    allow_voms_attribute_requests: bool = _bool(State.ACTED_UPON)
    cert_dir: str | None = _text(State.ACTED_UPON)
    # The authority that makes certificates for users who have nothing stored (myproxy.issuing).
    certificate_issuer_cert: str | None = _text(State.ACTED_UPON)
    certificate_issuer_key: str | None = _text(State.ACTED_UPON)  # a file, or ours: a pkcs11: URI or program:
    certificate_issuer_key_passphrase: str | None = field(
        default=None, repr=False, metadata={"kind": _Kind.TEXT, "state": State.ACTED_UPON}
    )
    certificate_issuer_program: str | None = _text(State.ACTED_UPON)
    certificate_issuer_hashalg: str | None = _text(State.ACTED_UPON)
    certificate_issuer_subca_certfile: str | None = _text(State.ACTED_UPON)
    certificate_issuer_email_domain: str | None = _text(State.ACTED_UPON)
    certificate_request_checker: str | None = _text(State.ACTED_UPON)
    certificate_issuer_checker: str | None = _text(State.ACTED_UPON)
    certificate_extfile: str | None = _text(State.ACTED_UPON)
    certificate_extapp: str | None = _text(State.ACTED_UPON)
    certificate_mapfile: str | None = _text(State.ACTED_UPON)
    certificate_mapapp: str | None = _text(State.ACTED_UPON)
    max_cert_lifetime: int = _number(0)  # 0 stands for 12 hours, as in C
    min_keylen: int = _number(0)
    certificate_serialfile: str | None = _text(State.ACTED_UPON)
    certificate_serial_skip: int = _number(1)
    certificate_out_dir: str | None = _text(State.ACTED_UPON)
    certificate_openssl_engine_id: str | None = _text(State.GONE)
    ca_ldap_server: str | None = _text(State.ACTED_UPON)
    ca_ldap_searchbase: str | None = _text(State.ACTED_UPON)
    ca_ldap_uid_attribute: str | None = _text(State.ACTED_UPON)
    ca_ldap_dn_attribute: str | None = _text(State.ACTED_UPON)
    ca_ldap_connect_dn: str | None = _text(State.ACTED_UPON)
    ca_ldap_connect_passphrase: str | None = field(
        default=None, repr=False, metadata={"kind": _Kind.TEXT, "state": State.ACTED_UPON}
    )
    ca_ldap_start_tls: bool = _bool(State.ACTED_UPON)
    ca_ldap_ca_file: str | None = _text(State.ACTED_UPON)  # ours
    # The server itself. Those from audit_log on are ours, like allow_sha1_renewal and min_proxy_keylen above.
    syslog_ident: str | None = _text(State.ACTED_UPON)
    syslog_facility: str | None = _text(State.ACTED_UPON)
    request_timeout: int = _number(120)
    request_size_limit: int = _number(DEFAULT_REQUEST_BYTES)
    audit_log: str | None = _text(State.ACTED_UPON)
    node_name: str | None = _text(State.ACTED_UPON)
    monitor_listen: str | None = _text(State.ACTED_UPON)
    log_format: str | None = _text(State.ACTED_UPON)
    worker_processes: int = _number(1)
    max_connections: int = _number(2048)
    max_connections_per_source: int = _number(256)
    argon2_memory_kib: int = _number(7168)
    argon2_iterations: int = _number(5)
    database: str | None = _text(State.ACTED_UPON)
    database_connections: int = _number(8)
    database_patience: int = _number(30)
    server_key: tuple[str, ...] | None = _texts()
    keep_c_export: bool = _bool(State.ACTED_UPON, default=True)
    expired_credential_grace: int = _number(0)
    notes: tuple[str, ...] = ()

    @property
    def access_policy(self) -> AccessPolicy:
        """The access directives as one value."""
        return AccessPolicy(
            accepted_credentials=self.accepted_credentials or (),
            authorized_retrievers=self.authorized_retrievers or (),
            default_retrievers=self.default_retrievers,
            authorized_renewers=self.authorized_renewers or (),
            default_renewers=self.default_renewers,
            authorized_key_retrievers=self.authorized_key_retrievers or (),
            default_key_retrievers=self.default_key_retrievers,
            trusted_retrievers=self.trusted_retrievers or (),
            default_trusted_retrievers=self.default_trusted_retrievers,
            trusted_front_ends=self.trusted_front_ends or (),
            allow_self_authorization=self.allow_self_authorization,
        )


_FIELDS: Final = {f.name: f for f in dataclasses.fields(ServerConfig) if "kind" in f.metadata}
_RANGES: Final = {
    "min_proxy_keylen": (1024, 16384),  # gsi.keys takes no smaller ones for any purpose
    "min_keylen": (0, 16384),
    "max_cert_lifetime": (0, MAX_HOURS),
    "certificate_serial_skip": (1, 2**31 - 1),
    "worker_processes": (1, 256),
    "max_connections": (1, 1_000_000),
    "max_connections_per_source": (1, 1_000_000),
    "argon2_memory_kib": (7168, 1024 * 1024),
    "argon2_iterations": (1, 64),
    "database_connections": (1, 100),
    "database_patience": (0, 600),
    "expired_credential_grace": (0, 24 * 3660),
    "otp_digits": (6, 8),
    "otp_window": (0, 10),
    "throttle_free_tries": (1, 1000),
    "throttle_first_delay": (1, 3600),
    "throttle_longest_delay": (1, 86400),
    "throttle_memory": (60, 30 * 86400),
    "throttle_user_rate": (1, 60000),
    "throttle_user_delay": (0, 60),
    "max_cred_lifetime": (0, MAX_HOURS),
    "max_proxy_lifetime": (0, MAX_HOURS),
    "request_timeout": (-(2**31), MAX_SECONDS),
    "request_size_limit": (-(2**31), 16 * 1024 * 1024),
}
_DEFAULT_RANGE: Final = (0, 2**31 - 1)
_OF_THE_C_SERVER: Final = frozenset(
    {
        "max_proxy_lifetime", "max_cred_lifetime", "max_cert_lifetime", "min_keylen", "certificate_serial_skip",
        "request_timeout", "request_size_limit",
    }
)  # fmt: skip
"""Numbers that the C server reads with atoi(3): what stands behind the digits does not count."""
_NO_LIMITS: Final = frozenset({"request_timeout", "request_size_limit"})
"""Of these no number at all means the default, as in C; of the others it would quietly switch a limit off."""
_NARROWING: Final = frozenset({"max_cred_lifetime", "max_cert_lifetime"})
"""Of which a negative number would refuse everything, where others take it for no limit."""
_WORD: Final = re.compile(r'"((?:[^"]++|(?<=\\)")*+)("?)|([^ \t]+)')  # a quote ends at the next without a backslash
_ATOI: Final = re.compile(r"[ \t\v\f\r]*([+-]?[0-9]*)")
_MANY_VALUES: Final = frozenset({"certificate_mapapp"})
"""Of which the C server does not count the values, and uses the first."""
_NOBODY: Final = "a^"
"""A pattern that matches nobody: no name begins behind its first character."""


def list_directives(state: State) -> list[str]:
    """Return the names of the directives of which this version makes the same, in the order of the table."""
    return [name for name, one in _FIELDS.items() if one.metadata["state"] is state]


def parse_config(text: str, *, path: str) -> ServerConfig:
    """Parse a configuration file.

    Args:
        text: Its content, at most `MAX_CONFIG_BYTES`.
        path: Its name, for messages.

    Raises:
        ConfigError: A line breaks the grammar, a value does not fit, or a directive would restrict access in a way
            that this version does not implement.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise ConfigError(f"larger than {MAX_CONFIG_BYTES} bytes", path=path)
    values: dict[str, object] = {}
    notes: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):

        def note(what: str, number: int = number) -> None:
            notes.append(f"{path}:{number}: {what}")

        words = _split_words(line.removesuffix("\r"), note)
        if not words:
            continue
        try:
            _read_directive(words, values, note)
        except ConfigError as error:
            raise ConfigError(error.message, path=path, line=number, hint=error.hint) from error
        except (ParseError, ValueError) as error:
            raise ConfigError(f"{_shown(words[0])}: {error}", path=path, line=number) from error
    config = ServerConfig(**values, notes=tuple(notes))  # type: ignore[arg-type]  # built by the table of kinds
    _check_trusted(config, path)
    return config


def _read_directive(words: list[str], values: dict[str, object], note: Callable[[str], None]) -> None:
    """Enter the value of one line."""
    name, arguments = _ALIASES.get(words[0], words[0]), words[1:]
    if name in _IGNORED:
        note(f"{name} is ignored: {_IGNORED[name]}")
    elif name not in _FIELDS:
        note(f"unknown directive {_shown(name)} is ignored")
    elif _FIELDS[name].metadata["state"] is State.GONE:
        raise ConfigError(
            f"{name}: OpenSSL engines are not used here",
            hint="name the key of a hardware token as certificate_issuer_key, by a pkcs11: URI",
        )
    else:
        values[name] = _convert(name, arguments, values.get(name), lambda what: note(f"{words[0]}: {what}"))


def _split_words(line: str, note: Callable[[str], None]) -> list[str]:
    """Return the words; one whose quote the line does not close ends in the line feed, as in C."""
    words: list[str] = []
    for found in _WORD.finditer(line):
        quoted, mark, plain = found.groups()
        if quoted is None:
            if plain.startswith("#"):
                break
            words.append(plain)
        else:
            words.append(quoted if mark else quoted + "\n")
            if line[found.end() : found.end() + 1] not in {"", " ", "\t"}:
                note("text follows a closing quote without a space; it is taken for a word of its own")
    return words


def _convert(name: str, arguments: list[str], before: object, note: Callable[[str], None]) -> object:
    """Return the value of a directive; lists grow with each line, of other directives the last line counts."""
    kind = _FIELDS[name].metadata["kind"]
    if kind is _Kind.RULES:
        if not arguments:
            note("has no value, and therefore no effect")
            return before
        return (*(before if isinstance(before, tuple) else ()), *(_parse_entry(one, note) for one in arguments))
    if any("\n" in one for one in arguments):
        raise ValueError("a quote is not closed")
    if not all(map(_is_text, arguments)):
        raise ConfigError(f"{name}: is not UTF-8 text", hint="iconv -f latin1 -t utf-8")
    if kind is _Kind.TEXTS:
        if not arguments:
            raise ValueError("needs at least one value")
        return (*(before if isinstance(before, tuple) else ()), *arguments)
    if arguments and name in _MANY_VALUES and len(arguments) > 1:
        note("only the first value is used")
        arguments = arguments[:1]
    if len(arguments) != 1:
        raise ValueError(f"needs exactly one value, not {len(arguments)}")
    argument = arguments[0]
    if kind is _Kind.BOOL:
        return argument.lower() in _TRUE
    if kind is _Kind.METHOD:
        return _convert_method(name, argument)
    if kind is _Kind.NUMBER:
        return _convert_c_number(name, argument, note) if name in _OF_THE_C_SERVER else _convert_number(name, argument)
    return argument


def _parse_entry(word: str, note: Callable[[str], None]) -> Rule:
    """Return an entry of an access list. One that is no pattern matches nobody, as in C: lists only ever permit."""
    try:
        return parse_rule(word)
    except ParseError as error:
        why = "a quote is not closed" if "\n" in word else error.message
    note(f"the entry {_shown(word.rstrip())!r} matches nobody: {why}")
    return dataclasses.replace(parse_rule(_NOBODY), text=word)


def _is_text(word: str) -> bool:
    """Say whether what was read was UTF-8; other bytes are there as lone surrogates (PEP 383)."""
    return not any("\udc80" <= character <= "\udcff" for character in word)


def _shown(word: str) -> str:
    return word.encode("utf-8", "backslashreplace").decode()


def _convert_method(name: str, argument: str) -> Method:
    choices = [one for one in Method if one is not Method.ENROLLED or name == "otp"]
    try:
        return next(one for one in choices if one.value == argument.lower())
    except StopIteration:
        known = ", ".join(one.value for one in choices)
        raise ValueError(f"{argument!r} is not one of {known}; nothing would be asked for") from None


def _convert_number(name: str, argument: str) -> int:
    if not argument.lstrip("-").isdecimal() or not argument.isascii() or len(argument) > 11:
        raise ValueError(f"{argument!r} is not a whole number")
    number = int(argument)
    low, high = _RANGES.get(name, _DEFAULT_RANGE)
    if not low <= number <= high:
        raise ValueError(f"{number} is not between {low} and {high}")
    return number


def _convert_c_number(name: str, argument: str, note: Callable[[str], None]) -> int:
    """Read a number as the C server does, but for what would quietly switch a limit off."""
    found = _ATOI.match(argument)
    assert found is not None  # it matches nothing, too
    digits, rest = found[1], argument[found.end() :]
    number = int(digits[:20]) if digits.lstrip("+-") else 0
    if (not digits.lstrip("+-") or (rest and not number)) and name not in _NO_LIMITS:
        raise ValueError(f"{argument!r} is not a whole number")
    low, high = _RANGES[name]
    if number < low and name in _NARROWING:
        raise ValueError(f"{number} is not between {low} and {high}")
    taken = min(max(number, low), high)
    if rest or taken != number:
        note(f"{argument!r} is taken for {taken}")
    return taken


def _check_trusted(config: ServerConfig, path: str) -> None:
    """Refuse to trust everyone: `trusted_retrievers` without a default that narrows it (so does C), and front ends."""
    everyone = Client("/CN=\x01anyone at all")
    if any(rule.matches(everyone) for rule in config.trusted_front_ends or ()):
        raise ConfigError(
            "trusted_front_ends for everyone would let those who guess choose where they are",
            path=path,
            hint="name the portals' certificates",
        )
    trusted, default = config.trusted_retrievers or (), config.default_trusted_retrievers
    if any(rule.matches(everyone) for rule in trusted) and (
        default is None or any(rule.matches(everyone) for rule in default)
    ):
        raise ConfigError(
            "trusted_retrievers for everyone would hand out every credential without a pass phrase",
            path=path,
            hint="narrow trusted_retrievers or set default_trusted_retrievers",
        )
