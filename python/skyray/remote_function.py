# SPDX-License-Identifier: Apache-2.0
"""Functions that run somewhere in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar, cast

from . import _core
from ._arity import arity_of, parameters_of
from ._lifecycle import ensure_connected
from ._worker import Code
from .options import (
    ASYNC_GENERATOR,
    COROUTINE,
    GENERATOR,
    TASK,
    check_yields,
    code_flags,
    remote_with_options,
    resources_of,
    returns_of,
    scheduling_of,
    selectors_of,
    validate_options,
    value_of,
)

if TYPE_CHECKING:
    from .dag import FunctionNode

__all__ = ["RemoteFunction"]

R = TypeVar("R")


class RemoteFunction(Generic[R]):
    """A function whose calls run in a worker process: ``f.remote(...)``.

    Args:
        function: what to run.
        options: of its tasks, checked already.
        code: that of the same function with other options.

    Attributes:
        remote: ``remote(*args, **kwargs)`` queues a call and returns an ObjectRef at
            once; a list of them if ``num_returns`` is above 1, None if it is 0, and an
            ObjectRefGenerator if the function is a generator.
            Arguments that are ObjectRefs are resolved before the function runs.
    """

    def __init__(
        self, function: Callable[..., R], options: dict[str, Any], code: Code | None = None
    ) -> None:
        flags = code_flags(function)
        if (flags or 0) & (COROUTINE | ASYNC_GENERATOR):
            raise ValueError(
                "'async def' should not be used for remote tasks. You can wrap the async function "
                f"with `asyncio.run(f())`, or make {_name(function)} a method of an actor."
            )
        yields = flags is None or bool(flags & GENERATOR)
        check_yields(options.get("num_returns"), _name(function), yields=yields)
        self._function = function
        self._options = options
        self._code = code or Code(function, _name(function))
        self.__doc__ = function.__doc__
        self.__name__ = _name(function)
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__module__ = getattr(function, "__module__", __name__)
        self.__wrapped__ = function
        # Straight into the extension: no Python code runs when it is called.
        self.remote = _core.RemoteCall(self._prepare, arity_of(parameters_of(function))).remote

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = f"{self.__module__}.{self.__name__}"
        raise TypeError(
            "Remote functions cannot be called directly. Instead of running "
            f"'{name}()', try '{name}.remote()'."
        )

    def options(self, **options: Any) -> RemoteFunction[R]:
        """The same function with other options; this one keeps its own.

        Raises:
            ValueError, TypeError: an option that cannot be.
            NotImplementedError: an option that only a later version knows.
        """
        validate_options(TASK, options, in_options=True)
        return RemoteFunction(self._function, {**self._options, **options}, self._code)

    _remote = remote_with_options

    def bind(self, *args: Any, **kwargs: Any) -> FunctionNode:
        """A call to be made later, as a node of a graph: see :mod:`skyray.dag`."""
        from .dag import FunctionNode

        return FunctionNode(self, args, kwargs)

    def __reduce__(self) -> Any:
        return RemoteFunction, (self._function, self._options)

    def _max_calls(self, resources: dict[str, float]) -> int:
        given: int | None = self._options.get("max_calls")
        if given is None:
            # What a library keeps of a GPU's memory goes with its process.
            return 1 if resources.get("GPU") else 0
        return given

    def _prepare(self) -> _core.TaskOptions:
        from ._serialization import dump_retry_exceptions

        resources = resources_of(TASK, self._options)
        connection = ensure_connected()
        is_generator = bool((code_flags(self._function) or 0) & GENERATOR)
        options: _core.TaskOptions = {
            "function_id": self._code.export(connection),
            "name": self._options.get("name") or self.__name__,
            "resources": resources,
            "max_retries": value_of(TASK, self._options, "max_retries"),
            "max_calls": self._max_calls(resources),
            "retry_exceptions": dump_retry_exceptions(self._options.get("retry_exceptions")),
            "strategy": scheduling_of(self._options),
            "selectors": selectors_of(self._options),
            "runtime_env": connection.environment_for(self._options.get("runtime_env")),
            "enable_task_events": value_of(TASK, self._options, "enable_task_events"),
        }
        returns = returns_of(self._options, is_generator=is_generator)
        options.update(cast("_core.TaskOptions", returns))
        return options


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
