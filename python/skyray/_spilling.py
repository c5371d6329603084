# SPDX-License-Identifier: Apache-2.0
"""Where a node spills objects to, and when: what Ray's names for it mean here."""

from __future__ import annotations

import json
import os
from typing import Any

FOLDER_PREFIX = "skyray_spilled_"

_SIZE_MAX = 1 << 62
# name -> (default, least, most); their types are those of the defaults.
_NUMBERS: dict[str, tuple[float, float, float]] = {
    "object_spilling_threshold": (0.8, 0.0, float("inf")),
    "min_spilling_size": (100 << 20, 0, _SIZE_MAX),
    "max_spilling_file_size_bytes": (-1, -_SIZE_MAX, _SIZE_MAX),
    "max_fused_object_count": (2000, 1, 1 << 31),
    "object_store_full_delay_ms": (10, 1, 3_600_000),
    "oom_grace_period_s": (2, 0, 86_400),
}


class Spilling:
    """Args: those of ``init``, as given.

    Args:
        directory: where to spill to; instead of what the config says.
        config: ``_system_config``. ``object_spilling_config`` is JSON:
            ``{"type": "filesystem", "params": {"directory_path": path or [paths]}}``, or
            ``{"type": "smart_open", "params": {"uri": url or [urls]}}`` for whatever
            fsspec opens.

    Raises:
        TypeError, ValueError: it cannot be so; the message names what.
        json.JSONDecodeError: ``object_spilling_config`` is no JSON.
        ModuleNotFoundError: a URL, and fsspec is not installed.
        OSError: the directory cannot be made.
    """

    def __init__(self, directory: str | None = None, config: dict[str, Any] | None = None) -> None:
        config = {} if config is None else config
        if not isinstance(config, dict):
            raise TypeError("The _system_config must be a dict.")
        self.directories: list[str] = []  # Empty: the session directory.
        self.urls: list[str] = []
        self.enabled = _flag(config, "automatic_object_spilling_enabled", True)
        self.numbers = {name: _number(config, name) for name in _NUMBERS}
        least, most = (
            self.numbers[name] for name in ("min_spilling_size", "max_spilling_file_size_bytes")
        )
        if 0 < most < least:
            raise ValueError(
                f"max_spilling_file_size_bytes ({most}) must be >= min_spilling_size ({least}). "
                "Set max_spilling_file_size_bytes <= 0 to disable."
            )
        directory = directory or _text(config, "object_spilling_directory")
        if directory:
            text = json.dumps({"type": "filesystem", "params": {"directory_path": directory}})
        else:
            text = _text(config, "object_spilling_config")
        if text:
            self._choose(text)

    def folders(self, session_dir: str, node_id: str) -> list[str]:
        """The local folders in which this node has its spill files."""
        name = folder_name(node_id)
        return [os.path.join(path, name) for path in self.directories or [session_dir]]

    def arguments(self, session_dir: str) -> list[str]:
        """What a raylet is told."""
        number = self.numbers
        found = ["--fallback-directory", (self.directories or [session_dir])[0]]
        found += ["--create-grace-ms", str(int(number["oom_grace_period_s"] * 1000))]
        found += ["--store-full-delay-ms", str(number["object_store_full_delay_ms"])]
        if not self.enabled:
            return [*found, "--no-spilling"]
        for path in self.directories if self.directories or self.urls else [session_dir]:
            found += ["--spill-directory", path]
        for url in self.urls:
            found += ["--spill-url", url]
        found += ["--spill-threshold", repr(float(number["object_spilling_threshold"]))]
        found += ["--spill-file-bytes", str(number["min_spilling_size"])]
        found += ["--spill-file-bytes-max", str(max(0, number["max_spilling_file_size_bytes"]))]
        found += ["--spill-file-objects", str(number["max_fused_object_count"])]
        return found

    def _choose(self, text: str) -> None:
        config = json.loads(text)
        if not isinstance(config, dict) or "type" not in config:
            raise ValueError(f"The object spilling config has no type: {text}")
        params = config.get("params") or {}
        if config["type"] == "filesystem":
            self.directories = _texts(params.get("directory_path"))
            if not self.directories:
                raise ValueError(
                    f"Failed to obtain fallback directory from object spilling config: {text}"
                )
            self.directories = [os.path.abspath(path) for path in self.directories]
            if self.enabled:
                for path in self.directories:
                    _check_directory(path)
        elif config["type"] == "smart_open":
            self.urls = [url.rstrip("/") for url in _texts(params.get("uri"))]
            if not self.urls:
                raise ValueError(f"uri should be provided to use object spilling: {text}")
            if self.enabled:
                _check_urls(self.urls)
        else:
            raise ValueError(f"Unknown external storage type: {config['type']}")


def folder_name(node_id: str) -> str:
    """Of a node's spill files, in each directory."""
    return FOLDER_PREFIX + node_id[:16]


def _text(config: dict[str, Any], name: str) -> Any:
    """As given, or what the environment says."""
    return config.get(name) or os.environ.get(f"SKYRAY_{name}", "")


def _flag(config: dict[str, Any], name: str, default: bool) -> bool:
    value = config.get(name, default)
    if not isinstance(value, (bool, int)):
        raise TypeError(f"_system_config[{name!r}] must be a bool, got {value!r}")
    return bool(value)


def _number(config: dict[str, Any], name: str) -> float:
    default, least, most = _NUMBERS[name]
    value = config.get(name, default)
    wanted = (int, float) if isinstance(default, float) else (int,)
    if isinstance(value, bool) or not isinstance(value, wanted):
        kind = "a number" if float in wanted else "an int"
        raise TypeError(f"_system_config[{name!r}] must be {kind}, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"_system_config[{name!r}]={value} is not in {least}..{most}")
    return value


def _texts(value: Any) -> list[str]:
    """``value`` as a list of texts; empty if it is none."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(text, str) and text for text in found):
        return []
    return found


def _check_directory(path: str) -> None:
    """Raises OSError: it cannot be made, or not be written to."""
    os.makedirs(path, exist_ok=True)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"Objects cannot be spilled to {path}: it is not writable.")


def _check_urls(urls: list[str]) -> None:
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Spilling objects to URLs needs the package fsspec, and for some URLs another that it "
            f"names. Install skyray[spill]. Original error: {error}"
        ) from error
    for url in urls:
        if "://" not in url:
            raise ValueError(f"uri={url!r} is no URL; for a directory, use the type 'filesystem'.")
        try:
            url_to_fs(url)
        except ImportError as error:
            raise ModuleNotFoundError(f"Spilling objects to {url} needs more: {error}") from error
