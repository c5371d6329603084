# SPDX-License-Identifier: Apache-2.0
"""Whether arguments fit a function, said where the call is made and not where it runs."""

from __future__ import annotations

from typing import Any, Callable, Optional

# Name, inspect's number for its kind, whether it has a default; None: unknown.
Parameters = Optional[tuple[tuple[str, int, bool], ...]]
# As the extension takes it: whom to ask about a call, and the numbers of positional
# arguments (at least, at most) for which it need not ask if there are no others.
Arity = tuple[Callable[..., Any], int, int]

_POSITIONAL_ONLY, _EITHER, _ARGS, _KEYWORD_ONLY, _KWARGS = range(5)
_HAS_ARGS, _HAS_KWARGS = 0x04, 0x08
_MANY = 1 << 30


def parameters_of(function: Any, *, bound: bool = False) -> Parameters:
    """The parameters of a Python function.

    Args:
        function: what is called.
        bound: whether its first argument is given already, as a method's is.
    """
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return None  # Written in C, or something else that can be called.
    defaults = len(function.__defaults__ or ())
    keyword_defaults = function.__kwdefaults__ or {}
    found = []
    for index, name in enumerate(code.co_varnames[: code.co_argcount]):
        kind = _POSITIONAL_ONLY if index < code.co_posonlyargcount else _EITHER
        found.append((name, kind, index >= code.co_argcount - defaults))
    keyword_only_end = code.co_argcount + code.co_kwonlyargcount
    names = list(code.co_varnames[keyword_only_end:])
    if code.co_flags & _HAS_ARGS:
        found.append((names.pop(0), _ARGS, False))
    for name in code.co_varnames[code.co_argcount : keyword_only_end]:
        found.append((name, _KEYWORD_ONLY, name in keyword_defaults))
    if code.co_flags & _HAS_KWARGS:
        found.append((names.pop(0), _KWARGS, False))
    if bound and found and found[0][1] < _ARGS:
        del found[0]
    return tuple(found)


def arity_of(parameters: Parameters) -> Arity:
    """What the extension needs to know to tell calls that fit from those that do not."""
    if parameters is None:
        return _accept, 0, _MANY
    positional = [has_default for _, kind, has_default in parameters if kind < _ARGS]
    must = sum(1 for has_default in positional if not has_default)
    most = _MANY if any(kind == _ARGS for _, kind, _ in parameters) else len(positional)
    if any(kind == _KEYWORD_ONLY and not has_default for _, kind, has_default in parameters):
        must, most = 1, 0  # None fits without a look.
    return _Binder(parameters), must, most


def _accept(*args: Any, **kwargs: Any) -> None:
    """Nothing is known of the function: the worker will see."""


class _Binder:
    """Raises TypeError as a call of the function would."""

    __slots__ = ("_parameters",)

    def __init__(self, parameters: tuple[tuple[str, int, bool], ...]) -> None:
        self._parameters = parameters

    def __call__(self, /, *args: Any, **kwargs: Any) -> None:
        import inspect

        made = [
            inspect.Parameter(name, inspect._ParameterKind(kind), default=None)
            if has_default
            else inspect.Parameter(name, inspect._ParameterKind(kind))
            for name, kind, has_default in self._parameters
        ]
        inspect.Signature(made).bind(*args, **kwargs)
