# SPDX-License-Identifier: Apache-2.0
"""Lines that many workers print alike."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from skyray._log_dedup import Deduplicator, Printed, Printer, from_environment

A, B, C = ("here", 1), ("here", 2), ("there", 1)
HINT = (
    " (skyray deduplicates logs by default. Set SKYRAY_DEDUP_LOGS=0 to disable log deduplication.)"
)


class Screen:
    """A deduplicator, told what is printed; by a clock that it sets itself."""

    def __init__(self, **options: object) -> None:
        self.dedup = Deduplicator(**options)  # type: ignore[arg-type]
        self.now = 0.0

    def say(self, source: tuple[str, int], *lines: str, is_stderr: bool = False) -> list[str]:
        printed = Printed(source, f"({source[1]})", is_stderr, list(lines))
        return self._texts(self.dedup.take(printed, self.now))

    def wait(self, seconds: float) -> list[str]:
        self.now += seconds
        return self._texts(self.dedup.due(self.now))

    @staticmethod
    def _texts(shown: list[Printed]) -> list[str]:
        return [f"{printed.label} {line}" for printed in shown for line in printed.lines]


def test_what_others_repeat_is_counted_and_shown_at_the_windows_end() -> None:
    screen = Screen()
    assert screen.say(A, "step 1 of 9") == ["(1) step 1 of 9"]
    assert screen.dedup.next_due is None
    assert screen.say(B, "step 2 of 9") == []
    assert screen.say(C, "step 3 of 9") == []
    assert screen.say(A, "step 4 of 9") == [], "by now it is a thing of several"
    assert screen.dedup.next_due == 5
    assert screen.wait(4.9) == []
    assert screen.wait(0.2) == ["(1) step 4 of 9 [repeated 3x across cluster]" + HINT]


def test_it_is_counted_on_after_the_window() -> None:
    screen = Screen()
    for source in (A, B, C):
        screen.say(source, "hello")
    assert screen.wait(5) == ["(1) hello [repeated 2x across cluster]" + HINT]
    assert screen.say(A, "hello") + screen.say(A, "hello") == []
    assert screen.wait(5) == ["(1) hello [repeated 2x across cluster]"], "the hint comes once"
    assert screen.say(A, "hello") == []
    assert screen.wait(5) == ["(1) hello"], "as it is if it was held back once"
    assert screen.wait(5) == []
    assert screen.dedup.next_due is None
    assert screen.say(B, "hello") == ["(2) hello"], "and anew, after a window of silence"


def test_what_one_process_repeats_is_shown() -> None:
    screen = Screen()
    assert screen.say(A, "tick", "tick", "tick") == ["(1) tick"] * 3
    assert screen.wait(5) == []


def test_the_streams_are_two_matters_and_so_are_other_words() -> None:
    screen = Screen()
    assert screen.say(A, "hello") == ["(1) hello"]
    assert screen.say(B, "hello", is_stderr=True) == ["(2) hello"]
    assert screen.say(B, "hello!", "hello") == ["(2) hello!"]


@pytest.mark.parametrize("line", ["", "   ", "17"])
def test_lines_without_words_are_shown(line: str) -> None:
    screen = Screen()
    assert len(screen.say(A, line) + screen.say(B, line)) == 2


def test_expressions_allow_and_skip() -> None:
    screen = Screen(allow="keep|both", skip="drop|both")
    lines = ["keep this", "drop this", "both"]
    assert screen.say(A, *lines) == ["(1) keep this"]
    assert screen.say(B, *lines) == ["(2) keep this"]


def test_the_end_shows_what_is_held_back() -> None:
    screen = Screen()
    screen.say(A, "hello", "you", "once")
    screen.say(B, "hello", "you", "once")
    screen.say(C, "hello", "you")
    shown = screen.dedup.all()
    assert [text for printed in shown for text in printed.lines] == [
        "hello [repeated 2x across cluster]" + HINT,
        "you [repeated 2x across cluster]",
        "once",
    ]
    assert screen.dedup.all() == []


def test_it_remembers_so_many_lines_and_forgets_none_that_it_counted() -> None:
    screen = Screen()
    words = ["".join(chr(97 + int(digit)) for digit in str(n)) for n in range(12_000)]
    screen.say(A, *words)
    shown = screen.say(B, *words)
    # The oldest 2,000 were forgotten when B said them; of the others each is accounted for.
    shown += screen._texts(screen.dedup.all())
    assert len(shown) == len(words)
    assert len(screen.dedup._kinds) == 0


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("SKYRAY_DEDUP_LOGS_ALLOW_REGEX", "(", "is no regular expression"),
        ("SKYRAY_DEDUP_LOGS_SKIP_REGEX", "[", "SKYRAY_DEDUP_LOGS_SKIP_REGEX='['"),
        ("SKYRAY_DEDUP_LOGS_AGG_WINDOW_S", "0", "SKYRAY_DEDUP_LOGS_AGG_WINDOW_S=0"),
        ("SKYRAY_DEDUP_LOGS_AGG_WINDOW_S", "soon", "is not a number"),
    ],
)
def test_variables_that_make_no_sense_are_refused(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYRAY_DEDUP_LOGS", "1")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=r".*") as refused:
        from_environment()
    assert says in str(refused.value)


def test_a_printer_shows_in_time_what_nobody_asks_for() -> None:
    import threading

    shown: list[str] = []
    summarised = threading.Event()

    def show(printed: Printed) -> None:
        shown.extend(printed.lines)
        if "repeated" in printed.lines[0]:
            summarised.set()

    printer = Printer(Deduplicator(0.05), show)
    for source in (A, B, C):
        printer.take(Printed(source, "", False, ["hello"]))
    assert summarised.wait(60)
    assert shown == ["hello", "hello [repeated 2x across cluster]" + HINT]
    printer.close()


PROGRAM = textwrap.dedent("""
    import skyray
    skyray.init(num_cpus=2)

    @skyray.remote
    class Worker:
        def work(self, i):
            print("working on", i)

    workers = [Worker.remote() for _ in range(4)]
    skyray.get([worker.work.remote(i) for i, worker in enumerate(workers * 3)])
    skyray.shutdown()
""")


@pytest.mark.parametrize("switched_on", [True, False])
def test_a_driver_shows_lines_of_many_actors_once(switched_on: bool, tmp_path: Path) -> None:
    import os

    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        env={**os.environ, "SKYRAY_DEDUP_LOGS": "1" if switched_on else "0"},
    )
    shown = [line for line in result.stdout.splitlines() if "working on" in line]
    if switched_on:
        # All within a window, or on a very slow machine in several.
        counted = sum(
            int(line.split("[repeated ")[1].split("x")[0]) for line in shown if "[" in line
        )
        assert counted > 0
        assert counted + sum("[" not in line for line in shown) == 12
    else:
        assert len(shown) == 12
