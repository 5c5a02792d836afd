"""Fetching the documents of token issuers (discovery, keys): https alone, no redirections, small and soon.

    fetcher = HTTPSFetcher(make_context("/etc/grid-security/certificates"))
    cache = KeyCache(rules, fetcher)

A `gsi.tokens.keycache.Fetcher`. What is fetched decides whom a site believes, so nothing may lead elsewhere.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, TimeoutExpiredError, TransportError
from gsi.tokens.keys import MAX_KEY_SET_BYTES
from gsi.tokens.rules import check_https
from gsi.transport.http import fetch

if TYPE_CHECKING:
    import ssl

    from gsi.transport.http import Proxies

__all__ = ["TIMEOUT", "HTTPSFetcher"]

TIMEOUT: Final = 10.0
"""Seconds for all documents of an issuer with everything: a client waits for its decision meanwhile."""


class HTTPSFetcher:
    """Fetches documents over https.

    Args:
        context: Made by `gsi.transport.http.make_context`; None makes one with the system's CAs.
        timeout: Seconds for one document, and for all those that are fetched `together`.
        max_bytes: The most that is taken.
        proxies: None goes directly.
    """

    __slots__ = ("_context", "_ends", "_max_bytes", "_proxies", "_timeout")

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        timeout: float = TIMEOUT,
        max_bytes: int = MAX_KEY_SET_BYTES,
        proxies: Proxies | None = None,
    ) -> None:
        self._context = context
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._proxies = proxies
        self._ends: float | None = None  # of all documents that are fetched together; by the monotonic clock

    def together(self) -> HTTPSFetcher:
        """Return one whose documents all have to come within one and the same time, from now on; as for `Fetcher`."""
        found = HTTPSFetcher(self._context, timeout=self._timeout, max_bytes=self._max_bytes, proxies=self._proxies)
        found._ends = time.monotonic() + self._timeout
        return found

    def fetch(self, url: str) -> bytes:
        """Return the document; as for `Fetcher`.

        Raises:
            TransportError: It cannot be had, or the URL is not https.
            TimeoutExpiredError: The time is over.
            RefusedError: The server's no.
        """
        try:
            check_https(url, "the place")
        except ConfigError as error:
            raise TransportError(error.message) from error
        timeout = self._timeout if self._ends is None else self._ends - time.monotonic()
        if timeout <= 0:
            raise TimeoutExpiredError(f"{url}: no time left of {self._timeout:g} seconds for all documents")
        return fetch(
            url,
            timeout=timeout,
            max_bytes=self._max_bytes,
            proxies=self._proxies,
            context=self._context,
            max_redirects=0,
        ).data
