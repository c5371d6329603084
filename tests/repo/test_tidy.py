"""What keeps the tree light: sizes, and words that have a better replacement."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tree import CPP, PYTHON, ROOT, files, name

CPP_SOURCES = files(CPP, ".h", ".cc")
CPP_TESTS = files(ROOT / "tests" / "cpp", ".h", ".cc") + files(ROOT / "tests" / "fuzz", ".h", ".cc")
PY_SOURCES = files(PYTHON, ".py", ".pyi")
PY_TESTS = files(ROOT / "tests", ".py") + files(ROOT / "examples", ".py")
EVERYTHING = CPP_SOURCES + CPP_TESTS + PY_SOURCES + PY_TESTS

FILE_LINES_MAX = 600
TEST_FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
MAIN_LINES_MAX = 150

# Where threads may meet: logging and the like, and the core worker's one door.
# payload.h: only the count of a shared, immutable value. spill_reader, spill_sums: owner and
# helper take chunks of objects in turns, so neither is the other's loop.
THREADS = (
    "common/",
    "core_worker/gateway",
    "core_worker/payload.h",
    "core_worker/pooled",
    "object_manager/spill_reader",
    "object_manager/spill_sums",
    "plasma/copy.cc",
    "bindings/",
)

# pattern -> (what to do instead, path prefixes under cpp/src that may).
BANNED_CPP: dict[str, tuple[str, tuple[str, ...]]] = {
    r"std::(\w*mutex|atomic\w*|condition_variable|lock_guard|unique_lock|scoped_lock)\b": (
        "ask the loop: a component has one thread",
        THREADS,
    ),
    r"\bco_(await|return|yield)\b|asio::awaitable": (
        "callbacks through ipc::Connection: g++ 12 miscompiles coroutines",
        (),
    ),
    r"\basio::detached\b": ("a completion handler that looks at the error", ()),
    r"\b(enable_)?shared_from_this\b": ("an owner, and an id to find it by", ()),
    r"\bstd::c(out|err|log)\b": ("common/logging.h", ()),
    r"\bsystem_clock\b|\bgettimeofday\b": (
        "a monotonic clock: wall time is never part of a protocol",
        ("common/logging", "common/wall_clock"),
    ),
    r"\b(gtest_prod|FRIEND_TEST)\b": ("a test through the public interface", ()),
    r"\bassert\(": ("a Status where a peer can cause it, CHECK where only a bug can", ()),
    r"#include <iostream>": ("common/logging.h", ()),
}
BANNED_EVERYWHERE = {
    r"\b(FIXME|XXX|HACK)\b": "do it now, or write it down where work is planned",
}
BANNED_CPP_TESTS = {
    r"\bsleep_for\b|\bu?sleep\(|\bnanosleep\b": "wait for the event itself",
}
BANNED_NAMES = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py"}


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def by_file(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=name)


def without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


@by_file(EVERYTHING)
def test_file_is_short(path: Path) -> None:
    limit = TEST_FILE_LINES_MAX if "tests" in path.parts else FILE_LINES_MAX
    if path.name == "main.cc":
        limit = MAIN_LINES_MAX
    assert lines(path) <= limit, "split it: one file holds one idea"


@by_file(CPP_SOURCES)
def test_cpp_functions_are_short(path: Path) -> None:
    # clang-format puts the braces of a namespace-level function's body at
    # column 0: the line that opens it does not begin with a blank.
    start, head = 0, ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line == "}":
            assert number - start <= FUNCTION_LINES_MAX, f"{head} (line {start}) is too long"
        elif line and not line[0].isspace() and not line.startswith(("//", "#", "}")):
            start, head = number, line


@by_file(PY_SOURCES + PY_TESTS)
def test_python_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body
            first = body[0]
            if ast.get_docstring(node, clean=False) is not None and len(body) > 1:
                first = body[1]  # A long docstring is no burden.
            length = (node.end_lineno or 0) - first.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"


@by_file(CPP_SOURCES)
def test_cpp_uses_no_banned_words(path: Path) -> None:
    text = without_comments(path.read_text())
    place = str(path.relative_to(CPP))
    for pattern, (instead, allowed) in BANNED_CPP.items():
        if not place.startswith(allowed or ("\0",)):
            match = re.search(pattern, text)
            assert match is None, f"{match and match.group()}: {instead}"


@by_file(CPP_TESTS)
def test_cpp_tests_do_not_sleep(path: Path) -> None:
    for pattern, instead in BANNED_CPP_TESTS.items():
        assert not re.search(pattern, without_comments(path.read_text())), instead


@by_file([path for path in EVERYTHING if path != Path(__file__)])
def test_nothing_is_left_for_later(path: Path) -> None:
    for pattern, instead in BANNED_EVERYWHERE.items():
        assert not re.search(pattern, path.read_text()), instead


@by_file(PY_SOURCES)
def test_module_is_named_for_what_it_holds(path: Path) -> None:
    assert path.name not in BANNED_NAMES


@by_file([path for path in PY_SOURCES if path.suffix == ".py" and path.name != "__main__.py"])
def test_python_module_opens_with_its_purpose(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the first line says what the module is for"
    future = "from __future__ import annotations"
    defines = any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body)
    assert future in path.read_text() or not defines, f"missing: {future}"


@by_file([path for path in CPP_SOURCES if path.suffix == ".h"])
def test_header_tells_threads_owners_and_errors(path: Path) -> None:
    text = path.read_text()
    opening = text.split("#pragma once")[0]
    assert "#pragma once" in text
    for word in ("Threading:", "Ownership:", "Errors:"):
        assert word in opening, f"the opening comment does not say: {word}"


@by_file(CPP_SOURCES + CPP_TESTS)
def test_cpp_file_opens_with_licence_and_purpose(path: Path) -> None:
    first, second = path.read_text().splitlines()[:2]
    assert first == "// SPDX-License-Identifier: Apache-2.0"
    # A source beside its header, or a test of one, needs no second telling.
    if path.suffix == ".h" or path.name == "main.cc":
        assert second.startswith("// "), "the second line says what the file is for"
