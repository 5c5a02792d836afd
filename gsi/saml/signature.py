"""The signature of an assertion: of one shape only, checked by signxml; says what was signed and by which certificates.

    signature = find_signature(root, "AssertionID")
    signature.certificates                                   # as the signature brings them; they prove nothing
    signed = check_signature(data, signature, certificate, now=now)      # the bytes that were signed

The shape: one signature in the whole document, a child of the root; one reference, to the root's id; the transforms
enveloped and exclusive canonicalization and no other; SHA-256 or better with RSA or ECDSA. So there is one thing only
that can have been signed, and it is returned as bytes: whoever reads the assertion reads these and not the document.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.certificate import Certificate
from gsi.errors import CapabilityError, CapabilityProblem, ConfigError, ParseError
from gsi.saml.document import Element, children, refuse, split_tag

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["DS", "Signature", "check_signature", "find_signature", "parse_certificates"]

DS: Final = "http://www.w3.org/2000/09/xmldsig#"
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ENVELOPED: Final = f"{DS}enveloped-signature"
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_METHODS: Final = {
    f"{_MORE}rsa-sha256": "RSA_SHA256",
    f"{_MORE}rsa-sha384": "RSA_SHA384",
    f"{_MORE}rsa-sha512": "RSA_SHA512",
    f"{_MORE}ecdsa-sha256": "ECDSA_SHA256",
    f"{_MORE}ecdsa-sha384": "ECDSA_SHA384",
    f"{_MORE}ecdsa-sha512": "ECDSA_SHA512",
}
_DIGESTS: Final = {
    "http://www.w3.org/2001/04/xmlenc#sha256": "SHA256",
    f"{_MORE}sha384": "SHA384",
    "http://www.w3.org/2001/04/xmlenc#sha512": "SHA512",
}
_WEAK: Final = {f"{DS}rsa-sha1": "RSA_SHA1"}
_WEAK_DIGESTS: Final = {f"{DS}sha1": "SHA1"}
_MAX_CERTIFICATES: Final = 8
_P: Final = CapabilityProblem


class Signature(NamedTuple):
    """The signature of a document, of the right shape; not checked."""

    reference: str
    """The id that it speaks of, which is the root's."""
    id_attribute: str
    certificates: tuple[Certificate, ...]
    """What its KeyInfo brings, in its order."""


def find_signature(root: Element, id_attribute: str, *, accept_sha1: bool = False) -> Signature:
    """Return the one signature of a document.

    Args:
        root: The root element, which has to be signed.
        id_attribute: The attribute with its id: "AssertionID", or "ID" for SAML 2.0.
        accept_sha1: Take the algorithms of old CAS servers, which are broken.

    Raises:
        CapabilityError: BAD_SIGNATURE when there is none, ALGORITHM, or MALFORMED for another shape.
    """
    found = [element for element in root.iter() if split_tag(element) == (DS, "Signature")]
    if not found:
        raise refuse("not signed", _P.BAD_SIGNATURE)
    if len(found) > 1 or found[0].getparent() is not root:
        raise refuse("signatures elsewhere than one in its root")
    parts = children(found[0], DS)
    names = [name for name, _ in parts]
    if names not in (["SignedInfo", "SignatureValue"], ["SignedInfo", "SignatureValue", "KeyInfo"]):
        raise refuse("a signature of another shape")
    identifier = root.get(id_attribute) or ""
    _check_signed_info(parts[0][1], identifier, accept_sha1=accept_sha1)
    certificates = parse_certificates(parts[2][1]) if len(parts) == 3 else ()
    return Signature(identifier, id_attribute, certificates)


def _algorithm(element: Element) -> str:
    if set(element.attrib) != {"Algorithm"}:
        raise refuse("a signature of another shape")
    return str(element.get("Algorithm"))


