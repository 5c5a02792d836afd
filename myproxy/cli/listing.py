"""How a stored credential is shown to a person, or as JSON; the same by whoever asks.

    sys.stdout.write(describe(info, now))
    json.dumps(as_json(info, now))

Agrees with gct:myproxy/source/myproxy_creds.c (myproxy_print_cred_info) in the labels, their order and the time left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.cli.run import printable

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from myproxy.protocol.messages import CredentialInfo

__all__ = ["as_json", "describe"]


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
    return "".join(f"{label}: {printable(value)}\n" for label, value in lines)


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
