"""Many small pieces of work in one transaction: whoever comes while one commits goes with the next; no statements.

    batch = Batch(database, work)                    # work(connection, items, again): does them all, or raises
    batch.run(item, order="alice@EXAMPLE.ORG")       # returns when it is on disk, raises what the work raised of it

A commit waits for the disk, and all who wait meanwhile can share the next one. There is no thread for it: the first who
comes does the work of all who are there by then, and hands over to one of those who came later. Where the work raises
for several, it is undone and begun anew one by one, with a savepoint for each, so that one which fails takes nothing of
the others away: refusals are rare, and savepoints cost as much as the work. Items are in the order of their keys, so
that two nodes which lock the same rows never wait for each other crosswise.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import sqlalchemy as sa

from gsi.errors import ConflictError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.engine import Connection

    from gsi.sql.engine import Database

__all__ = ["Batch"]

MAX_PIECES: Final = 64
"""Of one transaction: as many as threads wait at a time, and few enough that none waits for long."""

WAIT_SECONDS: Final = 60.0
"""How long anybody waits for the others: beyond every time limit of the database itself."""

_T = TypeVar("_T")


class _Piece(Generic[_T]):
    """One item, and what became of it."""

    __slots__ = ("done", "error", "item", "leads", "order")

    def __init__(self, item: _T, order: str) -> None:
        self.item = item
        self.order = order
        self.done = threading.Event()
        self.leads = False
        self.error: Exception | None = None


class Batch(Generic[_T]):
    """Joins the work of several threads into transactions."""

    def __init__(self, database: Database, work: Callable[[Connection, Sequence[_T], bool], None]) -> None:
        """Join these.

        Args:
            database: Where.
            work: Does all the items it gets, or raises and is called again for each alone; the last argument says, as
                for `Database.writing`, whether they may have been done and committed by a try before this one.
        """
        self._database = database
        self._work = work
        self._lock = threading.Lock()
        self._waiting: list[_Piece[_T]] = []
        self._busy = False

    def run(self, item: _T, *, order: str) -> None:
        """Return when the work is done for this item, and durable.

        Args:
            item: What to do.
            order: Items of one transaction are done in this order.

        Raises:
            ConflictError: It contradicts what is stored.
            StorageError: The database cannot be used; it is not known to have been done.
            Exception: What the work raised of this item.
        """
        piece = _Piece(item, order)
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

    def _give_up(self, piece: _Piece[_T]) -> None:
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

    def _do(self, pieces: list[_Piece[_T]]) -> None:
        items = [piece.item for piece in pieces]
        done_before = False

        def together(connection: Connection, again: bool) -> None:
            self._attempt(connection, items, again)

        def apart(connection: Connection, again: bool) -> None:
            for piece in pieces:
                piece.error = None
                try:
                    with connection.begin_nested():
                        self._attempt(connection, [piece.item], again or done_before)
                except _OwnError as error:
                    piece.error = error.cause

        try:
            try:
                self._database.writing(together)
            except _OwnError as error:
                if len(pieces) == 1:
                    raise error.cause from None
                done_before = error.again
                self._database.writing(apart)
        except Exception as error:  # noqa: BLE001  handed to those who wait; without it they would take it for done
            for piece in pieces:
                piece.error = error

    def _attempt(self, connection: Connection, items: Sequence[_T], again: bool) -> None:
        """Do these.

        Raises:
            _OwnError: What concerns them, and not the connection.
        """
        try:
            self._work(connection, items, again)
        except sa.exc.IntegrityError:
            raise _OwnError(ConflictError(f"the change contradicts what is stored in {self._place}"), again) from None
        except sa.exc.DataError as error:
            text = f"{self._place} cannot hold a value: {type(error.orig).__name__}"
            raise _OwnError(StorageError(text), again) from None
        except sa.exc.SQLAlchemyError:  # the connection, which concerns all
            raise
        except Exception as error:  # noqa: BLE001  whoever brought the item hears of it, and nobody else
            raise _OwnError(error, again) from None

    @property
    def _place(self) -> str:
        return self._database.place


class _OwnError(Exception):
    """What is wrong with the items themselves; and whether they may have been committed by a try before."""

    def __init__(self, cause: Exception, again: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.again = again
