# SPDX-License-Identifier: Apache-2.0
"""Disks that fail, fill up, or change what was written: a reason, never other bytes."""

from __future__ import annotations

import os
import random
import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from spilling import ARRAY, MB, STORE, array, check, files, start
from waiting import until

import skyray
from skyray.exceptions import ObjectLostError, ObjectStoreFullError

MANY = 3 * STORE // ARRAY


def flip(path: Path, at: int, mask: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def outcomes(refs: list[Any]) -> list[str]:
    """Of each: "right", or how it is lost. Fails if one is wrong."""
    found = []
    for i, ref in enumerate(refs):
        try:
            check(skyray.get(ref, timeout=30), i)
            found.append("right")
        except ObjectLostError as error:
            found.append(str(error))
    return found


def raylet_pid() -> int:
    (node,) = skyray.nodes()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(node["RayletSocketName"])
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def test_a_flipped_bit_is_a_loss_that_names_the_file(tmp_path: Path) -> None:
    with start(tmp_path):
        refs = [skyray.put(array(i)) for i in range(MANY)]
        damaged = files(tmp_path)[0]
        for at in range(5000, damaged.stat().st_size, MB):
            flip(damaged, at, 1)
        lost = [text for text in outcomes(refs) if text != "right"]
        assert lost
        assert all(str(damaged) in text and "damaged" in text for text in lost)


@pytest.mark.parametrize("how", ["truncated", "deleted"])
def test_a_file_that_is_gone_is_a_loss(tmp_path: Path, how: str) -> None:
    with start(tmp_path):
        refs = [skyray.put(array(i)) for i in range(MANY)]
        victim = files(tmp_path)[0]
        if how == "deleted":
            victim.unlink()
        else:
            os.truncate(victim, 1000)
        lost = [text for text in outcomes(refs) if text != "right"]
        assert lost
        assert all(str(victim) in text for text in lost)
        check(skyray.get(skyray.put(array(7))), 7)


def test_random_damage_gives_losses_and_never_other_bytes(tmp_path: Path) -> None:
    seed = time.time_ns() % (1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    losses = 0
    with start(tmp_path):
        for _ in range(6):
            refs = [skyray.put(array(i)) for i in range(MANY)]
            for file in files(tmp_path):
                for _ in range(chance.randint(1, 2)):
                    flip(file, chance.randrange(file.stat().st_size), 1 << chance.randrange(8))
            losses += sum(text != "right" for text in outcomes(refs))
            refs.clear()
            until(lambda: not files(tmp_path), "all spill files are gone")
    assert losses


def test_a_directory_that_fails_is_passed_over(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    both = f'["{bad}", "{good}"]'
    config = '{"type": "filesystem", "params": {"directory_path": ' + both + "}}"
    with start(None, object_spilling_config=config):
        break_directory(bad)
        refs = [skyray.put(array(i)) for i in range(MANY)]
        assert files(good)
        assert outcomes(refs) == ["right"] * MANY


def break_directory(directory: Path) -> None:
    """Makes a file of it: not even root can write there then."""
    for folder in directory.iterdir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    directory.rmdir()
    directory.write_text("a file where a directory was")


@pytest.fixture(name="small_files")
def _small_files(tmp_path: Path) -> Iterator[Path]:
    """A node that can make files of 1 MB at most, as if the disk were full."""
    with start(tmp_path):
        pid = raylet_pid()
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (MB, hard))
        yield tmp_path


def put_until_many(refs: list[Any]) -> None:
    while len(refs) < MANY:
        refs.append(skyray.put(array(len(refs))))


def test_a_full_disk_is_told_within_10_s_and_got_over(small_files: Path) -> None:
    refs: list[Any] = []
    began = time.monotonic()
    with pytest.raises(ObjectStoreFullError) as caught:
        put_until_many(refs)
    assert time.monotonic() - began < 10
    assert "spill" in str(caught.value)
    assert "object_store_memory" in str(caught.value)
    assert not [path for path in small_files.rglob("*") if path.name.endswith((".tmp", ".spill"))]
    assert outcomes(refs) == ["right"] * len(refs), "what is in memory stays there"

    pid = raylet_pid()
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    put_until_many(refs)
    assert files(small_files)
    assert outcomes(refs) == ["right"] * MANY
