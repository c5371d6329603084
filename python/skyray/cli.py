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
    bench = commands.add_parser("bench", help="measure skyray, and Ray beside it")
    given = sys.argv[1:] if arguments is None else arguments
    if "bench" in given:  # Its modules are wanted for nothing else.
        from ._bench import command

        command.add_arguments(bench)
    chosen = parser.parse_args(arguments)
    if chosen.command == "bench":
        return command.run(chosen)
    return _status(chosen.address)


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


def _line(node: dict[str, Any]) -> str:
    state = "alive" if node["Alive"] else f"dead: {node['DeathReasonMessage']}"
    return f"node     {node['NodeID'][:16]}  {node['NodeManagerAddress']}  {state}"


def _amount(name: str, amount: float) -> str:
    if name.endswith("memory"):
        return f"{amount / (1 << 30):.2f} GiB"
    return f"{amount:g}"


if __name__ == "__main__":
    sys.exit(main())
