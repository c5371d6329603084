"""Every file is reachable: a header is included, a module imported, a schema used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tree import CPP, PYTHON, ROOT, files, name

CPP_TEXT = "\n".join(
    path.read_text()
    for path in files(CPP, ".h", ".cc") + files(ROOT / "tests" / "cpp", ".h", ".cc")
)
INCLUDED = set(re.findall(r'^\s*#include "([\w./]+)"', CPP_TEXT, re.MULTILINE))

# A module is used if code imports it, or names it to start a process with it.
PY_TEXT = {
    path: path.read_text()
    for folder in ("python", "tests", "examples")
    for path in files(ROOT / folder, ".py", ".pyi")
}
ENTRY_POINTS = {"skyray", "skyray.__main__", "skyray.cli", "skyray.plasma_cli"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PYTHON).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", files(CPP, ".h"), ids=name)
def test_header_is_included_somewhere(path: Path) -> None:
    assert str(path.relative_to(CPP)) in INCLUDED


@pytest.mark.parametrize("path", files(ROOT / "fbs", ".fbs"), ids=name)
def test_schema_is_used(path: Path) -> None:
    assert f"fbs/{path.stem}_generated.h" in INCLUDED


@pytest.mark.parametrize("path", files(ROOT / "protos", ".proto"), ids=name)
def test_proto_is_used(path: Path) -> None:
    assert re.search(rf"\b{path.stem}(\.grpc)?\.pb\.h", CPP_TEXT)


@pytest.mark.parametrize("path", files(PYTHON, ".py"), ids=name)
def test_module_is_used(path: Path) -> None:
    dotted = module_name(path)
    if dotted in ENTRY_POINTS:
        return
    package, _, last = dotted.rpartition(".")
    use = re.compile(
        rf"\b{re.escape(dotted)}\b"  # import a.b, from a.b import, "-m a.b"
        rf"|from (\.+|\.*[\w.]*\.?{re.escape(package.rpartition('.')[2])}) import [^#\n]*\b{last}\b"
        rf"|from \.+(\w+\.)*{last} import"
        rf"|from \.+(\w+)? import \([^)]*\b{last}\b"
    )
    users = [other for other, text in PY_TEXT.items() if other != path and use.search(text)]
    assert users or re.search(rf'"{re.escape(dotted)}"', CPP_TEXT), f"nobody imports {dotted}"


@pytest.mark.parametrize("path", files(ROOT / "tests" / "cpp", ".cc"), ids=name)
def test_cpp_test_has_a_name_that_is_built(path: Path) -> None:
    assert path.stem.endswith("_test"), "tests/cpp/<area>/<file>_test.cc is what CMake looks for"
