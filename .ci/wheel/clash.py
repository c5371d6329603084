"""One process with skyray and the packages that bring the same libraries.

    clash.py skyray-first | skyray-last

Each is imported, in that order, and used; then skyray is used once more.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def use_skyray() -> None:
    import skyray

    @skyray.remote
    def add(a: int, b: int) -> int:
        return a + b

    skyray.init(num_cpus=1)
    assert skyray.get(add.remote(1, 2)) == 3
    skyray.shutdown()


def use_grpc() -> None:
    import grpc
    from google.protobuf import struct_pb2

    def echo(request: bytes, context: object) -> bytes:
        return request

    handler = grpc.method_handlers_generic_handler(
        "Echo", {"Say": grpc.unary_unary_rpc_method_handler(echo)}
    )
    with tempfile.TemporaryDirectory() as folder:
        server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
        server.add_insecure_port(f"unix:{folder}/s")
        server.start()
        message = struct_pb2.Struct()
        message["answer"] = 42
        with grpc.insecure_channel(f"unix:{folder}/s") as channel:
            reply = channel.unary_unary("/Echo/Say")(message.SerializeToString(), timeout=60)
        assert struct_pb2.Struct.FromString(reply)["answer"] == 42
        server.stop(None).wait()


def use_stubs() -> None:
    import skyray._protos.gcs_pb2_grpc as stubs

    assert [name for name in dir(stubs) if name.endswith("Stub")]


def use_pyarrow() -> None:
    import pyarrow
    import pyarrow.compute

    assert pyarrow.compute.sum(pyarrow.array([1, 2, 3])).as_py() == 6


def use_numpy() -> None:
    import numpy as np

    assert float((np.eye(64) @ np.ones(64)).sum()) == 64.0


def main() -> None:
    others: list[Callable[[], None]] = [use_grpc, use_stubs, use_pyarrow, use_numpy]
    order = [use_skyray, *others] if sys.argv[1] == "skyray-first" else [*others, use_skyray]
    for use in [*order, *order]:
        use()
    print(f"clash.py {sys.argv[1]}: fine")


if __name__ == "__main__":
    main()
