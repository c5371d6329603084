# SPDX-License-Identifier: Apache-2.0
"""What code can learn about where it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import skyray
from skyray._lifecycle import RayContext


def test_driver(runtime: RayContext) -> None:
    context = skyray.get_runtime_context()
    assert context.get_node_id() == runtime["node_id"]
    assert context.get_job_id() == "00000001"
    assert context.get_actor_id() is None
    assert context.get_task_id() is None
    assert context.namespace == "tests"
    assert context.get_session_dir() == runtime["session_dir"]
    with pytest.raises(RuntimeError, match="only available in an actor"):
        context.current_actor  # noqa: B018


def test_task(runtime: RayContext) -> None:
    @skyray.remote
    def look() -> dict[str, Any]:
        context = skyray.get_runtime_context()
        return {
            "task": context.get_task_id(),
            "name": context.get_task_name(),
            "job": context.get_job_id(),
            "actor": context.get_actor_id(),
            "namespace": context.namespace,
        }

    ref = look.options(name="spy").remote()
    seen = skyray.get(ref)
    assert seen["task"] == ref.task_id().hex()
    assert seen["name"] == "spy"
    assert seen["job"] == skyray.get_runtime_context().get_job_id()
    assert seen["actor"] is None
    assert seen["namespace"] == "tests"


def test_actor(runtime: RayContext) -> None:
    @skyray.remote
    class Spy:
        def look(self) -> tuple[Any, ...]:
            context = skyray.get_runtime_context()
            return context.get_actor_id(), context.get_actor_name(), context.current_actor

    spy = Spy.options(name="spy").remote()
    actor_id, name, handle = skyray.get(spy.look.remote())
    assert actor_id == spy._actor_id.hex()
    assert name == "spy"
    assert handle == spy


def test_workers_see_the_drivers_surroundings(runtime: RayContext) -> None:
    @skyray.remote
    def look() -> tuple[str, Any]:
        import waiting  # From the driver's sys.path.

        return os.getcwd(), waiting.BOUND_S

    assert skyray.get(look.remote())[0] == os.getcwd()


def test_files_named_like_modules_do_no_harm(tmp_path: Path) -> None:
    for name in ("json", "socket", "numpy", "logging"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "elsewhere").mkdir()
    script = tmp_path / "elsewhere" / "script.py"
    script.write_text(
        "import os, skyray\nskyray.init(num_cpus=1)\n"
        "print(skyray.get(skyray.remote(os.getcwd).remote(), timeout=60))\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert result.stdout == f"{tmp_path}\n", result.stderr


def test_random_numbers_differ_between_workers(runtime: RayContext) -> None:
    @skyray.remote
    class Dice:
        def roll(self) -> tuple[float, float]:
            import random

            import numpy as np

            return random.random(), float(np.random.random())

    rolls = skyray.get([Dice.remote().roll.remote() for _ in range(3)])
    assert len({r[0] for r in rolls}) == 3
    assert len({r[1] for r in rolls}) == 3
