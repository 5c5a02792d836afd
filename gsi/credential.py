"""A credential as a value: a private key, its certificate, and the chain above it; not how it was made or is judged.

    credential = parse_credential(pem, source=path)
    credential.subject, credential.not_after
    pem = credential.encode()

The PEM order written is that of every grid tool: certificate, key, then the issuers from the signer up (the C reader
takes the first certificate for the leaf). Any order is read. Must agree with
gct:gsi/credential/source/library/globus_gsi_credential.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from gsi import keys
from gsi.certificate import Certificate
from gsi.errors import CredentialError, CredentialProblem, ParseError
from gsi.names import canonical, oneline
from gsi.pem import split_pem
from gsi.secret import Passphrase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from gsi.keys import PrivateKey
    from gsi.pem import PEMBlock

__all__ = [
    "MAX_CERTIFICATES",
    "MAX_CREDENTIAL_BYTES",
    "Credential",
    "PassphraseSource",
    "located",
    "order_chain",
    "parse_credential",
    "parse_pkcs12",
]

MAX_CREDENTIAL_BYTES: Final = 1 << 20  # ten proxies with attribute certificates of 60 kB each stay below
MAX_CERTIFICATES: Final = 100  # the validator takes no longer chain

# What a reader takes for a pass phrase: it, nothing, or a question asked only when a key turns out to be locked.
PassphraseSource: TypeAlias = "Passphrase | Callable[[], Passphrase] | None"

_CERTIFICATE_LABELS: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
_TRUSTED: Final = "TRUSTED CERTIFICATE"
_KEY_SUFFIX: Final = "PRIVATE KEY"
_WHAT: Final = "PEM file"


class Credential:
    """A private key with its certificate and the chain above it; immutable, and its key fits its certificate.

    Attributes:
        key: The private key.
        certificate: The leaf: a proxy or an end-entity certificate.
        chain: The certificates above the leaf, its issuer first, up to the EEC and any intermediate CA; no root.
        other_blocks: PEM blocks of other kinds found beside, kept for when the file is written again.
    """

    __slots__ = ("certificate", "chain", "key", "other_blocks")

    key: PrivateKey
    certificate: Certificate
    chain: tuple[Certificate, ...]
    other_blocks: tuple[bytes, ...]

    def __init__(
        self,
        key: PrivateKey,
        certificate: Certificate,
        chain: Iterable[Certificate] = (),
        *,
        other_blocks: Iterable[bytes] = (),
    ) -> None:
        """Join the parts.

        Raises:
            CredentialError: KEY_MISMATCH: the key is not that of the certificate.
        """
        if not keys.same_key(key, certificate.spki_der):
            raise CredentialError(
                "the private key does not belong to the certificate",
                problem=CredentialProblem.KEY_MISMATCH,
                hint="use the key that the certificate was requested with",
            )
        put = object.__setattr__
        put(self, "key", key)
        put(self, "certificate", certificate)
        put(self, "chain", tuple(chain))
        put(self, "other_blocks", tuple(other_blocks))

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The leaf and the chain, as a peer is shown them."""
        return (self.certificate, *self.chain)

    @property
    def subject(self) -> str:
        """The leaf's subject in one-line form."""
        return oneline(self.certificate.subject_der)

    @property
    def issuer(self) -> str:
        """The leaf's issuer in one-line form."""
        return oneline(self.certificate.issuer_der)

    @property
    def not_before(self) -> datetime:
        """The latest begin of validity of all its certificates, aware UTC."""
        return max(certificate.not_before for certificate in self.certificates)

    @property
    def not_after(self) -> datetime:
        """The earliest end of validity of all its certificates, aware UTC."""
        return min(certificate.not_after for certificate in self.certificates)

    def encode(self, *, traditional: bool = False, passphrase: Passphrase | None = None) -> bytes:
        """Return the PEM bundle: certificate, key, chain, other blocks.

        Args:
            traditional: Write an RSA key as `RSA PRIVATE KEY`, for old readers. Other keys stay PKCS#8, because GCT
                does not know `EC PRIVATE KEY`.
            passphrase: Locks the key; None writes it open, as a proxy file has it.

        Raises:
            CredentialError: As `gsi.keys.encode_private_key`.
        """
        traditional = traditional and keys.is_rsa(self.key)
        return b"".join(
            (
                self.certificate.pem(),
                keys.encode_private_key(self.key, passphrase=passphrase, traditional=traditional),
                *(certificate.pem() for certificate in self.chain),
                *self.other_blocks,
            )
        )

    def encode_chain(self) -> bytes:
        """Return the leaf and the chain as PEM, without the key."""
        return b"".join(certificate.pem() for certificate in self.certificates)

    def __repr__(self) -> str:
        return f"<Credential {self.subject!r} with {len(self.chain)} issuers>"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Credential is immutable; {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Credential is immutable; {name} cannot be deleted")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Credential is not serialised: it holds a private key")


