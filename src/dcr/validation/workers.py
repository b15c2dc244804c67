"""Where the work on shards is done: processes of this machine, or a Dask or Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dcr.errors import UserError

_TASKS_AT_ONCE = 8  # for each worker, where results come together


@dataclass(frozen=True)
class Workers:
    """Workers by joblib.

    Attributes:
        backend: ``loky`` (local processes), ``threading``, ``dask`` or ``ray``.
        n_jobs: tasks at a time; -1 for all cores.
        cluster: address of a Dask scheduler or Ray head; None starts a local cluster of ``n_jobs`` workers.
    """

    backend: str
    n_jobs: int
    cluster: str | None = None

    def run(self, function: Callable[..., Any], calls: Iterable[tuple]) -> Iterator[Any]:
        """Yield the result of each call as it is done, in any order.

        Only results that were not taken yet are in memory.

        Raises:
            UserError: the cluster's library is not installed or the cluster cannot be reached.
        """
        from joblib import Parallel, delayed, parallel_config

        tasks = (delayed(function)(*call) for call in calls)
        streams = self.backend != "ray"  # Ray's backend gives no results before all are there
        return_as = "generator_unordered" if streams else "list"
        with self._cluster():
            with parallel_config(self.backend, n_jobs=self.n_jobs):  # by name: Parallel itself does not know dask's
                parallel = Parallel(batch_size=1, return_as=return_as)
            if streams:
                yield from parallel(tasks)
            else:
                with parallel:
                    while some := list(islice(tasks, _TASKS_AT_ONCE * self._num_workers())):
                        yield from parallel(some)

    def _cluster(self) -> AbstractContextManager[None]:
        connect = {"dask": self._connect_dask, "ray": self._connect_ray}.get(self.backend, nullcontext)
        try:
            return connect()
        except ImportError as exc:
            raise UserError(f"validation.backend {self.backend} needs the extra `cluster`: {exc}") from exc

    def _connect_dask(self) -> AbstractContextManager[None]:
        from distributed import Client

        options = {} if self.cluster else {"n_workers": self._num_workers(), "threads_per_worker": 1}
        try:
            return Client(self.cluster, dashboard_address=None, **options)
        except (OSError, ValueError) as exc:
            raise UserError(f"validation.cluster {self.cluster!r}: no Dask scheduler answers ({exc})") from exc

    def _connect_ray(self) -> AbstractContextManager[None]:
        import ray
        from ray.util.joblib import register_ray

        options = {} if self.cluster else {"num_cpus": self._num_workers(), "include_dashboard": False}
        try:
            ray.init(address=self.cluster or "local", log_to_driver=False, **options)
        except Exception as exc:  # Ray raises it as such when a local cluster does not start in time
            problem = "no Ray head answers" if self.cluster else "Ray started no local cluster"
            raise UserError(f"validation.cluster {self.cluster!r}: {problem} ({exc})") from exc
        register_ray()
        return _shutting_down(ray)

    def _num_workers(self) -> int:
        from joblib import effective_n_jobs

        return effective_n_jobs(self.n_jobs)


@contextmanager
def _shutting_down(ray: Any) -> Iterator[None]:
    try:
        yield
    finally:
        ray.shutdown()
