# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""Programs about values: what goes through put, get, arguments and returns, and comes out."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import re
import uuid
from typing import Any

import numpy as np

from . import program, raised

PLAIN_VALUES: list[Any] = [
    None, True, False, 0, -1, 2**63, -(2**200), 1.5, float("inf"), 1 + 2j,
    "", "text", "snö ☃ 𝄞", b"", b"\0\xff", "x" * 200_000, b"y" * 200_000,
    (), (1, (2, (3,))), [], [[1], [2, [3]]], {}, {"a": {"b": [1, None]}}, {1: "a", (2, 3): "b"},
    {1, 2}, frozenset({1}), range(3), slice(1, 2, 3), Ellipsis, NotImplemented, int, len,
    decimal.Decimal("1.10"), fractions.Fraction(1, 3), uuid.UUID(int=5),
    pathlib.PurePosixPath("/a"),
    datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc), datetime.timedelta(days=1),
    re.compile("a+"), collections.OrderedDict(a=1), collections.Counter("aab"),
    collections.deque([1, 2], maxlen=3),
]  # fmt: skip


@program(expected=([], []))
def plain_values_come_back_equal(ray: Any) -> Any:
    """Through put, and through a task; the answer lists what came back different."""
    identity = ray.remote(lambda x: x)
    through_put = [ray.get(ray.put(value)) for value in PLAIN_VALUES]
    through_task = ray.get([identity.remote(value) for value in PLAIN_VALUES])

    def differing(values: list[Any]) -> list[str]:
        pairs = zip(values, PLAIN_VALUES)
        return [repr(b)[:40] for a, b in pairs if type(a) is not type(b) or a != b]

    return differing(through_put), differing(through_task)


@program(expected=("Point(x=1, y=2)", "Pair(a=3, b=4)", "RED", 8, 11, True, True))
def values_of_local_classes(ray: Any) -> Any:
    @dataclasses.dataclass
    class Point:
        x: int
        y: int

        def total(self) -> int:
            return self.x + self.y

    class Colour(enum.Enum):
        RED = 1

    class Node:
        def __init__(self) -> None:
            self.me = self

    Pair = collections.namedtuple("Pair", "a b")
    Point.__qualname__ = "Point"
    point = ray.get(ray.put(Point(1, 2)))
    node = ray.get(ray.put(Node()))
    return (
        repr(point),
        repr(ray.get(ray.remote(lambda p: p).remote(Pair(3, 4)))),
        ray.get(ray.put(Colour.RED)).name,
        ray.get(ray.put(functools.partial(pow, 2)))(3),
        ray.get(ray.remote(lambda p, f: f(p)).remote(Point(5, 6), Point.total)),
        node.me is node,
        isinstance(point, Point),
    )


@program(expected=(False, "ValueError", 499_999_500_000, (False, "ValueError"), (3, 3)))
def large_arrays_are_read_only(ray: Any) -> Any:
    @ray.remote
    def inspect(array: Any) -> Any:
        return array.flags.writeable, raised_in_place(array)

    def raised_in_place(array: Any) -> str:
        try:
            array[0] = 1
        except ValueError as error:
            return type(error).__name__
        return "nothing"

    ref = ray.put(np.arange(1_000_000))
    array = ray.get(ref)
    again = ray.get(ref)
    copy = array.copy()
    copy[0] = 3
    again_copy = again.copy()
    again_copy[:] = copy
    return (
        array.flags.writeable,
        raised_in_place(array),
        int(array.sum()),
        ray.get(inspect.remote(ref)),
        (int(copy[0]), int(again_copy[0])),
    )


@program(expected=[True] * 3)
def two_gets_of_a_large_array_share_memory(ray: Any) -> Any:
    ref = ray.put({"a": np.zeros(100_000), "b": [np.ones(100_000)]})
    one, two = ray.get(ref), ray.get(ref)
    return [
        one["a"].ctypes.data == two["a"].ctypes.data,
        one["b"][0].ctypes.data == two["b"][0].ctypes.data,
        one["a"].ctypes.data % 64 == 0,
    ]


