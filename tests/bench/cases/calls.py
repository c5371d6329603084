# SPDX-License-Identifier: Apache-2.0
"""Calls of actors: one at a time, many in flight, and from several callers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from measure import call_metrics, rate

from . import Bench, Metrics, at_least, case

IN_FLIGHT = 1000
CALLERS = 4


def make_server(module: Any) -> Any:
    """The class of an actor that answers at once."""

    class Server:
        def answer(self, _: Any = None) -> bytes:
            return b"ok"

    return module.remote(Server)


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


def async_calls(module: Any, server: Any) -> float:
    answer = server.answer
    return rate(lambda: module.get([answer.remote() for _ in range(IN_FLIGHT)]), IN_FLIGHT)


@case(rate=at_least(15), p50=at_least(15, 20))
def actor_sync(bench: Bench) -> Metrics:
    """One caller, one actor, one call at a time: ≥ 15 times the rate, median ≤ 20 µs."""
    module = bench.start()
    server = make_server(module).remote()
    return call_metrics(lambda: module.get(server.answer.remote()))


@case(rate=at_least(5))
def actor_sync_busy(bench: Bench) -> Metrics:
    """The same while another process keeps one core busy: the gain is not lost under load."""
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
    return {"rate": (async_calls(module, make_server(module).remote()), "/s")}


@case(rate=at_least(25))
def actor_async_1_n(bench: Bench) -> Metrics:
    """One calling actor, an actor per CPU, 1,000 calls in flight to each: ≥ 25 times the rate."""
    module = bench.start()
    server = make_server(module)
    client = make_client(module).remote([server.remote() for _ in range(bench.num_cpus)])
    calls = IN_FLIGHT * bench.num_cpus
    return {"rate": (rate(lambda: module.get(client.call.remote(IN_FLIGHT)), calls), "/s")}


@case(rate=at_least(25))
def actor_async_n_n(bench: Bench) -> Metrics:
    """Four calling actors, an actor per CPU, 500 calls in flight for each pair: ≥ 25 times."""
    return {"rate": (many_to_many(bench, "call"), "/s")}


@case(rate=at_least(20))
def actor_async_n_n_ref(bench: Bench) -> Metrics:
    """The same with a reference as argument, put by the caller: ≥ 20 times the rate."""
    return {"rate": (many_to_many(bench, "call_with_ref"), "/s")}


def many_to_many(bench: Bench, method: str) -> float:
    module = bench.start()
    server, client = make_server(module), make_client(module)
    servers = [server.remote() for _ in range(bench.num_cpus)]
    clients = [client.remote(servers) for _ in range(CALLERS)]
    times = IN_FLIGHT // 2

    def all_call() -> None:
        module.get([getattr(client, method).remote(times) for client in clients])

    return rate(all_call, times * len(servers) * len(clients))
