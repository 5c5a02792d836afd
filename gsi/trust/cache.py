"""A bounded memory of end entities and of proxies' issuer parts that were found good.

The next chain of that end entity costs no signature, and one with another proxy only that of its leaf.

    cache = VerificationCache()
    verify_chain(chain, anchors, now=now, cache=cache)

Kept is the state above a proxy, or with the end entity where that is the leaf, under a key of everything the verdict
came from: the bytes of those certificates, the contents of the trust directory, the caller's switches. Proxies at the
leaf are kept only where the same chains come again and again (`keeps_leaves`), as stored ones do. A state is used only
within the time for which it was proven (the validity of every certificate and CRL in it). Refusals are never kept. Safe
to share between threads: every step is one operation of a dictionary, and a lost race costs one verification more, or
leaves one entry's size uncounted.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from datetime import datetime

    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.options import ValidationOptions
    from gsi.trust.proxies import ProxyState

__all__ = ["DEFAULT_ENTRIES", "MAX_ENTRY_BYTES", "MAX_TOTAL_BYTES", "VerificationCache"]

DEFAULT_ENTRIES: Final = 1024  # issuer parts; at some 20 kB each (parsed certificates) this takes 20 MB
MAX_ENTRY_BYTES: Final = 64 << 10  # of DER in one issuer part; a longer one is verified each time
MAX_TOTAL_BYTES: Final = 8 << 20  # of DER in all: the usual 1024 take 5 MB; parsed, four times as much at most


class VerificationCache:
    """Remembers up to `max_entries` issuer parts of `MAX_TOTAL_BYTES` in all; the least recently used go first.

    Attributes:
        keeps_leaves: Whether whole chains of proxies are kept, too.
    """

    __slots__ = ("_entries", "_max_entries", "_sizes", "keeps_leaves")

    def __init__(self, max_entries: int = DEFAULT_ENTRIES, *, keeps_leaves: bool = False) -> None:
        self.keeps_leaves = keeps_leaves
        self._entries: OrderedDict[Hashable, ProxyState] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}  # of its own, because a plain dict's values can be listed in one step
        self._max_entries = max_entries

    def find(self, key: Hashable, now: datetime) -> ProxyState | None:
        """Return the state kept under a key if it holds at `now`."""
        state = self._entries.get(key)
        if state is None or not state.holds_from <= now <= state.holds_until:
            return None
        with suppress(KeyError):  # forgotten by another thread in between
            self._entries.move_to_end(key)
        return state

    def keep(self, key: Hashable, state: ProxyState) -> None:
        """Keep a state that was found good."""
        self._sizes[key] = sum(len(one.der) for one in (*state.certificates, *state.path.authorities))
        self._entries[key] = state
        while len(self._entries) > self._max_entries or sum(list(self._sizes.values())) > MAX_TOTAL_BYTES:
            try:
                oldest, _ = self._entries.popitem(last=False)
            except KeyError:
                return
            self._sizes.pop(oldest, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._sizes.clear()

    def __len__(self) -> int:
        return len(self._entries)


def cache_key(
    certificates: Sequence[bytes], anchors: TrustAnchors, options: ValidationOptions, *, whole: bool = False
) -> Hashable | None:
    """Return the key for certificates, DER; None when there are none, or too much of them to keep.

    Args:
        certificates: Those above a leaf, or a whole chain.
        anchors: What they are judged by.
        options: The caller's switches.
        whole: Whether it is a whole chain: its certificates stand at other places there than above a proxy, and errors
            name places.
    """
    total = 0
    digest = sha256()
    for der in certificates:
        total += len(der)
        digest.update(der)  # DER says its own length, so the certificates cannot run into one another
    if not 0 < total <= MAX_ENTRY_BYTES:
        return None
    return digest.digest(), anchors.generation, options.cache_key, whole
