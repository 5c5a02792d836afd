"""What is wrong, and what is well, on this machine: environment, trust directory, credential files; asks no other host.

    findings = diagnose_environment(locations)
    findings, anchors = diagnose_trust_directory(locations.trust_dir, now=now)
    findings = diagnose_credential(Whose.USER, certificate_path, key_path, anchors, now=now, passphrase=ask)

What certificates mean is judged by `gsi.trust.diagnose`; here are the places, owners and modes of files, and what fits
together. No finding holds a secret.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi.certificate import load_certificates
from gsi.credential import MAX_CREDENTIAL_BYTES, Credential, parse_credential
from gsi.errors import ConfigError, CredentialError, CredentialProblem, GridError, ParseError, Reason
from gsi.keys import KEY_LABELS, is_encrypted, key_bits
from gsi.pem import split_pem
from gsi.system.credential_files import is_pkcs12_path, load_proxy, load_user_credential
from gsi.system.environ import get_variable
from gsi.system.files import read_private, read_public
from gsi.system.gsi_conf import find_setting, load_gsi_conf
from gsi.system.trustdir import TrustDirectory
from gsi.trust.anchors import is_trust_file
from gsi.trust.diagnose import Finding, Severity, diagnose_anchors, diagnose_chain, finding_of
from gsi.trust.hashes import hash_names
from gsi.trust.options import CRLPolicy, Purpose, ValidationOptions
from gsi.trust.peername import NameMode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gsi.certificate import Certificate
    from gsi.credential import PassphraseSource
    from gsi.system.environ import Locations
    from gsi.trust.anchors import TrustAnchors

__all__ = [
    "MAX_LISTED_FILES",
    "CredentialPlace",
    "Whose",
    "diagnose_credential",
    "diagnose_environment",
    "diagnose_proxy",
    "diagnose_trust_directory",
    "load_chain",
]

MAX_LISTED_FILES: Final = 50_000  # as `gsi.system.trustdir` takes
_DIRECTORIES: Final = ("X509_CERT_DIR", "GRIDMAPDIR", "X509_VOMS_DIR", "X509_VHOST_CRED_DIR", "GRID_SECURITY_DIR")
_FILES: Final = ("X509_USER_CERT", "X509_USER_KEY", "GRIDMAP")
_CA_FILE: Final = re.compile(r"([0-9a-f]{8})\.(r?)([0-9]+)")


class Whose(StrEnum):
    """Whom a credential belongs to; decides what is usual for its key."""

    USER = "user"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class CredentialPlace:
    """Where a credential lies.

    Attributes:
        whose: The user's or the host's.
        certificate: Path of the certificate.
        key: Path of the key; the same for PKCS#12.
    """

    whose: Whose
    certificate: str
    key: str


# --- Environment -----------------------------------------------------------------------------------------------------


def diagnose_environment(locations: Locations) -> list[Finding]:
    """Look at the variables and the places they lead to."""
    return [*_home_findings(locations), *_variable_findings(), *_setting_findings(locations), *_map_findings(locations)]


def _home_findings(locations: Locations) -> Iterator[Finding]:
    home = locations.home
    if home is None:
        yield Finding(Severity.WARNING, "home", "HOME", "there is no home directory", "set HOME")
    elif not os.path.isdir(home):
        yield Finding(Severity.ERROR, "home", "HOME", f"{home} is not a directory", "set HOME to an existing one")
    else:
        yield Finding(Severity.OK, "home", "HOME", home)
        properties = os.path.join(home, ".globus", "cog.properties")
        if os.path.exists(properties):
            message = "is there: Java programs may take certificates from where it says, not from the usual places"
            yield Finding(Severity.WARNING, "cog-properties", properties, message, "look for paths in it")


def _variable_findings() -> Iterator[Finding]:
    for name in (*_DIRECTORIES, *_FILES):
        value = get_variable(name)
        if value is None:
            continue
        is_there = os.path.isdir(value) if name in _DIRECTORIES else os.path.isfile(value)
        kind = "directory" if name in _DIRECTORIES else "file"
        if is_there:
            yield Finding(Severity.OK, "variable", name, value)
        else:
            hint = f"make it, or unset {name}"
            yield Finding(Severity.ERROR, "variable", name, f"{value} is not there, or no {kind}", hint)
    certificate, key = get_variable("X509_USER_CERT"), get_variable("X509_USER_KEY")
    if (certificate is None) != (key is None) and not is_pkcs12_path(certificate or ""):
        name, other = ("X509_USER_CERT", "X509_USER_KEY") if key is None else ("X509_USER_KEY", "X509_USER_CERT")
        message = f"is set and {other} is not: certificate and key come from different places"
        yield Finding(Severity.WARNING, "variable", name, message, "set both, or none")
    callouts = get_variable("GSI_AUTHZ_CONF")
    if callouts is not None and not os.path.isfile(callouts):
        message = f"{callouts} is not there: services ask no callout whom to let in"
        yield Finding(Severity.WARNING, "variable", "GSI_AUTHZ_CONF", message, "make it, or unset GSI_AUTHZ_CONF")
    proxy = get_variable("X509_USER_PROXY")
    if proxy is not None:
        note = "" if os.path.exists(proxy) else " (not there now)"
        yield Finding(Severity.OK, "variable", "X509_USER_PROXY", f"{proxy}{note}")
    if get_variable("GLOBUS_IGNORE_CRED_PERMS") is not None:
        message = "is set: keys that others can read are used without a word"
        yield Finding(Severity.WARNING, "variable", "GLOBUS_IGNORE_CRED_PERMS", message, "unset it")


def _setting_findings(locations: Locations) -> Iterator[Finding]:
    try:
        settings = load_gsi_conf(locations.gsi_conf)
        mode = find_setting("NAME_COMPATIBILITY", settings)
    except ConfigError as error:
        yield finding_of(error, locations.gsi_conf)
        return
    if mode is not None and mode not in [one.value for one in NameMode]:
        message = f"'{mode}' is none of {', '.join(NameMode)}"
        yield Finding(Severity.ERROR, "name-mode", "GLOBUS_GSSAPI_NAME_COMPATIBILITY", message, "set one of them")
    elif mode is not None and mode != NameMode.STRICT_RFC2818:
        message = f"{mode}: servers are known by names from the name service, which others may control"
        yield Finding(Severity.NOTE, "name-mode", "GLOBUS_GSSAPI_NAME_COMPATIBILITY", message)


def _map_findings(locations: Locations) -> Iterator[Finding]:
    path = locations.gridmap
    if not os.path.exists(path):
        yield Finding(Severity.NOTE, "gridmap", path, "not there; only servers need a grid-mapfile")
        return
    fault = _mode_fault(path, "grid-mapfile")
    yield fault or Finding(Severity.OK, "gridmap", path, "is there")


def _mode_fault(path: str, what: str, *, owners: frozenset[int] | None = None) -> Finding | None:
    """Return a finding when others can change a file or directory, or somebody else owns it."""
    try:
        found = os.stat(path)
    except OSError as error:
        return Finding(Severity.ERROR, "unreadable", path, f"{what}: {error.strerror}")
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others:  # of a directory, be it sticky: whoever may add a file there adds a CA
        message = f"{what} with mode {stat.S_IMODE(found.st_mode):03o}: others can change it, and so whom is trusted"
        return Finding(Severity.ERROR, "unsafe-mode", path, message, f"chmod go-w {path}")
    if found.st_uid not in (owners or frozenset({0, os.geteuid()})):
        message = f"{what} of uid {found.st_uid}, neither root nor the current user"
        return Finding(Severity.WARNING, "foreign-owner", path, message, f"see why; as root: chown root {path}")
    return None


def _parent_fault(path: str) -> Finding | None:
    """Return a finding when others can put a directory of theirs in place of this one or of one above it."""
    at = os.path.realpath(path)
    while (parent := os.path.dirname(at)) != at:
        at = parent
        try:
            found = os.stat(at)
        except OSError as error:
            return Finding(Severity.ERROR, "unreadable", at, str(error.strerror))
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
            severity = Severity.ERROR if found.st_mode & stat.S_IWOTH else Severity.WARNING  # a group may be meant
            mode = f"{stat.S_IMODE(found.st_mode):03o}"
            message = f"directory above {path} with mode {mode}: others can put a directory of theirs in its place"
            return Finding(severity, "unsafe-mode", at, message, f"chmod go-w {at}")
    return None


# --- Trust directory -------------------------------------------------------------------------------------------------


def diagnose_trust_directory(
    path: str, *, now: datetime, crl: CRLPolicy = CRLPolicy.IF_PRESENT
) -> tuple[list[Finding], TrustAnchors | None]:
    """Look at a trust directory; return the findings, and its contents if it can be read at all.

    Args:
        path: The directory.
        now: The time (aware UTC).
        crl: Whether a missing CRL is an error, a warning or nothing.
    """
    try:
        anchors = TrustDirectory(path).anchors()
        listed = sorted(os.listdir(path))
    except ConfigError as error:
        return [finding_of(error, path, check="trust-directory")], None
    except OSError as error:
        return [Finding(Severity.ERROR, "trust-directory", path, str(error.strerror))], None
    found = [_mode_fault(path, "trust directory") or Finding(Severity.OK, "trust-directory", path, _count(anchors))]
    found += [fault for fault in (_parent_fault(path),) if fault is not None]
    names = [name for name in listed[:MAX_LISTED_FILES] if is_trust_file(name)]
    found += [fault for name in names if (fault := _mode_fault(os.path.join(path, name), "file")) is not None]
    found += [
        replace(finding, where=os.path.join(path, finding.where)) if is_trust_file(finding.where) else finding
        for finding in (*_name_findings(names, anchors), *diagnose_anchors(anchors, now=now, crl=crl))
    ]
    return found, anchors


def _count(anchors: TrustAnchors) -> str:
    return f"CAs: {len(anchors.authorities)}, files that cannot be used: {len(anchors.problems)}"


def _name_findings(names: list[str], anchors: TrustAnchors) -> Iterator[Finding]:
    """Yield what other programs make of the names of files."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for name in names:
        parts = _CA_FILE.fullmatch(name)
        if parts:
            numbers.setdefault((parts[1], parts[2]), []).append(int(parts[3]))
    for (stem, kind), present in sorted(numbers.items()):
        missing = next((one for one in range(max(present) + 1) if one not in present), None)
        if missing is not None:
            last = f"{stem}.{kind}{max(present)}"
            message = f"there is no {stem}.{kind}{missing}: C programs and OpenSSL look no further"
            yield Finding(Severity.WARNING, "file-number", last, message, f"rename it to {stem}.{kind}{missing}")
    for authority in anchors.authorities:
        new, old = hash_names(authority.certificate.subject_der)
        if (new, "") not in numbers:
            message = f"{authority.subject}: only under its old hash {old}, which C programs do not read any more"
            yield Finding(
                Severity.WARNING, "old-hash", authority.path, message, f"link it as {new}.0, its rules likewise"
            )


