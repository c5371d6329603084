# SPDX-License-Identifier: Apache-2.0
"""Carries spilled objects to and from a URL: python -m skyray._io_worker --fd N.

A raylet starts it when it first spills to a URL, gives it the store's segments, and
asks for jobs (docs/design/005-spilling.md). It reads and writes shared memory in
place; which bytes, and whether they are the right ones, is the raylet's business.
It ends with its socket, and takes what it wrote away then.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from ._channel import Channel, Closed, ProtocolBroken

_KIND = 101
_THREADS = 4
_PIECE_BYTES = 8 << 20
_CLEAN_UP_S = 2
_TEXT_MAX = 4096  # Characters of an error.
# Such segments hold one object each, and are shown anew for each job.
_FALLBACK_SEGMENT_FIRST = 65536
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class IoWorker:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._sending = threading.Lock()
        self._segments: dict[int, memoryview] = {}
        self._folders: list[str] = []
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="io")

    def run(self) -> None:
        """Serves the raylet until it is gone."""
        self._send({"event": "ready", "pid": os.getpid()})
        while True:
            for order, fds in self._channel.receive():
                if order["op"] == "segment":
                    self._add_segment(order["segment"], *fds)
                elif order["op"] == "folders":
                    self._folders = order["folders"]
                else:
                    # Looked up now: the number may soon mean another segment.
                    self._pool.submit(self._serve, order, self._memory_of(order))

    def clean_up(self) -> None:
        """Removes everything that was written, but tries no longer than 2 s."""
        signal.alarm(_CLEAN_UP_S)
        self._pool.shutdown(wait=True, cancel_futures=True)
        for folder in self._folders:
            try:
                files, path = _open_file_system(folder)
                files.rm(path, recursive=True)
            except FileNotFoundError:
                pass  # Nothing was written there.
            except Exception as error:
                print(f"removing {folder}: {_describe(error)}", file=sys.stderr)

    def _add_segment(self, segment: int, fd: int) -> None:
        try:
            self._segments[segment] = memoryview(mmap.mmap(fd, 0))
        finally:
            os.close(fd)

    def _memory_of(self, order: dict[str, Any]) -> list[memoryview]:
        found = []
        for segment, offset, size in order.get("memory", ()):
            found.append(self._segments[segment][offset : offset + size])
            if len(found[-1]) != size:
                raise IndexError(f"segment {segment} ends before byte {offset + size}")
            if segment >= _FALLBACK_SEGMENT_FIRST:
                del self._segments[segment]
        return found

    def _serve(self, order: dict[str, Any], memory: list[memoryview]) -> None:
        reply: dict[str, Any] = {"event": "done", "job": order["job"]}
        try:
            if order["op"] == "write":
                _write(order["folder"], order["url"], order["records"], memory)
            elif order["op"] == "read":
                reply["header"] = _read(order["url"], order["at"], order["header_bytes"], memory[0])
            elif order["op"] == "remove":
                files, path = _open_file_system(order["url"])
                files.rm(path)
            else:
                raise ValueError(f"there is no op {order['op']!r}")
        except FileNotFoundError as error:
            reply |= {"event": "failed", "why": "gone", "message": _describe(error)}
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in _DISK_FULL
            why = "full" if full else "error"
            reply |= {"event": "failed", "why": why, "message": _describe(error)}
        finally:
            memory.clear()
        try:
            self._send(reply)
        except Closed:
            pass  # The main thread sees it too.

    def _send(self, message: dict[str, Any]) -> None:
        with self._sending:
            self._channel.send(message)


def _describe(error: BaseException) -> str:
    # Some say what a server answered, whole pages of it.
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + " ..."


def _open_file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Spilling to {url} needs the Python package fsspec and what it needs for this kind "
            f"of URL. Install skyray[spill]. ({error})"
        ) from error
    files, path = url_to_fs(url)
    return files, path


def _write(folder: str, url: str, records: list[list[Any]], memory: list[memoryview]) -> None:
    """Writes one file: at each record's place its header, then its bytes.

    Args:
        folder: made if it is not there, where there are folders.
        url: of the file.
        records: (offset in the file, header in hexadecimal) of each.
        memory: the bytes of each.
    """
    files, path = _open_file_system(url)
    try:
        files.makedirs(_open_file_system(folder)[1], exist_ok=True)
    except NotImplementedError:
        pass
    try:
        with files.open(path, "wb") as file:
            at = 0
            for (offset, header), view in zip(records, memory):
                _write_all(file, bytes(offset - at) + bytes.fromhex(header))
                at = offset + len(header) // 2
                for begin in range(0, len(view), _PIECE_BYTES):
                    _write_all(file, view[begin : begin + _PIECE_BYTES])
                at += len(view)
    except BaseException:
        try:
            files.rm(path)
        except Exception:
            pass  # It was not there, or what is broken is broken.
        raise


def _write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[file.write(view) :]


def _read(url: str, at: int, header_bytes: int, into: memoryview) -> str:
    """Reads one record's bytes to where they are to be.

    Returns:
        The header before them in hexadecimal, less of it if the file ends there.

    Raises:
        FileNotFoundError: there is no such file, or it ends too early.
    """
    files, path = _open_file_system(url)
    with files.open(path, "rb") as file:
        file.seek(at)
        header = bytes(file.read(header_bytes))
        while len(into):
            got = file.readinto(into[:_PIECE_BYTES])
            if not got:
                raise FileNotFoundError(f"{url} ends before the object does")
            into = into[got:]
    return header.hex()


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] != "--fd" or not arguments[1].isdigit():
        print("usage: python -m skyray._io_worker --fd N (started by a raylet)", file=sys.stderr)
        return 2
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]  # "-m" put it there; nothing of the user's belongs in here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(int(arguments[1]), _KIND)
    os.set_inheritable(channel.socket.fileno(), False)
    worker = IoWorker(channel)
    try:
        worker.run()
    except ProtocolBroken as error:
        # What was written is still needed: the raylet is there, and starts another.
        print(f"the raylet's orders cannot be read: {error}", file=sys.stderr)
        return 1
    except Closed:
        worker.clean_up()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
