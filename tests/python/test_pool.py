# SPDX-License-Identifier: Apache-2.0
"""skyray.util.multiprocessing."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import skyray
from skyray.util.multiprocessing import Pool, TimeoutError

pytestmark = pytest.mark.usefixtures("runtime")
# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def square(x: int) -> int:
    if x < 0:
        raise ValueError(f"{x} is negative")
    return x * x


def add(x: int, y: int = 0) -> int:
    return x + y


def pid(_: Any = None) -> int:
    return os.getpid()


def read(path: str) -> str:
    return Path(path).read_text()


@pytest.fixture(name="pool")
def _pool() -> Iterator[Pool]:
    with Pool(2) as pool:
        yield pool


@pytest.fixture(name="pipe")
def _pipe(tmp_path: Path) -> str:
    """Whoever reads it waits until the test feeds it."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    return path


def feed(pipe: str) -> None:
    Path(pipe).write_text("fed")


def test_apply(pool: Pool) -> None:
    assert pool.apply(add, (1,), {"y": 5}) == 6
    assert pool.apply(add, [2]) == 2
    assert pool.apply_async(add, (1, 2)).get() == 3
    with pytest.raises(ValueError, match="-1 is negative") as caught:
        pool.apply(square, (-1,))
    assert type(caught.value) is ValueError
    assert "in square" in str(caught.value.__cause__)  # The remote traceback,
    assert "in run" not in str(caught.value.__cause__)  # without the runtime's own frames.


def test_map_and_starmap(pool: Pool) -> None:
    squares = [x * x for x in range(30)]
    assert pool.map(square, range(30)) == squares
    assert pool.map(square, iter(range(30)), chunksize=7) == squares
    assert pool.map(square, []) == []
    assert pool.map_async(square, range(30)).get() == squares
    assert pool.starmap(add, [(1, 2), [3]]) == [3, 3]
    assert pool.starmap_async(add, [(1, 2), (3, 4)], chunksize=1).get() == [3, 7]
    assert pool.map(lambda x: x + 1, [1, 2]) == [2, 3]


def test_map_raises_the_first_error_in_order(pool: Pool, pipe: str) -> None:
    def fail(x: int) -> None:
        if x == 1:
            read(pipe)
        raise ValueError(x)

    late = threading.Event()

    def told(error: BaseException) -> None:
        assert str(error) == "2"  # The first there.
        feed(pipe)
        late.set()

    result = pool.map_async(fail, [1, 2], chunksize=1, error_callback=told)
    with pytest.raises(ValueError, match="1"):
        result.get()
    assert late.is_set()
    assert not result.successful()


def test_a_result_that_is_not_there(pool: Pool, pipe: str) -> None:
    result = pool.apply_async(read, (pipe,))
    assert not result.ready()
    result.wait(timeout=0.01)
    with pytest.raises(TimeoutError) as caught:
        result.get(timeout=0.01)
    assert isinstance(caught.value, multiprocessing.TimeoutError)
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    feed(pipe)
    assert result.get(timeout=60) == "fed"
    assert result.ready()
    assert result.successful()


