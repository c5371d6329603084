"""A distributed runtime for Python: tasks, actors and shared-memory objects."""

from __future__ import annotations

from . import exceptions

__version__ = "0.1.0"

__all__ = ["__version__", "exceptions"]
