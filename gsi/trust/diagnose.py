"""What is wrong, and what is well, with a trust directory's contents and with chains, one finding each; reads no file.

    findings = diagnose_anchors(anchors, now=now, crl=CRLPolicy.IF_PRESENT)
    findings, peer = diagnose_chain(chain, anchors, now=now, options=options, where="/home/alice/proxy.pem")
    findings = diagnose_name(peer, "www.example.org", NameMode.HYBRID, where="www.example.org:443")

The judge of chains is `verify_chain`, which stops at the first breach; here everything is looked at, so that one run
tells all there is to mend, and what will stop working soon is said, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gsi import names, oids
from gsi.certificate import Certificate
from gsi.errors import GridError, ParseError, Reason, VerificationError
from gsi.trust.anchors import CRLFile
from gsi.trust.name_constraints import parse_general_names
from gsi.trust.options import CRLPolicy, ValidationOptions
from gsi.trust.peername import NameMode, check_peer_name
from gsi.trust.profile import CRL_SIGN, KEY_CERT_SIGN
from gsi.trust.signatures import check_certificate_signature, check_signature, load_key
from gsi.trust.signing_policy import SigningPolicy
from gsi.trust.verify import verify_chain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from gsi.trust.anchors import Authority, IssuerRules, TrustAnchors
    from gsi.trust.crl import CRL
    from gsi.trust.peer import VerifiedPeer

__all__ = [
    "SOON_CERTIFICATE",
    "Finding",
    "Severity",
    "diagnose_anchors",
    "diagnose_chain",
    "diagnose_dates",
    "diagnose_name",
    "finding_of",
    "has_errors",
]

SOON_CA: Final = timedelta(days=30)
"""A CA that ends within this time is a warning: its successor takes weeks to reach all sites."""
SOON_CERTIFICATE: Final = timedelta(days=14)
"""The same for other certificates, which take a person and a CA some days to renew; proxies end within hours anyway."""
SOON_CRL: Final = timedelta(hours=12)
"""The same for a CRL: fetching runs every six hours, so that two runs have failed."""
_DNS: Final = 0x82  # GeneralName, RFC 5280 section 4.2.1.6
_IP: Final = 0x87
_POLICY_HINT: Final = "install the CA's package anew, or write a signing policy: without one no program trusts the CA"


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    """Looked at, and well."""
    NOTE = "note"
    """Good to know."""
    WARNING = "warning"
    """Works now, or here, but not everywhere or not for long."""
    ERROR = "error"
    """Does not work, or could not be checked although it was asked for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        severity: How much it matters.
        check: What was looked at, as a stable slug; for certificates and chains the reason code.
        where: The file, variable or server.
        message: What is so, and why that is bad, where it is.
        hint: What to do about it, or None.
    """

    severity: Severity
    check: str
    where: str
    message: str
    hint: str | None = None


def has_errors(findings: Iterable[Finding]) -> bool:
    """Tell whether any finding is an error."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def finding_of(error: GridError, where: str, *, check: str | None = None) -> Finding:
    """Return an error as a finding.

    Args:
        error: What was raised.
        where: The file, variable or server; taken off the beginning of the message where it stands there.
        check: The slug; by default the error's reason, problem or family.
    """
    slug = check or getattr(error, "reason", None) or getattr(error, "problem", None) or error.slug
    message = error.message.removeprefix(f"{where}: ").removeprefix(f"{where} ")
    return Finding(Severity.ERROR, str(slug), where, message, error.hint)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


# --- Trust directories -----------------------------------------------------------------------------------------------


