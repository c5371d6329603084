# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="attr-defined"
# (mypy does not see what a class decorator returns.)
"""Build a searchable index of a folder of text files on every core, then again in one process.

    python examples/text_index.py                      # the Python standard library
    python examples/text_index.py ~/notes --query "event loop"

Every file is a document, and so is every documentation string in a Python file. The job:

    files ─► batches ─► index_batch (tasks) ─► merge (a tree of tasks) ─► Library (an actor)
                            ▲ stop words, put once

The parts of an index are numpy arrays: they go from task to task through shared memory, and the
driver reads the final ones in place. The one-process run uses the same functions, and the two
indexes must be equal, byte for byte.
"""

from __future__ import annotations

import argparse
import ast
import keyword
import os
import re
import sys
import sysconfig
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from tqdm import tqdm
except ImportError:
    sys.exit("text_index.py draws its progress bar with tqdm; install it: pip install tqdm")

import skyray

WORD = re.compile(r"[a-z][a-z0-9]{2,23}")
WORD_TYPE = "S24"  # The longest word WORD matches, so that a vocabulary is one flat array.
MERGE_FAN_IN = 4
STOP_WORDS = frozenset(word.lower() for word in keyword.kwlist) | frozenset(
    WORD.findall("""the and for that this with not are from but has have was were will would can
    could should may must been being its their there then than when which what who how all any each
    other some such into out only own same too very our your you they them his her she him had does
    did off over under again here both few more most nor about""")
)


@dataclass(frozen=True)
class Index:
    """Which word occurs in which document, and how often.

    The postings of word ``w`` are ``documents[starts[w]:starts[w + 1]]`` and the ``counts`` beside
    them, in ascending order of document.
    """

    names: list[str]  # n documents: a path, or path:Class.function for a documentation string
    is_docstring: NDArray[np.bool_]  # (n,)
    words: NDArray[np.bytes_]  # (w,), ascending
    starts: NDArray[np.int64]  # (w + 1,)
    documents: NDArray[np.int32]  # (p,)
    counts: NDArray[np.int32]  # (p,)
    skipped: list[str]  # files that could not be read, each with its reason

    def arrays(self) -> list[NDArray[Any]]:
        return [self.is_docstring, self.words, self.starts, self.documents, self.counts]


# --- The work itself: plain functions, used by the tasks and by the one-process run alike. ---


def docstrings(source: str, path: str) -> Iterator[tuple[str, str]]:
    """Yields (``path:qualified.name``, text) for each documentation string in Python ``source``."""
    try:
        with warnings.catch_warnings():  # Old files are full of invalid escapes; not our matter.
            warnings.simplefilter("ignore")
            module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return  # Some of the library's own test files are wrong on purpose.
    pending: list[tuple[str, ast.AST]] = [("", module)]
    while pending:
        prefix, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = f"{prefix}.{child.name}" if prefix else child.name
                if text := ast.get_docstring(child, clean=False):
                    yield f"{path}:{name}", text
                pending.append((name, child))
            elif isinstance(child, (ast.If, ast.Try, ast.With)):
                pending.append((prefix, child))
    if text := ast.get_docstring(module, clean=False):
        yield f"{path}:__doc__", text


def build(root: str, paths: list[str], stop_words: frozenset[str]) -> Index:
    """Indexes the files ``paths``, each relative to ``root``."""
    names: list[str] = []
    is_docstring: list[bool] = []
    skipped: list[str] = []
    ids: dict[str, int] = {}  # word -> its number, in the order of first sight
    triples: list[tuple[int, int, int]] = []

    def add(name: str, text: str, docstring: bool) -> None:
        document = len(names)
        names.append(name)
        is_docstring.append(docstring)
        for word, count in Counter(WORD.findall(text.lower())).items():
            if word not in stop_words:
                triples.append((ids.setdefault(word, len(ids)), document, count))

    for path in paths:
        try:
            data = Path(root, path).read_bytes()
        except OSError as error:
            skipped.append(f"{path}: {error.strerror}")
            continue
        if b"\0" in data[:4096]:
            skipped.append(f"{path}: not a text file")
            continue
        text = data.decode("utf-8", errors="replace")
        add(path, text, False)
        if path.endswith(".py"):
            for name, docstring in docstrings(text, path):
                add(name, docstring, True)

    words, order = np.unique(np.array(list(ids), dtype=WORD_TYPE), return_inverse=True)
    word, document, count = np.array(triples, dtype=np.int32).reshape(-1, 3).T
    return from_postings(
        names, is_docstring, words, order.astype(np.int32)[word], document, count, skipped
    )


def from_postings(
    names: list[str],
    is_docstring: list[bool] | NDArray[np.bool_],
    words: NDArray[np.bytes_],
    word: NDArray[np.int32],
    document: NDArray[np.int32],
    count: NDArray[np.int32],
    skipped: list[str],
) -> Index:
    """Orders postings that come in any order of words, but in ascending order of documents."""
    order = np.argsort(word, kind="stable")
    starts = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum(np.bincount(word, minlength=len(words)), out=starts[1:])
    flags = np.asarray(is_docstring, dtype=np.bool_)
    return Index(names, flags, words, starts, document[order], count[order], skipped)


