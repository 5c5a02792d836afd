"""Where we and OpenSSL are known to differ over a chain, each difference with its reason; an unlisted one is a finding.

    classify(difference)      # the Rule it falls under, or None

A rule is as narrow as it can be said: by our reason and the words of our error where we are stricter, by OpenSSL's
error and a fact about the chain where it is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gsi import der, names, oids
from gsi.certificate import Certificate
from gsi.errors import GridError, Reason, VerificationError
from gsi.extensions import KEY_CERT_SIGN, parse_basic_constraints, parse_key_usage
from gsi.proxy.info import ProxyCertInfo
from tests.fuzz.openssl import Verdict

__all__ = ["RULES", "Difference", "Rule", "classify"]

_NETSCAPE_CERT_TYPE: Final = "2.16.840.1.113730.1.1"


@dataclass(frozen=True, slots=True)
class Difference:
    """One chain about which the two disagree.

    Attributes:
        chain: Its certificates in DER, leaf first.
        root: The anchor.
        now: The time of the judgement.
        ours: Our refusal, or None where we accept.
        theirs: OpenSSL's verdict.
        changes: What was done to make it.
    """

    chain: tuple[bytes, ...]
    root: bytes
    now: datetime
    ours: VerificationError | None
    theirs: Verdict
    changes: tuple[str, ...]

    def certificates(self) -> list[Certificate]:
        """Those that can be read."""
        found: list[Certificate] = []
        for one in self.chain:
            try:
                found.append(Certificate.parse(one))
            except GridError:
                continue
        return found

    def __str__(self) -> str:
        ours = "accept" if self.ours is None else f"refuse ({self.ours.reason} at {self.ours.position}: {self.ours})"
        theirs = "accepts" if self.theirs.accepted else f"refuses ({self.theirs.error} {self.theirs.words})"
        return f"we {ours}, OpenSSL {theirs}; changes {', '.join(self.changes)}; at {self.now:%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One known difference.

    Attributes:
        name: What it is called in reports.
        why: The reason, for the documentation.
        source: The standard or document that it rests on.
        reasons: Our reasons, where we refuse and OpenSSL accepts; empty for the reverse.
        words: What our message must contain, an expression; empty for any.
        errors: OpenSSL's errors, where it refuses and we accept.
        fits: A fact that must hold of the chain.
    """

    name: str
    why: str
    source: str
    reasons: frozenset[Reason] = frozenset()
    words: str = ""
    errors: frozenset[int] = frozenset()
    fits: Callable[[Difference], bool] | None = None

    @property
    def we_refuse(self) -> bool:
        """The direction: whether it is we who refuse."""
        return bool(self.reasons)

    def covers(self, difference: Difference) -> bool:
        """Tell whether a difference falls under this rule."""
        if difference.ours is None:
            matches = difference.theirs.error in self.errors
        else:
            error = difference.ours
            matches = error.reason in self.reasons and re.search(self.words, error.message) is not None
        try:
            return matches and (self.fits is None or self.fits(difference))
        except GridError:
            return False  # a fact about what cannot be read


def classify(difference: Difference) -> Rule | None:
    """Return the first rule that covers a difference."""
    return next((rule for rule in RULES if rule.covers(difference)), None)


def _is_unused_by_openssl(difference: Difference) -> bool:
    position = None if difference.ours is None else difference.ours.position
    return position is not None and position < len(difference.chain) and position not in difference.theirs.used


def _at_last_second(difference: Difference) -> bool:
    return any(one.not_after == difference.now for one in difference.certificates())


def _has_netscape_type(difference: Difference) -> bool:
    return any(one.find_extension(_NETSCAPE_CERT_TYPE) is not None for one in difference.certificates())


def _permits_any_usage(difference: Difference) -> bool:
    any_usage = der.encode_oid(oids.ANY_EXTENDED_KEY_USAGE)
    found = (one.find_extension(oids.EXTENDED_KEY_USAGE) for one in difference.certificates())
    return any(one is not None and any_usage in one.value for one in found)