def diagnose_anchors(anchors: TrustAnchors, *, now: datetime, crl: CRLPolicy = CRLPolicy.IF_PRESENT) -> list[Finding]:
    """Look at every file that could not be used, and at every CA with its rules and CRLs.

    Args:
        anchors: The contents of the trust directory.
        now: The time (aware UTC).
        crl: Whether a missing CRL is an error (`require`), a warning, or nothing (`off`).
    """
    found = [
        Finding(
            Severity.ERROR, str(problem.reason or "ca-file"), problem.path, problem.message, _problem_hint(problem.path)
        )
        for problem in anchors.problems
    ]
    if not anchors.authorities:
        found.append(Finding(Severity.ERROR, "no-ca", "trust directory", "there is no CA in it: nobody is trusted"))
    for authority in anchors.authorities:
        faults = list(_faults(authority, anchors, now, crl))
        found += faults
        if all(fault.severity is Severity.NOTE for fault in faults):
            found.append(_praise(authority, anchors))
    return list(dict.fromkeys(found))  # CAs of one name share their CRLs


def _problem_hint(path: str) -> str:
    _, _, kind = path.partition(".")
    if kind.startswith("r"):
        return "fetch the CA's CRL anew (fetch-crl); until then its certificates are refused"
    return "install the CA's package anew; until then its certificates are refused"


def _praise(authority: Authority, anchors: TrustAnchors) -> Finding:
    rules = anchors.find_rules(authority.certificate.subject_der)
    ends = [crl.next_update for file in rules.crls if isinstance(file, CRLFile) for crl in file.crls]
    crl = f", CRL until {_day(min(ends))}" if ends else ""
    kind = "self-signed" if authority.is_anchor else "signed by a CA here"
    message = f"{authority.subject}: {kind}, until {_day(authority.certificate.not_after)}{crl}"
    return Finding(Severity.OK, "ca", authority.path, message)


def _faults(authority: Authority, anchors: TrustAnchors, now: datetime, crl: CRLPolicy) -> Iterator[Finding]:
    """Yield all that is wrong with one CA."""
    where, subject = authority.path, authority.subject
    yield from diagnose_dates(authority.certificate, where, now, SOON_CA, "update the CA's package")
    if authority.certificate.version == 1:
        message = f"{subject}: of version 1, without the extensions that make a CA"
        yield Finding(Severity.NOTE, Reason.UNSUPPORTED_VERSION, where, message)
    if not authority.profile.may(KEY_CERT_SIGN):
        yield Finding(Severity.ERROR, Reason.KEY_USAGE, where, f"{subject}: its key usage lacks keyCertSign")
    try:
        load_key(authority.certificate, None)
        yield from _issuer_faults(authority, anchors)
    except VerificationError as error:
        yield Finding(Severity.ERROR, error.reason, where, f"{subject}: {error.message}", error.hint)
    rules = anchors.find_rules(authority.certificate.subject_der)
    yield from _policy_faults(authority, rules)
    if crl is not CRLPolicy.OFF:
        yield from _crl_faults(authority, anchors, rules, now, crl)


def diagnose_dates(
    certificate: Certificate, where: str, now: datetime, soon: timedelta, hint: str
) -> Iterator[Finding]:
    """Look at the dates of a certificate.

    Args:
        certificate: It.
        where: The file or server, for the findings.
        now: The time (aware UTC).
        soon: How long before its end it is a warning.
        hint: What to do when it ends.
    """
    subject = names.oneline(certificate.subject_der)
    if now > certificate.not_after:
        message = f"{subject}: expired {_day(certificate.not_after)}"
        yield Finding(Severity.ERROR, Reason.EXPIRED, where, message, hint)
    elif now < certificate.not_before:
        message = f"{subject}: not valid before {_day(certificate.not_before)}, and it is {_day(now)} by this clock"
        yield Finding(Severity.ERROR, Reason.NOT_YET_VALID, where, message, "check this machine's clock (-n)")
    elif now > certificate.not_after - soon:
        message = f"{subject}: expires soon, {_day(certificate.not_after)}"
        yield Finding(Severity.WARNING, "expires-soon", where, message, hint)


