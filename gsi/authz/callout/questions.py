"""What the callout library asks and what the daemon answers, as values; their bytes are `messages.py`'s subject.

One class for each question; `Request` is any of them. Named tuples, because the gate starts once for every job and
must start fast.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "ASSERTION",
    "Answer",
    "Code",
    "Fact",
    "GateRequest",
    "JobRequest",
    "MapRequest",
    "OperationRequest",
    "Request",
    "ServiceRequest",
    "SessionRequest",
    "Verdict",
]


ASSERTION: Final = "authz_assert"
"""The action whose object is a text of the client's, not a path."""


class Fact(IntFlag):
    """What the library saw of a path, as the mapped user.

    RESOLVED says that the two paths are there and the others can be relied on at the time of asking. EMPTY is looked up
    for directories that are to be deleted (then it is) or written (then it may be: who cannot read it can replace it).
    FOLLOWED says, of a write, that each name looked up in the session was followed again just now.
    """

    RESOLVED = 1
    EXISTS = 2
    DIRECTORY = 4
    SYMLINK = 8
    EMPTY = 16
    FOLLOWED = 32


class Verdict(IntEnum):
    """The answer: permit, denied by a rule, or refused because something is broken."""

    PERMIT = 1
    DENY = 2
    FAILURE = 3


class Code(IntEnum):
    """Which of GRAM's errors says a denial best."""

    NONE = 0
    JOB_ID = 1
    EXECUTABLE = 2


class MapRequest(NamedTuple):
    """`globus_mapping`: which account is this peer? Asked as the service's own uid.

    Attributes:
        service: "file" for GridFTP, the service's name for the gatekeeper, "sharing" for shared endpoints.
        buffer_bytes: The room for the account's name, its NUL included.
        desired: The account that the client asks for, or None.
        chain: The peer's certificates in DER, leaf first, the root included.
        source: The peer's identity as the security context shows it, one-line form.
        target: The service's own identity.
        shared: For "sharing": the certificate of the share's owner, in PEM.
    """

    service: str
    buffer_bytes: int
    desired: str | None = None
    chain: tuple[bytes, ...] = ()
    source: str = ""
    target: str = ""
    shared: str | None = None


class ServiceRequest(NamedTuple):
    """`globus_authorization`: may this peer use the service at all? Attributes as in `MapRequest`."""

    service: str
    chain: tuple[bytes, ...] = ()
    source: str = ""
    target: str = ""
    shared: str | None = None


class SessionRequest(NamedTuple):
    """`GLOBUS_GSI_AUTHZ_HANDLE_INIT`: a control connection begins, now as the mapped user.

    Attributes:
        service: "file".
        chain: The peer's certificates in DER, leaf first, the root included.
        source: The peer's identity, one-line form.
        target: The service's own identity.
        resumed: The session was open before on a connection that is lost: nobody knows what was looked up in it.
    """

    service: str
    chain: tuple[bytes, ...] = ()
    source: str = ""
    target: str = ""
    resumed: bool = False


class OperationRequest(NamedTuple):
    """`GLOBUS_GSI_AUTHORIZE_ASYNC`: one file operation of the session.

    Attributes:
        action: "read", "write", "create", "delete", "lookup" or "authz_assert".
        object: `ftp://host/path` with dots, blanks and escapes resolved, links not; for "authz_assert" the assertion.
        facts: What the library saw of the path.
        real_path: Every link followed, also a dangling one; parts that do not exist as they are.
        link_path: The same but for the last part, which stays: what deleting or renaming acts on.
        files_now: For a write: where names that were looked up before lead to by now, parents followed, as far as that
            is not what it was then, and is no directory.
        directories_now: The same for those that are directories.
    """

    action: str
    object: str
    facts: Fact = Fact(0)
    real_path: str = ""
    link_path: str = ""
    files_now: tuple[str, ...] = ()
    directories_now: tuple[str, ...] = ()


class JobRequest(NamedTuple):
    """`globus_gram_jobmanager_authz`: a job start or a query, in the job manager.

    Attributes:
        job_id: `<n>.<m>`.
        query: "start", or the client's whole query: "status", "cancel", "signal 3", "register <mask> <url>", ...
        rsl: The job's description, canonical and evaluated, unparsed.
        chain: The certificates of whoever queries, leaf first; none at a start.
        source: Who queries, one-line form.
        target: Whose the job is: the identity of its delegated credential.
        environment: Some variables of the job manager, which belong to its first request.
    """

    job_id: str
    query: str
    rsl: str = ""
    chain: tuple[bytes, ...] = ()
    source: str = ""
    target: str = ""
    environment: tuple[tuple[str, str], ...] = ()


class GateRequest(NamedTuple):
    """The gate's question: may this job be started?

    Attributes:
        service: The gatekeeper's service ("jobmanager-fork").
        rsl: The job's description as the client sent it.
        chain: The client's certificates, leaf first, the root included.
        source: The client's identity as the gatekeeper shows it.
        environment: Some variables of this very request.
    """

    service: str
    rsl: str
    chain: tuple[bytes, ...] = ()
    source: str = ""
    environment: tuple[tuple[str, str], ...] = ()


Request: TypeAlias = MapRequest | ServiceRequest | SessionRequest | OperationRequest | JobRequest | GateRequest


class Answer(NamedTuple):
    """What the daemon says.

    Attributes:
        verdict: Anything but PERMIT refuses.
        account: For a permitted mapping, else empty.
        reason: A sentence for the client, without secrets; cut and made printable ASCII on the wire.
        decision_id: What the log has it under.
        code: For denials of jobs.
    """

    verdict: Verdict
    account: str = ""
    reason: str = ""
    decision_id: str = ""
    code: Code = Code.NONE
