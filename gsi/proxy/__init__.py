"""Proxy certificates (RFC 3820 and the two older Globus forms): read, tell apart, make; not the judging of trust.

    kinds.classify(certificate)                      which role, form and kind one certificate has
    chain.ProxyChain.split(certificates)             proxies, end entity and CAs; identity, depth, expiry
    issue.make_proxy(credential, options, now=now)   a new proxy under a credential
    info, legacy                                     the extension's bytes, RFC 3820 and before

`gsi.trust.verify` decides whether a chain is to be believed. Nothing is imported here: a command pays only for the
room that it enters.
"""

from __future__ import annotations

__all__: list[str] = []
