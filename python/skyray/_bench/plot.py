# SPDX-License-Identifier: Apache-2.0
"""How many times better, case by case, as an SVG: bars on a logarithmic axis.

Written by hand, as it takes no more than rectangles and text. It brings its own background, so it
reads the same on a light page and on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape

from .report import OURS, Report, shown

ROW, TOP, LABELS, BARS, FIGURES = 18, 58, 250, 430, 200
WIDTH = LABELS + BARS + FIGURES
MET, MISSED, PLAIN = "#1a7f5a", "#c2571a", "#5b6b7b"
INK, FAINT, PAPER = "#1c2630", "#d5dce3", "#ffffff"
STEPS = (1, 2, 5)
CROWDED = 500  # From here on the steps' labels would touch.


def plot(report: Report) -> str:
    """One bar per metric that was measured on two systems and has a claim.

    Raises:
        ValueError: there is no such metric.
    """
    rows = [
        (case, metric, ratio)
        for case in report.cases()
        for metric in report.metrics(case)
        if str(report.claim(case, metric))
        for ratio in [report.ratio(case, metric)]
        if ratio is not None and 0 < ratio < math.inf
    ]
    if not rows:
        raise ValueError("a plot takes cases measured on two systems (--against)")
    low = min(0.5, *(ratio for _, _, ratio in rows))
    high = max(2.0, *(ratio for _, _, ratio in rows))

    def x(ratio: float) -> float:
        span = math.log(high) - math.log(low)
        return LABELS + BARS * (math.log(min(max(ratio, low), high)) - math.log(low)) / span

    height = TOP + ROW * len(rows) + 14
    parts = [*heading(report, height), *axis(low, high, x, height)]
    for number, (case, metric, ratio) in enumerate(rows):
        parts += bar(report, case, metric, ratio, x, TOP + ROW * number)
    return "\n".join([*parts, "</svg>", ""])


def heading(report: Report, height: int) -> list[str]:
    others = [report.named(system) for system in report.systems if system != OURS]
    title = f"{report.named(OURS)}: how many times {' or, where that has none, '.join(others)}"
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
        text(12, 20, title, size=14),
        text(12, 36, f"{report.machine}. The mark on a bar is what is claimed.", fill=PLAIN),
    ]


def axis(low: float, high: float, x: Callable[[float], float], height: int) -> list[str]:
    parts = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for step in STEPS:
            tick = step * 10.0**power
            if not low <= tick <= high:
                continue
            parts.append(
                f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 6}" '
                f'y2="{height - 10}" stroke="{INK if tick == 1 else FAINT}"/>'
            )
            if step == 1 or high / low < CROWDED:
                parts.append(text(x(tick), TOP - 9, f"{tick:,g}x", anchor="middle", fill=PLAIN))
    return parts


def bar(
    report: Report, case: str, metric: str, ratio: float, x: Callable[[float], float], y: int
) -> list[str]:
    claim = report.claim(case, metric)
    verdict = report.verdict(case, metric, claim)
    color = {"yes": MET, "no": MISSED}.get(verdict, PLAIN)
    left, right = sorted((x(1), x(ratio)))
    unit = report.unit(case, metric)
    values = [report.value(case, metric, system) for system in report.systems]
    figures = " : ".join("-" if value is None else shown(value) for value in values)
    parts = [
        text(LABELS - 8, y + 13, f"{case} {metric}", anchor="end"),
        f'<rect x="{left:.1f}" y="{y + 3}" width="{max(right - left, 1):.1f}" height="{ROW - 6}" '
        f'fill="{color}"/>',
        text(LABELS + BARS + 8, y + 13, f"{ratio:.1f}x"),
        text(LABELS + BARS + 58, y + 13, f"{figures} {unit}".strip(), fill=PLAIN),
    ]
    if claim.times is not None:
        at = x(claim.times)
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y + 1}" y2="{y + ROW - 1}" '
            f'stroke="{INK}" stroke-width="2"/>'
        )
    return parts


def text(
    x: float, y: float, words: str, *, anchor: str = "start", fill: str = INK, size: int = 11
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" '
        f'font-size="{size}">{escape(words)}</text>'
    )
