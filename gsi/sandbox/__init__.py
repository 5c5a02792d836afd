"""The demo virtual organisation: a CA, a host, two users, every service, and a tour that really runs.

`authority` makes the certificates, `vo` lays them out in a private directory, `plan` holds the values by which each
package contributes its service and its tour steps (entry-point group `gsi.sandbox`), `services` starts and ends the
services, `tour` runs the steps and shows them. Services run as their own commands: nothing here imports them.
"""

from __future__ import annotations

__all__: list[str] = []
