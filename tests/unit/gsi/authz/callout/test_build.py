"""Where the library may be put, and what its configuration may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi.authz.callout.build import LIBRARY_NAME, ConfOptions, compile_library, render_conf, render_gridftp_conf
from gsi.errors import ConfigError


@pytest.mark.parametrize(
    "path", ["relative.so", "/with blank.so", "/with#hash", "/with\nline", '/with"quote', "/" + "x" * 255]
)
def test_paths_that_the_grammar_cannot_hold(path: str) -> None:
    with pytest.raises(ConfigError):
        render_conf(ConfOptions(library=path))
    with pytest.raises(ConfigError):
        render_conf(ConfOptions(library="/lib.so", socket=path))


def test_gridftp_lines() -> None:
    assert "RNFR" not in render_gridftp_conf()
    assert "RNFR,RNTO" in render_gridftp_conf(renames=False)


def test_unsafe_places(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        compile_library(str(tmp_path / "missing"))
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="others could replace"):
        compile_library(str(tmp_path))


def test_a_failed_build_leaves_the_old_library(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    library = tmp_path / LIBRARY_NAME
    library.write_bytes(b"old")
    for compiler in ("false", "no-such-compiler", "true", "cc -DPERMIT=(("):
        with pytest.raises(ConfigError):
            compile_library(str(tmp_path), compiler=compiler)
        assert library.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == [LIBRARY_NAME]
    compile_library(str(tmp_path))
    assert library.read_bytes().startswith(b"\x7fELF")
