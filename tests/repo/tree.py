"""The repository's own files, for the tests about the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
CPP = ROOT / "cpp" / "src"
PYTHON = ROOT / "python"
# Made by builds inside the tree; ours are the others.
GENERATED = {"__pycache__", "_protos", "bin", "node_modules"}


def files(folder: Path, *suffixes: str) -> list[Path]:
    """The files under ``folder`` that end in one of ``suffixes``, in order."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in suffixes
        and path.is_file()
        and not GENERATED & set(path.relative_to(folder).parts[:-1])
    )


def name(path: Path) -> str:
    """How a test report calls a file."""
    return str(path.relative_to(ROOT))
