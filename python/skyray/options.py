# SPDX-License-Identifier: Apache-2.0
"""The options of tasks, actors and methods: one table, checked by name, type and range."""

from __future__ import annotations

import math
from typing import Any, Callable

from ._labels import Selector, parse_selector
from .runtime_env import check as check_runtime_env

__all__ = ["validate_options"]

TASK, ACTOR, METHOD = "remote functions", "actors", "actor methods"

# What a resource's amount may be a multiple of.
GRANULARITY = 0.0001
AMOUNT_MAX = 1e14
# Values of num_returns for functions that yield what they return.
GENERATORS = ("streaming", "dynamic")
# In the flags of code.
COROUTINE = 0x80
GENERATOR = 0x20
ASYNC_GENERATOR = 0x200
# Calls of an actor, or of one of its concurrency groups, that run at once.
CONCURRENCY_MAX = 1_000_000
# Resources that more than one of can only be had whole.
UNIT_RESOURCES = ("GPU",)

_Number = (float, int, type(None))
_OptionalInt = (int, type(None))
_OptionalStr = (str, type(None))
_OptionalBool = (bool, type(None))
_OptionalDict = (dict, type(None))


class Option:
    """One option.

    Args:
        scopes: what may have it.
        types: what its value may be an instance of; None: anything.
        default: what holds where it is not given.
        check: returns what is wrong with a value of the right type, or None.
        only_default: no other value than the default (or None) is implemented.
        in_options: whether ``.options()`` takes it too.
    """

    def __init__(
        self,
        *scopes: str,
        types: type | tuple[type, ...] | None,
        default: Any = None,
        check: Callable[[Any], str | None] | None = None,
        only_default: bool = False,
        in_options: bool = True,
    ) -> None:
        self.scopes = scopes
        self.types = types
        self.default = default
        self.check = check
        self.only_default = only_default
        self.in_options = in_options

    def validate(self, name: str, value: Any) -> None:
        if self.types is not None and not isinstance(value, self.types):
            raise TypeError(
                f"The type of keyword '{name}' must be {self.types}, "
                f"but received type {type(value)}"
            )
        wrong = self.check(value) if self.check and value is not None else None
        if wrong:
            raise ValueError(wrong)
        if self.only_default and value != self.default and value:
            raise NotImplementedError(
                f"{name}={value!r}: this version of skyray has no '{name}' yet. "
                "Leave the option out."
            )


def _quantity(name: str, amount: Any) -> str | None:
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise TypeError(
            f"The quantity of resource {name} must be a number, but received type {type(amount)}"
        )
    if not math.isfinite(amount):
        return f"The quantity of resource {name} must be finite, got {amount}"
    if amount < 0:
        return f"The quantity of resource {name} cannot be negative"
    if amount > AMOUNT_MAX:
        return f"The quantity of resource {name} is at most {AMOUNT_MAX:g}, got {amount}"
    if 0 < amount < GRANULARITY:
        return (
            f"The precision of the fractional quantity of resource {name}"
            f" cannot go beyond {GRANULARITY}"
        )
    return None


# Of a host; and what is not shared by several processes.
_TPU_CHIPS = (1, 2, 4, 8)
_WHOLE_ACCELERATORS = frozenset({"neuron_cores", "HPU", "RBLN", "MBLT", "FURIOSA", "TTNPU"})


def _amount_of(name: str) -> Callable[[Any], str | None]:
    return lambda amount: _quantity(name, amount)


def _resources(resources: dict[str, Any]) -> str | None:
    if "CPU" in resources or "GPU" in resources:
        return (
            "Use the 'num_cpus' and 'num_gpus' keyword instead of 'CPU' and 'GPU' "
            "in 'resources' keyword"
        )
    for name, amount in resources.items():
        if not isinstance(name, str):
            raise TypeError(f"The name of a resource must be a str, but received {name!r}")
        if not name or "=" in name or not name.isprintable():
            return f"The name of a resource must be printable and have no '=', got {name!r}"
        wrong = _quantity(name, amount) or _accelerators(name, amount)
        if wrong:
            return wrong
    return None


def _accelerators(name: str, amount: float) -> str | None:
    if name == "TPU" and amount not in _TPU_CHIPS:
        return (
            f"The number of requested 'TPU' was set to {amount} which is not a supported chip "
            f"configuration. Supported configs: {_TPU_CHIPS}"
        )
    if name in _WHOLE_ACCELERATORS and amount != int(amount):
        return (
            f"{name} resource quantity must be whole numbers. The specified quantity {amount} is "
            "invalid."
        )
    return None


