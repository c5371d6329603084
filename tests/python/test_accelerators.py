# SPDX-License-Identifier: Apache-2.0
"""What a task is told of the GPUs and the CPUs that it was granted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import skyray
from skyray import _machine


@pytest.fixture(scope="module", autouse=True)
def _gpus() -> Iterator[None]:
    with skyray.init(num_cpus=4, num_gpus=2, resources={"accelerator_type:H200": 1}):
        yield


@skyray.remote
def visible() -> tuple[list[int] | list[str], str | None]:
    return skyray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")


def test_task_sees_what_it_was_granted() -> None:
    ids, variable = skyray.get(visible.options(num_gpus=1).remote())
    assert ids in ([0], [1])
    assert variable == str(ids[0])
    ids, variable = skyray.get(visible.options(num_gpus=2).remote())
    assert sorted(ids) == [0, 1]
    assert variable == ",".join(map(str, ids))


def test_a_kind_of_accelerator_is_a_place_to_run() -> None:
    @skyray.remote
    def granted() -> dict[str, float]:
        return skyray.get_runtime_context().get_assigned_resources()

    wanted = granted.options(num_cpus=0, accelerator_type="H200", memory=1000)
    assert skyray.get(wanted.remote()) == {"accelerator_type:H200": 0.001, "memory": 1000}
    total = skyray.cluster_resources()["memory"]

    @skyray.remote(memory=total)
    class All:
        def held(self) -> dict[str, float]:
            return skyray.get_runtime_context().get_assigned_resources()

    actor = All.remote()
    assert skyray.get(actor.held.remote()) == {"memory": total}
    ref = wanted.remote()
    assert skyray.wait([ref], timeout=0.5) == ([], [ref]), "nothing is left"
    skyray.kill(actor)
    skyray.get(ref)


def test_task_without_a_gpu_is_told_nothing_of_them() -> None:
    assert skyray.get(visible.remote()) == ([], None)

    @skyray.remote(num_gpus=1, max_calls=0)
    def keeps_its_process() -> tuple[int, str]:
        return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]

    assert skyray.get(keeps_its_process.remote())[1] in ("0", "1")
    assert skyray.get(visible.remote()) == ([], None), "what it was granted is over"
    assert skyray.get_gpu_ids() == []


def test_actors_share_nothing() -> None:
    @skyray.remote(num_gpus=1)
    class Holder:
        def ids(self) -> list[int] | list[str]:
            return skyray.get_gpu_ids()

    holders = [Holder.remote() for _ in range(2)]
    granted = skyray.get([holder.ids.remote() for holder in holders])
    assert sorted(granted) == [[0], [1]]


def test_part_of_a_gpu_is_shared() -> None:
    @skyray.remote(num_gpus=0.5)
    class Half:
        def ids(self) -> list[int] | list[str]:
            return skyray.get_gpu_ids()

    halves = [Half.remote() for _ in range(4)]
    granted = sorted(skyray.get([half.ids.remote() for half in halves]))
    assert granted == [[0], [0], [1], [1]]


def test_more_than_one_must_be_whole() -> None:
    with pytest.raises(ValueError, match="must be whole"):
        visible.options(num_gpus=1.5).remote()


def test_visible_devices_are_never_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_machine, "_gpu_count", lambda: 8)
    for value, found in (("2,3", ["2", "3"]), ("", []), ("-1", []), ("GPU-ab", ["GPU-ab"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert _machine.choose_gpus(None) == found
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert _machine.choose_gpus(None) == [str(i) for i in range(8)]


_THREADS = """
import os, skyray

skyray.init(num_cpus=8)

@skyray.remote
def threads():
    return os.environ["OMP_NUM_THREADS"]

@skyray.remote
class Actor:
    def threads(self):
        return os.environ["OMP_NUM_THREADS"]

chosen = {"env_vars": {"OMP_NUM_THREADS": "5"}}
refs = [
    threads.remote(),
    threads.options(num_cpus=4).remote(),
    threads.options(num_cpus=2.5).remote(),
    threads.options(num_cpus=0).remote(),
    threads.options(num_cpus=4, runtime_env=chosen).remote(),
    Actor.remote().threads.remote(),
    Actor.options(num_cpus=3).remote().threads.remote(),
    threads.remote(),
]
print(*skyray.get(refs))
"""


@pytest.mark.parametrize(("given", "seen"), [(None, "1 4 2 1 5 1 3 1"), ("7", "7 7 7 7 5 7 7 7")])
def test_libraries_are_told_of_as_many_threads_as_there_are_cpus(
    given: str | None, seen: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if "OMP_NUM_THREADS" not in k}
    if given is not None:
        environment["OMP_NUM_THREADS"] = given
    done = subprocess.run(
        [sys.executable, "-c", _THREADS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (0, seen), done.stderr
