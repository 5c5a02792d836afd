"""NIST's PKITS as values: its 224 path validation tests, each with chain, CRLs and expected verdict; judges nothing.

    case = CASES["4.4.3"]
    case.chain(), case.anchors(), case.is_valid

The data are those of the `cryptography-vectors` package (the issue of 2011: RSA 2048, SHA-256, valid 2010 to 2030).
Beside certificates and CRLs the suite brings one signed message per test, whose signature carries just the
certificates and CRLs of that test's path; they are read from there, so that no path is written down a second time.
The verdict is that for the suite's default inputs: any policy, none required by the caller.
"""

from __future__ import annotations

import base64
import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import cryptography_vectors

from gsi import der, names
from gsi.certificate import Certificate
from gsi.errors import ParseError
from gsi.pem import encode_pem
from gsi.trust.anchors import TrustAnchors, build_anchors
from gsi.trust.hashes import subject_hash

__all__ = ["CASES", "NOW", "SECTIONS", "Case", "Section"]

NOW: Final = datetime(2011, 4, 15, 12, 0, tzinfo=UTC)
"""A time at which everything holds that is meant to: shortly after the data were made."""

_DATA: Final = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"


@dataclass(frozen=True, slots=True)
class Section:
    """One section of chapter 4 of the suite's document."""

    number: int
    title: str
    names: tuple[str, ...]


def _section(number: int, title: str, listed: str) -> Section:
    return Section(number, title, tuple(listed.split()))


