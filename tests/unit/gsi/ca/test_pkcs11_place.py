"""Places of keys in tokens, as configurations write them (RFC 7512)."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from gsi.ca import load_signer
from gsi.ca.pkcs11_token import PKCS11Place, parse_pkcs11_uri, read_pin
from gsi.errors import ConfigError, GridError

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


@pytest.mark.parametrize("spelling", ["PKCS11:", " pkcs11:", "Pkcs11:"])
def test_a_pin_is_never_repeated(spelling: str) -> None:
    for text in ("pin-value=9876543", "pin-source=9876543", "pin-source=env:9876543"):
        place = f"{spelling}token=a;object=b{QUERY}&{text}"
        with pytest.raises(GridError) as caught:
            load_signer(place)
        assert "9876543" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


def test_a_pin_that_comes_in_pieces() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"765")

    def go_on() -> None:
        os.write(writing, b"4321\nmore")
        os.close(writing)

    thread = threading.Thread(target=go_on)
    thread.start()
    assert read_pin(f"fd:{reading}").reveal() == b"7654321"
    thread.join()
    os.close(reading)
