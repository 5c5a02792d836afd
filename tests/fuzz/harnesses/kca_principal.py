"""kca.principal: whatever a principal is, its name lies below the base and has as many parts as the rule says."""

from __future__ import annotations

from typing import Final

from gsi import names
from gsi.kerberos.ticket import Principal
from kca.principal import RealmRules, Rule, encode_pkinit_name, entitle
from tests.fuzz.rule import Target, each, text_of

__all__ = ["SHAPE", "TARGET"]

SHAPE: Final = "text"
_BASE: Final = "/O=Grid/OU=Fuzz"
_RULES: Final = tuple(Rule(principal="/".join("*" * count)) for count in (1, 2, 3))


def _entitle(text: str) -> None:
    principal = Principal.parse(text)
    assert Principal.parse(principal.text) == principal
    encode_pkinit_name(principal)
    found = entitle(principal, {principal.realm: RealmRules(base=_BASE, rule=_RULES, auth_realm=False)})
    parts = names.attributes(found.subject_der)
    assert len(parts) == 2 + len(principal.components)
    assert [part[0].text() for part in parts[:1:-1]] == list(principal.components)
    assert found.subject.startswith(f"{_BASE}/")


TARGET: Final[Target] = text_of(each(_entitle))
