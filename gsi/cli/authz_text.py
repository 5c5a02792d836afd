"""Decisions and findings as text for `gsi-authz`; decides nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from gsi.cli.run import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gsi.authz.calloutconf import Finding

__all__ = ["decision_text", "finding_text", "print_json"]


def print_json(told: object) -> None:
    """Print a value as JSON, in ASCII."""
    import json

    sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=True) + "\n")


def decision_text(told: Mapping[str, object], not_asked: Iterable[str] = ()) -> str:
    """Return a described decision (gsi.authz.record) as lines: what was asked, then who said what, in order."""
    ident = f"decision {told['id']}" if told["id"] else "this would be decided"
    lines = [f"{ident}: {_words(told['effect'])}"]
    lines += [f"  {label:<10} {value}" for label, value in _facts(told)]
    lines.append("asked, in this order:")
    steps = cast("list[dict[str, object]]", told["trace"])
    width = max((2 * cast("int", step["depth"]) + len(str(step["authorizer"])) for step in steps), default=0)
    for step in steps:
        name = "  " * cast("int", step["depth"]) + printable(str(step["authorizer"]))
        lines.append(f"  {name:<{width}}  {_words(step['effect']):<14} {printable(str(step['reason']))}")
    rest = list(not_asked)
    if rest:
        lines.append(f"not asked, for it was decided already: {', '.join(rest)}")
    return "\n".join(lines) + "\n"


def _words(effect: object) -> str:
    return str(effect).replace("_", " ")


def _facts(told: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    subject = cast("dict[str, object]", told["subject"])
    who = printable(str(subject["identity"])) or "<anonymous>"
    kinds = [str(subject["authenticated_by"]), *([f"{subject['kind']} proxy"] if subject["kind"] else [])]
    yield "subject", f"{who} ({', '.join(kinds)})"
    if subject["issuer"]:
        yield "issuer", printable(str(subject["issuer"]))
    for label in ("fqans", "groups"):
        values = cast("list[str]", subject[label])
        if values:
            yield label, printable(", ".join(values))
    yield "action", f"{printable(str(told['service_type']))}:{printable(str(told['action']))}"
    for label, key in (
        ("resource", "resource"),
        ("service", "service"),
        ("address", "address"),
        ("account", "desired_account"),
    ):
        if told[key]:
            yield label, printable(str(told[key])) + (" (asked for)" if key == "desired_account" else "")
    yield "time", str(told["time"])
    yield "decided by", f"{printable(str(told['authorizer'])) or 'nobody'}: {printable(str(told['reason']))}"
    for obligation in cast("list[dict[str, object]]", told["obligations"]):
        values_of = [f"{key} {value}" for key, value in obligation.items() if key != "type" and value not in ("", [])]
        yield "obligation", printable(f"{obligation['type']}: {', '.join(values_of)}")
    if told["not_after"]:
        yield "until", str(told["not_after"])


def finding_text(finding: Finding) -> str:
    """Return a finding as one line, and its fix as another."""
    text = f"{printable(finding.place)}: {finding.severity}: {printable(finding.message)}\n"
    return text + (f"    fix: {printable(finding.fix)}\n" if finding.fix else "")
