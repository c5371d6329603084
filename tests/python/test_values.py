# SPDX-License-Identifier: Apache-2.0
"""Values and exceptions of many kinds, there and back through processes."""

from __future__ import annotations

import collections
import dataclasses
import enum
import os
import pickle
import socket
import sys
import threading
from typing import Any, Callable, NamedTuple

import cloudpickle
import numpy as np
import pytest

import skyray
from skyray import exceptions
from skyray._serialization import serialize

pytestmark = pytest.mark.usefixtures("runtime")
# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@skyray.remote
def identity(value: Any) -> Any:
    return value


def there_and_back(value: Any) -> list[Any]:
    """Through put, and as an argument and a result of a task."""
    return [skyray.get(skyray.put(value)), skyray.get(identity.remote(value))]


KINDS = [
    "?",
    "i1",
    "u1",
    "i2",
    "u2",
    "i4",
    "u4",
    "i8",
    "u8",
    "f2",
    "f4",
    "f8",
    "g",
    "F",
    "D",
    "G",
] + ["S3", "U3", "M8[ns]", "M8[D]", "m8[s]", ">i4", ">f8"]
ARRAYS: dict[str, Any] = {
    **{kind: np.arange(12).astype("i8").astype(kind).reshape(3, 4) for kind in KINDS},
    "void": np.zeros(3, "V5"),
    "object": np.array([[1, "a"], [None, (1, 2)]], dtype=object),
    "structured": np.zeros(3, [("a", "i4"), ("b", "f8", (2,))]),
    "structured with objects": np.array([(1, "x")], [("a", "i4"), ("b", "O")]),
    "record": np.rec.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
    "fortran order": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "strided": np.arange(24.0).reshape(4, 6)[::2, ::3],
    "backwards": np.arange(10)[::-1],
    "broadcast": np.broadcast_to(np.arange(3), (4, 3)),
    "no dimension": np.array(5.0),
    "empty": np.zeros((0, 3)),
    "masked": np.ma.masked_array([1, 2], [False, True]),
    "large": np.arange(100_000.0).reshape(100, 1000),
    "large in fortran order": np.asfortranarray(np.arange(100_000.0).reshape(100, 1000)),
    "large strided": np.arange(200_000.0)[::2],
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(kind: str) -> None:
    array = ARRAYS[kind]
    for got in there_and_back(array):
        assert type(got) is type(array)
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        if array.dtype.hasobject:
            assert got.tolist() == array.tolist()
        assert got.dtype.hasobject or got.tobytes() == array.tobytes()
        assert got.flags.f_contiguous == array.flags.f_contiguous or not array.flags.forc


def test_large_arrays_are_read_only_and_say_how_to_change_them() -> None:
    def change(array: Any) -> None:
        array += 1

    array = np.zeros(100_000)
    for got in there_and_back(array):
        with pytest.raises(ValueError, match="read-only"):
            change(got)
        with pytest.raises(ValueError, match="WRITEABLE"):
            got.setflags(write=True)
    with pytest.raises(ValueError, match=r"read-only(.|\n)*array = array\.copy\(\)"):
        skyray.get(skyray.remote(change).remote(array))


class Plain:
    def __init__(self, value: int) -> None:
        self.value = value
        self.me = self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and other.value == self.value

    def method(self) -> int:
        return self.value


class Reduced(Plain):
    def __reduce__(self) -> Any:
        return Reduced, (self.value + 1,)


class Stated(Plain):
    def __getstate__(self) -> Any:
        return {"value": self.value + 1}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class Keyworded:
    def __new__(cls, *, value: int) -> Keyworded:
        made = object.__new__(cls)
        made.value = value
        return made

    def __getnewargs_ex__(self) -> Any:
        return (), {"value": self.value + 1}

    def __getstate__(self) -> None:
        return None


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int
    y: list[int] = dataclasses.field(default_factory=list)


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x: int) -> None:
        self.x = x


class Colour(enum.Enum):
    RED = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    a: int
    b: str


Old = collections.namedtuple("Old", "a b")


