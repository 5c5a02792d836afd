"""How a chain is presented: order, doubles, strangers, length, and the PEM text around it (RFC 3820 section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from builder.certificates import FULL, Entity, proxy, with_chain
from builder.keys import load
from builder.model import accept, refuse
from builder.world import ALICE, OTHER_CA, ROOT, SUB, SUB_ALICE, SUB_POLICY, TrustDir, pem, user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_SPEC: Final = ("RFC 3820 s. 4.1", "RFC 8446 s. 4.4.2")
_PEM: Final = "RFC 7468 s. 2"
# Whoever puts the certificates in order by itself, and passes over strangers, may accept these.
_AS_PRESENTED: Final = ("presented-order",)
_ONE: Final = proxy(ALICE)
_TWO: Final = proxy(_ONE)
_THREE: Final = proxy(_TWO)


def cases() -> Iterator[Case]:
    """Yield presentations of good certificates, good and bad, then lengths, then texts."""
    yield from _order()
    yield from _strangers()
    yield from _lengths()
    yield from _texts()


def _order() -> Iterator[Case]:
    leaf, one, eec = _TWO.certificate, _ONE.certificate, ALICE.certificate
    yield refuse(
        "chain::order::proxies-swapped",
        "Leaf, end entity, first proxy.",
        with_chain(_TWO, eec, one),
        "not-a-ca",
        2,
        spec=_SPEC,
        features=_AS_PRESENTED,
        importance="low",
    )
    yield refuse(
        "chain::order::end-entity-first",
        "End entity, first proxy, second proxy: the leaf is then the end entity, with proxies above it.",
        with_chain(ALICE, one, leaf),
        "not-a-ca",
        1,
        spec=_SPEC,
        features=_AS_PRESENTED,
        importance="low",
    )
    yield refuse(
        "chain::order::leaf-twice",
        "The leaf twice.",
        with_chain(_TWO, leaf, one, eec),
        "chain-broken",
        spec=_SPEC,
        features=_AS_PRESENTED,
        importance="low",
    )
    yield refuse(
        "chain::order::first-proxy-twice",
        "The first proxy twice.",
        with_chain(_TWO, one, one, eec),
        "chain-broken",
        1,
        spec=_SPEC,
        features=_AS_PRESENTED,
        importance="low",
    )
    yield refuse(
        "chain::order::end-entity-twice",
        "The end entity twice.",
        with_chain(_TWO, one, eec, eec),
        "not-a-ca",
        3,
        spec=_SPEC,
        features=_AS_PRESENTED,
        importance="low",
    )
    yield refuse(
        "chain::order::level-left-out",
        "The first proxy left out.",
        with_chain(_TWO, eec),
        "chain-broken",
        spec=_SPEC,
    )
    yield refuse(
        "chain::order::end-entity-left-out",
        "The end entity left out: two proxies alone.",
        with_chain(_TWO, one),
        "no-end-entity",
        1,
        spec=_SPEC,
    )
    yield refuse(
        "chain::order::leaf-alone",
        "One proxy alone.",
        with_chain(_ONE),
        "no-end-entity",
        spec=_SPEC,
    )
    yield refuse(
        "chain::order::ca-in-place-of-end-entity",
        "The proxies, then the root; the end entity left out.",
        with_chain(_TWO, one, ROOT.certificate),
        "no-end-entity",
        1,
        spec=_SPEC,
    )
    sub, root = SUB.certificate, ROOT.certificate
    below = proxy(SUB_ALICE)
    yield accept(
        "chain::order::root-presented",
        "The root presented as well: it proves nothing and harms nothing.",
        with_chain(_ONE, eec, root),
        spec=_SPEC,
    )
    yield accept(
        "chain::order::cas-swapped",
        "Root and intermediate CA in the wrong order behind the end entity.",
        with_chain(below, SUB_ALICE.certificate, root, sub),
        spec=_SPEC,
        trust=SUB_POLICY,
        importance="medium",
    )
    yield accept(
        "chain::order::ca-twice",
        "The intermediate CA twice.",
        with_chain(below, SUB_ALICE.certificate, sub, sub),
        spec=_SPEC,
        trust=SUB_POLICY,
        importance="medium",
    )
    yield refuse(
        "chain::order::ca-before-end-entity",
        "The intermediate CA between proxy and end entity.",
        with_chain(below, sub, SUB_ALICE.certificate),
        "no-end-entity",
        spec=_SPEC,
        features=_AS_PRESENTED,
        importance="low",
        trust=SUB_POLICY,
    )
    yield refuse(
        "chain::order::intermediate-left-out",
        "The intermediate CA neither presented nor in the trust directory.",
        with_chain(below, SUB_ALICE.certificate),
        "untrusted",
        1,
        spec="RFC 5280 s. 6.1",
        trust=SUB_POLICY,
    )


def _strangers() -> Iterator[Case]:
    eec = ALICE.certificate
    mallory = user("/O=Grid/OU=Test/CN=Mallory", key="rsa2048-other-eec")
    yield accept(
        "chain::extra::unrelated-ca",
        "A CA that has nothing to do with the path.",
        with_chain(_ONE, eec, OTHER_CA.certificate),
        spec=_SPEC,
        importance="medium",
    )
    yield refuse(
        "chain::extra::end-entity-behind",
        "Another user's certificate behind the end entity.",
        with_chain(_ONE, eec, mallory.certificate),
        "not-a-ca",
        2,
        spec=_SPEC,
        features=_AS_PRESENTED,
        importance="low",
    )
    yield refuse(
        "chain::extra::end-entity-between",
        "Another user's certificate between proxy and end entity.",
        with_chain(_ONE, mallory.certificate, eec),
        "not-a-ca",
        2,
        spec=_SPEC,
        features=_AS_PRESENTED,
        importance="low",
    )
    yield refuse(
        "chain::extra::other-users-end-entity",
        "The proxy before another user's certificate.",
        with_chain(_ONE, mallory.certificate),
        "chain-broken",
        spec=_SPEC,
    )
    yield refuse(
        "chain::extra::other-users-proxy-between",
        "Another user's proxy between proxy and end entity.",
        with_chain(_TWO, proxy(mallory).certificate, mallory.certificate),
        "chain-broken",
        spec=_SPEC,
    )
    yield refuse(
        "chain::extra::proxy-behind",
        "A proxy behind the end entity.",
        with_chain(_ONE, eec, _TWO.certificate),
        "not-a-ca",
        2,
        spec=_SPEC,
        features=_AS_PRESENTED,
        importance="low",
    )
    yield refuse(
        "chain::extra::untrusted-root",
        "A user of a CA that is not in the trust directory, with that CA presented.",
        with_chain(
            proxy(user("/O=Other/CN=Bob", issuer=OTHER_CA)),
            user("/O=Other/CN=Bob", issuer=OTHER_CA).certificate,
            OTHER_CA.certificate,
        ),
        "untrusted",
        2,
        spec="RFC 5280 s. 6.1",
    )
    yield refuse(
        "chain::extra::empty-trust-directory",
        "A good chain before a trust directory without CAs.",
        _ONE,
        "untrusted",
        1,
        spec="RFC 5280 s. 6.1",
        trust=TrustDir("empty", {"README": b"no CA is trusted here\n"}),
    )


def _lengths() -> Iterator[Case]:
    """Small keys and names, or these two would be half of the suite."""
    keys = [load("p256-proxy-1"), load("p256-proxy-2")]
    entity: Entity = user("/CN=A", key="p256-eec")
    for level in range(100):
        entity = proxy(entity, FULL, cn="1", key=keys[level % 2], usage=None)
        if level == 98:
            yield accept(
                "chain::length::100",
                "A hundred certificates: 99 proxies and an end entity.",
                entity,
                spec="limits of implementations",
                features=["implementation-limit", "ecdsa"],
                importance="low",
            )
    yield refuse(
        "chain::length::101",
        "A hundred and one certificates, one more than the limit.",
        entity,
        "chain-too-long",
        None,
        spec="limits of implementations",
        features=["implementation-limit", "ecdsa"],
        importance="low",
    )
    yield refuse(
        "chain::length::3-of-2",
        "Three certificates where two are allowed.",
        _TWO,
        "chain-too-long",
        None,
        spec="limits of implementations",
        options={"max_chain": 2},
        features=["max-chain"],
        importance="low",
    )
    yield accept("chain::length::four", "Four certificates.", _THREE, spec="RFC 3820 s. 4.1", importance="medium")


def _texts() -> Iterator[Case]:
    good = [pem("CERTIFICATE", one) for one in _ONE.chain]
    text = b"".join(good)
    key = _ONE.key.path
    first, rest = good[0], b"".join(good[1:])
    lines = first.split(b"\n")
    fine = {
        "text-between": (
            "Lines of text before and between the blocks.",
            b"Bag Attributes\n" + first + b"text\n" + rest,
        ),
        "crlf": ("Lines that end with CR and LF.", text.replace(b"\n", b"\r\n")),
        "no-last-line-end": ("The last line not ended.", text.rstrip(b"\n")),
        "blank-lines": ("Empty lines between the blocks.", first + b"\n\n" + rest + b"\n\n"),
        "request-between": (
            "A block of another kind between the certificates.",
            first + pem("CERTIFICATE REQUEST", b"\x30\x00") + rest,
        ),
    }
    for label, (words, content) in fine.items():
        yield accept(
            f"chain::pem::{label}",
            words,
            content,
            facts=_ONE.facts,
            spec=_PEM,
            features=["pem"],
            importance="low",
            key=key,
        )
    junk = pem("CERTIFICATE", b"\x30\x03\x02\x01")
    leaf = _ONE.certificate
    broken = {
        "first-block-not-der": (
            "The first block is no certificate; the second must not be taken for the leaf.",
            junk + text,
            0,
        ),
        "first-block-empty-sequence": (
            "The first block is an empty SEQUENCE.",
            pem("CERTIFICATE", b"\x30\x00") + text,
            0,
        ),
        "first-block-cut-off": (
            "The first certificate's last byte is missing.",
            pem("CERTIFICATE", leaf[:-1]) + text,
            0,
        ),
        "second-block-not-der": ("The second of three blocks is no certificate.", first + junk + rest, 1),
        "bytes-behind-certificate": (
            "Two zero bytes behind the leaf within its block.",
            pem("CERTIFICATE", leaf + b"\x00\x00") + rest,
            0,
        ),
        "two-in-a-block": ("Both certificates in one block.", pem("CERTIFICATE", b"".join(_ONE.chain)), 0),
    }
    for label, (words, content, position) in broken.items():
        yield refuse(
            f"chain::pem::{label}", words, content, "malformed", position, spec=_PEM, features=["pem"], key=key
        )
    damaged = {
        "first-block-not-base64": (
            "The first block's text is no base64.",
            b"\n".join([lines[0], b"!" * 64, *lines[2:]]) + rest,
        ),
        "first-begin-line-damaged": ("The first BEGIN line has lost a dash.", text[1:]),
        "first-begin-line-missing": ("The first BEGIN line is missing.", text.partition(b"\n")[2]),
        "first-end-line-missing": ("The first END line is missing.", b"\n".join(lines[:-2]) + b"\n" + rest),
        "cut-off": ("The file ends in the middle of the last block.", text[:-200]),
    }
    for label, (words, content) in damaged.items():
        yield refuse(
            f"chain::pem::{label}",
            words,
            content,
            "malformed",
            None,
            spec=_PEM,
            features=["pem"],
            key=key,
        )
