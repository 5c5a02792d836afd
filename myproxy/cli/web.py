"""Getting a proxy over a portal: what `myproxy-logon --portal` asks and shows; the portal's side is `terminals`.

    credential = receive_over_the_web("myproxy-logon", "https://portal.example.org", key, locations)

The key stays here; what is sent is a certificate request. The user opens an address in a browser anywhere, logs on, and
confirms after comparing a part of the key's hash, which is computed here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gsi.cli.arguments import UsageError
from gsi.cli.run import printable
from gsi.errors import RefusedError, RemoteProtocolError

if TYPE_CHECKING:
    from gsi.credential import Credential
    from gsi.keys import PrivateKey
    from gsi.system.environ import Locations

__all__ = ["key_mark", "receive_over_the_web"]

TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 1 << 20
"""A chain of ten proxies with attribute certificates of 60 kB each stays below."""
MAX_WAIT_SECONDS = 3600
"""However long a portal says that one may take."""


def receive_over_the_web(prog: str, url: str, key: PrivateKey, locations: Locations) -> Credential:
    """Return the proxy that the user confirms in a browser.

    Args:
        prog: The program's name.
        url: The portal.
        key: The new key.
        locations: Where the grid's CAs are; the portal may have a certificate of theirs or of the system's.

    Raises:
        UsageError: The URL is not one of https.
        RefusedError: The user said no, or took too long.
        GridError: No connection, or what came makes no sense.
    """
    import base64
    import re
    import time

    from gsi.certificate import load_certificates
    from gsi.delegation import DelegationRequester
    from gsi.keys import spki_der
    from gsi.system.clock import now

    base = url.rstrip("/")
    if not base.startswith("https://") or any(letter in base for letter in "?#@ "):
        raise UsageError(f"--portal: '{url[:200]}' is no https URL of a portal")
    requester = DelegationRequester(key)
    told = _ask(base, "start", {"request": base64.b64encode(requester.request_der).decode("ascii")}, locations)
    code, device = told.get("user_code"), told.get("device_code")
    interval, expires = told.get("interval"), told.get("expires_in")
    if not (isinstance(code, str) and re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", code) and isinstance(device, str)):
        raise RemoteProtocolError("the portal's answer has no code")
    if not (isinstance(interval, int) and isinstance(expires, int) and 1 <= interval <= 60):
        raise RemoteProtocolError("the portal's answer has no times")
    sys.stderr.write(
        f"{prog}: open this page in a browser and log on:\n\n    {printable(base)}/terminal?code={code}\n\n"
        f"It has to show the key  {key_mark(spki_der(key))}\n"
    )
    sys.stderr.flush()
    deadline = time.monotonic() + min(expires, MAX_WAIT_SECONDS)
    while time.monotonic() < deadline:
        time.sleep(interval)
        told = _ask(base, "take", {"device_code": device}, locations)
        match told.get("state"):
            case "waiting":
                continue
            case "slow_down":
                interval += 1
            case "granted":
                text = told.get("certificates")
                found = load_certificates(text.encode() if isinstance(text, str) else b"", what="the portal's answer")
                return requester.accept([one.der for one in found], now=now())
            case "refused":
                raise RefusedError("the request was refused in the browser")
            case _:
                break
    raise RefusedError("nobody has confirmed the code in time", hint="try again")


def key_mark(spki: bytes) -> str:
    """Return the part of a key's SHA-256 that people compare, as the portal shows it."""
    import hashlib

    text = hashlib.sha256(spki).hexdigest()[:16].upper()
    return " ".join(text[at : at + 4] for at in range(0, 16, 4))


def _ask(base: str, what: str, content: dict[str, str], locations: Locations) -> dict[str, object]:
    import json
    import os

    from gsi.transport.http import Post, fetch, make_context, read_proxies

    directory = locations.trust_dir if any(map(os.path.isdir, locations.trust_dirs)) else None
    answer = fetch(
        f"{base}/terminal/v1/{what}",
        timeout=TIMEOUT_SECONDS,
        max_bytes=MAX_ANSWER_BYTES,
        proxies=read_proxies(),
        context=make_context(directory),
        post=Post("application/json", json.dumps(content).encode()),
    )
    try:
        told = json.loads(answer.data)
    except ValueError as error:
        raise RemoteProtocolError("the portal's answer is no JSON", hint="is that the address of a portal?") from error
    if not isinstance(told, dict):
        raise RemoteProtocolError("the portal's answer is no JSON object")
    return told
