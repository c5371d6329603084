"""The shape of the tree, as a test: who may include whom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "cpp" / "src"

# area -> the areas it may include. Read top to bottom, it is the architecture.
LAYERS: dict[str, set[str]] = {
    "common": set(),
    "ipc": {"common"},
    "rpc": {"common"},
    "scheduling": {"common"},
    "plasma": {"common", "ipc"},
    "object_manager": {"common", "ipc", "plasma"},
    "gcs": {"common", "rpc", "scheduling"},
    "raylet": {"common", "ipc", "rpc", "scheduling", "plasma", "object_manager"},
    "core_worker": {"common", "ipc", "plasma"},
    "bindings": {"common", "ipc", "plasma", "core_worker"},
}

# What comes from outside, and the areas it must not leave.
OUTSIDE: dict[str, set[str]] = {
    r"<pybind11/|<Python\.h>": {"bindings"},
    r"<grpc|<google/protobuf/|\"(protos/)?\w+\.(grpc\.)?pb\.h\"": {"rpc", "gcs", "raylet"},
    r"<sqlite3\.h>": {"gcs"},
    r"<openssl/": {"object_manager", "common"},
    r"<gtest/|<gmock/": set(),
}

INCLUDE = re.compile(r'^\s*#include "(\w+)/', re.MULTILINE)
AREA = re.compile(r"^skyray_area\((\w+) LINKS ([\w ]+)\)", re.MULTILINE)
FILES = sorted(p for p in SRC.rglob("*") if p.suffix in {".h", ".cc"})
by_file = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))


@by_file
def test_file_keeps_to_its_layer(path: Path) -> None:
    area = path.relative_to(SRC).parts[0]
    included = set(INCLUDE.findall(path.read_text())) & LAYERS.keys()
    assert included <= LAYERS[area] | {area}


@by_file
def test_outside_headers_stay_in_their_areas(path: Path) -> None:
    area = path.relative_to(SRC).parts[0]
    includes = re.findall(r'^\s*#include (["<].*[">])', path.read_text(), re.MULTILINE)
    for pattern, areas in OUTSIDE.items():
        found = [include for include in includes if re.match(pattern, include)]
        assert not found or area in areas, f"{found} belongs into {areas or 'tests only'}"


def test_layers_are_in_dependency_order() -> None:
    seen: set[str] = set()
    for area, allowed in LAYERS.items():
        assert allowed <= seen, f"{area} looks upward"
        seen.add(area)


def test_cmake_links_along_the_layers() -> None:
    text = (ROOT / "cpp" / "CMakeLists.txt").read_text()
    links = {area: set(targets.split()) for area, targets in AREA.findall(text)}
    closure: dict[str, set[str]] = {}
    for area, targets in links.items():  # In dependency order, as CMake reads it.
        direct = {t.removeprefix("skyray_") for t in targets} & LAYERS.keys()
        closure[area] = direct.union(*(closure[lower] for lower in direct))
    assert closure == {area: lower for area, lower in LAYERS.items() if area != "bindings"}


def test_every_area_is_in_the_table() -> None:
    assert {p.relative_to(SRC).parts[0] for p in FILES} <= LAYERS.keys()
