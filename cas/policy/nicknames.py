r"""Nicknames and names of groups: what may be one, and which look alike; knows no other name.

    check_nickname("alice", "user")                    # what is enrolled from now on
    check_stored(name, "user")                         # what is read: it was enrolled by the rules of its time
    skeleton("\u0430lice") == skeleton("alice")        # the first begins with a Cyrillic letter

A nickname is what an administrator reads before granting something. So it is written in one way (NFKC), in one of the
scripts that people write today, without what cannot be seen; and within a kind no two may have one skeleton, in which
letters that look alike are equal.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

from gsi.errors import ParseError

__all__ = ["MAX_NICKNAME_CHARS", "check_nickname", "check_stored", "skeleton"]

MAX_NICKNAME_CHARS: Final = 255
"""The longest nickname; the databases of the first servers held as many."""

_FORBIDDEN: Final = frozenset('|,"\\/*?<>')
"""What separates names in commands and files, or stands for others."""

_UNSEEN: Final = frozenset({"Cc", "Cs"})
"""Categories of characters that are none."""

_TOGETHER: Final = (
    frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"}),
    frozenset({"CJK", "HANGUL"}),
    frozenset({"CJK", "BOPOMOFO"}),
)
"""Scripts that are written together."""

_SCRIPTS: Final = frozenset(
    {"ARABIC", "ARMENIAN", "BENGALI", "BOPOMOFO", "CJK", "CYRILLIC", "DEVANAGARI", "ETHIOPIC", "GEORGIAN", "GREEK"}
    | {"GUJARATI", "GURMUKHI", "HANGUL", "HEBREW", "HIRAGANA", "IDEOGRAPHIC", "KANNADA", "KATAKANA", "KHMER", "LAO"}
    | {"KATAKANA-HIRAGANA", "LATIN", "MALAYALAM", "MYANMAR", "ORIYA", "SINHALA", "TAMIL", "TELUGU", "THAANA", "THAI"}
    | {"TIBETAN"}
)
"""The recommended scripts of UAX 31, table 5. Some of the others, as Lisu and Cherokee, are full of Latin letters."""

_NO_LETTERS: Final = frozenset({"SMALL CAPITAL", "CLICK"})
"""In the names of Latin characters that no language is written with, and that look like letters and strokes."""

_OBSOLETE: Final = frozenset((*range(0xA722, 0xA78B), *range(0xAB30, 0xAB70)))
"""Latin letters of Egyptologists, medieval scribes and dialectologists, some of which look like plain ones."""

_CAPITALS: Final = (
    "0391A 0392B 0395E 0396Z 0397H 0399I 039AK 039CM 039DN 039FO 03A1P 03A4T 03A5Y 03A7X 0405S 0406I 0408J 0410A "
    "0412B 0415E 041AK 041CM 041DH 041EO 0420P 0421C 0422T 0423Y 0425X 050CG 051AQ 051CW 054FS "
)
"""Capitals that look like others whose small letters do not: code point and Latin letter."""

_SMALL: Final = (
    "0131i 0185b 0192f 0237j 0251a 0261g 0269i 03B1a 03B2b 03B3y 03B5e 03B6z 03B7n 03B9i 03BAk 03BCu 03BDv 03BFo "
    "03C1p 03C3o 03C4t 03C5u 03C7x 03C9w 0430a 0432b 0433r 0435e 043Ak 043Cm 043Dh 043Eo 043Fn 0440p 0441c 0442t "
    "0443y 0445x 044Cb 0451e 0455s 0456i 0457i 0458j 0475v 0491r 04AFy 04BBh 04BDe 04CFl 0501d 051Bq 051Dw 0563q "
    "0566q 0570h 0575j 0578n 057Cn 057Du 0581g 0585o "
)
"""Small letters after the folding of case: Greek, Cyrillic, Armenian and odd Latin ones beside the plain ones."""

_KANA: Final = (
    "30D83078 30D93079 30DA307A 30EA308A 30CB4E8C 30A85DE5 30AB529B 30ED53E3 30C8535C 30BF5915 30CF516B 30AA624D "
    "30CC53C8 30DF4E09"
)
"""Katakana that look like Hiragana or Chinese characters: code point, and that of the other one."""

_ARABIC: Final = "0649064A 06CC064A 06A90643 06AA0643 06BE0647 06C10647 06D50647"
"""Yeh, Kaf and Heh of Persian, Kurdish and Urdu, which look like the Arabic ones in some places of a word or in all."""

_ALIKE: Final = str.maketrans("i10", "llo")
"""A great I is a small l in many types, and so is a one; nulls are round (UTS 39, confusables.txt)."""


def _table(text: str) -> dict[int, str]:
    return {int(word[:4], 16): word[4] for word in text.split()}


_PLAIN_CAPITALS: Final = _table(_CAPITALS)
_PLAIN_SMALL: Final = _table(_SMALL) | {
    int(word[:4], 16): chr(int(word[4:], 16)) for word in f"{_KANA} {_ARABIC}".split()
}


def check_nickname(name: str, what: str) -> None:
    """Check what something is to be called.

    Args:
        name: The nickname.
        what: What it is for, as in "user".

    Raises:
        ParseError: It could not be read, typed or told from others; the message says why.
    """
    check_stored(name, what)
    if name.isascii():
        bad = next((char for char in name if char in _FORBIDDEN or not " " <= char <= "~"), None)
    else:
        bad = next((char for char in name if char in _FORBIDDEN or not _is_plain(char)), None)
    if bad is not None:
        raise _refuse(name, f"it holds U+{ord(bad):04X}")
    if name[0] in " -" or name[-1] == " " or "  " in name:
        raise _refuse(name, "it begins with a dash or has blanks at an end or together")
    if name.isascii():
        return
    if unicodedata.normalize("NFKC", name) != name:
        raise _refuse(name, "its characters have a plainer form", unicodedata.normalize("NFKC", name))
    found = frozenset(_script(char) for char in name if not char.isascii() or char.isalpha())
    if not found <= _SCRIPTS:
        raise _refuse(name, f"nobody writes names in {', '.join(sorted(found - _SCRIPTS)).lower()} here")
    if len(found) > 1 and not any(found <= together for together in _TOGETHER):
        raise _refuse(name, f"it mixes scripts ({', '.join(sorted(found)).lower()})")


def check_stored(name: str, what: str) -> None:
    """Check what something is called that may have been enrolled long ago, when other scripts were taken.

    Args:
        name: The nickname.
        what: What it is for, as in "user".

    Raises:
        ParseError: Nothing was ever called so: nothing at all, or what separates names.
    """
    if not name or len(name) > MAX_NICKNAME_CHARS:
        raise ParseError(f"a {what} is called by 1 to {MAX_NICKNAME_CHARS} characters", what="nickname")
    bad = next((char for char in name if char in _FORBIDDEN or unicodedata.category(char) in _UNSEEN), None)
    if bad is not None:
        raise _refuse(name, f"it holds U+{ord(bad):04X}")


@lru_cache(maxsize=4096)
def skeleton(name: str) -> str:
    """Return the form in which nicknames are equal that look alike."""
    if name.isascii():
        folded = name.lower()
    else:
        folded = unicodedata.normalize("NFKC", name).translate(_PLAIN_CAPITALS).casefold()
        folded = unicodedata.normalize("NFKC", folded.translate(_PLAIN_SMALL))
    return folded.replace("rn", "m").replace("vv", "w").translate(_ALIKE)


def _is_plain(char: str) -> bool:
    """Say whether a character is a letter, a mark within a script, an ASCII character."""
    if char.isascii():
        return " " <= char <= "~"
    if any(words in unicodedata.name(char, "") for words in _NO_LETTERS) or ord(char) in _OBSOLETE:
        return False
    kind = unicodedata.category(char)
    return kind in {"Lu", "Ll", "Lt", "Lo"} or (kind in {"Mn", "Mc"} and _script(char) != "COMBINING")


def _script(char: str) -> str:
    """Return the first word of a character's name, which for letters is the script."""
    return unicodedata.name(char, "unnamed").split(" ", 1)[0]


def _refuse(name: str, why: str, better: str | None = None) -> ParseError:
    hint = None if better is None else f"write {better!r}"
    return ParseError(f"nothing can be called {name[:80]!r}: {why}", what="nickname", hint=hint)
