# SPDX-License-Identifier: Apache-2.0
"""Calls of actors: one at a time, many in flight, from several callers, on threads, on a loop."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from ..measure import call_metrics, rate
from . import Bench, Metrics, at_least, case

IN_FLIGHT = 1000
CALLERS = 4
THREADS = 16


def make_server(module: Any) -> Any:
    """The class of an actor that answers at once."""

    class Server:
        def answer(self, _: Any = None) -> bytes:
            return b"ok"

    return module.remote(Server)


def make_async_server(module: Any) -> Any:
    """The same on an event loop."""

    class AsyncServer:
        async def answer(self, _: Any = None) -> bytes:
            return b"ok"

    return module.remote(AsyncServer)


def make_client(module: Any) -> Any:
    """The class of an actor that calls servers and waits for all their answers."""

    class Client:
        def __init__(self, servers: list[Any]) -> None:
            self.servers = servers

        def call(self, times: int) -> None:
            """``times`` calls of each server."""
            refs = [server.answer.remote() for server in self.servers for _ in range(times)]
            module.get(refs)

        def call_with_ref(self, times: int) -> None:
            argument = module.put(0)
            refs = [server.answer.remote(argument) for server in self.servers for _ in range(times)]
            module.get(refs)

    return module.remote(Client)


def async_calls(module: Any, server: Any, *arguments: Any) -> Metrics:
    answer = server.answer

    def batch() -> None:
        module.get([answer.remote(*arguments) for _ in range(IN_FLIGHT)])

    return {"rate": (rate(batch, IN_FLIGHT), "/s")}


def one_to_many(bench: Bench, make: Any) -> Metrics:
    module = bench.start()
    server = make(module)
    client = make_client(module).remote([server.remote() for _ in range(bench.num_cpus)])
    calls = IN_FLIGHT * bench.num_cpus
    return {"rate": (rate(lambda: module.get(client.call.remote(IN_FLIGHT)), calls), "/s")}


def many_to_many(bench: Bench, make: Any, method: str = "call") -> Metrics:
    module = bench.start()
    server, client = make(module), make_client(module)
    servers = [server.remote() for _ in range(bench.num_cpus)]
    clients = [client.remote(servers) for _ in range(CALLERS)]
    times = IN_FLIGHT // 2

    def all_call() -> None:
        module.get([getattr(client, method).remote(times) for client in clients])

    return {"rate": (rate(all_call, times * len(servers) * len(clients)), "/s")}


@case(rate=at_least(15), p50=at_least(15, 20))
def actor_sync(bench: Bench) -> Metrics:
    """One caller, one actor, one call at a time: ≥ 15 times the rate, median ≤ 20 µs."""
    module = bench.start()
    server = make_server(module).remote()
    return call_metrics(lambda: module.get(server.answer.remote()))


@case(rate=at_least(5), p99=at_least(1))
def actor_sync_busy(bench: Bench) -> Metrics:
    """The same while another process keeps one core busy: ≥ 5 times, and no worse at the 99th
    percentile: the gain is not lost under load."""
    module = bench.start()
    server = make_server(module).remote()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        return call_metrics(lambda: module.get(server.answer.remote()))
    finally:
        busy.kill()
        busy.wait()


@case(rate=at_least(25))
def actor_async_1_1(bench: Bench) -> Metrics:
    """One caller, one actor, 1,000 calls in flight: ≥ 25 times the rate."""
    module = bench.start()
    return async_calls(module, make_server(module).remote())


@case(rate=at_least(25))
def actor_async_concurrent(bench: Bench) -> Metrics:
    """The same of an actor with 16 threads: ≥ 25 times the rate."""
    module = bench.start()
    return async_calls(module, make_server(module).options(max_concurrency=THREADS).remote())


@case(rate=at_least(25))
def actor_async_1_n(bench: Bench) -> Metrics:
    """One calling actor, an actor per CPU, 1,000 calls in flight to each: ≥ 25 times the rate."""
    return one_to_many(bench, make_server)


@case(rate=at_least(25))
def actor_async_n_n(bench: Bench) -> Metrics:
    """Four calling actors, an actor per CPU, 500 calls in flight for each pair: ≥ 25 times."""
    return many_to_many(bench, make_server)


@case(rate=at_least(20))
def actor_async_n_n_ref(bench: Bench) -> Metrics:
    """The same with a reference as argument, put by the caller: ≥ 20 times the rate."""
    return many_to_many(bench, make_server, "call_with_ref")


@case(rate=at_least(10))
def async_actor_sync(bench: Bench) -> Metrics:
    """One call of an async actor at a time: ≥ 10 times."""
    module = bench.start()
    server = make_async_server(module).remote()
    return call_metrics(lambda: module.get(server.answer.remote()))


@case(rate=at_least(15))
def async_actor_async(bench: Bench) -> Metrics:
    """One caller, one async actor, 1,000 calls in flight: ≥ 15 times."""
    module = bench.start()
    return async_calls(module, make_async_server(module).remote())


@case(rate=at_least(15))
def async_actor_async_argument(bench: Bench) -> Metrics:
    """The same with a number as argument: ≥ 15 times."""
    module = bench.start()
    return async_calls(module, make_async_server(module).remote(), 7)


@case(rate=at_least(15))
def async_actor_1_n(bench: Bench) -> Metrics:
    """One calling actor, an async actor per CPU, 1,000 calls in flight to each: ≥ 15 times."""
    return one_to_many(bench, make_async_server)


@case(rate=at_least(15))
def async_actor_n_n(bench: Bench) -> Metrics:
    """Four calling actors, an async actor per CPU, 500 calls in flight for each pair: ≥ 15."""
    return many_to_many(bench, make_async_server)
