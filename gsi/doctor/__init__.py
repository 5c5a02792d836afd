"""Looking over a machine of a site: what `gsi-doctor` asks, its looks, and parts for the looks of services.

`visit` holds what was asked, `parts` and `ports` what several looks have in common, `machine` the looks at what belongs
to no service, `run` finds all looks: each package contributes its own by an entry point of the group `gsi.doctor`, so
nothing here imports a service. Nothing is changed by looking: no table is upgraded, no file made.
"""

from __future__ import annotations

__all__: list[str] = []
