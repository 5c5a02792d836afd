"""One renewal of one credential: lock, read, fetch, judge, put in place; the old one stays until the new one is proven.

    result = Renewer(config).renew(entry, now=now)
    result.life, result.was_renewed

A new credential takes the place of the old one only if its chain is trusted (`gsi.trust`), its key is that of its
certificate, it has the same identity, it is a proxy where the old one is and only there, it may do what the old one
may, and it lasts longer.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from gsi import oids
from gsi.errors import CredentialError, CredentialProblem
from gsi.proxy.chain import ProxyChain
from gsi.system.audit import AuditLog, AuditRecord, Verdict
from gsi.system.environ import read_locations
from gsi.system.trustdir import TrustDirectory
from gsi.trust.options import Purpose, ValidationOptions
from gsi.trust.verify import verify_chain
from myproxy.renewal.place import Held, Place, Stamp
from myproxy.renewal.schedule import Life, renewal_time
from myproxy.renewal.sources import fetch

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from gsi.credential import Credential
    from gsi.trust.anchors import TrustAnchors
    from myproxy.renewal.config import Entry, RenewalConfig, SourceSettings

    Fetch = Callable[..., Credential]

__all__ = ["Looked", "Renewed", "Renewer", "life_of", "look_at"]

_OPTIONS: Final = ValidationOptions(purpose=Purpose.ANY)
"""Hosts, robots and people alike."""


class Looked(NamedTuple):
    """What is in a place.

    Attributes:
        life: When it is valid.
        identity: Whose it is.
        stamp: Of the file.
    """

    life: Life
    identity: str
    stamp: Stamp | None


class Renewed(NamedTuple):
    """What came of an attempt.

    Attributes:
        looked: What is in the place now.
        was_renewed: Whether it is new; else somebody else has renewed it, and it is not due.
    """

    looked: Looked
    was_renewed: bool


def life_of(credential: Credential) -> Life:
    """Return when a credential is valid: the leaf's beginning, and the first end in its chain."""
    return Life(
        credential.certificate.not_before,
        credential.not_after,
        hashlib.sha256(credential.certificate.der).hexdigest(),
    )


def identity_of(credential: Credential) -> str:
    """Return whose a credential says it is."""
    return ProxyChain.split(credential.certificates).identity_text


def look_at(entry: Entry) -> Looked:
    """Return what is in an entry's place.

    Raises:
        CredentialError: MISSING, UNSAFE_FILE, or no credential.
        GridError: It is malformed.
    """
    held = Place(entry.path, entry.key).read()
    return Looked(life_of(held.credential), identity_of(held.credential), held.stamp)


class Renewer:
    """Renews credentials; may be used by several threads.

    Args:
        config: The configuration.
        fetch_new: Fetches a new credential, as `myproxy.renewal.sources.fetch`.
    """

    def __init__(self, config: RenewalConfig, *, fetch_new: Fetch = fetch) -> None:
        self._config = config
        self._fetch = fetch_new
        self._trust_dir = config.trust or read_locations().trust_dir
        self._trust = TrustDirectory(self._trust_dir, recheck_seconds=1.0)
        self._audit = AuditLog(config.audit) if config.audit else None

    def renew(self, entry: Entry, *, clock: Callable[[], datetime]) -> Renewed:
        """Renew an entry's credential, if it is due.

        Args:
            entry: The entry.
            clock: The present time.

        Raises:
            BusyError: Another agent is at it.
            ChangedError: Somebody has changed the file meanwhile.
            GridError: It was not renewed, and what was there is there.
        """
        place = Place(entry.path, entry.key)
        with place.lock():
            held = _read_if_there(place, entry)
            if held is not None:
                before = Looked(life_of(held.credential), identity_of(held.credential), held.stamp)
                if entry.identity and before.identity != entry.identity:
                    raise CredentialError(
                        f"{entry.path}: is a credential of {before.identity}, not of {entry.identity}",
                        problem=CredentialProblem.UNSAFE_FILE,
                        path=entry.path,
                    )
                if clock() < renewal_time(before.life, entry.name):
                    return Renewed(before, was_renewed=False)
            anchors = self._trust.anchors()
            source = self._config.source[entry.source]
            new = self._get(entry, source, held, anchors)
            identity = self._judge(entry, new, held, anchors, clock())
            self._record(entry, identity, clock())
            stamp = place.put(new, held)
            return Renewed(Looked(life_of(new), identity, stamp), was_renewed=True)

    def close(self) -> None:
        """Close the audit."""
        if self._audit is not None:
            self._audit.close()

    def _get(self, entry: Entry, source: SourceSettings, held: Held | None, anchors: TrustAnchors) -> Credential:
        return self._fetch(
            entry,
            source,
            None if held is None else held.credential,
            anchors=anchors,
            trust_dir=self._trust_dir,
            workspace=self._config.state,
        )

    def _judge(self, entry: Entry, new: Credential, held: Held | None, anchors: TrustAnchors, now: datetime) -> str:
        """Return the new credential's identity if it may take the place.

        Raises:
            VerificationError: It is not trusted.
            CredentialError: It is another's, of another kind, or lasts no longer.
        """
        peer = verify_chain(new.certificates, anchors, now=now, options=_OPTIONS)
        expected = entry.identity or (identity_of(held.credential) if held is not None else "")
        if peer.identity != expected:
            raise CredentialError(
                f"what came is a credential of {peer.identity}, not of {expected}",
                problem=CredentialProblem.KEY_MISMATCH,
            )
        if held is not None:
            _compare(ProxyChain.split(held.credential.certificates), ProxyChain.split(new.certificates))
            if peer.not_after <= held.credential.not_after:
                raise CredentialError(
                    f"what came ends at {peer.not_after:%Y-%m-%d %H:%M:%SZ}, no later than what is there",
                    problem=CredentialProblem.EXPIRED,
                    hint="what is stored at the server is about to end, or the server limits lifetimes",
                )
        return peer.identity

    def _record(self, entry: Entry, identity: str, now: datetime) -> None:
        """Put it on record before the new one can be used.

        Raises:
            StorageError: The audit cannot be written; nothing is renewed then.
        """
        if self._audit is not None:
            self._audit.record(
                AuditRecord(
                    time=now,
                    request_id=entry.name,
                    service="myproxy-renewd",
                    action="RENEW",
                    verdict=Verdict.PERMIT,
                    reason=f"from {entry.source}",
                    peer=identity,
                    address="",
                    details={"path": entry.path},
                )
            )


def _read_if_there(place: Place, entry: Entry) -> Held | None:
    return None if entry.create and place.look() is None else place.read()


def _compare(held: ProxyChain, new: ProxyChain) -> None:
    """See that a new chain is good for what the old one is: what uses it would fail later, where nobody looks.

    Raises:
        CredentialError: It is of another kind, or worth less.
    """
    if bool(new.proxies) is not bool(held.proxies):
        _refuse("what came is a proxy in place of a certificate, or the other way round")
    if new.is_limited and not held.is_limited:
        _refuse(
            "what came is a limited proxy, and what is there is a full one", "the server makes limited proxies only"
        )
    if _has_attributes(held) and not _has_attributes(new):
        _refuse(
            "what came has no VOMS attributes, and what is there has", 'name their sources: voms = ["VO:/VO/Role=..."]'
        )


def _has_attributes(chain: ProxyChain) -> bool:
    return any(proxy.find_extension(oids.VOMS_AC_SEQUENCE) is not None for proxy in chain.proxies)


def _refuse(why: str, hint: str | None = None) -> NoReturn:
    raise CredentialError(why, problem=CredentialProblem.KEY_MISMATCH, hint=hint)
