r"""Man pages and shell completions, made from the commands' own parsers; not the programs' help text.

    python -m gsi.cli.manual docs            # writes docs/man/man[18]/* and docs/completions/{bash,zsh,fish}/*
    python -m gsi.cli.manual --check docs    # writes nothing; exit 1 when a file is out of date

What a parser knows (options, values, operands) comes from it; the rest (description, environment, files, exit status,
examples, differences from the C tool) is a `gsi.cli.pages.ManualPage` in a module of its own, so that no command loads
it. To add a command, add one line to `COMMANDS`.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.cli.arguments import CommandParser, OptionSpec, wrap
from gsi.cli.completions import render_bash, render_fish, render_zsh
from gsi.cli.pages import ManualPage
from gsi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["COMMANDS", "Command", "find_page", "find_parser", "main", "render_all", "render_man_page"]


class Command(NamedTuple):
    """Where to find what a command's documents are made from, as `module:attribute`.

    Names instead of objects, so that one command's documents need nothing of another's, and so that this room names
    commands of the packages above it without importing them.
    """

    parser: str
    """A callable without arguments that returns the `CommandParser`."""
    page: str
    """A `ManualPage`."""
    section: int = 1
    """The manual's section: 1 for users' commands, 8 for administrators'."""


COMMANDS: Final[Mapping[str, Command]] = {
    "grid-proxy-init": Command("gsi.cli.proxy_init:build_parser", "gsi.cli.pages.proxy_init:PAGE"),
    "grid-proxy-info": Command("gsi.cli.proxy_info:build_parser", "gsi.cli.pages.proxy_info:PAGE"),
    "grid-proxy-destroy": Command("gsi.cli.proxy_destroy:build_parser", "gsi.cli.pages.proxy_destroy:PAGE"),
    "grid-proxy-verify": Command("gsi.cli.proxy_verify:build_parser", "gsi.cli.pages.proxy_verify:PAGE"),
    "voms-proxy-init": Command("gsi.cli.voms_proxy_init:build_parser", "gsi.cli.pages.voms_proxy_init:PAGE"),
    "voms-proxy-info": Command("gsi.cli.voms_proxy_info:build_parser", "gsi.cli.pages.voms_proxy_info:PAGE"),
    "voms-proxy-destroy": Command("gsi.cli.voms_proxy_destroy:build_parser", "gsi.cli.pages.voms_proxy_destroy:PAGE"),
    "voms-proxy-list": Command("gsi.cli.voms_proxy_list:build_parser", "gsi.cli.pages.voms_proxy_list:PAGE"),
    "grid-cert-info": Command("gsi.cli.cert_info:build_parser", "gsi.cli.pages.cert_info:PAGE"),
    "grid-cert-diagnostics": Command("gsi.cli.cert_diagnostics:build_parser", "gsi.cli.pages.cert_diagnostics:PAGE"),
    "grid-cert-request": Command("gsi.cli.cert_request:build_parser", "gsi.cli.pages.cert_request:PAGE"),
    "grid-change-pass-phrase": Command(
        "gsi.cli.change_pass_phrase:build_parser", "gsi.cli.pages.change_pass_phrase:PAGE"
    ),
    "grid-ca-create": Command("gsi.cli.ca_create:build_parser", "gsi.cli.pages.ca_create:PAGE"),
    "grid-ca-sign": Command("gsi.cli.ca_sign:build_parser", "gsi.cli.pages.ca_sign:PAGE"),
    "grid-ca-package": Command("gsi.cli.ca_package:build_parser", "gsi.cli.pages.ca_package:PAGE"),
    "grid-default-ca": Command("gsi.cli.default_ca:build_parser", "gsi.cli.pages.default_ca:PAGE"),
    "grid-fetch-crl": Command("gsi.cli.fetch_crl:build_parser", "gsi.cli.pages.fetch_crl:PAGE", section=8),
    "grid-mapfile-add-entry": Command(
        "gsi.cli.mapfile_add_entry:build_parser", "gsi.cli.pages.mapfile_add_entry:PAGE", section=8
    ),
    "grid-mapfile-delete-entry": Command(
        "gsi.cli.mapfile_delete_entry:build_parser", "gsi.cli.pages.mapfile_delete_entry:PAGE", section=8
    ),
    "grid-mapfile-check-consistency": Command(
        "gsi.cli.mapfile_check_consistency:build_parser", "gsi.cli.pages.mapfile_check_consistency:PAGE", section=8
    ),
    "grid-kinit": Command("gsi.cli.kinit:build_parser", "gsi.cli.pages.kinit:PAGE"),
    "grid-sandbox": Command("gsi.cli.sandbox:build_parser", "gsi.cli.pages.sandbox:PAGE"),
    "gsi-doctor": Command("gsi.cli.doctor:build_parser", "gsi.cli.pages.doctor:PAGE", section=8),
    "gsi-authz": Command("gsi.cli.authz:build_parser", "gsi.cli.pages.authz:PAGE", section=8),
    "gsi-authz-server": Command("gsi.cli.authz_server:build_parser", "gsi.cli.pages.authz_server:PAGE", section=8),
    "gsi-authz-http": Command("gsi.cli.authz_http:build_parser", "gsi.cli.pages.authz_http:PAGE", section=8),
    "gsi-authz-build-callout": Command(
        "gsi.cli.authz_build_callout:build_parser", "gsi.cli.pages.authz_build_callout:PAGE", section=8
    ),
    "gsi-authz-gram-gate": Command(
        "gsi.cli.authz_gram_gate:build_parser", "gsi.cli.pages.authz_gram_gate:PAGE", section=8
    ),
    "myproxy-init": Command("myproxy.cli.init:build_parser", "myproxy.cli.pages.init:PAGE"),
    "myproxy-logon": Command("myproxy.cli.logon:build_parser", "myproxy.cli.pages.logon:PAGE"),
    "myproxy-get-delegation": Command("myproxy.cli.logon:build_other_parser", "myproxy.cli.pages.logon:PAGE"),
    "myproxy-info": Command("myproxy.cli.info:build_parser", "myproxy.cli.pages.info:PAGE"),
    "myproxy-destroy": Command("myproxy.cli.destroy:build_parser", "myproxy.cli.pages.destroy:PAGE"),
    "myproxy-change-pass-phrase": Command(
        "myproxy.cli.change_pass_phrase:build_parser", "myproxy.cli.pages.change_pass_phrase:PAGE"
    ),
    "myproxy-store": Command("myproxy.cli.store:build_parser", "myproxy.cli.pages.store:PAGE"),
    "myproxy-retrieve": Command("myproxy.cli.retrieve:build_parser", "myproxy.cli.pages.retrieve:PAGE"),
    "myproxy-get-trustroots": Command(
        "myproxy.cli.get_trustroots:build_parser", "myproxy.cli.pages.get_trustroots:PAGE"
    ),
    "myproxy-admin-query": Command(
        "myproxy.cli.admin_query:build_parser", "myproxy.cli.pages.admin_query:PAGE", section=8
    ),
    "myproxy-admin-adduser": Command(
        "myproxy.cli.admin_adduser:build_parser", "myproxy.cli.pages.admin_adduser:PAGE", section=8
    ),
    "myproxy-admin-addservice": Command(
        "myproxy.cli.admin_adduser:build_service_parser", "myproxy.cli.pages.admin_adduser:SERVICE_PAGE", section=8
    ),
    "myproxy-admin-change-pass": Command(
        "myproxy.cli.admin_change_pass:build_parser", "myproxy.cli.pages.admin_change_pass:PAGE", section=8
    ),
    "myproxy-admin-load-credential": Command(
        "myproxy.cli.admin_load_credential:build_parser", "myproxy.cli.pages.admin_load_credential:PAGE", section=8
    ),
    "myproxy-admin-otp": Command("myproxy.cli.admin_otp:build_parser", "myproxy.cli.pages.admin_otp:PAGE", section=8),
    "myproxy-admin-stats": Command(
        "myproxy.cli.admin_stats:build_parser", "myproxy.cli.pages.admin_stats:PAGE", section=8
    ),
    "myproxy-admin-fsck": Command(
        "myproxy.cli.admin_fsck:build_parser", "myproxy.cli.pages.admin_fsck:PAGE", section=8
    ),
    "myproxy-admin-import": Command(
        "myproxy.cli.admin_import:build_parser", "myproxy.cli.pages.admin_import:PAGE", section=8
    ),
    "myproxy-admin-export": Command(
        "myproxy.cli.admin_export:build_parser", "myproxy.cli.pages.admin_export:PAGE", section=8
    ),
    "myproxy-delegation": Command(
        "myproxy.cli.delegation:build_parser", "myproxy.cli.pages.delegation:PAGE", section=8
    ),
    "myproxy-portal": Command("myproxy.cli.portal:build_parser", "myproxy.cli.pages.portal:PAGE", section=8),
    "myproxy-renewd": Command("myproxy.cli.renewd:build_parser", "myproxy.cli.pages.renewd:PAGE", section=8),
    "myproxy-server": Command("myproxy.cli.server:build_parser", "myproxy.cli.pages.server:PAGE", section=8),
    "kx509": Command("kca.cli.kx509:build_parser", "kca.cli.pages.kx509:PAGE"),
    "kxlist": Command("kca.cli.kxlist:build_parser", "kca.cli.pages.kxlist:PAGE"),
    "kxdestroy": Command("kca.cli.kxdestroy:build_parser", "kca.cli.pages.kxdestroy:PAGE"),
    "kca-server": Command("kca.cli.server:build_parser", "kca.cli.pages.server:PAGE", section=8),
    "kca-http": Command("kca.cli.http:build_parser", "kca.cli.pages.http:PAGE", section=8),
    "kca-admin": Command("kca.cli.admin:build_parser", "kca.cli.pages.admin:PAGE", section=8),
    "cas-server": Command("cas.cli.server:build_parser", "cas.cli.pages.server:PAGE", section=8),
    "cas-proxy-init": Command("cas.cli.proxy_init:build_parser", "cas.cli.pages.proxy_init:PAGE"),
    "cas-wrap": Command("cas.cli.wrap:build_parser", "cas.cli.pages.wrap:PAGE"),
    "cas-whoami": Command("cas.cli.whoami:build_parser", "cas.cli.pages.whoami:PAGE"),
    "cas-token": Command("cas.cli.token:build_parser", "cas.cli.pages.token:PAGE"),
    "cas-enroll-users": Command("cas.cli.enroll_users:build_parser", "cas.cli.pages.enroll_users:PAGE"),
    "cas-enroll": Command("cas.cli.enroll:build_parser", "cas.cli.pages.enroll:PAGE"),
    "cas-remove": Command("cas.cli.remove:build_parser", "cas.cli.pages.remove:PAGE"),
    "cas-action": Command("cas.cli.action:build_parser", "cas.cli.pages.action:PAGE"),
    "cas-group-admin": Command("cas.cli.group_admin:build_parser", "cas.cli.pages.group_admin:PAGE"),
    "cas-rights-admin": Command("cas.cli.rights_admin:build_parser", "cas.cli.pages.rights_admin:PAGE"),
    "cas-list-object": Command("cas.cli.list_object:build_parser", "cas.cli.pages.list_object:PAGE"),
    "cas-get-object": Command("cas.cli.get_object:build_parser", "cas.cli.pages.get_object:PAGE"),
    "cas-group-list-entries": Command(
        "cas.cli.group_list_entries:build_parser", "cas.cli.pages.group_list_entries:PAGE"
    ),
    "cas-find-policies": Command("cas.cli.find_policies:build_parser", "cas.cli.pages.find_policies:PAGE"),
    "query-cas-service": Command("cas.cli.query_service:build_parser", "cas.cli.pages.query_service:PAGE"),
    "cas-who-can": Command("cas.cli.who_can:build_parser", "cas.cli.pages.who_can:PAGE"),
    "cas-why": Command("cas.cli.why:build_parser", "cas.cli.pages.why:PAGE"),
    "cas-history": Command("cas.cli.history:build_parser", "cas.cli.pages.history:PAGE"),
    "cas-export": Command("cas.cli.export_policy:build_parser", "cas.cli.pages.export_policy:PAGE"),
    "cas-import": Command("cas.cli.import_policy:build_parser", "cas.cli.pages.import_policy:PAGE"),
    "cas-withdraw": Command("cas.cli.withdraw:build_parser", "cas.cli.pages.withdraw:PAGE"),
    "cas-group-add-entry": Command("cas.cli.group_entries:build_parser", "cas.cli.pages.group_add_entry:PAGE"),
    "cas-group-remove-entry": Command(
        "cas.cli.group_entries:build_remove_parser", "cas.cli.pages.group_remove_entry:PAGE"
    ),
    "cas-server-bootstrap": Command(
        "cas.cli.server_bootstrap:build_parser", "cas.cli.pages.server_bootstrap:PAGE", section=8
    ),
}


