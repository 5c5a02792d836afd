"""The configuration grammar, and what a directive that we cannot honour does to the start."""

from __future__ import annotations

import pytest

from gsi.errors import ConfigError
from myproxy.config import MAX_HOURS, MAX_SECONDS, Method, ServerConfig, parse_config
from myproxy.policy import Client

PATH = "/etc/myproxy-server.config"


def parse(text: str) -> ServerConfig:
    return parse_config(text, path=PATH)


def texts(rules: tuple[object, ...] | None) -> list[str]:
    return [getattr(rule, "text", "") for rule in rules or ()]


def test_empty_file_permits_nobody() -> None:
    config = parse("")
    assert config == ServerConfig()
    assert config.accepted_credentials is None
    assert config.access_policy.accepted_credentials == ()
    assert config.request_timeout == 120


def test_words_quotes_and_comments() -> None:
    config = parse(
        "# a comment\n"
        '  accepted_credentials "/O=Grid/CN=A B"\t/CN=x # rest\n'
        "\n"
        'accepted_credentials "say \\"hi\\" *"  /CN=a#b\r\n'
    )
    assert texts(config.accepted_credentials) == ["/O=Grid/CN=A B", "/CN=x", 'say \\"hi\\" *', "/CN=a#b"]
    assert config.access_policy.accepted_credentials[2].matches(Client('say "hi" there'))


def test_old_names() -> None:
    config = parse("allowed_clients *\nallowed_services /CN=x")
    assert texts(config.accepted_credentials) == ["*"]
    assert texts(config.authorized_retrievers) == ["/CN=x"]


@pytest.mark.parametrize("word", ["true", "Enabled", "YES", "on", "1"])
def test_booleans(word: str) -> None:
    assert parse(f"ignore_globus_limited_proxy_flag {word}").ignore_globus_limited_proxy_flag
    assert not parse(f"ignore_globus_limited_proxy_flag un{word}").ignore_globus_limited_proxy_flag


