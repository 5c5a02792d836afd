"""Many small pieces of work in one transaction: whoever comes while one commits goes with the next; no statements.

    batch = Batch(database)
    batch.run(work, order="alice@EXAMPLE.ORG")       # returns when it is on disk, raises what the work raised

A commit waits for the disk, and all who wait meanwhile can share the next one. There is no thread for it: the first who
comes does the work of all who are there by then, and hands over to one of those who came later. Where a piece fails,
all of it is undone and begun anew with a savepoint for each, so that it takes nothing of the others away: refusals are
rare, and savepoints cost as much as the work. Pieces are done in the order of their keys, so that two nodes which lock
the same rows never wait for each other crosswise.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gsi.errors import ConflictError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from gsi.sql.engine import Database

__all__ = ["Batch"]

MAX_PIECES: Final = 64
"""Of one transaction: as many as threads wait at a time, and few enough that none waits for long."""

WAIT_SECONDS: Final = 60.0
"""How long anybody waits for the others: beyond every time limit of the database itself."""


class _Piece:
    """One piece of work, and what became of it."""

    __slots__ = ("done", "error", "leads", "order", "work")

    def __init__(self, work: Callable[[Connection, bool], None], order: str) -> None:
        self.work = work
        self.order = order
        self.done = threading.Event()
        self.leads = False
        self.error: Exception | None = None


class Batch:
    """Joins the work of several threads into transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: list[_Piece] = []
        self._busy = False

    def run(self, work: Callable[[Connection, bool], None], *, order: str) -> None:
        """Return when the work is done and durable.

        Args:
            work: As for `Database.writing`; what it raises concerns it alone.
            order: Pieces of one transaction are done in this order.

        Raises:
            ConflictError: The work contradicts what is stored.
            StorageError: The database cannot be used; it is not known to have been done.
        """
        piece = _Piece(work, order)
        with self._lock:
            self._waiting.append(piece)
            leads, self._busy = not self._busy, True
        if not leads:
            if not piece.done.wait(WAIT_SECONDS):
                self._give_up(piece)
            leads = piece.leads
        if leads:
            self._lead()
        if piece.error is not None:
            raise piece.error

    def _give_up(self, piece: _Piece) -> None:
        with self._lock:
            if piece.done.is_set():
                return
            if piece in self._waiting:
                self._waiting.remove(piece)
        raise StorageError(f"{self._database.place}: no turn to write within {WAIT_SECONDS:g} seconds")

    def _lead(self) -> None:
        """Do all the work that waits, and hand over."""
        with self._lock:
            pieces, self._waiting = self._waiting[:MAX_PIECES], self._waiting[MAX_PIECES:]
        try:
            self._do(sorted(pieces, key=lambda piece: piece.order))
        finally:
            with self._lock:
                heir = self._waiting[0] if self._waiting else None
                self._busy = heir is not None
                if heir is not None:
                    heir.leads = True
                    heir.done.set()
            for piece in pieces:
                piece.done.set()

    def _do(self, pieces: list[_Piece]) -> None:
        done_before = False

        def together(connection: Connection, again: bool) -> None:
            for piece in pieces:
                _attempt(connection, piece, again, self._database.place)

        def apart(connection: Connection, again: bool) -> None:
            for piece in pieces:
                piece.error = None
                try:
                    with connection.begin_nested():
                        _attempt(connection, piece, again or done_before, self._database.place)
                except _PieceError as error:
                    piece.error = error.cause

        try:
            try:
                self._database.writing(together)
            except _PieceError as error:
                if len(pieces) == 1:
                    raise error.cause from None
                done_before = error.again
                self._database.writing(apart)
        except Exception as error:  # noqa: BLE001  handed to those who wait; without it they would take it for done
            for piece in pieces:
                piece.error = error


def _attempt(connection: Connection, piece: _Piece, again: bool, place: str) -> None:
    """Do one piece.

    Raises:
        _PieceError: What concerns it alone.
        SQLAlchemyError: What concerns the connection, and so all.
    """
    try:
        piece.work(connection, again)
    except sa.exc.IntegrityError:
        raise _PieceError(ConflictError(f"the change contradicts what is stored in {place}"), again=again) from None
    except sa.exc.DataError as error:
        text = f"{place} cannot hold a value: {type(error.orig).__name__}"
        raise _PieceError(StorageError(text), again=again) from None
    except sa.exc.SQLAlchemyError:
        raise
    except Exception as error:
        raise _PieceError(error, again=again) from error


class _PieceError(Exception):
    """What is wrong with one piece; and whether all may have been committed by a try before."""

    def __init__(self, cause: Exception, *, again: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.again = again
