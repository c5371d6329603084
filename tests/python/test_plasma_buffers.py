# SPDX-License-Identifier: Apache-2.0
"""``skyray.plasma``: what may be written and read, when, and who has the memory."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from skyray import plasma

STORE_BYTES = 64 << 20


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with plasma.start_plasma_store(STORE_BYTES) as (path, _):
        yield path


@pytest.fixture
def client(store: str) -> Iterator[plasma.PlasmaClient]:
    client = plasma.connect(store)
    yield client
    client.disconnect()


def test_after_the_seal_new_views_are_read_only(client: plasma.PlasmaClient) -> None:
    object_id = plasma.ObjectID.from_random()
    buffer = client.create(object_id, 1000)
    before = memoryview(buffer)
    before[:3] = b"abc"
    client.seal(object_id)
    assert not buffer.is_mutable
    assert memoryview(buffer).readonly
    assert bytes(memoryview(buffer)[:3]) == b"abc"
    with pytest.raises(BufferError, match="immutable"):
        buffer.write(b"x")
    with pytest.raises(ValueError, match="read-only"):
        np.frombuffer(memoryview(buffer), "uint8")[0] = 1


def test_memory_with_a_view_of_it_is_given_to_nobody(client: plasma.PlasmaClient) -> None:
    """Python cannot take a view back, so the object stays as long as there is one."""
    object_id = plasma.ObjectID.from_random()
    view = memoryview(client.create(object_id, 1000))
    client.seal(object_id)
    client.delete([object_id])
    ids = [client.put_raw_buffer(bytes(1000)) for _ in range(200)]
    view[:] = b"x" * 1000
    assert [bytes(b) for b in client.get_buffers(ids) if b] == [bytes(1000)] * 200
    assert client.contains(object_id)
    del view
    gc.collect()
    assert not client.contains(object_id)


def test_what_is_written_after_disconnect_is_seen_by_nobody(store: str) -> None:
    writer, reader = plasma.connect(store), plasma.connect(store)
    size = STORE_BYTES * 3 // 4
    view = memoryview(writer.create(plasma.ObjectID.from_random(), size))
    writer.disconnect()
    # More than half of the store: over what the first one had.
    object_id = reader.put_raw_buffer(bytes(size))
    view[:] = b"x" * size
    [buffer] = reader.get_buffers([object_id])
    assert buffer is not None
    assert not np.frombuffer(memoryview(buffer), "uint8").any()
    del buffer
    reader.delete([object_id])


def test_an_aborted_buffer_is_of_no_use(client: plasma.PlasmaClient) -> None:
    object_id = plasma.ObjectID.from_random()
    buffer = client.create(object_id, 10)
    view = memoryview(buffer)
    with pytest.raises(BufferError, match="views of its buffer"):
        client.abort(object_id)
    view.release()
    client.abort(object_id)
    with pytest.raises(BufferError, match="was aborted"):
        memoryview(buffer)
    with pytest.raises(plasma.PlasmaObjectNotFound):
        client.seal(object_id)


def test_write_copies_to_a_place(client: plasma.PlasmaClient) -> None:
    buffer = client.create(plasma.ObjectID.from_random(), 1 << 20)
    data = np.random.default_rng(1).bytes((1 << 20) - 7)
    assert buffer.write(data, 7) == len(data)
    assert bytes(buffer)[7:] == data
    with pytest.raises(ValueError, match="do not fit"):
        buffer.write(data, 8)
    with pytest.raises(ValueError, match="do not fit"):
        buffer.write(b"", -1)


def test_a_part_keeps_the_whole(client: plasma.PlasmaClient) -> None:
    object_id = client.put_raw_buffer(b"0123456789")
    [whole] = client.get_buffers([object_id])
    assert whole is not None
    part = whole[2:8].slice(1, 3)
    address = whole.address
    del whole
    client.delete([object_id])
    assert part.to_pybytes() == b"345"
    assert part.address == address + 3
    assert client.contains(object_id)
    del part
    assert not client.contains(object_id)
    with pytest.raises(IndexError):
        client.create(plasma.ObjectID.from_random(), 4).part(3, 2)


def test_a_get_of_what_this_client_made_has_the_same_memory(client: plasma.PlasmaClient) -> None:
    object_id = plasma.ObjectID.from_random()
    buffer = client.create(object_id, 10)
    client.seal(object_id)
    [got] = client.get_buffers([object_id], 0)
    assert got is not None
    assert got.address == buffer.address


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 4096, 1 << 20])
def test_every_buffer_is_aligned(client: plasma.PlasmaClient, size: int) -> None:
    object_id = plasma.ObjectID.from_random()
    buffer = client.create(object_id, size)
    assert buffer.address % 64 == 0
    assert buffer.size == len(memoryview(buffer)) == size


def test_buffers_are_pickled_with_their_memory_beside(client: plasma.PlasmaClient) -> None:
    [buffer] = client.get_buffers([client.put_raw_buffer(b"x" * 100_000)])
    beside: list[pickle.PickleBuffer] = []
    data = pickle.dumps(buffer, 5, buffer_callback=beside.append)
    assert len(data) < 1000
    assert bytes(pickle.loads(data, buffers=beside)) == b"x" * 100_000


def test_ids_of_both_sizes(client: plasma.PlasmaClient) -> None:
    short, full = plasma.ObjectID(b"s" * 20), plasma.ObjectID(b"f" * 28)
    for object_id in (short, full):
        client.create_and_seal(object_id, b"x")
    assert {object_id.binary() for object_id in client.list()} >= {b"s" * 20, b"f" * 28}
    assert plasma.ObjectID(b"s" * 20 + bytes(8)) == short
    client.delete([short, full])


def test_arrow_tables_lie_in_the_store(client: plasma.PlasmaClient, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"n": np.arange(100_000), "s": ["text"] * 100_000})
    allocated = arrow.total_allocated_bytes()
    back = client.get(client.put(table))
    assert back.equals(table)
    assert arrow.total_allocated_bytes() == allocated

    # A record batch stream, written in place.
    batch = table.to_batches()[0]
    counter = arrow.MockOutputStream()
    with arrow.ipc.new_stream(counter, batch.schema) as writer:
        writer.write_batch(batch)
    object_id = plasma.ObjectID.from_random()
    sink = arrow.FixedSizeBufferWriter(arrow.py_buffer(client.create(object_id, counter.size())))
    with arrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    del sink, writer
    client.seal(object_id)
    [buffer] = client.get_buffers([object_id])
    read = arrow.ipc.open_stream(arrow.py_buffer(buffer)).read_all()
    assert read.equals(table)
    first = read.column("n").chunk(0).buffers()[1].address
    assert buffer is not None
    assert buffer.address <= first < buffer.address + buffer.size
