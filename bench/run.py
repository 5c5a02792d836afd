"""Every figure in one run: `make bench`. Exit status 0 when all were reached."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import (
    authz,
    callout,
    capabilities,
    cas_enforcement,
    cas_enroll,
    cas_forms,
    cas_policy,
    cas_server,
    commands,
    fetch_crl,
    gridmap,
    kx509,
    myproxy,
    portal,
    renewal,
    repository,
    rsl,
    validate,
)
from bench.pairs import show


def main() -> int:
    """Measure everything and print one table."""
    return (
        0
        if show(
            [
                *commands.figures(),
                *validate.figures(),
                *authz.figures(),
                *callout.figures(),
                *rsl.figures(),
                *gridmap.figures(),
                *fetch_crl.figures(),
                *myproxy.figures(),
                *portal.figures(),
                *renewal.figures(),
                *repository.figures(),
                *capabilities.figures(),
                *cas_enforcement.figures(),
                *cas_policy.figures(),
                *cas_enroll.figures(),
                *cas_forms.figures(),
                *cas_server.figures(),
                *kx509.figures(),
            ]
        )
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
