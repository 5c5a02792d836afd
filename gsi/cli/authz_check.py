"""`gsi-authz check`: which files are looked at, and printing what is found; the looking is `gsi.authz`'s."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError
from gsi.cli.authz_text import finding_text, print_json
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable

if TYPE_CHECKING:
    from gsi.authz.calloutconf import Family, Finding
    from gsi.cli.arguments import Namespace

__all__ = ["check"]


def check(arguments: Namespace, words: list[str]) -> int:
    """Check files, or everything that is usually there; return the exit status."""
    from gsi.authz.calloutconf import Severity

    paths, findings = _check_files(arguments, words) if words else _check_defaults(arguments)
    problems = [finding for finding in findings if arguments.strict or finding.severity is not Severity.NOTE]
    if arguments.json:
        print_json(
            {
                "files": paths,
                "findings": [
                    {
                        "severity": finding.severity.value,
                        "path": finding.path,
                        "line": finding.line,
                        "message": finding.message,
                        "fix": finding.fix,
                    }
                    for finding in findings
                ],
            }
        )
    else:
        for finding in findings:
            sys.stdout.write(finding_text(finding))
        if not findings:
            shown = ", ".join(printable(path) for path in paths)
            sys.stdout.write(f"nothing to report: {shown}\n")
    return EXIT_ERROR if problems else EXIT_OK


def _families(arguments: Namespace) -> frozenset[Family]:
    from gsi.authz.calloutconf import Family

    named = frozenset(arguments.callouts)
    if "none" in named and len(named) > 1:
        raise UsageError("-callouts none goes without others")
    return frozenset(map(Family, named - {"none"} if named else Family))


def _check_files(arguments: Namespace, paths: list[str]) -> tuple[list[str], list[Finding]]:
    from gsi.authz.calloutconf import Finding, Severity, lint_callouts
    from gsi.authz.lint import lint_policy
    from gsi.authz.serviceconf import ServiceFiles, family_of, lint_service_files

    findings: list[Finding] = []
    for path in paths:
        family = family_of(path)
        if path.endswith(".toml"):
            findings += lint_policy(path)
        elif family is None:
            findings += lint_callouts(path, families=_families(arguments))
        else:
            files = ServiceFiles(family, (path,))
            if files.exist:
                findings += lint_service_files(files)
            else:
                findings.append(Finding(Severity.BROKEN, path, None, "No such file or directory"))
    return paths, findings


def _check_defaults(arguments: Namespace) -> tuple[list[str], list[Finding]]:
    """Check every policy of the directory, and what the C services of this machine read, or should."""
    import os

    from gsi.authz.calloutconf import Finding, Severity, find_callout_conf, lint_callouts
    from gsi.authz.lint import lint_policy
    from gsi.authz.serviceconf import find_service_files, lint_service_files
    from gsi.system.environ import authz_policy_dir, get_variable

    directory = authz_policy_dir()
    try:
        paths = sorted(os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".toml"))
    except OSError:
        paths = []
    findings: list[Finding] = []
    for path in paths:
        findings += lint_policy(path)
    if not paths:
        message = "no policy is there: a service that asks for one refuses everybody"
        findings.append(Finding(Severity.NOTE, directory, None, message, "man gsi-authz"))
    families = _families(arguments)
    if not families:
        return paths, findings
    services = find_service_files(families)
    there = [files for files in services if files.exist or arguments.callouts]
    conf, is_there = find_callout_conf()
    if is_there or there or arguments.callouts or get_variable("GSI_AUTHZ_CONF"):
        findings += lint_callouts(conf, families=families)
    else:
        message = "it is not there: C services, of which none is configured here, would ask nobody"
        findings.append(Finding(Severity.NOTE, conf, None, message, "-callouts none, if there are none"))
    for files in there:
        findings += lint_service_files(files)
    shown = [path for files in there for path in files.paths if os.path.exists(path)]
    return [*paths, conf, *shown], list(dict.fromkeys(findings))
