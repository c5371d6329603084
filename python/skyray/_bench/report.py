# SPDX-License-Identifier: Apache-2.0
"""From the repetitions of all cases to a table, to JSON and back, and into a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .cases import CASES, Claim
from .measure import median

OURS = "skyray"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


@dataclass
class Samples:
    """What one system gave for one metric (or one case) in all repetitions."""

    values: list[float] = field(default_factory=list)
    unit: str = ""


@dataclass
class Report:
    """Samples by (case, metric, system); errors, and reasons for skipping, by (case, system)."""

    systems: list[str]
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    samples: dict[tuple[str, str, str], Samples] = field(default_factory=dict)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    skipped: dict[tuple[str, str], str] = field(default_factory=dict)

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

    def cases(self) -> list[str]:
        """Those of which there is something to tell, in the order of the cases."""
        told = [case for case, _, _ in self.samples]
        told += [case for case, _ in [*self.errors, *self.skipped]]
        return sorted(dict.fromkeys(told), key=list(CASES).index)

    def named(self, system: str) -> str:
        return f"{system} {self.versions.get(system, '')}".strip()

    def table(self) -> str:
        """Markdown, one line per metric, that also reads well as it is."""
        rows = [["case", *map(self.named, self.systems), "ratio", "claim", "met"]]
        for case in self.cases():
            rows += [self.row(case, metric) for metric in self.metrics(case)]
            for reasons, what in ((self.errors, "failed"), (self.skipped, "skipped")):
                for system in self.systems:
                    if (case, system) in reasons:
                        about = f"{case}: {system} {what}: {reasons[case, system]}"
                        rows.append([about.replace("|", "/")] + [""] * (len(rows[0]) - 1))
        # A reason may be long; it is not to widen the column.
        widths = [max(len(row[i]) for row in rows if len(row[i]) < 60) for i in range(len(rows[0]))]
        rows.insert(1, ["-" * width for width in widths])
        return "\n".join("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)

    def row(self, case: str, metric: str) -> list[str]:
        unit, ratio = self.unit(case, metric), self.ratio(case, metric)
        cells = [f"{case} {metric}"]
        for system in self.systems:
            value = self.value(case, metric, system)
            cells.append("" if value is None else f"{shown(value)} {unit}".strip())
        claim = self.claim(case, metric)
        return [
            *cells,
            "" if ratio is None else f"{ratio:.1f}x",
            f"{claim} {unit}".strip() if claim.bound is not None else str(claim),
            self.verdict(case, metric, claim) if str(claim) else "",
        ]

    def claim(self, case: str, metric: str) -> Claim:
        return CASES[case].claims.get(metric, Claim())

    def summary(self) -> str:
        verdicts = [
            self.verdict(case, metric, self.claim(case, metric))
            for case in self.cases()
            for metric in self.metrics(case)
            if str(self.claim(case, metric))
        ]
        judged = [verdict for verdict in verdicts if verdict]
        return (
            f"{judged.count('yes')} of {len(judged)} claims met, {len(verdicts) - len(judged)} open"
        )

    def as_json(self) -> dict[str, Any]:
        """All of it; the medians, ratios and verdicts are there for who reads it elsewhere."""
        cases: dict[str, Any] = {}
        for (case, metric, system), samples in self.samples.items():
            about = {"group": CASES[case].group, "about": CASES[case].description}
            entry = cases.setdefault(case, {**about, "metrics": {}})
            line = entry["metrics"].setdefault(metric, {"unit": samples.unit, "samples": {}})
            line["samples"][system] = samples.values
            line["ratio"] = self.ratio(case, metric)
            line["claim"] = str(self.claim(case, metric))
            line["met"] = self.verdict(case, metric, self.claim(case, metric))
        return {
            "machine": self.machine,
            "systems": {system: self.versions.get(system, "") for system in self.systems},
            "summary": self.summary(),
            "cases": cases,
            "errors": as_list(self.errors),
            "skipped": as_list(self.skipped),
        }

    @classmethod
    def from_json(cls, text: dict[str, Any]) -> Report:
        """What as_json gave. Cases that are not known any more are left out."""
        report = cls(list(text["systems"]), text["machine"], text["systems"])
        for case, entry in text["cases"].items():
            for metric, line in entry["metrics"].items():
                for system, values in line["samples"].items():
                    if case in CASES:
                        report.samples[case, metric, system] = Samples(values, line["unit"])
        for reasons, name in ((report.errors, "errors"), (report.skipped, "skipped")):
            for one in text[name]:
                if one["case"] in CASES:
                    reasons[one["case"], one["system"]] = one["why"]
        return report

    def only(self, cases: list[str]) -> Report:
        """The same of these cases alone."""
        part = Report(self.systems, self.machine, self.versions)
        part.samples = {key: value for key, value in self.samples.items() if key[0] in cases}
        part.errors = {key: value for key, value in self.errors.items() if key[0] in cases}
        part.skipped = {key: value for key, value in self.skipped.items() if key[0] in cases}
        return part

    def as_text(self) -> str:
        return f"{self.machine}. {self.summary()}.\n\n{self.table()}"


def as_list(reasons: dict[tuple[str, str], str]) -> list[dict[str, str]]:
    return [{"case": case, "system": system, "why": why} for (case, system), why in reasons.items()]


def filled(document: str, block: str) -> str:
    """The document with ``block`` between its marks.

    Raises:
        ValueError: there are no marks, or not one after the other.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no {BEGIN} ... {END} to fill")
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def shown(value: float) -> str:
    """Three figures that mean something, without exponents."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
