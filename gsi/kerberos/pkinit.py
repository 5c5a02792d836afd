r"""PKINIT from the outside: which kinit, which of its options, what its KDC must know, why it said no; runs nothing.

    kind = kinit_kind(output_of_version)                        # MIT's or Heimdal's
    argv = kinit_arguments(kind, Identity(cert_path, key_path), principal="alice")
    recipe(certificate, "alice@EXAMPLE.ORG")                    # lines for the KDC, in each one's order of names

Both programs take a certificate with its key for a password (RFC 4556), and both KDCs must be told whose it is: by a
name in the certificate, which grid certificates do not have, or by a mapping. MIT compares with a regular expression
over the subject in the certificate's own order (`O=Grid,CN=alice`), Heimdal with the name as RFC 4514 writes it
(`CN=alice,O=Grid`). MIT takes no proxies, client and KDC alike; Heimdal's KDC does where it is told to, maps them by
the end entity's name, and does not look at their policies.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import der, names, oids
from gsi.errors import ConfigError, ParseError
from gsi.kerberos.ticket import Principal
from gsi.nametypes import short_name

if TYPE_CHECKING:
    from gsi.certificate import Certificate
    from gsi.names import Attribute

__all__ = [
    "Identity",
    "KinitKind",
    "Purposes",
    "explain",
    "heimdal_mapping",
    "kinit_arguments",
    "kinit_kind",
    "mit_match",
    "pkinit_principals",
    "purposes",
    "recipe",
]

MS_SMARTCARD_LOGON: Final = "1.3.6.1.4.1.311.20.2.2"
_HARMLESS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/@")
_OTHER_NAME: Final = der.context(0)
_GENERAL_STRING: Final = 0x1B


class KinitKind(enum.StrEnum):
    """Whose kinit."""

    MIT = "mit"
    HEIMDAL = "heimdal"


class Identity(NamedTuple):
    """A credential in files.

    Raises:
        ConfigError: By `text`: a path that the option cannot hold.
    """

    certificate: str
    key: str
    """The same as `certificate` where one file holds both."""

    @property
    def text(self) -> str:
        """As both programs take it: `FILE:certificate,key`, `FILE:both` or `PKCS12:file`."""
        for path in self:
            if "," in path:
                raise ConfigError(f"{path}: kinit cannot be told of a file with a comma in its name")
        if ".p12" in self.certificate:
            return f"PKCS12:{self.certificate}"
        if self.certificate == self.key:
            return f"FILE:{self.certificate}"
        return f"FILE:{self.certificate},{self.key}"


def kinit_kind(version_output: str) -> KinitKind:
    """Tell whose kinit it is by what it says to `--version`, which MIT's does not know."""
    return KinitKind.HEIMDAL if "heimdal" in version_output.lower() else KinitKind.MIT


def kinit_arguments(
    kind: KinitKind,
    identity: Identity,
    *,
    principal: str = "",
    anchors: str = "",
    cache: str = "",
    lifetime: str = "",
    forwardable: bool = False,
) -> list[str]:
    """Return the arguments of kinit.

    Args:
        kind: Whose kinit.
        identity: The credential.
        principal: Whom to be; empty leaves it to kinit.
        anchors: The CAs that vouch for the KDC: a file, or a directory by hashes; empty for those of krb5.conf.
        cache: The credential cache; empty for the default one.
        lifetime: As kinit takes it.
        forwardable: Whether the ticket may be forwarded.

    Raises:
        ConfigError: A path cannot be handed over.
    """
    found = ["-X", f"X509_user_identity={identity.text}"] if kind is KinitKind.MIT else ["-C", identity.text]
    if anchors:
        found += ["-X", f"X509_anchors={anchors}"] if kind is KinitKind.MIT else [f"--x509-anchors={anchors}"]
    if cache:
        found += ["-c", cache]
    if lifetime:
        found += ["-l", lifetime]
    if forwardable:
        found.append("-f")
    if principal:
        if principal.startswith("-"):
            raise ConfigError(f"{principal!r} is no principal")
        found.append(principal)
    return found


# --- what is in a certificate -----------------------------------------------------------------------------------------


class Purposes(enum.StrEnum):
    """What extendedKeyUsage says, as far as KDCs ask."""

    PKINIT = "pkinit"
    """id-pkinit-KPClientAuth: what MIT's KDC asks for."""
    SMARTCARD = "smartcard"
    """Microsoft's, which MIT's KDC takes with pkinit_eku_checking = scLogin."""
    ANY = "any"
    """No extendedKeyUsage at all, or anyExtendedKeyUsage; MIT's KDC takes it for neither."""
    OTHER = "other"


