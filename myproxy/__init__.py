"""The credential repository: MYPROXYv2 client and server. This front door holds names, no code of its own.

    import gsi, myproxy

    anchors = gsi.TrustDirectory("/etc/grid-security/certificates").anchors()
    client = myproxy.MyProxyClient(myproxy.ServerAddress.parse("myproxy.example.org"), anchors)
    request = myproxy.Request(myproxy.Command.GET, "alice", gsi.Passphrase("..."), lifetime=timedelta(hours=12))
    proxy = client.get(request, gsi.generate_key())

Every name is loaded when it is first used (PEP 562), so that `import myproxy` costs nothing. What is not listed in
`__all__` is reached through its own module and may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from myproxy.client import MyProxyClient, ServerAddress
    from myproxy.protocol.client import ClientSession
    from myproxy.protocol.messages import Account, Command, CredentialInfo, Happening, Request, Response, ResponseType
    from myproxy.protocol.server import ServerSession

__all__ = [
    "Account",
    "ClientSession",
    "Command",
    "CredentialInfo",
    "Happening",
    "MyProxyClient",
    "Request",
    "Response",
    "ResponseType",
    "ServerAddress",
    "ServerSession",
]

_ROOMS: Final = {
    "myproxy.client": ("MyProxyClient", "ServerAddress"),
    "myproxy.protocol.client": ("ClientSession",),
    "myproxy.protocol.messages": (
        "Account",
        "Command",
        "CredentialInfo",
        "Happening",
        "Request",
        "Response",
        "ResponseType",
    ),
    "myproxy.protocol.server": ("ServerSession",),
}


if not TYPE_CHECKING:  # a type checker must not take every unknown name for one of ours

    def __getattr__(name: str) -> object:
        """Load a name from its room at its first use and keep it."""
        for room, names in _ROOMS.items():
            if name in names:
                from importlib import import_module

                found: object = getattr(import_module(room), name)
                globals()[name] = found
                return found
        raise AttributeError(f"module 'myproxy' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
