# SPDX-License-Identifier: Apache-2.0
"""``skyray.plasma``: threads, signals, forks, and stores that go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from waiting import until

from skyray import plasma

STORE_BYTES = 64 << 20


@pytest.fixture
def started() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with plasma.start_plasma_store(STORE_BYTES) as (path, process):
        yield path, process


@pytest.fixture
def store(started: tuple[str, subprocess.Popen[bytes]]) -> str:
    return started[0]


def test_a_waiting_thread_stops_no_other(store: str) -> None:
    client = plasma.connect(store)
    object_id = plasma.ObjectID.from_random()
    found: list[bytes] = []

    def wait() -> None:
        [buffer] = client.get_buffers([object_id])
        assert buffer is not None
        found.append(bytes(buffer))

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: client.stats()["waiting_gets"] > 0, "a get waits")
    for i in range(100):
        assert client.get(client.put(i)) == i
    client.create_and_seal(object_id, b"here")
    for thread in threads:
        thread.join()
    assert found == [b"here"] * 4


def test_many_threads_use_one_client(store: str) -> None:
    client = plasma.connect(store)
    wrong: list[object] = []

    def work(seed: int) -> None:
        for i in range(200):
            value = bytes([seed]) * (1 + i * 37 % 5000)
            object_id = client.put(value)
            if client.get(object_id) != value:
                wrong.append((seed, i))
            client.delete([object_id])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    until(lambda: client.list() == {}, "all objects are gone")


def test_a_thread_makes_the_room_another_waits_for(store: str) -> None:
    client = plasma.connect(store)
    full = [client.put_raw_buffer(bytes(STORE_BYTES * 3 // 4))]
    [held] = client.get_buffers(full)
    assert held is not None
    held_in = [held]
    del held
    sizes: list[int] = []

    def create() -> None:
        sizes.append(client.create(plasma.ObjectID.from_random(), STORE_BYTES // 2).size)

    thread = threading.Thread(target=create)
    thread.start()
    until(lambda: client.stats()["waiting_creates"] > 0, "the create waits")
    held_in.clear()
    thread.join()
    assert sizes == [STORE_BYTES // 2]


WAITS = {
    "get": "client.get_buffers([plasma.ObjectID.from_random()])",
    "create": "client.create(plasma.ObjectID.from_random(), 40 << 20)",
}


@pytest.mark.parametrize("what", WAITS)
def test_ctrl_c_ends_a_wait(store: str, what: str) -> None:
    client = plasma.connect(store)
    held = client.create(plasma.ObjectID.from_random(), 40 << 20)
    program = (
        "import sys\n"
        "from skyray import plasma\n"
        "client = plasma.connect(sys.argv[1])\n"
        "try:\n"
        f"    {WAITS[what]}\n"
        "except KeyboardInterrupt:\n"
        "    client.contains(plasma.ObjectID.from_random())\n"
        "    print('interrupted')\n"
    )
    command = [sys.executable, "-c", program, store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        until(lambda: client.stats()[f"waiting_{what}s"], "it waits")
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=60)
    assert out == "interrupted\n"
    assert held.size == 40 << 20


def test_a_forked_child_speaks_for_itself_alone(store: str) -> None:
    client = plasma.connect(store)
    [buffer] = client.get_buffers([client.put_raw_buffer(b"parent's")])
    assert buffer is not None
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = [bytes(buffer).decode()]
            try:
                client.put(1)
            except plasma.PlasmaConnectionError as error:
                said.append(str(error))
            del buffer  # Releases nothing of the parent's.
            client.disconnect()
            said.append(str(plasma.connect(store).get(plasma.connect(store).put("own"))))
            os.write(writable, "|".join(said).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writable)
    with open(readable) as pipe:
        words, refusal, own = pipe.read().split("|")
    assert (words, own) == ("parent's", "own")
    assert "connect() anew in the child" in refusal
    assert bytes(buffer) == b"parent's"
    [info] = [i for i in client.list().values() if i["ref_count"] > 0]
    assert info["ref_count"] == 1
    assert client.get(client.put(3)) == 3


def test_random_ids_of_a_forked_child_are_its_own() -> None:
    plasma.ObjectID.from_random()
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writable, plasma.ObjectID.from_random().binary())
        os._exit(0)
    os.waitpid(pid, 0)
    mine = plasma.ObjectID.from_random().binary()
    assert os.read(readable, 100) != mine
    for fd in (readable, writable):
        os.close(fd)


def test_a_store_that_goes_is_noticed(started: tuple[str, subprocess.Popen[bytes]]) -> None:
    path, process = started
    client = plasma.connect(path)
    [buffer] = client.get_buffers([client.put_raw_buffer(b"still here")])
    process.kill()
    process.wait()
    for _ in range(2):
        with pytest.raises(plasma.PlasmaConnectionError):
            client.contains(plasma.ObjectID.from_random())
    assert buffer is not None
    assert bytes(buffer) == b"still here"
    with pytest.raises(plasma.PlasmaConnectionError):
        plasma.connect(path, num_retries=1)


def test_a_dropped_client_goes_with_its_last_buffer(store: str) -> None:
    other = plasma.connect(store)
    client = plasma.connect(store)
    object_id = client.put_raw_buffer(b"data")
    [buffer] = client.get_buffers([object_id])
    del client
    assert other.list()[object_id]["ref_count"] == 1
    del buffer
    until(lambda: other.list()[object_id]["ref_count"] == 0, "it is released")
    until(lambda: other.stats()["clients"] <= 2, "the client is gone")


def test_a_store_for_a_block() -> None:
    with plasma.start_plasma_store(1 << 24) as (path, process):
        assert plasma.connect(path).store_capacity() == 1 << 24
    assert process.returncode == 0
    assert not os.path.exists(path)
    with (
        pytest.raises(RuntimeError, match="exited unexpectedly with code 2"),
        plasma.start_plasma_store(1),
    ):
        pass
    with pytest.raises(NotImplementedError), plasma.start_plasma_store(1 << 24, use_valgrind=True):
        pass
