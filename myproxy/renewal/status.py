"""What is told of the agent's work: read from the configuration, the files and the notes; the agent need not run.

rows = take_status(config, now=now)
print(format_table(rows, now=now))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from myproxy.renewal.config import Kind, Proof
from myproxy.renewal.notes import Notebook
from myproxy.renewal.schedule import State
from myproxy.renewal.slot import Slot

if TYPE_CHECKING:
    from datetime import datetime

    from myproxy.renewal.config import RenewalConfig

__all__ = ["Row", "format_table", "take_status"]


class Row(NamedTuple):
    """One entry.

    Attributes:
        name: Its name.
        state: How it is.
        path: Its file.
        source: Where it comes from.
        identity: Whose it is; empty where that is not known.
        not_after: When it ends.
        due: When it is renewed, or tried again; None for not by itself.
        failures: How often that has failed in a row.
        renewed: When the agent last did, seconds since 1970; 0 for never.
        error: What went wrong last; empty for nothing.
        untold: What nobody could be told yet: way and error.
    """

    name: str
    state: State
    path: str
    source: str
    identity: str
    not_after: datetime | None
    due: datetime | None
    failures: int
    renewed: float
    error: str
    untold: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return it as what JSON can say."""
        fields: dict[str, object] = self._asdict()
        for key in ("not_after", "due"):
            moment = getattr(self, key)
            fields[key] = None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        fields["renewed"] = int(self.renewed) or None
        fields["untold"] = list(self.untold)
        return fields


def take_status(config: RenewalConfig, *, now: datetime) -> list[Row]:
    """Return how every entry is, by name."""
    notes = Notebook(config.state)
    return [_row(config, Slot(entry, notes.load(name)), now) for name, entry in sorted(config.credential.items())]


def format_table(rows: list[Row], *, now: datetime) -> str:
    """Return the rows for a person: a line each, and one more for what went wrong."""
    lines = []
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        left = "" if row.not_after is None else f", {_span((row.not_after - now).total_seconds())} left"
        due = "" if row.due is None else f", next {max(row.due, now):%Y-%m-%d %H:%M:%S} UTC"
        lines.append(f"{row.name:<{width}}  {row.state.value}{left}{due}")
        if row.state is not State.OK and row.error:
            lines.append(f"{'':<{width}}  {row.error}")
        lines += [f"{'':<{width}}  not told by {each}" for each in row.untold]
    return "".join(line + "\n" for line in lines)


def _row(config: RenewalConfig, slot: Slot, now: datetime) -> Row:
    entry = slot.entry
    slot.look()
    needs_old = config.source[entry.source].kind is Kind.MYPROXY and entry.proof is Proof.RENEWAL
    slot.plan(now, can_renew_expired=not needs_old)
    looked = slot.looked
    return Row(
        entry.name,
        slot.state(now),
        entry.path,
        entry.source,
        "" if looked is None else looked.identity,
        None if looked is None else looked.life.not_after,
        slot.due,
        slot.note.failures,
        slot.note.renewed,
        slot.error or slot.note.error,
        tuple(f"{each.way}: {each.error}" for each in slot.note.deliveries if each.error),
    )


def _span(seconds: float) -> str:
    whole = max(int(seconds), 0)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