def _count(name: str, infinite: bool) -> Callable[[Any], str | None]:
    def check(value: int) -> str | None:
        if value >= (-1 if infinite else 0):
            return None
        if infinite:
            return (
                f"The keyword '{name}' only accepts None, 0, -1 or a positive integer, "
                f"where -1 represents infinity; got {value}."
            )
        return f"The keyword '{name}' only accepts None, 0 or a positive integer; got {value}."

    return check


def _max_concurrency(value: int) -> str | None:
    if 1 <= value <= CONCURRENCY_MAX:
        return None
    return f"max_concurrency must be between 1 and {CONCURRENCY_MAX}, got {value}."


def _concurrency_groups(value: dict[Any, Any]) -> str | None:
    for name, limit in value.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"The name of a concurrency group must be a str, but received {name!r}")
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(
                f"The limit of concurrency group {name!r} must be an int, but received {limit!r}"
            )
        if not 1 <= limit <= CONCURRENCY_MAX:
            return (
                f"The limit of concurrency group {name!r} must be between 1 and "
                f"{CONCURRENCY_MAX}, got {limit}."
            )
    return None


def _backpressure(value: int) -> str | None:
    if value == -1 or value > 0:
        return None
    return (
        "The keyword '_generator_backpressure_num_objects' must be a positive number, or -1, "
        f"which is no limit; got {value}."
    )


def _num_returns(value: Any) -> str | None:
    if value in GENERATORS or (isinstance(value, int) and value >= 0):
        return None
    return (
        "The keyword 'num_returns' only accepts None (which is 1), a non-negative integer, "
        f"'streaming' or 'dynamic'; got {value!r}."
    )


def _retry_exceptions(value: Any) -> str | None:
    items = [] if isinstance(value, bool) else value
    if all(isinstance(item, type) and issubclass(item, Exception) for item in items):
        return None
    return "retry_exceptions must be either a boolean or a list of exceptions"


def _lifetime(value: str) -> str | None:
    if value in ("detached", "non_detached"):
        return None
    return "actor `lifetime` argument must be one of 'detached', 'non_detached' and 'None'."


def _strategy(value: Any) -> str | None:
    if value in ("DEFAULT", "SPREAD") or hasattr(value, "_scheduling"):
        return None
    return (
        f"Invalid scheduling_strategy value {value!r}. Valid values are None, 'DEFAULT', 'SPREAD' "
        "or a skyray.util.scheduling_strategies.NodeAffinitySchedulingStrategy."
    )


def _label_selector(value: dict[str, str]) -> str | None:
    parse_selector(value)
    return None


def _fallback_strategy(value: list[Any]) -> str | None:
    for choice in value:
        if not isinstance(choice, dict):
            return "Each element in fallback_strategy must be a dictionary."
        if not choice:
            return "Empty dictionary found in `fallback_strategy`."
        for name, selector in choice.items():
            if name != "label_selector":
                return (
                    f"Unsupported option found: {name!r}. Only ['label_selector'] is currently "
                    "supported."
                )
            if not isinstance(selector, dict):
                return 'The value of "label_selector" must be a dictionary.'
            parse_selector(selector)
    return None


def _actor_name(value: str | None) -> str | None:
    return "Actor name cannot be an empty string." if value == "" else None


def _namespace(value: str | None) -> str | None:
    return '"" is not a valid namespace. Pass None to not specify one.' if value == "" else None


def _later(*scopes: str, default: Any = None, types: Any = None) -> Option:
    return Option(*scopes, types=types, default=default, only_default=True)


_BOTH = (TASK, ACTOR)

