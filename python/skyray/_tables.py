# SPDX-License-Identifier: Apache-2.0
"""How pyarrow's tables travel: as pyarrow pickles them, unless most of them would be thrown away.

pyarrow pickles whole buffers, also of a table that shows a few of their rows. Such a slice is
written as a stream of its own first, which has no more than it shows.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

# What may travel in vain, in bytes.
_SPARE_BYTES = 1 << 10


def reducers() -> dict[type, Any] | None:
    """What pickle is to call for pyarrow's types; None if pyarrow is still being imported."""
    arrow: Any = sys.modules["pyarrow"]
    if getattr(getattr(arrow, "__spec__", None), "_initializing", False):
        return None
    try:
        return {arrow.Table: _reduce, arrow.RecordBatch: _reduce}
    except AttributeError:
        return None  # Something else of that name.


def _reduce(table: Any) -> Any:
    import pyarrow as arrow

    in_vain = table.get_total_buffer_size() - table.nbytes
    # A type that is not registered where a stream is read does not come back as it was.
    if in_vain <= max(_SPARE_BYTES, table.nbytes // 8) or any(
        isinstance(kind, arrow.BaseExtensionType) for kind in table.schema.types
    ):
        return table.__reduce__()
    sink = arrow.BufferOutputStream()
    try:
        with arrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write(table)
    except arrow.ArrowException:  # There is no way to write it so.
        return table.__reduce__()
    return _read, (pickle.PickleBuffer(sink.getvalue()), isinstance(table, arrow.RecordBatch))


def _read(buffer: Any, is_batch: bool) -> Any:
    import pyarrow as arrow

    with arrow.ipc.open_stream(arrow.py_buffer(buffer)) as reader:
        return reader.read_next_batch() if is_batch else reader.read_all()
