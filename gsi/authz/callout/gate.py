r"""The gate in the gatekeeper's service line: it asks before the job manager hears of a job; decides nothing itself.

    stderr_log,local_cred - /usr/bin/gsi-authz-gram-gate gsi-authz-gram-gate -- \
        /usr/sbin/globus-job-manager globus-job-manager -conf /etc/globus/globus-gram-job-manager.conf -type fork

The gatekeeper starts it as the mapped user, with the facts of this very request in its environment and the request's
body on a descriptor. A permit replaces this process by the job manager. A refusal is written as the job manager's
answer would be: the client has it at once, no state file was written, and nothing is left to run later, which is what
the job manager's own callout cannot promise (docs/wire/authz-callout.md).

What it needs is little, and is imported late: it runs once for every job.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.authz.callout.gram import (
    AUTHORIZATION_DENIED,
    AUTHORIZATION_DENIED_EXECUTABLE,
    AUTHORIZATION_DENIED_JOB_ID,
    AUTHORIZATION_SYSTEM_FAILURE,
    MAX_BODY_BYTES,
    PROTOCOL_FAILED,
    encode_refusal,
    parse_job_request,
)
from gsi.authz.callout.messages import (
    MAX_ANSWER_BYTES,
    MAX_CERTIFICATES,
    Answer,
    Code,
    FrameReader,
    GateRequest,
    Verdict,
    encode_request,
    parse_answer,
)
from gsi.errors import GridError, ParseError, TimeoutExpiredError, TransportError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from gsi.authz.callout.messages import Request

__all__ = ["GATE_MARK", "GateOptions", "ask_daemon", "run_gate"]

GATE_MARK: Final = "GSI_AUTHZ_GATE"
"""Set for the job manager: its callout tells the daemon by it that a gate stands in front."""

PASSED_VARIABLES: Final = (
    "REMOTE_ADDR",
    "GATEKEEPER_JM_ID",
    "GATEKEEPER_PEER",
    "GLOBUS_ID",
    "SCRIPT_NAME",
    "HOME",  # this one and the next: the job manager will find the same, and put them in place of $(HOME) in RSL
    "LOGNAME",
)


class GateOptions(NamedTuple):
    """What the command line decides.

    Attributes:
        socket_path: The daemon's socket.
        server_uid: The uid that the daemon must have.
        seconds: The longest wait for its answer.
    """

    socket_path: str
    server_uid: int
    seconds: float


def run_gate(
    options: GateOptions,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    report: Callable[[str], object],
    write: Callable[[bytes], object],
) -> None:
    """Ask, then become the job manager, or write the refusal and return.

    Args:
        options: What the command line decides.
        command: Program, name and arguments of the job manager.
        environment: The environment, complete.
        report: Takes a line for the gatekeeper's log.
        write: Takes the refusal.
    """
    try:
        body = _read_body(environment)
        parsed = parse_job_request(body)
        if parsed.rsl is None:
            answer = Answer(Verdict.PERMIT, decision_id="version")
        else:
            answer = ask_daemon(options, _request(parsed.rsl, environment))
    except ParseError as error:
        report(f"refused: {error}")
        write(encode_refusal(PROTOCOL_FAILED, "the request is malformed"))
        return
    except GridError as error:
        report(f"refused: {error}")
        write(encode_refusal(AUTHORIZATION_SYSTEM_FAILURE, "the authorization service is unreachable"))
        return
    if answer.verdict is not Verdict.PERMIT:
        told = _told(answer)
        report(f"refused: {environment.get('GLOBUS_ID', '')}: {told}")
        write(encode_refusal(_status(answer), told))
        return
    _become(command, {**environment, GATE_MARK: answer.decision_id or "1"}, report=report, write=write)


def _become(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    report: Callable[[str], object],
    write: Callable[[bytes], object],
) -> None:
    program, *arguments = command
    try:
        os.execve(program, arguments, dict(environment))  # noqa: S606  the administrator's command line, not a shell's
    except OSError as error:
        report(f"cannot run {program}: {error.strerror}")
        write(encode_refusal(AUTHORIZATION_SYSTEM_FAILURE, "the job manager cannot be started"))


def _read_body(environment: Mapping[str, str]) -> bytes:
    """Read the request's body and leave the descriptor's position alone: the job manager reads it after us.

    Raises:
        TransportError: It is not there as the gatekeeper hands it over.
    """
    try:
        descriptor = int(environment["GRID_SECURITY_HTTP_BODY_FD"])
        length = int(environment["CONTENT_LENGTH"])
        size = os.fstat(descriptor).st_size
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
    except (KeyError, ValueError) as error:
        raise TransportError("not started by a gatekeeper: there is no request") from error
    except OSError as error:
        raise TransportError(f"the request cannot be read: {error.strerror}") from error
    if not 0 < length <= MAX_BODY_BYTES or size != length or position != 0:
        raise TransportError(f"the request has {size} bytes, and {length} are announced")
    data = b""
    while len(data) < length:
        part = os.pread(descriptor, length - len(data), len(data))
        if not part:
            raise TransportError("the request is cut off")
        data += part
    return data


def _request(rsl: str, environment: Mapping[str, str]) -> GateRequest:
    """Gather what the gatekeeper says of this request.

    Raises:
        TransportError: The client's certificates are missing.
    """
    import binascii

    texts = [environment.get("SSL_CLIENT_CERT", "")]
    for number in range(MAX_CERTIFICATES):
        text = environment.get(f"SSL_CLIENT_CERT_CHAIN{number}")
        if text is None:
            break
        texts.append(text)
    chain: list[bytes] = []
    for text in texts:
        lines = text.strip().splitlines()
        if len(lines) < 3 or lines[0] != "-----BEGIN CERTIFICATE-----" or lines[-1] != "-----END CERTIFICATE-----":
            raise TransportError("the gatekeeper passes no client certificates")
        try:
            der = binascii.a2b_base64("".join(lines[1:-1]), strict_mode=True)
        except binascii.Error as error:
            raise TransportError("a client certificate that is no PEM") from error
        if der not in chain:  # the leaf is named twice
            chain.append(der)
    return GateRequest(
        service=environment.get("SCRIPT_NAME", ""),
        rsl=rsl,
        chain=tuple(chain),
        source=environment.get("GLOBUS_ID", ""),
        environment=tuple((name, environment[name]) for name in PASSED_VARIABLES if name in environment),
    )


def ask_daemon(options: GateOptions, *requests: Request) -> Answer:
    """Send questions to the daemon on one connection; return the first answer that refuses, or the last.

    Args:
        options: Which daemon, and how long all of it may take.
        requests: What is asked, one after the other.

    Raises:
        TransportError: The daemon is not there, or is somebody else.
        TimeoutExpiredError: It does not answer in time.
        RemoteProtocolError: Its answer is none.
    """
    import socket
    import time

    deadline = time.monotonic() + options.seconds
    reader = FrameReader(MAX_ANSWER_BYTES)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        try:
            stream.settimeout(options.seconds)
            stream.connect(options.socket_path)
            _check_peer(stream, options.server_uid)
            for request in requests:
                stream.sendall(encode_request(request))
                while (body := reader.next_body()) is None:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise TimeoutError
                    stream.settimeout(left)
                    data = stream.recv(MAX_ANSWER_BYTES)
                    if not data:
                        raise TransportError("the authorization service gave no answer")
                    reader.feed(data)
                answer = parse_answer(body)
                if answer.verdict is not Verdict.PERMIT:
                    break
        except TimeoutError as error:
            raise TimeoutExpiredError(f"no answer from the authorization service in {options.seconds:g} s") from error
        except OSError as error:
            raise TransportError(f"cannot reach {options.socket_path}: {error.strerror}") from error
    return answer


def _check_peer(stream: socket.socket, uid: int) -> None:
    import socket
    import struct

    _, found, _ = struct.unpack("3i", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if found != uid:
        raise TransportError(f"the authorization service runs as uid {found}, not {uid}")


def _status(answer: Answer) -> int:
    if answer.verdict is Verdict.FAILURE:
        return AUTHORIZATION_SYSTEM_FAILURE
    return {
        Code.JOB_ID: AUTHORIZATION_DENIED_JOB_ID,
        Code.EXECUTABLE: AUTHORIZATION_DENIED_EXECUTABLE,
    }.get(answer.code, AUTHORIZATION_DENIED)


def _told(answer: Answer) -> str:
    reason = answer.reason or "refused by the site's policy"
    return f"{reason} (decision {answer.decision_id})" if answer.decision_id else reason
