# SPDX-License-Identifier: Apache-2.0
"""The ``plasma`` command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyray import plasma, plasma_cli


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with plasma.start_plasma_store(64 << 20) as (path, _):
        yield path


@pytest.fixture(scope="module")
def filled(store: str) -> Iterator[str]:
    """A store with objects of 2000, 3000 (in use) and 1000 bytes, of that age."""
    client = plasma.connect(store)
    ids = [plasma.ObjectID(name * 20) for name in (b"a", b"b", b"c")]
    for object_id, size in zip(ids, (2000, 3000, 1000)):
        client.create_and_seal(object_id, bytes(size), b"m" * 10)
    [buffer] = client.get_buffers([ids[1]])
    yield store
    del buffer


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert plasma_cli.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_objects_are_listed(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows, summary = shown(capsys, "list", "-s", filled, "--sort", "size").splitlines()
    assert head.split() == [
        "OBJECT",
        "ID",
        "SIZE",
        "META",
        "REFS",
        "AGE",
        "STATE",
        "SOURCE",
        "KEPT",
    ]
    assert [row.split()[0] for row in rows] == ["62" * 20, "61" * 20, "63" * 20]
    assert rows[0].split()[1:7] == ["2.9", "KiB", "10", "B", "1", "0.0"] or " 1  " in rows[0]
    assert summary == "3 objects, 5.9 KiB"


def test_the_list_can_be_cut(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "list", "-s", filled, "--sort", "size", "--limit", "1").splitlines()
    assert len(lines) == 3
    assert lines[-1] == "3 objects, 5.9 KiB; 1 shown"


def test_the_list_for_programs(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(
        shown(capsys, "list", "-s", filled, "--json", "--limit", "2", "--sort", "size")
    )
    assert told["total"] == 3
    first = told["objects"][0]
    assert set(first) == {
        "object_id", "data_size", "metadata_size", "ref_count", "age_s", "construct_duration_s",
        "state", "source", "primary", "stored", "owner",
    }  # fmt: skip
    assert [o["data_size"] for o in told["objects"]] == [3000, 2000]
    assert (first["ref_count"], first["metadata_size"], first["state"]) == (1, 10, "sealed")


def test_the_figures(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "stats", "-s", filled).splitlines()
    figures = dict(line.split("  ", 1) for line in lines)
    assert figures["capacity"].strip() == "64.0 MiB"
    assert figures["in use"].strip().startswith("1 objects")
    told = json.loads(shown(capsys, "stats", "-s", filled, "--json"))
    assert told["capacity_bytes"] == 64 << 20
    assert told["all"]["objects"] == 3
    assert told["in_use"] == {"objects": 1, "bytes": told["in_use"]["bytes"]}


def test_an_empty_store(capsys: pytest.CaptureFixture[str]) -> None:
    with plasma.start_plasma_store(1 << 24) as (path, _):
        assert shown(capsys, "list", "-s", path) == "0 objects, 0 B\n"


def test_no_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "none.sock")
    assert plasma_cli.main(["stats", "-s", path]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert f"start one with plasma_store -m 1G -s {path}" in told.err


def test_a_store_that_has_gone_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with plasma.start_plasma_store(1 << 24) as (path, process):
        process.kill()
        process.wait()
        assert plasma_cli.main(["list", "-s", path]) == 1
        told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Connection refused" in told


@pytest.mark.parametrize("arguments", [[], ["list"], ["list", "-s", "x", "--limit", "-1"]])
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        plasma_cli.main(arguments)
    assert ended.value.code == 2


def test_a_reader_may_leave(filled: str) -> None:
    client = plasma.connect(filled)
    ids = [client.put_raw_buffer(b"x") for _ in range(5000)]
    command = [sys.executable, "-m", "skyray.plasma_cli", "list", "-s", filled]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(60) == 0
    client.delete(ids)
