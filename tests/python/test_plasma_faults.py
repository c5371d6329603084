# SPDX-License-Identifier: Apache-2.0
"""A store whose clients are killed, or that is killed itself, or has no descriptors left."""

from __future__ import annotations

import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import until

from skyray import plasma
from skyray._daemon import find_binary

GOLDEN = Path(__file__).parents[1] / "golden" / "messages" / "plasma"
HEADER = struct.Struct("<IHH")
STORE_BYTES = 64 << 20
SMALL_STORE_BYTES = 1 << 20
LARGE = 40 << 20

# Comes to a certain point, and stays there.
VICTIM = """
import signal, sys
from skyray import plasma
path, doing, name, size = sys.argv[1:]
client = plasma.connect(path)
object_id = plasma.ObjectID(bytes.fromhex(name))
if doing == "creating":
    held = client.create(object_id, int(size))
elif doing == "holding":
    [held] = client.get_buffers([object_id])
    assert held is not None
elif doing == "waiting to get":
    client.get_buffers([object_id])
elif doing == "waiting to create":
    held = None
    while held is None:
        try:
            held = client.create(object_id, int(size))
        except plasma.PlasmaStoreFull:
            continue
signal.pause()
"""

POOR = """
import os, resource, sys
from skyray import plasma
object_id = plasma.ObjectID(bytes.fromhex(sys.argv[2]))
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

def refused(call):
    # No descriptor is left from here on.
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        call()
    except plasma.PlasmaError as error:
        print(error)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 100, hard))

refused(lambda: plasma.connect(sys.argv[1], 1))
client = plasma.connect(sys.argv[1])
refused(lambda: client.get_buffers([object_id]))
# With descriptors again, a new connection is as good as ever.
[buffer] = plasma.connect(sys.argv[1]).get_buffers([object_id])
print(bytes(memoryview(buffer)[:4]).decode())
"""

# Holds more objects, each of them in a file, than it may have open files.
COLLECTOR = """
import resource, sys
from skyray import plasma
ids = [plasma.ObjectID(bytes.fromhex(name)) for name in sys.argv[2:]]
client = plasma.connect(sys.argv[1])
mine = client.create(plasma.ObjectID.from_random(), 1000)
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (len(ids), hard))
buffers = client.get_buffers(ids)
print(sorted({memoryview(buffer)[-1] for buffer in buffers}))
memoryview(mine)[:4] = b"mine"
print(client.contains(ids[0]))
"""

# For a while it cannot map anything more.
CRAMPED = """
import resource, sys
from skyray import plasma
object_id = plasma.ObjectID(bytes.fromhex(sys.argv[2]))
client = plasma.connect(sys.argv[1])
_, hard = resource.getrlimit(resource.RLIMIT_AS)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (16 << 20), hard))
for call in (
    lambda: client.get_buffers([object_id]),
    lambda: client.create(plasma.ObjectID(b"n" * 28), 1000),
):
    try:
        call()
    except plasma.PlasmaError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
[buffer] = client.get_buffers([object_id])
print(bytes(memoryview(buffer)[:4]).decode())
client.create(plasma.ObjectID(b"n" * 28), 1000)
print("created")
"""


