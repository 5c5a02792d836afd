"""Places of keys in tokens, as configurations write them (RFC 7512)."""

from __future__ import annotations

import sys

import pytest

from gsi.ca import load_signer
from gsi.ca.pkcs11_token import PKCS11Place, parse_pkcs11_uri
from gsi.errors import ConfigError

QUERY = "?module-path=/lib/p.so"


def test_every_word() -> None:
    text = f"pkcs11:token=Grid%20CA;serial=01ab;object=key%3b1;id=%01%ff;type=private{QUERY}&pin-source=file:/etc/pin"
    assert parse_pkcs11_uri(text) == PKCS11Place("/lib/p.so", "Grid CA", "01ab", "key;1", b"\x01\xff", "file:/etc/pin")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pkcs11:",
        f"pkcs12:token=a;object=b{QUERY}",
        "pkcs11:token=a;object=b",
        "pkcs11:token=a;object=b?module-path=p.so",
        f"pkcs11:token=a{QUERY}",
        f"pkcs11:object=b{QUERY}",
        f"pkcs11:token=;object=b{QUERY}",
        f"pkcs11:token=a;object={QUERY}",
        f"pkcs11:token=a;token=b;object=c{QUERY}",
        f"pkcs11:token=a;object=b{QUERY}&module-path=/other",
        f"pkcs11:token=a;object=b;slot-id=1{QUERY}",
        f"pkcs11:token=a;object=b;type=cert{QUERY}",
        f"pkcs11:token=a;object=b{QUERY}&module-name=x",
    ],
)
def test_what_names_no_key(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_pkcs11_uri(text)


def test_a_pin_in_the_place_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_pkcs11_uri(f"pkcs11:token=a;object=b{QUERY}&pin-value=1234")
    assert "pin-source=file:" in (caught.value.hint or "")
    assert "1234" not in caught.value.message


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(ConfigError) as caught:
        load_signer(f"pkcs11:token=a;object=b{QUERY}")
    assert caught.value.hint == "pip install 'gsi-toolkit[hsm]'"
