"""Capabilities inside a proxy: the assertion as GT4 has it, the attribute certificates as VOMS has them.

    proxy = embed(credential, [assertion_extension(xml), attribute_extension([certificate])], options, now=now)
    save_proxy(path, proxy)                                    # `gsi.system.credential_files`: mode 0600, in one step

A new RFC 3820 proxy below the holder's credential, made by `gsi.proxy.issue` as any other. None of the extensions is
critical: services that do not know them pass over them, and OpenSSL would refuse the chain for one that is. Which proxy
carries a capability proves nothing, so this checks only what would be no use to the holder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi import names, oids
from gsi.certificate import Certificate, Extension
from gsi.errors import (
    CapabilityError,
    ConfigError,
    CredentialError,
    CredentialProblem,
    DeniedError,
    ParseError,
    VerificationError,
)
from gsi.proxy.chain import ProxyChain
from gsi.proxy.issue import ProxyOptions, make_proxy
from gsi.proxy.kinds import ProxyFormat
from gsi.saml.carriers import encode_extension_value, find_assertions
from gsi.voms.attribute_cert import MAX_ATTRIBUTE_CERTIFICATES, encode_sequence_of, parse_sequence_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gsi.credential import Credential
    from gsi.saml.assertion import Assertion
    from gsi.voms.attribute_cert import AttributeCertificate

__all__ = [
    "MAX_SAFE_CHAIN_BYTES",
    "assertion_extension",
    "attribute_extension",
    "carried_assertions",
    "embed",
    "legacy_assertion_extension",
]

MAX_SAFE_CHAIN_BYTES: Final = 10_000
"""What the oldest clients take of a peer's certificates: a larger chain works with today's software alone."""

_ASK_WITHOUT: Final = "ask with a proxy that carries none (-x FILE)"
_MAX_CARRIED: Final = 8  # in one chain; `find_assertions` stops at 16, and nothing must hide behind its bound


def assertion_extension(xml: bytes) -> Extension:
    """Return the extension in which GT 4.0.7 and later carry an assertion (`UTF8String`).

    Raises:
        ConfigError: It is not UTF-8.
    """
    return Extension(oids.SAML_ASSERTION, False, encode_extension_value(_text(xml)))


def legacy_assertion_extension(xml: bytes) -> Extension:
    """Return the extension in which CAS of GT 3 and 4.0 carries an assertion: the XML as it is, which is no DER.

    For readers of that time only; the same identifier is the policy language of limited proxies.

    Raises:
        ConfigError: It is not UTF-8.
    """
    return Extension(oids.SAML_ASSERTION_GT3, False, _text(xml).encode("utf-8"))


def attribute_extension(certificates: Sequence[AttributeCertificate]) -> Extension:
    """Return the extension in which VOMS carries attribute certificates, the first community's first.

    Raises:
        ConfigError: None, or more than can be read.
    """
    if not 0 < len(certificates) <= MAX_ATTRIBUTE_CERTIFICATES:
        raise ConfigError(f"{len(certificates)} attribute certificates; from 1 to {MAX_ATTRIBUTE_CERTIFICATES} fit in")
    return Extension(oids.VOMS_AC_SEQUENCE, False, encode_sequence_of(certificates))


def embed(
    credential: Credential,
    extensions: Sequence[Extension],
    options: ProxyOptions | None = None,
    *,
    now: datetime,
) -> Credential:
    """Return a new proxy below a credential that carries capabilities.

    Args:
        credential: The holder's, an end entity's or a proxy.
        extensions: What it is to carry; from the functions of this module.
        options: What proxy to make; the kind follows the credential's.
        now: The present time (aware UTC).

    Raises:
        ConfigError: An attribute certificate is another holder's, an extension is critical or there twice, or the
            options contradict one another.
        CredentialError: The credential cannot sign such a proxy.
    """
    options = options or ProxyOptions()
    if options.format not in {None, ProxyFormat.RFC3820}:
        raise ConfigError("capabilities are carried in RFC 3820 proxies alone")
    try:
        eec = ProxyChain.split(credential.certificates).eec
    except (VerificationError, ParseError) as error:
        raise CredentialError(
            f"this credential cannot sign a proxy: {error.message}",
            problem=CredentialProblem.CANNOT_SIGN,
            hint=error.hint,
        ) from error
    for extension in extensions:
        _check(extension, eec)
    return make_proxy(credential, options._replace(extensions=(*options.extensions, *extensions)), now=now)


def carried_assertions(chain: Sequence[Certificate], signers: Sequence[bytes]) -> tuple[Assertion, ...]:
    """Return the assertions of some signers that a chain carries, to bound what is issued to whoever has it.

    They are not verified, and may have ended: what is forged or over bounds as well.

    Args:
        chain: Leaf first.
        signers: The names of the signers in DER.

    Raises:
        DeniedError: Too many, or one that cannot be read.
    """
    from gsi.saml.assertion import read_assertion
    from gsi.saml.document import parse_document, split_tag
    from gsi.saml.signature import DS
    from gsi.saml.trust import dn_key, name_key

    carried = find_assertions(chain, accept_gt3=True)
    if len(carried) > _MAX_CARRIED:
        raise DeniedError(f"more than {_MAX_CARRIED} assertions in the proxies", hint=_ASK_WITHOUT)
    found = []
    try:
        known = {name_key(one) for one in signers}
        for one in carried:
            if one.error is not None:
                raise one.error
            root = parse_document(one.data)
            for child in [child for child in root if split_tag(child) == (DS, "Signature")]:
                root.remove(child)
            assertion = read_assertion(root)
            if dn_key(assertion.issuer) in known:
                found.append(assertion)
    except (CapabilityError, ParseError) as error:
        raise DeniedError(f"an assertion in the proxies cannot be read: {error.message}", hint=_ASK_WITHOUT) from error
    return tuple(found)


def _check(extension: Extension, eec: Certificate) -> None:
    if extension.critical:
        raise ConfigError(f"extension {extension.oid} is critical, so services would refuse the proxy")
    if extension.oid != oids.VOMS_AC_SEQUENCE:
        return
    try:
        for certificate in parse_sequence_of(extension.value):
            info = certificate.info
            if info.holder_serial != eec.serial or not names.same_name(info.holder_issuer_der, eec.issuer_der):
                raise ConfigError(
                    "an attribute certificate was issued to another holder than the credential's",
                    hint="fetch it with the same certificate",
                )
    except ParseError as error:
        raise ConfigError(f"what is to be embedded is no list of attribute certificates: {error.message}") from error


def _text(xml: bytes) -> str:
    try:
        return xml.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("an assertion that is not UTF-8") from error
