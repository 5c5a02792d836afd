"""Capabilities that were withdrawn: a small file in the store, for all workers of one node; signs nothing.

    withdrawn = WithdrawnFile("/var/lib/cas/withdrawn.json")
    withdrawn.add(identifier, until=ends, now=now)
    withdrawn.read(now=now)                                   # identifier -> when it ends by itself

What has ended by itself is forgotten. `cas.assertion.revocations` is how the list is published.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cas.assertion.revocations import MAX_REVOKED
from gsi.errors import CredentialError, CredentialProblem, ParseError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WithdrawnFile"]

_MAX_BYTES: Final = 1 << 18  # 1500 entries of 60 bytes


class WithdrawnFile:
    """The file. Safe for several threads and processes.

    Args:
        path: Made with mode 0600 when there is none.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def add(self, identifier: bytes, *, until: datetime, now: datetime) -> None:
        """Withdraw a capability.

        Args:
            identifier: Which.
            until: When it ends by itself at the latest.
            now: The present time (aware UTC).

        Raises:
            StorageError: The file cannot be read or written, or there are too many.
        """
        from gsi.system.files import FileLock, write_private

        try:
            with FileLock(f"{self._path}.lock"):
                known = {one: ends for one, ends in self._read().items() if ends > now}
                known[identifier] = max(until, known.get(identifier, until))
                if len(known) > MAX_REVOKED:
                    raise StorageError(
                        f"{len(known)} withdrawn capabilities, limit {MAX_REVOKED}",
                        hint="change the key that signs: that withdraws all that it has signed",
                    )
                listed = {one.hex(): ends.isoformat() for one, ends in sorted(known.items())}
                write_private(self._path, json.dumps({"withdrawn": listed}, indent=1).encode("ascii") + b"\n")
        except CredentialError as error:
            raise StorageError(f"the withdrawn capabilities: {error.message}", hint=error.hint) from error

    def read(self, *, now: datetime) -> Mapping[bytes, datetime]:
        """Return what is withdrawn and has not ended.

        Raises:
            StorageError: The file cannot be read.
        """
        return {one: ends for one, ends in self._read().items() if ends > now}

    def _read(self) -> dict[bytes, datetime]:
        from gsi.system.files import read_private

        try:
            data = read_private(self._path, max_bytes=_MAX_BYTES)
        except CredentialError as error:
            if error.problem is CredentialProblem.MISSING and not os.path.lexists(self._path):
                return {}
            raise StorageError(f"the withdrawn capabilities: {error.message}", hint=error.hint) from error
        except ParseError as error:
            raise StorageError(f"the withdrawn capabilities: {error.message}") from error
        try:
            listed = json.loads(data)["withdrawn"]
            return {bytes.fromhex(one): datetime.fromisoformat(ends).astimezone(UTC) for one, ends in listed.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StorageError(f"{self._path}: no list of withdrawn capabilities") from error
