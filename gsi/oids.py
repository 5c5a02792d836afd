"""Every object identifier the project knows, one line each with its source; no logic."""

from __future__ import annotations

from typing import Final

# Proxy certificates
PROXY_CERT_INFO: Final = "1.3.6.1.5.5.7.1.14"  # RFC 3820 section 3.8, id-pe-proxyCertInfo
PROXY_CERT_INFO_GT3: Final = "1.3.6.1.4.1.3536.1.222"  # the pre-RFC draft, gct:gsi/proxy/proxy_ssl
ANY_LANGUAGE: Final = "1.3.6.1.5.5.7.21.0"  # RFC 3820 appendix A, id-ppl-anyLanguage
INHERIT_ALL: Final = "1.3.6.1.5.5.7.21.1"  # RFC 3820 section 3.8.2, id-ppl-inheritAll
INDEPENDENT: Final = "1.3.6.1.5.5.7.21.2"  # RFC 3820 section 3.8.2, id-ppl-independent
LIMITED: Final = "1.3.6.1.4.1.3536.1.1.1.9"  # Globus limited proxy policy language

# Attribute types in names
COMMON_NAME: Final = "2.5.4.3"  # RFC 4519
SURNAME: Final = "2.5.4.4"
SERIAL_NUMBER: Final = "2.5.4.5"
COUNTRY: Final = "2.5.4.6"
LOCALITY: Final = "2.5.4.7"
STATE: Final = "2.5.4.8"
STREET: Final = "2.5.4.9"
ORGANIZATION: Final = "2.5.4.10"
ORGANIZATIONAL_UNIT: Final = "2.5.4.11"
TITLE: Final = "2.5.4.12"
DESCRIPTION: Final = "2.5.4.13"
POSTAL_CODE: Final = "2.5.4.17"
NAME: Final = "2.5.4.41"
GIVEN_NAME: Final = "2.5.4.42"
INITIALS: Final = "2.5.4.43"
GENERATION_QUALIFIER: Final = "2.5.4.44"
DN_QUALIFIER: Final = "2.5.4.46"
PSEUDONYM: Final = "2.5.4.65"
USER_ID: Final = "0.9.2342.19200300.100.1.1"  # RFC 4519, uid
DOMAIN_COMPONENT: Final = "0.9.2342.19200300.100.1.25"  # RFC 4519, dc
EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"  # PKCS#9

# Certificate extensions (RFC 5280 section 4.2)
SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
KEY_USAGE: Final = "2.5.29.15"
SUBJECT_ALT_NAME: Final = "2.5.29.17"
ISSUER_ALT_NAME: Final = "2.5.29.18"
BASIC_CONSTRAINTS: Final = "2.5.29.19"
NAME_CONSTRAINTS: Final = "2.5.29.30"
CRL_DISTRIBUTION_POINTS: Final = "2.5.29.31"
CERTIFICATE_POLICIES: Final = "2.5.29.32"
POLICY_MAPPINGS: Final = "2.5.29.33"
AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
POLICY_CONSTRAINTS: Final = "2.5.29.36"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"
INHIBIT_ANY_POLICY: Final = "2.5.29.54"
AUTHORITY_INFO_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
ACCESS_OCSP: Final = "1.3.6.1.5.5.7.48.1"  # RFC 5280 section 4.2.2.1, id-ad-ocsp
ACCESS_CA_ISSUERS: Final = "1.3.6.1.5.5.7.48.2"  # the same section, id-ad-caIssuers

# CRL extensions (RFC 5280 section 5.2)
CRL_NUMBER: Final = "2.5.29.20"
CRL_REASON: Final = "2.5.29.21"
INVALIDITY_DATE: Final = "2.5.29.24"
DELTA_CRL_INDICATOR: Final = "2.5.29.27"
ISSUING_DISTRIBUTION_POINT: Final = "2.5.29.28"
CERTIFICATE_ISSUER: Final = "2.5.29.29"

# Extended key usages (RFC 5280 section 4.2.1.12)
ANY_EXTENDED_KEY_USAGE: Final = "2.5.29.37.0"
SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"

# Requests
EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"  # PKCS#9 (RFC 2985 section 5.4.2)

# VOMS attribute certificates (the VOMS AC profile, OGF GFD.182)
VOMS_INCLUDED_FILE: Final = "1.3.6.1.4.1.8005.100.100.2"  # proxy extension: a file of the user's, as it is
VOMS_FQAN: Final = "1.3.6.1.4.1.8005.100.100.4"  # attribute within an attribute certificate
VOMS_AC_SEQUENCE: Final = "1.3.6.1.4.1.8005.100.100.5"  # proxy extension that holds the attribute certificates
VOMS_CERTIFICATES: Final = "1.3.6.1.4.1.8005.100.100.10"  # AC extension: the issuer's certificates
VOMS_TAGS: Final = "1.3.6.1.4.1.8005.100.100.11"  # AC extension: generic attributes
TARGETS: Final = "2.5.29.55"  # RFC 5755 section 4.3.2, id-ce-targetInformation
NO_REV_AVAIL: Final = "2.5.29.56"  # RFC 5755 section 4.3.6, id-ce-noRevAvail

# Assertions in proxies
SAML_ASSERTION: Final = "1.3.6.1.4.1.3536.1.1.1.12"  # GT 4: UTF8String that holds the XML
SAML_ASSERTION_GRIDSHIB: Final = "1.3.6.1.4.1.3536.1.1.1.10"  # GridShib: the XML as it is
SAML_ASSERTION_GT3: Final = "1.3.6.1.4.1.3536.1.1.1.9"  # GT 3 and 4.0 CAS: the XML as it is; also the limited policy

# Kerberos in certificates
PKINIT_SAN: Final = "1.3.6.1.5.2.2"  # RFC 4556 section 3.2.2, id-pkinit-san
PKINIT_CLIENT_AUTH: Final = "1.3.6.1.5.2.3.4"  # RFC 4556 section 3.2.1, id-pkinit-KPClientAuth
KCA_AUTH_REALM: Final = "1.3.6.1.4.1.250.42.1"  # the KCA of the University of Michigan, kcaAuthRealm
