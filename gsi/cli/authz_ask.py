"""`gsi-authz ask`: the question that a GridFTP server would ask the deciding daemon, from a shell; decides nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gsi.cli.arguments import UsageError
from gsi.cli.run import EXIT_ERROR, EXIT_OK, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.authz.callout.messages import Request
    from gsi.cli.arguments import Namespace

__all__ = ["ask"]

SECONDS: Final = 10.0
"""As long as a service waits."""

_FILE_ACTIONS: Final = frozenset({"read", "write", "create", "delete", "lookup"})


def ask(arguments: Namespace, words: Sequence[str]) -> int:
    """Ask the daemon and print what it says: 0 for a permit, 1 for a refusal.

    Raises:
        UsageError: There is no such question.
        TransportError: The daemon is not there, or does not answer.
        GridError: The chain cannot be read.
    """
    import os

    from gsi.authz.callout.gate import GateOptions, ask_daemon
    from gsi.authz.callout.messages import Verdict
    from gsi.errors import TransportError

    if words or not arguments.action:
        raise UsageError("ask needs -action, and for all but login -resource")
    requests = _questions(arguments)
    try:
        uid = os.stat(arguments.socket).st_uid
    except OSError as error:
        raise TransportError(
            f"cannot reach {arguments.socket}: {error.strerror}", hint="is gsi-authz-server running?"
        ) from error
    answer = ask_daemon(GateOptions(arguments.socket, uid, SECONDS), *requests)
    ident = f" (decision {answer.decision_id})" if answer.decision_id else ""
    if answer.verdict is Verdict.PERMIT:
        sys.stdout.write(f"permit{ident}\n")
        return EXIT_OK
    what = "denied" if answer.verdict is Verdict.DENY else "refused"
    sys.stdout.write(f"{what}: {printable(answer.reason)}{ident}\n")
    return EXIT_ERROR


def _questions(arguments: Namespace) -> tuple[Request, ...]:
    """Return what a GridFTP server would ask: for files a session first, as the user who runs this."""
    from gsi.authz.callout.messages import ASSERTION, Fact, OperationRequest, ServiceRequest, SessionRequest
    from gsi.cli.authz_subject import read_shown

    kind, _, action = arguments.action.rpartition(":")
    service = arguments.called or "file"
    if action == "login" and kind in ("", "login"):
        if arguments.token or arguments.assertion:
            raise UsageError("tokens and assertions are sent in a session: ask for an operation on a file")
        return (ServiceRequest(service, _chain(arguments)),)
    if action not in _FILE_ACTIONS or kind not in ("", "file"):
        raise UsageError(f"{arguments.action!r} cannot be asked here", hint="login, or one of files")
    path = arguments.resource or ""
    if not path.startswith("/"):
        raise UsageError("-resource: an absolute path is needed")
    # As if it were there, and no link on the way: what the library sees on its own machine, nobody can say here.
    operation = OperationRequest(action, f"ftp://localhost{path}", Fact.RESOLVED | Fact.EXISTS, path, path)
    shown = [
        OperationRequest(ASSERTION, text, Fact(0), "", "")
        for text in read_shown([*arguments.token, *arguments.assertion])
    ]
    return SessionRequest(service, _chain(arguments)), *shown, operation


def _chain(arguments: Namespace) -> tuple[bytes, ...]:
    from gsi.certificate import load_certificates
    from gsi.cli.authz_subject import MAX_CHAIN_FILE_BYTES
    from gsi.system.environ import read_locations
    from gsi.system.files import read_public

    path = arguments.chain or read_locations().proxy
    return tuple(one.der for one in load_certificates(read_public(path, max_bytes=MAX_CHAIN_FILE_BYTES), what=path))
