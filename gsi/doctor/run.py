"""All looks that the installed packages contribute, one after the other; prints nothing.

    for look, finding in examine(visit, find_looks()):
        ...

What follows from the trust directory (a certificate that counts for nothing while its CA's revocation list is over) is
told as an error there, and as a note elsewhere. Every warning and error says what to do.

A look that fails in a way that nobody has thought of becomes a finding, so that one defect does not hide the rest.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from gsi.errors import GridError, Reason
from gsi.trust.diagnose import Finding, Severity, finding_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gsi.doctor.visit import Look, Visit

__all__ = ["GROUP", "examine", "find_looks"]

GROUP: Final = "gsi.doctor"

_TRUST: Final = "trust"
_BAD: Final = frozenset({Severity.WARNING, Severity.ERROR})
_OF_CAS: Final = frozenset(
    {
        Reason.CRL_MISSING,
        Reason.CRL_BROKEN,
        Reason.CRL_EXPIRED,
        Reason.CRL_NOT_YET_VALID,
        Reason.CRL_BAD_SIGNATURE,
        Reason.SIGNING_POLICY_MISSING,
        Reason.SIGNING_POLICY_BROKEN,
    }
)
"""What can be wrong with a CA alone, never with a certificate of its own accord."""

_HINTS: Final[Mapping[str, str]] = {
    "audit": "see whether disk and file can be written by the service's account",
    "clock": "name another time server with -time-server",
    "configuration": "mend that line; the service's manual page lists what may stand in the file",
    "database": "is it up, is it the one that is meant, may this account use it? see its log",
    "issuer": "see whether the CA's certificate, key and token are there, and may be used by this account",
    "keytab": "kadmin -q 'ktadd -k FILE PRINCIPAL' writes it anew",
    "kdc": "see krb5.conf, and whether a KDC is up",
    "policy": "gsi-authz check FILE tells more",
    "rules": "bring back what the configuration names, or leave the line out",
    "server-key": "name every key that is in use with server_key: docs/howto/myproxy-repository.md",
}
"""What to do, by the check, where a finding does not say it itself."""


def find_looks() -> list[Look]:
    """Return the looks of all installed packages, in their order."""
    found: list[Look] = [look for point in entry_points(group=GROUP) for look in point.load()]
    return sorted(found, key=lambda look: (look.order, look.section))


def examine(visit: Visit, looks: Iterable[Look]) -> Iterator[tuple[Look, Finding]]:
    """Look, and yield the findings as they come."""
    distrusted: set[str] = set()
    for look, finding in _examine(visit, looks):
        if look.section == _TRUST and finding.severity in _BAD and finding.check in _OF_CAS:
            distrusted.add(finding.check)
        elif finding.check in distrusted:
            message = f"{finding.message} (follows from the trust directory)"
            yield look, replace(finding, severity=Severity.NOTE, message=message, hint=None)
            continue
        yield look, _advised(finding)


def _advised(finding: Finding) -> Finding:
    """Add what to do, where a finding does not say it."""
    if finding.hint is not None or finding.severity not in _BAD:
        return finding
    from gsi.cli.hints import find_hint_for

    hint = _HINTS.get(finding.check) or find_hint_for(finding.check)
    return replace(finding, hint=hint or f"grid-cert-diagnostics(1) tells more about {finding.check}")


def _examine(visit: Visit, looks: Iterable[Look]) -> Iterator[tuple[Look, Finding]]:
    for look in looks:
        try:
            for finding in look.examine(visit):
                yield look, finding
        except GridError as error:
            yield look, finding_of(error, look.section)
        except ModuleNotFoundError as error:
            message = f"cannot be looked at: the Python package {error.name} is not installed here"
            yield look, Finding(Severity.ERROR, "not-installed", look.section, message, "install the service's extras")
        except Exception as error:  # noqa: BLE001  one defect must not hide what the other looks would find
            message = f"the look failed: {type(error).__name__}: {error}"
            yield look, Finding(Severity.ERROR, "defect", look.section, message, "please report it")