def parse_credential(
    pem: bytes,
    *,
    passphrase: PassphraseSource = None,
    key_pem: bytes | None = None,
    source: str = "credential",
    key_source: str | None = None,
) -> Credential:
    """Return the credential in a PEM bundle, its blocks in any order.

    The first certificate is the leaf; the rest is put in order by `order_chain`. Blocks of other kinds are kept.

    Args:
        pem: The bundle.
        passphrase: Opens a locked key; a function is called only when the key is locked.
        key_pem: Where the key is, when it is not in `pem`; a key in `pem` is then not looked at.
        source: Name of the file, for error texts; becomes `path` of a `CredentialError`.
        key_source: The same for `key_pem`; None is `source`.

    Raises:
        ParseError: A block is malformed, above all the first certificate, or there are more than `MAX_CERTIFICATES`.
        CredentialError: MISSING (no certificate), KEY_MISSING, KEY_MISMATCH, and as `gsi.keys.parse_private_key`.
    """
    try:
        certificates, found_keys, others = _sort_blocks(pem)
        parsed = [_parse_certificate(block, number) for number, block in enumerate(certificates)]
    except (ParseError, CredentialError) as error:
        raise located(error, source) from error
    key_source = source if key_source is None else key_source
    try:
        if key_pem is not None:
            found_keys = _key_blocks(key_pem)
        key = _parse_key(found_keys, passphrase)
    except (ParseError, CredentialError) as error:
        raise located(error, key_source) from error
    try:
        return Credential(key, parsed[0], order_chain(parsed[0], parsed[1:]), other_blocks=others)
    except (ParseError, CredentialError) as error:
        raise located(error, source if key_source == source else f"{key_source} and {source}") from error


def _sort_blocks(pem: bytes) -> tuple[list[PEMBlock], list[PEMBlock], list[bytes]]:
    """Return (certificates, keys, other blocks) of a bundle."""
    certificates: list[PEMBlock] = []
    found_keys: list[PEMBlock] = []
    others: list[bytes] = []
    for block in _split(pem):
        if block.label in _CERTIFICATE_LABELS:
            certificates.append(block)
        elif block.label == _TRUSTED:
            raise ParseError(
                "OpenSSL's TRUSTED CERTIFICATE form is not read in a credential",
                what=_WHAT,
                hint="convert it: openssl x509 -in FILE -clrtrust",
            )
        elif block.label.endswith(_KEY_SUFFIX):
            found_keys.append(block)
        else:
            others.append(block.text)
    if not certificates:
        raise CredentialError("no certificate in it", problem=CredentialProblem.MISSING)
    if len(certificates) > MAX_CERTIFICATES:
        raise ParseError(f"{len(certificates)} certificates in it, limit {MAX_CERTIFICATES}", what=_WHAT)
    return certificates, found_keys, others


def _key_blocks(pem: bytes) -> list[PEMBlock]:
    return [block for block in _split(pem) if block.label.endswith(_KEY_SUFFIX)]


def _split(pem: bytes) -> tuple[PEMBlock, ...]:
    if len(pem) > MAX_CREDENTIAL_BYTES:
        raise ParseError(f"longer than {MAX_CREDENTIAL_BYTES} bytes", what=_WHAT)
    return split_pem(pem, what=_WHAT)