# The one list. A name may have one entry per scope if the scopes differ in it.
OPTIONS: list[tuple[str, Option]] = [
    ("num_cpus", Option(TASK, types=_Number, default=1, check=_amount_of("num_cpus"))),
    ("num_cpus", Option(ACTOR, types=_Number, check=_amount_of("num_cpus"))),
    ("num_gpus", Option(*_BOTH, types=_Number, check=_amount_of("num_gpus"))),
    ("memory", Option(*_BOTH, types=_Number, check=_amount_of("memory"))),
    ("resources", Option(*_BOTH, types=_OptionalDict, check=_resources)),
    ("accelerator_type", Option(*_BOTH, types=_OptionalStr)),
    ("scheduling_strategy", Option(*_BOTH, types=None, check=_strategy)),
    ("name", Option(TASK, METHOD, types=_OptionalStr)),
    ("name", Option(ACTOR, types=_OptionalStr, check=_actor_name)),
    ("num_returns", Option(TASK, METHOD, types=(int, str, type(None)), check=_num_returns)),
    ("max_retries", Option(TASK, types=_OptionalInt, default=3, check=_count("max_retries", True))),
    (
        "retry_exceptions",
        Option(
            TASK,
            types=(bool, list, tuple),
            default=False,
            check=_retry_exceptions,
        ),
    ),
    (
        "max_restarts",
        Option(ACTOR, types=_OptionalInt, default=0, check=_count("max_restarts", True)),
    ),
    (
        "max_task_retries",
        Option(
            ACTOR,
            types=_OptionalInt,
            default=0,
            check=_count("max_task_retries", True),
        ),
    ),
    ("max_concurrency", Option(ACTOR, types=_OptionalInt, check=_max_concurrency)),
    ("lifetime", Option(ACTOR, types=_OptionalStr, check=_lifetime)),
    ("namespace", Option(ACTOR, types=_OptionalStr, check=_namespace)),
    ("get_if_exists", Option(ACTOR, types=bool, default=False)),
    ("enable_task_events", Option(*_BOTH, METHOD, types=bool, default=True)),
    # Accepted, and without an effect: what they steer is not there to be steered.
    ("_labels", Option(*_BOTH, types=_OptionalDict)),
    ("allow_out_of_order_execution", Option(ACTOR, types=_OptionalBool)),
    (
        "max_calls",
        Option(TASK, types=_OptionalInt, check=_count("max_calls", False), in_options=False),
    ),
    (
        "max_pending_calls",
        Option(ACTOR, types=_OptionalInt, default=-1, check=_count("max_pending_calls", True)),
    ),
    (
        "concurrency_groups",
        Option(ACTOR, types=_OptionalDict, check=_concurrency_groups, in_options=False),
    ),
    ("concurrency_group", Option(METHOD, types=_OptionalStr)),
    (
        "max_task_retries",
        Option(METHOD, types=_OptionalInt, check=_count("max_task_retries", True)),
    ),
    (
        "retry_exceptions",
        Option(METHOD, types=(bool, list, tuple), default=False, check=_retry_exceptions),
    ),
    ("runtime_env", Option(*_BOTH, types=_OptionalDict, check=check_runtime_env)),
    ("label_selector", Option(*_BOTH, types=_OptionalDict, check=_label_selector)),
    (
        "fallback_strategy",
        Option(*_BOTH, types=(list, type(None)), check=_fallback_strategy),
    ),
    ("object_store_memory", _later(*_BOTH, types=_OptionalInt)),
    ("placement_group", _later(*_BOTH, default="default")),
    ("placement_group_bundle_index", _later(*_BOTH, types=int, default=-1)),
    ("placement_group_capture_child_tasks", _later(*_BOTH, types=_OptionalBool)),
    (
        "_generator_backpressure_num_objects",
        Option(TASK, METHOD, types=_OptionalInt, check=_backpressure),
    ),
    ("_num_objects_per_yield", _later(TASK, METHOD, types=_OptionalInt, default=1)),
    (
        "_actor_generator_backpressure_num_objects",
        Option(ACTOR, types=_OptionalInt, default=-1, check=_backpressure),
    ),
    ("enable_tensor_transport", _later(ACTOR, types=_OptionalBool)),
    ("tensor_transport", _later(METHOD)),
]


def _scope(scope: str) -> dict[str, Option]:
    return {name: option for name, option in OPTIONS if scope in option.scopes}


_BY_SCOPE = {scope: _scope(scope) for scope in (TASK, ACTOR, METHOD)}
DECORATOR_ERROR = (
    "The @skyray.remote decorator must be applied either with no arguments and no parentheses, "
    "for example '@skyray.remote', or it must be applied using some of the arguments in the list "
    f"{sorted({name for name, option in OPTIONS if METHOD not in option.scopes})}, for example "
    "'@skyray.remote(num_returns=2, resources={\"CustomResource\": 1})'."
)


def validate_options(scope: str, options: dict[str, Any], *, in_options: bool) -> None:
    """Checks what a user gave.

    Args:
        scope: TASK, ACTOR or METHOD.
        options: by name.
        in_options: whether it was given to ``.options()``.

    Raises:
        ValueError: no such option, or a value outside of its range.
        TypeError: a value of the wrong type, or no such option in a method's ``.options()``.
        AssertionError: no such option in ``@method()``.
        NotImplementedError: a value that only a later version knows.
    """
    table = _BY_SCOPE[scope]
    for name, value in options.items():
        option = table.get(name)
        if option is None:
            of_methods = TypeError if in_options else AssertionError
            raise (of_methods if scope == METHOD else ValueError)(
                f"Invalid option keyword {name} for {scope}. Valid ones are {list(table)}."
            )
        if in_options and not option.in_options:
            raise ValueError(f"Setting '{name}' is not supported in '.options()'.")
        option.validate(name, value)
    if scope == ACTOR and options.get("get_if_exists") and not options.get("name"):
        raise ValueError("The actor name must be specified to use `get_if_exists`.")


