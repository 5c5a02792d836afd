"""Where is the service? Options, KCA_HOST_LIST, krb5.conf, DNS, in this order; asks nobody but name servers.

    for endpoint in discover(realm="EXAMPLE.ORG"): endpoint.host, endpoint.port, endpoint.service_host

1. What the caller names: `host[:port]`, as with `-s`.
2. The variable KCA_HOST_LIST: the same, separated by blanks, as with Michigan's client.
3. krb5.conf: `kca = host[:port]` of the realm, as often as there are servers. No program knows it but ours.
4. DNS: SRV records of `_kca._udp` and `_kca._tcp` in the realm's domain, in the order of RFC 2782. Michigan's client
   reads the first of these, without weights and ports.
5. The realm's KDCs, because Heimdal's answer kx509 on their own port: `kdc =` of krb5.conf, or `_kerberos._udp`.

The first source that names anybody is the one that counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import ConfigError, TransportError
from gsi.kerberos.profile import read_settings
from gsi.system.environ import get_variable
from gsi.transport.stream import HostPort, parse_hosts
from kca.srv import lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kca.srv import Target

__all__ = ["DEFAULT_PORT", "KERBEROS_PORT", "Endpoint", "discover", "wants_raw_keys"]

DEFAULT_PORT: Final = 9878
"""IANA: kca-service."""
KERBEROS_PORT: Final = 88
HOST_LIST: Final = "KCA_HOST_LIST"
MAX_ENDPOINTS: Final = 16
"""Each may cost the whole time that a caller has patience for."""


class Endpoint(NamedTuple):
    """One service.

    Attributes:
        host: Its name or address.
        port: Its port.
        service_host: The host in its principal, `kca_service/<host>`.
        udp: Whether it is to be asked by UDP.
        tcp: Whether it is to be asked by TCP.
        source: Where it was found, for people.
    """

    host: str
    port: int
    service_host: str
    udp: bool = True
    tcp: bool = True
    source: str = "given"

    def __str__(self) -> str:
        return str(HostPort(self.host, self.port))


def discover(
    realm: str, named: Sequence[str] = (), *, kdcs: bool = True, find: Callable[[str], Sequence[Target]] = lookup
) -> list[Endpoint]:
    """Return the services of a realm, in the order in which to ask them.

    Args:
        realm: The realm of the service.
        named: What the caller names.
        kdcs: Whether KDCs may be asked at last.
        find: Looks up SRV records.

    Raises:
        ConfigError: What was named is not a host, or nothing was found anywhere.
    """
    if named:
        return _listed(named, "given")
    if listed := (get_variable(HOST_LIST) or "").split():
        return _listed(listed, HOST_LIST)
    if listed := read_settings("realms", realm, "kca"):
        return _listed(listed, "krb5.conf")
    failures: list[str] = []
    if found := _from_dns(realm, find, failures) or (_from_kdcs(realm, find, failures) if kdcs else []):
        return found[:MAX_ENDPOINTS]
    told = f" ({'; '.join(failures)})" if failures else ""
    raise ConfigError(
        f"no KX.509 service known for the realm {realm}{told}",
        hint=f"name it with -s HOST, in {HOST_LIST}, or as kca = HOST of the realm in krb5.conf",
    )


def wants_raw_keys(realm: str) -> bool:
    """Say whether krb5.conf says that the realm's service takes bare RSA keys only (Heimdal's setting)."""
    values = read_settings("realms", realm, "kx509_req_use_raw_spki")
    return bool(values) and values[0].lower() in {"true", "yes", "y", "t", "1", "on"}


def _listed(entries: Sequence[str], source: str) -> list[Endpoint]:
    found: list[Endpoint] = []
    for entry in entries:
        found += [Endpoint(one.host, one.port, one.host, source=source) for one in _hosts(entry, DEFAULT_PORT)]
    if len(found) > MAX_ENDPOINTS:
        raise ConfigError(f"{len(found)} KX.509 services from {source}, limit {MAX_ENDPOINTS}")
    return found


def _hosts(entry: str, default_port: int) -> tuple[HostPort, ...]:
    return parse_hosts(entry, default_port=default_port)


def _from_dns(realm: str, find: Callable[[str], Sequence[Target]], failures: list[str]) -> list[Endpoint]:
    if not _dns_allowed():
        return []
    ways: dict[tuple[str, int], set[str]] = {}
    for protocol in ("udp", "tcp"):
        for target in _find(f"_kca._{protocol}.{realm}", find, failures):
            ways.setdefault((target.host, target.port), set()).add(protocol)
    return [
        Endpoint(host, port, host, udp="udp" in protocols, tcp="tcp" in protocols, source="DNS")
        for (host, port), protocols in ways.items()
    ]


def _from_kdcs(realm: str, find: Callable[[str], Sequence[Target]], failures: list[str]) -> list[Endpoint]:
    named = read_settings("realms", realm, "kx509_hostname") or read_settings("libdefaults", "kx509_hostname")
    found: list[HostPort] = []
    for entry in read_settings("realms", realm, "kdc"):
        kind, slash, rest = entry.partition("/")
        if slash and kind.lower() not in {"udp", "tcp"}:
            continue  # a proxy, or a Unix socket
        found += _hosts(rest if slash else entry, KERBEROS_PORT)
    if not found and _dns_allowed():
        found = [HostPort(one.host, one.port) for one in _find(f"_kerberos._udp.{realm}", find, failures)]
    return [Endpoint(one.host, one.port, named[0] if named else one.host, source="KDC") for one in found]


def _find(name: str, find: Callable[[str], Sequence[Target]], failures: list[str]) -> Sequence[Target]:
    try:
        return find(name)
    except TransportError as error:
        failures.append(error.message)
        return ()


def _dns_allowed() -> bool:
    """Whether krb5.conf lets servers be looked up in DNS, which it does unless it says otherwise."""
    values = read_settings("libdefaults", "dns_lookup_kdc")
    return not values or values[0].lower() not in {"false", "no", "n", "f", "0", "off", "nil"}
