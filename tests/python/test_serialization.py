# SPDX-License-Identifier: Apache-2.0
"""Pickles, the buffers beside them, and what is said of what cannot be pickled."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest

from skyray import _unpicklable
from skyray._serialization import dump_code, load_code, serialize


def there_and_back(value: Any) -> Any:
    inband, buffers = serialize(value)
    return pickle.loads(inband, buffers=[memoryview(b).toreadonly() for b in buffers])


@pytest.mark.parametrize("value", [[1, "a"], {"k": {1, 2}}, (None, 1.5), range(3), lambda: 1])
def test_values_survive(value: Any) -> None:
    again = there_and_back(value)
    assert again() == 1 if callable(value) else again == value


def test_array_is_a_view_of_its_buffer() -> None:
    array = np.arange(1000)
    inband, buffers = serialize([array])
    assert len(buffers) == 1
    assert len(inband) < 500
    [again] = pickle.loads(inband, buffers=[memoryview(b).toreadonly() for b in buffers])
    assert np.array_equal(again, array)
    assert not again.flags.writeable
    assert np.shares_memory(again, array)


def test_array_that_is_not_contiguous() -> None:
    array = np.arange(100).reshape(10, 10)[:, ::2]
    assert np.array_equal(there_and_back(array), array)


def test_instance_of_a_class_of_main_travels_by_value() -> None:
    cls = type("Point", (), {"__module__": "__main__", "x": 3})
    again = there_and_back(cls())
    assert again.x == 3


def test_unpicklable_part_is_named_with_its_path() -> None:
    with pytest.raises(TypeError) as caught:
        serialize({"config": [1, threading.Lock()]})
    text = str(caught.value)
    assert "cannot pickle '_thread.lock' object" in text
    assert "at value['config'][1]: a _thread.lock" in text
    assert "__reduce__" in text


def test_path_into_a_closure_and_an_instance() -> None:
    class Client:
        def __init__(self) -> None:
            self.guard = threading.Lock()

    client = Client()

    def task() -> object:
        return client

    with pytest.raises(TypeError) as caught:
        dump_code(task, "task")
    assert "at value -> closure variable 'client'.guard: a _thread.lock" in str(caught.value)
    assert "the function or class task" in str(caught.value)


def test_cloudpickle_under_the_name_that_rays_users_know() -> None:
    from skyray import cloudpickle

    offset = 3
    again = pickle.loads(cloudpickle.dumps(lambda x: x + offset))
    assert again(4) == 7


def test_unpicklable_value_itself() -> None:
    with pytest.raises(TypeError, match=r"Could not serialize the value <unlocked _thread\.lock"):
        serialize(threading.Lock())


def test_cycles_and_depth_end() -> None:
    loop: list[Any] = [threading.Lock()]
    loop.append(loop)
    [finding] = _unpicklable.find(loop, "loop")
    assert finding.path == "loop[0]"


def test_code_survives() -> None:
    factor = 3
    assert load_code(dump_code(lambda x: x * factor, "<lambda>"))(2) == 6


class Refuses:
    def __reduce__(self) -> Any:
        raise TypeError("not me")


class Fails:
    def __reduce__(self) -> Any:
        raise RuntimeError("the user's own error")


def test_error_in_the_users_reduce_is_shown() -> None:
    with pytest.raises(TypeError, match="not me") as caught:
        serialize([Refuses()])
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(RuntimeError, match="the user's own error"):
        serialize([Fails()])


def test_frames_of_the_pickler_are_not() -> None:
    with pytest.raises(TypeError) as caught:
        serialize(threading.Lock())
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