def _check_signed_info(signed_info: Element, identifier: str, *, accept_sha1: bool) -> None:
    parts = children(signed_info, DS)
    if [name for name, _ in parts] != ["CanonicalizationMethod", "SignatureMethod", "Reference"]:
        raise refuse("a signature with another number of references than one")
    canonicalization, method, reference = (element for _, element in parts)
    if _algorithm(canonicalization) != _EXCLUSIVE:
        raise refuse("a canonicalization other than the exclusive one", _P.ALGORITHM)
    _check_prefixes(canonicalization)
    methods, digests = dict(_METHODS), dict(_DIGESTS)
    if accept_sha1:
        methods |= _WEAK
        digests |= _WEAK_DIGESTS
    if _algorithm(method) not in methods or len(method):
        raise refuse(f"the signature algorithm {_algorithm(method)[:80]!r} is not accepted", _P.ALGORITHM)
    if reference.get("URI") != f"#{identifier}" or set(reference.attrib) - {"URI", "Id"} or not identifier:
        raise refuse("its signature speaks of something else")
    inner = children(reference, DS)
    if [name for name, _ in inner] != ["Transforms", "DigestMethod", "DigestValue"]:
        raise refuse("a signature of another shape")
    transforms = children(inner[0][1], DS)
    if [(name, _algorithm(one)) for name, one in transforms] != [("Transform", _ENVELOPED), ("Transform", _EXCLUSIVE)]:
        raise refuse("transforms other than enveloped and exclusive canonicalization", _P.ALGORITHM)
    if len(transforms[0][1]):
        raise refuse("a signature of another shape")
    _check_prefixes(transforms[1][1])
    if _algorithm(inner[1][1]) not in digests or len(inner[1][1]):
        raise refuse(f"the digest {_algorithm(inner[1][1])[:80]!r} is not accepted", _P.ALGORITHM)


def _check_prefixes(element: Element) -> None:
    """Let InclusiveNamespaces be the only thing within: it changes which declarations are signed, and no content."""
    for name, child in children(element, _EXCLUSIVE):
        if name != "InclusiveNamespaces" or set(child.attrib) != {"PrefixList"} or len(child):
            raise refuse("a signature of another shape")


@lru_cache(maxsize=64)
def _parse_certificate(content: bytes) -> Certificate:
    """Read a certificate; those of a site's issuers come again and again."""
    return Certificate.parse(content)


def parse_certificates(key_info: Element) -> tuple[Certificate, ...]:
    """Return the certificates of a KeyInfo; other words about a certificate are passed over.

    Raises:
        CapabilityError: MALFORMED: there is anything else in it, or a certificate does not parse.
    """
    found: list[Certificate] = []
    for name, data in children(key_info, DS):
        if name != "X509Data":
            raise refuse(f"a key given as {name[:40]}, where certificates are meant")
        for kind, element in children(data, DS):
            if kind != "X509Certificate":
                continue
            if len(found) == _MAX_CERTIFICATES:
                raise refuse(f"more than {_MAX_CERTIFICATES} certificates")
            try:
                content = base64.b64decode("".join((element.text or "").split()), validate=True)
                found.append(_parse_certificate(content))
            except (binascii.Error, ValueError, ParseError) as error:
                raise CapabilityError(
                    "assertion: a certificate that is none", problem=CapabilityProblem.MALFORMED
                ) from error
    return tuple(found)


def check_signature(
    data: bytes, signature: Signature, signer: Certificate, *, now: datetime, accept_sha1: bool = False
) -> bytes:
    """Check the signature under a certificate that the caller trusts; return the bytes that were signed.

    Args:
        data: The document.
        signature: What `find_signature` found in it.
        signer: Whose key is to have signed, whatever the document says.
        now: The time at which the certificate must be valid (aware UTC).
        accept_sha1: As for `find_signature`.

    Raises:
        CapabilityError: BAD_SIGNATURE.
        ConfigError: The extra `saml` is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from lxml.etree import LxmlError
        from signxml.algorithms import DigestAlgorithm, SignatureMethod
        from signxml.exceptions import SignXMLException
        from signxml.verifier import SignatureConfiguration, XMLVerifier
    except ImportError as error:
        raise ConfigError("assertions need signxml", hint="install the extra: gsi-toolkit[saml]") from error
    methods = [*_METHODS.values(), *(_WEAK.values() if accept_sha1 else ())]
    digests = [*_DIGESTS.values(), *(_WEAK_DIGESTS.values() if accept_sha1 else ())]
    configuration = SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=frozenset(SignatureMethod[name] for name in methods),
        digest_algorithms=frozenset(DigestAlgorithm[name] for name in digests),
        verification_time=now,
    )
    try:
        found = XMLVerifier().verify(
            data,
            x509_cert=signer.x509,
            validate_schema=False,  # the shape was checked more strictly than the schema says
            id_attribute=signature.id_attribute,
            expect_config=configuration,
        )
    except (
        SignXMLException,
        LxmlError,
        UnsupportedAlgorithm,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
    ) as error:
        raise CapabilityError(
            f"assertion: the signature is wrong: {str(error)[:100]}", problem=CapabilityProblem.BAD_SIGNATURE
        ) from error
    assert not isinstance(found, list)  # one reference is expected
    return found.signed_data
