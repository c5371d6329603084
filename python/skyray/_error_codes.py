# SPDX-License-Identifier: Apache-2.0
"""Codes of fbs/error.fbs as exceptions: one list, in that file's order."""

from __future__ import annotations

from typing import Callable

from . import exceptions

_Make = Callable[[str, str], BaseException]


def _plain(cls: Callable[[str], BaseException]) -> _Make:
    return lambda message, actor_id: cls(message)


def _lost(cls: type[exceptions.ObjectLostError]) -> _Make:
    return lambda message, actor_id: cls("", message=message)


# Enumerator of fbs/error.fbs -> how (message, actor id in hex) becomes an exception.
# In the order of that file, as the position is the number; Ok is never raised.
_BY_CODE: dict[str, _Make] = {
    "Ok": _plain(exceptions.RaySystemError),
    "InvalidRequest": _plain(exceptions.RaySystemError),
    "VersionMismatch": _plain(exceptions.RaySystemError),
    "Unauthenticated": _plain(exceptions.AuthenticationError),
    "ObjectExists": _plain(exceptions.RaySystemError),
    "ObjectNotFound": _lost(exceptions.ObjectLostError),
    "ObjectSealed": _plain(exceptions.RaySystemError),
    "ObjectNotSealed": _plain(exceptions.RaySystemError),
    "OutOfMemory": _plain(exceptions.ObjectStoreFullError),
    "OutOfDisk": _plain(exceptions.OutOfDiskError),
    "TimedOut": _plain(exceptions.GetTimeoutError),
    "Cancelled": lambda message, actor_id: exceptions.TaskCancelledError(None, message),
    "Disconnected": _plain(exceptions.LocalRayletDiedError),
    "Internal": _plain(exceptions.RaySystemError),
    "IoError": _plain(exceptions.RaySystemError),
    "NotFound": _plain(ValueError),
    "AlreadyExists": _plain(exceptions.ActorAlreadyExistsError),
    "InvalidArgument": _plain(ValueError),
    "Unschedulable": lambda message, actor_id: (
        exceptions.ActorUnschedulableError(message)
        if actor_id
        else exceptions.TaskUnschedulableError(message)
    ),
    "TaskFailed": _plain(exceptions.RaySystemError),  # Its exception comes as a payload instead.
    "WorkerCrashed": _plain(exceptions.WorkerCrashedError),
    "ActorDied": lambda message, actor_id: exceptions.ActorDiedError(message, actor_id or None),
    "ActorUnavailable": lambda message, actor_id: exceptions.ActorUnavailableError(
        message.rstrip("."), bytes.fromhex(actor_id) if actor_id else None
    ),
    "NodeDied": _plain(exceptions.NodeDiedError),
    "OwnerDied": _lost(exceptions.OwnerDiedError),
    "ObjectLost": _lost(exceptions.ObjectLostError),
    "ObjectFreed": _lost(exceptions.ObjectFreedError),
    "TaskCancelled": lambda message, actor_id: exceptions.TaskCancelledError(None, message),
    "RuntimeEnvFailed": _plain(exceptions.RuntimeEnvSetupError),
    "PendingCallsLimit": _plain(exceptions.PendingCallsLimitExceeded),
    "NotConnected": _plain(exceptions.RaySystemError),
    "OutOfMemoryKilled": _plain(exceptions.OutOfMemoryError),
    "ReconstructionFailed": lambda message, actor_id: exceptions.ObjectReconstructionFailedError(
        "", reason_message=message
    ),
    "ReplayInconsistent": _plain(exceptions.StreamingGeneratorReplayInconsistentError),
}
_CODES = list(_BY_CODE.values())


def error_for(code: int, message: str, actor_id: str) -> BaseException:
    """The exception for a code of fbs/error.fbs.

    Args:
        code: its number.
        message: what happened, for people.
        actor_id: hex, or "" if no actor has to do with it.
    """
    make = _CODES[code] if 0 <= code < len(_CODES) else _plain(exceptions.RaySystemError)
    return make(message, actor_id)
