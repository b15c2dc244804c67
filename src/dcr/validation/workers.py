"""Where the work on shards is done: processes of this machine, or a Dask or Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Any

from dcr.errors import UserError

Call = tuple[Any, ...]
"""The arguments of one call."""

_TASKS_AT_ONCE = 8  # for each worker, where results come together


@dataclass(frozen=True)
class Workers:
    """Workers by joblib.

    Attributes:
        backend: ``loky`` (local processes), ``threading``, ``dask`` or ``ray``.
        n_jobs: tasks at a time; -1 for all cores.
        cluster: address of a Dask scheduler or Ray head; None starts a local cluster of ``n_jobs``
            workers.
    """

    backend: str
    n_jobs: int
    cluster: str | None = None

    def run(
        self,
        function: Callable[..., Any],
        calls: Iterable[Call],
        lost: Callable[..., Any] | None = None,
    ) -> Iterator[Any]:
        """Yield the result of each call as it is done, in any order.

        Only results that were not taken yet are in memory. Where a local process dies, each call
        that was under way is made again in a process of its own; one that kills that process too
        costs its own result alone.

        Args:
            function: to call.
            calls: its arguments.
            lost: given a call's arguments, returns what stands for its result; None where no call
                may be lost.

        Raises:
            UserError: the cluster's library is not installed, the cluster cannot be reached, no
                process can be started, or one died.
        """
        from joblib.externals.loky.process_executor import BrokenProcessPool

        numbered = _Numbered(calls)
        under_way: dict[int, Call] = {}
        while True:
            try:
                yield from self._run_all(function, numbered, under_way)
                return
            except BrokenProcessPool:
                again = list(under_way.values())
                under_way.clear()
            except OSError as exc:
                raise UserError(
                    f"validation.n_jobs {self.n_jobs}: no worker process can be started or reached"
                    f" ({exc}); set it to 1"
                ) from exc
            yield from _run_alone(function, again, lost)

    def _run_all(
        self, function: Callable[..., Any], calls: _Numbered, under_way: dict[int, Call]
    ) -> Iterator[Any]:
        """Yield results; ``under_way`` holds the calls whose results were not taken yet."""
        from joblib import Parallel, delayed, parallel_config

        def tasks() -> Iterator[Any]:
            for number, call in calls:
                under_way[number] = call
                yield delayed(_call_numbered)(number, function, call)

        streams = self.backend != "ray"  # Ray's backend gives no results before all are there
        return_as = "generator_unordered" if streams else "list"
        with self._cluster():
            # By name: Parallel itself does not know dask's.
            with parallel_config(self.backend, n_jobs=self.n_jobs):
                parallel = Parallel(batch_size=1, return_as=return_as)
            results = parallel(tasks()) if streams else self._by_pieces(parallel, tasks())
            for number, result in results:
                del under_way[number]
                yield result

    def _by_pieces(self, parallel: Any, tasks: Iterator[Any]) -> Iterator[Any]:
        with parallel:
            while some := list(islice(tasks, _TASKS_AT_ONCE * self._num_workers())):
                yield from parallel(some)

    def _cluster(self) -> AbstractContextManager[None]:
        connect = {"dask": self._connect_dask, "ray": self._connect_ray}.get(
            self.backend, nullcontext
        )
        try:
            return connect()
        except ImportError as exc:
            raise UserError(
                f"validation.backend {self.backend} needs the extra `cluster`: {exc}"
            ) from exc

    def _connect_dask(self) -> AbstractContextManager[None]:
        from distributed import Client

        own: dict[str, Any] = {
            "n_workers": self._num_workers(),
            "threads_per_worker": 1,
            "dashboard_address": None,
        }
        try:
            client: AbstractContextManager[None] = Client(
                self.cluster, **({} if self.cluster else own)
            )
        except (OSError, ValueError) as exc:
            raise UserError(
                f"validation.cluster {self.cluster!r}: no Dask scheduler answers ({exc})"
            ) from exc
        return client

    def _connect_ray(self) -> AbstractContextManager[None]:
        import ray
        from ray.util.joblib import register_ray

        options = (
            {} if self.cluster else {"num_cpus": self._num_workers(), "include_dashboard": False}
        )
        try:
            ray.init(address=self.cluster or "local", log_to_driver=False, **options)
        # Ray raises it as such when a local cluster does not start in time.
        except Exception as exc:
            problem = "no Ray head answers" if self.cluster else "Ray started no local cluster"
            raise UserError(f"validation.cluster {self.cluster!r}: {problem} ({exc})") from exc
        register_ray()
        return _shutting_down(ray)

    def _num_workers(self) -> int:
        from joblib import effective_n_jobs

        return int(effective_n_jobs(self.n_jobs))


@contextmanager
def _shutting_down(ray: Any) -> Iterator[None]:
    try:
        yield
    finally:
        ray.shutdown()


class _Numbered:
    """Calls with their numbers, which go on where they were; any thread may ask for the next."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls = enumerate(calls)
        self._lock = Lock()

    def __iter__(self) -> _Numbered:
        return self

    def __next__(self) -> tuple[int, Call]:
        with self._lock:
            return next(self._calls)


def _call_numbered(number: int, function: Callable[..., Any], call: Call) -> tuple[int, Any]:
    return number, function(*call)


def _run_alone(
    function: Callable[..., Any], calls: list[Call], lost: Callable[..., Any] | None
) -> Iterator[Any]:
    """Yield results of calls, each made by a process that makes no other at the time."""
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    pool = ProcessPoolExecutor(1)
    try:
        for call in calls:
            try:
                yield pool.submit(function, *call).result()
            except BrokenProcessPool as exc:
                if lost is None:
                    raise UserError(
                        f"a worker process was killed twice over {call[0]}: is there enough memory?"
                        " Set validation.n_jobs lower"
                    ) from exc
                yield lost(*call)
                pool = ProcessPoolExecutor(1)
    finally:
        pool.shutdown(kill_workers=True)
