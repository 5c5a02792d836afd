"""The suite on disk: every file that the builder answers for, and the manifest that names them; reads no clock.

    files = build()                     {"manifest.json": ..., "generated/...": ...}
    differences(files)                  what on disk is otherwise

`captured/` and `keys/` are not built; they are read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from builder.cases import all_cases
from builder.reasons import REASONS
from builder.specifications import SPECIFICATIONS, title

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from builder.certificates import Facts
    from builder.model import Case
    from builder.world import TrustDir

__all__ = ["HERE", "build", "differences", "write"]

HERE: Final = Path(__file__).resolve().parent.parent
_GENERATED: Final = "generated"
_MANIFEST: Final = "manifest.json"
_STRICTEST: Final = ("restricted", "limited", "independent", "full")

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]

# What an option means and what holds where a case does not name it.
_OPTIONS: Final[dict[str, tuple[Json, str]]] = {
    "accept_gt3": (False, "accept proxies of the draft before RFC 3820"),
    "accept_gt2": (False, "accept legacy proxies, which only their name marks"),
    "accept_limited": (True, "accept limited proxies"),
    "crl": ("if-present", "require: each CA needs a CRL; if-present: what is there counts; off: none is looked at"),
    "require_signing_policy": (True, "refuse a CA without signing policy"),
    "accept_weak_signatures": (False, "accept SHA-1 and MD5"),
    "ignore_extended_key_usage": (False, "let any extended key usage pass"),
    "max_chain": (100, "certificates that may be presented"),
    "policy_languages": (
        [],
        "policy languages that are known; their policies are words parted by blanks, each of which is granted",
    ),
}


def build() -> dict[str, bytes]:
    """Return every file by its path relative to `certs-test`.

    Raises:
        ValueError: Two cases share an id, or two different trust directories a name; a case cites nothing, or what is
            not known.
    """
    files: dict[str, bytes] = {}
    listed: list[Json] = []
    for case in all_cases():
        chain_path = (
            f"{_GENERATED}/{case.id.replace('::', '/')}.pem" if case.captured is None else case.captured["file"]
        )
        if chain_path in files:
            raise ValueError(f"two cases called {case.id}")
        files[chain_path] = case.chain
        for path, content in _trust_files(case.trust):
            if files.setdefault(path, content) != content:
                raise ValueError(f"two trust directories called {case.trust.label}")
        if case.reason is not None and case.reason not in REASONS:
            raise ValueError(f"{case.id}: no reason is called {case.reason}")
        if not case.spec:
            raise ValueError(f"{case.id}: nothing is cited")
        for place in case.spec:
            title(place)
        listed.append(_entry(case, chain_path))
    document: dict[str, Json] = {
        "version": 1,
        "options": {name: {"default": default, "meaning": text} for name, (default, text) in _OPTIONS.items()},
        "reasons": dict(REASONS),
        "specifications": dict(SPECIFICATIONS),
    }
    files[_MANIFEST] = _written(document, listed).encode()
    return files


def _written(document: dict[str, Json], cases: list[Json]) -> str:
    """Return the manifest with each field of a case on one line, for people and for line-wise comparison."""
    head = json.dumps(document, indent=1, ensure_ascii=False).removesuffix("\n}")
    entries = [
        "  {\n" + ",\n".join(f"   {_inline(name)}: {_inline(value)}" for name, value in case.items()) + "\n  }"
        for case in cases
        if isinstance(case, dict)
    ]
    return f'{head},\n "testcases": [\n' + ",\n".join(entries) + "\n ]\n}\n"


def _inline(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _trust_files(trust: TrustDir) -> Iterator[tuple[str, bytes]]:
    for name, content in trust.files.items():
        yield f"{_trust_path(trust)}/{name}", content


def _trust_path(trust: TrustDir) -> str:
    return f"{_GENERATED}/trust/{trust.label}"


def _entry(case: Case, chain_path: str) -> Json:
    features = list(case.features)
    if case.trust.has_crl and "crl" not in features:
        features.append("crl")
    unknown = set(case.options) - set(_OPTIONS)
    if unknown:
        raise ValueError(f"{case.id}: no option is called {min(unknown)}")
    options: dict[str, Json] = {
        name: list(value) if isinstance(value, list) else value for name, value in case.options.items()
    }
    captured = case.captured
    provenance: dict[str, Json] = {"made_by": "certs-test/build.py"}
    if captured is not None:
        provenance = {name: value for name, value in captured.items() if name != "file"}
    entry: dict[str, Json] = {
        "id": case.id,
        "description": case.description,
        "spec": list(case.spec),
        "features": list(features),
        "importance": case.importance,
        "validation_kind": case.purpose,
        "validation_time": case.time.isoformat(),
        "chain": chain_path,
        "key": case.key,
        "trust_directory": _trust_path(case.trust),
        "options": options,
        "expected_result": "SUCCESS" if case.reason is None else "FAILURE",
    }
    if case.reason is not None:
        entry |= {"expected_reason": case.reason, "expected_position": case.position}
    if case.facts is not None:
        entry["expected_facts"] = _facts(case.facts)
    if case.not_applicable:
        entry["not_applicable"] = dict(case.not_applicable)
    entry["provenance"] = provenance
    return entry


def _facts(facts: Facts) -> dict[str, Json]:
    return {
        "identity": facts.identity,
        "kind": next((kind for kind in _STRICTEST if kind in facts.kinds), None),
        "format": facts.form,
        "limited": "limited" in facts.kinds,
        "independent": "independent" in facts.kinds,
        "depth_left": facts.depth_left,
        "not_after": facts.not_after.isoformat(),
        "grants": None if facts.grants is None else list(sorted(facts.grants)),  # noqa: C413  a list of its own type
    }


def differences(files: Mapping[str, bytes]) -> list[str]:
    """Return one line for each file on disk that is not as it should be; empty when all are."""
    found = [f"missing: {path}" for path in files if not (HERE / path).is_file()]
    found += [
        f"differs: {path}" for path, content in files.items() if (HERE / path).is_file() and _read(path) != content
    ]
    found += [f"not built: {path}" for path in _generated_files() if path not in files]
    return sorted(found)


def _generated_files() -> list[str]:
    return [str(path.relative_to(HERE)) for path in (HERE / _GENERATED).rglob("*") if path.is_file()]


def _read(path: str) -> bytes:
    return (HERE / path).read_bytes()


def write(files: Mapping[str, bytes]) -> int:
    """Make the files on disk what they should be; return how many were not."""
    changed = 0
    for path in _generated_files():
        if path not in files:
            (HERE / path).unlink()
            changed += 1
    for path, content in files.items():
        if path.startswith("captured/"):
            continue
        target = HERE / path
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            changed += 1
    return changed