def _has_foreign_key_identifier(difference: Difference) -> bool:
    """An AuthorityKeyIdentifier that is not the key identifier of any certificate with the issuer's name."""
    certificates = [*difference.certificates(), Certificate.parse(difference.root)]
    for one in certificates:
        found = one.find_extension(oids.AUTHORITY_KEY_IDENTIFIER)
        if found is None:
            continue
        issuers = [other for other in certificates if names.same_name(other.subject_der, one.issuer_der)]
        held = {other.find_extension(oids.SUBJECT_KEY_IDENTIFIER) for other in issuers}
        identifiers = {der.Reader(each.value, what="SKI").octet_string() for each in held if each is not None}
        members = der.parse_one(found.value, what="AKI")
        while not members.at_end():
            tag, content, _ = members.take_any()
            if tag != 0x80 or content not in identifiers:
                return True
    return False


def _constrains_without_being_ca(difference: Difference) -> bool:
    return any(
        one.find_extension(oids.NAME_CONSTRAINTS) is not None and not _is_ca(one) for one in difference.certificates()
    )


def _is_ca(certificate: Certificate) -> bool:
    found = certificate.find_extension(oids.BASIC_CONSTRAINTS)
    return found is not None and parse_basic_constraints(found.value)[0]


def _has_ca_without_cert_sign(difference: Difference) -> bool:
    for one in difference.certificates():
        usage = one.find_extension(oids.KEY_USAGE)
        if usage is None or not _is_ca(one):
            continue
        try:
            if not parse_key_usage(usage.value) & KEY_CERT_SIGN:
                return True
        except GridError:
            return True  # what nobody can read permits nothing to OpenSSL
    return False


def _has_doubled_subject(difference: Difference) -> bool:
    subjects = [one.subject_der for one in difference.certificates()]
    return len(set(subjects)) < len(subjects)


def _signs_without_basic_constraints(difference: Difference) -> bool:
    """An end entity without BasicConstraints whose KeyUsage has keyCertSign."""
    for one in difference.certificates():
        usage = one.find_extension(oids.KEY_USAGE)
        has_constraints = one.find_extension(oids.BASIC_CONSTRAINTS) is not None
        if usage is not None and not has_constraints and parse_key_usage(usage.value) & KEY_CERT_SIGN:
            return True
    return False


def _widens_path_length(difference: Difference) -> bool:
    """A proxy that states a longer path than the one above it leaves."""
    lengths: list[int | None] = []
    for one in difference.certificates():
        found = one.find_extension(oids.PROXY_CERT_INFO)
        if found is not None:
            lengths.append(ProxyCertInfo.parse(found.value).path_length)
    left: int | None = None
    for length in reversed(lengths):
        left = None if left is None else left - 1
        if length is not None:
            if left is not None and length > left:
                return True
            left = length
    return False


def _is_out_of_order(difference: Difference) -> bool:
    """Some certificate's issuer is not the next one's subject, byte for byte or after folding."""
    chain = difference.certificates()
    return any(not names.same_name(below.issuer_der, above.subject_der) for below, above in itertools.pairwise(chain))


def _is_named_like_a_legacy_proxy(difference: Difference) -> bool:
    for one in difference.certificates():
        try:
            if (names.last_common_name(one.subject_der) or "").lower() in {"proxy", "limited proxy"}:
                return True
        except GridError:
            continue
    return False


def _has_self_issued_proxy(difference: Difference) -> bool:
    return any(
        one.find_extension(oids.PROXY_CERT_INFO) is not None and names.same_name(one.subject_der, one.issuer_der)
        for one in difference.certificates()
    )


def _is_critical_netscape_type(difference: Difference) -> bool:
    return any(
        found is not None and found.critical
        for found in (one.find_extension(_NETSCAPE_CERT_TYPE) for one in difference.certificates())
    )


