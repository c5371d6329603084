# SPDX-License-Identifier: Apache-2.0
"""The benchmark: skyray, and another system beside it.

    skyray bench --against ray
    skyray bench --against /path/to/ray/bin/python --cases actor_sync,put_small --repeat 5
    skyray bench --cases plasma --against-arrow /path/to/arrow-11/bin/python

Every case runs in a fresh process; the two systems take turns, so both see the same machine; the
table shows medians over the repetitions, their ratio, and whether what is claimed holds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import sysconfig
import uuid
from pathlib import Path
from typing import Any

from . import cases, process_tree
from .plot import plot
from .report import OURS, Report, filled

__all__ = ["add_arguments", "run"]

FOLDER = Path(__file__).resolve().parent
ARROW = "pyarrow.plasma"
BUSY_LOAD = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describes the command to the parser of ``skyray``."""
    parser.description = (__doc__ or "").split("\n")[0]
    parser.epilog = (__doc__ or "").split("\n\n", 1)[1]
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--against", metavar="ray|PYTHON", help="measure Ray too: this interpreter's, or that one's"
    )
    parser.add_argument("--against-module", default="ray", help="another's module (%(default)s)")
    parser.add_argument(
        "--against-arrow", metavar="PYTHON", help="one that has pyarrow 11, for the plasma cases"
    )
    parser.add_argument("--python", default=sys.executable, help="the one that has skyray (this)")
    parser.add_argument("--cases", metavar="NAME,...", help="names or groups (all; see --list)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions (%(default)s)")
    parser.add_argument("--limit", type=float, default=300, help="seconds a case may take")
    parser.add_argument("--quick", action="store_true", help="only see that the cases work")
    parser.add_argument("--skip-ours", action="store_true", help="measure only the other system")
    parser.add_argument("--json", metavar="FILE", help="write all samples here")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the ratios")
    parser.add_argument("--fill", metavar="FILE.md", help="put the table between its bench marks")
    parser.add_argument(
        "--from", metavar="FILE", dest="source", help="measure nothing: take an earlier --json"
    )
    parser.add_argument("--list", action="store_true", help="print the cases and their claims")
    parser.add_argument(
        "--microscope",
        metavar="OPERATION",
        nargs="?",
        const="all",
        help="instead of the cases: where the time of one operation goes, process by process",
    )
    parser.add_argument("--syscalls", action="store_true", help="there, count system calls too")


def run(chosen: argparse.Namespace) -> int:
    """Runs the command; its exit code: 1 if a case failed, 2 for bad usage."""
    try:
        names = chosen_cases(chosen.cases)
        systems = chosen_systems(chosen)
        if chosen.repeat < 1:
            raise ValueError(f"--repeat must be at least 1, not {chosen.repeat}")
        if chosen.list:
            for name in names:
                print(f"{name} ({cases.CASES[name].group}): {cases.CASES[name].description}")
            return 0
        if chosen.microscope:
            return microscope(systems, chosen)
        if chosen.source:
            report = Report.from_json(json.loads(Path(chosen.source).read_text())).only(names)
        else:
            report = measured(names, systems, chosen)
        write(report, chosen)
    except (OSError, ValueError) as error:
        print(f"skyray bench: {error}", file=sys.stderr)
        return 2
    return 1 if report.errors else 0


def chosen_cases(wanted: str | None) -> list[str]:
    known = cases.load()
    groups = {case.group for case in known.values()}
    names = set(wanted.split(",")) if wanted else groups
    unknown = sorted(names - known.keys() - groups)
    if unknown:
        raise ValueError(f"no case or group is called {', '.join(unknown)}; --list shows them all")
    return [name for name, case in known.items() if name in names or case.group in names]


def chosen_systems(chosen: argparse.Namespace) -> dict[str, tuple[str, str]]:
    """System -> (interpreter, module); ours first."""
    systems = {} if chosen.skip_ours else {OURS: (chosen.python, OURS)}
    if chosen.against_arrow:
        systems[ARROW] = (chosen.against_arrow, ARROW)
    if chosen.against:
        module = chosen.against_module
        python = chosen.against
        if python == "ray":
            if importlib.util.find_spec(module) is None:
                raise ValueError(
                    f"this Python has no {module}. It may be in an environment of its own: "
                    f"python3 -m venv env && env/bin/pip install {module} numpy, then --against "
                    "env/bin/python"
                )
            python = sys.executable
        systems[module] = (python, module)
    return systems


def environment_of(python: str, module: str, mark: str) -> dict[str, str]:
    environment = {**os.environ, process_tree.MARK: mark}
    package = str(FOLDER.parents[1])
    installed = package in sysconfig.get_paths().values()
    if module == OURS and python == sys.executable and not installed:
        # Used from a source tree: the child is to find the same one.
        path = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = package + (os.pathsep + path if path else "")
    return environment


