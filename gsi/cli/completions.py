"""Completions for bash, zsh and fish, made from a command's parser; `gsi.cli.manual` writes them to files.

render_bash(build_parser())
"""

from __future__ import annotations

import re
from typing import Final

from gsi.cli.arguments import CommandParser, Completion, OptionSpec

__all__ = ["render_bash", "render_fish", "render_zsh"]

_NOTE: Final = "Completion for {prog}. Made by gsi.cli.manual from the command's parser; do not edit."


def _specs(parser: CommandParser) -> list[OptionSpec]:
    return [spec for section in parser.all_sections for spec in section.specs]


_BASH_INDENT: Final = " " * 12


def render_bash(parser: CommandParser) -> str:
    """Return a completion for bash 4.2 or later that needs no bash-completion package."""
    function = "_" + parser.prog.replace("-", "_")
    specs = _specs(parser)
    spellings = [spelling for spec in specs for spelling in parser.spellings(spec)]
    single = " ".join(spelling for spelling in spellings if not spelling.startswith("--"))
    double = " ".join(spelling for spelling in spellings if spelling.startswith("--"))
    operand = parser.operands[0].completion if parser.operands else Completion.NOTHING
    cases = [
        f"\n{_BASH_INDENT}".join((f"        {'|'.join(parser.spellings(spec))})", _bash_values(spec), "return", ";;"))
        for spec in specs
        if spec.metavar is not None
    ]
    return "\n".join(
        [
            f"# {_NOTE.format(prog=parser.prog)}",
            f"{function}()",
            "{",
            '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"',
            "    COMPREPLY=()",
            '    case "$prev" in',
            *cases,
            "    esac",
            '    case "$cur" in',
            f'        --*) mapfile -t COMPREPLY < <(compgen -W "{double}" -- "$cur") ;;',
            f'        -*) mapfile -t COMPREPLY < <(compgen -W "{single}" -- "$cur") ;;',
            f"        *) {_bash_completion(operand)} ;;",
            "    esac",
            "}",
            f"complete -F {function} {parser.prog}",
            "",
        ]
    )


def _bash_values(spec: OptionSpec) -> str:
    if spec.choices:
        return f'mapfile -t COMPREPLY < <(compgen -W "{" ".join(spec.choices)}" -- "$cur")'
    return _bash_completion(spec.completion)


def _bash_completion(completion: Completion) -> str:
    match completion:
        case Completion.FILE:
            return 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur")'
        case Completion.DIRECTORY:
            return 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur")'
        case Completion.NOTHING:
            return ":"


def render_zsh(parser: CommandParser) -> str:
    """Return a completion function for zsh's `_arguments`."""
    entries: list[str] = []
    for spec in _specs(parser):
        spellings = parser.spellings(spec)
        exclusion = "*" if spec.repeatable else f"({' '.join(spellings)})"
        value = "" if spec.metavar is None else f":{_zsh_quote(spec.metavar)}:{_zsh_values(spec)}"
        braces = "{" + ",".join(spellings) + "}"
        entries.append(f"'{exclusion}'{braces}'[{_zsh_quote(spec.text)}]{value}'")
    entries += [
        f"'{'*' if spec.repeatable else '1'}:{_zsh_quote(spec.metavar or '')}:{_zsh_values(spec)}'"
        for spec in parser.operands
    ]
    return "\n".join(
        [
            f"#compdef {parser.prog}",
            f"# {_NOTE.format(prog=parser.prog)}",
            "_arguments \\",
            " \\\n".join(f"    {entry}" for entry in entries),
            "",
        ]
    )


def _zsh_values(spec: OptionSpec) -> str:
    if spec.choices:
        return f"({' '.join(spec.choices)})"
    return {Completion.FILE: "_files", Completion.DIRECTORY: "_files -/", Completion.NOTHING: " "}[spec.completion]


def _zsh_quote(text: str) -> str:
    """Quote for the inside of a single-quoted `_arguments` specification."""
    return re.sub(r"([\\\[\]:])", r"\\\1", text).replace("'", "'\\''")


def render_fish(parser: CommandParser) -> str:
    """Return completions for fish: `-o` is its word for long options with a single dash."""
    lines = [f"# {_NOTE.format(prog=parser.prog)}"]
    if not parser.operands:
        lines.append(f"complete -c {parser.prog} -f")
    for spec in _specs(parser):
        words = [f"complete -c {parser.prog}"]
        words += [_fish_name(name) for name in spec.names]
        if spec.metavar is not None:
            words.append(_fish_values(spec))
        words.append(f"-d {_fish_quote(spec.text)}")
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def _fish_name(name: str) -> str:
    if name.startswith("--"):
        return f"-l {name[2:]}"
    return f"-s {name[1:]}" if len(name) == 2 else f"-o {name[1:]} -l {name[1:]}"


def _fish_values(spec: OptionSpec) -> str:
    if spec.choices:
        return f"-x -a {_fish_quote(' '.join(spec.choices))}"
    match spec.completion:
        case Completion.FILE:
            return "-r -F"
        case Completion.DIRECTORY:
            return "-x -a '(__fish_complete_directories)'"
        case Completion.NOTHING:
            return "-x"


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
