# SPDX-License-Identifier: Apache-2.0
"""``skyray bench`` from the outside: it measures, tells, writes its files, says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import skyray
from skyray._bench import child, microscope
from skyray._bench.report import BEGIN, END

PACKAGE = str(Path(skyray.__file__).parents[1])
QUICK = ["--quick", "--repeat", "1", "--limit", "100"]
# Any module can be imported, so the import's case takes any for the other system.
OTHER = ["--against", sys.executable, "--against-module", "json"]


def start(*arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [PACKAGE, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "skyray", "bench", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    with start(*arguments) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_measures_both_and_writes_what_was_asked_for(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("all.json", "ratios.svg", "page.md")]
    files[2].write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    wanted = ["--json", str(files[0]), "--plot", str(files[1]), "--fill", str(files[2])]
    done = bench("--cases", "import_module", *QUICK, *OTHER, *wanted)
    assert done.returncode == 0, done.stderr
    line = json.loads(files[0].read_text())["cases"]["import_module"]["metrics"]["time"]
    assert {system: len(values) for system, values in line["samples"].items()} == {
        "skyray": 1,
        "json": 1,
    }
    assert line["ratio"] > 0
    texts = ElementTree.parse(files[1]).getroot().itertext()
    assert any("import_module time" in text for text in texts)
    page = files[2].read_text()
    assert page.startswith(f"before\n{BEGIN}\n")
    assert page.endswith(f"{END}\nafter\n")
    assert "| import_module time" in page
    assert "old" not in page


def test_what_was_measured_before_an_interrupt_is_told() -> None:
    with start("--cases", "import_module", "--quick", "--repeat", "100000", *OTHER) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("1 import_module"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "| import_module time" in out
    assert "interrupted" in out


def test_an_earlier_run_is_told_again_without_measuring(tmp_path: Path) -> None:
    file = tmp_path / "all.json"
    first = bench("--cases", "import_module", *QUICK, *OTHER, "--json", str(file))
    again = bench("--from", str(file))
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout


def test_a_case_runs_on_a_cluster() -> None:
    done = bench("--cases", "actor_sync", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "actor_sync rate" in done.stdout


def test_a_system_that_fails_is_named_with_the_reason() -> None:
    other = ["--against", sys.executable, "--against-module", "no_such_module"]
    done = bench("--cases", "import_module", *QUICK, *other)
    assert done.returncode == 1
    assert "no_such_module failed" in done.stdout
    assert "No module named" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cases", "import_module,nothing_like_it"], "nothing_like_it"),
        (["--repeat", "0"], "--repeat"),
        (["--from", "/nonexistent.json"], "nonexistent"),
        (["--against", "ray", "--against-module", "no_such_module"], "pip install"),
    ],
)
def test_bad_usage_is_answered_with_what_is_wrong(arguments: list[str], said: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_child_needs_no_skyray() -> None:
    # Without site-packages and PYTHONPATH there is none to import.
    command = [sys.executable, "-I", "-S", child.__file__, "json", "import_module"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "time" in json.loads(done.stdout)["metrics"]


def test_microscope_shows_what_each_process_took() -> None:
    done = bench("--microscope", "actor_call")
    assert done.returncode == 0, done.stderr
    assert f"{microscope.OPERATIONS:,} operations" in done.stdout
    assert "driver" in done.stdout


def test_microscope_names_the_operations_there_are() -> None:
    done = bench("--microscope", "nothing_like_it")
    assert done.returncode == 1
    assert "actor_call" in done.stderr
    assert "Traceback" not in done.stderr
