# SPDX-License-Identifier: Apache-2.0
"""Runs every known program on Ray and on skyray and compares what they return.

    python tests/python/programs/compare_semantics.py --against /path/to/ray/bin/python

Each system runs in a process of its own, under its own interpreter. A program's outcome is its
value, or the class of the exception it ends with; values are compared by their repr. Without
--against, skyray's outcomes are compared with those the programs expect. The exit status is 1 if
any differs.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def run_programs(module_name: str, names: list[str], limit_s: int) -> None:
    """Child: prints one JSON line per program. Ends the process if a program hangs."""
    sys.path.insert(0, str(FOLDER.parent))
    programs = importlib.import_module("programs")
    module = importlib.import_module(module_name)
    out = sys.stdout
    sys.stdout = sys.stderr  # What workers print must not mix with the results.
    module.init(**programs.RESOURCES)
    for name, program in programs.PROGRAMS.items():
        if name not in names:
            continue
        print(json.dumps({"starts": name}), file=out, flush=True)
        faulthandler.dump_traceback_later(limit_s, exit=True)
        try:
            outcome = repr(program.run(module))
        except Exception as error:
            outcome = f"raised {type(error).__name__}: {str(error).strip().splitlines()[-1:]}"
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps({"name": name, "outcome": outcome}), file=out, flush=True)
    module.shutdown()


def all_outcomes(
    python: str, module: str, names: list[str], limit_s: int
) -> dict[str, dict[str, str]]:
    """Parent: the outcome of every program. One that ends its process is named by that, and the
    others go on in a new process."""
    found = {}
    left = names
    while left:
        more = outcomes(python, module, left, limit_s)
        found.update(more)
        left = [name for name in left if name not in found]
        if not more:
            sys.exit(f"{python} cannot start {module}")
    return found


def outcomes(python: str, module: str, names: list[str], limit_s: int) -> dict[str, dict[str, str]]:
    """Parent: the lines of one child by program; a program it died in has the outcome "ended"."""
    command = [python, __file__, "--child", module, "--limit", str(limit_s), *names]
    child = subprocess.run(command, capture_output=True, text=True)
    found: dict[str, dict[str, str]] = {}
    started = ""
    for text in child.stdout.splitlines():
        line = json.loads(text)
        started = line.get("starts", started)
        if "name" in line:
            found[line["name"]] = line
    if child.returncode:
        why = f"the process ended with status {child.returncode}"
        if started:
            found.setdefault(started, {"outcome": why})
        print(f"{module}: {why} in {started or 'init()'}\n{child.stderr[-3000:]}", file=sys.stderr)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare skyray with Ray on the known programs.")
    parser.add_argument("names", nargs="*", help="programs to run (all)")
    parser.add_argument("--against", help="the Python interpreter that has Ray")
    parser.add_argument("--python", default=sys.executable, help="the one that has skyray (this)")
    parser.add_argument("--limit", type=int, default=60, help="seconds a program may take")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_programs(arguments.child, arguments.names, arguments.limit)
        return 0

    sys.path.insert(0, str(FOLDER.parent))
    known = importlib.import_module("programs").PROGRAMS
    unknown = sorted(set(arguments.names) - set(known))
    if unknown:
        parser.error(f"no program is called {', '.join(unknown)}")
    names = [name for name in known if not arguments.names or name in arguments.names]
    ours = all_outcomes(arguments.python, "skyray", names, arguments.limit)
    theirs = {}
    if arguments.against:
        theirs = all_outcomes(arguments.against, "ray", names, arguments.limit)
    differing = 0
    for name in names:
        mine = ours.get(name, {}).get("outcome", "not run")
        expected = repr(known[name].expected)
        if arguments.against:
            expected = theirs.get(name, {}).get("outcome", "not run")
        differing += mine != expected
        print(f"{'same  ' if mine == expected else 'DIFFER'} {name}")
        if mine != expected:
            print(f"    skyray: {mine}\n    wanted: {expected}")
    print(f"{differing} of {len(names)} programs differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
