# SPDX-License-Identifier: Apache-2.0
"""Classes whose instances live in a worker process of their own."""

from __future__ import annotations

import functools
import pickle
import types
from typing import TYPE_CHECKING, Any, Callable, NoReturn, TypeVar, cast, overload

from . import _core
from ._arity import Parameters, arity_of, parameters_of
from ._lifecycle import ensure_connected
from ._worker import Code, current
from .options import (
    ACTOR,
    ASYNC_GENERATOR,
    GENERATOR,
    METHOD,
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

__all__ = [
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorMethod",
    "exit_actor",
    "method",
]

F = TypeVar("F", bound=Callable[..., Any])

# Answered by every actor, whatever its class.
_BUILT_IN = ("__ray_ready__", "__ray_call__", "__ray_terminate__")
_METHOD_OPTIONS = "__skyray_method_options__"
# Calls of an async actor that run at once unless the user says otherwise.
_ASYNC_CONCURRENCY = 1000


class ActorClassInheritanceException(TypeError):
    """A class was derived from an actor class."""


@overload
def method(function: F, /) -> F: ...
@overload
def method(**options: Any) -> Callable[[F], F]: ...
def method(*args: Any, **options: Any) -> Any:
    """Sets options of an actor's method: ``@method(num_returns=2)``.

    Without any it changes nothing: ``@method``.

    Raises:
        ValueError: a value outside of its range.
        TypeError: a value of the wrong type.
        NotImplementedError: an option that only a later version knows.
        AssertionError: no such option, or more than options.
    """
    if len(args) == 1 and not options and callable(args[0]):
        return args[0]
    used_well = not args
    assert used_well, (
        "The @skyray.method decorator must be applied using options by name, for example "
        "'@skyray.method(num_returns=2)'."
    )
    validate_options(METHOD, options, in_options=False)

    def annotate(function: F) -> F:
        flags = code_flags(function)
        yields = flags is None or bool(flags & (GENERATOR | ASYNC_GENERATOR))
        check_yields(options.get("num_returns"), function.__name__, yields=yields)
        setattr(function, _METHOD_OPTIONS, options)
        return function

    return annotate


if TYPE_CHECKING:
    from collections.abc import Collection

    from .dag import ClassMethodNode, ClassNode

    # What it takes, and its options.
    _MethodDescription = tuple[Parameters, _core.MethodOptions]


class ActorMethod:
    """One method of one actor.

    Attributes:
        remote: ``remote(*args, **kwargs)`` queues a call and returns an ObjectRef at
            once; a list of them if ``num_returns`` is above 1, None if it is 0.
            One caller's calls run in the order in which it makes them; those of an actor that
            runs several at once, or may take them out of order, as their arguments are ready.
    """

    __slots__ = ("_core", "_description", "_groups", "_name", "remote")

    def __init__(
        self,
        core: _core.ActorCore,
        name: str,
        description: _MethodDescription,
        groups: Collection[str],
    ) -> None:
        self._core = core
        self._name = name
        self._description = description
        self._groups = groups
        parameters, options = description
        # Straight into the extension: no Python code runs when it is called.
        self.remote = core.method(name, options, arity_of(parameters)).remote

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "Actor methods cannot be called directly. Instead of running "
            f"'object.{self._name}()', try 'object.{self._name}.remote()'."
        )

    def options(self, **options: Any) -> ActorMethod:
        """The same method with other options.

        Raises:
            ValueError, TypeError, NotImplementedError: as :func:`method`; TypeError, too, for
                an option that there is not, ValueError for a concurrency group that the
                actor does not have.
        """
        validate_options(METHOD, options, in_options=True)
        parameters, own = self._description
        given = {name: value for name, value in options.items() if value is not None}
        if "concurrency_group" in given:
            _check_group(given["concurrency_group"], self._groups, self._name)
        # A generator's have it, and those that say so themselves.
        check_yields(given.get("num_returns"), self._name, yields="num_returns" in own)
        merged: _core.MethodOptions = {**own, **_core_options(given)}
        return ActorMethod(self._core, self._name, (parameters, merged), self._groups)

    _remote = remote_with_options

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        """A call to be made later, as a node of a graph: see :mod:`skyray.dag`."""
        from .dag import ClassMethodNode

        return ClassMethodNode(self, args, kwargs, {}, {})


