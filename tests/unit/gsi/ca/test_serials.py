"""Serial numbers: random ones and the counter in OpenSSL's form, which never gives one twice."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from gsi.ca import SerialFile, random_serial
from gsi.errors import IssuanceError, IssuanceStep

if TYPE_CHECKING:
    from pathlib import Path


def test_random_numbers_fit_twenty_octets() -> None:
    numbers = [random_serial() for _ in range(200)]
    assert len(set(numbers)) == 200
    assert all(0 < number < 1 << 159 for number in numbers)
    assert max(numbers).bit_length() > 150


def test_the_file_is_openssls(tmp_path: Path) -> None:
    path = tmp_path / "serial"
    path.write_text("0F\n")
    take = SerialFile(str(path))
    assert take.peek() == 15
    assert [take(), take()] == [15, 16]
    assert path.read_text() == "11\n"
    path.write_text("ff\n")
    assert take() == 255
    assert path.read_text() == "0100\n"


def test_counters_of_several_nodes_do_not_meet(tmp_path: Path) -> None:
    first = SerialFile(str(tmp_path / "a"), start=1, step=2)
    second = SerialFile(str(tmp_path / "b"), start=2, step=2)
    assert ([first(), first(), first()], [second(), second()]) == ([1, 3, 5], [2, 4])


@pytest.mark.parametrize("content", ["", "xyz\n", "00\n", "-1\n", "0x10\n", "1_0\n", "01 02\n", "F" * 41, "\x00", "٣"])
def test_what_is_no_number(tmp_path: Path, content: str) -> None:
    path = tmp_path / "serial"
    path.write_text(content)
    with pytest.raises(IssuanceError) as caught:
        SerialFile(str(path), start=1)()
    assert caught.value.step is IssuanceStep.SERIAL
    assert path.read_text() == content


def test_a_missing_file_or_a_full_directory_gives_none(tmp_path: Path) -> None:
    with pytest.raises(IssuanceError):
        SerialFile(str(tmp_path / "none"))()
    with pytest.raises(IssuanceError):
        SerialFile(str(tmp_path / "no" / "directory"), start=1)()


def test_threads_and_processes_get_different_numbers(tmp_path: Path) -> None:
    path = tmp_path / "serial"
    taken: list[int] = []
    children = []
    for number in range(2):
        child = os.fork()
        if child == 0:
            (tmp_path / f"child{number}").write_text(" ".join(str(SerialFile(str(path), start=1)()) for _ in range(10)))
            os._exit(0)
        children.append(child)
    threads = [
        threading.Thread(target=lambda: taken.extend(SerialFile(str(path), start=1)() for _ in range(10)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    for number in range(2):
        taken += map(int, (tmp_path / f"child{number}").read_text().split())
    assert sorted(taken) == list(range(1, 51))
