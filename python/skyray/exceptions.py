# SPDX-License-Identifier: Apache-2.0
"""Every way a call can fail.

Exception
└── RayError
    ├── RayTaskError                      user code raised; also of the user's type
    ├── TaskCancelledError
    ├── WorkerCrashedError                the process that ran the task ended
    ├── RayActorError
    │   ├── ActorDiedError                for good
    │   └── ActorUnavailableError         may come back
    ├── LocalRayletDiedError, NodeDiedError, RpcError
    ├── ObjectLostError
    │   ├── ObjectFetchTimedOutError, ObjectFreedError, OwnerDiedError
    │   ├── ObjectReconstructionFailedError
    │   └── ReferenceCountingAssertionError (AssertionError)
    ├── ObjectStoreFullError, OutOfDiskError, OutOfMemoryError
    ├── GetTimeoutError (TimeoutError), PlasmaObjectNotAvailable
    ├── TaskUnschedulableError, ActorUnschedulableError
    ├── TaskPlacementGroupRemoved, ActorPlacementGroupRemoved
    ├── RuntimeEnvSetupError, PendingCallsLimitExceeded, AsyncioActorExit
    ├── UserCodeException, UnserializableException, CrossLanguageError
    ├── ObjectRefStreamEndOfStreamError, OufOfBandObjectRefSerializationException
    ├── AuthenticationError
    ├── RaySystemError
    │   ├── StreamingGeneratorReplayInconsistentError
    │   ├── RayChannelError ── RayChannelTimeoutError (TimeoutError)
    │   └── RayCgraphCapacityExceeded, RayDirectTransportError
    ├── ActorAlreadyExistsError (ValueError)
    └── ActorHandleNotFoundError (ValueError)

Names and constructors are those that programs written for Ray know.
All of them survive pickling.
"""

from __future__ import annotations

import os
from typing import Any

__all__ = [
    "ActorAlreadyExistsError",
    "ActorDiedError",
    "ActorHandleNotFoundError",
    "ActorPlacementGroupRemoved",
    "ActorUnavailableError",
    "ActorUnschedulableError",
    "AsyncioActorExit",
    "AuthenticationError",
    "CrossLanguageError",
    "GetTimeoutError",
    "LocalRayletDiedError",
    "NodeDiedError",
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectReconstructionFailedError",
    "ObjectRefStreamEndOfStreamError",
    "ObjectStoreFullError",
    "OufOfBandObjectRefSerializationException",
    "OutOfDiskError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "PlasmaObjectNotAvailable",
    "RayActorError",
    "RayCgraphCapacityExceeded",
    "RayChannelError",
    "RayChannelTimeoutError",
    "RayDirectTransportError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "ReferenceCountingAssertionError",
    "RpcError",
    "RuntimeEnvSetupError",
    "StreamingGeneratorReplayInconsistentError",
    "TaskCancelledError",
    "TaskPlacementGroupRemoved",
    "TaskUnschedulableError",
    "UnserializableException",
    "UserCodeException",
    "WorkerCrashedError",
]


class RayError(Exception):
    """The base of all of these."""

    def to_bytes(self) -> bytes:
        """Itself, for :meth:`from_bytes` in another process."""
        from ._serialization import dumps

        return dumps(self)

    @staticmethod
    def from_bytes(b: bytes) -> RayError:
        """What :meth:`to_bytes` was called on. Never call it with bytes of strangers."""
        from ._dual_error import error_from_bytes

        return error_from_bytes(b)


class CrossLanguageError(RayError):
    """Code in another language raised.

    Args:
        ray_exception: the other side's account; ``formatted_exception_string``
            is shown if it has one.
    """

    def __init__(self, ray_exception: Any) -> None:
        super().__init__(ray_exception)
        self.ray_exception = ray_exception

    def __str__(self) -> str:
        text = getattr(self.ray_exception, "formatted_exception_string", self.ray_exception)
        return f"Code in another language raised:\n{text}"


