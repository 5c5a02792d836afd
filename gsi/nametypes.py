"""Attribute types of names and what they are called: OpenSSL's short names and the other spellings met in files.

    short_name("2.5.4.3")        # CN
    find_attribute_type("cn")    # 2.5.4.3

Only the arcs that naming attributes come from are known; OpenSSL would also name an algorithm that stands in a name.
"""

from __future__ import annotations

import re
from typing import Final

from gsi import oids

__all__ = ["ATTRIBUTE_TYPE", "PILOT_UID", "find_attribute_type", "short_name"]

ATTRIBUTE_TYPE: Final = r"(?:[A-Za-z][A-Za-z0-9-]*|[0-2](?:\.[0-9]+)+)"
"""Regular expression for how a type is written, known or not."""

_PILOT: Final = "0.9.2342.19200300.100.1."
PILOT_UID: Final = _PILOT + "44"  # uniqueIdentifier, which OpenSSL abbreviates "uid", beside "UID" for userId

# OpenSSL's short names, which its one-line form shows, in the arcs that naming attributes come from.
_SHORT: Final[dict[str, str]] = {
    oids.COMMON_NAME: "CN",
    oids.SURNAME: "SN",
    oids.COUNTRY: "C",
    oids.LOCALITY: "L",
    oids.STATE: "ST",
    oids.STREET: "street",
    oids.ORGANIZATION: "O",
    oids.ORGANIZATIONAL_UNIT: "OU",
    oids.GIVEN_NAME: "GN",
    oids.USER_ID: "UID",
    oids.DOMAIN_COMPONENT: "DC",
    oids.EMAIL_ADDRESS: "emailAddress",
    "2.5.4.65": "pseudonym",
    "2.5.4.72": "role",
    "2.5.4.97": "organizationIdentifier",
    "2.5.4.98": "c3",
    "2.5.4.99": "n3",
    "2.5.4.100": "dnsName",
    "1.2.643.3.131.1.1": "INN",
    "1.2.643.100.1": "OGRN",
    "1.2.643.100.3": "SNILS",
    "1.2.643.100.5": "OGRNIP",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.7": "challengePassword",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.2.840.113549.1.9.20": "friendlyName",
    "1.3.6.1.5.5.7.9.1": "id-pda-dateOfBirth",
    "1.3.6.1.5.5.7.9.2": "id-pda-placeOfBirth",
    "1.3.6.1.5.5.7.9.3": "id-pda-gender",
    "1.3.6.1.5.5.7.9.4": "id-pda-countryOfCitizenship",
    "1.3.6.1.5.5.7.9.5": "id-pda-countryOfResidence",
    PILOT_UID: "uid",
}
# X.520: arc 2.5.4 from 5 on; None where the table above has the name.
_X520: Final = (
    "serialNumber . . . . . . title description searchGuide businessCategory postalAddress postalCode postOfficeBox "
    "physicalDeliveryOfficeName telephoneNumber telexNumber teletexTerminalIdentifier facsimileTelephoneNumber "
    "x121Address internationaliSDNNumber registeredAddress destinationIndicator preferredDeliveryMethod "
    "presentationAddress supportedApplicationContext member owner roleOccupant seeAlso userPassword userCertificate "
    "cACertificate authorityRevocationList certificateRevocationList crossCertificatePair name . initials "
    "generationQualifier x500UniqueIdentifier dnQualifier enhancedSearchGuide protocolInformation distinguishedName "
    "uniqueMember houseIdentifier supportedAlgorithms deltaRevocationList dmdName"
)
# RFC 4524 and its forerunner RFC 1274: the pilot arc from 2 on.
_RFC1274: Final = (
    "textEncodedORAddress mail info favouriteDrink roomNumber photo userClass host manager documentIdentifier "
    "documentTitle documentVersion documentAuthor documentLocation . . . . homeTelephoneNumber secretary otherMailbox "
    "lastModifiedTime lastModifiedBy . aRecord pilotAttributeType27 mXRecord nSRecord sOARecord cNAMERecord . . . . . "
    "associatedDomain associatedName homePostalAddress personalTitle mobileTelephoneNumber pagerTelephoneNumber "
    "friendlyCountryName . organizationalStatus janetMailbox mailPreferenceOption buildingName dSAQuality "
    "singleLevelQuality subtreeMinimumQuality subtreeMaximumQuality personalSignature dITRedirect audio "
    "documentPublisher"
)
for _arc, _first, _names in (("2.5.4.", 5, _X520), (_PILOT, 2, _RFC1274)):
    for _number, _name in enumerate(_names.split(), _first):
        if _name != ".":
            _SHORT[f"{_arc}{_number}"] = _name

# Other spellings met in files, in lower case. The first four rows are GCT's and old OpenSSL's own.
_ALIASES: Final[dict[str, str]] = {
    "email": oids.EMAIL_ADDRESS,
    "e": oids.EMAIL_ADDRESS,
    "userid": oids.USER_ID,
    "uid": oids.USER_ID,
    "commonname": oids.COMMON_NAME,
    "surname": oids.SURNAME,
    "countryname": oids.COUNTRY,
    "localityname": oids.LOCALITY,
    "stateorprovincename": oids.STATE,
    "s": oids.STATE,
    "streetaddress": oids.STREET,
    "organizationname": oids.ORGANIZATION,
    "organizationalunitname": oids.ORGANIZATIONAL_UNIT,
    "givenname": oids.GIVEN_NAME,
    "g": oids.GIVEN_NAME,
    "domaincomponent": oids.DOMAIN_COMPONENT,
    "rfc822mailbox": _PILOT + "3",
    "uniqueidentifier": PILOT_UID,
}
_EXACT: Final = {short: oid for oid, short in _SHORT.items()}
_FOLDED: Final = {short.lower(): oid for short, oid in _EXACT.items() if short != "uid"} | _ALIASES
_OID: Final = r"(?:[oO][iI][dD]\.)?([0-2](?:\.[0-9]+)+)\Z"


def short_name(oid: str) -> str | None:
    """Return the name that OpenSSL's one-line form shows for a type, or None: then it shows the numbers."""
    return _SHORT.get(oid)


def find_attribute_type(text: str) -> str | None:
    """Return the type that a text names, or None.

    As in OpenSSL the exact spelling goes first (`uid` is not `UID`), then case is ignored. Numbers stay as they are.
    """
    if known := _EXACT.get(text) or _FOLDED.get(text.lower()):
        return known
    numbers = re.match(_OID, text)
    return numbers[1] if numbers else None
