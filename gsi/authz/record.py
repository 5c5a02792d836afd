"""Decisions kept for `gsi-authz explain`: the last ones in memory, and a file of them; not the audit trail.

    record = DecisionFile("/var/lib/gsi-authz/decisions.jsonl")
    record.append(request, decision)
    record.find("5f0c...")

One JSON object per line, ASCII, so that nothing a peer puts into a name can begin a line or drive a terminal. The file
is 0600, only appended to (by several processes, each line in one write), and moved to `.1` when it is full, so that it
takes at most twice `MAX_FILE_BYTES`. It is a help for people: a line may be lost in a crash. What must not be lost goes
to `gsi.system.audit`.
"""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from dataclasses import fields
from typing import TYPE_CHECKING, Final

from gsi.errors import NotFoundError, StorageError

if TYPE_CHECKING:
    from gsi.authz.decision import AuthorizationRequest, Decision, Obligation

__all__ = ["DECISION_ID", "MAX_FILE_BYTES", "DecisionFile", "describe_decision", "describe_obligation"]

MAX_FILE_BYTES: Final = 32 << 20
"""Some 50,000 decisions, a day of a busy server; two such files are read in a second."""

DECISION_ID: Final = re.compile(r"[0-9a-f]{8,64}\Z", re.ASCII)
"""What an id looks like; what does not is not looked for."""

_MAX_TEXT_CHARS: Final = 1024
"""What is kept of a text: long enough for any real name."""

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def describe_obligation(obligation: Obligation) -> dict[str, object]:
    """Return an obligation as plain values, its type under "type"."""
    found: dict[str, object] = {"type": type(obligation).__name__}
    for item in fields(obligation):
        value: object = getattr(obligation, item.name)
        found[item.name] = list(value) if isinstance(value, tuple) else value
    return found


def describe_decision(request: AuthorizationRequest, decision: Decision) -> dict[str, object]:
    """Return a decision with its request as plain values, for JSON. Holds no secret: claims are named, not shown."""
    subject, environment = request.subject, request.environment
    return {
        "id": decision.decision_id,
        "time": environment.now.isoformat(timespec="milliseconds"),
        "effect": decision.effect.value,
        "reason": _cut(decision.reason),
        "authorizer": decision.authorizer,
        "subject": {
            "identity": _cut(subject.identity),
            "authenticated_by": subject.authenticated_by,
            "issuer": _cut(subject.issuer),
            "kind": subject.kind.value if subject.kind else None,
            "limited": subject.limited,
            "independent": subject.independent,
            "fqans": [_cut(fqan) for fqan in subject.fqans[:64]],
            "groups": sorted(_cut(group) for group in subject.groups)[:64],
            "claims": sorted(subject.claims)[:64],
        },
        "action": request.action.name,
        "service_type": request.action.service,
        "resource": _cut(request.resource.name),
        "service": environment.service,
        "address": environment.peer_address,
        "desired_account": environment.desired_account,
        "obligations": [describe_obligation(obligation) for obligation in decision.obligations],
        "not_after": decision.not_after.isoformat(timespec="seconds") if decision.not_after else None,
        "trace": [
            {
                "authorizer": step.authorizer,
                "effect": step.effect.value,
                "reason": _cut(step.reason),
                "depth": step.depth,
                "microseconds": step.microseconds,
            }
            for step in decision.trace
        ],
    }


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_CHARS else f"{text[:_MAX_TEXT_CHARS]}..."


class DecisionFile:
    """A file of recent decisions. Safe for several threads and processes."""

    def __init__(self, path: str, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        """Name the file; it is made when the first decision is appended.

        Args:
            path: The file.
            max_bytes: The size at which it is moved away.
        """
        self.path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def append(self, request: AuthorizationRequest, decision: Decision) -> None:
        """Add a decision.

        Raises:
            StorageError: It could not be written, or the file is not a private one of this user.
        """
        line = json.dumps(describe_decision(request, decision), ensure_ascii=True, separators=(",", ":"))
        data = line.encode("ascii") + b"\n"
        try:
            with self._lock:
                descriptor = os.open(self.path, _FLAGS, 0o600)
                try:
                    found = os.fstat(descriptor)
                    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                        raise StorageError(
                            f"{self.path} is not a regular file that only uid {os.geteuid()} can use",
                            hint=f"chmod 600 {self.path}",
                        )
                    if os.write(descriptor, data) != len(data):
                        raise StorageError(f"cannot write {self.path}: the disk is full")
                    if found.st_size + len(data) > self._max_bytes:
                        os.replace(self.path, f"{self.path}.1")
                finally:
                    os.close(descriptor)
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot write {self.path}: {getattr(error, 'strerror', None) or error}") from error

    def last(self) -> dict[str, object]:
        """Return the newest decision as plain values, from the file or the one before it.

        Raises:
            NotFoundError: There is none.
            StorageError: The file cannot be read.
        """
        for path in (self.path, f"{self.path}.1"):
            line = self._find_line(path, b'{"id":"')
            if line is not None:
                return line
        raise NotFoundError(f"no decision in {self.path}", hint="nothing has been decided since the file was named")

    def find(self, decision_id: str) -> dict[str, object]:
        """Return the newest decision of this id as plain values, from the file or the one before it.

        Raises:
            NotFoundError: There is none.
            StorageError: The file cannot be read.
        """
        if not DECISION_ID.match(decision_id):
            raise NotFoundError(f"{decision_id[:80]!r} is no decision id", hint="some hexadecimal digits")
        mark = f'{{"id":"{decision_id}",'.encode()
        for path in (self.path, f"{self.path}.1"):
            line = self._find_line(path, mark)
            if line is not None:
                return line
        raise NotFoundError(
            f"no decision {decision_id} in {self.path}",
            hint="only recent ones are kept; the audit trail and the log of the service may still have it",
        )

    def _find_line(self, path: str, mark: bytes) -> dict[str, object] | None:
        try:
            with open(path, "rb") as file:
                data = file.read(self._max_bytes + (1 << 20))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        end = len(data)
        while (at := data.rfind(mark, 0, end)) >= 0:
            if at == 0 or data[at - 1 : at] == b"\n":
                try:
                    found = json.loads(data[at : data.find(b"\n", at) + 1])
                except ValueError:
                    found = None
                if isinstance(found, dict):
                    return found
            end = at
        return None