class ActorHandle:
    """An actor, as its users see it: ``handle.method.remote(...)``.

    Can be passed to tasks and other actors. The actor ends when the last handle is
    gone, wherever it was, unless it is detached; first it does what is queued. Handles
    of get_actor() and of the actor itself do not count.
    """

    def __init__(self, core: _core.ActorCore, description: dict[str, Any]) -> None:
        self._core = core
        self._description = description
        pending_max = description.get("max_pending_calls", 0)
        if pending_max > 0:
            core.limit_pending(pending_max)
        if description.get("unordered"):
            core.set_unordered()

    def __getattr__(self, name: str) -> ActorMethod:
        # Only for names not found yet: the method stays in __dict__ from now on.
        if name in ("_core", "_description"):
            raise AttributeError(name)  # Half made, by copy or pickle.
        known = self._description["methods"].get(name)
        if known is None:
            raise AttributeError(
                f"'ActorHandle' object has no attribute '{name}': "
                f"{self._description['class_name']} has no such method"
            )
        parameters, options = known
        defaults: _core.MethodOptions = self._description["method_defaults"]
        merged: _core.MethodOptions = {**defaults, **options}
        bound = ActorMethod(self._core, name, (parameters, merged), self._description["groups"])
        self.__dict__[name] = bound
        return bound

    def __dir__(self) -> list[str]:
        own = [name for name in super().__dir__() if name.startswith("__")]
        return sorted({*own, *self._description["methods"]})

    # ``ActorHandle[Counter]`` says in an annotation of which class.
    __class_getitem__: Any = classmethod(types.GenericAlias)

    def __repr__(self) -> str:
        return f"Actor({self._description['class_name']}, {self._core.actor_id().hex()})"

    def __hash__(self) -> int:
        return hash(self._core.actor_id())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._core.actor_id() == other._core.actor_id()

    @property
    def _actor_id(self) -> _core.ActorID:
        return _core.ActorID(self._core.actor_id())

    @property
    def _ray_actor_id(self) -> _core.ActorID:
        return self._actor_id

    def __reduce__(self) -> Any:
        # Whoever has what share() gives keeps the actor alive; its creator counts them.
        return _handle_of, (self._core.actor_id(), self._description, self._core.share())


def _handle_of(actor_id: bytes, description: dict[str, Any], scope: Any = None) -> ActorHandle:
    ensure_connected()
    core = _core.actor_from_id(actor_id)
    if scope is not None:
        core.keep(scope)
    return ActorHandle(core, description)


def find_actor(name: str, namespace: str) -> ActorHandle:
    """The actor of that name.

    Raises:
        ValueError: there is none.
    """
    try:
        core, description = _core.get_named_actor(name, namespace)
    except ValueError as error:
        raise ValueError(f"Failed to look up actor with name '{name}': {error}") from None
    return ActorHandle(core, pickle.loads(description))


def own_handle() -> ActorHandle:
    """The handle of the actor that this process is.

    Raises:
        RuntimeError: it is none.
    """
    cls = ensure_connected().hooks.actor_class
    if cls is None:
        raise RuntimeError("This method is only available in an actor.")
    limits = dict(_core.context()["concurrency_groups"])
    description = {**_describe(cls, limits), "unordered": limits.get("", 1) > 1}
    return ActorHandle(_core.actor_from_id(_core.context()["actor_id"]), description)


class _Blueprint:
    """What all actors of a class have in common, worked out when the first one is made.

    Args:
        groups: its concurrency groups, checked, and how many calls of each run at once.

    Attributes:
        code: of the class.
    """

    def __init__(self, cls: type, groups: dict[str, int]) -> None:
        self.code = Code(cls, cls.__name__)
        self._groups = groups

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        """For handles.

        Raises:
            ValueError: a method is to run in a group that there is not.
        """
        return _describe(self.code.code, self._groups)

    @functools.cached_property
    def is_async(self) -> bool:
        return _is_async(self.code.code)

    @functools.cached_property
    def pickled(self) -> bytes:
        return pickle.dumps(self.description, protocol=5)

    @functools.cached_property
    def check_arguments(self) -> Callable[..., Any]:
        """Raises TypeError if a call of ``__init__`` would."""
        cls = self.code.code
        parameters = parameters_of(getattr(cls, "__init__", None), bound=True)
        if cls.__init__ is object.__init__ and cls.__new__ is object.__new__:
            parameters = ()
        bind, _, _ = arity_of(parameters)
        return bind

    def concurrency(self, max_concurrency: int | None) -> list[tuple[str, int]]:
        """How many calls of each group run at once; of the default one, "", first."""
        if max_concurrency is None:
            max_concurrency = _ASYNC_CONCURRENCY if self.is_async else 1
        return [("", max_concurrency), *self._groups.items()]


