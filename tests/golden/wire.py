"""Golden copies of the data plane: the schemas as released, and a message of each kind.

    python tests/golden/wire.py          says what differs from the golden copies
    python tests/golden/wire.py --add    adds messages that have no golden copy yet
    python tests/golden/wire.py --release
        replaces all copies by today's: only with a release, and only after reading
        what the plain command says. Peers of the last release are then forgotten.

A golden message has every field filled. ``*.bin`` is what went over the wire when it was
frozen, ``*.json`` is what it said.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FBS = ROOT / "fbs"
SCHEMAS = HERE / "schemas"
MESSAGES = HERE / "messages"
DEPTH_MAX = 6

SCALARS = {"bool", "byte", "ubyte", "short", "ushort", "int", "uint", "long", "ulong"}
SCALARS |= {"float", "double", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"}
SCALARS |= {"uint64", "float32", "float64"}


def flatc(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["flatc", *arguments], capture_output=True, text=True, check=False)


def without_comments(path: Path) -> str:
    return re.sub(r"//[^\n]*", "", path.read_text())


class Schema:
    """The declarations of one ``.fbs`` file and of those it includes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = without_comments(path)
        root = re.search(r"root_type\s+(\w+)\s*;", text)
        self.root = root[1] if root else None
        self.tables: dict[str, list[tuple[str, str]]] = {}
        self.enums: dict[str, list[str]] = {}
        self.unions: dict[str, list[str]] = {}
        for included in re.findall(r'include\s+"([\w./]+)"', text):
            self._read(without_comments(path.parent / included))
        self._read(text)

    def _read(self, text: str) -> None:
        for name, body in re.findall(r"(?:table|struct)\s+(\w+)\s*\{([^}]*)\}", text):
            fields = re.findall(
                r"(\w+)\s*:\s*([\w.\[\]:]+?)\s*(?:=[^;(]*)?(?:\([^)]*\))?\s*;", body
            )
            self.tables[name] = fields
        for kind, target in (("enum", self.enums), ("union", self.unions)):
            for name, body in re.findall(kind + r"\s+(\w+)[^{]*\{([^}]*)\}", text):
                members = [re.sub(r"=.*", "", m).strip() for m in body.split(",")]
                target[name] = [m.rpartition(":")[2].strip() for m in members if m]

    def messages(self) -> list[str]:
        """The names of what the envelope's union can hold."""
        if self.root is None:
            return []
        unions = [t for _, t in self.tables[self.root] if t in self.unions]
        return self.unions[unions[0]] if unions else [self.root]

    def sample(self, message: str) -> dict[str, Any]:
        """The root table around ``message``, every field filled with something."""
        assert self.root is not None
        return self._table(self.root, message, 0)

    def _table(self, table: str, choice: str, depth: int) -> dict[str, Any]:
        filled: dict[str, Any] = {}
        for name, kind in self.tables[table]:
            if kind in self.unions:
                member = choice if choice in self.unions[kind] else self.unions[kind][0]
                filled[f"{name}_type"] = member
                filled[name] = self._table(member, "", depth + 1)
                continue
            value = self._value(name, kind, depth)
            if value is not None:
                filled[name] = value
        return filled

    def _value(self, name: str, kind: str, depth: int) -> Any:
        array = re.fullmatch(r"\[([\w.]+)(?::(\d+))?\]", kind)
        if array:
            count = int(array[2] or 2)
            items = [self._value(name, array[1], depth) for _ in range(count)]
            return None if None in items else items
        kind = kind.rpartition(".")[2]
        if kind == "string":
            return name
        if kind == "bool":
            return len(name) % 2 == 0
        if kind in SCALARS:
            return 1 + sum(name.encode()) % 100
        if kind in self.enums:
            return self.enums[kind][-1]
        return self._table(kind, "", depth + 1) if depth < DEPTH_MAX else None


def schemas() -> list[Path]:
    return sorted(FBS.glob("*.fbs"))


def encode(schema: Path, message: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "message.json"
        source.write_text(json.dumps(message))
        result = flatc("--binary", "-I", FBS, "-o", folder, schema, source)
        if result.returncode:
            raise ValueError(f"{schema.name}: {result.stdout}{result.stderr}")
        return source.with_suffix(".bin").read_bytes()


def decode(schema: Path, message: bytes) -> Any:
    """What ``message`` says to a reader that has ``schema``."""
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "message.bin"
        binary.write_bytes(message)
        result = flatc(
            "--json", "--strict-json", "--raw-binary", "-I", FBS, "-o", folder, schema, "--", binary
        )
        if result.returncode:
            raise ValueError(f"{schema.name}: {result.stdout}{result.stderr}")
        return json.loads(binary.with_suffix(".json").read_text())


def conforms(schema: Path) -> str:
    """Why peers with the released ``schema`` could not be understood, or ''."""
    released = SCHEMAS / schema.name
    if not released.exists():
        return ""
    result = flatc("--conform", released, "--conform-includes", SCHEMAS, "-I", FBS, schema)
    return "" if result.returncode == 0 else result.stdout + result.stderr


def golden(schema: Path) -> list[Path]:
    return sorted((MESSAGES / schema.stem).glob("*.bin"))


def differences() -> list[str]:
    found = [f"{schema.name}: {why.strip()}" for schema in schemas() if (why := conforms(schema))]
    for schema in schemas():
        for path in golden(schema):
            said = json.loads(path.with_suffix(".json").read_text())
            try:
                says = decode(schema, path.read_bytes())
            except ValueError as error:
                says = str(error)
            if says != said:
                found.append(f"{schema.name}: {path.stem} said {said}, now reads as {says}")
        frozen = {path.stem for path in golden(schema)}
        missing = [name for name in Schema(schema).messages() if name not in frozen]
        found += [f"{schema.name}: {name} has no golden message (--add)" for name in missing]
    return found


def freeze(replace: bool) -> None:
    if replace:
        shutil.rmtree(MESSAGES, ignore_errors=True)
        shutil.rmtree(SCHEMAS, ignore_errors=True)
    SCHEMAS.mkdir(parents=True, exist_ok=True)
    for path in schemas():
        if not (SCHEMAS / path.name).exists():
            shutil.copy(path, SCHEMAS / path.name)
        schema = Schema(path)
        folder = MESSAGES / path.stem
        for name in schema.messages():
            target = folder / f"{name}.bin"
            if target.exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encode(path, schema.sample(name)))
            text = json.dumps(decode(path, target.read_bytes()))
            target.with_suffix(".json").write_text(text + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--add", action="store_true", help="freeze what has no copy yet")
    parser.add_argument("--release", action="store_true", help="replace every golden copy")
    arguments = parser.parse_args()
    if arguments.add or arguments.release:
        freeze(replace=arguments.release)
    found = differences()
    print("\n".join(found) or "Nothing differs from the golden copies.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
