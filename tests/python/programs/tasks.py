# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""Programs made of tasks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np

from . import program


@program(expected=21)
def nested_tasks(ray: Any) -> Any:
    @ray.remote
    def fibonacci(n: int) -> int:
        if n < 2:
            return n
        return sum(ray.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    return ray.get(fibonacci.remote(8))


@program(expected=12)
def nesting_deeper_than_the_cpus(ray: Any) -> Any:
    """Each level waits for the next: on 4 CPUs that works only if waiting gives the CPU back."""

    @ray.remote
    def depth(left: int) -> int:
        return 1 + ray.get(depth.remote(left - 1)) if left else 0

    return ray.get(depth.remote(12))


@program(expected=sum(range(16)))
def tree_reduce(ray: Any) -> Any:
    @ray.remote
    def add(x: int, y: int) -> int:
        return x + y

    parts: list[Any] = list(range(16))
    while len(parts) > 1:
        parts = [add.remote(*parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return ray.get(parts[0])


@program(expected=100)
def chain(ray: Any) -> Any:
    @ray.remote
    def increment(x: int) -> int:
        return x + 1

    value = 0
    for _ in range(100):
        value = increment.remote(value)
    return ray.get(value)


@program(expected=([1] * 8, list(range(8))))
def wait_loop(ray: Any) -> Any:
    @ray.remote
    def identity(x: int) -> int:
        return x

    pending = [identity.remote(i) for i in range(8)]
    sizes, values = [], []
    while pending:
        ready, pending = ray.wait(pending, num_returns=1)
        sizes.append(len(ready))
        values += ray.get(ready)
    return sizes, sorted(values)


@program(expected=[(3, 3), (0, 3), (3, 0)])
def wait_for_some_and_look_at_the_rest(ray: Any) -> Any:
    """Three tasks return at once; three read a pipe that nobody has opened for writing yet."""

    @ray.remote(num_cpus=0)
    def at_once() -> None:
        return None

    @ray.remote(num_cpus=0)
    def read(path: str) -> str:
        return Path(path).read_text()

    with tempfile.TemporaryDirectory() as folder:
        pipes = [Path(folder, str(i)) for i in range(3)]
        for pipe in pipes:
            os.mkfifo(pipe)
        refs = [at_once.remote() for _ in range(3)] + [read.remote(str(p)) for p in pipes]
        ready, rest = ray.wait(refs, num_returns=3)
        answers = [(len(ready), len(rest))]
        still_ready, still_blocked = ray.wait(rest, num_returns=3, timeout=0)
        answers.append((len(still_ready), len(still_blocked)))
        for pipe in pipes:
            pipe.write_text("go on")
        done, blocked = ray.wait(rest, num_returns=3)
        answers.append((len(done), len(blocked)))
    return answers


@program(expected=([0, 1, 2], ([], []), []))
def three_returns_and_empty_lists(ray: Any) -> Any:
    @ray.remote(num_returns=3)
    def three() -> tuple[int, int, int]:
        return 0, 1, 2

    a, b, c = three.remote()
    return ray.get([a, b, c]), ray.wait([]), ray.get([])


@program(expected=([0, 1], "renamed", "named"))
def options_override_the_decorator(ray: Any) -> Any:
    @ray.remote
    def pair() -> tuple[int, int]:
        return 0, 1

    @ray.remote(name="named")
    def my_name() -> Any:
        return ray.get_runtime_context().get_task_name()

    refs = pair.options(num_returns=2).remote()
    return (
        ray.get(refs),
        ray.get(my_name.options(name="renamed").remote()),
        ray.get(my_name.remote()),
    )


@program(expected=(1, (2, 3), 4, {"extra": 5}, 60))
def every_kind_of_argument(ray: Any) -> Any:
    factor = 10

    @ray.remote
    def f(a: int, *args: int, key: int = 4, **rest: int) -> Any:
        return a, args, key, rest, factor * 6

    return ray.get(f.remote(1, ray.put(2), 3, extra=ray.put(5)))


@program(expected=9)
def remote_of_a_lambda(ray: Any) -> Any:
    return ray.get(ray.remote(lambda x: x * x).remote(3))


@program(expected=(["ObjectRef", "ObjectRef"], [1, 2], 7))
def refs_inside_containers_stay_refs(ray: Any) -> Any:
    @ray.remote
    def look(boxes: list[Any]) -> Any:
        refs = [boxes[0], boxes[1]["inner"]]
        return [type(ref).__name__ for ref in refs], ray.get(refs)

    @ray.remote
    def give() -> Any:
        return ray.put(7)

    kinds, values = ray.get(look.remote([ray.put(1), {"inner": ray.put(2)}]))
    return kinds, values, ray.get(ray.get(give.remote()))


@program(expected=(8, [0.5, 0.5, 0.5], {"CPU": 1.0, "widget": 1.0}, {"widget": 0.001}))
def fractional_and_custom_resources(ray: Any) -> Any:
    def assigned() -> Any:
        return dict(sorted(ray.get_runtime_context().get_assigned_resources().items()))

    half = ray.remote(num_cpus=0.5)(lambda: 1)
    granted = ray.remote(assigned)
    halves = [granted.options(num_cpus=0.5).remote() for _ in range(3)]
    return (
        sum(ray.get([half.remote() for _ in range(8)])),
        [answer["CPU"] for answer in ray.get(halves)],
        ray.get(granted.options(resources={"widget": 1}).remote()),
        ray.get(granted.options(num_cpus=0, resources={"widget": 0.001}).remote()),
    )


@program(expected=([0, 1, 4], [1, 4, 9]))
def await_refs_in_the_driver(ray: Any) -> Any:
    square = ray.remote(lambda x: x * x)

    async def main() -> tuple[list[int], list[int]]:
        together = await asyncio.gather(*[square.remote(i) for i in range(3)])
        in_turn = [await square.remote(i) for i in range(1, 4)]
        return list(together), in_turn

    return asyncio.run(main())


@program(expected=([0, 1, 4, 9], 25, "RayTaskError(ZeroDivisionError)"))
def concurrent_futures(ray: Any) -> Any:
    square = ray.remote(lambda x: x * x)
    divide = ray.remote(lambda x: 1 // x)
    futures = [square.remote(i).future() for i in range(4)]
    done, not_done = concurrent.futures.wait(futures)
    assert not not_done
    error = divide.remote(0).future().exception()
    return (
        sorted(f.result() for f in done),
        square.remote(5).future().result(),
        type(error).__name__,
    )


@program(expected=[1, 1, 2, 3, 5, 8, 13, 21])
def quicksort(ray: Any) -> Any:
    @ray.remote
    def sort(values: list[int]) -> list[int]:
        if len(values) < 2:
            return values
        pivot = values[0]
        low = sort.remote([v for v in values[1:] if v < pivot])
        high = sort.remote([v for v in values[1:] if v >= pivot])
        return [*ray.get(low), pivot, *ray.get(high)]

    return ray.get(sort.remote([5, 21, 1, 8, 3, 1, 13, 2]))


@program(expected={"a": 3, "b": 2, "c": 1})
def word_count(ray: Any) -> Any:
    @ray.remote
    def count(line: str) -> dict[str, int]:
        return {word: line.split().count(word) for word in set(line.split())}

    @ray.remote
    def add(*parts: dict[str, int]) -> dict[str, int]:
        words = sorted({word for part in parts for word in part})
        return {word: sum(part.get(word, 0) for part in parts) for word in words}

    return ray.get(add.remote(*[count.remote(line) for line in ("a b", "a c", "b a")]))


@program(expected=True)
def blocked_matrix_product(ray: Any) -> Any:
    @ray.remote
    def product(left: Any, right: Any) -> Any:
        return left @ right

    a = np.arange(400 * 400, dtype=np.float64).reshape(400, 400) % 7
    right = ray.put(a)
    rows = [product.remote(a[i : i + 100], right) for i in range(0, 400, 100)]
    return bool(np.array_equal(np.vstack(ray.get(rows)), a @ a))


@program(expected=[[i * 10 + j for j in range(10)] for i in range(4)])
def four_threads_of_one_driver(ray: Any) -> Any:
    add = ray.remote(lambda x, y: x + y)
    results: list[list[int]] = [[] for _ in range(4)]

    def work(i: int) -> None:
        results[i] = ray.get([add.remote(i * 10, j) for j in range(10)])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@program(expected=(True, True, True, True, []))
def runtime_context(ray: Any) -> Any:
    def ids() -> tuple[Any, ...]:
        context = ray.get_runtime_context()
        return context.get_job_id(), context.get_task_id(), context.get_worker_id(), os.getpid()

    job, task, worker, pid = ray.get(ray.remote(ids).remote())
    other_task = ray.get(ray.remote(ids).remote())[1]
    context = ray.get_runtime_context()
    return (
        job == context.get_job_id(),
        task != other_task,
        worker != context.get_worker_id(),
        pid != os.getpid(),
        ray.get(ray.remote(ray.get_gpu_ids).remote()),
    )
