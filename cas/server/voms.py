"""The listener of VOMS as a part of the server: `cas.voms_server` with the community behind it.

serve(sockets, VOMSFactory(load, metrics).make, ...)
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from typing import TYPE_CHECKING

from cas.issuing import Form
from cas.protocol.voms import Refusal, VOMSRefusalError
from cas.voms_server import VOMSService, VOMSSettings
from cas.wiring.service import open_community
from gsi.errors import ConfigError, DeniedError, GridError
from gsi.system.credential_files import load_user_credential
from gsi.transport.rates import RateCap
from gsi.trust.options import Purpose, ValidationOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from cas.config import CASConfig
    from cas.metrics import Metrics
    from cas.wiring.service import OpenedCommunity
    from gsi.credential import Credential
    from gsi.trust.peer import VerifiedPeer
    from gsi.voms.attribute_cert import AttributeCertificate
    from gsi.voms.exchange import FetchRequest

__all__ = ["VOMSFactory"]

_log = logging.getLogger("cas.voms")


class _Current:
    """The community in use, and the one before, with which some requests may still be busy."""

    def __init__(self, community: OpenedCommunity) -> None:
        self.community = community
        self._previous: OpenedCommunity | None = None

    def replace(self, community: OpenedCommunity) -> None:
        """Use another one from the next request on."""
        retired, self._previous, self.community = self._previous, self.community, community
        if retired is not None:
            retired.close()

    def close(self) -> None:
        """Close what is open."""
        if self._previous is not None:
            self._previous.close()
        self.community.close()


class VOMSFactory:
    """Makes the service of each worker.

    Args:
        config: The configuration.
        load: Reads it again, at SIGHUP.
        metrics: Counts.
        first_row: The row of counters of the first worker.
    """

    def __init__(self, config: CASConfig, load: Callable[[], CASConfig], metrics: Metrics, *, first_row: int) -> None:
        self._config = config
        self._load = load
        self._metrics = metrics
        self._first_row = first_row

    def use(self, number: int) -> None:
        """Say in a worker, before `make`, which one it is."""
        self._metrics.use(self._first_row + number)

    def reload(self) -> bool:
        """Read the configuration again, for workers that start later; False, and all stays, when it is not good."""
        try:
            self._config = self._load()
        except GridError as error:
            _log.error("the new configuration is not used, the old one stays: %s", error)
            return False
        return True

    def make(self) -> VOMSService:
        """Make it; called in each worker.

        Raises:
            GridError: Something that the configuration names cannot be used.
        """
        config = self._config
        try:
            current = _Current(open_community(config, meter=self._metrics.meter))
        except GridError as error:
            _log.error("a worker cannot start: %s: %s", error.slug, error)
            raise

        workers = config.voms.workers if config.voms is not None else 1
        rates = RateCap(max(1.0, config.http.requests_per_minute / workers))

        def reload() -> Credential:
            fresh = self._load()
            credential = _credential(fresh)
            current.replace(open_community(fresh, meter=self._metrics.meter))
            return credential

        return VOMSService(
            VOMSSettings(
                vo=config.community,
                validation=ValidationOptions(purpose=Purpose.CLIENT, crl=config.trust.crl),
            ),
            lambda peer, request, address: self._answer(current.community, rates, peer, request, address),
            credential=_credential(config),
            anchors=lambda: current.community.anchors(),  # noqa: PLW0108  the community is replaced
            on_reload=reload,
            on_close=current.close,
        )

    def _answer(
        self, community: OpenedCommunity, rates: RateCap, peer: VerifiedPeer, request: FetchRequest, address: str
    ) -> AttributeCertificate:
        wait = rates.admit(peer.identity, time.monotonic())
        if wait:
            raise DeniedError(f"too many requests, try again in {math.ceil(wait)} s")
        request_id = secrets.token_hex(8)
        if not community.is_member(peer):
            error = VOMSRefusalError(f"{peer.identity} is no member of this VO", refusal=Refusal.NOT_A_MEMBER)
            community.note_refusal("issue", error, peer=peer.identity, address=address, request_id=request_id)
            raise error
        made = community.answer_voms(peer, request, request_id, address=address)
        self._metrics.issued(Form.ATTRIBUTES.value)
        return made


def _credential(config: CASConfig) -> Credential:
    voms = config.voms
    if voms is None:
        raise ConfigError("[voms] is gone from the configuration", hint="restart the server")
    if voms.certificate:
        return load_user_credential(voms.certificate, voms.key or None)
    return load_user_credential(config.http.certificate, config.http.key or None)
