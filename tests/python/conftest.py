# SPDX-License-Identifier: Apache-2.0
"""A runtime of its own for each test module that asks for one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

import skyray
from skyray._lifecycle import RayContext


@pytest.fixture(scope="session", autouse=True)
def _session_parent() -> Iterator[None]:
    """Sessions of tests lie apart from those of the person who runs them."""
    with tempfile.TemporaryDirectory(prefix="sr", dir="/tmp") as folder:
        before = os.environ.get("SKYRAY_TMPDIR")
        os.environ["SKYRAY_TMPDIR"] = folder
        yield
        if before is None:
            del os.environ["SKYRAY_TMPDIR"]
        else:
            os.environ["SKYRAY_TMPDIR"] = before


@pytest.fixture(scope="session", autouse=True)
def _every_line_is_shown() -> Iterator[None]:
    """Tests look for each line that a worker prints, however alike they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKYRAY_DEDUP_LOGS", "0")
        yield


@pytest.fixture(scope="module")
def runtime() -> Iterator[RayContext]:
    """A node with 4 CPUs, 2 of a resource "special" and a store of 200 MB."""
    with skyray.init(
        num_cpus=4, resources={"special": 2}, object_store_memory=200 << 20, namespace="tests"
    ) as context:
        yield context
