"""How a stored credential is shown to a person, or as JSON; the same by whoever asks.

    sys.stdout.write(describe(info, now))
    sys.stdout.write(describe_history(account.history))
    json.dumps(as_json("alice", info, now) | history_as_json(info, account.history))

Agrees with gct:myproxy/source/myproxy_creds.c (myproxy_print_cred_info) in the labels, their order and the time left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.cli.run import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from myproxy.protocol.messages import CredentialInfo, Happening

__all__ = ["as_json", "describe", "describe_history", "history_as_json"]


_TIME: Final = "%Y-%m-%d %H:%M:%S UTC"


def describe(info: CredentialInfo, now: datetime, *, username: str | None = None) -> str:
    """Lay out one credential as the C commands do, with the account name where it is not said before."""
    lines = [("owner", info.owner)]
    if username is not None:
        lines.append(("username", username))
    lines += [
        (f"  {label}", value)
        for label, value in (
            ("name", info.name),
            ("description", info.description),
            ("retrieval policy", info.retriever),
            ("renewal policy", info.renewer),
            ("key retrieval policy", info.key_retrievers),
            ("trusted retrieval policy", info.trusted_retriever),
            ("locked", info.lock_message),
        )
        if value is not None
    ]
    lines.append(("  timeleft", _format_timeleft(info.end_time - now)))
    if info.last_use is not None:
        use = info.last_use
        lines.append(("  last used", f"{use.at:{_TIME}} from {use.address} ({use.kind})"))
    return "".join(f"{label}: {printable(value)}\n" for label, value in lines)


def describe_history(history: Iterable[Happening]) -> str:
    """Lay out what happened to the credentials, a line each."""
    lines = []
    for one in history:
        verdict = "done" if one.permitted else "refused"
        often = f", {one.count} times since {one.first:{_TIME}}" if one.count > 1 else ""
        name = f" {one.name}" if one.name else ""
        lines.append(f"{one.at:{_TIME}}: {one.kind}{name} {verdict} from {one.address}{often}")
    return "".join(f"  {printable(line)}\n" for line in lines)


def _format_timeleft(left: timedelta) -> str:
    """Return the time left, and over a day the days: of the seconds, not of the hours as grid-proxy-info counts."""
    seconds = max(0, left.days * 86400 + left.seconds)
    text = f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
    return f"{text}  ({seconds / 86400:.1f} days)" if seconds > 86400 else text


def as_json(username: str, info: CredentialInfo, now: datetime) -> dict[str, object]:
    """Return the same as a JSON object: texts or null, times in ISO 8601 (UTC), `timeleft` in seconds."""
    return {
        "username": username,
        "name": info.name,
        "owner": info.owner,
        "description": info.description,
        "retrievers": info.retriever,
        "renewers": info.renewer,
        "key_retrievers": info.key_retrievers,
        "trusted_retrievers": info.trusted_retriever,
        "locked": info.lock_message,
        "not_before": info.start_time.isoformat(),
        "not_after": info.end_time.isoformat(),
        "timeleft": int((info.end_time - now).total_seconds()),
    }


def history_as_json(info: CredentialInfo, history: Iterable[Happening] | None) -> dict[str, object]:
    """Return the last use of a credential and what happened to it, to go with `as_json`; null where nobody tells."""
    return {
        "last_used": None if info.last_use is None else _as_json(info.last_use),
        "history": None if history is None else [_as_json(one) for one in history if one.name == info.name],
    }


def _as_json(one: Happening) -> dict[str, object]:
    return {
        "at": one.at.isoformat(),
        "kind": one.kind,
        "permitted": one.permitted,
        "address": one.address,
        "count": one.count,
        "first": one.first.isoformat(),
    }