SECTIONS: Final = (
    _section(
        1,
        "signature verification",
        """
        ValidSignaturesTest1 InvalidCASignatureTest2 InvalidEESignatureTest3 ValidDSASignaturesTest4
        ValidDSAParameterInheritanceTest5 InvalidDSASignatureTest6
    """,
    ),
    _section(
        2,
        "validity periods",
        """
        InvalidCAnotBeforeDateTest1 InvalidEEnotBeforeDateTest2 Validpre2000UTCnotBeforeDateTest3
        ValidGeneralizedTimenotBeforeDateTest4 InvalidCAnotAfterDateTest5 InvalidEEnotAfterDateTest6
        Invalidpre2000UTCEEnotAfterDateTest7 ValidGeneralizedTimenotAfterDateTest8
    """,
    ),
    _section(
        3,
        "name chaining",
        """
        InvalidNameChainingEETest1 InvalidNameChainingOrderTest2 ValidNameChainingWhitespaceTest3
        ValidNameChainingWhitespaceTest4 ValidNameChainingCapitalizationTest5 ValidNameChainingUIDsTest6
        ValidRFC3280MandatoryAttributeTypesTest7 ValidRFC3280OptionalAttributeTypesTest8
        ValidUTF8StringEncodedNamesTest9 ValidRolloverfromPrintableStringtoUTF8StringTest10
        ValidUTF8StringCaseInsensitiveMatchTest11
    """,
    ),
    _section(
        4,
        "basic certificate revocation",
        """
        MissingCRLTest1 InvalidRevokedCATest2 InvalidRevokedEETest3 InvalidBadCRLSignatureTest4
        InvalidBadCRLIssuerNameTest5 InvalidWrongCRLTest6 ValidTwoCRLsTest7
        InvalidUnknownCRLEntryExtensionTest8 InvalidUnknownCRLExtensionTest9 InvalidUnknownCRLExtensionTest10
        InvalidOldCRLnextUpdateTest11 Invalidpre2000CRLnextUpdateTest12
        ValidGeneralizedTimeCRLnextUpdateTest13 ValidNegativeSerialNumberTest14
        InvalidNegativeSerialNumberTest15 ValidLongSerialNumberTest16 ValidLongSerialNumberTest17
        InvalidLongSerialNumberTest18 ValidSeparateCertificateandCRLKeysTest19
        InvalidSeparateCertificateandCRLKeysTest20 InvalidSeparateCertificateandCRLKeysTest21
    """,
    ),
    _section(
        5,
        "self-issued certificates",
        """
        ValidBasicSelfIssuedOldWithNewTest1 InvalidBasicSelfIssuedOldWithNewTest2
        ValidBasicSelfIssuedNewWithOldTest3 ValidBasicSelfIssuedNewWithOldTest4
        InvalidBasicSelfIssuedNewWithOldTest5 ValidBasicSelfIssuedCRLSigningKeyTest6
        InvalidBasicSelfIssuedCRLSigningKeyTest7 InvalidBasicSelfIssuedCRLSigningKeyTest8
    """,
    ),
    _section(
        6,
        "basic constraints",
        """
        InvalidMissingbasicConstraintsTest1 InvalidcAFalseTest2 InvalidcAFalseTest3
        ValidbasicConstraintsNotCriticalTest4 InvalidpathLenConstraintTest5 InvalidpathLenConstraintTest6
        ValidpathLenConstraintTest7 ValidpathLenConstraintTest8 InvalidpathLenConstraintTest9
        InvalidpathLenConstraintTest10 InvalidpathLenConstraintTest11 InvalidpathLenConstraintTest12
        ValidpathLenConstraintTest13 ValidpathLenConstraintTest14 ValidSelfIssuedpathLenConstraintTest15
        InvalidSelfIssuedpathLenConstraintTest16 ValidSelfIssuedpathLenConstraintTest17
    """,
    ),
    _section(
        7,
        "key usage",
        """
        InvalidkeyUsageCriticalkeyCertSignFalseTest1 InvalidkeyUsageNotCriticalkeyCertSignFalseTest2
        ValidkeyUsageNotCriticalTest3 InvalidkeyUsageCriticalcRLSignFalseTest4
        InvalidkeyUsageNotCriticalcRLSignFalseTest5
    """,
    ),
    _section(
        8,
        "certificate policies",
        """
        AllCertificatesSamePolicyTest1 AllCertificatesNoPoliciesTest2 DifferentPoliciesTest3
        DifferentPoliciesTest4 DifferentPoliciesTest5 OverlappingPoliciesTest6 DifferentPoliciesTest7
        DifferentPoliciesTest8 DifferentPoliciesTest9 AllCertificatesSamePoliciesTest10
        AllCertificatesAnyPolicyTest11 DifferentPoliciesTest12 AllCertificatesSamePoliciesTest13
        AnyPolicyTest14 UserNoticeQualifierTest15 UserNoticeQualifierTest16 UserNoticeQualifierTest17
        UserNoticeQualifierTest18 UserNoticeQualifierTest19 CPSPointerQualifierTest20
    """,
    ),
    _section(
        9,
        "require explicit policy",
        """
        ValidRequireExplicitPolicyTest1 ValidRequireExplicitPolicyTest2 InvalidRequireExplicitPolicyTest3
        ValidRequireExplicitPolicyTest4 InvalidRequireExplicitPolicyTest5
        ValidSelfIssuedrequireExplicitPolicyTest6 InvalidSelfIssuedrequireExplicitPolicyTest7
        InvalidSelfIssuedrequireExplicitPolicyTest8
    """,
    ),
    _section(
        10,
        "policy mappings",
        """
        ValidPolicyMappingTest1 InvalidPolicyMappingTest2 ValidPolicyMappingTest3 InvalidPolicyMappingTest4
        ValidPolicyMappingTest5 ValidPolicyMappingTest6 InvalidMappingFromanyPolicyTest7
        InvalidMappingToanyPolicyTest8 ValidPolicyMappingTest9 InvalidPolicyMappingTest10
        ValidPolicyMappingTest11 ValidPolicyMappingTest12 ValidPolicyMappingTest13 ValidPolicyMappingTest14
    """,
    ),
    _section(
        11,
        "inhibit policy mapping",
        """
        InvalidinhibitPolicyMappingTest1 ValidinhibitPolicyMappingTest2 InvalidinhibitPolicyMappingTest3
        ValidinhibitPolicyMappingTest4 InvalidinhibitPolicyMappingTest5 InvalidinhibitPolicyMappingTest6
        ValidSelfIssuedinhibitPolicyMappingTest7 InvalidSelfIssuedinhibitPolicyMappingTest8
        InvalidSelfIssuedinhibitPolicyMappingTest9 InvalidSelfIssuedinhibitPolicyMappingTest10
        InvalidSelfIssuedinhibitPolicyMappingTest11
    """,
    ),
    _section(
        12,
        "inhibit any policy",
        """
        InvalidinhibitAnyPolicyTest1 ValidinhibitAnyPolicyTest2 inhibitAnyPolicyTest3
        InvalidinhibitAnyPolicyTest4 InvalidinhibitAnyPolicyTest5 InvalidinhibitAnyPolicyTest6
        ValidSelfIssuedinhibitAnyPolicyTest7 InvalidSelfIssuedinhibitAnyPolicyTest8
        ValidSelfIssuedinhibitAnyPolicyTest9 InvalidSelfIssuedinhibitAnyPolicyTest10
    """,
    ),
    _section(
        13,
        "name constraints",
        """
        ValidDNnameConstraintsTest1 InvalidDNnameConstraintsTest2 InvalidDNnameConstraintsTest3
        ValidDNnameConstraintsTest4 ValidDNnameConstraintsTest5 ValidDNnameConstraintsTest6
        InvalidDNnameConstraintsTest7 InvalidDNnameConstraintsTest8 InvalidDNnameConstraintsTest9
        InvalidDNnameConstraintsTest10 ValidDNnameConstraintsTest11 InvalidDNnameConstraintsTest12
        InvalidDNnameConstraintsTest13 ValidDNnameConstraintsTest14 InvalidDNnameConstraintsTest15
        InvalidDNnameConstraintsTest16 InvalidDNnameConstraintsTest17 ValidDNnameConstraintsTest18
        ValidSelfIssuedDNnameConstraintsTest19 InvalidSelfIssuedDNnameConstraintsTest20
        ValidRFC822nameConstraintsTest21 InvalidRFC822nameConstraintsTest22 ValidRFC822nameConstraintsTest23
        InvalidRFC822nameConstraintsTest24 ValidRFC822nameConstraintsTest25 InvalidRFC822nameConstraintsTest26
        ValidDNandRFC822nameConstraintsTest27 InvalidDNandRFC822nameConstraintsTest28
        InvalidDNandRFC822nameConstraintsTest29 ValidDNSnameConstraintsTest30 InvalidDNSnameConstraintsTest31
        ValidDNSnameConstraintsTest32 InvalidDNSnameConstraintsTest33 ValidURInameConstraintsTest34
        InvalidURInameConstraintsTest35 ValidURInameConstraintsTest36 InvalidURInameConstraintsTest37
        InvalidDNSnameConstraintsTest38
    """,
    ),
    _section(
        14,
        "distribution points",
        """
        ValiddistributionPointTest1 InvaliddistributionPointTest2 InvaliddistributionPointTest3
        ValiddistributionPointTest4 ValiddistributionPointTest5 InvaliddistributionPointTest6
        ValiddistributionPointTest7 InvaliddistributionPointTest8 InvaliddistributionPointTest9
        ValidNoissuingDistributionPointTest10 InvalidonlyContainsUserCertsCRLTest11
        InvalidonlyContainsCACertsCRLTest12 ValidonlyContainsCACertsCRLTest13
        InvalidonlyContainsAttributeCertsTest14 InvalidonlySomeReasonsTest15 InvalidonlySomeReasonsTest16
        InvalidonlySomeReasonsTest17 ValidonlySomeReasonsTest18 ValidonlySomeReasonsTest19
        InvalidonlySomeReasonsTest20 InvalidonlySomeReasonsTest21 ValidIDPwithindirectCRLTest22
        InvalidIDPwithindirectCRLTest23 ValidIDPwithindirectCRLTest24 ValidIDPwithindirectCRLTest25
        InvalidIDPwithindirectCRLTest26 InvalidcRLIssuerTest27 ValidcRLIssuerTest28 ValidcRLIssuerTest29
        ValidcRLIssuerTest30 InvalidcRLIssuerTest31 InvalidcRLIssuerTest32 ValidcRLIssuerTest33
        InvalidcRLIssuerTest34 InvalidcRLIssuerTest35
    """,
    ),
    _section(
        15,
        "delta CRLs",
        """
        InvaliddeltaCRLIndicatorNoBaseTest1 ValiddeltaCRLTest2 InvaliddeltaCRLTest3 InvaliddeltaCRLTest4
        ValiddeltaCRLTest5 InvaliddeltaCRLTest6 ValiddeltaCRLTest7 ValiddeltaCRLTest8 InvaliddeltaCRLTest9
        InvaliddeltaCRLTest10
    """,
    ),
    _section(
        16,
        "private certificate extensions",
        """
        ValidUnknownNotCriticalCertificateExtensionTest1 InvalidUnknownCriticalCertificateExtensionTest2
    """,
    ),
)
"""The tests by section, in their order there: the first is test 1 of its section."""

