# SPDX-License-Identifier: Apache-2.0
"""From the repetitions of all cases to a table and to JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cases import CASES, Claim
from measure import median

OURS = "skyray"


@dataclass
class Samples:
    """What one system gave for one metric (or one case) in all repetitions."""

    values: list[float] = field(default_factory=list)
    unit: str = ""


@dataclass
class Report:
    """Samples by (case, metric, system), and errors by (case, system)."""

    systems: list[str]
    samples: dict[tuple[str, str, str], Samples] = field(default_factory=dict)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, case: str, system: str, metrics: dict[str, tuple[float, str]]) -> None:
        for metric, (value, unit) in metrics.items():
            samples = self.samples.setdefault((case, metric, system), Samples())
            samples.values.append(value)
            samples.unit = unit

    def metrics(self, case: str) -> list[str]:
        return list(dict.fromkeys(metric for c, metric, _ in self.samples if c == case))

    def value(self, case: str, metric: str, system: str) -> float | None:
        samples = self.samples.get((case, metric, system))
        return median(samples.values) if samples else None

    def ratio(self, case: str, metric: str) -> float | None:
        """How many times better ours is than the first other's; None unless both are there."""
        ours = self.value(case, metric, OURS)
        values = [self.value(case, metric, s) for s in self.systems if s != OURS]
        theirs = [value for value in values if value is not None]
        if ours is None or not theirs:
            return None
        better, worse = (
            (ours, theirs[0]) if self.more_is_better(case, metric) else (theirs[0], ours)
        )
        return better / worse if worse else float("inf")

    def unit(self, case: str, metric: str) -> str:
        return next(s.unit for (c, m, _), s in self.samples.items() if (c, m) == (case, metric))

    def more_is_better(self, case: str, metric: str) -> bool:
        return self.unit(case, metric).endswith("/s")

    def verdict(self, case: str, metric: str, claim: Claim) -> str:
        """ "yes" or "no"; "" while there is nothing to judge by."""
        ours, ratio = self.value(case, metric, OURS), self.ratio(case, metric)
        if ours is None or (claim.times is not None and ratio is None):
            return ""
        holds = claim.times is None or (ratio is not None and ratio >= claim.times)
        return "yes" if holds and (claim.bound is None or ours <= claim.bound) else "no"

    def table(self) -> str:
        """Markdown, one line per metric, that also reads well as it is."""
        rows = [["case", *self.systems, "ratio", "claim", "holds"]]
        cases = dict.fromkeys([case for case, _, _ in self.samples] + [c for c, _ in self.errors])
        for case in sorted(cases, key=list(CASES).index):
            rows += [self.row(case, metric) for metric in self.metrics(case)]
            for system in self.systems:
                if (case, system) in self.errors:
                    rows.append([f"{case}: {system} failed"] + [""] * (len(rows[0]) - 1))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        rows.insert(1, ["-" * width for width in widths])
        return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)

    def row(self, case: str, metric: str) -> list[str]:
        unit, ratio = self.unit(case, metric), self.ratio(case, metric)
        cells = [f"{case} {metric}"]
        for system in self.systems:
            value = self.value(case, metric, system)
            cells.append("" if value is None else f"{shown(value)} {unit}".strip())
        claim = CASES[case].claims.get(metric, Claim())
        stated = str(claim) != ""
        return [
            *cells,
            "" if ratio is None else f"{ratio:.1f}x",
            f"{claim} {unit}".strip() if claim.bound is not None else str(claim),
            self.verdict(case, metric, claim) if stated else "",
        ]

    def as_json(self) -> dict[str, Any]:
        cases: dict[str, Any] = {}
        for (case, metric, system), samples in self.samples.items():
            entry = cases.setdefault(case, {"about": CASES[case].description, "metrics": {}})
            line = entry["metrics"].setdefault(metric, {"unit": samples.unit})
            line[system] = samples.values
            line["ratio"] = self.ratio(case, metric)
            line["claim"] = str(CASES[case].claims.get(metric, ""))
        errors = [{"case": c, "system": s, "error": e} for (c, s), e in self.errors.items()]
        return {"systems": self.systems, "cases": cases, "errors": errors}


def shown(value: float) -> str:
    """Three figures that mean something, without exponents."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
