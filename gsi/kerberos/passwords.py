"""Kerberos: is this the password of that principal; no policy.

    check_password("alice", passphrase, service="myproxy@host.example.org", keytab="/etc/myproxy.keytab")

A ticket that the KDC gives out for a password proves nothing by itself: whoever answers in the KDC's place can make one
up. So the ticket is used against a service of our own, whose key only the real KDC shares with us, and the name that
this service sees is the one that counts.

Needs the extra `kerberos`, which is imported at the first check. The settings of libkrb5 (krb5.conf and its variables)
count, among them how long it looks for a KDC. Nothing is written to a credential cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsi.errors import AuthenticationError, ConfigError, TransportError

if TYPE_CHECKING:
    from types import ModuleType

    from gsi.secret import Passphrase

__all__ = ["check_password", "make_principal", "require_gssapi"]

MAX_TOKENS: Final = 8
"""Kerberos takes one token, or two each way with mutual authentication; no loop without an end."""
_SPECIAL: Final = frozenset("\\/@")
_AWAY: Final = frozenset({-1765328228, -1765328203, -1765328164, -1765328160, -1765328230})
"""KRB5_KDC_UNREACH, KRB5_KT_NOTFOUND, KRB5_REALM_CANT_RESOLVE, KRB5_CONFIG_CANTOPEN, KRB5_REALM_UNKNOWN."""


def require_gssapi() -> None:
    """Find out early whether passwords can be checked at all.

    Raises:
        ConfigError: gssapi is not installed.
    """
    _import_gssapi()


def make_principal(username: str, realm: str | None = None) -> str:
    r"""Return the principal of one component that a user name stands for; `\`, `/` and `@` in it mean themselves.

    Args:
        username: The name.
        realm: Its realm; None leaves it to libkrb5.
    """
    name = "".join("\\" + char if char in _SPECIAL else char for char in username)
    return name if realm is None else f"{name}@{realm}"


def check_password(
    username: str, passphrase: Passphrase, *, service: str, realm: str | None = None, keytab: str | None = None
) -> None:
    """Return when this is the user's password.

    Args:
        username: A principal of one component.
        passphrase: The password.
        service: The service that the ticket is tried on: `name@host` or, with a slash, a principal.
        realm: The user's realm; None is the default one.
        keytab: Where the service's key is; None is libkrb5's default place.

    Raises:
        AuthenticationError: It is not, or is empty; or the KDC does not know the service's key.
        TransportError: It cannot be found out: no KDC answers, or our own settings or key are not there.
        ConfigError: gssapi is not installed.
    """
    if not passphrase or not username or "\0" in username:
        raise AuthenticationError("Kerberos: a name and a password are needed")
    gssapi = _import_gssapi()
    try:
        name = gssapi.Name(make_principal(username, realm), gssapi.NameType.kerberos_principal)
        asked = str(name.canonicalize(gssapi.MechType.kerberos))
        proved = _use_ticket(gssapi, name, passphrase, service, keytab)
    except gssapi.exceptions.GSSError as error:
        if _signed(getattr(error, "min_code", 0)) in _AWAY:
            raise TransportError(f"Kerberos: {_describe(error)}") from error
        raise AuthenticationError(f"Kerberos: {_describe(error)}") from error
    if proved != asked:
        raise AuthenticationError(f"Kerberos: the ticket is for {proved!r}, not for {asked!r}")


def _use_ticket(gssapi: ModuleType, name: object, passphrase: Passphrase, service: str, keytab: str | None) -> str:
    """Get a ticket, show it to ourselves, and return whose it is."""
    kinds, kerberos = gssapi.NameType, gssapi.MechType.kerberos
    target = gssapi.Name(service, kinds.kerberos_principal if "/" in service else kinds.hostbased_service)
    accepting = gssapi.Credentials(
        name=target, usage="accept", mechs=[kerberos], store=None if keytab is None else {b"keytab": keytab.encode()}
    )
    ticket = gssapi.raw.acquire_cred_with_password(name, passphrase.reveal(), mechs=[kerberos], usage="initiate").creds
    initiator = gssapi.SecurityContext(name=target, creds=ticket, usage="initiate", mech=kerberos, flags=0)
    acceptor = gssapi.SecurityContext(creds=accepting, usage="accept")
    token = initiator.step()
    for _ in range(MAX_TOKENS):
        answer = acceptor.step(token) if token else None
        if acceptor.complete:
            return str(acceptor.initiator_name)
        if not answer:
            break
        token = initiator.step(answer)
    raise AuthenticationError("Kerberos: the service does not take the ticket")


def _import_gssapi() -> ModuleType:
    try:
        import gssapi
        import gssapi.raw
    except ImportError as error:
        raise ConfigError("gssapi is not installed", hint="pip install 'gsi-toolkit[kerberos]'") from error
    except OSError as error:  # its shared libraries
        raise ConfigError(f"gssapi cannot be used: {error}") from error
    module: ModuleType = gssapi
    return module


def _signed(code: int) -> int:
    """Return a code as libkrb5 writes it, whatever GSSAPI has made of its sign."""
    return code - (1 << 32) if code >= 1 << 31 else code


def _describe(error: Exception) -> str:
    """Return libkrb5's words in one line."""
    return " ".join(str(error).split())[:500]
