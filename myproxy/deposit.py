"""Storing credentials and changing pass phrases without a client, on the server's machine; not the commands' words.

    desk = DepositDesk(repository, sealer, audit, verify=verify, clock=clock.now)
    desk.load(Request(Command.STORE, "alice", lifetime=...), pem)
    desk.change_passphrase("alice", None, old, new)

What may be stored is judged as when a client brings it, except for the access rules: an administrator may. The owner is
the identity in the certificate. Each change is recorded before it is made.
"""

from __future__ import annotations

import dataclasses
import getpass
import secrets
from typing import TYPE_CHECKING, Final

from gsi.certificate import Certificate
from gsi.errors import AuthenticationError, ConflictError, DeniedError, NotFoundError, ParseError
from gsi.pem import split_pem
from gsi.system.audit import AuditRecord, Verdict
from myproxy.auth.passphrase import check_new_passphrase, open_key, place_of
from myproxy.grants import Caller, Settings
from myproxy.policy import AccessPolicy, parse_rules
from myproxy.storage import StorageCommands

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.secret import Passphrase
    from gsi.system.audit import Posted, PostingSink
    from myproxy.commands import ChainVerifier
    from myproxy.protocol.messages import Request
    from myproxy.repository.base import Repository
    from myproxy.repository.seal import Sealer

__all__ = ["DepositDesk"]

SERVICE: Final = "myproxy-admin"


class _LocalSink:
    """Records decisions as those of whoever runs the command."""

    def __init__(self, sink: PostingSink) -> None:
        self._sink = sink

    def record(self, record: AuditRecord) -> None:
        """Return when the record is safe.

        Raises:
            StorageError: It is not.
        """
        self._sink.record(_as_local(record))

    def post(self, record: AuditRecord) -> Posted:
        """Take a record that may be safe only later.

        Raises:
            StorageError: That is not to be expected.
        """
        return self._sink.post(_as_local(record))


def _as_local(record: AuditRecord) -> AuditRecord:
    details = {**record.details, "owner": record.peer}
    return dataclasses.replace(record, service=SERVICE, peer=_local(), details=details)


class DepositDesk:
    """The store, for an administrator who puts something in."""

    def __init__(
        self,
        repository: Repository,
        sealer: Sealer,
        audit: PostingSink,
        *,
        verify: ChainVerifier,
        clock: Callable[[], datetime],
    ) -> None:
        """Put it together.

        Args:
            repository: Where credentials rest.
            sealer: Seals and opens their keys.
            audit: Where changes are recorded.
            verify: Judges chains.
            clock: The time.
        """
        everybody = AccessPolicy(accepted_credentials=parse_rules(["*"]))
        self._commands = StorageCommands(
            Settings(access=everybody),
            repository=repository,
            sealer=sealer,
            audit=_LocalSink(audit),
            verify=verify,
            clock=clock,
        )
        self._repository = repository
        self._sealer = sealer
        self._audit = audit
        self._verify = verify
        self._clock = clock

    def load(self, request: Request, text: bytes) -> str:
        """Store a credential; return its owner.

        Args:
            request: Where it goes, and who may have it; its command is STORE.
            text: PEM: the certificate, those above it, and its key as it lies in its file.

        Raises:
            VerificationError: Its chain is not valid here.
            DeniedError: It is no such text, or somebody else's credential is at this address.
            StorageError: It could not be recorded or written.
        """
        blocks = [block for block in split_pem(text, what="credential") if block.label == "CERTIFICATE"]
        if not blocks:
            raise ParseError("there is no certificate in it", what="credential")
        chain = [Certificate.parse(block.data) for block in blocks]
        caller = Caller(self._verify(chain, now=self._clock()), "", secrets.token_hex(8))
        self._commands.finish_store(self._commands.begin_store(caller, request), text)
        return caller.client.name

    def change_passphrase(self, username: str, name: str | None, old: Passphrase, new: Passphrase) -> None:
        """Seal a stored key under a new pass phrase; an empty one leaves it unsealed.

        Args:
            username: The account name.
            name: The credential's name.
            old: The pass phrase now.
            new: The pass phrase from now on.

        Raises:
            AuthenticationError: The old one is wrong.
            DeniedError: There is no such credential, the new one is too short, or somebody was faster.
            StorageError: It could not be recorded or written.
        """
        try:
            stored = self._repository.get(username, name)
        except NotFoundError as error:
            raise DeniedError("Credentials do not exist.") from error
        check_new_passphrase(new)
        details = {"username": username, "credential": name, "owner": stored.owner, "sealed": int(bool(new))}
        try:
            key = open_key(stored, old, self._sealer)
        except AuthenticationError as error:
            self._record(Verdict.DENY, error.message, details)
            raise
        place = place_of(stored.username, stored.name, stored.owner, stored.certificates[0])
        sealed = self._sealer.seal(key, new, place)
        self._record(Verdict.PERMIT, "administrator", details)
        try:
            self._repository.replace_key(stored, sealed, now=self._clock())
        except ConflictError as error:
            raise DeniedError("Unable to change pass phrase.\nThe credential has just been changed.") from error

    def _record(self, verdict: Verdict, reason: str, details: dict[str, str | int | None]) -> None:
        self._audit.record(
            AuditRecord(
                time=self._clock(),
                request_id=secrets.token_hex(8),
                service=SERVICE,
                action="CHANGE_PASSPHRASE",
                verdict=verdict,
                reason=reason,
                peer=_local(),
                address="",
                details=details,
            )
        )


def _local() -> str:
    return f"local:{getpass.getuser()}"
