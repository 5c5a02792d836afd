"""Delegation over an established context, its ends alone: what they take at most, and that an error ends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import pytest

from gsi import keys
from gsi.certificate import MAX_CERTIFICATE_BYTES, Certificate
from gsi.context.exchange import DELEGATE_FULL, DelegationReceiver, DelegationSender, ObjectCollector
from gsi.credential import parse_credential
from gsi.delegation import MAX_BLOCK_BYTES, MAX_CHAIN, DelegationRequester
from gsi.errors import GridError, LocalProtocolError, ParseError, RemoteProtocolError
from tests.harness.ca import TestCA, pooled_key, tlv
from tests.harness.contexts import clock

EMPTY = b"\x30\x00"
"""The smallest object there is."""

SMALL, LARGE = tlv(0x30, bytes(98)), tlv(0x30, bytes(296))
"""Objects of 100 and 300 bytes."""


def _never(_certificates: Sequence[Certificate]) -> NoReturn:
    raise AssertionError("nothing was delegated")


def _bare(messages: Sequence[bytes]) -> bytes:
    return b"".join(messages)


def _receiver(key: keys.PrivateKey) -> DelegationReceiver:
    return DelegationReceiver(
        key, judge=_never, expected=None, protect=_bare, unprotect=lambda token: token, clock=clock
    )


@pytest.mark.parametrize("size", [1, 7, 60])
def test_all_together_have_a_limit(size: int) -> None:
    """Whole objects count as well: their bytes are kept."""
    collector = ObjectCollector(limit=300, total=1000)
    stream = LARGE * 3 + SMALL
    for at in range(0, len(stream), size):
        collector.feed(stream[at : at + size])
    assert len(collector.objects) == 4
    with pytest.raises(RemoteProtocolError, match="more than 1000 bytes"):
        collector.feed(EMPTY)


def test_one_object_has_a_limit() -> None:
    collector = ObjectCollector(limit=300, total=1000)
    collector.feed(LARGE)
    with pytest.raises(ParseError):
        collector.feed(tlv(0x30, bytes(297))[:8])


def test_objects_are_counted() -> None:
    collector = ObjectCollector(limit=300, total=100_000)
    collector.feed(EMPTY * MAX_CHAIN)
    assert len(collector.objects) == MAX_CHAIN
    with pytest.raises(RemoteProtocolError, match=f"more than {MAX_CHAIN} certificates"):
        collector.feed(EMPTY)
    with pytest.raises(RemoteProtocolError, match=f"more than {MAX_CHAIN} certificates"):
        ObjectCollector(limit=300, total=100_000).feed(EMPTY * (MAX_CHAIN + 1))


def test_what_a_receiver_takes_at_most() -> None:
    """A chain that never reaches an end entity."""
    proxy = TestCA().issue("/O=Grid/CN=Alice").proxy().der
    receiver = _receiver(pooled_key("rsa2048"))
    receiver.step(b"D")
    for _ in range(MAX_CHAIN):
        assert not receiver.step(proxy).done
    with pytest.raises(RemoteProtocolError, match="certificates came"):
        receiver.step(proxy)
    receiver = _receiver(pooled_key("rsa2048"))
    receiver.step(b"D")
    receiver.step(tlv(0x30, bytes(MAX_CERTIFICATE_BYTES - 8))[:-1])  # parts of a certificate are kept and not looked at
    with pytest.raises(RemoteProtocolError, match=f"more than {MAX_BLOCK_BYTES} bytes"):
        receiver.step(bytes(MAX_BLOCK_BYTES))


@pytest.mark.parametrize("wrong", [b"X", b"DD", b"\0"])
def test_an_error_ends_a_receiver(wrong: bytes) -> None:
    receiver = _receiver(pooled_key("rsa2048"))
    with pytest.raises(RemoteProtocolError, match="begin with D"):
        receiver.step(wrong)
    with pytest.raises(LocalProtocolError, match="over"):
        receiver.step(b"D")


def test_an_error_ends_a_sender() -> None:
    """The peer gets no second try at a request, which would be signed."""
    alice = parse_credential(TestCA().issue("/O=Grid/CN=Alice").bundle())
    good = DelegationRequester(pooled_key("rsa2048")).request_der
    for wrong in (b"X", EMPTY, good + EMPTY, good[:-1] + bytes((good[-1] ^ 1,))):
        sender = DelegationSender(alice, DELEGATE_FULL, protect=_bare, unprotect=lambda token: token, clock=clock)
        assert sender.step().output == b"D"
        with pytest.raises(GridError):
            sender.step(wrong)
        with pytest.raises(LocalProtocolError, match="over"):
            sender.step(good)
