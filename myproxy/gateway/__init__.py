"""Users' proxies for a web application of one's own, in any framework. This front door holds names, no code.

    from myproxy.gateway import FileStore, Passphrase, Portal, Wallet

    portal = Portal("https://portal.example.org", "gateway", secret, redirect="https://gateway.example.org/grid/back")
    wallet = Wallet(portal, FileStore("/var/lib/gateway/proxies"))

    url, session["asked"] = portal.begin()                             # send the browser there
    grant = portal.finish(request.url, session.pop("asked"))           # where it comes back to
    session["grid"] = wallet.keep(grant)
    proxy = wallet.proxy(session["grid"])                              # now and later: renewed in time

What can go wrong is a `GridError`; `LogOnAgainError` among them means that the user has to be sent to the portal again,
and `explain` says of any of them what an application may show. Names that are not listed here may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gsi.credential import Credential
    from gsi.errors import GridError
    from gsi.secret import Passphrase
    from myproxy.gateway.base import Grant, LogOnAgainError, Source, explain
    from myproxy.gateway.delegations import Delegations
    from myproxy.gateway.portal import Portal
    from myproxy.gateway.server import Server
    from myproxy.gateway.wallet import FileStore, Wallet

__all__ = [
    "Credential",
    "Delegations",
    "FileStore",
    "Grant",
    "GridError",
    "LogOnAgainError",
    "Passphrase",
    "Portal",
    "Server",
    "Source",
    "Wallet",
    "explain",
]

_PLACES: Final = {
    "Credential": "gsi.credential",
    "GridError": "gsi.errors",
    "Passphrase": "gsi.secret",
    "Grant": "myproxy.gateway.base",
    "LogOnAgainError": "myproxy.gateway.base",
    "Source": "myproxy.gateway.base",
    "explain": "myproxy.gateway.base",
    "Delegations": "myproxy.gateway.delegations",
    "Portal": "myproxy.gateway.portal",
    "Server": "myproxy.gateway.server",
    "FileStore": "myproxy.gateway.wallet",
    "Wallet": "myproxy.gateway.wallet",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
