"""Pass phrases judged by a Kerberos KDC that has to prove itself; not how it is asked (`gsi.kerberos`).

method = KerberosMethod(service="myproxy@host.example.org", realm="EXAMPLE.ORG", keytab="/etc/myproxy.keytab")
method.check("alice", passphrase)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsi.errors import AuthenticationError, TransportError
from gsi.kerberos import check_password, require_gssapi
from myproxy.auth.base import Method, UnjudgedError

if TYPE_CHECKING:
    from gsi.secret import Passphrase

__all__ = ["KerberosMethod"]


class KerberosMethod:
    """A `PasswordMethod`. Safe for use by several threads."""

    method = Method.KERBEROS

    def __init__(self, *, service: str, realm: str | None = None, keytab: str | None = None) -> None:
        """Say who judges.

        Args:
            service: The service whose key proves the KDC: `name@host`, or a principal with a slash.
            realm: The users' realm, or None for the default one.
            keytab: Where the service's key is, or None for libkrb5's default place.

        Raises:
            ConfigError: gssapi is not installed.
        """
        require_gssapi()
        self._service = service
        self._realm = realm
        self._keytab = keytab

    def check(self, username: str, passphrase: Passphrase) -> None:
        """See `PasswordMethod.check`."""
        try:
            check_password(username, passphrase, service=self._service, realm=self._realm, keytab=self._keytab)
        except AuthenticationError as error:
            raise AuthenticationError("Kerberos authentication failed") from error
        except TransportError as error:
            raise UnjudgedError("Kerberos authentication failed", asked=True) from error
