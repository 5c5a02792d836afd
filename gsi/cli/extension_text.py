"""The extensions of a certificate as text for people, in OpenSSL's layout and words; judges nothing.

    lines = extension_lines(extension)

Covers what stands in certificates of grids. Of an extension without a rule here the bytes are shown as OpenSSL shows
them: those of printable ASCII as they are, the others as dots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi import der, names, oids
from gsi.cli.name_text import spaced_name
from gsi.cli.sct_text import timestamp_lines
from gsi.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gsi.certificate import Extension

__all__ = ["extension_lines"]

_KEY_USAGES: Final = (
    "Digital Signature",
    "Non Repudiation",
    "Key Encipherment",
    "Data Encipherment",
    "Key Agreement",
    "Certificate Sign",
    "CRL Sign",
    "Encipher Only",
    "Decipher Only",
)
_NETSCAPE_TYPES: Final = (
    "SSL Client",
    "SSL Server",
    "S/MIME",
    "Object Signing",
    "Unused",
    "SSL CA",
    "S/MIME CA",
    "Object Signing CA",
)
_REVOCATION_REASONS: Final = (
    "Unused",
    "Key Compromise",
    "CA Compromise",
    "Affiliation Changed",
    "Superseded",
    "Cessation Of Operation",
    "Certificate Hold",
    "Privilege Withdrawn",
    "AA Compromise",
)

_PURPOSES: Final[Mapping[str, str]] = {
    "1.3.6.1.5.5.7.3.1": "TLS Web Server Authentication",
    "1.3.6.1.5.5.7.3.2": "TLS Web Client Authentication",
    "1.3.6.1.5.5.7.3.3": "Code Signing",
    "1.3.6.1.5.5.7.3.4": "E-mail Protection",
    "1.3.6.1.5.5.7.3.5": "IPSec End System",
    "1.3.6.1.5.5.7.3.6": "IPSec Tunnel",
    "1.3.6.1.5.5.7.3.7": "IPSec User",
    "1.3.6.1.5.5.7.3.8": "Time Stamping",
    "1.3.6.1.5.5.7.3.9": "OCSP Signing",
    "1.3.6.1.5.5.7.3.17": "ipsec Internet Key Exchange",
    "1.3.6.1.4.1.311.10.3.4": "Microsoft Encrypted File System",
    "1.3.6.1.4.1.311.20.2.2": "Microsoft Smartcard Login",
    "1.3.6.1.4.1.311.10.3.3": "Microsoft Server Gated Crypto",
    "2.16.840.1.113730.4.1": "Netscape Server Gated Crypto",
    "1.3.6.1.5.2.3.4": "PKINIT Client Auth",
    "1.3.6.1.5.2.3.5": "Signing KDC Response",
    "2.5.29.37.0": "Any Extended Key Usage",
}
_ACCESS_METHODS: Final[Mapping[str, str]] = {
    "1.3.6.1.5.5.7.48.1": "OCSP",
    "1.3.6.1.5.5.7.48.2": "CA Issuers",
    "1.3.6.1.5.5.7.48.3": "AD Time Stamping",
    "1.3.6.1.5.5.7.48.5": "CA Repository",
}
_ANY_POLICY: Final = "2.5.29.32.0"
_CPS: Final = "1.3.6.1.5.5.7.2.1"
_USER_NOTICE: Final = "1.3.6.1.5.5.7.2.2"

_LANGUAGES: Final[Mapping[str, str]] = {
    oids.ANY_LANGUAGE: "Any language",
    oids.INHERIT_ALL: "Inherit all",
    oids.INDEPENDENT: "Independent",
    oids.LIMITED: "Globus limited (1.3.6.1.4.1.3536.1.1.1.9)",
}


def extension_lines(extension: Extension) -> list[str]:
    """Return the lines, indented as below `X509v3 extensions:`."""
    title, describe = _EXTENSIONS.get(extension.oid, (extension.oid, _unknown))
    try:
        body = describe(extension.value)
    except GridError as error:
        body = [f"malformed: {error.message}"]
    critical = "critical" if extension.critical else ""
    return [f"            {title}: {critical}", *(f"                {line}" for line in body)]


def _unknown(value: bytes) -> list[str]:
    shown = "".join(chr(byte) if 32 <= byte < 127 or byte in b"\r\n" else "." for byte in value)
    return [shown.replace("\r", ".").replace("\n", ".")]


def _named_bits(value: bytes, titles: tuple[str, ...], what: str) -> str:
    bits = der.Reader(value, what=what).take(der.BIT_STRING)[1:]
    number = int.from_bytes(bits, "big")
    width = 8 * len(bits)
    return ", ".join(title for place, title in enumerate(titles) if place < width and number >> (width - 1 - place) & 1)


def _key_usage(value: bytes) -> list[str]:
    return [_named_bits(value, _KEY_USAGES, "KeyUsage")]


def _netscape_type(value: bytes) -> list[str]:
    return [_named_bits(value, _NETSCAPE_TYPES, "nsCertType")]


def _netscape_text(value: bytes) -> list[str]:
    return [_text(der.Reader(value, what="Netscape extension").take(der.IA5_STRING))]


def _extended_key_usage(value: bytes) -> list[str]:
    listed = der.parse_one(value, what="ExtKeyUsage")
    found: list[str] = []
    while not listed.at_end():
        oid = listed.oid()
        found.append(_PURPOSES.get(oid, oid))
    return [", ".join(found)]


def _basic_constraints(value: bytes) -> list[str]:
    reader = der.parse_one(value, what="BasicConstraints")
    is_ca = reader.boolean() if reader.peek() == der.BOOLEAN else False
    length = "" if reader.at_end() else f", pathlen:{_number(reader.integer())}"
    return [f"CA:{str(is_ca).upper()}{length}"]


def _number(number: int) -> str:
    """Write a number of any size: in hex from where OpenSSL does, long before Python refuses to make decimals of it."""
    if number.bit_length() < 128:
        return str(number)
    digits = f"{abs(number):X}"
    return f"{'-' if number < 0 else ''}0x{'0' * (len(digits) % 2)}{digits}"


def _hex(data: bytes) -> str:
    return data.hex(":").upper()


def _text(content: bytes) -> str:
    """Foreign bytes as text of one line; control characters become dots."""
    return "".join(char if char.isprintable() else "." for char in content.decode("utf-8", "replace"))


def _key_identifier(value: bytes) -> list[str]:
    return [_hex(der.Reader(value, what="SubjectKeyIdentifier").octet_string())]


def _authority_key_identifier(value: bytes) -> list[str]:
    reader = der.parse_one(value, what="AuthorityKeyIdentifier")
    key = serial = None
    issuers: list[str] = []
    if reader.peek() == der.context(0, constructed=False):
        key = _hex(reader.take(der.context(0, constructed=False)))
    if reader.peek() == der.context(1):
        issuers = [_general_name(tag, content, oneline=True) for tag, content in _names(reader.enter(der.context(1)))]
    if reader.peek() == der.context(2, constructed=False):
        serial = _hex(reader.take(der.context(2, constructed=False)).lstrip(b"\0") or b"\0")
    reader.finish()
    is_alone = not issuers and serial is None
    return [
        *([] if key is None else [key if is_alone else f"keyid:{key}"]),
        *issuers,
        *([] if serial is None else [f"serial:{serial}"]),
    ]


# --- names ------------------------------------------------------------------------------------------------------------


def _names(reader: der.Reader) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while not reader.at_end():
        tag, content, _ = reader.take_any()
        found.append((tag, content))
    return found


def _alternative_names(value: bytes) -> list[str]:
    listed = _names(der.parse_one(value, what="GeneralNames"))
    return [", ".join(_general_name(tag, content, oneline=True) for tag, content in listed)]


def _general_name(tag: int, content: bytes, *, oneline: bool = False) -> str:
    """Write a GeneralName (RFC 5280 section 4.2.1.6).

    Args:
        tag: Its tag.
        content: What the tag holds.
        oneline: A directory name as `/O=Grid`, the form within lists, instead of `O = Grid`.
    """
    simple = {0x81: "email", 0x82: "DNS", 0x86: "URI"}.get(tag)
    if simple is not None:
        return f"{simple}:{_text(content)}"
    if tag == 0x87:
        return f"IP Address:{_address(content)}"
    if tag == 0x88:
        oid = der.Reader(der.encode_tlv(der.OID, content), what="registered ID").oid()
        return f"Registered ID:{oid}"
    if tag == 0xA4:
        return f"DirName:{names.oneline(content) if oneline else spaced_name(content)}"
    if tag == 0xA0:
        return _other_name(content)
    return {0xA3: "X400Name:<unsupported>", 0xA5: "EdiPartyName:<unsupported>"}.get(tag, f"<tag {tag:#04x}>")


def _other_name(content: bytes) -> str:
    reader = der.Reader(content, what="otherName")
    oid = reader.oid()
    tag, value, _ = reader.enter(der.context(0)).take_any()
    title = {"1.3.6.1.4.1.311.20.2.3": "UPN", "1.3.6.1.5.5.7.8.9": "SmtpUTF8Mailbox"}.get(oid, oid)
    shown = _text(value) if tag in {der.UTF8_STRING, der.IA5_STRING, der.PRINTABLE_STRING} else "<unsupported>"
    return f"othername: {title}::{shown}"


def _address(content: bytes) -> str:
    if len(content) == 4:
        return ".".join(map(str, content))
    if len(content) == 16:
        return ":".join(f"{int.from_bytes(content[at : at + 2], 'big'):X}" for at in range(0, 16, 2))
    return "<invalid>"


def _name_constraints(value: bytes) -> list[str]:
    reader = der.parse_one(value, what="NameConstraints")
    lines: list[str] = []
    for number, title in enumerate(("Permitted:", "Excluded:")):
        if reader.peek() != der.context(number):
            continue
        lines.append(title)
        listed = reader.enter(der.context(number))
        while not listed.at_end():
            tag, content, _ = listed.sequence().take_any()
            half = len(content) // 2
            lines.append(
                f"  IP:{_address(content[:half])}/{_address(content[half:])}"
                if tag == 0x87
                else f"  {_general_name(tag, content)}"
            )
    reader.finish()
    return lines


# --- where to look further --------------------------------------------------------------------------------------------


def _distribution_points(value: bytes) -> list[str]:
    listed = der.parse_one(value, what="CRLDistributionPoints")
    lines: list[str] = []
    while not listed.at_end():
        point = listed.sequence()
        if point.peek() == der.context(0):
            lines += _point_name(point.enter(der.context(0)))
        if point.peek() == der.context(1, constructed=False):
            bits = der.encode_tlv(der.BIT_STRING, point.take(der.context(1, constructed=False)))
            lines += ["Reasons:", f"  {_named_bits(bits, _REVOCATION_REASONS, 'reasons')}"]
        if point.peek() == der.context(2):
            issuers = _names(point.enter(der.context(2)))
            lines += ["CRL Issuer:", *(f"  {_general_name(tag, content)}" for tag, content in issuers)]
        point.finish()
    return lines


def _point_name(reader: der.Reader) -> list[str]:
    if reader.peek() == der.context(0):
        listed = _names(reader.enter(der.context(0)))
        return ["Full Name:", *(f"  {_general_name(tag, content)}" for tag, content in listed)]
    relative = der.encode_set(reader.take(der.context(1)))
    return ["Relative Name:", f"  {spaced_name(names.name_from_rdns([relative]))}"]


def _information_access(value: bytes) -> list[str]:
    listed = der.parse_one(value, what="AuthorityInfoAccess")
    lines: list[str] = []
    while not listed.at_end():
        entry = listed.sequence()
        method = entry.oid()
        tag, content, _ = entry.take_any()
        lines.append(f"{_ACCESS_METHODS.get(method, method)} - {_general_name(tag, content, oneline=True)}")
    return lines


# --- policies ---------------------------------------------------------------------------------------------------------


def _policies(value: bytes) -> list[str]:
    listed = der.parse_one(value, what="CertificatePolicies")
    lines: list[str] = []
    while not listed.at_end():
        policy = listed.sequence()
        lines.append(f"Policy: {_policy_title(policy.oid())}")
        if not policy.at_end():
            qualifiers = policy.sequence()
            while not qualifiers.at_end():
                lines += _qualifier(qualifiers.sequence())
    return lines


def _qualifier(reader: der.Reader) -> list[str]:
    kind = reader.oid()
    if kind == _CPS:
        return [f"  CPS: {_text(reader.take_any()[1])}"]
    if kind != _USER_NOTICE:
        return [f"  Unknown Qualifier: {kind}"]
    notice = reader.sequence()
    lines = ["  User Notice:"]
    if notice.peek() == der.SEQUENCE:
        reference = notice.sequence()
        lines.append(f"    Organization: {_text(reference.take_any()[1])}")
        numbers = reference.sequence()
        found: list[str] = []
        while not numbers.at_end():
            found.append(_number(numbers.integer()))
        lines.append(f"    Number{'s' if len(found) > 1 else ''}: {', '.join(found)}")
    if not notice.at_end():
        tag, content, _ = notice.take_any()
        shown = content.decode("utf-16-be", "replace") if tag == der.BMP_STRING else content.decode("utf-8", "replace")
        lines.append(f"    Explicit Text: {_text(shown.encode())}")
    return lines


def _policy_constraints(value: bytes) -> list[str]:
    reader = der.parse_one(value, what="PolicyConstraints")
    found: list[str] = []
    for number, title in enumerate(("Require Explicit Policy", "Inhibit Policy Mapping")):
        tag = der.context(number, constructed=False)
        if reader.peek() == tag:
            content = der.Reader(der.encode_tlv(der.INTEGER, reader.take(tag)), what="PolicyConstraints")
            found.append(f"{title}:{_number(content.integer())}")
    reader.finish()
    return [", ".join(found)]


def _policy_mappings(value: bytes) -> list[str]:
    listed = der.parse_one(value, what="PolicyMappings")
    found: list[str] = []
    while not listed.at_end():
        pair = listed.sequence()
        found.append(f"{_policy_title(pair.oid())}:{_policy_title(pair.oid())}")
    return [", ".join(found)]


def _policy_title(oid: str) -> str:
    return "X509v3 Any Policy" if oid == _ANY_POLICY else oid


def _inhibit_any_policy(value: bytes) -> list[str]:
    return [_number(der.Reader(value, what="InhibitAnyPolicy").integer())]


# --- proxies ----------------------------------------------------------------------------------------------------------


def _proxy_info(value: bytes) -> list[str]:
    from gsi.proxy.info import ProxyCertInfo

    return _describe_info(ProxyCertInfo.parse(value))


def _proxy_info_gt3(value: bytes) -> list[str]:
    from gsi.proxy.legacy import parse_gt3

    return _describe_info(parse_gt3(value))


def _describe_info(info: object) -> list[str]:
    from gsi.proxy.info import ProxyCertInfo

    assert isinstance(info, ProxyCertInfo)
    length = "infinite" if info.path_length is None else str(info.path_length)
    lines = [f"Path Length Constraint: {length}", f"Policy Language: {_LANGUAGES.get(info.language, info.language)}"]
    if info.policy is not None:
        lines.append(f"Policy Text: {_policy_text(info.policy)}")
    return lines


def _policy_text(policy: bytes) -> str:
    r"""Show printable ASCII as it is and every other byte as `\xHH`."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte != 0x5C else f"\\x{byte:02X}" for byte in policy)


