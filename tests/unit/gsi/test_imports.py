"""What is loaded when: the front doors cost nothing, and `--help` of a command loads no more than it must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gsi

ROOT = Path(__file__).parents[3]

HEAVY = frozenset(
    {
        "asyncio", "cryptography", "dataclasses", "email", "flask", "getpass", "gssapi", "inspect", "ipaddress", "json",
        "ldap", "logging", "pathlib", "pyasn1", "shutil", "socket", "sqlalchemy", "ssl", "subprocess", "tempfile",
        "traceback", "urllib",
    }
)  # fmt: skip
"""Whatever costs a start a millisecond or more and is not needed to print a help text."""

OPTIONAL = frozenset(
    {
        "flask",
        "gssapi",
        "ldap",
        "sqlalchemy",
        "alembic",
        "psycopg",
        "lxml",
        "signxml",
        "prometheus_client",
        "pkcs11",
        "pam",
    }
)
"""What only an extra installs; no front door may load it."""

PACKAGES = ("gsi", "myproxy", "cas", "kca")

SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
WRITTEN = {
    name: place
    for name, place in SCRIPTS.items()
    if (ROOT / (place.partition(":")[0].replace(".", "/") + ".py")).exists()
}

SHARED = frozenset({"gsi", "gsi._version", "gsi.cli", "gsi.cli.arguments", "gsi.cli.run", "gsi.errors"})
"""Our modules that the help of any of our own commands needs, besides the command's."""

_WISHES = frozenset({"gsi.cli.voms_arguments", "gsi.voms", "gsi.voms.wishes"})
_OPTIONS = frozenset({"gsi.cli.proxy_options"})
COMPANIONS = {
    "grid-proxy-init": _OPTIONS,
    "grid-proxy-info": _OPTIONS,
    "voms-proxy-init": _WISHES | _OPTIONS,
    "voms-proxy-list": _WISHES,
    "voms-proxy-info": frozenset({"gsi.cli.voms_arguments"}) | _OPTIONS,
    "voms-proxy-destroy": frozenset({"gsi.cli.voms_arguments"}),
}
"""What the commands of one family share on top of that."""


def modules_after(code: str) -> set[str]:
    """Run code in a fresh interpreter without site packages' start-up hooks, and return what it has loaded."""
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "sys.path[:0] = " + repr([str(ROOT), *[path for path in sys.path if path.endswith("site-packages")]]) + "\n"
        f"{code}\n"
        "import os\n"
        "os.write(3, '\\n'.join(set(sys.modules) - before).encode())\n"
    )
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", f"import os; os.dup2({writing}, 3)\n{program}"],
        pass_fds=[writing],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as pipe:
            found = set(pipe.read().split())
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    assert found
    return found


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_front_door_loads_nothing_heavy(package: str) -> None:
    found = modules_after(f"import {package}")
    assert package in found
    assert not tops(found) & (HEAVY | OPTIONAL)


@pytest.mark.parametrize("command", sorted(WRITTEN))
def test_help_loads_nothing_heavy(command: str) -> None:
    module, _, function = WRITTEN[command].partition(":")
    found = modules_after(f"import {module} as command\nassert command.{function}(['--help']) == 0")
    assert not tops(found) & HEAVY
    ours = {name for name in found if name.partition(".")[0] in PACKAGES}
    if module.startswith("gsi."):
        assert ours == SHARED | {module} | COMPANIONS.get(command, frozenset())
    else:
        assert ours >= SHARED | {module}


def test_a_bad_command_line_loads_nothing_heavy() -> None:
    found = modules_after("import gsi.cli.proxy_init as command\nassert command.main(['-nonsense']) == 1")
    assert not tops(found) & HEAVY


def test_making_a_proxy_loads_no_optional_package_and_no_network(tmp_path: Path) -> None:
    """The whole start-up path of grid-proxy-init but cryptography, which itself loads some of the heavy ones."""
    by_cryptography = modules_after("import cryptography.x509, cryptography.hazmat.primitives.serialization.pkcs12")
    found = modules_after(
        f"import os; os.environ['HOME'] = {str(tmp_path)!r}\n"
        "import gsi.cli.proxy_init as command\nassert command.main([]) == 1\n"
        "import gsi.proxy.issue, gsi.system.credential_files, gsi.system.clock"
    )
    assert "cryptography" in found
    assert not tops(found - by_cryptography) & (HEAVY | OPTIONAL)


def test_every_public_name_is_there() -> None:
    for name in gsi.__all__:
        assert getattr(gsi, name) is not None, name
    assert set(dir(gsi)) == set(gsi.__all__)
    assert gsi.__all__ == sorted(gsi.__all__)


def test_public_names_are_the_rooms_own() -> None:
    from gsi.certificate import Certificate

    assert gsi.Certificate is Certificate


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gsi' has no attribute 'nonsense'"):
        gsi.nonsense  # type: ignore[attr-defined]  # noqa: B018  it is the error that is wanted


def test_a_star_import_gives_the_public_names() -> None:
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from gsi import *; import json; print(json.dumps(sorted(k for k in globals() if k != 'json')))",
        ],
        capture_output=True,
        check=True,
        timeout=60,
        cwd=ROOT,
    )
    assert set(gsi.__all__) <= set(json.loads(found.stdout))