@pytest.mark.parametrize(
    "value",
    [
        Frozen(1, [2]), Colour.RED, Rights.READ | Rights.WRITE, Pair(1, "b"), Old(1, 2),
        bytearray(b"abc"), bytearray(300_000), np.dtype("i4"), list[int], Colour, int, len,
        np.float32(1.5), np.datetime64("2024-02-29"), np.bool_(True), np.str_("x"),
    ],
)  # fmt: skip
def test_values_that_are_equal(value: Any) -> None:
    for got in there_and_back(value):
        assert got == value
        assert type(got) is type(value)


def test_classes_that_say_how_to_be_pickled() -> None:
    put, passed = there_and_back(Reduced(1))
    assert (put.value, passed.value) == (2, 3)  # Pickled once; twice.
    put, passed = there_and_back(Stated(1))
    assert (put.value, passed.value) == (2, 3)
    put, passed = there_and_back(Keyworded(value=1))
    assert (put.value, passed.value) == (2, 3)
    assert skyray.get(skyray.put(Slotted(4))).x == 4
    assert [bytes(got) for got in there_and_back(memoryview(b"abc"))] == [b"abc", b"abc"]


def test_what_refers_to_itself() -> None:
    items: list[Any] = [1]
    items.append(items)
    for got in there_and_back(items):
        assert got[1] is got
    for got in there_and_back(Plain(2)):
        assert got.me is got
    shared = [1]
    for got in there_and_back({"a": shared, "b": shared}):
        assert got["a"] is got["b"]


def test_functions() -> None:
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return count

    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    counted()
    for got in there_and_back(counted):
        assert got() == 2  # With a variable of its own.
    assert count == 1
    for got in there_and_back([factorial, lambda x, y=[1], *, z=2: (x, y, z), Plain(3).method]):
        assert (got[0](5), got[1](0), got[2]()) == (120, (0, [1], 2), 3)
    assert skyray.get(skyray.remote(factorial).remote(5)) == 120


def test_tables_and_frames_share_memory() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")

    def address(table: Any) -> int:
        return int(table["a"].chunk(0).buffers()[1].address)

    table = pyarrow.table({"a": np.arange(100_000), "s": ["x"] * 100_000})
    ref = skyray.put(table)
    one, two = skyray.get(ref), skyray.get(ref)
    assert one.equals(table)
    assert address(one) == address(two)
    assert address(one) % 64 == 0
    frame = pandas.DataFrame({"a": np.arange(100_000), "b": np.ones(100_000), "s": "x"})
    ref = skyray.put(frame)
    first, second = skyray.get([ref, ref])
    assert first.equals(frame)
    assert first["a"].to_numpy().ctypes.data == second["a"].to_numpy().ctypes.data
    assert skyray.get(identity.remote(frame)).equals(frame)


def test_of_a_slice_of_a_table_only_the_slice_travels() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    schema = pyarrow.schema([("a", pyarrow.int64()), ("s", pyarrow.string())], {"made": "here"})
    rows = {"a": range(100_000), "s": [str(i) for i in range(100_000)]}
    table = pyarrow.table(rows, schema)
    batch = pyarrow.record_batch(rows, schema)
    for part in (
        table.slice(7, 5),
        batch.slice(7, 5),
        pyarrow.concat_tables([table.slice(1, 2)] * 3),
    ):
        inband, buffers = serialize(part)
        assert len(inband) + sum(memoryview(one).nbytes for one in buffers) < 5000
        for got in there_and_back(part):
            assert type(got) is type(part)
            assert got.equals(part, check_metadata=True)
    # As a whole its own buffers travel, uncopied.
    _, buffers = serialize(table)
    assert any(memoryview(one).nbytes == 800_000 for one in buffers)


@pytest.mark.parametrize(
    "make",
    [threading.Lock, threading.Event, socket.socket, lambda: iter(x for x in "a")],
    ids=["lock", "event", "socket", "generator"],
)
def test_what_cannot_travel_is_named(make: Callable[[], Any]) -> None:
    value = make()
    try:
        with pytest.raises(TypeError, match=r"at value\['config'\]\[1\]"):
            skyray.put({"config": [0, value]})
        with pytest.raises(TypeError, match=r"at value\[0\]"):
            identity.remote([value])
    finally:
        if isinstance(value, socket.socket):
            value.close()


