# SPDX-License-Identifier: Apache-2.0
"""Programs written for Arrow's Plasma client return on skyray's what they are told to."""

from __future__ import annotations

import pytest

from skyray import plasma

from . import PROGRAMS, STORE_BYTES
from .compare_arrow import running_store


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_returns_what_it_should(name: str) -> None:
    program = PROGRAMS[name]
    with running_store("skyray.plasma", STORE_BYTES) as path:
        outcome = program.run(plasma, plasma.connect(path), plasma.connect(path))
    assert outcome == program.expected


def test_what_differs_says_why() -> None:
    for name, program in PROGRAMS.items():
        assert bool(program.because) == (program.expected != program.arrow), name