def _issuer_faults(authority: Authority, anchors: TrustAnchors) -> Iterator[Finding]:
    """Check who signed the CA; how strongly does not matter for a root, which is trusted for being here."""
    certificate, where = authority.certificate, authority.path
    if authority.is_anchor:
        check_certificate_signature(certificate, authority.load_key(None), None, accept_weak=True)
        return
    above = anchors.find_authorities(certificate.issuer_der)
    issuer = names.oneline(certificate.issuer_der)
    if not above:
        message = f"{authority.subject}: its issuer {issuer} is not in the trust directory"
        yield Finding(Severity.ERROR, Reason.UNTRUSTED, where, message, "install the root CA, too")
        return
    last: VerificationError | None = None
    for one in above:
        try:
            check_certificate_signature(certificate, one.load_key(None), None)
        except VerificationError as error:
            last = error
            continue
        policy = anchors.find_rules(one.certificate.subject_der).signing_policy
        if isinstance(policy, SigningPolicy) and not policy.permits(one.subject, authority.subject):
            message = f"{authority.subject}: the signing policy of {issuer} does not permit this name"
            yield Finding(Severity.ERROR, Reason.SIGNING_POLICY, where, message, _POLICY_HINT)
        return
    if last is not None:
        raise last


def _policy_faults(authority: Authority, rules: IssuerRules) -> Iterator[Finding]:
    policy = rules.signing_policy  # a broken one is among the problems
    if policy is None:
        message = f"{authority.subject}: no signing policy beside it"
        yield Finding(Severity.ERROR, Reason.SIGNING_POLICY_MISSING, authority.path, message, _POLICY_HINT)
    elif isinstance(policy, SigningPolicy) and not policy.names(authority.subject):
        message = f"{authority.subject}: the signing policy beside it is that of other CAs"
        yield Finding(Severity.ERROR, Reason.SIGNING_POLICY, authority.path, message, _POLICY_HINT)


def _crl_faults(
    authority: Authority, anchors: TrustAnchors, rules: IssuerRules, now: datetime, policy: CRLPolicy
) -> Iterator[Finding]:
    subject = authority.subject
    own = [
        (file.path, crl)
        for file in rules.crls
        if isinstance(file, CRLFile)
        for crl in file.crls
        if names.same_name(crl.issuer_der, authority.certificate.subject_der)
    ]
    if not rules.crls:
        severity = Severity.ERROR if policy is CRLPolicy.REQUIRE else Severity.WARNING
        message = f"{subject}: no CRL, so that withdrawn certificates are accepted"
        yield Finding(
            severity, Reason.CRL_MISSING, authority.path, message, "run grid-fetch-crl, and see that it runs daily"
        )
    for path, crl in own:
        fault = _crl_fault(crl, path, authority, anchors, now)
        if fault is not None:
            yield fault
    if own and not authority.profile.may(CRL_SIGN):
        yield Finding(
            Severity.ERROR, Reason.CRL_SIGNER, authority.path, f"{subject}: has a CRL, but its key usage lacks cRLSign"
        )


def _crl_fault(crl: CRL, path: str, authority: Authority, anchors: TrustAnchors, now: datetime) -> Finding | None:
    hint = "fetch it anew (fetch-crl); until then the certificates of this CA are refused"
    subject = authority.subject
    refusal: VerificationError | None = None
    for one in anchors.find_authorities(authority.certificate.subject_der):
        try:
            key = one.load_key(None)
            check_signature(key, crl.signature_algorithm_der, crl.signature, crl.tbs_der)
            break
        except VerificationError as error:
            refusal = error
    else:
        assert refusal is not None  # the CA itself is among those of its name
        reason = Reason.CRL_BAD_SIGNATURE if refusal.reason is Reason.BAD_SIGNATURE else refusal.reason
        return Finding(Severity.ERROR, reason, path, f"CRL of {subject}: {refusal.message}", hint)
    if now > crl.next_update:
        message = f"CRL of {subject}: expired {_day(crl.next_update)}"
        return Finding(Severity.ERROR, Reason.CRL_EXPIRED, path, message, hint)
    if now < crl.this_update:
        message = f"CRL of {subject}: not valid before {_day(crl.this_update)}, and it is {_day(now)} by this clock"
        return Finding(Severity.ERROR, Reason.CRL_NOT_YET_VALID, path, message, "check this machine's clock (-n)")
    if now > crl.next_update - SOON_CRL:
        message = f"CRL of {subject}: expires soon, {_day(crl.next_update)}"
        return Finding(Severity.WARNING, "crl-expires-soon", path, message, "see why fetch-crl does not renew it")
    try:
        crl.is_revoked(0)  # makes the index, and so reads every entry
    except ParseError as error:
        return Finding(Severity.ERROR, Reason.CRL_BROKEN, path, f"CRL of {subject}: {error.message}", hint)
    return None


