"""The library for web applications with the portal's own application in the place of the connection.

Workflow:
    with near_portal(ca, alice, tmp_path) as portal:
        url, asked = portal.begin()
        grant = portal.finish(agree(portal, url), asked)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from gsi.errors import TransportError
from gsi.keys import KeyType, generate_key
from gsi.secret import Passphrase
from myproxy.gateway import Portal
from myproxy.portal.registered import ApplicationSettings, hash_secret
from tests.harness.ca import Issued, TestCA
from tests.harness.portal_pages import NAME, Pages, open_pages

__all__ = ["NearPortal", "agree", "near_portal"]

BACK = "https://gateway.example.org/grid/back"
WORD = "words"


class NearPortal(Portal):
    """The library with the portal's application in the place of the connection."""

    pages: Pages
    is_away = False

    def _ask(self, what: str, form: Mapping[str, str]) -> bytes:
        if self.is_away:
            raise TransportError("no connection")
        data = {"client_id": "gateway", "client_secret": self._secret.reveal().decode(), **form}
        return bytes(self.pages.open("POST", f"/api/v1/{what}", data=data).data)


@contextlib.contextmanager
def near_portal(ca: TestCA, alice: Issued, directory: Path) -> Iterator[NearPortal]:
    """A portal at which Alice is logged on, and the library of an application that it knows."""
    settings = ApplicationSettings(
        title="Gateway", redirects=(BACK,), secret_sha256=hash_secret(WORD), proxy_lifetime=timedelta(hours=2)
    )
    with open_pages(ca, directory, applications={"gateway": settings}) as pages:
        pages.store("alice", alice)
        pages.log_on()
        made = NearPortal(
            f"https://{NAME}/",
            "gateway",
            Passphrase(WORD),
            redirect=BACK,
            now=lambda: pages.now,
            make_key=lambda: generate_key(KeyType.P256),
        )
        made.pages = pages
        yield made


def agree(portal: NearPortal, url: str, **more: str) -> str:
    """Where the browser comes back to."""
    asked = dict(parse_qsl(urlsplit(url).query))
    answer = portal.pages.post("/authorize", **asked, **({"answer": "yes", "hours": "0"} | more))
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]
