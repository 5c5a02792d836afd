"""The loop of the renewal agent: what is due when, who works on it, what is noted and told; renews nothing itself.

    agent = Agent(lambda: load_config(path))
    with agent.open():
        agent.run()                              # until SIGTERM; SIGHUP reads the configuration again
        agent.run_once()                         # or: what is due, and back

One thread decides, and alone changes notes and the schedule; workers renew, others tell. The schedule is in the time of
the clock on the wall, as certificates are, and the wait for the next event is never long: so a clock that is set, or a
machine that slept, is noticed within seconds.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import queue
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, CredentialError, GridError
from gsi.system import clock as system_clock
from gsi.system.notify import Manager
from myproxy.renewal.attempt import Renewed, Renewer
from myproxy.renewal.config import Kind, Proof
from myproxy.renewal.monitor import Numbers
from myproxy.renewal.notes import MAX_ERROR, Delivery, Note, Notebook
from myproxy.renewal.place import BusyError, ChangedError, Place
from myproxy.renewal.schedule import State, retry_time
from myproxy.renewal.slot import Slot
from myproxy.renewal.tell import RENEWED, News, Teller, run_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from myproxy.renewal.attempt import Fetch
    from myproxy.renewal.config import RenewalConfig

__all__ = ["Agent"]

LONGEST_WAIT: Final = 10.0
"""Seconds until the clock is looked at again."""
MAX_TRIES: Final = 20
"""Of telling something on one way: with the waits between, more than two hours."""
_TOLD: Final = frozenset({State.EXPIRING, State.EXPIRED, State.MISSING, State.UNREADABLE})
_TELLERS: Final = 2
"""Threads that tell: one that hangs leaves another."""
_SOON: Final = timedelta(seconds=5)
_COUNT: Final = timedelta(seconds=5)
"""How old the numbers for monitors may be: counting ten thousand takes as long as a renewal."""
_OVERDUE: Final = timedelta(minutes=15)
_FIRST_TELL: Final = 5.0
_LAST_TELL: Final = 600.0
_log = logging.getLogger("myproxy.renewal")


class Agent:
    """The agent.

    Args:
        load: Reads the configuration.
        clock: The present time.
        manager: The service manager.
        fetch_new: Fetches credentials in place of `myproxy.renewal.sources.fetch`.

    Attributes:
        slots: The entries by name.
        numbers: For monitors, a few seconds old; None before the first look around.
    """

    def __init__(
        self,
        load: Callable[[], RenewalConfig],
        *,
        clock: Callable[[], datetime] = system_clock.now,
        manager: Manager | None = None,
        fetch_new: Fetch | None = None,
    ) -> None:
        self._load = load
        self._clock = clock
        self._manager = manager or Manager(None)
        self._fetch_new = fetch_new
        self._config = load()
        self._notes = Notebook(self._config.state)
        self._renewer = self._make_renewer()
        self._teller = Teller(self._config.tell)
        self._done: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._heap: list[tuple[float, str]] = []
        self._pools: tuple[ThreadPoolExecutor, ThreadPoolExecutor] | None = None
        self._retired: list[Renewer] = []
        self._untold: set[str] = set()  # entries of which something is to be told
        self._working = 0
        self._seen: datetime | None = None
        self._next_look: datetime | None = None
        self._stops = False
        self._reloads = False
        self._renewed = self._failed = 0
        self._next_count: datetime | None = None
        self.numbers: Numbers | None = None
        self.slots: dict[str, Slot] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Take possession of the notes, and start the workers.

        Raises:
            ConfigError: The directory of notes cannot be used, or another agent uses it.
        """
        self._notes.prepare()
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._notes.lock())
            except CredentialError as error:
                hint = f"each agent needs a state directory of its own; {error.hint or 'name another'}"
                raise ConfigError(
                    f"{self._config.state} cannot be taken, as when another agent uses it: {error.message}", hint=hint
                ) from error
            self._pools = ThreadPoolExecutor(self._config.workers, "renew"), ThreadPoolExecutor(_TELLERS, "tell")
            try:
                yield
            finally:
                for pool in self._pools:
                    pool.shutdown(cancel_futures=True)
                self._absorb()
                self._close_retired()
                self._renewer.close()

    @property
    def metrics(self) -> str:
        """Where monitors are to be answered; empty for nowhere."""
        return self._config.metrics

    # --- The loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Renew until SIGTERM or SIGINT."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        self._take_entries()
        self._manager.tell("READY=1", self._status_line())
        _log.info("%s", self._status_line().removeprefix("STATUS="))
        while not self._is_stopping():
            if self._reloads:
                self._reload()
            self.step()
            self._manager.tell("WATCHDOG=1")
            self._wait()
        self._manager.tell("STOPPING=1")

    def run_once(self) -> bool:
        """Renew what is due or has failed before, tell what is to be told, and return whether all is well."""
        self._take_entries()
        now = self._clock()
        for slot in self.slots.values():
            if slot.due is not None and slot.note.failures:
                slot.due = now
                self._push(slot)
        self.step()
        self.settle()
        self._observe_all(self._clock())
        self._start_telling(self._clock(), anew=True)
        self.settle()
        return all(slot.state(self._clock()) is State.OK for slot in self.slots.values())

    def step(self) -> None:
        """Take in what workers have done, look at files when it is time, and give out what is due."""
        self._absorb()
        if not self._working:
            self._close_retired()
        now = self._clock()
        if self._seen is not None and now < self._seen - timedelta(seconds=1):
            _log.warning("the clock was set back by %s", self._seen - now)
            self._next_look = None
            for slot in self.slots.values():
                self._plan(slot, now)
        self._seen = now
        if self._next_look is None or now >= self._next_look:
            self._next_look = now + self._config.look
            for slot in self.slots.values():
                if not slot.busy and Place(slot.entry.path, slot.entry.key).look() != slot.stamp:
                    slot.look()
                    self._plan(slot, now)
            self._observe_all(now)
        while self._heap and self._heap[0][0] <= now.timestamp():
            when, name = heapq.heappop(self._heap)
            slot_due = self.slots.get(name)
            if slot_due is not None and not slot_due.busy and slot_due.due and slot_due.due.timestamp() == when:
                self._give_out(slot_due)
        self._start_telling(now)
        if self._next_count is None or not now < self._next_count <= now + _COUNT:
            self._next_count = now + _COUNT
            self.numbers = self._count(now)

    def _count(self, now: datetime) -> Numbers:
        slots = list(self.slots.values())
        ends = [slot.looked.life.not_after for slot in slots if slot.looked is not None]
        return Numbers(
            at=now,
            states=Counter(slot.state(now) for slot in slots),
            overdue=sum(slot.due is not None and slot.due + _OVERDUE < now for slot in slots),
            untold=sum(any(each.error for each in slot.note.deliveries) for slot in slots),
            first_end=min((end for end in ends if end > now), default=None),
            renewed=self._renewed,
            failed=self._failed,
        )

    def settle(self) -> None:
        """Wait until no worker has anything to do."""
        while self._working:
            act = self._done.get()
            if act is not None:
                act()

    def next_event(self) -> datetime | None:
        """Return when the next renewal is due; None where none is."""
        return min((slot.due for slot in self.slots.values() if slot.due is not None and not slot.busy), default=None)

    def _wait(self) -> None:
        now = self._clock().timestamp()
        seconds = min(LONGEST_WAIT, self._manager.watchdog_seconds or LONGEST_WAIT)
        if self._heap:
            seconds = min(seconds, max(self._heap[0][0] - now, 0.0))
        for name in self._untold:
            slot = self.slots.get(name)
            if slot is not None:
                times = [each.next_try for each in slot.note.deliveries if each.way not in slot.telling]
                seconds = min([seconds, *(max(when - now, 0.0) for when in times)])
        with contextlib.suppress(queue.Empty):
            act = self._done.get(timeout=seconds) if seconds > 0 else self._done.get_nowait()
            if act is not None:
                act()

    def _absorb(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                act = self._done.get_nowait()
                if act is not None:
                    act()

    def _is_stopping(self) -> bool:
        return self._stops  # changed by a signal

    def _on_stop(self, _number: int, _frame: object) -> None:
        self._stops = True
        self._done.put(None)

    def _on_reload(self, _number: int, _frame: object) -> None:
        self._reloads = True
        self._done.put(None)

    # --- Entries ------------------------------------------------------------------------------------------------------

    def _make_renewer(self) -> Renewer:
        if self._fetch_new is None:
            return Renewer(self._config)
        return Renewer(self._config, fetch_new=self._fetch_new)

    def _close_retired(self) -> None:
        while self._retired:
            self._retired.pop().close()

    def _take_entries(self) -> None:
        """Make the slots those of the configuration; what has not changed keeps its slot, and so its schedule."""
        now = self._clock()
        known, self.slots = self.slots, {}
        for name, entry in self._config.credential.items():
            slot = known.pop(name, None)
            if slot is None or slot.entry != entry:
                slot = Slot(entry, slot.note if slot is not None else self._notes.load(name))
                slot.look()
            self.slots[name] = slot
            if slot.note.deliveries:
                self._untold.add(name)
            self._plan(slot, now)
        for name in known:
            self._notes.forget(name)

    def _reload(self) -> None:
        self._reloads = False
        self._manager.tell_reloading()
        try:
            config = self._load()
            for name in ("state", "workers", "metrics"):
                if getattr(config, name) != getattr(self._config, name):
                    raise ConfigError(f"{name} is taken over at a start only; nothing was changed")
            before, self._config, old = self._config, config, self._renewer
            try:
                self._renewer = self._make_renewer()
            except GridError:
                self._config = before
                raise
        except GridError as error:
            _log.error("the configuration was not read again: %s", error.message)
        else:
            self._retired.append(old)  # renewals under way go on with it
            self._teller = Teller(config.tell)
            self._take_entries()
            _log.info("the configuration was read again; %s", self._status_line().removeprefix("STATUS="))
        self._manager.tell("READY=1", self._status_line())

    def _plan(self, slot: Slot, now: datetime) -> None:
        entry = slot.entry
        needs_old = self._config.source[entry.source].kind is Kind.MYPROXY and entry.proof is Proof.RENEWAL
        slot.plan(now, can_renew_expired=not needs_old)
        self._push(slot)

    def _push(self, slot: Slot) -> None:
        if slot.due is not None and not slot.busy:
            heapq.heappush(self._heap, (slot.due.timestamp(), slot.entry.name))

    def _status_line(self) -> str:
        now = self._clock()
        bad = sum(slot.state(now) is not State.OK for slot in self.slots.values())
        return f"STATUS={len(self.slots)} credentials, {bad} not well"

    # --- Renewing -----------------------------------------------------------------------------------------------------

    def _give_out(self, slot: Slot) -> None:
        assert self._pools is not None
        slot.busy = True
        self._working += 1
        self._pools[0].submit(self._renew, slot, self._renewer)

    def _renew(self, slot: Slot, renewer: Renewer) -> None:
        """Run in a worker."""
        outcome: Renewed | Exception
        try:
            outcome = renewer.renew(slot.entry, clock=self._clock)
        except Exception as error:  # noqa: BLE001  # told below; a worker that dies silently would leave the slot busy
            outcome = error
        self._done.put(lambda: self._finish(slot, outcome))

    def _finish(self, slot: Slot, outcome: Renewed | Exception) -> None:
        slot.busy = False
        self._working -= 1
        if self.slots.get(slot.entry.name) is not slot:
            return  # removed or changed meanwhile
        now = self._clock()
        if isinstance(outcome, Renewed):
            self._take_success(slot, outcome, now)
        elif isinstance(outcome, ChangedError) or (isinstance(outcome, BusyError) and not slot.is_held_too_long(now)):
            _log.info("%s: %s", slot.entry.name, outcome.message)
            slot.look()
            self._plan(slot, now)
            if slot.due is not None and slot.due < now + _SOON:
                slot.due = now + _SOON
                self._push(slot)
        else:
            self._take_failure(slot, outcome, now)
        self._observe(slot, now)

    def _take_success(self, slot: Slot, outcome: Renewed, now: datetime) -> None:
        slot.looked, slot.trouble, slot.error = outcome.looked, None, ""
        slot.stamp = outcome.looked.stamp
        note = replace(slot.note, fingerprint=outcome.looked.life.fingerprint, failures=0, next_try=0.0, error="")
        if outcome.was_renewed:
            _log.info(
                "%s: renewed until %s", slot.entry.name, outcome.looked.life.not_after.strftime("%Y-%m-%dT%H:%M:%SZ")
            )
            self._renewed += 1
            note = replace(note, renewed=now.timestamp())
            if slot.entry.after:
                others = tuple(each for each in note.deliveries if each.way != "after")
                note = replace(note, deliveries=(*others, Delivery(way="after", event=RENEWED)))
        self._keep(slot, note)
        self._plan(slot, now)

    def _take_failure(self, slot: Slot, error: Exception, now: datetime) -> None:
        if isinstance(error, GridError):
            message = error.message if error.hint is None else f"{error.message} ({error.hint})"
        else:
            message = f"internal error: {type(error).__name__}: {error}"
        self._failed += 1
        slot.look()  # it may be the file that is at fault
        failures = slot.note.failures + 1
        life = None if slot.looked is None else slot.looked.life
        again = retry_time(life, slot.entry.name, failures=failures, now=now)
        note = replace(slot.note, failures=failures, next_try=again.timestamp(), error=message[:MAX_ERROR])
        _log.warning("%s: not renewed (try %d): %s", slot.entry.name, failures, message)
        self._keep(slot, note)
        self._plan(slot, now)

    def _keep(self, slot: Slot, note: Note) -> None:
        slot.note = note
        if note.deliveries:
            self._untold.add(note.name)
        try:
            self._notes.save(note)
        except GridError as error:  # a full disk must not stop renewals; at worst something is told twice
            _log.error("%s: the note cannot be written: %s", slot.entry.name, error.message)

    # --- Telling ------------------------------------------------------------------------------------------------------

    def _observe_all(self, now: datetime) -> None:
        for slot in self.slots.values():
            if not slot.busy:
                self._observe(slot, now)

    def _observe(self, slot: Slot, now: datetime) -> None:
        """Have a new state told, each once."""
        state = slot.state(now)
        waits = state is State.MISSING and slot.entry.create and not slot.note.failures
        if state == slot.note.told or waits or not (state in _TOLD or state is State.OK):
            return
        if state is State.EXPIRED and slot.due is not None and not slot.note.failures:
            return  # found so at the start; it is tried first
        _log.log(logging.INFO if state is State.OK else logging.WARNING, "%s: %s", slot.entry.name, state.value)
        kept = tuple(each for each in slot.note.deliveries if each.way == "after")
        new = tuple(Delivery(way=way, event=state.value) for way in self._teller.ways)
        self._keep(slot, replace(slot.note, told=state.value, deliveries=(*kept, *new)))

    def _start_telling(self, now: datetime, *, anew: bool = False) -> None:
        assert self._pools is not None
        present = now.timestamp()
        for name in list(self._untold):
            slot = self.slots.get(name)
            if slot is None or not slot.note.deliveries:
                self._untold.discard(name)
                continue
            for each in slot.note.deliveries:
                waits = present < each.next_try <= present + _LAST_TELL  # further off: the clock was set back
                if each.way in slot.telling or (waits and not anew):
                    continue
                slot.telling.add(each.way)
                self._working += 1
                self._pools[1].submit(self._tell, slot, each, slot.news(each.event), self._teller)

    def _tell(self, slot: Slot, delivery: Delivery, news: News, teller: Teller) -> None:
        """Run in a thread that tells."""
        problem = ""
        try:
            if delivery.way == "after":
                run_program(slot.entry.after, news)
            else:
                teller.deliver(delivery.way, news)
        except Exception as error:  # noqa: BLE001  # noted, and tried again
            problem = str(error) or type(error).__name__
        self._done.put(lambda: self._finish_telling(slot, delivery, problem))

    def _finish_telling(self, slot: Slot, delivery: Delivery, problem: str) -> None:
        slot.telling.discard(delivery.way)
        self._working -= 1
        if delivery not in slot.note.deliveries or self.slots.get(slot.entry.name) is not slot:
            return  # something newer is to be told
        rest = tuple(each for each in slot.note.deliveries if each != delivery)
        tries = delivery.tries + 1
        if problem:
            _log.warning("%s: %s not told by %s: %s", slot.entry.name, delivery.event, delivery.way, problem)
        if problem and tries < MAX_TRIES:
            wait = min(_FIRST_TELL * 2 ** min(tries - 1, 16), _LAST_TELL)
            again = replace(delivery, tries=tries, error=problem[:MAX_ERROR], next_try=self._clock().timestamp() + wait)
            rest = (*rest, again)
        self._keep(slot, replace(slot.note, deliveries=rest))
