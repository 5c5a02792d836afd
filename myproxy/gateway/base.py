"""What a user has allowed an application, who gives proxies for it, and what to tell when that fails; no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gsi.errors import AuthenticationError, StorageError, TransportError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from gsi.credential import Credential
    from gsi.errors import GridError

__all__ = ["Grant", "LogOnAgainError", "Source", "explain"]


class LogOnAgainError(AuthenticationError):
    """What the user has allowed is over, or was never there: send the user to log on again."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user has allowed.

    Attributes:
        username: The account at the MyProxy server.
        ends: When it ends (aware UTC); None leaves that to the server.
        token: What proves it; empty where nothing has to.
        identity: The name of the user's certificate, one-line form; empty where it is not known yet.
    """

    username: str
    ends: datetime | None = None
    token: str = field(default="", repr=False)
    identity: str = ""


class Source(Protocol):
    """Gives proxies: a portal, or a server."""

    def issue(self, grant: Grant, *, lifetime: timedelta | None = None) -> Credential:
        """Return a new proxy with a key made here.

        Args:
            grant: What the user has allowed.
            lifetime: At most so long; None is as long as it may be.

        Raises:
            LogOnAgainError: The grant is over.
            GridError: No connection, or what came makes no sense.
        """
        ...


def explain(error: GridError) -> str:
    """Return what an application may show its user; details belong into its log."""
    if isinstance(error, LogOnAgainError):
        return "Your permission to use the grid is over. Log on again."
    if isinstance(error, StorageError | TransportError):
        return "The grid's services cannot be reached at the moment. Try again in a minute."
    return "The grid's services do not permit this. Ask the administrators of this site."
