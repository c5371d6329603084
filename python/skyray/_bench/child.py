# SPDX-License-Identifier: Apache-2.0
"""Runs one case on one system in this process: python child.py [--quick] MODULE CASE.

The last line of standard output is what came of it, as JSON: {"metrics": ...} or {"skipped": why},
and the system's version. Everything else goes to standard error.

This file is run by interpreters that have no skyray, and by one that is not to have imported it
yet (its import is one of the cases): so it loads its own folder as a package, by another name.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
from typing import Any

PACKAGE = "_skyray_bench"


def load_part(name: str) -> Any:
    """A module of this folder, by its name in it."""
    folder = os.path.dirname(os.path.abspath(__file__))
    if PACKAGE not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            PACKAGE, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = package
        spec.loader.exec_module(package)
        # Names like "report" are not to be importable from here, nor by workers.
        sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != folder]
    return importlib.import_module(f"{PACKAGE}.{name}")


def run_case(name: str, module_name: str, quick: bool) -> dict[str, Any]:
    cases = load_part("cases")
    if quick:
        load_part("measure").hurry()
    try:
        metrics = cases.load()[name].run(cases.Bench(module_name, quick))
    except cases.Skipped as skipped:
        return {"skipped": str(skipped)}
    return {"metrics": metrics}


def main() -> None:
    parser = argparse.ArgumentParser(description="One case, or a look through the microscope.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--microscope", metavar="OPERATION", help="instead of a case; all: each")
    parser.add_argument("--syscalls", action="store_true")
    parser.add_argument("module")
    parser.add_argument("case", nargs="?")
    chosen = parser.parse_args()
    if chosen.microscope:
        try:
            load_part("microscope").look(chosen.module, chosen.microscope, chosen.syscalls)
        except ValueError as error:
            sys.exit(f"skyray bench: {error}")
        return
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What the system or its workers print is not the result.
    result = run_case(chosen.case, chosen.module, chosen.quick)
    module = sys.modules.get(chosen.module)
    version = getattr(module, "__version__", "")
    print(json.dumps({**result, "version": version}), file=out, flush=True)


if __name__ == "__main__":
    main()
