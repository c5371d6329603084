# SPDX-License-Identifier: Apache-2.0
"""What workers print is shown at the driver, and whose it is."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

PROGRAM = """
import os, sys
import skyray
{init}

@skyray.remote
def shout(text):
    print(text)
    print(text.upper(), file=sys.stderr)
    return os.getpid()

@skyray.remote
class Singer:
    def sing(self):
        print("la\\nla")
        os.write(1, b"straight to the pipe\\n")
        return os.getpid()

{body}
skyray.shutdown()
"""


def run(body: str, init: str = "skyray.init(num_cpus=2)") -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(init=init, body=textwrap.dedent(body))
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stderr
    return result


def test_an_actor_with_a_repr_is_called_by_its_first_line() -> None:
    result = run("""
        class Star(Singer.__ray_actor_class__):
            def __repr__(self):
                return "a star\\nof many lines"

        class Shy(Singer.__ray_actor_class__):
            def __repr__(self):
                raise RuntimeError

        skyray.get([skyray.remote(cls).remote().sing.remote() for cls in (Star, Shy)])
    """)
    for name in ("a star", "Shy"):
        lines = re.findall(rf"^\({name} pid=\d+\) la$", result.stdout, re.MULTILINE)
        assert len(lines) == 2, result.stdout


def test_a_get_that_stops_an_event_loop_is_remarked_upon_once() -> None:
    result = run("""
        @skyray.remote
        class Async:
            async def blocks(self, refs):
                return skyray.get(refs[0])

            async def asks_a_thread(self, refs):
                import asyncio
                return await asyncio.get_running_loop().run_in_executor(None, skyray.get, refs[0])

        ref = skyray.put(1)
        fine, blocking = Async.remote(), Async.remote()
        skyray.get([fine.asks_a_thread.remote([ref]), Singer.remote().sing.remote()])
        skyray.get([blocking.blocks.remote([ref]) for _ in range(3)])
        skyray.get(ref)
    """)
    said = "Using blocking skyray.get inside async actor. This blocks the event loop."
    assert result.stderr.count(said) == 1


def test_tasks_and_actors_are_named_with_their_process() -> None:
    result = run("""
        pids = skyray.get([shout.remote("hello"), Singer.remote().sing.remote()])
        print(f"pids {pids[0]} {pids[1]}\\n", end="")  # In one piece.
    """)
    task, actor = re.search(r"pids (\d+) (\d+)", result.stdout).groups()  # type: ignore[union-attr]
    assert f"(shout pid={task}) hello\n" in result.stdout
    assert f"(shout pid={task}) HELLO\n" in result.stderr
    song = re.findall(rf"^\(Singer pid={actor}\) (.*)$", result.stdout, re.MULTILINE)
    assert song == ["la", "la", "straight to the pipe"]
    assert "\x01" not in result.stdout + result.stderr


def test_output_of_processes_that_a_task_starts_is_named_as_its_own() -> None:
    result = run("""
        @skyray.remote(num_cpus=2)
        def first():
            print("first prints")

        @skyray.remote(num_cpus=2)
        def second():
            import contextlib, io, subprocess
            subprocess.run(["echo", "run"], check=True)
            subprocess.run(["echo", "run to stderr"], stdout=2, check=True)
            with contextlib.redirect_stdout(io.StringIO()):
                os.system("echo system")
            os.waitpid(os.posix_spawnp("echo", ["echo", "spawned"], os.environ), 0)
            child = os.fork()
            if child == 0:
                os.write(1, b"forked\\n")
                os._exit(0)
            os.waitpid(child, 0)
            print("second prints")
            return os.system, subprocess.Popen

        skyray.get(first.remote())
        assert skyray.get(second.remote()) == (os.system, __import__("subprocess").Popen)
    """)
    by_name = re.findall(r"^\((\w+) pid=\d+\) (.*)$", result.stdout, re.MULTILINE)
    said = [text for name, text in by_name if name == "second"]
    assert said == ["run", "system", "spawned", "forked", "second prints"], result.stdout
    assert re.search(r"^\(second pid=\d+\) run to stderr$", result.stderr, re.MULTILINE)
    assert "\x01" not in result.stdout + result.stderr


def test_a_line_that_is_begun_keeps_its_name_before_a_process_starts() -> None:
    result = run("""
        @skyray.remote
        def half():
            print("one, ", end="")
            os.system("echo two")
            print("three")

        skyray.get(half.remote())
    """)
    # As without us: what has no end yet is in Python's buffer.
    said = re.findall(r"^\(half pid=\d+\) (.*)$", result.stdout, re.MULTILINE)
    assert said == ["two", "one, three"], result.stdout


# Says when something has been shown.
HEARD = """
import threading

class Heard:
    def __init__(self, stream):
        self.stream, self.text, self.changed = stream, "", threading.Condition()
        self.flush, self.isatty = stream.flush, stream.isatty

    def write(self, text):
        with self.changed:
            self.text += text
            self.changed.notify_all()
        return self.stream.write(text)

    def until(self, text):
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.text, 60), (text, self.text)