def render_all() -> dict[str, str]:
    """Return every document: path below the output directory -> text."""
    documents: dict[str, str] = {}
    for name, command in COMMANDS.items():
        parser = find_parser(command)
        documents[f"man/man{command.section}/{name}.{command.section}"] = render_man_page(
            parser, find_page(command), command.section
        )
        documents[f"completions/bash/{name}"] = render_bash(parser)
        documents[f"completions/zsh/_{name}"] = render_zsh(parser)
        documents[f"completions/fish/{name}.fish"] = render_fish(parser)
    return documents


def _find(place: str) -> object:
    module, _, attribute = place.partition(":")
    found: object = getattr(importlib.import_module(module), attribute)
    return found


def find_parser(command: Command) -> CommandParser:
    """Make the command's parser.

    Raises:
        ConfigError: What `COMMANDS` names makes none.
    """
    factory = _find(command.parser)
    parser = factory() if callable(factory) else factory
    if not isinstance(parser, CommandParser):
        raise ConfigError(f"{command.parser} does not make a CommandParser")
    return parser


def find_page(command: Command) -> ManualPage:
    """Return the command's prose.

    Raises:
        ConfigError: What `COMMANDS` names is none.
    """
    page = _find(command.page)
    if not isinstance(page, ManualPage):
        raise ConfigError(f"{command.page} is not a ManualPage")
    return page


