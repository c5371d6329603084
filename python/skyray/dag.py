# SPDX-License-Identifier: Apache-2.0
"""Graphs of calls that are bound first and executed later, as often as wanted.

``g = f.bind(h.bind(1), 2)`` calls nothing; ``g.execute()`` calls ``h`` and ``f`` as
``f.remote(h.remote(1), 2)`` would and returns what that returns. A node that is bound
in several places is called once in each execution. An actor class that is bound makes
a new actor in each.

Nodes are found in arguments, and in the lists, tuples, sets and dicts among them,
however deep. What a graph is executed with takes the place of its InputNode::

    with InputNode() as x:
        graph = add.bind(x[0], x.step)
    graph.execute(1, step=2)
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable, NoReturn, TypeVar

if TYPE_CHECKING:
    from .actor import ActorClass, ActorMethod
    from .remote_function import RemoteFunction

__all__ = [
    "ClassMethodNode",
    "ClassNode",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
]

T = TypeVar("T")


class DAGNode:
    """A call of a graph, or something that calls are bound to.

    Args:
        args: its arguments, with nodes anywhere among them.
        kwargs: the named ones.
        options: of the call.
        upstream: nodes that come before it and are no arguments, by what they are.
    """

    def __init__(
        self,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        upstream: dict[str, Any] | None = None,
    ) -> None:
        self._bound_args = args
        self._bound_kwargs = kwargs or {}
        self._bound_options = options or {}
        self._bound_other_args_to_resolve = upstream or {}
        self._stable_uuid = uuid.uuid4().hex

    def get_args(self) -> tuple[Any, ...]:
        """What it was bound to by position."""
        return self._bound_args

    def get_kwargs(self) -> dict[str, Any]:
        """What it was bound to by name."""
        return dict(self._bound_kwargs)

    def get_options(self) -> dict[str, Any]:
        """Options of its call."""
        return dict(self._bound_options)

    def get_other_args_to_resolve(self) -> dict[str, Any]:
        """What comes before it and is no argument."""
        return dict(self._bound_other_args_to_resolve)

    def get_stable_uuid(self) -> str:
        """Names this node; its copies have the same."""
        return self._stable_uuid

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the graph's calls up to this one, and returns what this one returns.

        Args:
            args, kwargs: what takes the place of the graph's InputNode. One positional
                argument alone is the input itself; of several, nodes are bound to parts:
                ``x[0]``, ``x.name``.

        Returns:
            An ObjectRef, or what else ``.remote()`` of the function or method gives; of a
            bound class the actor's handle; of a MultiOutputNode a list.

        Raises:
            AssertionError: the graph has more than one InputNode.
            TypeError: a node is bound to the whole input, and that is not one argument.
            IndexError, KeyError, AttributeError: the input has no such part.
        """
        nodes = _in_order(self)
        inputs = sum(isinstance(node, InputNode) for node in nodes)
        assert inputs <= 1, f"A graph takes its input by one InputNode; this one has {inputs}."
        given = _Given(args, kwargs)
        results: dict[int, Any] = {}
        for node in nodes:
            results[id(node)] = node._execute(given, lambda value: _filled_in(value, results))
        return _filled_in(self, results)

    def apply_recursive(self, function: Callable[[DAGNode], T]) -> T:
        """Calls ``function`` once with each node, those it depends on first.

        Each is given as a copy, in which what ``function`` returned stands in place of
        the nodes it is bound to.
        """
        results: dict[int, Any] = {}
        for node in _in_order(self):
            bound = copy.copy(node)
            bound._bound_args = _replaced(node._bound_args, results)
            bound._bound_kwargs = _replaced(node._bound_kwargs, results)
            bound._bound_other_args_to_resolve = _replaced(
                node._bound_other_args_to_resolve, results
            )
            results[id(node)] = function(bound)
        applied: T = results[id(self)]
        return applied

    def experimental_compile(self, **options: Any) -> NoReturn:
        """Compiled graphs come with a later version.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "Compiled graphs are not built yet. execute() makes the same calls, one by one."
        )

    def __getattr__(self, name: str) -> Any:
        if name == "remote":
            raise AttributeError(
                f"A {type(self).__name__} is bound already: .execute() makes its calls."
            )
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __str__(self) -> str:
        described = [repr(value) for value in self._bound_args]
        described += [f"{name}={value!r}" for name, value in self._bound_kwargs.items()]
        return f"{self!r}({', '.join(described)})"

    def __repr__(self) -> str:
        words = (type(self).__name__, self._name(), self._stable_uuid[:8])
        return f"<{' '.join(word for word in words if word)}>"

    def _name(self) -> str:
        return ""

    def _execute(self, given: _Given, fill_in: Callable[[Any], Any]) -> Any:
        raise NotImplementedError

    def _upstream(self) -> Iterator[DAGNode]:
        yield from _nodes_in(self._bound_other_args_to_resolve)
        yield from _nodes_in(self._bound_args)
        yield from _nodes_in(self._bound_kwargs)


class FunctionNode(DAGNode):
    """A call of a remote function: ``f.bind(...)``."""

    def __init__(
        self, function: RemoteFunction[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__(args, kwargs, function._options)
        self._function = function

    def _name(self) -> str:
        return self._function.__name__

    def _execute(self, given: _Given, fill_in: Callable[[Any], Any]) -> Any:
        return self._function.remote(*fill_in(self._bound_args), **fill_in(self._bound_kwargs))


class ClassNode(DAGNode):
    """An actor that each execution makes: ``A.bind(...)``; ``node.method.bind(...)``
    binds calls of its methods, which are made in the order in which they were bound.
    """

    def __init__(
        self, actor_class: ActorClass, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__(args, kwargs, actor_class._options)
        self._actor_class = actor_class
        self._last_call: ClassMethodNode | None = None

    def __getattr__(self, name: str) -> Any:
        # The methods of the class, none of what Python looks for in an object.
        if name == "remote" or name.startswith("_") or "_actor_class" not in self.__dict__:
            return super().__getattr__(name)
        getattr(self._actor_class.__ray_actor_class__, name)
        return _UnboundMethod(self, name, {})

    def _name(self) -> str:
        return self._actor_class.__name__

    def _execute(self, given: _Given, fill_in: Callable[[Any], Any]) -> Any:
        return self._actor_class.remote(*fill_in(self._bound_args), **fill_in(self._bound_kwargs))


class _UnboundMethod:
    """A method of a bound class, before its own ``bind``."""

    def __init__(self, node: ClassNode, name: str, options: dict[str, Any]) -> None:
        self._node = node
        self._method_name = name
        self._options = options

    def options(self, **options: Any) -> _UnboundMethod:
        """The same method with other options; checked when the graph is executed."""
        return _UnboundMethod(self._node, self._method_name, {**self._options, **options})

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        """A call of the method, after those bound before."""
        upstream = {
            "parent_class_node": self._node,
            "prev_class_method_call": self._node._last_call,
        }
        node = ClassMethodNode(self._method_name, args, kwargs, self._options, upstream)
        self._node._last_call = node
        return node


class ClassMethodNode(DAGNode):
    """A call of an actor's method, of a bound class or of an actor that lives."""

    def __init__(
        self,
        method: str | ActorMethod,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: dict[str, Any],
        upstream: dict[str, Any],
    ) -> None:
        super().__init__(args, kwargs, options, upstream)
        self._method = method

    def get_method_name(self) -> str:
        """Of the method it calls."""
        return self._method if isinstance(self._method, str) else self._method._name

    def _name(self) -> str:
        return self.get_method_name()

    def _execute(self, given: _Given, fill_in: Callable[[Any], Any]) -> Any:
        method = self._method
        if isinstance(method, str):
            method = getattr(
                fill_in(self._bound_other_args_to_resolve["parent_class_node"]), method
            )
            if self._bound_options:
                method = method.options(**self._bound_options)
        return method.remote(*fill_in(self._bound_args), **fill_in(self._bound_kwargs))


