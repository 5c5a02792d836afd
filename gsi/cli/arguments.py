"""Options in the spelling of the C grid tools, and the help text made from them; not what a command does.

The C tools take long options with a single dash (`-valid 12:00`). Ours take both `-valid` and `--valid`, also as
`--valid=12:00`; options are never abbreviated, so a typing error cannot become another option. One description serves
the parser, the help, the man page and the shell completions:

    parser = CommandParser("grid-proxy-info", "show a proxy", usage=("[options]",))
    section = parser.section("What to print")
    section.flag("-subject", "-s", text="the subject name")
    section.value("-valid", "-v", metavar="H:M", convert=duration, text="the proxy must last that long")
    arguments = parser.parse_args(argv)

Options: every command also has -help, -usage, -version and -debug. A bad command line raises `UsageError`, which
`gsi.cli.run` turns into a message and exit status 1, as in the C tools.
"""

from __future__ import annotations

import argparse
import sys
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from gsi._version import __version__
from gsi.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "BITS",
    "KEY_TYPES",
    "REFUSED_BITS",
    "SECRET_SOURCES",
    "CommandParser",
    "Completion",
    "Namespace",
    "OptionSpec",
    "Section",
    "UsageError",
    "bits",
    "choice",
    "count",
    "duration",
    "secret_source",
    "wrap",
]

HELP_WIDTH = 100
"""Columns of the help text: a constant, so that help, its tests and its transcripts agree on every terminal."""

HELP_INDENT = 28
"""Columns that an option and its value may take before its description moves to a line of its own."""

SECRET_SOURCES = "file:PATH, fd:NUMBER or stdin; the terminal if not given"
"""For the description of an option with `convert=secret_source`."""

KEY_TYPES = ("rsa", "p256", "p384", "ed25519")
"""Kinds of a proxy's key."""

BITS = (2048, 3072, 4096)
"""Sizes of a proxy's RSA key."""

REFUSED_BITS = (512, 1024)
"""Taken by the C tools; 512 bits were factored in 1999, and 1024 are below every current recommendation."""

Namespace = argparse.Namespace


class UsageError(GridError):
    """A command line that does not follow the command's grammar."""

    slug = "usage"


class Completion(Enum):
    """What a shell offers as the value of an option or operand."""

    NOTHING = "nothing"
    FILE = "file"
    DIRECTORY = "directory"


class OptionSpec(NamedTuple):
    """One option or operand as help, man page and completions need it.

    Attributes:
        names: All single-dash spellings, the principal one first; empty for an operand.
        metavar: The name of its value, or None for a flag.
        text: One sentence without a final stop.
        choices: The values to offer, or empty.
        completion: What a shell offers where `choices` is empty.
        repeatable: Whether it may be given several times with effect.
    """

    names: tuple[str, ...]
    metavar: str | None
    text: str
    choices: tuple[str, ...] = ()
    completion: Completion = Completion.NOTHING
    repeatable: bool = False

    @property
    def label(self) -> str:
        """The spellings with the value, as a help line begins: `-valid, -v H:M`."""
        names = ", ".join(self.names)
        return names if self.metavar is None else f"{names} {self.metavar}".lstrip()


class Section:
    """A titled group of options of one command. Made by `CommandParser.section`."""

    __slots__ = ("_parser", "specs", "title")

    def __init__(self, parser: CommandParser, title: str) -> None:
        self._parser = parser
        self.title = title
        self.specs: list[OptionSpec] = []

    def flag(self, *names: str, text: str, dest: str | None = None, append_to: str | None = None) -> None:
        """Add an option without a value.

        Args:
            names: Single-dash spellings, the principal one first.
            text: One sentence without a final stop.
            dest: The attribute set to True; by default the principal name without its dash.
            append_to: Instead of a flag of its own, collect the principal name (without dash) in this list
                attribute, in the order of the command line.
        """
        target = append_to or dest or _destination(names)
        if append_to is None:
            self._parser.add_argument(*_spellings(names), dest=target, action="store_true")
        else:
            self._parser.add_argument(
                *_spellings(names), dest=target, action="append_const", const=names[0].lstrip("-"), default=[]
            )
        self.specs.append(OptionSpec(names, None, text))

    def value(
        self,
        *names: str,
        metavar: str,
        text: str,
        convert: Callable[[str], object] = str,
        default: object = None,
        choices: Iterable[str] = (),
        suggestions: Iterable[str] = (),
        completion: Completion = Completion.NOTHING,
        dest: str | None = None,
        repeatable: bool = False,
        many: bool = False,
    ) -> None:
        """Add an option with a value.

        Args:
            names: Single-dash spellings, the principal one first.
            metavar: The name of the value in help texts.
            text: One sentence without a final stop.
            convert: Text to value; raises ValueError or GridError for a text it cannot use.
            default: The value when the option is absent.
            choices: The only texts allowed (checked before `convert`).
            suggestions: What a shell offers where `convert` decides what is allowed.
            completion: What a shell offers where there are neither choices nor suggestions.
            dest: The attribute set; by default the principal name without its dash.
            repeatable: Collect the values of every occurrence in a list; otherwise the last one counts.
            many: Likewise, and each occurrence takes one or more values, up to the next option.
        """
        allowed = tuple(choices)
        self._parser.add_argument(
            *_spellings(names),
            dest=dest or _destination(names),
            metavar=metavar,
            type=_converter(convert, allowed),
            default=[] if (repeatable or many) and default is None else default,
            action="extend" if many else "append" if repeatable else "store",
            nargs="+" if many else None,
        )
        offered = allowed or tuple(suggestions)
        self.specs.append(OptionSpec(names, metavar, text, offered, completion, repeatable or many))