# --- Chains ----------------------------------------------------------------------------------------------------------


def diagnose_chain(
    chain: Sequence[bytes | Certificate],
    anchors: TrustAnchors,
    *,
    now: datetime,
    options: ValidationOptions,
    where: str,
) -> tuple[list[Finding], VerifiedPeer | None]:
    """Judge a chain; return the findings, and what it proves if it is good.

    Args:
        chain: Leaf first.
        anchors: The contents of the trust directory.
        now: The time (aware UTC).
        options: How to judge.
        where: The file or server, for the findings.
    """
    found: list[Finding] = []
    try:
        certificates = [item if isinstance(item, Certificate) else Certificate.parse(item) for item in chain]
        for certificate in certificates:
            soon = timedelta() if certificate is certificates[0] and _is_proxy(certificate) else SOON_CERTIFICATE
            found += diagnose_dates(certificate, where, now, soon, "ask the CA to renew it")
    except ParseError as error:
        return [finding_of(error, where, check=Reason.MALFORMED)], None
    try:
        peer = verify_chain(certificates, anchors, now=now, options=options)
    except VerificationError as error:
        if not any(one.check == error.reason for one in found):
            place = "" if error.position is None else f" (certificate {error.position})"
            found.append(Finding(Severity.ERROR, error.reason, where, f"{error.message}{place}", error.hint))
        return found, None
    message = f"{peer.identity}: the chain is good, until {_day(peer.not_after)}"
    found.append(Finding(Severity.OK, "chain", where, message))
    return found, peer


def _is_proxy(certificate: Certificate) -> bool:
    return any(certificate.find_extension(oid) is not None for oid in (oids.PROXY_CERT_INFO, oids.PROXY_CERT_INFO_GT3))


def diagnose_name(peer: VerifiedPeer, hosts: Sequence[str], mode: NameMode, *, where: str) -> Finding:
    """Check that a proven peer is a host.

    Args:
        peer: The peer.
        hosts: The host's names, first the one that was meant; the others as far as the mode believes the name service.
        mode: Where in the certificate to look.
        where: For the finding.
    """
    refusal: VerificationError | None = None
    for host in hosts if mode is not NameMode.STRICT_RFC2818 else hosts[:1]:
        try:
            check_peer_name(peer, host, mode)
        except VerificationError as error:
            refusal = refusal or error
            continue
        through = "" if host == hosts[0] else f", by way of the name service's {host}"
        return Finding(Severity.OK, "peer-name", where, f"is {hosts[0]} ({mode}){through}")
    assert refusal is not None
    known = ", ".join(_names_of(peer)) or "none at all"
    message = f"{refusal.message} ({mode}); the names in the certificate: {known}"
    hint = "use the name that is in the certificate, or have the certificate issued for this one"
    return Finding(Severity.ERROR, refusal.reason, where, message, hint)


def _names_of(peer: VerifiedPeer) -> list[str]:
    """Return the names that a host can have in a certificate: DNS and IP alternative names, and common names."""
    found: list[str] = []
    extension = peer.eec.find_extension(oids.SUBJECT_ALT_NAME)
    try:
        for kind, content in () if extension is None else parse_general_names(extension.value):
            if kind == _DNS:
                found.append(f"DNS:{content.decode('latin-1')}")
            elif kind == _IP:
                found.append(f"IP:{_address(content)}")
        for group in names.attributes(peer.eec.subject_der):
            found += [f"CN:{one.text()}" for one in group if one.oid == oids.COMMON_NAME]
    except ParseError:
        found.append("unreadable")
    return found


def _address(content: bytes) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(content))
    except ValueError:
        return content.hex()