_SOURCE_WIDTH: Final = 78
"""Columns of the roff source; mandoc asks for 80."""


# --- man(7) ----------------------------------------------------------------------------------------------------------


def render_man_page(parser: CommandParser, page: ManualPage, section_number: int = 1) -> str:
    """Return the page in man(7) macros, which every man program since the seventies renders."""
    lines = [
        f'.TH "{parser.prog.upper()}" "{section_number}" "{page.date}" "gsi-toolkit" "Grid commands"',
        ".SH NAME",
        f"{_roff(parser.prog)} \\- {_roff(parser.summary)}",
        ".SH SYNOPSIS",
        *_synopsis(parser),
        ".SH DESCRIPTION",
        *_paragraphs(page.description),
        ".SH OPTIONS",
        *_sentences(parser.spelling_note),
    ]
    for spec in parser.operands:
        lines += [".TP", f"\\fI{_roff(spec.metavar or '')}\\fR", *_sentences(_sentence(spec.text))]
    for section in parser.all_sections:
        lines.append(f".SS {section.title}")
        for spec in section.specs:
            lines += [".TP", _option_label(spec), *_sentences(_sentence(spec.text))]
    lines += [".SH EXIT STATUS", *_definitions(page.exit_status)]
    lines += _section("ENVIRONMENT", _definitions(page.environment))
    lines += _section("FILES", _definitions(page.files, italic=True))
    lines += _section("EXAMPLES", _examples(page.examples))
    lines += _section("DIFFERENCES FROM THE C TOOL", _paragraphs(page.differences))
    lines += _section("SEE ALSO", _references(page.see_also))
    return "\n".join(lines) + "\n"


