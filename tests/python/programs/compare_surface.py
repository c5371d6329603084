# SPDX-License-Identifier: Apache-2.0
"""Compares the names that Ray's core API has, and what can be given to them, with skyray's.

    python tests/python/programs/compare_surface.py --against /path/to/ray/bin/python

Without --against, skyray is compared with what a Ray 2.60 had (surface.json, written by
``--write surface.json`` under Ray's interpreter). Names that skyray has beyond Ray's do not count,
nor do annotations, nor defaults other than constants. What differs on purpose, or is not built, is
in `ALLOWED` with the reason; an entry that no longer differs is an error as well. The exit status
is 1 if anything else differs.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
RECORDED = FOLDER / "surface.json"

# The modules whose names are compared; below Ray's or skyray's own.
MODULES = (
    "",
    ".actor",
    ".exceptions",
    ".remote_function",
    ".runtime_context",
    ".util",
    ".util.actor_pool",
    ".util.queue",
    ".util.scheduling_strategies",
    ".util.multiprocessing",
)
# Where the tables of options are: module and names, Ray's and skyray's.
_RAY_OPTIONS = "ray._common.ray_option_utils"

_LATER = "placement groups are not built yet"
_ELSEWHERE = "of libraries, the dashboard, other machines and other languages"
_RUNTIME = "made by the runtime alone"
_REFERENCES = "references are made by calls and put alone; ObjectID is the id"
_INSIDE = "Ray's own business"


def described(module_name: str) -> dict[str, Any]:
    """What of a system can be seen: for each name, what it is and what it takes."""
    found: dict[str, Any] = {}
    for suffix in MODULES:
        module = importlib.import_module(module_name + suffix)
        for name in sorted(_names_of(module)):
            path = f"{suffix}.{name}"[1:] if suffix else name
            # A module that is imported on first use stays where it is.
            # What Ray imports when it is asked for is a library; here, a part of this surface.
            late = getattr(module, name, module) if module_name == "skyray" else module
            _describe(path, vars(module).get(name, late), found)
    found.update(_options(module_name))
    return found


def _names_of(module: Any) -> set[str]:
    names = set(getattr(module, "__all__", ()))
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) == module.__name__ and callable(value):
            names.add(name)
    return {name for name in names if not name.startswith("_")}


def _describe(path: str, value: Any, found: dict[str, Any]) -> None:
    if not inspect.isclass(value):
        found[path] = _parameters(value) if callable(value) else "value"
        return
    found[path] = "class"
    found[f"{path}()"] = _parameters(value)
    if issubclass(value, BaseException):
        bases = [base.__name__ for base in value.__mro__[1:] if base not in (object, BaseException)]
        found[f"{path} is"] = [base for base in bases if base not in ("Exception", "ABC")]
    for name in dir(value):
        if name.startswith("_") or hasattr(BaseException, name) or _is_inherited(value, name):
            continue
        member = inspect.getattr_static(value, name)
        if isinstance(member, (staticmethod, classmethod)) or callable(member):
            found[f"{path}.{name}"] = _parameters(getattr(value, name))
        else:
            found[f"{path}.{name}"] = "value"


def _is_inherited(cls: type, name: str) -> bool:
    """From a public class of the same module, where it is looked at already."""
    owner = next(base for base in cls.__mro__ if name in vars(base))
    return owner is not cls and owner.__module__ == cls.__module__ and owner.__name__[0] != "_"


def _parameters(function: Any) -> list[str] | None:
    """Of a call: name, kind and default where that is a constant; None: it does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    shown = []
    for parameter in parameters:
        if parameter.name in ("self", "cls"):
            continue
        text = {2: "*", 4: "**"}.get(int(parameter.kind), "") + parameter.name
        if parameter.kind is parameter.KEYWORD_ONLY:
            text = "kw " + text
        if parameter.default is not parameter.empty:
            constant = isinstance(parameter.default, (int, float, str, type(None)))
            text += f"={parameter.default!r}" if constant else "=..."
        shown.append(text)
    return shown


def _options(module_name: str) -> dict[str, Any]:
    """What ``remote`` and ``options`` take."""
    if module_name == "ray":
        tables = importlib.import_module(_RAY_OPTIONS)
        tasks, actors = tables.task_options, tables.actor_options
    else:
        tables = importlib.import_module("skyray.options")
        tasks, actors = (tables._BY_SCOPE[scope] for scope in (tables.TASK, tables.ACTOR))
    return {
        f"option of {scope}: {name}": "value"
        for scope, table in (("tasks", tasks), ("actors", actors))
        for name in table
    }


