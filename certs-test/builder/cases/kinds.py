"""Which kind of proxy may follow which: every order of the four kinds to depth three."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from builder.certificates import ANY_LANGUAGE, FULL, INDEPENDENT, LIMITED, WORDS, Info, proxy
from builder.model import accept, refuse
from builder.world import ALICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_WORDS: Final = (b"read write list", b"read list", b"list")
_LETTERS: Final = ("full", "limited", "independent", "restricted")
_LANGUAGES: Final = {"policy_languages": [WORDS]}
_S = "RFC 3820 s. 3.8.2"


def _info(kind: str, level: int) -> Info:
    known = {"full": FULL, "limited": LIMITED, "independent": INDEPENDENT}
    return known.get(kind) or Info(WORDS, policy=_WORDS[level])


def cases() -> Iterator[Case]:
    """Yield the orders, then restrictions that nobody can read."""
    yield accept("rfc3820::basic::end-entity", "An end entity without a proxy.", ALICE, spec="RFC 5280 s. 6.1")
    for length in (1, 2, 3):
        for order in itertools.product(_LETTERS, repeat=length):
            yield _order(order)
    yield from _restrictions()


def _order(order: tuple[str, ...]) -> Case:
    """Return the case of these kinds, the end entity's proxy first.

    Below a limited proxy stand limited and independent ones alone, however far below (Globus; reference section 5).
    """
    entity = ALICE
    first_breach = None
    for level, kind in enumerate(order):
        entity = proxy(entity, _info(kind, level))
        if first_breach is None and "limited" in order[:level] and kind in {"full", "restricted"}:
            first_breach = level
    identifier = "rfc3820::order::" + "-then-".join(order)
    words = "Proxies from the end entity down: " + ", then ".join(order) + "."
    has_language = "restricted" in order
    options = _LANGUAGES if has_language else None
    features = ["policy-language"] if has_language else []
    if "limited" in order:
        features.append("limited")
    importance = "high" if len(order) < 3 else "medium"
    if first_breach is None:
        return accept(identifier, words, entity, spec=_S, options=options, features=features, importance=importance)
    if order == ("limited", "independent", "full"):
        words += " One may hold that an independent proxy begins anew; here nothing below a limited proxy is full."
        importance = "low"
    return refuse(
        identifier,
        words + " What follows a limited proxy must not be wider.",
        entity,
        "proxy-limited",
        len(order) - 1 - first_breach,
        spec=("Globus limited proxies", _S),
        options=options,
        features=features,
        importance=importance,
    )


def _restrictions() -> Iterator[Case]:
    policy = b"read"
    unknown = Info("1.2.3.4", policy=policy)
    rule = ("RFC 3820 s. 4.1.3 (b) (2)", _S)
    yield refuse(
        "rfc3820::restricted::unknown-language",
        "A policy in a language that the validator does not know.",
        proxy(ALICE, unknown),
        "proxy-restriction",
        spec=rule,
    )
    yield refuse(
        "rfc3820::restricted::unknown-language-without-policy",
        "A language that the validator does not know, and no policy.",
        proxy(ALICE, Info("1.2.3.4")),
        "proxy-restriction",
        spec=rule,
    )
    yield refuse(
        "rfc3820::restricted::any-language-without-policy",
        "id-ppl-anyLanguage without a policy.",
        proxy(ALICE, Info(ANY_LANGUAGE)),
        "proxy-restriction",
        spec=rule,
    )
    yield refuse(
        "rfc3820::restricted::any-language-with-policy",
        "id-ppl-anyLanguage with a policy.",
        proxy(ALICE, Info(ANY_LANGUAGE, policy=policy)),
        "proxy-restriction",
        spec=rule,
    )
    yield refuse(
        "rfc3820::restricted::full-below",
        "A full proxy below one whose language is not known: the restriction above still binds.",
        proxy(proxy(ALICE, unknown)),
        "proxy-restriction",
        1,
        spec=rule,
    )
    yield refuse(
        "rfc3820::restricted::independent-below",
        "An independent proxy below one whose language is not known.",
        proxy(proxy(ALICE, unknown), INDEPENDENT),
        "proxy-restriction",
        1,
        spec=rule,
    )
    yield refuse(
        "rfc3820::restricted::one-of-two-unknown",
        "Two restrictions, of which the validator knows the language of the second alone.",
        proxy(proxy(ALICE, unknown), Info(WORDS, policy=b"read")),
        "proxy-restriction",
        1,
        spec=rule,
        options=_LANGUAGES,
        features=["policy-language"],
    )
    yield accept(
        "rfc3820::restricted::empty-policy",
        "A known language with an empty policy: nothing is granted.",
        proxy(ALICE, Info(WORDS, policy=b"")),
        spec=rule,
        options=_LANGUAGES,
        features=["policy-language"],
    )
    yield accept(
        "rfc3820::restricted::disjoint",
        "Two restrictions with nothing in common: nothing is granted.",
        proxy(proxy(ALICE, Info(WORDS, policy=b"read")), Info(WORDS, policy=b"write")),
        spec=rule,
        options=_LANGUAGES,
        features=["policy-language"],
    )
    yield accept(
        "rfc3820::restricted::does-not-widen",
        "A restriction below that names more than the one above: the intersection counts.",
        proxy(proxy(ALICE, Info(WORDS, policy=b"read")), Info(WORDS, policy=b"read write")),
        spec=rule,
        options=_LANGUAGES,
        features=["policy-language"],
    )
    yield refuse(
        "rfc3820::limited::not-accepted",
        "A limited proxy at a service that starts jobs.",
        proxy(ALICE, LIMITED),
        "proxy-limited",
        spec=("Globus limited proxies", _S),
        options={"accept_limited": False},
        features=["limited", "limited-switch"],
    )
    yield refuse(
        "rfc3820::limited::above-not-accepted",
        "A limited proxy higher up, at a service that starts jobs.",
        proxy(proxy(ALICE, LIMITED), INDEPENDENT),
        "proxy-limited",
        1,
        spec=("Globus limited proxies", _S),
        options={"accept_limited": False},
        features=["limited", "limited-switch"],
    )
    yield accept(
        "rfc3820::limited::with-policy",
        "The limited language with a policy beside it, which RFC 3820 does not forbid.",
        proxy(ALICE, Info(LIMITED.language, policy=b"x")),
        spec=_S,
        features=["limited"],
        importance="low",
    )
    for kind, info in (("inherit-all", FULL), ("independent", INDEPENDENT)):
        for label, text in (("policy", b"hello"), ("empty-policy", b"")):
            yield refuse(
                f"rfc3820::policy::{kind}-with-{label}",
                f"The language {kind} with {'an empty' if not text else 'a'} policy, which must be absent.",
                proxy(ALICE, Info(info.language, policy=text)),
                "proxy-policy-present",
                spec=_S,
            )
        yield refuse(
            f"rfc3820::policy::{kind}-with-policy-above",
            f"The same in the proxy that signs: {kind} with a policy.",
            proxy(proxy(ALICE, Info(info.language, policy=b"hello"))),
            "proxy-policy-present",
            1,
            spec=_S,
        )
