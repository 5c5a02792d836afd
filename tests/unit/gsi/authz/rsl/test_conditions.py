"""What one clause asks of one attribute: for permits what surely fits, for denials what may."""

from __future__ import annotations

import pytest

from gsi.authz.rsl.conditions import ATTRIBUTES, Kind, parse_condition
from gsi.authz.rsl.job import describe_job
from gsi.errors import ParseError

VARIABLES = {"HOME": "/home/alice", "ODD": "/a/*", "EMPTY": ""}


def surely(attribute: str, patterns: tuple[str, ...], value: str) -> bool:
    job = describe_job(f"&({attribute}={value})" if value else "&(x=y)", VARIABLES)
    return parse_condition(attribute, patterns).failure(job, VARIABLES) is None


def perhaps(attribute: str, patterns: tuple[str, ...], value: str) -> bool:
    job = describe_job(f"&({attribute}={value})" if value else "&(x=y)", VARIABLES)
    return parse_condition(attribute, patterns).may_hold(job, VARIABLES)


YES, NO, MAYBE = (True, True), (False, False), (False, True)


@pytest.mark.parametrize(
    ("attribute", "patterns", "value", "expected"),
    [
        # absent, present
        ("queue", ("NULL",), "", YES),
        ("queue", ("NULL",), "short", NO),
        ("queue", ("short",), "", NO),
        ("queue", ("*",), "", NO),
        ("queue", ("*",), "short", YES),
        ("queue", ("*",), "(a (b c))", YES),
        ("queue", ("NULL", "short"), "", YES),
        ("queue", ("NULL", "short"), "short", YES),
        ("queue", ("NULL", "short"), "long", NO),
        # several values: all of them, any of them
        ("queue", ("short", "long"), "short long", YES),
        ("queue", ("short",), "short long", MAYBE),
        ("queue", ("short",), "(short)", MAYBE),
        # text
        ("queue", ("sh*t",), "short", YES),
        ("queue", ("short",), "SHORT", MAYBE),
        ("queue", ("short",), "' short'", MAYBE),
        ("queue", ("short",), "''", NO),
        ("arguments", ("-n", "[0-9]"), "-n [0-9]", YES),
        ("rsl_x", ("a?",), "'a?'", YES),
        # paths
        ("executable", ("/bin/echo",), "/bin/echo", YES),
        ("executable", ("/bin/echo",), "//bin/./echo/", YES),
        ("executable", ("/bin/echo",), "/bin/../bin/echo", MAYBE),
        ("executable", ("/bin/echo",), "/bin/%65cho", MAYBE),
        ("executable", ("/bin/%65cho",), "/bin/%65cho", MAYBE),
        ("executable", ("/bin/echo",), "bin/echo", NO),
        ("executable", ("bin/echo",), "bin/echo", YES),
        ("executable", ("/bin/echo",), "''", NO),
        ("executable", ("/bin/echo",), "https://h/bin/echo", MAYBE),
        ("executable", ("/**",), "https://h/bin/echo", MAYBE),
        ("executable", ("**",), "https://h/bin/echo", MAYBE),
        ("executable", ("*",), "https://h/bin/echo", YES),
        ("executable", ("https://*.org/bin/*",), "https://a.org/bin/echo", YES),
        ("executable", ("https://*.org/bin/*",), "HTTPS://a.org/bin/echo", YES),
        ("executable", ("https://*.org/bin/*",), "http://a.org/bin/echo", NO),
        ("executable", ("https://*.org/bin/*",), "'https://a.org/bin/echo?x'", MAYBE),
        ("executable", ("https://*.org/bin/*",), "https://u@a.org/bin/echo", MAYBE),
        ("executable", ("https://*.org/bin/*",), "/bin/echo", NO),
        ("directory", ("/sandbox/**",), "/sandbox", YES),
        ("directory", ("/sandbox/**",), "/sandbox2", NO),
        ("directory", ("$(HOME)/**",), "$(HOME)/x", YES),
        ("directory", ("$(HOME)/**",), "/home/alicex", NO),
        ("directory", ("$(HOME)/**",), "/home/bob", NO),
        ("directory", ("$(NO)/**",), "/anything", MAYBE),
        ("directory", ("$(ODD)/**",), "/a/b/c", MAYBE),
        ("directory", ("$(EMPTY)/**",), "/etc", MAYBE),
        ("stdout", ("/tmp/**",), "/tmp/x", YES),
        ("stdout", ("/tmp/**",), "(/tmp/x tag)(/tmp/y)", YES),
        ("stdout", ("/tmp/**",), "(/tmp/x tag)(/etc/y)", MAYBE),
        ("stdout", ("/tmp/**",), "(/tmp/x tag more)", MAYBE),
        ("library_path", ("/tmp/**",), "(/tmp/x tag)", MAYBE),
        ("file_clean_up", ("/tmp/**",), "/tmp/a /etc/passwd", MAYBE),
        # numbers
        ("count", ("4",), "4", YES),
        ("count", ("4",), "04", YES),
        ("count", ("4",), "5", NO),
        ("count", ("<4",), "3", YES),
        ("count", ("<4",), "4", NO),
        ("count", ("<=4",), "4", YES),
        ("count", ("<= 4",), "10", NO),
        ("count", (">4",), "5", YES),
        ("count", (">=4",), "4", YES),
        ("count", (">4",), "4", NO),
        ("count", ("2..4",), "3", YES),
        ("count", ("2..4",), "5", NO),
        ("count", ("1", "3"), "3", YES),
        ("count", ("<4",), "-1", MAYBE),
        ("count", ("<4",), "'+1'", MAYBE),
        ("count", ("<4",), "' 1'", MAYBE),
        ("count", ("<4",), "1.0", MAYBE),
        ("count", ("<4",), "many", MAYBE),
        ("count", ("<4",), "''", MAYBE),
        ("count", ("<4",), "\u0661", MAYBE),
        ("count", (">4",), "4294967297", MAYBE),  # as a C int, 1
        ("count", (">4",), "2147483647", YES),
        ("count", ("<4",), "1 8", MAYBE),
        ("max_wall_time", ("<=60",), "9", YES),  # as text, 9 would be more than 60
        # environment
        ("environment", ("LANG",), "(LANG C)", YES),
        ("environment", ("LANG", "OMP_*"), "(LANG C)(OMP_X 1)", YES),
        ("environment", ("LANG",), "(LANG C)(OMP_X 1)", MAYBE),
        ("environment", ("LANG=C",), "(LANG C)", YES),
        ("environment", ("LANG=C",), "(LANG D)", NO),
        ("environment", ("X=*=*",), "(X 'a=b')", YES),
        ("environment", ("LANG",), "LANG C", MAYBE),
        ("environment", ("LANG",), "(LANG)", MAYBE),
        ("environment", ("LANG",), "(LANG C D)", MAYBE),
        ("environment", ("LANG",), "(lang C)", NO),
        ("environment", ("*",), "(LANG C)", YES),
        ("environment", ("*",), "(LD_PRELOAD /x)", MAYBE),
        ("environment", ("L*",), "(LD_PRELOAD /x)", MAYBE),
        ("environment", ("LD_*",), "(LD_PRELOAD /x)", YES),
        ("environment", ("LD_LIBRARY_PATH=/opt/*",), "(LD_LIBRARY_PATH /opt/lib)", YES),
        ("environment", ("P*",), "(PATH /x)", MAYBE),
        ("environment", ("PATH",), "(PATH /x)", YES),
        # staging
        ("file_stage_in", ("https://h/** -> /tmp/**",), "(https://h/a /tmp/a)", YES),
        ("file_stage_in", ("https://h/** -> /tmp/**",), "(https://h/a /etc/a)", NO),
        ("file_stage_in", ("https://h/** -> /tmp/**",), "(https://i/a /tmp/a)", NO),
        ("file_stage_in", ("https://h/** -> /tmp/**",), "https://h/a /tmp/a", MAYBE),
        ("file_stage_in", ("* -> /tmp/**",), "(file:/etc/passwd /tmp/a)", YES),
        ("file_stage_out", ("$(HOME)/** -> *",), "($(HOME)/a gsiftp://x/y)", YES),
    ],
)  # fmt: skip
def test_conditions(attribute: str, patterns: tuple[str, ...], value: str, expected: tuple[bool, bool]) -> None:
    assert (surely(attribute, patterns, value), perhaps(attribute, patterns, value)) == expected


