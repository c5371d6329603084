"""The process that carries spilled objects to URLs, spoken to as a raylet does."""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyray._channel import Channel

pytest.importorskip("fsspec")

KIND = 101
SEGMENT_BYTES = 1 << 20
HEADER = bytes(range(128))


class Worker:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "skyray._io_worker", "--fd", str(theirs.fileno())]
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        theirs.close()
        self.channel = Channel(ours.detach(), KIND)
        self.memory = os.memfd_create("segment")
        os.truncate(self.memory, SEGMENT_BYTES)
        self.jobs = 0
        assert self.event()["event"] == "ready"

    def event(self) -> dict[str, Any]:
        while True:
            for message, _ in self.channel.receive():
                return message

    def send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        body = json.dumps(message).encode()
        header = len(body).to_bytes(4, "little") + KIND.to_bytes(2, "little")
        header += len(fds or []).to_bytes(2, "little")
        socket.send_fds(self.channel.socket, [header + body], fds or [])

    def show(self, segment: int = 0) -> None:
        self.send({"op": "segment", "segment": segment}, [self.memory])

    def ask(self, op: str, **order: Any) -> dict[str, Any]:
        self.jobs += 1
        self.send({"op": op, "job": self.jobs, **order})
        answer = self.event()
        assert answer["job"] == self.jobs
        return answer

    def write(self, folder: str, records: list[tuple[int, bytes]]) -> dict[str, Any]:
        """``records``: (place in the file, what is in shared memory from there on)."""
        memory, at = [], 0
        for _, data in records:
            os.pwrite(self.memory, data, at)
            memory.append([0, at, len(data)])
            at += len(data)
        headers = [[place, HEADER.hex()] for place, _ in records]
        url = f"{folder}/1.spill"
        return self.ask("write", folder=folder, url=url, records=headers, memory=memory)

    def read(
        self, folder: str, at: int, size: int, segment: int = 0
    ) -> tuple[dict[str, Any], bytes]:
        os.pwrite(self.memory, b"\0" * SEGMENT_BYTES, 0)
        answer = self.ask(
            "read",
            url=f"{folder}/1.spill",
            at=at,
            header_bytes=len(HEADER),
            memory=[[segment, 4096, size]],
        )
        return answer, os.pread(self.memory, size, 4096)

    def close(self) -> int:
        self.channel.socket.close()
        return self.process.wait(20)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    worker.show()
    try:
        yield worker
    finally:
        worker.close()
        os.close(worker.memory)


RECORDS = [(0, b"first" * 100), (4096, os.urandom(300_000)), (400_000, b"")]


@pytest.mark.parametrize("kind", ["memory", "file", "path"])
def test_what_is_written_is_read_back(worker: Worker, tmp_path: Path, kind: str) -> None:
    folder = {"memory": "memory://spill/n", "file": f"file://{tmp_path}/n", "path": f"{tmp_path}/n"}
    worker.send({"op": "folders", "folders": [folder[kind]]})
    assert worker.write(folder[kind], RECORDS)["event"] == "done"
    for place, data in RECORDS:
        answer, found = worker.read(folder[kind], place, len(data))
        assert answer["event"] == "done"
        assert answer["header"] == HEADER.hex()
        assert found == data


def test_a_file_is_removed_and_then_gone(worker: Worker, tmp_path: Path) -> None:
    folder = f"file://{tmp_path}/n"
    worker.write(folder, RECORDS)
    assert (tmp_path / "n" / "1.spill").exists()
    assert worker.ask("remove", url=f"{folder}/1.spill")["event"] == "done"
    assert not (tmp_path / "n" / "1.spill").exists()
    answer, _ = worker.read(folder, 0, 500)
    assert (answer["event"], answer["why"]) == ("failed", "gone")
    assert "1.spill" in answer["message"]


def test_a_file_that_ends_too_early_is_gone(worker: Worker, tmp_path: Path) -> None:
    worker.write(f"{tmp_path}/n", RECORDS)
    os.truncate(tmp_path / "n" / "1.spill", 1000)
    answer, _ = worker.read(f"{tmp_path}/n", 4096, 300_000)
    assert answer["why"] == "gone"


def test_its_end_takes_away_what_was_written(worker: Worker, tmp_path: Path) -> None:
    worker.send({"op": "folders", "folders": [f"file://{tmp_path}/n", "memory://never/made"]})
    worker.write(f"file://{tmp_path}/n", RECORDS)
    assert worker.close() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_raylet_that_goes_without_listening_changes_nothing(
    worker: Worker, tmp_path: Path
) -> None:
    folder = f"{tmp_path}/n"
    worker.send({"op": "folders", "folders": [folder]})
    worker.write(folder, RECORDS)
    worker.send({"op": "remove", "job": 7, "url": f"{folder}/another.spill"})
    # Its answer is there, unread: to the worker the end looks like an error then.
    select.select([worker.channel.socket], [], [])
    assert worker.close() == 0
    assert not os.path.exists(folder)


def test_a_failed_write_leaves_nothing_and_says_why(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "n").write_text("a file where a folder should be")
    answer = worker.write(f"{tmp_path}/n", RECORDS)
    assert (answer["event"], answer["why"]) == ("failed", "error")
    assert "n" in answer["message"]
    assert worker.write(f"{tmp_path}/m", RECORDS)["event"] == "done", "the next one works"


def test_a_full_disk_is_told_as_such(worker: Worker, tmp_path: Path) -> None:
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    answer = worker.write(f"{tmp_path}/n", RECORDS)
    assert (answer["event"], answer["why"]) == ("failed", "full")
    assert list((tmp_path / "n").iterdir()) == []


def test_a_file_system_that_is_not_installed_is_named(worker: Worker) -> None:
    answer = worker.ask("remove", url="no-such-scheme://x")
    assert answer["why"] == "error"
    assert "no-such-scheme" in answer["message"]


def test_a_fallback_segment_is_shown_for_each_job(worker: Worker, tmp_path: Path) -> None:
    worker.write(f"{tmp_path}/n", RECORDS)
    worker.show(70000)
    answer, found = worker.read(f"{tmp_path}/n", 0, 500, segment=70000)
    assert answer["event"] == "done"
    assert found == RECORDS[0][1]


def test_what_it_does_not_understand_ends_it_but_not_the_files(tmp_path: Path) -> None:
    worker = Worker()
    worker.show()
    worker.send({"op": "folders", "folders": [f"{tmp_path}/n"]})
    worker.write(f"{tmp_path}/n", RECORDS)
    worker.send({"op": "read", "job": 7, "memory": [[99, 0, 10]]})
    assert worker.process.wait(20) != 0
    assert (tmp_path / "n" / "1.spill").exists()
    worker.close()
    os.close(worker.memory)
