"""The C reader of `gsi-authz.conf` beside our lint: what it refuses we call so, and it loads the library we say."""

from __future__ import annotations

import ctypes.util
import subprocess
import sys
from pathlib import Path

import pytest

from gsi.authz.callout.build import LIBRARY_NAME, ConfOptions, compile_library, render_conf
from gsi.authz.calloutconf import Severity, library_candidates, lint_callouts, lint_text
from gsi.authz.serviceconf import ServiceFiles, family_of, lint_service_files
from tests.harness.run import ALLOW_MISSING_PEERS

pytestmark = pytest.mark.interop

WORKER = r"""
import ctypes, sys
common = ctypes.CDLL("libglobus_common.so.0", mode=ctypes.RTLD_GLOBAL)
callout = ctypes.CDLL("libglobus_callout.so.0")
module = ctypes.c_char.in_dll(callout, "globus_i_callout_module")
common.globus_module_activate.argtypes = [ctypes.c_void_p]
if common.globus_module_activate(ctypes.addressof(module)):
    sys.exit("the module cannot be activated")
handle = ctypes.c_void_p()
callout.globus_callout_handle_init(ctypes.byref(handle))
read = callout.globus_callout_read_config(handle, sys.argv[1].encode())
if not read:
    callout.globus_callout_call_type(handle, b"globus_mapping")
print(read)
"""


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    """The C library, whose absence fails in CI."""
    if (
        ctypes.util.find_library("globus_callout") is None
        and not Path("/usr/lib/x86_64-linux-gnu/libglobus_callout.so.0").exists()
    ):
        if ALLOW_MISSING_PEERS:
            pytest.skip("libglobus_callout is not installed")
        pytest.fail("libglobus_callout is not installed")


def test_what_the_packages_install_is_open(tmp_path: Path) -> None:
    """A perfect `gsi-authz.conf` beside the services' own files as they come: strangers manage jobs, trees move."""
    compile_library(str(tmp_path))
    conf = tmp_path / "gsi-authz.conf"
    conf.write_text(render_conf(ConfOptions(library=str(tmp_path / LIBRARY_NAME))))
    assert lint_callouts(str(conf)) == []
    for place, says in {
        "/etc/globus/globus-gram-job-manager.conf": "no -enable-callout",
        "/etc/gridftp.conf": "MLSR: done without that anybody is asked",
        "/etc/grid-services/available/jobmanager-fork-poll": "no gate before the job manager",
    }.items():
        family = family_of(place)
        assert family is not None
        copy = tmp_path / place.removeprefix("/etc/")
        copy.parent.mkdir(exist_ok=True, parents=True)
        copy.write_bytes(Path(place).read_bytes())
        found = lint_service_files(ServiceFiles(family, (str(copy),)))
        assert any(finding.severity is Severity.HOLE and says in finding.message for finding in found), place


def ask_c(conf: Path) -> tuple[int, int | None]:
    """What the C reader returns, and what the callout of a mapping prints; a crash is a number below zero."""
    done = subprocess.run([sys.executable, "-c", WORKER, conf], capture_output=True, text=True, check=False)
    if done.returncode:
        return min(done.returncode, -1), None
    *called, read = done.stdout.split()
    return int(read), int(called[0]) if called else None


@pytest.mark.parametrize(
    "text",
    [
        "globus_mapping /x f\n",
        "globus_mapping /x f",
        "globus_mapping /x\n",
        "# c\n",
        "# c",
        "",
        "\n \n",
        "globus_mapping /x f ENV:A=1 B=2\n",
        'globus_mapping /x f ENV:A="1 2" B=2\n',
        'globus_mapping /x f ENV:A="1 2\n',
        "globus_mapping /x f A=1\n",
        "globus_mapping /x f # c\n",
        "globus_mapping /x f ENV:A=1#c B=2\n",
        "globus_mapping /x " + "f" * 5000 + "\n",
        "globus_mapping /x f #" + "c" * 4090 + "\n",
        "globus_mapping /x f #" + "c" * 4070 + "\n",
        "\tglobus_mapping\t/x\tf\n",
        "|globus_mapping /x f\n",
    ],
    ids=lambda text: repr(text[:40]),
)
def test_what_stops_a_service(text: str, tmp_path: Path) -> None:
    conf = tmp_path / "gsi-authz.conf"
    conf.write_text(text)
    read, _ = ask_c(conf)
    stops = [
        finding
        for finding in lint_text(text.encode(), path="c")
        if "refuse to start" in finding.message or "may crash" in finding.message
    ]
    assert bool(read) is bool(stops), (read, stops)


def build(path: Path, result: int) -> None:
    path.parent.mkdir(exist_ok=True)
    source = path.parent / "source.c"
    source.write_text(f'#include <unistd.h>\nunsigned f(void) {{ return write(1, "{result} ", 5) != 5; }}\n')
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True)


@pytest.mark.parametrize(
    "written", ["libshim.so", "libshim", "lib_64", "lib_64.so", "x_64/libq", "x_y/libq", "lib_b", "libm64"]
)
@pytest.mark.parametrize("shadow", ["", "_gcc64", "_gcc64.so", ".so"])
def test_which_library_is_loaded(written: str, shadow: str, tmp_path: Path) -> None:
    numbers: dict[str, int] = {}
    for name in dict.fromkeys(
        (f"{written.removesuffix('.so')}.so", f"{written}{shadow}", f"{written.rpartition('_')[0] or 'z'}.so")
    ):
        numbers[str(tmp_path / name)] = 1000 + len(numbers)
        build(tmp_path / name, numbers[str(tmp_path / name)])
    conf = tmp_path / "gsi-authz.conf"
    conf.write_text(f"globus_mapping {tmp_path}/{written} f\n")
    read, called = ask_c(conf)
    assert read == 0
    loaded = next(name for name in library_candidates(f"{tmp_path}/{written}") if Path(name).is_file())
    assert called == numbers[loaded]
