# SPDX-License-Identifier: Apache-2.0
"""The ``skyray`` command."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ._version import __version__

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; its exit code.

    Args:
        arguments: of the command line. None: this process's.
    """
    parser = argparse.ArgumentParser(prog="skyray", description="Clusters of this machine.")
    parser.add_argument("--version", action="version", version=f"skyray, version {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="what the nodes of a running cluster have and use")
    status.add_argument(
        "--address", default="auto", help="session directory (default: the only one)"
    )
    program = commands.add_parser("run", help="run a program in which `import ray` means skyray")
    program.add_argument("-m", dest="is_module", action="store_true", help="PROGRAM is a module")
    program.add_argument("program", metavar="PROGRAM", help="a file, or the name of a module")
    program.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER, help="its own")
    timeline = commands.add_parser(
        "timeline", help="write what a running cluster has run, for chrome://tracing"
    )
    timeline.add_argument(
        "--address", default="auto", help="session directory (default: the only one)"
    )
    bench = commands.add_parser("bench", help="measure skyray, and Ray beside it")
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["bench"]:  # Its modules are wanted for nothing else.
        from ._bench import command

        command.add_arguments(bench)
    chosen = parser.parse_args(arguments)
    if chosen.command == "bench":
        return command.run(chosen)
    if chosen.command == "run":
        return _run(chosen.program, chosen.arguments, chosen.is_module)
    if chosen.command == "timeline":
        return _timeline(chosen.address)
    return _status(chosen.address)


def _run(program: str, arguments: list[str], is_module: bool) -> int:
    import os
    import runpy

    from . import import_alias

    import_alias.install()
    # As `python PROGRAM` and `python -m PROGRAM` have them.
    sys.argv[:] = [program, *arguments]
    sys.path.insert(0, os.getcwd() if is_module else os.path.dirname(os.path.abspath(program)))
    if is_module:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    elif os.path.exists(program):
        runpy.run_path(program, run_name="__main__")
    else:
        print(f"skyray run: there is no file {program!r}", file=sys.stderr)
        return 2
    return 0


def _status(address: str) -> int:
    from . import api

    try:
        context = api.init(address=address, log_to_driver=False)
    except ConnectionError as error:
        print(f"skyray status: {error}", file=sys.stderr)
        return 1
    try:
        print(f"session  {context['session_dir']}")
        for node in api.nodes():
            print(_line(node))
        total, available = api.cluster_resources(), api.available_resources()
        for name in sorted(total):
            used = total[name] - available.get(name, 0.0)
            print(f"  {_amount(name, used)} / {_amount(name, total[name])}  {name}")
    finally:
        api.shutdown()
    return 0


def _timeline(address: str) -> int:
    import os
    from datetime import datetime

    from . import api
    from .runtime_context import get_runtime_context

    try:
        api.init(address=address, log_to_driver=False)
    except ConnectionError as error:
        print(f"skyray timeline: {error}", file=sys.stderr)
        return 1
    try:
        now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        folder = get_runtime_context().get_temp_dir()
        path = os.path.join(folder, f"skyray-timeline-{now}.json")
        api.timeline(filename=path)
        print(f"Trace file written to {path}")
        print("You can open this with chrome://tracing in the Chrome browser.")
    finally:
        api.shutdown()
    return 0


def _line(node: dict[str, Any]) -> str:
    state = "alive" if node["Alive"] else f"dead: {node['DeathReasonMessage']}"
    return f"node     {node['NodeID'][:16]}  {node['NodeManagerAddress']}  {state}"


def _amount(name: str, amount: float) -> str:
    if name.endswith("memory"):
        return f"{amount / (1 << 30):.2f} GiB"
    return f"{amount:g}"


if __name__ == "__main__":
    sys.exit(main())