_EXTENSIONS: Final[Mapping[str, tuple[str, Callable[[bytes], list[str]]]]] = {
    oids.SUBJECT_KEY_IDENTIFIER: ("X509v3 Subject Key Identifier", _key_identifier),
    oids.KEY_USAGE: ("X509v3 Key Usage", _key_usage),
    oids.SUBJECT_ALT_NAME: ("X509v3 Subject Alternative Name", _alternative_names),
    oids.ISSUER_ALT_NAME: ("X509v3 Issuer Alternative Name", _alternative_names),
    oids.BASIC_CONSTRAINTS: ("X509v3 Basic Constraints", _basic_constraints),
    oids.NAME_CONSTRAINTS: ("X509v3 Name Constraints", _name_constraints),
    oids.CRL_DISTRIBUTION_POINTS: ("X509v3 CRL Distribution Points", _distribution_points),
    "2.5.29.46": ("X509v3 Freshest CRL", _distribution_points),
    oids.CERTIFICATE_POLICIES: ("X509v3 Certificate Policies", _policies),
    oids.AUTHORITY_KEY_IDENTIFIER: ("X509v3 Authority Key Identifier", _authority_key_identifier),
    oids.POLICY_CONSTRAINTS: ("X509v3 Policy Constraints", _policy_constraints),
    oids.EXTENDED_KEY_USAGE: ("X509v3 Extended Key Usage", _extended_key_usage),
    oids.POLICY_MAPPINGS: ("X509v3 Policy Mappings", _policy_mappings),
    oids.INHIBIT_ANY_POLICY: ("X509v3 Inhibit Any Policy", _inhibit_any_policy),
    "1.3.6.1.5.5.7.1.1": ("Authority Information Access", _information_access),
    "1.3.6.1.5.5.7.1.11": ("Subject Information Access", _information_access),
    "2.16.840.1.113730.1.1": ("Netscape Cert Type", _netscape_type),
    "2.16.840.1.113730.1.2": ("Netscape Base Url", _netscape_text),
    "2.16.840.1.113730.1.3": ("Netscape Revocation Url", _netscape_text),
    "2.16.840.1.113730.1.4": ("Netscape CA Revocation Url", _netscape_text),
    "2.16.840.1.113730.1.7": ("Netscape Renewal Url", _netscape_text),
    "2.16.840.1.113730.1.8": ("Netscape CA Policy Url", _netscape_text),
    "2.16.840.1.113730.1.12": ("Netscape SSL Server Name", _netscape_text),
    "2.16.840.1.113730.1.13": ("Netscape Comment", _netscape_text),
    "1.3.6.1.4.1.11129.2.4.2": ("CT Precertificate SCTs", timestamp_lines),
    "1.3.6.1.5.5.7.48.1.5": ("OCSP No Check", lambda _value: []),
    oids.PROXY_CERT_INFO: ("Proxy Certificate Information", _proxy_info),
    oids.PROXY_CERT_INFO_GT3: ("Proxy Certificate Information (pre-RFC)", _proxy_info_gt3),
}
