"""How to plug in a validator: the suite before `openssl verify`, in as few lines as it takes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

SUITE = Path(__file__).resolve().parent.parent
CANNOT = {"gt2", "gt3", "limited", "signing-policy", "namespaces", "policy-language", "pem", "crl"}
PURPOSE = {"CLIENT": "sslclient", "SERVER": "sslserver", "ANY": "any"}


def accepts(chain: str, trust_directory: str, time: int, purpose: str) -> bool:
    """The validator under test: PEM chain, leaf first, and a hashed directory of CAs in; a verdict out."""
    command = ["openssl", "verify", "-allow_proxy_certs", "-no-CAfile", "-no-CAstore", "-CApath", trust_directory]
    command += ["-attime", str(time), "-purpose", purpose, "-untrusted", chain]
    end = "-----END CERTIFICATE-----\n"
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as leaf:  # in the chain it would pass over one it cannot read
        leaf.write(Path(chain).read_text("ascii").partition(end)[0] + end)
        leaf.flush()
        return subprocess.run([*command, leaf.name], capture_output=True, check=False).returncode == 0


def main() -> int:
    """Ask about each case; print where the answer is not the expected one."""
    wrong = asked = 0
    for case in json.loads((SUITE / "manifest.json").read_text("utf-8"))["testcases"]:
        if case["options"] or CANNOT & set(case["features"]):
            continue
        time = int(datetime.fromisoformat(case["validation_time"]).timestamp())
        purpose = PURPOSE[case["validation_kind"]]
        found = accepts(str(SUITE / case["chain"]), str(SUITE / case["trust_directory"]), time, purpose)
        asked += 1
        if found != (case["expected_result"] == "SUCCESS"):
            wrong += 1
            print(f"{'accepted' if found else 'refused'}: {case['id']}: {case['description']}")
    print(f"{asked} cases, {wrong} differences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