class InputNode(DAGNode):
    """What a graph is executed with. One for a graph; ``with InputNode() as x: ...``.

    ``x`` is the one argument of ``execute()``; of several, ``x[0]`` is the first and
    ``x.name``, or ``x["name"]``, the named one. Of one argument they are its parts.
    """

    def __init__(self) -> None:
        super().__init__()

    def __enter__(self) -> InputNode:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def __getitem__(self, key: Any) -> InputAttributeNode:
        return InputAttributeNode(self, key, "getitem")

    def __getattr__(self, name: str) -> Any:
        if name == "remote" or name.startswith("_"):
            return super().__getattr__(name)
        return InputAttributeNode(self, name, "getattr")

    def _execute(self, given: _Given, fill_in: Callable[[Any], Any]) -> Any:
        return given


class InputAttributeNode(DAGNode):
    """A part of a graph's input."""

    def __init__(self, source: InputNode, key: Any, accessor: str) -> None:
        super().__init__(upstream={"source": source})
        self._key = key
        self._accessor = accessor

    def _name(self) -> str:
        return f"[{self._key!r}]" if self._accessor == "getitem" else f".{self._key}"

    def _execute(self, given: _Given, fill_in: Callable[[Any], Any]) -> Any:
        if not given.is_single:
            return given.part(self._key)
        whole = given.whole()
        return whole[self._key] if self._accessor == "getitem" else getattr(whole, self._key)