def purposes(certificate: Certificate) -> Purposes:
    """Return what a certificate may be used for.

    Raises:
        ParseError: The extension is malformed.
    """
    extension = certificate.find_extension(oids.EXTENDED_KEY_USAGE)
    if extension is None:
        return Purposes.ANY
    reader = der.parse_one(extension.value, what="ExtendedKeyUsage")
    found = set()
    while not reader.at_end():
        found.add(reader.oid())
    if oids.PKINIT_CLIENT_AUTH in found:
        return Purposes.PKINIT
    if MS_SMARTCARD_LOGON in found:
        return Purposes.SMARTCARD
    return Purposes.ANY if oids.ANY_EXTENDED_KEY_USAGE in found else Purposes.OTHER


def pkinit_principals(certificate: Certificate) -> tuple[Principal, ...]:
    """Return the principals that a certificate names (id-pkinit-san, RFC 4556 section 3.2.2).

    Raises:
        ParseError: A name is malformed.
    """
    extension = certificate.find_extension(oids.SUBJECT_ALT_NAME)
    if extension is None:
        return ()
    found = []
    reader = der.parse_one(extension.value, what="SubjectAltName")
    while not reader.at_end():
        tag, content, _ = reader.take_any()
        if tag != _OTHER_NAME:
            continue
        other = der.Reader(content, what="otherName")
        if other.oid() == oids.PKINIT_SAN:
            found.append(_read_principal(other.enter(der.context(0)).take_raw(der.SEQUENCE)))
    return tuple(found)


def _read_principal(value: bytes) -> Principal:
    reader = der.parse_one(value, what="KRB5PrincipalName")
    realm = _general_string(reader.enter(der.context(0)))
    name = reader.enter(der.context(1)).sequence()
    name.enter(der.context(0)).integer()
    strings = name.enter(der.context(1)).sequence()
    components = []
    while not strings.at_end():
        components.append(_general_string(strings))
    return Principal(tuple(components), realm)


def _general_string(reader: der.Reader) -> str:
    try:
        return reader.take(_GENERAL_STRING).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError("KRB5PrincipalName: not text", what="KRB5PrincipalName") from error


# --- what a KDC must know ---------------------------------------------------------------------------------------------


def mit_match(certificate: Certificate) -> str:
    """Return the value of `pkinit_cert_match` that fits this subject of this CA and no other.

    Raises:
        ConfigError: The name holds what the rule cannot.
    """
    return f"&&<ISSUER>^{_mit_name(certificate.issuer_der)}$<SUBJECT>^{_mit_name(certificate.subject_der)}$"


def _mit_name(name_der: bytes) -> str:
    """Return a name as MIT compares it, special characters of extended regular expressions made plain.

    Raises:
        ConfigError: The name holds what the rule or kadmin's line cannot.
    """
    text = ",".join("+".join(map(_mit_pair, group)) for group in names.attributes(name_der))
    if not text.isascii() or not text.isprintable() or any(char in '<>"' for char in text):
        raise ConfigError(f"{names.oneline(name_der)}: pkinit_cert_match cannot hold this name")
    return "".join(_plain(char) for char in text)


def _mit_pair(attribute: Attribute) -> str:
    return f"{short_name(attribute.oid) or attribute.oid}={attribute.text()}"


def _plain(char: str) -> str:
    if char in ".*+?()[]{}|$":
        return f"[{char}]" if char != "]" else "[]]"
    return f"\\{char}" if char in "^\\" else char


def heimdal_mapping(certificate: Certificate, principal: str) -> str:
    """Return the line of Heimdal's `pki-mapping` that gives a principal to this subject."""
    return f"{principal}:{names.rfc4514(certificate.subject_der)}"


