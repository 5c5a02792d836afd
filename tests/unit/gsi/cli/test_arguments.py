from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import pytest

from gsi.cli.arguments import CommandParser, Completion, UsageError, choice, count, duration, wrap


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def make_parser() -> CommandParser:
    parser = CommandParser("grid-thing", "do a thing", usage=("[options] [FILE...]", "-list"))
    first = parser.section("First")
    first.flag("-subject", "-s", text="show the subject", append_to="show")
    first.flag("-issuer", text="show the issuer", append_to="show")
    first.flag("-quiet", "-q", text="be quiet")
    first.value("-valid", "-v", metavar="H:M", convert=duration, text="how long")
    first.value("-path-length", metavar="N", convert=count, text="depth")
    first.value("-colour", metavar="C", choices=choice(Colour), default="red", text="which colour")
    first.value("-host", metavar="NAME", text="a host", repeatable=True)
    parser.operand("FILE", dest="files", many=True, text="the files", completion=Completion.FILE)
    return parser


@pytest.mark.parametrize(
    "words", [["-valid", "1:30"], ["--valid", "1:30"], ["-v", "1:30"], ["--valid=1:30"], ["-valid=1:30"]]
)
def test_every_spelling_of_an_option(words: list[str]) -> None:
    assert make_parser().parse_args(words).valid == timedelta(hours=1, minutes=30)


@pytest.mark.parametrize("word", ["-val", "--val", "-vali", "-path", "-sub", "-x", "--nonsense", "-", "-s1"])
def test_abbreviations_and_unknown_options_are_refused(word: str) -> None:
    if word == "-":
        assert make_parser().parse_args([word]).files == ["-"]
        return
    with pytest.raises(UsageError) as caught:
        make_parser().parse_args([word, "1:0"])
    assert caught.value.hint == "'grid-thing -help' lists the options"


def test_collected_flags_keep_the_order_of_the_command_line() -> None:
    assert make_parser().parse_args(["-issuer", "-s", "--issuer"]).show == ["issuer", "subject", "issuer"]


def test_lists_of_two_command_lines_are_apart() -> None:
    parser = make_parser()
    parser.parse_args(["-s", "-host", "a"])
    again = parser.parse_args(["-host", "b"])
    assert (again.show, again.host) == ([], ["b"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-valid", "1:61"], "-valid"),
        (["-valid", "noon"], "-valid"),
        (["-valid"], "-valid"),
        (["-path-length", "-1"], "-path-length"),
        (["-path-length", "0x2"], "needs a whole number of at least 0, not '0x2'"),
        (["-path-length", "1_0"], "whole number"),
        (["-path-length", "٣"], "whole number"),
        (["-path-length", "9" * 5000], "whole number"),
        (["-colour", "green"], "'green' is not one of red, blue"),
    ],
)
def test_bad_values_name_the_option_and_the_rule(words: list[str], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_parser().parse_args(words)
    assert told in caught.value.message
    assert words[0] in caught.value.message


def test_a_bare_double_dash_ends_the_options() -> None:
    arguments = make_parser().parse_args(["-q", "--", "-valid", "x"])
    assert arguments.quiet is True
    assert arguments.files == ["-valid", "x"]


def test_options_may_follow_operands() -> None:
    arguments = make_parser().parse_args(["one", "-q"])
    assert (arguments.files, arguments.quiet) == (["one"], True)


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["one", "-q", "two"], ["one", "two"]),
        (["-q", "one", "-valid", "1:0", "two", "three"], ["one", "two", "three"]),
        (["one", "-q", "--", "two"], ["one", "two"]),
        (["one", "-q", "two", "--", "-valid", "x"], ["one", "two", "-valid", "x"]),
        (["one", "--", "-q"], ["one", "-q"]),
        (["one", "-q", "-", "two"], ["one", "-", "two"]),
        (["one", "-q", "--", "--", "two"], ["one", "--", "two"]),
        (["-q", "--"], []),
        (["one", "-q", "--"], ["one"]),
    ],
)
def test_operands_may_stand_among_the_options(words: list[str], files: list[str]) -> None:
    assert make_parser().parse_args(words).files == files


@pytest.mark.parametrize(
    "words", [["one", "-q", "-x"], ["one", "-q", "two", "-x", "three"], ["one", "-q", "-x", "--", "two"], ["-x", "one"]]
)
def test_unknown_options_among_operands_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="-x"):
        make_parser().parse_args(words)


def test_a_required_operand_may_stand_among_the_options() -> None:
    parser = CommandParser("grid-thing", "do a thing")
    parser.section("S").flag("-q", text="be quiet")
    parser.operand("FILE", dest="files", many=True, required=True, text="the files")
    assert parser.parse_args(["one", "-q", "two"]).files == ["one", "two"]
    assert parser.parse_args(["-q", "--", "-x", "two"]).files == ["-x", "two"]
    with pytest.raises(UsageError):
        parser.parse_args(["-q"])


def test_a_single_operand_stays_single() -> None:
    parser = CommandParser("grid-thing", "do a thing")
    parser.section("S").flag("-q", text="be quiet")
    parser.operand("FILE", dest="file", text="the file")
    assert parser.parse_args(["-q", "one"]).file == "one"
    with pytest.raises(UsageError, match="two"):
        parser.parse_args(["one", "-q", "two"])


def test_count_within_limits() -> None:
    assert count("0") == 0
    with pytest.raises(ValueError, match="from 1 to 5"):
        count("6", minimum=1, maximum=5)


def test_help_names_every_option_once() -> None:
    text = make_parser().format_help()
    assert text.startswith("usage: grid-thing [options] [FILE...]\n       grid-thing -list\n\nDo a thing.\n")
    for label in ("  -subject, -s", "  -valid, -v H:M", "  -host NAME", "  -help, -usage", "  -version", "  -debug"):
        assert text.count(f"\n{label} ") == 1, label
    assert max(map(len, text.splitlines())) <= 100


def test_a_long_label_stands_above_its_text() -> None:
    parser = CommandParser("grid-thing", "do a thing")
    parser.section("S").value("-a-very-long-option-name", metavar="LONG-VALUE", text="text")
    assert "\n  -a-very-long-option-name LONG-VALUE\n" + " " * 28 + "text\n" in parser.format_help()


def test_help_and_version_stop_with_success(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("-help", "--usage", "-version"):
        with pytest.raises(SystemExit) as stop:
            make_parser().parse_args(["-nonsense-is-not-reached", word][1:])
        assert stop.value.code == 0
    captured = capsys.readouterr()
    assert captured.out == make_parser().format_help() * 2
    assert captured.err.startswith("grid-thing (gsi-toolkit) ")


def test_wrap() -> None:
    assert wrap("aa bb cc", 5) == ["aa bb", "cc"]
    assert wrap("", 5) == [""]
    assert wrap("abcdefgh i", 5) == ["abcdefgh", "i"]
