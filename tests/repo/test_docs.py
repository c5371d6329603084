"""What the documents point at exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tree import ROOT, files, name

DOCUMENTS = (
    sorted(ROOT.glob("*.md")) + files(ROOT / "docs", ".md") + files(ROOT / "third_party", ".md")
)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
# `cpp/src/x/y.cc` and the like in running text, without a line or a wildcard.
PATH = re.compile(r"`((?:cpp|python|fbs|protos|tests|examples|docs|third_party)/[\w./-]+\.\w+)`")
ARCHITECTURE_LINES_MAX = 300


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_document_points_at_what_exists(document: Path) -> None:
    text = document.read_text()
    links = [document.parent / m[1] for m in LINK.finditer(text) if "://" not in m[1]]
    paths = [ROOT / m[1] for m in PATH.finditer(text)]
    missing = [name(path) for path in links + paths if not path.exists()]
    assert not missing


def test_architecture_is_short() -> None:
    path = ROOT / "ARCHITECTURE.md"
    if not path.exists():
        pytest.skip("ARCHITECTURE.md is not written yet")
    assert path.read_text().count("\n") <= ARCHITECTURE_LINES_MAX
