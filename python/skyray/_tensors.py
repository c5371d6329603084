# SPDX-License-Identifier: Apache-2.0
"""How torch's tensors travel: pickled by torch itself, but for the bytes of their storages.

A storage on the CPU is a buffer beside the pickle, so it is copied once, into the object,
and not at all when the object is got: a tensor's memory is then the object's, mapped
copy-on-write. torch knows no read-only tensors; what is written to one is seen by the tensors
that share its storage, as ever, and by nobody else. All else that torch can pickle (sparse and
quantized tensors, parameters, subclasses) is made of storages, or of such tensors.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

from . import _core


def reducers() -> dict[type, Any] | None:
    """What pickle is to call for torch's types; None if torch is still being imported."""
    torch: Any = sys.modules["torch"]
    if getattr(getattr(torch, "__spec__", None), "_initializing", False):
        return None
    try:
        return {torch.UntypedStorage: _reduce_untyped, torch.TypedStorage: _reduce_typed}
    except AttributeError:
        return None  # Something else of that name.


def _reduce_typed(storage: Any) -> Any:
    return _typed, (storage._untyped_storage, storage.dtype)


def _reduce_untyped(storage: Any) -> Any:
    import torch

    if storage.device.type != "cpu":
        return storage.__reduce__()
    size = storage.nbytes()
    if size == 0:
        return _untyped, (None,)
    view = torch.empty(0, dtype=torch.uint8).set_(storage, 0, (size,), (1,))
    try:
        array = view.numpy()
    except RuntimeError:  # No numpy, or one that this torch does not work with.
        return storage.__reduce__()
    return _untyped, (pickle.PickleBuffer(array),)


def _typed(of_bytes: Any, dtype: Any) -> Any:
    import torch

    untyped = of_bytes._untyped_storage
    return torch.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)


def _untyped(buffer: Any) -> Any:
    """The storage whose bytes these are; they are its own, or a copy.

    As one of uint8: torch makes tensors of some types from bare storages, and then wants
    to see what such a one has.
    """
    import torch

    if buffer is None:
        return torch.TypedStorage(dtype=torch.uint8, _internal=True)
    if isinstance(buffer, (bytes, memoryview)):
        buffer = bytearray(buffer)  # Not from the runtime: plain pickle of a closure, say.
    elif not isinstance(buffer, bytearray):
        buffer = _core.private_view(buffer)
    return torch.frombuffer(buffer, dtype=torch.uint8)._typed_storage()
