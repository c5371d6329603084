# SPDX-License-Identifier: Apache-2.0
"""What a LoggingConfig makes of the log records of a job's processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from typing import Any

import pytest

import skyray

PROGRAM = """
import logging, os, sys
import skyray
from skyray import LoggingConfig
{init}
log = logging.getLogger("mine")

@skyray.remote
def task(text):
    log.debug("not this")
    log.info(text, extra={{"lap": 3, "odd": object}})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")

@skyray.remote
class Actor:
    def method(self):
        log.warning("from %s", "a method")

{body}
skyray.shutdown()
"""


def run(init: str, body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(init=init, body=textwrap.dedent(body))
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


def records(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """By their message; each line is one."""
    found = [json.loads(line) for line in result.stderr.splitlines()]
    return {record["message"]: record for record in found}


def test_records_as_json() -> None:
    result = run(
        'skyray.init(num_cpus=1, logging_config=LoggingConfig("JSON", "INFO", ["name"]))',
        """
        log.info("driver")
        skyray.get(task.options(name="named").remote("worker"))
        actor = Actor.options(name="star").remote()
        skyray.get(actor.method.remote())
        context = skyray.get_runtime_context()
        print(context.get_job_id(), context.get_node_id(), context.get_worker_id(), actor._actor_id)
        """,
    )
    job, node, worker, actor_id = re.findall(r"[0-9a-f]{8,}", result.stdout)
    found = records(result)
    assert set(found) == {"driver", "worker", "failed", "from a method"}
    driver, record, failed = found["driver"], found["worker"], found["failed"]
    assert " ".join(driver) == (
        "asctime levelname message filename lineno process name job_id worker_id node_id "
        "timestamp_ns"
    )
    assert (driver["job_id"], driver["node_id"], driver["worker_id"]) == (job, node, worker)
    assert driver["timestamp_ns"] > 1_700_000_000 * 10**9
    assert (record["job_id"], record["node_id"], record["name"]) == (job, node, "mine")
    assert record["worker_id"] != worker
    assert record["task_name"] == "named"
    assert record["task_func_name"] == "__main__.task"
    assert (record["lap"], record["odd"]) == (3, "<class 'object'>")
    assert len(record["task_id"]) == 48
    assert "actor_id" not in record
    assert failed["levelname"] == "ERROR"
    assert failed["exc_text"].endswith("ZeroDivisionError: division by zero")
    assert found["from a method"]["actor_id"] == actor_id
    assert found["from a method"]["actor_name"] == "star"
    assert found["from a method"]["task_func_name"] == "__main__.Actor.method"


def test_records_as_text() -> None:
    result = run(
        'skyray.init(num_cpus=1, logging_config=LoggingConfig(log_level="DEBUG"))',
        'skyray.get(task.remote("worker"))',
    )
    first, second, *_ = result.stderr.splitlines()
    assert re.match(r"[-0-9]+ [:,0-9]+\tDEBUG \S+:\d+ -- not this job_id=\w+ worker_id=", first)
    assert re.search(r"-- worker lap=3 odd=<class 'object'> job_id=.* timestamp_ns=\d+$", second)
    assert "Traceback" in result.stderr


def test_it_may_come_from_the_environment_or_the_job() -> None:
    body = 'log.warning("here")'
    by_variable = run("skyray.init()", body, SKYRAY_LOGGING_CONFIG_ENCODING="JSON")
    assert set(records(by_variable)) == {"here"}
    job_config = "type('JobConfig', (), {'py_logging_config': LoggingConfig('JSON')})"
    assert set(records(run(f"skyray.init(job_config={job_config})", body))) == {"here"}
    as_dict = "skyray.init(logging_config=LoggingConfig('JSON').to_dict())"
    assert set(records(run(as_dict, body))) == {"here"}


def test_the_last_one_holds() -> None:
    result = run(
        "skyray.init(logging_config=LoggingConfig('TEXT'))",
        """
        skyray.shutdown()
        skyray.init(logging_config=LoggingConfig("JSON"))
        log.info("once")
        """,
    )
    assert set(records(result)) == {"once"}
    assert len(result.stderr.splitlines()) == 1


def test_output_can_be_shown_as_it_is() -> None:
    result = run(
        "skyray.init()",
        """
        @skyray.remote
        def shout():
            print("bare")
        skyray.get(shout.remote())
        """,
        SKYRAY_DISABLE_WORKER_LOG_PREFIX="1",
    )
    assert result.stdout == "bare\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"encoding": "XML"}, "Invalid encoding type: XML"),
        ({"additional_log_standard_attrs": ["colour"]}, "standard attribute: colour"),
        ({"log_level": "NOPE"}, "Unknown level: 'NOPE'"),
    ],
)
def test_what_it_cannot_be(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        skyray.LoggingConfig(**arguments)


def test_what_is_none() -> None:
    with pytest.raises(TypeError, match="must be a dict or LoggingConfig"):
        skyray.init(logging_config="JSON")
    assert not skyray.is_initialized()


def test_unknown_keys_of_another_version_are_passed_over() -> None:
    config = skyray.LoggingConfig.from_dict({"encoding": "JSON", "colour": "red"})
    assert config == skyray.LoggingConfig("JSON")
    assert skyray.LoggingConfig.from_dict(config.to_dict()) == config