def test_callbacks(pool: Pool) -> None:
    got: list[Any] = []
    errors: list[BaseException] = []

    def record(value: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        got.append(value)

    # When a result is ready, its callback has been called.
    pool.apply_async(square, (3,), callback=record, error_callback=errors.append).wait()
    pool.map_async(square, range(20), chunksize=3, callback=record).wait()
    pool.starmap_async(add, [(1, 2)], record).wait()
    pool.map_async(square, [], callback=record).wait()
    assert got == [9, [x * x for x in range(20)], [3], []]
    assert errors == []
    result = pool.map_async(square, [1, -1, -2], 1, record, errors.append)
    result.wait()
    assert len(got) == 4
    assert [type(error) for error in errors] == [ValueError]


def test_a_callback_may_ask_for_the_result_and_may_fail(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    ready = threading.Event()

    def look(value: int) -> None:
        assert ready.wait(60)
        seen.append((value, result.ready(), result.get()))
        raise RuntimeError("of the callback's own")

    result = pool.apply_async(square, (3,), callback=look)
    ready.set()
    assert result.get() == 9
    assert seen == [(9, True, 9)]
    assert "of the callback's own" in capsys.readouterr().err
    assert pool.apply_async(square, (2,), callback=seen.append).get() == 4
    assert seen[-1] == 4


def test_imap(pool: Pool) -> None:
    assert list(pool.imap(square, range(7))) == [x * x for x in range(7)]
    assert list(pool.imap(square, range(7), chunksize=3)) == [x * x for x in range(7)]
    assert list(pool.imap(square, range(7), chunksize=None)) == [x * x for x in range(7)]
    assert sorted(pool.imap_unordered(square, range(7), 2)) == [x * x for x in range(7)]
    assert list(pool.imap(square, [])) == []


def test_imap_goes_on_after_an_error(pool: Pool) -> None:
    for chunksize in (1, 3):
        results = pool.imap(square, [1, -1, 3], chunksize)
        assert next(results) == 1
        with pytest.raises(ValueError, match="-1 is negative"):
            next(results)
        assert next(results) == 9
        for _ in range(2):
            with pytest.raises(StopIteration):
                next(results)


def test_imap_takes_what_the_processes_can_work_on(pool: Pool) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(20):
            taken.append(item)
            yield item

    results = pool.imap(square, items(), chunksize=3)
    assert len(taken) == 6
    assert next(results) == 0
    assert len(taken) == 9
    assert list(results) == [x * x for x in range(1, 20)]


def test_imap_of_an_iterable_that_fails(pool: Pool) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    results = pool.imap(square, items())
    assert next(results) == 1
    with pytest.raises(KeyError, match="no more"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    with pytest.raises(KeyError):
        pool.map(square, items())


def test_imap_with_a_timeout_and_out_of_order(pool: Pool, pipe: str) -> None:
    def run(x: str) -> str:
        return read(x) if x else x

    ordered = pool.imap(run, [pipe])
    with pytest.raises(TimeoutError):
        ordered.next(timeout=0.01)
    feed(pipe)
    assert ordered.next(timeout=60) == "fed"
    unordered = pool.imap_unordered(run, [pipe, "", ""])
    assert [next(unordered), next(unordered)] == ["", ""]
    feed(pipe)
    assert list(unordered) == ["fed"]


def test_imap_of_a_pool_that_closes() -> None:
    pool = Pool(2)
    results = pool.imap(square, range(10))
    pool.close()
    assert list(results) == [x * x for x in range(10)]
    pool.join()


def test_initializer_runs_in_each_process() -> None:
    def remember(name: str, value: str) -> None:
        os.environ[name] = value

    with Pool(2, remember, ("SKYRAY_TEST_POOL", "set")) as pool:
        assert pool.map(lambda _: os.environ["SKYRAY_TEST_POOL"], range(4)) == ["set"] * 4
    not_callable: Any = 5
    with pytest.raises(TypeError, match="must be a callable"):
        Pool(1, not_callable)


def test_an_initializer_that_fails() -> None:
    def fail() -> None:
        raise RuntimeError("not today")

    with pytest.raises(skyray.exceptions.ActorDiedError, match="not today"):
        Pool(1, fail)


def test_initializers_have_run_when_there_is_a_pool(tmp_path: Path) -> None:
    def note() -> None:
        (tmp_path / str(os.getpid())).touch()

    with Pool(3, note):
        assert len(list(tmp_path.iterdir())) == 3


def test_processes_are_replaced_after_so_many_chunks() -> None:
    with Pool(1, maxtasksperchild=2) as pool:
        assert len(set(pool.map(pid, range(6), chunksize=1))) == 3
        assert len(set(pool.map(pid, range(6), chunksize=6))) == 1


def test_a_process_that_dies_is_replaced(pool: Pool) -> None:
    def die(x: int) -> int:
        if x == 1:
            os._exit(3)
        return x

    with pytest.raises(skyray.exceptions.ActorDiedError, match="exited with code 3"):
        pool.map(die, range(4), chunksize=1)
    assert pool.map(square, range(10), chunksize=1) == [x * x for x in range(10)]


def test_close_join_and_terminate(pipe: str) -> None:
    pool = Pool(2)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.map_async(square, range(10))
    pool.close()
    pool.close()
    calls: list[Any] = [
        lambda: pool.apply(square, (1,)),
        lambda: pool.map(square, [1]),
        lambda: pool.imap(square, [1]),
        pool.__enter__,
    ]
    for call in calls:
        with pytest.raises(ValueError, match="Pool not running"):
            call()
    pool.join()
    assert result.get() == [x * x for x in range(10)]

    told: list[BaseException] = []
    with Pool(1) as other:
        unfinished = other.apply_async(read, (pipe,), error_callback=told.append)
    other.join()
    with pytest.raises(skyray.exceptions.ActorDiedError):
        unfinished.get()
    assert [type(error) for error in told] == [skyray.exceptions.ActorDiedError]


def test_pools_that_cannot_be() -> None:
    for count in (0, -1):
        with pytest.raises(ValueError, match="must be >0"):
            Pool(count)
    with pytest.raises(ValueError, match="only 4 CPUs"):
        Pool(5)
    with pytest.raises(ValueError, match="nope"):
        Pool(1, ray_remote_args={"nope": 1})
    with pytest.warns(UserWarning, match="has no effect"):
        Pool(1, context=multiprocessing.get_context()).terminate()
    with Pool(1) as pool:
        for size in (0, -1):
            with pytest.raises(ValueError, match="1 or more"):
                pool.map(square, [1], chunksize=size)
            with pytest.raises(ValueError, match="1 or more"):
                pool.imap(square, [1], chunksize=size)
        not_iterable: Any = 5
        with pytest.raises(TypeError, match="not iterable"):
            pool.map(square, not_iterable)


def test_what_cannot_be_pickled_says_so(pool: Pool) -> None:
    with pytest.raises(TypeError, match="lock"):
        pool.map(lambda _: threading.Lock(), [1])
    with pytest.raises(TypeError, match="lock"):
        pool.map(square, [threading.Lock()])
    assert pool.map(square, [2]) == [4]


def test_references_stay_references(pool: Pool) -> None:
    ref = skyray.put(3)
    assert pool.map(lambda x: skyray.get(x), [ref]) == [3]
    assert pool.apply(lambda x: type(x).__name__, (ref,)) == "ObjectRef"


def test_a_pool_inside_a_task() -> None:
    @skyray.remote(num_cpus=0)
    def nested() -> list[int]:
        with Pool(1) as pool:
            return pool.map(lambda x: x + 1, [1, 2])

    assert skyray.get(nested.remote()) == [2, 3]


def test_a_pool_starts_a_cluster_of_its_size() -> None:
    program = """
import skyray
from skyray.util.multiprocessing import Pool
with Pool(3) as pool:
    print(pool.map(lambda x: x + 1, [1]), skyray.cluster_resources()["CPU"])
"""
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert child.stdout.split() == ["[2]", "3.0"]