_UNNAMED: Final = {
    "4.4.1": False,
    **dict.fromkeys(("4.8.1", "4.8.2", "4.8.3", "4.8.6", "4.8.10", "4.8.11", "4.8.13", "4.8.14"), True),
    **dict.fromkeys(("4.8.4", "4.8.5", "4.8.7", "4.8.8", "4.8.9", "4.8.12"), False),
    **dict.fromkeys(("4.8.15", "4.8.16", "4.8.17", "4.8.18", "4.8.19", "4.8.20", "4.12.3"), True),
}
"""Verdicts of the tests whose names do not begin with theirs; of several subtests the first."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test: `number` as in the document (4.section.test), `name` as that of its message."""

    number: str
    name: str
    is_valid: bool

    def chain(self) -> tuple[bytes, ...]:
        """The certificates of the path in DER, end entity first, the anchor left out; CRL signers may stand between."""
        certificates, _ = _read_message(self.name)
        return certificates[::-1]

    def crls(self) -> tuple[bytes, ...]:
        """This test's CRLs in DER."""
        return _read_message(self.name)[1]

    def anchors(self, *, signing_policies: bool = True) -> TrustAnchors:
        """A trust directory of the one anchor, with this test's CRLs and a policy that permits all for each CA."""
        certificates, crls = _read_message(self.name)
        root = (_DATA / "certs" / "TrustAnchorRootCertificate.crt").read_bytes()
        files = {f"{subject_hash(Certificate.parse(root).subject_der)}.0": encode_pem("CERTIFICATE", root)}
        for certificate in (root, *certificates) if signing_policies else ():
            with contextlib.suppress(ParseError):  # what cannot be read issues nothing
                subject = Certificate.parse(certificate).subject_der
                files[f"{subject_hash(subject)}.signing_policy"] = _permit_all(names.oneline(subject))
        for number, crl in enumerate(crls):
            files[f"{subject_hash(_crl_issuer(crl))}.r{number}"] = crl
        return build_anchors(files, loaded_at=NOW)