def merge_parts(*parts: Index) -> Index:
    """One index of the documents of ``parts``, in the order given."""
    words, place = np.unique(np.concatenate([p.words for p in parts]), return_inverse=True)
    word, document, word_base, document_base = [], [], 0, 0
    for part in parts:
        mine = place[word_base : word_base + len(part.words)].astype(np.int32)
        word.append(np.repeat(mine, np.diff(part.starts)))
        document.append(part.documents + np.int32(document_base))
        word_base += len(part.words)
        document_base += len(part.names)
    return from_postings(
        [name for p in parts for name in p.names],
        np.concatenate([p.is_docstring for p in parts]),
        words,
        np.concatenate(word),
        np.concatenate(document),
        np.concatenate([p.counts for p in parts]),
        [line for p in parts for line in p.skipped],
    )


# --- The same work as tasks and an actor. ---


@skyray.remote
def index_batch(root: str, paths: list[str], stop_words: frozenset[str]) -> Index:
    return build(root, paths, stop_words)


@skyray.remote
def merge(*parts: Index) -> Index:
    return merge_parts(*parts)


@skyray.remote
class Library:
    """Holds the finished index, mapped from shared memory, and answers questions about it."""

    def __init__(self, index: Index) -> None:
        self.index = index
        lengths = np.bincount(index.documents, index.counts, minlength=len(index.names))
        self.lengths = lengths / max(lengths.mean(), 1.0)

    def top(self, number: int, docstring: bool) -> list[tuple[str, int]]:
        """The most frequent words of the files, or of the documentation strings."""
        wanted = self.index.is_docstring[self.index.documents] == docstring
        totals = np.add.reduceat(self.index.counts * wanted, self.index.starts[:-1])
        best = np.argsort(-totals, kind="stable")[:number]
        return [(self.index.words[i].decode(), int(totals[i])) for i in best]

    def search(self, query: str, number: int) -> list[tuple[str, float]]:
        """The documents that match ``query`` best, by BM25."""
        index, scores = self.index, np.zeros(len(self.index.names))
        for term in set(WORD.findall(query.lower())):
            at = int(np.searchsorted(index.words, term.encode()))
            if at == len(index.words) or index.words[at] != term.encode():
                continue
            found = index.documents[index.starts[at] : index.starts[at + 1]]
            counts = index.counts[index.starts[at] : index.starts[at + 1]]
            rarity = np.log(1 + (len(scores) - len(found) + 0.5) / (len(found) + 0.5))
            scores[found] += rarity * counts / (counts + 0.3 + 0.9 * self.lengths[found])
        best = np.argsort(-scores, kind="stable")[:number]
        return [(index.names[i], float(scores[i])) for i in best if scores[i] > 0]


def index_in_parallel(root: str, batches: list[list[str]], sizes: dict[str, int]) -> Any:
    """Submits the whole job, shows its progress, returns the reference of the finished index."""
    shared = skyray.put(STOP_WORDS)
    parts = [index_batch.remote(root, batch, shared) for batch in batches]
    pending = dict(zip(parts, batches))
    while len(parts) > 1:  # Each merge starts by itself once its parts are there.
        groups = [parts[i : i + MERGE_FAN_IN] for i in range(0, len(parts), MERGE_FAN_IN)]
        parts = [merge.remote(*group) if len(group) > 1 else group[0] for group in groups]

    total = sum(sizes[path] for batch in batches for path in batch)
    with tqdm(total=total, desc="indexing", unit="B", unit_scale=True) as bar:
        files = 0
        while pending:
            (done,), _ = skyray.wait(list(pending), num_returns=1)
            batch = pending.pop(done)
            files += len(batch)
            bar.set_postfix(files=files, refresh=False)
            bar.update(sum(sizes[path] for path in batch))
        skyray.wait(parts)
    return parts[0]


# --- Input and output. ---


def find_files(root: Path, patterns: list[str], limit: int | None) -> dict[str, int]:
    """Relative path -> size in bytes, in the order of the paths; installed packages left out."""
    sizes: dict[str, int] = {}
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [s for s in subfolders if s not in ("site-packages", "dist-packages")]
        for file in files:
            path = Path(folder, file)
            if any(fnmatch(file, pattern) for pattern in patterns) and path.is_file():
                sizes[str(path.relative_to(root))] = path.stat().st_size
    return dict(sorted(sizes.items())[:limit])


def cut_into_batches(sizes: dict[str, int], batch_bytes: int) -> list[list[str]]:
    """Neighbouring files together until a batch holds ``batch_bytes``."""
    batches: list[list[str]] = [[]]
    held = 0
    for path, size in sizes.items():
        if batches[-1] and held + size > batch_bytes:
            batches.append([])
            held = 0
        batches[-1].append(path)
        held += size
    return batches


