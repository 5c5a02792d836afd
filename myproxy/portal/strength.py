"""Whether a new pass phrase is long enough and not one of those that are guessed first; no rules of composition.

    problem = find_weakness("correct horse", about=("alice",))       # "" where nothing is wrong

As NIST SP 800-63B section 5.1.1.2 and OWASP ASVS 2.1 have it. The lists of common pass phrases and the estimate are
zxcvbn's. What the MyProxy server's own policy says comes on top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_CHARS", "MIN_CHARS", "find_weakness"]

MIN_CHARS: Final = 12
MAX_CHARS: Final = 128
_LOOKED_AT: Final = 72  # zxcvbn takes no more; what it finds in these does not get better behind them
_LEAST_SCORE: Final = 2  # of 4: over a million guesses


def find_weakness(text: str, *, about: Sequence[str] = ()) -> str:
    """Return what is wrong with a new pass phrase, in words for its user; empty where nothing is.

    Args:
        text: The pass phrase.
        about: What strangers know and try first: the user's name.
    """
    if len(text) < MIN_CHARS:
        return f"The new pass phrase needs at least {MIN_CHARS} characters; several words are good."
    if len(text) > MAX_CHARS:
        return f"The new pass phrase can have at most {MAX_CHARS} characters."
    from zxcvbn import zxcvbn  # half a second, for those who need it

    judged = zxcvbn(text[:_LOOKED_AT], user_inputs=list(about))
    if judged["score"] >= _LEAST_SCORE:
        return ""
    feedback = judged["feedback"]
    advice = " ".join([feedback["warning"], *feedback["suggestions"]]).strip()
    return f"The new pass phrase is one of those that are guessed first. {advice}".strip()
