"""What is wrong, and what is well, with a server seen from outside, and with this machine's clock; part of a command.

    for finding in look_at_service("www.example.org", probe): ...
    for finding in look_at_gridftp("data.example.org:2811", probe): ...
    finding = look_at_clock("time.nist.gov", timeout=5)

The server is shown no certificate. How far its clock is off, TLS does not tell any more (TLS 1.3 has no time in it, and
newer TLS 1.2 puts random bytes there), so two things are looked at: certificates that are not valid yet, and the Date
of an HTTP reply. HTTP is spoken only to the ports where it is usual, or when asked to, since other services would take
it for an attack.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from gsi import names
from gsi.certificate import Certificate
from gsi.errors import AuthenticationError, GridError, ParseError, VerificationError
from gsi.system import clock
from gsi.transport.probe import ServerView, ask_http_date, look, stream_exchange
from gsi.transport.stream import HostPort, connect, parse_hosts
from gsi.transport.tls import ClientTLS
from gsi.transport.tls_stream import TLSStream
from gsi.trust.diagnose import Finding, Severity, diagnose_chain, diagnose_name, finding_of
from gsi.trust.options import CRLPolicy, Purpose, ValidationOptions
from gsi.trust.peername import NameMode
from gsi.trust.verify import verify_chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gsi.transport.stream import TCPStream
    from gsi.transport.tls import TLSSession
    from gsi.trust.anchors import TrustAnchors
    from gsi.trust.peer import VerifiedPeer

__all__ = ["HTTPS_PORT", "Probe", "look_at_clock", "look_at_gridftp", "look_at_service", "names_of_host"]

HTTPS_PORT = 443
GRIDFTP_PORT = 2811
HTTP_PORTS = frozenset({443, 8443})
TOLERANCE = timedelta(seconds=1)
"""A clock that is further off gets a warning, as from the C program."""
GRACE = timedelta(minutes=5)
"""Further off, fresh proxies are refused: they are valid from five minutes before they are made."""


class Probe(NamedTuple):
    """How servers are looked at.

    Attributes:
        anchors: Whom to trust; None where there is no trust directory, so that nobody is.
        mode: How names are compared.
        crl: What to do about revocation lists.
        host: The name that servers must have, instead of the one they are reached by.
        timeout: Seconds for all that is said with one server, the connection included.
        http: Whether to speak HTTP whatever the port.
    """

    anchors: TrustAnchors | None
    mode: NameMode
    crl: CRLPolicy
    host: str | None
    timeout: float
    http: bool


def names_of_host(host: str, address: str | None, mode: NameMode) -> list[str]:
    """Return a host's name, and, for the modes that believe the name service, what it calls the address.

    Args:
        host: The name that was meant.
        address: The address that it led to; None looks it up.
        mode: The mode.
    """
    import socket

    found = [host]
    if mode is NameMode.STRICT_RFC2818:
        return found
    try:
        if address is None:
            address = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
        canonical, _, _ = socket.gethostbyaddr(address)
        if address in {"127.0.0.1", "::1"}:
            canonical = socket.gethostname()  # as the C libraries, to whom the loopback is this machine
    except (OSError, UnicodeError):
        return found
    return [*found, canonical] if canonical and canonical != host else found


# --- Services --------------------------------------------------------------------------------------------------------


def look_at_service(text: str, probe: Probe) -> Iterator[Finding]:
    """Yield the findings about a TLS service, `HOST[:PORT]`."""
    yield from _with_connection(text, HTTPS_PORT, probe, _look_at_tls)


def look_at_gridftp(text: str, probe: Probe) -> Iterator[Finding]:
    """Yield the findings about a GridFTP service, `HOST[:PORT]`."""
    yield from _with_connection(text, GRIDFTP_PORT, probe, _look_at_ftp)


def _with_connection(
    text: str, port: int, probe: Probe, body: Callable[[TCPStream, HostPort, Probe], Iterator[Finding]]
) -> Iterator[Finding]:
    where = text
    try:
        entry = parse_hosts(text, default_port=port)[0]
        where = str(entry)
        stream, _ = connect([entry], timeout=probe.timeout, read_timeout=probe.timeout, within=probe.timeout)
        try:
            yield Finding(Severity.OK, "connection", where, f"connected to {stream.peer}")
            yield from body(stream, entry, probe)
        finally:
            stream.close()
    except GridError as error:
        yield finding_of(error, where)


def _look_at_tls(stream: TCPStream, entry: HostPort, probe: Probe) -> Iterator[Finding]:
    session = _session(entry, probe)
    view = look(session, stream_exchange(stream))
    yield from _view_findings(view, stream, entry, probe)
    if view.failure is None and (probe.http or entry.port in HTTP_PORTS):
        yield from _date_findings(TLSStream(stream, session), entry)


def _look_at_ftp(stream: TCPStream, entry: HostPort, probe: Probe) -> Iterator[Finding]:
    from gsi.context.ftp_probe import ControlProbe

    channel = ControlProbe(stream)
    greeting = channel.begin()
    yield Finding(Severity.OK, "greeting", str(entry), greeting.split("\n")[0].strip())
    view = look(_session(entry, probe), channel.exchange)
    yield from _view_findings(view, stream, entry, probe)


def _session(entry: HostPort, probe: Probe) -> TLSSession:
    """Return a session that goes on only with a server whose chain is good, whatever its name."""

    def judge(chain: tuple[bytes, ...]) -> VerifiedPeer:
        if probe.anchors is None:
            raise _no_anchors()
        return verify_chain(chain, probe.anchors, now=clock.now(), options=_options(probe))

    wanted = probe.host or entry.host
    return ClientTLS().session(judge, server_name=None if _is_address(wanted) else wanted)


def _no_anchors() -> VerificationError:
    from gsi.errors import Reason

    return VerificationError("cannot be judged without a trust directory", reason=Reason.UNTRUSTED)


def _options(probe: Probe) -> ValidationOptions:
    return ValidationOptions(purpose=Purpose.SERVER, crl=probe.crl)


def _is_address(host: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _view_findings(view: ServerView, stream: TCPStream, entry: HostPort, probe: Probe) -> Iterator[Finding]:
    where = str(entry)
    if view.version is not None:
        yield Finding(Severity.OK, "tls", where, f"TLS {view.version}, {view.cipher or 'cipher not agreed on yet'}")
    if isinstance(view.failure, AuthenticationError):
        yield Finding(Severity.NOTE, "authentication", where, f"wants a certificate of its clients ({view.failure})")
    elif view.failure is not None and not (view.chain and isinstance(view.failure, VerificationError)):
        yield finding_of(view.failure, where)
    if not view.chain:
        return
    yield from _leaf_findings(view.chain[0], len(view.chain), where)
    if probe.anchors is None:
        yield finding_of(_no_anchors(), where)
        return
    found, peer = diagnose_chain(view.chain, probe.anchors, now=clock.now(), options=_options(probe), where=where)
    yield from found
    if peer is not None:
        hosts = names_of_host(probe.host or entry.host, None if probe.host else stream.peer.host, probe.mode)
        yield diagnose_name(peer, hosts, probe.mode, where=where)


def _leaf_findings(leaf_der: bytes, count: int, where: str) -> Iterator[Finding]:
    try:
        leaf = Certificate.parse(leaf_der)
        issuer = names.oneline(leaf.issuer_der)
        message = f"shows {count} certificate{'s' if count > 1 else ''}: {names.oneline(leaf.subject_der)}, by {issuer}"
        yield Finding(Severity.OK, "certificate", where, message)
    except ParseError as error:
        yield finding_of(error, where)


# --- Clocks ----------------------------------------------------------------------------------------------------------


def _date_findings(stream: TLSStream, entry: HostPort) -> Iterator[Finding]:
    where = str(entry)
    before = clock.now()
    try:
        date = ask_http_date(stream, entry.host)
    except GridError as error:
        yield Finding(Severity.NOTE, "clock-offset", where, f"tells no time by HTTP: {error.message}")
        return
    after = clock.now()
    if date is None:
        yield Finding(Severity.NOTE, "clock-offset", where, "tells no time by HTTP")
        return
    # Date has whole seconds, cut off; so the server's clock showed something from `date` to a second later.
    slow = date - after
    fast = before - (date + timedelta(seconds=1))
    yield _offset_finding(where, max(slow, fast, timedelta()), "its clock and this machine's", uncertain="")


def look_at_clock(text: str, *, timeout: float) -> Finding:
    """Return the finding about this machine's clock, by a time server `HOST[:PORT]`."""
    from gsi.transport.sntp import NTP_PORT, ask_time

    where = text
    try:
        entry = parse_hosts(text, default_port=NTP_PORT)[0]
        where = str(entry)
        reading = ask_time(entry.host, entry.port, clock=clock.now, timeout=timeout)
    except GridError as error:
        return finding_of(error, where, check="clock")
    sure = max(abs(reading.offset) - reading.uncertainty, timedelta())
    direction = "slow" if reading.offset > timedelta() else "fast"
    uncertain = f" (measured {abs(reading.offset).total_seconds():.3f} s {direction}, "
    uncertain += f"give or take {reading.uncertainty.total_seconds():.3f} s)"
    return _offset_finding(where, sure, "this machine's clock and the time server's", uncertain=uncertain)


def _offset_finding(where: str, offset: timedelta, whose: str, *, uncertain: str) -> Finding:
    """Return how far two clocks are apart at least, and what that means."""
    seconds = f"{offset.total_seconds():.0f} seconds"
    if offset <= TOLERANCE:
        return Finding(Severity.OK, "clock-offset", where, f"{whose} agree{uncertain}")
    message = f"{whose} are at least {seconds} apart{uncertain}"
    hint = "let both run an NTP client; see with grid-cert-diagnostics -n which one is wrong"
    if offset <= GRACE:
        return Finding(Severity.WARNING, "clock-offset", where, message, hint)
    return Finding(Severity.ERROR, "clock-offset", where, f"{message}: fresh proxies are refused", hint)
