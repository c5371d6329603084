# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined, untyped-decorator"
"""What programs leave in the timeline."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from . import program, raised

_BOUND_S = 20
_PART = "task:"
_WHOLE = "task::"


def _wholes(ray: Any, wanted: Counter[str]) -> list[dict[str, Any]]:
    """The events of executions of those categories; Ray has them after a while."""
    deadline = time.monotonic() + _BOUND_S
    while True:
        events = [event for event in ray.timeline() if event["cat"] in wanted]
        if Counter(event["cat"] for event in events) == wanted or time.monotonic() > deadline:
            return events


def _with_parts(ray: Any, category: str) -> list[Any]:
    """What the one execution of that category left, in the order of time: each without what is
    another in every run."""
    [whole] = _wholes(ray, Counter([category]))
    end = whole["ts"] + whole["dur"]
    seen = [
        event
        for event in ray.timeline()
        if (event["pid"], event["tid"]) == (whole["pid"], whole["tid"])
        and whole["ts"] <= event["ts"] <= end
        and event["cat"].startswith(_PART)
    ]
    seen.sort(key=lambda event: (event["ts"], event["cat"] != category))
    return [
        (event["cat"], _last(event["name"]), event["ph"], event["cname"], sorted(event["args"]))
        for event in seen
    ]


def _last(name: str) -> str:
    return name if name.startswith(_PART) else name.rpartition(".")[2]


def _whole(name: str, code: str) -> tuple[str, str, str, str, list[str]]:
    return (_WHOLE + name, code, "X", "generic_work", ["name", "task_id"])


_RAISED = ["traceback", "type", "value"]
_ARGUMENTS = ("task:deserialize_arguments",) * 2 + ("X", "rail_load")
_EXECUTE = ("task:execute",) * 2 + ("X", "rail_animation")
_OUTPUTS = ("task:store_outputs",) * 2 + ("X", "rail_idle")
_PARTS: list[Any] = [(*_ARGUMENTS, []), (*_EXECUTE, []), (*_OUTPUTS, [])]


@program(expected=[_whole("left_by_a_task", "left_by_a_task"), *_PARTS])
def a_task_and_its_parts_are_in_the_timeline(ray: Any) -> Any:
    @ray.remote
    def left_by_a_task(x: int) -> int:
        return x

    ray.get(left_by_a_task.remote(1))
    return _with_parts(ray, "task::left_by_a_task")


@program(expected=[_whole("left_by_nick", "called_otherwise"), *_PARTS])
def a_named_task_is_in_the_timeline_by_its_name(ray: Any) -> Any:
    @ray.remote
    def called_otherwise() -> None:
        pass

    ray.get(called_otherwise.options(name="left_by_nick").remote())
    return _with_parts(ray, "task::left_by_nick")


@program(expected=[_whole("left_by_items", "left_by_items"), *_PARTS])
def a_generator_is_one_execution_in_the_timeline(ray: Any) -> Any:
    @ray.remote
    def left_by_items() -> Any:
        yield 1
        yield 2
        yield 3

    assert len(list(left_by_items.remote())) == 3
    return _with_parts(ray, "task::left_by_items")


@program(
    expected=(
        [_whole("left_by_a_failure", "left_by_a_failure"), _PARTS[0], (*_EXECUTE, _RAISED)],
        [("<class 'KeyError'>", "'lost'", True, True)],
    )
)
def what_a_task_raised_is_in_the_timeline(ray: Any) -> Any:
    @ray.remote
    def left_by_a_failure() -> None:
        raise KeyError("lost")

    raised(lambda: ray.get(left_by_a_failure.remote()))
    seen = _with_parts(ray, "task::left_by_a_failure")
    texts = [event["args"] for event in ray.timeline() if event["args"].get("value") == "'lost'"]
    return seen, [
        (
            text["type"],
            text["value"],
            text["traceback"].startswith("Traceback (most recent call last):\n"),
            text["traceback"].endswith("KeyError: 'lost'\n"),
        )
        for text in texts
    ]


@program(
    expected=[
        _whole("left_by_its_result", "left_by_its_result"),
        *_PARTS[:2],
        (*_OUTPUTS, _RAISED),
    ]
)
def a_result_that_cannot_be_stored_is_in_the_timeline(ray: Any) -> Any:
    @ray.remote
    def left_by_its_result() -> Any:
        import threading

        return threading.Lock()

    raised(lambda: ray.get(left_by_its_result.remote()))
    return _with_parts(ray, "task::left_by_its_result")


@program(expected=[2, 1])
def tasks_within_tasks_are_in_the_timeline(ray: Any) -> Any:
    @ray.remote
    def left_inside() -> int:
        return 1

    @ray.remote
    def left_outside() -> int:
        return sum(ray.get([left_inside.remote(), left_inside.remote()]))

    ray.get(left_outside.remote())
    wanted = Counter({"task::left_inside": 2, "task::left_outside": 1})
    found = Counter(event["cat"] for event in _wholes(ray, wanted))
    return [found[category] for category in wanted]


@program(
    expected=(
        [
            ("task::Left.__init__", "__init__"),
            ("task::Left.method", "method"),
            ("task::Left.method", "method"),
            ("task::left_by_a_method", "method"),
        ],
        [_whole("Left.refuse", "refuse"), _PARTS[0], (*_EXECUTE, _RAISED)],
        "left by name:Left.__init__",
    )
)
def methods_and_creations_of_actors_are_in_the_timeline(ray: Any) -> Any:
    @ray.remote
    class Left:
        def method(self) -> None:
            pass

        def refuse(self) -> None:
            raise ValueError("no")

    actor = Left.remote()
    ray.get([actor.method.remote(), actor.method.remote()])
    ray.get(actor.method.options(name="left_by_a_method").remote())
    wanted = {"task::Left.__init__": 1, "task::Left.method": 2, "task::left_by_a_method": 1}
    seen = sorted((event["cat"], event["name"]) for event in _wholes(ray, Counter(wanted)))
    raised(lambda: ray.get(actor.refuse.remote()))
    failed = _with_parts(ray, "task::Left.refuse")
    named = Left.options(name="left by name").remote()
    ray.get(named.method.remote())
    [creation] = _wholes(ray, Counter(["task::left by name:Left.__init__"]))
    return seen, failed, creation["cat"].removeprefix(_WHOLE)


@program(expected=(5, 1, 4, 1))
def calls_of_actors_that_run_several_are_in_the_timeline(ray: Any) -> Any:
    @ray.remote
    class LeftAsync:
        async def method(self) -> None:
            pass

    @ray.remote(max_concurrency=2)
    class LeftThreaded:
        def method(self) -> None:
            pass

    on_loop, on_threads = LeftAsync.remote(), LeftThreaded.remote()
    ray.get([on_loop.method.remote() for _ in range(5)])
    ray.get([on_threads.method.remote() for _ in range(4)])
    wanted = {
        "task::LeftAsync.method": 5,
        "task::LeftAsync.__init__": 1,
        "task::LeftThreaded.method": 4,
        "task::LeftThreaded.__init__": 1,
    }
    found = Counter(event["cat"] for event in _wholes(ray, Counter(wanted)))
    return tuple(found[category] for category in wanted)


@program(expected=["task::Shown.__init__", "task::Shown.loud", "task::shown"])
def what_is_not_to_be_in_the_timeline_is_not(ray: Any) -> Any:
    @ray.remote
    def shown() -> None:
        pass

    @ray.remote(enable_task_events=False)
    def hidden() -> None:
        pass

    @ray.remote
    class Shown:
        def loud(self) -> None:
            pass

        @ray.method(enable_task_events=False)
        def hidden(self) -> None:
            pass

    @ray.remote(enable_task_events=False)
    class Hidden:
        def hidden(self) -> None:
            pass

    calls = [hidden.remote(), shown.options(name="hidden", enable_task_events=False).remote()]
    loud, quiet = Shown.remote(), Hidden.remote()
    calls += [loud.hidden.remote(), quiet.hidden.remote()]
    calls += [loud.loud.options(enable_task_events=False, name="hidden").remote()]
    ray.get([*calls, loud.loud.remote(), shown.remote()])
    wanted = Counter(["task::shown", "task::Shown.__init__", "task::Shown.loud"])
    _wholes(ray, wanted)
    found = (event["cat"] for event in ray.timeline())
    return sorted({cat for cat in found if "hidden" in cat.lower() or cat in wanted})


@program(expected=([True] * 7, ["cat", "name", "pid", "tid", "ts", "dur", "ph", "cname", "args"]))
def an_event_says_where_and_when_it_was(ray: Any) -> Any:
    @ray.remote
    def left_as_it_was() -> tuple[str, str, str, float, float]:
        context = ray.get_runtime_context()
        begin = time.time()
        time.sleep(0.01)
        ids = (context.get_node_id(), context.get_worker_id(), context.get_task_id())
        return (*ids, begin, time.time())

    node_id, worker_id, task_id, begin, end = ray.get(left_as_it_was.remote())
    [event] = _wholes(ray, Counter(["task::left_as_it_was"]))
    [node] = [node for node in ray.nodes() if node["NodeID"] == node_id]
    # By clocks that were read one after the other.
    slack_us = 1000
    return [
        event["pid"] == node["NodeManagerAddress"],
        event["tid"] == f"worker:{worker_id}",
        event["args"]["task_id"] == task_id,
        event["args"]["name"] == event["name"],
        isinstance(event["ts"], float) and isinstance(event["dur"], float),
        event["ts"] <= begin * 1e6 + slack_us,
        event["ts"] + event["dur"] >= end * 1e6 - slack_us,
    ], list(event)


@program(expected=(None, True, ["task::left_in_a_file"], "FileNotFoundError"))
def the_timeline_is_written_to_a_file(ray: Any) -> Any:
    @ray.remote
    def left_in_a_file() -> None:
        pass

    ray.get(left_in_a_file.remote())
    wanted = Counter(["task::left_in_a_file"])
    [event] = _wholes(ray, wanted)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        returned = ray.timeline(filename=str(path))
        written = json.loads(path.read_text())
        nowhere = raised(lambda: ray.timeline(str(path / "nowhere")))
        nowhere = "FileNotFoundError" if nowhere == "NotADirectoryError" else nowhere
    return returned, event in written, [e["cat"] for e in written if e["cat"] in wanted], nowhere
