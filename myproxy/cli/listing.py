"""How a stored credential is shown to a person, or as JSON; the same by whoever asks.

    sys.stdout.write(describe(info, now))
    json.dumps(as_json(info, now))

Agrees with gct:myproxy/source/myproxy_info.c (myproxy_print_cred_info) in the labels and their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.cli.run import printable

if TYPE_CHECKING:
    from datetime import datetime

    from myproxy.protocol.messages import CredentialInfo

__all__ = ["as_json", "describe"]


def describe(info: CredentialInfo, now: datetime) -> str:
    """Lay out one credential as the C commands do."""
    from gsi.lifetime import format_timeleft

    lines = [("owner", info.owner)]
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
    lines.append(("  timeleft", format_timeleft(info.end_time - now)))
    return "".join(f"{label}: {printable(value)}\n" for label, value in lines)


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
