"""Files for the renewal agent: configurations and credentials at any point of their life.

Workflow:
    site = Renewal(tmp_path, trust_dir)
    site.configure('[source.grid]\\n...')
    site.put(site.directory / "alice.pem", issued.proxy(**span(7, 5)))
    site.run("--once")
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from gsi.credential import Credential, parse_credential
from tests.harness.ca import Issued, write_file
from tests.harness.environment import clean_environment
from tests.harness.run import Done, our_program, run

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Renewal", "Span", "span"]


class Span(TypedDict):
    """When a certificate is valid."""

    not_before: datetime
    not_after: datetime


def span(before: float, after: float) -> Span:
    """A validity that began so many hours ago and ends in so many, for `Issued.proxy` and `TestCA.issue`."""
    now = datetime.now(UTC).replace(microsecond=0)
    return {"not_before": now - timedelta(hours=before), "not_after": now + timedelta(hours=after)}


class Renewal:
    """An agent's files.

    Attributes:
        directory: All of them.
        config_path: Its configuration.
        state: Its notes.
        variables: Its environment.
    """

    def __init__(self, directory: Path, trust_dir: Path, *, variables: Mapping[str, str] | None = None) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self.directory = directory
        self.config_path = directory / "renewd.toml"
        self.state = directory / "state"
        self.variables = clean_environment(directory) | {"X509_CERT_DIR": str(trust_dir)} | dict(variables or {})

    def configure(self, text: str) -> None:
        """Write the configuration; where the notes are is put in front."""
        write_file(self.config_path, f'state = "{self.state}"\n{text}'.encode(), 0o600)

    def put(self, path: Path, issued: Issued, *, mode: int = 0o600) -> Path:
        """Write a credential as one file."""
        write_file(path, issued.bundle(), mode)
        return path

    def read(self, path: Path) -> Credential:
        """What is there now."""
        return parse_credential(path.read_bytes(), source=str(path))

    def run(self, *arguments: str) -> Done:
        """Run the command."""
        return run([our_program("myproxy-renewd"), "-c", self.config_path, *arguments], env=self.variables)

    def status(self) -> dict[str, dict[str, Any]]:
        """What it says of each entry."""
        return {row["name"]: row for row in json.loads(self.run("--status", "--json").stdout)}
