"""The certificate of the portal's own web server, followed as its files change; not the credential it is known by.

certificate = WebCertificate(config.http)    # ConfigError where it cannot be used
certificate.context()                        # for one connection
certificate.certificate()                    # in DER, for what is bound to it; None without TLS here
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from typing import TYPE_CHECKING, Final

from gsi.certificate import load_certificates
from gsi.credential import MAX_CREDENTIAL_BYTES
from gsi.errors import ConfigError, GridError
from gsi.system.files import read_public

if TYPE_CHECKING:
    from myproxy.portal.config import HTTPSettings

__all__ = ["WebCertificate"]

_log: Final = logging.getLogger("myproxy.portal")


class WebCertificate:
    """The certificate in use: the newest that could be. Safe for use by several threads."""

    def __init__(self, settings: HTTPSettings) -> None:
        """Read it.

        Raises:
            ConfigError: It cannot be used.
        """
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp: object = None
        self._found: tuple[ssl.SSLContext, bytes] | None = None
        self._follow()

    def context(self) -> ssl.SSLContext:
        """Return the TLS context of a connection; only where TLS ends here."""
        found = self._follow()
        assert found is not None
        return found[0]

    def certificate(self) -> bytes | None:
        """Return the server's certificate in DER, None where TLS ends elsewhere."""
        found = self._follow()
        return None if found is None else found[1]

    def _follow(self) -> tuple[ssl.SSLContext, bytes] | None:
        settings = self._settings
        if not settings.certificate:
            return None
        with self._lock:
            stamp = [_stamp_of(one) for one in (settings.certificate, settings.key) if one]
            if stamp != self._stamp:
                try:
                    self._found = _load(settings)
                except GridError as error:
                    if self._stamp is None:
                        raise
                    _log.error("the new certificate is not used, the old one stays: %s", error)
                self._stamp = stamp
            return self._found


def _stamp_of(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load(settings: HTTPSettings) -> tuple[ssl.SSLContext, bytes]:
    path = settings.certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(path, settings.key or None)
        found = load_certificates(read_public(path, max_bytes=MAX_CREDENTIAL_BYTES), what=path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"[http] certificate: {path}: {error.args[-1]}") from error
    return context, found[0].der
