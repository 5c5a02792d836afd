"""Whether what a service needs answers, for balancers and monitors; not what it counts (`gsi.system.metrics`).

    health = Health({"trust": look_at_trust, "store": store.check}, log="myproxy.portal")
    text, status = health.page()                 # "ok" and 200, or the parts that fail and 503
    write_text([health.family("myproxy_portal")])

Each part is a function that raises a GridError where something is wrong. They are called in a thread, one after
another, and what they said is good for `KEPT_SECONDS`, so that whoever asks often costs nothing. Nobody waits longer
than `LOOKUP_SECONDS`; while a part hangs the answer is that it does, at once. Strangers may ask: they learn which part
it is, the log has why.
"""

from __future__ import annotations

import logging
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from prometheus_client.core import Metric

    from gsi.certificate import Certificate
    from gsi.trust.anchors import TrustAnchors

__all__ = ["Health", "check_anchors", "check_dates"]

KEPT_SECONDS: Final = 5.0
"""How long an answer is good for: balancers ask every few seconds, several of them at the same time."""
LOOKUP_SECONDS: Final = 3.0
"""How long one waits for it; balancers and monitors give up after 5 or 10."""
_FAILS: Final = "fails; the log has more"
_SILENT: Final = f"no answer within {LOOKUP_SECONDS:g} seconds"


class Health:
    """The parts of one process. Safe for use by several threads."""

    def __init__(
        self,
        parts: Mapping[str, Callable[[], object]],
        *,
        log: str,
        clock: Callable[[], float] = time.monotonic,
        patience: float = LOOKUP_SECONDS,
    ) -> None:
        """Know what to look at; nothing is looked at yet.

        Args:
            parts: What raises a GridError where a part fails, by its name; what may hang had better be the last.
            log: The name of the log.
            clock: Seconds that only grow.
            patience: Seconds that somebody waits.
        """
        self._parts = parts
        self._log = logging.getLogger(log)
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._told = dict.fromkeys(parts, "")
        self._good_until: float | None = None
        self._under_way: threading.Event | None = None
        self._looking_at = next(iter(parts))

    def checks(self) -> Mapping[str, str]:
        """Return what is wrong with each part, empty where nothing is."""
        with self._lock:
            if self._good_until is not None and self._clock() < self._good_until:
                return dict(self._told)
            done, begun = self._under_way, self._under_way is None
            if done is None:
                done = self._under_way = threading.Event()
                threading.Thread(target=self._look, args=(done,), name="health", daemon=True).start()
            if not begun and self._good_until is not None:  # somebody else waits for it
                return dict(self._told)
        is_done = done.wait(self._patience)
        with self._lock:
            if not is_done and self._under_way is done:
                self._good_until = self._clock()
                self._told[self._looking_at] = _SILENT
            return dict(self._told)

    def page(self, words: str = "") -> tuple[str, int]:
        """Return the text of a health page, and its status.

        Args:
            words: Further lines.
        """
        failing = [f"{part}: {text}\n" for part, text in self.checks().items() if text]
        if failing:
            return "".join([*failing, words]), HTTPStatus.SERVICE_UNAVAILABLE
        return f"ok\n{words}", HTTPStatus.OK

    def family(self, prefix: str) -> Metric:
        """Return the parts for `write_text`, as `PREFIX_check`."""
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(f"{prefix}_check", "Whether a part works, 1 or 0.", labels=("part",))
        for part, text in self.checks().items():
            family.add_metric((part,), 0 if text else 1)
        return family

    def _look(self, done: threading.Event) -> None:
        found = {part: self._ask(part, check) for part, check in self._parts.items()}
        with self._lock:
            self._told, self._good_until = found, self._clock() + KEPT_SECONDS
            self._under_way = None
        done.set()

    def _ask(self, part: str, check: Callable[[], object]) -> str:
        self._looking_at = part
        try:
            check()
        except GridError as error:
            if self._told[part] != _FAILS:
                self._log.error("%s fails: %s", part, error)
            return _FAILS
        except Exception:  # noqa: BLE001  or nobody would ever hear of this part again
            self._log.exception("%s fails", part)
            return _FAILS
        if self._told[part]:
            self._log.warning("%s works again", part)
        return ""


def check_anchors(anchors: TrustAnchors) -> None:
    """Insist that there is a CA.

    Raises:
        ConfigError: There is none.
    """
    if not anchors.authorities:
        raise ConfigError("there is no CA in the trust directory")


def check_dates(certificate: Certificate, *, now: datetime, what: str) -> None:
    """Insist that a certificate, `what` in messages, is one at this time.

    Raises:
        ConfigError: It is not.
    """
    if not certificate.not_before <= now <= certificate.not_after:
        dates = f"{certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC"
        raise ConfigError(f"{what} is good from {dates}", hint="have its CA renew it")