sys.stdout, sys.stderr = out, err = Heard(sys.stdout), Heard(sys.stderr)
"""


def test_a_line_without_an_end_is_shown() -> None:
    result = run(
        HEARD
        + textwrap.dedent("""
        @skyray.remote
        def half(text):
            sys.stdout.write(text)
            sys.stderr.write(text.upper())

        class Half:
            def __init__(self):
                sys.stdout.write("made")
                self.go_on = threading.Event()

            def say(self, text):
                sys.stdout.write(text)

            def begin(self):
                print("begun", end="", flush=True)
                self.go_on.wait()
                print()
                print("ended")

            def end(self):
                self.go_on.set()

        class AsyncHalf(Half):
            async def begin(self):
                print("begun", end="", flush=True)
                while not self.go_on.is_set():
                    import asyncio
                    await asyncio.sleep(0.01)
                print()
                print("ended")

        for text in ("one", "two"):
            skyray.get(half.remote(text))
            out.until(f") {text}\\n")
            err.until(f") {text.upper()}\\n")
        for cls, options in ((Half, {"max_concurrency": 2}), (AsyncHalf, {})):
            actor = skyray.remote(cls).options(**options).remote()
            out.until(f"({cls.__name__} ")
            skyray.get(actor.say.remote("said"))
            out.until(") said\\n")
            ref = actor.begin.remote()
            out.until(") begun\\n")
            actor.end.remote()
            skyray.get(ref)
            out.until(") ended\\n")
            out.text = ""
        """)
    )
    said = re.findall(r"^\((\w+) pid=\d+\) (.*)$", result.stdout, re.MULTILINE)
    assert [text for name, text in said if name == "half"] == ["one", "two"]
    for name in ("Half", "AsyncHalf"):
        assert [text for of, text in said if of == name] == ["made", "said", "begun", "ended"]


def test_what_others_than_python_print_is_named() -> None:
    result = run(
        HEARD
        + textwrap.dedent("""
        @skyray.remote
        def first():
            os.write(1, b"one\\n")

        @skyray.remote
        def talks():
            print("two")
            return os.getpid()

        @skyray.remote
        def second():
            os.write(1, b"three\\n")
            os.write(2, b"four\\n")
            return os.getpid()

        @skyray.remote
        class Writer:
            def write(self):
                os.write(1, b"five\\n")

        skyray.get(first.remote())
        out.until(") one\\n")
        assert skyray.get(talks.remote()) == skyray.get(second.remote())
        err.until(") four\\n")
        writer = Writer.remote()
        skyray.get(writer.write.remote())
        out.until(") five\\n")
        """),
        "skyray.init(num_cpus=1)",
    )
    said = re.findall(r"^\((\w+) pid=\d+\) (.*)$", result.stdout, re.MULTILINE)
    assert said == [("first", "one"), ("talks", "two"), ("second", "three"), ("Writer", "five")]
    assert re.search(r"^\(second pid=\d+\) four$", result.stderr, re.MULTILINE)


def test_a_long_line_stays_one() -> None:
    result = run("""
        @skyray.remote
        def long():
            print("x" * 300_000)
            print("windows\\r")

        skyray.get(long.remote())
    """)
    lines = re.findall(r"^\(long pid=\d+\) (.*)$", result.stdout, re.MULTILINE)
    assert lines == ["x" * 300_000, "windows"]


def test_ps_shows_what_a_worker_does() -> None:
    result = run("""
        def title():
            with open("/proc/self/cmdline") as file:
                return file.read().rstrip("\\0")

        class Played:
            def title(self):
                return title()

            def pid(self):
                return os.getpid()

        class AsyncPlayed(Played):
            async def title(self):
                return title()

        long_name = "a_name_" * 1000
        task = skyray.remote(title)
        print(skyray.get(task.remote()))
        print(len(skyray.get(task.options(name=long_name).remote())) > 20)
        print(skyray.get(task.options(name="short").remote()))
        for cls in (Played, AsyncPlayed):
            actor = skyray.remote(cls).remote()
            print(skyray.get(actor.title.remote()))
            pid = skyray.get(actor.pid.remote())
            with open(f"/proc/{pid}/cmdline") as file:
                print("resting", file.read().rstrip("\\0").split(".")[0])
    """)
    assert result.stdout.splitlines() == [
        "skyray::title",
        "True",
        "skyray::short",
        "skyray::Played.title",
        "resting skyray::Played",
        "skyray::AsyncPlayed",
        "resting skyray::AsyncPlayed",
    ]


def test_what_is_printed_just_before_the_end_is_not_lost() -> None:
    result = run('skyray.get([shout.remote(f"line {i}") for i in range(50)])')
    assert len(re.findall(r"\(shout pid=\d+\) line \d+", result.stdout)) == 50


def test_output_can_be_kept_away() -> None:
    result = run('skyray.get(shout.remote("hello"))', "skyray.init(log_to_driver=False)")
    assert "hello" not in result.stdout
    assert "HELLO" not in result.stderr


def test_it_is_in_the_log_files_too() -> None:
    result = run("""
        import glob
        skyray.get(shout.remote("for the record"))
        logs = skyray.get_runtime_context().get_session_dir() + "/logs/worker-*"
        import time
        end = time.monotonic() + 60  # The raylet writes them when it has its turn.
        while time.monotonic() < end:
            text = "".join(open(name).read() for name in glob.glob(logs))
            if "for the record" in text and "FOR THE RECORD" in text:
                print("found")
                break
    """)
    assert "found" in result.stdout
