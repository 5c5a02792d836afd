"""The page of documentation about fuzzing: what is run, and the rules by which we and OpenSSL differ.

python -m tests.fuzz.page docs/conformance/fuzzing.md
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Final

from tests.fuzz.decoders import NAMES
from tests.fuzz.rules import RULES, Rule

__all__ = ["render"]

_HARNESSES: Final = Path(__file__).parent / "harnesses"

_HEAD: Final = """\
# Fuzzing

This page is made by `python -m tests.fuzz.page docs/conformance/fuzzing.md` from the tables in the code; a test holds
it to them.

## Decoders

Every decoder has a harness in `tests/fuzz/harnesses/` and seeds in `tests/fuzz/seeds/`. The rule: whatever the bytes,
it returns or raises a `GridError`, within one second of processor time and 50 MB beyond what the seeds need. Some
harnesses ask for more, such as that what is read is written back the same; a broken promise is a finding like a crash.

- `make test` runs each over its seeds and some hundred changed copies, and each for 1,000 executions guided by coverage
  (atheris; where it has no wheel, that part is left out).
- `make fuzz` runs each up to 10,000,000 executions and goes on where it stopped: `make fuzz DECODER="crl pem"
  RUNS=50000`. What reached new code lies in `tests/fuzz/corpus/<decoder>/inputs`, a finding in `findings` beside it.
- `python -m tests.fuzz.run DECODER --replay FILE` judges one input outside the fuzzer.

Inputs are changed by libFuzzer and, half of the time, by structure: DER as a tree with right lengths, text by lines.
One round of ten is traced in full: how often each block of code runs, and what is compared with what. That costs
several times the decoder's own time. The others are traced by blocks alone, at little more than the decoder's
time, and start from everything that the full rounds have found.
Key derivation may take seconds by intent; in `keylocks` and `pkcs12` its bounds are lowered so that the decoder's own
time is seen.

| decoder | what |
|---|---|
"""

_DIFFERENTIAL: Final = """
## Verdicts beside OpenSSL's

`tests/fuzz/differential.py` changes valid chains (fields, extensions, names, times, key usages, ProxyCertInfo, keys,
order, single bits), signs each certificate again under its issuer's key so that the signature stays good, and asks
`gsi.trust.verify_chain` and the system's `X509_verify_cert` (proxies allowed, purpose TLS client). A difference that no
rule below covers fails: `make test` makes 2,500 chains from a fixed seed, and
`python -m tests.fuzz.differential --count 1000000` any number from a new one.
"""


def _subject(name: str) -> str:
    text = ast.get_docstring(ast.parse((_HARNESSES / f"{name}.py").read_text())) or ""
    return text.partition("\n")[0]


def _table(rules: list[Rule]) -> list[str]:
    lines = ["| rule | why | source |", "|---|---|---|"]
    return lines + [f"| {rule.name} | {rule.why} | {rule.source} |" for rule in rules]


def render() -> str:
    """Return the page."""
    lines = [_HEAD + "\n".join(f"| `{name}` | {_subject(name)} |" for name in NAMES), _DIFFERENTIAL]
    lines += ["### We refuse, OpenSSL accepts", "", *_table([rule for rule in RULES if rule.we_refuse])]
    lines += ["", "### OpenSSL refuses, we accept", "", *_table([rule for rule in RULES if not rule.we_refuse])]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render())
