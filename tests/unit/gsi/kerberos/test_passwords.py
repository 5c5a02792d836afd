"""Names, and what is refused before any KDC is asked; with a real one: `tests/interop/test_myproxy_logins.py`."""

from __future__ import annotations

import sys

import pytest

from gsi.errors import AuthenticationError, ConfigError
from gsi.kerberos import check_password, make_principal, require_gssapi
from gsi.secret import Passphrase


@pytest.mark.parametrize(
    ("username", "realm", "principal"),
    [
        ("alice", None, "alice"),
        ("alice", "EXAMPLE.ORG", "alice@EXAMPLE.ORG"),
        ("alice/admin", "EXAMPLE.ORG", "alice\\/admin@EXAMPLE.ORG"),
        ("alice@OTHER", "EXAMPLE.ORG", "alice\\@OTHER@EXAMPLE.ORG"),
        ("al\\ice", None, "al\\\\ice"),
    ],
)
def test_a_user_name_is_one_component(username: str, realm: str | None, principal: str) -> None:
    assert make_principal(username, realm) == principal


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("alice", ""), ("al\0ice", "x")])
def test_what_is_refused_unasked(username: str, password: str) -> None:
    with pytest.raises(AuthenticationError, match="a name and a password"):
        check_password(username, Passphrase(password), service="myproxy@localhost")


def test_without_the_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(ConfigError, match="gssapi is not installed") as caught:
        require_gssapi()
    assert "kerberos" in (caught.value.hint or "")
