# SPDX-License-Identifier: Apache-2.0
"""Runs every program on skyray's Plasma client and on Arrow's, and compares what they return.

    python tests/python/plasma_programs/compare_arrow.py --against /path/to/arrow-11/bin/python

pyarrow 11.0.0 is the last release but one that has pyarrow.plasma; it wants numpy below 2. Each
program has a store of its own. A value is compared by its repr; where skyray differs on purpose
both values are known, and both must be as told. The exit status is 1 if any is not.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


@contextlib.contextmanager
def running_store(module_name: str, memory: int) -> Iterator[str]:
    """The path of the socket of a store that is the caller's own."""
    if module_name == "pyarrow.plasma":
        import pyarrow

        program = Path(pyarrow.__path__[0], "plasma-store-server")
    else:
        from skyray._daemon import find_binary

        program = Path(find_binary("plasma_store"))
    with tempfile.TemporaryDirectory(prefix="sp", dir="/tmp") as folder:
        path = Path(folder, "socket")
        command = [str(program), "-m", str(memory), "-s", str(path)]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=quiet, stderr=quiet) as store:
            deadline = time.monotonic() + 20
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.005)
            try:
                yield str(path)
            finally:
                store.terminate()


def outcome_of(module: Any, run: Any, path: str) -> str:
    """The repr of what a program returns, or what it raised."""
    try:
        return repr(run(module, module.connect(path), module.connect(path)))
    except Exception as error:
        return f"raised {type(error).__name__}: {str(error).strip().splitlines()[-1:]}"


def run_programs(module_name: str, names: list[str], limit_s: int) -> None:
    """Child: prints one JSON line per program. Ends the process if a program hangs."""
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(FOLDER.parent))
    programs = importlib.import_module("plasma_programs")
    module = importlib.import_module(module_name)
    for name in names:
        faulthandler.dump_traceback_later(limit_s, exit=True)
        with running_store(module_name, programs.STORE_BYTES) as path:
            outcome = outcome_of(module, programs.PROGRAMS[name].run, path)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps({"name": name, "outcome": outcome}), flush=True)


def outcomes(python: str, module: str, names: list[str], limit_s: int) -> dict[str, str]:
    """Parent: the outcome of every program; one that ends its process is named by that."""
    found: dict[str, str] = {}
    while len(found) < len(names):
        left = [name for name in names if name not in found]
        command = [python, __file__, "--child", module, "--limit", str(limit_s), *left]
        child = subprocess.run(command, capture_output=True, text=True)
        for text in child.stdout.splitlines():
            line = json.loads(text)
            found[line["name"]] = line["outcome"]
        if child.returncode:
            why = child.stderr.strip().splitlines()[-1:]
            stuck = next(name for name in left if name not in found)
            found[stuck] = f"the process ended with status {child.returncode}: {why}"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare skyray.plasma with pyarrow.plasma.")
    parser.add_argument("names", nargs="*", help="programs to run (all)")
    parser.add_argument("--against", help="the Python interpreter that has pyarrow 11")
    parser.add_argument("--python", default=sys.executable, help="the one that has skyray (this)")
    parser.add_argument("--skip-ours", action="store_true", help="only check what is told of Arrow")
    parser.add_argument("--limit", type=int, default=60, help="seconds a program may take")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_programs(arguments.child, arguments.names, arguments.limit)
        return 0
    sys.path.insert(0, str(FOLDER.parent))
    known = importlib.import_module("plasma_programs").PROGRAMS
    unknown = sorted(set(arguments.names) - set(known))
    if unknown:
        parser.error(f"no program is called {', '.join(unknown)}")
    names = arguments.names or list(known)
    sides = []
    if not arguments.skip_ours:
        sides.append(("skyray.plasma", arguments.python, "expected"))
    if arguments.against:
        sides.append(("pyarrow.plasma", arguments.against, "arrow"))
    wrong = 0
    for module, python, field in sides:
        found = outcomes(python, module, names, arguments.limit)
        for name in names:
            wanted = repr(getattr(known[name], field))
            if found[name] != wanted:
                wrong += 1
                print(f"{name}\n    {module}: {found[name]}\n    told:   {wanted}")
    differing = sum(known[name].expected != known[name].arrow for name in names)
    print(f"{len(names)} programs, {differing} differ on purpose, {wrong} outcomes are not as told")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