ALLOWED: dict[str, str] = {
    **dict.fromkeys(
        (
            "util.get_current_placement_group",
            "util.get_placement_group",
            "util.placement_group",
            "util.placement_group_table",
            "util.remove_placement_group",
            "util.scheduling_strategies.PlacementGroupSchedulingStrategy",
        ),
        _LATER,
    ),
    **dict.fromkeys(
        (
            "ClientBuilder",
            "Language",
            "autoscaler",
            "client",
            "cpp_function",
            "data",
            "exceptions.RayError.from_ray_exception",
            "java_actor_class",
            "java_function",
            "util.accelerators",
            "util.collective",
            "util.connect",
            "util.disconnect",
            "util.iter",
            "util.pdb",
            "util.ray_debugpy",
            "widgets",
            "workflow",
        ),
        _ELSEWHERE,
    ),
    **dict.fromkeys(
        (
            "ObjectRefGenerator()",
            "actor.ActorClass()",
            "actor.ActorHandle()",
            "actor.ActorMethod()",
            "remote_function.RemoteFunction()",
            "runtime_context.RuntimeContext()",
        ),
        _RUNTIME,
    ),
    **dict.fromkeys(
        (
            "ObjectID.as_future",
            "ObjectID.call_site",
            "ObjectID.future",
            "ObjectID.owner_address",
            "ObjectID.tensor_transport",
            "ObjectRef.from_binary",
            "ObjectRef.from_hex",
            "ObjectRef.from_random",
            "ObjectRef.nil",
        ),
        _REFERENCES,
    ),
    **dict.fromkeys(
        (
            "ObjectID.redis_shard_hash",
            "ObjectRef.redis_shard_hash",
            "exceptions.ObjectReconstructionFailedError.REASON_MESSAGES",
            "internal",
        ),
        _INSIDE,
    ),
}


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, str]:
    """What skyray lacks, or takes otherwise, by name."""
    found = {}
    for path, wanted in theirs.items():
        if path not in ours:
            owner = path.rpartition(".")[0]
            # Of a class that is missing altogether, once is enough.
            if not path.endswith((")", " is")) and (owner not in theirs or owner in ours):
                found[path] = f"missing; {wanted}"
        elif path.endswith(" is"):
            if not set(wanted) <= set(ours[path]):
                found[path] = f"{ours[path]} instead of {wanted}"
        elif (
            isinstance(wanted, list)
            and isinstance(ours[path], list)
            and not _takes_all(ours[path], wanted)
        ):
            found[path] = f"{ours[path]} instead of {wanted}"
    return found


def _takes_all(ours: list[str], wanted: list[str]) -> bool:
    """Whether whatever can be given to the one can be given to the other."""
    rest = list(ours)
    for parameter in wanted:
        keyword = parameter.startswith("kw ")
        if _name(parameter).startswith("_"):
            continue  # Ray's own business.
        stars = parameter.count("*", 0, 2)
        named = [one for one in rest if _name(one) == _name(parameter)]
        starred = [one for one in rest if one.count("*", 0, 2) == stars]
        match = next(iter(named if keyword else starred if stars else rest), None)
        if match is None and keyword and any(one.startswith("**") for one in ours):
            continue
        if match is None or not (stars or _is_as_good(match, parameter)):
            return False
        rest.remove(match)
    return all("=" in one or one.startswith("*") for one in rest)


def _is_as_good(match: str, parameter: str) -> bool:
    default = parameter.partition("=")[2]
    return _name(match) == _name(parameter) and default in ("", match.partition("=")[2])


def _name(parameter: str) -> str:
    return parameter.removeprefix("kw ").partition("=")[0]


def recorded() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(RECORDED.read_text())
    return loaded


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare skyray's surface with Ray's.")
    parser.add_argument("--against", help="the Python interpreter that has Ray")
    parser.add_argument("--write", help="write Ray's surface to this file; run it under Ray's")
    parser.add_argument("--all", action="store_true", help="what is allowed to differ as well")
    arguments = parser.parse_args()
    if arguments.write:
        lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(described("ray").items())]
        Path(arguments.write).write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return 0
    theirs = recorded()
    if arguments.against:
        command = [arguments.against, __file__, "--write", "/dev/stdout"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        theirs = json.loads(done.stdout)
    found = differences(theirs, described("skyray"))
    unknown = [path for path in found if arguments.all or path not in ALLOWED]
    for path in unknown:
        print(f"{path}: {found[path]}")
    stale = sorted(ALLOWED.keys() - found.keys())
    for path in stale:
        print(f"{path}: differs no more; take it out of ALLOWED")
    print(f"{len(unknown)} names differ, {len(found)} with those that may, of {len(theirs)}")
    return 1 if unknown or stale else 0


if __name__ == "__main__":
    sys.exit(main())
