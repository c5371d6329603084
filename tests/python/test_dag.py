# SPDX-License-Identifier: Apache-2.0
"""skyray.dag: what programs/graphs.py, which Ray runs as well, leaves open."""

from __future__ import annotations

from typing import Any

import pytest

import skyray
from skyray.dag import InputNode, MultiOutputNode

pytestmark = pytest.mark.usefixtures("runtime")


@skyray.remote
def add(a: int, b: int) -> int:
    return a + b


class Sum:
    def __init__(self, value: int) -> None:
        self.value = value

    def add(self, more: int) -> int:
        self.value += more
        return self.value


Adder: Any = skyray.remote(Sum)


def test_a_chain_longer_than_pythons_stack() -> None:
    node: Any = add.bind(0, 1)
    for _ in range(3_000):
        node = add.bind(node, 1)
    assert skyray.get(node.execute()) == 3_001


def test_calls_of_a_bound_class_stay_in_order() -> None:
    adder = Adder.bind(0)
    calls = [adder.add.bind(number) for number in range(1, 6)]
    assert skyray.get(MultiOutputNode(calls).execute()) == [1, 3, 6, 10, 15]
    assert skyray.get(calls[2].execute()) == 6


def test_options_of_a_method_are_those_of_its_call() -> None:
    call = Adder.bind(1).add.options(name="renamed").bind(1)
    assert call.get_options() == {"name": "renamed"}
    assert call.get_method_name() == "add"
    assert skyray.get(call.execute()) == 2


def test_a_class_has_only_the_methods_it_has() -> None:
    with pytest.raises(AttributeError, match="no attribute 'subtract'"):
        _ = Adder.bind(1).subtract


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2), {}), ((1,), {"step": 2})])
def test_the_whole_input_is_one_argument(args: Any, kwargs: Any) -> None:
    with InputNode() as value:
        graph = add.bind(value, 1)
    with pytest.raises(TypeError, match=rf"{len(args)} positional and {len(kwargs)} named"):
        graph.execute(*args, **kwargs)


def test_a_part_that_was_not_given() -> None:
    with InputNode() as value:
        second = add.bind(value[1], 1)
        step = add.bind(value.step, 1)
    with pytest.raises(IndexError, match=r"argument 1 of the InputNode, and execute.* given 1"):
        second.execute(1, other=2)
    with pytest.raises(KeyError, match=r"'step' of the InputNode.* other"):
        step.execute(1, other=2)


def test_what_fails_while_a_graph_is_executed_is_raised() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'b'"):
        add.bind(1).execute()
    with pytest.raises(skyray.exceptions.RayTaskError):
        skyray.get(add.bind(add.bind(1, "a"), 2).execute())


def test_a_container_that_contains_itself() -> None:
    @skyray.remote
    def count(values: list[Any]) -> int:
        return len(values)

    values: list[Any] = [1]
    values.append(values)
    assert skyray.get(count.bind(values).execute()) == 2


def test_a_node_describes_itself() -> None:
    inner = add.bind(1, 2)
    assert repr(inner).startswith("<FunctionNode add ")
    assert str(add.bind(inner, b=3)).endswith(f"({inner!r}, b=3)")
    with pytest.raises(AttributeError, match=r"\.execute\(\) makes its calls"):
        inner.remote()
    with pytest.raises(NotImplementedError, match=r"execute\(\) makes the same calls"):
        inner.experimental_compile()
