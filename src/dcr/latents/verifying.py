"""Rereading a latent cache, trusting none of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcr.errors import UserError
from dcr.latents.cropping import load_crops
from dcr.latents.encoding import MomentsEncoder, from_stored
from dcr.latents.format import DamagedShardError, ShardRecord, check_bytes, read_index, read_record
from dcr.latents.plan import LatentPlan
from dcr.progress import show_progress
from dcr.seeds import numpy_generator


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        failures: the reason, by the name of a failing shard.
        num_shards: that were read.
        num_samples: in them.
        num_compared: samples that were encoded again.
    """

    failures: dict[str, str]
    num_shards: int
    num_samples: int
    num_compared: int


def verify_latents(
    plan: LatentPlan, folder: str | Path, num_samples: int, tolerance: float, seed: int
) -> Verification:
    """Check key, hash, shape and values of every planned shard; encode a random sample again.

    Args:
        plan: the shards that there should be.
        folder: where they lie.
        num_samples: how many images are cropped and encoded again; crops must be equal.
        tolerance: allowed difference of moments, relative to one plus their size.
        seed: which images.

    Raises:
        UserError: there is no cache to check, because training encodes.
    """
    if plan.options.mode == "online":
        raise UserError(
            "latents.mode is online, so there are no latent shards to verify; set it to cache to"
            " keep some"
        )
    names = list(plan.tasks)
    folder = Path(folder)

    def check(name: str) -> str | None:
        """Return what is wrong with the shard ``name``, None if nothing is."""
        try:
            check_shard(folder / f"{name}.tar", plan, name)
        except DamagedShardError as exc:
            return str(exc)
        return None

    with ThreadPoolExecutor(max(1, plan.options.num_workers)) as pool:
        reasons = show_progress(
            pool.map(check, names), total=len(names), desc="verify latents", unit="shard"
        )
        failures = {name: reason for name, reason in zip(names, reasons, strict=True) if reason}
    sound = [
        (name, row)
        for name in names
        if name not in failures
        for row in range(len(plan.tasks[name].hashes))
    ]
    chosen = numpy_generator(seed, "verify latents").permutation(len(sound))[:num_samples]
    compared = [sound[number] for number in sorted(chosen)]
    failures |= compare_samples(plan, folder, compared, tolerance)
    return Verification(
        dict(sorted(failures.items())), len(names), len(plan.samples), len(compared)
    )


def check_shard(path: Path, plan: LatentPlan, name: str) -> None:
    """Refuse a shard that is not whole, current and finite.

    Args:
        path: of the shard.
        plan: the shards that there should be.
        name: of this one among them.

    Raises:
        DamagedShardError: it says why.
    """
    record = read_record(path)
    if record.key != plan.keys[name]:
        raise DamagedShardError("it was made of other images or with other settings")
    if (record.crop_shape, record.moments_shape) != (plan.crop_shape, plan.moments_shape):
        raise DamagedShardError(
            f"its arrays have the shapes {record.crop_shape} and {record.moments_shape}"
        )
    if record.num_samples != len(plan.tasks[name].hashes):
        raise DamagedShardError(
            f"it holds {record.num_samples} samples instead of {len(plan.tasks[name].hashes)}"
        )
    check_bytes(path, record)
    for row, moments in _iterate_moments(path, record):
        if not np.isfinite(moments).all():
            raise DamagedShardError(f"sample {row['key'].decode(errors='replace')} is not finite")


def compare_samples(
    plan: LatentPlan, folder: Path, chosen: list[tuple[str, int]], tolerance: float
) -> dict[str, str]:
    """Crop and encode samples again; return per shard the first that differs, and how.

    Args:
        plan: tells of each shard's images and how they are encoded.
        folder: where the shards lie.
        chosen: samples, as (shard's name, row in the shard).
        tolerance: allowed difference of moments, relative to one plus their size.
    """
    encoder = MomentsEncoder(plan.vae, plan.options)
    failures = {}
    for name, row in show_progress(chosen, desc="encode again", unit="image"):
        if name not in failures and (
            reason := _compare(plan, folder / f"{name}.tar", name, row, encoder, tolerance)
        ):
            failures[name] = reason
    return failures


def describe_failures(verification: Verification) -> str:
    """Return one sentence about what failed in ``verification``, which must hold a failure."""
    name, reason = next(iter(verification.failures.items()))
    count = len(verification.failures)
    more = f" (and {count - 1} more)" if count > 1 else ""
    return f"{count} of {verification.num_shards} latent shards fail: {name}: {reason}{more}"


def _compare(
    plan: LatentPlan, path: Path, name: str, row: int, encoder: MomentsEncoder, tolerance: float
) -> str | None:
    task = plan.tasks[name]
    offset = list(task.hashes)[row]
    try:
        batch = load_crops(task.part([offset]), plan.options)
    except UserError as exc:
        return str(exc)
    record = read_record(path)
    entry = read_index(path, record)[row]
    key = batch.records[0]["key"]
    crops = _read(path, int(entry["crop"]), record.crop_shape, np.dtype(np.uint8))
    if not np.array_equal(crops, batch.crops[0].numpy()):
        return f"the crops of sample {key} are not those of its image"
    stored = from_stored(
        _read(path, int(entry["moments"]), record.moments_shape, record.stored_dtype),
        plan.options.dtype,
    )
    moments = encoder.encode(batch.crops[0], [key] * len(crops)).numpy()
    difference = float((np.abs(stored - moments) / (1 + np.abs(moments))).max())
    return (
        None
        if difference <= tolerance
        else f"the moments of sample {key} differ by {difference:.2g}"
    )


def _iterate_moments(path: Path, record: ShardRecord) -> Iterator[tuple[np.void, np.ndarray]]:
    for row in read_index(path, record):
        values = _read(path, int(row["moments"]), record.moments_shape, record.stored_dtype)
        yield row, from_stored(values, record.settings["dtype"])


def _read(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    return np.fromfile(path, dtype, int(np.prod(shape)), offset=offset).reshape(shape)
