# SPDX-License-Identifier: Apache-2.0
"""The ``plasma`` command: what is in a store."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from . import plasma
from ._version import __version__

__all__ = ["main"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SORTED_BY = {"size": ("data_size", True), "age": ("age_s", True)}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; its exit code: 1 if the store cannot be asked, 2 for bad usage.

    Args:
        arguments: of the command line. None: this process's.
    """
    chosen = _parser().parse_args(arguments)
    try:
        client = plasma.connect(chosen.socket, num_retries=0)
        lines = _COMMANDS[chosen.command](client, chosen)
    except plasma.PlasmaError as error:
        print(f"plasma: {error}{_advice(chosen.socket)}", file=sys.stderr)
        return 1
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough. At exit Python would try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plasma", description="Shows what is in a plasma store, a lone one or a node's."
    )
    parser.add_argument("--version", action="version", version=f"plasma (skyray) {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the objects, one per line")
    listing.add_argument("--sort", choices=_SORTED_BY, default="age", help="largest first (age)")
    listing.add_argument("--limit", type=_count, metavar="N", help="only the first N")
    stats = commands.add_parser("stats", help="memory, objects, queues and totals")
    for command in (listing, stats):
        command.add_argument(
            "-s", "--socket", required=True, help="where the store listens (plasma_store -s)"
        )
        command.add_argument("--json", action="store_true", help="for programs")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _advice(path: str) -> str:
    if os.path.exists(path):
        return ""
    return f". Nothing is at {path}: start one with plasma_store -m 1G -s {path}"


def _list(client: plasma.PlasmaClient, chosen: argparse.Namespace) -> list[str]:
    names = ("state", "source", "primary", "stored", "owner")
    objects = []
    for entry in client.list_objects():
        object_id, data, metadata, age_ms, construct_ms, references = entry[:6]
        about = dict(
            zip(names, (entry[6].lower(), entry[7].lower(), *entry[8:10], entry[10].hex()))
        )
        objects.append(
            {
                "object_id": object_id.hex(),
                "data_size": data,
                "metadata_size": metadata,
                "ref_count": references,
                "age_s": age_ms / 1000,
                "construct_duration_s": construct_ms / 1000,
                **about,
            }
        )
    key, largest_first = _SORTED_BY[chosen.sort]
    objects.sort(key=lambda entry: (entry[key], entry["object_id"]), reverse=largest_first)
    shown = objects[: chosen.limit]
    if chosen.json:
        return [json.dumps({"objects": shown, "total": len(objects)}, indent=2)]
    return _table(shown) + _summary(shown, objects)


def _table(objects: list[dict[str, Any]]) -> list[str]:
    if not objects:
        return []
    rows = [("OBJECT ID", "SIZE", "META", "REFS", "AGE", "STATE", "SOURCE", "KEPT")]
    for entry in objects:
        marks = [
            mark for mark, name in (("primary", "primary"), ("on disk", "stored")) if entry[name]
        ]
        rows.append(
            (
                entry["object_id"],
                _size(entry["data_size"]),
                _size(entry["metadata_size"]),
                str(entry["ref_count"]),
                _duration(entry["age_s"]),
                entry["state"],
                entry["source"],
                ", ".join(marks),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    # Figures to the right.
    return [
        "  ".join(
            cell.rjust(width) if 1 <= i <= 4 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def _summary(shown: list[dict[str, Any]], objects: list[dict[str, Any]]) -> list[str]:
    total = sum(entry["data_size"] + entry["metadata_size"] for entry in objects)
    text = f"{len(objects)} objects, {_size(total)}"
    if len(shown) < len(objects):
        text += f"; {len(shown)} shown"
    return [text]


def _stats(client: plasma.PlasmaClient, chosen: argparse.Namespace) -> list[str]:
    figures = client.stats()
    if chosen.json:
        counts = {
            name: {"objects": value[0], "bytes": value[1]} if isinstance(value, tuple) else value
            for name, value in figures.items()
        }
        return [json.dumps(counts, indent=2)]
    width = max(len(_words(name)) for name in figures)
    lines = []
    for name, value in figures.items():
        if isinstance(value, tuple):
            shown = f"{value[0]} objects, {_size(value[1])}"
        else:
            shown = _size(value) if "bytes" in name else str(value)
        lines.append(f"{_words(name).ljust(width)}  {shown}")
    return lines


_COMMANDS = {"list": _list, "stats": _stats}


def _words(name: str) -> str:
    """``created_bytes_total`` is shown as "created bytes, total"."""
    if name.endswith("_total"):
        return name[: -len("_total")].replace("_", " ") + ", total"
    return name.removesuffix("_bytes").replace("_", " ")


def _size(amount: float) -> str:
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


if __name__ == "__main__":
    sys.exit(main())
