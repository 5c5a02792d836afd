"""A command whose extra is not installed says which one it needs."""

from __future__ import annotations

import pytest

from gsi.cli.arguments import CommandParser, Namespace
from gsi.cli.run import EXIT_ERROR, EXIT_INTERNAL, run


def _parser() -> CommandParser:
    return CommandParser("myproxy-server", "serve")


@pytest.mark.parametrize(
    ("module", "status", "said"),
    [
        ("sqlalchemy.engine", EXIT_ERROR, "pip install 'gsi-toolkit[server]'"),
        ("gsi.no_such_room", EXIT_INTERNAL, "internal error"),
    ],
)
def test_what_is_missing(module: str, status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    def body(_arguments: Namespace) -> int:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    assert run(_parser, body, []) == status
    assert said in capsys.readouterr().err
