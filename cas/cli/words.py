"""What stands on the command line without a dash, read word by word in the forms of GT; knows no rights and no server.

    words = Words(PROG, FORMS, arguments.words)
    match words.pick(KINDS):
        case "user":
            group, nickname = words.take("GROUP"), words.take("NICKNAME")
    words.end()

A thing is named as GT does: `NICKNAME`; an object `NAMESPACE NAME`, an action `TYPE ACTION`. Here an object may also be
written `NAMESPACE|NAME` and an action `TYPE/ACTION`. Of what is missing, too much or not known the error says which
word, and shows the form that was begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cas.policy.model import SERVER, Kind, parse_ref
from gsi.cli.arguments import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cas.policy.model import Ref

__all__ = ["Words"]


class Words:
    """The words of one command line, from the first to the last.

    Args:
        prog: The command.
        forms: Its forms, as its usage has them: `user GROUP NICKNAME`.
        words: The words.
    """

    def __init__(self, prog: str, forms: Sequence[str], words: Sequence[str]) -> None:
        self._prog = prog
        self._forms = forms
        self._words = list(words)
        self._at = 0

    @property
    def left(self) -> int:
        """How many words are left."""
        return len(self._words) - self._at

    def is_next(self, word: str) -> bool:
        """Say whether this is the next word."""
        return self._words[self._at : self._at + 1] == [word]

    def take(self, what: str, *, may_be_empty: bool = False) -> str:
        """Return the next word.

        Raises:
            UsageError: There is none, or it is empty.
        """
        if not self.left:
            behind = f" behind {self._words[self._at - 1]!r}" if self._at else ""
            raise self._odd(f"{what} is missing{behind}")
        word = self._words[self._at]
        if not word and not may_be_empty:
            raise self._odd(f"{what} is empty")
        self._at += 1
        return word

    def pick(self, what: str, choices: Sequence[str]) -> str:
        """Return the next word, which is one of a few.

        Raises:
            UsageError: It is another one.
        """
        word = self.take(what)
        if word in choices:
            return word
        meant = [one for one in choices if one.lower() == word.lower()]
        self._at -= 1
        raise self._odd(
            f"{word[:80]!r} is no {what}; {'it is written' if meant else 'one of'} {', '.join(meant or choices)}"
        )

    def take_kind(self, kinds: Sequence[Kind] = tuple(Kind)) -> Kind:
        """Return the kind of thing that the next word says.

        Raises:
            UsageError: It says none of these.
        """
        return Kind(self.pick("KIND", [one.value for one in kinds]))

    def take_ref(self, kind: Kind, *, last: int = 0) -> Ref:
        """Return the thing that the next words name.

        Args:
            kind: What it is.
            last: How many words follow it; names of service types may hold slashes, so these tell `TYPE ACTION` from
                `TYPE/ACTION`.

        Raises:
            UsageError: A word is missing.
            ParseError: They name nothing.
        """
        if kind is Kind.SERVER:
            return SERVER
        if kind is Kind.OBJECT:
            first = self.take("NAMESPACE")
            return parse_ref(kind, [first] if "|" in first else [first, self.take("NAME")])
        if kind is Kind.SERVICE_ACTION:
            first = self.take("TYPE")
            return parse_ref(kind, [first, self.take("ACTION")] if self.left > last or "/" not in first else [first])
        return parse_ref(kind, [self.take("NAME")])

    def end(self) -> None:
        """Insist that no word is left.

        Raises:
            UsageError: One is.
        """
        if self.left:
            word = self._words[self._at]
            raise self._odd(f"{word[:80]!r} is too much")

    def _odd(self, message: str) -> UsageError:
        """Return an error whose hint is the forms that begin as the words do."""
        fits = {form: self._fits(form) for form in self._forms}
        best = max(fits.values())
        shown = [form for form in self._forms if fits[form] == best and best >= 0] or list(self._forms)
        hint = f"'{self._prog} -help' lists the forms" if len(shown) > 3 else f"{self._prog} {' or '.join(shown)}"
        return UsageError(message, hint=hint)

    def _fits(self, form: str) -> int:
        """Return how many of the words that were read a form has itself; less than 0 where it has others there."""
        found = 0
        for expected, word in zip(form.split(), self._words[: self._at], strict=False):
            if expected.endswith("...") or expected.startswith("["):
                return found
            if expected.isupper():
                continue
            if word not in expected.split("|"):
                return -1
            found += 1
        return found