# --- Credentials -----------------------------------------------------------------------------------------------------


def diagnose_credential(
    place: CredentialPlace,
    anchors: TrustAnchors | None,
    *,
    now: datetime,
    passphrase: PassphraseSource = None,
    crl: CRLPolicy = CRLPolicy.IF_PRESENT,
) -> list[Finding]:
    """Look at the files of a long-lived credential: modes, form, strength, whether they fit, and the chain.

    Args:
        place: Where it lies.
        anchors: The contents of the trust directory; None leaves the chain unjudged.
        now: The time (aware UTC).
        passphrase: Opens a locked key; None leaves it closed, and so unproven to fit.
        crl: Whether each CA of the chain must have a CRL.
    """
    if is_pkcs12_path(place.certificate):
        return _diagnose_pkcs12(place, anchors, now, passphrase, crl)
    try:
        pem = read_public(place.certificate, max_bytes=MAX_CREDENTIAL_BYTES, check_writers=True)
        certificates = load_certificates(pem, what=place.certificate)
        if not certificates:
            raise ParseError("no certificate in it", what="PEM file")
        found = [_certificate_finding(certificates[0], place)]
    except GridError as error:
        found, certificates = [finding_of(error, place.certificate)], ()
    found += _key_findings(place, certificates, passphrase)
    if certificates and anchors is not None:
        found += _judge(certificates, anchors, now, place, crl)
    return found


