"""Work that threads do ahead of a tower."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def map_ahead(
    function: Callable[[Item], Made], items: Iterable[Item], num_workers: int, ahead: int
) -> Iterator[Made]:
    """Yield ``function(item)`` in order, made by threads that work ahead.

    Args:
        function: makes something of an item.
        items: read by the thread that asks.
        num_workers: threads; 0 makes each item when it is asked for.
        ahead: items that may be waiting.
    """
    if num_workers == 0:
        yield from map(function, items)
        return
    pending: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
