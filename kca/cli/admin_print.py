"""How `kca-admin` shows what it found, as text or JSON; finds nothing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from gsi.cli.run import printable
from gsi.pem import encode_pem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from kca.cli.admin_check import Finding
    from kca.limits import Limits
    from kca.principal import Entitlement
    from kca.repository.base import Entry

__all__ = [
    "print_entitlement",
    "print_entries",
    "print_entry",
    "print_findings",
    "print_json",
    "print_revoked",
]


def print_json(told: object) -> None:
    """Print one JSON value over several lines."""
    sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=True) + "\n")


def print_entries(entries: Iterable[Entry], *, as_json: bool) -> None:
    """Print certificates, one in each line."""
    for entry in entries:
        if as_json:
            sys.stdout.write(json.dumps(_fields(entry), ensure_ascii=True) + "\n")
            continue
        state = "revoked" if entry.revocation else "-"
        words = (entry.serial_hex, f"{entry.issued:%Y-%m-%dT%H:%M:%SZ}", f"{entry.not_after:%Y-%m-%dT%H:%M:%SZ}", state)
        sys.stdout.write(f"{' '.join(words)} {printable(entry.principal)} {printable(entry.subject)}\n")


def print_entry(entry: Entry, *, as_json: bool) -> None:
    """Print all that the books know of a certificate, and the certificate itself."""
    pem = encode_pem("CERTIFICATE", entry.certificate).decode("ascii")
    if as_json:
        print_json({**_fields(entry), "certificate": pem})
        return
    for name, value in _fields(entry).items():
        if value is not None:
            sys.stdout.write(f"{name.replace('_', ' ')}: {printable(str(value))}\n")
    sys.stdout.write(pem)


def print_revoked(entry: Entry, is_new: bool, *, as_json: bool) -> None:
    """Print that a certificate is revoked."""
    if as_json:
        sys.stdout.write(json.dumps({**_fields(entry), "new": is_new}, ensure_ascii=True) + "\n")
    else:
        words = "revoked" if is_new else "was revoked before"
        sys.stdout.write(f"{entry.serial_hex} {words}: {printable(entry.principal)} {printable(entry.subject)}\n")


def print_entitlement(entitlement: Entitlement, limits: Limits, *, as_json: bool) -> None:
    """Print what a principal would get."""
    longest = limits.lifetime if entitlement.lifetime is None else min(entitlement.lifetime, limits.lifetime)
    beyond = limits.beyond_ticket if entitlement.beyond_ticket is None else entitlement.beyond_ticket
    told: dict[str, object] = {
        "principal": entitlement.principal.text,
        "subject": entitlement.subject,
        "rule": entitlement.rule,
        "lifetime_seconds": _seconds(longest),
        "beyond_ticket_seconds": _seconds(beyond),
        "alternative_names": [_name(one) for one in entitlement.alternative_names],
        "policies": list(entitlement.policies),
    }
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if text:
            sys.stdout.write(f"{name.replace('_', ' ')}: {printable(text)}\n")


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what a check found."""
    if as_json:
        print_json([{"what": one.what, "error": one.is_error, "text": one.text} for one in findings])
        return
    for one in findings:
        mark = "error" if one.is_error else "ok"
        sys.stdout.write(f"{one.what}: {mark}: {printable(one.text)}\n")


def _fields(entry: Entry) -> dict[str, object]:
    revocation = entry.revocation
    return {
        "serial": entry.serial_hex,
        "principal": entry.principal,
        "subject": entry.subject,
        "issued": _time(entry.issued),
        "not_before": _time(entry.not_before),
        "not_after": _time(entry.not_after),
        "authenticated": _time(entry.authenticated),
        "revoked": None if revocation is None else _time(revocation.time),
        "reason": None if revocation is None else revocation.reason.word,
        "revoked_by": None if revocation is None else revocation.by,
        "rule": entry.rule,
        "peer": entry.peer,
        "transport": entry.transport,
        "request_id": entry.request_id,
        "decision": entry.decision,
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def _name(name: bytes) -> str:
    from gsi.ca.general_names import format_general_name

    return format_general_name(name)