def _permit_all(ca: str) -> bytes:
    return f"access_id_CA X509 '{ca}'\npos_rights globus CA:sign\ncond_subjects globus '\"*\"'\n".encode()


@cache
def _read_message(name: str) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the certificates and CRLs of a message's signature, in their order (RFC 5652 section 5.1)."""
    text = (_DATA / "smime" / f"Signed{name}.eml").read_text()
    found = re.search(r'filename="smime\.p7s"\s+([A-Za-z0-9+/=\s]+)', text)
    assert found is not None, name
    content = der.parse_one(base64.b64decode(found[1]), what=name)
    assert content.oid() == "1.2.840.113549.1.7.2"
    signed = content.enter(der.context(0)).sequence()
    signed.integer()
    signed.take(der.SET)
    signed.take(der.SEQUENCE)
    return _members(signed, der.context(0)), _members(signed, der.context(1))


def _members(reader: der.Reader, tag: int) -> tuple[bytes, ...]:
    found: list[bytes] = []
    if reader.peek() == tag:
        listed = reader.enter(tag)
        while not listed.at_end():
            found.append(listed.take_any()[2])
    return tuple(found)


def _crl_issuer(crl: bytes) -> bytes:
    tbs = der.parse_one(crl, what="CRL").sequence()
    if tbs.peek() == der.INTEGER:
        tbs.integer()
    tbs.take(der.SEQUENCE)
    return tbs.take_raw(der.SEQUENCE)


def _make_cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for section in SECTIONS:
        for index, name in enumerate(section.names, start=1):
            number = f"4.{section.number}.{index}"
            is_valid = _UNNAMED.get(number, name.startswith("Valid"))
            assert number in _UNNAMED or name.startswith(("Valid", "Invalid")), number
            cases[number] = Case(number, name, is_valid)
    return cases


CASES: Final = _make_cases()