class Store:
    """A ``plasma_store`` and its figures."""

    def __init__(self, folder: Path, *arguments: str, size: int = STORE_BYTES) -> None:
        self.path = str(folder / "store.sock")
        self.log = folder / "log"
        self.victims: list[subprocess.Popen[bytes]] = []
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [find_binary("plasma_store"), "-m", str(size), "-s", self.path, *arguments],
                stderr=log,
            )
        until(lambda: "serving" in self.log.read_text(), "the store listens")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(self.path)
        self._ask((GOLDEN / "Connect.bin").read_bytes()[:-4] + struct.pack("<I", 1))

    def _ask(self, message: bytes) -> bytes:
        self._socket.sendall(HEADER.pack(len(message), 0, 0) + message)
        size, _, _ = HEADER.unpack(self._socket.recv(HEADER.size, socket.MSG_WAITALL))
        return self._socket.recv(size, socket.MSG_WAITALL)

    def figures(self) -> dict[str, int]:
        text = self._ask((GOLDEN / "GetDebugState.bin").read_bytes()).decode("latin-1")
        found = re.findall(r"^([a-z ]+): (\d+)(?: objects, (\d+) bytes)?", text, re.MULTILINE)
        figures = {name: int(objects) for name, objects, _ in found}
        figures |= {f"{name} bytes": int(size) for name, _, size in found if size}
        return {
            name: n for name, n in figures.items() if "since" not in name and "touched" not in name
        }

    def open_fds(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def end(self) -> None:
        self._socket.close()
        for process in self.victims:
            kill(process)
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(60) in (0, -signal.SIGKILL)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.end()


@pytest.fixture
def store_with_files(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path, "--fallback", str(tmp_path), size=SMALL_STORE_BYTES)
    yield store
    store.end()


def put_into_a_file(client: plasma.PlasmaClient, last: int = 0) -> plasma.ObjectID:
    """An object larger than the store."""
    object_id = plasma.ObjectID.from_random()
    memoryview(client.create(object_id, SMALL_STORE_BYTES + 1))[-1] = last
    client.seal(object_id)
    return object_id


def put_until_refused(client: plasma.PlasmaClient, ids: list[plasma.ObjectID]) -> None:
    while len(ids) < 64:
        ids.append(put_into_a_file(client))


def test_a_store_keeps_descriptors_for_its_clients(store_with_files: Store) -> None:
    store = store_with_files
    client = plasma.connect(store.path)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.prlimit(store.process.pid, resource.RLIMIT_NOFILE, (64, hard))
    ids = [put_into_a_file(client, last=7)]
    with pytest.raises(plasma.PlasmaStoreFull, match=r"file descriptors .* \(raise its limit"):
        put_until_refused(client, ids)
    # Both old clients and new ones are served as before.
    assert client.contains(ids[0])
    reader = plasma.connect(store.path)
    buffers = reader.get_buffers(ids)
    last_bytes = [memoryview(buffer)[-1] for buffer in buffers if buffer is not None]
    assert last_bytes == [7] + [0] * (len(ids) - 1)
    del buffers
    client.delete(ids[:1])
    until(lambda: not reader.contains(ids[0]), "it is gone")
    assert reader.contains(put_into_a_file(client))


def test_a_client_may_hold_more_files_than_it_may_open(store_with_files: Store) -> None:
    client = plasma.connect(store_with_files.path)
    ids = [put_into_a_file(client, last=index) for index in range(60)]
    names = [object_id.binary().hex() for object_id in ids]
    command = [sys.executable, "-c", COLLECTOR, store_with_files.path, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"{list(range(60))}\nTrue\n", "")


def test_a_client_that_cannot_map_an_object_keeps_its_connection(store: Store) -> None:
    client = plasma.connect(store.path)
    object_id = plasma.ObjectID(b"x" * 28)
    memoryview(client.create(object_id, 1000))[:4] = b"data"
    client.seal(object_id)
    command = [sys.executable, "-c", CRAMPED, store.path, object_id.binary().hex()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    got, created, *then = done.stdout.splitlines()
    assert "Cannot allocate memory" in got
    assert "Cannot allocate memory" in created
    assert then == ["data", "created"]
    del client


def victim(store: Store, doing: str, object_id: plasma.ObjectID) -> subprocess.Popen[bytes]:
    name = object_id.binary().hex()
    command = [sys.executable, "-c", VICTIM, store.path, doing, name, str(LARGE)]
    store.victims.append(subprocess.Popen(command))
    return store.victims[-1]


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(60)


@pytest.mark.parametrize(
    ("doing", "there"),
    [
        ("creating", ("unsealed", 1)),
        ("holding", ("in use", 1)),
        ("waiting to get", ("waiting gets", 1)),
        ("waiting to create", ("waiting creates", 1)),
    ],
)
def test_a_killed_client_leaves_nothing(store: Store, doing: str, there: tuple[str, int]) -> None:
    client = plasma.connect(store.path)
    object_id = plasma.ObjectID(b"x" * 28)
    kept = plasma.ObjectID(b"k" * 28)
    size = LARGE if doing == "waiting to create" else 1000
    client.create(kept, size)
    if doing != "waiting to create":
        client.seal(kept)
    until(lambda: store.figures()["all"] == 1, "the store has what is kept")
    until(lambda: doing == "waiting to create" or store.figures()["in use"] == 0, "nobody reads it")
    before, fds = store.figures(), store.open_fds()
    process = victim(store, doing, kept if doing == "holding" else object_id)
    name, count = there
    until(lambda: store.figures()[name] == before[name] + count, doing)
    assert store.figures()["clients"] == before["clients"] + 1
    kill(process)
    until(lambda: store.figures() == before, "the store is as before")
    assert store.open_fds() == fds
    if doing == "creating":
        client.create(object_id, LARGE)
        client.abort(object_id)


def test_killed_clients_make_room_for_those_who_wait(store: Store) -> None:
    first, second = plasma.ObjectID(b"1" * 28), plasma.ObjectID(b"2" * 28)
    holder = victim(store, "creating", first)
    until(lambda: store.figures()["unsealed"] == 1, "the first half is taken")
    waiter = victim(store, "waiting to create", second)
    until(lambda: store.figures()["waiting creates"] == 1, "the second waits")
    kill(holder)
    until(lambda: store.figures()["waiting creates"] == 0, "it waits no more")
    until(lambda: store.figures()["unsealed"] == 1, "it has room")
    kill(waiter)
    until(lambda: store.figures()["all"] == 0, "nothing is left")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_store_ends_and_its_clients_hear_it(store: Store, number: signal.Signals) -> None:
    client, other = plasma.connect(store.path), plasma.connect(store.path)
    object_id = plasma.ObjectID(b"x" * 28)
    memoryview(client.create(object_id, LARGE))[:4] = b"data"
    client.seal(object_id)
    [buffer] = client.get_buffers([object_id])
    assert buffer is not None
    unsealed = memoryview(client.create(plasma.ObjectID(b"y" * 28), 1000))
    heard: list[BaseException] = []

    def wait_for_ever() -> None:
        try:
            other.get_buffers([plasma.ObjectID(b"z" * 28)])
        except plasma.PlasmaError as error:
            heard.append(error)

    waiting = threading.Thread(target=wait_for_ever, daemon=True)
    waiting.start()
    until(lambda: store.figures()["waiting gets"] == 1, "one waits")
    store.process.send_signal(number)
    assert store.process.wait(60) == (0 if number == signal.SIGTERM else -number)
    waiting.join(60)
    assert not waiting.is_alive()
    assert "plasma store" in str(heard[0])

    # What is mapped stays, and may be written and read.
    view = memoryview(buffer)
    assert bytes(view[:4]) == b"data"
    assert bytes(view[-4:]) == bytes(4)
    unsealed[:] = bytes(range(250)) * 4
    for call in (
        lambda: client.contains(object_id),
        lambda: client.create(plasma.ObjectID(b"n" * 28), 10),
        lambda: client.get_buffers([plasma.ObjectID(b"n" * 28)]),
    ):
        with pytest.raises(plasma.PlasmaError, match="store"):
            call()
    del view, buffer, unsealed
    client.disconnect()


def test_a_store_without_descriptors_goes_on_with_who_is_there(store: Store) -> None:
    client = plasma.connect(store.path)  # It has not seen the segment yet.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.prlimit(store.process.pid, resource.RLIMIT_NOFILE, (64, hard))
    flood = []
    for _ in range(100):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(store.path)
        flood.append(connection)
    until(lambda: "must wait" in store.log.read_text(), "it says so")
    object_id = plasma.ObjectID(b"x" * 28)
    memoryview(client.create(object_id, 1000))[:4] = b"data"
    client.seal(object_id)
    [buffer] = client.get_buffers([object_id])
    assert buffer is not None
    assert bytes(memoryview(buffer)[:4]) == b"data"
    for connection in flood:
        connection.close()
    [again] = plasma.connect(store.path).get_buffers([object_id])
    assert again is not None
    assert bytes(memoryview(again)[:4]) == b"data"
    until(lambda: "accepted again" in store.log.read_text(), "it says so")
    assert store.log.read_text().count("must wait") <= 3


def test_a_client_without_descriptors_is_told(store: Store) -> None:
    client = plasma.connect(store.path)
    object_id = plasma.ObjectID(b"x" * 28)
    memoryview(client.create(object_id, 1000))[:4] = b"data"
    client.seal(object_id)
    command = [sys.executable, "-c", POOR, store.path, object_id.binary().hex()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    first, second, third = done.stdout.splitlines()
    assert "Too many open files" in first
    assert "Too many open files" in second
    assert third == "data"
