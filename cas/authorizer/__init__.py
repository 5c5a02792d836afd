"""Enforcement at the resource: an authorizer for `gsi.authz` that acts upon the capabilities of communities.

    [authorizer.communities]
    type = "cas"

`settings` reads what a policy says of it, `evidence` finds and verifies what a subject brings, `rights` compares
objects, `decide` judges requests. Issuing capabilities is the other rooms' subject; none of them is asked.
"""

from __future__ import annotations

from cas.authorizer.decide import CommunityAuthorizer
from cas.authorizer.settings import PLUGIN, CASSettings, CommunitySettings

__all__ = ["PLUGIN", "CASSettings", "CommunityAuthorizer", "CommunitySettings"]
