"""A signer whose key stays in a PKCS#11 token: a hardware module, a smart card, SoftHSM.

    signer = load_pkcs11_signer(
        "pkcs11:token=GridCA;object=ca-key?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/ca/pin"
    )

The place is a URI (RFC 7512). In the path: `token` (label), `serial` (of the token), `object` (the key's label), `id`
(the key's id, percent-encoded bytes). In the query: `module-path` (the library), `pin-source` (`file:PATH`, `fd:N` or
`env:NAME`). `pin-value` is refused, since a URI stands in configurations and process lists.

RSA (PKCS#1 v1.5) and ECDSA on the NIST curves. The digest is computed here, so that the token needs only its bare
signing mechanism. One session per signer and a lock around it: a token has one arithmetic unit, and most modules are
not safe between threads. A session that the token has dropped is opened again once. Needs the extra `hsm`
(python-pkcs11), which is imported when the first signer is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gsi import der, keys
from gsi.ca.signer import Digest, signature_scheme
from gsi.errors import ConfigError, CredentialError, CredentialProblem, GridError, IssuanceError, IssuanceStep
from gsi.secret import Passphrase

if TYPE_CHECKING:
    from types import ModuleType

    from gsi.credential import PassphraseSource

__all__ = ["PKCS11Place", "PKCS11Signer", "load_pkcs11_signer", "parse_pkcs11_uri"]

MAX_PIN_BYTES: Final = 256  # PKCS#11 itself sets no limit; modules take 4 to 255
_SCHEME: Final = "pkcs11:"
_PATH_WORDS: Final = frozenset({"token", "serial", "object", "id", "type", "manufacturer", "model"})
_QUERY_WORDS: Final = frozenset({"module-path", "pin-source"})
# DigestInfo up to the digest itself, RFC 8017 section 9.2 note 1.
_DIGEST_INFO: Final = {
    Digest.SHA256: bytes.fromhex("3031300d060960864801650304020105000420"),
    Digest.SHA384: bytes.fromhex("3041300d060960864801650304020205000430"),
    Digest.SHA512: bytes.fromhex("3051300d060960864801650304020305000440"),
}


@dataclass(frozen=True, slots=True)
class PKCS11Place:
    """Where a key lies. At least one of `token` and `serial`, and one of `label` and `key_id`, is there.

    Attributes:
        module: Path of the PKCS#11 library.
        token: Label of the token, or None for any.
        serial: Serial number of the token, or None for any.
        label: Label of the key, or None for any.
        key_id: Id of the key, or None for any.
        pin_source: `file:PATH`, `fd:N`, `env:NAME`, or None.
    """

    module: str
    token: str | None = None
    serial: str | None = None
    label: str | None = None
    key_id: bytes | None = None
    pin_source: str | None = None


def parse_pkcs11_uri(text: str) -> PKCS11Place:
    """Return the place that a URI names.

    Raises:
        ConfigError: Not such a URI, an attribute twice or unknown, `pin-value`, or too little to find one key.
    """
    path, _, query = text.removeprefix(_SCHEME).partition("?")
    if not text.startswith(_SCHEME):
        raise ConfigError(f"{text!r} is no pkcs11: URI")
    raw = [pair.partition("=")[::2] for pair in path.split(";") if pair]
    found = dict(raw)
    options = dict(pairs := parse_qsl(query, keep_blank_values=True))
    if len(found) != len(raw) or len(options) != len(pairs):
        raise ConfigError("pkcs11: URI: an attribute stands there twice")
    if "pin-value" in options:
        raise ConfigError(
            "pkcs11: URI: a PIN in the URI can be read by everyone who sees the process list or the configuration",
            hint="name where it stands: pin-source=file:/path, pin-source=fd:3 or pin-source=env:NAME",
        )
    unknown = sorted({*found} - _PATH_WORDS | {*options} - _QUERY_WORDS)
    if unknown:
        raise ConfigError(f"pkcs11: URI: {unknown[0]!r} is not known here")
    if found.get("type", "private") != "private":
        raise ConfigError("pkcs11: URI: a signer needs a private key: leave `type` out")
    place = PKCS11Place(
        module=options.get("module-path", ""),
        token=_text(found.get("token")),
        serial=_text(found.get("serial")),
        label=_text(found.get("object")),
        key_id=unquote_to_bytes(found["id"]) if "id" in found else None,
        pin_source=options.get("pin-source"),
    )
    if not place.module.startswith("/"):
        raise ConfigError("pkcs11: URI: module-path must name the library by its whole path")
    if place.token is None and place.serial is None:
        raise ConfigError("pkcs11: URI: neither token nor serial says which token")
    if place.label is None and place.key_id is None:
        raise ConfigError("pkcs11: URI: neither object nor id says which key")
    return place


def _text(raw: str | None) -> str | None:
    return None if raw is None else unquote(raw)


def load_pkcs11_signer(uri: str, *, pin: PassphraseSource = None, digest: Digest | None = None) -> PKCS11Signer:
    """Return the signer for the key that a URI names, logged on to its token.

    Args:
        uri: The place, as the module's docstring says.
        pin: The PIN, or a question for it; `pin-source` in the URI goes first.
        digest: As `gsi.ca.signer.signature_scheme`.

    Raises:
        ConfigError: The URI is malformed, or python-pkcs11 is not installed.
        CredentialError: MISSING (no such token or key, or no library), NEEDS_PASSPHRASE, WRONG_PASSPHRASE, WEAK_KEY,
            UNSUPPORTED_KEY, CANNOT_SIGN.
        IssuanceError: SIGN: the token does not answer.
    """
    place = parse_pkcs11_uri(uri)
    if place.pin_source is not None:
        pin = read_pin(place.pin_source)
    elif callable(pin):
        pin = pin()
    if pin is None:
        raise CredentialError(
            "the token needs its PIN", problem=CredentialProblem.NEEDS_PASSPHRASE, hint="name a pin-source in the URI"
        )
    return PKCS11Signer(place, pin, digest=digest)


def read_pin(source: str) -> Passphrase:
    """Return the PIN from `file:PATH` (mode 0600), `fd:N` or `env:NAME`, without its line end.

    Raises:
        ConfigError: Another kind of source, or a descriptor or variable that is not there.
        CredentialError: MISSING, UNSAFE_FILE.
        ParseError: The file is too long.
    """
    import os

    from gsi.system.environ import get_variable
    from gsi.system.files import read_private

    kind, _, where = source.partition(":")
    if kind == "file":
        return Passphrase(read_private(where, max_bytes=MAX_PIN_BYTES).rstrip(b"\r\n"))
    if kind == "env":
        value = get_variable(where)
        if value is None:
            raise ConfigError(f"the variable {where} with the token's PIN is not set")
        return Passphrase(value)
    if kind == "fd" and where.isdigit():
        try:
            return Passphrase(os.read(int(where), MAX_PIN_BYTES).rstrip(b"\r\n"))
        except OSError as error:
            raise ConfigError(f"the token's PIN cannot be read from descriptor {where}: {error.strerror}") from error
    raise ConfigError(f"{source!r} is no source of a PIN", hint="file:/path, fd:3 or env:NAME")


class _Session(Protocol):
    """What is used of python-pkcs11's sessions."""

    def get_objects(self, attrs: dict[object, object]) -> object: ...

    def close(self) -> None: ...