def _certificate_finding(certificate: Certificate, place: CredentialPlace) -> Finding:
    from gsi import names

    bits = key_bits(certificate.public_key())
    message = f"{place.whose} certificate of {names.oneline(certificate.subject_der)}, {bits} bits"
    return Finding(Severity.OK, "certificate", place.certificate, message)


def _judge(
    certificates: tuple[Certificate, ...],
    anchors: TrustAnchors,
    now: datetime,
    place: CredentialPlace,
    crl: CRLPolicy,
) -> list[Finding]:
    purpose = Purpose.CLIENT if place.whose is Whose.USER else Purpose.SERVER
    options = ValidationOptions(purpose=purpose, crl=crl)
    return diagnose_chain(certificates, anchors, now=now, options=options, where=place.certificate)[0]


def _key_findings(
    place: CredentialPlace, certificates: tuple[Certificate, ...], passphrase: PassphraseSource
) -> Iterator[Finding]:
    path = place.key
    if place.whose is Whose.HOST and _belongs_to_another(path):
        yield Finding(Severity.NOTE, "key", path, "host key: its owner's to look at; run this as that user")
        return
    try:
        data = read_private(path, max_bytes=MAX_CREDENTIAL_BYTES)
        blocks = [block for block in split_pem(data, what=path) if block.label in KEY_LABELS]
        locked = any(is_encrypted(block) for block in blocks)
        if certificates and (passphrase is not None or not locked):
            pem = b"".join(certificate.pem() for certificate in certificates)
            parse_credential(pem, passphrase=passphrase, key_pem=data, source=place.certificate, key_source=path)
            yield Finding(Severity.OK, "key", path, f"{place.whose} key, belongs to the certificate")
        elif not blocks:
            raise CredentialError("no private key in it", problem=CredentialProblem.KEY_MISSING)
        elif locked:
            message = f"{place.whose} key: locked, not opened, and so not compared with the certificate"
            yield Finding(Severity.WARNING, "key", path, message, "give its pass phrase with -passin")
    except GridError as error:
        severity = Severity.ERROR
        message = error.message.removeprefix(f"{path}: ").removeprefix(f"{path} ").removeprefix(f"{path} and ")
        slug = error.problem if isinstance(error, CredentialError) else error.slug
        yield Finding(severity, str(slug), path, f"{place.whose} key: {message}", error.hint)
        return
    if place.whose is Whose.USER and not locked:
        message = "user key: not locked with a pass phrase: a copy of the file is all it takes"
        yield Finding(Severity.WARNING, "key-unlocked", path, message, "lock it: grid-change-pass-phrase")
    if place.whose is Whose.HOST and locked:
        message = "host key: locked with a pass phrase: services cannot start by themselves"
        yield Finding(Severity.WARNING, "key-locked", path, message, "grid-change-pass-phrase -nopassphrase")