def warm_file_cache(root: Path, sizes: dict[str, int]) -> None:
    """Reads every file once, so that neither of the two timed runs pays for the disk."""
    for path in sizes:
        try:
            Path(root, path).read_bytes()
        except OSError:
            continue  # The index reports it.


def same(left: Index, right: Index) -> bool:
    return (
        left.names == right.names
        and left.skipped == right.skipped
        and all(map(np.array_equal, left.arrays(), right.arrays()))
    )


def describe(index: Index) -> None:
    arrays = index.arrays()
    docs = int(index.is_docstring.sum())
    print(
        f"index: {len(index.names):,} documents ({len(index.names) - docs:,} files, {docs:,} "
        f"documentation strings), {len(index.words):,} words, {len(index.counts):,} postings"
    )
    in_place = sum(a.nbytes for a in arrays if not a.flags.writeable)
    print(
        f"       {sum(a.nbytes for a in arrays) / 1e6:.1f} MB of numpy arrays, "
        f"{in_place / 1e6:.1f} MB of it read in place from shared memory"
    )
    for line in index.skipped[:5]:
        print(f"skipped {line}")
    if len(index.skipped) > 5:
        print(f"skipped {len(index.skipped) - 5} more")


def ask(library: Any, query: str, top: int) -> None:
    for docstring, label in ((False, "top words of the files"), (True, "top words of their docs")):
        answer = skyray.get(library.top.remote(top, docstring))
        if words := [f"{word} {count:,}" for word, count in answer if count]:
            print(f"{label}: " + ", ".join(words))
    matches = skyray.get(library.search.remote(query, 5))
    print(f'best for "{query}":' if matches else f'nothing matches "{query}"')
    for name, score in matches:
        print(f"  {score:5.2f}  {name}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build a searchable index of a folder of files.")
    parser.add_argument(
        "folder",
        nargs="?",
        default=sysconfig.get_path("stdlib"),
        help="the folder to index, with its sub-folders (the Python standard library)",
    )
    parser.add_argument(
        "--files",
        nargs="+",
        metavar="PATTERN",
        default=["*.py", "*.txt", "*.md", "*.rst"],
        help="names of files to take (%(default)s)",
    )
    parser.add_argument("--limit", type=int, help="take at most this many files (all)")
    parser.add_argument("--num-cpus", type=int, help="CPUs to use (all of this machine)")
    parser.add_argument("--batch", type=float, default=0.5, help="MB in one task (%(default)s)")
    parser.add_argument("--query", default="event loop", help='a search to try ("%(default)s")')
    parser.add_argument("--top", type=int, default=10, help="top words to show (%(default)s)")
    parser.add_argument("--no-compare", action="store_true", help="leave out the one-process run")
    arguments = parser.parse_args()
    for name in ("limit", "num_cpus", "batch", "top"):
        value = getattr(arguments, name)
        if value is not None and value <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0, not {value}")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    root = Path(arguments.folder).expanduser().resolve()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        print(f"text_index.py: {root} {what}; name a folder of text files", file=sys.stderr)
        return 2
    sizes = find_files(root, arguments.files, arguments.limit)
    if not sizes:
        names = " ".join(arguments.files)
        print(
            f"text_index.py: no file in {root} is named like {names}; name another folder, "
            'or say which files to take, for example --files "*.log"',
            file=sys.stderr,
        )
        return 2
    warm_file_cache(root, sizes)
    batches = cut_into_batches(sizes, int(arguments.batch * 1e6))
    megabytes = sum(sizes.values()) / 1e6
    print(f"{root}: {len(sizes):,} files, {megabytes:.1f} MB, in {len(batches)} batches")

    began = time.perf_counter()
    skyray.init(num_cpus=arguments.num_cpus)
    cpus = skyray.cluster_resources()["CPU"]
    print(f"skyray started in {time.perf_counter() - began:.2f} s, {cpus:g} CPUs")

    began = time.perf_counter()
    reference = index_in_parallel(str(root), batches, sizes)
    index: Index = skyray.get(reference)
    parallel_s = time.perf_counter() - began
    describe(index)
    ask(Library.remote(reference), arguments.query, arguments.top)

    def report(label: str, seconds: float) -> None:
        rate = f"{len(sizes) / seconds:7,.0f} files/s {megabytes / seconds:7.1f} MB/s"
        print(f"{label}: {seconds:6.2f} s {rate}")

    report("many processes", parallel_s)
    identical = True
    if not arguments.no_compare:
        began = time.perf_counter()
        alone = build(str(root), list(sizes), STOP_WORDS)
        alone_s = time.perf_counter() - began
        report("one process   ", alone_s)
        identical = same(index, alone)
        print(f"speed-up {alone_s / parallel_s:.2f}x on {cpus:g} CPUs")
        print("the two indexes are " + ("identical" if identical else "DIFFERENT, which is a bug"))
    skyray.shutdown()
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