def _parse_key(blocks: list[PEMBlock], passphrase: PassphraseSource) -> PrivateKey:
    if not blocks:
        raise CredentialError("no private key in it", problem=CredentialProblem.KEY_MISSING)
    if len(blocks) > 1:
        raise ParseError("more than one private key in it", what=_WHAT, hint="keep the one of the first certificate")
    return keys.parse_private_key(blocks[0], _ask(passphrase) if keys.is_encrypted(blocks[0]) else None)


def _ask(passphrase: PassphraseSource) -> Passphrase | None:
    return passphrase if passphrase is None or isinstance(passphrase, Passphrase) else passphrase()


def _parse_certificate(block: PEMBlock, number: int) -> Certificate:
    try:
        return Certificate.parse(block.data)
    except ParseError as error:
        raise ParseError(f"certificate {number}: {error.message}", what=error.what, offset=error.offset) from error


def order_chain(leaf: Certificate, others: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return the certificates above a leaf, each followed by its issuer.

    Names alone link, signatures are the validator's business: from the leaf upwards the first certificate in the given
    order whose subject is the wanted issuer is taken, so a file in the right order stays as it is. Copies and
    self-issued roots are left out; what links to nothing is kept behind, in the given order.

    Raises:
        ParseError: A name is malformed.
    """
    rest = [certificate for certificate in dict.fromkeys(others) if certificate != leaf]
    rest = [certificate for certificate in rest if not certificate.is_self_issued]
    known: dict[bytes, bytes] = {}

    def fold(name_der: bytes) -> bytes:
        """Return the canonical form, made once for each name."""
        if name_der not in known:
            known[name_der] = canonical(name_der)
        return known[name_der]

    def is_issuer(above: Certificate, below: Certificate) -> bool:
        return above.subject_der == below.issuer_der or fold(above.subject_der) == fold(below.issuer_der)

    linked: list[Certificate] = []
    below = leaf
    while not below.is_self_issued:
        above = next((one for one in rest if is_issuer(one, below)), None)
        if above is None:
            break
        rest.remove(above)
        linked.append(above)
        below = above
    return (*linked, *rest)


def parse_pkcs12(
    data: bytes, passphrase: PassphraseSource = None, *, source: str = "credential", max_rounds: int | None = None
) -> Credential:
    """Return the credential in a PKCS#12 file (RFC 7292), DER or BER.

    Args:
        data: The file.
        passphrase: Opens it; a function is called only once the file is seen to be one.
        source: Name of the file, for error texts.
        max_rounds: How many rounds of key derivation opening it may take; None is `gsi.keylocks.MAX_KDF_ITERATIONS`.

    Raises:
        ParseError: Not such a file, or a certificate in it is malformed.
        CredentialError: As `gsi.pkcs12.parse_pkcs12_bag`.
    """
    from gsi.pkcs12 import check_pkcs12, parse_pkcs12_bag

    try:
        check_pkcs12(data, max_rounds=max_rounds)  # before a person is asked for the pass phrase
        key, certificates = parse_pkcs12_bag(data, _ask(passphrase), max_rounds=max_rounds)
        if len(certificates) > MAX_CERTIFICATES:
            raise ParseError(f"{len(certificates)} certificates in it, limit {MAX_CERTIFICATES}", what="PKCS#12 file")
        return Credential(key, certificates[0], order_chain(certificates[0], certificates[1:]))
    except (ParseError, CredentialError) as error:
        raise located(error, source) from error


def located(error: ParseError | CredentialError, source: str) -> ParseError | CredentialError:
    """Return the same error with the name of the file in front of its message."""
    if isinstance(error, ParseError):
        return ParseError(f"{source}: {error.message}", what=error.what, offset=error.offset, hint=error.hint)
    if error.path is not None:
        return error
    return CredentialError(f"{source}: {error.message}", problem=error.problem, path=source, hint=error.hint)
