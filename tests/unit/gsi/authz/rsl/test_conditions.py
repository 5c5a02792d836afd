"""What one clause asks of one attribute: for permits what surely fits, for denials what may."""

from __future__ import annotations

from typing import Final

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
        ("executable", ("/bin/echo",), "''", MAYBE),
        # relative paths lie below the directory, which is the home where it is not said
        ("executable", ("/usr/bin/touch",), "touch)(directory=/usr/bin", MAYBE),
        ("executable", ("/usr/bin/touch",), "./touch)(directory=/usr/bin", MAYBE),
        ("executable", ("/usr/bin/touch",), "bin/touch)(directory=/usr", MAYBE),
        ("executable", ("/usr/bin/touch",), "touch)(directory=/tmp)(directory=/usr/bin", MAYBE),
        ("executable", ("/usr/bin/touch",), "../bin/touch)(directory=/usr/lib", MAYBE),
        ("executable", ("/usr/bin/touch",), "touch)(directory=/usr/lib/../bin", MAYBE),
        ("executable", ("/usr/bin/touch",), "touch)(directory=(/usr/bin)", MAYBE),
        ("executable", ("/usr/bin/touch",), "touch)(directory=/opt", NO),
        ("executable", ("/usr/bin/touch",), "touch", NO),
        ("executable", ("/home/alice/x",), "x", MAYBE),
        ("executable", ("$(HOME)/**",), "x)(directory=y", MAYBE),
        ("executable", ("/usr/bin/touch",), "file:/usr/bin/touch", MAYBE),
        ("executable", ("/usr/bin/touch",), "'${GLOBUS_LOCATION}/bin/touch'", MAYBE),
        ("executable", ("touch",), "/usr/bin/touch", MAYBE),
        ("executable", ("bin/*",), "/usr/bin/touch", MAYBE),
        ("executable", ("bin/*",), "touch)(directory=/usr/bin", MAYBE),
        ("executable", ("touch",), "/usr/bin/touch/x", NO),
        ("stdout", ("/tmp/**",), "out)(directory=/tmp/x", MAYBE),
        ("stdout", ("/tmp/**",), "(out tag))(directory=/tmp/x", MAYBE),
        ("stdout", ("/tmp/**",), "out", NO),
        ("directory", ("/home/alice/**",), "x", MAYBE),
        ("directory", ("/tmp/**",), "x", NO),
        ("scratch_dir", ("/tmp/**",), "x", MAYBE),
        ("gass_cache", ("/tmp/**",), "x", MAYBE),
        ("file_clean_up", ("/tmp/**",), "x", MAYBE),
        ("file_stage_in", ("* -> /tmp/**",), "(https://h/a a))(directory=/tmp", MAYBE),
        ("file_stage_in", ("* -> /tmp/**",), "(https://h/a a)", NO),
        ("file_stage_out", ("/etc/** -> *",), "(shadow https://h/a))(directory=/etc", MAYBE),
        # a list with colons
        ("library_path", ("/opt/**",), "/opt/lib", YES),
        ("library_path", ("/opt/**",), "/opt/lib:/opt/lib64", YES),
        ("library_path", ("/opt/**",), "/opt/lib:/tmp/evil", MAYBE),
        ("library_path", ("/tmp/**",), "/opt/lib:/tmp/evil", MAYBE),
        ("library_path", ("/opt/**",), "/opt/lib:", MAYBE),
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
        # a name that is none cannot be judged: the job manager writes NAME=VALUE
        ("environment", ("BASH_ENV",), "('BASH_ENV=/x/evil' x)", MAYBE),
        ("environment", ("*",), "('BASH_ENV=/x/evil' x)", MAYBE),
        ("environment", ("B*",), "('BASH_ENV=/x/evil' x)", MAYBE),
        ("environment", ("X",), "('PATH=/x' y)", MAYBE),
        ("environment", ("*",), "('BASH_FUNC_date%%' '() { id; }')", MAYBE),
        ("environment", ("*",), "(' LD_PRELOAD' /x)", MAYBE),
        ("environment", ("*",), "('LANG\n' /x)", MAYBE),
        ("environment", ("*",), "('' /x)", MAYBE),
        ("environment", ("*",), "(1A /x)", MAYBE),
        ("environment", ("*",), "('\u00c4' /x)", MAYBE),
        # what becomes of library_path
        ("environment", ("LD_LIBRARY_PATH",), "(A b))(library_path=/x", MAYBE),
        ("environment", ("LD_LIBRARY_PATH=/x*",), "(A b))(library_path=/x", MAYBE),
        ("environment", ("A",), "(A b))(library_path=/x", YES),
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


def test_a_home_that_is_not_known() -> None:
    """Where a relative path lies cannot be said, so that it fits every denial."""
    condition = parse_condition("stdout", ("/tmp/**",))
    for rsl in ("&(stdout=x)", "&(stdout=x)(directory=y)"):
        assert condition.may_hold(describe_job(rsl, {}), {}), rsl
    for rsl in ("&(stdout=x)(directory=/y)", "&(stdout=/x)"):
        assert not condition.may_hold(describe_job(rsl, {}), {}), rsl


RISKY: Final = (
    "LD_PRELOAD LD_LIBRARY_PATH DYLD_INSERT_LIBRARIES GCONV_PATH GLIBC_TUNABLES HOSTALIASES NLSPATH LOCPATH "
    "PATH IFS ENV HOME PS4 BASH_ENV BASHOPTS SHELLOPTS SHELL PROMPT_COMMAND ZDOTDIR CDPATH PYTHONPATH "
    "PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONINSPECT PYTHONWARNINGS PERLLIB PERL5LIB PERL5OPT PERL5DB "
    "RUBYLIB RUBYOPT NODE_OPTIONS NODE_PATH LUA_INIT LUA_PATH_5_3 LUA_CPATH PHPRC TCLLIBPATH R_PROFILE_USER "
    "JULIA_LOAD_PATH JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS JAVA_HOME CLASSPATH MAVEN_OPTS "
    "GIT_SSH_COMMAND GIT_EXTERNAL_DIFF RSYNC_RSH CVS_RSH OPENSSL_CONF OPENSSL_ENGINES KRB5_CONFIG "
    "XDG_CONFIG_HOME MAKEFLAGS CFLAGS CC EDITOR VISUAL PAGER MANPAGER BROWSER LESSOPEN SSH_ASKPASS "
    "OMP_TOOL_LIBRARIES OMPI_MCA_plm_rsh_agent QT_PLUGIN_PATH GTK_MODULES TERMINFO_PATH "
    "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS "
)


@pytest.mark.parametrize("name", RISKY.split())
def test_variables_that_have_other_code_run(name: str) -> None:
    assert not surely("environment", ("*",), f"({name} /x)")
    assert not surely("environment", (f"{name[:1]}*",), f"({name} /x)")
    assert surely("environment", (name,), f"({name} /x)")


@pytest.mark.parametrize(
    "name", ["LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "USER", "TMPDIR", "MODE", "X", "_", "http_proxy"]
)
def test_variables_that_are_harmless(name: str) -> None:
    assert surely("environment", ("*",), f"({name} /x)")


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
