# SPDX-License-Identifier: Apache-2.0
"""Threads that use skyray while the process connects, leaves, or exits."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

LIMIT_S = 120

HEADER = """
    import atexit, os, signal, threading
    import numpy as np
    import skyray

    @skyray.remote
    def same(x):
        return x

"""


def outcome(program: str) -> str:
    """What a program prints that ends well."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HEADER) + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


USES = {
    "get": "skyray.get(same.remote(1))",
    "large": "skyray.put(np.ones(60_000))",
    "fetch": "skyray.get(big)",
    "future": "same.remote(1).future().result()",
    "nodes": "skyray.nodes()",
    "waits for ever": "skyray.get(never.remote())",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("explicit", [True, False], ids=["shutdown", "exit"])
def test_threads_are_inside_when_the_process_leaves(use: str, explicit: bool) -> None:
    program = f"""
    @skyray.remote(num_cpus=0)
    def never():
        threading.Event().wait()

    skyray.init(num_cpus=2, log_to_driver=False)
    big = skyray.put(np.ones(300_000))
    begun = threading.Semaphore(0)
    os.environ["SKYRAY_ENABLE_AUTO_CONNECT"] = "0"

    def loop():
        while True:
            begun.release()
            try:
                {use}
            except BaseException:
                return

    threads = [threading.Thread(target=loop, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4 if "never" in {use!r} else 40):
        begun.acquire()
    if {explicit}:
        skyray.shutdown()
        for thread in threads:
            if "future" not in {use!r}:  # Whose result never comes.
                thread.join()
    print("left")
    """
    assert outcome(program) == "left\n"


def test_one_of_several_threads_starts_the_cluster() -> None:
    program = """
    results, contexts = [], []
    start = threading.Barrier(12)

    def call(number):
        start.wait()
        results.append(skyray.get(same.remote(number)))

    def init():
        start.wait()
        contexts.append(skyray.init(ignore_reinit_error=True)["session_dir"])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    threads += [threading.Thread(target=init) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sorted(results), len(contexts), len(set(contexts)))
    """
    assert outcome(program) == "[0, 1, 2, 3, 4, 5] 6 1\n"


def test_shutdown_from_inside_a_call() -> None:
    program = """
    @skyray.remote
    def signals(pid):
        os.kill(pid, signal.SIGUSR1)
        threading.Event().wait()

    signal.signal(signal.SIGUSR1, lambda *_: skyray.shutdown())
    skyray.init(num_cpus=1, log_to_driver=False)
    try:
        skyray.get(signals.remote(os.getpid()))
    except skyray.exceptions.RayError as error:
        print(type(error).__name__, skyray.is_initialized())
    skyray.init(num_cpus=1)
    print(skyray.get(same.remote(2)))
    """
    assert outcome(program) == "RaySystemError False\n2\n"


def test_a_signals_handler_uses_skyray_inside_a_call() -> None:
    program = """
    @skyray.remote(num_cpus=0)
    class Gate:
        def __init__(self):
            self.opened = threading.Event()

        def open(self):
            self.opened.set()

        def wait(self, pid):
            os.kill(pid, signal.SIGUSR1)
            self.opened.wait()
            return "opened"

    def handle(*_):
        value = skyray.get(same.remote(np.ones(60_000)))
        skyray.get(gate.open.remote())
        print(skyray.get(skyray.put(value)).sum())

    skyray.init(num_cpus=1, log_to_driver=False)
    gate = Gate.options(max_concurrency=2).remote()
    signal.signal(signal.SIGUSR1, handle)
    print(skyray.get(gate.wait.remote(os.getpid())))
    """
    assert outcome(program) == "60000.0\nopened\n"


def test_what_is_registered_after_the_import_finds_the_cluster_at_exit() -> None:
    program = """
    atexit.register(lambda: print(skyray.get(same.remote(3))))
    skyray.init(num_cpus=1)
    """
    assert outcome(program) == "3\n"


def test_no_cluster_is_started_by_an_exit() -> None:
    program = """
    def too_late():
        try:
            same.remote(1)
        except skyray.exceptions.RaySystemError as error:
            print("Python is exiting" in str(error))

    skyray.init(num_cpus=1)
    from skyray import _lifecycle
    atexit.unregister(_lifecycle._shut_down_at_exit)
    atexit.register(too_late)
    atexit.register(_lifecycle._shut_down_at_exit)
    """
    assert outcome(program) == "True\n"


def test_sigterm_runs_what_is_to_be_run_at_the_exit() -> None:
    program = """
    import sys
    atexit.register(lambda: print(skyray.get(same.remote(4))))
    skyray.init(num_cpus=1)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()
    except SystemExit as error:
        print(error.code)
        sys.exit(0)
    finally:
        print("finally")
    """
    assert outcome(program) == "15\nfinally\n4\n"


FUTURES = """
    import asyncio

    @skyray.remote
    def never():
        threading.Event().wait()

    @skyray.remote(num_cpus=0)
    def one():
        yield 1
        threading.Event().wait()

    said = {}

    def hear(name, future):
        said[name] = f"{type(future.exception()).__name__}, {skyray.is_initialized()}"
        skyray.init(num_cpus=1)
        said["new"] = skyray.get(same.remote(5))

    def wait(name, future):
        try:
            future.result()
        except skyray.exceptions.RayError as error:
            said[name] = str(error)

    async def wait_for(name, made):
        try:
            await made(ref)
        except skyray.exceptions.RayError as error:
            said[name] = type(error).__name__

    async def take_all():
        async for item in generator:
            said["item"] = await item

    async def wait_for_all():
        waits = [
            wait_for("items", lambda _: take_all()),
            wait_for("await", lambda ref: ref.as_future()),
            wait_for("wrapped", lambda ref: asyncio.wrap_future(ref.future())),
        ]
        tasks = [asyncio.create_task(one) for one in waits]
        while "item" not in said:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.set()
        await asyncio.gather(*tasks)

    skyray.init(num_cpus=1, log_to_driver=False)
    ref, generator = never.remote(), one.remote()
    waiting = threading.Event()
    future = ref.future()
    thread = threading.Thread(target=wait, args=("thread", future))
    looping = threading.Thread(target=lambda: asyncio.run(wait_for_all()))
    thread.start()
    looping.start()
    waiting.wait()
    cancelled = ref.future()
    cancelled.cancel()
    ref.future().add_done_callback(lambda future: hear("callback", future))
    ref._on_completed(lambda error: said.update(completed=type(error).__name__))
    skyray.shutdown()
    thread.join()
    looping.join()
    print(*sorted(said.items()), sep="\\n")
"""


def test_futures_end_with_the_session() -> None:
    error = "RaySystemError"
    assert outcome(FUTURES).splitlines() == [
        f"('await', '{error}')",
        f"('callback', '{error}, False')",
        f"('completed', '{error}')",
        "('item', 1)",
        f"('items', '{error}')",
        "('new', 5)",
        "('thread', 'System error: skyray was shut down meanwhile')",
        f"('wrapped', '{error}')",
    ]


def test_a_future_that_nobody_ends_holds_up_no_exit() -> None:
    program = """
    @skyray.remote
    def never():
        threading.Event().wait()

    skyray.init(num_cpus=1, log_to_driver=False)
    future = never.remote().future()
    future.add_done_callback(lambda future: print(type(future.exception()).__name__))
    """
    assert outcome(program) == "RaySystemError\n"


def test_what_is_left_of_an_earlier_session() -> None:
    program = """
    @skyray.remote
    class Actor:
        def nothing(self):
            pass

    skyray.init(num_cpus=1)
    actor, ref = Actor.remote(), same.remote(1)
    skyray.get(ref)
    skyray.shutdown()
    skyray.init(num_cpus=1)
    uses = [lambda: skyray.kill(actor), lambda: actor.nothing.remote(), lambda: skyray.get(ref)]
    for use in uses:
        try:
            use()
        except ValueError as error:
            print(type(error).__name__, "earlier" in str(error))
    """
    assert outcome(program).splitlines() == [
        "ActorHandleNotFoundError True",
        "ValueError True",
        "ValueError True",
    ]
