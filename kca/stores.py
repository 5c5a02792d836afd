"""Certificates in credential caches, as the known clients keep them there; asks no service.

    with open_store(None) as store:
        store.save(obtained.key, obtained.chain, realm="EXAMPLE.ORG")
        found = store.find()                       # key, certificate, chain; None
        store.remove()

Two forms, both written and read. Michigan's: a ticket for `kx509/certificate` whose ticket is an RSAPrivateKey and
whose second ticket is the certificate; for RSA keys alone. Heimdal's: settings of the cache, `kx509cert`, `kx509key`
(PKCS#8), `kx509cert-chain` and `kx509_service_realm`; for every key. What is replaced or removed leaves no bytes in a
cache that is a file. The cache goes with `kdestroy`, and the key with it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi import keys
from gsi.certificate import Certificate
from gsi.credential import Credential, order_chain
from gsi.kerberos.ccache import (
    CONFIG_REALM,
    Entry,
    cache_name,
    cache_owner,
    check_rewritable,
    config_name,
    open_cache,
    read_entries,
    rewrite,
)
from gsi.kerberos.libkrb5 import Context
from gsi.kerberos.ticket import Principal
from gsi.pem import encode_pem, split_pem
from kca.protocol.codec import encode_certificates, parse_certificates

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterator, Sequence

__all__ = ["Form", "Store", "Stored", "open_store"]

_TICKET: Final = ("kx509", "certificate")
_CERTIFICATE: Final = "kx509cert"
_KEY: Final = "kx509key"
_CHAIN: Final = "kx509cert-chain"
_REALM: Final = "kx509_service_realm"
_SETTINGS: Final = frozenset({_CERTIFICATE, _KEY, _CHAIN, _REALM, "kx509_service_status", "kx509store"})


class Form:
    """Names of the forms, as `kxlist` shows them."""

    TICKET = "kx509/certificate"
    SETTINGS = "kx509cert"


class Stored(NamedTuple):
    """What a cache holds in one form."""

    form: str
    key: keys.PrivateKey
    chain: tuple[Certificate, ...]
    """Leaf first."""

    @property
    def credential(self) -> Credential:
        """Key, certificate and chain.

        Raises:
            CredentialError: They do not belong together.
        """
        return Credential(self.key, self.chain[0], order_chain(self.chain[0], self.chain[1:]))


class Store:
    """One credential cache. Made by `open_store`."""

    def __init__(self, context: Context, cache: ctypes.c_void_p) -> None:
        self._context = context
        self._cache = cache

    @property
    def name(self) -> str:
        """The cache's full name."""
        return cache_name(self._context, self._cache)

    @property
    def owner(self) -> Principal:
        """Whose tickets are in it.

        Raises:
            CredentialError: MISSING: there is no cache.
        """
        return cache_owner(self._context, self._cache)

    def check_writable(self) -> None:
        """Find out whether `save` could write the cache, before a certificate is asked for that would be lost.

        Raises:
            CredentialError: MISSING or UNWRITABLE.
            KerberosError: The cache cannot be read.
        """
        check_rewritable(self._context, self._cache)

    def save(self, key: keys.PrivateKey, chain: Sequence[Certificate], *, realm: str) -> None:
        """Put a certificate with its key into the cache, in place of what is there.

        Args:
            key: The key.
            chain: The certificates, leaf first.
            realm: The realm of the service it is from.

        Raises:
            CredentialError: MISSING or UNWRITABLE.
            KerberosError: The cache cannot be written.
        """
        leaf, owner = chain[0], self.owner
        entries = [
            Entry(config_name(_REALM), realm.encode()),
            Entry(config_name(_CERTIFICATE), leaf.der),
            Entry(config_name(_KEY), _key_der(key)),
        ]
        if len(chain) > 1:
            entries.append(Entry(config_name(_CHAIN), encode_certificates(chain[1:])))
        if keys.is_rsa(key):
            server = Principal(_TICKET, owner.realm)
            old_form = _key_der(key, traditional=True)
            entries.append(Entry(server, old_form, leaf.der, leaf.not_before, leaf.not_after))
        rewrite(self._context, self._cache, drop=_is_ours, add=entries)

    def find_all(self) -> list[Stored]:
        """Return what is in the cache, the form that holds more first.

        Raises:
            CredentialError: MISSING: there is no cache.
            KerberosError: The cache cannot be read.
            GridError: What is there cannot be read.
        """
        entries = {entry.server: entry for entry in read_entries(self._context, self._cache)}
        settings = {name: found.ticket for name in _SETTINGS if (found := entries.get(config_name(name))) is not None}
        found_all: list[Stored] = []
        if _CERTIFICATE in settings and _KEY in settings:
            chain = parse_certificates(settings[_CHAIN]) if settings.get(_CHAIN) else ()
            key = _parse_key("PRIVATE KEY", settings[_KEY])
            found_all.append(Stored(Form.SETTINGS, key, (Certificate.parse(settings[_CERTIFICATE]), *chain)))
        for server, entry in entries.items():
            if server.components == _TICKET:
                key = _parse_key("RSA PRIVATE KEY", entry.ticket)
                found_all.append(Stored(Form.TICKET, key, (Certificate.parse(entry.second_ticket),)))
        return found_all

    def find(self) -> Stored | None:
        """Return the certificate of the cache that ends last, None where there is none; raises as `find_all`."""
        return max(self.find_all(), key=lambda one: one.chain[0].not_after, default=None)

    def remove(self) -> bool:
        """Take certificate and key out of the cache, in every form; say whether there was any.

        Raises:
            CredentialError: MISSING or UNWRITABLE.
            KerberosError: The cache cannot be written.
        """
        return bool(rewrite(self._context, self._cache, drop=_is_ours))


@contextlib.contextmanager
def open_store(name: str | None) -> Iterator[Store]:
    """Open a cache; None is the default one.

    Raises:
        KerberosError: There is no such kind of cache.
        ConfigError: Kerberos cannot be set up.
    """
    with Context() as context, open_cache(context, name) as cache:
        yield Store(context, cache)


def _is_ours(server: Principal) -> bool:
    if server.realm == CONFIG_REALM:
        return server.components[1:2] != () and server.components[1] in _SETTINGS
    return server.components == _TICKET


def _key_der(key: keys.PrivateKey, *, traditional: bool = False) -> bytes:
    (block,) = split_pem(keys.encode_private_key(key, traditional=traditional), what="private key")
    return block.data


def _parse_key(label: str, data: bytes) -> keys.PrivateKey:
    (block,) = split_pem(encode_pem(label, data), what="private key in the credential cache")
    return keys.parse_private_key(block)
