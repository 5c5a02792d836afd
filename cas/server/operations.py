"""What the server can be asked over HTTPS: each operation with its path, its fields and what carries it out; no Flask.

    [operation] = [one for one in OPERATIONS if one.path == "/cas/v1/whoami"]
    answer = operation.run(asked)                              # plain values for JSON, or GridError

The operations of GT's CAS (addUser, grant, getGroupMembers, findApplicablePolicy, ...) are here as a few: everything
that changes the policy is a list of changes in the form of `cas.policy.changes`, made together or not at all. Things
are named as there: `["object", "FTPDirectoryTree", "ftp://host/d/*"]`. What a request may not hold is refused.
"""

from __future__ import annotations

from typing import Final

from cas.server.asking import QUESTION_OPERATIONS
from cas.server.capabilities import CAPABILITY_OPERATIONS
from cas.server.changing import CHANGE_OPERATIONS
from cas.server.enrolling import ENROL_USERS

__all__ = ["OPERATIONS"]

OPERATIONS: Final = (*CAPABILITY_OPERATIONS, *CHANGE_OPERATIONS, ENROL_USERS, *QUESTION_OPERATIONS)
"""Everything that needs a certificate, but for the OAuth endpoint."""
