"""Fetching the documents of token issuers (discovery, keys): https alone, no redirections, small and soon.

    fetcher = HTTPSFetcher(make_context("/etc/grid-security/certificates"))
    cache = KeyCache(rules, fetcher)

A `gsi.tokens.keycache.Fetcher`. What is fetched decides whom a site believes, so nothing may lead elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.errors import ConfigError, TransportError
from gsi.tokens.keys import MAX_KEY_SET_BYTES
from gsi.tokens.rules import check_https
from gsi.transport.http import fetch

if TYPE_CHECKING:
    import ssl

    from gsi.transport.http import Proxies

__all__ = ["TIMEOUT", "HTTPSFetcher"]

TIMEOUT: Final = 10.0
"""Seconds for a document with everything: a client waits for its decision meanwhile."""


class HTTPSFetcher:
    """Fetches documents over https.

    Args:
        context: Made by `gsi.transport.http.make_context`; None makes one with the system's CAs.
        timeout: Seconds for one document.
        max_bytes: The most that is taken.
        proxies: None goes directly.
    """

    __slots__ = ("_context", "_max_bytes", "_proxies", "_timeout")

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

    def fetch(self, url: str) -> bytes:
        """Return the document; as for `Fetcher`.

        Raises:
            TransportError: It cannot be had, or the URL is not https.
            RefusedError: The server's no.
        """
        try:
            check_https(url, "the place")
        except ConfigError as error:
            raise TransportError(error.message) from error
        return fetch(
            url,
            timeout=self._timeout,
            max_bytes=self._max_bytes,
            proxies=self._proxies,
            context=self._context,
            max_redirects=0,
        ).data
