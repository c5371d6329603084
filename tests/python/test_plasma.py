"""``skyray.plasma``: clients of a store that runs alone."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from waiting import ended, until

from skyray import plasma
from skyray._daemon import find_binary

STORE_BYTES = 64 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "store.sock"
    command = [find_binary("plasma_store"), "-m", str(STORE_BYTES), "-s", str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        until(path.exists, "the store listens")
        yield str(path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.fixture
def client(store: str) -> plasma.PlasmaClient:
    return plasma.connect(store)


def test_an_object_is_read_where_it_was_written(client: plasma.PlasmaClient, store: str) -> None:
    object_id = plasma.ObjectID.from_random()
    written = memoryview(client.create(object_id, 1000))
    written[:5] = b"hello"
    assert not client.contains(object_id)
    client.seal(object_id)
    assert client.contains(object_id)

    [buffer] = plasma.connect(store).get_buffers([object_id])
    assert buffer is not None
    read = memoryview(buffer)
    assert bytes(read[:5]) == b"hello"
    assert read.readonly
    assert len(buffer) == 1000


def test_values_come_back_and_arrays_lie_in_the_store(client: plasma.PlasmaClient) -> None:
    array = np.arange(100_000)
    object_id = client.put({"array": array, "text": "x"})
    value = client.get(object_id)
    assert value["text"] == "x"
    np.testing.assert_array_equal(value["array"], array)
    assert not value["array"].flags.writeable
    assert not value["array"].flags.owndata
    assert value["array"].ctypes.data % 64 == 0


def test_what_is_not_there_in_time_is_said(client: plasma.PlasmaClient) -> None:
    there, missing = client.put(1), plasma.ObjectID.from_random()
    assert client.get([missing, there], timeout_ms=1) == [plasma.ObjectNotAvailable, 1]
    assert client.get_buffers([missing], timeout_ms=0) == [None]


def test_a_deleted_object_goes_with_its_last_buffer(client: plasma.PlasmaClient) -> None:
    object_id = client.put(np.ones(1000))
    [buffer] = client.get_buffers([object_id])
    client.delete([object_id])
    assert buffer is not None
    assert client.get_buffers([object_id], timeout_ms=0) != [None]
    del buffer
    gc.collect()
    until(lambda: not client.contains(object_id), "the object is gone")


def test_refusals_have_names(client: plasma.PlasmaClient) -> None:
    object_id = client.put(1)
    with pytest.raises(plasma.PlasmaObjectExists):
        client.create(object_id, 10)
    with pytest.raises(plasma.PlasmaObjectNotFound):
        client.seal(plasma.ObjectID.from_random())
    with pytest.raises(plasma.PlasmaStoreFull):
        client.create(plasma.ObjectID.from_random(), 2 * STORE_BYTES)
    with pytest.raises(ValueError, match="-1 bytes is negative"):
        client.create(plasma.ObjectID.from_random(), -1)
    aborted = plasma.ObjectID.from_random()
    client.create(aborted, 10)
    client.abort(aborted)
    client.create(aborted, 20)
    client.disconnect()
    with pytest.raises(plasma.PlasmaError, match="disconnected"):
        client.contains(object_id)
    with pytest.raises(plasma.PlasmaConnectionError, match="No such file"):
        plasma.connect("/nowhere", num_retries=0)


def test_unreferenced_objects_make_room_for_others(client: plasma.PlasmaClient) -> None:
    first = client.put(np.zeros(STORE_BYTES // 16))
    for _ in range(20):
        client.put(np.zeros(STORE_BYTES // 32))
    assert not client.contains(first)


def test_a_dead_client_leaves_nothing(client: plasma.PlasmaClient, store: str) -> None:
    object_id = plasma.ObjectID.from_random()
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            other = plasma.connect(store)
            kept = other.create(object_id, STORE_BYTES // 2)
            os.write(told, b"1")
            signal.pause()
            del kept
        finally:
            os._exit(1)
    os.read(ready, 1)
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)
    os.waitpid(pid, 0)
    # The aborted half leaves room for this, and its id is free again.
    until(lambda: _created(client, object_id), "the id is free")
    for fd in (ready, told):
        os.close(fd)


def _created(client: plasma.PlasmaClient, object_id: plasma.ObjectID) -> bool:
    try:
        client.create(object_id, STORE_BYTES // 2 + 1)
    except plasma.PlasmaObjectExists:
        return False
    return True