class CommandParser(argparse.ArgumentParser):
    """The command line of one program: options in sections, then operands.

    Attributes:
        summary: What the command does, as a clause without capital or final stop ("show a proxy").
        usage_lines: The usage after the program's name, one entry per form.
        sections: The options, in the order of the help text.
        operands: What stands on the command line without a dash.
        spelling_note: For the man page: how options may be written.
        version_to_stdout: Whether -version prints to standard output, and not, as in Globus's C, to standard error.
    """

    spelling_note = (
        "Every option may be written with one dash or two, and its value after a blank or an equals sign. "
        "A bare `--` ends the options."
    )

    version_to_stdout = False

    def spellings(self, spec: OptionSpec) -> list[str]:
        """Return every way to write an option."""
        return [spelling for name in spec.names for spelling in (name, f"-{name}")]

    def __init__(
        self,
        prog: str,
        summary: str,
        *,
        usage: Sequence[str] = ("[options]",),
        help_names: Sequence[str] = ("-help", "-usage"),
        version_names: Sequence[str] = ("-version",),
        versions: bool = False,
        any_case: bool = False,
    ) -> None:
        # argparse makes a formatter per option; one that knows its width does not go and ask for the terminal's.
        super().__init__(
            prog=prog,
            add_help=False,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, width=HELP_WIDTH),
        )
        self.summary = summary
        self.usage_lines = tuple(usage)
        self.sections: list[Section] = []
        self.operands: list[OptionSpec] = []
        self._many: str | None = None
        self._any_case = any_case  # as the C scripts in Perl take options
        if any_case:
            self.spelling_note += " The letter case of options does not matter."
        general = Section(self, "General")
        self.add_argument(*_spellings(help_names), action=_ShowHelp, nargs=0)
        to_stdout = versions or self.version_to_stdout
        self.add_argument(*_spellings(version_names), action=_ShowVersion, nargs=0, const=to_stdout)
        general.specs.append(OptionSpec(tuple(help_names), None, "print this help and exit"))
        stream = "" if to_stdout else " to standard error"
        general.specs.append(OptionSpec(tuple(version_names), None, f"print the version{stream} and exit"))
        if versions:  # which the C scripts have, and the C programs have not
            self.add_argument(*_spellings(("-versions",)), action=_ShowVersions, nargs=0)
            general.specs.append(OptionSpec(("-versions",), None, "print the package's version and exit"))
        general.flag("-debug", text="explain errors with their causes and the place in the program")
        self._general = general

    def section(self, title: str) -> Section:
        """Start a titled group of options; groups are shown in the order made, the general ones last."""
        section = Section(self, title)
        self.sections.append(section)
        return section

    @property
    def all_sections(self) -> tuple[Section, ...]:
        """Every section with the general options (-help, -version, -debug) at the end."""
        return (*self.sections, self._general)

    def operand(
        self,
        metavar: str,
        *,
        text: str,
        dest: str,
        many: bool = False,
        required: bool = False,
        completion: Completion = Completion.FILE,
    ) -> None:
        """Add what stands without a dash: one optional (default None), one required, or a list with `many`."""
        if many:
            self.add_argument(dest, metavar=metavar, nargs="+" if required else "*")
            self._many = dest
        elif required:
            self.add_argument(dest, metavar=metavar)
        else:
            self.add_argument(dest, metavar=metavar, nargs="?")
        self.operands.append(OptionSpec((), metavar, text, (), completion, many))

    def parse_known_args(  # type: ignore[override]  # argparse's is overloaded by the kind of namespace
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Parse; operands may stand among the options, as in the C tools.

        A bare `--` ends the options, also of a command that takes no operand.
        """
        words = list(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(self._fold_case(words) if self._any_case else words, namespace)
        if self._many is None:
            return found, rest[1:] if rest[:1] == ["--"] else rest
        # argparse gives an operand what stands together at its first place, and has the others left over.
        before, after = rest, list[str]()
        if "--" in rest:
            at = rest.index("--")
            before, after = rest[:at], rest[at + 1 :]
        if any(word.startswith("-") and word != "-" for word in before):
            return found, rest
        setattr(found, self._many, [*getattr(found, self._many), *before, *after])
        return found, []

    def _fold_case(self, words: list[str]) -> list[str]:
        """Return the command line with its options in lower case; all other words as they are."""
        end = words.index("--") if "--" in words else len(words)
        folded = list[str]()
        for word in words[:end]:
            name, equals, value = word.partition("=")
            known = name.lower() in self._option_string_actions
            folded.append(f"{name.lower()}{equals}{value}" if known else word)
        return folded + words[end:]

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UsageError: Always, with the place of the help as its hint.
        """
        if message.startswith("argument "):  # argparse lists all spellings there
            spellings, _, told = message.removeprefix("argument ").partition(": ")
            message = f"{spellings.partition('/')[0]}: {told}"
        raise UsageError(message, hint=f"'{self.prog} -help' lists the options")

    def format_usage(self) -> str:
        """Return the usage lines."""
        return "".join(
            f"{'usage:' if number == 0 else '      '} {self.prog} {line}".rstrip() + "\n"
            for number, line in enumerate(self.usage_lines)
        )

    def format_help(self) -> str:
        """Return the help text: usage, summary, sections of options, where to read more."""
        lines = [self.format_usage(), f"\n{self.summary[:1].upper()}{self.summary[1:]}.\n"]
        if self.operands:
            lines.append("\n" + "".join(_help_entry(spec) for spec in self.operands))
        for section in self.all_sections:
            lines.append(f"\n{section.title}:\n")
            lines.extend(_help_entry(spec) for spec in section.specs)
        lines.append(f"\nOptions may be written with one dash or two. See also: man {self.prog}\n")
        return "".join(lines)

    def _get_option_tuples(self, option_string: str) -> list[tuple[argparse.Action, str, str | None]]:
        """Find no abbreviations: argparse would still take `-val` for `-valid` with a single dash."""
        del option_string
        return []


class _ShowHelp(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: Namespace,
        values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        del namespace, values, option_string
        sys.stdout.write(parser.format_help())
        sys.exit(0)


class _ShowVersion(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: Namespace,
        values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        del namespace, values, option_string
        stream = sys.stdout if self.const else sys.stderr
        stream.write(f"{parser.prog} (gsi-toolkit) {__version__}\n")
        sys.exit(0)


class _ShowVersions(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: Namespace,
        values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        del parser, namespace, values, option_string
        sys.stdout.write(f"gsi-toolkit: {__version__}\n")
        sys.exit(0)


def duration(text: str) -> object:
    """Convert `H:M` to a timedelta by the C tools' rules (minutes 0 to 60); for `Section.value(convert=...)`."""
    from gsi.lifetime import parse_hours_minutes

    return parse_hours_minutes(text)


def secret_source(text: str) -> object:
    """Convert the place of a pass phrase, `SECRET_SOURCES`; for `Section.value(convert=...)`."""
    from gsi.cli.secret_source import parse_secret_source

    return parse_secret_source(text)


def count(text: str, *, minimum: int = 0, maximum: int = 2**31 - 1) -> int:
    """Convert a decimal number within limits.

    Raises:
        ValueError: With a message for the user; plain ASCII digits only (no sign, blank or underscore).
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or not minimum <= int(text) <= maximum:
        limits = f"of at least {minimum}" if maximum == 2**31 - 1 else f"from {minimum} to {maximum}"
        raise ValueError(f"needs a whole number {limits}, not '{text}'")
    return int(text)


def bits(text: str) -> int:
    """Convert the size of an RSA key: one of `BITS`, or of `REFUSED_BITS`, which the command refuses by its name.

    Raises:
        ValueError: With a message for the user.
    """
    if text not in map(str, (*REFUSED_BITS, *BITS)):
        raise ValueError(f"'{text}' is not one of {', '.join(map(str, BITS))}")
    return int(text)


def choice(enumeration: type[Enum]) -> tuple[str, ...]:
    """Return the values of an enumeration as `choices`."""
    return tuple(str(member.value) for member in enumeration)


def _destination(names: Sequence[str]) -> str:
    return names[0].lstrip("-").replace("-", "_")


def _spellings(names: Sequence[str]) -> tuple[str, ...]:
    """Give each name with one dash and with two; single letters too, since the C habit is one dash for all."""
    return tuple(spelling for name in names for spelling in (name, f"-{name}"))


def _converter(convert: Callable[[str], object], choices: tuple[str, ...]) -> Callable[[str], object]:
    """Make `convert` report in argparse's own way, which adds the option's name to the message."""

    def checked(text: str) -> object:
        if choices and text not in choices:
            raise argparse.ArgumentTypeError(f"'{text}' is not one of {', '.join(choices)}")
        try:
            return convert(text)
        except GridError as error:
            raise argparse.ArgumentTypeError(error.message) from error
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


def _help_entry(spec: OptionSpec) -> str:
    """Format one option: its label, then its description wrapped in a column of its own."""
    label = f"  {spec.label}"
    lines = wrap(spec.text, HELP_WIDTH - HELP_INDENT)
    first = label.ljust(HELP_INDENT) + lines[0] if len(label) < HELP_INDENT else label
    rest = lines[1:] if len(label) < HELP_INDENT else lines
    return "\n".join([first, *(" " * HELP_INDENT + line for line in rest)]) + "\n"


def wrap(text: str, width: int) -> list[str]:
    """Break text at blanks; textwrap would cost more than the rest of the help together."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines
