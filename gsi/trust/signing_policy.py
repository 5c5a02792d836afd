r"""The Globus signing policy: which subjects a CA may certify (`<hash>.signing_policy`); reads no file.

    policy = parse_signing_policy(text)
    policy.permits("/O=Grid/CN=Test CA", "/O=Grid/OU=Test/CN=Alice")

Grammar, as the C parser (gct: oldgaa, gsi_callback) was seen to read it: words parted by blanks or line ends, a value
may stand in single quotes and may then hold blanks and line ends, `#` begins a comment where a word could begin.

    file      = *( 1*principal 1*right )
    principal = "access_id_CA" "X509" value  /  "access_id_ANYBODY"
    right     = ("pos_rights" / "neg_rights") "globus" "CA:sign" *( "cond_subjects" "globus" value )

The value of cond_subjects is one glob, or several, each in double quotes; of several conditions all must hold. Matching
ignores the case of letters and the spelling of UID=USERID and E=Email=emailAddress. The FIRST `*` of a glob stands for
one or more characters, every other `*`, and `?` and `[`, for themselves: the template shipped with the C tools
documents `?`, its code does not have it, and a policy must not permit more here than it permits there. A slash within
a value may be written as it is or, as OpenSSL 3.0.22 shows it, behind a backslash (that C reader drops the backslash
and so matches neither). A glob without such a backslash is compared with the earlier form of the name, in which any
slash may be one within a value; with one, with the present form, in which `host\/*` means a value and never a name
that goes on with another part. To deny, either way of reading is enough.

Where this reader is stricter than C: `access_id_ANYBODY` permits nothing, rights without a condition permit nothing,
a `neg_rights` that matches denies wherever it stands, and text outside the double quotes is an error. A backslash
stands for itself, so that the `\xC3` of one-line names can be written. More lenient in one thing: the last line need
not end with a line end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from gsi.errors import ParseError
from gsi.names import canonical_oneline, fold_attribute_types

__all__ = ["MAX_POLICY_BYTES", "SigningPolicy", "parse_signing_policy"]

MAX_POLICY_BYTES: Final = 64 << 10  # the longest one distributed by the IGTF has some 4 kB
_WHAT: Final = "signing policy"
_TOKEN: Final = re.compile(r"[ \t\r\n\v\f]*(?:(#[^\n]*)|'([^']*)'|([^ \t\r\n\v\f']+))?")
_QUOTED: Final = re.compile(r'[ \t\r\n,]*"([^"]*)"')
_ESCAPE: Final = re.compile(r"\\[/+]")


class _Subject(NamedTuple):
    """A subject in both one-line forms, folded."""

    shown: str
    """With a backslash before each slash within a value, as far as it came with one."""
    plain: str
    """Without those that change nothing."""


@dataclass(frozen=True, slots=True)
class _Glob:
    """One pattern, folded; `suffix` is None for a pattern without `*`."""

    prefix: str
    suffix: str | None
    is_shown: bool
    """Whether it writes a slash or plus within a value with a backslash."""

    def matches(self, subject: _Subject) -> bool:
        """Tell whether the subject is meant, in the form in which the pattern is written."""
        return self._fits(subject.shown if self.is_shown else subject.plain)

    def may_match(self, subject: _Subject) -> bool:
        """Tell whether the subject is meant in either form."""
        return self.matches(subject) or (self.is_shown and self._without_escapes().matches(subject))

    def _without_escapes(self) -> _Glob:
        suffix = None if self.suffix is None else canonical_oneline(self.suffix)
        return _Glob(canonical_oneline(self.prefix), suffix, is_shown=False)

    def _fits(self, folded: str) -> bool:
        if self.suffix is None:
            return folded == self.prefix
        shortest = len(self.prefix) + 1 + len(self.suffix)
        return len(folded) >= shortest and folded.startswith(self.prefix) and folded.endswith(self.suffix)


@dataclass(frozen=True, slots=True)
class _Right:
    """One `pos_rights` or `neg_rights` with its conditions, all of which must hold; None when one is not known."""

    positive: bool
    conditions: tuple[tuple[_Glob, ...], ...] | None

    def permits(self, subject: _Subject) -> bool:
        """Tell whether this surely gives the right: a condition is there, and every one holds."""
        return (
            self.positive
            and bool(self.conditions)
            and all(any(glob.matches(subject) for glob in globs) for globs in self.conditions or ())
        )

    def denies(self, subject: _Subject) -> bool:
        """Tell whether this may take the right: no known condition speaks against it."""
        return not self.positive and all(
            any(glob.may_match(subject) for glob in globs) for globs in self.conditions or ()
        )


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """What one signing policy file says. Build it with `parse_signing_policy`."""

    entries: tuple[tuple[frozenset[str], tuple[_Right, ...]], ...]

    def permits(self, ca_oneline: str, subject_oneline: str) -> bool:
        """Tell whether the CA of this one-line name may certify the subject of that one.

        No entry for the CA, or none that matches, is a no; a matching `neg_rights` overrides everything.
        """
        issuer = canonical_oneline(ca_oneline)
        subject = _Subject(fold_attribute_types(subject_oneline), canonical_oneline(subject_oneline))
        permitted = False
        for authorities, rights in self.entries:
            if issuer not in authorities:
                continue
            for right in rights:
                if right.denies(subject):
                    return False
                permitted = permitted or right.permits(subject)
        return permitted

    def names(self, ca_oneline: str) -> bool:
        """Tell whether an entry is about this CA at all."""
        issuer = canonical_oneline(ca_oneline)
        return any(issuer in authorities for authorities, _ in self.entries)


def parse_signing_policy(text: str | bytes) -> SigningPolicy:
    """Return what the text of a `.signing_policy` file says.

    An empty file is a policy that permits nothing.

    Raises:
        ParseError: The text leaves the grammar anywhere; nothing of such a file may be used.
    """
    if len(text) > MAX_POLICY_BYTES:
        raise ParseError(f"{_WHAT}: {len(text)} bytes, limit {MAX_POLICY_BYTES}", what=_WHAT, offset=0)
    return _Parser(text.decode("latin-1") if isinstance(text, bytes) else text).parse()


class _Parser:
    """Recursive descent over the words of the file."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = _split(text)
        self._next = 0

    def parse(self) -> SigningPolicy:
        entries: list[tuple[frozenset[str], tuple[_Right, ...]]] = []
        while self._next < len(self._words):
            authorities = self._principals()
            rights: list[_Right] = []
            while self._peek() in {"pos_rights", "neg_rights"}:
                right = self._right()
                if right is not None:
                    rights.append(right)
            entries.append((frozenset(authorities), tuple(rights)))
        return SigningPolicy(tuple(entries))

    def _principals(self) -> list[str]:
        authorities: list[str] = []
        if not self._peek().startswith("access_id_"):
            self._fail(f"access_id_CA expected, {self._peek()[:40]!r} found")
        while self._peek().startswith("access_id_"):
            kind = self._take()
            if kind == "access_id_ANYBODY":
                continue
            form, value = self._take(), self._take()
            if kind == "access_id_CA" and form == "X509":
                authorities.append(canonical_oneline(value))
        if self._peek() not in {"pos_rights", "neg_rights"}:
            self._fail("pos_rights or neg_rights expected after access_id_CA")
        return authorities

    def _right(self) -> _Right | None:
        """Read one right; None when it is none about signing certificates."""
        positive = self._take() == "pos_rights"
        concerns_signing = (self._take(), self._take()) == ("globus", "CA:sign")
        conditions: list[tuple[_Glob, ...]] = []
        all_known = True
        while self._peek().startswith("cond_"):
            kind, authority, value = self._take(), self._take(), self._take()
            if kind == "cond_subjects" and authority == "globus":
                conditions.append(self._globs(value))
            else:
                all_known = False
        if not concerns_signing:
            return None
        return _Right(positive, tuple(conditions) if all_known else None)

    def _globs(self, value: str) -> tuple[_Glob, ...]:
        if '"' not in value:
            return (_make_glob(value),)
        globs: list[_Glob] = []
        position = 0
        while found := _QUOTED.match(value, position):
            globs.append(_make_glob(found[1]))
            position = found.end()
        if value[position:].strip(" \t\r\n,"):
            self._fail(f"text outside the double quotes of a condition: {value[position:][:40]!r}")
        return tuple(globs)

    def _peek(self) -> str:
        return self._words[self._next][0] if self._next < len(self._words) else ""

    def _take(self) -> str:
        if self._next == len(self._words):
            self._fail("the file ends inside an entry")
        self._next += 1
        return self._words[self._next - 1][0]

    def _fail(self, why: str) -> NoReturn:
        offset = self._words[self._next][1] if self._next < len(self._words) else len(self._text)
        _fail(self._text, offset, why)


