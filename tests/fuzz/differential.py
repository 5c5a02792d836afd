"""Changed chains judged by us and by OpenSSL: every difference must fall under a rule (`tests.fuzz.rules`).

    report = run(seed=7, count=2000)
    report.findings, report.rules, report.agreed

    python -m tests.fuzz.differential --count 1000000 --seed 1      # a long run; status 1 when there is a finding
    python -m tests.fuzz.differential --page docs/conformance/fuzzing.md

A finding is an unexplained difference, or an exception of ours that is no VerificationError. It is written as PEM, with
the time of the judgement and what was done, so that it can be judged again by any program.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from gsi.errors import VerificationError
from gsi.pem import encode_pem
from gsi.trust.verify import verify_chain
from tests.fuzz.chains import World, mutate
from tests.fuzz.openssl import OpenSSL
from tests.fuzz.rules import Difference, classify
from tests.harness.ca import subject_hash
from tests.harness.trust import make_anchors

__all__ = ["Report", "main", "run"]


@dataclass(slots=True)
class Report:
    """What a run found.

    Attributes:
        agreed: How often both accepted (True) and both refused (False).
        rules: How often each rule covered a difference, by its name.
        findings: The differences that no rule covers.
        failures: What our validator raised that is no VerificationError, with what was done to the chain.
    """

    agreed: Counter[bool] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    findings: list[Difference] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def run(*, seed: int, count: int, start: int = 0) -> Report:
    """Make and judge `count` chains; the same seed makes the same changes (the keys are new each time)."""
    world = World()
    policy = {f"{subject_hash(world.sub.certificate)}.signing_policy": world.sub.signing_policy().encode()}
    anchors = make_anchors(world.root, more=policy)
    openssl = OpenSSL(world.root.der)
    report = Report()
    for number in range(start, start + count):
        rng = Random(seed << 32 | number)
        changed = mutate(rng.choice(world.chains), rng, world)
        chain = changed.encode()
        if not chain:
            continue
        ours: VerificationError | None = None
        try:
            verify_chain(chain, anchors, now=changed.now)
        except VerificationError as error:
            ours = error
        except Exception:
            report.failures.append(f"{number}: {', '.join(changed.changes)}\n{traceback.format_exc()}")
            continue
        theirs = openssl.verify(chain, changed.now)
        if theirs.accepted is (ours is None):
            report.agreed[theirs.accepted] += 1
            continue
        difference = Difference(chain, world.root.der, changed.now, ours, theirs, (str(number), *changed.changes))
        rule = classify(difference)
        if rule is None:
            report.findings.append(difference)
        else:
            report.rules[rule.name] += 1
    return report


def _save(difference: Difference, directory: Path, name: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    pem = b"".join(encode_pem("CERTIFICATE", one) for one in (*difference.chain, difference.root))
    (directory / f"{name}.pem").write_bytes(f"{difference}\n".encode() + pem)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run in portions and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.differential")
    parser.add_argument("--count", type=int, default=100_000, help="chains to judge")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the present second by default")
    parser.add_argument("--findings", type=Path, default=Path(__file__).parent / "corpus" / "differential")
    given = parser.parse_args(arguments)
    total, portion, found = Counter[str](), 20_000, 0
    for start in range(0, given.count, portion):
        report = run(seed=given.seed, count=min(portion, given.count - start), start=start)
        total.update(report.rules)
        total.update({"both accept": report.agreed[True], "both refuse": report.agreed[False]})
        for difference in report.findings:
            _save(difference, given.findings, f"{given.seed}-{difference.changes[0]}")
            print(f"FINDING {difference}", flush=True)
        for failure in report.failures:
            print(f"FAILURE {failure}", flush=True)
        found += len(report.findings) + len(report.failures)
        print(f"seed {given.seed}: {total.total():,} chains, {found} findings", flush=True)
    for name, number in total.most_common():
        print(f"{number:10,}  {name}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
