# SPDX-License-Identifier: Apache-2.0
"""``python -m skyray`` is the ``skyray`` command."""

import sys

from .cli import main

sys.exit(main())
