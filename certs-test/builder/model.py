"""A case: a chain before a trust directory, what is expected, and where it stands in a specification; builds nothing.

accept("rfc3820::basic::one-level", "One full proxy.", chain, spec="RFC 3820 s. 4.1")
refuse("rfc3820::path::exhausted", "...", chain, "proxy-path-length", spec="RFC 3820 s. 3.8.1")
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from builder.certificates import Entity, Facts
from builder.world import PLAIN, TrustDir, pem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NOW", "Case", "Option", "Setting", "accept", "refuse"]

NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""The time for which a case is judged unless it says otherwise; what is valid then is valid from 2025 to 2045."""

Option = bool | str | int | list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of the suite; the manifest documents the fields."""

    id: str
    description: str
    spec: tuple[str, ...]
    chain: bytes
    key: str | None
    trust: TrustDir
    time: datetime
    purpose: str
    options: Mapping[str, Option]
    features: tuple[str, ...]
    importance: str
    reason: str | None
    position: int | None
    facts: Facts | None
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    captured: Mapping[str, str] | None = None


class Setting(TypedDict, total=False):
    """How a case is judged; what is left out is as in most cases."""

    trust: TrustDir
    time: datetime
    purpose: str
    options: Mapping[str, Option] | None
    features: Sequence[str]
    importance: str
    not_applicable: Mapping[str, str]
    key: str | None


def accept(
    identifier: str,
    description: str,
    entity: Entity | bytes,
    *,
    spec: str | Sequence[str],
    facts: Facts | None = None,
    **setting: Unpack[Setting],
) -> Case:
    """Return a case that must be accepted; the facts are the entity's unless others are given."""
    if facts is None:
        assert isinstance(entity, Entity)
        facts = entity.facts
    return _case(identifier, description, entity, facts, None, spec=spec, setting=setting)


def refuse(
    identifier: str,
    description: str,
    entity: Entity | bytes,
    reason: str,
    position: int | None = 0,
    *,
    spec: str | Sequence[str],
    **setting: Unpack[Setting],
) -> Case:
    """Return a case that must be refused, for this reason and at this certificate (0 is the leaf)."""
    return _case(identifier, description, entity, None, (reason, position), spec=spec, setting=setting)


def _case(
    identifier: str,
    description: str,
    entity: Entity | bytes,
    facts: Facts | None,
    refusal: tuple[str, int | None] | None,
    *,
    spec: str | Sequence[str],
    setting: Setting,
) -> Case:
    key = setting.get("key")
    if isinstance(entity, Entity):
        key = key or (entity.key.path if entity.has_key else None)
        chain = b"".join(pem("CERTIFICATE", one) for one in entity.chain)
    else:
        chain = entity
    reason, position = refusal or (None, None)
    return Case(
        id=identifier,
        description=description,
        spec=(spec,) if isinstance(spec, str) else tuple(spec),
        chain=chain,
        key=key,
        trust=setting.get("trust", PLAIN),
        time=setting.get("time", NOW),
        purpose=setting.get("purpose", "CLIENT"),
        options=dict(setting.get("options") or {}),
        features=tuple(setting.get("features", ())),
        importance=setting.get("importance", "high"),
        reason=reason,
        position=position,
        facts=facts,
        not_applicable=dict(setting.get("not_applicable", {})),
    )
