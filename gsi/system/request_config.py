"""What a CA wants requests to look like: files that CA packages install for `grid-cert-request`; makes no request.

    places = find_request_places(locations, ca_hash=None)
    profile = load_request_profile(places.user_conf)
    profile.fields, profile.bits
    settings = load_settings(places.settings)            # GSI_CA_NAME, GSI_CA_EMAIL_ADDR

`globus-user-ssl.conf` and `globus-host-ssl.conf` are OpenSSL configuration files, of which the section
`req_distinguished_name` gives the parts of the subject; `grid-security.conf` is a list of shell assignments. The C
script runs the latter; here nothing is run, only `$NAME`, `${NAME}` and `${NAME:-word}` are filled in.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import ConfigError, GridError
from gsi.nametypes import find_attribute_type
from gsi.system.environ import GRID_SECURITY_DIR, get_variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsi.system.environ import Locations

__all__ = [
    "MAX_CONFIG_BYTES",
    "NameField",
    "RequestPlaces",
    "RequestProfile",
    "find_request_places",
    "list_configured",
    "load_request_profile",
    "load_settings",
    "parse_request_profile",
    "parse_settings",
]

MAX_CONFIG_BYTES: Final = 256 << 10  # the files as shipped have three to six KiB
MAX_FIELDS: Final = 64  # parts of a subject; CAs in use ask for up to eight
MAX_VALUE_CHARS: Final = 4096
_MAX_DEPTH: Final = 16  # of references within references; the shipped file has two
_USER: Final = "globus-user-ssl.conf"
_HOST: Final = "globus-host-ssl.conf"
_SETTINGS: Final = "grid-security.conf"
_DIRECTIONS: Final = "directions"
_HASH: Final = re.compile(r"[0-9a-f]{8}")
_SECTION: Final = re.compile(r"\[\s*([^\]]*?)\s*\]")
_ASSIGNMENT: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_REFERENCE: Final = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(:-)?)")
_PRINTABLE_MASKS: Final = frozenset({"default", "nombstr", "pkix"})


class RequestPlaces(NamedTuple):
    """Where the files of one CA are; they need not exist."""

    directory: str
    """The security directory, where host and service credentials are put by default."""
    user_conf: str
    host_conf: str
    settings: str
    directions: str
    """Text for people, shown after a request was made."""


class NameField(NamedTuple):
    """One part of the subject that the CA asks for.

    Attributes:
        oid: The attribute type.
        prompt: What a person is asked for.
        default: The CA's own value, or None where a person has to give one.
        least: Least number of characters.
        most: Most, or None.
    """

    oid: str
    prompt: str
    default: str | None = None
    least: int = 0
    most: int | None = None


class RequestProfile(NamedTuple):
    """What requests to this CA contain.

    Attributes:
        fields: The parts of the subject in order.
        bits: Size of an RSA key, or None where the file says nothing.
        printable: Whether PrintableString is used wherever it fits (`string_mask`).
    """

    fields: tuple[NameField, ...]
    bits: int | None = None
    printable: bool = False


def find_request_places(locations: Locations, *, ca_hash: str | None = None) -> RequestPlaces:
    """Return where the configuration of the default CA is, or with a hash that of the CA of this hash.

    The default CA's is in GRID_SECURITY_DIR if that is set, else in /etc/grid-security or /etc, whichever has both
    files; that of a CA with a hash is in the trust directory.

    Raises:
        ConfigError: The files are not there, or the hash is none.
    """
    directory = _security_directory()
    if ca_hash is not None:
        if not _HASH.fullmatch(ca_hash):
            raise ConfigError(f"'{ca_hash}' is no hash of a CA", hint="eight digits of 0-9 and a-f, as grid-cert-info")
        trust_dir = _trust_directory(directory, locations)
        places = _places(directory or GRID_SECURITY_DIR, trust_dir, f".{ca_hash}")
    elif directory is None:
        raise ConfigError(
            f"no {_USER} and {_HOST} in {get_variable('GRID_SECURITY_DIR') or f'{GRID_SECURITY_DIR} or /etc'}",
            hint="install the CA's package and choose it with grid-default-ca, name it with -ca, or ask the CA how "
            "it wants requests",
        )
    else:
        places = _places(directory, directory, "")
    for path in (places.user_conf, places.host_conf):
        if not os.access(path, os.R_OK):
            raise ConfigError(
                "cannot be read",
                path=path,
                hint="install the CA's package; grid-cert-request -ca lists the CAs that are configured",
            )
    return places


def _security_directory() -> str | None:
    named = get_variable("GRID_SECURITY_DIR")
    for place in (named,) if named else (GRID_SECURITY_DIR, "/etc"):
        if all(os.access(os.path.join(place, name), os.R_OK) for name in (_USER, _HOST)):
            return place
    return None


def _trust_directory(directory: str | None, locations: Locations) -> str:
    named = get_variable("X509_CERT_DIR")
    beside = os.path.join(directory or get_variable("GRID_SECURITY_DIR") or GRID_SECURITY_DIR, "certificates")
    return named or (beside if os.path.isdir(beside) else locations.trust_dir)


def _places(directory: str, files: str, suffix: str) -> RequestPlaces:
    return RequestPlaces(directory, *(os.path.join(files, name + suffix) for name in _NAMES))


_NAMES: Final = (_USER, _HOST, _SETTINGS, _DIRECTIONS)


def list_configured(locations: Locations) -> tuple[str, list[str]]:
    """Return the trust directory, and the hashes of the CAs in it that are configured for requests, in order.

    Raises:
        ConfigError: The directory cannot be read.
    """
    trust_dir = _trust_directory(_security_directory(), locations)
    try:
        listed = sorted(os.listdir(trust_dir))
    except OSError as error:
        raise ConfigError(f"the trust directory cannot be read: {error.strerror}", path=trust_dir) from error
    stem = f"{_USER}."
    hashes = [name.removeprefix(stem) for name in listed if name.startswith(stem)]
    return trust_dir, [one for one in hashes if _HASH.fullmatch(one) and f"{one}.0" in listed]


# --- OpenSSL's configuration files -----------------------------------------------------------------------------------


def load_request_profile(path: str) -> RequestProfile:
    """Return what a file says.

    Raises:
        ConfigError: It cannot be read, or as `parse_request_profile`.
    """
    try:
        return parse_request_profile(_read(path))
    except ConfigError as error:
        if error.path is not None:
            raise
        raise ConfigError(error.message, path=path, line=error.line, hint=error.hint) from error


def _read(path: str) -> str:
    from gsi.system.files import read_public

    try:
        return read_public(path, max_bytes=MAX_CONFIG_BYTES).decode("utf-8", "replace")
    except GridError as error:
        raise ConfigError(error.message.removeprefix(f"{path}: "), path=path, hint=error.hint) from error


def parse_request_profile(text: str) -> RequestProfile:
    """Return what a file in OpenSSL's configuration format says about requests.

    Raises:
        ConfigError: It names no parts of a subject, or one of an unknown type, or too many.
    """
    sections = _read_sections(text)
    request = sections.get("req", {})
    wanted = request.get("distinguished_name", "req_distinguished_name")
    fields = _read_fields(sections.get(wanted, {}))
    if not fields:
        raise ConfigError(f"no parts of a subject in section [ {wanted} ]")
    bits = request.get("default_bits", "")
    return RequestProfile(
        fields=fields,
        bits=int(bits) if bits.isascii() and bits.isdigit() and len(bits) < 6 else None,
        printable=request.get("string_mask", "") in _PRINTABLE_MASKS,
    )


def _read_sections(text: str) -> dict[str, dict[str, str]]:
    """Return the values of each section; of two of one name the last counts, as in OpenSSL."""
    sections: dict[str, dict[str, str]] = {}
    current = sections.setdefault("default", {})
    for line in text.replace("\\\n", "").split("\n"):
        plain = _uncommented(line).strip()
        header = _SECTION.fullmatch(plain)
        if header:
            current = sections.setdefault(header[1], {})
            continue
        name, equals, value = plain.partition("=")
        if equals and len(value) <= MAX_VALUE_CHARS:
            current[name.strip()] = _unquoted(value.strip())
    return sections


def _uncommented(line: str) -> str:
    quote = ""
    for place, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and line[place - 1 : place] != "\\":
            return line[:place]
    return line


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return re.sub(r"\\(.)", r"\1", value)


def _read_fields(section: Mapping[str, str]) -> tuple[NameField, ...]:
    fields: list[NameField] = []
    for name, prompt in section.items():
        if name.endswith(("_default", "_min", "_max", "_value")):
            continue
        if len(fields) == MAX_FIELDS:
            raise ConfigError(f"more than {MAX_FIELDS} parts of a subject")
        oid = find_attribute_type(re.sub(r"^[^.]*\.(?=[A-Za-z])", "", name))
        if oid is None:
            raise ConfigError(f"'{name}' is no type of a part of a subject that is known")
        fields.append(
            NameField(
                oid,
                prompt.strip(),
                section.get(f"{name}_default") or section.get(f"{name}_value") or None,
                _limit(section.get(f"{name}_min")) or 0,
                _limit(section.get(f"{name}_max")),
            )
        )
    return tuple(fields)


def _limit(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else None


# --- Shell assignments -----------------------------------------------------------------------------------------------


def load_settings(path: str) -> dict[str, str]:
    """Return the assignments of a file; none where there is no file.

    Raises:
        ConfigError: It cannot be read, or a reference does not end.
    """
    if not os.path.exists(path):
        return {}
    try:
        return parse_settings(_read(path))
    except ConfigError as error:
        if error.path is not None:
            raise
        raise ConfigError(error.message, path=path, line=error.line) from error


def parse_settings(text: str) -> dict[str, str]:
    """Return the assignments in shell syntax, references filled in from those above; other lines are passed over.

    Raises:
        ConfigError: A reference does not end, or a value grows too long.
    """
    settings: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        found = _ASSIGNMENT.fullmatch(line.strip())
        if not found:
            continue
        value = found[2].strip()
        try:
            if len(value) >= 2 and value[0] == value[-1] == "'":
                settings[found[1]] = value[1:-1]
            else:
                settings[found[1]] = _fill_in(value.strip('"'), settings, 0)
        except ConfigError as error:
            raise ConfigError(error.message, line=number) from error
    return settings


def _fill_in(value: str, settings: Mapping[str, str], depth: int) -> str:
    """Fill references in; command substitutions and all else stay as text."""
    if depth > _MAX_DEPTH:
        raise ConfigError("references within references, too many")
    out: list[str] = []
    at = 0
    while found := _REFERENCE.search(value, at):
        out.append(value[at : found.start()])
        at = found.end()
        if found[1] is not None:
            out.append(settings.get(found[1], ""))
            continue
        end = _closing_brace(value, at)
        known = settings.get(found[2], "")
        word = value[at:end]
        at = end + 1
        out.append(known or (_fill_in(word, settings, depth + 1) if found[3] else ""))
    out.append(value[at:])
    filled = "".join(out)
    if len(filled) > MAX_VALUE_CHARS:
        raise ConfigError(f"a value of more than {MAX_VALUE_CHARS} characters")
    return filled


def _closing_brace(value: str, at: int) -> int:
    depth = 1
    while at < len(value):
        depth += {"{": 1, "}": -1}.get(value[at], 0)
        if not depth:
            return at
        at += 1
    raise ConfigError("a reference ${...} does not end")
