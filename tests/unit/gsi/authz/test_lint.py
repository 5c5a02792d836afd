"""The lint of policies: bans that something can permit past, rules that mean too much, files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi.authz.calloutconf import Severity
from gsi.authz.lint import lint_policy

HOLE, BROKEN, NOTE = Severity.HOLE, Severity.BROKEN, Severity.NOTE
TABLES = """
[authorizer.bans]
type = "ban"
file = "bans"
[authorizer.rules]
type = "rules"
file = "rules"
"""


def lint(
    folder: Path, text: str, rules: str = "permit authenticated to read on /pub/**\n"
) -> list[tuple[Severity, str]]:
    (folder / "bans").write_text("")
    (folder / "rules").write_text(rules)
    (folder / "p.toml").write_text(text)
    return [(finding.severity, finding.message) for finding in lint_policy(str(folder / "p.toml"))]


@pytest.mark.parametrize(
    "text",
    [
        'order = ["bans", "rules"]' + TABLES,
        'order = ["rules", "bans"]\ncombining = "deny-overrides"' + TABLES,
        'order = ["bans", "c"]' + TABLES + '[chain.c]\norder = ["rules"]\ncombining = "permit-overrides"',
        'order = ["c", "rules"]\ncombining = "deny-overrides"' + TABLES + '[chain.c]\norder = ["bans"]',
    ],
)
def test_bans_that_win(tmp_path: Path, text: str) -> None:
    assert lint(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('order = ["rules", "bans"]' + TABLES, "come behind rules"),
        ('order = ["bans", "rules"]\ncombining = "permit-overrides"' + TABLES, "goes before the bans"),
        ('order = ["rules", "c"]' + TABLES + '[chain.c]\norder = ["bans"]', "bans of 'c' come behind rules"),
        ('order = ["c"]' + TABLES + '[chain.c]\norder = ["rules", "bans"]', "in the chain 'c'"),
        (
            'order = ["c", "rules"]\ncombining = "permit-overrides"' + TABLES + '[chain.c]\norder = ["bans"]',
            "goes before the bans of 'c'",
        ),
    ],
)
def test_bans_that_do_not(tmp_path: Path, text: str, says: str) -> None:
    ((severity, message),) = lint(tmp_path, text)
    assert severity is HOLE
    assert says in message


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("permit anyone to *", "everybody"),
        ("permit anyone to read, *", "everybody"),
        ("permit dn /O=Grid/CN=* to read", "the character itself"),
        ("permit anyone to read on /a after 2027-01-01 before 2026-01-01", "ends before it begins"),
        ("permit anyone to read on ~/x", "nothing is filled in"),
        ("permit anyone to read on /home/$USER/**", "nothing is filled in"),
        ("", "holds no rule"),
    ],
)
def test_rules_that_are_hardly_meant(tmp_path: Path, rule: str, says: str) -> None:
    ((severity, message),) = lint(tmp_path, 'order = ["bans", "rules"]' + TABLES, rule)
    assert severity is NOTE
    assert says in message


def test_what_cannot_be_read_is_one_finding(tmp_path: Path) -> None:
    ((severity, message),) = lint(tmp_path, 'order = ["bans"]' + TABLES)
    assert severity is BROKEN
    assert "[authorizer.rules] is defined" in message
    assert "refuses everybody" in message
    (tmp_path / "p.toml").unlink()
    (finding,) = lint_policy(str(tmp_path / "p.toml"))
    assert finding.severity is BROKEN


def test_root(tmp_path: Path) -> None:
    ((severity, message),) = lint(tmp_path, 'allow_root = true\norder = ["bans", "rules"]' + TABLES)
    assert severity is NOTE
    assert "allow_root" in message


@pytest.mark.parametrize("name", ["gridftp", "gram"])
def test_addresses_that_c_services_do_not_tell(tmp_path: Path, name: str) -> None:
    """A ban of an address bans nobody from GridFTP; elsewhere it is none of this lint's business."""
    (tmp_path / "bans").write_text("address 192.0.2.0/24\ndn /CN=x\naddress 0.0.0.0/0\n")
    (tmp_path / "rules").write_text("permit anyone to login on /x\ndeny anyone from 192.0.2.0/24\n")
    (tmp_path / "jobs").write_text("permit anyone to start executable /x from 192.0.2.0/24\n")
    text = 'order = ["bans", "rules", "jobs"]' + TABLES + '[authorizer.jobs]\ntype = "rsl"\nfile = "jobs"\n'
    for service in (name, "storage"):
        (tmp_path / f"{service}.toml").write_text(text)
    found = lint_policy(str(tmp_path / f"{name}.toml"))
    told = [(each.severity, Path(each.path).name, each.line) for each in found]
    assert told == [(HOLE, "bans", 1), (HOLE, "bans", 3), (NOTE, "rules", 2), (NOTE, "jobs", 1)]
    assert "from holds for everybody" in found[2].message
    assert "from holds for nobody" in found[3].message
    assert lint_policy(str(tmp_path / "storage.toml")) == []