class TaskCancelledError(RayError):
    """The task was cancelled.

    Args:
        task_id: of the task that ``cancel`` was called for.
        error_message: why, in words.
    """

    def __init__(self, task_id: Any = None, error_message: str | None = None) -> None:
        super().__init__(task_id, error_message)
        self.task_id = task_id
        self.error_message = error_message

    def __str__(self) -> str:
        what = f"Task: {self.task_id} was cancelled. " if self.task_id else ""
        return what + (self.error_message or "") or "The task was cancelled."


class RayTaskError(RayError):
    """User code raised while a task or an actor's method ran.

    What callers catch is made by :meth:`as_instanceof_cause`: it is a RayTaskError
    and an instance of the user's exception type as well.

    Args:
        function_name: of the task, or ``Class.method``.
        traceback_str: the worker's traceback, as Python prints it.
        cause: the user's exception.
        proctitle: ``skyray::`` and the function's name, unless given.
        pid: of the worker.
        ip: of the worker's node.
        actor_repr: ``repr`` of the actor, if it is one.
        actor_id: hex, if it is an actor.
    """

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
        actor_repr: str | None = None,
        actor_id: str | None = None,
    ) -> None:
        self.proctitle = proctitle or f"skyray::{function_name}"
        self.pid = pid or os.getpid()
        self.ip = ip or ""
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.actor_repr = actor_repr
        self._actor_id = actor_id
        self.args = (function_name, traceback_str, cause, proctitle, pid, ip)

    def __reduce__(self) -> Any:
        from ._dual_error import portable

        return portable(self, is_dual=False)

    def _fields(self) -> tuple[Any, ...]:
        told = (self.function_name, self.traceback_str, self.cause)
        return (*told, self.proctitle, self.pid, self.ip, self.actor_repr, self._actor_id)

    def __str__(self) -> str:
        actor = f", actor_id={self._actor_id}" if self._actor_id else ""
        actor += f", repr={self.actor_repr}" if self.actor_repr else ""
        where = f"{self.proctitle}() (pid={self.pid}, ip={self.ip}{actor})"
        lines = self.traceback_str.strip().split("\n")
        return "\n".join(where if line.startswith("Traceback ") else line for line in lines)

    def as_instanceof_cause(self) -> RayTaskError:
        """This error as an instance of the user's exception type, too.

        Attributes of the user's exception can be read from it; ``cause`` is that
        exception. If its type cannot be derived from, warns and returns ``self``.
        """
        if isinstance(self, type(self.cause)):
            return self
        from ._dual_error import dual_or_itself

        return dual_or_itself(self)

    make_dual_exception_instance = as_instanceof_cause


class _Worded(RayError):
    """What to say when nothing was given to say."""

    _default = ""

    def __str__(self) -> str:
        return super().__str__() or self._default


class LocalRayletDiedError(_Worded):
    """This process lost its raylet."""

    _default = (
        "The raylet of this node ended. Look at raylet.log in the session's logs directory for "
        "why, then call shutdown() and init()."
    )


class WorkerCrashedError(_Worded):
    """The process that ran the task ended before the task did."""

    _default = "The worker died unexpectedly while executing this task."


class RayActorError(RayError):
    """The actor could not finish this call.

    Args:
        actor_id: hex.
        error_msg: the whole message.
        actor_init_failed: whether its ``__init__`` raised.
        preempted: whether its node was taken away.
    """

    BASE_ERROR_MSG = "The actor experienced an error before finishing this task."

    def __init__(
        self,
        actor_id: str | None = None,
        error_msg: str = BASE_ERROR_MSG,
        actor_init_failed: bool = False,
        preempted: bool = False,
    ) -> None:
        self.actor_id = actor_id
        self.error_msg = error_msg
        self._actor_init_failed = actor_init_failed
        self._preempted = preempted
        super().__init__(actor_id, error_msg, actor_init_failed, preempted)

    def __str__(self) -> str:
        return self.error_msg

    @property
    def preempted(self) -> bool:
        return self._preempted

    @property
    def actor_init_failed(self) -> bool:
        return self._actor_init_failed


