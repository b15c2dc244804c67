"""Latent shards onto a disk that may be full."""

from __future__ import annotations

import errno
import shutil
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.errors import UserError
from dcr.files import atomic_path
from dcr.latents.format import DamagedShardError, read_record
from dcr.latents.shard_writer import ShardWriter
from dcr.replacing import remove_leftovers

if TYPE_CHECKING:
    import numpy as np

    from dcr.latents.cropping import CropBatch
    from dcr.latents.encoding import MomentsEncoder

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAX_WAITING = 4  # batches that may wait for the disk


def write_latent_shard(
    path: Path,
    key: str,
    settings: dict[str, Any],
    encoded: Iterable[tuple[CropBatch, np.ndarray]],
    encoder: MomentsEncoder,
) -> None:
    """Write a shard, whole or not at all, in a thread of its own while the next batch is encoded.

    Args:
        path: of the shard, which appears there when it is whole.
        key, settings: see `ShardWriter`.
        encoded: crops and their moments in the stored dtype, (B, n, 2C, h, w).
        encoder: tells how many crops it had to encode again.
    """
    upcast_before = encoder.num_upcast
    waiting: deque[Future[None]] = deque()
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as file,
        ThreadPoolExecutor(1) as pool,
    ):
        writer = ShardWriter(file, key, settings)
        for batch, moments in encoded:
            waiting.append(pool.submit(writer.add, batch.records, batch.crops.numpy(), moments))
            if len(waiting) > _MAX_WAITING:
                waiting.popleft().result()
        for written in waiting:
            written.result()
        writer.finish(encoder.num_upcast - upcast_before)


def check_free_space(folder: Path, sizes: dict[str, int], pipeline: str = "latents") -> None:
    """Refuse to begin what cannot fit.

    Args:
        folder: where the shards go.
        sizes: expected bytes of each shard to be written; one that is there is replaced.
        pipeline: that writes them.

    Raises:
        UserError: the disk has less free space than is needed.
    """
    paths = {name: folder / f"{name}.tar" for name in sizes}
    grow = [max(0, size - _size(paths[name])) for name, size in sizes.items()]
    # A replaced shard is there until the new one is whole.
    needed = sum(grow) + max(sizes.values(), default=0)
    free = shutil.disk_usage(folder).free
    if needed > free:
        less = (
            "set latents.dtype to bfloat16, or latents.mode to online"
            if pipeline == "latents"
            else "make fewer"
        )
        raise UserError(
            f"{folder}: its shards need {needed / 1e9:.2f} GB and the disk has {free / 1e9:.2f} GB"
            f" free; free some, or {less}"
        )


@contextmanager
def clean_stop(folder: Path, pipeline: str = "latents") -> Iterator[None]:
    """Tell a full disk in one sentence; shards that are whole stay.

    Args:
        folder: where the shards go.
        pipeline: that writes them.

    Raises:
        UserError: the disk, a quota or a limit of file sizes is exhausted.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno not in _FULL:
            raise
        raise UserError(
            f"{folder}: the disk is full ({exc.strerror}); the {len(list(folder.glob('*.tar')))}"
            " shards that are there are whole and kept; free some space and run `kedro run"
            f" --pipelines {pipeline}` again"
        ) from exc


def is_current(folder: Path, name: str, key: str) -> bool:
    """Return whether ``folder`` has the shard ``name``, made from what ``key`` stands for."""
    try:
        return read_record(folder / f"{name}.tar").key == key
    except DamagedShardError:
        return False


def remove_strangers(folder: Path, shards: Collection[str], is_first: bool) -> None:
    """Remove what a killed run left half written, and shards that belong to the plan no more.

    Args:
        folder: where the shards lie.
        shards: names of all that there should be.
        is_first: whether this process removes what belongs to none.
    """
    remove_leftovers(folder)
    for path in folder.glob("*.tar") if is_first else ():
        if path.stem not in shards:
            path.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
