"""The last word on a shard that takes too long or too much, whatever it does it with.

What hostile bytes are known to cost is counted before it is paid (`dcr.data.shards`); this is for
the rest. Time is that of the processor, so that a slow disk or a busy machine costs no shard. The
kernel's timers look after the work, and it pays nothing for them:

- once a second of computing a signal's handler looks at time and memory, and ends the work by an
  exception;
- in a worker process, where a call into a C library may never come back to Python, the kernel ends
  the process, whose shard `dcr.validation.workers` then names.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LEAST_SECONDS = 60.0  # that any shard may take: a worker's first loads libraries
_KILL_SECONDS = 30.0  # after which a process that was told to end is ended
_TICK = 1.0  # seconds of computing
_PAGE = os.sysconf("SC_PAGESIZE")


class GivenUp(BaseException):
    """A shard took too long or too much.

    It is no `Exception`, as what guards against hostile bytes would swallow it.
    """


@contextmanager
def watched(
    megabytes: float, seconds_per_megabyte: float, gigabytes: float
) -> Iterator[Callable[[], None]]:
    """End what happens inside, by `GivenUp`, when it takes too long or too much.

    Yields a function that looks, to be called now and then: outside of the main thread there are no
    signals.

    Args:
        megabytes: of the shard.
        seconds_per_megabyte: of computing that it may take, and a minute besides.
        gigabytes: by which the process may grow.
    """
    most = _LEAST_SECONDS + seconds_per_megabyte * megabytes
    start = time.thread_time()
    before = _resident_bytes()
    alone = threading.current_thread() is threading.main_thread()

    def look(*_: object) -> None:
        if time.thread_time() - start > most:
            raise GivenUp(f"it took more than {most:.0f} seconds of computing")
        # Threads have their memory in common, so it is measured for a process alone.
        if alone and _resident_bytes() - before > gigabytes * 1e9:
            raise GivenUp(f"it took more than {gigabytes:g} GB of memory")

    if not alone:
        yield look
        return
    previous = signal.signal(signal.SIGPROF, look)
    try:
        signal.setitimer(signal.ITIMER_PROF, _TICK, _TICK)
        if multiprocessing.parent_process() is not None:
            # SIGVTALRM ends a process.
            signal.setitimer(signal.ITIMER_VIRTUAL, most + _KILL_SECONDS)
        yield look
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGPROF, previous)


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:  # there is no such file on a Mac, whose shards are watched for time alone
        return 0
