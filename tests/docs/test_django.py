"""The guide's application for Django (docs/howto/portal-author.md), with Django's own client."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.test import Client

from myproxy.gateway import Wallet
from tests.harness.ca import TestCA
from tests.harness.howto import run_block
from tests.harness.near_portal import NearPortal, agree, near_portal


def test_the_guide_s_application(tmp_path: Path) -> None:
    ca = TestCA("/O=Grid/CN=CA", "p256")
    with near_portal(ca, ca.issue("/O=Grid/CN=Alice", "p256"), tmp_path) as portal:
        _try(portal)


def _try(portal: NearPortal) -> None:
    settings.configure(
        SECRET_KEY="x" * 50,
        ALLOWED_HOSTS=["gateway.example.org"],
        ROOT_URLCONF=f"{__name__}_urls",
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    )
    django.setup()
    urls: Any = ModuleType(f"{__name__}_urls")
    wallet = Wallet(portal, {}, now=lambda: portal.pages.now)
    urls.urlpatterns = run_block("portal-author.md", "django")["make_urls"](portal, wallet)
    sys.modules[urls.__name__] = urls
    client = Client(SERVER_NAME="gateway.example.org")
    away = client.get("/", secure=True)
    back = urlsplit(agree(portal, away.headers["Location"]))
    assert client.get(f"{back.path}?{back.query}", secure=True).headers["Location"] == "/"
    assert client.get("/", secure=True).content.startswith(b"/O=Grid/CN=Alice until ")
    portal.is_away = True
    portal.pages.pass_time(timedelta(hours=13))
    assert client.get("/", secure=True).status_code == 302