def test_numbers_and_the_last_line_wins() -> None:
    config = parse("max_proxy_lifetime 12\nmax_proxy_lifetime 24\nrequest_timeout -1\nrequest_size_limit 0")
    assert (config.max_proxy_lifetime, config.request_timeout, config.request_size_limit) == (24, -1, 0)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("max_proxy_lifetime", "exactly one"),
        ("max_proxy_lifetime 1 2", "exactly one"),
        ("max_proxy_lifetime ²", "whole number"),
        ("max_proxy_lifetime h", "whole number"),
        ("max_proxy_lifetime 0x10", "whole number"),
        ("max_proxy_lifetime -", "whole number"),
        ("min_keylen abc", "whole number"),
        ("max_cred_lifetime -1", "not between"),
        ("max_cert_lifetime -1h", "not between"),
        ("pam sometimes", "'sometimes' is not one of required, sufficient, disabled"),
        ("sasl optional", "'optional' is not one of required, sufficient, disabled"),
        ("pam enrolled", "'enrolled' is not one of required, sufficient, disabled"),
        ("otp on", "'on' is not one of required, enrolled, sufficient, disabled"),
        ('pam_id "open', "not closed"),
        ("syslog_ident J\udcfcrgen", "not UTF-8"),
        ("server_key", "at least one"),
        ("worker_processes 2x", "whole number"),
        ("argon2_iterations 0", "not between"),
        ("min_proxy_keylen 1023", "not between 1024 and 16384"),
    ],
)
def test_errors_name_file_and_line(line: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        parse(f"# first\n{line}\n")
    assert (caught.value.path, caught.value.line) == (PATH, 2)


@pytest.mark.parametrize(
    "line",
    [
        "slave_servers a.example.org",
        "slave_servers a;b",
        "slave_servers",
        "slave_servers a b",
        "nonsense 1 2 3",
        "disable_usage_stats 1",
        "certificate_openssl_engine_pre A:b C:d",
        "certificate_openssl_engine_lockfile /x",
    ],
)
def test_others_are_told(line: str) -> None:
    (note,) = parse(line).notes
    assert note.startswith(f"{PATH}:1: {line.split(maxsplit=1)[0]} is ") or "unknown directive nonsense" in note


@pytest.mark.parametrize(
    "line",
    [
        "certificate_openssl_engine_id pkcs11",
        "certificate_openssl_engine_pre A:b C:d\ncertificate_openssl_engine_id pkcs11",
    ],
)
def test_engines_are_refused_with_a_word_on_tokens(line: str) -> None:
    with pytest.raises(ConfigError, match="OpenSSL engines are not used") as caught:
        parse(line)
    assert caught.value.hint is not None
    assert "pkcs11:" in caught.value.hint


def test_what_is_switched_off_needs_no_note() -> None:
    config = parse("pam disabled\nsasl disabled\nallow_voms_attribute_requests off\nmax_proxy_lifetime 12")
    assert config.notes == ()
    assert config.pam is Method.DISABLED


def test_ways_of_authentication() -> None:
    config = parse("pam required\nsasl SUFFICIENT\notp required\nldap sufficient\npam_id login\nthrottle off")
    assert (config.pam, config.sasl, config.otp) == (Method.REQUIRED, Method.SUFFICIENT, Method.REQUIRED)
    assert (config.ldap, config.kerberos, config.auth_program) == (Method.SUFFICIENT, Method.DISABLED, Method.DISABLED)
    assert (config.pam_id, config.throttle, parse("").throttle) == ("login", False, True)
    assert config.notes == ()


def test_trusted_retrievers_for_everyone_is_refused() -> None:
    for text in ("trusted_retrievers *", 'trusted_retrievers /CN=a *\ndefault_trusted_retrievers "*"'):
        with pytest.raises(ConfigError, match="every credential without a pass phrase"):
            parse(text)
    parse("trusted_retrievers *\ndefault_trusted_retrievers none")
    parse("trusted_retrievers /CN=portal")


def test_front_ends_have_to_be_named() -> None:
    for text in ("trusted_front_ends *", "trusted_front_ends /CN=portal *"):
        with pytest.raises(ConfigError, match="choose where they are"):
            parse(text)
    assert parse("trusted_front_ends /CN=portal").access_policy.trusted_front_ends


def test_secrets_are_not_in_the_repr() -> None:
    config = parse("certificate_issuer_key_passphrase hunter2\nca_ldap_connect_passphrase hunter3")
    assert config.certificate_issuer_key_passphrase == "hunter2"
    assert "hunter" not in repr(config) + "".join(config.notes)


@pytest.mark.parametrize(
    ("line", "name", "value", "told"),
    [
        ("max_proxy_lifetime 12h", "max_proxy_lifetime", 12, "'12h' is taken for 12"),
        ("max_proxy_lifetime 12#x", "max_proxy_lifetime", 12, "'12#x' is taken for 12"),
        ("max_proxy_lifetime -1", "max_proxy_lifetime", 0, "'-1' is taken for 0"),
        ("max_proxy_lifetime 99999999999", "max_proxy_lifetime", MAX_HOURS, "is taken for 878400"),
        ("min_keylen -1", "min_keylen", 0, "'-1' is taken for 0"),
        ("certificate_serial_skip 0", "certificate_serial_skip", 1, "'0' is taken for 1"),
        ("request_timeout 1.5", "request_timeout", 1, "'1.5' is taken for 1"),
        ("request_timeout abc", "request_timeout", 0, "'abc' is taken for 0"),
        ("request_timeout 99999999999", "request_timeout", MAX_SECONDS, "is taken for"),
        ("request_size_limit 999999999", "request_size_limit", 1 << 24, "is taken for 16777216"),
        ("certificate_mapapp /bin/a b", "certificate_mapapp", "/bin/a", "only the first"),
        ("default_retrievers", "default_retrievers", None, "no effect"),
    ],
)
def test_what_the_c_server_takes_is_taken_and_told(line: str, name: str, value: object, told: str) -> None:
    config = parse(line)
    (note,) = config.notes
    assert getattr(config, name) == value
    assert note.startswith(f"{PATH}:1: {name}: ")
    assert told in note


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ('max_proxy_lifetime " 12"', "max_proxy_lifetime", 12),
        ("max_proxy_lifetime +3", "max_proxy_lifetime", 3),
        ("max_proxy_lifetime 0", "max_proxy_lifetime", 0),
        ("request_timeout 100000", "request_timeout", 100000),
        ("syslog_facility 16", "syslog_facility", "16"),
    ],
)
def test_what_needs_no_word(line: str, name: str, value: object) -> None:
    config = parse(line)
    assert (getattr(config, name), config.notes) == (value, ())


@pytest.mark.parametrize("entry", ["((", '"*', "a)|(b", "[z-a]", "x" * 1024, "J\udcfcrgen)"])
def test_an_entry_that_is_no_pattern_matches_nobody(entry: str) -> None:
    config = parse(f"accepted_credentials /CN=a {entry}")
    good, bad = config.access_policy.accepted_credentials
    assert good.matches(Client("/CN=a"))
    for name in ("", "a", "/CN=a", entry, entry.strip('"'), entry + "\n", "a^"):
        assert not bad.matches(Client(name))
    (note,) = config.notes
    assert note.startswith(f"{PATH}:1: accepted_credentials: the entry ")
    assert "matches nobody" in note
    note.encode()


def test_words_behind_a_closing_quote_are_words_of_their_own() -> None:
    config = parse('accepted_credentials "/CN=a"/CN=b "/CN=c""/CN=d"')
    assert texts(config.accepted_credentials) == ["/CN=a", "/CN=b", "/CN=c", "/CN=d"]
    assert len(config.notes) == 2


def test_bytes_that_are_not_utf8_harm_only_what_they_are_in() -> None:
    config = parse("# caf\udce9\nnonsense \udce9\naccepted_credentials /CN=caf\udce9 /CN=caf?|/CN=a")
    first, second = config.access_policy.accepted_credentials
    assert not first.matches(Client("/CN=a"))
    assert second.matches(Client("/CN=a"))
    assert len(config.notes) == 1
    with pytest.raises(ConfigError, match="not UTF-8"):
        parse("cert_dir /caf\udce9")
