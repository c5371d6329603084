# SPDX-License-Identifier: Apache-2.0
"""Tensors of torch: there and back without a copy, and writing to one harms nobody."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from typing import Any

import cloudpickle
import numpy as np
import pytest

import skyray
from skyray._serialization import serialize

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("runtime")
# Workers cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

# Elements of a tensor whose bytes are mapped and not copied.
MANY = 1_000_000
DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128", "float8_e4m3fn", "uint16",
]  # fmt: skip


@skyray.remote
def identity(value: Any) -> Any:
    return value


def there_and_back(value: Any) -> list[Any]:
    """Through put, as an argument and a result of a task, and within a container."""
    through_put = skyray.get(skyray.put(value))
    return [through_put, skyray.get(identity.remote(value)), skyray.get(skyray.put([value]))[0]]


def bits(tensor: Any) -> bytes:
    raw: Any = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    return bytes(raw.tobytes())


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: str) -> None:
    kind = getattr(torch, dtype, None)
    if kind is None:
        pytest.skip(f"this torch has no {dtype}")
    for many in (12, MANY):
        tensor = torch.arange(many).remainder(2).to(kind)
        for got in there_and_back(tensor):
            assert (got.dtype, got.shape) == (tensor.dtype, tensor.shape)
            assert bits(got) == bits(tensor)


def test_every_shape() -> None:
    grid = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "transposed": grid.T,
        "strided": grid[::2, 1::3],
        "expanded": torch.arange(3.0).expand(4, 3),
        "channels last": torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "no dimension": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "conjugated": torch.ones(3, dtype=torch.complex64).conj(),
        "large and strided": torch.arange(2.0 * MANY)[::2],
    }
    for name, tensor in tensors.items():
        for got in there_and_back(tensor):
            assert got.stride() == tensor.stride(), name
            assert got.equal(tensor), name
            assert got.storage_offset() == tensor.storage_offset(), name
            assert got.is_conj() == tensor.is_conj(), name


@pytest.mark.filterwarnings("ignore::UserWarning")  # Of what torch calls old, or new.
def test_what_torch_makes_of_tensors() -> None:
    dense = torch.eye(3)
    quantized = torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.quint8)
    for got in there_and_back([dense.to_sparse(), dense.to_sparse_csr(), quantized]):
        assert got[0].is_sparse
        assert got[0].to_dense().equal(dense)
        assert got[1].layout == torch.sparse_csr
        assert got[1].to_dense().equal(dense)
        assert got[2].dequantize().equal(quantized.dequantize())
    assert all(got.device.type == "meta" for got in there_and_back(torch.empty(3, device="meta")))


def test_gradients_and_parameters() -> None:
    wanted = torch.ones(3, requires_grad=True)
    for got in there_and_back([wanted, wanted * 2, torch.nn.Parameter(torch.ones(2))]):
        assert [one.requires_grad for one in got] == [True] * 3
        assert type(got[2]) is torch.nn.Parameter
    module = torch.nn.Sequential(torch.nn.Linear(300, 400), torch.nn.ReLU())
    for again in there_and_back(module):
        given = torch.ones(2, 300)
        assert again(given).equal(module(given))
        again(given).sum().backward()
        torch.optim.SGD(again.parameters(), lr=0.1).step()
        assert not again(given).equal(module(given))


def test_a_subclass_and_attributes() -> None:
    class Mine(torch.Tensor):  # type: ignore[misc, name-defined]
        pass

    tensor = torch.arange(4.0).as_subclass(Mine)
    tensor.note = "hello"
    for got in there_and_back(tensor):
        assert type(got).__name__ == "Mine"
        assert got.note == "hello"
        assert got.sum() == 6


@pytest.mark.parametrize("many", [10, MANY])
def test_tensors_that_share_a_storage_still_do(many: int) -> None:
    base = torch.zeros(many)
    pair = (base, base[3:], base.view(2, -1))
    inband, buffers = serialize(pair)
    assert len(buffers) == 1
    assert len(inband) < 1000
    whole, part, folded = skyray.get(skyray.put(pair))
    part[0] = 5
    assert whole[3] == 5
    assert folded[0, 3] == 5


def mapping_of(tensor: Any) -> dict[str, str]:
    """What the kernel says of the memory that a tensor is in."""
    address = tensor.data_ptr()
    found: dict[str, str] = {}
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            place = re.match(r"([0-9a-f]+)-([0-9a-f]+) (....) .*?(\S*)( \(deleted\))?$", line)
            if place:
                if found:
                    return found
                if int(place[1], 16) <= address < int(place[2], 16):
                    found = {"access": place[3], "name": place[4]}
            elif found:
                name, _, value = line.partition(":")
                found[name] = value.strip()
    return found


def test_a_large_tensor_is_not_copied_until_it_is_written_to() -> None:
    got = skyray.get(skyray.put(torch.ones(MANY)))
    assert got.sum() == MANY
    mapping = mapping_of(got)
    assert "skyray-plasma" in mapping["name"]
    assert mapping["access"] == "rw-p"
    assert mapping["Private_Dirty"] == "0 kB"
    got[MANY // 2] = 7
    assert mapping_of(got)["Private_Dirty"] == "4 kB"
    assert got.data_ptr() % 64 == 0


@pytest.mark.parametrize("many", [10, 50_000, MANY])
def test_what_is_written_is_seen_by_nobody_else(many: int) -> None:
    @skyray.remote
    def scribbles(tensor: Any) -> Any:
        tensor.fill_(-1)
        return tensor

    ref = skyray.put(torch.ones(many))
    one, two = skyray.get([ref, ref])
    one += 1
    assert skyray.get(scribbles.remote(ref)).sum() == -many
    assert one.sum() == 2 * many
    assert two.sum() == many
    assert skyray.get(ref).sum() == many
    # Nor by what is stored where it was, once it is gone.
    del one, two, ref
    gc.collect()
    again = [skyray.get(skyray.put(torch.zeros(many))) for _ in range(5)]
    assert all(tensor.sum() == 0 for tensor in again)


def test_a_tensor_keeps_its_object_and_nothing_longer() -> None:
    # 200 MB of store, 40 MB a turn.
    kept = skyray.get(skyray.put(torch.full((MANY,), 3.0)))
    for turn in range(20):
        got = skyray.get(skyray.put(torch.full((10 * MANY,), float(turn))))
        assert (got[0], got[-1]) == (turn, turn)
        got.neg_()
    assert kept.sum() == 3 * MANY
    view = kept[10:20]
    del kept
    gc.collect()
    assert view.sum() == 30


def test_numpy_and_pickle_of_what_was_got() -> None:
    import pickle

    got = skyray.get(skyray.put(torch.arange(MANY)))
    array = got.numpy()
    array[0] = 5
    assert got[0] == 5
    assert pickle.loads(pickle.dumps(got)).equal(got)
    assert skyray.get(identity.remote(got)).equal(got)
    got.share_memory_()
    assert got.is_shared()
    assert got[0] == 5


def test_a_closure_over_a_tensor() -> None:
    table = torch.arange(1000)

    @skyray.remote
    def total(scale: int) -> int:
        table.mul_(scale)
        return int(table.sum())

    assert skyray.get(total.remote(2)) == 999_000
    assert table.sum() == 499_500


def test_arrays_beside_tensors_are_as_ever() -> None:
    array, tensor = skyray.get(skyray.put((np.ones(MANY), torch.ones(MANY))))
    assert not array.flags.writeable
    tensor += 1
    assert tensor.sum() == 2 * MANY
    assert array.sum() == MANY


def printed_by(script: str) -> list[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_nothing_here_imports_torch() -> None:
    script = (
        "import sys, skyray\n"
        "with skyray.init(num_cpus=1):\n"
        "    skyray.get(skyray.put([1, {2}]))\n"
        "    print('torch' in sys.modules)\n"
    )
    assert printed_by(script) == ["False"]


def test_an_import_of_torch_that_has_not_ended_is_left_alone() -> None:
    script = (
        "import sys, types\n"
        "from importlib.machinery import ModuleSpec\n"
        "from skyray import _serialization\n"
        "half = types.ModuleType('torch')\n"
        "half.__spec__ = ModuleSpec('torch', None)\n"
        "half.__spec__._initializing = True\n"
        "sys.modules['torch'] = half\n"
        "_serialization.serialize([{1}])\n"
        "del sys.modules['torch']\n"
        "import torch\n"
        "_, buffers = _serialization.serialize(torch.ones(3))\n"
        "print(len(buffers))\n"
    )
    assert printed_by(script) == ["1"]
