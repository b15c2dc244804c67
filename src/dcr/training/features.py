"""What the frozen tower says of every crop, encoded once and kept for stage 1.

Stage 1 trains the projector alone, by noise errors that see cached crops and no views, so that an
image's features are the same whenever it is read. They are kept beside the checkpoints, a
safetensors file a latent shard: ``features``, float32 (samples, crops an image, d), named by the
hash of all that they depend on, with the sha256 of its values. Processes share the shards out; one
that is killed leaves the files that it has finished.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from joblib import cpu_count
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dcr.files import atomic_path
from dcr.fingerprints import code_hash, json_hash, weights_hash
from dcr.latents import LatentCache
from dcr.latents.loading import load_ahead
from dcr.progress import show_progress
from dcr.replacing import remove_leftovers
from dcr.training.batches import to_pixels
from dcr.training.precision import WEIGHT_DTYPES, autocast
from dcr.training.runs import STAGE1, Run
from dcr.training.stopping import JOB, STOP_FILE, Stopped, StopRequest, ignore_requests

if TYPE_CHECKING:
    from dcr.training.distributed.processes import Processes
    from dcr.training.model import ConditionModel

FEATURES = "features"
"""The folder of the kept features, beside those of the runs' checkpoints."""

# In one pass of the tower. It is no parameter: on a CPU the last bits of an image's features depend
# on how many it is encoded with, and those that are kept should not depend on a recipe's batch.
_BATCH_SIZE = 64
_NUM_READERS = 8  # threads that check hashes: beyond a disk's own speed more of them gain nothing
# Files that a process keeps open: many systems allow it 1024, and there may be more shards.
_MAX_OPEN = 128
_log = logging.getLogger(__name__)


def asks_for_features(run: Run) -> bool:
    """Tell whether a run of stage 1 is to keep features, if it can."""
    return run.method == STAGE1 and run.parameters.execution.cache_features


def why_not_kept(run: Run, num_crops: int | None) -> str | None:
    """Return why features cannot be kept, or would cost more than they save; None if neither.

    Args:
        run: of stage 1.
        num_crops: that are cached; None where crops are cut anew in every epoch.
    """
    if run.objective != "reconstruction":
        return f"{run.objective} also sees views, which are drawn anew in every step"
    if run.parameters.condition != "broadcast":
        return "patch tokens take more room than the crops themselves"
    if num_crops is None:
        return "latents.mode online cuts new crops in every epoch"
    if run.num_samples <= num_crops:
        return (
            f"it reads {run.num_samples} samples, no more than the {num_crops} crops that there are"
        )
    return None


class TowerFeatures:
    """The kept features, by place.

    Args:
        latents: whose crops they are of.
        files: of features, by the name of the latent shard.
    """

    def __init__(self, latents: LatentCache, files: dict[str, Path]) -> None:
        self._latents = latents
        self._files = files

    def __getitem__(self, place: tuple[int, int]) -> np.ndarray:
        """Return the features, float32 (d,), of the crop at ``place``: (position, epoch)."""
        position, epoch = place
        shard, row = self._latents.place(position)
        features: np.ndarray = _open(self._files[shard])[row, epoch % self._latents.crops_per_image]
        return features


@lru_cache(maxsize=_MAX_OPEN)
def _open(path: Path) -> Any:
    """Return what reads rows of a file; loader processes open their own."""
    return safe_open(path, "np").get_slice("features")  # type: ignore[no-untyped-call]


def keep_features(
    latents: LatentCache, model: ConditionModel, folder: Path, run: Run, processes: Processes
) -> TowerFeatures:
    """Encode the crops whose features are not kept yet, each process its share; return all.

    Args:
        latents: whose crops are encoded.
        model: its tower encodes, frozen and in the run's precision.
        folder: of the features; other files in it, of other towers or latents, are removed.
        run: of stage 1.
        processes: that train together, all of which call this.

    Raises:
        Stopped: SIGTERM or SIGHUP came; the shard at hand is finished.
    """
    depends_on = [
        weights_hash(model.tower),
        model.backbone.settings(),
        run.parameters.mixed_precision,
        code_hash(__name__, type(model.backbone)),
    ]
    files = {
        name: folder / f"{json_hash([key, *depends_on])}.safetensors"
        for name, key in latents.shard_keys().items()
        if len(latents.positions(name))
    }
    width = model.backbone.embed_dim
    found = _missing(latents, files, folder, width) if processes.is_first else None
    missing = processes.broadcast(found)
    if processes.is_first:
        _log.info(
            "%s: features of %d shards' crops in %s; to encode: those of %d.",
            run.name,
            len(files),
            folder,
            len(missing),
        )
    stop_file = folder.parent / JOB / STOP_FILE if processes.is_worker else None
    with StopRequest(stop_file) as stop:
        own = missing[processes.rank :: processes.count]
        _encode_shards(latents, model, own, files, run, stop)
    processes.barrier()
    return TowerFeatures(latents, files)


