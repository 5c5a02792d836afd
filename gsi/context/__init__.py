"""GSI security contexts: authenticate, delegate and protect messages as the C mechanism does, without its library.

The two sides are `Initiator` (`initiator`) and `Acceptor` (`acceptor`), sans-IO, with calls shaped like GSS-API's:

    context = Initiator(credential, anchors, target=Target.parse("host@data.example.org"), now=now)
    step = context.step()                           # then step(token) until step.done
    token = context.wrap(b"message")
    context.unwrap(token)

How tokens travel is `framing`; over a blocking stream `stream` does it all. Services: `ftp` and `gridftp` (the FTP
control channel, RFC 2228), `gatekeeper` (ping). Nothing is imported until asked for.
"""

from __future__ import annotations

__all__: list[str] = []
