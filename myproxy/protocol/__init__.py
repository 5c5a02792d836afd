"""MYPROXYv2 without I/O: messages (`messages`), their bytes (`codec`), their order (`client`, `server`).

    session = ServerSession()
    session.receive_data(bytes_from_the_peer)
    match session.next_event():
        case RequestReceived(request): out = session.send_response(Response.ok())

Both sessions take bytes in any portions and give the same events; every `send_` method returns the bytes of one
message, which the owner hands to the kernel in one piece. No socket, no TLS, no clock, no decision.
"""

from __future__ import annotations

__all__: list[str] = []