def value_of(scope: str, options: dict[str, Any], name: str) -> Any:
    """What was given for ``name``; its default if that is nothing or None."""
    value = options.get(name)
    return _BY_SCOPE[scope][name].default if value is None else value


def remote_with_options(self: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
    """As a method: ``self.options(**options).remote(*args, **kwargs)`` in one call."""
    return self.options(**options).remote(*(args or ()), **(kwargs or {}))


def code_flags(function: Any) -> int | None:
    """Of its code, as ``inspect.CO_...`` name them; None if it has none of Python's.

    Importing inspect takes longer than all else that a small program does.
    """
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return getattr(code, "co_flags", None)


def check_yields(num_returns: Any, name: str, *, yields: bool) -> None:
    """
    Raises:
        ValueError: each item is to be a value, of a function or method that has none.
    """
    if num_returns in GENERATORS and not yields:
        raise ValueError(
            f"num_returns={num_returns!r} can only be used with generator functions (those that "
            f"use 'yield'), and {name} is none."
        )


def returns_of(options: dict[str, Any], *, is_generator: bool) -> dict[str, Any]:
    """What the core has to know of what a function or method returns.

    Args:
        options: of the function or method.
        is_generator: whether it yields what it returns, unless it is told otherwise.

    Returns:
        ``num_returns``, and for a generator ``generator`` and ``items_untaken_max``; only
        what was given or follows from ``is_generator``.
    """
    chosen: dict[str, Any] = {}
    returns = options.get("num_returns")
    if returns is None and is_generator:
        returns = "streaming"
    if returns in GENERATORS:
        chosen = {"num_returns": 1, "generator": returns}
    elif returns is not None:
        chosen = {"num_returns": returns, "generator": ""}
    untaken = options.get("_generator_backpressure_num_objects")
    if untaken is not None:
        chosen["items_untaken_max"] = max(untaken, 0)
    return chosen


def resources_of(scope: str, options: dict[str, Any]) -> dict[str, float]:
    """All amounts asked for, by the name of the resource; without those that are 0.

    Raises:
        ValueError: more than one of a resource that can only be had whole, and a part.
    """
    amounts: dict[str, float] = {}
    for resource, name in (("CPU", "num_cpus"), ("GPU", "num_gpus"), ("memory", "memory")):
        amounts[resource] = float(value_of(scope, options, name) or 0)
    amounts.update({name: float(x) for name, x in (options.get("resources") or {}).items()})
    if scope == ACTOR and options.get("num_cpus") is None:
        # An actor holds no CPU while it runs, unless other resources are asked for.
        asks = options.get("num_gpus") is not None or options.get("resources")
        amounts["CPU"] = 1.0 if asks else 0.0
    kind = options.get("accelerator_type")
    if kind:
        amounts[f"accelerator_type:{kind}"] = 0.001
    for resource in UNIT_RESOURCES:
        amount = amounts[resource]
        if amount > 1 and amount != int(amount):
            raise ValueError(
                f"The quantity of resource {resource} must be whole when it is above 1, "
                f"got {amount}: ask for {math.floor(amount)} or {math.ceil(amount)}."
            )
    return {name: amount for name, amount in amounts.items() if amount}


def scheduling_of(options: dict[str, Any]) -> tuple[str, bytes, bool]:
    """Where it may run: (strategy, id of a node or b"", soft)."""
    strategy = options.get("scheduling_strategy")
    if strategy is None:
        return "DEFAULT", b"", False
    if isinstance(strategy, str):
        return strategy, b"", False
    where: tuple[str, bytes, bool] = strategy._scheduling()
    return where


def selectors_of(options: dict[str, Any]) -> list[Selector]:
    """On nodes with which labels it may run, the best choice first; none: on all."""
    choices = [options.get("label_selector") or {}]
    choices += [choice["label_selector"] for choice in options.get("fallback_strategy") or ()]
    wanted = [parse_selector(choice) for choice in choices]
    strategy: Any = options.get("scheduling_strategy")
    of_strategy = strategy._selectors() if hasattr(strategy, "_selectors") else [[]]
    both = [one + other for one in wanted for other in of_strategy]
    return both if any(both) else []
