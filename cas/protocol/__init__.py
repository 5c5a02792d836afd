"""What goes over the wire, sans-IO. This front door has no code."""

from __future__ import annotations