class MultiOutputNode(DAGNode):
    """Several results of one graph.

    Args:
        outputs: the nodes.

    Raises:
        ValueError: neither a list nor a tuple.
    """

    def __init__(self, outputs: list[Any] | tuple[Any, ...]) -> None:
        if not isinstance(outputs, (list, tuple)):
            raise ValueError(
                f"A MultiOutputNode takes a list or a tuple, not a {type(outputs).__name__}."
            )
        super().__init__(tuple(outputs))

    def _execute(self, given: _Given, fill_in: Callable[[Any], Any]) -> Any:
        return list(fill_in(self._bound_args))


class _Given:
    """What a graph is executed with."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._args = args
        self._kwargs = kwargs
        self.is_single = len(args) == 1 and not kwargs

    def whole(self) -> Any:
        if self.is_single:
            return self._args[0]
        raise TypeError(
            f"A node is bound to the whole InputNode, and execute() was given {len(self._args)} "
            f"positional and {len(self._kwargs)} named arguments. Give it one, or bind the node "
            "to a part: x[0], x.name."
        )

    def part(self, key: Any) -> Any:
        if isinstance(key, int):
            if not -len(self._args) <= key < len(self._args):
                raise IndexError(
                    f"A node is bound to argument {key} of the InputNode, and execute() was "
                    f"given {len(self._args)} by position."
                )
            return self._args[key]
        if key not in self._kwargs:
            raise KeyError(
                f"A node is bound to argument {key!r} of the InputNode, and execute() was given "
                f"by name: {', '.join(self._kwargs) or 'none'}."
            )
        return self._kwargs[key]


def _nodes_in(value: Any) -> list[DAGNode]:
    found: list[DAGNode] = []

    def note(node: DAGNode) -> DAGNode:
        found.append(node)
        return node

    _walked(value, note, ())
    return found


def _in_order(root: DAGNode) -> list[DAGNode]:
    """``root`` and all it depends on, each once, after what it depends on itself."""
    # Not by recursion: a chain of bound calls may be longer than Python's stack.
    order: list[DAGNode] = []
    seen = {id(root)}
    under_way = [(root, root._upstream())]
    while under_way:
        node, upstream = under_way[-1]
        following = next((other for other in upstream if id(other) not in seen), None)
        if following is None:
            under_way.pop()
            order.append(node)
        else:
            seen.add(id(following))
            under_way.append((following, following._upstream()))
    return order


def _replaced(value: Any, results: dict[int, Any]) -> Any:
    return _walked(value, lambda node: results[id(node)], ())


def _filled_in(value: Any, results: dict[int, Any]) -> Any:
    def result_of(node: DAGNode) -> Any:
        result = results[id(node)]
        return result.whole() if isinstance(result, _Given) else result

    return _walked(value, result_of, ())


def _walked(value: Any, replace: Callable[[DAGNode], Any], inside: tuple[Any, ...]) -> Any:
    """``value`` with its nodes replaced: itself if it has none."""
    if isinstance(value, DAGNode):
        return replace(value)
    if not isinstance(value, (list, tuple, set, frozenset, dict)):
        return value
    if any(value is outer for outer in inside):
        return value  # It contains itself.
    inside = (*inside, value)
    if isinstance(value, dict):
        changed = {
            key: now
            for key, item in value.items()
            if (now := _walked(item, replace, inside)) is not item
        }
        if not changed:
            return value
        made = copy.copy(value)
        made.update(changed)
        return made
    items = list(value)
    walked = [_walked(item, replace, inside) for item in items]
    if all(now is item for now, item in zip(walked, items)):
        return value
    return value._make(walked) if hasattr(value, "_make") else type(value)(walked)
