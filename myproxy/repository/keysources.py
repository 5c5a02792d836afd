"""Where keys of the server come from: a file, a systemd credential, a PKCS#11 token; not what they do (`serverkeys`).

    key = load_server_key("/etc/myproxy/server.key")
    key = load_server_key("credential:myproxy-key")            # $CREDENTIALS_DIRECTORY/myproxy-key
    key = load_server_key("pkcs11:token=T;object=myproxy?module-path=/usr/lib/...so&pin-source=file:/etc/myproxy/pin")

A file holds 32 random bytes, as they are, in base64 or in hexadecimal digits:

    umask 077; openssl rand -base64 32 > /etc/myproxy/server.key

An AES key in a token never leaves it. The server key is derived from it by the token, in the counter mode of NIST
SP 800-108 with AES-CMAC: so the token is needed when the server starts, not for each logon, and a copy of the disk is
worth nothing without it. While the server runs the derived key is in its memory.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from typing import TYPE_CHECKING, Final, Protocol, cast

from gsi.errors import ConfigError, GridError
from myproxy.repository.serverkeys import SERVER_KEY_BYTES, ServerKey, ServerKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["NO_KEY", "load_server_key", "load_server_keys", "parse_key_text"]

NO_KEY: Final = "none"
"""In place of the first source: what is stored from now on lies under no server key."""

MAX_SOURCE_BYTES: Final = 1024
"""The largest file with a key: 64 digits and some white space."""

_LABEL: Final = b"myproxy server key"
_BLOCK_BYTES: Final = 16
_FIT: Final = "it must be an AES key with CKA_SIGN; docs/howto/myproxy-repository.md has commands that make one"


class _TokenKey(Protocol):
    """What is used of python-pkcs11's secret keys."""

    def sign(self, data: bytes, *, mechanism: object) -> bytes: ...


def load_server_keys(sources: Iterable[str]) -> ServerKeys:
    """Return the keys that the configuration names; the first wraps, unless it is `NO_KEY`.

    Raises:
        ConfigError: One of them cannot be used; the message names the source and nothing of the key.
    """
    words = list(sources)
    wraps = words[:1] != [NO_KEY]
    keys = [load_server_key(source) for source in (words if wraps else words[1:])]
    if len({key.id for key in keys}) != len(keys):
        raise ConfigError("server_key names the same key twice")
    return ServerKeys(keys, wraps=wraps)


def load_server_key(source: str) -> ServerKey:
    """Return the key at one place.

    Raises:
        ConfigError: There is none, or it cannot be used.
    """
    try:
        if source.startswith("pkcs11:"):
            return ServerKey(_derive_in_token(source))
        if source.startswith("credential:"):
            return ServerKey(parse_key_text(_read_credential(source.removeprefix("credential:"))))
        path = source.removeprefix("file:")
        if not os.path.isabs(path):
            raise ConfigError("is none of /path, file:/path, credential:NAME, pkcs11:...")
        from gsi.system.files import read_private

        return ServerKey(parse_key_text(read_private(path, max_bytes=MAX_SOURCE_BYTES)))
    except GridError as error:
        raise ConfigError(f"server_key {source}: {error.message}", hint=error.hint) from error


def parse_key_text(data: bytes) -> bytes:
    """Return the 32 bytes that a file holds, plain, in base64 or in hexadecimal digits.

    Raises:
        ConfigError: It holds no such thing.
    """
    if len(data) == SERVER_KEY_BYTES:
        return data
    text = data.strip()
    found = b""
    with contextlib.suppress(ValueError, binascii.Error):
        found = bytes.fromhex(text.decode("ascii")) if len(text) == 64 else base64.b64decode(text, validate=True)
    if len(found) != SERVER_KEY_BYTES:
        raise ConfigError("is not a key of 32 bytes", hint="make one: umask 077; openssl rand -base64 32 > FILE")
    return found


def _read_credential(name: str) -> bytes:
    from gsi.system.environ import get_variable
    from gsi.system.files import read_public

    directory = get_variable("CREDENTIALS_DIRECTORY")
    if directory is None:
        raise ConfigError(
            "there is no $CREDENTIALS_DIRECTORY", hint=f"LoadCredential={name}:/path in the service's unit sets it"
        )
    if not name or "/" in name or name.startswith("."):
        raise ConfigError("is no name of a credential")
    # systemd makes directory and file, readable for the service alone; whose they are differs between its versions.
    return read_public(os.path.join(directory, name), max_bytes=MAX_SOURCE_BYTES, check_writers=True)


def _derive_in_token(uri: str) -> bytes:
    """Return what the token makes of its AES key: SP 800-108 section 4.1, L = 256 bits, no context."""
    from gsi.ca.pkcs11_token import acquire, import_pkcs11, missing, parse_pkcs11_uri, read_pin, release

    place = parse_pkcs11_uri(uri)
    pkcs11 = import_pkcs11()
    if place.pin_source is None:
        raise ConfigError("the token needs its PIN", hint="name a pin-source in the URI")
    login = acquire(place, read_pin(place.pin_source))
    try:
        with login.lock:
            wanted: dict[object, object] = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}
            if place.label is not None:
                wanted[pkcs11.Attribute.LABEL] = place.label
            if place.key_id is not None:
                wanted[pkcs11.Attribute.ID] = place.key_id
            found = list(cast("Sequence[_TokenKey]", login.session().get_objects(wanted)))
            if len(found) != 1:
                raise missing(f"{len(found)} secret keys with {place.describe_key()} in {place.describe_token()}")
            if not hasattr(found[0], "sign"):  # python-pkcs11 gives keys what their attributes allow
                raise ConfigError(f"the key with {place.describe_key()} may not sign (CKA_SIGN is false)", hint=_FIT)
            blocks = [
                found[0].sign(
                    number.to_bytes(1, "big") + _LABEL + b"\0" + (SERVER_KEY_BYTES * 8).to_bytes(2, "big"),
                    mechanism=pkcs11.Mechanism.AES_CMAC,
                )
                for number in range(1, SERVER_KEY_BYTES // _BLOCK_BYTES + 1)
            ]
    except pkcs11.exceptions.PKCS11Error as error:
        raise ConfigError(f"the token did not compute AES-CMAC: {type(error).__name__}", hint=_FIT) from error
    finally:
        release(login)
    derived = b"".join(bytes(block) for block in blocks)
    if len(derived) != SERVER_KEY_BYTES:
        raise ConfigError("the token's answer has a wrong size")
    return derived
