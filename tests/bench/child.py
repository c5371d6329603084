# SPDX-License-Identifier: Apache-2.0
"""Runs one case on one system in this process: python child.py MODULE CASE.

The last line of standard output is the metrics as JSON; everything else goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys

import cases


def main() -> None:
    module_name, case_name = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What the system or its workers print is not the result.
    metrics = cases.load()[case_name].run(cases.Bench(module_name))
    print(json.dumps(metrics), file=out, flush=True)


if __name__ == "__main__":
    main()
