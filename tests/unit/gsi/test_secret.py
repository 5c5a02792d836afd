"""A pass phrase never shows itself."""

from __future__ import annotations

import pickle

import pytest

from gsi.secret import Passphrase


def test_hidden_everywhere_but_reveal() -> None:
    secret = Passphrase("sésame")
    assert secret.reveal() == "sésame".encode()
    assert "same" not in f"{secret} {secret!r} {secret:>20} {[secret]}"
    assert len(secret) == 7
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_equality_and_truth() -> None:
    assert Passphrase(b"a") == Passphrase("a")
    assert Passphrase(b"a") != Passphrase(b"b")
    assert Passphrase(b"a") != b"a"
    assert not Passphrase(b"")
