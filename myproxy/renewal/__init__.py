"""The agent that renews credentials before they end: proxies, and the certificates of hosts and robots.

    config      what is to be renewed, from where, and who is told
    schedule    when: pure arithmetic on lifetimes
    place       the file: read, locked, replaced in one step, never worse than it was
    sources     where a new credential comes from: a MyProxy server, a Kerberos authority
    notes       what must survive a restart
    attempt     one renewal of one credential
    tell        telling people and programs
    agent       the loop
    status      what is told of it all

It is a client of services that judge it, with no rights but those of its own credential; nothing here issues anything.
"""

from __future__ import annotations

__all__: list[str] = []
