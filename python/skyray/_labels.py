# SPDX-License-Identifier: Apache-2.0
"""Labels of nodes, and selectors of them: what a user writes, checked, for the core."""

from __future__ import annotations

import re
from typing import Any

# Terms, all of which must hold: (key, "in" | "not_in" | "exists" | "missing", values).
Term = tuple[str, str, list[str]]
Selector = list[Term]

_NAME = r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?"
_KEY = re.compile(rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}")
_VALUE = re.compile(rf"({_NAME})?")
_ONE_OF = re.compile(r"in\((.*)\)")


def parse_selector(selector: dict[str, str]) -> Selector:
    """``{"zone": "in(a,b)", "disk": "!hdd"}`` in terms.

    Raises:
        ValueError: a key or a value that no label can have, or an unknown operator.
        TypeError: a key or a value that is not a str.
    """
    return [_term(key, value) for key, value in selector.items()]


def _term(key: Any, text: Any) -> Term:
    if not isinstance(key, str) or not isinstance(text, str):
        raise TypeError(
            f"A label_selector must be of type Dict[str, str], got {key!r}: {text!r}; "
            'for example {"zone": "in(a,b)"}'
        )
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"Invalid label key name `{key}`. Name must be 63 chars or less beginning and ending "
            "with an alphanumeric character ([a-z0-9A-Z]) with dashes (-), underscores (_), "
            "dots (.), and alphanumerics between."
        )
    negated = text.startswith("!")
    rest = text[1:] if negated else text
    one_of = _ONE_OF.fullmatch(rest)
    values = [value.strip() for value in one_of[1].split(",")] if one_of else [rest]
    lacking = "" in values and (negated or one_of is not None)
    if lacking or not all(_VALUE.fullmatch(value) for value in values):
        raise ValueError(
            f"Invalid label selector value `{text}`. The label selector value should contain "
            "optional operators and a label value. Supported operators are: ! and {'in'}. Value "
            "must be 63 chars or less beginning and ending with an alphanumeric character "
            "([a-z0-9A-Z]) with dashes (-), underscores (_), dots (.), and alphanumerics between."
        )
    return key, "not_in" if negated else "in", values
