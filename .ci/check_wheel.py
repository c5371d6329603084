#!/usr/bin/env python3
"""Proves that a wheel is self-contained, and that it clashes with nobody.

    .ci/check_wheel.py WHEEL [--no-clash]

1. The ELF files need only libc and libm; the extension exports one symbol.
2. auditwheel finds a manylinux tag for it.
3. It imports and runs a job in a root that holds Python, libc and nothing else.
4. It shares a process with PyPI's grpcio, protobuf, pyarrow and numpy, whichever
   is imported first.

Steps 3 and 4 use the interpreter that runs this script. Step 3 needs root.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

CHECKS = Path(__file__).parent / "wheel"
LIBC = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
# What Python's own extension modules may bring into the bare root.
PYTHON_LIBS = LIBC | {"libz.so.1", "libffi.so.8", "libexpat.so.1", "libdl.so.2", "libpthread.so.0"}
PROGRAMS = {"raylet", "gcs_server", "plasma_store"}
CLASH_PACKAGES = ["grpcio", "protobuf", "pyarrow", "numpy", "cloudpickle"]


def say(text: str) -> None:
    print(f"check_wheel: {text}", flush=True)


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def needed(elf: Path) -> set[str]:
    """The shared libraries that the dynamic section of ``elf`` names."""
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "-dW", elf)))


def check_contents(unpacked: Path) -> None:
    package = unpacked / "skyray"
    extension = next(package.glob("_core.*.so"))
    programs = {path.name: path for path in (package / "bin").iterdir()}
    assert set(programs) == PROGRAMS, f"skyray/bin holds {sorted(programs)}"
    for path in ["_core.pyi", "py.typed", "cli.py", "_bench/child.py", "_protos/gcs_pb2_grpc.py"]:
        assert (package / path).exists(), f"skyray/{path} is missing"
    for elf in [extension, *programs.values()]:
        assert needed(elf) <= LIBC, f"{elf.name} needs {sorted(needed(elf) - LIBC)}"
        assert ".symtab" not in output("readelf", "-SW", elf), f"{elf.name} is not stripped"
        if elf is not extension:
            assert os.access(elf, os.X_OK), f"{elf.name} is not executable"
        glibc = re.findall(r"GLIBC_(\d+)\.(\d+)", output("readelf", "-VW", elf))
        newest = max((int(major), int(minor)) for major, minor in glibc)
        say(
            f"{elf.relative_to(unpacked)}: {elf.stat().st_size / 1e6:.1f} MB, "
            f"glibc >= {newest[0]}.{newest[1]}, needs {', '.join(sorted(needed(elf)))}"
        )
    symbols = output("nm", "-D", "--defined-only", extension).split("\n")
    exported = {line.split()[-1] for line in symbols if line}
    assert exported == {"PyInit__core"}, f"_core exports {sorted(exported)[:10]}"


def check_platform_tag(wheel: Path) -> None:
    shown = output(sys.executable, "-m", "auditwheel", "show", wheel)
    tag = re.search(r'platform tag:\s*"([\w.]+)"', shown)
    assert tag is not None, f"auditwheel says:\n{shown}"
    assert tag[1].startswith("manylinux"), f"auditwheel says:\n{shown}"
    say(f"auditwheel: {tag[1]}")


def shared_libraries(elf: Path) -> dict[str, Path]:
    """Everything the loader would map for ``elf``, by soname."""
    result = subprocess.run(["ldd", elf], capture_output=True, text=True, check=False)
    found = re.findall(r"(\S+) => (/\S+)|^\s*(/\S+ld-linux\S+)", result.stdout, re.MULTILINE)
    return {name or Path(loader).name: Path(path or loader) for name, path, loader in found}


def copy_in(root: Path, path: Path) -> None:
    target = root / str(path).lstrip("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def make_bare_root(root: Path) -> Path:
    """Fills ``root`` with this Python and libc; returns the interpreter's path."""
    python = Path(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    stdlib = Path(sysconfig.get_path("stdlib"))
    base = Path(sys.base_prefix) / stdlib.relative_to(sys.base_prefix)
    left_out = {
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "tkinter",
        "ensurepip",
    }

    def ignore(folder: str, names: list[str]) -> set[str]:
        skipped = {n for n in names if n in left_out or n.startswith("config-")}
        for n in names:
            if n.endswith(".so") and not set(shared_libraries(Path(folder, n))) <= PYTHON_LIBS:
                skipped.add(n)
        return skipped

    inside = root / str(base).lstrip("/")
    shutil.copytree(base, inside, ignore=ignore, symlinks=False)
    # Where a build keeps the compiled modules apart (lib-dynload), they came along.
    elves = [python, *inside.rglob("*.so")]
    copy_in(root, python)
    for elf in elves:
        for path in shared_libraries(elf).values():
            copy_in(root, path)
    for folder in ["proc", "tmp", "dev/shm", "etc", "app"]:
        (root / folder).mkdir(parents=True, exist_ok=True)
    return python


ENTER = """
set -e
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/tmp"
mount -t tmpfs tmpfs "$1/dev/shm"
for device in null urandom; do
  touch "$1/dev/$device"
  mount --bind "/dev/$device" "$1/dev/$device"
done
exec chroot "$1" "$2" /app/square.py
"""


def check_bare_root(unpacked: Path, scratch: Path) -> None:
    if os.geteuid() != 0:
        say("bare root: SKIPPED, it takes root to change root (sudo .ci/check_wheel.py ...)")
        return
    root = scratch / "root"
    python = make_bare_root(root)
    shutil.copytree(unpacked, root / "app", dirs_exist_ok=True)
    import cloudpickle

    shutil.copytree(Path(cloudpickle.__file__).parent, root / "app" / "cloudpickle")
    shutil.copy(CHECKS / "square.py", root / "app")
    libraries = sorted(path.name for path in root.rglob("*.so.*") if path.is_file())
    say(f"bare root: Python and {', '.join(libraries)}")
    environment = {"PATH": "/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "enter"]
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False).returncode:
        say("bare root: SKIPPED, this machine lets root make no mount namespace")
        return
    environment["PATH"] = os.environ["PATH"]
    subprocess.run([*command, root, python], check=True, env=environment, timeout=120)


def check_clash(wheel: Path) -> None:
    venv = Path("build/clash-venv")
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip: list[str | Path] = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *CLASH_PACKAGES], check=True)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", wheel], check=True)
    for order in ["skyray-first", "skyray-last"]:
        subprocess.run([python, CHECKS / "clash.py", order], check=True, timeout=300)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--no-clash", action="store_true", help="leave out step 4 (it needs PyPI)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skyray-wheel-") as folder:
        unpacked = Path(folder) / "unpacked"
        with zipfile.ZipFile(arguments.wheel) as archive:
            for member in archive.infolist():
                path = archive.extract(member, unpacked)
                os.chmod(path, (member.external_attr >> 16) or 0o644)
        check_contents(unpacked)
        check_platform_tag(arguments.wheel)
        check_bare_root(unpacked, Path(folder))
    if not arguments.no_clash:
        check_clash(arguments.wheel)
    say("OK")


if __name__ == "__main__":
    main()
