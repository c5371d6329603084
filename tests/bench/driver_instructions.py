# SPDX-License-Identifier: Apache-2.0
"""Instructions that a Python driver needs for an operation, counted by valgrind.

    python tests/bench/driver_instructions.py

The driver runs under valgrind, the cluster that it joins does not; each operation is submitted in
few batches of 200, which are then got, and in many, and the difference is what one costs, both of
the driver's threads together. Run it with a Python that has a release build of skyray.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from instructions import total

FEW, MANY, BATCH = 10, 60, 200
OPERATIONS = ("put", "actor", "task")


def drive(what: str, batches: int, address: str) -> None:
    """What is counted: this runs under valgrind."""
    import skyray

    skyray.init(address=address)

    class Server:
        def answer(self, _: int) -> bytes:
            return b"ok"

    server: Any = skyray.remote(Server).remote()
    task: Any = skyray.remote(lambda _: b"ok")
    skyray.get([server.answer.remote(1), task.remote(1)])
    operations: dict[str, Any] = {
        "put": lambda: skyray.put(1),
        "actor": lambda: server.answer.remote(1),
        "task": lambda: task.remote(1),
    }
    operation = operations[what]
    for _ in range(batches):
        skyray.get([operation() for _ in range(BATCH)])


def counted(what: str, batches: int, address: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes"]
        command += [f"--callgrind-out-file={folder}/out", sys.executable, __file__]
        # Where sets and dicts of strings put them is not to differ from run to run.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        arguments = [what, str(batches), address]
        subprocess.run(
            [*command, *arguments], env=environment, check=True, stderr=subprocess.DEVNULL
        )
        return sum(total(path.read_text()) for path in Path(folder).glob("out-*"))


def main() -> None:
    import skyray

    address = skyray.init(num_cpus=1)["address"]
    print("| operation, driver only | instructions |\n|---|---|")
    for what in OPERATIONS:
        more = counted(what, MANY, address) - counted(what, FEW, address)
        print(f"| {what}, and its get | {round(more / ((MANY - FEW) * BATCH)):,} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        drive(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        main()
