"""Judging certificate chains: trust anchors and their rules, revocation, path validation, proxies. Pure values.

    verify.verify_chain(chain, anchors, now=now)     the whole judgement -> VerifiedPeer
    options.ValidationOptions                        the switches
    anchors.build_anchors(files, loaded_at=now)      a trust directory's files -> TrustAnchors
    peername.check_peer_name(peer, host, mode)       does a server's certificate belong to this host?

    hashes, signing_policy, namespaces, crl          the formats in a trust directory
    profile, signatures, name_constraints, path,     the parts of the judgement
    revocation, proxies, cache

Reading the directory from disk is `gsi.system.trustdir`. Nothing is imported here: a command pays only for the room
that it enters.
"""

from __future__ import annotations

__all__: list[str] = []
