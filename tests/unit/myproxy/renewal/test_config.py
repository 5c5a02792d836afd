"""What the configuration of the renewal agent says, and what it refuses."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from gsi.errors import ConfigError
from myproxy.renewal import config
from myproxy.renewal.config import load_config
from tests.harness.ca import write_file

PAGE = Path(__file__).parents[4] / "docs/reference/renewal.md"
SOURCE = """\
[source.grid]
server = "myproxy.example.org"
certificate = "/etc/cert.pem"
key = "/etc/key.pem"
[source.kca]
kind = "kca"
"""
ENTRY = '[credential.a]\nsource = "grid"\npath = "/x/a.pem"\nusername = "alice"\n'


def load(tmp_path: Path, text: str) -> config.RenewalConfig:
    path = tmp_path / "renewd.toml"
    write_file(path, text.encode(), 0o600)
    return load_config(str(path))


def test_entries_of_a_directory_join(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    write_file(tmp_path / "d/b.toml", ENTRY.replace("a]", "b]").replace("a.pem", "b.pem").encode(), 0o600)
    write_file(tmp_path / "d/readme", b"nothing of ours", 0o600)
    loaded = load(tmp_path, f'entries = "{tmp_path}/d"\n{SOURCE}{ENTRY}')
    assert list(loaded.credential) == ["a", "b"]
    assert [entry.name for entry in loaded.credential.values()] == ["a", "b"]
    write_file(tmp_path / "d/c.toml", ENTRY.encode(), 0o600)
    with pytest.raises(ConfigError, match=r"c\.toml: there is another entry of the name 'a'"):
        load(tmp_path, f'entries = "{tmp_path}/d"\n{SOURCE}{ENTRY}')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SOURCE + ENTRY.replace("grid", "gird"), "there is no \\[source.gird\\]"),
        (SOURCE + ENTRY.replace("/x/a.pem", "a.pem"), "must be an absolute path"),
        (SOURCE + ENTRY.replace("/x/a.pem", ""), "names no file"),
        (SOURCE + ENTRY + "create = true\n", "create needs identity"),
        (SOURCE + ENTRY + 'create = true\nidentity = "/CN=a"\n', "what is not there cannot prove anything"),
        (SOURCE + ENTRY + 'proof = "passphrase"\n', "needs passphrase_file"),
        (SOURCE + ENTRY + 'passphrase_file = "/x/y"\n', 'needs proof = "passphrase"'),
        (SOURCE + ENTRY + 'principal = "a"\n', "needs username, and no principal"),
        (SOURCE + ENTRY + 'after = ["touch"]\n', "absolute path"),
        (SOURCE + ENTRY + 'key = "/x/a.pem"\n', "other than path"),
        (SOURCE + ENTRY + ENTRY.replace("a]", "b]"), "have the same file"),
        (SOURCE + ENTRY.replace("a]", '"a/b"]'), "a name has letters"),
        (SOURCE + ENTRY.replace("grid", "kca"), "needs principal"),
        (SOURCE.replace("myproxy.example.org", "") + ENTRY, "needs server"),
        (SOURCE.replace('certificate = "/etc/cert.pem"\nkey = "/etc/key.pem"', "") + ENTRY, "needs a certificate in"),
        (SOURCE + 'server = "x"\n', "server means nothing"),
        (SOURCE + 'hosts = ["-x"]\n', "do not begin with a dash"),
        ('state = "here"\n', "must be an absolute path"),
        ('[tell.webhook]\nurl = "http://example.org/"\n', "must begin with https"),
        ('[tell.webhook]\nurl = "https://a@example.org/"\n', "without a user name"),
        ('[tell.webhook]\nurl = "https://example.org/"\nheader = "A: b"\n', "no name of a header"),
        ('[tell.mail]\nto = ["-x@y"]\nsender = "a@b"\n', "is no mail address"),
        ('[tell.mail]\nto = []\nsender = "a@b"\n', "names nobody"),
        (
            '[tell.mail]\nto = ["x@y"]\nsender = "a@b"\nserver = "mx"\nusername = "u"\npassword_file = "/p"\n',
            "could read the password",
        ),
        ('[tell]\nhook = ["hook"]\n', "absolute path"),
        ("worker = 1\n", "unknown key 'worker'"),
    ],
)
def test_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load(tmp_path, text)


def test_a_configuration_that_others_can_change_is_refused(tmp_path: Path) -> None:
    load(tmp_path, SOURCE)
    (tmp_path / "renewd.toml").chmod(0o666)
    with pytest.raises(ConfigError, match="others can change it"):
        load_config(str(tmp_path / "renewd.toml"))


@pytest.mark.parametrize(
    ("heading", "schema"),
    [
        ("The agent", config.RenewalConfig),
        ("`[source.NAME]`", config.SourceSettings),
        ("`[credential.NAME]`", config.Entry),
        ("`[tell]`", config.TellSettings),
        ("`[tell.mail]`", config.MailSettings),
        ("`[tell.webhook]`", config.WebhookSettings),
    ],
)
def test_every_key_is_described(heading: str, schema: type) -> None:
    section = PAGE.read_text("utf-8").split(f"### {heading}\n")[1].split("\n##")[0]
    names = [field.name for field in dataclasses.fields(schema) if field.init and field.name not in {"mail", "webhook"}]
    if schema is config.RenewalConfig:
        names = [name for name in names if name not in {"source", "credential", "tell"}]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == names
