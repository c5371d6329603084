# SPDX-License-Identifier: Apache-2.0
"""Programs written for Ray, which run unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skyray import import_alias

HELPER = """
import ray
from ray.util.queue import Queue

@ray.remote
class Counter:
    def __init__(self):
        self.n = 0

    def add(self):
        import ray.util.multiprocessing
        self.n += 1
        return self.n, ray.__name__, ray.util.multiprocessing.Pool.__module__
"""

PROGRAM = """
import importlib
import pickle
import sys

import ray
import ray.util.actor_pool
from ray.exceptions import GetTimeoutError, RayTaskError
from ray.util import ActorPool

import helper


@ray.remote
def names():
    import ray.exceptions

    return ray.__name__, ray.exceptions.RayTaskError.__module__


@ray.remote
def fails():
    raise KeyError("k")


if __name__ == "__main__":
    ray.init(num_cpus=2)
    assert sys.argv[1:] == ["--epochs", "3"], sys.argv
    assert ray.get(names.remote()) == ("skyray", "skyray.exceptions")
    counter = helper.Counter.remote()
    assert ray.get(counter.add.remote()) == (1, "skyray", "skyray.util.multiprocessing.pool")
    try:
        ray.get(fails.remote())
        raise AssertionError("it does not fail")
    except RayTaskError as error:
        assert isinstance(error, ray.exceptions.RayTaskError) and isinstance(error, KeyError)
    queue = helper.Queue()
    queue.put(1)
    assert queue.get() == 1
    assert ActorPool is ray.util.actor_pool.ActorPool
    assert pickle.loads(pickle.dumps(GetTimeoutError)) is GetTimeoutError
    import skyray.util

    assert ray is skyray and ray.util is skyray.util
    assert ray.util.__spec__.name == "skyray.util"
    importlib.import_module(".queue", "ray.util")
    print("done")
"""


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-m", "skyray", "run", *command],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env=environment,
    )


@pytest.mark.parametrize("how", [["{0}/program.py"], ["-m", "program"]])
def test_a_program_runs_unchanged(tmp_path: Path, how: list[str]) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "program.py").write_text(PROGRAM)
    ran = run(tmp_path, *[part.format(tmp_path) for part in how], "--epochs", "3")
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr


def test_what_it_exits_with_is_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import ray, sys; sys.exit(7)")
    assert run(tmp_path, "program.py").returncode == 7
    (tmp_path / "program.py").write_text("import ray\nraise LookupError('not found')")
    ran = run(tmp_path, "program.py")
    assert ran.returncode == 1
    assert "LookupError: not found" in ran.stderr
    ran = run(tmp_path, "missing.py")
    assert (ran.returncode, ran.stderr) == (2, "skyray run: there is no file 'missing.py'\n")


def test_a_module_that_is_not_there_is_not_taken_from_ray(tmp_path: Path) -> None:
    ray = tmp_path / "ray"  # An installed one.
    ray.mkdir()
    (ray / "__init__.py").write_text("")
    (ray / "dashboard.py").write_text("")
    (tmp_path / "program.py").write_text("import ray.dashboard")
    ran = run(tmp_path, "program.py")
    assert ran.returncode == 1
    assert (
        "ModuleNotFoundError: No module named 'ray.dashboard': 'ray' is skyray here, and there is "
        "no 'skyray.dashboard' in this version"
    ) in ran.stderr


@pytest.fixture(name="no_alias")
def _no_alias() -> Any:
    yield
    sys.meta_path[:] = [f for f in sys.meta_path if getattr(f, "name", None) != "beam"]
    for module in [name for name in sys.modules if name.partition(".")[0] == "beam"]:
        del sys.modules[module]


@pytest.mark.usefixtures("no_alias")
def test_installed_by_a_program() -> None:
    with pytest.raises(ModuleNotFoundError, match="beam"):
        __import__("beam.util.queue")
    import_alias.install("beam")
    import_alias.install("beam")
    assert import_alias.installed() == ["beam"]
    beam: Any = __import__("beam.util.queue")
    import skyray.util.queue

    assert beam is skyray
    assert sys.modules["beam.util.queue"] is skyray.util.queue


@pytest.mark.parametrize("name", ["skyray", "a.b", "", "3"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="not another name of one module"):
        import_alias.install(name)


def test_one_that_is_imported_already_is_left_alone() -> None:
    with pytest.raises(ImportError, match=r"'json' is imported already, from .*json"):
        import_alias.install("json")
    assert import_alias.installed() == []
