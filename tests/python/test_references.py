# SPDX-License-Identifier: Apache-2.0
"""References inside of values: many of them, copied, pickled, and who takes them along."""

from __future__ import annotations

import collections
import copy
import pickle
from typing import Any

import pytest
from waiting import until

import skyray
from skyray import _core
from skyray.exceptions import ActorDiedError

pytestmark = pytest.mark.usefixtures("runtime")

MANY = 3_000  # Pickled, more than travels in a call.


@skyray.remote
def add_up(refs: Any, more: Any = None) -> int:
    total: int = sum(skyray.get(list(refs)))
    return total if more is None else total + int(skyray.get(more[0]))


@skyray.remote
def pass_on(refs: Any) -> Any:
    return refs


def objects() -> int:
    return _core.statistics()["objects"]


@pytest.fixture(name="before")
def _before() -> int:
    """How many objects there are; what other tests have left may still be going."""
    skyray.get(skyray.put(None))
    until(lambda: _core.statistics()["tasks_pending"] == 0, "nothing is under way")
    return objects()


@pytest.mark.parametrize("count", [1, 10, MANY])
def test_a_list_of_references_goes_there_and_back(count: int, before: int) -> None:
    refs = [skyray.put(i) for i in range(count)]
    total = count * (count - 1) // 2
    assert skyray.get(add_up.remote(refs), timeout=60) == total
    assert skyray.get(add_up.remote(refs, more=[refs[-1]]), timeout=60) == total + count - 1
    assert skyray.get(skyray.put(refs)) == refs
    back = skyray.get(pass_on.remote(refs), timeout=60)
    assert back == refs
    del refs
    assert sum(skyray.get(back)) == total  # They are the same objects.
    del back
    until(lambda: objects() <= before, "all are freed")


def test_one_reference_in_several_places() -> None:
    ref = skyray.put(7)
    value = {"a": ref, "b": [ref, (ref,)], "c": collections.OrderedDict(d=ref)}
    got = skyray.get(pass_on.remote(value), timeout=60)
    assert got["a"] is got["b"][0] is got["b"][1][0] is got["c"]["d"]
    assert got["a"] == ref
    assert skyray.get(got["a"]) == 7


class Holder:
    """Its state is made of references when it is pickled, which nobody else has then."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return _load_holder, (skyray.put(self.value),)


def _load_holder(ref: Any) -> Any:
    return ("held", ref)


def test_a_reference_that_only_the_pickle_has() -> None:
    for _ in range(20):
        got: Any = skyray.get(skyray.put([Holder(5)]))
        word, ref = got[0]
        assert (word, skyray.get(ref)) == ("held", 5)


def test_copies_are_the_same_object() -> None:
    ref = skyray.put([1])
    for again in (copy.copy(ref), copy.deepcopy([ref])[0], pickle.loads(pickle.dumps(ref))):
        assert again == ref
        assert type(again) is type(ref)
        assert skyray.get(again) == [1]


@pytest.mark.parametrize("bad", [b"", b"x" * 83, b"x" * 123, "text", None])
def test_bytes_that_are_no_reference(bad: Any) -> None:
    restore = skyray.put(1).__reduce__()[0]
    with pytest.raises(ValueError, match="84 or 124 bytes"):
        restore(bad)


class Actor:
    """Does nothing."""

    def ready(self) -> bool:
        return True


@skyray.remote
def make(value: int) -> Any:
    return [skyray.put(value)]


def test_what_tasks_have_put_does_not_end_with_an_actor() -> None:
    """Actors are not made of processes that own something already."""
    made = skyray.get([make.remote(i) for i in range(8)], timeout=60)
    remote: Any = skyray.remote(Actor)
    actors = [remote.remote() for _ in range(6)]
    assert all(skyray.get([actor.ready.remote() for actor in actors], timeout=60))
    for actor in actors:
        skyray.kill(actor)
    for actor in actors:
        with pytest.raises(ActorDiedError):
            skyray.get(actor.ready.remote(), timeout=60)
    assert [skyray.get(refs[0], timeout=60) for refs in made] == list(range(8))
