# SPDX-License-Identifier: Apache-2.0
"""More objects than the store has room for: they go to disk and come back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spilling import ARRAY, MB, STORE, array, check, files, folders, start, url_config
from waiting import descendants, ended, until

import skyray

FIVE_TIMES = 5 * STORE // ARRAY


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[Path]:
    """Where a node with a small store spills to."""
    directory = tmp_path / "disk"
    with start(directory):
        yield directory


def test_five_times_the_store_comes_back_in_any_order(disk: Path) -> None:
    refs = [skyray.put(array(i)) for i in range(FIVE_TIMES)]
    assert files(disk)
    order = list(range(FIVE_TIMES))
    random.Random(1).shuffle(order)
    for i in order:
        check(skyray.get(refs[i]), i)


def test_arrays_that_are_kept_alive_do_not_stop_others(disk: Path) -> None:
    """More than the store has is held at once: what is beyond it lies in memory on disk."""
    refs = [skyray.put(array(i)) for i in range(30)]
    for i, value in enumerate(skyray.get(refs)):
        check(value, i)
    assert files(disk)


def test_small_objects_share_files(disk: Path) -> None:
    count, size = 400, 200_000
    refs = [skyray.put(array(i, size)) for i in range(count)]
    assert 1 <= len(files(disk)) <= count * size // (2 * MB)
    for i, ref in enumerate(refs):
        check(skyray.get(ref), i)


def test_spilled_objects_are_arguments_and_results(disk: Path) -> None:
    @skyray.remote
    def plus_one(value: Any) -> Any:
        return value + np.uint8(1)

    refs = [skyray.put(array(i)) for i in range(FIVE_TIMES // 2)]
    more = [plus_one.remote(ref) for ref in refs]
    for i, ref in enumerate(more):
        assert np.array_equal(skyray.get(ref), array(i) + np.uint8(1)), i
    for i, ref in enumerate(refs):
        check(skyray.get(ref), i)
    assert files(disk)


def test_files_go_with_their_objects(disk: Path) -> None:
    refs = [skyray.put(array(i)) for i in range(FIVE_TIMES)]
    assert files(disk)
    refs.clear()
    until(lambda: not files(disk), "all spill files are gone")


def test_a_store_a_tenth_of_what_is_put_never_fails(disk: Path) -> None:
    kept = []
    for i in range(10 * STORE // ARRAY):
        kept.append(skyray.put(array(i)))
    check(skyray.get(kept[0]), 0)


def test_workers_spill_and_restore_at_the_same_time(disk: Path) -> None:
    @skyray.remote
    class Worker:
        def __init__(self, seed: int) -> None:
            self.random = random.Random(seed)
            self.refs: dict[int, Any] = {}

        def work(self, rounds: int) -> int:
            for _ in range(rounds):
                number = self.random.randrange(1 << 30)
                self.refs[number] = skyray.put(array(number))
                check(skyray.get(self.refs[number]), number)
                old = self.random.choice(list(self.refs))
                check(skyray.get(self.refs[old]), old)
                if len(self.refs) > 20:
                    del self.refs[old]
            return len(self.refs)

    workers = [Worker.remote(seed) for seed in range(2)]
    assert skyray.get([worker.work.remote(50) for worker in workers])
    assert files(disk)


def test_only_the_user_sees_the_files(disk: Path) -> None:
    refs = [skyray.put(array(i)) for i in range(30)]
    (folder,) = folders(disk)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files(disk))
    del refs


def test_nothing_is_left_after_shutdown(tmp_path: Path) -> None:
    with start(tmp_path):
        refs = [skyray.put(array(i)) for i in range(30)]
        assert files(tmp_path)
        del refs
    assert folders(tmp_path) == []


def test_by_default_it_is_the_session_directory() -> None:
    with start(None) as context:
        refs = [skyray.put(array(i)) for i in range(30)]
        session = Path(context["session_dir"])
        assert files(session)
        check(skyray.get(refs[0]), 0)
        del refs
    assert files(session) == []


def test_several_directories_take_turns(tmp_path: Path) -> None:
    both = [str(tmp_path / "a"), str(tmp_path / "b")]
    config = '{"type": "filesystem", "params": {"directory_path": ' + str(both) + "}}"
    with start(None, object_spilling_config=config.replace("'", '"')):
        refs = [skyray.put(array(i)) for i in range(FIVE_TIMES)]
        assert files(tmp_path / "a")
        assert files(tmp_path / "b")
        for i, ref in enumerate(refs):
            check(skyray.get(ref), i)


def test_without_spilling_there_is_memory_on_disk(tmp_path: Path) -> None:
    with start(tmp_path, automatic_object_spilling_enabled=False):
        refs = [skyray.put(array(i)) for i in range(25)]
        for i, ref in enumerate(refs):
            check(skyray.get(ref), i)
        assert files(tmp_path) == []


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_urls_are_spilled_to(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("fsspec")
    url = {"memory": "memory://spills", "file": f"file://{tmp_path}/far"}[kind]
    with start(None, object_spilling_config=url_config(url)):
        refs = [skyray.put(array(i)) for i in range(FIVE_TIMES // 2)]
        assert kind == "memory" or files(tmp_path)
        for i in reversed(range(len(refs))):
            check(skyray.get(refs[i]), i)
        refs.clear()
        until(lambda: not files(tmp_path), "all spill files are gone")
    assert not list(tmp_path.rglob("skyray_spilled_*"))


def test_an_io_worker_that_is_killed_is_started_again(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with start(None, object_spilling_config=url_config(f"file://{tmp_path}/far")):
        refs = []
        for i in range(FIVE_TIMES):
            refs.append(skyray.put(array(i)))
            if i in (30, 60):
                kill_io_worker()
        kill_io_worker()
        for i, ref in enumerate(refs):
            check(skyray.get(ref), i)
    assert not list(tmp_path.rglob("skyray_spilled_*"))


def kill_io_worker() -> None:
    workers = [pid for pid, line in descendants(os.getpid()).items() if "skyray._io_worker" in line]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        assert ended(pid)


PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from spilling import *

start(Path(sys.argv[2]))
refs = [skyray.put(array(i)) for i in range(30)]
assert files(Path(sys.argv[2]))
print("spilled", flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_of_a_driver_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(tmp_path)]
    driver = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "spilled\n"
        driver.kill()
    until(lambda: not folders(tmp_path), "the spill folder is gone")
