# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""Programs that say in which environment, and on which nodes, their work is to run."""

from __future__ import annotations

import importlib
import os
from functools import partial
from typing import Any

from . import program, raised


def _see(ray: Any) -> Any:
    @ray.remote
    def see(*names: str) -> list[str | None]:
        return [os.environ.get(name) for name in names]

    return see


def _variables(**variables: str) -> Any:
    return {"runtime_env": {"env_vars": variables}}


@program(expected=[["1", None], [None, None], ["1", "2"], ["${NONE}", "x:"]])
def variables_of_a_task(ray: Any) -> Any:
    see = _see(ray)
    values = [
        see.options(**_variables(ONE="1")).remote("ONE", "TWO"),
        see.remote("ONE", "TWO"),
        see.options(**_variables(ONE="1", TWO="2")).remote("ONE", "TWO"),
    ]
    literal = see.options(**_variables(ONE="$NONE", TWO="x:${NONE}"))
    one, two = ray.get(literal.remote("ONE", "TWO"))
    return [*ray.get(values), [one.replace("$NONE", "${NONE}"), two]]


@program(expected=(["a", "A"], ["a", "B"], ["b", "A"], {"env_vars": {"ONE": "a", "TWO": "A"}}))
def children_add_to_their_parents_variables(ray: Any) -> Any:
    see = _see(ray)

    @ray.remote
    class Parent:
        def see(self) -> Any:
            return [os.environ["ONE"], os.environ["TWO"]]

        def child(self, **variables: str) -> Any:
            env = {"env_vars": variables}
            return ray.get(see.options(runtime_env=env).remote("ONE", "TWO"))

        def env(self) -> Any:
            return dict(ray.get_runtime_context().runtime_env)

    parent = Parent.options(**_variables(ONE="a", TWO="A")).remote()
    return (
        ray.get(parent.see.remote()),
        ray.get(parent.child.remote(TWO="B")),
        ray.get(parent.child.remote(ONE="b")),
        ray.get(parent.env.remote()),
    )


@program(expected=(True, True, True))
def a_worker_has_one_environment(ray: Any) -> Any:
    @ray.remote
    def pid() -> int:
        return os.getpid()

    module = importlib.import_module(f"{ray.__name__}.runtime_env")
    plain = ray.get(pid.remote())
    special = ray.get(pid.options(**_variables(ONE="1")).remote())
    as_class = module.RuntimeEnv(env_vars={"ONE": "1"})
    same = ray.get(pid.options(runtime_env=as_class).remote())
    return plain != special, same == special, isinstance(as_class, dict)


@program(expected=["TypeError"] * 6 + ["nothing"] * 3)
def environments_that_cannot_be(ray: Any) -> Any:
    see = _see(ray)
    wrong = ["x", 3, [], {"env_vars": ["a"]}, {"env_vars": {"a": 1}}, {"env_vars": {1: "a"}}]
    right = [None, {}, {"env_vars": None}]
    return [raised(partial(see.options, runtime_env=env)) for env in [*wrong, *right]]


@program(
    expected=(
        ["ValueError"] * 8 + ["TypeError"] * 3,
        ["nothing"] * 4,
        ["TypeError"] * 2 + ["ValueError"] * 5 + ["nothing"] * 2,
    )
)
def labels_that_cannot_be(ray: Any) -> Any:
    see = _see(ray)

    def of(option: str, values: list[Any]) -> list[str]:
        return [raised(partial(see.options, **{option: value})) for value in values]

    wrong: list[Any] = [{"a": "in()"}, {"a": "!"}, {"a": "in(b"}, {"a": "b c"}, {"a": "-b"}]
    wrong += [{"a b": "c"}, {"": "c"}, {"a": "b" * 64}, {"a": 3}, {3: "a"}, "a"]
    right = [{"a": "in(b, c)"}, {"a": "!in(b,c)"}, {"a": ""}, {"ray.io/a": "!b"}]
    fallback: list[Any] = [{}, "a", [3], [{}], [{"memory": 1}], [{"label_selector": 3}]]
    fallback += [[{"label_selector": {"a": "in("}}], [], [{"label_selector": {"a": "b"}}]]
    return (
        of("label_selector", wrong),
        of("label_selector", right),
        of("fallback_strategy", fallback),
    )


@program(expected=([True] * 6, ["ValueError"] * 5))
def labels_of_the_only_node(ray: Any) -> Any:
    strategies = importlib.import_module(f"{ray.__name__}.util.scheduling_strategies")
    by_label = strategies.NodeLabelSchedulingStrategy
    node_id = ray.nodes()[0]["NodeID"]

    @ray.remote
    def here() -> bool:
        return bool(ray.get_runtime_context().get_node_id() == node_id)

    own, none = {"ray.io/node-id": node_id}, {"moon": "full"}
    options: list[dict[str, Any]] = [
        {"label_selector": own},
        {"label_selector": {"moon": "!full"}},
        {"label_selector": none, "fallback_strategy": [{"label_selector": own}]},
        {"scheduling_strategy": by_label({"ray.io/node-id": strategies.In(node_id)})},
        {"scheduling_strategy": by_label({"moon": strategies.DoesNotExist()})},
        {"scheduling_strategy": by_label({}, soft={"moon": strategies.Exists()})},
    ]
    wrong = [
        lambda: by_label({}),
        lambda: by_label({"a": "b"}),
        lambda: by_label("a"),
        lambda: strategies.In(),
        lambda: strategies.NotIn(3),
    ]
    ran = ray.get([here.options(**chosen).remote() for chosen in options])
    return ran, [raised(call) for call in wrong]
