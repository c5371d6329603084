# SPDX-License-Identifier: Apache-2.0
"""skyray.util.joblib."""

from __future__ import annotations

import os
import sys
from typing import Any

import cloudpickle
import numpy as np
import pytest
from waiting import until

import skyray

pytest.importorskip("joblib")

import joblib

from skyray.util.joblib import register_ray, register_skyray

pytestmark = pytest.mark.usefixtures("runtime")
# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_skyray()
    register_ray()


def square(x: int) -> int:
    if x < 0:
        raise ValueError(f"{x} is negative")
    return x * x


@pytest.mark.parametrize("backend", ["skyray", "ray"])
def test_calls_run_in_workers(backend: str) -> None:
    with joblib.parallel_config(backend=backend, n_jobs=2):
        squares = joblib.Parallel()(joblib.delayed(square)(x) for x in range(50))
        pids = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(20))
    assert squares == [x * x for x in range(50)]
    assert os.getpid() not in pids


def test_the_number_of_jobs() -> None:
    with joblib.parallel_config(backend="skyray"):
        assert joblib.effective_n_jobs(-1) == 4
        assert joblib.effective_n_jobs(-2) == 3
        assert joblib.effective_n_jobs(3) == 3
        assert joblib.effective_n_jobs(100) == 4
        with pytest.raises(ValueError, match="has no meaning"):
            joblib.effective_n_jobs(0)


def test_an_error_is_the_callers() -> None:
    with joblib.parallel_config(backend="skyray", n_jobs=2), joblib.Parallel() as parallel:
        with pytest.raises(ValueError, match="-1 is negative"):
            parallel(joblib.delayed(square)(x) for x in (1, -1, 2))
        assert parallel(joblib.delayed(square)(x) for x in (1, 2)) == [1, 4]


def test_large_arrays_are_stored_once() -> None:
    data = np.arange(100_000.0)

    def inspect(array: Any, *, again: Any) -> tuple[float, bool, bool]:
        return float(array.sum()), array.flags.writeable, array.ctypes.data == again.ctypes.data

    before = skyray._core.statistics()["objects"]
    with joblib.parallel_config(backend="skyray", n_jobs=2):
        calls = (joblib.delayed(inspect)(data, again=data) for _ in range(8))
        results = joblib.Parallel()(calls)
    assert results == [(data.sum(), False, True)] * 8
    until(lambda: skyray._core.statistics()["objects"] <= before, "the array is freed")


def test_nested_calls_use_threads() -> None:
    def nested(n: int) -> list[int]:
        result: list[int] = joblib.Parallel(n_jobs=2)(joblib.delayed(square)(x) for x in range(n))
        return result

    with joblib.parallel_config(backend="skyray", n_jobs=2):
        results = joblib.Parallel()(joblib.delayed(nested)(n) for n in (2, 3))
    assert results == [[0, 1], [0, 1, 4]]


def test_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    from sklearn.datasets import make_classification
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    features, classes = make_classification(n_samples=200, random_state=0)
    grid = {"max_depth": [1, 2, 3], "min_samples_leaf": [1, 5]}
    found = {}
    for backend in ("sequential", "skyray"):
        search = GridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=3)
        with joblib.parallel_config(backend=backend, n_jobs=2 if backend == "skyray" else None):
            search.fit(features, classes)
        found[backend] = (search.best_params_, search.best_score_)
    assert found["skyray"] == found["sequential"]
