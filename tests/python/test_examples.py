# SPDX-License-Identifier: Apache-2.0
"""The examples run as their README says, and tell a user clearly what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize(
    ("name", "last_line"),
    [
        ("squares.py", "[0, 1, 4, 9]"),
        ("counters.py", "[1, 1, 1, 1]"),
        ("plasma_arrays.py", "the sum of 8,000,000 numbers is 28,000,000"),
        ("parameter_server.py", "after 200 gradients the worst weight is off by 0.00"),
    ],
)
def test_small_example(name: str, last_line: str) -> None:
    result = run(name)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith(last_line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 files in 8 batches or more, and one that is no text."""
    for i in range(40):
        words = f"common word{i % 4} rare{i} " * 100
        source = (
            f'"""Module {i}."""\n\ndef function{i}():\n    """Finds needle {i}."""\n    # {words}\n'
        )
        (tmp_path / f"module{i:02}.py").write_text(source)
    (tmp_path / "binary.txt").write_bytes(b"\0\1\2")
    return tmp_path


def test_text_index_finds_what_is_there(folder: Path) -> None:
    result = run("text_index.py", str(folder), "--batch", "0.01", "--query", "needle", "--top", "1")
    assert result.returncode == 0, result.stderr
    assert "index: 120 documents (40 files, 80 documentation strings)" in result.stdout
    assert "top words of the files: common 4,000" in result.stdout
    assert "module00.py:function0" in result.stdout
    assert "skipped binary.txt: not a text file" in result.stdout
    assert "the two indexes are identical" in result.stdout
    assert "files=41" in result.stderr.replace(" ", ""), "the progress bar counts the files"


def test_text_index_of_one_file_without_words(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    result = run("text_index.py", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert 'nothing matches "event loop"' in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing does not exist; name a folder of text files"),
        (["file.log"], "file.log is a file; name a folder of text files"),
        (
            ["."],
            "no file in {folder} is named like *.py *.txt *.md *.rst; name another folder, or ",
        ),
        ([".", "--batch", "0"], "--batch must be above 0, not 0.0"),
        ([".", "--limit", "-3"], "--limit must be above 0, not -3"),
        ([".", "--num-cpus", "two"], "argument --num-cpus: invalid int value: 'two'"),
    ],
)
def test_text_index_says_what_is_wrong(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "file.log").touch()
    path = str(tmp_path / arguments[0])
    result = run("text_index.py", path, *arguments[1:])
    assert result.returncode == 2
    assert message.format(folder=tmp_path) in result.stderr
    assert "Traceback" not in result.stderr