def test_too_deep_for_pickle() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(pickle.PicklingError, match="recursion"):
        skyray.put(deep)


class Unloadable:
    def __reduce__(self) -> Any:
        return int, ("x",)


def test_a_value_that_cannot_be_unpickled() -> None:
    with pytest.raises(exceptions.RaySystemError, match="ValueError: invalid literal") as caught:
        skyray.get(skyray.put(Unloadable()))
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(exceptions.RaySystemError, match="invalid literal"):
        skyray.get(skyray.remote(lambda: Unloadable()).remote())
    for argument in (Unloadable(), skyray.put(Unloadable())):
        with pytest.raises(exceptions.RaySystemError, match="invalid literal") as error:
            skyray.get(identity.remote(argument))
        assert isinstance(error.value, exceptions.RayTaskError)


def test_arguments_of_an_actor_that_cannot_be_unpickled() -> None:
    @skyray.remote
    class Actor:
        def __init__(self, value: Any = None) -> None:
            self.value = value

        def take(self, value: Any) -> int:
            return 1

    actor = Actor.remote()
    with pytest.raises(exceptions.RaySystemError, match="invalid literal"):
        skyray.get(actor.take.remote(Unloadable()))
    assert skyray.get(actor.take.remote(1)) == 1
    with pytest.raises(exceptions.ActorDiedError, match="invalid literal"):
        skyray.get(Actor.remote(Unloadable()).take.remote(1))


