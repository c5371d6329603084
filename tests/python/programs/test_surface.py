# SPDX-License-Identifier: Apache-2.0
"""Every name of Ray's core API is there and takes what it takes there, or is known not to."""

from __future__ import annotations

from .compare_surface import ALLOWED, _takes_all, described, differences, recorded


def test_the_surface_is_rays() -> None:
    found = differences(recorded(), described("skyray"))
    assert {path: found[path] for path in found.keys() - ALLOWED.keys()} == {}
    assert ALLOWED.keys() - found.keys() == set(), "these differ no more"


def test_what_is_compared() -> None:
    theirs = recorded()
    for path in ("get", "wait", "actor.ActorHandle", "exceptions.RayTaskError()", "ObjectRef.hex"):
        assert path in theirs
    assert differences({"f": ["a"]}, {}) == {"f": "missing; ['a']"}
    assert differences({"E is": ["RayError"]}, {"E is": ["_Mine", "RayError"]}) == {}
    assert "E is" in differences({"E is": ["RayError"]}, {"E is": ["ValueError"]})


def test_what_takes_all_that_another_takes() -> None:
    wanted = ["a", "b=1", "kw c=2", "**rest"]
    assert _takes_all(wanted, wanted)
    assert _takes_all(["a", "b=1", "more=3", "kw c=2", "**others"], wanted)
    assert _takes_all(["x", "kw b=3"], ["x"])
    assert not _takes_all(["b=1", "a", "kw c=2", "**rest"], wanted)
    assert not _takes_all(["a", "b=2", "kw c=2", "**rest"], wanted)
    assert not _takes_all(["a", "b=1", "kw c=2"], wanted)
    assert not _takes_all(["a", "b"], ["a"])
