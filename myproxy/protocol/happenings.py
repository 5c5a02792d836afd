"""The lines by which INFO tells what happened to the credentials listed; ours, and only for those who ask (`codec`).

    HISTORY=1                                                # the server tells
    USED=0 1795219581 logon 192.0.2.7                        # of the first credential listed: when, what, whence
    EVENT=1795219581 1795210000 3 no logon 192.0.2.9 name    # last, first, how often, done?, what, whence, which

No C client asks (`WANTS_HISTORY=1`), so none is answered so; one that did would pass over the lines, as none of their
names is among those that it searches for. Kinds that are not known are taken as they are.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from myproxy.protocol.messages import CredentialInfo, Happening
from myproxy.protocol.values import bad_response, encode_shown, parse_number, parse_shown, parse_time, unix_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MAX_HAPPENINGS", "history_lines", "parse_history"]

MAX_HAPPENINGS: Final = 200
"""What one answer tells of what was done, and as many of what was refused: pages; users look for the last days."""
_MOST: Final = 4096
"""Lines that a client takes: ten times what our server sends."""
_VERDICTS: Final = {b"yes": True, b"no": False}


def history_lines(credentials: Sequence[CredentialInfo], history: Iterable[Happening]) -> list[tuple[str, bytes]]:
    """Return the lines that tell it."""
    lines = [("HISTORY", b"1")]
    for number, info in enumerate(credentials):
        if info.last_use is not None:
            use = info.last_use
            lines.append(("USED", b"%d %d %b %b" % (number, unix_seconds(use.at), _word(use.kind), _word(use.address))))
    for one in history:
        verdict = b"yes" if one.permitted else b"no"
        numbers = b"%d %d %d" % (unix_seconds(one.at), unix_seconds(one.first), one.count)
        words = b" ".join((numbers, verdict, _word(one.kind), _word(one.address), encode_shown(one.name or "")))
        lines.append(("EVENT", words))
    return lines


def parse_history(
    lines: Sequence[bytes], credentials: tuple[CredentialInfo, ...]
) -> tuple[tuple[CredentialInfo, ...], tuple[Happening, ...] | None]:
    """Return the credentials with their last use, and what happened; None where the server does not tell.

    Raises:
        RemoteProtocolError: A line cannot be read.
    """
    if b"HISTORY=1" not in lines:
        return credentials, None
    told = list(credentials)
    for line in lines:
        if line.startswith(b"USED="):
            number, use = _parse_use(line.removeprefix(b"USED="))
            if not 0 <= number < len(told):
                raise bad_response("USED is about no credential listed")
            told[number] = dataclasses.replace(told[number], last_use=dataclasses.replace(use, name=told[number].name))
    events = [line.removeprefix(b"EVENT=") for line in lines if line.startswith(b"EVENT=")]
    if len(events) > _MOST:
        raise bad_response(f"it tells more than {_MOST} events")
    return tuple(told), tuple(map(_parse_event, events))


def _parse_use(value: bytes) -> tuple[int, Happening]:
    parts = value.split(b" ")
    if len(parts) != 4:
        raise bad_response("USED is not four words")
    at = parse_time("USED", parts[1])
    use = Happening(at, parse_shown(parts[2]), True, parse_shown(parts[3]), None, 1, at)
    return parse_number("USED", parts[0], bad_response), use


def _parse_event(value: bytes) -> Happening:
    parts = value.split(b" ", 6)
    if len(parts) != 7 or parts[3] not in _VERDICTS:
        raise bad_response("EVENT is not seven words")
    return Happening(
        parse_time("EVENT", parts[0]),
        parse_shown(parts[4]),
        _VERDICTS[parts[3]],
        parse_shown(parts[5]),
        parse_shown(parts[6]) or None,
        parse_number("EVENT", parts[2], bad_response),
        parse_time("EVENT", parts[1]),
    )


def _word(text: str) -> bytes:
    """Return a text as one word."""
    return encode_shown("_".join(text.split()) or "-")