_STRICT_DER: Final = (
    "bytes left over",
    r"\(BER\)",
    "neither 00 nor FF",
    "INTEGER without content",
    "tag 0x[0-9a-f]{2} expected",
    "data ends inside",
    r"bytes announced, \d+ present",
    "length field too long",
    "tag numbers above 30",
    "OBJECT IDENTIFIER",
    "error parsing asn1 value",
    "BIT STRING that is not a whole number of bytes",
)
_STRICT_VALUES: Final = (
    "KeyUsage: not a BIT STRING of nine bits",
    "KeyUsage: a bit set among the unused ones",
    "BasicConstraints: path length negative or without CA",
    "NameConstraints: an IP range of",
    "NameConstraints: a subtree with minimum or maximum",
    "NameConstraints: critical, on a kind of name",
    "a member that has no place in it",
    "^[A-Za-z]+: empty",
    "names two different signature algorithms",
    "name: an empty relative distinguished name",
    "name: the value of [0-9.]+ has tag",
    "name: the value of [0-9.]+ is not valid text",
    "empty list of extensions",
    "unusable public key",
)

RULES: Final = (
    # We refuse, OpenSSL accepts.
    Rule(
        "strict DER",
        "A certificate or extension that is not DER to the last byte. Two readers must not see two things in it.",
        "X.690 sections 8 and 11",
        frozenset({Reason.MALFORMED, Reason.PROXY_INFO_MALFORMED, Reason.NAME_CONSTRAINTS}),
        "|".join(_STRICT_DER),
    ),
    Rule(
        "values that the standard forbids",
        "Well-formed DER that its extension or field does not allow; OpenSSL passes over some of it.",
        "RFC 5280 sections 4.1 and 4.2",
        frozenset({Reason.MALFORMED, Reason.NAME_CONSTRAINTS}),
        "|".join(_STRICT_VALUES),
    ),
    Rule(
        "version",
        "Version 1 or 2 with extensions, or a version above 3.",
        "RFC 5280 section 4.1.2.1",
        frozenset({Reason.UNSUPPORTED_VERSION}),
    ),
    Rule(
        "doubled extension",
        "OpenSSL refuses a doubled extension only where it decodes it.",
        "RFC 5280 section 4.2",
        frozenset({Reason.DUPLICATE_EXTENSION}),
    ),
    Rule(
        "critical Netscape certificate type",
        "OpenSSL still evaluates this extension of 1996; here it is one that is not known.",
        "RFC 5280 section 4.2",
        frozenset({Reason.UNKNOWN_CRITICAL_EXTENSION}),
        re.escape(_NETSCAPE_CERT_TYPE),
        fits=_is_critical_netscape_type,
    ),
    Rule(
        "critical policy or name constraints below the CAs",
        "Constraints bind CAs. A proxy or end entity that makes them critical asks for what nobody does.",
        "RFC 5280 sections 4.2.1.10 and 4.2.1.11; RFC 3820 section 4",
        frozenset({Reason.UNKNOWN_CRITICAL_EXTENSION}),
        "critical (policyConstraints|nameConstraints)",
    ),
    Rule(
        "SHA-1 and MD5",
        "OpenSSL 3.0 accepts SHA-1 at its default security level; here a switch does.",
        "RFC 8446 section 4.4.2.4; NIST SP 800-131A",
        frozenset({Reason.WEAK_SIGNATURE}),
    ),
    Rule(
        "weak or unknown keys",
        "RSA below 2048 bits or with an unsafe exponent, curves without a name or another than P-256, P-384, P-521.",
        "NIST SP 800-131A; CVE-2020-0601",
        frozenset({Reason.WEAK_KEY, Reason.UNSUPPORTED_ALGORITHM}),
    ),
    Rule(
        "strays",
        "Everything presented is judged: a certificate above the end entity must be a CA's and in order. OpenSSL does "
        "not look at what it does not build its path from.",
        "RFC 3820 section 4; docs/wire/proxy-validation.md steps A and B",
        frozenset(Reason),
        fits=_is_unused_by_openssl,
    ),
    Rule(
        "order",
        "Proxies and end entity must come in order, each under its issuer. OpenSSL puts any heap in order.",
        "RFC 5246 section 7.4.2; RFC 3820 section 4",
        frozenset({Reason.CHAIN_BROKEN, Reason.NO_END_ENTITY, Reason.NOT_A_CA, Reason.PROXY_NAME}),
        fits=_is_out_of_order,
    ),
    Rule(
        "self-issued proxies",
        "A proxy bears its issuer's name and one more. OpenSSL does not look at the name of a certificate, above the "
        "leaf, that bears the same name as its issuer.",
        "RFC 3820 section 3.4",
        frozenset({Reason.PROXY_NAME}),
        fits=_has_self_issued_proxy,
    ),
    Rule(
        "legacy names",
        "A certificate whose last common name is `proxy` or `limited proxy` is a legacy proxy here, as in GSI, and "
        "never an end entity; OpenSSL does not know that form.",
        "gct: gsi/cert_utils",
        frozenset({Reason.NO_END_ENTITY, Reason.PROXY_FORMAT, Reason.PROXY_MIXED_FORMATS, Reason.PROXY_INFO_MALFORMED}),
        fits=_is_named_like_a_legacy_proxy,
    ),
    Rule(
        "GT3 proxies",
        "OpenSSL takes a certificate with the draft's ProxyCertInfo, not critical, for an end entity or CA.",
        "gct: gsi/proxy",
        frozenset({Reason.PROXY_FORMAT, Reason.PROXY_INFO_NOT_CRITICAL, Reason.PROXY_MIXED_FORMATS}),
    ),
    Rule(
        "proxy without a critical ProxyCertInfo",
        "OpenSSL accepts an RFC proxy whose ProxyCertInfo is not critical.",
        "RFC 3820 section 3.8",
        frozenset({Reason.PROXY_INFO_NOT_CRITICAL}),
    ),
    Rule(
        "negative path length",
        "OpenSSL takes a negative path length for none.",
        "RFC 3820 section 3.8.1",
        frozenset({Reason.PROXY_INFO_MALFORMED}),
        "negative path length|path length",
    ),
    Rule(
        "two ProxyCertInfo",
        "One of each form, or two of one.",
        "RFC 5280 section 4.2; RFC 3820 section 3.8",
        frozenset({Reason.PROXY_INFO_MALFORMED}),
        "more than one in a certificate",
    ),
    Rule(
        "CA with a ProxyCertInfo",
        "A CA is no proxy; OpenSSL refuses it as one only where it counts as a proxy.",
        "RFC 3820 section 3.8",
        frozenset({Reason.PROXY_IS_CA}),
    ),
    Rule(
        "policy beside inheritAll or independent",
        "There must be none.",
        "RFC 3820 section 3.8.2",
        frozenset({Reason.PROXY_POLICY_PRESENT}),
    ),
    Rule(
        "restricted proxies",
        "A policy language that nobody reads refuses; OpenSSL leaves policies to its caller.",
        "RFC 3820 sections 3.8.2 and 4.1.3",
        frozenset({Reason.PROXY_RESTRICTION}),
    ),
    Rule(
        "limited proxies",
        "What follows a limited proxy must be limited or independent; OpenSSL does not know the language.",
        "gct: gsi/callback",
        frozenset({Reason.PROXY_LIMITED}),
    ),
    Rule(
        "keyCertSign in a proxy",
        "OpenSSL and GSI let it pass.",
        "RFC 5280 section 4.2.1.9",
        frozenset({Reason.KEY_USAGE}),
        "a proxy with key usage keyCertSign",
    ),
    Rule(
        "digitalSignature",
        "Leaf and end entity need it for TLS here; OpenSSL is content with keyAgreement in a client's certificate.",
        "RFC 5246 section 7.4.6; RFC 3820 section 3.6",
        frozenset({Reason.KEY_USAGE}),
        "lacks digitalSignature|without key usage digitalSignature",
    ),
    Rule(
        "CA as a peer",
        "OpenSSL takes a CA's certificate as that of a TLS client.",
        "docs/wire/proxy-validation.md step D",
        frozenset({Reason.IS_A_CA}),
    ),
    Rule(
        "CA that may not sign",
        "BasicConstraints make a CA of it, whatever its key usage. OpenSSL takes one without keyCertSign for an end "
        "entity that may issue proxies.",
        "RFC 3820 section 3.1",
        frozenset({Reason.NO_END_ENTITY}),
        "issued by a CA",
        fits=_has_ca_without_cert_sign,
    ),
    Rule(
        "signing policy",
        "OpenSSL has none. Names that differ from the policy's, and end entities without a subject, are not permitted.",
        "docs/wire/trust-directory.md",
        frozenset({Reason.SIGNING_POLICY, Reason.SIGNING_POLICY_MISSING}),
    ),
    Rule(
        "certificate policies",
        "OpenSSL looks at them only when asked to.",
        "RFC 5280 section 6.1",
        frozenset({Reason.CERTIFICATE_POLICY}),
    ),
    # OpenSSL refuses, we accept.
    Rule(
        "the last second",
        "A certificate is valid up to and including notAfter; to OpenSSL it has expired in that second.",
        "RFC 5280 section 4.1.2.5",
        errors=frozenset({10}),
        fits=_at_last_second,
    ),
    Rule(
        "Netscape certificate type",
        "OpenSSL lets this extension of 1996 forbid a purpose. It is in no standard; critical, it is refused here.",
        "RFC 5280 section 4.2",
        errors=frozenset({20, 26, 37, 79}),
        fits=_has_netscape_type,
    ),
    Rule(
        "any extended key usage",
        "anyExtendedKeyUsage permits every purpose; OpenSSL 3.0 wants the very one for TLS.",
        "RFC 5280 section 4.2.1.12",
        errors=frozenset({26, 79}),
        fits=_permits_any_usage,
    ),
    Rule(
        "authority key identifier",
        "It helps to find an issuer and says nothing about trust: an issuer whose name fits and whose key made the "
        "signature is the issuer.",
        "RFC 5280 sections 4.2.1.1 and 6.1",
        errors=frozenset({2, 20}),
        fits=_has_foreign_key_identifier,
    ),
    Rule(
        "name constraints of no CA",
        "OpenSSL lets the constraints that an end entity or proxy bears, not critical, bind the proxies below it. Only "
        "a CA may bear any.",
        "RFC 5280 section 4.2.1.10",
        errors=frozenset({47, 48, 49, 50, 51, 52, 53}),
        fits=_constrains_without_being_ca,
    ),
    Rule(
        "keyCertSign without BasicConstraints",
        "OpenSSL takes it for the mark of a CA, and a CA may sign no proxy. By the standard it is no CA; it may not "
        "sign certificates here either.",
        "RFC 5280 section 4.2.1.9",
        errors=frozenset({37}),
        fits=_signs_without_basic_constraints,
    ),
    Rule(
        "path length above the parent's",
        "A proxy may state a longer path than the one above it leaves; the smaller number counts.",
        "RFC 3820 section 4.1.3",
        errors=frozenset({38}),
        fits=_widens_path_length,
    ),
    Rule(
        "several certificates of one name",
        "OpenSSL takes the first whose name fits and stays with it; here each is tried.",
        "RFC 4158 section 3.2",
        errors=frozenset({7, 18, 19, 20, 24, 26, 32, 47, 48, 49, 50, 51, 52, 53}),
        fits=_has_doubled_subject,
    ),
)
"""In the order in which they are asked."""
