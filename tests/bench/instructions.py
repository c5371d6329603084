# SPDX-License-Identifier: Apache-2.0
"""Instructions per operation of the core's hot path, counted by valgrind; no clock decides.

    python tests/bench/instructions.py HOT_PATH            count, and print the table
    python tests/bench/instructions.py HOT_PATH --record   and write it into docs/performance.md
    python tests/bench/instructions.py HOT_PATH --check    fail if one is beyond what is recorded
                                                           in each of three counts

HOT_PATH is build/release/tests/cpp/hot_path (tests/bench/hot_path.cc). Each operation is run in few
batches and in many; the difference, by thread and phase, is what an operation costs: starting and
ending are not in it, waiting hardly (a batch is waited for once). Exit codes: 1 if the check fails,
77 if it cannot be made: no valgrind, another compiler or another machine's instructions.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- instructions:begin -->", "<!-- instructions:end -->"
FEW, MANY = 10, 60
TOLERANCE = 0.10
TRIES = 3
SKIPPED = 77
ROWS = {
    "task": ("task: submit", "task: execute", "task: get"),
    "actor": ("actor call: submit", "actor call: execute", "actor call: get"),
    "put": ("put", "get of a put"),
}
CALLED = re.compile(r"^cfn=\((\d+)\)(?: (.*))?$")
NAMED = re.compile(r"^c?fn=\((\d+)\) (.*)$", re.MULTILINE)


class CannotCount(Exception):
    """Here or now; the message says why."""


@dataclass
class Counts:
    """Instructions of one run."""

    operations: int
    submit: int
    execute: int
    get: int


def counts_of(program: Path, what: str, batches: int) -> tuple[Counts, str]:
    """Runs it under callgrind: what was counted, and by which compiler it was built."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind")
        command = ["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes"]
        command += [f"--callgrind-out-file={out}", str(program), what, str(batches)]
        done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=300)
        match = re.search(r"compiler (\S+), (\d+) operations", done.stdout)
        if done.returncode or match is None:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        threads = [path.read_text() for path in sorted(Path(folder).glob("callgrind-*"))]
    driver, worker = by_side(threads)
    submit = sum(inclusive(thread, "SubmitPhase") for thread in driver)
    get = sum(map(total, driver)) - submit
    counts = Counts(int(match[2]), submit, sum(map(total, worker)), get)
    return counts, match[1]


def by_side(threads: list[str]) -> tuple[list[str], list[str]]:
    """The driver's threads (main, and its gateway's) and the worker's."""
    named = [{name for _, name in NAMED.findall(thread)} for thread in threads]

    def having(function: str) -> list[str]:
        return [t for t, names in zip(threads, named) if any(function in n for n in names)]

    [main], [loop] = having("SubmitPhase"), having("WorkerLoop")
    driver_io, worker_io = having("Gateway::RunIoThread")
    return [main, driver_io], [loop, worker_io]


def total(thread: str) -> int:
    match = re.search(r"^totals: (\d+)", thread, re.MULTILINE)
    return int(match[1]) if match else 0


def inclusive(thread: str, function: str) -> int:
    """What calls of a function cost, with all that it calls; REQUIRES: it does not call itself."""
    ids = {number for number, name in NAMED.findall(thread) if function in name}
    cost, lines = 0, iter(thread.splitlines())
    for line in lines:
        called = CALLED.match(line)
        if called is None or called[1] not in ids:
            continue
        for after in lines:  # Where it is, then calls=, then its position and cost.
            if after.startswith("calls="):
                cost += int(next(lines).split()[1])
                break
    return cost


def count(program: Path) -> tuple[dict[str, int], str]:
    """Instructions per operation, by row of the table, and how they were made."""
    if not shutil.which("valgrind"):
        raise CannotCount("needs valgrind (Debian: apt-get install valgrind)")
    table: dict[str, int] = {}
    made_by = ""
    for what, rows in ROWS.items():
        few, made_by = counts_of(program, what, FEW)
        many, _ = counts_of(program, what, MANY)
        each = [many.submit - few.submit, many.execute - few.execute, many.get - few.get]
        if len(rows) == 2:
            del each[1]  # Nobody executes a put.
        operations = many.operations - few.operations
        table.update(zip(rows, (round(cost / operations) for cost in each)))
    return table, f"g++ {made_by}, {' '.join(platform.libc_ver())}, {platform.machine()}"


def as_block(table: dict[str, int], made_by: str) -> str:
    lines = [f"{made_by}.", "", "| operation | instructions |", "|---|---|"]
    return "\n".join(
        [BEGIN, *lines, *(f"| {row} | {cost:,} |" for row, cost in table.items()), END]
    )


def recorded(page: str) -> tuple[dict[str, int], str]:
    """What as_block wrote."""
    block = page.partition(BEGIN)[2].partition(END)[0]
    rows = re.findall(r"^\| (.+?) \| ([\d,]+) \|$", block, re.MULTILINE)
    return {row: int(cost.replace(",", "")) for row, cost in rows}, block.strip().partition(".\n")[
        0
    ]


def check(program: Path, table: dict[str, int], made_by: str) -> int:
    before, before_by = recorded(PAGE.read_text(encoding="utf-8"))
    if before_by != made_by:
        raise CannotCount(f"recorded with {before_by}, this is {made_by}")
    # How calls meet in batches differs from run to run, and costs more or less: what a change
    # did is there each time.
    for _ in range(TRIES - 1):
        if beyond(before, table):
            again, _ = count(program)
            table = {row: min(cost, again[row]) for row, cost in table.items()}
    found = beyond(before, table)
    if found:
        print("\n".join([*found, "If that is meant: instructions.py HOT_PATH --record"]))
    return int(bool(found))


def beyond(before: dict[str, int], now: dict[str, int]) -> list[str]:
    """The rows that cost more than is recorded (and tolerated), or are in one of both only."""
    return [
        f"{row}: {now.get(row, 0):,} instructions; {before.get(row, 0):,} are recorded"
        for row in dict.fromkeys([*before, *now])
        if not before.get(row) or not now.get(row) or now[row] > before[row] * (1 + TOLERANCE)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("program", type=Path, metavar="HOT_PATH")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    try:
        table, made_by = count(chosen.program)
        print(as_block(table, made_by))
        if chosen.record:
            page = PAGE.read_text(encoding="utf-8")
            before, _, rest = page.partition(BEGIN)
            page = before + as_block(table, made_by) + rest.partition(END)[2]
            PAGE.write_text(page, encoding="utf-8")
        return check(chosen.program, table, made_by) if chosen.check else 0
    except CannotCount as reason:
        print(f"skipped: {reason}")
        return SKIPPED


if __name__ == "__main__":
    sys.exit(main())