@program(expected=([], True))
def arrays_of_every_shape(ray: Any) -> Any:
    random = np.random.default_rng(1)
    arrays: list[Any] = [
        np.array(5), np.array([]), np.zeros((0, 3)), np.arange(3, dtype=np.int8),
        np.asfortranarray(random.random((300, 200))), random.random((300, 400))[::2, ::3],
        np.zeros(100_000, dtype=np.complex128), np.array(["a", "bc"]), np.array([None, 1, "x"]),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), np.zeros(200_000, dtype=bool),
        np.array(["2024-02-29"], dtype="datetime64[D]"), np.float32(1.5),
        np.ma.masked_array([1, 2]), np.arange(200_000, dtype=">i4"),
    ]  # fmt: skip
    results = ray.get([ray.remote(lambda x: x).remote(array) for array in arrays])
    pairs = zip(results, arrays)
    bad = [i for i, (a, b) in enumerate(pairs) if a.dtype != b.dtype or not np.array_equal(a, b)]
    return bad, bool(results[4].flags.f_contiguous)


@program(expected=(False, [1, 2], [[1], [1]]))
def a_get_is_a_fresh_copy(ray: Any) -> Any:
    ref = ray.put([1, 2])
    mine = ray.get(ref)
    mine.append(3)

    @ray.remote
    def spoil(values: list[int]) -> list[int]:
        values.clear()
        return [1]

    return ray.get(ref) is mine, ray.get(ref), ray.get([spoil.remote(ref), spoil.remote(ref)])


@program(expected=(True, True, False, 56, [3, 3, 4]))
def refs_are_values(ray: Any) -> Any:
    a, b = ray.put(3), ray.put(4)
    same = ray.get(ray.put([a]))[0]
    return same == a, hash(same) == hash(a), a == b, len(a.hex()), ray.get([a, a, b])


@program(expected=(6, 4, 3))
def deep_nesting_of_refs(ray: Any) -> Any:
    value: Any = 6
    for _ in range(5):
        value = [ray.put(value)]
    while isinstance(value, list):
        value = ray.get(value[0])

    @ray.remote
    def nest(depth: int) -> Any:
        return ray.put(4) if depth == 0 else nest.remote(depth - 1)

    answer = nest.remote(3)
    steps = 0
    while type(answer).__name__ == "ObjectRef":
        answer = ray.get(answer)
        steps += 1
    return value, answer, steps - 2


@program(expected=[10.0, 20.0])
def a_borrower_keeps_the_object_alive(ray: Any) -> Any:
    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self.refs: list[Any] = []

        def keep(self, box: list[Any]) -> None:
            self.refs += box

        def read(self) -> list[float]:
            return [float(value[0]) for value in ray.get(self.refs)]

    keeper = Keeper.remote()
    large = ray.put(np.full(100_000, 10.0))
    small = ray.put([20.0])
    ray.get(keeper.keep.remote([large, small]))
    del large, small
    return ray.get(keeper.read.remote())


@program(expected=(300_000_000, 300_000_000))
def large_arguments_and_returns(ray: Any) -> Any:
    @ray.remote
    def total(*arrays: Any, **more: Any) -> int:
        return int(sum(a.sum() for a in [*arrays, *more.values()]))

    @ray.remote
    def make(value: int) -> Any:
        return np.full(1_000_000, value, dtype=np.int64)

    by_value = np.full(1_000_000, 100, dtype=np.int64)
    return (
        ray.get(total.remote(by_value, ray.put(by_value), more=by_value)),
        ray.get(total.remote(make.remote(50), make.remote(250))),
    )


@program(expected=["TypeError", "ValueError", "TypeError", "TypeError", "ValueError", "TypeError"])
def misuse_of_objects(ray: Any) -> Any:
    ref = ray.put(1)
    return [
        raised(lambda: ray.put(ref)),
        raised(lambda: ray.get(5)),
        raised(lambda: ray.get([ref, 5])),
        raised(lambda: ray.wait(ref)),
        raised(lambda: ray.wait([ref, ref])),
        raised(lambda: ray.wait([5])),
    ]