def _missing(latents: LatentCache, files: dict[str, Path], folder: Path, width: int) -> list[str]:
    """Return the names of the latent shards without features, having removed other features."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    for stranger in set(folder.glob("*.safetensors")) - {*files.values()}:
        stranger.unlink()
    shapes = {
        name: [len(latents.positions(name)), latents.crops_per_image, width] for name in files
    }
    with ThreadPoolExecutor(min(_NUM_READERS, cpu_count())) as pool:
        kept = pool.map(lambda name: _is_whole(files[name], shapes[name]), files)
        return [name for name, is_whole in zip(files, kept, strict=True) if not is_whole]


def _is_whole(path: Path, shape: list[int]) -> bool:
    """Tell whether a file has features of this shape, as they were written."""
    try:
        with safe_open(path, "np") as file:
            told = file.get_slice("features")
            if told.get_shape() != shape or told.get_dtype() != "F32":
                return False
            digest = hashlib.sha256(file.get_tensor("features").data).hexdigest()
            return digest == (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return False


def _encode_shards(
    latents: LatentCache,
    model: ConditionModel,
    names: list[str],
    files: dict[str, Path],
    run: Run,
    stop: StopRequest,
) -> None:
    """Write the features of the latent shards of these ``names``, one file after the other."""
    per_image = latents.crops_per_image
    parts = {name: list(_batches(latents.positions(name), per_image)) for name in names}
    loaded = load_ahead(
        partial(_load_crops, latents),
        list(chain(*parts.values())),
        run.parameters.execution.num_workers,
        "training.execution",
        prepare_worker=ignore_requests,
    )
    was_training = model.training
    model.eval()
    total = sum(len(latents.positions(name)) for name in names)
    with show_progress(total=total, desc=f"{run.name}: encode images", unit="image") as bar:
        for name, batches in parts.items():
            encoded = []
            for crops in islice(loaded, len(batches)):
                encoded.append(_encode(model, crops, run))
                bar.update(len(crops))
            _write(files[name], np.concatenate(encoded))
            if stop.requested:
                raise Stopped(
                    f"{run.name}: stopped before the first step; the features that are in"
                    f" {files[name].parent} are kept and the same command goes on from there"
                )
    model.train(was_training)


def _batches(positions: range, per_image: int) -> Iterator[range]:
    """Yield the samples at ``positions`` in pieces, whose crops make one pass of the tower."""
    size = max(1, _BATCH_SIZE // per_image)
    for first in range(positions.start, positions.stop, size):
        yield range(first, min(first + size, positions.stop))


def _load_crops(latents: LatentCache, positions: range) -> torch.Tensor:
    """Return all crops of some samples, uint8 (B, n, H, W, 3)."""
    numbers = range(latents.crops_per_image)
    crops = [[latents[position, number]["crop"] for number in numbers] for position in positions]
    return torch.from_numpy(np.array(crops))


@torch.no_grad()
def _encode(model: ConditionModel, crops: torch.Tensor, run: Run) -> np.ndarray:
    """Return the features, float32 (B, n, d), of ``crops``, uint8 (B, n, H, W, 3)."""
    device = model.backbone.device
    with autocast(device, WEIGHT_DTYPES[run.parameters.mixed_precision]):
        features = model.backbone.encode_image(to_pixels(crops.flatten(0, 1), device))
    return features.float().cpu().numpy().reshape(*crops.shape[:2], -1)


def _write(path: Path, features: np.ndarray) -> None:
    digest = hashlib.sha256(features.data).hexdigest()
    with atomic_path(path) as temporary:
        save_file({"features": features}, temporary, metadata={"sha256": digest})