class ActorClass:
    """A class whose instances are actors: ``A.remote(...)`` makes one.

    Args:
        cls: the user's class.
        options: of its actors, checked already.
        blueprint: that of the same class with other options.
    """

    def __init__(
        self, cls: type, options: dict[str, Any], blueprint: _Blueprint | None = None
    ) -> None:
        self._cls = cls
        self._blueprint = blueprint or _Blueprint(cls, options.get("concurrency_groups") or {})
        self._options = options
        self.__doc__ = cls.__doc__
        self.__name__ = cls.__name__
        self.__qualname__ = cls.__qualname__
        self.__module__ = cls.__module__
        self.__ray_actor_class__ = cls

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"Actors cannot be instantiated directly. Instead of '{self.__name__}()', "
            f"use '{self.__name__}.remote()'."
        )

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        raise ActorClassInheritanceException(
            f"Attempted to derive from the actor class {self.__name__}. Inheriting from actor "
            "classes is not supported. Derive from the plain class, and make the derived one an "
            "actor class with skyray.remote()."
        )

    def __getattr__(self, name: str) -> Any:
        # What the class itself has: constants, static and class methods.
        if not name.startswith("__") and "_cls" in self.__dict__:
            try:
                return getattr(self._cls, name)
            except AttributeError:
                pass
        raise AttributeError(f"'ActorClass' object has no attribute '{name}'")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._cls)})

    def __reduce__(self) -> Any:
        return ActorClass, (self._cls, self._options)

    def __repr__(self) -> str:
        return f"ActorClass({self.__name__})"

    def options(self, **options: Any) -> ActorClass:
        """The same class with other options; this one keeps its own.

        Raises:
            ValueError, TypeError: an option that cannot be.
            NotImplementedError: an option that only a later version knows.
        """
        validate_options(ACTOR, options, in_options=True)
        return ActorClass(self._cls, {**self._options, **options}, self._blueprint)

    _remote = remote_with_options

    def bind(self, *args: Any, **kwargs: Any) -> ClassNode:
        """An actor to be made later, as a node of a graph: see :mod:`skyray.dag`."""
        from .dag import ClassNode

        return ClassNode(self, args, kwargs)

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Makes an actor. Returns at once; calls wait until it is there.

        Raises:
            ActorAlreadyExistsError: another one has its name.
            TypeError: an argument cannot be pickled.
            ValueError: it is to run several calls at once, and in order.
        """
        options = self._options
        resources = resources_of(ACTOR, options)
        blueprint = self._blueprint
        blueprint.check_arguments(*args, **kwargs)
        handle, description = self._described
        connection = ensure_connected()
        placement = dict(resources)
        if options.get("num_cpus") is None:
            placement["CPU"] = 1.0  # To find it a place; it holds none while it runs.
        core_options: _core.ActorOptions = {
            "class_id": blueprint.code.export(connection),
            "class_name": self.__name__,
            "name": options.get("name") or "",
            "namespace": options.get("namespace") or connection.namespace,
            "detached": options.get("lifetime") == "detached",
            "get_if_exists": bool(options.get("get_if_exists")),
            "max_restarts": value_of(ACTOR, options, "max_restarts"),
            "is_async": blueprint.is_async,
            "concurrency_groups": blueprint.concurrency(options.get("max_concurrency")),
            "placement_resources": placement,
            "resources": resources,
            "strategy": scheduling_of(options),
            "selectors": selectors_of(options),
            "runtime_env": connection.environment_for(options.get("runtime_env")),
            "enable_task_events": value_of(ACTOR, options, "enable_task_events"),
            "handle": handle,
        }
        core, existing = _core.create_actor(core_options, args, kwargs)
        return ActorHandle(core, pickle.loads(existing) if existing is not None else description)

    def _is_unordered(self) -> bool:
        """Whether a call that waits for its arguments lets others pass."""
        limits = dict(self._blueprint.concurrency(self._options.get("max_concurrency")))
        at_once = self._blueprint.is_async or limits[""] > 1
        wanted = self._options.get("allow_out_of_order_execution")
        if wanted is not None and at_once and not wanted:
            kind = "async" if self._blueprint.is_async else "multi-threaded"
            raise ValueError(
                f"{self.__name__} is an actor class with {kind} calls, which cannot be run in "
                "order: leave allow_out_of_order_execution away, or set max_concurrency=1 and use "
                "no 'async def'."
            )
        return at_once or bool(wanted)

    @functools.cached_property
    def _described(self) -> tuple[bytes, dict[str, Any]]:
        """What handles know: pickled, and as it is."""
        blueprint = self._blueprint
        given: dict[str, Any] = {}
        defaults = _core_options({"max_task_retries": self._options.get("max_task_retries")})
        if not value_of(ACTOR, self._options, "enable_task_events"):
            defaults["enable_task_events"] = False
        untaken = self._options.get("_actor_generator_backpressure_num_objects")
        if untaken is not None:
            defaults["items_untaken_max"] = max(untaken, 0)
        if defaults:
            given["method_defaults"] = defaults
        if self._options.get("max_pending_calls") is not None:
            given["max_pending_calls"] = self._options["max_pending_calls"]
        if self._is_unordered():
            given["unordered"] = True
        if not given:
            return blueprint.pickled, blueprint.description
        description = {**blueprint.description, **given}
        return pickle.dumps(description, protocol=5), description


def _describe(cls: type, groups: Collection[str]) -> dict[str, Any]:
    """What a handle has to know of a class: its concurrency groups, and its methods.

    Raises:
        ValueError: a method is to run in a group that there is not.
    """
    import inspect

    found: dict[str, _MethodDescription] = {name: (None, {}) for name in _BUILT_IN}
    for name, member in inspect.getmembers(cls, inspect.isroutine):
        if inspect.isfunction(member) or inspect.ismethod(member):
            options = getattr(member, _METHOD_OPTIONS, {})
            _check_group(options.get("concurrency_group") or "", groups, name)
            bound = not isinstance(inspect.getattr_static(cls, name), staticmethod)
            parameters = parameters_of(member, bound=bound)
            yields = inspect.isgeneratorfunction(member) or inspect.isasyncgenfunction(member)
            found[name] = (parameters, _core_options(options, is_generator=yields))
    return {
        "class_name": cls.__name__,
        "module": cls.__module__,
        "methods": found,
        "method_defaults": {},
        "groups": sorted(groups),
    }


def _core_options(options: dict[str, Any], *, is_generator: bool = False) -> _core.MethodOptions:
    """Of a method's options, those that the core knows."""
    chosen = returns_of(options, is_generator=is_generator)
    for name in ("concurrency_group", "max_task_retries", "name", "enable_task_events"):
        if options.get(name) is not None:
            chosen[name] = options[name]
    if "retry_exceptions" in options:
        from ._serialization import dump_retry_exceptions

        chosen["retry_exceptions"] = dump_retry_exceptions(options["retry_exceptions"])
    return cast("_core.MethodOptions", chosen)


def _check_group(group: str, groups: Collection[str], name: str) -> None:
    if group and group not in groups:
        known = ", ".join(sorted(groups)) or "none"
        raise ValueError(
            f"The concurrency group {group!r} of method '{name}' is not defined: the actor class "
            f"has {known}. Name it in @skyray.remote(concurrency_groups={{{group!r}: 1}})."
        )


def _is_async(cls: type) -> bool:
    import inspect

    members = inspect.getmembers(cls, inspect.isfunction)
    return any(
        inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        for _, member in members
    )


def exit_actor() -> NoReturn:
    """Inside an actor's method: ends the actor. It is not restarted.

    Raises:
        TypeError: not called in an actor.
    """
    connection = current()
    actor_id = _core.context()["actor_id"] if connection is not None else b""
    if not actor_id.strip(b"\xff"):
        raise TypeError("exit_actor called on a non-actor worker: it ends the actor that calls it.")
    _core.exit_actor()
    raise SystemExit(0)
