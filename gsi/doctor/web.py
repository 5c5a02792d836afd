"""Looks at the certificate of a web server, which may be of any CA that browsers know; the grid need not trust it.

    yield from look_at_web_certificate("/etc/ssl/portal.pem", "/etc/ssl/portal.key", ["portal.example.org"], visit)

Whether browsers know its CA is not seen here: it depends on the browsers. What they refuse whatever the CA is: dates,
names, and certificates that do not belong together.
"""

from __future__ import annotations

import ipaddress
import itertools
from typing import TYPE_CHECKING, Final

from gsi import names, oids
from gsi.certificate import load_certificates
from gsi.credential import MAX_CREDENTIAL_BYTES
from gsi.errors import GridError, Reason, VerificationError
from gsi.system.diagnose import CredentialPlace, Whose, diagnose_credential
from gsi.system.files import read_public
from gsi.trust.diagnose import SOON_CERTIFICATE, Finding, Severity, diagnose_dates, finding_of
from gsi.trust.name_constraints import parse_general_names
from gsi.trust.signatures import check_certificate_signature, load_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gsi.certificate import Certificate
    from gsi.doctor.visit import Visit

__all__ = ["look_at_web_certificate"]

_DNS: Final = 0x82  # GeneralName, RFC 5280 section 4.2.1.6
_IP: Final = 0x87
_ORDER: Final = "put the server's certificate first, then each CA's that signed the one before it"


def look_at_web_certificate(certificate: str, key: str, hosts: Sequence[str], visit: Visit) -> Iterator[Finding]:
    """Look at certificate and key of a web server: modes, dates, names, and whether they belong together.

    Args:
        certificate: The file with the certificate and those of the CAs above it.
        key: The file with its key.
        hosts: What browsers call the server.
        visit: What is asked.
    """
    yield from diagnose_credential(CredentialPlace(Whose.HOST, certificate, key), None, now=visit.now, crl=visit.crl)
    try:
        chain = load_certificates(read_public(certificate, max_bytes=MAX_CREDENTIAL_BYTES), what=certificate)
        if not chain:
            return  # told above
        found = [
            *(
                fault
                for one in chain
                for fault in diagnose_dates(one, certificate, visit.now, SOON_CERTIFICATE, "have its CA renew it")
            ),
            *_chain_faults(chain, certificate),
            *_name_faults(chain[0], hosts, certificate),
        ]
    except VerificationError as error:
        yield finding_of(error, certificate)
        return
    except GridError:
        return  # told above
    yield from found
    if not found:
        message = f"dates, names and chain are good; browsers have to know {names.oneline(chain[-1].issuer_der)}"
        yield Finding(Severity.OK, "web-certificate", certificate, message)


def _chain_faults(chain: Sequence[Certificate], where: str) -> Iterator[Finding]:
    """Look whether each certificate is signed by the next one."""
    if chain[0].is_self_issued:
        hint = "get one from a CA that browsers know"
        yield Finding(Severity.WARNING, "self-signed", where, "is signed by itself: browsers warn of it", hint)
    for position, (lower, upper) in enumerate(itertools.pairwise(chain)):
        if lower.issuer_der != upper.subject_der:
            message = f"certificate {position + 1} is not of the CA that signed certificate {position}"
            yield Finding(Severity.ERROR, Reason.UNTRUSTED, where, message, _ORDER)
            continue
        try:
            check_certificate_signature(lower, load_key(upper, position + 1), position)
        except VerificationError as error:
            yield Finding(Severity.ERROR, error.reason, where, f"{error.message} (certificate {position})", _ORDER)


def _name_faults(leaf: Certificate, hosts: Sequence[str], where: str) -> Iterator[Finding]:
    """Look whether browsers find each name; they look at alternative names alone (RFC 9110 section 4.3.4)."""
    extension = leaf.find_extension(oids.SUBJECT_ALT_NAME)
    found = () if extension is None else tuple(parse_general_names(extension.value))
    known = {content.decode("latin-1").lower() for kind, content in found if kind == _DNS}
    known |= {str(ipaddress.ip_address(content)) for kind, content in found if kind == _IP and len(content) in {4, 16}}
    for host in hosts:
        wildcard = f"*.{host.partition('.')[2]}"
        if host.lower() not in known and wildcard.lower() not in known:
            message = f"is not for {host}; its alternative names: {', '.join(sorted(known)) or 'none at all'}"
            hint = "have it issued for every name in names of the portal"
            yield Finding(Severity.ERROR, Reason.PEER_NAME, where, message, hint)
