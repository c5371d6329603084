# SPDX-License-Identifier: Apache-2.0
"""Options: names, types and ranges, as programs written for Ray expect them."""

from __future__ import annotations

from typing import Any

import pytest

from skyray.options import (
    ACTOR,
    METHOD,
    OPTIONS,
    TASK,
    resources_of,
    scheduling_of,
    validate_options,
    value_of,
)


def check(scope: str = TASK, in_options: bool = True, **options: Any) -> None:
    validate_options(scope, options, in_options=in_options)


def test_unknown_option_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"keyword foo for remote functions.*num_cpus"):
        check(foo=1)
    with pytest.raises(ValueError, match="Invalid option keyword max_retries for actors"):
        check(ACTOR, max_retries=1)


def test_wrong_type() -> None:
    with pytest.raises(TypeError, match=r"'num_cpus' must be .* but received type <class 'str'>"):
        check(num_cpus="2")
    with pytest.raises(TypeError, match="'name'"):
        check(ACTOR, name=3)
    with pytest.raises(TypeError, match="quantity of resource a must be a number"):
        check(resources={"a": "1"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_cpus": -1}, "num_cpus cannot be negative"),
        ({"resources": {"a": -0.5}}, "resource a cannot be negative"),
        ({"num_cpus": 0.00001}, "cannot go beyond 0.0001"),
        ({"num_cpus": float("nan")}, "must be finite"),
        ({"memory": float("inf")}, "must be finite"),
        ({"resources": {"CPU": 1}}, "'num_cpus' and 'num_gpus' keyword"),
        ({"resources": {"GPU": 1}}, "'num_cpus' and 'num_gpus' keyword"),
        ({"num_returns": -1}, "non-negative"),
        ({"max_retries": -2}, "'max_retries' only accepts"),
        ({"retry_exceptions": [3]}, "list of exceptions"),
        ({"scheduling_strategy": "NEAR"}, "Invalid scheduling_strategy value 'NEAR'"),
        ({"max_calls": 1}, "'max_calls' is not supported in '.options\\(\\)'"),
    ],
)
def test_value_outside_of_its_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(**options)


def test_actor_options() -> None:
    with pytest.raises(ValueError, match="must be specified to use `get_if_exists`"):
        check(ACTOR, get_if_exists=True)
    with pytest.raises(ValueError, match="Actor name cannot be an empty string"):
        check(ACTOR, name="")
    with pytest.raises(ValueError, match="'detached', 'non_detached'"):
        check(ACTOR, lifetime="for ever")
    with pytest.raises(ValueError, match='"" is not a valid namespace'):
        check(ACTOR, namespace="")
    check(ACTOR, name="a", get_if_exists=True, lifetime="detached", max_restarts=-1)


def test_what_is_not_there_yet_is_refused_not_ignored() -> None:
    with pytest.raises(NotImplementedError, match="runtime_env"):
        check(runtime_env={"pip": ["x"]})


@pytest.mark.parametrize("scope", [TASK, ACTOR, METHOD])
def test_every_default_is_a_valid_value(scope: str) -> None:
    for name, option in OPTIONS:
        if scope in option.scopes and option.default is not None:
            validate_options(scope, {name: option.default}, in_options=False)


def test_no_name_twice_in_a_scope() -> None:
    for scope in (TASK, ACTOR, METHOD):
        names = [name for name, option in OPTIONS if scope in option.scopes]
        assert len(names) == len(set(names))


def test_resources_of_tasks_and_actors() -> None:
    assert resources_of(TASK, {}) == {"CPU": 1.0}
    assert resources_of(ACTOR, {}) == {}
    assert resources_of(TASK, {"num_cpus": 0}) == {}
    assert resources_of(
        TASK, {"num_cpus": 0.5, "num_gpus": 2, "memory": 100, "resources": {"a": 1, "b": 0}}
    ) == {"CPU": 0.5, "GPU": 2.0, "memory": 100.0, "a": 1.0}
    assert resources_of(ACTOR, {"accelerator_type": "T4"}) == {"accelerator_type:T4": 0.001}


@pytest.mark.parametrize("amount", [0, 0.5, 3, 16])
def test_tpus_come_as_a_host_has_them(amount: float) -> None:
    for right in (1, 2.0, 4, 8):
        check(resources={"TPU": right})
    with pytest.raises(ValueError, match=rf"'TPU' was set to {amount} which is not a supported"):
        check(ACTOR, resources={"TPU": amount})


@pytest.mark.parametrize("name", ["neuron_cores", "HPU", "RBLN", "MBLT", "FURIOSA", "TTNPU"])
def test_accelerators_that_cannot_be_shared_come_whole(name: str) -> None:
    check(resources={name: 3, "NPU": 0.5, f"{name}_": 0.5})
    with pytest.raises(ValueError, match=rf"{name} resource quantity must be whole .* 0\.5"):
        check(resources={name: 0.5})


def test_part_of_several_gpus_cannot_be_had() -> None:
    assert resources_of(TASK, {"num_gpus": 0.5})["GPU"] == 0.5
    with pytest.raises(ValueError, match=r"must be whole when it is above 1, got 1\.5"):
        resources_of(TASK, {"num_gpus": 1.5})


def test_defaults_hold_for_none() -> None:
    assert value_of(TASK, {"max_retries": None}, "max_retries") == 3
    assert value_of(TASK, {"max_retries": 0}, "max_retries") == 0


def test_scheduling() -> None:
    assert scheduling_of({}) == ("DEFAULT", b"", False)
    assert scheduling_of({"scheduling_strategy": "SPREAD"}) == ("SPREAD", b"", False)
