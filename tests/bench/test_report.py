# SPDX-License-Identifier: Apache-2.0
"""The table says what the samples say. (What the cases measure is measured, not tested.)"""

from __future__ import annotations

import pytest

from skyray._bench import cases
from skyray._bench.plot import plot
from skyray._bench.report import BEGIN, END, OURS, Report, filled

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


def two_cases(report: Report) -> Report:
    for value in (300.0, 310.0):
        report.add(RATE, OURS, {"rate": (value, "/s")})
        report.add(RATE, "other", {"rate": (value / 20, "/s")})
    report.errors["put_small", "other"] = "not done after 1 s"
    report.skipped["placement_groups", OURS] = "has none"
    return report


def test_what_was_written_as_json_reads_back_the_same(report: Report) -> None:
    two_cases(report).versions["other"] = "2.0"
    again = Report.from_json(report.as_json())
    assert again.as_text() == report.as_text()
    assert again.as_json() == report.as_json()


def test_a_case_that_was_renamed_since_is_left_out(report: Report) -> None:
    text = two_cases(report).as_json()
    text["cases"]["of_old"] = text["cases"][RATE]
    text["errors"].append({"case": "older", "system": OURS, "why": "gone"})
    assert Report.from_json(text).cases() == report.cases()


def test_only_the_named_cases_are_told(report: Report) -> None:
    assert two_cases(report).only(["put_small"]).cases() == ["put_small"]


def test_summary_counts_what_is_met_and_what_cannot_be_judged(report: Report) -> None:
    report.add(RATE, OURS, {"rate": (300.0, "/s"), "p50": (10.0, "µs")})
    report.add(RATE, "other", {"rate": (1.0, "/s")})
    assert report.summary() == "1 of 1 claims met, 1 open"


def test_plot_has_a_bar_for_each_ratio_and_no_more(report: Report) -> None:
    drawn = plot(two_cases(report))
    assert drawn.count("20.0x") == 1
    assert "put_small" not in drawn


def test_nothing_to_compare_is_nothing_to_plot(report: Report) -> None:
    report.add(RATE, OURS, {"rate": (300.0, "/s")})
    with pytest.raises(ValueError, match="--against"):
        plot(report)


def test_only_what_is_between_the_marks_is_replaced() -> None:
    assert filled(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"


@pytest.mark.parametrize("document", ["", BEGIN, f"{END} {BEGIN}"])
def test_a_document_without_marks_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="bench:begin"):
        filled(document, "new")
