"""Where the work on shards is done: processes of this machine, or a Dask or Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from dcr.errors import UserError


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
        from joblib import Parallel, delayed

        tasks = (delayed(function)(*call) for call in calls)
        with self._cluster():
            yield from Parallel(self.n_jobs, self.backend, return_as="generator_unordered", batch_size=1)(tasks)

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
        except (OSError, ValueError, RuntimeError) as exc:
            raise UserError(f"validation.cluster {self.cluster!r}: no Ray head answers ({exc})") from exc
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
