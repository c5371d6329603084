# SPDX-License-Identifier: Apache-2.0
"""The table says what the samples say. (What the cases measure is measured, not tested.)"""

from __future__ import annotations

import pytest

import cases
from report import OURS, Report

RATE = "actor_sync"  # Claims: rate at least 15 times; p50 at least 15 times and at most 20.


@pytest.fixture
def report() -> Report:
    cases.load()
    return Report([OURS, "other"])


def test_every_case_says_what_it_measures_and_claims() -> None:
    for name, case in cases.load().items():
        assert case.description, name
        assert case.claims, name


def test_value_is_the_median_of_the_repetitions(report: Report) -> None:
    for value in (1.0, 50.0, 2.0):
        report.add(RATE, OURS, {"rate": (value, "/s")})
    assert report.value(RATE, "rate", OURS) == 2.0


def test_ratio_says_how_many_times_better_ours_is(report: Report) -> None:
    report.add(RATE, OURS, {"rate": (300.0, "/s"), "p50": (10.0, "µs")})
    report.add(RATE, "other", {"rate": (20.0, "/s"), "p50": (400.0, "µs")})
    assert report.ratio(RATE, "rate") == 15.0
    assert report.ratio(RATE, "p50") == 40.0


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [(20.0, 300.0, "yes"), (20.1, 400.0, "no"), (19.0, 200.0, "no"), (5.0, None, "")],
)
def test_a_claim_holds_only_in_all_its_parts(
    report: Report, ours: float, theirs: float | None, verdict: str
) -> None:
    report.add(RATE, OURS, {"p50": (ours, "µs")})
    if theirs is not None:
        report.add(RATE, "other", {"p50": (theirs, "µs")})
    assert report.verdict(RATE, "p50", cases.CASES[RATE].claims["p50"]) == verdict


def test_table_shows_the_ratio_the_claim_and_who_failed(report: Report) -> None:
    report.add(RATE, OURS, {"rate": (30_000.0, "/s")})
    report.add(RATE, "other", {"rate": (1_000.0, "/s")})
    report.errors["put_small", "other"] = "not done after 1 s"
    lines = report.table().splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == ["actor_sync rate", "30,000 /s", "1,000 /s", "30.0x", "≥ 15x", "yes"]
    assert "put_small: other failed" in lines[3]
