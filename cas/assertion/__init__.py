"""Capabilities: what the community grants a user, as a value and in its signed forms. This front door has no code."""

from __future__ import annotations
