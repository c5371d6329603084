"""What a user can import is what the modules say they export."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable
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

    late = set(skyray.__all__) - set(vars(skyray))  # Imported on first use.
    public = {
        name
        for name, value in vars(skyray).items()
        if not name.startswith("_")
        and name not in {"annotations", "TYPE_CHECKING"}
        and not isinstance(value, ModuleType)
    }
    dunder = {name for name in skyray.__all__ if name.startswith("__")}
    modules = {name for name in skyray.__all__ if isinstance(getattr(skyray, name), ModuleType)}
    assert set(skyray.__all__) - dunder - modules - late == public


def stub_classes(tree: ast.Module) -> dict[str, set[str]]:
    """Each class of the stub that is there at run time, and the names it has."""
    members: dict[str, set[str]] = {}
    checker_only: set[str] = set()
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        own = {item.name for item in node.body if isinstance(item, ast.FunctionDef)} | {
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        members[node.name] = own.union(*(members.get(base, set()) for base in bases))
        decorators = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
        if "TypedDict" in bases or "type_check_only" in decorators:
            checker_only.add(node.name)
    return {name: own for name, own in members.items() if name not in checker_only}


def public(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_stub_names_what_the_extension_has() -> None:
    core = importlib.import_module("skyray._core")
    tree = ast.parse((PYTHON / "skyray" / "_core.pyi").read_text())
    classes = stub_classes(tree)
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert public(vars(core)) == public(functions | classes.keys())
    for name, members in classes.items():
        runtime = getattr(core, name)
        missing = {member for member in members if not hasattr(runtime, member)}
        # The buffer protocol got its name with Python 3.12.
        if "__buffer__" in missing:
            missing.remove("__buffer__")
        assert not missing, f"the stub's {name} has what the extension's has not"
        extra = public(vars(runtime)) - members
        assert not extra, f"the extension's {name} has what the stub does not tell"