def _section(title: str, body: Sequence[str]) -> list[str]:
    return [f".SH {title}", *body] if body else []


def _synopsis(parser: CommandParser) -> Iterator[str]:
    for number, line in enumerate(parser.usage_lines):
        if number:
            yield ".br"
        yield f".B {_roff(parser.prog)}"
        yield _roff(line)


def _paragraphs(text: str) -> list[str]:
    lines: list[str] = []
    for number, paragraph in enumerate(filter(None, text.strip().split("\n\n"))):
        lines += [".PP"] if number else []
        lines += _sentences(paragraph)
    return lines


def _definitions(pairs: Iterable[tuple[str, str]], *, italic: bool = False) -> list[str]:
    font = "I" if italic else "B"
    lines: list[str] = []
    for term, meaning in pairs:
        lines += [".TP", f".{font} {_roff(term)}", *_sentences(meaning)]
    return lines


def _examples(pairs: Iterable[tuple[str, str]]) -> list[str]:
    lines: list[str] = []
    for number, (purpose, command) in enumerate(pairs):
        lines += [".PP"] if number else []
        lines += [*_sentences(purpose), ".PP", ".RS 4", ".nf", *map(_roff, command.splitlines()), ".fi", ".RE"]
    return lines


def _references(pages: Sequence[str]) -> list[str]:
    last = len(pages) - 1
    return [
        f".BR {_roff(page.partition('(')[0])} ({page.partition('(')[2]}{'' if number == last else ' ,'}"
        for number, page in enumerate(pages)
    ]


