# SPDX-License-Identifier: Apache-2.0
"""The version, for those who must not import the package to know it."""

__version__ = "0.1.0"
