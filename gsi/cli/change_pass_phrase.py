"""The command `grid-change-pass-phrase`: put a private key under another pass phrase; the locks are `gsi.keylocks`'s.

Agrees with gct:gsi/cert_utils/source/programs/grid-change-pass-phrase.in in options, variables and exit status. Unlike
it, keeps every other byte of the file, takes any kind of key, keeps a mode of 0400, and leaves no copy under the old
pass phrase unless asked to. Whatever goes wrong, the file is as it was.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from gsi.cli.arguments import SECRET_SOURCES, CommandParser, Completion, secret_source
from gsi.cli.run import EXIT_OK, printable, run
from gsi.errors import CredentialError, CredentialProblem, ParseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.cli.arguments import Namespace
    from gsi.pem import PEMBlock
    from gsi.secret import Passphrase

__all__ = ["MIN_PASSPHRASE_BYTES", "build_parser", "main"]

PROG = "grid-change-pass-phrase"

MIN_PASSPHRASE_BYTES = 4
"""What `openssl`, and so the C script, insists on."""


def build_parser() -> CommandParser:
    """Return the command's parser."""
    parser = CommandParser(
        PROG,
        "change the pass phrase of a private key",
        usage=("[-file FILE]",),
        help_names=("-help", "-usage", "-h"),
        versions=True,
    )
    files = parser.section("Which key")
    files.value(
        "-file",
        metavar="FILE",
        completion=Completion.FILE,
        text="the file with the key, in PEM or PKCS#12 (default: the user's)",
    )
    files.flag("-backup", text="keep the file as it was, under its old pass phrase, beside it with .old at the end")
    secrets = parser.section("Pass phrases")
    secrets.value(
        "-passin",
        metavar="SOURCE",
        convert=secret_source,
        text=f"where the old pass phrase comes from: {SECRET_SOURCES}",
    )
    secrets.value(
        "-passout",
        metavar="SOURCE",
        convert=secret_source,
        text="where the new pass phrase comes from, likewise; the next line where both come from the same place",
    )
    secrets.flag(
        "-nopassphrase", "-nopw", "-nodes", text="take the pass phrase away; whoever reads the file can use the key"
    )
    how = parser.section("How it runs")
    how.flag("-q", dest="quiet", text="print only errors")
    how.flag("-json", text="print what was done as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser, _execute, argv, short_lived=True)


class _File(NamedTuple):
    """The file as it is."""

    path: str
    """Where it really lies: a link is followed, so that it stays and no copy is left behind it."""
    data: bytes
    mode: int


def _execute(arguments: Namespace) -> int:
    from gsi.cli.arguments import UsageError

    if arguments.nopassphrase and arguments.passout is not None:
        raise UsageError("-nopassphrase and -passout are mutually exclusive")
    shown = arguments.file or _default_path()
    file = _read(shown)
    is_pkcs12 = file.data[:1] == b"\x30"
    changed = _change_pkcs12(file, shown, arguments) if is_pkcs12 else _change_pem(file, shown, arguments)
    _write(file, changed, backup=arguments.backup)
    if arguments.json:
        import json

        done = {"path": shown, "form": "pkcs12" if is_pkcs12 else "pem", "locked": not arguments.nopassphrase}
        sys.stdout.write(json.dumps(done, indent=2) + "\n")
    elif not arguments.quiet:
        what = "taken away" if arguments.nopassphrase else "changed"
        sys.stdout.write(f"Pass phrase {what}: {printable(shown)}\n")
    return EXIT_OK


def _default_path() -> str:
    """Return the place of the user's key: X509_USER_KEY, else the first in ~/.globus that is there.

    Raises:
        CredentialError: MISSING: there is none.
    """
    import os

    from gsi.system.environ import get_variable, read_locations

    named = get_variable("X509_USER_KEY")
    if named is not None:
        return named
    places = [key for _, key in read_locations().user_credentials]
    for place in places:
        if os.path.exists(place):
            return place
    raise CredentialError(
        f"no private key in {', '.join(places) or 'any place, as there is no home directory'}",
        problem=CredentialProblem.KEY_MISSING,
        hint="name the file with -file or X509_USER_KEY",
    )


def _read(path: str) -> _File:
    import os
    import stat

    from gsi.credential import MAX_CREDENTIAL_BYTES
    from gsi.system.files import read_private

    data = read_private(path, max_bytes=MAX_CREDENTIAL_BYTES)
    real = os.path.realpath(path)
    return _File(real, data, stat.S_IMODE(os.stat(real).st_mode))


def _write(file: _File, changed: bytes, *, backup: bool) -> None:
    """Replace the file in one step, unless it has changed since it was read.

    Raises:
        CredentialError: UNWRITABLE; the file is as it was.
    """
    from gsi.system.files import read_private, write_public

    if backup:
        write_public(f"{file.path}.old", file.data, file.mode)
    if read_private(file.path, max_bytes=len(file.data)) != file.data:
        raise CredentialError(
            f"{file.path}: was changed by somebody else in the meantime",
            problem=CredentialProblem.UNWRITABLE,
            path=file.path,
            hint="look at it, then run the command again",
        )
    write_public(file.path, changed, file.mode)  # with the file's own mode, which read_private has found to be private


# --- Pass phrases ----------------------------------------------------------------------------------------------------


def _ask_old(arguments: Namespace, path: str) -> Passphrase:
    from gsi.cli.secret_source import read_secret

    return read_secret(arguments.passin, f"Enter old pass phrase for {printable(path)}:", option="-passin")


def _ask_new(arguments: Namespace, path: str, *, asked_old: bool) -> Passphrase | None:
    """Return the new pass phrase; None when there is to be none.

    Raises:
        CredentialError: NEEDS_PASSPHRASE or WRONG_PASSPHRASE: too short, empty, or typed in two ways.
    """
    from gsi.cli.secret_source import read_new_secret

    if arguments.nopassphrase:
        return None
    same_place = asked_old and arguments.passout == arguments.passin
    prompt = f"Enter new pass phrase for {printable(path)}:"
    new = read_new_secret(arguments.passout, prompt, option="-passout", line=2 if same_place else 1)
    if not new:
        raise CredentialError(
            "the new pass phrase is empty",
            problem=CredentialProblem.WRONG_PASSPHRASE,
            hint="-nopassphrase takes the pass phrase away, if that is what you want",
        )
    if len(new) < MIN_PASSPHRASE_BYTES:
        raise CredentialError(
            f"the new pass phrase is shorter than {MIN_PASSPHRASE_BYTES} bytes",
            problem=CredentialProblem.WRONG_PASSPHRASE,
            hint="choose a longer one; a few random words are easy to type and hard to guess",
        )
    return new


# --- The two forms ---------------------------------------------------------------------------------------------------


def _change_pem(file: _File, path: str, arguments: Namespace) -> bytes:
    """Return the file with its key under the new pass phrase and every other byte as it was."""
    from gsi.credential import located
    from gsi.keys import encode_private_key, is_encrypted, parse_private_key

    try:
        block = _find_key(file.data)
        asked = is_encrypted(block)
        key = parse_private_key(block, _ask_old(arguments, path) if asked else None)
        new = _ask_new(arguments, path, asked_old=asked)
        written = encode_private_key(key, passphrase=new)
    except (ParseError, CredentialError) as error:
        raise located(error, path) from error
    begin, end = _extent(file.data, block)
    return file.data[:begin] + written.rstrip(b"\n") + file.data[end:]


def _find_key(data: bytes) -> PEMBlock:
    """Return the one key among the blocks.

    Raises:
        ParseError: A block is malformed, or there are several keys.
        CredentialError: KEY_MISSING.
    """
    from gsi.pem import split_pem

    found = [block for block in split_pem(data, what="PEM file") if block.label.endswith("PRIVATE KEY")]
    if not found:
        raise CredentialError("no private key in it", problem=CredentialProblem.KEY_MISSING)
    if len(found) > 1:
        raise ParseError(
            f"{len(found)} private keys in it", what="PEM file", hint="put each into a file of its own first"
        )
    return found[0]


def _extent(data: bytes, block: PEMBlock) -> tuple[int, int]:
    """Return where a block, the only one of its label, begins and ends in the file, its last line end left out."""
    first, last = (f"-----{word} {block.label}-----".encode() for word in ("BEGIN", "END"))
    begin = data.index(first)
    return begin, data.index(last, begin) + len(last)


def _change_pkcs12(file: _File, path: str, arguments: Namespace) -> bytes:
    from gsi.credential import located
    from gsi.pkcs12 import check_pkcs12, parse_pkcs12_bag, relock_pkcs12

    try:
        if _is_der_key(file.data):
            raise CredentialError(
                "a private key in DER; here it must be in PEM",
                problem=CredentialProblem.UNSUPPORTED_KEY,
                hint="put it into PEM, under a pass phrase: openssl pkcs8 -topk8 -inform DER -in KEY -out NEW",
            )
        check_pkcs12(file.data)
        old = _ask_old(arguments, path)
        parse_pkcs12_bag(file.data, old)  # a wrong old pass phrase shows before a new one is asked for
        new = _ask_new(arguments, path, asked_old=True)
        return relock_pkcs12(file.data, old, new)
    except (ParseError, CredentialError) as error:
        raise located(error, path) from error


def _is_der_key(data: bytes) -> bool:
    """Tell by its beginning whether this is a bare key: its version, or what it is locked with and locked bytes."""
    from gsi import der

    try:
        reader = der.parse_one(data, what="private key")
        if reader.peek() == der.INTEGER:
            return reader.integer() in {0, 1}
        reader.take_raw(der.SEQUENCE)
        return reader.peek() == der.OCTET_STRING
    except ParseError:
        return False


if __name__ == "__main__":
    sys.exit(main())
