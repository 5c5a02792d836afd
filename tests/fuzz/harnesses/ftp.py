"""gsi.context.ftp: lines, replies and commands of a control channel, fed in pieces."""

from __future__ import annotations

import contextlib
from typing import Final

from gsi.context.ftp import LineReader, ReplyAssembler, parse_command, parse_data_address
from gsi.errors import GridError
from tests.fuzz.rule import Target, each

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"


def _feed(data: bytes) -> None:
    lines, replies = LineReader(), ReplyAssembler()
    for at in range(0, len(data), 11):
        lines.feed(data[at : at + 11])
        while (line := lines.next_line()) is not None:
            with contextlib.suppress(GridError):
                parse_command(line)
            reply = replies.add(line)
            if reply is not None:
                with contextlib.suppress(GridError):
                    parse_data_address(reply, host="::1")


TARGET: Final[Target] = each(_feed)