class ActorDiedError(RayActorError):
    """The actor is gone for good.

    Args:
        cause: the RayTaskError of its ``__init__``, or why it died, in words.
        actor_id: hex.
    """

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this task."

    def __init__(
        self, cause: RayTaskError | str | None = None, actor_id: str | None = None
    ) -> None:
        message = cause or self.BASE_ERROR_MSG
        init_failed = isinstance(cause, RayTaskError)
        if isinstance(cause, RayTaskError):
            actor_id = actor_id or cause._actor_id
            message = f"The actor died because of an error raised in its creation task, {cause}"
        super().__init__(actor_id, str(message), init_failed)
        self.args = (cause, actor_id)

    @staticmethod
    def from_task_error(task_error: RayTaskError) -> ActorDiedError:
        return ActorDiedError(task_error)


class ActorUnavailableError(RayActorError):
    """The actor cannot be reached at present; it may come back.

    Args:
        error_message: why.
        actor_id: its 16 bytes.
    """

    def __init__(self, error_message: str, actor_id: bytes | None) -> None:
        shown = actor_id.hex() if actor_id is not None else None
        super().__init__(
            shown,
            f"The actor {shown} is unavailable: {error_message}. The task may or may not have "
            "been executed on the actor.",
        )
        self.args = (error_message, actor_id)


class RaySystemError(RayError):
    """The runtime itself failed, or is not there.

    Args:
        client_exc: what happened.
        traceback_str: where, if that is known.
    """

    def __init__(self, client_exc: Any, traceback_str: str | None = None) -> None:
        super().__init__(client_exc, traceback_str)
        self.client_exc = client_exc
        self.traceback_str = traceback_str

    def __str__(self) -> str:
        where = f"\ntraceback: {self.traceback_str}" if self.traceback_str else ""
        return f"System error: {self.client_exc}{where}"


class _Messaged(RayError):
    """Keeps its one argument as ``message``."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class AuthenticationError(_Messaged):
    """The other side did not accept who we are, or we it."""


class UserCodeException(RayError):
    """Wraps what user code raised inside a library's own tasks."""


class ObjectStoreFullError(RayError):
    """There is no room for the object, and nothing can be evicted for it."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}\nThe object store of this node is full of objects that are "
            "still in use. Drop references to objects that are no longer needed, or start with "
            "a larger store: init(object_store_memory=BYTES)."
        )


class OutOfDiskError(RayError):
    """There is no room for the object, neither in memory nor on disk."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}\nThe object store of this node and the disk behind it are full. "
            "`df` shows the disk; drop references to objects that are no longer needed."
        )


class OutOfMemoryError(_Messaged):
    """The worker was ended because its node ran out of memory."""


class NodeDiedError(_Messaged):
    """The node is dead or cannot be reached."""


class RpcError(_Messaged):
    """A remote call failed.

    Args:
        message: how.
        rpc_code: number of the transport's error.
    """

    def __init__(self, message: str, rpc_code: int | None = None) -> None:
        super().__init__(message)
        self.rpc_code = rpc_code
        self.args = (message, rpc_code)


class ObjectLostError(RayError):
    """All copies of the object are gone.

    Args:
        object_ref_hex: id of the object.
        owner_address: of the process that owned it, if known.
        call_site: where the reference was made, if known.
        message: why, in words, in place of this class's own.
    """

    _why = "All of its copies are lost: the nodes or processes that held them have ended."

    def __init__(
        self,
        object_ref_hex: str,
        owner_address: bytes | None = None,
        call_site: str = "",
        message: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site, message)
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = call_site
        self.message = message

    def __str__(self) -> str:
        made = f" Its reference was made at: {self.call_site}" if self.call_site else ""
        what = f"Failed to retrieve object {self.object_ref_hex}. " if self.object_ref_hex else ""
        return f"{what}{self.message or self._why}{made}"