def _option_label(spec: OptionSpec) -> str:
    names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in spec.names)
    return names if spec.metavar is None else f"{names} \\fI{_roff(spec.metavar)}\\fR"


def _sentence(text: str) -> str:
    """Make a help clause a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


def _sentences(text: str) -> list[str]:
    """Put each sentence on a line of its own, as roff wants for its spacing, and break long ones."""
    parts = re.split(r"(?<=[.:;!?]) (?=[A-Z`*0-9])", " ".join(text.split()))
    return [_protect(line) for part in parts for line in wrap(_marked(part), _SOURCE_WIDTH)]


def _marked(text: str) -> str:
    """Turn `code` into bold and *name* into italic."""
    parts = re.split(r"(`[^`]+`|\*[A-Za-z][^*]*\*)", text)
    return "".join(
        f"\\fB{_escape(part[1:-1])}\\fR"
        if part.startswith("`") and len(part) > 1
        else f"\\fI{_escape(part[1:-1])}\\fR"
        if part.startswith("*") and len(part) > 1
        else _escape(part)
        for part in parts
    )


def _roff(text: str) -> str:
    return _protect(_escape(text))


def _escape(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")


def _protect(line: str) -> str:
    """Keep a line that begins like a request from being one."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


# --- writing ---------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Write the documents below a directory, or with `--check` say which ones are out of date."""
    words = list(sys.argv[1:] if argv is None else argv)
    check = "--check" in words
    if check:
        words.remove("--check")
    if len(words) != 1 or words[0].startswith("-"):
        sys.stderr.write("usage: python -m gsi.cli.manual [--check] OUTDIR\n")
        return 2
    stale = [path for path, text in render_all().items() if not _put(os.path.join(words[0], path), text, check=check)]
    for path in stale:
        sys.stderr.write(f"{path} is out of date\n")
    return 1 if stale else 0


def _put(path: str, text: str, *, check: bool) -> bool:
    """Write a document unless it is there already; with `check` only tell whether it is."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return True
    except FileNotFoundError:
        pass
    if check:
        return False
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return True


if __name__ == "__main__":
    sys.exit(main())
