# SPDX-License-Identifier: Apache-2.0
"""joblib, and with it scikit-learn, on a cluster.

register_skyray()
with joblib.parallel_config(backend="skyray"):
    model.fit(...)
"""

from __future__ import annotations

import copy
from typing import Any, Callable

from .. import api
from ..object_ref import ObjectRef
from .multiprocessing import Pool

try:
    from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, register_parallel_backend
except ImportError as error:
    raise ImportError("skyray.util.joblib needs joblib: pip install joblib") from error

__all__ = ["register_ray", "register_skyray"]

# Arrays from this size on are stored once for all calls that they are arguments of.
_SHARED_MIN_BYTES = 100 << 10


def register_skyray() -> None:
    """Makes ``parallel_config(backend="skyray")`` known to joblib."""
    register_parallel_backend("skyray", SkyrayBackend)


def register_ray() -> None:
    """The same under the name that programs written for Ray use: "ray"."""
    register_parallel_backend("ray", SkyrayBackend)


class SkyrayBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's calls in a pool of processes of the cluster.

    Args:
        nesting_level: how many Parallel calls this one is inside of.
        inner_max_num_threads: accepted; a process has the threads it would have anyway.
        ray_remote_args: options of the processes' actors.
        **kwargs: joblib's own.
    """

    supports_retrieve_callback = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        ray_remote_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, **kwargs)
        self._ray_remote_args = ray_remote_args
        self._pool: Pool | None = None
        self._n_jobs = 1
        # id -> (the array, which must live as long as its id counts; where it is).
        self._shared: dict[int, tuple[Any, ObjectRef[Any]]] = {}

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many processes ``n_jobs`` asks for: at most the cluster's CPUs, as below 0."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        cpus = max(int(api.cluster_resources().get("CPU", 1)), 1)
        if n_jobs is None:
            return 1
        return min(n_jobs, cpus) if n_jobs > 0 else max(cpus + 1 + n_jobs, 1)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: Any = None,
        require: Any = None,
        **kwargs: Any,
    ) -> int:
        """Gets ready for calls; how many processes there are for them."""
        self.parallel = parallel
        self._n_jobs = self.effective_n_jobs(n_jobs)
        self._pool = Pool(self._n_jobs, ray_remote_args=self._ray_remote_args)
        return self._n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Any:
        """Runs ``func``; ``callback`` is given an outcome for :meth:`retrieve_result_callback`."""
        assert self._pool is not None
        told = callback or (lambda outcome: None)
        return self._pool.apply_async(
            self._with_shared_arrays(func),
            callback=lambda value: told((value, None)),
            error_callback=lambda error: told((None, error)),
        )

    apply_async = submit  # Its name before joblib 1.5.

    def retrieve_result_callback(self, outcome: tuple[Any, BaseException | None]) -> Any:
        """The value, or the exception raised."""
        value, error = outcome
        if error is not None:
            raise error
        return value

    def stop_call(self) -> None:
        """A Parallel call is over."""
        self._shared.clear()

    def terminate(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None
        self._shared.clear()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Ends what is running, as its results are not wanted any more."""
        self.terminate()
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)

    def _with_shared_arrays(self, func: Any) -> Any:
        """``func`` with references in place of its large arrays, if it is joblib's batch."""
        items = getattr(func, "items", None)
        if not isinstance(items, list):
            return func
        shared = copy.copy(func)
        shared.items = [
            (
                called,
                tuple(self._share(value) for value in args),
                {name: self._share(value) for name, value in kwargs.items()},
            )
            for called, args, kwargs in items
        ]
        return _Batch(shared)

    def _share(self, value: Any) -> Any:
        size = getattr(value, "nbytes", 0)
        if not isinstance(size, int) or size < _SHARED_MIN_BYTES:
            return value
        if id(value) not in self._shared:
            self._shared[id(value)] = (value, api.put(value))
        return _Shared(self._shared[id(value)][1])


class _Shared:
    """In place of an argument: where it is."""

    def __init__(self, ref: ObjectRef[Any]) -> None:
        self._ref = ref

    @staticmethod
    def value_of(argument: Any) -> Any:
        return api.get(argument._ref) if isinstance(argument, _Shared) else argument


class _Batch:
    """joblib's batch of calls, some of whose arguments are shared."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __call__(self) -> Any:
        value_of = _Shared.value_of
        self._batch.items = [
            (called, tuple(map(value_of, args)), {k: value_of(v) for k, v in kwargs.items()})
            for called, args, kwargs in self._batch.items
        ]
        return self._batch()
