"""The authority's pages of the portal: one's own certificates alone are seen and revoked, and it is written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gsi.errors import ConfigError
from gsi.names import oneline
from kca.repository.base import Entry, Selection
from kca.wiring.service import open_books
from tests.harness.ca import TestCA
from tests.harness.kca import KCAWorld, authority, new_request
from tests.harness.portal_pages import Pages, open_pages


class Place(NamedTuple):
    kca: KCAWorld
    pages: Pages

    def entries(self) -> dict[str, Entry]:
        books = open_books(self.kca.config)
        try:
            return {one.principal: one for one in books.search(Selection())}
        finally:
            books.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    ca = TestCA("/O=Grid/CN=CA", "p256")
    with authority(tmp_path) as kca:
        mine = kca.issue(kca.ticket("alice"))
        kca.issue(kca.ticket("alicea"), new_request(number=1))
        subject = oneline(mine.certificate.subject_der)
        settings = {"config": str(tmp_path / "kca.toml")}
        with open_pages(ca, tmp_path / "portal", pages={"kca": settings}) as pages:
            pages.store("alice", ca.issue(subject, "p256"))
            yield Place(kca, pages)


def test_one_s_own_are_seen_and_revoked(place: Place) -> None:
    pages = place.pages
    own, other = (one for _, one in sorted(place.entries().items()))
    assert own.subject in other.subject  # the search finds both
    pages.log_on()
    text = pages.get("/kca/").text
    assert own.serial_hex in text
    assert other.serial_hex not in text
    wanted = {"serial": own.serial_hex, "reason": "key", "sure": "yes"}
    assert pages.get(f"/kca/revoke?serial={other.serial_hex}").status_code == 404
    assert pages.post("/kca/revoke", **wanted | {"serial": other.serial_hex}).status_code == 404
    assert pages.post("/kca/revoke", **wanted | {"sure": ""}).status_code == 400
    assert pages.post("/kca/revoke", **wanted | {"reason": "removeFromCRL"}).status_code == 400
    assert not any(one.revocation for one in place.entries().values())
    assert own.serial_hex in pages.get(f"/kca/revoke?serial={own.serial_hex}").text
    assert pages.post("/kca/revoke", **wanted).headers["Location"] == "/kca/?notice=revoked"
    assert pages.post("/kca/revoke", **wanted).headers["Location"] == "/kca/?notice=before"
    revoked = {one.serial_hex: one.revocation for one in place.entries().values()}
    assert revoked[other.serial_hex] is None
    found = revoked[own.serial_hex]
    assert found is not None
    assert (found.reason.word, found.by) == ("keyCompromise", "portal: alice")
    assert place.kca.records()[-1]["action"] == "REVOKE"
    assert f"certificate {own.serial_hex}: keyCompromise" in pages.audit()
    assert "Revoked" in pages.get("/kca/").text
    assert "Certificate revoked" in pages.get("/activity").text


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    ca = TestCA("/O=Grid/CN=CA", "p256")
    for number, settings in enumerate(({"config": "/nowhere"}, {"title": "x"}, {"configuration": "/x"})):
        with pytest.raises(ConfigError, match="kca"), open_pages(ca, tmp_path / str(number), pages={"kca": settings}):
            pass
    with pytest.raises(ConfigError, match="no installed package"), open_pages(ca, tmp_path / "x", pages={"kcaa": {}}):
        pass