def _belongs_to_another(path: str) -> bool:
    try:
        return os.stat(path).st_uid != os.geteuid()
    except OSError:
        return False  # reading it tells why


def _diagnose_pkcs12(
    place: CredentialPlace,
    anchors: TrustAnchors | None,
    now: datetime,
    passphrase: PassphraseSource,
    crl: CRLPolicy,
) -> list[Finding]:
    path = place.certificate
    if passphrase is None:
        try:
            read_private(path, max_bytes=MAX_CREDENTIAL_BYTES)
        except GridError as error:
            return [finding_of(error, path)]
        message = "PKCS#12: locked, and not opened"
        return [Finding(Severity.WARNING, "key", path, message, "give its pass phrase with -passin")]
    try:
        credential = load_user_credential(path, None, passphrase)
    except GridError as error:
        return [finding_of(error, path)]
    found = [
        _certificate_finding(credential.certificate, place),
        Finding(Severity.OK, "key", path, f"{place.whose} key, belongs to the certificate"),
    ]
    return found if anchors is None else found + _judge(credential.certificates, anchors, now, place, crl)


def diagnose_proxy(
    path: str, anchors: TrustAnchors | None, *, now: datetime, crl: CRLPolicy = CRLPolicy.IF_PRESENT
) -> list[Finding]:
    """Look at a proxy file: mode, form, whether key and certificate fit, and the chain.

    Args:
        path: The file.
        anchors: The contents of the trust directory; None leaves the chain unjudged.
        now: The time (aware UTC).
        crl: Whether each CA of the chain must have a CRL.
    """
    try:
        credential = load_proxy(path)
    except GridError as error:
        return [finding_of(error, path)]
    found = [Finding(Severity.OK, "proxy", path, _describe_proxy(credential))]
    if anchors is not None:
        options = ValidationOptions(purpose=Purpose.CLIENT, crl=crl)
        found += diagnose_chain(credential.certificates, anchors, now=now, options=options, where=path)[0]
    return found


def _describe_proxy(credential: Credential) -> str:
    from gsi.proxy.chain import ProxyChain

    try:
        kind = ProxyChain.split(credential.certificates).type_text
    except GridError:
        kind = "chain that is none of a proxy"
    return f"{kind}, {key_bits(credential.certificate.public_key())} bits, its key belongs to it"


def load_chain(data: bytes, where: str) -> tuple[tuple[Certificate, ...], Finding | None]:
    """Return the certificates in PEM, or why there are none."""
    try:
        certificates = load_certificates(data, what=where)
    except ParseError as error:
        return (), finding_of(error, where, check=Reason.MALFORMED)
    if not certificates:
        return (), Finding(Severity.ERROR, Reason.EMPTY_CHAIN, where, "no certificate in it")
    return certificates, None
