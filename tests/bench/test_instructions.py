# SPDX-License-Identifier: Apache-2.0
"""What callgrind writes is read right. (ctest's `instructions` counts and compares.)"""

from __future__ import annotations

import instructions

# Two functions that call SubmitPhase, once with its name and later by its number.
THREAD = """
thread: 1
fn=(1) main
10 5
cfn=(2) void HotPath::SubmitPhase<Lambda>(Lambda)
calls=1 20
11 700
cfn=(3) GetPhase
calls=1 30
12 50

fn=(2)
20 600
cfn=(4) push_back
calls=7 40
21 100

fn=(5) other
cfi=(9) file.h
cfn=(2)
calls=2 20
13 1400

totals: 2755
"""


def test_cost_of_a_phase_is_that_of_all_calls_of_it() -> None:
    assert instructions.inclusive(THREAD, "SubmitPhase") == 2100
    assert instructions.inclusive(THREAD, "push_back") == 100
    assert instructions.inclusive(THREAD, "not there") == 0
    assert instructions.total(THREAD) == 2755


def test_threads_are_told_apart_by_what_ran_in_them() -> None:
    driver_io = "fn=(1) Gateway::RunIoThread()"
    worker_io = driver_io + " "
    loop = "fn=(1) HotPath::WorkerLoop()"
    threads = [THREAD, "fn=(1) FakeRaylet::Serve(int)", driver_io, worker_io, loop]
    assert instructions.by_side(threads) == ([THREAD, driver_io], [loop, worker_io])


def test_recorded_counts_read_back() -> None:
    table = {"task: submit": 12_345, "put": 7}
    page = f"before\n{instructions.as_block(table, 'g++ 1.2.3, x86_64')}\nafter | x | 3 |\n"
    assert instructions.recorded(page) == (table, "g++ 1.2.3, x86_64")


def test_page_has_every_row_there_is() -> None:
    table, made_by = instructions.recorded(instructions.PAGE.read_text(encoding="utf-8"))
    assert list(table) == [row for rows in instructions.ROWS.values() for row in rows]
    assert made_by


def test_more_than_tolerated_is_found_and_less_is_not() -> None:
    before = {"put": 1000, "get": 1000, "gone": 1}
    found = instructions.beyond(before, {"put": 1099, "get": 1101, "new": 1})
    assert [line.partition(":")[0] for line in found] == ["get", "gone", "new"]
    assert not instructions.beyond({"put": 1000}, {"put": 10})
