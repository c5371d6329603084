# SPDX-License-Identifier: Apache-2.0
"""The benchmark: ``skyray bench``.

    command.py       the command line: runs every case in a fresh process, systems taking turns
    child.py         that process; also run by interpreters that have no skyray
    cases/           what is measured and claimed, a module per group
    measure.py       rates and the spread of single calls
    process_tree.py  what a run's processes take, and which it leaves behind
    report.py        medians, ratios, verdicts: table, JSON, block of a document
    plot.py          the ratios as an SVG
    microscope.py    where the time of one operation goes, process by process

Nothing here imports skyray: what is measured is named on the command line. Inside the package
imports are relative, as child.py loads it under another name.
"""
