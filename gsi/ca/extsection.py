r"""Extensions as OpenSSL configurations write them: a section of a file to the bytes that OpenSSL makes of it.

    section = parse_extension_section(text, path="/etc/myproxy/extensions.cnf")
    section.extensions, section.wants_key_identifier

Agrees with `openssl x509 -extfile` byte for byte in what it reads: keyUsage, extendedKeyUsage, basicConstraints,
subjectKeyIdentifier=hash, authorityKeyIdentifier=keyid, subjectAltName, crlDistributionPoints, authorityInfoAccess,
certificatePolicies, nsCertType and its text siblings, and any extension whose value is `DER:hex` or `ASN1:TYPE:value`.
Lists may stand in the value or, behind `@`, in a section of their own. Everything else is refused with its line, never
left out: a certificate without the restriction that an administrator wrote would be worse than none.

Who the certificate is for is not known here; see `gsi.ca.extprofile` for what may stand in whose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi import der, oids
from gsi.ca.asn1text import encode_asn1_text
from gsi.ca.conf import DEFAULT_SECTION, Conf, ConfEntry, parse_conf
from gsi.ca.general_names import dns_name, email_address, encode_general_names, ip_address, other_name, uri
from gsi.certificate import MAX_EXTENSIONS, Extension
from gsi.errors import ConfigError, ParseError
from gsi.extensions import encode_named_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["ExtensionSection", "parse_extension_section"]


@dataclass(frozen=True, slots=True)
class ExtensionSection:
    """What one section asks for.

    Attributes:
        extensions: The extensions in their order, but for the two key identifiers.
        wants_key_identifier: Whether subjectKeyIdentifier is asked for, made from the key.
        wants_authority_identifier: Whether authorityKeyIdentifier is, with the issuer's key identifier.
    """

    extensions: tuple[Extension, ...]
    wants_key_identifier: bool = False
    wants_authority_identifier: bool = False


_KEY_USAGES: Final = (  # RFC 5280 section 4.2.1.3, in order of the bits; OpenSSL's short and long names
    ("digitalSignature", "Digital Signature"),
    ("nonRepudiation", "Non Repudiation"),
    ("keyEncipherment", "Key Encipherment"),
    ("dataEncipherment", "Data Encipherment"),
    ("keyAgreement", "Key Agreement"),
    ("keyCertSign", "Certificate Sign"),
    ("cRLSign", "CRL Sign"),
    ("encipherOnly", "Encipher Only"),
    ("decipherOnly", "Decipher Only"),
)
_CERT_TYPES: Final = (
    ("client", "SSL Client"),
    ("server", "SSL Server"),
    ("email", "S/MIME"),
    ("objsign", "Object Signing"),
    ("reserved", "Unused"),
    ("sslCA", "SSL CA"),
    ("emailCA", "S/MIME CA"),
    ("objCA", "Object Signing CA"),
)
_PURPOSES: Final = {
    "serverAuth": oids.SERVER_AUTH,
    "clientAuth": oids.CLIENT_AUTH,
    "codeSigning": "1.3.6.1.5.5.7.3.3",
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "ipsecEndSystem": "1.3.6.1.5.5.7.3.5",
    "ipsecTunnel": "1.3.6.1.5.5.7.3.6",
    "ipsecUser": "1.3.6.1.5.5.7.3.7",
    "timeStamping": "1.3.6.1.5.5.7.3.8",
    "OCSPSigning": "1.3.6.1.5.5.7.3.9",
    "ipsecIKE": "1.3.6.1.5.5.7.3.17",
    "msCodeInd": "1.3.6.1.4.1.311.2.1.21",
    "msCodeCom": "1.3.6.1.4.1.311.2.1.22",
    "msCTLSign": "1.3.6.1.4.1.311.10.3.1",
    "msEFS": "1.3.6.1.4.1.311.10.3.4",
    "msSmartcardLogin": "1.3.6.1.4.1.311.20.2.2",
    "pkInitClientAuth": "1.3.6.1.5.2.3.4",
    "pkInitKDC": "1.3.6.1.5.2.3.5",
    "anyExtendedKeyUsage": oids.ANY_EXTENDED_KEY_USAGE,
}
_ACCESS: Final = {"OCSP": oids.ACCESS_OCSP, "caIssuers": oids.ACCESS_CA_ISSUERS}
_NETSCAPE: Final = "2.16.840.1.113730.1"
_NS_CERT_TYPE: Final = f"{_NETSCAPE}.1"
_TEXTS: Final = {  # IA5String, openssl:crypto/x509/v3_ia5.c
    "nsBaseUrl": f"{_NETSCAPE}.2",
    "nsRevocationUrl": f"{_NETSCAPE}.3",
    "nsCaRevocationUrl": f"{_NETSCAPE}.4",
    "nsRenewalUrl": f"{_NETSCAPE}.7",
    "nsCaPolicyUrl": f"{_NETSCAPE}.8",
    "nsSslServerName": f"{_NETSCAPE}.12",
    "nsComment": f"{_NETSCAPE}.13",
}
_CPS: Final = "1.3.6.1.5.5.7.2.1"  # RFC 5280 section 4.2.1.4, id-qt-cps
_USER_NOTICE: Final = "1.3.6.1.5.5.7.2.2"
_DOTTED: Final = re.compile(r"[0-2](?:\.[0-9]{1,39}){1,62}")
_TRUE: Final = frozenset({"TRUE", "true", "Y", "y", "YES", "yes"})
_FALSE: Final = frozenset({"FALSE", "false", "N", "n", "NO", "no"})
_MAX_ITEMS: Final = 1024


def parse_extension_section(text: str, *, path: str, section: str = DEFAULT_SECTION) -> ExtensionSection:
    """Return the extensions that a section of a configuration asks for.

    Args:
        text: The configuration.
        path: Its name, for messages.
        section: Which section.

    Raises:
        ConfigError: It cannot be read, or asks for what is not known here.
    """
    reader = _SectionReader(parse_conf(text, path=path), section)
    return reader.read()


class _Refused(Exception):  # noqa: N818  # never leaves this file
    """Why a value is not taken, and what to write."""

    def __init__(self, why: str, hint: str | None = None) -> None:
        super().__init__(why)
        self.hint = hint


class _SectionReader:
    """One section on its way to bytes."""

    def __init__(self, conf: Conf, section: str) -> None:
        self._conf = conf
        self._section = section
        self._key_identifier = False
        self._authority_identifier = False
        self._known: dict[str, tuple[str, Callable[[str], bytes]]] = {
            "basicConstraints": (oids.BASIC_CONSTRAINTS, self._basic_constraints),
            "keyUsage": (oids.KEY_USAGE, lambda value: self._bits(value, _KEY_USAGES)),
            "extendedKeyUsage": (oids.EXTENDED_KEY_USAGE, self._purposes),
            "subjectAltName": (oids.SUBJECT_ALT_NAME, self._names),
            "issuerAltName": (oids.ISSUER_ALT_NAME, self._names),
            "crlDistributionPoints": (oids.CRL_DISTRIBUTION_POINTS, self._distribution_points),
            "authorityInfoAccess": (oids.AUTHORITY_INFO_ACCESS, self._access),
            "certificatePolicies": (oids.CERTIFICATE_POLICIES, self._policies),
            "nsCertType": (_NS_CERT_TYPE, lambda value: self._bits(value, _CERT_TYPES)),
            **{name: (oid, _ia5) for name, oid in _TEXTS.items()},
        }

    def read(self) -> ExtensionSection:
        found: list[Extension] = []
        for entry in self._conf.section(self._section):
            try:
                extension = self._extension(entry)
            except (_Refused, ParseError) as error:
                raise ConfigError(
                    f"{entry.name}: {error}", path=self._conf.path, line=entry.line, hint=error.hint
                ) from error
            if extension is None:
                continue
            if any(extension.oid == other.oid for other in found):
                raise ConfigError(f"{entry.name} stands there twice", path=self._conf.path, line=entry.line)
            found.append(extension)
        if len(found) > MAX_EXTENSIONS:
            raise ConfigError(f"more than {MAX_EXTENSIONS} extensions", path=self._conf.path)
        return ExtensionSection(tuple(found), self._key_identifier, self._authority_identifier)

    def _extension(self, entry: ConfEntry) -> Extension | None:
        value, critical = entry.value, entry.value.startswith("critical,")
        if critical:
            value = value.removeprefix("critical,").lstrip()
        if entry.name in {"subjectKeyIdentifier", "authorityKeyIdentifier"}:
            if critical:
                raise _Refused("is never critical (RFC 5280 sections 4.2.1.1 and 4.2.1.2)")
            self._identifier(entry.name, value)
            return None
        known = self._known.get(entry.name)
        if known is None and not _DOTTED.fullmatch(entry.name):
            raise _Refused("is no extension that is known here", "write its number, and DER: or ASN1: before the value")
        oid = entry.name if known is None else known[0]
        kind, colon, rest = value.partition(":")
        if colon and kind == "DER":
            return Extension(oid, critical, _hexadecimal(rest))
        if colon and kind == "ASN1":
            return Extension(oid, critical, encode_asn1_text(rest.lstrip()))
        if known is None:
            raise _Refused("needs DER: or ASN1: before its value")
        if not value:
            raise _Refused("has no value")
        return Extension(oid, critical, known[1](value))

    # --- lists

    def _items(self, value: str) -> Iterator[tuple[str, str | None]]:
        """Give the items of a list, each a name with a value or without; from a section of its own behind `@`."""
        if value.startswith("@"):
            try:
                entries = self._conf.section(value[1:].strip())
            except ConfigError as error:
                raise _Refused(error.message) from error
            if not entries:
                raise _Refused(f"section [{value[1:].strip()}] is empty")
            for entry in entries:
                yield entry.name.partition(".")[0] if not entry.name[:1].isdigit() else entry.name, entry.value
            return
        items = value.split(",")
        if len(items) > _MAX_ITEMS:
            raise _Refused(f"more than {_MAX_ITEMS} items")
        for item in items:
            name, colon, rest = item.strip().partition(":")
            if not name.strip() or (colon and not rest.strip()):
                raise _Refused("an empty item in the list")
            yield name.strip(), rest.strip() if colon else None

    def _bits(self, value: str, table: Sequence[tuple[str, str]]) -> bytes:
        bits = 0
        for name, rest in self._items(value):
            number = next((index for index, words in enumerate(table) if name in words), None)
            if number is None or rest is not None:
                raise _Refused(f"{name!r} is not known")
            bits |= 1 << number
        return encode_named_bits(bits)

    def _basic_constraints(self, value: str) -> bytes:
        is_ca, path_length = False, b""
        for name, rest in self._items(value):
            if name == "CA" and rest in _TRUE | _FALSE:
                is_ca = rest in _TRUE
            elif name == "pathlen" and rest is not None and rest.isascii() and rest.isdigit() and len(rest) < 10:
                path_length = der.encode_integer(int(rest))
            else:
                raise _Refused(f"{name!r} is neither CA:TRUE, CA:FALSE nor pathlen:N")
        return der.encode_sequence(der.encode_boolean(True) if is_ca else b"", path_length)

    def _purposes(self, value: str) -> bytes:
        found: list[bytes] = []
        for name, rest in self._items(value):
            word = rest if rest is not None else name
            oid = _PURPOSES.get(word, word)
            if not _DOTTED.fullmatch(oid):
                raise _Refused(f"{word!r} is no purpose that is known here", "write its number")
            found.append(der.encode_oid(oid))
        return der.encode_sequence(*found)

    # --- names

    def _names(self, value: str) -> bytes:
        return encode_general_names([self._name(*item) for item in self._items(value)])

    def _name(self, kind: str, value: str | None) -> bytes:
        """Return one GeneralName."""
        if value is None:
            raise _Refused(f"{kind!r} has no value", "write email:, DNS:, URI:, IP: or otherName: before it")
        if kind == "email":
            if value in {"copy", "move"}:
                raise _Refused(f"email:{value} is not known here", "write the address, or use the e-mail domain")
            return email_address(value)
        if kind == "otherName":
            oid, semicolon, rest = value.partition(";")
            if not semicolon or not _DOTTED.fullmatch(oid.strip()):
                raise _Refused("otherName is NUMBER;TYPE:value")
            return other_name(oid.strip(), encode_asn1_text(rest.strip()))
        if kind == "RID" and _DOTTED.fullmatch(value):
            return der.encode_tlv(
                der.context(8, constructed=False), der.Reader(der.encode_oid(value), what=kind).take(der.OID)
            )
        maker = {"DNS": dns_name, "URI": uri, "IP": ip_address}.get(kind)
        if maker is None:
            raise _Refused(f"{kind!r} is no kind of name that is known here")
        return maker(value)

    def _distribution_points(self, value: str) -> bytes:
        points: list[bytes] = []
        for kind, rest in self._items(value):
            names = [self._name(kind, rest)] if rest is not None else self._full_name(kind)
            full_name = der.encode_explicit(0, b"".join(names))
            points.append(der.encode_sequence(der.encode_explicit(0, full_name)))
        return der.encode_sequence(*points)

    def _full_name(self, section: str) -> list[bytes]:
        """Return the names of a distribution point that has a section of its own."""
        names: list[bytes] = []
        for kind, rest in self._items(f"@{section}"):
            if kind != "fullname" or rest is None:
                raise _Refused(f"{kind!r} of a distribution point is not known here", "write fullname=URI:...")
            names += [self._name(*item) for item in self._items(rest)]
        return names

    def _access(self, value: str) -> bytes:
        found: list[bytes] = []
        for name, rest in self._items(value):
            method, semicolon, kind = name.partition(";")
            oid = _ACCESS.get(method, method)
            if not semicolon or not _DOTTED.fullmatch(oid):
                raise _Refused(f"{name!r} is neither OCSP;URI nor caIssuers;URI")
            found.append(der.encode_sequence(der.encode_oid(oid), self._name(kind, rest)))
        return der.encode_sequence(*found)

    # --- policies

    def _policies(self, value: str) -> bytes:
        found: list[bytes] = []
        for item in value.split(","):
            word = item.strip()
            if word == "ia5org":  # how organizations in user notices are written; those are not read
                continue
            if word.startswith("@"):
                found.append(self._policy(word))
            elif _DOTTED.fullmatch(word):
                found.append(der.encode_sequence(der.encode_oid(word)))
            else:
                raise _Refused(f"{word!r} is no number of a policy")
        if not found:
            raise _Refused("no policy")
        return der.encode_sequence(*found)

    def _policy(self, reference: str) -> bytes:
        identifier: bytes | None = None
        qualifiers: list[bytes] = []
        for name, value in self._items(reference):
            assert value is not None  # a section has values
            if name == "policyIdentifier" and _DOTTED.fullmatch(value):
                identifier = der.encode_oid(value)
            elif name == "CPS":
                qualifiers.append(der.encode_sequence(der.encode_oid(_CPS), _ia5(value)))
            elif name == "userNotice" and value.startswith("@"):
                qualifiers.append(der.encode_sequence(der.encode_oid(_USER_NOTICE), self._notice(value)))
            else:
                raise _Refused(f"{name} in {reference[1:]} is not known here")
        if identifier is None:
            raise _Refused(f"{reference[1:]} has no policyIdentifier")
        return der.encode_sequence(identifier, der.encode_sequence(*qualifiers) if qualifiers else b"")

    def _notice(self, reference: str) -> bytes:
        text = b""
        for name, value in self._items(reference):
            assert value is not None  # a section has values
            if name != "explicitText":
                raise _Refused(f"{name} of a user notice is not known here")
            kind, colon, rest = value.partition(":")
            if colon and kind in {"UTF8", "UTF8String"}:
                text = der.encode_tlv(der.UTF8_STRING, rest.encode())
            elif value.isascii():
                text = der.encode_tlv(der.VISIBLE_STRING, value.encode("ascii"))
            else:
                raise _Refused("explicitText that is not ASCII", "write UTF8: before it")
        return der.encode_sequence(text)

    def _identifier(self, name: str, value: str) -> None:
        if name == "subjectKeyIdentifier":
            if value != "hash":
                raise _Refused("is made from the key", "write hash")
            if self._key_identifier:
                raise _Refused("stands there twice")
            self._key_identifier = True
            return
        words = {(word, rest) for word, rest in self._items(value)}
        allowed = {("keyid", None), ("keyid", "always"), ("issuer", None)}
        if not words <= allowed or words == {("issuer", None)}:
            raise _Refused("names the issuer by its key identifier alone here", "write keyid")
        self._authority_identifier = True


def _ia5(value: str) -> bytes:
    if not value.isascii():
        raise _Refused("is not ASCII")
    return der.encode_tlv(der.IA5_STRING, value.encode("ascii"))


def _hexadecimal(text: str) -> bytes:
    """Return the bytes behind `DER:`, which must be one value in DER."""
    digits = text.replace(":", "").strip()
    try:
        data = bytes.fromhex(digits)
    except ValueError as error:
        raise _Refused("DER: needs hexadecimal digits") from error
    der.check_bounds(data, what="DER value")
    return data
