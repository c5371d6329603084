# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator, no-any-return"

"""Graphs of calls: bound first, executed later."""

from __future__ import annotations

import importlib
import pickle
from collections import namedtuple
from typing import Any

from . import program, raised


def _dag(ray: Any) -> Any:
    return importlib.import_module(ray.__name__ + ".dag")


@program(expected=(3, 6, 12, 1))
def a_graph_of_functions(ray: Any) -> Any:
    @ray.remote
    class Count:
        def __init__(self) -> None:
            self.calls = 0

        def add(self) -> int:
            self.calls += 1
            return self.calls

    count = Count.remote()

    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    @ray.remote
    def counted(a: int) -> int:
        ray.get(count.add.remote())
        return a

    small = add.bind(1, 2)
    larger = add.bind(small, b=small)
    # Bound in two places, called once.
    once = counted.bind(larger)
    both = add.bind(once, once)
    found = [ray.get(node.execute()) for node in (small, larger, both)]
    return (*found, ray.get(count.add.remote()) - 1)


@program(expected=([1, 3, "c"], {"a": 3, "b": [3, 4]}, (3, 5), True))
def nodes_are_found_in_containers(ray: Any) -> Any:
    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    @ray.remote
    def fetched(value: Any) -> Any:
        def fetch(item: Any) -> Any:
            if isinstance(item, ray.ObjectRef):
                return ray.get(item)
            if isinstance(item, list):
                return [fetch(one) for one in item]
            if isinstance(item, dict):
                return {name: fetch(one) for name, one in item.items()}
            return tuple(fetch(one) for one in item) if isinstance(item, tuple) else item

        return fetch(value)

    three = add.bind(1, 2)
    pair = namedtuple("pair", "x y")
    plain = [1, {"a": 2}]
    return (
        ray.get(fetched.bind([1, three, "c"]).execute()),
        ray.get(fetched.bind({"a": three, "b": [three, 4]}).execute()),
        ray.get(fetched.bind(pair(three, 5)).execute()),
        fetched.bind(plain).get_args()[0] is plain,
    )


@program(expected=(15, 15, [11, 13], 18, 110, 120))
def a_graph_of_actors(ray: Any) -> Any:
    @ray.remote
    class Adder:
        def __init__(self, value: int) -> None:
            self.value = value

        def add(self, more: int) -> int:
            self.value += more
            return self.value

    @ray.remote
    def ten() -> int:
        return 10

    alone = Adder.bind(ten.bind()).add.bind(5)
    adder = Adder.bind(10)
    first = adder.add.bind(1)
    second = adder.add.bind(2)
    third = adder.add.bind(5)
    living = Adder.remote(100)
    call = living.add.bind(ten.bind())
    return (
        # An actor for each execution; what was bound before is called before.
        ray.get(alone.execute()),
        ray.get(alone.execute()),
        ray.get(_dag(ray).MultiOutputNode([first, second]).execute()),
        ray.get(third.execute()),
        # One that lives keeps what it has.
        ray.get(call.execute()),
        ray.get(call.execute()),
    )


@program(expected=(7, 5, 6, 9, [4, 5], "ValueError", "AttributeError", "TypeError"))
def what_a_graph_is_executed_with(ray: Any) -> Any:
    dag = _dag(ray)

    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    with dag.InputNode() as value:
        whole = add.bind(value, 2)
        parts = add.bind(value[0], value.step)
        named = add.bind(value["left"], value["right"])
        several = dag.MultiOutputNode([add.bind(value, 1), add.bind(value, 2)])
    pair = type("Pair", (dict,), {})(left=4, right=5)
    return (
        ray.get(whole.execute(5)),
        ray.get(parts.execute(1, step=4)),
        ray.get(named.execute(left=2, right=4)),
        ray.get(named.execute(pair)),
        ray.get(several.execute(3)),
        raised(lambda: dag.MultiOutputNode(whole)),
        raised(lambda: whole.remote(1)),
        raised(lambda: parts.execute(1)),
    )


@program(
    expected=({"name": "renamed"}, (1, 2), {"b": 3}, {}, True, 3, [True, True], "AssertionError")
)
def what_a_node_says_of_itself(ray: Any) -> Any:
    dag = _dag(ray)

    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    node = add.options(name="renamed").bind(1, 2)
    outer = add.bind(node, b=3)
    visited: list[Any] = []

    def visit(each: Any) -> Any:
        visited.append(each)
        return each

    outer.apply_recursive(visit)
    cloudpickle = importlib.import_module(ray.__name__ + ".cloudpickle")
    copied = pickle.loads(cloudpickle.dumps(node))
    with dag.InputNode() as one, dag.InputNode() as other:
        two_inputs = add.bind(one, other)
    return (
        node.get_options(),
        node.get_args(),
        outer.get_kwargs(),
        node.get_other_args_to_resolve(),
        copied.get_stable_uuid() == node.get_stable_uuid(),
        ray.get(copied.execute()),
        [isinstance(each, dag.FunctionNode) for each in visited],
        raised(lambda: two_inputs.execute(1)),
    )
