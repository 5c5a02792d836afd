"""The trust directory when the process has no file descriptors left."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gsi.errors import ConfigError
from gsi.system.trustdir import TrustDirectory
from tests.harness.ca import TestCA, write_trust_dir

CA: Final = TestCA("/O=Grid/CN=CA", "p256")


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Leave so many file descriptors to whoever runs inside."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 50, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("left", [0, 1, 2])
def test_without_file_descriptors_the_last_reading_stays(tmp_path: Path, left: int) -> None:
    """Also where they run out between one file and the next: no CA or CRL may be missing because of that."""
    directory = TrustDirectory(str(write_trust_dir(tmp_path, CA, crl=True)))
    before = directory.anchors()
    (tmp_path / "01234567.0").write_bytes(CA.pem)
    with descriptors_left(left):
        assert (directory.anchors() is before) == (left < 2)
        if not left:
            with pytest.raises(ConfigError, match="Too many open files"):
                TrustDirectory(str(tmp_path)).anchors()
    assert directory.anchors() is not before
