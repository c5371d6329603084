# SPDX-License-Identifier: Apache-2.0
"""The known programs run on skyray and return what they return on Ray."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import skyray

from . import PROGRAMS, RESOURCES


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    skyray.init(**RESOURCES)
    yield
    skyray.shutdown()


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_returns_what_it_should(name: str) -> None:
    program = PROGRAMS[name]
    assert program.run(skyray) == program.expected
