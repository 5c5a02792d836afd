"""The cases, one file per subject; each has `cases()`. The order here is the manifest's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.cases import (
    captured,
    chains,
    constraints,
    crl_issuers,
    crls,
    depth,
    encoding,
    extensions,
    info,
    issuers,
    keytypes,
    kinds,
    legacy,
    mutations,
    names,
    namespaces,
    path,
    policies,
    proxynames,
    times,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["all_cases"]

_MODULES = (
    kinds, depth, proxynames, info, extensions, legacy, issuers, chains, encoding, names, times, keytypes, path,
    constraints, policies, namespaces, crls, crl_issuers, mutations, captured,
)  # fmt: skip


def all_cases() -> Iterator[Case]:
    """Yield every case."""
    for module in _MODULES:
        yield from module.cases()
