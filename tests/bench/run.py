# SPDX-License-Identifier: Apache-2.0
"""The benchmark: skyray, and another system beside it if its interpreter is named.

    python tests/bench/run.py --against /path/to/ray/bin/python
    python tests/bench/run.py --cases actor_sync,put_small --repeat 5 --json out.json
    python tests/bench/run.py --cases plasma --against-arrow /path/to/arrow-11/bin/python

Every case runs in a fresh process; the two systems take turns, so both see the same machine; the
table shows medians over the repetitions. `--list` prints each case and what it claims.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import uuid
from pathlib import Path

import cases
import process_tree
from report import OURS, Report

FOLDER = Path(__file__).resolve().parent
ARROW = "pyarrow.plasma"


def run_child(
    python: str, module: str, case: str, limit_s: float
) -> tuple[dict[str, tuple[float, str]], str]:
    """One case in a fresh process: (metrics, "") or ({}, what went wrong)."""
    mark = uuid.uuid4().hex
    environment = {**os.environ, process_tree.MARK: mark}
    command = [python, str(FOLDER / "child.py"), module, case]
    child = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    error = ""
    try:
        out, err = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        child.kill()
        process_tree.end_leftovers(mark, grace_s=0)  # They hold the pipes open.
        out, err = child.communicate()
        error = f"not done after {limit_s:g} s"
    left = process_tree.end_leftovers(mark)
    if left:
        print(f"    {module} left {left} processes behind in {case}", file=sys.stderr)
    if child.returncode and not error:
        error = f"ended with status {child.returncode}"
    if error:
        return {}, f"{error}: {' '.join(err.strip().splitlines()[-1:])}"
    metrics = {name: (value, unit) for name, (value, unit) in json.loads(out).items()}
    return metrics, ""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--against", metavar="PYTHON", help="an interpreter that has the other")
    parser.add_argument("--against-module", default="ray", help="its module (%(default)s)")
    parser.add_argument(
        "--against-arrow", metavar="PYTHON", help="one that has pyarrow 11, for the plasma cases"
    )
    parser.add_argument("--python", default=sys.executable, help="the one that has skyray (this)")
    parser.add_argument("--module", default=OURS, help="the module measured as ours (%(default)s)")
    parser.add_argument("--cases", help="names or groups, separated by commas (all)")
    parser.add_argument("--skip-ours", action="store_true", help="measure only the other system")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions (%(default)s)")
    parser.add_argument("--limit", type=float, default=120, help="seconds a case may take")
    parser.add_argument("--json", metavar="FILE", help="write all samples here")
    parser.add_argument("--list", action="store_true", help="print the cases and their claims")
    arguments = parser.parse_args()
    known = cases.load()
    wanted = arguments.cases.split(",") if arguments.cases else list(cases.GROUPS)
    unknown = sorted(set(wanted) - set(known) - set(cases.GROUPS))
    if unknown:
        parser.error(f"no case or group is called {', '.join(unknown)}; --list shows them all")
    arguments.cases = [n for n, case in known.items() if n in wanted or case.group in wanted]
    if arguments.repeat < 1:
        parser.error(f"--repeat must be at least 1, not {arguments.repeat}")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    if arguments.list:
        for name in arguments.cases:
            print(f"{name}: {cases.CASES[name].description}")
        return 0
    systems = {} if arguments.skip_ours else {OURS: (arguments.python, arguments.module)}
    if arguments.against_arrow:
        systems[ARROW] = (arguments.against_arrow, ARROW)
    if arguments.against:
        systems[arguments.against_module] = (arguments.against, arguments.against_module)
    report = Report(list(systems))
    for repetition in range(arguments.repeat):
        for case in arguments.cases:
            order = list(systems.items())
            for system, (python, module) in order if repetition % 2 == 0 else reversed(order):
                if (case, system) in report.errors:
                    continue  # It would only fail, and take its time, once more.
                if system == ARROW and cases.CASES[case].group != "plasma":
                    continue
                metrics, error = run_child(python, module, case, arguments.limit)
                report.add(case, system, metrics)
                shown = error or ", ".join(f"{m} {v:.4g} {u}" for m, (v, u) in metrics.items())
                print(f"{repetition + 1} {case:26} {system:7} {shown}", file=sys.stderr, flush=True)
                if error:
                    report.errors[case, system] = error
    machine = f"{os.cpu_count()} CPUs, {platform.platform()}, Python {platform.python_version()}"
    print(f"{machine}; medians of {arguments.repeat}\n\n{report.table()}")
    if arguments.json:
        text = json.dumps({"machine": machine, **report.as_json()}, indent=2)
        Path(arguments.json).write_text(text + "\n")
    return 1 if report.errors else 0


if __name__ == "__main__":
    sys.exit(main())