def recipe(certificate: Certificate, principal: Principal) -> str:
    """Return what the administrator of either KDC does so that a certificate is taken for a principal.

    Args:
        certificate: The end-entity certificate.
        principal: Whose it is to be.

    Raises:
        ConfigError: The name or the principal cannot stand in a mapping.
        ParseError: An extension is malformed.
    """
    import shlex

    if not _HARMLESS.issuperset(principal.text):
        raise ConfigError(f"{principal.text!r} holds characters that mean something to kadmin or to the KDC's files")
    realm, has_name = principal.realm, principal in pkinit_principals(certificate)
    eku = purposes(certificate)
    checking = {Purposes.PKINIT: "kpClientAuth", Purposes.SMARTCARD: "scLogin"}.get(eku, "none")
    lines = [
        f"# PKINIT for {principal.text} with the certificate",
        f"#   subject {names.oneline(certificate.subject_der)}",
        f"#   issuer  {names.oneline(certificate.issuer_der)}",
        "",
        "# --- MIT: kdc.conf, then restart krb5kdc. Proxies are never taken.",
        "[realms]",
        f"  {realm} = {{",
        "    pkinit_identity = FILE:/etc/krb5kdc/kdc.pem,/etc/krb5kdc/kdc.key",
        "    pkinit_anchors = FILE:/etc/krb5kdc/grid-ca.pem",
        f"    pkinit_eku_checking = {checking}",
        "    # Marks tickets that were got by a certificate; a Kerberos authority refuses these by default.",
        "    pkinit_indicator = pkinit",
        "  }",
        "",
        "# as root on the KDC; without pre-authentication the KDC does not offer PKINIT",
        f"kadmin.local -q {shlex.quote(f'modprinc +requires_preauth {principal.name}')}",
    ]
    if has_name:
        lines.append("# The certificate names the principal itself: no mapping is needed.")
    else:
        order = f'setstr {principal.name} pkinit_cert_match "{mit_match(certificate)}"'
        lines.append(f"kadmin.local -q {shlex.quote(order)}")
    lines += [
        "",
        "# --- Heimdal: krb5.conf of the KDC, then restart kdc.",
        "[kdc]",
        "  enable-pkinit = yes",
        "  pkinit_identity = FILE:/etc/heimdal-kdc/kdc.pem,/etc/heimdal-kdc/kdc.key",
        "  pkinit_anchors = FILE:/etc/heimdal-kdc/grid-ca.pem",
        "  pkinit_principal_in_certificate = yes",
        "  pkinit_mappings_file = /var/lib/heimdal-kdc/pki-mapping",
        "  # Takes proxies, and takes limited and restricted ones for full ones: Heimdal does not read their policies.",
        "  pkinit_allow_proxy_certificate = yes",
        "",
        "# /var/lib/heimdal-kdc/pki-mapping; needed for proxies, whatever the certificate says",
        heimdal_mapping(certificate, principal.text),
    ]
    return "".join(f"{line}\n" for line in lines)


# --- why not ----------------------------------------------------------------------------------------------------------

_REASONS: Final = (
    (
        "proxy certificates not allowed",
        "PKINIT of MIT takes no proxies",
        "use the end-entity certificate, or a Heimdal KDC with its kinit",
    ),
    (
        "unable to get local issuer",
        "kinit does not know the CA of the certificate (or it is a proxy, which MIT's cannot use)",
        "name the CAs with -anchors, or pkinit_anchors in krb5.conf",
    ),
    (
        "client name mismatch",
        "the KDC does not know that the certificate is this principal's",
        "its administrator adds the lines that 'grid-kinit -recipe' prints",
    ),
    (
        "not allowed to impersonate",
        "the KDC does not know that the certificate is this principal's",
        "its administrator adds the lines that 'grid-kinit -recipe' prints",
    ),
    (
        "inconsistent key purpose",
        "the KDC asks for another purpose (extendedKeyUsage) than the certificate has",
        "pkinit_eku_checking = none in its kdc.conf, as 'grid-kinit -recipe' prints it",
    ),
    ("contact any kdc", "no KDC of the realm answers", "look at [realms] in krb5.conf"),
    ("unable to reach any kdc", "no KDC of the realm answers", "look at [realms] in krb5.conf"),
    ("cannot find kdc", "krb5.conf and DNS do not say where the realm's KDC is", "look at [realms] in krb5.conf"),
    ("not found in kerberos database", "the KDC does not know the principal", "name it on the command line"),
    ("client not found", "the KDC does not know the principal", "name it on the command line"),
    ("client unknown", "the KDC does not know the principal", "name it on the command line"),
    (
        "cannot read password",
        "the KDC did not offer PKINIT",
        "its administrator sets it up, and requires_preauth for the principal, as 'grid-kinit -recipe' prints it",
    ),
    (
        "password incorrect",
        "the KDC did not take the certificate, and kinit would have asked for a password",
        "for a proxy: pkinit_allow_proxy_certificate on a Heimdal KDC; 'grid-kinit -recipe' prints all of it",
    ),
    ("invalid signature", "the KDC does not trust the CA of the certificate", "pkinit_anchors of the KDC"),
    ("can't verify certificate", "the KDC does not trust the CA of the certificate", "pkinit_anchors of the KDC"),
)


def explain(words: str) -> tuple[str, str] | None:
    """Return what kinit's words mean, and what to do about it; None where they are not known."""
    folded = words.lower()
    return next(((meaning, hint) for mark, meaning, hint in _REASONS if mark in folded), None)