def test_code_that_is_too_large(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyray._worker.CODE_WARN_BYTES", 1 << 20)
    monkeypatch.setattr("skyray._worker.CODE_MAX_BYTES", 2 << 20)
    data = os.urandom(1_500_000)

    @skyray.remote
    def large() -> int:
        return len(data)

    assert skyray.get(large.remote()) == len(data)
    assert "large is very large (1 MiB)" in capfd.readouterr().err
    skyray.get(large.remote())
    assert "very large" not in capfd.readouterr().err  # Said once.
    data = os.urandom(3_000_000)

    @skyray.remote
    def too_large() -> int:
        return len(data)

    @skyray.remote
    class TooLarge:
        def size(self) -> int:
            return len(data)

    with pytest.raises(ValueError, match=r"The remote function .*too_large is too large \(2 MiB"):
        too_large.remote()
    with pytest.raises(ValueError, match=r"The actor .*TooLarge is too large"):
        TooLarge.remote()


class TwoArguments(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a}-{b}")
        self.a = a
        self.b = b


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


class WithSlots(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


class BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class BadReduce(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("cannot be pickled")


def raise_it(error: BaseException) -> None:
    raise error


RAISED: list[tuple[Callable[[], BaseException], dict[str, Any]]] = [
    (lambda: TwoArguments(1, 2), {"a": 1, "b": 2}),
    (lambda: KeywordOnly(code=5), {"code": 5}),
    (lambda: WithSlots(5), {"code": 5}),
    (lambda: BadText("x"), {}),
    (lambda: KeyError("k"), {}),
    (lambda: StopIteration(3), {"value": 3}),
    (lambda: OSError(2, "gone", "f"), {"errno": 2, "filename": "f"}),
    (lambda: UnicodeDecodeError("ascii", b"x", 0, 1, "why"), {"encoding": "ascii", "end": 1}),
    (lambda: MemoryError("m"), {}),
    (lambda: RecursionError("r"), {}),
    (lambda: AssertionError(), {}),
    (lambda: exceptions.GetTimeoutError("late"), {}),
    (lambda: exceptions.WorkerCrashedError(), {}),
]


@pytest.mark.parametrize("number", range(len(RAISED)))
def test_exceptions_arrive_as_themselves(number: int) -> None:
    make, attributes = RAISED[number]
    kind = type(make())
    with pytest.raises(kind) as caught:
        skyray.get(skyray.remote(lambda: raise_it(make())).remote())
    error = caught.value
    for seen in (error, pickle.loads(pickle.dumps(error)), skyray.get(identity.remote([error]))[0]):
        assert isinstance(seen, exceptions.RayTaskError)
        assert isinstance(seen, kind)
        assert type(seen).__name__ == f"RayTaskError({kind.__name__})"
        assert {name: getattr(seen, name) for name in attributes} == attributes
        assert str(seen) == str(error)


def test_exceptions_that_cannot_arrive_as_themselves() -> None:
    def locked() -> None:
        error = ValueError("has a lock")
        error.lock = threading.Lock()
        raise error

    for function, text in ((locked, "has a lock"), (lambda: raise_it(BadReduce("x")), "BadReduce")):
        with pytest.raises(exceptions.RayTaskError, match=text) as caught:
            skyray.get(skyray.remote(function).remote())
        assert not isinstance(caught.value, (ValueError, BadReduce))


def test_the_whole_story_is_in_the_text() -> None:
    def chained() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise TwoArguments(1, 2) from error

    with pytest.raises(TwoArguments) as caught:
        skyray.get(skyray.remote(chained).remote())
    story = ["in chained", "KeyError: 'first'", "direct cause", "TwoArguments: 1-2"]
    positions = [str(caught.value).index(part) for part in story]
    assert positions == sorted(positions)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="new in Python 3.11")
def test_notes_and_groups() -> None:
    def noted() -> None:
        error = ValueError("noted")
        error.add_note("of interest")  # type: ignore[attr-defined, unused-ignore]
        raise error

    with pytest.raises(ValueError, match="noted\nof interest") as caught:
        skyray.get(skyray.remote(noted).remote())
    assert caught.value.__notes__ == ["of interest"]  # type: ignore[attr-defined, unused-ignore]

    def grouped() -> None:
        raise ExceptionGroup("several", [ValueError(1), TwoArguments(3, 4)])  # noqa: F821

    with pytest.raises(ExceptionGroup) as group:  # noqa: F821
        skyray.get(skyray.remote(grouped).remote())
    assert isinstance(group.value, exceptions.RayTaskError)
    assert [type(part) for part in group.value.exceptions] == [ValueError, TwoArguments]
    assert group.value.split(ValueError)[0].exceptions[0].args == (1,)  # type: ignore[union-attr]
    again = pickle.loads(pickle.dumps(group.value))
    assert [type(part) for part in again.exceptions] == [ValueError, TwoArguments]


def test_exceptions_of_actors() -> None:
    @skyray.remote
    class Actor:
        def __init__(self, fail: bool = False) -> None:
            if fail:
                raise TwoArguments(1, 2)

        def fail(self) -> None:
            raise TwoArguments(3, 4)

        def ok(self) -> int:
            return 1

        def __del__(self) -> None:
            raise RuntimeError("nobody hears this")

    with pytest.raises(exceptions.ActorDiedError, match="TwoArguments: 1-2") as died:
        skyray.get(Actor.remote(True).ok.remote())
    assert died.value.actor_init_failed
    again = pickle.loads(pickle.dumps(died.value))
    assert str(again) == str(died.value)
    actor = Actor.remote()
    with pytest.raises(TwoArguments) as caught:
        skyray.get(actor.fail.remote())
    assert (caught.value.a, caught.value.b) == (3, 4)
    assert skyray.get(actor.ok.remote()) == 1


def test_an_error_in_a_destructor_is_no_ones() -> None:
    class Careless:
        def __del__(self) -> None:
            raise RuntimeError("in __del__")

    def task() -> int:
        Careless()
        return 1

    assert skyray.get(skyray.remote(task).remote()) == 1


def test_bytes_of_errors() -> None:
    with pytest.raises(TwoArguments) as caught:
        skyray.get(skyray.remote(lambda: raise_it(TwoArguments(1, 2))).remote())
    error: Any = caught.value
    assert isinstance(exceptions.RayError.from_bytes(error.to_bytes()), TwoArguments)
    late = exceptions.RayError.from_bytes(exceptions.GetTimeoutError("late").to_bytes())
    assert isinstance(late, exceptions.GetTimeoutError)
    with pytest.raises(TypeError, match="not of a RayError"):
        exceptions.RayError.from_bytes(pickle.dumps(ValueError()))