def test_everything_of_a_service_with_directives_of_its_own(tmp_path: Path) -> None:
    """What `permit anyone to myproxy:*` leaves open, the directives of that server decide."""
    order = 'order = ["bans", "rules"]' + TABLES
    assert lint(tmp_path, order, "permit anyone to myproxy:*\n") == []
    for actions in ("*", "file:*", "login:*"):
        ((severity, message),) = lint(tmp_path, order, f"permit anyone to {actions}\n")
        assert severity is NOTE
        assert "everybody" in message


TOKENS = """
[source.tokens]
type = "tokens"
audiences = ["https://se.example.org"]
[source.tokens.issuers.atlas]
url = "https://atlas.example.org/"
groups = ["/atlas/prod", "/dteam"]
[source.tokens.issuers.cms]
url = "https://cms.example.org/"
"""


@pytest.mark.parametrize(
    ("rule", "severity"),
    [
        ("permit group /atlas/prod to read", None),
        ("permit group /atlas/prod/x, staff to read", None),
        ("permit group /atlas/* to read", None),
        ("permit group /atlas/prod/x* to read", None),
        ("permit group * to read", None),
        ("deny group /ATLAS/Prod/x", None),
        ("permit group /atlas/production to read", NOTE),
        ("permit group /atlas to read", NOTE),
        ("permit group /ATLAS/prod to read", NOTE),
        ("permit group /cms/* to read", NOTE),
        ("deny group /cms/suspended", HOLE),
    ],
)
def test_groups_of_which_no_issuer_may_speak(tmp_path: Path, rule: str, severity: Severity | None) -> None:
    """Without tokens nothing is said: groups with a slash may be another source's then."""
    text = 'order = ["bans", "rules"]\n'
    found = lint(tmp_path, f'{text}sources = ["tokens"]\n{TABLES}{TOKENS}', rule)
    assert [each for each, _ in found] == ([] if severity is None else [severity])
    assert all("no issuer of tokens may speak of" in message for _, message in found)
    assert lint(tmp_path, text + TABLES, rule) == []


def test_bans_of_groups_of_which_no_issuer_may_speak(tmp_path: Path) -> None:
    text = f'order = ["bans", "rules"]\nsources = ["tokens"]\n{TABLES}{TOKENS}'
    lint(tmp_path, text)
    (tmp_path / "bans").write_text("group /dteam/x\ngroup /cms/Suspended\ngroup staff\n")
    (found,) = lint_policy(str(tmp_path / "p.toml"))
    assert (found.severity, found.line, found.path) == (HOLE, 2, str(tmp_path / "bans"))
    assert "https://cms.example.org/ has none" in found.fix


@pytest.mark.parametrize(("prefix", "doubts"), [("", 0), ("ldap:", 0), ("/", 1), ("/atlas/", 1)])
def test_groups_of_a_directory_that_are_called_as_those_of_tokens(tmp_path: Path, prefix: str, doubts: int) -> None:
    pytest.importorskip("ldap")
    source = (
        '[source.people]\ntype = "ldap"\nservers = ["ldaps://ldap.example.org"]\nuser_base = "dc=x"\n'
        f'user_attribute = "cn"\ngroups_from = ["memberOf"]\nprefix = "{prefix}"\n'
    )
    found = lint(tmp_path, f'order = ["bans", "rules"]\nsources = ["tokens", "people"]\n{TABLES}{TOKENS}{source}')
    assert ["called as those of tokens" in message for _, message in found] == [True] * doubts


COMMUNITY = """
[authorizer.cas]
type = "cas"
accounts = false
trust_dir = "{trust}"
{more}
[authorizer.cas.communities.climate]
identity = "/O=Grid/CN=cas"
rights = [{{objects = ["ftp://h/*"], actions = ["file:read"]}}]
"""


@pytest.mark.parametrize("ban", ["fqan /climate/x", "group /climate/x", 'issuer "/CN=CA"', 'serial "/CN=CA" 1'])
def test_bans_that_do_not_see_capabilities(tmp_path: Path, ban: str) -> None:
    (tmp_path / "bans").write_text(f"dn /CN=Mallory\n{ban}\n")
    (tmp_path / "others").write_text("")
    (tmp_path / "trust").mkdir()
    for more, count in (("", 1), ('bans = "others"', 1), ('bans = "bans"', 0)):
        text = 'order = ["bans", "cas"]' + TABLES.partition("[authorizer.rules]")[0]
        (tmp_path / "p.toml").write_text(text + COMMUNITY.format(trust=tmp_path / "trust", more=more))
        found = lint_policy(str(tmp_path / "p.toml"))
        assert [(one.severity, one.line) for one in found] == [(HOLE, 2)] * count
        assert all("cas does not see it" in one.message for one in found)
