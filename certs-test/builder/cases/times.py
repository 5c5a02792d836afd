"""Validity: when a chain holds, how far, and how times are written (RFC 5280 section 4.1.2.5)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from builder.certificates import CA_END, CA_START, Entity, authority, issue, proxy
from builder.der import general_time, utc_time
from builder.model import accept, refuse
from builder.world import ALICE, PLAIN, ROOT, TrustDir, authority_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.model import Case

__all__ = ["cases"]

_SPEC: Final = "RFC 5280 s. 4.1.2.5"
_VALID: Final = ("RFC 3820 s. 4.1.3 (a) (2)", "RFC 5280 s. 6.1.3 (a) (2)")
_CLOCK: Final = {"grid-proxy-init": "the program reads the clock"}
_UTC: Final = "RFC 5280 s. 4.1.2.5.1"
_GENERAL: Final = "RFC 5280 s. 4.1.2.5.2"


def _at(year: int, month: int = 1, day: int = 1, time: str = "00:00:00") -> datetime:
    return datetime.fromisoformat(f"{year}-{month:02}-{day:02}T{time}+00:00")


def _eec(**fields: datetime) -> Entity:
    return issue(
        ROOT, ALICE.subject, ALICE.key, text=ALICE.text, start=fields.get("start", CA_START), end=fields["end"]
    )


def cases() -> Iterator[Case]:
    """Yield validity, then boundaries, then how times are written."""
    yield from _validity()
    yield from _boundaries()
    yield from _beyond_2049()
    yield from _written()


def _validity() -> Iterator[Case]:
    def past(above: Entity) -> Entity:
        return proxy(above, start=_at(2020), end=_at(2024))

    def future(above: Entity) -> Entity:
        return proxy(above, start=_at(2046), end=_at(2047))

    late = issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, start=_at(2046), end=_at(2047))
    gone = _eec(end=_at(2024))
    old_ca = authority(ROOT.subject, ROOT.key, text=ROOT.text, end=_at(2024))
    new_ca = authority(ROOT.subject, ROOT.key, text=ROOT.text, start=_at(2046))
    places: dict[str, tuple[str, Entity, str, int, TrustDir | None]] = {
        "proxy-expired": ("A proxy that has expired.", past(ALICE), "expired", 0, None),
        "proxy-above-expired": ("A proxy below one that has expired.", proxy(past(ALICE)), "expired", 1, None),
        "proxy-not-yet-valid": ("A proxy that is not yet valid.", future(ALICE), "not-yet-valid", 0, None),
        "proxy-above-not-yet-valid": (
            "A proxy below one that is not yet valid.",
            proxy(future(ALICE)),
            "not-yet-valid",
            1,
            None,
        ),
        "end-entity-expired": ("A valid proxy of a user who has expired.", proxy(gone), "expired", 1, None),
        "end-entity-not-yet-valid": ("A valid proxy of a user not yet valid.", proxy(late), "not-yet-valid", 1, None),
        "ca-expired": (
            "Everything valid but the CA, which has expired.",
            proxy(ALICE),
            "expired",
            2,
            TrustDir("ca-expired", authority_files(old_ca)),
        ),
        "ca-not-yet-valid": (
            "Everything valid but the CA, which is not yet so.",
            proxy(ALICE),
            "not-yet-valid",
            2,
            TrustDir("ca-not-yet-valid", authority_files(new_ca)),
        ),
        "ends-before-it-begins": (
            "A proxy that ends before it begins.",
            proxy(ALICE, start=_at(2045), end=_at(2025)),
            "not-yet-valid",
            0,
            None,
        ),
    }
    for label, (words, entity, reason, position, trust) in places.items():
        yield refuse(f"times::{label}", words, entity, reason, position, spec=_VALID, trust=trust or PLAIN)
    yield accept(
        "times::proxy-outlives-signer",
        "A proxy that ends after the proxy that signed it: valid while both are; the earlier end counts.",
        proxy(proxy(ALICE, end=_at(2040))),
        spec=_VALID,
    )
    yield accept(
        "times::proxy-outlives-end-entity",
        "A proxy that ends after the end entity.",
        proxy(_eec(end=_at(2040))),
        spec=_VALID,
    )
    yield accept(
        "times::proxy-begins-before-end-entity",
        "A proxy that begins before the end entity does.",
        proxy(_eec(start=_at(2026), end=_at(2040)), start=_at(2020)),
        spec=_VALID,
        importance="medium",
    )


def _boundaries() -> Iterator[Case]:
    short = proxy(ALICE, start=_at(2031, 5, 6, "07:08:09"), end=_at(2031, 5, 6, "19:08:09"))
    moments = {
        "second-before": (_at(2031, 5, 6, "07:08:08"), "not-yet-valid"),
        "first-second": (_at(2031, 5, 6, "07:08:09"), None),
        "last-second": (_at(2031, 5, 6, "19:08:09"), None),
        "second-after": (_at(2031, 5, 6, "19:08:10"), "expired"),
    }
    for label, (moment, reason) in moments.items():
        identifier, words = (
            f"times::boundary::{label}",
            f"A proxy judged in the {label.replace('-', ' ')} its validity.",
        )
        if reason is None:
            yield accept(identifier, words, short, spec=_VALID, time=moment, not_applicable=_CLOCK)
        else:
            yield refuse(identifier, words, short, reason, spec=_VALID, time=moment, not_applicable=_CLOCK)


def _beyond_2049() -> Iterator[Case]:
    """CAs and users that outlive 2049, whose ends are GeneralizedTime; and what is judged then."""
    ca = authority(ROOT.subject, ROOT.key, text=ROOT.text, end=_at(2060))
    trust = TrustDir("until-2060", authority_files(ca))
    alice = issue(ca, ALICE.subject, ALICE.key, text=ALICE.text, end=_at(2055))
    long_proxy = proxy(alice, end=_at(2052))
    yield accept(
        "times::2050::judged-before",
        "Proxy, user and CA end after 2049, judged long before.",
        long_proxy,
        spec=_SPEC,
        trust=trust,
    )
    yield accept(
        "times::2050::judged-after",
        "The same, judged in 2051.",
        long_proxy,
        spec=_SPEC,
        trust=trust,
        time=_at(2051),
        not_applicable=_CLOCK,
    )
    yield refuse(
        "times::2050::proxy-expired-after",
        "The same, judged in 2053: the proxy has expired.",
        long_proxy,
        "expired",
        spec=_SPEC,
        trust=trust,
        time=_at(2053),
        not_applicable=_CLOCK,
    )
    yield accept(
        "times::2050::starts-after",
        "A proxy that begins in 2050, judged in 2051.",
        proxy(alice, start=_at(2050), end=_at(2052)),
        spec=_SPEC,
        trust=trust,
        time=_at(2051),
        not_applicable=_CLOCK,
    )
    last = proxy(ALICE, end=_at(2049, 12, 31, "23:59:59"))
    yield accept(
        "times::2050::last-utc-time",
        "A proxy until the last second that UTCTime can write: 491231235959Z is 2049.",
        last,
        spec=_UTC,
    )
    yield refuse(
        "times::2050::first-utc-time",
        "A proxy until 500101000000Z, which is 1950.",
        proxy(ALICE, end=utc_time("500101000000Z")),
        "expired",
        spec=_UTC,
    )
    yield accept(
        "times::2050::utc-time-1950",
        "A proxy from 500101000000Z on, which is 1950.",
        proxy(ALICE, start=utc_time("500101000000Z")),
        spec=_UTC,
        importance="medium",
    )
    forever = "99991231235959Z"
    yield accept(
        "times::9999",
        "A proxy and a user without a well-defined end: 99991231235959Z.",
        proxy(
            issue(ROOT, ALICE.subject, ALICE.key, text=ALICE.text, end=general_time(forever)),
            end=general_time(forever),
        ),
        facts=proxy(_eec(end=CA_END), end=CA_END).facts,
        spec="RFC 5280 s. 4.1.2.5",
        importance="medium",
    )
    yield refuse(
        "times::10000",
        "A year of five digits.",
        proxy(ALICE, end=general_time("100000101000000Z")),
        "malformed",
        spec=_GENERAL,
        importance="medium",
    )


def _written() -> Iterator[Case]:
    yield accept(
        "times::written::general-before-2050",
        "GeneralizedTime for a year before 2050; RFC 5280 asks the signer for UTCTime there, and says no more.",
        proxy(ALICE, end=general_time("20450101000000Z")),
        spec=_SPEC,
        importance="low",
    )
    wrong = {
        "utc-without-seconds": utc_time("4501010000Z"),
        "utc-with-fraction": utc_time("450101000000.5Z"),
        "utc-with-offset": utc_time("450101000000+0000"),
        "utc-with-offset-east": utc_time("450101000000+0100"),
        "utc-without-zone": utc_time("450101000000"),
        "utc-small-z": utc_time("450101000000z"),
        "utc-four-digit-year": utc_time("20450101000000Z"),
        "utc-month-0": utc_time("450001000000Z"),
        "utc-month-13": utc_time("451301000000Z"),
        "utc-day-0": utc_time("450100000000Z"),
        "utc-february-30": utc_time("450230000000Z"),
        "utc-hour-24": utc_time("450101240000Z"),
        "utc-minute-60": utc_time("450101006000Z"),
        "utc-second-60": utc_time("450101000060Z"),
        "utc-second-61": utc_time("450101000061Z"),
        "utc-letters": utc_time("45O1O1OOOOOOZ"),
        "utc-negative": utc_time("-50101000000Z"),
        "utc-blank": utc_time("45 101000000Z"),
        "utc-empty": utc_time(""),
        "utc-nul": utc_time("450101000000Z\0"),
        "general-with-fraction": general_time("20550101000000.5Z"),
        "general-with-comma": general_time("20550101000000,5Z"),
        "general-without-seconds": general_time("205501010000Z"),
        "general-with-offset": general_time("20550101000000+0000"),
        "general-without-zone": general_time("20550101000000"),
        "general-year-0": general_time("00000101000000Z"),
        "general-february-29": general_time("20550229000000Z"),
        "printable-string": b"\x13\x0d450101000000Z",
        "integer": b"\x02\x04\x7f\xff\xff\xff",
    }
    for label, encoded in wrong.items():
        yield refuse(
            f"times::written::{label}",
            f"A proxy whose notAfter is not written as it must be: {label.replace('-', ' ')}.",
            proxy(ALICE, end=encoded),
            "malformed",
            spec=_GENERAL if label.startswith("general") else _UTC,
            importance="medium",
        )
    yield refuse(
        "times::written::start-with-offset",
        "A proxy whose notBefore has an offset from UTC.",
        proxy(ALICE, start=utc_time("250101000000+0000")),
        "malformed",
        spec=_UTC,
        importance="medium",
    )
    yield refuse(
        "times::written::end-missing",
        "A proxy with a notBefore alone.",
        proxy(ALICE, end=b""),
        "malformed",
        spec=_SPEC,
        importance="medium",
    )
    yield refuse(
        "times::written::three",
        "A proxy with three times.",
        proxy(ALICE, end=utc_time("450101000000Z") * 2),
        "malformed",
        spec=_SPEC,
        importance="medium",
    )
    yield accept(
        "times::written::leap-day",
        "A proxy until the 29th of February of a leap year.",
        proxy(ALICE, end=_at(2044, 2, 29)),
        spec=_SPEC,
        importance="low",
    )
