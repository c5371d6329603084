# SPDX-License-Identifier: Apache-2.0
"""The exceptions: their tree, that they travel, and that each code has one."""

from __future__ import annotations

import pickle
import re
import sys
import threading
import types
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from skyray import _error_codes, exceptions
from skyray._error_codes import error_for
from skyray._serialization import dump_task_error, load_task_error
from skyray.exceptions import (
    ActorDiedError,
    ActorUnschedulableError,
    RayError,
    RayTaskError,
    TaskUnschedulableError,
)

ROOT = Path(__file__).parents[2]
SCHEMA = (ROOT / "fbs" / "error.fbs").read_text()
CODES = re.findall(r"^  (\w+)(?: = 0)?,", SCHEMA, re.MULTILINE)

EXAMPLES: dict[str, Any] = {
    "ActorUnavailableError": lambda cls: cls("it restarts", b"\1" * 16),
    "ActorDiedError": lambda cls: cls("it was killed by signal 9", "01" * 16),
    "RayTaskError": lambda cls: cls("f", "Traceback (most recent call last):\nE: x", KeyError(1)),
    "TaskCancelledError": lambda cls: cls("ab", "because"),
    "ObjectReconstructionFailedError": lambda cls: cls("ab", 3, "no lineage"),
    "RpcError": lambda cls: cls("broken pipe", 14),
    "RayActorError": lambda cls: cls("01" * 16, "gone", True, True),
}


def raised(error: BaseException) -> BaseException:
    """``error`` with a traceback through user code."""
    try:
        raise error
    except BaseException as caught:
        return caught


def as_seen_by_the_caller(error: BaseException, name: str = "f") -> BaseException:
    payload = dump_task_error(raised(error), name, "10.0.0.1", None, None)
    return load_task_error(payload)


@pytest.mark.parametrize("name", exceptions.__all__)
def test_every_exception_survives_pickling(name: str) -> None:
    cls = getattr(exceptions, name)
    error = EXAMPLES.get(name, lambda cls: cls("something happened"))(cls)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert issubclass(cls, RayError)


def test_every_code_of_the_schema_has_an_exception_at_its_number() -> None:
    assert list(_error_codes._BY_CODE) == CODES
    for number, code in enumerate(CODES[1:], start=1):
        error = error_for(number, "what happened here", "01" * 16)
        assert "what happened here" in str(error), code


def test_an_unknown_code_is_an_error_of_the_system() -> None:
    assert isinstance(error_for(250, "newer", ""), exceptions.RaySystemError)


def test_unschedulable_tells_actors_from_tasks() -> None:
    code = CODES.index("Unschedulable")
    assert isinstance(error_for(code, "m", ""), TaskUnschedulableError)
    assert isinstance(error_for(code, "m", "01" * 16), ActorUnschedulableError)


def test_task_error_is_of_the_users_type_too() -> None:
    error = as_seen_by_the_caller(ZeroDivisionError("division by zero"))
    assert isinstance(error, ZeroDivisionError)
    assert isinstance(error, RayTaskError)
    assert type(error).__name__ == "RayTaskError(ZeroDivisionError)"
    assert isinstance(error.cause, ZeroDivisionError)
    assert error.args == (error.cause,)
    first, *_, last = str(error).splitlines()
    assert first.startswith("skyray::f() (pid=")
    assert last == "ZeroDivisionError: division by zero"
    assert "in raised" in str(error), "the user's frames are there"


def test_task_error_can_be_pickled_again() -> None:
    error = as_seen_by_the_caller(KeyError("k"))
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, KeyError)
    assert str(again) == str(error)


def test_what_c_types_keep_beside_dict_is_kept() -> None:
    error = as_seen_by_the_caller(FileNotFoundError(2, "No such file", "a.txt"))
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.strerror, error.filename) == (2, "No such file", "a.txt")


class WantsTwo(Exception):
    def __init__(self, left: int, right: int) -> None:
        super().__init__("odd")
        self.left = left
        self.right = right


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class HoldsALock(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class Final(Exception):
    def __init_subclass__(cls) -> None:
        raise TypeError("Final is final")


def test_constructor_that_does_not_take_its_args() -> None:
    error = as_seen_by_the_caller(WantsTwo(1, 2))
    assert isinstance(error, WantsTwo)
    assert (error.left, error.right) == (1, 2)


def test_constructor_with_keywords_only() -> None:
    error = as_seen_by_the_caller(KeywordOnly(code=7))
    assert isinstance(error, KeywordOnly)
    assert error.code == 7


def test_exception_that_cannot_be_pickled_keeps_its_traceback() -> None:
    error = as_seen_by_the_caller(HoldsALock())
    assert type(error) is RayTaskError
    assert "HoldsALock: locked" in str(error)
    assert "isn't serializable" in str(error.cause)


def test_exception_that_cannot_be_loaded_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("skyray_only_at_the_worker")
    cls = type("Gone", (Exception,), {"__module__": module.__name__})
    vars(module)["Gone"] = cls
    with monkeypatch.context() as context:
        context.setitem(sys.modules, module.__name__, module)
        payload = dump_task_error(raised(cls("far away")), "f", "", None, None)
    error = load_task_error(payload)
    assert isinstance(error, exceptions.UnserializableException)
    assert "Gone: far away" in str(error)


def test_type_that_cannot_be_derived_from_is_reported() -> None:
    with pytest.warns(RuntimeWarning, match="Final is final"):
        error = as_seen_by_the_caller(Final("x"))
    assert type(error) is RayTaskError
    assert isinstance(error.cause, Final)


def test_failure_of_a_failure_names_the_first_cause() -> None:
    inner = as_seen_by_the_caller(ValueError("first"), "inner")
    outer = as_seen_by_the_caller(inner, "outer")
    assert isinstance(outer, ValueError)
    assert isinstance(outer, RayTaskError)
    assert type(outer.cause) is ValueError
    assert "skyray::outer()" in str(outer)
    assert "skyray::inner()" in str(outer)


def test_failed_init_of_an_actor() -> None:
    error = as_seen_by_the_caller(KeyError("boo"), "Counter.__init__")
    assert isinstance(error, ActorDiedError)
    assert error.actor_init_failed
    assert "error raised in its creation task" in str(error)
    assert "KeyError: 'boo'" in str(error)


def test_exception_of_main_travels_by_value() -> None:
    local = type("Mine", (ValueError,), {"__module__": "__main__"})
    error = as_seen_by_the_caller(local("x"))
    assert isinstance(error, ValueError)
    assert type(error).__name__ == "RayTaskError(Mine)"
    assert cloudpickle.loads(cloudpickle.dumps(error)).args


def test_chained_exceptions_are_all_in_the_text() -> None:
    try:
        try:
            raise KeyError("below")
        except KeyError as below:
            raise ValueError("above") from below
    except ValueError as error:
        payload = dump_task_error(error, "f", "", None, None)
    text = str(load_task_error(payload))
    assert "KeyError: 'below'" in text
    assert "direct cause" in text
    assert text.splitlines()[-1] == "ValueError: above"
