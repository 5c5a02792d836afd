"""What -voms, -order and -conf take."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsi.cli.arguments import UsageError
from gsi.cli.voms_arguments import MAX_OPTIONS_BYTES, VOMSParser, add_conf
from gsi.errors import GridError
from gsi.voms.wishes import Wish, parse_fqan, parse_wish


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("vo", Wish("vo", None)),
        ("vo:all", Wish("vo", "all")),
        ("vo:ALL", Wish("vo", "all")),
        ("vo:/vo", Wish("vo", "/vo")),
        ("vo:/vo/Role=NULL/Capability=NULL", Wish("vo", "/vo")),
        ("alias:/vo/a/Role=r", Wish("alias", "/vo/a/Role=r")),
        ("vo:/vo/a:r", Wish("vo", "/vo/a/Role=r")),
        ("vo:/Role=r", Wish("vo", "/Role=r")),
    ],
)
def test_wishes(text: str, wish: Wish) -> None:
    assert parse_wish(text) == wish


@pytest.mark.parametrize(
    "text",
    ["", ":", "vo:", ":/vo", "vo:group", "vo:/vo/", "vo:/vo/Role=", "vo:/vo/Capability=x", "vo:/a,/b", "vo:/a b"],
)
def test_no_wishes(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_wish(text)


@given(st.text(max_size=40))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        fqan = parse_fqan(text)
    except ValueError:
        return
    assert fqan.startswith("/")
    assert not set(fqan) & {",", " "}
    assert "/Capability=" not in fqan


def _parser() -> VOMSParser:
    parser = VOMSParser("test", "try it", usage=("[options]",))
    section = parser.section("Options")
    add_conf(section)
    section.flag("-a", text="a flag")
    section.value("-name", metavar="X", text="a value")
    parser.operand("FILE", dest="files", many=True, text="files")
    return parser


def test_options_from_files(tmp_path: Path) -> None:
    """They count where the file is named; a bare -- ends them."""
    path = tmp_path / "options"
    path.write_text("# remark\n-name=x  # more\n\n-a\n", "utf-8")
    first = _parser().parse_args(["-conf", str(path), "-name", "y"])
    assert (first.a, first.name) == (True, "y")
    second = _parser().parse_args(["-name", "y", f"--conf={path}"])
    assert (second.a, second.name) == (True, "x")
    third = _parser().parse_args(["--", "-conf", str(path)])
    assert (third.a, third.files) == (False, ["-conf", str(path)])


def test_files_that_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "options"
    with pytest.raises(GridError):
        _parser().parse_args(["-conf", str(path)])
    with pytest.raises(UsageError):
        _parser().parse_args(["-conf"])
    for content in (b"-name 'open", b"-conf other", b"-nonsense", b"-a\n" * MAX_OPTIONS_BYTES):
        path.write_bytes(content)
        with pytest.raises(GridError):
            _parser().parse_args(["-conf", str(path)])
