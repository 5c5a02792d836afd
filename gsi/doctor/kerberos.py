"""Looks at keytabs and, with their keys, at the KDC; decides nothing about tickets.

yield from look_at_keytab("/etc/kca/kca.keytab", "kca_service", fix="kadmin -q 'ktadd ...'")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.doctor.parts import look_at_private_file
from gsi.errors import GridError
from gsi.trust.diagnose import Finding, Severity, finding_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["look_at_keytab"]

_HINTS: Final = {
    6: "the KDC does not know this principal: kadmin -q 'addprinc -randkey {principal}', then ktadd",
    24: "the key was changed at the KDC: kadmin -q 'ktadd -k {path} {principal}'",
    31: "the key was changed at the KDC: kadmin -q 'ktadd -k {path} {principal}'",
    37: "set this machine's clock, or the KDC's: they may be five minutes apart",
}
"""By the error's number in RFC 4120 section 7.5.9."""


def look_at_keytab(path: str, service: str, *, fix: str) -> Iterator[Finding]:
    """Look at a keytab: its mode, whether the service's key is in it, and whether the KDC takes that key.

    Args:
        path: The file.
        service: The first component of the service's principal.
        fix: What makes the keytab.
    """
    private = look_at_private_file(path, f"keys of {service}", fix)
    yield private
    if private.severity is Severity.ERROR and private.check != "unsafe-mode":
        return
    from gsi.kerberos.keytabs import prove_keytab, read_keytab
    from gsi.kerberos.libkrb5 import KerberosError

    try:
        entries = [entry for entry in read_keytab(path) if entry.principal.components[0] == service]
    except GridError as error:
        yield finding_of(error, path, check="keytab")
        return
    if not entries:
        yield Finding(Severity.ERROR, "keytab", path, f"no key of {service} is in it", fix)
    for entry in entries:
        principal = entry.principal.text
        try:
            prove_keytab(path, entry.principal)
            message = f"gives a ticket for {principal}, version {entry.version}"
            yield Finding(Severity.OK, "kdc", entry.principal.realm, message)
        except KerberosError as error:
            hint = _HINTS.get(error.protocol_code or 0, "see krb5.conf: [realms], or DNS SRV; is a KDC up?")
            hint = hint.format(principal=principal, path=path)
            yield Finding(Severity.ERROR, "kdc", entry.principal.realm, f"{principal}: {error.message}", hint)
        except GridError as error:
            yield finding_of(error, entry.principal.realm, check="kdc")
