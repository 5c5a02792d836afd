"""Other validators asked about the suite's cases; imports neither the builder nor anything of the project.

    suite.py        the manifest as values
    openssl.py      openssl verify -allow_proxy_certs
    gsi.py          the C library of GSI, through gsi_worker.py
    proxy_init.py   grid-proxy-init -verify
    table.py        what they said: verdicts.json, and the page made of it

`certs-test/run_peers.py` is the command.
"""

from __future__ import annotations

__all__: list[str] = []