def _make_glob(pattern: str) -> _Glob:
    # The fold of names is for text; of a pattern it would change what stands beside the `*`.
    prefix, star, suffix = fold_attribute_types(pattern.lstrip(" \t\r\n")).partition("*")
    return _Glob(prefix, suffix if star else None, is_shown=_ESCAPE.search(pattern) is not None)


def _split(text: str) -> list[tuple[str, int]]:
    """Return the words of the file with their offsets; quotes taken off, comments left out."""
    words: list[tuple[str, int]] = []
    if "\0" in text:
        _fail(text, text.index("\0"), "a NUL byte")
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None or found.end() == position:
            _fail(text, position, "a single quote that is never closed")
        position = found.end()
        word = found[2] if found[2] is not None else found[3]
        if word is not None:
            words.append((word, found.start(2) if found[2] is not None else found.start(3)))
        elif found[1] is None and position < len(text):
            _fail(text, position, "a single quote that is never closed")
    return words


def _fail(text: str, offset: int, why: str) -> NoReturn:
    line = text.count("\n", 0, offset) + 1
    raise ParseError(
        f"{_WHAT}: line {line}: {why}",
        what=_WHAT,
        offset=offset,
        hint="restore the file from the CA's distribution; no certificate of this CA is accepted until then",
    )
