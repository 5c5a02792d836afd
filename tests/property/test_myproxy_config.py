"""Whatever is in a configuration file: a value or a ConfigError."""

from __future__ import annotations

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from gsi.errors import ConfigError
from myproxy.config import parse_config

_WORDS = st.sampled_from(
    ["accepted_credentials", "authorized_retrievers", "max_proxy_lifetime", "pam", "request_timeout", "cert_dir", "#",
     '"', "\\", " ", "\t", "\n", "\r", "*", "12", "-1", "true", "required", "((", "x", "12h", "\udce9"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(_WORDS).map("".join), st.lists(_WORDS).map(" ".join)))
@example("\ud800 x")
@example('accepted_credentials "\\')
def test_a_value_or_our_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        hash(parse_config(text, path="f"))


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters='"\\\n\r\0'), min_size=1), min_size=1))
def test_quoted_words_survive(words: list[str]) -> None:
    line = "syslog_ident " + " ".join(f'"{word}"' for word in words[:1])
    assert parse_config(line, path="f").syslog_ident == words[0]
