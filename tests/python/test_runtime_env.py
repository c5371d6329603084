# SPDX-License-Identifier: Apache-2.0
"""runtime_env: which variables a task or actor finds, and that workers do not mix them up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import skyray
from skyray._worker_env import expand_into
from skyray.exceptions import RuntimeEnvSetupError
from skyray.runtime_env import RuntimeEnv, RuntimeEnvConfig, merge

NAMES = ("A", "B", "C", "D")


@pytest.fixture(name="job", scope="module", autouse=True)
def _job() -> Iterator[Any]:
    env = {"env_vars": {"A": "job", "B": "job"}}
    with skyray.init(num_cpus=2, object_store_memory=100 << 20, runtime_env=env) as context:
        yield context


@skyray.remote
def see() -> dict[str, str]:
    return {name: os.environ[name] for name in NAMES if name in os.environ}


@skyray.remote
def pid_and_context() -> tuple[int, str]:
    return os.getpid(), skyray.get_runtime_context().get_runtime_env_string()


@skyray.remote
class Seer:
    def see(self) -> dict[str, str]:
        return {name: os.environ[name] for name in NAMES if name in os.environ}

    def childs(self, **variables: str) -> Any:
        return skyray.get(see.options(runtime_env={"env_vars": variables}).remote())

    def end(self) -> None:
        os._exit(3)


def with_vars(**variables: str) -> Any:
    return {"runtime_env": {"env_vars": variables}}


def test_a_task_adds_to_its_jobs_variables() -> None:
    assert skyray.get(see.remote()) == {"A": "job", "B": "job"}
    one = see.options(**with_vars(B="task", C="task")).remote()
    assert skyray.get(one) == {"A": "job", "B": "task", "C": "task"}
    assert skyray.get(see.remote()) == {"A": "job", "B": "job"}, "nothing is left behind"


@pytest.mark.parametrize("nothing", [None, {}, {"env_vars": {}}, {"env_vars": None}])
def test_no_wish_is_the_jobs_environment(nothing: Any) -> None:
    plain, _ = skyray.get(pid_and_context.remote())
    same, shown = skyray.get(pid_and_context.options(runtime_env=nothing).remote())
    assert shown == '{"env_vars": {"A": "job", "B": "job"}}'
    assert plain == same


def test_workers_of_one_environment_are_used_again() -> None:
    this = pid_and_context.options(**with_vars(C="1", D="2"))
    that = pid_and_context.options(runtime_env=RuntimeEnv(env_vars={"D": "2", "C": "1"}))
    first, shown = skyray.get(this.remote())
    assert skyray.get(that.remote())[0] == first
    assert shown == '{"env_vars": {"A": "job", "B": "job", "C": "1", "D": "2"}}'
    assert skyray.get(pid_and_context.options(**with_vars(C="2")).remote())[0] != first


def test_children_inherit() -> None:
    actor = Seer.options(**with_vars(C="actor")).remote()
    assert skyray.get(actor.see.remote()) == {"A": "job", "B": "job", "C": "actor"}
    child = skyray.get(actor.childs.remote())
    assert child == {"A": "job", "B": "job", "C": "actor"}
    child = skyray.get(actor.childs.remote(A="child", D="child"))
    assert child == {"A": "child", "B": "job", "C": "actor", "D": "child"}


def test_an_actor_keeps_its_environment_when_it_restarts() -> None:
    actor = Seer.options(max_restarts=1, **with_vars(C="actor")).remote()
    assert skyray.get(actor.see.remote())["C"] == "actor"
    with pytest.raises(skyray.exceptions.RayActorError):
        skyray.get(actor.end.remote())
    while True:
        try:
            assert skyray.get(actor.see.remote())["C"] == "actor"
            return
        except skyray.exceptions.ActorUnavailableError:
            pass


def test_variables_that_only_count_at_the_start_of_a_process() -> None:
    @skyray.remote
    def hashed() -> tuple[int, str]:
        with open("/proc/self/environ") as file:  # As it was when the program began.
            began_with = file.read()
        return hash("a text"), began_with

    hashes = set()
    for other in "12":
        value, began_with = skyray.get(
            hashed.options(**with_vars(PYTHONHASHSEED="7", D=other)).remote()
        )
        assert "PYTHONHASHSEED=7" in began_with
        hashes.add(value)
    assert len(hashes) == 1


def test_modules_are_found_through_pythonpath(tmp_path: Path) -> None:
    (tmp_path / "only_found_there.py").write_text("ANSWER = 42")

    @skyray.remote
    def answer() -> int:
        import only_found_there  # type: ignore[import-not-found]

        return int(only_found_there.ANSWER)

    options = with_vars(PYTHONPATH=f"{tmp_path}:${{PYTHONPATH}}")
    assert skyray.get(answer.options(**options).remote()) == 42


def test_an_interpreter_that_cannot_start_is_said_with_its_own_words() -> None:
    with pytest.raises(RuntimeEnvSetupError, match="PYTHONHOME"):
        skyray.get(see.options(**with_vars(PYTHONHOME="/nonexistent")).remote())


def test_environments_come_and_go_and_leave_few_workers() -> None:
    @skyray.remote
    def siblings() -> int:
        parent = os.getppid()
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            return len(file.read().split())

    most = 0
    for number in range(40):
        most = max(most, skyray.get(siblings.options(**with_vars(D=str(number))).remote()))
    # Two CPUs: one idle worker each, a few more for a moment, and those that just end.
    assert most < 25


def test_values_refer_to_other_variables() -> None:
    environment = {"HOME": "/h", "A": "a"}
    wanted = {"B": "${HOME}/x", "C": "$A-$NOPE", "D": "${NOPE}:y", "A": "${A}2", "E": "$A"}
    expand_into(environment, wanted)
    assert environment == {
        "HOME": "/h",
        "A": "a2",
        "B": "/h/x",
        "C": "a-$NOPE",
        "D": ":y",
        "E": "a2",
    }


def test_other_fields_than_variables_replace_the_parents() -> None:
    parent = {"env_vars": {"A": "1", "B": "1"}, "config": {"x": 1}}
    own = {"env_vars": {"B": "2"}, "config": {"y": 2}}
    assert merge(parent, own) == {"env_vars": {"A": "1", "B": "2"}, "config": {"y": 2}}
    assert merge(parent, None) == parent
    assert merge({}, {"env_vars": None}) == {}


@pytest.mark.parametrize(
    ("env", "error", "said"),
    [
        ("x", TypeError, "'runtime_env' must be"),
        ([], TypeError, "'runtime_env' must be"),
        ({"env_vars": ["a"]}, TypeError, r"Dict\[str, str\], got <class 'list'>"),
        ({"env_vars": {"a": 1}}, TypeError, r"Dict\[str, str\], but the value 1 is of type"),
        ({"env_vars": {1: "a"}}, TypeError, r"Dict\[str, str\], but the key 1 is of type"),
        ({"env_vars": {"a=b": ""}}, ValueError, "cannot be a variable's name"),
        ({"env_vars": {"a": "\0"}}, ValueError, "null character"),
        ({"working_dir": "."}, NotImplementedError, "working_dir"),
        ({"pip": ["x"]}, NotImplementedError, "pip"),
        ({"foo": 1}, NotImplementedError, "foo"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(
    env: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        see.options(runtime_env=env)
    with pytest.raises(error, match=said):
        Seer.options(runtime_env=env)
    if isinstance(env, dict):
        with pytest.raises(error, match=said):
            RuntimeEnv(**env)


def test_config_is_accepted_and_has_no_effect() -> None:
    env = RuntimeEnv(env_vars={"C": "1"}, config=RuntimeEnvConfig(setup_timeout_seconds=5))
    assert skyray.get(see.options(runtime_env=env).remote())["C"] == "1"
    with pytest.raises(ValueError, match="greater than zero or equal to -1, got: 0"):
        RuntimeEnvConfig(setup_timeout_seconds=0)
    with pytest.raises(TypeError, match="must be of type int"):
        RuntimeEnvConfig(setup_timeout_seconds="1")  # type: ignore[arg-type]


def test_context_shows_the_jobs_environment_at_the_driver() -> None:
    context = skyray.get_runtime_context()
    assert context.runtime_env == {"env_vars": {"A": "job", "B": "job"}}
    assert isinstance(context.runtime_env, RuntimeEnv)
    assert RuntimeEnv.deserialize(context.get_runtime_env_string()) == context.runtime_env
    assert "A" not in os.environ, "the driver's own is left alone"
