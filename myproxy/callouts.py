"""The site's own word on a request: programs and map files named in the configuration; not what they are asked for.

    rules = SiteRules(passphrase=ProgramPassphraseRule("/usr/libexec/policy"), account=ProgramAccountRule("/x"))
    rules.check_passphrase(passphrase, request, caller)      # DeniedError: the program says no
    rules.check_account(caller, request)

Programs are run by path with arguments, never by a shell. Whatever goes wrong with one is a no. Agrees with
gct:myproxy/source/myproxy_server.c (myproxy_check_passphrase_policy, check_accepted_credentials_mapapp) in arguments
and standard input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gsi.authz.gridmap import parse_gridmap
from gsi.ca.program import run_program
from gsi.errors import DeniedError, GridError, TransportError
from gsi.system.files import read_public

if TYPE_CHECKING:
    from gsi.secret import Passphrase
    from myproxy.grants import Caller
    from myproxy.protocol.messages import Request

__all__ = ["MapfileAccountRule", "ProgramAccountRule", "ProgramPassphraseRule", "SiteRules"]

MAX_MAPFILE_BYTES: Final = 256 * 1024 * 1024
"""A grid-mapfile of a million users takes 60 MB."""
_VIOLATION: Final = "Pass phrase violates local policy."
_NO_ACCOUNT: Final = "Accepted credentials failure for DN/Username via {way}"


class PassphraseRule(Protocol):
    """Says whether a new pass phrase is good enough."""

    def __call__(self, passphrase: Passphrase, request: Request, caller: Caller) -> None:
        """Return when it is; raise DeniedError when it is not."""
        ...


class AccountRule(Protocol):
    """Says whether a client may store under a user name."""

    def __call__(self, identity: str, username: str) -> None:
        """Return when it may; raise DeniedError when it may not."""
        ...


class AuthorizationRule(Protocol):
    """The site's policy, which may forbid what the directives allow, and never the reverse."""

    def __call__(self, caller: Caller, action: str, username: str, credential: str | None) -> str | None:
        """Return the user whom a permit names, or None; raise DeniedError, its cause for the audit, for anything else.

        Args:
            caller: Who asks.
            action: PUT, GET, RETRIEVE, STORE, DESTROY, INFO, CHANGE, GET_TRUSTROOTS or ISSUE.
            username: Whose credential it is; empty where it is nobody's.
            credential: Its name, or None for the one without.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRules:
    """The rules that the configuration names; one that is None says nothing.

    Attributes:
        passphrase: On new pass phrases.
        account: On who may store under which user name.
        authorization: On everything that the directives allow.
    """

    passphrase: PassphraseRule | None = None
    account: AccountRule | None = None
    authorization: AuthorizationRule | None = None

    def check_passphrase(self, passphrase: Passphrase, request: Request, caller: Caller) -> None:
        """Ask about a new pass phrase; an absent one is nobody's business.

        Raises:
            DeniedError: It is not good enough.
        """
        if self.passphrase is not None and passphrase:
            self.passphrase(passphrase, request, caller)

    def check_account(self, caller: Caller, request: Request) -> None:
        """Ask whether a client may store, or destroy, under the request's user name.

        Raises:
            DeniedError: It may not.
        """
        if self.account is not None:
            self.account(caller.client.name, request.username)


class ProgramPassphraseRule:
    """`passphrase_policy_program`: the pass phrase on standard input, five arguments, status 0 to accept."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, passphrase: Passphrase, request: Request, caller: Caller) -> None:
        """See `PassphraseRule`."""
        facts = (
            request.username,
            caller.client.name,
            request.credential_name or "",
            request.retriever or "",
            request.renewer or "",
        )
        try:
            run_program((self._program, *facts), stdin=passphrase.reveal() + b"\n")
        except TransportError as error:
            raise DeniedError(_VIOLATION) from error


class ProgramAccountRule:
    """`accepted_credentials_mapapp`: identity and user name as arguments, status 0 to accept."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, identity: str, username: str) -> None:
        """See `AccountRule`."""
        try:
            run_program((self._program, identity, username), stdin=b"")
        except TransportError as error:
            raise DeniedError(_NO_ACCOUNT.format(way="call-out")) from error


class MapfileAccountRule:
    """`accepted_credentials_mapfile`: a grid-mapfile in which the identity has the user name among its accounts."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, identity: str, username: str) -> None:
        """See `AccountRule`."""
        try:
            gridmap = parse_gridmap(read_public(self._path, max_bytes=MAX_MAPFILE_BYTES, check_writers=True))
        except GridError as error:
            raise DeniedError(_NO_ACCOUNT.format(way="grid-mapfile")) from error
        if not gridmap.permits(identity, username):
            raise DeniedError(_NO_ACCOUNT.format(way="grid-mapfile"))
