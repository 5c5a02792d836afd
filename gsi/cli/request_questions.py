"""What `grid-cert-request` asks a person, on standard error; the answers are lines of standard input.

    ca_hash = choose_ca(arguments.ca, locations)
    value = ask_field(field)

So a script can answer, too. Pass phrases are asked by `gsi.cli.prompt`, on the terminal.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError
from gsi.cli.run import printable

if TYPE_CHECKING:
    from gsi.system.environ import Locations
    from gsi.system.request_config import NameField

__all__ = ["MAX_LINE_CHARS", "ask_field", "ask_line", "choose_ca", "confirm"]

MAX_LINE_CHARS = 1024
"""Of an answer; names have at most 64 characters a part."""


def choose_ca(named: str | None, locations: Locations) -> str | None:
    """Return the hash of the CA to ask, or None for the default one.

    Args:
        named: The value of -ca: a hash, None where the option is not given, empty to ask which.
        locations: Where the trust directory may be.

    Raises:
        ConfigError: There is no CA to choose.
        UsageError: The answer is none of the numbers.
    """
    if named != "":
        return named
    import os

    from gsi.certificate import Certificate
    from gsi.cli.name_text import slash_name
    from gsi.credential import MAX_CREDENTIAL_BYTES
    from gsi.errors import ConfigError
    from gsi.system.files import read_public
    from gsi.system.request_config import list_configured

    trust_dir, hashes = list_configured(locations)
    if not hashes:
        raise ConfigError(
            "no CA in it is configured for requests", path=trust_dir, hint="install the CA's package there"
        )
    for number, one in enumerate(hashes, 1):
        path = os.path.join(trust_dir, f"{one}.0")
        subject = slash_name(Certificate.parse_pem(read_public(path, max_bytes=MAX_CREDENTIAL_BYTES)).subject_der)
        sys.stderr.write(f"{number}) {one} - {printable(subject)}\n")
    answer = ask_line("Number of the CA to ask:")
    if not (answer.isascii() and answer.isdigit()) or len(answer) > 6 or not 1 <= int(answer) <= len(hashes):
        raise UsageError(f"'{answer}' is none of the numbers", hint="-ca HASH names the CA at once")
    return hashes[int(answer) - 1]


def ask_field(field: NameField) -> str | None:
    """Ask for one part of the subject, as `openssl req` does: nothing typed is the default, a dot is no such part.

    Raises:
        UsageError: The answer is too short or too long, or there is none.
    """
    answer = ask_line(f"{field.prompt} [{field.default or ''}]:")
    if not answer:
        return field.default
    if answer == ".":
        return None
    if len(answer) < field.least or (field.most is not None and len(answer) > field.most):
        raise UsageError(f"'{answer}' has {len(answer)} characters, from {field.least} to {field.most} are asked for")
    return answer


def ask_line(prompt: str) -> str:
    """Ask on standard error and read a line of standard input, which a script can give, too.

    Raises:
        UsageError: The input ends, or the line is too long.
    """
    sys.stderr.write(f"{printable(prompt)} ")
    sys.stderr.flush()
    line = sys.stdin.readline(MAX_LINE_CHARS + 1)
    if not sys.stdin.isatty():
        sys.stderr.write("\n")  # nobody has typed one
    if not line or len(line) > MAX_LINE_CHARS:
        raise UsageError(
            "standard input ended before the question was answered" if not line else "the answer is too long",
            hint="-cn, -host and -ca answer the questions beforehand",
        )
    return line.strip()


def confirm(question: str) -> bool:
    """Ask a question that only `y` or `yes` answers in the affirmative."""
    return ask_line(f"{question} [n]").lower() in {"y", "yes"}
