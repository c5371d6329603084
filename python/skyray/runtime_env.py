# SPDX-License-Identifier: Apache-2.0
"""The surroundings in which tasks and actors run: so far, environment variables."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["RuntimeEnv", "RuntimeEnvConfig"]

# What Ray knows and this version does not do yet. Each becomes a way to make a worker's
# surroundings before it starts; until then asking for it must not look as if it worked.
_LATER = (
    "conda",
    "container",
    "excludes",
    "image_uri",
    "java_jars",
    "nsight",
    "pip",
    "py_executable",
    "py_modules",
    "rocprof_sys",
    "uv",
    "worker_process_setup_hook",
    "working_dir",
)
# Accepted, as there is nothing to configure: how long setting up may take, and the like.
_WITHOUT_EFFECT = ("config",)


class RuntimeEnv(dict):  # type: ignore[type-arg]  # As Ray's is.
    """A checked ``runtime_env``: ``RuntimeEnv(env_vars={"NAME": "value"})``; a dict as well.

    A value may refer to other variables of the worker: ``"${HOME}/lib"``.

    Args:
        env_vars: what workers are to find in their environment.
        **others: what Ray takes; see the errors.

    Raises:
        TypeError: ``env_vars`` is not a dict of str to str.
        NotImplementedError: another field; this version has only ``env_vars``.
    """

    def __init__(
        self, *, env_vars: dict[str, str] | None = None, _validate: bool = True, **others: Any
    ) -> None:
        fields = {"env_vars": env_vars, **others}
        super().__init__({name: value for name, value in fields.items() if value is not None})
        if _validate:
            check(self)

    def env_vars(self) -> dict[str, str]:
        """The variables by name."""
        return dict(self.get("env_vars") or {})

    def to_dict(self) -> dict[str, Any]:
        return dict(self)

    def serialize(self) -> str:
        """As JSON; equal ones give equal text."""
        return json.dumps(self, sort_keys=True)

    @classmethod
    def deserialize(cls, serialized: str) -> RuntimeEnv:
        """What :meth:`serialize` wrote."""
        return cls(**json.loads(serialized or "{}"), _validate=False)


class RuntimeEnvConfig(dict):  # type: ignore[type-arg]  # As Ray's is.
    """How surroundings are made: ``RuntimeEnv(config=RuntimeEnvConfig(...))``. Accepted; what
    this version has needs no making.

    Args:
        setup_timeout_seconds: how long it may take, at least 1; -1: for ever.
        eager_install: whether it is made before it is needed.
        log_files: of other programs, to be kept.

    Raises:
        TypeError, ValueError: a value that cannot be.
    """

    def __init__(
        self,
        setup_timeout_seconds: int = 600,
        eager_install: bool = True,
        log_files: list[str] | None = None,
    ) -> None:
        if not isinstance(setup_timeout_seconds, int):
            raise TypeError(
                f"setup_timeout_seconds must be of type int, got: {type(setup_timeout_seconds)}"
            )
        if setup_timeout_seconds <= 0 and setup_timeout_seconds != -1:
            raise ValueError(
                "setup_timeout_seconds must be greater than zero or equal to -1, got: "
                f"{setup_timeout_seconds}"
            )
        if not isinstance(eager_install, bool):
            raise TypeError(f"eager_install must be a boolean. got {type(eager_install)}")
        super().__init__(
            setup_timeout_seconds=setup_timeout_seconds,
            eager_install=eager_install,
            log_files=list(log_files or ()),
        )


def check(runtime_env: Any) -> None:
    """
    Raises:
        TypeError, NotImplementedError: as :class:`RuntimeEnv`; it is no dict.
    """
    if not isinstance(runtime_env, dict):
        raise TypeError(f"runtime_env must be dict or RuntimeEnv, but got: {type(runtime_env)}")
    for name, value in runtime_env.items():
        if name == "env_vars" or name in _WITHOUT_EFFECT or value is None:
            continue
        known = "this version of skyray has not got" if name in _LATER else "skyray does not know"
        raise NotImplementedError(
            f"runtime_env[{name!r}]: {known} that field; it has 'env_vars'. Workers on this "
            "machine see the files and packages of the driver anyway: leave it out."
        )
    _check_variables(runtime_env.get("env_vars"))


def _check_variables(variables: Any) -> None:
    expected = "runtime_env['env_vars'] must be of type Dict[str, str]"
    if variables is None:
        return
    if not isinstance(variables, dict):
        raise TypeError(f"{expected}, got {type(variables)}")
    for name, value in variables.items():
        for what, text in (("key", name), ("value", value)):
            if not isinstance(text, str):
                raise TypeError(f"{expected}, but the {what} {text!r} is of type {type(text)}")
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise ValueError(
                f"runtime_env['env_vars']: {name!r} cannot be a variable's name, or {value!r} its "
                "value: a name has no '=', neither has a null character, and no name is empty"
            )


def merge(parent: dict[str, Any], own: dict[str, Any] | None) -> RuntimeEnv:
    """What a task or actor gets whose parent runs in ``parent`` and which asks for ``own``.

    Variables are added to the parent's; any other field replaces the parent's.
    """
    own = {name: value for name, value in (own or {}).items() if value is not None}
    merged = {**parent, **own}
    variables = {**(parent.get("env_vars") or {}), **(own.get("env_vars") or {})}
    merged.pop("env_vars", None)
    return RuntimeEnv(env_vars=variables or None, **merged, _validate=False)
