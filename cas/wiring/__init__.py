"""From configuration to collaborators: the store, the keys, the policy and the service that use them."""

from __future__ import annotations
