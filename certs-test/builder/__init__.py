"""The builder of the conformance suite's cases; it imports nothing of the project that the suite judges.

    der.py          bytes, right ones and wrong ones
    names.py        distinguished names in any string type, and the hashes that name a trust directory's files
    keys.py         the committed test keys, and signatures that come out the same each time
    certificates.py certificates and CRLs, every field of which can be made wrong
    world.py        the CAs, users and trust directories that most cases share
    model.py        cases, what is expected of them, and the manifest
    cases/          the cases, one file per subject

`certs-test/build.py` is the command.
"""

from __future__ import annotations

__all__: list[str] = []
