"""Bytes to and from peers: streams (`stream`, `memory`), TLS that admits proxies (`tls`), the accept loop (`serve`).

Nothing here knows a protocol above TLS. Nothing is imported until asked for: a client needs no asyncio, a server no
blocking streams.
"""

from __future__ import annotations

__all__: list[str] = []