class ObjectFetchTimedOutError(ObjectLostError):
    """No node was found in time that has the object."""

    _why = "No node that holds it was found in time."


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The object was deleted though somebody still refers to it."""

    _why = "It was deleted while a reference to it was alive, which is an error of the runtime."


class ObjectFreedError(ObjectLostError):
    """The object was freed by hand."""

    _why = "It was freed by hand. Free an object only when nobody needs it any more."


class OwnerDiedError(ObjectLostError):
    """The process that owned the object has ended."""

    _why = (
        "The process that owned it (the one that called .remote() or put()) has ended. Its log is "
        "in the session's logs directory."
    )


class ObjectReconstructionFailedError(ObjectLostError):
    """The object is lost and cannot be computed again.

    Args:
        object_ref_hex: id of the object.
        reason: number of the reason, if there is one.
        reason_message: why, in words.
        owner_address: of the process that owned it, if known.
        call_site: where the reference was made, if known.
    """

    _why = "It cannot be computed again."

    def __init__(
        self,
        object_ref_hex: str,
        reason: int | None = None,
        reason_message: str | None = None,
        owner_address: bytes | None = None,
        call_site: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site, reason_message or "")
        self.reason = reason
        self.reason_message = reason_message or self._why
        self.args = (object_ref_hex, reason, reason_message, owner_address, call_site)


class GetTimeoutError(RayError, TimeoutError):
    """``get`` ran out of time."""


class PlasmaObjectNotAvailable(RayError):
    """The object did not come into the local store in time."""


class AsyncioActorExit(RayError):
    """An async actor ends itself through ``exit_actor``."""


class RuntimeEnvSetupError(RayError):
    """The environment asked for could not be made."""

    def __init__(self, error_message: str | None = None) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return "\n".join(
            filter(None, ["Failed to set up runtime environment.", self.error_message])
        )


class TaskPlacementGroupRemoved(_Worded):
    """The task's placement group is gone."""

    _default = "The placement group corresponding to this task has been removed."


class ActorPlacementGroupRemoved(_Worded):
    """The actor's placement group is gone."""

    _default = "The placement group corresponding to this Actor has been removed."


class PendingCallsLimitExceeded(RayError):
    """The actor has ``max_pending_calls`` unfinished calls already."""


class _Unschedulable(RayError):
    _what = ""

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return f"The {self._what} is not schedulable: {self.error_message}"


class TaskUnschedulableError(_Unschedulable):
    """No node can ever run the task."""

    _what = "task"


class ActorUnschedulableError(_Unschedulable):
    """No node can ever hold the actor."""

    _what = "actor"


class ObjectRefStreamEndOfStreamError(RayError):
    """A streaming generator has no more items."""


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A generator task, run again, yielded another number of items."""


class OufOfBandObjectRefSerializationException(RayError):
    """An ObjectRef was pickled outside of the runtime's own calls."""


class RayChannelError(RaySystemError):
    """A channel failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A channel's operation ran out of time."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph has as many executions in flight as it can hold."""


class RayDirectTransportError(RaySystemError):
    """A direct transfer between devices failed."""


class UnserializableException(RayError):
    """The exception a task raised cannot be unpickled here; the worker's account of it."""

    def __init__(self, original_stack_trace: str) -> None:
        super().__init__(original_stack_trace)
        self._original_stack_trace = original_stack_trace

    def __str__(self) -> str:
        return (
            "The exception that the task raised cannot be unpickled in this process (is its module "
            f"importable here?). The original exception:\n{self._original_stack_trace}"
        )


class _AlsoValueError(ValueError, RayError):
    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message


class ActorAlreadyExistsError(_AlsoValueError):
    """The name belongs to another actor."""


class ActorHandleNotFoundError(_AlsoValueError):
    """The handle is of an actor that this cluster does not know."""