class _Key(Protocol):
    """What is used of its private keys."""

    def sign(self, data: bytes, *, mechanism: object) -> bytes: ...

    def __getitem__(self, attribute: object) -> object: ...


class PKCS11Signer:
    """A private key in a token. Thread-safe.

    Attributes:
        spki_der: The public key.
        algorithm_der: The AlgorithmIdentifier of its signatures.
    """

    def __init__(self, place: PKCS11Place, pin: Passphrase, *, digest: Digest | None = None) -> None:
        """Log on and find the key; raises as `load_pkcs11_signer`."""
        self._pkcs11 = _import()
        self._place = place
        self._pin = pin
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._key: _Key | None = None
        with self._lock:
            self._open()
            public_key = self._read_public_key()
        self._is_rsa = keys.is_rsa(public_key)
        self.spki_der = keys.spki_der(public_key)
        self.algorithm_der, chosen = signature_scheme(public_key, digest)
        assert chosen is not None  # only Ed25519 has none, and `_read_public_key` refuses it
        self._digest = chosen

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`; raises as `gsi.ca.signer.Signer.sign`."""
        digest = hashlib.new(self._digest.value, data).digest()
        mechanism = self._pkcs11.Mechanism.RSA_PKCS if self._is_rsa else self._pkcs11.Mechanism.ECDSA
        content = _DIGEST_INFO[self._digest] + digest if self._is_rsa else digest
        with self._lock:
            signature = self._sign(content, mechanism)
        if self._is_rsa:
            return signature
        half = len(signature) // 2
        return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))

    def _sign(self, content: bytes, mechanism: object) -> bytes:
        """Sign; open the session anew once if the token has dropped it."""
        for attempt in (1, 2):
            try:
                if self._key is None:
                    self._open()
                assert self._key is not None
                return bytes(self._key.sign(content, mechanism=mechanism))
            except self._pkcs11.exceptions.PKCS11Error as error:
                self._drop()
                if attempt == 2:
                    raise IssuanceError(
                        f"the token did not sign: {type(error).__name__}",
                        step=IssuanceStep.SIGN,
                        hint="see whether the token is there, and its log",
                    ) from error
            except GridError as error:
                raise IssuanceError(f"the token did not sign: {error.message}", step=IssuanceStep.SIGN) from error
        raise AssertionError("the second attempt returns or raises")

    def close(self) -> None:
        """Log off."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        session, self._session, self._key = self._session, None, None
        if session is not None:
            with contextlib.suppress(self._pkcs11.exceptions.PKCS11Error):  # gone already, which is why it is dropped
                session.close()

    def _open(self) -> None:
        """Open a session and find the one key that the place names."""
        place, exceptions = self._place, self._pkcs11.exceptions
        try:
            library = self._pkcs11.lib(place.module)
            wanted = {"token_label": place.token, "token_serial": place.serial and place.serial.encode()}
            tokens = list(library.get_tokens(**{name: value for name, value in wanted.items() if value is not None}))
            if len(tokens) != 1:
                raise _missing(f"{len(tokens)} tokens fit {self._describe_token()}")
            try:
                pin = self._pin.reveal().decode("utf-8")
            except UnicodeDecodeError as error:
                raise CredentialError("the PIN is not text", problem=CredentialProblem.WRONG_PASSPHRASE) from error
            session = cast("_Session", tokens[0].open(user_pin=pin))
        except (exceptions.PinIncorrect, exceptions.PinLenRange, exceptions.PinInvalid) as error:
            raise CredentialError(
                f"the PIN of {self._describe_token()} is wrong", problem=CredentialProblem.WRONG_PASSPHRASE
            ) from error
        except exceptions.PinLocked as error:
            raise CredentialError(
                f"{self._describe_token()} is locked after too many wrong PINs",
                problem=CredentialProblem.WRONG_PASSPHRASE,
                hint="its security officer can unlock it",
            ) from error
        except exceptions.NoSuchToken as error:
            raise _missing(f"no token fits {self._describe_token()}") from error
        except exceptions.PKCS11Error as error:
            raise IssuanceError(
                f"{place.module}: {type(error).__name__}: {error}".rstrip(": "), step=IssuanceStep.SIGN
            ) from error
        except RuntimeError as error:  # how python-pkcs11 says that a library cannot be loaded
            raise _missing(f"{place.module}: cannot be loaded: {error}") from error
        self._session = session
        try:
            self._key = self._find(self._pkcs11.ObjectClass.PRIVATE_KEY)
        except BaseException:
            self._drop()
            raise

    def _find(self, kind: object) -> _Key:
        attribute = self._pkcs11.Attribute
        wanted: dict[object, object] = {attribute.CLASS: kind}
        if self._place.label is not None:
            wanted[attribute.LABEL] = self._place.label
        if self._place.key_id is not None:
            wanted[attribute.ID] = self._place.key_id
        assert self._session is not None
        found = list(cast("list[_Key]", self._session.get_objects(wanted)))
        if len(found) != 1:
            what = " and ".join(
                [f"label {self._place.label!r}"] * (self._place.label is not None)
                + [f"id {self._place.key_id.hex()}" for _ in (1,) if self._place.key_id is not None]
            )
            raise _missing(f"{len(found)} keys with {what} in {self._describe_token()}")
        return found[0]

    def _read_public_key(self) -> keys.PublicKey:
        """Return the public half: RSA's is in the private object, that of an EC key in the public object beside it."""
        assert self._key is not None
        attribute, kinds = self._pkcs11.Attribute, self._pkcs11.KeyType
        try:
            kind = self._key[attribute.KEY_TYPE]
            if kind == kinds.RSA:
                modulus = int.from_bytes(cast("bytes", self._key[attribute.MODULUS]), "big")
                exponent = int.from_bytes(cast("bytes", self._key[attribute.PUBLIC_EXPONENT]), "big")
                content = der.encode_sequence(der.encode_integer(modulus), der.encode_integer(exponent))
                return _parse_public_key("1.2.840.113549.1.1.1", b"\x05\x00", content)
            if kind == kinds.EC:
                public = self._find(self._pkcs11.ObjectClass.PUBLIC_KEY)
                point = der.Reader(cast("bytes", public[attribute.EC_POINT]), what="EC point").octet_string()
                return _parse_public_key("1.2.840.10045.2.1", cast("bytes", public[attribute.EC_PARAMS]), point)
        except self._pkcs11.exceptions.PKCS11Error as error:
            raise IssuanceError(
                f"the token does not tell the public key: {type(error).__name__}", step=IssuanceStep.SIGN
            ) from error
        raise CredentialError("the token's key is neither RSA nor EC", problem=CredentialProblem.UNSUPPORTED_KEY)

    def _describe_token(self) -> str:
        label = f"token {self._place.token!r}" if self._place.token is not None else "the token"
        return label if self._place.serial is None else f"{label} with serial number {self._place.serial}"

    def __repr__(self) -> str:
        return f"<PKCS11Signer {self._place.label or ''} in {self._describe_token()}>"


def _parse_public_key(oid: str, parameters: bytes, content: bytes) -> keys.PublicKey:
    algorithm = der.encode_sequence(der.encode_oid(oid), parameters)
    return keys.parse_public_key(der.encode_sequence(algorithm, der.encode_bit_string(content)))


def _missing(message: str) -> CredentialError:
    return CredentialError(
        message,
        problem=CredentialProblem.MISSING,
        hint="pkcs11-tool --module MODULE --list-slots --list-objects shows what is there",
    )


def _import() -> ModuleType:
    try:
        import pkcs11
        import pkcs11.exceptions
    except ModuleNotFoundError as error:
        raise ConfigError(
            "keys in PKCS#11 tokens need the Python package python-pkcs11, which is not installed",
            hint="pip install 'gsi-toolkit[hsm]'",
        ) from error
    found: ModuleType = pkcs11
    return found
