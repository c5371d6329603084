"""A peer of the last release is still understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wire

MESSAGES = [
    pytest.param(schema, path, id=f"{schema.stem}-{path.stem}")
    for schema in wire.schemas()
    for path in wire.golden(schema)
]
HINT = (
    "append fields and union members at the end, never remove, move or retype one "
    "(see tests/golden/wire.py)"
)


@pytest.mark.parametrize("schema", wire.schemas(), ids=lambda path: path.stem)
def test_schema_conforms_to_the_released_one(schema: Path) -> None:
    assert not wire.conforms(schema), HINT


@pytest.mark.parametrize(("schema", "path"), MESSAGES)
def test_golden_message_still_says_the_same(schema: Path, path: Path) -> None:
    assert wire.decode(schema, path.read_bytes()) == json.loads(
        path.with_suffix(".json").read_text()
    ), HINT


@pytest.mark.parametrize("schema", wire.schemas(), ids=lambda path: path.stem)
def test_every_message_has_a_golden_copy(schema: Path) -> None:
    if not (wire.SCHEMAS / schema.name).exists():
        pytest.skip(f"{schema.name} was never released")
    frozen = {path.stem for path in wire.golden(schema)}
    missing = set(wire.Schema(schema).messages()) - frozen
    assert not missing, "python tests/golden/wire.py --add"


def test_a_changed_field_is_noticed(tmp_path: Path) -> None:
    old = tmp_path / "old.fbs"
    new = tmp_path / "new.fbs"
    old.write_text("table T { a: int; b: string; } root_type T;")
    new.write_text("table T { b: string; a: int; } root_type T;")
    assert wire.flatc("--conform", old, new).returncode != 0
