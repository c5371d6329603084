"""What a user can import is what the modules say they export."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tree import PYTHON, files


def module_name(path: Path) -> str:
    parts = path.relative_to(PYTHON).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PUBLIC = sorted(
    dotted
    for dotted in map(module_name, files(PYTHON, ".py"))
    if not any(part.startswith("_") for part in dotted.split("."))
)


def test_there_is_a_package() -> None:
    assert "skyray" in PUBLIC


@pytest.mark.parametrize("dotted", PUBLIC)
def test_public_module_exports_what_it_says(dotted: str) -> None:
    module = importlib.import_module(dotted)
    exported = getattr(module, "__all__", None)
    assert exported is not None, f"{dotted} has no __all__"
    assert len(exported) == len(set(exported)), "a name is listed twice"
    missing = [name for name in exported if not hasattr(module, name)]
    assert not missing, f"{dotted}.__all__ names what is not there"


def test_skyray_exports_nothing_more() -> None:
    import skyray

    public = {
        name
        for name, value in vars(skyray).items()
        if not name.startswith("_")
        and name not in {"annotations", "TYPE_CHECKING"}
        and not isinstance(value, ModuleType)
    }
    dunder = {name for name in skyray.__all__ if name.startswith("__")}
    modules = {name for name in skyray.__all__ if isinstance(getattr(skyray, name), ModuleType)}
    assert set(skyray.__all__) - dunder - modules == public


def test_stub_describes_the_extension() -> None:
    """``_core.pyi`` has the names and the argument lists that ``_core`` has."""
    importlib.import_module("skyray._core")
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed: pip install mypy")
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "skyray._core", "--ignore-missing-stub"]
        + ["--ignore-positional-only"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PYTHON.parent,
    )
    assert result.returncode == 0, result.stdout + result.stderr
