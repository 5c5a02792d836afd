"""Certificates as text: numbers of every size and sign, as OpenSSL writes them."""

from __future__ import annotations

import subprocess

import pytest

from gsi import der
from gsi.certificate import Certificate
from gsi.cli.certificate_text import certificate_text
from tests.harness import inputs
from tests.harness.ca import Issued, TestCA


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA("/O=Grid/CN=CA")


@pytest.fixture(scope="module")
def alice(ca: TestCA) -> Issued:
    return ca.issue("/O=Grid/CN=Alice", ca=None)


def lines_below(text: str, title: str) -> list[str]:
    """The line that begins with this title and the one below it."""
    lines = [line.rstrip() for line in text.splitlines()]
    (at,) = [number for number, line in enumerate(lines) if line.strip().startswith(title)]
    return lines[at : at + 2]


def by_openssl(certificate_der: bytes) -> str:
    command = ["openssl", "x509", "-inform", "DER", "-noout", "-text"]
    return subprocess.run(command, input=certificate_der, capture_output=True, check=True).stdout.decode()


@pytest.mark.parametrize(
    "serial",
    [1, 0, 255, 2**63 - 1, 2**63, 2**159 - 1, -2, -128, -(2**63) + 1, -(2**63) - 1, -(2**100), -(2**158) - 12345],
)
def test_serial_numbers_of_every_size_and_sign(ca: TestCA, alice: Issued, serial: int) -> None:
    odd = inputs.certificate_with(alice, ca, serial=der.encode_integer(serial))
    ours, theirs = (
        lines_below(text, "Serial Number:") for text in (certificate_text(Certificate.parse(odd)), by_openssl(odd))
    )
    if theirs[0].strip() != "Serial Number:":  # in one line
        ours, theirs = ours[:1], theirs[:1]
    assert ours == theirs


@pytest.mark.parametrize("bits", [1, 3, 63, 64, 127, 128, 129, 160, 16_000])
@pytest.mark.parametrize("is_ca", [True, False])
def test_path_lengths_of_every_size(ca: TestCA, alice: Issued, bits: int, is_ca: bool) -> None:
    value = der.encode_sequence(der.encode_boolean(True) if is_ca else b"", der.encode_integer(2**bits - 1))
    odd = inputs.certificate_with(alice, ca, extra_extensions=(inputs.extension("2.5.29.19", value),))
    ours, theirs = (
        lines_below(text, "X509v3 Basic Constraints")[1]
        for text in (certificate_text(Certificate.parse(odd)), by_openssl(odd))
    )
    assert ours == theirs