def run_child(
    system: str, python: str, module: str, case: str, chosen: argparse.Namespace
) -> dict[str, Any]:
    """One case in a fresh process: what child.py prints, or {"error": what went wrong}."""
    mark = uuid.uuid4().hex
    quick = ["--quick"] if chosen.quick else []
    child = subprocess.Popen(
        [python, str(FOLDER / "child.py"), *quick, module, case],
        env=environment_of(python, module, mark),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    error = ""
    try:
        out, err = child.communicate(timeout=chosen.limit)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as stopped:
        child.kill()
        process_tree.end_leftovers(mark, grace_s=0)  # They hold the pipes open.
        out, err = child.communicate()
        if isinstance(stopped, KeyboardInterrupt):
            raise
        error = f"not done after {chosen.limit:g} s"
    left = process_tree.end_leftovers(mark)
    if left:
        print(f"    {system} left {left} processes behind in {case}", file=sys.stderr)
    if child.returncode and not error:
        error = f"ended with status {child.returncode}"
    if error:
        return {"error": f"{error}: {' '.join(err.strip().splitlines()[-1:])}"}
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def measured(
    names: list[str], systems: dict[str, tuple[str, str]], chosen: argparse.Namespace
) -> Report:
    report = Report(list(systems), machine(chosen))
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        print(f"This machine is not quiet (load {load:.1f}): read ratios only.", file=sys.stderr)
    try:
        for repetition in range(chosen.repeat):
            for case in names:
                measure_case(case, repetition, systems, report, chosen)
    except KeyboardInterrupt:
        report.machine += ", where it was not interrupted"
    return report


def measure_case(
    case: str,
    repetition: int,
    systems: dict[str, tuple[str, str]],
    report: Report,
    chosen: argparse.Namespace,
) -> None:
    """One repetition of it, of each system in its turn."""
    order = list(systems.items())
    for system, (python, module) in order if repetition % 2 == 0 else reversed(order):
        if (case, system) in report.errors or (case, system) in report.skipped:
            continue  # It would only take its time once more.
        if system == ARROW and cases.CASES[case].group != "plasma":
            continue
        result = run_child(system, python, module, case, chosen)
        note(report, case, system, result)
        print(f"{repetition + 1} {case:28} {system:7} {brief(result)}", file=sys.stderr)


def note(report: Report, case: str, system: str, result: dict[str, Any]) -> None:
    if "error" in result:
        report.errors[case, system] = result["error"]
    elif "skipped" in result:
        report.skipped[case, system] = result["skipped"]
    else:
        report.add(case, system, result["metrics"])
    if result.get("version"):
        report.versions[system] = result["version"]


def brief(result: dict[str, Any]) -> str:
    if "metrics" not in result:
        return str(result.get("error") or f"skipped: {result['skipped']}")
    return ", ".join(f"{m} {v:.4g} {unit}".strip() for m, (v, unit) in result["metrics"].items())


def machine(chosen: argparse.Namespace) -> str:
    model = "unknown processor"
    for line in process_tree.read_text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    how = "quick, so nothing is measured well" if chosen.quick else f"medians of {chosen.repeat}"
    return (
        f"{os.cpu_count()} CPUs ({model}), {memory_gb:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}; {how}"
    )


def write(report: Report, chosen: argparse.Namespace) -> None:
    """Prints the table, and writes the files that were asked for.

    Raises:
        OSError, ValueError: a file cannot be written, or not be filled.
    """
    print(report.as_text())
    if chosen.json:
        text = json.dumps(report.as_json(), indent=1, ensure_ascii=False)
        Path(chosen.json).write_text(text + "\n", encoding="utf-8")
    if chosen.fill:
        document = Path(chosen.fill)
        text = filled(document.read_text(encoding="utf-8"), report.as_text())
        document.write_text(text, encoding="utf-8")
    if chosen.plot:
        Path(chosen.plot).write_text(plot(report), encoding="utf-8")


def microscope(systems: dict[str, tuple[str, str]], chosen: argparse.Namespace) -> int:
    """Looks at each system in turn; 1 if one could not be looked at."""
    status = 0
    for system, (python, module) in systems.items():
        command = [python, str(FOLDER / "child.py"), "--microscope", chosen.microscope, module]
        command += ["--syscalls"] if chosen.syscalls else []
        print(f"{system}:", flush=True)
        environment = environment_of(python, module, uuid.uuid4().hex)
        status |= subprocess.run(command, env=environment, check=False).returncode != 0
    return int(status)
