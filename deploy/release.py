"""Making a release: the changelog, the files, what is in them, checksums; it neither signs nor publishes.

    python deploy/release.py changelog 1.2.0 2027-01-31    # gathers changelog.d in CHANGELOG.md, sets the version
    python deploy/release.py build build/release           # sdist, wheel, SBOM, SHA256SUMS of the last commit

The files are built of the last commit alone, twice, each in a directory of its own, and have to be the same both times.
`docs/development/release.md` says what comes before and after.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["KINDS", "build", "gather", "main", "requirements"]

ROOT: Final = Path(__file__).resolve().parent.parent
NAME: Final = "gsi-toolkit"

KINDS: Final = {
    "security": "Security",
    "removal": "Removed",
    "feature": "New",
    "changed": "Changed",
    "fixed": "Fixed",
}
"""Kinds of fragments in `changelog.d`, in the order in which they are shown, with their headings."""

_MARK: Final = "<!-- releases -->\n"


def gather(fragments: Path, version: str, day: str) -> str:
    """Return the section of a version, made of the fragments.

    Raises:
        SystemExit: A fragment is of no kind.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(fragments.glob("*.md")):
        _, _, kind = path.stem.rpartition(".")
        if kind not in KINDS:
            sys.exit(f"{path}: not one of {', '.join(KINDS)}")
        first, *rest = path.read_text("utf-8").strip().splitlines()
        found.setdefault(kind, []).append("\n".join([f"- {first}", *(f"  {line}".rstrip() for line in rest)]))
    parts = [f"## {version} ({day})"]
    for kind, heading in KINDS.items():
        if kind in found:
            parts += [f"### {heading}", "\n".join(found[kind])]
    return "\n\n".join(parts) + "\n"


def write_changelog(root: Path, version: str, day: str) -> None:
    """Put the section of a version into CHANGELOG.md, remove the fragments, and set the version."""
    section = gather(root / "changelog.d", version, day)
    log = root / "CHANGELOG.md"
    before, mark, after = log.read_text("utf-8").partition(_MARK)
    if not mark:
        sys.exit(f"{log}: no line {_MARK.strip()}")
    log.write_text(f"{before}{mark}\n{section}{after}", "utf-8")
    for path in (root / "changelog.d").glob("*.md"):
        path.unlink()
    place = root / "gsi/_version.py"
    place.write_text(re.sub(r'(__version__ = )".*"', rf'\1"{version}"', place.read_text("utf-8")), "utf-8")


def build(out: Path, root: Path = ROOT) -> list[Path]:
    """Build the last commit and return the files, SHA256SUMS last.

    Raises:
        SystemExit: Two builds are not the same.
    """
    epoch = _git(root, "log", "-1", "--format=%ct").decode().strip()
    tree = _git(root, "archive", "HEAD")
    first, second = (_build_once(tree, epoch) for _ in range(2))
    if first != second:
        sys.exit(f"two builds differ: {', '.join(sorted(name for name in first if first[name] != second.get(name)))}")
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in first]
    for path in files:
        path.write_bytes(first[path.name])
    files.append(_write_sbom(out, root))
    sums = out / "SHA256SUMS"
    sums.write_text("".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files))
    return [*files, sums]


def _git(root: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", root, *words], check=True, capture_output=True).stdout


def _build_once(tree: bytes, epoch: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
            archive.extractall(directory, filter="data")
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", "dist"],
            cwd=directory,
            env={**os.environ, "SOURCE_DATE_EPOCH": epoch},
            check=True,
            capture_output=True,
        )
        return {path.name: path.read_bytes() for path in sorted(Path(directory, "dist").iterdir())}


def _write_sbom(out: Path, root: Path) -> Path:
    """Write what the distribution needs with all its extras, in the versions that are installed here."""
    sbom = out / "sbom.cdx.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible"),
            *("--pyproject", root / "pyproject.toml", "--of", "JSON", "-o", sbom, "-"),
        ],
        input="".join(f"{line}\n" for line in requirements()).encode(),
        check=True,
        capture_output=True,
    )
    return sbom


def requirements(extra: str = "all") -> list[str]:
    """Return what the distribution and an extra need, directly or not, as `name==version`."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(NAME, ""), (NAME, extra)]
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        distribution = metadata.distribution(name)
        if name != NAME:
            found[name] = distribution.version
        for needed in map(Requirement, distribution.requires or ()):
            # What is for other systems, or for another extra, is not installed.
            if needed.marker is None or needed.marker.evaluate({"extra": wanted}):
                todo += [(canonicalize_name(needed.name), one) for one in ("", *needed.extras)]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def main(words: list[str]) -> int:
    """Do what the words say."""
    match words:
        case ["changelog", version, day]:
            write_changelog(ROOT, version, day)
        case ["build", out]:
            for path in build(Path(out)):
                sys.stdout.write(f"{path}\n")
        case _:
            sys.stderr.write(f"{__doc__}")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