def test_what_surely_fits_may_fit() -> None:
    """Denials are never narrower than permits, for every kind and some odd values."""
    values = ["x", "/a/b", "'é'", "3", "(a b)", "((a b))", "''", "https://h/p", "../x", "' 3'"]
    samples = {
        Kind.TEXT: "*a*",
        Kind.PATH: "/a/**",
        Kind.NUMBER: "<4",
        Kind.ENVIRONMENT: "a",
        Kind.STAGING: "a -> b",
    }
    for attribute, kind in ATTRIBUTES.items():
        for value in values:
            for pattern in (samples[kind], "*") if kind is not Kind.STAGING else (samples[kind],):
                assert not surely(attribute, (pattern,), value) or perhaps(attribute, (pattern,), value)


@pytest.mark.parametrize(
    ("attribute", "pattern"),
    [
        ("count", "many"),
        ("count", "-1"),
        ("count", "4..2"),
        ("count", "<0"),
        ("count", "= 4"),
        ("executable", "/bin/../x"),
        ("executable", "/bin/**/x"),
        ("executable", ""),
        ("environment", "=x"),
        ("environment", ""),
        ("file_stage_in", "https://h/**"),
        ("file_stage_in", "https://h/** -> "),
        ("queue", "x" * 9000),
    ],
)
def test_patterns_that_are_none(attribute: str, pattern: str) -> None:
    with pytest.raises(ParseError):
        parse_condition(attribute, (pattern,))


def test_reasons() -> None:
    job = describe_job("&(queue='x y')(environment=(A b))", {})
    assert parse_condition("queue", ("z",)).failure(job, {}) == "queue 'x y' is not allowed"
    assert parse_condition("environment", ("B",)).failure(job, {}) == "environment ('A' 'b') is not allowed"
    assert parse_condition("max_time", ("1",)).failure(job, {}) == "max_time is missing"
